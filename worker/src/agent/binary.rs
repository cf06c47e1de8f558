//! The binary that this process runs: what workers and masters compare, and what executors are
//! started from.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use gristmill_common::ids::ContentId;
use gristmill_common::storage::content_of;

/// The binary that this process runs: a job is submitted with it, and workers run it.
///
/// # Errors
///
/// If the binary cannot be read.
pub fn own_binary() -> io::Result<ContentId> {
    Ok(Binary::open(&std::env::current_exe()?)?.id)
}

/// A binary, held open so that it stays what was hashed when its file is replaced.
#[derive(Debug)]
pub(super) struct Binary {
    path: PathBuf,
    file: File,
    pub(super) id: ContentId,
}

impl Binary {
    /// Opens and hashes a binary.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let (id, _) = content_of(&file)?;
        Ok(Self { path: path.to_owned(), file, id })
    }

    /// What to execute: the path while it still leads to the open file, because people know it, and
    /// the open file itself after that.
    pub(super) fn program(&self) -> PathBuf {
        let same = || -> io::Result<bool> {
            let (open, there) = (self.file.metadata()?, fs::metadata(&self.path)?);
            Ok((open.dev(), open.ino()) == (there.dev(), there.ino()))
        };
        match same() {
            Ok(true) => self.path.clone(),
            Ok(false) | Err(_) => PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd())),
        }
    }
}

/// Names this machine as processes see it: two processes with equal names see the same files under
/// the same paths.
pub(super) fn machine_name() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let mounts = fs::read_link("/proc/self/ns/mnt");
    match (boot, mounts) {
        // Containers on one machine share the boot but not the mounts.
        (Ok(boot), Ok(mounts)) => format!("{}/{}", boot.trim(), mounts.display()),
        // A name that no other process has: nothing is then read but through the network.
        (Err(_), _) | (_, Err(_)) => format!("process-{}-{:016x}", std::process::id(), crate::random::random()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_is_known_by_its_content() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("program");
        fs::write(&path, "abc").expect("a file");
        let binary = Binary::open(&path).expect("readable");
        assert_eq!(binary.id.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(binary.program(), path);
        fs::write(dir.path().join("next"), "abd").expect("a file");
        fs::rename(dir.path().join("next"), &path).expect("replaced");
        assert_eq!(fs::read_to_string(binary.program()).expect("still open"), "abc");
    }

    #[test]
    fn a_machine_keeps_its_name() {
        assert_eq!(machine_name(), machine_name());
    }
}
