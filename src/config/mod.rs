//! What to measure, and how to serve it: four layers of configuration become one checked plan.
//!
//! Lowest to highest: built-in defaults, the file, the environment (`INA260_EXPORTER_*`), the flags. A new key needs a
//! default in `defaults`, a reader in `read` or `number`, a caller of it here or in `sensor`, and a field in the [`Plan`].

use std::net::SocketAddr;
use std::path::Path;

mod alert;
mod defaults;
mod duration;
mod effective;
mod fields;
mod labels;
mod layers;
mod mux;
mod node;
mod number;
mod overrides;
mod plan;
mod problem;
mod quantity;
mod read;
mod section;
mod sensor;
mod sensors;

pub use overrides::Overrides;
pub use plan::{Listen, LogLevel, Plan, SensorPlan};
pub use problem::{Problem, Problems};

use effective::Line;
use ipnet::IpNet;
use layers::Layers;
use node::{Node, Origin, Table, Value};
use section::{Section, Setting};
use sensor::{Found, Sensor};

use crate::simulated::Faults;

/// The file that is read unless `--config` names another.
pub const DEFAULT_FILE: &str = "/etc/ina260-exporter.toml";

/// A configuration without a problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What to do.
    pub plan: Plan,
    /// The same as a file, with where each value came from.
    pub effective: String,
    /// Whether the sensors stand in tables of their own, `[[sensor]]`, which others can be added to.
    pub with_tables: bool,
}

/// This process's environment. What is not UTF-8 becomes replacement characters, which no name may contain.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

/// Reads all layers and checks what they amount to.
///
/// # Errors
/// Every problem there is.
pub fn load(
    overrides: &Overrides,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Problems> {
    load_with(overrides, environment, "")
}

/// The same, as if `appended` stood at the end of the file.
///
/// # Errors
/// Every problem there is.
pub fn load_with(
    overrides: &Overrides,
    environment: impl IntoIterator<Item = (String, String)>,
    appended: &str,
) -> Result<Loaded, Problems> {
    let mut problems = Problems::default();
    let mut layers = Layers::new();
    match &overrides.config {
        Some(path) => layers.add_file(path, false, appended, &mut problems),
        None => layers.add_file(Path::new(DEFAULT_FILE), true, appended, &mut problems),
    }
    layers.add_environment(environment);
    resolve(layers, overrides, problems)
}

/// Reads flags alone, as if there were neither a file nor an environment.
///
/// # Errors
/// Every problem there is.
pub fn load_alone(overrides: &Overrides) -> Result<Loaded, Problems> {
    resolve(Layers::new(), overrides, Problems::default())
}

/// The flags on top of what lies below.
fn resolve(
    mut layers: Layers,
    overrides: &Overrides,
    mut problems: Problems,
) -> Result<Loaded, Problems> {
    for (key, flag, value) in overrides.values() {
        layers.add_flag(flag, key, value.to_owned());
    }
    let mut top = layers.merged();
    if let Some(port) = overrides.port {
        set_port(&mut top, port, &mut problems);
    }
    let loaded = check(top, overrides.simulate.clone(), &mut problems);
    match loaded {
        Some(loaded) if problems.0.is_empty() => Ok(loaded),
        _ => Err(problems),
    }
}

/// `--port` is the port of whatever address the other layers give.
fn set_port(top: &mut Table, port: u16, problems: &mut Problems) {
    let origin = Origin::Flag("--port".to_owned());
    let Some(listen) = top.get_mut("listen") else {
        return;
    };
    match read::listen(listen) {
        Ok(Listen::Tcp(address)) => {
            *listen = Node {
                origin,
                value: Value::Untyped(SocketAddr::new(address.ip(), port).to_string()),
            }
        }
        Ok(Listen::Unix(_)) => problems.add(
            &origin,
            format!(
                "{port} contradicts listen {listen} ({}), which has no port",
                listen.origin
            ),
        ),
        // Reported where it is read.
        Err(_) => {}
    }
}

/// Reads every key; what is `None` in the end has a problem that has been noted.
fn check(mut top: Table, simulate: Option<Faults>, problems: &mut Problems) -> Option<Loaded> {
    let found = sensors::find(&mut top, problems);
    let mut section = Section::new(String::new(), top, problems);
    let listen = section.take("listen", read::listen);
    let socket_mode = section.take("socket_mode", read::socket_mode);
    let allow = section.take("allow", read::allow);
    let hostname = section.take("hostname", read::text);
    let interval = section.take("interval", read::interval);
    let window = section.take("window", read::window);
    let buckets = section.take("buckets", number::buckets);
    let summary = section.take("summary", read::summary);
    let log = section.take("log", read::log);
    let script_metrics = section.take("script_metrics", read::boolean);
    let wait_for_sensor = section.take("wait_for_sensor", read::boolean);
    section.also_known(&sensors::ONE_SENSOR);
    section.also_known(&["sensor"]);
    if let (Some(listen), Some(allow)) = (&listen, &allow) {
        check_allow(&mut section, listen, allow);
    }
    let top_keys = section.known().to_vec();
    let lines = section.finish(not_a_key);

    let with_tables = found.iter().any(Found::has_table);
    let sensors: Vec<_> = found
        .into_iter()
        .map(|found| {
            let elsewhere = |key: &str| {
                top_keys.contains(&key).then(|| {
                    "belongs above the first [[sensor]]: what stands below it is the sensor's"
                        .to_owned()
                })
            };
            found.read(interval.as_ref(), elsewhere, problems)
        })
        .collect();
    sensors::check(&sensors, problems);
    let effective = effective(lines, &sensors, with_tables);
    let plan = Plan {
        listen: listen?.value,
        socket_mode: socket_mode?.value,
        allow: allow?.value,
        hostname: hostname?.value,
        window: window?.value,
        buckets: buckets?.value,
        summary: summary?.value,
        log: log?.value,
        script_metrics: script_metrics?.value,
        wait_for_sensor: wait_for_sensor?.value,
        simulate,
        sensors: sensors
            .into_iter()
            .map(Sensor::plan)
            .collect::<Option<_>>()?,
    };
    Some(Loaded {
        plan,
        effective,
        with_tables,
    })
}

/// Who may connect to a socket is a matter of its mode.
fn check_allow(section: &mut Section<'_>, listen: &Setting<Listen>, allow: &Setting<Vec<IpNet>>) {
    if matches!(listen.value, Listen::Unix(_)) && !allow.value.is_empty() {
        section.problem(
            &allow.origin,
            &format!(
                "allow contradicts listen \"{}\" ({}): it is for TCP only, a Unix socket has socket_mode",
                listen.value, listen.origin
            ),
        );
    }
}

/// What looks like a key of the top level and is none, where more can be said than that.
fn not_a_key(key: &str) -> Option<String> {
    match key {
        "config" | "simulate" | "check_config" | "quiet" => Some("is a flag only".to_owned()),
        "port" => Some("is a flag only; listen has a port".to_owned()),
        "log_level" => Some("is called log here".to_owned()),
        _ => layers::sensor_defaults()
            .contains_key(key)
            .then(|| "belongs in a [[sensor]] table".to_owned()),
    }
}

/// The plan as a file.
fn effective(mut top: Vec<Line>, sensors: &[Sensor], with_tables: bool) -> String {
    if with_tables {
        let tables = sensors
            .iter()
            .map(|sensor| format!("\n[[sensor]]\n{}", effective::write(&sensor.lines)));
        effective::write(&top) + &tables.collect::<String>()
    } else {
        let of_the_one = sensors.iter().flat_map(|sensor| &sensor.lines);
        top.extend(
            of_the_one
                .filter(|line| sensors::ONE_SENSOR.contains(&line.key))
                .cloned(),
        );
        effective::write(&top)
    }
}
