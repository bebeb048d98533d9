//! `scan`: who answers on which bus. Identity registers are read, and nothing is written.

use std::io::Write;

use crate::bus::adapters::{Adapter, adapters};
use crate::bus::linux::LinuxBus;
use crate::config::ScanFlags;
use crate::tools::Failure;

mod probe;
mod table;

pub use probe::{Answer, Found, probe};

/// What was found on a bus.
#[derive(Debug)]
pub struct Report {
    /// Which.
    pub adapter: Adapter,
    /// Who answers, or why nobody could be asked.
    pub outcome: Result<Vec<Found>, String>,
}

/// Looks on every bus, or the one that was named, and writes what it found.
///
/// # Errors
/// [`Failure::Nothing`] where there is no bus, or no INA260 on any.
pub fn run(flags: &ScanFlags, output: &mut dyn Write) -> Result<(), Failure> {
    let mut buses = adapters();
    if let Some(number) = flags.bus {
        buses.retain(|adapter| adapter.number == number);
        if buses.is_empty() {
            buses.push(Adapter {
                number,
                name: String::new(),
            });
        }
    }
    let reports: Vec<Report> = buses.into_iter().map(look).collect();
    table::write(&reports, output)?;
    let found = reports.iter().flat_map(|report| &report.outcome).flatten();
    let ina260s = found.filter(|found| matches!(found.answer, Answer::Ina260 { .. }));
    if ina260s.count() > 0 {
        return Ok(());
    }
    Err(Failure::Nothing(vec![if reports.is_empty() {
        "there is no I2C bus; enable I2C with `raspi-config` or `dtparam=i2c_arm=on` in config.txt, and load its driver with \
         `modprobe i2c-dev`"
            .to_owned()
    } else {
        "no INA260 answers; check its wiring and its supply".to_owned()
    }]))
}

fn look(adapter: Adapter) -> Report {
    let outcome = LinuxBus::open(adapter.number)
        .map_err(|error| error.to_string())
        .and_then(|mut bus| probe(&mut bus).map_err(|error| error.to_string()));
    Report { adapter, outcome }
}
