//! One sensor in real time, subject to the machine's scheduler.
//!
//! The end of a simulated transfer is a busy wait, for precision; it uses more CPU time than a real
//! transfer.

use std::error::Error;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ina260_exporter::clock::{Clock, SystemClock};
use ina260_exporter::ina260::settings::{ConversionTime, PartialSettings, Settings};
use ina260_exporter::sampler::set_timer_slack;
use ina260_exporter::simulated::Load;

use crate::shared::summary::{Figure, Summary};
use crate::stage::{Cpu, HERTZ, Stage, count, direct, single};

/// Adds the figures of both rates.
pub(crate) fn add(summary: &mut Summary, time: Duration) -> Result<(), Box<dyn Error>> {
    let half = Settings::for_interval(Duration::from_micros(500), PartialSettings::default());
    let rates = [
        ("2.2 ms", single(ConversionTime::Us1100), 0.1),
        ("0.5 ms", half.expect("the interval is long enough"), 1.0),
    ];
    for (name, settings, target) in rates {
        let idle = thread::spawn(move || missed_by_idle_thread(settings.cycle(), time));
        let run = thread::spawn(move || run(settings, time));
        let run = run.join().map_err(|_| "the thread panicked")??;
        let idle = idle.join().map_err(|_| "the thread panicked")?;
        run.add(summary, &format!("real time, {name}"), target, idle);
    }
    Ok(())
}

/// Returns the percentage of cycles during which an idle thread that sleeps until the end of each
/// cycle never woke up: the loss caused by scheduling alone.
fn missed_by_idle_thread(cycle: Duration, time: Duration) -> f64 {
    set_timer_slack();
    let (begun, mut cycles, mut missed) = (Instant::now(), 0, 0);
    while let elapsed = begun.elapsed()
        && elapsed < time
    {
        let completed = u32::try_from(elapsed.as_nanos() / cycle.as_nanos()).unwrap_or(u32::MAX);
        missed += completed.saturating_sub(cycles);
        cycles = completed + 1;
        thread::sleep((cycle * cycles).saturating_sub(elapsed));
    }
    100.0 * f64::from(missed) / f64::from(cycles)
}

/// Outcome of a run.
struct Run {
    read: u64,
    missed: u64,
    completed: u64,
    unaccounted: u64,
    unmeasured: Duration,
    time: Duration,
    cpu: Cpu,
    /// Maximum delay of a wake-up.
    max_delay: Duration,
    transfers: Duration,
}

impl Run {
    fn add(&self, summary: &mut Summary, scene: &str, target: f64, idle: f64) {
        let figure =
            |what: &str, value, unit| Figure::new(&format!("{scene}, {what}"), value, unit);
        let share = |time: Duration| 100.0 * time.as_secs_f64() / self.time.as_secs_f64();
        let not_read = count(self.completed.saturating_sub(self.read));
        let not_read = 100.0 * not_read / count(self.completed);
        // An idle thread that missed nothing leaves nothing to compare with.
        if idle > 0.0 {
            let what = "results not read relative to an idle thread";
            summary.add(figure(what, not_read / idle, "×").target(2.0));
        }
        summary.add(
            figure("results not read", not_read, "%")
                .target(target)
                .reference("missed by an idle thread, %", idle)
                .reference("read", count(self.read))
                .reference("missed", count(self.missed))
                .reference("completed", count(self.completed))
                .reference("seconds", self.time.as_secs_f64()),
        );
        summary.add(figure("unaccounted for", count(self.unaccounted), "").target(2.0));
        // The references show the influence of a busy machine.
        summary.add(
            figure("time not measured", share(self.unmeasured), "%")
                .reference("runnable but waiting, %", share(self.cpu.waited))
                .reference("maximum wake-up delay, ms", 1e3 * self.max_delay.as_secs_f64()),
        );
        summary.add(
            figure("CPU, transfers included", share(self.cpu.used), "%")
                .reference("bus busy, %", share(self.transfers)),
        );
    }
}

/// Runs a sampler for a time, as the daemon's thread would.
fn run(settings: Settings, time: Duration) -> Result<Run, String> {
    let loads = vec![(direct(0), Load::board(0))];
    let mut stage = Stage::<SystemClock>::new(HERTZ, settings, loads);
    // The daemon's thread waits on a channel, too.
    let (_orders, received) = mpsc::channel::<()>();
    set_timer_slack();
    let before = Cpu::of_this_thread()?;
    let end = stage.begun + time;
    let mut max_delay = Duration::ZERO;
    loop {
        let due = stage.sampler.poll_due();
        let now = stage.clock.now();
        if now >= end {
            break;
        }
        let _ = received.recv_timeout(due.saturating_duration_since(now));
        let delay = stage.clock.now().saturating_duration_since(due.max(now));
        max_delay = max_delay.max(delay);
    }
    let totals = stage.totals()[0];
    let completed = stage.completed()[0];
    let unaccounted = stage.unaccounted();
    Ok(Run {
        read: totals.results,
        missed: totals.missed,
        completed,
        unaccounted,
        unmeasured: totals.unmeasured,
        time: Instant::now().duration_since(stage.begun),
        cpu: Cpu::of_this_thread()?.since(before),
        max_delay,
        transfers: stage.clock.spent(),
    })
}
