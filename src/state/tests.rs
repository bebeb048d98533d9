//! Power cuts and failed steps at each point of saving and restoring.

use std::cell::Cell;

use tempfile::TempDir;

use super::*;

const MACHINE: &str = "0123456789abcdef";

fn store(directory: &TempDir) -> Store {
    Store::new(directory.path(), MACHINE)
}

/// A store whose n-th step fails; with `power_cut`, all later steps fail, too. A write that fails
/// leaves half of the file.
fn failing(directory: &TempDir, step: usize, power_cut: bool) -> Store {
    let steps_left = Cell::new(step);
    let before_step = move |path: &Path| {
        let left = steps_left.get();
        if left == 1 || (left == 0 && power_cut) {
            steps_left.set(0);
            if left == 1 && path.ends_with("totals.new") {
                fs::write(path, "{").unwrap();
            }
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        steps_left.set(left.saturating_sub(1));
        Ok(())
    };
    Store { before_step: Box::new(before_step), ..store(directory) }
}

fn names(directory: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn sensors() -> Vec<SavedSensor> {
    let sensor = |mux: &str, address: &str, device: &str, results| {
        let counters = [("results".to_owned(), results), ("resets.foreign".to_owned(), 0)];
        let location = Location::from_labels("1", mux, address).unwrap();
        SavedSensor::new(location, device, counters.into())
    };
    vec![sensor("0x70:3", "0x40", "a checksum b", 7), sensor("", "0x41", "b", u128::MAX)]
}

/// A file of the first release with [`sensors`].
const VERSION_1: &str = "\
ina260-exporter totals, version 1
machine 0123456789abcdef
sensor 1 0x70:3 0x40
name a checksum b
results 7
resets.foreign 0
sensor 1 0x41
name b
results 340282366920938463463374607431768211455
resets.foreign 0
checksum 8c06c9f315a92da5
";

/// A file of this version with the second of [`sensors`].
const VERSION_2: &str = r#"{
  "version": 2,
  "machine": "0123456789abcdef",
  "sensors": [
    {
      "bus": "1",
      "mux": "",
      "address": "0x41",
      "device": "b",
      "counters": {
        "resets.foreign": 0,
        "results": 340282366920938463463374607431768211455
      }
    }
  ]
}
checksum 23263af2c155a973
"#;

#[test]
fn counters_are_restored_once() {
    let directory = tempfile::tempdir().unwrap();
    store(&directory).save(sensors()).unwrap();
    assert_eq!(names(&directory), ["totals"]);
    assert_eq!(store(&directory).load_and_remove().unwrap(), sensors());
    assert_eq!(store(&directory).load_and_remove().unwrap(), []);
    assert!(names(&directory).is_empty());
}

#[test]
fn file_is_readable_json() {
    let directory = tempfile::tempdir().unwrap();
    store(&directory).save(sensors().split_off(1)).unwrap();
    let file = fs::read_to_string(directory.path().join("totals")).unwrap();
    assert_eq!(file, VERSION_2);
}

#[test]
fn file_of_version_1_is_restored() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("totals"), VERSION_1).unwrap();
    assert_eq!(store(&directory).load_and_remove().unwrap(), sensors());
    assert!(names(&directory).is_empty());
}

#[test]
fn broken_and_foreign_files_are_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("totals");
    store(&directory).save(sensors()).unwrap();
    let complete = fs::read_to_string(&path).unwrap();
    Store::new(directory.path(), "another").save(sensors()).unwrap();
    let other_machine = fs::read(&path).unwrap();
    let other_version = complete.replace("\"version\": 2", "\"version\": 3");
    let body = &other_version[..other_version.rfind("checksum ").unwrap()];
    let mut refused: Vec<Vec<u8>> = [complete.as_str(), VERSION_1]
        .iter()
        .flat_map(|file| (0..file.len()).map(|end| file.as_bytes()[..end].to_vec()))
        .collect();
    refused.extend([
        other_machine,
        with_checksum(body).into_bytes(),
        other_version.into_bytes(),
        VERSION_1.replace("name b", "name c").into_bytes(),
        vec![0xFF; 100],
    ]);
    for content in refused {
        fs::write(&path, &content).unwrap();
        let Err(RestoreError::Foreign(aside)) = store(&directory).load_and_remove() else {
            panic!("restored")
        };
        assert_eq!(
            (names(&directory), fs::read(aside).unwrap()),
            (vec!["totals.refused".to_owned()], content)
        );
    }
}

#[test]
fn file_of_another_machine_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    for file in [VERSION_1, VERSION_2] {
        fs::write(directory.path().join("totals"), file).unwrap();
        let outcome = Store::new(directory.path(), "another").load_and_remove();
        assert!(matches!(outcome, Err(RestoreError::Foreign(_))));
    }
}

#[test]
fn unwritable_directory_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let missing = Store::new(&directory.path().join("missing"), "");
    let error = missing.save(sensors()).unwrap_err();
    assert!(matches!(error, SaveError::Lost(_)), "there is no older file: {error}");
    assert!(names(&directory).is_empty());
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::new(&file, "").save(sensors()).unwrap_err();
    assert!(matches!(error, SaveError::Lost(_)), "there cannot be an older file: {error}");
    fs::remove_file(&file).unwrap();
    // A file cannot be renamed to the name of a directory.
    fs::create_dir_all(directory.path().join("totals/x")).unwrap();
    assert!(store(&directory).save(sensors()).is_err());
    // It is out of the way of the next attempt.
    assert_eq!(names(&directory), ["totals.refused"]);
    store(&directory).save(sensors()).unwrap();
    assert_eq!(store(&directory).load_and_remove().unwrap(), sensors());
}

/// What another program may leave at the path of a state file.
const NOT_REGULAR: [fn(&Path); 5] = [
    |path| {
        let status = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(status.success());
    },
    |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
    |path| std::os::unix::fs::symlink("dangling", path).unwrap(),
    |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
    |path| fs::create_dir(path).unwrap(),
];

#[test]
fn state_file_that_is_not_regular_is_set_aside() {
    for create in NOT_REGULAR {
        let directory = tempfile::tempdir().unwrap();
        create(&directory.path().join("totals"));
        let outcome = store(&directory).load_and_remove();
        assert!(matches!(outcome, Err(RestoreError::Foreign(_))), "{outcome:?}");
        store(&directory).save(sensors()).unwrap();
        assert_eq!(store(&directory).load_and_remove().unwrap(), sensors());
    }
}

#[test]
fn save_replaces_files_that_are_not_regular() {
    for create in &NOT_REGULAR[..4] {
        let directory = tempfile::tempdir().unwrap();
        create(&directory.path().join("totals"));
        create(&directory.path().join("totals.new"));
        store(&directory).save(sensors()).unwrap();
        assert_eq!(names(&directory), ["totals"]);
        assert_eq!(store(&directory).load_and_remove().unwrap(), sensors());
    }
}

#[test]
fn state_directory_has_one_user_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = store(&directory).locked().ok().unwrap();
    let Err(in_use) = store(&directory).locked() else { panic!("two users") };
    assert!(in_use.to_string().ends_with(" is in use by another instance"), "{in_use}");
    drop(first);
    assert!(store(&directory).locked().is_ok());
}

#[test]
fn state_directory_that_is_a_fifo_does_not_block() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    NOT_REGULAR[0](&fifo);
    let store = Store::new(&fifo, MACHINE).locked().ok().unwrap();
    assert!(matches!(store.load_and_remove(), Err(RestoreError::Io(_))));
}

#[test]
fn state_file_of_any_length_takes_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    let file = File::create(directory.path().join("totals")).unwrap();
    // A sparse file.
    file.set_len(1 << 40).unwrap();
    let outcome = store(&directory).load_and_remove();
    assert!(matches!(outcome, Err(RestoreError::Foreign(_))), "{outcome:?}");
}

#[test]
fn power_cut_while_saving_leaves_all_or_nothing() {
    for (step, restored) in [(1, vec![]), (2, vec![]), (3, sensors())] {
        let directory = tempfile::tempdir().unwrap();
        assert!(failing(&directory, step, true).save(sensors()).is_err());
        assert_eq!(store(&directory).load_and_remove().unwrap(), restored, "step {step}");
        // A file that is left does not prevent the next save.
        store(&directory).save(sensors()).unwrap();
        assert_eq!(store(&directory).load_and_remove().unwrap(), sensors());
    }
}

#[test]
fn power_cut_while_restoring_uses_nothing() {
    for (step, left) in [(1, sensors()), (2, vec![])] {
        let directory = tempfile::tempdir().unwrap();
        store(&directory).save(sensors()).unwrap();
        assert!(matches!(
            failing(&directory, step, true).load_and_remove(),
            Err(RestoreError::Io(_))
        ));
        assert_eq!(store(&directory).load_and_remove().unwrap(), left, "step {step}");
    }
}

#[test]
fn file_that_cannot_be_removed_is_not_used() {
    for step in [1, 2] {
        let directory = tempfile::tempdir().unwrap();
        store(&directory).save(sensors()).unwrap();
        assert!(matches!(
            failing(&directory, step, false).load_and_remove(),
            Err(RestoreError::Io(_))
        ));
    }
}

#[test]
fn file_on_an_overlay_is_neither_used_nor_touched() {
    let directory = tempfile::tempdir().unwrap();
    store(&directory).save(sensors()).unwrap();
    let store = Store { is_overlay: true, ..store(&directory) };
    assert!(matches!(store.load_and_remove(), Err(RestoreError::Overlay)));
    assert_eq!(names(&directory), ["totals"]);
}

#[test]
fn failed_save_leaves_no_older_file() {
    for step in 1..=3 {
        let directory = tempfile::tempdir().unwrap();
        store(&directory).save(sensors()).unwrap();
        let error = failing(&directory, step, false).save(vec![]).unwrap_err().to_string();
        assert!(error.ends_with("; the next start counts from 0"), "step {step}: {error}");
        assert!(names(&directory).is_empty(), "step {step}");
    }
}

#[test]
fn failed_save_reports_an_older_file_that_stays() {
    let directory = tempfile::tempdir().unwrap();
    store(&directory).save(sensors()).unwrap();
    let error = failing(&directory, 1, true).save(vec![]).unwrap_err().to_string();
    assert!(error.contains("/totals may be left (permission denied): delete it"), "{error}");
}

#[test]
fn removal_has_to_be_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(failing(&directory, 1, false).load_and_remove(), Err(RestoreError::Io(_))));
}

#[test]
fn removal_can_be_retried() {
    let directory = tempfile::tempdir().unwrap();
    store(&directory).save(sensors()).unwrap();
    let store = failing(&directory, 1, false);
    assert!(matches!(store.load_and_remove(), Err(RestoreError::Io(_))));
    assert_eq!(names(&directory), ["totals"]);
    assert!(store.load_and_remove().is_ok());
    assert!(names(&directory).is_empty());
}
