//! The tools beside the daemon, as the built binary runs them.

use support::run;

mod support;

#[test]
fn a_tool_has_flags_of_its_own_and_does_not_take_the_daemons() {
    let help = run(&["scan", "--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    assert!(help.stdout.contains("--bus"), "{}", help.stdout);
    for arguments in [&["--port", "8000", "scan"][..], &["scan", "--port", "8000"]] {
        let ended = run(arguments);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
        assert!(ended.stderr.contains("Usage: "), "{}", ended.stderr);
    }
}

#[test]
fn a_scan_of_a_bus_that_does_not_exist_tells_how_to_enable_it() {
    let ended = run(&["scan", "--bus", "200"]);
    assert_eq!(ended.code, Some(69));
    for part in [
        "/dev/i2c-200 does not exist",
        "raspi-config",
        "modprobe i2c-dev",
    ] {
        assert!(ended.stdout.contains(part), "{}", ended.stdout);
    }
}
