//! Whether a published output is still what its `_SUCCESS` says: every part there, of its size and with
//! its bytes, and nothing that a reader would take for one besides. Changes nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use gristmill_common::naming::{BAD_DIR, SUCCESS_FILE, Uri, is_hidden};
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
        let is_own = |path: &str| !path.is_empty() && !path.contains('/') && !is_hidden(path);
        let is_bad =
            |path: &str| path.strip_prefix(BAD_DIR).and_then(|rest| rest.strip_prefix('/')).is_some_and(is_own);
        let strange_part = manifest.parts.iter().map(|part| &part.path).find(|path| !is_own(path));
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
        let mut lines = 0;
        let count = |bytes: &[u8]| lines += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        let problem = match digest(&self.folder.join(&bad.path), count) {
            Err(problem) => problem,
            Ok((bytes, _)) if bytes != bad.bytes => Problem::Size { expected: bad.bytes, found: bytes },
            Ok(_) if lines != bad.records => Problem::Lines { expected: bad.records, found: lines },
            Ok(_) => return None,
        };
        Some(Damage { path: bad.path.clone(), problem })
    }

    /// Files and folders that a reader of the output would take for parts, and that are none.
    ///
    /// # Errors
    ///
    /// If the folder cannot be listed.
    pub fn strangers(&self) -> Result<Vec<Damage>, VerifyError> {
        let unreadable = |source| VerifyError::Unreadable { path: self.folder.clone(), source };
        let listed: BTreeSet<&str> = self.manifest.parts.iter().map(|part| part.path.as_str()).collect();
        let mut strangers = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
            if !is_hidden(&name) && !listed.contains(name.as_str()) {
                strangers.push(Damage { path: name, problem: Problem::NotListed });
            }
        }
        strangers.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(strangers)
    }
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
mod tests {
    use gristmill_common::ids::JobId;
    use gristmill_common::spec::{JobShape, JobSpec};
    use gristmill_common::task::{BadRecords, JobPlan, PartSummary};
    use gristmill_common::time::WallTime;
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;
    use crate::runtime::manifest::JobTimes;

    const PARTS: [&[u8]; 3] = [b"apple\t1\n", b"", b"pear\t12\nplum\t3\n"];
    const BAD: &str = "{\"offset\":1}\n{\"offset\":9}\n";

    fn uri(path: &Path) -> Uri {
        Uri::from_path(path)
    }

    /// An output of three parts and one file of two skipped records.
    fn output() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("scratch");
        let spec = JobSpec::new("copy", JobShape::MapOnly, vec![uri(dir.path())], uri(dir.path()));
        let times = JobTimes { started: WallTime::default(), finished: WallTime::default() };
        let bad = BadRecords { staged_name: "part-m-00002.jsonl.m-2.0".into(), records: 2, bytes: BAD.len() as u64 };
        let summary = |bytes: &&[u8]| PartSummary {
            staged_name: String::new(),
            bytes: bytes.len() as u64,
            records: 0,
            checksum: xxh3_64(bytes),
        };
        let parts: Vec<PartSummary> = PARTS.iter().map(summary).collect();
        let manifest = Manifest::new(JobId(1), &spec, &JobPlan::default(), times)
            .with_result(&parts, Default::default(), Default::default())
            .with_bad(&[bad]);
        for (part, bytes) in manifest.parts.iter().zip(PARTS) {
            fs::write(dir.path().join(&part.path), bytes).expect("written");
        }
        fs::create_dir(dir.path().join(BAD_DIR)).expect("created");
        fs::write(dir.path().join(&manifest.bad[0].path), BAD).expect("written");
        fs::write(dir.path().join(SUCCESS_FILE), manifest.to_bytes()).expect("written");
        dir
    }

    fn damage(dir: &Path) -> Vec<String> {
        let output = FinishedOutput::open(&uri(dir)).expect("a manifest");
        let parts = output.manifest().parts.iter().filter_map(|part| output.check_part(part));
        let bad = output.manifest().bad.iter().filter_map(|bad| output.check_bad(bad));
        let found = parts.chain(bad).chain(output.strangers().expect("a folder"));
        found.map(|damage| damage.to_string()).collect()
    }

    #[test]
    fn an_output_as_published_is_whole_whatever_is_hidden_in_it() {
        let dir = output();
        fs::write(dir.path().join("_notes"), "x").expect("written");
        assert_eq!(damage(dir.path()), [""; 0]);
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_of_a_part_is_found() {
        let dir = output();
        for (index, bytes) in PARTS.iter().enumerate() {
            let name = format!("part-{index:05}");
            let path = dir.path().join(&name);
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut flipped = bytes.to_vec();
                    flipped[at] ^= 1 << bit;
                    fs::write(&path, &flipped).expect("written");
                    let found = damage(dir.path());
                    let start = format!("{name} is damaged: its checksum is xxh3:");
                    assert!(found.len() == 1 && found[0].starts_with(&start), "bit {bit} at {at}: {found:?}");
                }
                fs::write(&path, &bytes[..at]).expect("written");
                assert_eq!(damage(dir.path()), [format!("{name} has {at} bytes, not {}", bytes.len())]);
            }
            fs::write(&path, [bytes, b"x".as_slice()].concat()).expect("written");
            assert_eq!(damage(dir.path()), [format!("{name} has {} bytes, not {}", bytes.len() + 1, bytes.len())]);
            fs::write(&path, bytes).expect("written");
        }
        assert_eq!(damage(dir.path()), [""; 0]);
    }

    #[test]
    fn missing_and_additional_files_are_named() {
        let dir = output();
        fs::remove_file(dir.path().join("part-00001")).expect("removed");
        fs::write(dir.path().join("part-00003"), "more").expect("written");
        fs::create_dir(dir.path().join("x")).expect("created");
        fs::write(dir.path().join("_bad/part-m-00002.jsonl"), BAD.replace('\n', " ")).expect("written");
        let expect = [
            "part-00001 is missing",
            "_bad/part-m-00002.jsonl has 0 lines, not 2",
            "part-00003 is not listed in _SUCCESS",
            "x is not listed in _SUCCESS",
        ];
        assert_eq!(damage(dir.path()), expect);
    }

    #[test]
    fn without_a_manifest_there_is_nothing_to_compare() {
        let dir = output();
        let success = dir.path().join(SUCCESS_FILE);
        let text = fs::read_to_string(&success).expect("a manifest");
        let check = |content: &str, reason: &str| {
            fs::write(&success, content).expect("written");
            let error = FinishedOutput::open(&uri(dir.path())).expect_err(reason).to_string();
            assert!(error.contains("_SUCCESS is damaged: ") && error.contains(reason), "{error}");
        };
        check(&text[..text.len() / 2], "EOF");
        check(&text.replace("\"version\": 2", "\"version\": 3"), "its version is 3, and this program knows 2");
        check(&text.replace("\"part-00001\"", "\"part-00002\""), "its checksum does not match");
        let unchecked = text.replace("\"version\": 2", "\"version\": 1");
        check(&unchecked.replace("\"part-00001\"", "\"../part-00001\""), "which is no file of an output");
        check(&unchecked.replace("\"_bad/", "\"_bad/../"), "which is no file of an output");
        fs::remove_file(&success).expect("removed");
        let refusal = |uri: &Uri| FinishedOutput::open(uri).expect_err("refused");
        assert!(matches!(refusal(&uri(dir.path())), VerifyError::Unfinished { .. }));
        assert!(matches!(refusal(&uri(&dir.path().join("part-00000"))), VerifyError::Unfinished { .. }));
        assert!(matches!(refusal(&uri(&dir.path().join("none"))), VerifyError::Missing { .. }));
        assert!(matches!(refusal(&"s3://a/b".parse().expect("a URI")), VerifyError::NotBuiltIn { .. }));
    }
}
