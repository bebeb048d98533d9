//! The sensors of the plan as the exposition sees them.

use super::Supervisor;
use crate::config::SensorPlan;
use crate::exposition::{AlertView, View};
use crate::i2c::Location;

impl Supervisor {
    /// Returns a view of each sensor.
    pub fn views(&self) -> Vec<View> {
        self.sensors()
            .map(|(sensor, meter)| View {
                labels: self.labels(sensor),
                info: self.info(sensor),
                script: self.plan.script_metrics,
                alert: sensor.alert.map(|alert| AlertView {
                    on: alert.function.name(),
                    unit: alert.function.unit(),
                    limit: alert.limit,
                }),
                meter: meter.clone(),
            })
            .collect()
    }

    fn labels(&self, sensor: &SensorPlan) -> Vec<(String, String)> {
        let own = [("hostname", &self.plan.hostname), ("device", &sensor.device)];
        // Without a value, the label is left out; Prometheus can add it by relabelling.
        let own = own.into_iter().filter(|(_, value)| !value.is_empty());
        let own = own.map(|(name, value)| (name.to_owned(), value.clone()));
        own.chain(sensor.labels.iter().cloned()).collect()
    }

    fn info(&self, sensor: &SensorPlan) -> Vec<(String, String)> {
        let Location { bus, mux, address } = sensor.location;
        let is_real = !self.provider.is_simulated();
        let bus = if is_real { bus.to_string() } else { "simulated".to_owned() };
        let own = [("bus", bus), ("address", address.to_string())];
        let mux = mux.map(|channel| ("mux", channel.to_string()));
        own.into_iter().chain(mux).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
