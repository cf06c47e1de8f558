//! How many commits of a journal were acknowledged, beside it: what damage to the newest of them would
//! otherwise hide, since it looks like a commit that a crash cut short.
//!
//! The number is written after the commit is durable and never forced to disk itself. So it may be
//! behind the journal after a power failure, and is never ahead of it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

/// What the file begins with.
const MAGIC: [u8; 8] = *b"GMSEEN01";

/// Magic number, commits, and the checksum of both.
const BYTES: usize = 24;

/// The file.
#[derive(Debug)]
pub(super) struct Seen {
    file: File,
}

impl Seen {
    /// Where it is for this journal.
    pub(super) fn path(journal: &Path) -> PathBuf {
        journal.with_extension("seen")
    }

    /// Opens it, or makes it.
    ///
    /// # Errors
    ///
    /// If it cannot be.
    pub(super) fn open(journal: &Path) -> io::Result<Self> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(Self::path(journal))?;
        Ok(Self { file })
    }

    /// The commits that were acknowledged, as far as is known: 0 if nothing can be read there.
    ///
    /// # Errors
    ///
    /// If the disk does not give it.
    pub(super) fn commits(&self) -> io::Result<u64> {
        let mut bytes = [0; BYTES];
        match self.file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            read => read?,
        }
        Ok(decode(&bytes).unwrap_or(0))
    }

    /// Notes that so many commits are durable.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(super) fn note(&self, commits: u64) -> io::Result<()> {
        self.file.write_all_at(&encode(commits), 0)
    }

    /// Forgets it, for a journal that begins.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    pub(super) fn remove(journal: &Path) -> io::Result<()> {
        match fs::remove_file(Self::path(journal)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn encode(commits: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&commits.to_le_bytes());
    let sum = xxh3_64(&bytes[..16]);
    bytes[16..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; BYTES]) -> Option<u64> {
    let (head, sum) = bytes.split_at(16);
    let commits = head.strip_prefix(&MAGIC)?;
    (sum == xxh3_64(head).to_le_bytes()).then(|| commits.try_into().map(u64::from_le_bytes).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_and_what_is_damaged_is_nothing() {
        let dir = tempfile::tempdir().expect("scratch");
        let journal = dir.path().join("journal.redb");
        let seen = Seen::open(&journal).expect("made");
        assert_eq!(seen.commits().expect("readable"), 0);
        seen.note(7).expect("written");
        seen.note(8).expect("written");
        assert_eq!(Seen::open(&journal).expect("opened").commits().expect("readable"), 8);
        let bytes = fs::read(Seen::path(&journal)).expect("readable");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(Seen::path(&journal), damaged).expect("written");
            assert_eq!(seen.commits().expect("readable"), 0, "byte {at}");
        }
        Seen::remove(&journal).and_then(|()| Seen::remove(&journal)).expect("gone");
    }
}
