//! Prometheus client for this program's own metrics: HTTP, the text format, and the sensors in it.
//!
//! The server may be anything. So time, length of the response, length of a line, number of series
//! and number of sensors are bounded, and what is left out is reported.

mod client;
mod decode;
mod response;
mod scrape_error;
mod text_format;
mod url;

pub use client::Body;
pub use decode::{
    LeftOut, MAX_SENSORS, Readings, Scrape, ScrapedAlert, ScrapedChip, ScrapedSensor, decode,
};
pub use scrape_error::Error;
pub use url::{InvalidUrl, Url};
