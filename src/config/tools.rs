//! The flags of the tools.

use clap::Args;

// No documentation on the structs: clap would show it as the program's.
#[expect(missing_docs, reason = "see above")]
#[derive(Args, Clone, Debug, Default)]
pub struct ScanFlags {
    /// Look on this bus only, the N of /dev/i2c-N
    #[arg(long, value_name = "N")]
    pub bus: Option<u8>,
}
