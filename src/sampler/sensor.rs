//! One sensor on its bus: found, read, lost, found again.

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::backoff::{Backoff, Chatter};
use super::pace::Pace;
use super::report::{own_failure, reading, transfer_failure};
use super::retry::Retry;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::ina260::{self, Error, Ina260, Measurement, Prepared};
use crate::meter::{Failure, Reset, SharedMeter};

/// What the sampler has to know of a sensor.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How messages call it: `sensor orin (bus 1, 0x41)`.
    pub name: String,
    /// Where it is and what it is set to.
    pub chip: Ina260,
    /// Whether the power register is read, too.
    pub with_power: bool,
    /// Where its numbers go.
    pub meter: SharedMeter,
}

/// A sensor and where it stands.
pub(super) struct Sensor {
    pub(super) setup: Setup,
    state: State,
    /// It went up or down, and nobody was told yet.
    changed: bool,
    chatter: Chatter,
    /// Grows while another master keeps writing to the chip.
    foreign: Backoff,
    last_foreign: Option<Instant>,
    /// What a word took on the bus while the sensor was set.
    word_time: Option<Duration>,
}

enum State {
    /// Nobody has looked at it yet.
    New(Instant),
    Running {
        pace: Pace,
        checked: Instant,
    },
    Lost(Outage),
}

struct Outage {
    /// When it is tried next.
    at: Instant,
    backoff: Backoff,
    rounds: u32,
    /// Its beginning was logged, so its end will be.
    told: bool,
}

impl Sensor {
    /// How often settings are compared that the flags do not show.
    const CHECK: Duration = Duration::from_secs(1);
    /// Words that it takes to prove identity and write the settings.
    const PREPARATION: u32 = 9;
    /// After so long without another master's write, the next is the first again.
    const FOREIGN_CALM: Duration = Duration::from_secs(60);

    pub(super) fn new(setup: Setup, now: Instant) -> Self {
        Self {
            setup,
            state: State::New(now),
            changed: false,
            chatter: Chatter::new(now),
            foreign: Backoff::default(),
            last_foreign: None,
            word_time: None,
        }
    }

    /// Goes on under a new setup: with the conversions that run, if its settings are the same.
    pub(super) fn adopt(&mut self, setup: Setup, now: Instant) {
        if setup.chip == self.setup.chip {
            self.setup = setup;
        } else {
            *self = Self::new(setup, now);
        }
    }

    pub(super) fn due(&self) -> Instant {
        match &self.state {
            State::New(at) => *at,
            // A result every minute is no reason to notice only then that the sensor is gone.
            State::Running { pace, checked } => pace.due().min(*checked + Self::CHECK),
            State::Lost(outage) => outage.at,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// What a word takes on the bus, once the sensor was set.
    pub(super) fn word_time(&self) -> Option<Duration> {
        self.word_time
    }

    /// Words a second that it takes to read every result: some looks, and the registers.
    pub(super) fn demand(&self) -> f64 {
        let registers = if self.setup.with_power { 3 } else { 2 };
        f64::from(Pace::LOOKS + registers) / self.setup.chip.settings.cycle().as_secs_f64()
    }

    /// Whether the sensor went up or down since this was asked last.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Looks at the sensor, or for it.
    ///
    /// # Errors
    /// What it failed at; noted, counted and logged already.
    pub(super) fn visit(&mut self, bus: &mut dyn Bus, clock: &dyn Clock) -> Result<(), Error> {
        let begun = clock.now();
        let mut bus = Retry::new(bus);
        let result = if self.is_running() {
            self.look(&mut bus, clock)
        } else {
            self.prepare(&mut bus, clock)
        };
        let now = clock.now();
        let mut meter = self.setup.meter.lock();
        meter.visited(now.duration_since(begun));
        for kind in bus.failures {
            meter.fail(transfer_failure(kind));
        }
        drop(meter);
        result.inspect_err(|error| self.lose(error, now))
    }

    /// Switches the chip's alerts off, if it is there.
    pub(super) fn release(&self, bus: &mut dyn Bus) -> Result<(), Error> {
        if self.is_running() {
            self.setup.chip.release(bus)
        } else {
            Ok(())
        }
    }

    fn look(&mut self, bus: &mut dyn Bus, clock: &dyn Clock) -> Result<(), Error> {
        let chip = self.setup.chip;
        let flags = chip.look(bus)?;
        let now = clock.now();
        let State::Running { pace, checked } = &mut self.state else {
            return Ok(());
        };
        if !chip.is_ours(flags) || now.duration_since(*checked) >= Self::CHECK {
            if let Some(reset) = chip.check(bus, flags)? {
                return self.restore(reset, bus, clock);
            }
            *checked = now;
        }
        if !flags.ready() {
            pace.not_ready(now);
        } else if pace.ready(now) {
            let cycle = pace.cycle();
            let measurement = chip.measure(bus, flags, self.setup.with_power)?;
            self.report(measurement, cycle, clock);
        }
        Ok(())
    }

    fn report(&mut self, measurement: Measurement, cycle: Duration, clock: &dyn Clock) {
        let reading = reading(measurement, clock);
        debug!(
            "{}: {}, {}, {}",
            self.setup.name, reading.voltage, reading.current, reading.power
        );
        let mut meter = self.setup.meter.lock();
        self.changed |= !meter.up;
        meter.cycle = cycle;
        meter.record(reading);
    }

    /// The settings are not ours any more, and so is no result. A brown-out is repaired at once; another master's settings
    /// are left alone for a while, which grows.
    fn restore(
        &mut self,
        reset: ina260::Reset,
        bus: &mut dyn Bus,
        clock: &dyn Clock,
    ) -> Result<(), Error> {
        let now = clock.now();
        match reset {
            ina260::Reset::BrownOut => {
                self.setup.meter.lock().reset(Reset::BrownOut);
                if self.chatter.may_speak(now) {
                    let name = &self.setup.name;
                    warn!(
                        "{name}: all registers have power-on values (a brown-out); writing its settings again"
                    );
                }
                self.prepare(bus, clock)
            }
            ina260::Reset::Foreign => {
                let mut meter = self.setup.meter.lock();
                meter.reset(Reset::Foreign);
                meter.fail(Failure::Settings);
                drop(meter);
                let calm = |last| now.duration_since(last) > Self::FOREIGN_CALM;
                if self.last_foreign.is_none_or(calm) {
                    self.foreign = Backoff::default();
                }
                self.last_foreign = Some(now);
                let pause = self.foreign.pause();
                let what =
                    format!("another master wrote its settings; writing ours again in {pause:?}");
                self.begin_outage(&what, now, pause, 0);
                Ok(())
            }
        }
    }

    /// Proves identity, writes the settings, and starts to pace.
    fn prepare(&mut self, bus: &mut dyn Bus, clock: &dyn Clock) -> Result<(), Error> {
        let chip = self.setup.chip;
        let begun = clock.now();
        let identity = ina260::identify(bus, chip.address)?;
        let prepared = chip.prepare(bus)?;
        let now = clock.now();
        self.word_time = Some(now.duration_since(begun) / Self::PREPARATION);
        let nominal = chip.settings.cycle();
        let mut meter = self.setup.meter.lock();
        meter.die = Some(identity.die);
        meter.cycle = nominal;
        drop(meter);
        let name = &self.setup.name;
        match &self.state {
            State::New(_) => info!(
                "{name}: INA260, die {:#06x}; a result every {:.2} ms",
                identity.die,
                nominal.as_secs_f64() * 1e3
            ),
            State::Lost(Outage {
                rounds: 0,
                told: true,
                ..
            }) => info!("{name}: has our settings again"),
            State::Lost(Outage {
                rounds, told: true, ..
            }) => {
                let s = if *rounds == 1 { "" } else { "s" };
                info!("{name}: answers again after {rounds} failed round{s}");
            }
            State::Lost(_) | State::Running { .. } => {}
        }
        let pace = Pace::new(nominal, now, prepared == Prepared::Adopted);
        self.state = State::Running { pace, checked: now };
        Ok(())
    }

    /// Notes a failure, and when to try again.
    pub(super) fn lose(&mut self, error: &Error, now: Instant) {
        if let Some(failure) = own_failure(error) {
            self.setup.meter.lock().fail(failure);
        }
        if let State::Lost(outage) = &mut self.state {
            outage.rounds += 1;
            outage.at = now + outage.backoff.pause();
            debug!(
                "{}: {error}; failed rounds: {}",
                self.setup.name, outage.rounds
            );
        } else {
            let longest = Backoff::LONGEST;
            let what = format!("{error}; retrying, at first after 1 s, then every {longest:?}");
            self.begin_outage(&what, now, Duration::ZERO, 1);
        }
    }

    /// Gives a running sensor up, and says so; it is tried again after `pause`, or after the first pause of a backoff.
    fn begin_outage(&mut self, what: &str, now: Instant, pause: Duration, rounds: u32) {
        let told = self.chatter.may_speak(now);
        if told {
            warn!("{}: {what}", self.setup.name);
        }
        let mut backoff = Backoff::default();
        let pause = if pause.is_zero() {
            backoff.pause()
        } else {
            pause
        };
        self.state = State::Lost(Outage {
            at: now + pause,
            backoff,
            rounds,
            told,
        });
        self.changed = true;
        self.setup.meter.lock().up = false;
    }
}
