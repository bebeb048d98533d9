//! Sensors downstream of muxes, with alerts, calibrated, or in read-only mode.

use std::time::Duration;

use ina260_exporter::config::SensorPlan;
use ina260_exporter::i2c::Address;
use ina260_exporter::i2c::mux::Channel;
use ina260_exporter::ina260::alert::{Function, Polarity};
use ina260_exporter::ina260::calibration::Calibration;
use ina260_exporter::units::Amperes;

use super::{plan, problems, try_load};

const fn channel(multiplexer: u8, channel: u8) -> Channel {
    Channel { multiplexer: Address(multiplexer), channel }
}

/// Returns the only sensor, of a `[[sensor]]` table with these lines.
fn sensor(lines: &str) -> SensorPlan {
    let plan = plan(&format!("[[sensor]]\ndevice = \"a\"\n{lines}"), &[], &[]);
    plan.sensors.into_iter().next().unwrap()
}

#[test]
fn sensors_are_configured_and_uncalibrated_by_default() {
    let plan = plan("", &[], &[]);
    assert_eq!(plan.window, Duration::from_secs(60));
    assert_eq!(plan.server.buckets, [0.1, 1.0, 10.0, 100.0]);
    for sensor in [plan.sensors[0].clone(), sensor("")] {
        assert!(sensor.location.mux.is_none() && sensor.alert.is_none() && sensor.configure);
        assert_eq!(sensor.calibration, Calibration::default());
    }
}

#[test]
fn environment_sets_window_and_buckets() {
    let window = plan("", &[("WINDOW", "90s")], &[]).window;
    assert_eq!(window, Duration::from_secs(90));
    for buckets in ["[0.5, 5, 5e1]", "0.5,5,50", " 0.5, 5.0 , 50"] {
        let seen = plan("window = \"1h\"", &[("BUCKETS", buckets)], &[]).server.buckets;
        assert_eq!(seen, [0.5, 5.0, 50.0], "{buckets}");
    }
    let item = "is invalid; expected a number above 0 and above the previous one";
    let list = "is invalid; expected an array of 1 to 50 ascending numbers above 0";
    for (buckets, message) in [
        ("", format!("[1] \"\" {item}")),
        ("1,x", format!("[2] \"x\" {item}")),
        ("2,1", format!("[2] \"1\" {item}")),
        ("[1", format!(" \"[1\" {list}; write [1]")),
    ] {
        assert_eq!(
            problems("", &[("BUCKETS", buckets)], &[]),
            format!("environment INA260_EXPORTER_BUCKETS: buckets{message}")
        );
    }
}

#[test]
fn every_layer_can_set_the_mux() {
    let mux = |file, environment: &[_], flags: &[_]| {
        plan(file, environment, flags).sensors[0].location.mux
    };
    let file = "mux = { address = \"0x71\", channel = 2 }";
    assert_eq!(mux(file, &[], &[]), Some(channel(0x71, 2)));
    for text in ["{address=0x70,channel=1}", " { address = 112, channel = 1 }", "0x70:1", "112:1"] {
        assert_eq!(mux(file, &[("MUX", text)], &[]), Some(channel(0x70, 1)), "{text}");
        assert_eq!(mux(file, &[], &["--mux", text]), Some(channel(0x70, 1)), "{text}");
    }
    assert_eq!(mux(file, &[("MUX", "none")], &[]), None);
    assert_eq!(mux(file, &[("MUX", "0x70:1")], &["--mux", "none"]), None);
    let both = [("MUX__ADDRESS", "0x77"), ("MUX__CHANNEL", "7")];
    assert_eq!(mux("", &both, &[]), Some(channel(0x77, 7)));
    assert_eq!(mux(file, &both[1..], &[]), Some(channel(0x71, 7)));
    // Variables and flags also change the only table.
    let table = format!("[[sensor]]\ndevice = \"a\"\n{file}");
    assert_eq!(mux(&table, &both[..1], &[]), Some(channel(0x77, 2)));
    assert_eq!(mux(&table, &both, &["--mux", "0x70:0"]), Some(channel(0x70, 0)));
}

#[test]
fn bad_mux_is_named_with_its_origin() {
    let two = "[[sensor]]\ndevice = \"a\"\n[[sensor]]\ndevice = \"b\"\nbus = 2";
    let invalid = "is invalid; expected none or a table such as \
                   { address = 0x70, channel = 7 } (as a flag or variable, 0x70:7)";
    let variable = "environment INA260_EXPORTER_MUX";
    for (file, environment, flags, message) in [
        (
            "",
            &[][..],
            &["--mux", "0x70:8"][..],
            "--mux: mux.channel \"8\" is invalid; expected an integer from 0 to 7".to_owned(),
        ),
        (
            "",
            &[],
            &["--mux", "0x40:x"],
            "--mux: mux.address \"0x40\" is invalid; expected an integer from 0x70 to 0x77\n\
             --mux: mux.channel \"x\" is invalid; expected an integer from 0 to 7"
                .to_owned(),
        ),
        ("", &[], &["--mux", "0x70"], format!("--mux: mux \"0x70\" {invalid}")),
        (
            "",
            &[("MUX", "{address=0x70")],
            &[],
            format!("{variable}: mux \"{{address=0x70\" {invalid}"),
        ),
        ("", &[("MUX__CHANNEL", "1")], &[], format!("{variable}__CHANNEL: mux.address is missing")),
        (
            "",
            &[("MUX__CHANEL", "1"), ("MUX", "0x70:1")],
            &[],
            format!(
                "{variable}__CHANEL: mux.address is missing\n\
                 {variable}__CHANEL: mux.channel is missing\n\
                 {variable}__CHANEL: mux.chanel is not a known key; \
                 expected one of address, channel"
            ),
        ),
        (
            "",
            &[("ALERT__ON", "over-power")],
            &[],
            "environment INA260_EXPORTER_ALERT__ON: alert belongs in a [[sensor]] table".to_owned(),
        ),
        (
            two,
            &[],
            &["--mux", "0x70:0"],
            "--mux: mux \"0x70:0\" is for a single sensor, but FILE has 2".to_owned(),
        ),
    ] {
        assert_eq!(problems(file, environment, flags), message);
    }
}

#[test]
fn environment_sets_every_sensor_key() {
    let alert = r#"{ on = "under-voltage", limit = "4750mV", polarity = "active-high" }"#;
    let list = format!(
        r#"[{{ device = "a", mux = {{ address = 0x72, channel = 3 }}, alert = {alert},
             current_gain = 1.01, current_offset = "-3.5mA", voltage_gain = 2, reverse = true }},
            {{ device = "b", configure = false, bus = 3 }}]"#
    )
    .replace('\n', "");
    let sensors = plan("", &[("SENSOR", &list)], &[]).sensors;
    assert_eq!(sensors[0].location.mux, Some(channel(0x72, 3)));
    assert_eq!(
        sensors[0].calibration,
        Calibration {
            current_gain: 1.01,
            current_offset: Amperes(-0.0035),
            voltage_gain: 2.0,
            reverse: true,
        }
    );
    let alert = sensors[0].alert.unwrap();
    assert_eq!(
        (alert.function, alert.limit, alert.polarity),
        (Function::UnderVoltage, 4.75, Polarity::ActiveHigh)
    );
    assert!(sensors[0].configure && !sensors[1].configure);
}

#[test]
fn alert_limits_become_register_words() {
    for (lines, words) in [
        (r#"alert = { on = "over-current", limit = "5A" }"#, (0x8000, 4000)),
        (r#"alert = { on = "under-current", limit = "-500mA" }"#, (0x4000, 0xFE70)),
        (
            r#"alert = { on = "over-voltage", limit = "12.6V", polarity = "active-low" }"#,
            (0x2000, 10_080),
        ),
        (
            r#"alert = { on = "under-voltage", limit = "4750mV", polarity = "active-high" }"#,
            (0x1002, 3800),
        ),
        (r#"alert = { on = "over-power", limit = "419.43W" }"#, (0x0800, 0xA3D7)),
        (r#"alert = { on = "over-power", limit = "1500mW" }"#, (0x0800, 150)),
        // With the calibration applied.
        ("reverse = true\nalert = { on = \"over-current\", limit = \"5A\" }", (0x4000, 0xF060)),
        ("current_gain = 2\nalert = { on = \"over-current\", limit = \"80A\" }", (0x8000, 32_000)),
        ("voltage_gain = 0.5\nalert = { on = \"over-voltage\", limit = \"5V\" }", (0x2000, 8000)),
    ] {
        let alert = sensor(lines).alert.unwrap();
        assert_eq!((alert.mask_bits, alert.limit_word), words, "{lines}");
    }
}

#[test]
fn channels_may_share_an_address() {
    let tables: Vec<String> = (0..16)
        .map(|n| {
            let (multiplexer, channel) = (0x70 + n / 8, n % 8);
            let mux = format!("{{ address = {multiplexer}, channel = {channel} }}");
            format!("[[sensor]]\ndevice = \"{n}\"\nmux = {mux}\n")
        })
        .collect();
    let file = tables.concat();
    assert_eq!(plan(&file, &[], &[]).sensors.len(), 16);
    let upstream = "[[sensor]]\ndevice = \"upstream\"\naddress = 0x4f\n";
    assert_eq!(plan(&(file + upstream), &[], &[]).sensors.len(), 17);
}

#[test]
fn read_only_sensor_accepts_the_defaults() {
    let read_only =
        sensor("configure = false\naveraging = \"auto\"\nalert = \"none\"\ncurrent_gain = 1.01");
    assert!(!read_only.configure && read_only.alert.is_none());
}

#[test]
fn effective_configuration_prints_inline_tables() {
    let effective = |file, flags: &[_]| {
        let effective = try_load(file, &[], flags).unwrap().effective;
        let settings =
            effective.lines().map(|line| line.split("  #").next().unwrap().trim_end().to_owned());
        settings.collect::<Vec<_>>()
    };
    let alone = effective("buckets = [1e-3, 20.0, 1e300]", &["--mux", "0x70:3"]);
    assert!(alone.contains(&"mux = { address = 0x70, channel = 3 }".to_owned()));
    assert!(alone.contains(&"buckets = [0.001, 20, 1e300]".to_owned()));
    let table = effective(
        "[[sensor]]\ndevice = \"a\"\nalert = { limit = \"500mA\", on = \"over-current\" }\n\
         current_offset = \"-3.50mA\"",
        &[],
    );
    let alert = "alert = { on = \"over-current\", limit = \"500mA\", polarity = \"active-low\" }";
    assert!(table.contains(&alert.to_owned()), "{table:?}");
    assert!(table.contains(&"current_offset = \"-3.50mA\"".to_owned()));
}
