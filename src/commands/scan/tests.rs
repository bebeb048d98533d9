//! Scans of simulated buses.

use std::sync::Arc;

use clap::Parser as _;

use super::*;
use crate::cli::{Command, CommandLine};
use crate::clock::SimulatedClock;
use crate::commands::running_exporter::RunningExporter;
use crate::i2c::mux::Channel;
use crate::i2c::{Address, BoundDriver, Bus, Error as BusError};
use crate::ina260::settings::Settings;
use crate::printable::is_invisible;
use crate::scrape::{ScrapedChip, ScrapedSensor, decode};
use crate::simulated::{Board, Chip, Fault, Load, ScheduledFault};

const URL: &str = "http://127.0.0.1:8000/metrics";

fn channel(multiplexer: u8, channel: u8) -> Channel {
    Channel { multiplexer: Address(multiplexer), channel }
}

/// INA260s at 0x40 and 0x4f, another chip at 0x44.
fn board() -> Arc<Board> {
    let board = Board::new(Arc::new(SimulatedClock::default()), 400_000);
    for address in [0x40, 0x44, 0x4F] {
        board.plug(None, Address(address), Chip::new(Load::steady(5.0, 1.0)));
    }
    board.schedule(ScheduledFault {
        fault: Fault::WrongIdentity,
        address: Some(Address(0x44)),
        from: Duration::ZERO,
        until: None,
    });
    board
}

/// INA260s at 0x40 on channels 0 and 3 of 0x70 and 7 of 0x75; one at 0x41 upstream of them.
fn multiplexed() -> Arc<Board> {
    let board = Board::new(Arc::new(SimulatedClock::default()), 400_000);
    for (multiplexer, number) in [(0x70, 0), (0x70, 3), (0x75, 7)] {
        let chip = Chip::new(Load::steady(5.0, 1.0));
        board.plug(Some(channel(multiplexer, number)), Address(0x40), chip);
    }
    board.plug(None, Address(0x41), Chip::new(Load::steady(5.0, 1.0)));
    board
}

fn report() -> BusReport {
    BusReport::new(1.into(), "bcm2835 (i2c@7e804000)".to_owned())
}

fn scan_bus(bus: &mut dyn Bus, with_mux: bool, service: Option<&RunningExporter>) -> BusReport {
    let mut report = report();
    report.scan(bus, with_mux, service, &mut |_| true);
    report
}

/// A bus that was not asked for does not fail the scan, but it may have sensors, too.
#[test]
fn problems_that_tables_cannot_show_are_printed() {
    let mut closed = BusReport::new(20.into(), String::new());
    closed.problems.push("/dev/i2c-20: permission denied".to_owned());
    let reports = [scan_bus(&mut board(), false, None), closed];
    let printed = |format| {
        let args = CommandLine::parse_from(["ina260-exporter", "scan", format]);
        let Some(Command::Scan(args)) = args.command else { panic!() };
        outcome(&reports, &args, true, false).unwrap()
    };
    assert_eq!(printed("--toml"), ["/dev/i2c-20: permission denied"]);
    assert_eq!(printed("--json"), [""; 0]);
}

fn text(report: BusReport) -> String {
    let mut output = Vec::new();
    listing::write_text(&[report], &mut output).unwrap();
    String::from_utf8(output).unwrap()
}

#[test]
fn devices_are_identified_without_writes() {
    let board = board();
    assert_eq!(
        text(scan_bus(&mut board.clone(), false, None)),
        "bus 1  bcm2835 (i2c@7e804000)\n  0x40  INA260, die 0x2270\n  \
         0x44  an INA226, not an INA260 (manufacturer 0x5449, die 0x2260)\n  \
         0x4f  INA260, die 0x2270\n"
    );
    for address in [0x40, 0x44, 0x4F] {
        assert_eq!(board.chip(None, Address(address), |chip| chip.writes), 0);
    }
}

#[test]
fn stuck_bus_ends_the_scan() {
    let board = board();
    board.inject(Fault::Timeout);
    let report = scan_bus(&mut board.clone(), true, None);
    assert!(report.problems[0].starts_with("bus 1 is stuck (a transfer timed out); "));
    assert_eq!(board.transfers(), 1);
}

#[test]
fn channels_are_scanned_and_muxes_restored() {
    let board = multiplexed();
    board.write_as_other_master(0, Address(0x70), 0x08);
    let report = scan_bus(&mut board.clone(), true, None);
    assert_eq!(
        text(report),
        "bus 1  bcm2835 (i2c@7e804000)\n  0x41              INA260, die 0x2270\n  \
         mux 0x70:0, 0x40  INA260, die 0x2270\n  mux 0x70:3, 0x40  INA260, die 0x2270\n  \
         mux 0x75:7, 0x40  INA260, die 0x2270\n"
    );
    let controls = [0x70, 0x75].map(|multiplexer| board.control(Address(multiplexer)));
    assert_eq!(controls, [Some(0x08), Some(0x00)]);
}

#[test]
fn one_failed_transfer_hides_no_device() {
    let complete = text(scan_bus(&mut multiplexed(), true, None));
    for micros in (0..80_000).step_by(90) {
        let board = multiplexed();
        // The shortest transfer takes 50 µs, so that at most one fails.
        let from = Duration::from_micros(micros);
        let until = Some(from + Duration::from_micros(45));
        board.schedule(ScheduledFault { fault: Fault::NoAnswer, address: None, from, until });
        assert_eq!(text(scan_bus(&mut board.clone(), true, None)), complete, "after {micros} µs");
    }
}

#[test]
fn mux_that_cannot_be_read_is_a_problem() {
    let board = multiplexed();
    let (fault, address) = (Fault::ArbitrationLost, Some(Address(0x75)));
    board.schedule(ScheduledFault { fault, address, from: Duration::ZERO, until: None });
    let report = scan_bus(&mut board.clone(), true, None);
    assert_eq!(report.problems, ["bus 1, 0x75: lost arbitration, or bus hung (errno 11)"]);
}

#[test]
fn aborted_scan_restores_muxes() {
    let board = multiplexed();
    board.write_as_other_master(0, Address(0x75), 0x80);
    let mut steps = 0;
    let mut report = report();
    report.scan(&mut board.clone(), true, None, &mut |_| {
        steps += 1;
        steps < 60
    });
    assert_eq!(steps, 60);
    assert_eq!(board.control(Address(0x75)), Some(0x80));
}

/// Runs `scan` on one simulated sensor, at 0x40, until this many addresses were probed.
fn interrupted(steps: usize, flags: &[&str]) -> (Vec<String>, String) {
    let arguments = ["", "scan", "--simulate", "--config", "/dev/null"];
    let line = CommandLine::try_parse_from([&arguments, flags].concat()).unwrap();
    let Some(Command::Scan(args)) = line.command else { panic!("not a scan") };
    let (mut output, mut probed) = (Vec::new(), 0);
    let mut stop = |_| {
        probed += 1;
        probed > steps
    };
    let outcome = run(&args, Caller { output: &mut output, progress: None, stop: &mut stop });
    let Err(Failure::Partly(messages)) = outcome else { panic!("{outcome:?}") };
    (messages, String::from_utf8(output).unwrap())
}

#[test]
fn interrupted_scan_makes_no_claim_about_the_rest() {
    let problem = "bus 1: scan interrupted (bus 1 of 1)";
    let chip = "  0x40  INA260, die 0x2270: deepx\n";
    let text = |chips: &str| format!("bus 1  simulated\n{chips}  {problem}\n");
    assert_eq!(interrupted(0, &[]), (Vec::new(), text("")));
    assert_eq!(interrupted(1, &[]), (Vec::new(), text(chip)));
    // In the second probe of the bus, with all channels deselected.
    assert_eq!(interrupted(16, &["--mux"]), (Vec::new(), text(chip)));
    let json: serde_json::Value = serde_json::from_str(&interrupted(0, &["--json"]).1).unwrap();
    assert_eq!(json["buses"][0]["problems"][0], problem);
    assert_eq!(interrupted(0, &["--toml"]), (vec![problem.to_owned()], String::new()));
    let (messages, tables) = interrupted(1, &["--toml"]);
    assert_eq!(messages, [problem]);
    assert!(tables.starts_with("\n[[sensor]]\ndevice = \"i2c-1-0x40\"\n"), "{tables}");
}

#[test]
fn interrupted_channel_keeps_what_was_found() {
    for (steps, on_channels) in [(60, 1), (81, 2)] {
        let (mut probed, mut report) = (0, report());
        report.scan(&mut multiplexed(), true, None, &mut |_| {
            probed += 1;
            probed <= steps
        });
        let muxes: Vec<_> = report.devices.iter().map(|it| it.location.mux).collect();
        let expected = [None, Some(channel(0x70, 0)), Some(channel(0x70, 3))];
        assert_eq!(muxes, expected[..=on_channels]);
    }
}

#[test]
fn bus_stuck_while_muxes_are_scanned_is_a_problem() {
    let board = multiplexed();
    let (mut probed, mut report) = (0, report());
    report.scan(&mut board.clone(), true, None, &mut |_| {
        probed += 1;
        if probed == 17 {
            board.inject(Fault::Timeout);
        }
        true
    });
    assert!(report.problems[0].starts_with("bus 1 is stuck (a transfer timed out); "));
}

#[test]
fn bus_in_use_lists_sensors_and_switches_no_mux() {
    let board = multiplexed();
    // Selected by the service at the moment.
    board.write_as_other_master(0, Address(0x70), 0x08);
    let served = |mux: &str, address: &str, device: &str, up| ScrapedSensor {
        labels: vec![("device".to_owned(), device.to_owned())],
        up,
        chip: Some(ScrapedChip {
            location: ["1", mux, address].map(str::to_owned),
            die: "0x2270".to_owned(),
            settings: Settings::from_word(0x6007),
        }),
        ..ScrapedSensor::default()
    };
    let service = RunningExporter {
        name: format!("the service at {URL}"),
        sensors: Ok(vec![
            served("", "0x41", "rack", true),
            served("0x70:3", "0x40", "orin", true),
            served("0x70:0", "0x40", "disks", false),
        ]),
    };
    assert_eq!(
        text(scan_bus(&mut board.clone(), true, Some(&service))),
        format!(
            "bus 1  bcm2835 (i2c@7e804000)\n  in use by the service at {URL}\n  \
             0x41              INA260, die 0x2270: rack\n  \
             mux 0x70:0, 0x40  INA260, does not respond to the service: disks\n  \
             mux 0x70:3, 0x40  INA260, responds to the service: orin\n  \
             bus 1: muxes are not switched (in use by the service at {URL}); stop it first, or \
             see its sensors with `ina260-exporter read`\n"
        )
    );
    let name = "ina260-exporter watch".to_owned();
    let watch = RunningExporter { sensors: Err(format!("{name} serves no metrics")), name };
    let text = text(scan_bus(&mut board.clone(), true, Some(&watch)));
    assert!(text.ends_with("(in use by ina260-exporter watch); stop it first\n"), "{text}");
    assert_eq!(board.control_writes(), 0);
}

/// A bus with a chip at 0x76 that is not a mux, and chips of kernel drivers. Records the bytes that
/// are sent.
struct MixedBus(Arc<Board>, Vec<u8>);

impl Bus for MixedBus {
    fn bound_driver(&self, address: Address) -> Option<BoundDriver> {
        let driver = match address {
            Address(0x40) => "ina2xx",
            Address(0x4A) => "lm75",
            Address(0x71) => "pca954x",
            Address(0x77) => "bmp280",
            _ => return None,
        };
        Some(BoundDriver {
            driver: driver.to_owned(),
            device: driver.to_owned(),
            unbind: format!("echo > /sys/bus/i2c/drivers/{driver}/unbind"),
            children: if driver == "pca954x" { vec![11] } else { Vec::new() },
        })
    }

    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, BusError> {
        self.0.read_word(address, register)
    }

    fn write_word(&mut self, _: Address, _: u8, _: u16) -> Result<(), BusError> {
        panic!("a scan writes no words")
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), BusError> {
        assert_eq!(address, Address(0x76), "only this chip may be written");
        self.1.push(byte);
        Ok(())
    }

    fn receive_byte(&mut self, address: Address) -> Result<u8, BusError> {
        match address {
            Address(0x76) => Ok(0x58),
            _ => Err(BusError::from_errno(121)),
        }
    }
}

#[test]
fn bound_and_other_chips_are_reported() {
    let mut bus = MixedBus(board(), Vec::new());
    let report = scan_bus(&mut bus, true, None);
    let text = text(report);
    for part in [
        "0x40  claimed by kernel driver ina2xx; unbind it with `echo",
        "bus 1, mux 0x71: claimed by kernel driver pca954x; unbind it with `echo > \
         /sys/bus/i2c/drivers/pca954x/unbind`, or use the buses it provides: 11",
        "bus 1, 0x76: not a TCA9548A (does not retain what is written)",
        "0x4a  in use by the kernel (lm75), not an INA260",
        "bus 1, mux 0x77: in use by the kernel (bmp280), not a mux",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // Its original value, the first byte that it did not retain, and the original value again.
    assert_eq!(bus.1, [0x58, 0x00, 0x58]);
}

#[test]
fn text_of_another_process_is_escaped() {
    // ESC, BEL, a C1 control and bidi controls, as another process may serve them.
    let hostile = "a\u{1b}[2J\u{7}\u{9b}31m\u{202e}\u{2066}b";
    let escaped = "a\\u{1b}[2J\\u{7}\\u{9b}31m\\u{202e}\\u{2066}b";
    let metrics = format!(
        "ina260_up{{device=\"{hostile}\"}} 1\nina260_sensor_info{{device=\"{hostile}\",bus=\"1\",\
         address=\"0x41\",die=\"{hostile}\",averaging=\"4\",voltage_conversion_time=\"140us\",\
         current_conversion_time=\"204us\"}} 1\n"
    );
    let sensors = decode(&metrics.into()).unwrap().sensors;
    assert_eq!(sensors[0].chip.as_ref().unwrap().die, escaped);
    let service = RunningExporter { name: URL.to_owned(), sensors: Ok(sensors) };
    let report = scan_bus(&mut multiplexed(), false, Some(&service));
    let mut json = Vec::new();
    listing::write_json(std::slice::from_ref(&report), &mut json).unwrap();
    let json = String::from_utf8(json).unwrap();
    for output in [text(report), json] {
        assert!(output.contains("a\\"), "{output}");
        let raw: String = output.chars().filter(|c| is_invisible(*c) && *c != '\n').collect();
        assert_eq!(raw, "");
    }
}
