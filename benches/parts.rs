//! What the daemon's own parts cost: a result on its way from registers to its meter, and a tick.
//!
//! The bus is an array, so that next to nothing but the daemon is measured, and the bare transfers stand beside it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use divan::{Bencher, black_box};
use ina260_exporter::clock::{Clock, SystemClock};
use ina260_exporter::config::{Listen, LogLevel};
use ina260_exporter::exposition::{Exposition, Listener, View};
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
/// Results between two ticks, which take the durations of visits away from the meter.
const RESULTS_PER_TICK: u32 = 64;

fn main() {
    // As in the daemon: what is not logged costs a look at the level.
    let _logging = Logging::start(LogLevel::Warn);
    divan::main();
}

/// The system's clock, which can be put forward to where the next look is due: what it costs to read is part of a result.
#[derive(Default)]
struct Hurried {
    ahead_nanos: AtomicU64,
}

impl Hurried {
    fn ahead(&self) -> Duration {
        Duration::from_nanos(self.ahead_nanos.load(Relaxed))
    }

    fn hurry_to(&self, due: Instant) {
        let wait = due.saturating_duration_since(self.now()).as_nanos();
        self.ahead_nanos
            .fetch_add(u64::try_from(wait).unwrap_or(u64::MAX), Relaxed);
    }
}

impl Clock for Hurried {
    fn now(&self) -> Instant {
        SystemClock.now() + self.ahead()
    }

    fn wall(&self) -> SystemTime {
        SystemClock.wall() + self.ahead()
    }

    fn suspended(&self) -> Duration {
        SystemClock.suspended()
    }

    fn wait(&self, time: Duration) {
        self.ahead_nanos
            .fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// A chip that is nothing but its words, with a result every cycle.
struct Words {
    registers: [u16; 256],
    clock: Arc<Hurried>,
    next: Instant,
}

impl Words {
    fn new(clock: Arc<Hurried>) -> Self {
        let mut registers = [0; 256];
        registers[Register::ManufacturerId as usize] = MANUFACTURER;
        registers[Register::DieId as usize] = DIE;
        registers[Register::Current as usize] = 0x0FA0; // 5 A
        registers[Register::BusVoltage as usize] = 0x2580; // 12 V
        registers[Register::Power as usize] = 0x1770; // 60 W
        let next = clock.now() + settings().cycle();
        Self {
            registers,
            clock,
            next,
        }
    }
}

impl Bus for Words {
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

/// That of [`settings`], without finding them anew.
const fn settings_cycle() -> Duration {
    Duration::from_micros(8_576)
}

fn settings() -> Settings {
    Settings::for_interval(Duration::from_millis(10), PartialSettings::default())
        .expect("ten milliseconds are long enough")
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
        },
        calibration: Calibration::default(),
        always_power: true,
        meter: meter.clone(),
    };
    let on_change = Arc::new(|| ());
    let sampler = Sampler::new("bus 1".to_owned(), bus, vec![setup], clock, on_change);
    (sampler, meter)
}

/// Rounds of a sampler until it has read one more result, and now and then what a tick takes away.
fn results(bencher: Bencher<'_, '_>, bus: Box<dyn Bus>, clock: &Arc<Hurried>) {
    let (mut sampler, meter) = sampler(bus, Arc::<Hurried>::clone(clock));
    let mut spare = Observations::default();
    let mut read = 0;
    let origin = Instant::now();
    let mut seen = 0;
    bencher.bench_local(|| {
        let before = seen;
        while seen == before {
            clock.hurry_to(sampler.poll_due());
            seen = meter.lock().accumulator.totals(origin).results;
        }
        read += 1;
        if read % RESULTS_PER_TICK == 0 {
            spare = meter.lock().take_observations(std::mem::take(&mut spare));
            spare.clear();
        }
    });
}

/// One result on the array: its flags and its three words, in units, in the meter; now and then a look for the edge, and once a
/// second the check of the settings.
#[divan::bench(sample_size = 1000)]
fn result(bencher: Bencher<'_, '_>) {
    let clock = Arc::<Hurried>::default();
    results(bencher, Box::new(Words::new(clock.clone())), &clock);
}

/// The same transfers without a daemon around them.
#[divan::bench(sample_size = 1000)]
fn result_transfers(bencher: Bencher<'_, '_>) {
    let mut bus: Box<dyn Bus> = Box::new(Words::new(Arc::default()));
    let bus = black_box(&mut bus);
    bencher.bench_local(|| {
        for register in [
            Register::MaskEnable,
            Register::Current,
            Register::BusVoltage,
            Register::Power,
        ] {
            let _ = black_box(bus.read_word(ADDRESS, black_box(register as u8)));
        }
    });
}

/// The same result from the simulated chip that `--simulate` runs on.
#[divan::bench(sample_size = 1000)]
fn result_simulated(bencher: Bencher<'_, '_>) {
    let clock = Arc::<Hurried>::default();
    let board = Board::new(clock.clone(), 400_000);
    board.plug(ADDRESS, Chip::new(Load::steady(12.0, 5.0)));
    results(bencher, Box::new(board.bus()), &clock);
}

/// A reading of the system's clock, of which a result needs a few.
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

/// What a sampler leaves in a meter between two ticks.
fn measure(meter: &SharedMeter) {
    let mut meter = meter.lock();
    meter.cycle = settings().cycle();
    meter.record_poll(Duration::from_micros(700));
    let cycle = Cycle {
        end: Instant::now(),
        elapsed: Some(1),
        missed: 0,
        period: meter.cycle,
    };
    let reading = Reading {
        at: Instant::now(),
        wall: SystemTime::now(),
        measured: Measured::new(12.0, 5.0, 60.0),
        raw: None,
    };
    meter.record(reading, &cycle);
}

/// Everything that happens once a second for 16 sensors.
#[divan::bench(sample_size = 1, sample_count = 1000)]
fn tick_of_16_sensors(bencher: Bencher<'_, '_>) {
    let loopback = Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let (_listener, recorder) = Listener::bind(&loopback, 0o666, &[], &[0.1, 1.0, 10.0, 100.0])
        .expect("loopback has a free port");
    let mut exposition = Exposition::new(recorder, SystemTime::now());
    let views = views();
    let meters: Vec<SharedMeter> = views.iter().map(|view| view.meter.clone()).collect();
    exposition.show(views, Instant::now());
    bencher
        .with_inputs(|| meters.iter().for_each(measure))
        .bench_local_values(|()| exposition.tick(Instant::now()));
}
