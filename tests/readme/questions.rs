//! docs/settings.md and the README's blocks against the code: each configuration is a good one, each computed number is what the code
//! or the formula beside it gives.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::{env, fs, process};

use ina260_exporter::config::{self, Overrides, Plan};
use ina260_exporter::ina260::settings::Settings;

use crate::documents::{read, spans, table};

const PAGE: &str = "docs/settings.md";

/// From where on the power register is always read, as the README says.
const POWER_CYCLE_SECONDS: f64 = 0.01;

const CLOCKS_PER_WORD: f64 = 47.0;

/// Each block of TOML in a document, with the text that follows it.
fn blocks(document: &str) -> Vec<(String, String)> {
    let parts = document.split("\n```toml\n").skip(1);
    let split = parts.map(|part| part.split_once("\n```\n").expect("an end"));
    split
        .map(|(block, rest)| (format!("{block}\n"), rest.to_owned()))
        .collect()
}

/// A file that goes with its test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        // Tests of one process may want the same name at the same time.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Relaxed);
        let name = format!("ina260-exporter-{name}-{}-{count}.toml", process::id());
        let path = env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn every_block_of_configuration_passes_check_config() {
    for path in ["README.md", PAGE] {
        let blocks = blocks(&read(path));
        assert!(blocks.len() > 3, "{path}");
        for (index, (block, _)) in blocks.iter().enumerate() {
            let file = File::new(&format!("block-{index}"), block);
            let output = Command::new(env!("CARGO_BIN_EXE_ina260-exporter"))
                .args(["--check-config", "--quiet", "--config"])
                .arg(&file.0)
                .output()
                .unwrap();
            let problems = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{path}:\n{block}{problems}");
        }
    }
}

fn plan(name: &str, text: &str) -> Plan {
    let file = File::new(name, text);
    let flags = Overrides {
        config: Some(file.0.clone()),
        ..Overrides::default()
    };
    config::load(&flags, []).unwrap().plan
}

/// The settings of a sensor that was given nothing but an interval.
fn of_interval(interval: &str) -> Settings {
    plan("interval", &format!("interval = {interval}\n")).sensors[0].settings
}

/// A number with this many significant digits, or all of its whole ones.
fn digits(value: f64, count: i32) -> String {
    let scientific = format!("{value:e}");
    let (_, exponent) = scientific.split_once('e').unwrap();
    let behind = count - 1 - exponent.parse::<i32>().unwrap();
    let behind = usize::try_from(behind).unwrap_or(0);
    format!("{value:.behind$}")
}

fn millis(settings: Settings) -> String {
    format!("{:.2} ms", settings.cycle().as_secs_f64() * 1e3)
}

/// Share of a bus with these clocks a second.
fn load(settings: Settings, script_metrics: bool, clocks: f64) -> f64 {
    words(settings, script_metrics) * CLOCKS_PER_WORD / clocks / settings.cycle().as_secs_f64()
}

fn words(settings: Settings, script_metrics: bool) -> f64 {
    let with_power = script_metrics || settings.cycle().as_secs_f64() >= POWER_CYCLE_SECONDS;
    if with_power { 4.0 } else { 3.0 }
}

fn percent(share: f64) -> String {
    format!("{} %", digits(share * 100.0, 2))
}

#[test]
fn what_follows_from_a_block_is_what_the_code_makes_of_it() {
    for (block, after) in blocks(&read(PAGE)) {
        let plan = plan("follows", &block);
        let cycle = millis(plan.sensors[0].settings);
        let share = |clocks| -> f64 {
            let sensors = plan.sensors.iter();
            sensors
                .map(|sensor| load(sensor.settings, plan.script_metrics, clocks))
                .sum()
        };
        let follows = format!(
            "\nFollows: a result every {cycle}; bus {} at 100 kHz, {} at 400 kHz.\n",
            percent(share(100e3)),
            percent(share(400e3))
        );
        assert!(after.starts_with(&follows), "{block}{follows}");
        let same = |sensor: &config::SensorPlan| millis(sensor.settings) == cycle;
        assert!(plan.sensors.iter().all(same), "{block}");
    }
}

#[test]
fn the_table_of_bandwidth_is_what_the_code_chooses() {
    let reference = of_interval("\"1s\"");
    let looked = |settings: Settings| {
        f64::from(settings.averaging.count() * settings.current_conversion_time.micros())
    };
    let hertz = |value: f64| format!("{} Hz", digits(value, 3));
    let rows = table(&read(PAGE), "## Bandwidth and noise");
    assert!(rows.len() > 6);
    for row in rows {
        let settings = of_interval(&spans(&row[0])[0]);
        let (voltage, current) = (
            settings.voltage_conversion_time.micros(),
            settings.current_conversion_time.micros(),
        );
        let cycle = settings.cycle().as_secs_f64();
        let computed = [
            settings.averaging.count().to_string(),
            format!("{voltage} µs"),
            format!("{current} µs"),
            millis(settings),
            hertz(half_power() / cycle),
            hertz(1.0 / cycle),
            hertz(1e6 / f64::from(voltage + current)),
            digits((looked(reference) / looked(settings)).sqrt(), 2),
        ];
        assert_eq!(row[1..], computed, "{}", row[0]);
    }
}

/// Where sin(πx) / (πx) is √½.
fn half_power() -> f64 {
    let left = |x: f64| (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x);
    let (mut low, mut high) = (0.1, 1.0);
    while high - low > 1e-12 {
        let middle = f64::midpoint(low, high);
        if left(middle) > std::f64::consts::FRAC_1_SQRT_2 {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[test]
fn the_table_of_the_bus_is_what_the_words_of_a_result_take() {
    let rows = table(&read(PAGE), "## Load of the bus");
    assert!(rows.len() > 6);
    for row in rows {
        let settings = of_interval(&spans(&row[0])[0]);
        let shares = [100e3, 400e3].map(|clocks| load(settings, false, clocks));
        let computed = [
            words(settings, false).to_string(),
            percent(shares[0]),
            percent(shares[1]),
            (1.0 / shares[0]).floor().to_string(),
            (1.0 / shares[1]).floor().to_string(),
        ];
        assert_eq!(row[1..], computed, "{}", row[0]);
    }
}

#[test]
fn the_table_of_the_cpu_is_what_was_measured_times_the_results() {
    /// CPU time of a result, as the page says that `make bench` measured it.
    const RESULT_SECONDS: f64 = 27e-6;
    let rows = table(&read(PAGE), "## Cost in CPU");
    assert!(rows.len() > 5);
    for row in rows {
        let cycle = of_interval(&spans(&row[0])[0]).cycle().as_secs_f64();
        assert_eq!(row[1], percent(RESULT_SECONDS / cycle), "{}", row[0]);
    }
}

#[test]
fn the_table_of_the_energys_error_is_offset_and_gains() {
    let rows = table(&read(PAGE), "## Accuracy of energy");
    assert!(rows.len() > 4);
    for row in rows {
        let (watts, volts) = row[0].split_once(" W at ").unwrap();
        let watts: f64 = watts.parse().unwrap();
        let volts: f64 = volts.strip_suffix(" V").unwrap().parse().unwrap();
        let amperes = watts / volts;
        let computed = [
            format!("{:.0} mA", amperes * 1e3),
            percent(0.0025 + 0.005 / amperes),
        ];
        assert_eq!(row[1..], computed, "{}", row[0]);
    }
}

#[test]
fn the_numbers_in_the_text_follow_from_the_chips() {
    let (offset, gain, step) = (0.005_f64, 0.0015, 1.25);
    let (ohms, rated) = (0.002_f64, 15.0);
    let computed = [
        format!("{:.2} Ah a day", offset * 24.0),
        format!("{:.1} Ah that never flowed", offset * 24.0 * 30.0),
        format!(
            "5 mA at 18 V are {:.2} W, {:.1} Wh in 12 hours",
            offset * 18.0,
            offset * 18.0 * 12.0
        ),
        format!(
            "5 mA at 5 V are {:.1} Wh a day, {:.2} kWh a year",
            offset * 5.0 * 24.0,
            offset * 5.0 * 24.0 * 365.0 / 1e3
        ),
        format!("Below {:.1} A an offset of 5 mA", offset / gain),
        format!(
            "{:.0} mV and {:.2} W at 15 A",
            ohms * rated * 1e3,
            ohms * rated * rated
        ),
        format!(
            "{rounding:.2} mA or {rounding:.2} mV",
            rounding = step / 12_f64.sqrt()
        ),
        format!("1.25 mA, {:.2} mW at 5 V", step * 5.0),
        format!("±{:.2} A", step * 32_768.0 / 1e3),
    ];
    let text = read(PAGE).replace('\n', " ");
    for number in computed {
        assert!(text.contains(&number), "{number}");
    }
}
