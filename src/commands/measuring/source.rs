//! Sources of results: chips on buses that no other program uses, or the service that uses the bus.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use super::{Sensor, Slice};
use crate::commands::read::reader::Reader;
use crate::i2c::Location;
use crate::ina260::registers::Register;
use crate::ina260::settings::{Averaging, PartialSettings, Settings};
use crate::ina260::{self, RegisterDump};
use crate::meter::Cycle;
use crate::scrape::ScrapedSensor;
use crate::units::Measured;

/// Transfers that a result takes: flags, current, voltage, power.
const TRANSFERS: f64 = 4.0;
/// Maximum share of the bus time for results; the rest is for early polls and checks.
const MAX_LOAD: f64 = 0.75;
/// Share of the bus time for results if no interval is given; the cycle may be 18 % shorter.
const LOAD: f64 = 0.5;
/// Shortest default interval, in seconds: shorter ones occupy a processor that the command needs.
const MIN_INTERVAL: f64 = 0.002;
/// Longest cycle without averaging: the longest conversion of each quantity.
const MAX_UNAVERAGED: Duration = Duration::from_micros(2 * 8_244);

/// How a sensor is measured.
pub(in crate::commands) enum Source {
    /// With the registers of the chip as they were found, and the time that a transfer takes.
    Direct(RegisterDump, Duration),
    /// With the name of the service for messages.
    Service(String),
}

/// Returns how a sensor is measured, or why it is not.
pub(super) fn find(reader: &mut Reader, at: Location, direct: bool) -> Result<Source, String> {
    let Location { bus, address, .. } = at;
    if let Some(exporter) = reader.exporters.find(bus, &reader.provider) {
        let name = &exporter.name;
        let (reason, remedy) = match exporter.sensor(at) {
            Ok(_) if !direct => return Ok(Source::Service(name.clone())),
            Ok(_) => (
                format!("bus {bus} is in use by {name}, which would lose results and settings"),
                "omit --direct to measure through it, or stop it first",
            ),
            Err(reason) if direct || exporter.sensors.is_err() => (reason, "stop it first"),
            Err(reason) => (reason, "stop it first, or configure the sensor there"),
        };
        return Err(format!("not measured ({reason}); {remedy}"));
    }
    let probed = reader.on_chip(at, |bus| {
        ina260::identify(bus, address)?;
        let registers = ina260::read_settings(bus, address)?;
        let mut transfer = Duration::MAX;
        for _ in 0..8 {
            let begun = Instant::now();
            ina260::read(bus, address, Register::DieId)?;
            transfer = transfer.min(begun.elapsed());
        }
        Ok(Source::Direct(registers, transfer))
    });
    probed.map_err(|error| error.to_string())
}

/// Sets the cycles of directly measured sensors, or returns why one is too short for bus or chip.
pub(super) fn set_cycles(
    sensors: &mut [Sensor],
    interval: Option<Duration>,
    averaging: Option<Averaging>,
) -> Result<(), String> {
    let mut buses: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Sensor { plan, source, .. } in sensors {
        if let Ok(Source::Direct(registers, transfer)) = source {
            let on_bus = buses.entry(plan.location.bus).or_default();
            on_bus.push((plan, registers.settings(), *transfer));
        }
    }
    for (bus, mut sensors) in buses {
        let count = sensors.iter().map(|_| 1.0).sum::<f64>();
        let transfer = sensors.iter().map(|(.., transfer)| *transfer).min().unwrap_or_default();
        let per_result = TRANSFERS * transfer.as_secs_f64();
        let shortest = (count * per_result / LOAD).max(MIN_INTERVAL);
        let interval = interval.unwrap_or(Duration::from_secs_f64(shortest));
        // A slow bus needs a longer cycle than there is without averaging.
        let averaging = averaging.filter(|_| interval <= MAX_UNAVERAGED);
        let partial = PartialSettings { averaging, ..PartialSettings::default() };
        let mut demand = 0.0;
        for (sensor, found, _) in &mut sensors {
            sensor.settings = if sensor.configure {
                Settings::for_interval(interval, partial).map_err(|min| {
                    format!("--interval {interval:?} is too short; the chip needs {min:?}")
                })?
            } else {
                *found
            };
            // The comparator is needed for the power guard.
            sensor.alert = None;
            demand += per_result / sensor.settings.cycle().as_secs_f64();
        }
        let fastest = sensors.into_iter().map(|it| it.0).min_by_key(|it| it.settings.cycle());
        if let Some(sensor) = fastest.filter(|_| demand > MAX_LOAD) {
            let cycle = sensor.settings.cycle();
            let min_millis = count * per_result / MAX_LOAD * 1e3;
            let remedy = if sensor.configure {
                "use a longer --interval"
            } else {
                "configure the other master for more averaging"
            };
            return Err(format!(
                "{sensor}: a result every {cycle:?} is more than bus {bus} can carry: the sensors \
                 measured on it ({count}) need a cycle of at least {min_millis:.1} ms (a transfer \
                 takes {transfer:?}); {remedy}"
            ));
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "less than 2^53 results")]
pub(super) fn slice((result, cycle, time): &(Measured, Cycle, Duration)) -> Slice {
    /// Maximum error of the end of a cycle, in cycles: the limit of the tracker.
    const EDGE: f64 = 0.15;
    Slice {
        begin: cycle.end.checked_sub(*time).unwrap_or(cycle.end),
        end: cycle.end,
        measured: *time,
        watts: result.power.0,
        last: *result,
        missed: cycle.missed as f64,
        edge: cycle.period.mul_f64(EDGE),
    }
}

/// Results of a sensor as they arrive.
#[derive(Debug, Default)]
pub(in crate::commands) struct Stream {
    /// Time from one result to the next.
    pub(in crate::commands) cycle: Duration,
    /// Number of times that the counters of the service were reset.
    pub(in crate::commands) restarts: u32,
    pub(super) is_up: bool,
    /// Time of the last new result, and the scrape that contains it.
    last: Option<(Instant, ScrapedSensor)>,
}

impl Stream {
    /// Takes a scrape, `None` if it failed. Returns the results since the previous one, if any.
    pub(super) fn advance(
        &mut self,
        scraped: Option<&ScrapedSensor>,
        (now, wall): (Instant, SystemTime),
    ) -> Option<Slice> {
        /// Margin for the time from the end of a cycle to the timestamp of its result, in cycles:
        /// the service polls in steps of a sixteenth, and then reads the registers.
        const EDGE: f64 = 0.25;
        let scraped = scraped.filter(|scraped| scraped.up);
        self.is_up = scraped.is_some();
        let scraped = scraped?;
        let last = scraped.readings?.last;
        let result = Duration::try_from_secs_f64(scraped.last_result?).ok()?;
        let at = SystemTime::UNIX_EPOCH.checked_add(result)?;
        let age = wall.duration_since(at).unwrap_or_default();
        let end = now.checked_sub(age)?;
        let cycle = scraped.cycle.and_then(|cycle| Duration::try_from_secs_f64(cycle).ok());
        self.cycle = cycle.unwrap_or(self.cycle);
        let (begin, previous) = self.last.replace((end, scraped.clone()))?;
        let [watts, results] = [0, 1].map(|it| scraped.power[it] - previous.power[it]);
        if scraped.epoch.map(f64::to_bits) != previous.epoch.map(f64::to_bits) || results < 0.0 {
            self.restarts += 1;
            return None;
        }
        if results < 0.5 || end <= begin {
            self.last = Some((begin, previous));
            return None;
        }
        let span = end.duration_since(begin);
        // A timestamp is the time of reading: a span without a gap may differ by part of a cycle.
        let covered = Duration::try_from_secs_f64(self.cycle.as_secs_f64() * results).ok()?;
        let missed = [scraped, &previous].map(|it| it.errors.get("missed").copied());
        let [missed, missed_before] = missed.map(Option::unwrap_or_default);
        Some(Slice {
            begin,
            end,
            measured: if span < covered.saturating_add(self.cycle / 2) { span } else { covered },
            watts: watts / results,
            last,
            missed: missed - missed_before,
            edge: self.cycle.mul_f64(EDGE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::Readings;
    use crate::units::Measured;

    const SECOND: Duration = Duration::from_secs(1);

    fn scraped(seconds: f64, sum: f64, count: f64) -> ScrapedSensor {
        let last = Measured::new(5.0, 1.0, 5.0);
        ScrapedSensor {
            up: true,
            readings: Some(Readings { last, min: last, max: last }),
            last_result: Some(1_767_225_600.0 + seconds),
            power: [sum, count],
            cycle: Some(0.5),
            epoch: [1_767_225_000.0, 0.0],
            ..ScrapedSensor::default()
        }
    }

    /// Scrapes a second apart, each half a second after its last result.
    fn slices(scrapes: &[Option<ScrapedSensor>]) -> (Vec<Option<Slice>>, Stream, Instant) {
        let start = Instant::now();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_500);
        let mut stream = Stream::default();
        let slices = (0_u32..).zip(scrapes).map(|(index, scraped)| {
            let time = SECOND * index;
            stream.advance(scraped.as_ref(), (start + time, wall + time))
        });
        (slices.collect(), stream, start)
    }

    #[test]
    fn results_between_scrapes_are_one_slice() {
        let same = scraped(1.0, 30.0, 12.0);
        let (slices, stream, start) =
            slices(&[Some(scraped(0.0, 20.0, 10.0)), Some(same.clone()), Some(same)]);
        let half = Duration::from_millis(500);
        let slice = slices[1].unwrap();
        // Two results with 10 W together.
        assert_eq!((slice.watts, slice.measured), (5.0, SECOND));
        assert!(slice.begin.duration_since(start - half) < Duration::from_micros(1));
        assert!(slice.end.duration_since(start + half) < Duration::from_micros(1));
        assert_eq!((slices[0], slices[2], stream.restarts), (None, None, 0));
    }

    #[test]
    fn gap_between_results_is_unmeasured() {
        let (slices, ..) = slices(&[
            Some(scraped(0.0, 20.0, 10.0)),
            None,
            None,
            Some(ScrapedSensor {
                errors: [("missed".to_owned(), 4.0)].into(),
                ..scraped(3.0, 30.0, 12.0)
            }),
        ]);
        let slice = slices[3].unwrap();
        assert_eq!((slice.measured, slice.end - slice.begin), (SECOND, 3 * SECOND));
        assert_eq!(slice.missed, 4.0);
    }

    #[test]
    fn reset_of_the_counters_is_noticed() {
        let before = scraped(0.0, 20.0, 10.0);
        let rebuilt = ScrapedSensor { epoch: [1_767_225_000.0, 1.0], ..scraped(1.0, 60.0, 12.0) };
        let restarted = ScrapedSensor { epoch: [1_767_225_601.0, 0.0], ..scraped(1.0, 60.0, 12.0) };
        for after in [scraped(1.0, 5.0, 1.0), rebuilt, restarted] {
            let (slices, stream, _) = slices(&[Some(before.clone()), Some(after)]);
            assert_eq!((slices[1], stream.restarts), (None, 1));
        }
    }

    #[test]
    fn impossible_numbers_are_no_result() {
        for impossible in [
            scraped(1.0, 30.0, f64::NAN),
            scraped(1.0, 30.0, f64::INFINITY),
            scraped(1.0, 30.0, 1e300),
            scraped(1e19, 30.0, 12.0),
            ScrapedSensor { cycle: Some(1e19), ..scraped(1.0, 30.0, 12.0) },
        ] {
            let (slices, ..) = slices(&[Some(scraped(0.0, 20.0, 10.0)), Some(impossible)]);
            assert_eq!(slices[1], None);
        }
    }

    #[test]
    fn sensor_that_is_down_is_not_awaited() {
        let down = ScrapedSensor { up: false, readings: None, ..ScrapedSensor::default() };
        let (slices, stream, _) = slices(&[Some(scraped(0.0, 20.0, 10.0)), Some(down)]);
        assert_eq!((slices[1], stream.is_up), (None, false));
    }
}
