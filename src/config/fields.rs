//! The keys of a table that is one value, such as `mux` and `alert`.

use super::node::{Node, Table};
use super::read::Invalid;
use super::section::key_as_written;

/// Takes values out of such a table, and notes everything that is wrong with it.
pub(super) struct Fields<'a> {
    table: &'a Table,
    known: Vec<&'static str>,
    refused: Vec<String>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(table: &'a Table) -> Self {
        Self {
            table,
            known: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// The value of a key that must be there; `None` has been noted.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Node) -> Result<T, Invalid>,
    ) -> Option<T> {
        if !self.table.contains_key(key) {
            self.invalid(format!(".{key} is missing"));
        }
        self.take_if_there(key, read)
    }

    /// The value of a key; `None` is a missing key, or one with a problem that has been noted.
    pub(super) fn take_if_there<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Node) -> Result<T, Invalid>,
    ) -> Option<T> {
        self.known.push(key);
        match read(self.table.get(key)?) {
            Ok(value) => Some(value),
            Err(Invalid(sentences)) => {
                let sentences = sentences.into_iter().map(|why| format!(".{key}{why}"));
                self.refused.extend(sentences);
                None
            }
        }
    }

    /// Notes what is wrong: a sentence that continues after the table's name.
    pub(super) fn invalid(&mut self, sentence: String) {
        self.refused.push(sentence);
    }

    /// What the table amounts to, unless something is wrong with it; a key that nobody asked for is.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, Invalid> {
        for key in self.table.keys() {
            if !self.known.contains(&key.as_str()) {
                let (key, known) = (key_as_written(key), self.known.join(", "));
                self.refused
                    .push(format!(".{key} is no key here; keys are {known}"));
            }
        }
        value
            .filter(|_| self.refused.is_empty())
            .ok_or(Invalid(self.refused))
    }
}
