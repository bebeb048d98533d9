//! Blocks of configuration are valid, and the numbers of docs/settings.md follow from the code or
//! from the formula next to them.

use std::io::Write;
use std::process::Command;

use ina260_exporter::config::{self, Overrides, Plan};
use ina260_exporter::ina260::settings::Settings;
use tempfile::NamedTempFile;

use crate::documents::{SETTINGS, all, blocks, read, rows, spans};

/// The power register is always read from this cycle on, see docs/metrics.md.
const POWER_CYCLE_SECONDS: f64 = 0.01;

const CLOCKS_PER_TRANSFER: f64 = 47.0;

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn every_block_of_configuration_is_valid() {
    let mut count = 0;
    for path in all() {
        for (block, _) in blocks(&read(&path), "toml") {
            let file = file(&block);
            let output = Command::new(env!("CARGO_BIN_EXE_ina260-exporter"))
                .args(["--check-config", "--quiet", "--config"])
                .arg(file.path())
                .output()
                .unwrap();
            let problems = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{path}:\n{block}{problems}");
            count += 1;
        }
    }
    assert!(count > 15, "{count} blocks");
}

fn plan(text: &str) -> Plan {
    let file = file(text);
    let flags = Overrides { config: Some(file.path().to_owned()), ..Overrides::default() };
    config::load(&flags, []).unwrap().plan
}

/// Returns the settings of a sensor of which only the interval is given.
fn of_interval(interval: &str) -> Settings {
    plan(&format!("interval = {interval}\n")).sensors[0].settings
}

/// Formats a number with this many significant digits, or all digits before the point.
fn digits(value: f64, count: i32) -> String {
    let scientific = format!("{value:e}");
    let (_, exponent) = scientific.split_once('e').unwrap();
    let decimals = count - 1 - exponent.parse::<i32>().unwrap();
    let decimals = usize::try_from(decimals).unwrap_or(0);
    format!("{value:.decimals$}")
}

fn millis(settings: Settings) -> String {
    format!("{:.2} ms", settings.cycle().as_secs_f64() * 1e3)
}

/// Returns a sensor's share of a bus of this clock rate.
fn load(settings: Settings, script_metrics: bool, hertz: f64) -> f64 {
    let clocks = transfers(settings, script_metrics) * CLOCKS_PER_TRANSFER;
    clocks / hertz / settings.cycle().as_secs_f64()
}

fn transfers(settings: Settings, script_metrics: bool) -> f64 {
    let with_power = script_metrics || settings.cycle().as_secs_f64() >= POWER_CYCLE_SECONDS;
    if with_power { 4.0 } else { 3.0 }
}

fn percent(share: f64) -> String {
    format!("{} %", digits(share * 100.0, 2))
}

#[test]
fn each_block_states_its_cycle_and_bus_load() {
    for (block, after) in blocks(&read(SETTINGS), "toml") {
        let plan = plan(&block);
        let cycle = millis(plan.sensors[0].settings);
        let share = |hertz| -> f64 {
            let sensors = plan.sensors.iter();
            sensors.map(|sensor| load(sensor.settings, plan.script_metrics, hertz)).sum()
        };
        let follows = format!(
            "\nThis gives: a result every {cycle}; bus {} at 100 kHz, {} at 400 kHz.\n",
            percent(share(100e3)),
            percent(share(400e3))
        );
        assert!(after.starts_with(&follows), "{block}{follows}");
        let same = |sensor: &config::SensorPlan| millis(sensor.settings) == cycle;
        assert!(plan.sensors.iter().all(same), "{block}");
    }
}

#[test]
fn bandwidth_table_follows_from_the_settings() {
    let reference = of_interval("\"1s\"");
    let sampled = |settings: Settings| {
        f64::from(settings.averaging.count() * settings.current_conversion_time.micros())
    };
    let hertz = |value: f64| format!("{} Hz", digits(value, 3));
    let rows = rows(SETTINGS, "## Bandwidth and noise");
    assert!(rows.len() > 6);
    for row in rows {
        let settings = of_interval(&spans(&row[0])[0]);
        let (voltage, current) =
            (settings.voltage_conversion_time.micros(), settings.current_conversion_time.micros());
        let cycle = settings.cycle().as_secs_f64();
        let computed = [
            settings.averaging.count().to_string(),
            format!("{voltage} µs"),
            format!("{current} µs"),
            millis(settings),
            hertz(half_power() / cycle),
            hertz(1.0 / cycle),
            hertz(1e6 / f64::from(voltage + current)),
            digits((sampled(reference) / sampled(settings)).sqrt(), 2),
        ];
        assert_eq!(row[1..], computed, "{}", row[0]);
    }
}

/// Returns the x where sin(πx) / (πx) is √½, by bisection.
fn half_power() -> f64 {
    let response = |x: f64| (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x);
    let (mut low, mut high) = (0.1, 1.0);
    while high - low > 1e-12 {
        let middle = f64::midpoint(low, high);
        if response(middle) > std::f64::consts::FRAC_1_SQRT_2 {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[test]
fn bus_load_table_follows_from_the_settings() {
    let rows = rows(SETTINGS, "## Load of the bus");
    assert!(rows.len() > 6);
    for row in rows {
        let settings = of_interval(&spans(&row[0])[0]);
        let shares = [100e3, 400e3].map(|hertz| load(settings, false, hertz));
        let computed = [
            transfers(settings, false).to_string(),
            percent(shares[0]),
            percent(shares[1]),
            (1.0 / shares[0]).floor().to_string(),
            (1.0 / shares[1]).floor().to_string(),
        ];
        assert_eq!(row[1..], computed, "{}", row[0]);
    }
}

#[test]
fn cpu_table_follows_from_the_cycles() {
    /// CPU time of a result, measured by `make bench` as the page says.
    const RESULT_SECONDS: f64 = 27e-6;
    let rows = rows(SETTINGS, "## Cost in CPU");
    assert!(rows.len() > 5);
    for row in rows {
        let cycle = of_interval(&spans(&row[0])[0]).cycle().as_secs_f64();
        assert_eq!(row[1], percent(RESULT_SECONDS / cycle), "{}", row[0]);
    }
}

#[test]
fn energy_error_table_follows_from_the_errors() {
    let rows = rows(SETTINGS, "## Accuracy of energy");
    assert!(rows.len() > 4);
    for row in rows {
        let (watts, volts) = row[0].split_once(" W at ").unwrap();
        let watts: f64 = watts.parse().unwrap();
        let volts: f64 = volts.strip_suffix(" V").unwrap().parse().unwrap();
        let amperes = watts / volts;
        let computed = [format!("{:.0} mA", amperes * 1e3), percent(0.0025 + 0.005 / amperes)];
        assert_eq!(row[1..], computed, "{}", row[0]);
    }
}

#[test]
fn numbers_in_the_text_follow_from_formulas() {
    let (offset, gain, step) = (0.005_f64, 0.0015, 1.25);
    let (ohms, rated) = (0.0045_f64, 15.0);
    let computed = [
        format!("{:.2} Ah a day", offset * 24.0),
        format!("{:.1} Ah that never flowed", offset * 24.0 * 30.0),
        format!(
            "5 mA at 18 V is {:.2} W, {:.1} Wh in 12 hours",
            offset * 18.0,
            offset * 18.0 * 12.0
        ),
        format!(
            "5 mA at 5 V is {:.1} Wh a day, {:.2} kWh a year",
            offset * 5.0 * 24.0,
            offset * 5.0 * 24.0 * 365.0 / 1e3
        ),
        format!("Below {:.1} A an offset of 5 mA", offset / gain),
        format!("{:.1} mV and {:.2} W at 15 A", ohms * rated * 1e3, ohms * rated * rated),
        format!("{rounding:.2} mA or {rounding:.2} mV", rounding = step / 12_f64.sqrt()),
        format!("1.25 mA, {:.2} mW at 5 V", step * 5.0),
        format!("from 5 V to 12 V the offset can change by {:.2} mA", 0.15 * (12.0 - 5.0)),
        format!("±{:.2} A", step * 32_768.0 / 1e3),
    ];
    let text = read(SETTINGS).replace('\n', " ");
    for number in computed {
        assert!(text.contains(&number), "{number}");
    }
}
