//! The counted energy compared with the exact integral over the measured time; for reference, the
//! error of sampling once per second, as the Python script does.
//!
//! Errors are relative to the gross energy of both directions, since the net energy of a reversal
//! is close to zero.

use std::thread;
use std::time::Duration;

use ina260_exporter::clock::SimulatedClock;
use ina260_exporter::ina260::settings::{ConversionTime, PartialSettings, Settings};
use ina260_exporter::meter::Totals;

use crate::load::{Drawn, SHAPES, Shape};
use crate::shared::summary::{Figure, Summary};
use crate::stage::{HERTZ, Stage, count, direct, single};

const MINUTES: u32 = 10;
const SOURCES: [(&str, f64, f64); 3] =
    [("stiff", 0.0, 0.1), ("50 mΩ", 0.05, 0.5), ("200 mΩ", 0.2, 0.5)];
/// Sampling period of the script: a pause of a second, and three word reads at 100 kHz.
const SCRIPT_PERIOD: f64 = 1.001_41;
/// Conversion time in seconds of the power-on settings, which the script does not change: current
/// first, then voltage.
const CONVERSION: f64 = 0.0011;

/// Settings of the chip, and the frequency of its bus.
struct Variant {
    name: &'static str,
    settings: Settings,
    hertz: u32,
}

fn variants() -> [Variant; 4] {
    let second = Settings::for_interval(Duration::from_secs(1), PartialSettings::default());
    let variant = |name, settings, hertz| Variant { name, settings, hertz };
    let fastest = single(ConversionTime::Us140);
    [
        variant("auto 1 s", second.expect("the interval is long enough"), HERTZ),
        variant("power-on", single(ConversionTime::Us1100), HERTZ),
        // 400 kHz is enough for some of these results, 1 MHz for all.
        variant("fastest", fastest, HERTZ),
        variant("fastest, 1 MHz", fastest, 1_000_000),
    ]
}

/// Adds the figures of every combination; each shape is measured in its own thread.
pub(crate) fn add(summary: &mut Summary) {
    let figures: Vec<Figure> = thread::scope(|scope| {
        let threads = SHAPES.map(|shape| scope.spawn(move || figures_of(shape)));
        let joined = threads.map(|thread| thread.join().expect("no thread panics"));
        joined.into_iter().flatten().collect()
    });
    for figure in figures {
        summary.add(figure);
    }
}

fn figures_of(shape: Shape) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (source, ohms, target) in SOURCES {
        let drawn = Drawn { shape, ohms };
        let gross = drawn.gross(MINUTES * 60);
        let sampled = sampled_error(drawn) / gross;
        for variant in variants() {
            let counted = count_energy(drawn, &variant);
            let name = format!("energy, {}, {source}, {}", shape.name, variant.name);
            figures.push(
                Figure::new(&name, 100.0 * (counted.error / gross).abs(), "%")
                    .target(target)
                    .reference("one sample per second", 100.0 * sampled.abs())
                    .reference("results read, %", 100.0 * counted.read)
                    .reference("time measured, %", 100.0 * counted.measured),
            );
        }
    }
    figures
}

/// Outcome of a run.
struct Counted {
    /// Counted minus exact energy in joules.
    error: f64,
    /// Fraction of the results that were read.
    read: f64,
    /// Fraction of the time that was measured.
    measured: f64,
}

fn count_energy(drawn: Drawn, variant: &Variant) -> Counted {
    let loads = vec![(direct(0), drawn.load())];
    let mut stage = Stage::<SimulatedClock>::new(variant.hertz, variant.settings, loads);
    let end = stage.begun + Duration::from_secs(u64::from(MINUTES) * 60);
    let (mut truth, mut before) = (0.0, Totals::default());
    loop {
        let due = stage.sampler.poll_due();
        let totals = stage.totals()[0];
        if totals.results != before.results {
            // The result covers the last part of the accounted time.
            let until = (totals.measured + totals.unmeasured).as_secs_f64();
            let covered = totals.measured.saturating_sub(before.measured).as_secs_f64();
            truth += drawn.energy(until) - drawn.energy(until - covered);
        }
        before = totals;
        if due >= end {
            break;
        }
        stage.clock.clock.advance_to(due);
    }
    Counted {
        error: joules(&before) - truth,
        read: count(before.results) / count(stage.completed()[0]),
        measured: before.measured.as_secs_f64()
            / (before.measured + before.unmeasured).as_secs_f64(),
    }
}

/// Returns the error in joules of sampling as the script does.
fn sampled_error(drawn: Drawn) -> f64 {
    let end = f64::from(MINUTES * 60);
    let (mut t, mut sum) = (0.0, 0.0);
    while t + SCRIPT_PERIOD <= end {
        let power = drawn.current(t + CONVERSION / 2.0) * drawn.voltage(t + 1.5 * CONVERSION);
        sum += power * SCRIPT_PERIOD;
        t += SCRIPT_PERIOD;
    }
    sum - drawn.energy(t)
}

#[expect(clippy::cast_precision_loss, reason = "attojoules are more precise than needed")]
fn joules(totals: &Totals) -> f64 {
    (totals.energy.forward as f64 - totals.energy.reverse as f64) / 1e18
}
