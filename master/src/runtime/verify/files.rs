//! The files of a published output, wherever they are: read from the file system, or from an object store
//! in ranges. Judges nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use futures::stream::TryStreamExt as _;
use gristmill_common::naming::{SUCCESS_FILE, Uri};
use gristmill_common::storage::{ObjectError, OutputStore, Stores};

use super::{Problem, VerifyError};
use crate::runtime::output::MAX_MANIFEST_BYTES;

/// Bytes read at once from a file. Larger reads cost fewer calls, and more of the processor's cache.
const READ_BYTES: usize = 256 << 10;

/// Bytes asked for at once from a store. Larger ranges cost fewer requests, and more memory.
const RANGE_BYTES: u64 = 8 << 20;

/// Where the files are.
#[derive(Debug)]
pub(super) enum Files {
    /// In a folder.
    Folder(PathBuf),
    /// In a store.
    Store(Box<OutputStore>),
}

impl Files {
    /// The files of an output.
    ///
    /// # Errors
    ///
    /// If nothing here reaches it.
    pub(super) fn of(output: &Uri, stores: &Stores) -> Result<Self, VerifyError> {
        if let Some(folder) = output.local_path() {
            return Ok(Files::Folder(folder));
        }
        let store = OutputStore::new(stores.prepare(output)?, output.clone());
        let store = store.ok_or_else(|| VerifyError::NotBuiltIn { output: output.clone() })?;
        Ok(Files::Store(Box::new(store)))
    }

    /// The bytes of the manifest.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be read.
    pub(super) fn manifest(&self, output: &Uri) -> Result<Vec<u8>, VerifyError> {
        let (missing, unfinished) =
            (VerifyError::Missing { output: output.clone() }, VerifyError::Unfinished { output: output.clone() });
        match self {
            Files::Folder(folder) => {
                let path = folder.join(SUCCESS_FILE);
                fs::read(&path).map_err(|source| match source.kind() {
                    io::ErrorKind::NotFound if !folder.exists() => missing,
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => unfinished,
                    _ => VerifyError::Unreadable { path, source },
                })
            }
            Files::Store(store) => {
                let place = store.clone();
                let read = store.wait(async move {
                    let manifest = place.read(SUCCESS_FILE, MAX_MANIFEST_BYTES).await?;
                    let is_there = manifest.is_some() || place.list().try_next().await?.is_some();
                    Ok::<_, ObjectError>((manifest, is_there))
                });
                match read? {
                    (Some((manifest, _)), _) => Ok(manifest.to_vec()),
                    (None, true) => Err(unfinished),
                    (None, false) => Err(missing),
                }
            }
        }
    }

    /// Shows `look` the bytes of a file, in order.
    ///
    /// # Errors
    ///
    /// If it is not there, or cannot be read.
    pub(super) fn read(&self, path: &str, look: &mut dyn FnMut(&[u8])) -> Result<(), Problem> {
        match self {
            Files::Folder(folder) => read_file(&folder.join(path), look),
            Files::Store(store) => read_object(store, path, look),
        }
    }

    /// The names of files and folders in these folders, as paths relative to the output. A folder that is
    /// not there has none, unless it is the output.
    ///
    /// # Errors
    ///
    /// If one cannot be listed.
    pub(super) fn names(&self, folders: &BTreeSet<&str>) -> Result<BTreeSet<String>, VerifyError> {
        match self {
            Files::Folder(folder) => names_in(folder, folders),
            Files::Store(store) => {
                let place = store.clone();
                let listed: Result<Vec<_>, _> = store.wait(async move { place.list().try_collect().await });
                let mut names = BTreeSet::new();
                for (path, _) in listed? {
                    // What a listing by folder would show: each name below a folder that is looked into.
                    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
                    let seen = ends.filter(|end| {
                        let folder = path[..*end].rsplit_once('/').map_or("", |(folder, _)| folder);
                        folders.contains(folder)
                    });
                    names.extend(seen.map(|end| path[..end].to_owned()));
                }
                Ok(names)
            }
        }
    }
}

fn read_file(path: &Path, look: &mut dyn FnMut(&[u8])) -> Result<(), Problem> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Problem::Missing,
        _ => Problem::Unreadable { reason: error.to_string() },
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => look(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
}

fn read_object(store: &OutputStore, path: &str, look: &mut dyn FnMut(&[u8])) -> Result<(), Problem> {
    let unreadable = |error: ObjectError| Problem::Unreadable { reason: crate::runtime::describe(&error) };
    let (place, name) = (store.clone(), path.to_owned());
    let found = store.wait(async move { place.find(&name).await }).map_err(unreadable)?;
    let size = found.ok_or(Problem::Missing)?.size;
    let mut at = 0;
    while at < size {
        let (end, place, name) = (size.min(at + RANGE_BYTES), store.clone(), path.to_owned());
        let range = store.wait(async move { place.read_range(&name, at..end).await }).map_err(unreadable)?;
        look(&range);
        at = end;
    }
    Ok(())
}

fn names_in(output: &Path, folders: &BTreeSet<&str>) -> Result<BTreeSet<String>, VerifyError> {
    let mut names = BTreeSet::new();
    for below in folders {
        let folder = output.join(below);
        let unreadable = |source| VerifyError::Unreadable { path: folder.clone(), source };
        let entries = match fs::read_dir(&folder) {
            // Its parts are missing, which is told of each of them.
            Err(error) if is_missing(&error) && !below.is_empty() => continue,
            entries => entries.map_err(unreadable)?,
        };
        for entry in entries {
            let name = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
            names.insert(if below.is_empty() { name } else { format!("{below}/{name}") });
        }
    }
    Ok(names)
}

/// Whether there is no such folder.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
