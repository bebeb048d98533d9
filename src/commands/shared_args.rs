//! Arguments that several subcommands share; those of one subcommand are in its `mod.rs`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Failure;
use crate::config::{self, Overrides, Plan, SensorPlan};
use crate::i2c::adapters::Adapters;
use crate::printable::escape;
use crate::simulated::Faults;
use crate::supervisor::BusProvider;

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

/// Returns the plan with the configured sensors; if a location is named, with the one there: the
/// configured one, or one with default settings.
pub(super) fn plan(location: Option<&LocationArgs>, args: &ConfigArgs) -> Result<Plan, Failure> {
    let mut plan = config::load(&args.overrides(), config::environment())?.plan;
    if let Some(LocationArgs { bus, address, mux }) = location {
        let overrides = Overrides::default()
            .with("bus", bus.as_deref())
            .with("address", address.as_deref())
            .with("mux", mux.as_deref());
        let given = config::load_alone(&overrides)?.plan.sensors.remove(0);
        let adapters = BusProvider::new(plan.simulate.as_ref()).adapters();
        plan.sensors = vec![configured(&plan.sensors, given, &adapters)];
    }
    Ok(plan)
}

/// Returns the configured sensor at a location, however its bus is named, or names the given one.
fn configured(known: &[SensorPlan], given: SensorPlan, adapters: &Adapters) -> SensorPlan {
    let location = adapters.numbered(given.location);
    let known = known.iter().find(|it| adapters.numbered(it.location) == location).cloned();
    known.unwrap_or_else(|| SensorPlan { device: given.location.device_name(), ..given })
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
    pub fn overrides(&self) -> Overrides {
        Overrides {
            config: self.config.clone(),
            simulate: self.simulate.clone(),
            ..Overrides::default()
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i2c::adapters::tests::Machine;

    #[test]
    fn configured_sensor_is_found_by_any_name_of_its_bus() {
        let machine = Machine::new(&[(1, "bcm2835"), (7, "MCP2221 usb-i2c bridge")]);
        for minor in [1, 7] {
            machine.add_node(&format!("i2c-{minor}"), minor);
        }
        let adapters = machine.adapters();
        let plan = |bus: &str, address: &str, device| {
            let overrides = Overrides::default().with("bus", Some(bus));
            let overrides = overrides.with("address", Some(address)).with("device", device);
            config::load_alone(&overrides).unwrap().plan.sensors.remove(0)
        };
        let file = [plan("1", "0x40", Some("cpu")), plan("name:MCP2221", "0x40", Some("usb"))];
        for (bus, address, device) in [
            ("7", "0x40", "usb"),
            ("name:MCP", "0x40", "usb"),
            ("1", "0x40", "cpu"),
            ("name:bcm", "0x40", "cpu"),
            ("7", "0x41", "i2c-7-0x41"),
            ("8", "0x40", "i2c-8-0x40"),
        ] {
            let found = configured(&file, plan(bus, address, None), &adapters);
            assert_eq!(found.device, device, "{bus}");
        }
    }
}
