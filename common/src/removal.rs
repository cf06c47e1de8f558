//! Removing files and folders for good. What is not there is removed already, and what a file system
//! refuses once it is asked for once more: nobody comes back for what is left of a job.

use std::fs;
use std::io;
use std::path::Path;

/// Removes a file or a link.
///
/// # Errors
///
/// If it is still there after the second try.
pub fn remove_file(path: &Path) -> io::Result<()> {
    once_more(|| absent_is_fine(fs::remove_file(path)))
}

/// Removes a folder with everything in it.
///
/// # Errors
///
/// If some of it is still there after the second try.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    once_more(|| absent_is_fine(fs::remove_dir_all(path)))
}

/// Removes a folder if nothing is in it.
///
/// # Errors
///
/// If something is in it, or it is still there after the second try.
pub fn remove_empty(path: &Path) -> io::Result<()> {
    once_more(|| absent_is_fine(fs::remove_dir(path)))
}

/// Does something again that failed.
///
/// # Errors
///
/// That of the last try.
pub fn once_more<E>(mut attempt: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    attempt().or_else(|_| attempt())
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_removed_already() {
        let dir = tempfile::tempdir().expect("scratch");
        let (folder, file) = (dir.path().join("folder"), dir.path().join("folder/file"));
        for remove in [remove_file, remove_tree, remove_empty] {
            remove(&file).expect("absent");
        }
        fs::create_dir(&folder).expect("scratch");
        fs::write(&file, "text").expect("scratch");
        assert_eq!(remove_empty(&folder).map_err(|error| error.kind()), Err(io::ErrorKind::DirectoryNotEmpty));
        remove_file(&file).expect("a file");
        remove_empty(&folder).expect("an empty folder");
        fs::create_dir_all(folder.join("deep")).expect("scratch");
        remove_tree(&folder).expect("a tree");
        assert!(!folder.exists());
    }

    #[test]
    fn a_second_failure_is_told() {
        let trial = |mut failures: u32| {
            once_more(|| match failures.checked_sub(1) {
                None => Ok(()),
                Some(left) => {
                    failures = left;
                    Err("not this time")
                }
            })
        };
        assert_eq!([0, 1, 2].map(|failures| trial(failures).is_ok()), [true, true, false]);
    }
}
