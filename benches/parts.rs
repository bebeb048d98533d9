//! CPU time of parts of the daemon: a result from the registers to its meter, and a tick.
//!
//! The bus is an array of registers, so that almost only the daemon is measured. The remaining cost
//! of the transfers is measured separately.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use divan::{Bencher, black_box};
use ina260_exporter::clock::{Clock, SystemClock};
use ina260_exporter::config::LogLevel;
use ina260_exporter::exposition::{self, Exposition, View};
use ina260_exporter::i2c::{Address, Bus, Error};
use ina260_exporter::ina260::Ina260;
use ina260_exporter::ina260::calibration::Calibration;
use ina260_exporter::ina260::registers::{DIE, MANUFACTURER, MaskEnable, Register};
use ina260_exporter::ina260::settings::{PartialSettings, Settings};
use ina260_exporter::logging::Logging;
use ina260_exporter::meter::{Cycle, Observations, Reading, SharedMeter};
use ina260_exporter::sampler::{Sampler, Setup};
use ina260_exporter::simulated::{Board, Chip, Load};
use ina260_exporter::units::Measured;

const ADDRESS: Address = Address(0x40);
const SENSORS: u8 = 16;
/// Results between two ticks, which remove the observations from the meter.
const RESULTS_PER_TICK: u32 = 64;

fn main() {
    // As in the daemon: messages that are not logged cost a check of the level.
    let _logging = Logging::start(LogLevel::Warn);
    divan::main();
}

/// The system clock, which can be advanced to the next poll: reading it is part of the cost.
#[derive(Default)]
struct AdvancedClock {
    ahead_nanos: AtomicU64,
}

impl AdvancedClock {
    fn ahead(&self) -> Duration {
        Duration::from_nanos(self.ahead_nanos.load(Relaxed))
    }

    fn advance_to(&self, due: Instant) {
        let wait = due.saturating_duration_since(self.now()).as_nanos();
        self.ahead_nanos.fetch_add(u64::try_from(wait).unwrap_or(u64::MAX), Relaxed);
    }
}

impl Clock for AdvancedClock {
    fn now(&self) -> Instant {
        SystemClock.now() + self.ahead()
    }

    fn wall(&self) -> SystemTime {
        SystemClock.wall() + self.ahead()
    }

    fn booted(&self) -> Duration {
        SystemClock.booted() + self.ahead()
    }

    fn wait(&self, time: Duration) {
        self.ahead_nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// A chip that consists of its registers only, with a result every cycle.
struct RegisterBus {
    registers: [u16; 256],
    clock: Arc<AdvancedClock>,
    next: Instant,
}

impl RegisterBus {
    fn new(clock: Arc<AdvancedClock>) -> Self {
        let mut registers = [0; 256];
        registers[Register::ManufacturerId as usize] = MANUFACTURER;
        registers[Register::DieId as usize] = DIE;
        registers[Register::Current as usize] = 0x0FA0; // 5 A
        registers[Register::BusVoltage as usize] = 0x2580; // 12 V
        registers[Register::Power as usize] = 0x1770; // 60 W
        let next = clock.now() + settings().cycle();
        Self { registers, clock, next }
    }
}

impl Bus for RegisterBus {
    fn read_word(&mut self, _: Address, register: u8) -> Result<u16, Error> {
        let word = self.registers[usize::from(register)];
        if register != Register::MaskEnable as u8 {
            return Ok(word);
        }
        let now = self.clock.now();
        if now < self.next {
            return Ok(word);
        }
        while self.next <= now {
            self.next += settings_cycle();
        }
        Ok(word | MaskEnable::READY)
    }

    fn write_word(&mut self, _: Address, register: u8, word: u16) -> Result<(), Error> {
        self.registers[usize::from(register)] = word;
        if register == Register::Configuration as u8 {
            self.next = self.clock.now() + settings_cycle();
        }
        Ok(())
    }

    fn send_byte(&mut self, _: Address, _: u8) -> Result<(), Error> {
        Ok(())
    }

    fn receive_byte(&mut self, _: Address) -> Result<u8, Error> {
        Ok(0)
    }
}

/// Returns the cycle of [`settings`], without computing them.
const fn settings_cycle() -> Duration {
    Duration::from_micros(8_576)
}

fn settings() -> Settings {
    Settings::for_interval(Duration::from_millis(10), PartialSettings::default())
        .expect("the interval is long enough")
}

fn sampler(bus: Box<dyn Bus>, clock: Arc<dyn Clock>) -> (Sampler, SharedMeter) {
    let meter = SharedMeter::default();
    let setup = Setup {
        name: "sensor bench (bus 1, 0x40)".to_owned(),
        channel: None,
        chip: Ina260 {
            address: ADDRESS,
            settings: settings(),
            alert: None,
            configure: true,
            power_guard: true,
        },
        calibration: Calibration::default(),
        always_power: true,
        meter: meter.clone(),
    };
    let on_change = Arc::new(|| ());
    let sampler = Sampler::new("bus 1".to_owned(), bus, vec![setup], clock, on_change);
    (sampler, meter)
}

/// Measures passes of a sampler until it has read one more result; after every [`RESULTS_PER_TICK`]
/// results, this includes the removal of the observations.
fn results(bencher: Bencher<'_, '_>, bus: Box<dyn Bus>, clock: &Arc<AdvancedClock>) {
    let (mut sampler, meter) = sampler(bus, Arc::<AdvancedClock>::clone(clock));
    let mut spare = Observations::default();
    let mut read = 0;
    let origin = Instant::now();
    let mut results = 0;
    bencher.bench_local(|| {
        let before = results;
        while results == before {
            clock.advance_to(sampler.poll_due());
            results = meter.lock().accumulator.totals(origin).results;
        }
        read += 1;
        if read % RESULTS_PER_TICK == 0 {
            std::mem::swap(&mut spare, &mut meter.lock().observations);
            spare.clear();
        }
    });
}

/// One result: flags, three registers, conversion to units, meter; with its share of the polls that
/// bracket the end of a cycle, and of the check of the settings once per second.
#[divan::bench(sample_size = 1000)]
fn result(bencher: Bencher<'_, '_>) {
    let clock = Arc::<AdvancedClock>::default();
    results(bencher, Box::new(RegisterBus::new(clock.clone())), &clock);
}

/// The transfers of a result alone.
#[divan::bench(sample_size = 1000)]
fn result_transfers(bencher: Bencher<'_, '_>) {
    let mut bus: Box<dyn Bus> = Box::new(RegisterBus::new(Arc::default()));
    let bus = black_box(&mut bus);
    bencher.bench_local(|| {
        for register in
            [Register::MaskEnable, Register::Current, Register::BusVoltage, Register::Power]
        {
            let _ = black_box(bus.read_word(ADDRESS, black_box(register as u8)));
        }
    });
}

/// One result from the simulated chip of `--simulate`.
#[divan::bench(sample_size = 1000)]
fn result_simulated(bencher: Bencher<'_, '_>) {
    let clock = Arc::<AdvancedClock>::default();
    let board = Board::new(clock.clone(), 400_000);
    board.plug(None, ADDRESS, Chip::new(Load::steady(12.0, 5.0)));
    results(bencher, Box::new(board.clone()), &clock);
}

/// One reading of the system clock; a result needs several.
#[divan::bench]
fn clock() -> Instant {
    SystemClock.now()
}

fn views() -> Vec<View> {
    let view = |index: u8| View {
        labels: vec![
            ("hostname".to_owned(), "bench".to_owned()),
            ("device".to_owned(), format!("sensor{index}")),
        ],
        info: vec![
            ("bus".to_owned(), "1".to_owned()),
            ("address".to_owned(), Address(0x40 + index).to_string()),
        ],
        script: true,
        alert: None,
        meter: SharedMeter::default(),
    };
    (0..SENSORS).map(view).collect()
}

/// Records a result in a meter, as a sampler does between two ticks.
fn measure(meter: &SharedMeter) {
    let mut meter = meter.lock();
    meter.cycle = settings().cycle();
    meter.record_poll(Instant::now(), Duration::from_micros(700));
    let cycle = Cycle { end: Instant::now(), elapsed: Some(1), missed: 0, period: meter.cycle };
    let reading = Reading {
        at: Instant::now(),
        booted: SystemClock.booted(),
        measured: Measured::new(12.0, 5.0, 60.0),
        raw: None,
    };
    meter.record(reading, &cycle);
}

/// The tick, once per second, of 16 sensors.
#[divan::bench(sample_size = 1, sample_count = 1000)]
fn tick_of_16_sensors(bencher: Bencher<'_, '_>) {
    let recorder = exposition::recorder(&[0.1, 1.0, 10.0, 100.0]);
    let mut exposition = Exposition::new(recorder, Arc::new(SystemClock));
    let views = views();
    let meters: Vec<SharedMeter> = views.iter().map(|view| view.meter.clone()).collect();
    exposition.show(views);
    bencher
        .with_inputs(|| meters.iter().for_each(measure))
        .bench_local_values(|()| exposition.tick(Instant::now()));
}
