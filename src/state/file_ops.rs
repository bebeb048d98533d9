//! What is asked of a file system, step by step: what is on the disk after a power cut depends on them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Each step is done when it returns, and on the disk after the next [`FileOps::sync`].
pub(super) trait FileOps {
    fn read(&self, file: &Path) -> io::Result<Vec<u8>>;
    /// Writes a file anew; its content is on the disk then.
    fn write(&self, file: &Path, content: &[u8]) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, file: &Path) -> io::Result<()>;
    /// Puts a directory, which files it has and by which names, on the disk.
    fn sync(&self, directory: &Path) -> io::Result<()>;
    fn is_overlay(&self, directory: &Path) -> bool;
}

/// The kernel's.
pub(super) struct FileSystem;

impl FileOps for FileSystem {
    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        fs::read(file)
    }

    fn write(&self, file: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = File::create(file)?;
        file.write_all(content)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
    }

    fn sync(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn is_overlay(&self, directory: &Path) -> bool {
        // OVERLAYFS_SUPER_MAGIC of statfs(2).
        rustix::fs::statfs(directory).is_ok_and(|fs| fs.f_type == 0x794c_7630)
    }
}
