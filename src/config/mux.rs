//! What a sensor is behind: one channel of a multiplexer.

use super::fields::Fields;
use super::layers::value_of;
use super::node::{Node, Table, Value};
use super::number;
use super::read::Invalid;
use crate::i2c::mux::Channel;

/// `None`: the sensor is on the bus itself.
pub(super) fn read(node: &Node) -> Result<Option<Channel>, Invalid> {
    if node.as_text() == Some("none") {
        return Ok(None);
    }
    let written;
    let table = match &node.value {
        Value::Untyped(text) => {
            written = from_text(text, node).ok_or_else(|| {
                node.invalid(
                    "is neither none nor a channel like 0x70:7 or { address = 0x70, channel = 7 }",
                )
            })?;
            &written
        }
        _ => node.as_table().ok_or_else(|| {
            node.invalid("is neither \"none\" nor a table like { address = 0x70, channel = 7 }")
        })?,
    };
    let mut fields = Fields::new(table);
    let multiplexer = fields.take("address", number::multiplexer);
    let channel = fields.take("channel", number::channel);
    let both = multiplexer.zip(channel);
    fields
        .finish(both.map(|(multiplexer, channel)| Channel {
            multiplexer,
            channel,
        }))
        .map(Some)
}

/// A flag or a variable: as in the file, or both numbers with a colon.
fn from_text(text: &str, node: &Node) -> Option<Table> {
    if text.trim_start().starts_with('{') {
        let value = value_of(text, &node.origin)?;
        let node = Node {
            origin: node.origin.clone(),
            value,
        };
        return node.as_table().cloned();
    }
    let (address, channel) = text.split_once(':')?;
    let field = |key: &str, text: &str| {
        let value = Value::Untyped(text.to_owned());
        let origin = node.origin.clone();
        (key.to_owned(), Node { origin, value })
    };
    Some(Table::from([
        field("address", address),
        field("channel", channel),
    ]))
}
