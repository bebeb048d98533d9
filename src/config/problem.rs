//! Problems of a configuration: all of them are collected and reported at once.

use super::node::Origin;

/// All problems of a configuration; printed one per line.
#[derive(Clone, Debug, Default, PartialEq, thiserror::Error)]
#[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Problems(pub(super) Vec<Problem>);

/// One problem: its origin, the invalid key, and what is expected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{origin}: {message}")]
pub struct Problem {
    origin: Origin,
    message: String,
}

impl Problems {
    pub(super) fn add(&mut self, origin: &Origin, message: impl Into<String>) {
        self.0.push(Problem { origin: origin.clone(), message: message.into() });
    }

    /// Returns the problems in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

/// Reason why a value is not accepted.
#[derive(Debug, PartialEq)]
pub(super) enum Invalid {
    /// The whole value, which is shown like this.
    Value(String),
    /// Parts of it: messages that continue after the key's name.
    Parts(Vec<String>),
}

impl Invalid {
    /// Returns messages that continue after the key's name.
    pub(super) fn messages(self, expected: &str) -> Vec<String> {
        match self {
            Self::Value(shown) => vec![format!(" {shown} is invalid; expected {expected}")],
            Self::Parts(messages) => messages,
        }
    }
}
