//! Log messages of a sensor's alert.

use std::time::Instant;

use tracing::{info, warn};

use crate::ina260::alert::Alert;
use crate::sampler::backoff::LogRateLimit;

/// Logs one line when an alert becomes active and one when it is cleared.
pub(super) struct AlertLog {
    /// Separate from that of outages, which a flickering alert must not suppress.
    limit: LogRateLimit,
    /// Whether the activation was logged; only then is the end logged, too.
    logged: bool,
}

impl AlertLog {
    pub(super) fn new(now: Instant) -> Self {
        Self { limit: LogRateLimit::new(now), logged: false }
    }

    /// Logs that the alert became active or was cleared.
    pub(super) fn log(&mut self, name: &str, alert: Alert, active: bool, now: Instant) {
        let logged = std::mem::replace(&mut self.logged, active && self.limit.allow(now));
        let (on, limit, unit) = (alert.function.name(), alert.limit, alert.function.unit());
        if self.logged {
            warn!("{name}: {on} alert active (a conversion crossed the limit of {limit} {unit})");
        } else if logged {
            info!("{name}: {on} alert cleared (within the limit of {limit} {unit} again)");
        }
    }

    /// Logs that the alert was cleared by a new configuration.
    pub(super) fn log_reconfigured(&self, name: &str, alert: Alert) {
        if self.logged {
            let on = alert.function.name();
            info!("{name}: {on} alert cleared (sensor reconfigured)");
        }
    }
}
