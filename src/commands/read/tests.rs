//! Reading with and without a running service, and downstream of a mux.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::reader::{Error, read_shared, read_via_service};
use super::*;
use crate::cli::CommandLine;
use crate::clock::SimulatedClock;
use crate::commands::running_exporter::RunningExporter;
use crate::i2c::mux::Channel;
use crate::i2c::{Address, Location};
use crate::ina260::settings::Settings;
use crate::scrape::{Readings, ScrapedAlert, ScrapedChip, ScrapedSensor};
use crate::simulated::{Board, Chip, Fault, Faults, Load, ScheduledFault};
use crate::units::Measured;
use clap::Parser;

const URL: &str = "http://127.0.0.1:8000/metrics";

/// Returns the sensor that these flags configure.
fn sensor(flags: &[&str]) -> SensorPlan {
    let line = CommandLine::try_parse_from([&[""], flags].concat()).unwrap();
    let mut plan = config::load_alone(&line.daemon.overrides()).unwrap().plan;
    plan.sensors.remove(0)
}

fn channel(multiplexer: u8, channel: u8) -> Channel {
    Channel { multiplexer: Address(multiplexer), channel }
}

/// Sensors at 0x40 on 0x70:2 with 5 V and on 0x71:5 with 12 V, and one at 0x41 upstream of them.
fn board() -> Arc<Board> {
    let board = Board::new(Arc::new(SimulatedClock::default()), 400_000);
    let chip = |volts| Chip::new(Load::steady(volts, 1.0));
    board.plug(Some(channel(0x70, 2)), Address(0x40), chip(5.0));
    board.plug(Some(channel(0x71, 5)), Address(0x40), chip(12.0));
    board.plug(None, Address(0x41), chip(3.3));
    board
}

fn labels(Location { bus, mux, address }: Location) -> [String; 3] {
    let mux = mux.map_or(String::new(), |mux| mux.to_string());
    [bus.to_string(), mux, address.to_string()]
}

fn served(sensor: &SensorPlan) -> ScrapedSensor {
    let measured = Measured::new(12.0, 1.5, 18.0);
    ScrapedSensor {
        labels: vec![("device".to_owned(), "orin".to_owned())],
        up: true,
        last_result: Some(1_767_225_600.5),
        readings: Some(Readings { last: measured, min: measured, max: measured }),
        chip: Some(ScrapedChip {
            location: labels(sensor.location),
            die: "0x2270".to_owned(),
            settings: Settings::from_word(0x6E9F),
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

/// Returns a reader of sensors on bus 1, which is this board.
fn reader(board: &Arc<Board>, sensors: &[&SensorPlan]) -> Reader {
    let mut plan = config::load_alone(&Overrides::default()).unwrap().plan;
    plan.sensors = sensors.iter().map(|sensor| (*sensor).clone()).collect();
    let boards = BTreeMap::from([(1.into(), board.clone())]);
    Reader::new(
        &plan,
        BusProvider { faults: Some(Faults::default()), boards, ..BusProvider::default() },
        false,
    )
}

fn service(sensors: Vec<ScrapedSensor>) -> RunningExporter {
    RunningExporter { name: format!("the service at {URL}"), sensors: Ok(sensors) }
}

fn text(sensor: &SensorPlan, outcome: Result<SensorReport, Error>) -> String {
    let mut output = Vec::new();
    output::write_text(&[Row { sensor, outcome }], &mut output).unwrap();
    String::from_utf8(output).unwrap()
}

#[test]
fn exclusive_read_selects_channel_and_restores() {
    let board = board();
    // With the other mux's channel selected as well, both sensors would respond.
    board.write_as_other_master(0, Address(0x71), 0x20);
    let sensor = sensor(&["--mux", "0x70:2"]);
    let (other, absent) = (self::sensor(&["--mux", "0x71:5"]), self::sensor(&["--mux", "0x77:0"]));
    let mut wait = |time| {
        board.clock.wait(time);
        false
    };
    let report = reader(&board, &[&sensor, &other]).read(&sensor, &mut wait).unwrap();
    assert_eq!(report.measured.voltage.0, 5.0);
    let controls = [0x70, 0x71].map(|multiplexer| board.control(Address(multiplexer)));
    assert_eq!(controls, [Some(0x00), Some(0x20)]);
    let at = Some(Address(0x77));
    let (fault, from, until) = (Fault::NoAnswer, Duration::ZERO, None);
    board.schedule(ScheduledFault { fault, address: at, from, until });
    let error = reader(&board, &[&sensor, &absent]).read(&sensor, &mut |_| false).unwrap_err();
    let message = "mux 0x77: no acknowledge (errno 121); check wiring";
    assert!(error.to_string().starts_with(message), "{error}");
}

#[test]
fn one_failed_transfer_loses_no_alert() {
    for micros in (0..2_000).step_by(40) {
        let board = Board::new(Arc::new(SimulatedClock::default()), 400_000);
        let sensors = [sensor(&["--mux", "0x70:2"]), sensor(&["--address", "0x41"])];
        for Location { mux, address, .. } in sensors.each_ref().map(|it| it.location) {
            let current = Box::new(|seconds| if seconds < 0.5 { 1.0 } else { 0.0 });
            board.plug(mux, address, Chip::new(Load { current, ..Load::steady(5.0, 0.0) }));
            board.chip(mux, address, |chip| {
                // Over-current, latched; 0.5 A.
                chip.write(0x07, 400, Duration::ZERO);
                chip.write(0x06, 0x8001, Duration::ZERO);
                // Converts until then.
                chip.read(0x07, Duration::from_millis(400));
            });
        }
        board.clock.wait(Duration::from_secs(1));
        // The shortest transfer takes 50 µs, so that at most one fails.
        let from = Duration::from_micros(1_000_000 + micros);
        let until = Some(from + Duration::from_micros(45));
        board.schedule(ScheduledFault { fault: Fault::NoAnswer, address: None, from, until });
        let mut reader = reader(&board, &sensors.each_ref());
        for sensor in &sensors {
            let report = reader.read(sensor, &mut |_| false);
            let state = report.map(|report| report.state.unwrap().alert_active);
            assert_eq!(state.map_err(|it| it.to_string()), Ok(true), "after {micros} µs");
        }
    }
}

#[test]
fn stop_request_during_first_result_wait_is_sticky() {
    let board = Board::new(Arc::new(SimulatedClock::default()), 400_000);
    // Without a load, its first result is waited for.
    board.plug(None, Address(0x40), Chip::new(Load::steady(0.0, 0.0)));
    let mut plan = config::load_alone(&Overrides::default()).unwrap().plan;
    plan.sensors = vec![sensor(&[])];
    let mut reader = reader(&board, &[&plan.sensors[0]]);
    let mut calls = 0;
    let mut stop = |_| {
        calls += 1;
        assert!(calls < 10, "the request to stop was ignored");
        // A signal arrives during the wait.
        calls >= 2
    };
    let mut output = Vec::new();
    follow(&plan, &mut reader, None, &mut output, &mut stop).unwrap();
    assert_eq!(String::from_utf8(output).unwrap().lines().count(), 2);
}

#[test]
fn follow_ends_after_its_duration() {
    let board = board();
    let mut plan = config::load_alone(&Overrides::default()).unwrap().plan;
    plan.sensors = vec![sensor(&["--address", "0x41", "--interval", "20ms"])];
    let mut reader = reader(&board, &[&plan.sensors[0]]);
    let mut stop = |time| {
        std::thread::sleep(time);
        false
    };
    let (mut output, time) = (Vec::new(), Duration::from_millis(100));
    follow(&plan, &mut reader, Some(time), &mut output, &mut stop).unwrap();
    // The header and at most one line every 20 ms, the first and the last included.
    let lines = String::from_utf8(output).unwrap().lines().count();
    assert!((2..=7).contains(&lines), "{lines}");
}

#[test]
fn follow_fails_if_a_sensor_was_never_read() {
    let board = board();
    let mut plan = config::load_alone(&Overrides::default()).unwrap().plan;
    let [present, absent] = ["0x41", "0x42"].map(|address| {
        let flags = ["--device", address, "--address", address, "--interval", "20ms"];
        sensor(&flags)
    });
    let (fault, from, until) = (Fault::NoAnswer, Duration::ZERO, None);
    board.schedule(ScheduledFault { fault, address: Some(Address(0x42)), from, until });
    let mut stop = |time| {
        std::thread::sleep(time);
        false
    };
    let mut follow = |sensors: &[&SensorPlan]| {
        plan.sensors = sensors.iter().map(|&sensor| sensor.clone()).collect();
        let mut reader = reader(&board, sensors);
        let time = Some(Duration::from_millis(100));
        super::follow(&plan, &mut reader, time, &mut Vec::new(), &mut stop)
    };
    let outcome = follow(&[&absent]);
    let Err(Failure::Nothing(messages)) = outcome else { panic!("{outcome:?}") };
    assert!(messages[0].starts_with("sensor 0x42 (bus 1, 0x42): "), "{messages:?}");
    let outcome = follow(&[&present, &absent]);
    let Err(Failure::Partly(messages)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(follow(&[&present]).is_ok());
}

#[test]
fn result_of_the_service_has_its_own_time() {
    let sensor = sensor(&["--mux", "0x70:2"]);
    let report = read_via_service(&service(vec![served(&sensor)]), &sensor).unwrap();
    let since = report.at.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(since, Duration::from_millis(1_767_225_600_500));
}

#[test]
fn shared_read_takes_state_from_the_service() {
    let board = board();
    let upstream = sensor(&["--address", "0x41", "--device", "rack"]);
    board.clock.wait(Duration::from_millis(10));
    let service = service(vec![served(&upstream)]);
    let report = read_shared(&service, &mut board.clone(), &upstream);
    assert_eq!(
        text(&upstream, report),
        "rack  bus 1, 0x41\n  voltage   3.300 V\n  current   1.000 A\n  power     3.300 W\n  \
         settings  mean of 1024 × (588 µs current + 332 µs voltage) = 942.08 ms\n  \
         flags     alert\n  alert     over-current 1.25 A: active\n  \
         identity  INA260, die 0x2270\n            \
         the bus is in use: settings and alert are from the service's metrics\n"
    );
    assert_eq!(board.control_writes(), 0);
    board.inject(Fault::NoAnswer);
    let error = read_shared(&service, &mut board.clone(), &upstream).unwrap_err();
    let message = "no acknowledge (errno 121); check wiring";
    assert!(error.to_string().contains(message), "{error}");
}

#[test]
fn unserved_sensor_has_no_settings() {
    let board = board();
    let upstream = sensor(&["--address", "0x41"]);
    let report = read_shared(&service(Vec::new()), &mut board.clone(), &upstream);
    let text = text(&upstream, report);
    assert!(text.contains("which does not measure this sensor"), "{text}");
    assert!(!text.contains("settings  mean"), "{text}");
}

#[test]
fn sensor_downstream_of_a_mux_is_read_via_service() {
    let sensor = sensor(&["--mux", "0x70:2"]);
    let report = read_via_service(&service(vec![served(&sensor)]), &sensor).unwrap();
    assert_eq!(report.measured, Measured::new(12.0, 1.5, 18.0));
    let down = ScrapedSensor { readings: None, up: false, ..served(&sensor) };
    let in_far_future = ScrapedSensor { last_result: Some(1e19), ..served(&sensor) };
    let silent = RunningExporter {
        name: format!("the service at {URL}"),
        sensors: Err(format!("{URL}: connection closed without a response")),
    };
    let silence = "does not respond to the service at http://127.0.0.1:8000/metrics; see its log";
    for (service, message) in [
        (service(vec![down]), silence),
        (service(vec![in_far_future]), silence),
        (
            service(Vec::new()),
            "bus 1 is in use by the service at http://127.0.0.1:8000/metrics, which does not \
             measure this sensor; stop it to read downstream of the mux",
        ),
        (
            silent,
            "bus 1 is in use by another process; http://127.0.0.1:8000/metrics: connection closed \
             without a response; stop it to read downstream of the mux",
        ),
    ] {
        let error = read_via_service(&service, &sensor).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn stuck_bus_is_tried_once() {
    let board = board();
    board.inject(Fault::Timeout);
    let sensor = sensor(&["--address", "0x41"]);
    let error = reader(&board, &[&sensor]).read(&sensor, &mut |_| false).unwrap_err();
    let message = "timed out (errno 110); the bus is stuck";
    assert!(error.to_string().contains(message), "{error}");
    assert_eq!(board.transfers(), 1);
}

#[test]
fn text_shows_whether_the_service_reconfigures() {
    let board = board();
    board.clock.wait(Duration::from_millis(10));
    let mut sensor = sensor(&["--address", "0x41"]);
    for (configure, note) in [
        (true, "2.2 ms (power-on defaults; the service will reconfigure the chip)\n"),
        (false, "2.2 ms (power-on defaults)\n"),
    ] {
        sensor.configure = configure;
        let outcome = reader(&board, &[&sensor]).read(&sensor, &mut |_| false);
        let text = text(&sensor, outcome);
        assert!(text.contains(note), "{text}");
    }
}

#[test]
fn json_has_flags_and_settings_of_the_chip() {
    let board = board();
    let sensor = sensor(&["--address", "0x41"]);
    board.clock.wait(Duration::from_millis(10));
    let outcome = reader(&board, &[&sensor]).read(&sensor, &mut |_| false);
    let row = Row { sensor: &sensor, outcome };
    let mut output = Vec::new();
    output::write_json(&[row], &mut output).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output).unwrap();
    let sensor = &json["sensors"][0];
    assert_eq!(sensor["flags"]["ready"], true);
    assert_eq!(sensor["flags"]["alert"], false);
    assert_eq!(sensor["flags"]["end_of_scale"], false);
    assert_eq!(sensor["settings"]["cycle_seconds"], 0.0022);
    assert_eq!(sensor["settings_from"], "chip");
}
