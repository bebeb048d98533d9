//! Chips on buses that no other program uses: their registers, and the cycles to measure with.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Options, Slice};
use crate::commands::Failure;
use crate::commands::read::reader::Reader;
use crate::config::SensorPlan;
use crate::ina260::registers::Register;
use crate::ina260::settings::{PartialSettings, Settings, TooShort};
use crate::ina260::{self, RegisterDump};
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

/// A sensor with the registers of its chip, as they were found.
pub(super) type Found = (SensorPlan, RegisterDump);

/// Reads the registers of the chips and selects their cycles. Adds a message to `messages` for each
/// chip that cannot be read.
///
/// # Errors
/// [`Failure::Usage`] if a cycle is too short for its bus or chip.
pub(super) fn prepare(
    reader: &mut Reader,
    sensors: Vec<SensorPlan>,
    options: Options,
    messages: &mut Vec<String>,
) -> Result<Vec<Found>, Failure> {
    // Time of a transfer, by bus.
    let (mut found, mut transfers) = (Vec::new(), BTreeMap::new());
    for sensor in sensors {
        let (bus, address) = (sensor.location.bus, sensor.location.address);
        let read = reader.on_chip(sensor.location, |bus| {
            ina260::identify(bus, address)?;
            let registers = ina260::read_settings(bus, address)?;
            let mut transfer = Duration::MAX;
            for _ in 0..8 {
                let begun = Instant::now();
                ina260::read(bus, address, Register::DieId)?;
                transfer = transfer.min(begun.elapsed());
            }
            Ok((registers, transfer))
        });
        match read {
            Ok((registers, transfer)) => {
                let fastest = transfers.entry(bus).or_insert(transfer);
                *fastest = transfer.min(*fastest);
                found.push((sensor, registers));
            }
            Err(error) => {
                messages.push(format!("sensor {} ({}): {error}", sensor.device, sensor.location));
            }
        }
    }
    for (bus, transfer) in transfers {
        let on_bus = found.iter_mut().filter(|(sensor, _)| sensor.location.bus == bus);
        set_cycles(on_bus.collect(), transfer, options).map_err(Failure::Usage)?;
    }
    Ok(found)
}

/// Sets the cycles of the sensors of one bus, on which a transfer takes the time `transfer`.
fn set_cycles(
    mut sensors: Vec<&mut Found>,
    transfer: Duration,
    options: Options,
) -> Result<(), String> {
    let count = sensors.iter().map(|_| 1.0).sum::<f64>();
    let per_result = TRANSFERS * transfer.as_secs_f64();
    let shortest = (count * per_result / LOAD).max(MIN_CYCLE);
    let interval = options.interval.unwrap_or(Duration::from_secs_f64(shortest));
    // A slow bus needs a longer cycle than there is without averaging.
    let averaging = options.averaging.filter(|_| interval <= MAX_UNAVERAGED);
    let partial = PartialSettings { averaging, ..PartialSettings::default() };
    let mut demand = 0.0;
    for (sensor, registers) in &mut sensors {
        sensor.settings = if sensor.configure {
            Settings::for_interval(interval, partial).map_err(|TooShort(min)| {
                format!("--interval {interval:?} is too short; the chip needs {min:?}")
            })?
        } else {
            registers.settings()
        };
        // Meanwhile, the comparator is for the power guard.
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
         on it ({count}) need a cycle of at least {:.1} ms (a transfer takes {transfer:?}); \
         {remedy}",
        sensor.device,
        sensor.location,
        sensor.settings.cycle(),
        sensor.location.bus,
        count * per_result / MAX_LOAD * 1e3,
    ))
}

/// Returns a result as a slice.
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
