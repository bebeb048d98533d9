//! A sensor as the sampler needs it; the supervisor creates it from the plan.

use crate::i2c::mux::Channel;
use crate::ina260::Ina260;
use crate::ina260::calibration::Calibration;
use crate::meter::SharedMeter;

/// Configuration of a sensor.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Name in messages: `sensor orin (bus 1, 0x41)`.
    pub name: String,
    /// Mux channel that the chip is downstream of.
    pub channel: Option<Channel>,
    /// Address and settings.
    pub chip: Ina260,
    /// Whether to read the power register at short cycles, too.
    pub always_power: bool,
    /// Correction of the results.
    pub calibration: Calibration,
    /// Receives the results.
    pub meter: SharedMeter,
}
