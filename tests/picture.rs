//! Draws `docs/power-day.svg`: a day of a sensor's power, as a Grafana panel shows it.
//!
//! Every value comes from a scrape: a simulated sensor under the load below is polled, metered and
//! exposed on the simulated clock for 24 hours. `UPDATE_GOLDEN=1 cargo test --test picture` draws
//! it again.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "seconds of a day, and points of a picture"
)]

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use ina260_exporter::clock::{Clock, SimulatedClock};
use ina260_exporter::exposition::{self, Exposition, View};
use ina260_exporter::i2c::Address;
use ina260_exporter::ina260::Ina260;
use ina260_exporter::ina260::calibration::Calibration;
use ina260_exporter::ina260::settings::{Averaging, PartialSettings, Settings};
use ina260_exporter::meter::SharedMeter;
use ina260_exporter::sampler::{Sampler, Setup};
use ina260_exporter::scrape::{self, ScrapedSensor};
use ina260_exporter::simulated::{Board, Chip, Load};

const PICTURE: &str = "docs/power-day.svg";
const ADDRESS: Address = Address(0x40);
const MINUTES: usize = 24 * 60;
const SCRAPE_INTERVAL: Duration = Duration::from_secs(60);
/// Scrapes per point of the picture.
const SCRAPES_PER_POINT: usize = 5;
const RAIL_VOLTS: f64 = 12.0;

/// The load: a small server with an NPU. Returns the power of each second of the day in watts.
fn load() -> Vec<f64> {
    let mut random = Random(2_600_260);
    let mut watts = vec![0.0; MINUTES * 60];
    // Seconds left, and watts.
    let mut burst = (0.0, 0.0);
    let mut heat = 0.0;
    for (second, watts) in watts.iter_mut().enumerate() {
        let minute = second / 60;
        // Requests come in bursts, mostly in the daytime.
        let bursts_per_hour = match minute / 60 {
            0..=5 => 2.0,
            6..=8 => 14.0,
            9..=11 | 19..=21 => 34.0,
            _ => 20.0,
        };
        burst.0 -= 1.0;
        if burst.0 < 0.0 {
            burst = if random.next() < bursts_per_hour / 3600.0 {
                (8.0 + random.next() * 50.0, 4.0 + random.next() * 11.0)
            } else {
                (0.0, 0.0)
            };
        }
        let (base, noise) = match minute {
            // Lower clocks at night, except for the backup.
            180..=204 => (7.6, 1.4),
            20..=384 => (3.4, 0.25),
            // The long job, with a checkpoint every 15 minutes.
            790..=1_024 if (minute - 790) % 15 == 14 => (11.5, 1.0),
            790..=1_024 => (22.5, 1.6),
            // Video in the evening.
            1_160..=1_294 => (8.2, 0.9),
            _ => (5.2, 0.35),
        };
        // The long job leaves less room for bursts.
        let burst_watts = if base > 20.0 { 0.4 * burst.1 } else { burst.1 };
        // Leakage grows with the temperature.
        heat += (base + burst_watts - heat) / 900.0;
        *watts = base + burst_watts + 0.06 * heat + noise * (random.next() - 0.5);
    }
    watts
}

/// Linear congruential generator (Knuth, MMIX): the same numbers on every machine.
struct Random(u64);

impl Random {
    /// Returns a number from 0 to less than 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        f64::from((self.0 >> 32) as u32) / (f64::from(u32::MAX) + 1.0)
    }
}

/// Runs the exporter's parts for a day and returns the scrapes, one per minute.
fn scrape_a_day() -> Vec<ScrapedSensor> {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    let watts = load();
    board.plug(
        None,
        ADDRESS,
        Chip::exact(Load {
            current: Box::new(move |seconds| {
                let second = (seconds as usize).min(watts.len() - 1);
                watts[second] / RAIL_VOLTS
            }),
            resistance: 0.02,
            ..Load::steady(RAIL_VOLTS, 0.0)
        }),
    );
    let partial =
        PartialSettings { averaging: Averaging::from_repr(64), ..PartialSettings::default() };
    let meter = SharedMeter::default();
    let setup = Setup {
        name: "sensor orin".to_owned(),
        channel: None,
        chip: Ina260 {
            address: ADDRESS,
            settings: Settings::for_interval(Duration::from_secs(1), partial).unwrap(),
            alert: None,
            configure: true,
            power_guard: true,
        },
        calibration: Calibration::default(),
        always_power: true,
        meter: meter.clone(),
    };
    let mut sampler = Sampler::new(
        "bus 1".to_owned(),
        Box::new(board.clone()),
        vec![setup],
        clock.clone(),
        Arc::new(|| {}),
    );
    let recorder = exposition::recorder(&[0.1, 1.0, 10.0, 100.0]);
    let mut exposition = Exposition::new(recorder, clock.clone());
    let view = View {
        labels: vec![("device".to_owned(), "orin".to_owned())],
        info: vec![("bus".to_owned(), "1".to_owned())],
        script: false,
        alert: None,
        meter,
    };
    exposition.show(vec![view]);
    let mut next = clock.now();
    let mut scrapes = Vec::new();
    for _ in 0..MINUTES {
        next += SCRAPE_INTERVAL;
        loop {
            let due = sampler.poll_due();
            clock.advance_to(due.min(next));
            if due >= next {
                break;
            }
        }
        exposition.tick(clock.now());
        scrapes.extend(scrape::decode(&exposition.render().into()).unwrap().sensors);
    }
    scrapes
}

/// Power over the scrapes of a point, in watts.
#[derive(Clone, Copy)]
struct Point {
    min: f64,
    mean: f64,
    max: f64,
}

/// Returns the power between two scrapes: the mean from the energy counter, min and max from the
/// gauges of each scrape since the first.
fn point(before: &ScrapedSensor, scrapes: &[ScrapedSensor]) -> Point {
    let last = scrapes.last().unwrap();
    let readings = scrapes.iter().map(|scrape| scrape.readings.unwrap());
    let (min, max) = readings.fold((f64::MAX, f64::MIN), |(min, max), readings| {
        (min.min(readings.min.power.0), max.max(readings.max.power.0))
    });
    let joules = last.energy[0] - before.energy[0];
    let mean = joules / (last.measured - before.measured);
    Point { min, mean, max }
}

/// Edges of the chart.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 840.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 300.0;
const MAX_WATTS: f64 = 40.0;

fn x(hours: f64) -> f64 {
    LEFT + hours / 24.0 * (RIGHT - LEFT)
}

fn y(watts: f64) -> f64 {
    BOTTOM - watts / MAX_WATTS * (BOTTOM - TOP)
}

const HEAD: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 880 380"
width="880" height="380" role="img" aria-labelledby="title desc">
<title id="title">A day of power, measured by ina260-exporter</title>
<desc id="desc">
Time series chart from 00:00 to 24:00 with power from 0 to 40 watts. A line shows the mean of every
five minutes, a band around it the minimum and the maximum. {description}
</desc>
<style>
text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; }
text { fill: #1f2328; }
.title { font-size: 14px; font-weight: 600; }
.faint { fill: #59636e; }
.middle { text-anchor: middle; }
.end { text-anchor: end; }
.paper { fill: #ffffff; stroke: #d1d9e0; }
.grid { fill: none; stroke: #e6eaef; }
.axis { fill: none; stroke: #b6bfc8; }
.mean { fill: none; stroke: #1a7f37; stroke-width: 1.6; stroke-linejoin: round; }
.band { fill: #1a7f37; fill-opacity: 0.22; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.faint { fill: #9da7b1; }
.paper { fill: #0d1117; stroke: #3d444d; }
.grid { stroke: #22282f; }
.axis { stroke: #4b535d; }
.mean { stroke: #6fcf7c; }
.band { fill: #6fcf7c; fill-opacity: 0.25; }
}
</style>
<rect class="paper" x="0.5" y="0.5" width="879" height="379" rx="6"/>
<text class="title" x="20" y="30">Power</text>
<text class="faint end" x="840" y="30">device="orin", scraped every 60 s</text>
"#;

fn draw(points: &[Point], energy: f64) -> String {
    let day = Point {
        min: points.iter().map(|point| point.min).fold(f64::MAX, f64::min),
        mean: points.iter().map(|point| point.mean).sum::<f64>() / points.len() as f64,
        max: points.iter().map(|point| point.max).fold(f64::MIN, f64::max),
    };
    let [min, mean, max] = [day.min, day.mean, day.max].map(|watts| format!("{watts:.1} W"));
    let energy = format!("{:.0} Wh", energy / 3600.0);
    let description = format!(
        "Over the day:\nmin {min}, mean {mean}, max {max}, {energy}. Low at night except for a \
         backup at three, bursts in the\ndaytime, a \
         long job in the afternoon, video in the evening."
    );
    let mut svg = HEAD.replace("{description}", &description);
    for step in 0..=4 {
        let watts = f64::from(step) * MAX_WATTS / 4.0;
        let class = if step == 0 { "axis" } else { "grid" };
        let line = y(watts);
        writeln!(svg, r#"<path class="{class}" d="M{LEFT} {line}H{RIGHT}"/>"#).unwrap();
        let label = line + 4.0;
        writeln!(svg, r#"<text class="faint end" x="56" y="{label}">{watts} W</text>"#).unwrap();
    }
    for hour in (0..=24).step_by(3) {
        let line = x(f64::from(hour));
        writeln!(svg, r#"<path class="grid" d="M{line} {TOP}V{BOTTOM}"/>"#).unwrap();
        writeln!(svg, r#"<text class="faint middle" x="{line}" y="320">{hour:02}:00</text>"#)
            .unwrap();
    }
    let path = |values: &mut dyn Iterator<Item = (usize, f64)>| {
        let hours = 24.0 / points.len() as f64;
        let position = |(index, watts)| {
            // The middle of its five minutes.
            let x = x((index as f64 + 0.5) * hours);
            format!("{x:.1} {:.1}", y(watts))
        };
        values.map(position).collect::<Vec<_>>().join("L")
    };
    let maxima = path(&mut points.iter().map(|point| point.max).enumerate());
    let minima = path(&mut points.iter().map(|point| point.min).enumerate().rev());
    let means = path(&mut points.iter().map(|point| point.mean).enumerate());
    writeln!(svg, r#"<path class="band" d="M{maxima}L{minima}z"/>"#).unwrap();
    writeln!(svg, r#"<path class="mean" d="M{means}"/>"#).unwrap();
    let legend = format!(
        r#"<path class="mean" d="M64 350h18"/>
<text x="88" y="354">mean of 5 min</text>
<rect class="band" x="190" y="343" width="18" height="14"/>
<text x="214" y="354">min to max</text>
<text class="end" x="840" y="354"><tspan class="faint">min</tspan> {min}
<tspan class="faint" dx="10">mean</tspan> {mean}
<tspan class="faint" dx="10">max</tspan> {max}
<tspan class="faint" dx="10">energy</tspan> {energy}</text>
</svg>
"#
    );
    svg + &legend
}

#[test]
fn power_day_is_drawn_from_scrapes() {
    let scrapes = scrape_a_day();
    assert_eq!(scrapes.len(), MINUTES);
    let start = ScrapedSensor::default();
    let mut before = &start;
    let mut points = Vec::new();
    for scrapes in scrapes.chunks(SCRAPES_PER_POINT) {
        points.push(point(before, scrapes));
        before = scrapes.last().unwrap();
    }
    let svg = draw(&points, before.energy[0]);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(PICTURE, &svg).unwrap();
    }
    let committed = fs::read_to_string(PICTURE).unwrap();
    assert!(committed == svg, "{PICTURE} differs: UPDATE_GOLDEN=1 cargo test --test picture");
}
