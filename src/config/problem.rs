//! Problems of a configuration: all of them are collected and reported at once.

use std::fmt::Display;

use super::node::{Node, Origin};
use super::spelling;

/// The problems of a configuration in the order in which they were found: origin, invalid key, and
/// what is expected. Printed one per line.
#[derive(Clone, Debug, Default, PartialEq, thiserror::Error)]
#[error("{}", self.messages().collect::<Vec<_>>().join("\n"))]
pub struct Problems {
    first: Vec<String>,
    /// Number of further problems, whose messages are not kept.
    more: usize,
    /// Whether one is a lack of resources or a disk error: the configuration may be valid.
    pub is_temporary: bool,
}

impl Problems {
    /// A configuration with more problems is wrong as a whole.
    const MAX_MESSAGES: usize = 20;

    pub(super) fn add(&mut self, origin: &Origin, message: impl Display) {
        if self.first.len() < Self::MAX_MESSAGES {
            self.first.push(format!("{origin}: {message}"));
        } else {
            self.more += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Returns the messages about the first problems and, if there are more, their number.
    pub fn messages(&self) -> impl Iterator<Item = String> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        self.first.iter().cloned().chain(more)
    }
}

/// Reason why a value is not accepted.
#[derive(Debug, PartialEq)]
pub(super) enum Invalid {
    /// The whole value.
    Value,
    /// Parts of it: messages that continue after the key's name.
    Parts(Vec<String>),
}

impl Invalid {
    /// Returns messages about `node` that continue after the key's name.
    pub(super) fn messages<T>(
        self,
        node: &Node,
        expected: &str,
        parse: fn(&Node) -> Result<T, Self>,
    ) -> Vec<String> {
        match self {
            Self::Value => {
                vec![spelling::message(node, expected, &|node| parse(node).is_ok())]
            }
            Self::Parts(messages) => messages,
        }
    }
}
