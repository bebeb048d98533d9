//! A bus with simulated sensors, its sampler, and the time for which the bus was busy.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use ina260_exporter::clock::Clock;
use ina260_exporter::i2c::{Address, Location};
use ina260_exporter::ina260::Ina260;
use ina260_exporter::ina260::calibration::Calibration;
use ina260_exporter::ina260::settings::{Averaging, ConversionTime, Settings};
use ina260_exporter::meter::{SharedMeter, Totals};
use ina260_exporter::sampler::{Sampler, Setup};
use ina260_exporter::simulated::{Board, Chip, Load};

/// Bus frequency, unless stated otherwise.
pub(crate) const HERTZ: u32 = 400_000;

/// A clock that adds up the time of transfers.
#[derive(Default)]
pub(crate) struct Metered<C> {
    pub(crate) clock: C,
    spent_nanos: AtomicU64,
}

impl<C> Metered<C> {
    /// Returns the time for which the bus was busy.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent_nanos.load(Relaxed))
    }
}

impl<C: Clock> Clock for Metered<C> {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn wall(&self) -> SystemTime {
        self.clock.wall()
    }

    fn booted(&self) -> Duration {
        self.clock.booted()
    }

    fn wait(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.spent_nanos.fetch_add(nanos, Relaxed);
        self.clock.wait(time);
    }
}

/// A simulated bus.
pub(crate) struct Stage<C> {
    pub(crate) clock: Arc<Metered<C>>,
    pub(crate) sampler: Sampler,
    pub(crate) begun: Instant,
    board: Arc<Board>,
    sensors: Vec<(Location, SharedMeter)>,
}

impl<C: Clock + Default + 'static> Stage<C> {
    /// Returns a bus with sensors of the same settings.
    pub(crate) fn new(hertz: u32, settings: Settings, loads: Vec<(Location, Load)>) -> Self {
        let clock = Arc::<Metered<C>>::default();
        let begun = clock.now();
        let board = Board::new(clock.clone(), hertz);
        let (mut sensors, mut setups) = (Vec::new(), Vec::new());
        for (location, load) in loads {
            let Location { mux, address, .. } = location;
            // Without noise and offsets: the counted energy is compared with that of the load.
            board.plug(mux, address, Chip::exact(load));
            let meter = SharedMeter::default();
            sensors.push((location, meter.clone()));
            setups.push(Setup {
                name: format!("sensor {address}"),
                channel: mux,
                chip: Ina260 { address, settings, alert: None, configure: true, power_guard: true },
                calibration: Calibration::default(),
                always_power: false,
                meter,
            });
        }
        let bus = Box::new(board.clone());
        let on_change = Arc::new(|| ());
        let sampler = Sampler::new("bus 1".to_owned(), bus, setups, clock.clone(), on_change);
        Self { clock, sampler, begun, board, sensors }
    }

    /// Returns the totals of each sensor.
    pub(crate) fn totals(&self) -> Vec<Totals> {
        let now = self.clock.now();
        let totals = |(_, meter): &(Location, SharedMeter)| meter.lock().accumulator.totals(now);
        self.sensors.iter().map(totals).collect()
    }

    /// Returns the number of transfers.
    pub(crate) fn transfers(&self) -> u64 {
        self.board.transfers()
    }

    /// Returns the results that each chip has completed since it was configured.
    pub(crate) fn completed(&self) -> Vec<u64> {
        let now = self.clock.now().duration_since(self.begun);
        let completed = |(location, _): &(Location, SharedMeter)| {
            self.board.chip(location.mux, location.address, |chip| {
                chip.read(0x07, now); // updates the chip
                chip.counts.finished - chip.counts.unconfigured
            })
        };
        self.sensors.iter().map(completed).collect()
    }

    /// Returns the maximum difference between the results completed and those read or missed.
    pub(crate) fn unaccounted(&self) -> u64 {
        let sensors = self.totals().into_iter().zip(self.completed());
        let difference = |(totals, completed): (Totals, u64)| {
            (totals.results + totals.missed).abs_diff(completed)
        };
        sensors.map(difference).max().unwrap_or(0)
    }
}

/// Returns the location of a sensor on the bus itself, from 0x40 on.
pub(crate) fn direct(sensor: u8) -> Location {
    Location { bus: 1.into(), mux: None, address: Address(0x40 + sensor) }
}

/// Returns settings with one conversion of each quantity per result.
pub(crate) fn single(conversion: ConversionTime) -> Settings {
    Settings {
        averaging: Averaging::X1,
        voltage_conversion_time: conversion,
        current_conversion_time: conversion,
    }
}

/// CPU usage of a thread.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    /// Time for which it ran.
    pub(crate) used: Duration,
    /// Time for which it was runnable but not running.
    pub(crate) waited: Duration,
}

impl Cpu {
    /// Returns the usage of the calling thread, to the nanosecond.
    pub(crate) fn of_this_thread() -> Result<Self, String> {
        let path = "/proc/thread-self/schedstat";
        let schedstat = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        let mut numbers = schedstat.split_whitespace().map(str::parse);
        let (Some(Ok(used)), Some(Ok(waited))) = (numbers.next(), numbers.next()) else {
            return Err(format!("{path}: {schedstat:?}"));
        };
        Ok(Self { used: Duration::from_nanos(used), waited: Duration::from_nanos(waited) })
    }

    /// Returns the usage since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            used: self.used.saturating_sub(before.used),
            waited: self.waited.saturating_sub(before.waited),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "less than 2^53 results")]
pub(crate) fn count(results: u64) -> f64 {
    results as f64
}
