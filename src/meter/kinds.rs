//! Values of the labels that counters have. `ALL` is in the order of declaration, and so are the
//! counters.

/// Why a sensor could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl Failure {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Nack,
        Self::Timeout,
        Self::Arbitration,
        Self::Io,
        Self::Identity,
        Self::Settings,
        Self::Mux,
    ];

    /// Returns the label value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nack => "nack",
            Self::Timeout => "timeout",
            Self::Arbitration => "arbitration",
            Self::Io => "io",
            Self::Identity => "identity",
            Self::Settings => "settings",
            Self::Mux => "mux",
        }
    }
}

/// Why a chip lost its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// Its supply voltage dipped.
    BrownOut,
    /// Another master wrote to it.
    Foreign,
}

impl Reset {
    /// Every cause.
    pub const ALL: [Self; 2] = [Self::BrownOut, Self::Foreign];

    /// Returns the label value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BrownOut => "brown-out",
            Self::Foreign => "foreign",
        }
    }
}
