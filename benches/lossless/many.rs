//! Many sensors at ten results a second, on the simulated clock.

use std::error::Error;
use std::time::Duration;

use ina260_exporter::clock::SimulatedClock;
use ina260_exporter::i2c::Address;
use ina260_exporter::i2c::mux::Channel;
use ina260_exporter::ina260::settings::{PartialSettings, Settings};
use ina260_exporter::simulated::Load;

use crate::shared::summary::{Figure, Summary};
use crate::stage::{Cpu, HERTZ, Place, Stage, count, trunk};

const TIME: Duration = Duration::from_secs(600);
const BUSES: u32 = 4;
const SENSORS: u8 = 16;
const CHANNELS: u8 = 8;

/// Adds both scenes.
pub(crate) fn add(summary: &mut Summary) -> Result<(), Box<dyn Error>> {
    let on_trunk = |_| (0..SENSORS).map(trunk).collect();
    add_scene(
        summary,
        "64 sensors on 4 buses",
        (0..BUSES).map(on_trunk).collect(),
    )?;
    let behind = |channel| {
        let channel = Channel {
            multiplexer: Address(0x70),
            channel,
        };
        (Some(channel), Address(0x40))
    };
    let places = (0..CHANNELS).map(behind).collect();
    add_scene(summary, "8 behind a multiplexer", vec![places])
}

/// Each bus by itself, as each has a thread of its own.
fn add_scene(
    summary: &mut Summary,
    scene: &str,
    buses: Vec<Vec<Place>>,
) -> Result<(), Box<dyn Error>> {
    let before = Cpu::of_this_thread()?;
    let (mut missed, mut unaccounted, mut results) = (0, 0, 0);
    let (mut words, mut busy) = (0, 0.0_f64);
    for places in buses {
        let stage = run(places);
        for totals in stage.totals() {
            missed += totals.missed;
            results += totals.results;
        }
        unaccounted = unaccounted.max(stage.unaccounted());
        words = words.max(stage.words());
        busy = busy.max(stage.clock.spent().as_secs_f64());
    }
    let used = Cpu::of_this_thread()?.since(before).used;
    let seconds = TIME.as_secs_f64();
    let figure =
        |what: &str, value, unit| Figure::new(&format!("{scene} at 10 Hz, {what}"), value, unit);
    summary.add(
        figure("missed", count(missed), "")
            .target(1.0)
            .reference("read", count(results)),
    );
    summary.add(figure("unaccounted for", count(unaccounted), "").target(2.0));
    summary.add(figure("transfers per bus", count(words) / seconds, "1/s"));
    summary.add(figure("bus share", 100.0 * busy / seconds, "%"));
    // Most of it is the chips' own conversions.
    summary.add(figure(
        "CPU with simulated chips",
        100.0 * used.as_secs_f64() / seconds,
        "%",
    ));
    Ok(())
}

fn run(places: Vec<Place>) -> Stage<SimulatedClock> {
    let settings = Settings::for_interval(Duration::from_millis(100), PartialSettings::default());
    let loads = places.into_iter().zip(0..);
    let mut stage = Stage::<SimulatedClock>::new(
        HERTZ,
        settings.expect("it is long enough"),
        loads
            .map(|(place, number)| (place, Load::board(number)))
            .collect(),
    );
    let end = stage.begun + TIME;
    loop {
        let due = stage.sampler.poll_due();
        if due >= end {
            return stage;
        }
        stage.clock.clock.advance_to(due);
    }
}
