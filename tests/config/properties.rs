//! Round trips of valid configurations; no input panics.

use proptest::prelude::*;

use super::{problems, try_load};

/// Generates mux, alert and calibration of a sensor.
fn sensor_settings() -> impl Strategy<Value = String> {
    let mux = prop_oneof![
        Just("\"none\"".to_owned()),
        (0x70_u8..=0x77, 0_u8..8).prop_map(|(address, channel)| format!(
            "{{ address = {address}, channel = {channel} }}"
        )),
    ];
    let limit = prop_oneof![
        (prop_oneof![Just("over"), Just("under")], -9_999_i32..9_999)
            .prop_map(|(on, milli)| format!("on = \"{on}-current\", limit = \"{milli}mA\"")),
        (prop_oneof![Just("over"), Just("under")], 0_u32..20_000)
            .prop_map(|(on, milli)| format!("on = \"{on}-voltage\", limit = \"{milli}mV\"")),
        (0_u32..200_000).prop_map(|milli| {
            let watts = f64::from(milli) / 1000.0;
            format!("on = \"over-power\", limit = \"{watts}W\"")
        }),
    ];
    let polarity = prop_oneof![
        Just(""),
        Just(", polarity = \"active-low\""),
        Just(", polarity = \"active-high\"")
    ];
    let alert = prop_oneof![
        Just("\"none\"".to_owned()),
        (limit, polarity).prop_map(|(limit, polarity)| format!("{{ {limit}{polarity} }}")),
    ];
    (mux, alert, 0.9..1.1, 0.9..1.1, -9_999_i32..9_999, any::<bool>()).prop_map(
        |(mux, alert, current, voltage, offset, reverse)| {
            format!(
                "mux = {mux}\nalert = {alert}\ncurrent_gain = {current:?}\n\
                 voltage_gain = {voltage:?}\ncurrent_offset = \"{offset}mA\"\nreverse = {reverse}\n"
            )
        },
    )
}

/// Generates files with valid values.
fn valid_file() -> impl Strategy<Value = String> {
    let quoted = |name: String| format!("\"{}\"", name.replace('\\', r"\\").replace('"', r#"\""#));
    let name = "[!-~é]([ -~é]{0,18}[!-~é])?".prop_map(quoted);
    let settings = (
        prop_oneof![Just("\"[::]:80\""), Just("\"unix:/run/a b\""), Just("\"127.0.0.1:1\"")],
        name.clone(),
        280_u64..3_600_000_000,
        prop_oneof![Just(0_u64), 1_u64..86_400],
        any::<(bool, bool)>(),
        0_u32..0o1000,
        1_u64..=3600,
        prop::collection::btree_set(1_u32..1_000_000, 1..=50),
    );
    let sensor = (
        name.clone(),
        0x40_u8..=0x4f,
        prop_oneof![Just("\"auto\""), Just("1"), Just("\"4\"")],
        prop::collection::btree_map("[a-z]{1,3}_[a-z]{0,3}", name, 0..3),
        sensor_settings(),
    );
    (settings, prop::collection::vec(sensor, 0..4)).prop_map(|(top, sensors)| {
        let (listen, hostname, interval, summary, booleans, socket_mode, window, buckets) = top;
        let (script, wait) = booleans;
        let buckets: Vec<f64> = buckets.into_iter().map(|b| f64::from(b) / 128.0).collect();
        let mut file = format!(
            "listen = {listen}\nhostname = {hostname}\ninterval = \"{interval}us\"\n\
             summary = \"{summary}s\"\nscript_metrics = {script}\nwait_for_sensor = {wait}\n\
             socket_mode = \"{socket_mode:o}\"\nwindow = \"{window}s\"\nbuckets = {buckets:?}\n"
        );
        let tables = sensors.iter().enumerate().map(|(bus, sensor)| {
            let (device, address, averaging, labels, settings) = sensor;
            let labels: Vec<String> =
                labels.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            format!(
                "[[sensor]]\ndevice = {device}\nbus = {bus}\naddress = {address}\n\
                 averaging = {averaging}\ninterval = \"{}us\"\nlabels = {{ {} }}\n{settings}",
                interval + 1120,
                labels.join(", ")
            )
        });
        file.extend(tables);
        file
    })
}

proptest! {
    // Failures are reported, not written into the source tree.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn effective_configuration_gives_the_same_plan(file in valid_file()) {
        // Two sensors may have the same name.
        if let Ok(loaded) = try_load(&file, &[], &[]) {
            let again = try_load(&loaded.effective, &[], &[]).unwrap();
            prop_assert_eq!(again.plan, loaded.plan);
        } else {
            prop_assert!(problems(&file, &[], &[]).contains("duplicates the device name of"));
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>) {
        let _ = try_load(bytes, &[], &[]);
    }

    #[test]
    fn configuration_like_text_does_not_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "listen", "allow", "sensor", "device", "address", "labels", "interval", "mux", "alert",
            "buckets", "[[", "]]", "[", "]", "{", "}", "=", "=", "\n", "\n", ",", ".", "\"",
            "\"1s\"", "\"unix:/a\"", "0x40", "-1", "1e400", "nan", "true", "2024-01-01", "é",
            "\u{0}", "'", "#", "99999999999999999999",
        ]), 0..40)
    ) {
        let text = words.concat();
        let _ = try_load(&text, &[], &[]);
        for variable in ["SENSOR", "ALLOW", "MUX", "BUCKETS", "DEVICE"] {
            let _ = try_load("", &[(variable, &text)], &[]);
        }
        let _ = try_load("", &[(&text, "1")], &[]);
    }
}
