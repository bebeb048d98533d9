//! The lowest layer. With nothing else it does what the Python script did.

use serde::Serialize;

/// What the daemon does when nobody says otherwise.
#[derive(Serialize)]
pub(super) struct Defaults {
    listen: &'static str,
    socket_mode: &'static str,
    allow: [&'static str; 0],
    hostname: String,
    interval: &'static str,
    window: &'static str,
    buckets: [f64; 4],
    summary: &'static str,
    log: &'static str,
    script_metrics: bool,
    wait_for_sensor: bool,
    device: &'static str,
    bus: u8,
    address: u8,
    mux: &'static str,
}

impl Defaults {
    pub(super) fn new() -> Self {
        Self {
            listen: "0.0.0.0:8000",
            socket_mode: "0666",
            allow: [],
            hostname: host_name(),
            interval: "1s",
            window: "1m",
            buckets: [0.1, 1.0, 10.0, 100.0],
            summary: "1m",
            log: "info",
            script_metrics: true,
            wait_for_sensor: false,
            device: "deepx",
            bus: 1,
            address: 0x40,
            mux: "none",
        }
    }
}

/// The machine's name (gethostname(2)); `localhost` if it has none.
// Not from below /proc/sys, which the service does not see.
fn host_name() -> String {
    match rustix::system::uname().nodename().to_string_lossy().trim() {
        "" | "(none)" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// What a `[[sensor]]` is when its table does not say otherwise; its interval is the daemon's, its device has none.
#[derive(Serialize)]
pub(super) struct SensorDefaults {
    bus: u8,
    address: u8,
    mux: &'static str,
    averaging: &'static str,
    voltage_conversion_time: &'static str,
    current_conversion_time: &'static str,
    configure: bool,
    alert: &'static str,
    current_gain: f64,
    current_offset: &'static str,
    voltage_gain: f64,
    reverse: bool,
    labels: Labels,
}

/// None.
#[derive(Serialize)]
struct Labels {}

impl SensorDefaults {
    pub(super) const fn new() -> Self {
        Self {
            bus: 1,
            address: 0x40,
            mux: "none",
            averaging: "auto",
            voltage_conversion_time: "auto",
            current_conversion_time: "auto",
            configure: true,
            alert: "none",
            current_gain: 1.0,
            current_offset: "0mA",
            voltage_gain: 1.0,
            reverse: false,
            labels: Labels {},
        }
    }
}
