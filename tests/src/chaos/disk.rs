//! A disk of a worker's own that can be filled up: a small file system in memory. Making one takes the
//! right to mount.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Bytes of each: many times what a job of a campaign keeps on one worker.
const SIZE: usize = 64 << 20;

/// What takes the room when it is full.
const BALLAST: &str = "ballast";

/// The disk. Goes with everything on it when it is dropped, after the processes that use it.
#[derive(Debug)]
pub(super) struct SmallDisk {
    mounted: tempfile::TempDir,
}

impl SmallDisk {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// If this process may not mount, with what the system says.
    pub(super) fn mount() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), "tmpfs"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run mount: {error}"))?;
        match mount.status.success() {
            true => Ok(Self { mounted: folder }),
            false => Err(String::from_utf8_lossy(&mount.stderr).trim().to_owned()),
        }
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> &Path {
        self.mounted.path()
    }

    /// Leaves no room on it.
    ///
    /// # Panics
    ///
    /// If the ballast cannot be made.
    pub(super) fn fill(&self) {
        let mut ballast = File::create(self.path().join(BALLAST)).expect("a file without content takes no room");
        let block = vec![0; 64 << 10];
        // Ends with the error of a full disk, after at most its size.
        (0..SIZE / block.len()).take_while(|_| ballast.write_all(&block).is_ok()).for_each(drop);
    }

    /// Gives the room back.
    pub(super) fn relieve(&self) {
        // One that is gone already is what is wanted.
        let _ = fs::remove_file(self.path().join(BALLAST));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is still ending does not hold it up. A failure shows as a folder left.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).stdin(Stdio::null()).status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_nothing_until_it_is_relieved() {
        // Where nobody may mount there is nothing to try.
        let Ok(disk) = SmallDisk::mount() else { return };
        let path = disk.path().to_owned();
        let write = || fs::write(path.join("file"), vec![1; 1 << 20]);
        assert!(write().is_ok());
        fs::remove_file(path.join("file")).expect("just written");
        disk.fill();
        assert_eq!(write().map_err(|error| error.kind()), Err(std::io::ErrorKind::StorageFull));
        disk.relieve();
        assert!(write().is_ok());
        drop(disk);
        assert!(!path.exists());
    }
}
