//! Prints a day of scrapes in the OpenMetrics format, for `promtool tsdb create-blocks-from`: two
//! simulated sensors are polled, metered and exposed on the simulated clock. The true mean of each
//! load follows from its pulses.
//!
//! Usage: day START    (Unix time of the first scrape)

use std::sync::Arc;
use std::time::Duration;

use ina260_exporter::clock::{Clock, SimulatedClock};
use ina260_exporter::exposition::{self, Exposition, View};
use ina260_exporter::i2c::Address;
use ina260_exporter::ina260::Ina260;
use ina260_exporter::ina260::calibration::Calibration;
use ina260_exporter::ina260::settings::{Averaging, PartialSettings, Settings};
use ina260_exporter::meter::SharedMeter;
use ina260_exporter::sampler::{Sampler, Setup};
use ina260_exporter::simulated::{Board, Chip, Load};

const DAY: u64 = 86_400;
const SCRAPE_INTERVAL: usize = 15;
const VOLTS: f64 = 5.0;

/// Amperes in the first part of every 15 s, that part in seconds, and amperes in the rest. Scrapes
/// always see the same part: a pulse is over before the result of a scrape begins.
const LOADS: [(&str, f64, f64, f64); 2] = [
    // 0.1 W: 42.5 mA for 1.5 s and 17.5 mA for 13.5 s are 20 mA.
    ("small", 0.0425, 1.5, 0.0175),
    // 25/3 W: 3 A for 10 s and -1 A for 5 s are 5/3 A.
    ("battery", 3.0, 10.0, -1.0),
];

const SERIES: [&str; 5] = [
    "ina260_energy_joules_total{",
    "ina260_measured_seconds_total{",
    "ina260_power_distribution_watts_count{",
    "ina260_power_distribution_watts_sum{",
    "ina260_power_watts{",
];

fn main() {
    let start: u64 = std::env::args().nth(1).and_then(|it| it.parse().ok()).expect("START");
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    let partial =
        PartialSettings { averaging: Averaging::from_repr(64), ..PartialSettings::default() };
    let settings = Settings::for_interval(Duration::from_secs(1), partial).expect("a cycle");
    let (mut setups, mut views) = (Vec::new(), Vec::new());
    for ((device, pulse, seconds, rest), address) in LOADS.into_iter().zip(0x40..) {
        let address = Address(address);
        let current = move |time: f64| if time % 15.0 < seconds { pulse } else { rest };
        let load = Load { current: Box::new(current), ..Load::steady(VOLTS, 0.0) };
        // Without noise and offset, so that the mean is known.
        board.plug(None, address, Chip::exact(load));
        let meter = SharedMeter::default();
        setups.push(Setup {
            name: device.to_owned(),
            channel: None,
            chip: Ina260 { address, settings, alert: None, configure: true, power_guard: true },
            calibration: Calibration::default(),
            always_power: true,
            meter: meter.clone(),
        });
        let labels = [("hostname", "history"), ("device", device), ("job", "ina260")];
        let labels = labels.into_iter().chain([("instance", "history:8000")]);
        views.push(View {
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            info: Vec::new(),
            script: false,
            alert: None,
            meter,
        });
    }
    let bus = Box::new(board.clone());
    let mut sampler = Sampler::new("bus 1".to_owned(), bus, setups, clock.clone(), Arc::new(|| {}));
    let recorder = exposition::recorder(&[1.0]);
    let mut exposition = Exposition::new(recorder, clock.clone());
    exposition.show(views);
    let begin = clock.now();
    for second in (0..=DAY).step_by(SCRAPE_INTERVAL) {
        let end = begin + Duration::from_secs(second);
        loop {
            let due = sampler.poll_due();
            clock.advance_to(due.min(end));
            if due >= end {
                break;
            }
        }
        exposition.tick(clock.now());
        for line in exposition.render().lines() {
            if SERIES.iter().any(|series| line.starts_with(series)) {
                println!("{line} {}", start + second);
            }
        }
    }
    println!("# EOF");
}
