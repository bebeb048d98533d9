//! What was found, as tables that the configuration takes at its end.

use std::fmt::Write as _;
use std::io::Write;

use super::ScanArgs;
use super::{Answer, Report, known, place};
use crate::commands::Failure;
use crate::config::{self, Loaded};
use crate::i2c::Location;

/// Writes a table for each INA260 that is not in the configuration.
///
/// # Errors
/// [`Failure::Configuration`] where the configuration would not pass with the tables at its end: nothing is written then.
pub(super) fn write(
    reports: &[Report],
    flags: &ScanArgs,
    loaded: &Loaded,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let known = known(loaded);
    let mut tables = String::new();
    for report in reports {
        let bus = report.adapter.number;
        for found in &report.found {
            let place = place(bus, found);
            if !matches!(found.answer, Answer::Ina260 { .. }) || known.contains(&place) {
                continue;
            }
            tables.push_str(&table(place, &report.adapter.name, loaded));
        }
    }
    config::load_with(&flags.config.overrides(), config::environment(), &tables)?;
    if tables.is_empty() {
        tables.push_str("# No INA260 answers that is not in the configuration.\n");
    }
    output.write_all(tables.as_bytes())?;
    Ok(output.flush()?)
}

fn table(place: Location, adapter: &str, loaded: &Loaded) -> String {
    let is_taken = |name: &str| {
        let mut sensors = loaded.plan.sensors.iter();
        loaded.with_tables && sensors.any(|sensor| sensor.device == name)
    };
    let mut device = place.device_name();
    while is_taken(&device) {
        device.push('_');
    }
    let adapter: String = adapter.chars().filter(|c| !c.is_control()).collect();
    let comment = if adapter.is_empty() {
        String::new()
    } else {
        format!(" # {adapter}")
    };
    let mut table = format!(
        "\n[[sensor]]\ndevice = \"{device}\"\nbus = {}{comment}\naddress = {}\n",
        place.bus, place.address
    );
    if let Some(channel) = place.mux {
        let (multiplexer, channel) = (channel.multiplexer, channel.channel);
        // Text can always be added to.
        let _ = writeln!(
            table,
            "mux = {{ address = {multiplexer}, channel = {channel} }}"
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;
    use crate::i2c::Address;
    use crate::i2c::mux::Channel;

    #[test]
    fn a_table_names_its_place_and_a_name_that_is_taken_is_not_taken_again() {
        let place = Location {
            bus: 11,
            mux: Some(Channel {
                multiplexer: Address(0x70),
                channel: 3,
            }),
            address: Address(0x41),
        };
        let taken = "[[sensor]]\ndevice = \"i2c-11-0x70-3-0x41\"\n";
        let flags = Overrides {
            config: Some("/dev/null".into()),
            ..Overrides::default()
        };
        let loaded = config::load_with(&flags, [], taken).unwrap();
        let table = table(place, "i2c-1-mux (chan_id 0)", &loaded);
        assert_eq!(
            table,
            "\n[[sensor]]\ndevice = \"i2c-11-0x70-3-0x41_\"\nbus = 11 # i2c-1-mux (chan_id 0)\naddress = 0x41\n\
             mux = { address = 0x70, channel = 3 }\n"
        );
        let both = format!("{taken}{table}");
        let sensors = config::load_with(&flags, [], &both).unwrap().plan.sensors;
        assert_eq!(sensors[1].location, place);
    }
}
