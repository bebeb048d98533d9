//! The program under test.

/// Returns the program that cargo built, or the words of `PROGRAM_UNDER_TEST`: the program of
/// another architecture after its emulator, separated by spaces.
pub(crate) fn program() -> Vec<String> {
    let given = std::env::var("PROGRAM_UNDER_TEST");
    let program = given.unwrap_or_else(|_| env!("CARGO_BIN_EXE_ina260-exporter").to_owned());
    program.split(' ').map(str::to_owned).collect()
}
