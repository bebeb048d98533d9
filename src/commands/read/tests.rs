//! Reading without the service, beside it, and behind a multiplexer.

use std::sync::Arc;

use super::*;
use crate::cli::CommandLine;
use crate::clock::SimulatedClock;
use crate::i2c::mux::Channel;
use crate::scrape::{Readings, ScrapedAlert, ScrapedChip, ScrapedSensor};
use crate::simulated::{Board, Chip, Fault, Faults, Load};
use crate::units::Measured;

const URL: &str = "http://127.0.0.1:8000/metrics";

/// A sensor that is configured with these flags.
fn sensor(flags: &[&str]) -> SensorPlan {
    let line = CommandLine::parse_from_words([&[""], flags].concat()).unwrap();
    let mut plan = config::load_alone(&line.daemon.overrides()).unwrap().plan;
    plan.sensors.remove(0)
}

fn behind(multiplexer: u8, channel: u8) -> Channel {
    Channel {
        multiplexer: Address(multiplexer),
        channel,
    }
}

/// Sensors at 0x40 behind 0x70:2 and 0x71:5, with 5 V and 12 V, and one at 0x41 in front of them.
fn board() -> Arc<Board> {
    let board = Board::new(Arc::new(SimulatedClock::default()), 400_000);
    let chip = |volts| Chip::new(Load::steady(volts, 1.0));
    board.plug_at(Some(behind(0x70, 2)), Address(0x40), chip(5.0));
    board.plug_at(Some(behind(0x71, 5)), Address(0x40), chip(12.0));
    board.plug(Address(0x41), chip(3.3));
    board
}

fn served(sensor: &SensorPlan) -> ScrapedSensor {
    let measured = Measured::new(12.0, 1.5, 18.0);
    ScrapedSensor {
        labels: vec![("device".to_owned(), "orin".to_owned())],
        up: true,
        readings: Some(Readings {
            last: measured,
            min: measured,
            max: measured,
        }),
        chip: Some(ScrapedChip {
            location_text: String::new(),
            location: Some(sensor.location),
            die: "0x2270".to_owned(),
            averaging: 1024,
            voltage_micros: 332,
            current_micros: 588,
        }),
        alert: Some(ScrapedAlert {
            on: "over-current".to_owned(),
            limit: 1.25,
            unit: "A",
            active: true,
        }),
        ..ScrapedSensor::default()
    }
}

fn service(sensors: Vec<ScrapedSensor>) -> RunningExporter {
    RunningExporter {
        url: URL.to_owned(),
        sensors: Ok(sensors),
    }
}

fn told(sensor: &SensorPlan, outcome: Result<Seen, String>) -> String {
    let mut output = Vec::new();
    table::write(&[Visit { sensor, outcome }], &mut output).unwrap();
    String::from_utf8(output).unwrap()
}

#[test]
fn a_sensor_behind_a_multiplexer_is_read_through_its_channel_and_all_is_left_as_it_was() {
    let board = board();
    // Somebody left the other's channel open: both would answer.
    board.set_control(Address(0x71), 0x20);
    let sensor = sensor(&["--mux", "0x70:2"]);
    let all = [Address(0x70), Address(0x71)];
    let clock = |time| board.wait(time);
    let seen = alone(&mut board.bus(), &sensor, &all, &mut { clock }).unwrap();
    assert_eq!(seen.measured.voltage.0, 5.0);
    let controls = all.map(|multiplexer| board.control(multiplexer));
    assert_eq!(controls, [Some(0x00), Some(0x20)]);
    let why = alone(&mut board.bus(), &sensor, &[Address(0x77)], &mut |_| ()).unwrap_err();
    let told = "mux 0x77: no acknowledge (errno 121); check its wiring";
    assert!(why.starts_with(told), "{why}");
}

#[test]
fn whoever_asks_to_end_while_a_chip_is_waited_for_has_asked_for_good() {
    let board = Board::new(Arc::new(SimulatedClock::default()), 400_000);
    // Nothing is measured yet: there is a pause for its first result.
    board.plug(Address(0x40), Chip::new(Load::steady(0.0, 0.0)));
    let mut plan = config::load_alone(&Overrides::default()).unwrap().plan;
    plan.sensors = vec![sensor(&[])];
    let source = BusProvider::Simulated {
        faults: Faults::default(),
        boards: BTreeMap::from([(1, board)]),
    };
    let mut buses = Buses::new(&plan, source, false);
    let mut calls = 0;
    let mut stop = |_| {
        calls += 1;
        assert!(calls < 10, "it was asked to end, and goes on");
        // A signal is an event: it comes once, here in the pause.
        calls == 2
    };
    let mut output = Vec::new();
    follow(&plan, &mut buses, &mut output, &mut for_good(&mut stop)).unwrap();
    assert_eq!(String::from_utf8(output).unwrap().lines().count(), 2);
}

#[test]
fn beside_the_service_settings_and_alert_are_what_it_says_and_nothing_is_switched() {
    let board = board();
    let trunk = sensor(&["--address", "0x41", "--device", "rack"]);
    board.wait(Duration::from_millis(10));
    let service = service(vec![served(&trunk)]);
    let seen = beside(&service, &mut board.bus(), &trunk);
    assert_eq!(
        told(&trunk, seen),
        "rack  bus 1, 0x41\n  voltage   3.300 V\n  current   1.000 A\n  power     3.300 W\n  \
         settings  mean of 1024 × (588 µs current + 332 µs voltage) = 942.08 ms\n  flags     alert\n  \
         alert     over-current 1.25 A: active\n  identity  INA260, die 0x2270\n            \
         the bus is in use: settings and alert are what the service says\n"
    );
    assert_eq!(board.control_writes(), 0);
    board.inject(Fault::NoAnswer);
    let why = beside(&service, &mut board.bus(), &trunk).unwrap_err();
    assert!(
        why.contains("no acknowledge (errno 121); check its wiring"),
        "{why}"
    );
}

#[test]
fn a_sensor_that_the_service_does_not_measure_shows_no_settings() {
    let board = board();
    let trunk = sensor(&["--address", "0x41"]);
    let seen = beside(&service(Vec::new()), &mut board.bus(), &trunk);
    let told = told(&trunk, seen);
    assert!(
        told.contains("which does not measure this sensor"),
        "{told}"
    );
    assert!(!told.contains("settings  mean"), "{told}");
}

#[test]
fn behind_the_services_multiplexer_its_own_result_is_shown_or_why_there_is_none() {
    let sensor = sensor(&["--mux", "0x70:2"]);
    let seen = behind_the_service(&service(vec![served(&sensor)]), &sensor).unwrap();
    assert_eq!(
        (seen.measured.voltage.0, seen.measured.power.0),
        (12.0, 18.0)
    );
    let down = ScrapedSensor {
        readings: None,
        up: false,
        ..served(&sensor)
    };
    let why = behind_the_service(&service(vec![down]), &sensor).unwrap_err();
    assert_eq!(
        why,
        format!("does not answer the service at {URL}; its log says why")
    );
    let why = behind_the_service(&service(Vec::new()), &sensor).unwrap_err();
    assert!(why.contains("does not measure this sensor"), "{why}");
    let silent = RunningExporter {
        sensors: Err(format!("{URL}: no response in time")),
        ..service(Vec::new())
    };
    let why = behind_the_service(&silent, &sensor).unwrap_err();
    assert!(
        why.ends_with("and http://127.0.0.1:8000/metrics: no response in time"),
        "{why}"
    );
}

#[test]
fn a_stuck_bus_is_tried_once_and_the_advice_says_what_to_do() {
    let board = board();
    board.inject(Fault::Timeout);
    let why = alone(
        &mut board.bus(),
        &sensor(&["--address", "0x41"]),
        &[],
        &mut |_| (),
    )
    .unwrap_err();
    assert!(
        why.contains("timed out (errno 110); the bus is stuck"),
        "{why}"
    );
    assert_eq!(board.transfers(), 1);
}
