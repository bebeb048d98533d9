//! Many sensors at ten results per second, on the simulated clock.

use std::error::Error;
use std::time::Duration;

use ina260_exporter::clock::SimulatedClock;
use ina260_exporter::i2c::mux::Channel;
use ina260_exporter::i2c::{Address, Location};
use ina260_exporter::ina260::settings::{PartialSettings, Settings};
use ina260_exporter::simulated::Load;

use crate::shared::summary::{Figure, Summary};
use crate::stage::{Cpu, HERTZ, Stage, count, direct};

const TIME: Duration = Duration::from_secs(600);
const BUSES: u32 = 4;
const SENSORS: u8 = 16;
const CHANNELS: u8 = 8;

/// Adds the figures of both scenes.
pub(crate) fn add(summary: &mut Summary) -> Result<(), Box<dyn Error>> {
    let full_bus = |_| (0..SENSORS).map(direct).collect();
    add_scene(summary, "64 sensors on 4 buses", (0..BUSES).map(full_bus).collect())?;
    let downstream = |channel| Location {
        mux: Some(Channel { multiplexer: Address(0x70), channel }),
        ..direct(0)
    };
    let bus = (0..CHANNELS).map(downstream).collect();
    add_scene(summary, "8 sensors on a mux", vec![bus])
}

/// Adds the figures of one scene. The buses run one after another: they are independent.
fn add_scene(
    summary: &mut Summary,
    scene: &str,
    buses: Vec<Vec<Location>>,
) -> Result<(), Box<dyn Error>> {
    let before = Cpu::of_this_thread()?;
    let (mut missed, mut unaccounted, mut results) = (0, 0, 0);
    let (mut transfers, mut busy) = (0, 0.0_f64);
    for locations in buses {
        let stage = run(locations);
        for totals in stage.totals() {
            missed += totals.missed;
            results += totals.results;
        }
        unaccounted = unaccounted.max(stage.unaccounted());
        transfers = transfers.max(stage.transfers());
        busy = busy.max(stage.clock.spent().as_secs_f64());
    }
    let used = Cpu::of_this_thread()?.since(before).used;
    let seconds = TIME.as_secs_f64();
    let figure =
        |what: &str, value, unit| Figure::new(&format!("{scene} at 10 Hz, {what}"), value, unit);
    summary.add(figure("missed", count(missed), "").target(1.0).reference("read", count(results)));
    summary.add(figure("unaccounted for", count(unaccounted), "").target(2.0));
    summary.add(figure("transfers per bus", count(transfers) / seconds, "1/s"));
    summary.add(figure("bus busy", 100.0 * busy / seconds, "%"));
    // Most of it is the simulation of the conversions.
    summary.add(figure("CPU with simulated chips", 100.0 * used.as_secs_f64() / seconds, "%"));
    Ok(())
}

fn run(locations: Vec<Location>) -> Stage<SimulatedClock> {
    let settings = Settings::for_interval(Duration::from_millis(100), PartialSettings::default());
    let loads = locations.into_iter().zip(0..);
    let mut stage = Stage::<SimulatedClock>::new(
        HERTZ,
        settings.expect("the interval is long enough"),
        loads.map(|(location, number)| (location, Load::board(number))).collect(),
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
