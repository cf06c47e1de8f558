//! Whether a published output is still what its `_SUCCESS` says: every part there, of its size and with
//! its bytes, and nothing that a reader would take for one besides. Changes nothing.

mod files;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::PathBuf;

use gristmill_common::naming::{BAD_DIR, SUCCESS_FILE, Uri, base_name, is_hidden};
use gristmill_common::output_name::OutputName;
use gristmill_common::storage::{ObjectError, StoreError, Stores};
use xxhash_rust::xxh3::Xxh3;

use self::files::Files;
use super::manifest::{Manifest, ManifestBad, ManifestPart};

/// A folder or prefix that ends with a manifest.
#[derive(Debug)]
pub struct FinishedOutput {
    files: Files,
    manifest: Manifest,
}

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// No reader for this scheme.
    #[error("cannot verify {output}: {}:// has no outputs", output.scheme())]
    NotBuiltIn {
        /// The output.
        output: Uri,
    },
    /// There is no such folder.
    #[error("no such output: {output}")]
    Missing {
        /// The output.
        output: Uri,
    },
    /// A folder without a manifest: no job has finished there.
    #[error("{output} is no finished output: it has no {SUCCESS_FILE}")]
    Unfinished {
        /// The output.
        output: Uri,
    },
    /// Something cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system reports.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    NoStore(#[from] StoreError),
    /// The store does not give something.
    #[error(transparent)]
    Store(#[from] ObjectError),
    /// The manifest is damaged, or of a later format.
    #[error("{object} is damaged: {reason}")]
    Manifest {
        /// The file.
        object: Uri,
        /// What is wrong with it.
        reason: String,
    },
}

/// One file that is not what the manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Relative to the output.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It is not there.
    Missing,
    /// It cannot be read.
    Unreadable {
        /// What the system reports.
        reason: String,
    },
    /// It has another size.
    Size {
        /// What the manifest says.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// Its bytes are others.
    Checksum {
        /// What the manifest says.
        expected: String,
        /// What they give.
        found: String,
    },
    /// It has another number of lines.
    Lines {
        /// What the manifest says.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// The manifest does not know it.
    NotListed,
}

impl fmt::Display for Damage {
    /// Such as `part-00003 has 99 bytes, not 100`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.path)?;
        match &self.problem {
            Problem::Missing => f.write_str("is missing"),
            Problem::Unreadable { reason } => write!(f, "cannot be read: {reason}"),
            Problem::Size { expected, found } => write!(f, "has {found} bytes, not {expected}"),
            Problem::Checksum { expected, found } => write!(f, "is damaged: its checksum is {found}, not {expected}"),
            Problem::Lines { expected, found } => write!(f, "has {found} lines, not {expected}"),
            Problem::NotListed => write!(f, "is not listed in {SUCCESS_FILE}"),
        }
    }
}

impl FinishedOutput {
    /// Reads the manifest of an output on the local file system.
    ///
    /// # Errors
    ///
    /// As [`open_in`](Self::open_in).
    pub fn open(output: &Uri) -> Result<Self, VerifyError> {
        if output.local_path().is_none() {
            return Err(VerifyError::NotBuiltIn { output: output.clone() });
        }
        Self::open_in(output, &Stores::without_environment())
    }

    /// Reads the manifest of an output, which may be in one of these stores.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be read or understood.
    pub fn open_in(output: &Uri, stores: &Stores) -> Result<Self, VerifyError> {
        let files = Files::of(output, stores)?;
        let bytes = files.manifest(output)?;
        let damaged = |reason: String| VerifyError::Manifest { object: output.join(SUCCESS_FILE), reason };
        let manifest = Manifest::from_bytes(&bytes).map_err(damaged)?;
        let is_file = |name: &str| !name.is_empty() && !name.contains('/') && !is_hidden(name);
        let is_bad =
            |path: &str| path.strip_prefix(BAD_DIR).and_then(|rest| rest.strip_prefix('/')).is_some_and(is_file);
        let is_part = |path: &str| match path.rsplit_once('/') {
            Some((output, name)) => output.parse::<OutputName>().is_ok() && is_file(name),
            None => is_file(path),
        };
        let strange_part = manifest.parts.iter().map(|part| &part.path).find(|path| !is_part(path));
        let strange_bad = manifest.bad.iter().map(|bad| &bad.path).find(|path| !is_bad(path));
        match strange_part.or(strange_bad) {
            Some(path) => Err(damaged(format!("it lists {path:?}, which is no file of an output"))),
            None => Ok(Self { files, manifest }),
        }
    }

    /// What the output is said to be.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What is wrong with one part, if anything is. Reads all of it.
    pub fn check_part(&self, part: &ManifestPart) -> Option<Damage> {
        let found = self.digest(&part.path, |_| {});
        let problem = match found {
            Err(problem) => problem,
            Ok((bytes, _)) if bytes != part.bytes => Problem::Size { expected: part.bytes, found: bytes },
            Ok((_, checksum)) if checksum != part.checksum => {
                Problem::Checksum { expected: part.checksum.clone(), found: checksum }
            }
            Ok(_) => return None,
        };
        Some(Damage { path: part.path.clone(), problem })
    }

    /// What is wrong with one file of skipped records, if anything is: its size or its number of lines.
    pub fn check_bad(&self, bad: &ManifestBad) -> Option<Damage> {
        let expected = bad.records.saturating_add(bad.objects);
        let mut lines = 0;
        let count = |bytes: &[u8]| lines += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        let problem = match self.digest(&bad.path, count) {
            Err(problem) => problem,
            Ok((bytes, _)) if bytes != bad.bytes => Problem::Size { expected: bad.bytes, found: bytes },
            Ok(_) if lines != expected => Problem::Lines { expected, found: lines },
            Ok(_) => return None,
        };
        Some(Damage { path: bad.path.clone(), problem })
    }

    /// Files and folders that a reader of the output, or of a named one in it, would take for parts, and
    /// that are none.
    ///
    /// # Errors
    ///
    /// If a folder cannot be listed.
    pub fn strangers(&self) -> Result<Vec<Damage>, VerifyError> {
        let mut folders = BTreeSet::from([""]);
        for part in &self.manifest.parts {
            folders.extend(part.path.match_indices('/').map(|(at, _)| &part.path[..at]));
        }
        let listed: BTreeSet<&str> = self.manifest.parts.iter().map(|part| part.path.as_str()).collect();
        let is_stranger = |path: &String| {
            !is_hidden(base_name(path)) && !listed.contains(path.as_str()) && !folders.contains(path.as_str())
        };
        let names = self.files.names(&folders)?;
        let strangers = names.into_iter().filter(is_stranger);
        Ok(strangers.map(|path| Damage { path, problem: Problem::NotListed }).collect())
    }

    /// The size of a file and the checksum of its bytes, which `look` is shown as well.
    fn digest(&self, path: &str, mut look: impl FnMut(&[u8])) -> Result<(u64, String), Problem> {
        let (mut hash, mut bytes) = (Xxh3::new(), 0);
        self.files.read(path, &mut |piece| {
            hash.update(piece);
            look(piece);
            bytes += piece.len() as u64;
        })?;
        Ok((bytes, format!("xxh3:{:016x}", hash.digest())))
    }
}

#[cfg(test)]
mod tests;
