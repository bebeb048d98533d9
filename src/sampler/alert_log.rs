//! What the log says of a sensor's alert.

use std::time::Instant;

use tracing::{info, warn};

use super::backoff::LogRateLimit;
use crate::ina260::alert::Alert;

/// One line when an alert begins and one when it ends; of one that flickers only some.
pub(super) struct AlertLog {
    /// A budget of its own: an alert that flickers must not silence an outage.
    chatter: LogRateLimit,
    /// Its beginning was logged, so its end will be.
    told: bool,
}

impl AlertLog {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            chatter: LogRateLimit::new(now),
            told: false,
        }
    }

    /// The alert began or ended.
    pub(super) fn tell(&mut self, name: &str, alert: Alert, active: bool, now: Instant) {
        let told = std::mem::replace(&mut self.told, active && self.chatter.allow(now));
        let (on, unit) = (alert.function.name(), alert.function.unit());
        let limit = alert.limit;
        if self.told {
            warn!("{name}: {on} alert: a conversion was beyond {limit} {unit}");
        } else if told {
            info!("{name}: {on} alert ended: no conversion was beyond {limit} {unit}");
        }
    }

    /// The comparator is set anew, whatever it sees.
    pub(super) fn end(&self, name: &str, alert: Alert) {
        if self.told {
            let on = alert.function.name();
            info!("{name}: {on} alert ended: the sensor has new settings");
        }
    }
}
