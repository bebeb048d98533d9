//! The documents against the code: what they name exists, and what exists is named.

mod documents;
mod messages;
mod metrics;
mod project;
mod prometheus;
mod questions;
mod settings;

#[path = "../support/program.rs"]
mod program;
