//! One sensor: where it is, how it is set, and what its results mean.

use std::time::Duration;

use super::alert::{self, Wanted as WantedAlert};
use super::duration;
use super::effective::{Line, Toml};
use super::labels;
use super::layers::sensor_defaults;
use super::mux;
use super::node::{Origin, Table};
use super::number;
use super::plan::SensorPlan;
use super::problem::Problems;
use super::read;
use super::section::{Section, Setting};
use crate::i2c::mux::Channel;
use crate::i2c::{Address, Location};
use crate::ina260::alert::Alert;
use crate::ina260::calibration::Calibration;
use crate::ina260::settings::{Averaging, ConversionTime, PartialSettings, Settings, TooShort};
use crate::units::Amperes;

/// A sensor's table before it is read.
pub(super) struct Found {
    /// What stands in front of its keys in messages; empty for the one sensor without a table.
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) table: Table,
}

/// A sensor that was read; `None` is what has a problem.
pub(super) struct Sensor {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) device: Option<Setting<String>>,
    bus: Option<Setting<u8>>,
    address: Option<Setting<Address>>,
    mux: Option<Setting<Option<Channel>>>,
    interval: Option<Setting<Duration>>,
    settings: Option<Settings>,
    configure: Option<Setting<bool>>,
    alert: Option<Setting<Option<Alert>>>,
    calibration: Option<Calibration>,
    labels: Option<Setting<Vec<(String, String)>>>,
    /// For the effective configuration.
    pub(super) lines: Vec<Line>,
}

impl Found {
    /// Whether it stands in a table of its own.
    pub(super) fn has_table(&self) -> bool {
        !self.name.is_empty()
    }

    /// Reads the table; `interval` is the daemon's.
    pub(super) fn read(
        mut self,
        interval: Option<&Setting<Duration>>,
        elsewhere: impl Fn(&str) -> Option<String>,
        problems: &mut Problems,
    ) -> Sensor {
        for (key, value) in sensor_defaults() {
            self.table.entry(key).or_insert(value);
        }
        let device_is_missing = !self.table.contains_key("device");
        let has_interval = self.table.contains_key("interval");
        let mut section = Section::new(self.name.clone(), self.table, problems);
        let device = section.take("device", read::text);
        if device_is_missing {
            section.problem(
                &self.origin,
                "device is missing: every sensor needs its own",
            );
        }
        let bus = section.take("bus", number::bus);
        let address = section.take("address", number::address);
        let mux = section.take("mux", mux::read);
        let own_interval = section.take("interval", read::interval);
        let interval = if has_interval {
            own_interval
        } else {
            interval.cloned()
        };
        let averaging = section.take("averaging", read::averaging);
        let voltage = section.take("voltage_conversion_time", read::conversion_time);
        let current = section.take("current_conversion_time", read::conversion_time);
        let configure = section.take("configure", read::boolean);
        let alert = section.take("alert", alert::read);
        let calibration = calibration(&mut section);
        let labels = section.take("labels", labels::read);
        if configure.as_ref().is_some_and(|configure| !configure.value) {
            refuse_writes(
                &mut section,
                averaging.as_ref(),
                voltage.as_ref(),
                current.as_ref(),
                alert.as_ref(),
            );
        }
        let settings = match (&interval, averaging, voltage, current) {
            (Some(interval), Some(averaging), Some(voltage), Some(current)) => {
                fit(&mut section, interval, &averaging, &voltage, &current)
            }
            _ => None,
        };
        let alert = match (alert, calibration) {
            (Some(alert), Some(calibration)) => alert::fit(&mut section, alert, &calibration),
            _ => None,
        };
        Sensor {
            lines: section.finish(elsewhere),
            name: self.name,
            origin: self.origin,
            device,
            bus,
            address,
            mux,
            interval,
            settings,
            configure,
            alert,
            calibration,
            labels,
        }
    }
}

fn calibration(section: &mut Section<'_>) -> Option<Calibration> {
    let current_gain = section.take("current_gain", number::gain);
    let current_offset = section.take("current_offset", number::offset);
    let voltage_gain = section.take("voltage_gain", number::gain);
    let reverse = section.take("reverse", read::boolean);
    Some(Calibration {
        current_gain: current_gain?.value,
        current_offset: Amperes(current_offset?.value.number),
        voltage_gain: voltage_gain?.value,
        reverse: reverse?.value,
    })
}

/// Of a chip that is only read, nothing can be wanted that would have to be written.
fn refuse_writes(
    section: &mut Section<'_>,
    averaging: Option<&Setting<Option<Averaging>>>,
    voltage: Option<&Setting<Option<ConversionTime>>>,
    current: Option<&Setting<Option<ConversionTime>>>,
    alert: Option<&Setting<Option<WantedAlert>>>,
) {
    fn wanted<T>(setting: Option<&Setting<Option<T>>>) -> Option<&Origin> {
        let setting = setting?;
        setting.value.is_some().then_some(&setting.origin)
    }
    for (key, origin) in [
        ("averaging", wanted(averaging)),
        ("voltage_conversion_time", wanted(voltage)),
        ("current_conversion_time", wanted(current)),
        ("alert", wanted(alert)),
    ] {
        if let Some(origin) = origin {
            section.problem(
                origin,
                &format!(
                    "{key} contradicts configure = false: it would have to be written to the chip"
                ),
            );
        }
    }
}

/// The settings for an interval, or a problem where the last of those who decided about it wrote.
fn fit(
    section: &mut Section<'_>,
    interval: &Setting<Duration>,
    averaging: &Setting<Option<Averaging>>,
    voltage: &Setting<Option<ConversionTime>>,
    current: &Setting<Option<ConversionTime>>,
) -> Option<Settings> {
    let partial = PartialSettings {
        averaging: averaging.value,
        voltage_conversion_time: voltage.value,
        current_conversion_time: current.value,
    };
    let TooShort(shortest) = match Settings::for_interval(interval.value, partial) {
        Ok(settings) => return Some(settings),
        Err(too_short) => too_short,
    };
    let origins = [
        &interval.origin,
        &averaging.origin,
        &voltage.origin,
        &current.origin,
    ];
    let last = origins.into_iter().max_by_key(|origin| origin.rank());
    section.problem(
        last.unwrap_or(&interval.origin),
        &format!(
            "interval {} is shorter than {}, the shortest cycle with averaging = {}, \
             voltage_conversion_time = {}, current_conversion_time = {}",
            interval.value.toml(),
            duration::write(shortest),
            averaging.value.toml(),
            voltage.value.toml(),
            current.value.toml(),
        ),
    );
    None
}

impl Sensor {
    pub(super) fn location(&self) -> Option<Location> {
        Some(Location {
            bus: self.bus.as_ref()?.value,
            mux: self.mux.as_ref()?.value,
            address: self.address.as_ref()?.value,
        })
    }

    /// Nothing, if there was a problem with any of it.
    pub(super) fn plan(self) -> Option<SensorPlan> {
        Some(SensorPlan {
            location: self.location()?,
            device: self.device?.value,
            interval: self.interval?.value,
            settings: self.settings?,
            configure: self.configure?.value,
            alert: self.alert?.value,
            calibration: self.calibration?,
            labels: self.labels?.value,
        })
    }
}
