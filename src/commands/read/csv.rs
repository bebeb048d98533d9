//! Output of `read --follow`: CSV (RFC 4180), a line for each result.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::SystemTime;

use super::Row;
use super::json::unix_seconds;

/// Writes the names of the columns.
pub(super) fn write_head(output: &mut dyn Write) -> io::Result<()> {
    writeln!(
        output,
        "timestamp_seconds,device,bus,mux,address,\
         voltage_volts,current_amperes,power_watts,alert,error"
    )?;
    output.flush()
}

/// Writes a line, and flushes it to the reader of a pipe.
pub(super) fn write_row(row: &Row, output: &mut dyn Write) -> io::Result<()> {
    let location = row.sensor.location;
    let mux = location.mux.map_or(String::new(), |mux| mux.to_string());
    let device = field(&row.sensor.device);
    let sensor = format!("{device},{},{mux},{}", location.bus, location.address);
    match &row.outcome {
        Ok(report) => {
            let alert = report
                .state
                .as_ref()
                .map_or(String::new(), |state| u8::from(state.alert_active).to_string());
            writeln!(
                output,
                "{:.3},{sensor},{},{},{},{alert},",
                unix_seconds(report.at),
                report.measured.voltage.0,
                report.measured.current.0,
                report.measured.power.0
            )
        }
        Err(error) => {
            let now = unix_seconds(SystemTime::now());
            writeln!(output, "{now:.3},{sensor},,,,,{}", field(&error.to_string()))
        }
    }?;
    output.flush()
}

/// Returns a field, quoted if necessary.
pub(in crate::commands) fn field(text: &str) -> Cow<'_, str> {
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
    fn field_with_comma_or_quote_is_quoted() {
        assert_eq!(field("orin"), "orin");
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("12\" fan"), "\"12\"\" fan\"");
    }
}
