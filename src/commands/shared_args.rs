//! Arguments that several subcommands share; those of one subcommand are in its `mod.rs`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Failure;
use crate::config::{self, Overrides, Plan};
use crate::printable::escape;
use crate::simulated::Faults;

// No doc comments on the structs: clap would print them as the program's.
#[derive(Args, Clone, Debug, Default)]
pub struct LocationArgs {
    /// Only the sensor on this bus (the N in /dev/i2c-N, a path, or name:NAME), instead of the
    /// configured ones [default: 1]
    #[arg(long)]
    pub bus: Option<String>,

    /// Only the sensor at this address, 0x40 to 0x4f, instead of the configured ones
    /// [default: 0x40]
    #[arg(long)]
    pub address: Option<String>,

    /// Only the sensor downstream of this TCA9548A (0x70 to 0x77) and channel (0 to 7), e.g.
    /// 0x70:3; selects the channel
    #[arg(long, value_name = "ADDRESS:CHANNEL")]
    pub mux: Option<String>,
}

impl LocationArgs {
    /// Returns whether a location was named.
    pub fn is_named(&self) -> bool {
        self.bus.is_some() || self.address.is_some() || self.mux.is_some()
    }

    /// Adds the location to the other overrides.
    pub fn add_to(&self, overrides: Overrides) -> Overrides {
        overrides
            .with("bus", self.bus.as_deref())
            .with("address", self.address.as_deref())
            .with("mux", self.mux.as_deref())
    }
}

#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// Configuration file [default: /etc/ina260-exporter.toml, if present]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Use simulated buses with the configured sensors, optionally with faults, e.g.
    /// --simulate=no-answer@30+20
    #[arg(long, value_name = "FAULTS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "")]
    pub simulate: Option<Faults>,
}

impl ConfigArgs {
    /// Returns these arguments as overrides.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            config: self.config.clone(),
            simulate: self.simulate.clone(),
            ..Overrides::default()
        }
    }
}

/// Parses a duration above 0, of at most an hour.
pub(super) fn up_to_an_hour(text: &str) -> Result<Duration, &'static str> {
    let hour = Duration::from_secs(3600);
    let duration = config::parse_duration(text).filter(|time| !time.is_zero() && *time <= hour);
    duration.ok_or("expected a duration above 0, at most 1h, such as 500ms or 10s")
}

/// Returns the plan with the configured sensors, or with those of these names.
pub(super) fn sensors(args: &ConfigArgs, devices: &[String]) -> Result<Plan, Failure> {
    let mut plan = config::load(&args.overrides(), config::environment())?.plan;
    let known: Vec<&str> = plan.sensors.iter().map(|sensor| sensor.device.as_str()).collect();
    if let Some(unknown) = devices.iter().find(|device| !known.contains(&device.as_str())) {
        let (unknown, known) = (escape(unknown), known.join(", "));
        let message = format!("--device {unknown} is not configured; expected one of {known}");
        return Err(Failure::Usage(message));
    }
    plan.sensors.retain(|sensor| devices.is_empty() || devices.contains(&sensor.device));
    Ok(plan)
}
