//! A bus with simulated sensors and its sampler, and how long the wires were busy.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use ina260_exporter::clock::Clock;
use ina260_exporter::i2c::Address;
use ina260_exporter::i2c::mux::Channel;
use ina260_exporter::ina260::Ina260;
use ina260_exporter::ina260::calibration::Calibration;
use ina260_exporter::ina260::settings::{Averaging, ConversionTime, Settings};
use ina260_exporter::meter::{SharedMeter, Totals};
use ina260_exporter::sampler::{Sampler, Setup};
use ina260_exporter::simulated::{Board, Chip, Load};

/// Of most buses here.
pub(crate) const HERTZ: u32 = 400_000;

/// Where a sensor is.
pub(crate) type Place = (Option<Channel>, Address);

/// A clock that adds up what transfers take.
#[derive(Default)]
pub(crate) struct Metered<C> {
    pub(crate) clock: C,
    spent_nanos: AtomicU64,
}

impl<C> Metered<C> {
    /// How long the wires were busy.
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

    fn suspended(&self) -> Duration {
        self.clock.suspended()
    }

    fn wait(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.spent_nanos.fetch_add(nanos, Relaxed);
        self.clock.wait(time);
    }
}

/// One bus.
pub(crate) struct Stage<C> {
    pub(crate) clock: Arc<Metered<C>>,
    pub(crate) sampler: Sampler,
    pub(crate) begun: Instant,
    board: Arc<Board>,
    sensors: Vec<(Place, SharedMeter)>,
}

impl<C: Clock + Default + 'static> Stage<C> {
    /// Sensors that are all set alike.
    pub(crate) fn new(hertz: u32, settings: Settings, loads: Vec<(Place, Load)>) -> Self {
        let clock = Arc::<Metered<C>>::default();
        let begun = clock.now();
        let board = Board::new(clock.clone(), hertz);
        let (mut sensors, mut setups) = (Vec::new(), Vec::new());
        for ((channel, address), load) in loads {
            board.plug_at(channel, address, Chip::new(load));
            let meter = SharedMeter::default();
            sensors.push(((channel, address), meter.clone()));
            setups.push(Setup {
                name: format!("sensor {address}"),
                channel,
                chip: Ina260 {
                    address,
                    settings,
                    alert: None,
                    configure: true,
                },
                calibration: Calibration::default(),
                always_power: false,
                meter,
            });
        }
        let bus = Box::new(board.bus());
        let on_change = Arc::new(|| ());
        let sampler = Sampler::new("bus 1".to_owned(), bus, setups, clock.clone(), on_change);
        Self {
            clock,
            sampler,
            begun,
            board,
            sensors,
        }
    }

    /// Of all sensors.
    pub(crate) fn totals(&self) -> Vec<Totals> {
        let now = self.clock.now();
        let totals = |(_, meter): &(Place, SharedMeter)| meter.lock().accumulator.totals(now);
        self.sensors.iter().map(totals).collect()
    }

    /// Transfers so far.
    pub(crate) fn words(&self) -> u64 {
        self.board.transfers()
    }

    /// What each chip finished since it was set.
    pub(crate) fn finished(&self) -> Vec<u64> {
        let now = self.clock.now().duration_since(self.begun);
        let finished = |((channel, address), _): &(Place, SharedMeter)| {
            self.board.chip_at(*channel, *address, |chip| {
                chip.read(0x07, now); // catches up
                chip.counts.finished - chip.counts.unconfigured
            })
        };
        self.sensors.iter().map(finished).collect()
    }

    /// How far results read and missed are from those that the chip finished, at worst.
    pub(crate) fn unaccounted(&self) -> u64 {
        let sensors = self.totals().into_iter().zip(self.finished());
        let difference = |(t, finished): (Totals, u64)| (t.results + t.missed).abs_diff(finished);
        sensors.map(difference).max().unwrap_or(0)
    }
}

/// On the trunk, from 0x40 on.
pub(crate) fn trunk(sensor: u8) -> Place {
    (None, Address(0x40 + sensor))
}

/// One conversion of each a result.
pub(crate) fn single(conversion: ConversionTime) -> Settings {
    Settings {
        averaging: Averaging::X1,
        voltage_conversion_time: conversion,
        current_conversion_time: conversion,
    }
}

/// What the scheduler knows of a thread.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    /// It ran.
    pub(crate) used: Duration,
    /// It could have, and others did.
    pub(crate) waited: Duration,
}

impl Cpu {
    /// Of this thread, to the nanosecond.
    pub(crate) fn of_this_thread() -> Result<Self, String> {
        let path = "/proc/thread-self/schedstat";
        let schedstat = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        let mut numbers = schedstat.split_whitespace().map(str::parse);
        let (Some(Ok(used)), Some(Ok(waited))) = (numbers.next(), numbers.next()) else {
            return Err(format!("{path}: {schedstat:?}"));
        };
        Ok(Self {
            used: Duration::from_nanos(used),
            waited: Duration::from_nanos(waited),
        })
    }

    /// From `before` until this.
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
