//! Prometheus client for this program's own metrics: HTTP, the text format, and the sensors in it.

mod client;
mod decode;
mod error;
mod response;
mod text_format;
mod url;

pub use decode::{Readings, ScrapedAlert, ScrapedChip, ScrapedSensor, decode};
pub use error::Error;
pub use url::{InvalidUrl, Url};
