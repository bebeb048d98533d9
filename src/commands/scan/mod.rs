//! `scan`: who answers on which bus. Identity registers are read; only multiplexers are written, and only when asked.

use std::time::Duration;

use clap::Args;

use super::args::ConfigArgs;
use super::running_exporter::RunningExporter;
use super::{Caller, Failure, Progress, advice};
use crate::config::{self, Loaded, Overrides, Plan};
use crate::i2c::Location;
use crate::i2c::adapters::{Adapter, adapters};
use crate::supervisor::BusProvider;

mod bus_scan;
mod json;
mod probe;
mod table;
#[cfg(test)]
mod tests;
mod toml;

use bus_scan::scan_bus;
pub use probe::{Answer, Ended, Found, probe};

// No doc comment on the struct: clap would print it as the program's.
#[expect(missing_docs, reason = "see above")]
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  ina260-exporter scan                      list devices on every bus
  ina260-exporter scan --mux                also downstream of multiplexers, whose channels are selected for it
  ina260-exporter scan --toml | sudo tee -a /etc/ina260-exporter.toml
                                            add every INA260 that responds to the configuration
  ina260-exporter scan --simulate           print an example without hardware")]
pub struct ScanArgs {
    /// Scan only this bus, the N of /dev/i2c-N
    #[arg(long, value_name = "N")]
    pub bus: Option<u8>,

    /// Also scan downstream of TCA9548A multiplexers at 0x70 to 0x77; writes to their control registers
    #[arg(long)]
    pub mux: bool,

    /// Print JSON
    #[arg(long, conflicts_with = "toml")]
    pub json: bool,

    /// Print a [[sensor]] table for each INA260 that is not yet in the configuration, to append to it
    #[arg(long)]
    pub toml: bool,

    #[command(flatten)]
    pub config: ConfigArgs,
}

/// What was found on a bus.
#[derive(Debug)]
pub struct Report {
    /// Which.
    pub adapter: Adapter,
    /// Who uses it, if somebody does.
    pub in_use: Option<String>,
    /// Who answers.
    pub found: Vec<Found>,
    /// What stood in the way; each sentence says what to do next.
    pub problems: Vec<String>,
}

impl Report {
    fn new(adapter: Adapter) -> Self {
        Self {
            adapter,
            in_use: None,
            found: Vec::new(),
            problems: Vec::new(),
        }
    }
}

/// Looks on every bus, or the one that was named, and writes what it found.
///
/// # Errors
/// [`Failure::Nothing`] where there is no bus, or no INA260 on any.
pub fn run(flags: &ScanArgs, caller: Caller<'_>) -> Result<(), Failure> {
    // A scan is also for whoever has no configuration that works yet.
    let loaded = config::load(&flags.config.overrides(), config::environment());
    let (loaded, problems) = match loaded {
        Ok(loaded) => (loaded, None),
        Err(problems) => (config::load_alone(&simulated(flags))?, Some(problems)),
    };
    let mut source = BusProvider::new(loaded.plan.simulate.as_ref());
    let buses = buses(flags.bus, &source, &loaded.plan);
    let mut progress = Progress::new(caller.progress);
    let mut reports = Vec::new();
    let mut ended = false;
    let count = buses.len();
    for (index, adapter) in buses.into_iter().enumerate() {
        if ended {
            break;
        }
        let bus = adapter.number;
        let mut step = |what: String| {
            progress.show(&format!("bus {bus} ({} of {count}): {what}", index + 1));
            ended = ended || (caller.stop)(Duration::ZERO);
            !ended
        };
        reports.push(look(
            adapter,
            flags.mux,
            &mut source,
            &loaded.plan,
            &mut step,
        ));
    }
    drop(progress);
    if problems.is_none() {
        name(&mut reports, &loaded.plan);
    }
    if flags.json {
        json::write(&reports, caller.output)?;
    } else if flags.toml {
        toml::write(&reports, flags, &loaded, caller.output)?;
    } else {
        table::write(&reports, caller.output)?;
    }
    if ended {
        return Ok(());
    }
    verdict(&reports, flags, problems.is_some())
}

fn simulated(flags: &ScanArgs) -> Overrides {
    Overrides {
        config: None,
        ..flags.config.overrides()
    }
}

/// The buses to look on. One that was named is looked for, whether or not the kernel lists it.
fn buses(only: Option<u8>, source: &BusProvider, plan: &Plan) -> Vec<Adapter> {
    let mut buses = if source.is_simulated() {
        let mut numbers: Vec<u8> = plan
            .sensors
            .iter()
            .map(|sensor| sensor.location.bus)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        let simulated = |number| Adapter {
            number,
            name: "simulated".to_owned(),
        };
        numbers.into_iter().map(simulated).collect()
    } else {
        adapters()
    };
    if let Some(number) = only {
        buses.retain(|adapter| adapter.number == number);
        if buses.is_empty() {
            buses.push(Adapter {
                number,
                name: String::new(),
            });
        }
    }
    buses
}

fn look(
    adapter: Adapter,
    with_mux: bool,
    source: &mut BusProvider,
    plan: &Plan,
    step: &mut dyn FnMut(String) -> bool,
) -> Report {
    let number = adapter.number;
    let mut report = Report::new(adapter);
    let locations = plan.sensors.iter().map(|sensor| sensor.location);
    let mut bus = match source.open(number, locations) {
        Ok(bus) => bus,
        Err(error) => {
            let listed = !report.adapter.name.is_empty();
            let adapters: &[Adapter] = if listed {
                std::slice::from_ref(&report.adapter)
            } else {
                &[]
            };
            report.problems.push(advice(&error, adapters));
            return report;
        }
    };
    let service = if source.is_simulated() {
        None
    } else {
        RunningExporter::of(number)
    };
    scan_bus(&mut report, bus.as_mut(), with_mux, service.as_ref(), step);
    report
}

/// Gives what was found the names that it has in the configuration.
fn name(reports: &mut [Report], plan: &Plan) {
    for report in reports {
        let bus = report.adapter.number;
        for found in &mut report.found {
            let place = place(bus, found);
            let mut sensors = plan.sensors.iter();
            let known = sensors.find(|sensor| sensor.location == place);
            if let (Some(known), None) = (known, &found.device) {
                found.device = Some(known.device.clone());
            }
        }
    }
}

fn place(bus: u8, found: &Found) -> Location {
    Location {
        bus,
        mux: found.channel,
        address: found.address,
    }
}

/// Whether what was asked for could be done.
fn verdict(reports: &[Report], flags: &ScanArgs, is_misconfigured: bool) -> Result<(), Failure> {
    let problems = reports.iter().flat_map(|report| &report.problems);
    let is_complete = problems.clone().next().is_none();
    // A table and JSON have them.
    let mut messages: Vec<String> = if flags.toml {
        problems.cloned().collect()
    } else {
        Vec::new()
    };
    if is_misconfigured {
        let file = flags.config.config.as_ref();
        let file = file.map_or(String::new(), |file| {
            format!(" --config {}", file.display())
        });
        messages.push(format!(
            "the configuration has problems, so that its sensors' names are not known; \
             `ina260-exporter --check-config{file}` tells them"
        ));
    }
    let found = reports.iter().flat_map(|report| &report.found);
    if found.clone().any(|found| found.answer.is_ina260()) {
        // A bus that is not for us is no reason to complain, unless it was asked for.
        let is_asked = flags.bus.is_some() || flags.mux;
        return if is_misconfigured || (is_asked && !is_complete) {
            Err(Failure::Partly(messages))
        } else {
            Ok(())
        };
    }
    if reports.is_empty() {
        messages.push(
            "there is no I2C bus; enable I2C with `sudo raspi-config nonint do_i2c 0`, or with dtparam=i2c_arm=on in config.txt \
             and a reboot"
                .to_owned(),
        );
    } else if is_complete {
        let mux = if flags.mux {
            ""
        } else {
            "; if it is behind a TCA9548A, look there with `--mux`"
        };
        messages.push(format!(
            "no INA260 answers: check its supply (VS), ground, SDA and SCL{mux}"
        ));
    }
    Err(Failure::Nothing(messages))
}

/// A configuration that others can be added to, and places that are in it already.
fn known(loaded: &Loaded) -> Vec<Location> {
    if loaded.with_tables {
        loaded
            .plan
            .sensors
            .iter()
            .map(|sensor| sensor.location)
            .collect()
    } else {
        Vec::new()
    }
}
