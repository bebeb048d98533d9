//! The daemon's flags. Values stay text here: they are read like those of the file and the environment.

use std::path::PathBuf;

use clap::Args;

// No documentation on the struct: clap would show it as the program's.
#[expect(missing_docs, reason = "see above")]
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Value of the label `hostname` [default: the machine's name]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,

    /// Value of the label `device` of the one sensor [default: deepx]
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,

    /// TCP port to serve metrics on [default: 8000]
    #[arg(long, conflicts_with = "listen", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,

    /// Configuration file, which must exist [default: /etc/ina260-exporter.toml, which need not]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where to serve metrics: IP:PORT (IPv6 in brackets) or unix:/PATH [default: 0.0.0.0:8000]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,

    /// Bus of the one sensor, the N of /dev/i2c-N [default: 1]
    #[arg(long, value_name = "N")]
    pub bus: Option<String>,

    /// Address of the one sensor, 0x40 to 0x4f [default: 0x40]
    #[arg(long)]
    pub address: Option<String>,

    /// TCA9548A that the one sensor is behind, 0x70 to 0x77, and its channel, 0 to 7, e.g. 0x70:3
    #[arg(long, value_name = "ADDRESS:CHANNEL")]
    pub mux: Option<String>,

    /// The longest time from one result to the next, for sensors without an interval of their own [default: 1s]
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<String>,

    /// Run on simulated sensors instead of hardware; optionally with faults, e.g. --simulate=no-answer@30s+20s
    #[arg(long, value_name = "FAULTS", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub simulate: Option<String>,

    /// Start without any sensor that answers, and wait for one
    #[arg(long)]
    pub wait_for_sensor: bool,

    /// Print the configuration in force and where each value came from, or every problem, and exit
    #[arg(long)]
    pub check_config: bool,

    /// With --check-config, print problems only
    #[arg(long, requires = "check_config")]
    pub quiet: bool,

    /// What goes to the log: error, warn, info, debug (every result) or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

impl Flags {
    /// The flags that were given: key of the configuration, the flag's name, its value.
    ///
    /// `--port` is none of them: it changes a part of `listen`.
    pub(super) fn overrides(&self) -> Vec<(&'static str, &'static str, String)> {
        let wait_for_sensor = self.wait_for_sensor.then(|| "true".to_owned());
        [
            ("hostname", "--hostname", &self.hostname),
            ("device", "--device", &self.device),
            ("listen", "--listen", &self.listen),
            ("bus", "--bus", &self.bus),
            ("address", "--address", &self.address),
            ("mux", "--mux", &self.mux),
            ("interval", "--interval", &self.interval),
            ("wait_for_sensor", "--wait-for-sensor", &wait_for_sensor),
            ("log", "--log-level", &self.log_level),
        ]
        .into_iter()
        .filter_map(|(key, flag, value)| Some((key, flag, value.clone()?)))
        .collect()
    }
}
