//! Checks the documents against the code: links, commands, messages, metrics, flags and numbers.

mod documents;
mod flags;
mod form;
mod links;
mod messages;
mod metrics;
mod project;
mod prometheus;
mod settings;

#[path = "../support/program.rs"]
mod program;
