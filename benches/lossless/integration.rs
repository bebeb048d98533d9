//! Energy as it is counted against the exact integral, over the time that counts as measured; beside it, what "one look a second,
//! times a second" makes of the same load.
//!
//! Errors are shares of the energy that flows either way: of a reversal, next to nothing is left net.

use std::thread;
use std::time::Duration;

use ina260_exporter::clock::SimulatedClock;
use ina260_exporter::ina260::settings::{ConversionTime, PartialSettings, Settings};
use ina260_exporter::meter::Totals;

use crate::load::{Drawn, SHAPES, Shape};
use crate::shared::summary::{Figure, Summary};
use crate::stage::{HERTZ, Stage, count, single, trunk};

const MINUTES: u32 = 10;
const SOURCES: [(&str, f64, f64); 3] = [
    ("stiff", 0.0, 0.1),
    ("50 mΩ", 0.05, 0.5),
    ("200 mΩ", 0.2, 0.5),
];
/// The script sleeps for a second after a look, which takes it three words at 100 kHz.
const LOOK_EVERY: f64 = 1.001_41;
/// Of the power-on settings, which the script leaves as they are: current first, then voltage.
const CONVERSION: f64 = 0.0011;

/// How a chip is set, and on which bus.
struct Way {
    name: &'static str,
    settings: Settings,
    hertz: u32,
}

fn ways() -> [Way; 4] {
    let second = Settings::for_interval(Duration::from_secs(1), PartialSettings::default());
    let way = |name, settings, hertz| Way {
        name,
        settings,
        hertz,
    };
    let fastest = single(ConversionTime::Us140);
    [
        way("auto 1 s", second.expect("it is long enough"), HERTZ),
        way("power-on", single(ConversionTime::Us1100), HERTZ),
        // 400 kHz carry some of these results, 1 MHz carries all.
        way("fastest", fastest, HERTZ),
        way("fastest, 1 MHz", fastest, 1_000_000),
    ]
}

/// Adds every combination, a thread a shape.
pub(crate) fn add(summary: &mut Summary) {
    let figures: Vec<Figure> = thread::scope(|scope| {
        let threads = SHAPES.map(|shape| scope.spawn(move || of_shape(shape)));
        let joined = threads.map(|thread| thread.join().expect("no thread panics"));
        joined.into_iter().flatten().collect()
    });
    for figure in figures {
        summary.add(figure);
    }
}

fn of_shape(shape: Shape) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (source, ohms, target) in SOURCES {
        let drawn = Drawn { shape, ohms };
        let gross = drawn.gross(MINUTES * 60);
        let glanced = glanced_error(drawn) / gross;
        for way in ways() {
            let counted = count_energy(drawn, &way);
            let name = format!("energy, {}, {source}, {}", shape.name, way.name);
            figures.push(
                Figure::new(&name, 100.0 * (counted.error / gross).abs(), "%")
                    .target(target)
                    .reference("a look a second", 100.0 * glanced.abs())
                    .reference("of results, %", 100.0 * counted.read)
                    .reference("of time, %", 100.0 * counted.measured),
            );
        }
    }
    figures
}

/// What the accumulator says in the end.
struct Counted {
    /// Joules too many.
    error: f64,
    /// The share of results that was read.
    read: f64,
    /// The share of the time that is measured.
    measured: f64,
}

fn count_energy(drawn: Drawn, way: &Way) -> Counted {
    let loads = vec![(trunk(0), drawn.load())];
    let mut stage = Stage::<SimulatedClock>::new(way.hertz, way.settings, loads);
    let end = stage.begun + Duration::from_secs(u64::from(MINUTES) * 60);
    let (mut truth, mut before) = (0.0, Totals::default());
    loop {
        let due = stage.sampler.poll_due();
        let totals = stage.totals()[0];
        if totals.results != before.results {
            // The account reaches until here, and this result covers the last of it.
            let until = (totals.measured + totals.unmeasured).as_secs_f64();
            let covered = totals
                .measured
                .saturating_sub(before.measured)
                .as_secs_f64();
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
        read: count(before.results) / count(stage.finished()[0]),
        measured: before.measured.as_secs_f64()
            / (before.measured + before.unmeasured).as_secs_f64(),
    }
}

/// Joules that the script's way counts too many.
fn glanced_error(drawn: Drawn) -> f64 {
    let end = f64::from(MINUTES * 60);
    let (mut t, mut sum) = (0.0, 0.0);
    while t + LOOK_EVERY <= end {
        let power = drawn.current(t + CONVERSION / 2.0) * drawn.voltage(t + 1.5 * CONVERSION);
        sum += power * LOOK_EVERY;
        t += LOOK_EVERY;
    }
    sum - drawn.energy(t)
}

#[expect(clippy::cast_precision_loss, reason = "attojoules are beyond any need")]
fn joules(totals: &Totals) -> f64 {
    (totals.energy.forward as f64 - totals.energy.reverse as f64) / 1e18
}
