//! The scratch folder of an embedded run. A lock beside it tells other runs that its owner lives;
//! what dead ones left is removed by the next run on the same scratch.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use gristmill_common::removal::{remove_empty, remove_file, remove_tree};

/// How often a folder that another run removes at the same moment is made anew.
const RETRIES: usize = 16;

/// A folder that is this run's alone and goes when it is dropped.
///
/// It is `PARENT/gristmill-UID/NAME`, and `NAME.lock` beside it is locked while the run lives.
#[derive(Debug)]
pub(crate) struct Scratch {
    user_dir: PathBuf,
    lock_path: PathBuf,
    path: PathBuf,
    _lock: File,
}

/// Why there is no scratch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScratchError {
    /// The folder cannot be made.
    #[error("cannot use the scratch folder {}", path.display())]
    Io {
        /// The folder or its lock.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder of our name belongs to somebody else.
    #[error("the scratch folder {} belongs to another user", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
}

impl Scratch {
    /// Removes what dead runs left in `parent` and makes a folder for this one; `name` is new.
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub(crate) fn create(parent: &Path, name: &str) -> Result<Self, ScratchError> {
        let user_dir = parent.join(format!("gristmill-{}", rustix::process::geteuid().as_raw()));
        Self::create_in(user_dir.clone(), name).inspect_err(|_| {
            // The lock file may have been made, and nobody holds it.
            sweep(&user_dir);
            // Succeeds if no other run uses it.
            let _in_use = remove_empty(&user_dir);
        })
    }

    fn create_in(user_dir: PathBuf, name: &str) -> Result<Self, ScratchError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ScratchError::Io { path, source }
        };
        let lock_path = user_dir.join(format!("{name}.lock"));
        for _ in 0..RETRIES {
            DirBuilder::new().recursive(true).mode(0o700).create(&user_dir).map_err(failed(&user_dir))?;
            let metadata = fs::symlink_metadata(&user_dir).map_err(failed(&user_dir))?;
            if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
                return Err(ScratchError::NotOurs { path: user_dir });
            }
            sweep(&user_dir);
            match lock_file(&lock_path) {
                Ok(Some(lock)) => {
                    let path = user_dir.join(name);
                    let scratch = Self { user_dir, lock_path, path, _lock: lock };
                    DirBuilder::new().mode(0o700).create(&scratch.path).map_err(failed(&scratch.path))?;
                    return Ok(scratch);
                }
                // Another run took the new lock for a dead one's, or removed the empty folder.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(ScratchError::Io { path: lock_path, source }),
            }
        }
        Err(ScratchError::Io { path: lock_path, source: io::Error::other("other runs keep removing it") })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nobody can be told; the next run on this scratch tries again.
        let _later = remove_tree(&self.path).and_then(|()| remove_file(&self.lock_path));
        // Succeeds for the last run of this user alone.
        let _in_use = remove_empty(&self.user_dir);
    }
}

/// Creates a lock file and locks it; `None` if somebody else did or removed it meanwhile.
///
/// # Errors
///
/// If the file system refuses.
pub(crate) fn lock_file(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    if file.try_lock().is_err() {
        return Ok(None);
    }
    let locked = file.metadata()?;
    let named = fs::metadata(path);
    Ok(named.is_ok_and(|named| (named.dev(), named.ino()) == (locked.dev(), locked.ino())).then_some(file))
}

/// Removes the folders whose locks nobody holds. What cannot be removed stays for the next run.
fn sweep(user_dir: &Path) {
    let Ok(entries) = fs::read_dir(user_dir) else { return };
    for lock_path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if lock_path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let Ok(Some(_held)) = lock_file(&lock_path) else { continue };
        let _later = remove_tree(&lock_path.with_extension("")).and_then(|()| remove_file(&lock_path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(dir) else { return vec![] };
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_run_leaves_nothing_and_removes_what_dead_ones_left() {
        let parent = tempfile::tempdir().expect("scratch");
        let one = Scratch::create(parent.path(), "j-1").expect("made");
        let user_dir = one.user_dir.clone();
        fs::create_dir(user_dir.join("j-dead")).expect("made");
        fs::write(user_dir.join("j-dead").join("m-0.0.out"), b"x").expect("written");
        fs::write(user_dir.join("j-dead.lock"), b"").expect("written");

        let two = Scratch::create(parent.path(), "j-2").expect("made");
        assert_eq!(names(&user_dir), ["j-1", "j-1.lock", "j-2", "j-2.lock"]);
        fs::write(one.path().join("spill"), b"x").expect("written");
        drop(one);
        assert_eq!(names(&user_dir), ["j-2", "j-2.lock"]);
        drop(two);
        assert_eq!(names(parent.path()), [""; 0]);
    }

    #[test]
    fn a_scratch_that_cannot_be_is_named() {
        let parent = tempfile::tempdir().expect("scratch");
        fs::write(parent.path().join("file"), b"").expect("written");
        let error = Scratch::create(&parent.path().join("file"), "j-1").expect_err("a file");
        assert!(error.to_string().contains("/file/gristmill-"), "{error}");
    }
}
