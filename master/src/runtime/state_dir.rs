//! The master's state folder: locked so that no two masters share it, and home of the epoch and the
//! journal. Knows nothing of jobs.
//!
//! | file | content |
//! |---|---|
//! | `lock` | empty; locked as long as a master runs on the folder |
//! | `epoch` | the last epoch as a decimal number and a line end; replaced as a whole |
//! | `join-tokens.json` | which tokens to join with were given out and used |
//! | `journal.redb` | what is recorded of jobs and workers |

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gristmill_common::ids::MasterEpoch;

use crate::failpoint::failpoint;

/// A state folder in the hands of this process.
#[derive(Debug)]
pub struct StateDir {
    folder: PathBuf,
    epoch: MasterEpoch,
    /// Holds the lock until it is dropped.
    _lock: File,
}

/// Why a master cannot use its state folder.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another master runs on it.
    #[error("another master uses the state folder {}", .folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The epoch file holds something else.
    #[error("{} does not hold a master epoch but {found:?}", .file.display())]
    BadEpoch {
        /// The file.
        file: PathBuf,
        /// Its content.
        found: String,
    },
    /// The operating system refuses.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it reports.
        source: io::Error,
    },
}

impl StateDir {
    /// Makes the folder if there is none, locks it and begins the next epoch, which is on disk when
    /// this returns.
    ///
    /// # Errors
    ///
    /// If another master uses the folder, or it cannot be read or written.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let created = failpoint("state.create_folder").and_then(|()| fs::create_dir_all(folder));
        created.map_err(io_error("create the state folder", folder))?;
        let lock_path = folder.join("lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let lock = failpoint("state.lock").and_then(|()| options.open(&lock_path));
        let lock = lock.map_err(io_error("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::InUse { folder: folder.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &lock_path)(source)),
        }
        let epoch = MasterEpoch(last_epoch(folder)?.0 + 1);
        store_epoch(folder, epoch)?;
        Ok(Self { folder: folder.to_owned(), epoch, _lock: lock })
    }

    /// The epoch that began when the folder was opened.
    pub fn epoch(&self) -> MasterEpoch {
        self.epoch
    }

    /// Where files that travel with jobs are.
    pub fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// Where tokens to join with are.
    pub fn join_tokens(&self) -> PathBuf {
        self.folder.join("join-tokens.json")
    }

    /// Where the journal is.
    pub fn journal(&self) -> PathBuf {
        self.folder.join("journal.redb")
    }
}

/// The epoch on disk; 0 before the first one.
fn last_epoch(folder: &Path) -> Result<MasterEpoch, StateError> {
    let file = folder.join("epoch");
    let text = match fs::read(&file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(MasterEpoch(0)),
        Err(source) => return Err(io_error("read", &file)(source)),
    };
    match text.trim_end().parse::<u64>() {
        Ok(number) if number < u64::MAX => Ok(MasterEpoch(number)),
        _ => Err(StateError::BadEpoch { file, found: text.chars().take(40).collect() }),
    }
}

/// Replaces the epoch file so that a crash leaves the old one or the new one.
fn store_epoch(folder: &Path, epoch: MasterEpoch) -> Result<(), StateError> {
    let (next, file) = (folder.join("epoch.next"), folder.join("epoch"));
    let write = || -> io::Result<()> {
        failpoint("epoch.create")?;
        let mut out = File::create(&next)?;
        failpoint("epoch.write")?;
        writeln!(out, "{}", epoch.0)?;
        failpoint("epoch.sync")?;
        out.sync_all()?;
        failpoint("epoch.rename")?;
        fs::rename(&next, &file)?;
        failpoint("epoch.sync_folder")?;
        // Without this the rename may be undone by a crash, and the epoch be used twice.
        File::open(folder)?.sync_all()
    };
    write().map_err(io_error("write", &file))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_opening_begins_the_next_epoch() {
        let dir = tempfile::tempdir().expect("scratch");
        let folder = dir.path().join("deep/state");
        for expect in 1..4 {
            assert_eq!(StateDir::open(&folder).expect("free").epoch(), MasterEpoch(expect));
        }
    }

    #[test]
    fn a_folder_in_use_is_refused_and_its_epoch_stays() {
        let dir = tempfile::tempdir().expect("scratch");
        let first = StateDir::open(dir.path()).expect("free");
        let error = StateDir::open(dir.path()).expect_err("in use").to_string();
        assert_eq!(error, format!("another master uses the state folder {}", dir.path().display()));
        drop(first);
        assert_eq!(StateDir::open(dir.path()).expect("free again").epoch(), MasterEpoch(2));
    }

    #[test]
    fn a_damaged_epoch_is_no_epoch() {
        let dir = tempfile::tempdir().expect("scratch");
        let file = dir.path().join("epoch");
        for found in ["", "x\n", "-1", "18446744073709551615"] {
            fs::write(&file, found).expect("written");
            let error = StateDir::open(dir.path()).expect_err(found).to_string();
            assert_eq!(error, format!("{} does not hold a master epoch but {found:?}", file.display()));
        }
    }
}
