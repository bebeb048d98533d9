//! The kinds of what is counted, by the names of their labels.

/// Why a sensor could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody acknowledged the address.
    Nack,
    /// The bus is stuck.
    Timeout,
    /// Another master won the bus.
    Arbitration,
    /// Any other failed transfer.
    Io,
    /// Something else is at the address.
    Identity,
    /// The settings are not ours, or were not kept.
    Settings,
    /// The multiplexer in front of it does not do as it is told.
    Mux,
}

impl Failure {
    /// What each kind is called, in the order of its counter.
    pub const NAMES: [&str; 7] = [
        "nack",
        "timeout",
        "arbitration",
        "io",
        "identity",
        "settings",
        "mux",
    ];
}

/// Why a sensor lost its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// Its supply dipped.
    BrownOut,
    /// Another master wrote to it.
    Foreign,
}

impl Reset {
    /// What each cause is called, in the order of its counter.
    pub const NAMES: [&str; 2] = ["brown-out", "foreign"];
}

/// A quantity that can leave its register's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Over 419.43 W.
    Power,
    /// At one end of its scale.
    Current,
    /// At the end of its scale.
    Voltage,
}

impl Quantity {
    /// What each quantity is called, in the order of its counter.
    pub const NAMES: [&str; 3] = ["power", "current", "voltage"];
}
