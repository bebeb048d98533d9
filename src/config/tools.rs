//! The flags of the tools. Where they mean what a flag of the daemon means, they are read like it.

#![expect(
    rustdoc::broken_intra_doc_links,
    reason = "what stands at a flag is its help, where brackets mean what they mean in a usage line"
)]

use std::path::PathBuf;

use clap::Args;

use super::Flags;

// No documentation on the structs: clap would show it as the program's.
#[expect(missing_docs, reason = "see above")]
#[derive(Args, Clone, Debug, Default)]
pub struct PlaceFlags {
    /// Only the sensor on this bus, the N of /dev/i2c-N, instead of the configured ones [default: 1]
    #[arg(long, value_name = "N")]
    pub bus: Option<String>,

    /// Only the sensor at this address, 0x40 to 0x4f, instead of the configured ones [default: 0x40]
    #[arg(long)]
    pub address: Option<String>,

    /// Only the sensor behind this TCA9548A, 0x70 to 0x77, and its channel, 0 to 7, e.g. 0x70:3; it is switched for it
    #[arg(long, value_name = "ADDRESS:CHANNEL")]
    pub mux: Option<String>,
}

impl PlaceFlags {
    /// The daemon's flags that name the place, if one is named.
    #[must_use]
    pub fn of_the_daemon(&self) -> Option<Flags> {
        let Self { bus, address, mux } = self.clone();
        let named = bus.is_some() || address.is_some() || mux.is_some();
        named.then(|| Flags {
            bus,
            address,
            mux,
            ..Flags::default()
        })
    }
}

#[expect(missing_docs, reason = "see above")]
#[derive(Args, Clone, Debug, Default)]
pub struct ConfiguredFlags {
    /// Configuration file [default: /etc/ina260-exporter.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Simulated buses, with the configured sensors on them; optionally with faults, e.g. --simulate=no-answer@30s+20s
    #[arg(long, value_name = "FAULTS", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub simulate: Option<String>,
}

impl ConfiguredFlags {
    /// The daemon's flags that mean the same.
    #[must_use]
    pub fn of_the_daemon(&self) -> Flags {
        Flags {
            config: self.config.clone(),
            simulate: self.simulate.clone(),
            ..Flags::default()
        }
    }
}

#[expect(missing_docs, reason = "see above")]
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  ina260-exporter scan                      who is on which bus
  ina260-exporter scan --mux                also behind multiplexers, which are switched for it
  ina260-exporter scan --toml | sudo tee -a /etc/ina260-exporter.toml
                                            measure everything that answers
  ina260-exporter scan --simulate           see what it prints without any hardware")]
pub struct ScanFlags {
    /// Look on this bus only, the N of /dev/i2c-N
    #[arg(long, value_name = "N")]
    pub bus: Option<u8>,

    /// Also look behind the channels of TCA9548A multiplexers at 0x70 to 0x77, which writes to these
    #[arg(long)]
    pub mux: bool,

    /// Print JSON, for programs
    #[arg(long, conflicts_with = "toml")]
    pub json: bool,

    /// Print a [[sensor]] table for each INA260 that is not in the configuration yet, to be appended to it
    #[arg(long)]
    pub toml: bool,

    #[command(flatten)]
    pub configured: ConfiguredFlags,
}

#[expect(missing_docs, reason = "see above")]
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  ina260-exporter read                      the configured sensors
  ina260-exporter read --address 0x41       the sensor at bus 1, address 0x41
  ina260-exporter read --follow --interval 100ms > inrush.csv
  ina260-exporter read --json | jq '.sensors[].power_watts'
  ina260-exporter read --simulate           see what it prints without any hardware")]
pub struct ReadFlags {
    #[command(flatten)]
    pub place: PlaceFlags,

    /// Print JSON, for programs
    #[arg(long, conflicts_with = "follow")]
    pub json: bool,

    /// Print CSV, a line for each sensor again and again, until somebody ends it
    #[arg(long)]
    pub follow: bool,

    /// With --follow, the time from one line of a sensor to its next [default: the interval of the configuration]
    #[arg(long, value_name = "DURATION", requires = "follow")]
    pub interval: Option<String>,

    #[command(flatten)]
    pub configured: ConfiguredFlags,
}

#[expect(missing_docs, reason = "see above")]
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  ina260-exporter watch                     the service of this machine
  ina260-exporter watch --url pi4 --url pi5:9000 --price 0.35
                                            two hosts at once, with what their energy costs
  ina260-exporter watch --address 0x41      the sensor at bus 1, address 0x41, where no service measures
  ina260-exporter watch --simulate          see what it shows without any hardware")]
pub struct WatchFlags {
    /// Watch the exporter at this URL; give it again for each further host: http://HOST:PORT/metrics, HOST[:PORT] or
    /// unix:/PATH [default: where the configuration says that this machine's exporter listens]
    #[arg(long, value_name = "URL", conflicts_with_all = ["direct", "simulate", "bus", "address", "mux", "config"])]
    pub url: Vec<String>,

    /// Price of a kilowatt-hour: shows what the energy costs
    #[arg(long, value_parser = price)]
    pub price: Option<f64>,

    /// Measure the configured sensors, where no service does, as the daemon would
    #[arg(long)]
    pub direct: bool,

    #[command(flatten)]
    pub place: PlaceFlags,

    #[command(flatten)]
    pub configured: ConfiguredFlags,
}

impl WatchFlags {
    /// The daemon's flags that mean the same.
    #[must_use]
    pub fn of_the_daemon(&self) -> Flags {
        Flags {
            config: self.configured.config.clone(),
            simulate: self.configured.simulate.clone(),
            ..self.place.of_the_daemon().unwrap_or_default()
        }
    }

    /// Whether sensors are measured, and not an exporter asked.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.direct || self.configured.simulate.is_some() || self.place.of_the_daemon().is_some()
    }
}

fn price(text: &str) -> Result<f64, String> {
    let price = text
        .parse()
        .ok()
        .filter(|price: &f64| price.is_finite() && *price >= 0.0);
    price.ok_or_else(|| "a price is a number from 0 on, like 0.35".to_owned())
}
