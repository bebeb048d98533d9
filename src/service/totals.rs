//! Counts that outlive the process: written at its end, taken at its next start, and never there in between.
//!
//! A counter that goes back to an old value would make Prometheus count everything since then twice; one that goes back to 0 it
//! understands. So a file that was read is unlinked, for good, before anything of it is used: after an unclean end there is none.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::system::is_overlay;

/// The counts of one sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, which tells it from all others.
    pub place: String,
    /// What it was called, for people who read the file.
    pub name: String,
    /// What was counted, by name.
    pub counts: Vec<(String, u128)>,
}

/// Why there is nothing to go on from, though there should be.
#[derive(Debug)]
pub enum Untaken {
    /// The file could not be read, or not be removed for good.
    Io(io::Error),
    /// What a start after a power cut finds may not be what was there before.
    Overlay,
    /// It was written by another machine or another version, or not to its end; it was moved to this path.
    Foreign(PathBuf),
}

impl std::fmt::Display for Untaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Overlay => write!(
                f,
                "the state directory is on an overlay, which may bring old totals back"
            ),
            Self::Foreign(aside) => write!(
                f,
                "not a whole file of this version from this machine; kept as {}",
                aside.display()
            ),
        }
    }
}

impl std::error::Error for Untaken {}

/// The state directory.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
    machine: String,
}

impl Store {
    const FILE: &str = "totals";
    const ASIDE: &str = "totals.refused";
    const HEADER: &str = "ina260-exporter totals, version 1";

    /// The directory that systemd made (systemd.exec(5), `StateDirectory=`). Without one nothing is kept.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let directories = std::env::var("STATE_DIRECTORY").ok()?;
        let directory = directories
            .split(':')
            .next()
            .filter(|first| !first.is_empty())?;
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        Some(Self::new(Path::new(directory), machine.trim()))
    }

    /// A directory on a machine with this machine-id(5).
    #[must_use]
    pub fn new(directory: &Path, machine: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            machine: machine.to_owned(),
        }
    }

    /// Takes what the last clean end left, so that no later start can take it again. No file is no entry.
    ///
    /// # Errors
    /// [`Untaken`]: nothing may be used.
    pub fn take(&self) -> Result<Vec<Entry>, Untaken> {
        let path = self.directory.join(Self::FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Untaken::Io(error)),
        };
        if is_overlay(&self.directory) {
            return Err(Untaken::Overlay);
        }
        let Some(entries) = String::from_utf8(text)
            .ok()
            .and_then(|text| self.parse(&text))
        else {
            let aside = self.directory.join(Self::ASIDE);
            fs::rename(&path, &aside).map_err(Untaken::Io)?;
            return Err(Untaken::Foreign(aside));
        };
        fs::remove_file(&path).map_err(Untaken::Io)?;
        self.sync().map_err(Untaken::Io)?;
        Ok(entries)
    }

    /// Leaves the totals for the next start.
    ///
    /// # Errors
    /// What the file system says; then there is no file, or a whole one.
    pub fn save(&self, entries: &[Entry]) -> io::Result<()> {
        let new = self.directory.join("totals.new");
        let written = File::create(&new)
            .and_then(|mut file| {
                file.write_all(self.text(entries).as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&new, self.directory.join(Self::FILE)))
            .and_then(|()| self.sync());
        written.inspect_err(|_| {
            // Of no use to anybody; where it can't be removed the next attempt writes over it.
            let _ = fs::remove_file(&new);
        })
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn text(&self, entries: &[Entry]) -> String {
        let mut text = format!("{}\nmachine {}\n", Self::HEADER, self.machine);
        for entry in entries {
            let name = entry.name.replace(char::is_control, " ");
            // Writing to a string does not fail.
            let _ = writeln!(text, "sensor {}\nname {name}", entry.place);
            for (count, value) in &entry.counts {
                let _ = writeln!(text, "{count} {value}");
            }
        }
        let checksum = checksum(text.as_bytes());
        text + &format!("checksum {checksum:016x}\n")
    }

    fn parse(&self, text: &str) -> Option<Vec<Entry>> {
        let body = &text[..text.rfind("checksum ")?];
        let mut lines = body.lines();
        let ours = text == format!("{body}checksum {:016x}\n", checksum(body.as_bytes()))
            && lines.next() == Some(Self::HEADER)
            && lines.next() == Some(&format!("machine {}", self.machine));
        let mut entries: Vec<Entry> = Vec::new();
        for line in lines {
            let (key, value) = line.split_once(' ')?;
            match (key, entries.last_mut()) {
                ("sensor", _) => {
                    entries.push(Entry {
                        place: value.to_owned(),
                        name: String::new(),
                        counts: Vec::new(),
                    });
                }
                ("name", Some(entry)) => value.clone_into(&mut entry.name),
                (count, Some(entry)) => entry.counts.push((count.to_owned(), value.parse().ok()?)),
                (_, None) => return None,
            }
        }
        ours.then_some(entries)
    }
}

/// FNV-1a (draft-eastlake-fnv), 64 bits: against files that are not whole, not against people.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn entries() -> Vec<Entry> {
        let entry = |place: &str, name: &str, count| Entry {
            place: place.to_owned(),
            name: name.to_owned(),
            counts: vec![
                ("results".to_owned(), count),
                ("resets.foreign".to_owned(), 0),
            ],
        };
        vec![
            entry("1 0x40", "a checksum b", 7),
            entry("1 0x41", "b", u128::MAX),
        ]
    }

    #[test]
    fn totals_are_taken_once() {
        let scratch = Scratch::new("once");
        scratch.store().save(&entries()).unwrap();
        assert_eq!(scratch.names(), ["totals"]);
        assert_eq!(scratch.store().take().unwrap(), entries());
        assert_eq!(scratch.store().take().unwrap(), []);
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
            let Err(Untaken::Foreign(aside)) = scratch.store().take() else {
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
        assert!(matches!(scratch.store().take(), Err(Untaken::Io(_))));
    }
}
