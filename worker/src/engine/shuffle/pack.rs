//! Small map outputs of one process, one behind the other in one file: making and removing a file
//! costs many times what a small output does. Knows nothing of what is inside an output.
//!
//! ```text
//! pack-ID      := output*
//! pack-ID.idx  := "GMPACKI1" entry*
//! entry       := task:u32 number:u32 offset:u64 bytes:u64 checksum:u64                    32 bytes
//! ```
//!
//! Integers are little endian; the checksum is XXH3-64 of the 24 bytes before it. An entry is written
//! after its output, so that whoever sees the one has the other; what follows a damaged or cut entry
//! is not there. An attempt's id is never used again, so nothing is ever taken out; nor is a pack's
//! random ID, so that who remembers where an output lay never reads another one there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gristmill_common::ids::{AttemptId, TaskId};
use xxhash_rust::xxh3::xxh3_64;

use super::{MapOutput, SegmentError};
use crate::engine::map_output_path;
use crate::random::random;

const MAGIC: &[u8; 8] = b"GMPACKI1";
const ENTRY_BYTES: usize = 32;

/// The largest output that goes into a pack. Larger saves more files, and copies more bytes once
/// more than a file of its own would.
pub(super) const PACKED_BYTES: usize = 64 << 10;

/// What the names of packs begin with, and what those of their indexes end with.
const PREFIX: &str = "pack-";
const INDEX: &str = ".idx";

/// Takes the small map outputs that one process makes for one job.
#[derive(Debug)]
pub struct MapOutputPack {
    dir: PathBuf,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    data: File,
    index: File,
    bytes: u64,
}

impl MapOutputPack {
    /// A pack in the job's scratch folder. Its files are made by the first output.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), open: Mutex::new(None) }
    }

    /// Appends the whole output of an attempt.
    pub(super) fn append(&self, attempt: AttemptId, output: &[u8]) -> io::Result<()> {
        // A write that panicked left at most bytes without an entry, and the next file takes over.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pack = match open.take() {
            Some(pack) => pack,
            None => Open::create(&self.dir)?,
        };
        // A pack whose files cannot be written to any more is left as it is.
        pack.append(attempt, output)?;
        *open = Some(pack);
        Ok(())
    }
}

impl Open {
    fn create(dir: &Path) -> io::Result<Self> {
        // Two of 2^64 names hardly ever meet; if they do, this attempt fails and the next does not.
        let path = dir.join(format!("{PREFIX}{:016x}", random()));
        let data = File::options().append(true).create_new(true).open(&path)?;
        let mut index = File::options().append(true).create_new(true).open(index_of(&path))?;
        index.write_all(MAGIC)?;
        Ok(Self { data, index, bytes: 0 })
    }

    fn append(&mut self, attempt: AttemptId, output: &[u8]) -> io::Result<()> {
        self.data.write_all(output)?;
        self.index.write_all(&entry(attempt, self.bytes, output.len() as u64))?;
        self.bytes += output.len() as u64;
        Ok(())
    }
}

/// Finds the map outputs of a job in one scratch folder, packed or not, as they are when the first
/// one is looked for.
#[derive(Debug)]
pub struct MapOutputs {
    dir: PathBuf,
    packed: Option<Result<BTreeMap<AttemptId, Packed>, Unreadable>>,
}

/// A pack that is there and cannot be read.
#[derive(Debug, Clone)]
struct Unreadable {
    path: PathBuf,
    kind: io::ErrorKind,
}

/// Where an output lies in a pack.
#[derive(Debug, Clone)]
struct Packed {
    pack: Arc<(PathBuf, Arc<File>)>,
    offset: u64,
    bytes: u64,
}

impl MapOutputs {
    /// The outputs in the job's folder in a scratch.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), packed: None }
    }

    /// The attempts whose outputs are in packs.
    ///
    /// # Errors
    ///
    /// If a pack cannot be read.
    pub(super) fn packed(&mut self) -> Result<impl Iterator<Item = AttemptId>, SegmentError> {
        Ok(self.packs()?.keys().copied())
    }

    /// Opens the output of an attempt and checks its header, index and trailer; blocks are checked
    /// when read.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is not a whole map output.
    pub fn open(&mut self, attempt: AttemptId) -> Result<MapOutput, SegmentError> {
        match self.packs()?.get(&attempt) {
            Some(Packed { pack, offset, bytes }) => MapOutput::read(&pack.1, &pack.0, *offset, *bytes),
            None => MapOutput::open(&map_output_path(&self.dir, attempt)),
        }
    }

    fn packs(&mut self) -> Result<&BTreeMap<AttemptId, Packed>, SegmentError> {
        let packed = self.packed.get_or_insert_with(|| read_packs(&self.dir)).as_ref();
        packed.map_err(|Unreadable { path, kind }| SegmentError::Read {
            path: path.display().to_string(),
            source: (*kind).into(),
        })
    }
}

/// All entries of all packs.
fn read_packs(dir: &Path) -> Result<BTreeMap<AttemptId, Packed>, Unreadable> {
    let unreadable = |path: &Path, error: io::Error| Unreadable { path: path.to_owned(), kind: error.kind() };
    let mut packed = BTreeMap::new();
    let folder = match fs::read_dir(dir) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(packed),
        Err(error) => return Err(unreadable(dir, error)),
    };
    for file in folder {
        let name = file.map_err(|error| unreadable(dir, error))?.file_name();
        // A pack without an index has no entries: its process ended, or is, between making the two.
        let Some(pack) =
            name.to_str().filter(|name| name.starts_with(PREFIX)).and_then(|name| name.strip_suffix(INDEX))
        else {
            continue;
        };
        let path = dir.join(pack);
        let index_path = index_of(&path);
        let (data, index) = match (File::open(&path), fs::read(&index_path)) {
            (Ok(data), Ok(index)) => (data, index),
            // The folder is being cleared.
            (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => continue,
            (Err(error), _) | (_, Err(error)) => return Err(unreadable(&path, error)),
        };
        let pack = Arc::new((path, Arc::new(data)));
        let entries = index.strip_prefix(MAGIC).unwrap_or_default().chunks_exact(ENTRY_BYTES);
        packed.extend(entries.map_while(parse_entry).map(|(attempt, offset, bytes)| {
            let pack = Arc::clone(&pack);
            (attempt, Packed { pack, offset, bytes })
        }));
    }
    Ok(packed)
}

/// The index of a pack.
pub(super) fn index_of(pack: &Path) -> PathBuf {
    let mut path = pack.as_os_str().to_owned();
    path.push(INDEX);
    path.into()
}

fn entry(attempt: AttemptId, offset: u64, bytes: u64) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[..4].copy_from_slice(&attempt.task.index.to_le_bytes());
    entry[4..8].copy_from_slice(&attempt.number.to_le_bytes());
    entry[8..16].copy_from_slice(&offset.to_le_bytes());
    entry[16..24].copy_from_slice(&bytes.to_le_bytes());
    let checksum = xxh3_64(&entry[..24]);
    entry[24..].copy_from_slice(&checksum.to_le_bytes());
    entry
}

fn parse_entry(entry: &[u8]) -> Option<(AttemptId, u64, u64)> {
    let number = |range: std::ops::Range<usize>| {
        entry[range].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    if xxh3_64(&entry[..24]) != number(24..32) {
        return None;
    }
    let task = TaskId::map(u32::try_from(number(0..4)).ok()?);
    let attempt = AttemptId { task, number: u32::try_from(number(4..8)).ok()? };
    Some((attempt, number(8..16), number(16..24)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hand_made_output;

    fn attempt(text: &str) -> AttemptId {
        text.parse().expect("an attempt")
    }

    /// A whole output with one segment.
    fn output(dir: &Path, segment: &[u8]) -> Vec<u8> {
        let path = dir.join("made");
        hand_made_output(&path, &[segment]);
        let bytes = fs::read(&path).expect("just written");
        fs::remove_file(path).expect("just written");
        bytes
    }

    /// What the folder holds of the attempts' only segments.
    fn found(dir: &Path, attempts: &[&str]) -> Vec<Option<String>> {
        let mut outputs = MapOutputs::new(dir);
        let mut read = |name: &&str| {
            let opened = outputs.open(attempt(name)).ok()?;
            let range = *opened.segment(0)?.first()?;
            let bytes = fs::read(opened.path()).ok()?;
            let segment = &bytes[range.offset as usize..(range.offset + range.bytes) as usize];
            Some(String::from_utf8_lossy(segment).into_owned())
        };
        attempts.iter().map(&mut read).collect()
    }

    #[test]
    fn outputs_are_found_in_every_pack_and_in_files_of_their_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let (first, second) = (MapOutputPack::new(dir.path()), MapOutputPack::new(dir.path()));
        for (pack, name) in [(&first, "m-0.0"), (&second, "m-1.2"), (&first, "m-3.0")] {
            pack.append(attempt(name), &output(dir.path(), name.as_bytes())).expect("written");
        }
        hand_made_output(&map_output_path(dir.path(), attempt("m-2.0")), &[b"m-2.0"]);
        let expect = [Some("m-0.0"), Some("m-1.2"), Some("m-2.0"), Some("m-3.0"), None, None];
        let seen = found(dir.path(), &["m-0.0", "m-1.2", "m-2.0", "m-3.0", "m-1.0", "m-4.0"]);
        assert_eq!(seen, expect.map(|text| text.map(ToOwned::to_owned)));
    }

    #[test]
    fn what_was_found_in_a_pack_is_never_another_output_later() {
        let dir = tempfile::tempdir().expect("a folder");
        let pack = |name: &str| {
            MapOutputPack::new(dir.path()).append(attempt(name), &output(dir.path(), b"same size")).expect("written");
            MapOutputs::new(dir.path()).open(attempt(name)).expect("found").path().to_owned()
        };
        let before = pack("m-0.0");
        for file in fs::read_dir(dir.path()).expect("a folder") {
            fs::remove_file(file.expect("a file").path()).expect("removed, as a worker does that lost its session");
        }
        assert_ne!(pack("m-1.0"), before);
        assert!(!before.exists(), "another output lies where the first one was found");
    }

    #[test]
    fn entries_that_are_cut_or_damaged_are_not_there() {
        let dir = tempfile::tempdir().expect("a folder");
        let pack = MapOutputPack::new(dir.path());
        for name in ["m-0.0", "m-1.0"] {
            pack.append(attempt(name), &output(dir.path(), b"x")).expect("written");
        }
        let index = fs::read_dir(dir.path()).expect("a folder").map(|file| file.expect("a file").path());
        let index = index.into_iter().find(|path| path.extension().is_some()).expect("an index");
        let whole = fs::read(&index).expect("written");
        let check = |bytes: &[u8], expect: [bool; 2]| {
            fs::write(&index, bytes).expect("scratch");
            assert_eq!(found(dir.path(), &["m-0.0", "m-1.0"]).iter().map(Option::is_some).collect::<Vec<_>>(), expect);
        };
        check(&whole, [true, true]);
        check(&whole[..whole.len() - 1], [true, false]);
        check(b"", [false, false]);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x20;
            check(&damaged, [at >= 8 + ENTRY_BYTES, false]);
        }
    }
}
