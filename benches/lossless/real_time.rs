//! One sensor in real time: the machine's scheduler decides when the thread runs.
//!
//! A simulated transfer spends the last of its time awake, to end when it should; so it uses more of the CPU than a real one.

use std::error::Error;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ina260_exporter::clock::{Clock, SystemClock};
use ina260_exporter::ina260::settings::{ConversionTime, PartialSettings, Settings};
use ina260_exporter::sampler::set_timer_slack;
use ina260_exporter::simulated::Load;

use crate::shared::summary::{Figure, Summary};
use crate::stage::{Cpu, HERTZ, Stage, count, single, trunk};

/// Of the script, which needs 29 µs for its one look a second.
const SCRIPT_CPU: f64 = 100.0 * 29e-6;

/// Adds both rates, one after the other.
pub(crate) fn add(summary: &mut Summary, time: Duration) -> Result<(), Box<dyn Error>> {
    let half = Settings::for_interval(Duration::from_micros(500), PartialSettings::default());
    let rates = [
        ("2.2 ms", single(ConversionTime::Us1100), 0.1),
        ("0.5 ms", half.expect("it is long enough"), 1.0),
    ];
    for (name, settings, target) in rates {
        let bare = thread::spawn(move || slept_through(settings.cycle(), time));
        let seen = thread::spawn(move || watch(settings, time));
        let seen = seen.join().map_err(|_| "the thread panicked")??;
        let bare = bare.join().map_err(|_| "the thread panicked")?;
        seen.add(summary, &format!("real time, {name}"), target, bare);
    }
    Ok(())
}

/// The share of cycles, in percent, that a thread sleeps through which only waits for the end of each: what this machine takes from
/// whoever has to be awake so often.
fn slept_through(cycle: Duration, time: Duration) -> f64 {
    set_timer_slack();
    let (begun, mut cycles, mut suspended) = (Instant::now(), 0, 0);
    while let passed = begun.elapsed()
        && passed < time
    {
        let finished = u32::try_from(passed.as_nanos() / cycle.as_nanos()).unwrap_or(u32::MAX);
        suspended += finished.saturating_sub(cycles);
        cycles = finished + 1;
        thread::sleep((cycle * cycles).saturating_sub(passed));
    }
    100.0 * f64::from(suspended) / f64::from(cycles)
}

struct Seen {
    read: u64,
    missed: u64,
    finished: u64,
    unaccounted: u64,
    unmeasured: Duration,
    time: Duration,
    cpu: Cpu,
    /// The longest that the thread was woken late.
    latest: Duration,
    transfers: Duration,
}

impl Seen {
    fn add(&self, summary: &mut Summary, scene: &str, target: f64, bare: f64) {
        let figure =
            |what: &str, value, unit| Figure::new(&format!("{scene}, {what}"), value, unit);
        let share = |time: Duration| 100.0 * time.as_secs_f64() / self.time.as_secs_f64();
        let not_read = count(self.finished.saturating_sub(self.read));
        summary.add(
            figure(
                "results not read",
                100.0 * not_read / count(self.finished),
                "%",
            )
            .target(target)
            .reference("a thread that only wakes, %", bare)
            .reference("read", count(self.read))
            .reference("missed", count(self.missed))
            .reference("finished", count(self.finished))
            .reference("seconds", self.time.as_secs_f64()),
        );
        summary.add(figure("unaccounted for", count(self.unaccounted), "").target(2.0));
        // What a busy machine is to blame for.
        summary.add(
            figure("time not measured", share(self.unmeasured), "%")
                .reference("waited for a CPU, %", share(self.cpu.waited))
                .reference("latest wake-up, ms", 1e3 * self.latest.as_secs_f64()),
        );
        summary.add(
            figure("CPU, transfers included", share(self.cpu.used), "%")
                .reference("the bus was busy, %", share(self.transfers))
                .reference("the Python script at 1 Hz", SCRIPT_CPU),
        );
    }
}

/// Does what the daemon's thread does, for a time.
fn watch(settings: Settings, time: Duration) -> Result<Seen, String> {
    let loads = vec![(trunk(0), Load::board(0))];
    let mut stage = Stage::<SystemClock>::new(HERTZ, settings, loads);
    // The daemon's thread waits for orders, which don't come here either.
    let (_orders, received) = mpsc::channel::<()>();
    set_timer_slack();
    let before = Cpu::of_this_thread()?;
    let end = stage.begun + time;
    let mut latest = Duration::ZERO;
    loop {
        let due = stage.sampler.poll_due();
        let now = stage.clock.now();
        if now >= end {
            break;
        }
        let _ = received.recv_timeout(due.saturating_duration_since(now));
        latest = latest.max(stage.clock.now().saturating_duration_since(due.max(now)));
    }
    let totals = stage.totals()[0];
    let finished = stage.finished()[0];
    let unaccounted = stage.unaccounted();
    Ok(Seen {
        read: totals.results,
        missed: totals.missed,
        finished,
        unaccounted,
        unmeasured: totals.unmeasured,
        time: Instant::now().duration_since(stage.begun),
        cpu: Cpu::of_this_thread()?.since(before),
        latest,
        transfers: stage.clock.spent(),
    })
}
