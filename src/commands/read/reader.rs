//! Reads sensors: from their chips, or from the service that uses the bus.

use std::collections::btree_map::{BTreeMap, Entry};
use std::time::{Duration, Instant, SystemTime};

use super::Stop;
use crate::clock::SystemClock;
use crate::commands::describe_open_error;
use crate::commands::mux_guard::MuxGuard;
use crate::commands::running_exporter::{Exporters, RunningExporter};
use crate::config::{Plan, SensorPlan};
use crate::i2c::adapters::Adapters;
use crate::i2c::{self, Bus, BusName, Location, Retry, mux};
use crate::ina260::alert::Alert;
use crate::ina260::calibration::Calibration;
use crate::ina260::settings::{Mode, Settings};
use crate::ina260::{self, Measurement, POWER_LIMIT, RegisterDump};
use crate::scrape::{ScrapedAlert, ScrapedSensor};
use crate::supervisor::BusProvider;
use crate::units::Measured;

/// Longest wait for a result, in cycles: conversions may take 10 % longer than nominal.
const SLOWEST: f64 = 1.15;
/// Upper bound on the wait for a first result.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// One result of a sensor, with its chip and state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SensorReport {
    pub(super) at: SystemTime,
    /// The die ID register.
    pub(super) die: String,
    pub(super) measured: Measured,
    /// Whether a quantity is at full scale of its register.
    pub(super) saturated: bool,
    /// State of the chip, or why it is unknown: reading it would disturb the service.
    pub(super) state: Result<ChipState, String>,
}

/// Settings, flags and alert of a chip.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ChipState {
    pub(super) settings: Settings,
    pub(super) mode: Mode,
    /// Whether there was a result that had not been read; `None` if the state is from the service.
    pub(super) ready: Option<bool>,
    pub(super) alert: Option<ScrapedAlert>,
    pub(super) alert_active: bool,
}

impl ChipState {
    fn from_registers(registers: &RegisterDump, calibration: &Calibration) -> Self {
        let flags = registers.mask_enable;
        // The power guard of a service is not an alert.
        let is_alert = !registers.is_guarded();
        let alert = Alert::from_words(flags.kept(), registers.alert_limit, calibration);
        Self {
            settings: registers.settings(),
            mode: Mode::from_word(registers.configuration),
            ready: Some(flags.ready()),
            alert: alert.filter(|_| is_alert).map(|alert| ScrapedAlert {
                on: alert.function.name().to_owned(),
                limit: alert.limit,
                unit: alert.function.unit(),
                active: flags.alert(),
            }),
            alert_active: flags.alert() && is_alert,
        }
    }

    /// Returns the state in the service's metrics, unless it never identified the chip.
    fn from_service(sensor: &ScrapedSensor) -> Option<Self> {
        Some(Self {
            settings: sensor.chip.as_ref()?.settings,
            mode: Mode::BothContinuous,
            ready: None,
            alert: sensor.alert.clone(),
            alert_active: sensor.alert.as_ref().is_some_and(|alert| alert.active),
        })
    }
}

impl SensorReport {
    /// Reads everything from a chip that no other program uses. Changes no setting, but clears the
    /// ready flag and a latched alert. If the chip has no result since power-on, waits for one.
    fn read(bus: &mut dyn Bus, sensor: &SensorPlan, stop: Stop) -> Result<Self, ina260::Error> {
        let address = sensor.location.address;
        let die = ina260::identify(bus, address)?;
        let mut read = || {
            let registers = ina260::read_settings(bus, address)?;
            let data = ina260::measure(bus, address, registers.mask_enable.overflow(), true)?;
            Ok((registers, data))
        };
        let (mut registers, mut data) = read()?;
        let is_empty = (data.voltage_word, data.current_word) == (0, 0);
        if is_empty && !registers.mask_enable.ready() {
            stop(registers.settings().cycle().mul_f64(SLOWEST).min(MAX_PAUSE));
            (registers, data) = read()?;
        }
        let state = ChipState::from_registers(&registers, &sensor.calibration);
        Ok(Self::new(die, data, sensor, Ok(state)))
    }

    fn new(
        die: u16,
        mut data: Measurement,
        sensor: &SensorPlan,
        state: Result<ChipState, String>,
    ) -> Self {
        // The overflow flag is not always read; the power register shows the same.
        data.overflow |= data.power_word.is_some_and(|word| word >= POWER_LIMIT);
        Self {
            at: SystemTime::now(),
            die: format!("{die:#06x}"),
            measured: sensor.calibration.apply(data.measured(false)),
            saturated: data.overflows().next().is_some(),
            state,
        }
    }
}

/// Reason why a sensor was not read, with what to do next.
#[derive(Debug, thiserror::Error)]
pub(in crate::commands) enum Error {
    #[error("{}{}", .0, self.advice())]
    Chip(#[from] ina260::Error),
    #[error("{}{}", .0, self.advice())]
    Mux(#[from] mux::Error),
    /// The bus cannot be opened, or a service uses it.
    #[error("{0}")]
    Bus(String),
}

const STUCK: &str = "; the bus is stuck: disconnect its chips one by one, including unpowered ones";

impl Error {
    fn advice(&self) -> &'static str {
        match self {
            // Their messages have the remedy.
            Self::Bus(_)
            | Self::Chip(ina260::Error::Bound(_))
            | Self::Mux(mux::Error::Bound(..)) => "",
            Self::Chip(error) if i2c::is_timeout(error) => STUCK,
            Self::Mux(error) if i2c::is_timeout(error) => STUCK,
            Self::Chip(error) if error.is_other_chip() => {
                "; `ina260-exporter scan` lists the devices"
            }
            Self::Chip(_) => {
                "; check wiring and supply (`ina260-exporter scan` lists the devices that respond)"
            }
            Self::Mux(mux::Error::Unreachable(..)) => {
                "; check wiring, supply and address (`ina260-exporter scan --mux` lists the \
                 devices on each channel)"
            }
            Self::Mux(mux::Error::ControlMismatch { .. }) => {
                "; stop the other program that switches it"
            }
        }
    }
}

/// Reads sensors on buses that are opened once.
pub(in crate::commands) struct Reader {
    pub(in crate::commands) provider: BusProvider,
    pub(in crate::commands) exporters: Exporters,
    locations: Vec<Location>,
    opened: BTreeMap<BusName, Box<dyn Bus>>,
    /// Whether a mux was named on the command line.
    is_mux_named: bool,
}

impl Reader {
    pub(in crate::commands) fn new(plan: &Plan, provider: BusProvider, is_mux_named: bool) -> Self {
        let locations = plan.sensors.iter().map(|it| it.location).collect();
        let (exporters, opened) = (Exporters::default(), BTreeMap::new());
        Self { provider, exporters, locations, opened, is_mux_named }
    }

    /// Reads a sensor: its chip, unless a service uses the bus and the chip is downstream of a mux.
    pub(super) fn read(&mut self, sensor: &SensorPlan, stop: Stop) -> Result<SensorReport, Error> {
        let Location { bus, mux, .. } = sensor.location;
        match self.exporters.find(bus, &self.provider) {
            Some(service) if self.is_mux_named => Err(Error::Bus(service.refusal(bus))),
            Some(service) if mux.is_some() => read_via_service(&service, sensor),
            Some(service) => read_shared(&service, &mut self.open(bus)?, sensor),
            None => self.on_chip(sensor.location, |bus| SensorReport::read(bus, sensor, stop)),
        }
    }

    /// Accesses a chip on a bus that no other program uses, through its mux if it has one.
    pub(in crate::commands) fn on_chip<T>(
        &mut self,
        location: Location,
        access: impl FnOnce(&mut dyn Bus) -> Result<T, ina260::Error>,
    ) -> Result<T, Error> {
        // All muxes: sensors downstream of a selected channel of another mux would respond, too.
        let on_bus = self.locations.iter().filter(|it| it.bus == location.bus);
        let muxes = on_bus.filter_map(|it| Some(it.mux?.multiplexer)).collect();
        let bus = &mut self.open(location.bus)?;
        Ok(match location.mux {
            Some(channel) => MuxGuard::new(bus, &muxes)?.on_channel(channel, access)??,
            None => access(bus)?,
        })
    }

    /// Opens a bus. A retry of more than one transfer would lose an alert, which a read clears.
    fn open(&mut self, name: BusName) -> Result<Retry<'_>, Error> {
        let bus = match self.opened.entry(name) {
            Entry::Occupied(opened) => opened.into_mut(),
            Entry::Vacant(vacant) => {
                let opened = self.provider.open(name, self.locations.iter().copied());
                let described = |error| Error::Bus(describe_open_error(&error, &Adapters::read()));
                vacant.insert(opened.map_err(described)?)
            }
        };
        Ok(Retry::new(bus.as_mut(), &SystemClock, Instant::now()))
    }
}

/// Reads the data of a sensor on a bus that the service uses, and takes its state from the service.
pub(super) fn read_shared(
    service: &RunningExporter,
    bus: &mut dyn Bus,
    sensor: &SensorPlan,
) -> Result<SensorReport, Error> {
    let state = service.sensor(sensor.location).and_then(|served| {
        ChipState::from_service(served).ok_or_else(|| "the chip was not identified".to_owned())
    });
    let state = state.map_err(|reason| format!("settings and alert are not read: {reason}"));
    let die = ina260::identify(bus, sensor.location.address)?;
    // These registers affect no flag.
    let data = ina260::measure(bus, sensor.location.address, false, true)?;
    Ok(SensorReport::new(die, data, sensor, state))
}

/// Takes the result of a sensor downstream of a mux from the service, which alone may switch it.
pub(super) fn read_via_service(
    service: &RunningExporter,
    sensor: &SensorPlan,
) -> Result<SensorReport, Error> {
    let served = service
        .sensor(sensor.location)
        .map_err(|reason| Error::Bus(format!("{reason}; stop it to read downstream of the mux")))?;
    let last_result = || {
        let since_epoch = Duration::try_from_secs_f64(served.last_result?).ok()?;
        Some(SensorReport {
            at: SystemTime::UNIX_EPOCH.checked_add(since_epoch)?,
            die: served.chip.as_ref()?.die.clone(),
            measured: served.readings?.last,
            saturated: false,
            state: Ok(ChipState::from_service(served)?),
        })
    };
    last_result()
        .ok_or_else(|| Error::Bus(format!("does not respond to {}; see its log", service.name)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::{Clock, SimulatedClock};
    use crate::config::{self, Overrides};
    use crate::i2c::Address;
    use crate::ina260::Ina260;
    use crate::ina260::alert::{Function, Polarity};
    use crate::ina260::settings::Settings;
    use crate::simulated::{Board, Chip, Fault, Load};
    use crate::units::{Amperes, Volts, Watts};

    const HERE: Address = Address(0x40);

    /// Returns the default sensor, which is at [`HERE`].
    fn sensor() -> SensorPlan {
        config::load_alone(&Overrides::default()).unwrap().plan.sensors.remove(0)
    }

    /// Reads a chip that a service uses, whose metrics are unknown.
    fn read_shared(bus: &mut dyn Bus, sensor: &SensorPlan) -> SensorReport {
        let service = RunningExporter { name: String::new(), sensors: Err(String::new()) };
        super::read_shared(&service, bus, sensor).unwrap()
    }

    /// A chip as the service left it, with an active alert and a new result.
    fn board() -> Arc<Board> {
        let clock = Arc::new(SimulatedClock::default());
        let board = Board::new(clock.clone(), 400_000);
        board.plug(None, HERE, Chip::exact(Load::steady(12.0, 2.0)));
        let plain = Calibration::default();
        let alert = Alert::new(Function::OverCurrent, 1.5, Polarity::ActiveLow, &plain);
        let chip = Ina260 {
            address: HERE,
            settings: Settings::from_word(0x6E9F),
            alert: alert.ok(),
            configure: true,
            power_guard: true,
        };
        chip.configure(&mut board.clone(), || ()).unwrap();
        clock.wait(Duration::from_secs(2));
        board
    }

    #[test]
    fn exclusive_read_shows_all_and_writes_nothing() {
        let board = board();
        let writes = board.chip(None, HERE, |chip| chip.writes);
        let bus = &mut board.clone();
        let report = SensorReport::read(bus, &sensor(), &mut |_| false).unwrap();
        assert_eq!(
            (report.measured.voltage, report.measured.current, report.measured.power),
            (Volts(12.0), Amperes(2.0), Watts(24.0))
        );
        assert_eq!((report.die.as_str(), report.saturated), ("0x2270", false));
        let state = report.state.unwrap();
        assert_eq!(state.settings.cycle(), Duration::from_micros(942_080));
        let alert =
            ScrapedAlert { on: "over-current".to_owned(), limit: 1.5, unit: "A", active: true };
        assert_eq!((state.ready, state.alert_active, state.alert), (Some(true), true, Some(alert)));
        assert_eq!(board.chip(None, HERE, |chip| chip.writes), writes);
    }

    #[test]
    fn power_guard_of_a_service_is_not_an_alert() {
        let board = board();
        let bus = &mut board.clone();
        for (register, word) in [(0x07, 0xFFF8), (0x06, 0x4001)] {
            bus.write_word(HERE, register, word).unwrap();
        }
        board.chip(None, HERE, |chip| chip.load = Load::steady(12.0, -2.0));
        board.clock.wait(Duration::from_secs(2));
        let report = SensorReport::read(bus, &sensor(), &mut |_| false).unwrap();
        let state = report.state.unwrap();
        assert_eq!((state.alert_active, state.alert), (false, None));
    }

    #[test]
    fn data_read_leaves_flags_to_the_service() {
        let board = board();
        let bus = &mut board.clone();
        let report = read_shared(bus, &sensor());
        assert_eq!((report.measured.power, report.state.is_err()), (Watts(24.0), true));
        // As the service will read them.
        let flags = ina260::read_settings(bus, HERE).unwrap().mask_enable;
        assert!(flags.ready() && flags.alert(), "{flags:?}");
    }

    #[test]
    fn saturated_power_is_voltage_times_current() {
        let board = board();
        board.inject(Fault::Overflow);
        let mut sensor = sensor();
        sensor.calibration.reverse = true;
        // 15 A and 36 V from the next result on.
        let bus = &mut board.clone();
        bus.read_word(HERE, 0x00).unwrap();
        board.clock.wait(Duration::from_secs(2));
        let report = read_shared(bus, &sensor);
        assert_eq!(
            (report.measured.current, report.measured.power, report.saturated),
            (Amperes(-15.0), Watts(-540.0), true)
        );
    }

    #[test]
    fn first_result_after_power_on_is_awaited() {
        let clock = Arc::new(SimulatedClock::default());
        let board = Board::new(clock.clone(), 400_000);
        board.plug(None, HERE, Chip::exact(Load::steady(5.0, 1.0)));
        let mut pauses = Vec::new();
        let mut pause = |time| {
            clock.wait(time);
            pauses.push(time);
            false
        };
        let report = SensorReport::read(&mut board.clone(), &sensor(), &mut pause).unwrap();
        assert_eq!((report.measured.voltage, report.measured.power), (Volts(5.0), Watts(5.0)));
        assert_eq!(pauses, [Duration::from_micros(2_530)]);
        let state = report.state.unwrap();
        assert_eq!((state.settings.word(), state.mode), (0x6127, Mode::BothContinuous));
        assert_eq!((state.alert, state.alert_active), (None, false));
        // Powered down.
        board.clone().write_word(HERE, 0x00, 0x6120).unwrap();
        let bus = &mut board.clone();
        let report = SensorReport::read(bus, &sensor(), &mut |_| false).unwrap();
        let state = report.state.unwrap();
        assert_eq!(state.mode.name(), "power-down");
    }
}
