//! The local file system as a store. Follows links, opens nothing, and never leaves an entry out silently: what
//! could match and cannot be read is an error.

use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::naming::Uri;
use crate::pinned::modified_micros;
use crate::storage::error::InputError;
use crate::storage::listing::{Entry, Listing};
use crate::storage::pattern::{NamesBelow, Progress};
use crate::storage::stores::StoreError;
use crate::task::InputObject;

/// Entries that are looked at together. More divides better, fewer keep less in memory.
const BATCH: usize = 16_384;

/// The most threads that look, and the least that one of them is begun for.
const MOST_THREADS: usize = 8;
const LEAST_SHARE: usize = 256;

/// Lists `file` URIs.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalListing;

impl Listing for LocalListing {
    fn find(&self, uri: &Uri) -> Result<Entry, InputError> {
        let path = local_path(uri)?;
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if is_missing(&error) => {
                return if is_link(&path) {
                    Err(InputError::Dangling { object: uri.to_string() })
                } else {
                    Ok(Entry::Missing)
                };
            }
            Err(error) => return Err(InputError::io(uri.to_string(), error)),
        };
        if metadata.is_dir() { Ok(Entry::Folder) } else { object(&path, uri.clone(), &metadata).map(Entry::Object) }
    }

    fn list(
        &self,
        folder: &Uri,
        names: &NamesBelow,
        take: &mut dyn FnMut(InputObject) -> Result<(), InputError>,
    ) -> Result<(), InputError> {
        let path = local_path(folder)?;
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                let mut walk = Walk { names, take, above: Vec::new(), found: Vec::new() };
                walk.folder(&path, &metadata, &names.start())?;
                walk.look()
            }
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(InputError::io(folder.to_string(), error)),
        }
    }
}

/// One walk down a folder.
struct Walk<'a> {
    names: &'a NamesBelow,
    take: &'a mut dyn FnMut(InputObject) -> Result<(), InputError>,
    /// Device and inode of the folders that hold the one in hand, to notice links in a circle.
    above: Vec<(u64, u64)>,
    /// What matches and was not looked at yet.
    found: Vec<PathBuf>,
}

impl Walk<'_> {
    fn folder(&mut self, path: &Path, metadata: &Metadata, progress: &Progress) -> Result<(), InputError> {
        let identity = (metadata.dev(), metadata.ino());
        if self.above.contains(&identity) {
            return Err(InputError::LinkLoop { folder: shown(path) });
        }
        self.above.push(identity);
        for entry in fs::read_dir(path).map_err(|error| InputError::io(shown(path), error))? {
            let entry = entry.map_err(|error| InputError::io(shown(path), error))?;
            self.entry(&entry, progress)?;
        }
        self.above.pop();
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, progress: &Progress) -> Result<(), InputError> {
        let progress = self.names.step(progress, &entry.file_name().to_string_lossy());
        if !progress.goes_on() {
            return Ok(());
        }
        let path = entry.path();
        // The kind comes with the name, as a rule; a link may lead to a folder.
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let metadata = metadata_of(&path)?;
            if metadata.is_dir() {
                return self.folder(&path, &metadata, &progress);
            }
        }
        if self.names.is_match(&progress) {
            self.found.push(path);
        }
        if self.found.len() < BATCH { Ok(()) } else { self.look() }
    }

    /// Looks at what was found, and hands it over.
    fn look(&mut self) -> Result<(), InputError> {
        let found = std::mem::take(&mut self.found);
        objects(&found)?.into_iter().try_for_each(&mut self.take)
    }
}

/// The objects at these paths, in order. Many are looked at on all cores: each takes a few calls of the operating
/// system, and of a file system that is far away, its time.
///
/// # Errors
///
/// That of the first in order that is none.
fn objects(paths: &[PathBuf]) -> Result<Vec<InputObject>, InputError> {
    let look = |paths: &[PathBuf]| paths.iter().map(|path| found_object(path)).collect::<Result<Vec<_>, _>>();
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let share = paths.len().div_ceil(threads).max(LEAST_SHARE);
    if share >= paths.len() {
        return look(paths);
    }
    let shares: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = paths.chunks(share).map(|share| scope.spawn(move || look(share))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    Ok(shares.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

fn found_object(path: &Path) -> Result<InputObject, InputError> {
    if path.to_str().is_none() {
        return Err(InputError::NameNotUtf8 { object: shown(path) });
    }
    object(path, Uri::from_path(path), &metadata_of(path)?)
}

/// What something is that has a name, following links.
fn metadata_of(path: &Path) -> Result<Metadata, InputError> {
    fs::metadata(path).map_err(|error| {
        let object = shown(path);
        if is_missing(&error) && is_link(path) {
            InputError::Dangling { object }
        } else {
            InputError::io(object, error)
        }
    })
}

/// The object at `path`, if it is a file that may be read.
fn object(path: &Path, uri: Uri, metadata: &Metadata) -> Result<InputObject, InputError> {
    if !metadata.is_file() {
        return Err(InputError::NotRegular { object: uri.to_string(), kind: kind(metadata) });
    }
    // The mode bits alone do not tell; who asks is who will open it.
    accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS)
        .map_err(|error| InputError::io(uri.to_string(), error.into()))?;
    Ok(InputObject {
        uri,
        size: metadata.len(),
        modified_micros: Some(modified_micros(metadata)),
        etag: None,
        form: None,
    })
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

fn local_path(uri: &Uri) -> Result<PathBuf, InputError> {
    let not_built_in = || StoreError::NotBuiltIn { scheme: uri.scheme().to_owned(), object: uri.to_string() };
    Ok(uri.local_path().ok_or_else(not_built_in)?)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs::File;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::storage::{Stores, list_inputs};

    fn list(folder: &Path, input: &str) -> Result<Vec<String>, InputError> {
        let base = Uri::from_path(folder);
        let input = if input.is_empty() { base } else { base.join(input) };
        let listed = list_inputs(&[input], &Stores::without_environment())?;
        Ok(listed.iter().map(|object| object.uri.base_name().to_owned()).collect())
    }

    #[test]
    fn an_empty_folder_is_an_empty_input_and_an_empty_glob_an_error() {
        let dir = tempfile::tempdir().expect("scratch");
        fs::write(dir.path().join("_SUCCESS"), "").expect("written");
        assert_eq!(list(dir.path(), "").expect("a folder"), [""; 0]);
        assert!(matches!(list(dir.path(), "*"), Err(InputError::NothingMatches { .. })));
        assert!(matches!(list(dir.path(), "_SUCCESS/*"), Err(InputError::NothingMatches { .. })));
        assert!(matches!(list(dir.path(), "_SUCCESS/x"), Err(InputError::NotFound { .. })));
    }

    #[test]
    fn names_that_object_store_leaves_out_are_listed() {
        let dir = tempfile::tempdir().expect("scratch");
        for name in ["data#1", "line\nfeed", "percent%2F", "trailing "] {
            fs::write(dir.path().join(name), "text").expect("written");
        }
        symlink(dir.path().join("data#1"), dir.path().join("link")).expect("linked");
        let expect = ["data#1", "line\nfeed", "link", "percent%2F", "trailing "];
        assert_eq!(list(dir.path(), "").expect("a folder"), expect);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().expect("scratch");
        let check = |name: &str, text: &str| {
            for input in ["", "*", name] {
                let error = list(dir.path(), input).expect_err(text);
                assert_eq!(error.to_string(), text.replace("DIR", &dir.path().display().to_string()), "{input:?}");
            }
            fs::remove_file(dir.path().join(name)).expect("removed");
        };
        symlink("nowhere", dir.path().join("dangling")).expect("linked");
        check("dangling", "input DIR/dangling is a link to something that does not exist");
        let socket = UnixListener::bind(dir.path().join("socket")).expect("bound");
        check("socket", "input DIR/socket is a socket, not a file or folder");
        drop(socket);
        symlink("/dev/null", dir.path().join("null")).expect("linked");
        check("null", "input DIR/null is a device, not a file or folder");
        symlink(".", dir.path().join("circle")).expect("linked");
        let error = list(dir.path(), "").expect_err("a circle");
        assert!(matches!(error, InputError::LinkLoop { .. }), "{error}");
    }

    #[test]
    fn many_files_are_all_found_and_the_first_that_cannot_be_is_named() {
        let dir = tempfile::tempdir().expect("scratch");
        let names: Vec<String> = (0..3000).map(|number| format!("{number:04}")).collect();
        for name in &names {
            fs::write(dir.path().join(name), "").expect("written");
        }
        assert_eq!(list(dir.path(), "").expect("a folder"), names);
        let paths: Vec<PathBuf> = names.iter().map(|name| dir.path().join(name)).collect();
        for gone in [&paths[2000], &paths[1000]] {
            fs::remove_file(gone).expect("removed");
            let error = objects(&paths).expect_err("one is gone").to_string();
            assert_eq!(error, format!("no such input: {}", gone.display()));
        }
    }

    #[test]
    fn a_link_to_a_folder_beside_is_followed() {
        let dir = tempfile::tempdir().expect("scratch");
        fs::create_dir(dir.path().join("real")).expect("created");
        fs::write(dir.path().join("real/a"), "text").expect("written");
        symlink("real", dir.path().join("link")).expect("linked");
        assert_eq!(list(dir.path(), "").expect("a folder"), ["a", "a"]);
    }

    #[test]
    fn names_that_are_not_utf8_stop_only_inputs_that_could_mean_them() {
        let dir = tempfile::tempdir().expect("scratch");
        fs::write(dir.path().join("a.txt"), "text").expect("written");
        fs::write(dir.path().join(OsStr::from_bytes(b"\xff.bin")), "text").expect("written");
        assert_eq!(list(dir.path(), "*.txt").expect("UTF-8"), ["a.txt"]);
        assert!(matches!(list(dir.path(), "*"), Err(InputError::NameNotUtf8 { .. })));
        assert!(matches!(list(dir.path(), ""), Err(InputError::NameNotUtf8 { .. })));
    }

    #[test]
    fn objects_and_folders_without_permission_are_named() {
        let dir = tempfile::tempdir().expect("scratch");
        let (file, folder) = (dir.path().join("a.txt"), dir.path().join("shut"));
        fs::write(&file, "text").expect("written");
        fs::create_dir(&folder).expect("created");
        for path in [&file, &folder] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("set");
            if File::open(path).is_ok() {
                eprintln!("skipped: this user may read everything");
                return;
            }
            let error =
                list_inputs(&[Uri::from_path(path)], &Stores::without_environment()).expect_err("no permission");
            assert_eq!(error.to_string(), format!("permission denied: cannot read {}", path.display()));
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
        }
    }
}
