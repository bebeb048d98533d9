//! `scan`: lists the devices on each bus. Reads identity registers; writes to muxes with `--mux`.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;

use super::running_exporter::Exporters;
use super::shared_args::ConfigArgs;
use super::{Caller, Failure, Progress, describe_open_error, report};
use crate::config::{self, Overrides, Plan};
use crate::i2c::adapters::Adapters;
use crate::i2c::{BusName, Location};
use crate::printable::escape;
use crate::supervisor::BusProvider;

mod bus_scan;
mod listing;

use bus_scan::{BusReport, DeviceKind};
pub(super) use listing::table;

#[expect(missing_docs, reason = "clap would print it as the program's")]
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  ina260-exporter scan                      list devices on every bus
  ina260-exporter scan --mux                also scan downstream of multiplexers
  ina260-exporter scan --toml | sudo tee -a /etc/ina260-exporter.toml
                                            add every INA260 found to the configuration
  ina260-exporter scan --simulate           print an example without hardware")]
pub struct ScanArgs {
    /// Scan only this bus: the N in /dev/i2c-N, a path, or name:NAME
    #[arg(long)]
    pub bus: Option<String>,

    /// Also scan downstream of TCA9548A multiplexers; writes to any device at 0x70 to 0x77
    #[arg(long)]
    pub mux: bool,

    /// Print JSON
    #[arg(long, conflicts_with = "toml")]
    pub json: bool,

    /// Print a [[sensor]] table for each INA260 that is not yet in the configuration, to append to
    /// it
    #[expect(rustdoc::broken_intra_doc_links, reason = "help text, not Markdown")]
    #[arg(long)]
    pub toml: bool,

    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Scans all buses, or the given one, and writes what was found.
///
/// # Errors
/// [`Failure::Nothing`] if there is no bus or no INA260, [`Failure::Partly`] if the configuration
/// is invalid, a bus that was asked for was not scanned completely, or the scan was interrupted.
pub fn run(args: &ScanArgs, caller: Caller<'_>) -> Result<(), Failure> {
    let given = |bus| config::load_alone(&Overrides::default().with("bus", Some(bus)));
    let given = args.bus.as_deref().map(given).transpose()?;
    let only = given.map(|given| given.plan.sensors[0].location.bus);
    // A scan works without a valid configuration, too: it is how sensors are found.
    let overrides = args.config.overrides();
    let loaded = config::load(&overrides, config::environment());
    let is_configured = loaded.is_ok();
    let loaded =
        loaded.or_else(|_| config::load_alone(&Overrides { config: None, ..overrides }))?;
    let plan = &loaded.plan;
    let mut provider = BusProvider::new(plan.simulate.as_ref());
    let adapters = provider.adapters();
    let mut reports = buses(only, plan, &adapters);
    let (mut scanned, count) = (0, reports.len());
    let mut progress = Progress::new(caller.progress);
    let (mut exporters, mut stopped) = (Exporters::default(), false);
    for report in &mut reports {
        scanned += 1;
        let mut step = |location: Location| {
            progress.show(&format!("{location} (bus {scanned} of {count})"));
            stopped = (caller.stop)(Duration::ZERO);
            !stopped
        };
        match provider.open(report.bus, plan.sensors.iter().map(|sensor| sensor.location)) {
            Err(error) => report.problems.push(describe_open_error(&error, &adapters)),
            Ok(mut bus) => {
                let service = exporters.find(report.bus, &provider);
                report.scan(bus.as_mut(), args.mux, service.as_deref(), &mut step);
            }
        }
        if stopped {
            report.add_problem(&format!(": scan interrupted (bus {scanned} of {count})"));
            break;
        }
    }
    drop(progress);
    reports.truncate(scanned);
    bus_scan::keep_once(&mut reports, &adapters.kernel_muxes());
    if is_configured {
        add_names(&mut reports, plan, &adapters);
    }
    if args.json {
        listing::write_json(&reports, caller.output)?;
    } else if args.toml {
        listing::write_tables(&reports, args, &loaded, &adapters, caller.output)?;
    } else {
        listing::write_text(&reports, caller.output)?;
    }
    report(outcome(&reports, args, is_configured, stopped)?);
    Ok(())
}

/// Returns empty reports of the buses to scan, a given one even if the kernel does not list it.
fn buses(only: Option<BusName>, plan: &Plan, adapters: &Adapters) -> Vec<BusReport> {
    let mut buses: Vec<BusReport> = if plan.simulate.is_some() {
        let buses: BTreeSet<BusName> = plan.sensors.iter().map(|it| it.location.bus).collect();
        buses.into_iter().map(|bus| BusReport::new(bus, "simulated".to_owned())).collect()
    } else {
        adapters.0.iter().map(|it| BusReport::new(it.number.into(), it.name.clone())).collect()
    };
    if let Some(only) = only {
        let only = adapters.resolve(only).map_or(only, |adapter| adapter.number.into());
        buses.retain(|report| report.bus == only);
        if buses.is_empty() {
            buses.push(BusReport::new(only, String::new()));
        }
    }
    buses
}

/// Adds the names in the configuration to devices without one.
fn add_names(reports: &mut [BusReport], plan: &Plan, adapters: &Adapters) {
    let devices = reports.iter_mut().flat_map(|report| &mut report.devices);
    for device in devices.filter(|device| device.name.is_none()) {
        let mut sensors = plan.sensors.iter();
        let known = sensors.find(|it| adapters.numbered(it.location) == device.location);
        device.name = known.map(|sensor| sensor.device.clone());
    }
}

/// Returns the problems that the output does not show, if what was asked for was scanned.
fn outcome(
    reports: &[BusReport],
    args: &ScanArgs,
    is_configured: bool,
    stopped: bool,
) -> Result<Vec<String>, Failure> {
    let problems: Vec<&String> = reports.iter().flat_map(|report| &report.problems).collect();
    let is_complete = problems.is_empty();
    // Text and JSON contain the problems.
    let mut messages: Vec<String> = problems.into_iter().filter(|_| args.toml).cloned().collect();
    if !is_configured {
        let file =
            args.config.config.as_ref().map_or(String::new(), |file| {
                format!(" --config {}", escape(&file.to_string_lossy()))
            });
        messages.push(format!(
            "the configuration is invalid, so sensor names are unknown; \
             `ina260-exporter --check-config{file}` lists the errors"
        ));
    }
    if stopped {
        return Err(Failure::Partly(messages));
    }
    let mut devices = reports.iter().flat_map(|report| &report.devices);
    if devices.any(|it| matches!(it.kind, DeviceKind::Ina260 { .. } | DeviceKind::Served)) {
        // A bus that cannot be opened matters only if it was asked for.
        let is_required = args.bus.is_some() || args.mux;
        let is_done = is_configured && (is_complete || !is_required);
        return if is_done { Ok(messages) } else { Err(Failure::Partly(messages)) };
    }
    if reports.is_empty() {
        messages.push(
            "no I2C bus found; enable I2C with `sudo raspi-config nonint do_i2c 0`, or with \
             dtparam=i2c_arm=on in config.txt and a reboot"
                .to_owned(),
        );
    } else if is_complete {
        let mux =
            if args.mux { "" } else { "; if it is downstream of a TCA9548A, scan with `--mux`" };
        messages
            .push(format!("no INA260 responds; check its supply (VS), ground, SDA and SCL{mux}"));
    }
    Err(Failure::Nothing(messages))
}

#[cfg(test)]
mod tests;
