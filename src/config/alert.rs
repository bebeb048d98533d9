//! What the chip's comparator watches, as somebody wants it and as the chip can hold it.

use super::effective::Toml;
use super::fields::Fields;
use super::node::{Node, one_line};
use super::quantity::{self, Quantity};
use super::read::Invalid;
use super::section::{Section, Setting};
use crate::ina260::alert::{Alert, Function, OutOfRange, Polarity};
use crate::ina260::calibration::Calibration;

/// An alert before anybody knows the calibration that its limit is seen through.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) function: Function,
    /// In the function's unit.
    pub(super) limit: Quantity,
    pub(super) polarity: Polarity,
}

/// `None`: the comparator is off.
pub(super) fn read(node: &Node) -> Result<Option<Wanted>, Invalid> {
    if node.as_text() == Some("none") {
        return Ok(None);
    }
    let table = node.as_table().ok_or_else(|| {
        node.invalid(
            "is neither \"none\" nor a table like { on = \"over-current\", limit = \"5A\" }",
        )
    })?;
    let mut fields = Fields::new(table);
    let function = fields.take("on", function);
    let limit = fields.take("limit", limit);
    let polarity = fields.take_if_there("polarity", polarity);
    let wanted = function.zip(limit).map(|(function, limit)| {
        let unit = function.unit();
        if limit.unit != unit {
            let on = function.name();
            fields.invalid(format!(
                ".limit {} is in {}, but that of {on} is in {unit} or m{unit}",
                one_line(&limit.toml()),
                limit.unit
            ));
        }
        Wanted {
            function,
            limit,
            polarity: polarity.unwrap_or_default(),
        }
    });
    fields.finish(wanted).map(Some)
}

fn function(node: &Node) -> Result<Function, Invalid> {
    Function::ALL
        .into_iter()
        .find(|function| node.as_text() == Some(function.name()))
        .ok_or_else(|| {
            let names = Function::ALL.map(|function| format!("\"{}\"", function.name()));
            node.invalid(&format!("is none of {}", names.join(", ")))
        })
}

fn limit(node: &Node) -> Result<Quantity, Invalid> {
    node.as_text().and_then(quantity::parse).ok_or_else(|| {
        node.invalid(
            "is not a limit like \"5A\", \"12.6V\" or \"10W\": a number and one of A, mA, V, mV, W, mW, in quotes",
        )
    })
}

fn polarity(node: &Node) -> Result<Polarity, Invalid> {
    Polarity::ALL
        .into_iter()
        .find(|polarity| node.as_text() == Some(polarity.name()))
        .ok_or_else(|| {
            let names = Polarity::ALL.map(|polarity| format!("\"{}\"", polarity.name()));
            node.invalid(&format!("is none of {}", names.join(", ")))
        })
}

/// The alert as the chip can hold it; `None` has been noted.
pub(super) fn fit(
    section: &mut Section<'_>,
    wanted: Setting<Option<Wanted>>,
    calibration: &Calibration,
) -> Option<Setting<Option<Alert>>> {
    let Setting { value, origin } = wanted;
    let Some(wanted) = value else {
        return Some(Setting {
            value: None,
            origin,
        });
    };
    let Wanted {
        function,
        limit,
        polarity,
    } = wanted;
    match Alert::new(function, limit.number, polarity, calibration) {
        Ok(alert) => Some(Setting {
            value: Some(alert),
            origin,
        }),
        Err(OutOfRange { min, max }) => {
            let unit = function.unit();
            let calibrated = if *calibration == Calibration::default() {
                ""
            } else {
                " with this calibration"
            };
            section.problem(
                &origin,
                &format!(
                    "alert.limit {} is outside {}{unit}..={}{unit}, what the chip's register can hold{calibrated}",
                    one_line(&limit.toml()),
                    short(min),
                    short(max),
                ),
            );
            None
        }
    }
}

/// Seven digits: one more than the register has.
fn short(number: f64) -> f64 {
    format!("{number:.6e}").parse().unwrap_or(number)
}
