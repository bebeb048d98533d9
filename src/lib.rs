//! Prometheus exporter for INA260 power sensors.
//!
//! The binary is thin; tests and benches use the library. The data flows through
//! `i2c -> ina260 -> sampler -> meter -> exposition -> GET /metrics`.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![cfg_attr(
    test,
    allow(
        clippy::cast_precision_loss,
        clippy::float_cmp,
        clippy::unchecked_time_subtraction,
        reason = "a panic fails the test"
    )
)]

pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod exposition;
pub mod i2c;
pub mod ina260;
pub mod logging;
pub mod meter;
pub mod printable;
pub mod sampler;
pub mod scrape;
pub mod signals;
pub mod simulated;
pub mod state;
pub mod supervisor;
pub mod units;
