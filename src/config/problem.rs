//! What is wrong with a configuration: everything, in one report.

use std::fmt;

use super::node::Origin;

/// Every problem of a configuration, one a line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Problems(pub(super) Vec<Problem>);

/// One problem: where it stands, and a sentence of what was seen and what is allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    origin: Origin,
    sentence: String,
}

impl Problems {
    pub(super) fn add(&mut self, origin: &Origin, sentence: impl Into<String>) {
        self.0.push(Problem {
            origin: origin.clone(),
            sentence: sentence.into(),
        });
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.sentence)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
