//! Transfers, labels and the start-up probe, on simulated buses.

use super::preflight::Findings;
use super::*;
use crate::cli::CommandLine;
use crate::clock::{Clock, SimulatedClock};
use crate::config::{self, Overrides};
use crate::i2c::Address;
use crate::simulated::{Board, Chip, Fault, Faults, Load, ScheduledFault};
use clap::Parser;

/// Returns the number of transfers per result, including settings checks.
fn transfers_per_result(interval: &str, script_metrics: bool) -> f64 {
    let line = CommandLine::try_parse_from(["", "--interval", interval]).unwrap();
    let mut plan = config::load_alone(&line.daemon.overrides()).unwrap().plan;
    plan.script_metrics = script_metrics;
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    board.plug(None, Address(0x40), Chip::new(Load::steady(5.0, 1.0)));
    let provider = BusProvider {
        faults: Some(Faults::default()),
        boards: BTreeMap::from([(1.into(), board.clone())]),
        ..BusProvider::default()
    };
    let mut supervisor = Supervisor::open(plan, provider, None).unwrap();
    let mut sampler = Sampler::new(
        "simulated bus 1".to_owned(),
        supervisor.opened.remove(&1.into()).unwrap(),
        supervisor.setups(1.into()),
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
fn power_is_read_for_script_metrics_or_long_cycles() {
    for (interval, script_metrics, expected) in
        [("5ms", true, 4.0), ("5ms", false, 3.0), ("20ms", true, 4.0), ("20ms", false, 4.0)]
    {
        let transfers = transfers_per_result(interval, script_metrics);
        assert!(
            (expected..expected + 0.2).contains(&transfers),
            "{interval}, {script_metrics}: {transfers}"
        );
    }
}

#[test]
fn empty_hostname_adds_no_label() {
    let labels = |hostname: &str| {
        let line = CommandLine::try_parse_from(["", "--simulate", "--hostname", hostname]).unwrap();
        let plan = config::load_alone(&line.daemon.overrides()).unwrap().plan;
        let provider = BusProvider::new(plan.simulate.as_ref());
        let supervisor = Supervisor::open(plan, provider, None).unwrap();
        let labels = supervisor.views().remove(0).labels;
        labels.into_iter().map(|(name, value)| name + "=" + &value).collect::<Vec<_>>()
    };
    assert_eq!(labels("pi4"), ["hostname=pi4", "device=deepx"]);
    assert_eq!(labels(""), ["device=deepx"]);
}

/// Returns what the start-up probe finds, with INA260s at these buses and addresses. The
/// configured sensor is at 0x40 on bus 1; if `is_other`, there is another chip.
fn found_at_start(is_other: bool, at: &[(u8, u8)]) -> Findings {
    let mut plan = config::load_alone(&Overrides::default()).unwrap().plan;
    plan.wait_for_sensor = true;
    let boards = [1, 7].map(|bus: u8| {
        let board = Board::new(Arc::new(SimulatedClock::default()), 400_000);
        for (_, address) in at.iter().filter(|(on, _)| *on == bus) {
            board.plug(None, Address(*address), Chip::new(Load::steady(5.0, 1.0)));
        }
        (bus.into(), board)
    });
    if !at.contains(&(1, 0x40)) {
        // Opening the bus adds a chip, which does not respond.
        let fault = if is_other { Fault::WrongIdentity } else { Fault::NoAnswer };
        let address = Some(Address(0x40));
        let (from, until) = (Duration::ZERO, None);
        boards[0].1.schedule(ScheduledFault { fault, address, from, until });
    }
    let boards = BTreeMap::from(boards);
    let provider =
        BusProvider { faults: Some(Faults::default()), boards, ..BusProvider::default() };
    Supervisor::open(plan, provider, None).unwrap().preflight().run()
}

#[test]
fn chip_at_another_address_is_named_at_the_start() {
    let findings = found_at_start(false, &[(1, 0x44)]);
    assert_eq!(findings.others, ["INA260s respond at bus 1, 0x44"]);
    assert!(findings.failures[0].contains("no acknowledge"), "{:?}", findings.failures);
    let findings = found_at_start(false, &[]);
    assert_eq!(findings.others, [""; 0]);
    assert_eq!(findings.empty, ["no INA260 responds on buses 1, 7 at 0x40-0x4f"]);
}

#[test]
fn other_chip_is_named_with_the_bus_of_the_ina260() {
    let findings = found_at_start(true, &[(7, 0x40)]);
    let message = "0x40 on bus 1 is an INA226, not an INA260 (manufacturer 0x5449, die 0x2260); \
                   INA260s respond at bus 7, 0x40";
    assert_eq!(findings.others, [message]);
    assert!(!findings.any_responds && findings.failures.is_empty());
}

#[test]
fn stuck_bus_is_not_listed_as_scanned() {
    let plan = config::load_alone(&Overrides::default()).unwrap().plan;
    let board = Board::new(Arc::new(SimulatedClock::default()), 400_000);
    board.inject(Fault::Timeout);
    let boards = BTreeMap::from([(1.into(), board)]);
    let provider =
        BusProvider { faults: Some(Faults::default()), boards, ..BusProvider::default() };
    let findings = Supervisor::open(plan, provider, None).unwrap().preflight().run();
    assert_eq!(findings.empty, ["bus 1 is stuck; not scanned"]);
}

#[test]
fn bus_that_cannot_be_opened_is_reported_with_silent_sensors() {
    let plan = config::load_alone(&Overrides::default()).unwrap().plan;
    let silent = BusProvider::new(Some(&"no-answer@0".parse().unwrap()));
    let mut supervisor = Supervisor::open(plan, silent, None).unwrap();
    supervisor.unopened.push("/dev/i2c-3 does not exist".to_owned());
    let NothingToMeasure(messages) = supervisor.probe_at_startup().unwrap_err();
    assert_eq!(messages[0], "/dev/i2c-3 does not exist");
    assert!(messages[1].contains("no acknowledge"), "{messages:?}");
}

#[test]
fn nothing_is_scanned_while_all_sensors_respond() {
    let findings = found_at_start(false, &[(1, 0x40), (1, 0x44), (7, 0x40)]);
    assert!(findings.any_responds && findings.others.is_empty() && findings.empty.is_empty());
}

#[test]
fn blocked_probe_does_not_hold_up_the_service() {
    let mut plan = config::load_alone(&Overrides::default()).unwrap().plan;
    plan.wait_for_sensor = true;
    let board = Board::new(Arc::new(SimulatedClock::default()), 400_000);
    board.inject(Fault::Hang);
    let boards = BTreeMap::from([(1.into(), board.clone())]);
    let provider =
        BusProvider { faults: Some(Faults::default()), boards, ..BusProvider::default() };
    let supervisor = Supervisor::open(plan, provider, None).unwrap();
    assert!(supervisor.probe_at_startup().is_ok());
    board.clear_faults();
}
