//! One table of keys while it is read. What nobody asked for in the end is an unknown key.

use super::effective::{Line, Toml};
use super::node::{Node, Origin, Table, one_line};
use super::problem::Problems;
use super::read::Invalid;

/// A value that was read, and where it stands.
#[derive(Clone)]
pub(super) struct Setting<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// Takes values out of a table, and notes problems and the lines of the effective configuration.
pub(super) struct Section<'a> {
    /// What stands in front of a key in messages.
    name: String,
    table: Table,
    known: Vec<&'static str>,
    problems: &'a mut Problems,
    lines: Vec<Line>,
}

impl<'a> Section<'a> {
    pub(super) fn new(name: String, table: Table, problems: &'a mut Problems) -> Self {
        Self {
            name,
            table,
            known: Vec::new(),
            problems,
            lines: Vec::new(),
        }
    }

    /// The value of a key; `None` is a missing key, or one with a problem that has been noted.
    pub(super) fn take<T: Toml>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Node) -> Result<T, Invalid>,
    ) -> Option<Setting<T>> {
        self.known.push(key);
        let node = self.table.remove(key)?;
        let origin = node.origin.clone();
        match read(&node) {
            Ok(value) => {
                self.lines.push(Line {
                    key,
                    value: value.toml(),
                    origin: origin.clone(),
                });
                Some(Setting { value, origin })
            }
            Err(Invalid(sentences)) => {
                for sentence in sentences {
                    self.problem(&origin, &format!("{key}{sentence}"));
                }
                None
            }
        }
    }

    /// Keys that are read elsewhere, for the list of what there is.
    pub(super) fn also_known(&mut self, keys: &[&'static str]) {
        self.known.extend(keys);
    }

    /// The keys that were asked for.
    pub(super) fn known(&self) -> &[&'static str] {
        &self.known
    }

    pub(super) fn problem(&mut self, origin: &Origin, sentence: &str) {
        self.problems
            .add(origin, format!("{}{sentence}", self.name));
    }

    /// Whatever is left is unknown here; `elsewhere` says where a key belongs instead, if it is one at all.
    pub(super) fn finish(mut self, elsewhere: impl Fn(&str) -> Option<String>) -> Vec<Line> {
        for (key, node) in std::mem::take(&mut self.table) {
            let why = elsewhere(&key)
                .unwrap_or_else(|| format!("is no key here; keys are {}", self.known.join(", ")));
            self.problem(&node.origin, &format!("{} {why}", key_as_written(&key)));
        }
        self.lines
    }
}

/// A key that needs quotes has them.
pub(super) fn key_as_written(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(is_bare) {
        one_line(key)
    } else {
        format!("\"{}\"", one_line(key))
    }
}
