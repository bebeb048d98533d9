//! One result of a sensor with everything around it: of the chip itself, or, on a bus in use, what the service says beside it.

use std::time::{Duration, SystemTime};

use crate::i2c::{Address, Bus};
use crate::ina260::alert::Alert;
use crate::ina260::calibration::Calibration;
use crate::ina260::registers::POWER_ON_CONFIGURATION;
use crate::ina260::settings::Mode;
use crate::ina260::{self, Error, Measurement, RegisterDump};
use crate::scrape::ScrapedSensor;
use crate::units::Measured;

/// The power register's end of scale, 419.43 W: beyond it only voltage times current is right.
const POWER_LIMIT: u16 = 41_943;

/// A chip's clock is up to 10 % slow.
const SLOWEST: f64 = 1.15;
/// What a person waits for a chip that takes longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a sensor shows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) at: SystemTime,
    /// The die identity register.
    pub(super) die: String,
    pub(super) measured: Measured,
    /// A quantity is at the end of its register.
    pub(super) saturated: bool,
    /// Or why nobody could tell, where reading it would disturb the service.
    pub(super) state: Result<State, String>,
}

/// How a sensor is set, and its flags.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub(super) averaging: u32,
    pub(super) voltage_micros: u32,
    pub(super) current_micros: u32,
    pub(super) mode: Mode,
    /// The configuration register; `None`: all of this comes from the service.
    configuration: Option<u16>,
    /// A result that nobody had seen; `None`: the service takes it.
    pub(super) ready: Option<bool>,
    /// What the comparator watches, with the limit in its base unit.
    pub(super) alert: Option<(String, f64)>,
    /// The comparator saw its limit crossed.
    pub(super) alert_active: bool,
}

impl State {
    /// Both quantities are converted, again and again: else the result may be of any age.
    pub(super) fn is_continuous(&self) -> bool {
        self.mode == Mode::BothContinuous
    }

    /// Nobody has set it since its power came.
    pub(super) fn is_as_at_power_on(&self) -> bool {
        self.configuration == Some(POWER_ON_CONFIGURATION)
    }

    /// Whether it is what the service says, and not the chip.
    pub(super) fn is_the_services(&self) -> bool {
        self.configuration.is_none()
    }

    /// Microseconds from one result to the next, nominally.
    pub(super) fn cycle_micros(&self) -> u32 {
        (self.voltage_micros + self.current_micros) * self.averaging
    }
}

/// Reads everything of a chip that nobody else uses. No setting is changed; the ready flag and a latched alert are cleared. A chip that
/// has just come to power has no result yet: then there is a `pause` of one cycle.
pub(super) fn of_a_chip(
    bus: &mut dyn Bus,
    address: Address,
    calibration: &Calibration,
    pause: &mut dyn FnMut(Duration),
) -> Result<Seen, Error> {
    let die = ina260::identify(bus, address)?;
    let mut held = ina260::read_settings(bus, address)?;
    let mut measurement = ina260::measure(bus, address, held.mask_enable.overflow(), true)?;
    let is_empty = (measurement.voltage_word, measurement.current_word) == (0, 0);
    if is_empty && !held.mask_enable.ready() {
        let cycle = state(&held, calibration).cycle_micros();
        pause(
            Duration::from_micros(cycle.into())
                .mul_f64(SLOWEST)
                .min(LONGEST_PAUSE),
        );
        held = ina260::read_settings(bus, address)?;
        measurement = ina260::measure(bus, address, held.mask_enable.overflow(), true)?;
    }
    let state = state(&held, calibration);
    Ok(seen(die, measurement, calibration, Ok(state)))
}

fn state(held: &RegisterDump, calibration: &Calibration) -> State {
    let settings = held.settings();
    let flags = held.mask_enable;
    let alert = Alert::from_words(flags.kept(), held.alert_limit, calibration);
    State {
        averaging: settings.averaging.count(),
        voltage_micros: settings.voltage_conversion_time.micros(),
        current_micros: settings.current_conversion_time.micros(),
        mode: Mode::from_word(held.configuration),
        configuration: Some(held.configuration),
        ready: Some(flags.ready()),
        alert: alert.map(|alert| (alert.function.name().to_owned(), alert.limit)),
        alert_active: flags.alert(),
    }
}

/// Reads identity and data of a chip that the service uses, which disturbs nobody; the rest is what the service says.
pub(super) fn beside_the_service(
    bus: &mut dyn Bus,
    address: Address,
    calibration: &Calibration,
    state: Result<State, String>,
) -> Result<Seen, Error> {
    let die = ina260::identify(bus, address)?;
    let measurement = ina260::measure(bus, address, false, true)?;
    Ok(seen(die, measurement, calibration, state))
}

/// What the service says of a sensor behind a multiplexer, which only the service can switch. `None`: it does not answer the service.
pub(super) fn of_the_service(served: &ScrapedSensor) -> Option<Seen> {
    Some(Seen {
        at: SystemTime::now(),
        die: served.chip.as_ref()?.die.clone(),
        measured: served.readings?.last,
        saturated: false,
        state: Ok(state_of(served)?),
    })
}

fn seen(
    die: u16,
    mut measurement: Measurement,
    calibration: &Calibration,
    state: Result<State, String>,
) -> Seen {
    // The flag could not be read everywhere; the register says the same.
    measurement.overflow |= measurement
        .power_word
        .is_some_and(|word| word >= POWER_LIMIT);
    Seen {
        at: SystemTime::now(),
        die: format!("{die:#06x}"),
        measured: calibration.apply(measurement.measured()),
        saturated: measurement.overflow
            || measurement.voltage_saturated()
            || measurement.current_saturated(),
        state,
    }
}

pub(super) fn state_of(served: &ScrapedSensor) -> Option<State> {
    let chip = served.chip.as_ref()?;
    let alert = served.alert.as_ref();
    Some(State {
        averaging: chip.averaging,
        voltage_micros: chip.voltage_micros,
        current_micros: chip.current_micros,
        mode: Mode::BothContinuous,
        configuration: None,
        ready: None,
        alert: alert.map(|alert| (alert.on.clone(), alert.limit)),
        alert_active: alert.is_some_and(|alert| alert.active),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::{Clock, SimulatedClock};
    use crate::ina260::Ina260;
    use crate::ina260::alert::{Function, Polarity};
    use crate::ina260::settings::Settings;
    use crate::simulated::{Board, Chip, Fault, Load};
    use crate::units::{Amperes, Volts, Watts};

    const HERE: Address = Address(0x40);

    /// A chip as the service left it, with an alert that has tripped and a result that nobody has seen.
    fn board() -> Arc<Board> {
        let clock = Arc::new(SimulatedClock::default());
        let board = Board::new(clock.clone(), 400_000);
        board.plug(HERE, Chip::new(Load::steady(12.0, 2.0)));
        let plain = Calibration::default();
        let alert = Alert::new(Function::OverCurrent, 1.5, Polarity::ActiveLow, &plain);
        let chip = Ina260 {
            address: HERE,
            settings: Settings::from_word(0x6E9F),
            alert: alert.ok(),
            configure: true,
        };
        chip.configure(&mut board.bus(), || ()).unwrap();
        clock.wait(Duration::from_secs(2));
        board
    }

    #[test]
    fn a_chip_that_nobody_uses_shows_everything_and_keeps_its_settings() {
        let board = board();
        let writes = board.chip(HERE, |chip| chip.writes);
        let seen = of_a_chip(&mut board.bus(), HERE, &Calibration::default(), &mut |_| ()).unwrap();
        assert_eq!(
            (
                seen.measured.voltage,
                seen.measured.current,
                seen.measured.power
            ),
            (Volts(12.0), Amperes(2.0), Watts(24.0))
        );
        assert_eq!((seen.die.as_str(), seen.saturated), ("0x2270", false));
        let state = seen.state.unwrap();
        assert_eq!(state.cycle_micros(), 942_080);
        assert_eq!(
            (state.ready, state.alert_active, state.alert),
            (Some(true), true, Some(("over-current".to_owned(), 1.5)))
        );
        assert_eq!(board.chip(HERE, |chip| chip.writes), writes);
    }

    #[test]
    fn beside_the_service_neither_the_ready_flag_nor_the_alert_is_taken() {
        let board = board();
        let bus = &mut board.bus();
        let seen =
            beside_the_service(bus, HERE, &Calibration::default(), Err(String::new())).unwrap();
        assert_eq!(
            (seen.measured.power, seen.state),
            (Watts(24.0), Err(String::new()))
        );
        // The next to look is the service.
        let flags = ina260::read_settings(bus, HERE).unwrap().mask_enable;
        assert!(flags.ready() && flags.alert(), "{flags:?}");
    }

    #[test]
    fn a_calibration_is_applied_and_a_power_beyond_its_register_is_not_cut() {
        let board = board();
        board.inject(Fault::Overflow);
        let calibration = Calibration {
            reverse: true,
            ..Calibration::default()
        };
        // 15 A and 36 V, from the next result on.
        let bus = &mut board.bus();
        bus.read_word(HERE, 0x00).unwrap();
        board.wait(Duration::from_secs(2));
        let seen = beside_the_service(bus, HERE, &calibration, Err(String::new())).unwrap();
        assert_eq!(
            (seen.measured.current, seen.measured.power, seen.saturated),
            (Amperes(-15.0), Watts(-540.0), true)
        );
    }

    #[test]
    fn a_chip_that_has_just_come_to_power_is_given_the_time_for_a_result() {
        let clock = Arc::new(SimulatedClock::default());
        let board = Board::new(clock.clone(), 400_000);
        board.plug(HERE, Chip::new(Load::steady(5.0, 1.0)));
        let mut pauses = Vec::new();
        let mut pause = |time| {
            clock.wait(time);
            pauses.push(time);
        };
        let plain = Calibration::default();
        let seen = of_a_chip(&mut board.bus(), HERE, &plain, &mut pause).unwrap();
        assert_eq!(
            (seen.measured.voltage, seen.measured.power),
            (Volts(5.0), Watts(5.0))
        );
        assert_eq!(pauses, [Duration::from_micros(2_530)]);
        let state = seen.state.unwrap();
        assert!(state.is_as_at_power_on() && state.is_continuous());
        assert_eq!((state.alert, state.alert_active), (None, false));
        // Powered down.
        board.bus().write_word(HERE, 0x00, 0x6120).unwrap();
        let seen = of_a_chip(&mut board.bus(), HERE, &Calibration::default(), &mut |_| ()).unwrap();
        let state = seen.state.unwrap();
        assert_eq!(
            (state.mode.name(), state.is_continuous()),
            ("power-down", false)
        );
    }
}
