//! Readers of numbers, each with its range.

use std::ops::RangeInclusive;

use super::node::{Node, Value};
use super::quantity::{self, Quantity};
use super::read::{Invalid, every, integer, list};
use crate::i2c::Address;

pub(super) fn bus(node: &Node) -> Result<u8, Invalid> {
    whole_number(node, 0..=255)
}

/// Of a multiplexer.
pub(super) fn channel(node: &Node) -> Result<u8, Invalid> {
    whole_number(node, 0..=7)
}

fn whole_number(node: &Node, range: RangeInclusive<u8>) -> Result<u8, Invalid> {
    let number = node
        .as_integer()
        .ok_or_else(|| node.invalid(&format!("is not a whole number in {range:?}")))?;
    u8::try_from(number)
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| node.invalid(&format!("is outside {range:?}")))
}

/// Of an INA260: pins A0 and A1.
pub(super) fn address(node: &Node) -> Result<Address, Invalid> {
    address_in(node, Address(0x40)..=Address(0x4f))
}

/// Of a TCA9548A: pins A0 to A2.
pub(super) fn multiplexer(node: &Node) -> Result<Address, Invalid> {
    address_in(node, Address(0x70)..=Address(0x77))
}

fn address_in(node: &Node, range: RangeInclusive<Address>) -> Result<Address, Invalid> {
    let allowed = format!("{}..={}", range.start(), range.end());
    let number = node
        .as_integer()
        .or_else(|| node.as_text().and_then(integer))
        .ok_or_else(|| node.invalid(&format!("is not a number in {allowed}")))?;
    match u8::try_from(number).map(Address) {
        Ok(address) if range.contains(&address) => Ok(address),
        Ok(address) => Err(Invalid(vec![format!(" {address} is outside {allowed}")])),
        Err(_) => Err(node.invalid(&format!("is outside {allowed}"))),
    }
}

/// A number that is not endless; whole ones need no point.
fn number(node: &Node) -> Option<f64> {
    let number = match &node.value {
        Value::Float(number) => *number,
        #[expect(
            clippy::cast_precision_loss,
            reason = "nobody measures to the 16th digit"
        )]
        Value::Integer(number) => *number as f64,
        Value::Untyped(text) => text.parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// A factor; with 0 nothing would be left of what is measured.
pub(super) fn gain(node: &Node) -> Result<f64, Invalid> {
    number(node)
        .filter(|gain| *gain > 0.0 && *gain <= 1000.0)
        .ok_or_else(|| node.invalid("is not a number above 0 and up to 1000"))
}

pub(super) fn offset(node: &Node) -> Result<Quantity, Invalid> {
    match node.as_text().and_then(quantity::parse) {
        Some(offset) if offset.unit == "A" && offset.number.abs() <= 1000.0 => Ok(offset),
        Some(offset) if offset.unit == "A" => Err(node.invalid("is outside -1000A..=1000A")),
        _ => Err(node.invalid("is not a current like \"-3.5mA\": a number and A or mA, in quotes")),
    }
}

/// Upper bounds of a histogram.
pub(super) fn buckets(node: &Node) -> Result<Vec<f64>, Invalid> {
    const MOST: usize = 50;
    let items =
        list(node).ok_or_else(|| node.invalid("is not a list of watts like [0.1, 1, 10, 100]"))?;
    if !(1..=MOST).contains(&items.len()) {
        let seen = items.len();
        return Err(Invalid(vec![format!(
            " has {seen} bounds; a histogram has 1 to {MOST}"
        )]));
    }
    let before = std::iter::once(None).chain(items.iter().map(Some));
    every(
        items
            .iter()
            .zip(before)
            .enumerate()
            .map(|(index, (item, before))| {
                let refused = |why: &str| Invalid(vec![format!("[{}] {item} {why}", index + 1)]);
                let bound = number(item)
                    .filter(|bound| *bound > 0.0)
                    .ok_or_else(|| refused("is not a finite number of watts above 0"))?;
                match before {
                    Some(before) if number(before).is_some_and(|before| before >= bound) => Err(
                        refused(&format!("is not above {before}, the bound before it")),
                    ),
                    _ => Ok(bound),
                }
            }),
    )
}
