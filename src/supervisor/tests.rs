//! The sampler of a plan, on the simulated clock.

use super::*;
use crate::cli::CommandLine;
use crate::clock::{Clock, SimulatedClock};
use crate::config;
use crate::i2c::Address;
use crate::simulated::Faults;
use crate::simulated::{Board, Chip, Load};
use clap::Parser;

/// Returns the number of transfers per result, including settings checks.
fn transfers_per_result(interval: &str, script_metrics: bool) -> f64 {
    let line = CommandLine::try_parse_from(["", "--interval", interval]).unwrap();
    let mut plan = config::load_alone(&line.daemon.overrides()).unwrap().plan;
    plan.script_metrics = script_metrics;
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    board.plug(Address(0x40), Chip::new(Load::steady(5.0, 1.0)));
    let source = BusProvider::Simulated {
        faults: Faults::default(),
        boards: BTreeMap::from([(1, board.clone())]),
    };
    let mut supervisor = Supervisor::open(plan, source, String::new()).unwrap();
    let mut sampler = Sampler::new(
        supervisor.bus_name(1),
        supervisor.opened.remove(&1).unwrap().bus,
        supervisor.setups(1),
        clock.clone(),
        Arc::new(|| ()),
    );
    let end = clock.now() + Duration::from_secs(60);
    while clock.now() < end {
        let due = sampler.poll_due();
        clock.advance_to(due);
    }
    let results = supervisor.meters[0].lock().accumulator.totals(end).results;
    board.transfers() as f64 / results as f64
}

#[test]
fn power_register_is_read_for_script_or_if_time_allows() {
    for (interval, script_metrics, expected) in
        [("5ms", true, 4.0), ("5ms", false, 3.0), ("20ms", true, 4.0), ("20ms", false, 4.0)]
    {
        let words = transfers_per_result(interval, script_metrics);
        assert!(
            (expected..expected + 0.2).contains(&words),
            "{interval}, {script_metrics}: {words}"
        );
    }
}

#[test]
fn empty_hostname_is_no_label() {
    let labels = |hostname: &str| {
        let line = CommandLine::try_parse_from(["", "--simulate", "--hostname", hostname]).unwrap();
        let plan = config::load_alone(&line.daemon.overrides()).unwrap().plan;
        let provider = BusProvider::new(plan.simulate.as_ref());
        let supervisor = Supervisor::open(plan, provider, String::new()).unwrap();
        let labels = supervisor.views().remove(0).labels;
        labels.into_iter().map(|(name, value)| name + "=" + &value).collect::<Vec<_>>()
    };
    assert_eq!(labels("pi4"), ["hostname=pi4", "device=deepx"]);
    assert_eq!(labels(""), ["device=deepx"]);
}
