//! A folder of files that are known by what they hold: binaries and files that travel with jobs. A
//! bounded cache: what nobody holds goes when room is needed, the longest unused first.
//!
//! A file is there whole or not at all. What a crash or a full disk left of others is removed when the
//! folder is opened; what the disk damaged is found when a file is first held, and removed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use crate::ids::ContentId;
use crate::size::ByteSize;

/// Bytes hashed or copied at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Why a file cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The folder or a file in it cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is larger than what may be kept here beside what is held.
    #[error("{id:.12} has {bytes} and there is room for {limit}")]
    TooLarge {
        /// The file.
        id: ContentId,
        /// Its size.
        bytes: ByteSize,
        /// What there may be in all.
        limit: ByteSize,
    },
    /// It came with other bytes, or fewer.
    #[error("what was sent as {id:.12} is something else: {got}")]
    Different {
        /// What it was to be.
        id: ContentId,
        /// What it is.
        got: String,
    },
}

/// The id of what `reader` gives, and its length in bytes.
///
/// # Errors
///
/// If it cannot be read.
pub fn content_of(mut reader: impl Read) -> io::Result<(ContentId, u64)> {
    let (mut hash, mut buffer, mut bytes) = (Sha256::new(), vec![0; BUFFER_BYTES], 0);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((ContentId(hash.finalize().into()), bytes)),
            Ok(read) => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A folder of files by content; clones share it.
#[derive(Debug, Clone)]
pub struct ContentStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    limit: ByteSize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<ContentId, Entry>,
    /// Counts uses, to tell which is longer ago, and names incoming files.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    used: u64,
    holders: usize,
    /// Whether this process has seen that it is what its name says.
    verified: bool,
}

impl ContentStore {
    /// Opens the folder, making it if need be, as a store of at most `limit` bytes. No other process may
    /// use it.
    ///
    /// # Errors
    ///
    /// If it cannot be read or written.
    pub fn open(dir: &Path, limit: ByteSize) -> Result<Self, ContentError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| failed(dir, error))?;
        let mut found: Vec<(SystemTime, ContentId, u64)> = Vec::new();
        for file in fs::read_dir(dir).map_err(|error| failed(dir, error))? {
            let path = file.map_err(|error| failed(dir, error))?.path();
            let id = path.file_name().and_then(|name| name.to_str()?.parse::<ContentId>().ok());
            let about = fs::metadata(&path).map_err(|error| failed(&path, error))?;
            match id.filter(|_| about.is_file()) {
                Some(id) => found.push((about.modified().unwrap_or(SystemTime::UNIX_EPOCH), id, about.len())),
                None if about.is_file() => fs::remove_file(&path).map_err(|error| failed(&path, error))?,
                None => {}
            }
        }
        found.sort_unstable();
        let mut state = State::default();
        for (_, id, bytes) in found {
            state.clock += 1;
            state.files.insert(id, Entry { bytes, used: state.clock, holders: 0, verified: false });
        }
        let shared = Shared { dir: dir.to_owned(), limit, state: Mutex::new(state) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Which of these are not there. Those that are count as used now.
    pub fn missing(&self, ids: &[ContentId]) -> Vec<ContentId> {
        let mut state = self.state();
        let mut missing = Vec::new();
        for id in ids {
            match state.use_now(id) {
                Some(_) => {}
                None => missing.push(*id),
            }
        }
        missing
    }

    /// Holds a file: it stays until the result is dropped. `None` if it is not there, or damaged.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn hold(&self, id: ContentId) -> Result<Option<HeldContent>, ContentError> {
        let verified = match self.state().use_now(&id) {
            None => return Ok(None),
            Some(entry) => {
                entry.holders += 1;
                entry.verified
            }
        };
        let held = HeldContent { store: self.clone(), id, path: self.shared.dir.join(id.to_string()) };
        if !verified {
            let file = File::open(&held.path).map_err(|source| failed(&held.path, source))?;
            let (found, _) = content_of(file).map_err(|source| failed(&held.path, source))?;
            if found != id {
                let path = held.path.clone();
                drop(held);
                self.state().files.remove(&id);
                fs::remove_file(&path).map_err(|source| failed(&path, source))?;
                return Ok(None);
            }
            if let Some(entry) = self.state().files.get_mut(&id) {
                entry.verified = true;
            }
        }
        Ok(Some(held))
    }

    /// Begins to take in a file of `bytes` bytes, making room for it.
    ///
    /// # Errors
    ///
    /// If it is too large beside what is held, or cannot be written.
    pub fn receive(&self, id: ContentId, bytes: u64) -> Result<IncomingContent, ContentError> {
        let mut state = self.state();
        let mut used: u64 = state.files.values().map(|entry| entry.bytes).sum();
        let limit = self.shared.limit;
        let held: u64 = state.files.values().filter(|entry| entry.holders > 0).map(|entry| entry.bytes).sum();
        if held.saturating_add(bytes) > limit.bytes() {
            return Err(ContentError::TooLarge { id, bytes: ByteSize(bytes), limit });
        }
        while used.saturating_add(bytes) > limit.bytes() {
            let free = state.files.iter().filter(|(_, entry)| entry.holders == 0);
            let Some(oldest) = free.min_by_key(|(_, entry)| entry.used).map(|(id, _)| *id) else { break };
            let path = self.shared.dir.join(oldest.to_string());
            fs::remove_file(&path).map_err(|source| failed(&path, source))?;
            used -= state.files.remove(&oldest).map_or(0, |entry| entry.bytes);
        }
        state.clock += 1;
        let path = self.shared.dir.join(format!("{id}.{}", state.clock));
        // A program is started from it.
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(&path);
        let file = file.map_err(|source| failed(&path, source))?;
        let store = self.clone();
        Ok(IncomingContent { store, id, expected: bytes, path, file, hash: Sha256::new(), written: 0 })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(path: &Path, source: io::Error) -> ContentError {
    ContentError::Io { path: path.to_owned(), source }
}

impl State {
    fn use_now(&mut self, id: &ContentId) -> Option<&mut Entry> {
        self.clock += 1;
        let entry = self.files.get_mut(id)?;
        entry.used = self.clock;
        Some(entry)
    }
}

/// A file that stays where it is while this exists.
pub struct HeldContent {
    store: ContentStore,
    id: ContentId,
    path: PathBuf,
}

impl HeldContent {
    /// Where it lies. It must not be written to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is.
    pub fn id(&self) -> ContentId {
        self.id
    }
}

impl Drop for HeldContent {
    fn drop(&mut self) {
        if let Some(entry) = self.store.state().files.get_mut(&self.id) {
            entry.holders = entry.holders.saturating_sub(1);
        }
    }
}

impl fmt::Debug for HeldContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeldContent").field(&self.path).finish()
    }
}

/// A file on its way in; what was written of it goes if it is dropped before it is whole.
#[derive(Debug)]
pub struct IncomingContent {
    store: ContentStore,
    id: ContentId,
    expected: u64,
    path: PathBuf,
    file: File,
    hash: Sha256,
    written: u64,
}

impl IncomingContent {
    /// Appends what came next.
    ///
    /// # Errors
    ///
    /// If it is more than was announced, or cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ContentError> {
        self.written += bytes.len() as u64;
        if self.written > self.expected {
            return Err(self.different(format!("more than the {} announced", ByteSize(self.expected))));
        }
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(|source| failed(&self.path, source))
    }

    /// Takes the file in, durably, if it is what it was to be.
    ///
    /// # Errors
    ///
    /// If it is not, or cannot be written.
    pub fn finish(mut self) -> Result<(), ContentError> {
        if self.written < self.expected {
            let (written, expected) = (ByteSize(self.written), ByteSize(self.expected));
            return Err(self.different(format!("{written} of the {expected} announced")));
        }
        let got = ContentId(std::mem::take(&mut self.hash).finalize().into());
        if got != self.id {
            return Err(self.different(format!("SHA-256 {got}")));
        }
        self.file.sync_all().map_err(|source| failed(&self.path, source))?;
        let mut state = self.store.state();
        let whole = self.store.shared.dir.join(self.id.to_string());
        fs::rename(&self.path, &whole).map_err(|source| failed(&whole, source))?;
        state.clock += 1;
        let used = state.clock;
        let entry = Entry { bytes: self.written, used, holders: 0, verified: true };
        // Whoever holds the same file, which came twice, goes on holding it.
        let before = state.files.insert(self.id, entry);
        if let (Some(before), Some(entry)) = (before, state.files.get_mut(&self.id)) {
            entry.holders = before.holders;
        }
        Ok(())
    }

    fn different(&self, got: String) -> ContentError {
        ContentError::Different { id: self.id, got }
    }
}

impl Drop for IncomingContent {
    fn drop(&mut self) {
        // Taken in, it has another name by now; whatever stays is removed when the folder is opened.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(bytes: &[u8]) -> ContentId {
        content_of(bytes).expect("in memory").0
    }

    fn put(store: &ContentStore, bytes: &[u8]) -> Result<ContentId, ContentError> {
        let mut incoming = store.receive(id(bytes), bytes.len() as u64)?;
        for piece in bytes.chunks(3) {
            incoming.write(piece)?;
        }
        incoming.finish()?;
        Ok(id(bytes))
    }

    fn names(dir: &Path) -> usize {
        fs::read_dir(dir).expect("a folder").count()
    }

    #[test]
    fn files_are_known_by_what_they_hold_and_stay_while_they_are_held() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = ContentStore::open(dir.path(), ByteSize(10)).expect("opened");
        let first = put(&store, b"first").expect("taken in");
        assert_eq!(first.to_string(), "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e");
        let held = store.hold(first).expect("readable").expect("there");
        assert_eq!(fs::read(held.path()).expect("readable"), b"first");
        let second = put(&store, b"2222").expect("taken in");
        assert_eq!(store.missing(&[first, second]), []);
        let third = put(&store, b"33333").expect("the second makes room");
        assert_eq!(store.missing(&[first, second, third]), [second]);
        drop(held);
        put(&store, b"444444").expect("both make room");
        assert_eq!(store.missing(&[first, third]), [first, third]);
        let error = put(&store, b"eleven bytes").expect_err("too large").to_string();
        assert!(error.ends_with("has 12 B and there is room for 10 B"), "{error}");
        assert_eq!(names(dir.path()), 1);
    }

    #[test]
    fn what_is_not_what_it_was_to_be_is_not_taken_in() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = ContentStore::open(dir.path(), ByteSize(100)).expect("opened");
        let check = |bytes: &[u8], announced: u64, expect: &str| {
            let mut incoming = store.receive(id(b"right"), announced).expect("room");
            let result = incoming.write(bytes).and_then(|()| incoming.finish());
            let error = result.expect_err(expect).to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(b"wrong", 5, "is something else: SHA-256 ");
        check(b"rig", 5, "is something else: 3 B of the 5 B announced");
        check(b"right!", 5, "is something else: more than the 5 B announced");
        assert_eq!(names(dir.path()), 0);
    }

    #[test]
    fn another_process_finds_what_is_whole_and_removes_the_rest() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = ContentStore::open(dir.path(), ByteSize(100)).expect("opened");
        let (whole, damaged) = (put(&store, b"whole").expect("taken in"), put(&store, b"damaged").expect("taken in"));
        let mut cut = store.receive(id(b"cut"), 3).expect("room");
        cut.write(b"cu").expect("room");
        std::mem::forget(cut);
        fs::write(dir.path().join(damaged.to_string()), b"dAmaged").expect("damaged");
        assert_eq!(names(dir.path()), 3);
        let next = ContentStore::open(dir.path(), ByteSize(100)).expect("opened");
        assert_eq!(names(dir.path()), 2);
        assert!(next.hold(whole).expect("readable").is_some());
        assert!(next.hold(damaged).expect("readable").is_none());
        assert_eq!(next.missing(&[whole, damaged]), [damaged]);
        put(&next, b"damaged").expect("sent again");
        assert!(next.hold(damaged).expect("readable").is_some());
    }
}
