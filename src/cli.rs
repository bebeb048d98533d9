//! The root of the command line: the daemon's flags, or a subcommand with flags of its own.

use std::sync::LazyLock;

use clap::{Parser, Subcommand};

use crate::commands::calibrate::CalibrateArgs;
use crate::commands::run::RunArgs;
use crate::commands::{read::ReadArgs, scan::ScanArgs, watch::WatchArgs};
use crate::daemon::DaemonArgs;

/// Version, with the source revision if the build has set it.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("INA260_EXPORTER_REVISION") {
        None | Some("") => version.to_owned(),
        Some(revision) => format!("{version} ({revision})"),
    }
});

/// Prometheus exporter for INA260 power sensors on I2C.
///
/// Without a command, runs the daemon.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "ina260-exporter",
    version = VERSION.as_str(),
    args_conflicts_with_subcommands = true,
    max_term_width = 100,
    after_help = "\
Examples:
  ina260-exporter scan                      find the sensors
  ina260-exporter read                      print one result of each
  ina260-exporter run -- make -j4           print the energy of a command
  ina260-exporter --simulate                serve a simulated sensor on port 8000
  ina260-exporter --device orin --address 0x41 --port 9000
  ina260-exporter --check-config            print the effective settings with their sources
  sudo systemctl enable --now ina260-exporter
                                            start the service, now and at each boot

Flags override environment variables (INA260_EXPORTER_LISTEN and so on), which override the file.
Without any of them, one sensor on bus 1 at address 0x40 is served on port 8000."
)]
pub struct CommandLine {
    /// The subcommand, if one was given.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of the daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// A subcommand.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Scan the I2C buses for INA260s; never writes to a sensor
    Scan(ScanArgs),
    /// Print one result of each sensor, with its settings, flags and alert; never changes a setting
    Read(ReadArgs),
    /// Show sensors live in the terminal: charts, extremes, energy, alerts
    Watch(WatchArgs),
    /// Run a command and print the energy that each sensor measured
    Run(RunArgs),
    /// Measure a sensor's offset or gains, and print the keys of its calibration
    Calibrate(CalibrateArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_definition_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn simulate_takes_faults_only_after_an_equals_sign() {
        let simulate = |arguments: &[&str]| {
            CommandLine::try_parse_from([&["ina260-exporter"], arguments].concat())
                .map(|line| line.daemon.simulate.map(|faults| faults.0.len()))
        };
        assert_eq!(simulate(&[]).unwrap(), None);
        assert_eq!(simulate(&["--simulate"]).unwrap(), Some(0));
        assert_eq!(simulate(&["--simulate=no-answer@30s+20s"]).unwrap(), Some(1));
        assert!(simulate(&["--simulate", "no-answer@30s"]).is_err());
        assert!(simulate(&["--simulate=fire@1"]).is_err());
    }

    #[test]
    fn port_and_listen_conflict() {
        let words = ["ina260-exporter", "--port", "9000", "--listen", "[::]:8000"];
        assert!(CommandLine::try_parse_from(words).is_err());
    }
}
