//! One sensor on its bus: found, read, lost, found again.

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::alert_log::AlertLog;
use super::backoff::{Backoff, LogRateLimit};
use super::outage::{ForeignWriteBackoff, Outage};
use super::poller::{Poller, Seen};
use super::report::{Error, overflows, reading, transfer_failure};
use super::setup::Setup;
use super::tracker::Look;
use crate::clock::Clock;
use crate::i2c::Bus;
use crate::i2c::Retry;
use crate::i2c::mux::{self, Multiplexers};
use crate::ina260::{self, Reset};
use crate::meter::{self, ChipInfo, Failure};

/// From this cycle on the power register is read of every sensor; a shorter one needs the bus for its results.
const POWER: Duration = Duration::from_millis(10);

/// A sensor and where it stands.
pub(super) struct Sensor {
    pub(super) setup: Setup,
    state: State,
    /// It went up or down, and nobody was told yet.
    changed: bool,
    chatter: LogRateLimit,
    alert_log: AlertLog,
    truce: ForeignWriteBackoff,
    /// What a word took on the bus, at least, while the sensor was set.
    word_time: Option<Duration>,
}

enum State {
    /// Nobody has looked at it yet.
    New(Instant),
    Running(Box<Poller>),
    Lost(Outage),
}

impl Sensor {
    pub(super) fn new(setup: Setup, now: Instant) -> Self {
        setup.meter.lock().accumulator.mark_down(now);
        Self {
            setup,
            state: State::New(now),
            changed: false,
            chatter: LogRateLimit::new(now),
            alert_log: AlertLog::new(now),
            truce: ForeignWriteBackoff::default(),
            word_time: None,
        }
    }

    /// Goes on under a new setup: with the conversions that run, if its settings are the same.
    pub(super) fn adopt(&mut self, setup: Setup, now: Instant) {
        if setup.chip == self.setup.chip {
            self.setup = setup;
        } else {
            let mut meter = setup.meter.lock();
            meter.mark_down(now);
            meter.set_alert(false);
            drop(meter);
            if let Some(alert) = self.setup.chip.alert {
                self.alert_log.end(&self.setup.name, alert);
            }
            *self = Self::new(setup, now);
        }
    }

    pub(super) fn due(&self) -> Instant {
        match &self.state {
            State::New(at) => *at,
            State::Running(conversions) => conversions.due(),
            State::Lost(outage) => outage.at,
        }
    }

    /// When the result that is due will be overwritten.
    pub(super) fn deadline(&self) -> Instant {
        match &self.state {
            State::Running(conversions) => conversions.due() + conversions.cycle(),
            _ => self.due(),
        }
    }

    /// Whether a result is there by now, or a look is due for another reason.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        match &self.state {
            State::Running(conversions) => conversions.ready_from() <= now,
            State::New(_) | State::Lost(_) => false,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// What a word takes on the bus, once the sensor was set.
    pub(super) fn word_time(&self) -> Option<Duration> {
        self.word_time
    }

    /// Words a second that it takes to read every result: the flags, and the registers.
    pub(super) fn demand(&self) -> f64 {
        let words = if self.with_power() { 4.0 } else { 3.0 };
        words / self.nominal().as_secs_f64()
    }

    /// Whether the sensor went up or down since this was asked last.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The machine suspended for `time`; whatever the sensor did then, nobody knows it.
    pub(super) fn suspended(&mut self, time: Duration) {
        self.setup.meter.lock().accumulator.add_suspended(time);
        if let State::Running(conversions) = &mut self.state {
            conversions.lose_phase();
        }
    }

    /// Looks at the sensor, or for it.
    ///
    /// # Errors
    /// What it failed at; noted, counted and logged already.
    pub(super) fn visit(
        &mut self,
        bus: &mut dyn Bus,
        multiplexers: &mut Multiplexers,
        clock: &dyn Clock,
        begun: Instant,
    ) -> Result<(), Error> {
        let mut bus = Retry::new(bus, clock);
        let mut result = self.reach(&mut bus, multiplexers, clock);
        if let Err(error @ Error::Mux(mux::Error::ControlMismatch { .. })) = &result {
            debug!("{}: {error}; selecting again", self.setup.name);
            self.setup.meter.lock().count_failure(Failure::Mux);
            result = self.reach(&mut bus, multiplexers, clock);
        }
        let now = clock.now();
        let mut meter = self.setup.meter.lock();
        meter.record_poll(now.duration_since(begun));
        for kind in bus.failures {
            meter.count_failure(transfer_failure(kind));
        }
        drop(meter);
        result.inspect_err(|error| {
            multiplexers.forget();
            self.lose(error, now);
        })
    }

    /// Switches the chip's alerts off, if it is there.
    ///
    /// # Errors
    /// A failed transfer.
    pub(super) fn release(
        &self,
        bus: &mut dyn Bus,
        multiplexers: &mut Multiplexers,
    ) -> Result<(), Error> {
        if self.is_running() {
            if let Some(channel) = self.setup.channel {
                multiplexers.select(bus, channel)?;
            }
            self.setup.chip.release(bus)?;
        }
        Ok(())
    }

    /// Opens the way, looks, and reads back that the way was open, before anything that was seen counts.
    fn reach(
        &mut self,
        bus: &mut Retry,
        multiplexers: &mut Multiplexers,
        clock: &dyn Clock,
    ) -> Result<(), Error> {
        if let Some(channel) = self.setup.channel {
            if !self.is_running() {
                // It will be written to, and what was open at the last visit may not be open now.
                multiplexers.forget();
            }
            multiplexers.select(bus, channel)?;
        }
        let before = match &self.state {
            State::Running(conversions) => self.setup.channel.and(Some(conversions.clone())),
            State::New(_) | State::Lost(_) => None,
        };
        let seen = self.look(bus, clock);
        // An empty channel answers nothing. A stuck bus would only be stuck once more.
        if self.setup.channel.is_some()
            && !seen.as_ref().is_err_and(Error::is_timeout)
            && let Err(failure) = multiplexers.verify(bus)
        {
            // The flags and the data may have been another chip's.
            if let Some(before) = before {
                self.state = State::Running(before);
            }
            return Err(failure.into());
        }
        match seen? {
            Visit::Configured(conversions, found) => self.run(conversions, found),
            Visit::Seen(Seen::Nothing) => {}
            Visit::Seen(Seen::Result {
                at,
                measurement,
                cycle,
                alert,
            }) => {
                let reading = reading(measurement, &self.setup.calibration, at, clock.wall());
                debug!("{}: {}", self.setup.name, reading.measured);
                let mut meter = self.setup.meter.lock();
                self.changed |= !meter.up;
                meter.cycle = cycle.period;
                overflows(&measurement).for_each(|quantity| meter.count_overflow(quantity));
                meter.record(reading, &cycle);
                let new = meter.set_alert(alert);
                drop(meter);
                if let Some(set) = self.setup.chip.alert.filter(|_| new) {
                    self.alert_log
                        .tell(&self.setup.name, set, alert, clock.now());
                }
            }
            Visit::Seen(Seen::Reset(reset)) => {
                return self.restore(reset, bus, multiplexers, clock);
            }
        }
        Ok(())
    }

    /// The cycle that the chip is set to, or is to be.
    fn nominal(&self) -> Duration {
        match &self.state {
            State::Running(conversions) => conversions.nominal(),
            State::New(_) | State::Lost(_) => self.setup.chip.settings.cycle(),
        }
    }

    /// Whether the power register is read, too.
    fn with_power(&self) -> bool {
        self.setup.always_power || self.nominal() >= POWER
    }

    fn look(&mut self, bus: &mut Retry, clock: &dyn Clock) -> Result<Visit, Error> {
        let with_power = self.with_power();
        if let State::Running(conversions) = &mut self.state {
            let seen = conversions.look(&self.setup.chip, with_power, bus, clock)?;
            return Ok(Visit::Seen(seen));
        }
        self.prepare(bus, clock)
    }

    /// Proves identity and writes the settings.
    fn prepare(&mut self, bus: &mut Retry, clock: &dyn Clock) -> Result<Visit, Error> {
        let chip = &self.setup.chip;
        let die = ina260::identify(bus, chip.address)?;
        let mut start: Option<Look> = None;
        let registers = chip.configure(bus, || {
            let ended = clock.now();
            let begun = start.map_or(ended, |start| start.begun);
            start = Some(Look { begun, ended });
        })?;
        let now = clock.now();
        self.word_time = bus.fastest_word;
        let settings = registers.settings();
        let found = ChipInfo {
            die,
            averaging: settings.averaging.count(),
            voltage_micros: settings.voltage_conversion_time.micros(),
            current_micros: settings.current_conversion_time.micros(),
        };
        Ok(Visit::Configured(
            Box::new(Poller::new(registers, start, now)),
            found,
        ))
    }

    /// Starts over with new conversions.
    fn run(&mut self, conversions: Box<Poller>, found: ChipInfo) {
        let cycle = conversions.cycle();
        let mut meter = self.setup.meter.lock();
        meter.chip = Some(found);
        meter.cycle = cycle;
        meter.accumulator.restart(conversions.started());
        drop(meter);
        let (name, die) = (&self.setup.name, found.die);
        match &self.state {
            State::New(_) => {
                let millis = cycle.as_secs_f64() * 1e3;
                info!("{name}: INA260, die {die:#06x}; a result every {millis:.2} ms");
            }
            State::Lost(outage) => {
                if let Some(end) = outage.end() {
                    info!("{name}: {end}");
                }
            }
            State::Running(_) => {}
        }
        self.state = State::Running(conversions);
    }

    /// The settings are not what they were, and so is no result. A brown-out is repaired at once; another master's settings are
    /// left alone for a while, which grows; where they are not ours to make, the new ones are taken.
    fn restore(
        &mut self,
        reset: Reset,
        bus: &mut Retry,
        multiplexers: &mut Multiplexers,
        clock: &dyn Clock,
    ) -> Result<(), Error> {
        let now = clock.now();
        let mut meter = self.setup.meter.lock();
        meter.count_reset(match reset {
            Reset::BrownOut => meter::Reset::BrownOut,
            Reset::Foreign => meter::Reset::Foreign,
        });
        meter.accumulator.mark_down(now);
        drop(meter);
        if reset == Reset::Foreign && self.setup.chip.configure {
            self.yield_to_another_master(now);
            return Ok(());
        }
        if reset == Reset::BrownOut && self.chatter.allow(now) {
            let name = &self.setup.name;
            warn!("{name}: all registers have power-on values (a brown-out); starting over");
        }
        if let Visit::Configured(conversions, found) = self.prepare(bus, clock)? {
            if self.setup.channel.is_some() {
                multiplexers.verify(bus)?;
            }
            self.run(conversions, found);
        }
        Ok(())
    }

    fn yield_to_another_master(&mut self, now: Instant) {
        self.setup.meter.lock().count_failure(Failure::Settings);
        let pause = self.truce.pause(now);
        let what = format!("another master wrote its settings; writing ours again in {pause:?}");
        self.begin_outage(&what, now, Outage::left_alone(now + pause));
    }

    /// Notes a failure, and when to try again.
    pub(super) fn lose(&mut self, error: &Error, now: Instant) {
        if let Some(failure) = error.own_failure() {
            self.setup.meter.lock().count_failure(failure);
        }
        if let State::Lost(outage) = &mut self.state {
            outage.failed_again(now);
            debug!(
                "{}: {error}; failed rounds: {}",
                self.setup.name, outage.rounds
            );
        } else {
            let longest = Backoff::LONGEST;
            let what = format!("{error}; retrying, at first after 1 s, then every {longest:?}");
            self.begin_outage(&what, now, Outage::failed(now));
        }
    }

    /// Gives a sensor up for the time being, and says so.
    fn begin_outage(&mut self, what: &str, now: Instant, mut outage: Outage) {
        outage.told = self.chatter.allow(now);
        if outage.told {
            warn!("{}: {what}", self.setup.name);
        }
        self.state = State::Lost(outage);
        self.changed = true;
        self.setup.meter.lock().mark_down(now);
    }
}

/// What a visit brings, before it is certain that it came from the right sensor.
enum Visit {
    Configured(Box<Poller>, ChipInfo),
    Seen(Seen),
}
