//! The command line: the daemon's flags, or one of the tools for people with flags of its own.

use std::ffi::OsString;
use std::sync::LazyLock;

use clap::{CommandFactory, Parser, Subcommand};

use super::Flags;
use super::tools::{ReadFlags, ScanFlags, WatchFlags};

/// With the revision it was built from, where the build knew one.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("INA260_EXPORTER_REVISION") {
        None | Some("") => version.to_owned(),
        Some(revision) => format!("{version} ({revision})"),
    }
});

/// Prometheus metrics of INA260 power sensors on I2C.
///
/// Without a command it is the daemon.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "ina260-exporter",
    version = VERSION.as_str(),
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  ina260-exporter scan                      find the sensors
  ina260-exporter read                      see what they measure
  ina260-exporter --simulate                serve a simulated sensor at http://localhost:8000/metrics
  ina260-exporter --device orin --address 0x41 --port 9000
  ina260-exporter --check-config            see the configuration and where each value comes from
  sudo systemctl enable --now ina260-exporter
                                            measure from now on, and after each boot

Flags win over the environment (INA260_EXPORTER_LISTEN and so on), which wins over the file.
Without any of them one sensor at bus 1, address 0x40, is served on port 8000."
)]
pub struct CommandLine {
    /// What to do instead of being the daemon.
    #[command(subcommand)]
    pub tool: Option<Tool>,
    /// The daemon's flags.
    #[command(flatten)]
    pub flags: Flags,
}

/// What people run beside the daemon.
#[derive(Clone, Debug, Subcommand)]
pub enum Tool {
    /// Look for INA260s on the I2C buses; nothing is written to a chip
    Scan(ScanFlags),
    /// Print one result of each sensor, with its settings, flags and alert; no setting is changed
    Read(ReadFlags),
    /// Show sensors live in the terminal: curves, extremes, energy, alerts
    Watch(WatchFlags),
}

/// Why the command line can't be followed: it is wrong, or asks for help or the version.
#[derive(Debug)]
pub struct Usage(clap::Error);

impl Usage {
    /// Prints it where it belongs. Tells whether the command line was wrong.
    #[must_use]
    pub fn print(&self) -> bool {
        // Nobody is left to tell if neither standard output nor standard error can be written to.
        let _ = self.0.print();
        self.0.use_stderr()
    }
}

impl CommandLine {
    /// Reads this process's command line.
    ///
    /// # Errors
    /// [`Usage`], to be printed.
    pub fn read() -> Result<Self, Usage> {
        Self::of(std::env::args_os())
    }

    /// Reads a command line that begins with the program's name.
    ///
    /// # Errors
    /// As for [`CommandLine::read`].
    pub fn of<T: Into<OsString> + Clone>(line: impl IntoIterator<Item = T>) -> Result<Self, Usage> {
        Self::try_parse_from(line).map_err(Usage)
    }
}

/// The command line as clap knows it, for what is generated from it.
#[must_use]
pub fn command() -> clap::Command {
    CommandLine::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn faults_need_an_equals_sign_so_that_simulate_swallows_nothing() {
        let simulate = |arguments: &[&str]| {
            CommandLine::of([&["ina260-exporter"], arguments].concat())
                .map(|line| line.flags.simulate)
        };
        assert_eq!(simulate(&[]).unwrap(), None);
        assert_eq!(simulate(&["--simulate"]).unwrap().unwrap(), "");
        assert_eq!(
            simulate(&["--simulate=no-answer@30s+20s"])
                .unwrap()
                .unwrap(),
            "no-answer@30s+20s"
        );
        assert!(simulate(&["--simulate", "no-answer@30s"]).is_err());
    }

    #[test]
    fn the_port_is_given_once() {
        let arguments = ["ina260-exporter", "--port", "9000", "--listen", "[::]:8000"];
        assert!(CommandLine::of(arguments).is_err());
    }
}
