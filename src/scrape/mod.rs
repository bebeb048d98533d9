//! Prometheus client for this program's own metrics: HTTP, the text format, and the sensors in it.

mod client;
mod decode;
mod response;
mod scrape_error;
mod text_format;
mod url;

pub use decode::{Readings, ScrapedAlert, ScrapedChip, ScrapedSensor, decode};
pub use scrape_error::Error;
pub use url::{InvalidUrl, Url};
