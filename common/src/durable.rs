//! Making files last: what was written to them is forced to disk, many at a time. Writes nothing itself.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Files forced at the same time. A disk forces what it is asked for at once in one go: eight at a time take
/// a twentieth of what a thousand in turn do. Raised, nothing is gained; lowered, outputs of many files are
/// late.
const AT_ONCE: usize = 8;

/// A file or folder that may not outlast a crash.
#[derive(Debug)]
pub struct NotDurable {
    /// Which one.
    pub path: PathBuf,
    /// What the system reports.
    pub error: io::Error,
}

impl fmt::Display for NotDurable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot force {} to disk: {}", self.path.display(), self.error)
    }
}

/// Forces a file, or the names in a folder, to disk.
///
/// # Errors
///
/// If it cannot be opened, or the system refuses.
pub fn force(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Forces files and folders to disk, in no particular order.
///
/// # Errors
///
/// The first of them, as they are listed, that was found not to be forced; others may not be either.
pub fn force_all(paths: &[PathBuf]) -> Result<(), NotDurable> {
    let next = AtomicUsize::new(0);
    // The first that fails, after which the thread takes no other.
    let force_some = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = force(paths.get(index)?) {
                return Some((index, error));
            }
        }
    };
    let failed = match paths.len() {
        0 | 1 => force_some(),
        many => thread::scope(|scope| {
            let threads: Vec<_> = (0..many.min(AT_ONCE)).map(|_| scope.spawn(force_some)).collect();
            let ended = threads.into_iter().map(|thread| thread.join().expect("forcing a file does not panic"));
            ended.flatten().min_by_key(|(index, _)| *index)
        }),
    };
    failed.map_or(Ok(()), |(index, error)| Err(NotDurable { path: paths[index].clone(), error }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_and_folders_are_forced_and_the_first_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |n: usize| dir.path().join(n.to_string());
        let mut paths: Vec<PathBuf> = (0..100).map(path).collect();
        paths.iter().for_each(|path| fs::write(path, "text").expect("scratch"));
        paths.push(dir.path().to_owned());
        for count in [0, 1, 2, 101] {
            force_all(&paths[..count]).expect("all are there");
        }
        fs::remove_file(path(40)).expect("scratch");
        let lost = force_all(&paths).expect_err("one is gone");
        assert_eq!((lost.path.clone(), lost.error.kind()), (path(40), io::ErrorKind::NotFound));
        assert!(lost.to_string().starts_with(&format!("cannot force {} to disk: ", path(40).display())), "{lost}");
        assert_eq!(force_all(&paths[40..41]).expect_err("gone").path, path(40));
    }
}
