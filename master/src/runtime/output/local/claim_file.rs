//! The lock file of a claim: one process at a time, free again when that process ends. Knows nothing
//! of what is staged beside it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use gristmill_common::naming::Uri;
use gristmill_common::removal::{remove_empty, remove_file};
use serde::{Deserialize, Serialize};

use super::OutputError;
use crate::failpoint::failpoint;

const CLAIM: &str = "claim";

/// How often a lock file that its holder unlinked meanwhile is created again. Each round means that
/// another claim began and ended just then, so few are enough.
const LOCK_ROUNDS: u32 = 100;

/// The longest record read back.
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// What the lock file says, as JSON, to the next holder and to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClaimRecord {
    /// The job that holds the output.
    pub(super) job: String,
    /// Folders above the output that did not exist before the claim.
    pub(super) created: Vec<PathBuf>,
}

/// A locked lock file.
#[derive(Debug)]
pub(super) struct ClaimFile {
    path: PathBuf,
    file: File,
}

impl ClaimFile {
    /// Creates the staging folder and its lock file where missing, and locks it. Returns also what a
    /// dead process wrote into it.
    pub(super) fn lock(staging: &Path, output: &Uri) -> Result<(Self, Option<ClaimRecord>), OutputError> {
        let path = staging.join(CLAIM);
        for _ in 0..LOCK_ROUNDS {
            create_folder(staging)?;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let opened = failpoint("claim.create_file").and_then(|()| options.open(&path));
            let mut file = match opened {
                Ok(file) => file,
                // The holder removed the folder after we saw it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    // Fails if another claim is in it.
                    let _ = remove_empty(staging);
                    return Err(OutputError::io("create", &path, error));
                }
            };
            failpoint("claim.lock").map_err(|error| OutputError::io("lock", &path, error))?;
            // Without the lock the file cannot be removed again, so it is worth a second try.
            match file.try_lock().or_else(|_| file.try_lock()) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let holder = read(&mut file).map(|record| format!("job {}", record.job));
                    return Err(held(output, holder));
                }
                Err(TryLockError::Error(error)) => return Err(OutputError::io("lock", &path, error)),
            }
            if is_same_file(&file, &path) {
                let previous = read(&mut file);
                return Ok((Self { path, file }, previous));
            }
        }
        Err(held(output, None))
    }

    /// Replaces what the file says. One that dies on the way leaves what it said before, or the new
    /// text with some of the old behind it.
    pub(super) fn write(&mut self, record: &ClaimRecord) -> Result<(), OutputError> {
        let text = serde_json::to_vec(record).expect("paths of URIs are UTF-8 and a Vec takes all bytes");
        failpoint("claim.write")
            .and_then(|()| self.file.rewind())
            .and_then(|()| self.file.write_all(&text))
            .and_then(|()| self.file.set_len(text.len() as u64))
            .and_then(|()| failpoint("claim.written"))
            .map_err(|error| OutputError::io("write", &self.path, error))
    }

    /// Unlinks the file, then gives up the lock.
    pub(super) fn remove(self) -> Result<(), OutputError> {
        let removed = failpoint("claim.remove").and_then(|()| remove_file(&self.path));
        removed.map_err(|error| OutputError::io("remove", &self.path, error))
    }
}

fn create_folder(staging: &Path) -> Result<(), OutputError> {
    match failpoint("claim.create_staging").and_then(|()| fs::create_dir(staging)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A link could lead the clean-up anywhere.
            if fs::symlink_metadata(staging).is_ok_and(|metadata| !metadata.is_dir()) {
                return Err(OutputError::io("use as a folder", staging, error));
            }
            Ok(())
        }
        Err(error) => Err(OutputError::io("create folder", staging, error)),
        Ok(()) => Ok(()),
    }
}

fn held(output: &Uri, holder: Option<String>) -> OutputError {
    let holder = holder.unwrap_or_else(|| "another job".to_owned());
    OutputError::Held { output: output.clone(), holder }
}

fn is_same_file(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => identity(open) == identity(named),
        _ => false,
    }
}

/// What the file says; `None` if its writer died before it had said it.
fn read(file: &mut File) -> Option<ClaimRecord> {
    let mut text = Vec::new();
    file.take(MAX_RECORD_BYTES).read_to_end(&mut text).ok()?;
    serde_json::Deserializer::from_slice(&text).into_iter().next()?.ok()
}
