//! Which program the tests are about.

/// The one that cargo built; or, where `PROGRAM_UNDER_TEST` names words of a command line with a space between each two, one for
/// another processor behind what emulates that.
pub(crate) fn program() -> Vec<String> {
    let given = std::env::var("PROGRAM_UNDER_TEST");
    let program = given.unwrap_or_else(|_| env!("CARGO_BIN_EXE_ina260-exporter").to_owned());
    program.split(' ').map(str::to_owned).collect()
}
