//! Chips on buses that no other program uses: their registers, and the cycles to measure with.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Sensor, Slice, Source};
use crate::commands::read::reader::{Error, Reader};
use crate::config::SensorPlan;
use crate::i2c::Location;
use crate::ina260;
use crate::ina260::registers::Register;
use crate::ina260::settings::{Averaging, PartialSettings, Settings};
use crate::meter::Cycle;
use crate::units::Measured;

/// Transfers that a result takes: flags, current, voltage, power.
const TRANSFERS: f64 = 4.0;
/// Maximum share of the bus time for results; the rest is for early polls and checks.
const MAX_LOAD: f64 = 0.75;
/// Share of the bus time for results if no interval is given.
const LOAD: f64 = 0.5;
/// Shortest cycle used by default, in seconds: shorter ones would occupy a processor that the
/// command needs.
const MIN_CYCLE: f64 = 0.002;
/// Longest cycle without averaging: the longest conversion of each quantity.
const MAX_UNAVERAGED: Duration = Duration::from_micros(2 * 8_244);
/// Maximum error of the end of a cycle, in cycles: the limit of the tracker.
const EDGE: f64 = 0.15;

/// Reads the registers of a chip, and measures the time of a transfer.
pub(super) fn probe(reader: &mut Reader, location: Location) -> Result<Source, Error> {
    let address = location.address;
    reader.on_chip(location, |bus| {
        ina260::identify(bus, address)?;
        let registers = ina260::read_settings(bus, address)?;
        let mut transfer = Duration::MAX;
        for _ in 0..8 {
            let begun = Instant::now();
            ina260::read(bus, address, Register::DieId)?;
            transfer = transfer.min(begun.elapsed());
        }
        Ok(Source::Direct(registers, transfer))
    })
}

/// Sets the cycles of the sensors that are measured directly. Returns why a cycle is too short for
/// bus or chip.
pub(super) fn set_cycles(
    sensors: &mut [Sensor],
    interval: Option<Duration>,
    averaging: Option<Averaging>,
) -> Result<(), String> {
    let mut buses: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Sensor { plan, source, .. } in sensors {
        if let Source::Direct(registers, transfer) = source {
            let on_bus = buses.entry(plan.location.bus).or_default();
            on_bus.push((plan, registers.settings(), *transfer));
        }
    }
    for (bus, mut sensors) in buses {
        let count = sensors.iter().map(|_| 1.0).sum::<f64>();
        let transfer = sensors.iter().map(|(.., transfer)| *transfer).min().unwrap_or_default();
        let per_result = TRANSFERS * transfer.as_secs_f64();
        let shortest = (count * per_result / LOAD).max(MIN_CYCLE);
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
            // Meanwhile, the comparator is for the power guard.
            sensor.alert = None;
            demand += per_result / sensor.settings.cycle().as_secs_f64();
        }
        let fastest = sensors.into_iter().map(|it| it.0).min_by_key(|it| it.settings.cycle());
        if let Some(SensorPlan { device, location, settings, configure, .. }) =
            fastest.filter(|_| demand > MAX_LOAD)
        {
            let (cycle, min_millis) = (settings.cycle(), count * per_result / MAX_LOAD * 1e3);
            let remedy = if *configure {
                "use a longer --interval"
            } else {
                "configure the other master for more averaging"
            };
            return Err(format!(
                "sensor {device} ({location}): a result every {cycle:?} is more than bus {bus} can \
                 carry: the sensors measured on it ({count}) need a cycle of at least \
                 {min_millis:.1} ms (a transfer takes {transfer:?}); {remedy}"
            ));
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "less than 2^53 results")]
pub(super) fn slice((result, cycle, time): &(Measured, Cycle, Duration)) -> Slice {
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
