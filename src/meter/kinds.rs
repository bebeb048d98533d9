//! Label values of the counters. The arrays in `Meter` are in the order of `ALL`.

use strum::{IntoStaticStr, VariantArray};

/// Reason why a sensor could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Failure {
    /// The address was not acknowledged.
    Nack,
    /// A transfer timed out: the bus is stuck.
    Timeout,
    /// Another master won the arbitration.
    Arbitration,
    /// Any other failed transfer.
    Io,
    /// The chip at the address is not an INA260.
    Identity,
    /// The configuration was not kept, or was changed by another master.
    Settings,
    /// The mux failed, or has another channel selected.
    Mux,
    /// A register was read twice with different contents, or its content is impossible.
    Corrupt,
}

impl Failure {
    /// Every kind.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Returns the label value.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Cause of the loss of a chip's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Reset {
    /// Its supply voltage dipped.
    BrownOut,
    /// Another master wrote to it.
    Foreign,
}

impl Reset {
    /// Every cause.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Returns the label value.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
