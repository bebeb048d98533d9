//! Results one after the other, as lines of CSV (RFC 4180).

use std::borrow::Cow;
use std::io::{self, Write};

use super::Visit;
use super::json::unix_seconds;

/// Writes the names of the columns.
pub(super) fn head(output: &mut dyn Write) -> io::Result<()> {
    writeln!(
        output,
        "timestamp_seconds,device,bus,mux,address,voltage_volts,current_amperes,power_watts,alert,error"
    )?;
    output.flush()
}

/// Writes a line, and sees to it that who reads it has it now.
pub(super) fn line(visit: &Visit, output: &mut dyn Write) -> io::Result<()> {
    let sensor = visit.sensor;
    let channel = sensor
        .location
        .mux
        .map_or(String::new(), |channel| channel.to_string());
    let device = field(&sensor.device);
    let place = format!(
        "{device},{},{channel},{}",
        sensor.location.bus, sensor.location.address
    );
    match &visit.outcome {
        Ok(seen) => {
            let alert = seen.state.as_ref().map_or(String::new(), |state| {
                u8::from(state.alert_active).to_string()
            });
            writeln!(
                output,
                "{:.3},{place},{},{},{},{alert},",
                unix_seconds(seen.at),
                seen.measured.voltage.0,
                seen.measured.current.0,
                seen.measured.power.0
            )
        }
        Err(why) => {
            let now = unix_seconds(std::time::SystemTime::now());
            writeln!(output, "{now:.3},{place},,,,,{}", field(why))
        }
    }?;
    output.flush()
}

/// In quotes where it has to be.
fn field(text: &str) -> Cow<'_, str> {
    if text.contains(['"', ',', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_with_a_comma_or_a_quote_stands_in_quotes() {
        assert_eq!(field("orin"), "orin");
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("12\" fan"), "\"12\"\" fan\"");
    }
}
