//! Every point at which the power may go, or a step be refused.

use std::cell::Cell;

use super::*;

/// A disk on which the process dies, or is refused a step, at the n-th step that changes anything.
struct Failing {
    steps_left: Cell<usize>,
    /// Everything after the step fails, too: the process is gone.
    dies: bool,
    overlay: bool,
}

impl Failing {
    fn step(&self) -> io::Result<()> {
        let left = self.steps_left.get();
        if left == 1 || (left == 0 && self.dies) {
            self.steps_left.set(0);
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        self.steps_left.set(left.saturating_sub(1));
        Ok(())
    }
}

impl FileOps for Failing {
    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        FileSystem.read(file)
    }

    /// The step before the last leaves half of the file.
    fn write(&self, file: &Path, content: &[u8]) -> io::Result<()> {
        self.step()
            .inspect_err(|_| _ = fs::write(file, &content[..content.len() / 2]))?;
        FileSystem.write(file, content)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        FileSystem.rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        self.step()?;
        FileSystem.remove(file)
    }

    fn sync(&self, directory: &Path) -> io::Result<()> {
        self.step()?;
        FileSystem.sync(directory)
    }

    fn is_overlay(&self, _: &Path) -> bool {
        self.overlay
    }
}

fn failing(scratch: &Scratch, step: usize, dies: bool) -> Store {
    let disk = Failing {
        steps_left: Cell::new(step),
        dies,
        overlay: false,
    };
    Store::on(&scratch.0, "0123456789abcdef", Box::new(disk))
}

/// A directory of its own, gone with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ina260-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn store(&self) -> Store {
        Store::new(&self.0, "0123456789abcdef")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn entries() -> Vec<SavedSensor> {
    let entry = |address: &str, device: &str, count| SavedSensor {
        location: Location::from_labels("1", "", address).unwrap(),
        device: device.to_owned(),
        counters: vec![
            ("results".to_owned(), count),
            ("resets.foreign".to_owned(), 0),
        ],
    };
    vec![
        entry("0x40", "a checksum b", 7),
        entry("0x41", "b", u128::MAX),
    ]
}

#[test]
fn totals_are_taken_once() {
    let scratch = Scratch::new("once");
    scratch.store().save(&entries()).unwrap();
    assert_eq!(scratch.names(), ["totals"]);
    assert_eq!(scratch.store().load_and_remove().unwrap(), entries());
    assert_eq!(scratch.store().load_and_remove().unwrap(), []);
    assert!(scratch.names().is_empty());
}

#[test]
fn a_file_that_is_not_whole_or_not_ours_is_kept_aside() {
    let scratch = Scratch::new("aside");
    let path = scratch.0.join("totals");
    scratch.store().save(&entries()).unwrap();
    let whole = fs::read(&path).unwrap();
    let other_machine = Store::new(&scratch.0, "another").text(&entries());
    let other_version = String::from_utf8(whole.clone())
        .unwrap()
        .replace("version 1", "version 2");
    let mut broken: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
    broken.extend([
        other_machine.into_bytes(),
        other_version.into_bytes(),
        vec![0xFF; 100],
    ]);
    for text in broken {
        fs::write(&path, &text).unwrap();
        let Err(RestoreError::Foreign(aside)) = scratch.store().load_and_remove() else {
            panic!("taken")
        };
        assert_eq!(
            (scratch.names(), fs::read(aside).unwrap()),
            (vec!["totals.refused".to_owned()], text)
        );
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let scratch = Scratch::new("unwritable");
    let gone = Store::new(&scratch.0.join("gone"), "");
    assert!(gone.save(&entries()).is_err());
    assert!(scratch.names().is_empty());
    // A directory in the place of the file can't be renamed over.
    fs::create_dir_all(scratch.0.join("totals/x")).unwrap();
    assert!(scratch.store().save(&entries()).is_err());
    assert_eq!(scratch.names(), ["totals"]);
    assert!(matches!(
        scratch.store().load_and_remove(),
        Err(RestoreError::Io(_))
    ));
}

#[test]
fn a_process_that_dies_while_it_saves_leaves_all_or_nothing() {
    for (step, left) in [(1, vec![]), (2, vec![]), (3, entries())] {
        let scratch = Scratch::new(&format!("save-{step}"));
        assert!(failing(&scratch, step, true).save(&entries()).is_err());
        assert_eq!(
            scratch.store().load_and_remove().unwrap(),
            left,
            "step {step}"
        );
        // What it left behind is in nobody's way.
        scratch.store().save(&entries()).unwrap();
        assert_eq!(scratch.store().load_and_remove().unwrap(), entries());
    }
}

#[test]
fn a_process_that_dies_while_it_takes_has_used_nothing() {
    for (step, left) in [(1, entries()), (2, vec![])] {
        let scratch = Scratch::new(&format!("take-{step}"));
        scratch.store().save(&entries()).unwrap();
        assert!(matches!(
            failing(&scratch, step, true).load_and_remove(),
            Err(RestoreError::Io(_))
        ));
        assert_eq!(
            scratch.store().load_and_remove().unwrap(),
            left,
            "step {step}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_removed_for_good_is_not_used() {
    for step in [1, 2] {
        let scratch = Scratch::new(&format!("refused-{step}"));
        scratch.store().save(&entries()).unwrap();
        assert!(matches!(
            failing(&scratch, step, false).load_and_remove(),
            Err(RestoreError::Io(_))
        ));
    }
}

#[test]
fn a_file_on_an_overlay_is_not_used_and_not_touched() {
    let scratch = Scratch::new("overlay");
    scratch.store().save(&entries()).unwrap();
    let disk = Failing {
        steps_left: Cell::new(0),
        dies: false,
        overlay: true,
    };
    let store = Store::on(&scratch.0, "0123456789abcdef", Box::new(disk));
    assert!(matches!(
        store.load_and_remove(),
        Err(RestoreError::Overlay)
    ));
    assert_eq!(scratch.names(), ["totals"]);
}

#[test]
fn totals_that_cannot_be_saved_leave_no_older_ones() {
    for step in 1..=3 {
        let scratch = Scratch::new(&format!("older-{step}"));
        scratch.store().save(&entries()).unwrap();
        let error = failing(&scratch, step, false).save(&[]).unwrap_err();
        assert!(
            error.ends_with("; the next start counts from 0"),
            "step {step}: {error}"
        );
        assert!(scratch.names().is_empty(), "step {step}");
    }
}

#[test]
fn older_totals_that_stay_are_part_of_the_error() {
    let scratch = Scratch::new("stay");
    scratch.store().save(&entries()).unwrap();
    let error = failing(&scratch, 1, true).save(&[]).unwrap_err();
    assert!(
        error.contains("/totals may be left (permission denied): delete it"),
        "{error}"
    );
}

#[test]
fn a_file_is_not_gone_before_that_is_on_the_disk() {
    let scratch = Scratch::new("gone");
    assert!(matches!(
        failing(&scratch, 1, false).load_and_remove(),
        Err(RestoreError::Io(_))
    ));
}

#[test]
fn a_file_that_a_start_could_not_remove_is_removed_while_it_runs() {
    let scratch = Scratch::new("later");
    scratch.store().save(&entries()).unwrap();
    let store = failing(&scratch, 1, false);
    assert!(matches!(store.load_and_remove(), Err(RestoreError::Io(_))));
    assert_eq!(scratch.names(), ["totals"]);
    assert!(store.load_and_remove().is_ok());
    assert!(scratch.names().is_empty());
}
