//! Sensors on buses that no other program uses: the sampler measures them, and their registers are
//! restored at the end.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Options, Slice};
use crate::commands::Failure;
use crate::commands::read::reader::Reader;
use crate::config::{Plan, SensorPlan};
use crate::i2c::{Bus, Location};
use crate::ina260::registers::Register;
use crate::ina260::settings::{PartialSettings, Settings, TooShort};
use crate::ina260::{self, RegisterDump};
use crate::meter::{Cycle, SharedMeter};
use crate::supervisor::{BusProvider, NothingToMeasure, Supervisor};
use crate::units::Measured;

/// Owner in the bus lock, in place of a daemon's URL.
const OWNER: &str = "ina260-exporter run or calibrate";
/// Transfers that a result takes: flags, current, voltage, power.
const TRANSFERS: f64 = 4.0;
/// Part of a bus that the results may take; the rest is for early polls and checks.
const MAX_LOAD: f64 = 0.75;
/// Part of a bus that is used where the cycle is not given.
const LOAD: f64 = 0.5;
/// Shortest cycle used by default: shorter ones would occupy a processor that the command needs.
const MIN_CYCLE: f64 = 0.002;
/// Longest wait for the bus threads to stop.
const STOP_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Sensors that this process measures.
pub(super) struct Direct {
    supervisor: Supervisor,
    reader: Reader,
    /// Registers of the chips that are configured, as they were found.
    found: Vec<(SensorPlan, RegisterDump)>,
}

/// The outcome of [`Direct::open`].
pub(super) struct Opened {
    /// `None`: no sensor responds.
    pub(super) direct: Option<Direct>,
    pub(super) provider: BusProvider,
    /// Reasons why some sensors are not measured.
    pub(super) messages: Vec<String>,
}

impl Direct {
    /// Reads the registers of the chips, selects their cycles, and starts to measure.
    ///
    /// # Errors
    /// [`Failure::Usage`] if a bus does not carry a cycle, [`Failure::Nothing`].
    pub(super) fn open(
        mut plan: Plan,
        provider: BusProvider,
        options: Options,
    ) -> Result<Opened, Failure> {
        let mut reader = Reader::new(&plan, provider, false);
        let (mut found, mut messages) = (Vec::new(), Vec::new());
        // Time of a transfer, by bus.
        let mut words = BTreeMap::new();
        for sensor in std::mem::take(&mut plan.sensors) {
            let (bus, address) = (sensor.location.bus, sensor.location.address);
            let read = reader.on_chip(sensor.location, |bus| {
                ina260::identify(bus, address)?;
                let registers = ina260::read_settings(bus, address)?;
                let mut word = Duration::MAX;
                for _ in 0..8 {
                    let begun = Instant::now();
                    ina260::read(bus, address, Register::DieId)?;
                    word = word.min(begun.elapsed());
                }
                Ok((registers, word))
            });
            match read {
                Ok((registers, word)) => {
                    let fastest = words.entry(bus).or_insert(word);
                    *fastest = word.min(*fastest);
                    found.push((sensor, registers));
                }
                Err(error) => {
                    let SensorPlan { device, location, .. } = sensor;
                    messages.push(format!("sensor {device} ({location}): {error}"));
                }
            }
        }
        for (bus, word) in words {
            let on_bus = found.iter_mut().filter(|(sensor, _)| sensor.location.bus == bus);
            set_cycles(on_bus.collect(), word, options).map_err(Failure::Usage)?;
        }
        plan.sensors = found.iter().map(|(sensor, _)| sensor.clone()).collect();
        // Without it, short cycles would mismeasure a pulsed load.
        plan.script_metrics = true;
        let provider = reader.provider.clone();
        if found.is_empty() {
            return Ok(Opened { direct: None, provider, messages });
        }
        let nothing = |NothingToMeasure(messages)| Failure::Nothing(messages);
        let supervisor = Supervisor::open(plan, provider.clone(), OWNER.to_owned());
        let direct = Self { supervisor: supervisor.map_err(nothing)?, reader, found };
        for (_, meter) in direct.supervisor.sensors() {
            meter.lock().take_results();
        }
        Ok(Opened { direct: Some(direct), provider, messages })
    }

    /// Writes to the chips from now on.
    pub(super) fn start(&mut self) -> io::Result<()> {
        self.supervisor.start(Arc::new(|| ()))
    }

    pub(super) fn sensors(&self) -> impl Iterator<Item = (&SensorPlan, &SharedMeter)> {
        self.supervisor.sensors()
    }

    /// Stops the sampler and restores the registers. Returns what failed.
    pub(super) fn close(mut self) -> Vec<String> {
        if !self.supervisor.stop(STOP_TIMEOUT) {
            // It ends with the process.
            return vec!["a transfer is still blocked; registers not restored".to_owned()];
        }
        let configured = self.found.iter().filter(|(sensor, _)| sensor.configure);
        let failed = configured.filter_map(|(SensorPlan { device, location, .. }, registers)| {
            let Location { address, .. } = *location;
            let write = |bus: &mut dyn Bus| ina260::write_settings(bus, address, registers);
            let error = self.reader.on_chip(*location, write).err()?;
            Some(format!("sensor {device} ({location}): registers not restored: {error}"))
        });
        failed.collect()
    }
}

/// Sets the cycles of the sensors of one bus, on which a transfer takes the time of a `word`.
fn set_cycles(
    mut sensors: Vec<&mut (SensorPlan, RegisterDump)>,
    word: Duration,
    options: Options,
) -> Result<(), String> {
    let count = sensors.iter().map(|_| 1.0).sum::<f64>();
    let per_result = TRANSFERS * word.as_secs_f64();
    let shortest = (count * per_result / LOAD).max(MIN_CYCLE);
    let interval = options.interval.unwrap_or(Duration::from_secs_f64(shortest));
    let partial = PartialSettings { averaging: options.averaging, ..PartialSettings::default() };
    let mut demand = 0.0;
    for (sensor, registers) in &mut sensors {
        sensor.settings = if sensor.configure {
            Settings::for_interval(interval, partial).map_err(|TooShort(min)| {
                format!("--interval {interval:?} is too short; the chip needs {min:?}")
            })?
        } else {
            registers.settings()
        };
        // The comparator belongs to the power guard for this time.
        sensor.alert = None;
        demand += per_result / sensor.settings.cycle().as_secs_f64();
    }
    let fastest = sensors.iter().min_by_key(|(sensor, _)| sensor.settings.cycle());
    let Some((sensor, _)) = fastest.filter(|_| demand > MAX_LOAD) else { return Ok(()) };
    let remedy = if sensor.configure {
        "use a longer --interval"
    } else {
        "configure the other master for more averaging"
    };
    Err(format!(
        "sensor {} ({}): a result every {:?} is more than bus {} can carry: the sensors measured \
         on it ({count}) need a cycle of at least {:.1} ms (a transfer takes {word:?}); {remedy}",
        sensor.device,
        sensor.location,
        sensor.settings.cycle(),
        sensor.location.bus,
        count * per_result / MAX_LOAD * 1e3,
    ))
}

#[expect(clippy::cast_precision_loss, reason = "less than 2^53 results")]
fn whole(count: u64) -> f64 {
    count as f64
}

/// Returns a result as a slice; `last` is the end of the one before it.
pub(super) fn slice(measured: &Measured, cycle: &Cycle, last: &mut Option<Instant>) -> Slice {
    /// A result covers the time since the last one, unless that is longer than this many cycles.
    const MAX_PERIODS: f64 = 1.5;
    /// Maximum error of the end of a cycle, in cycles: the limit of the tracker.
    const EDGE: f64 = 0.15;
    let (end, period) = (cycle.end, cycle.period);
    let previous = last.replace(end).map(|last| end.saturating_duration_since(last));
    let time = match (previous, cycle.elapsed) {
        (Some(span), Some(elapsed @ 1..)) => {
            let time = span / u32::try_from(elapsed).unwrap_or(u32::MAX);
            if time > period.mul_f64(MAX_PERIODS) { period } else { time }
        }
        (Some(span), Some(0) | None) => span.min(period),
        (None, _) => period,
    };
    Slice {
        begin: end.checked_sub(time).unwrap_or(end),
        end,
        measured: time,
        watts: measured.power.0,
        last: *measured,
        missed: whole(cycle.missed),
        edge: period.mul_f64(EDGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slice_is_the_time_since_the_last_result() {
        let start = Instant::now();
        let period = Duration::from_millis(4);
        let at = |cycles: f64| start + period.mul_f64(cycles);
        let measured = Measured::new(5.0, 1.0, 5.0);
        let mut last = None;
        for (end, elapsed, begin, missed) in [
            (1.0, Some(1), 0.0, 0),
            (2.25, Some(1), 1.0, 0),
            // Two were missed; then the number is unknown; then the sensor was down.
            (5.25, Some(3), 4.25, 2),
            (8.25, None, 7.25, 0),
            (100.0, Some(1), 99.0, 0),
        ] {
            let cycle = Cycle { end: at(end), elapsed, missed, period };
            let slice = slice(&measured, &cycle, &mut last);
            assert_eq!((slice.end, slice.begin), (at(end), at(begin)), "{end}");
            assert_eq!((slice.measured, slice.missed), (slice.end - slice.begin, whole(missed)));
        }
    }
}
