//! A Prometheus client for our own scrape: HTTP, the text format, and the sensors that are decoded from it.

mod client;
mod decode;
mod describe;
mod response;
mod text_format;
mod url;

pub use decode::{ScrapedSensor, sensors};
pub use describe::quote;
pub use text_format::{Sample, parse, parse_ours};
pub use url::{Url, reachable};
