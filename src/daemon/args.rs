//! Flags of the daemon. Values of keys stay text: they are parsed like those of the other layers.

use std::path::PathBuf;

use clap::Args;

use crate::config::Overrides;
use crate::simulated::Faults;

#[expect(missing_docs, reason = "clap would print it as the program's")]
#[derive(Args, Clone, Debug, Default)]
pub struct DaemonArgs {
    /// Value of the label `hostname` [default: the machine's name]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,

    /// Name of the single sensor (label `device`) [default: deepx]
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,

    /// TCP port to serve metrics on [default: 8000]
    #[arg(long, conflicts_with = "listen", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,

    /// Configuration file [default: /etc/ina260-exporter.toml, if present]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address to serve metrics on: IP:PORT (IPv6 in brackets) or unix:/PATH
    /// [default: 0.0.0.0:8000]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,

    /// Bus of the single sensor: the N in /dev/i2c-N, a path, or name:NAME [default: 1]
    #[arg(long)]
    pub bus: Option<String>,

    /// Address of the single sensor, 0x40 to 0x4f [default: 0x40]
    #[arg(long)]
    pub address: Option<String>,

    /// TCA9548A (0x70 to 0x77) and channel (0 to 7) that the single sensor is downstream of,
    /// e.g. 0x70:3
    #[arg(long, value_name = "ADDRESS:CHANNEL")]
    pub mux: Option<String>,

    /// Maximum nominal time between two results; sensors may override it [default: 1s]
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<String>,

    /// Use simulated sensors, optionally with faults, e.g. --simulate=no-answer@30+20
    #[arg(long, value_name = "FAULTS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "")]
    pub simulate: Option<Faults>,

    /// Start even if no sensor responds, and keep retrying
    #[arg(long)]
    pub wait_for_sensor: bool,

    /// Check the configuration, print the effective settings with their sources, and exit
    #[arg(long)]
    pub check_config: bool,

    /// With --check-config, print errors only
    #[arg(long, requires = "check_config")]
    pub quiet: bool,

    /// Minimum severity of messages to log: error, warn, info, debug (every result) or trace (every
    /// transfer) [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

impl DaemonArgs {
    /// Returns what the flags set.
    pub fn overrides(&self) -> Overrides {
        let (config, simulate) = (self.config.clone(), self.simulate.clone());
        Overrides { config, simulate, ..Overrides::default() }
            .with("hostname", self.hostname.as_deref())
            .with("device", self.device.as_deref())
            .with("listen", self.listen.as_deref())
            .with("port", self.port.map(|port| port.to_string()).as_deref())
            .with("bus", self.bus.as_deref())
            .with("address", self.address.as_deref())
            .with("mux", self.mux.as_deref())
            .with("interval", self.interval.as_deref())
            .with("wait_for_sensor", self.wait_for_sensor.then_some("true"))
            .with("log", self.log_level.as_deref())
    }
}
