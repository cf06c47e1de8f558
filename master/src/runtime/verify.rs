//! Whether a published output is still what its `_SUCCESS` says: every part there, of its size and with
//! its bytes, and nothing that a reader would take for one besides. Changes nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use gristmill_common::naming::{BAD_DIR, SUCCESS_FILE, Uri, is_hidden};
use gristmill_common::output_name::OutputName;
use xxhash_rust::xxh3::Xxh3;

use super::manifest::{Manifest, ManifestBad, ManifestPart};

/// Bytes read at once. Larger reads cost fewer calls, and more of the processor's cache.
const READ_BYTES: usize = 256 << 10;

/// A folder that ends with a manifest.
#[derive(Debug)]
pub struct FinishedOutput {
    folder: PathBuf,
    manifest: Manifest,
}

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// No reader for this scheme.
    #[error("cannot read {output}: reading {}:// is not built in yet", output.scheme())]
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
    /// The manifest is damaged, or of a later format.
    #[error("{} is damaged: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
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
    /// Reads the manifest.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be understood.
    pub fn open(output: &Uri) -> Result<Self, VerifyError> {
        let folder = output.local_path().ok_or_else(|| VerifyError::NotBuiltIn { output: output.clone() })?;
        let path = folder.join(SUCCESS_FILE);
        let bytes = fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound if !folder.exists() => VerifyError::Missing { output: output.clone() },
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                VerifyError::Unfinished { output: output.clone() }
            }
            _ => VerifyError::Unreadable { path: path.clone(), source },
        })?;
        let damaged = |reason: String| VerifyError::Manifest { path: path.clone(), reason };
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
            None => Ok(Self { folder, manifest }),
        }
    }

    /// What the output is said to be.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What is wrong with one part, if anything is. Reads all of it.
    pub fn check_part(&self, part: &ManifestPart) -> Option<Damage> {
        let found = digest(&self.folder.join(&part.path), |_| {});
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
        let problem = match digest(&self.folder.join(&bad.path), count) {
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
        let mut strangers = Vec::new();
        for below in &folders {
            let folder = self.folder.join(below);
            let unreadable = |source| VerifyError::Unreadable { path: folder.clone(), source };
            let entries = match fs::read_dir(&folder) {
                // Its parts are missing, which is told of each of them.
                Err(error) if is_missing(&error) && !below.is_empty() => continue,
                entries => entries.map_err(unreadable)?,
            };
            for entry in entries {
                let name = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
                let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
                if !is_hidden(&name) && !listed.contains(path.as_str()) && !folders.contains(path.as_str()) {
                    strangers.push(Damage { path, problem: Problem::NotListed });
                }
            }
        }
        strangers.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(strangers)
    }
}

/// Whether there is no such folder.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The size of a file and the checksum of its bytes, which `look` is shown as well.
fn digest(path: &Path, mut look: impl FnMut(&[u8])) -> Result<(u64, String), Problem> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Problem::Missing,
        _ => Problem::Unreadable { reason: error.to_string() },
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let (mut hash, mut bytes, mut buffer) = (Xxh3::new(), 0, vec![0; READ_BYTES]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((bytes, format!("xxh3:{:016x}", hash.digest()))),
            Ok(read) => {
                hash.update(&buffer[..read]);
                look(&buffer[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
}

#[cfg(test)]
mod tests;
