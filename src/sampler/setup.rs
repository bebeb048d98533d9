//! What a sampler is told of a sensor.

use crate::i2c::mux::Channel;
use crate::ina260::Ina260;
use crate::ina260::calibration::Calibration;
use crate::meter::SharedMeter;

/// What the sampler has to know of a sensor.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How messages call it: `sensor orin (bus 1, 0x41)`.
    pub name: String,
    /// The multiplexer's channel that it is behind.
    pub channel: Option<Channel>,
    /// Where it is and what it is set to.
    pub chip: Ina260,
    /// Whether the power register is read, too, where a result is so short that a word more on the bus counts.
    pub always_power: bool,
    /// What its results are corrected by.
    pub calibration: Calibration,
    /// Where its numbers go.
    pub meter: SharedMeter,
}

impl Setup {
    /// Whether the other is of a sensor at the same place.
    pub(super) fn is_at_place_of(&self, other: &Self) -> bool {
        (self.channel, self.chip.address) == (other.channel, other.chip.address)
    }
}
