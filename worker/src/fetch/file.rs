//! The file that takes fetched segments, written by a thread that may wait for the disk, so that
//! nothing else does: neither the network nor the link to the master.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pieces that wait to be written. Raised, a slow disk holds more memory; lowered, network and disk
/// overlap less.
const WRITES_AHEAD: usize = 4;

/// The file cannot be written; closing it tells why.
#[derive(Debug)]
pub(super) struct Unwritable;

/// A file being written.
#[derive(Debug)]
pub(super) struct SegmentFile {
    pieces: mpsc::Sender<(Bytes, u64)>,
    written: JoinHandle<io::Result<()>>,
}

impl SegmentFile {
    /// Creates the file, for its owner alone; one that exists is replaced. `spare` is a file that
    /// nobody reads any more: it becomes this one, with whatever it holds, because its pages cost
    /// half as much to write over as new ones to write.
    pub(super) fn create(path: PathBuf, spare: Option<PathBuf>) -> Self {
        let (pieces, mut queue) = mpsc::channel::<(Bytes, u64)>(WRITES_AHEAD);
        let written = tokio::task::spawn_blocking(move || {
            let reused = spare.is_some_and(|spare| fs::rename(spare, &path).is_ok());
            let file = File::options().create(true).truncate(!reused).write(true).mode(0o600).open(path)?;
            while let Some((piece, offset)) = queue.blocking_recv() {
                file.write_all_at(&piece, offset)?;
            }
            Ok(())
        });
        Self { pieces, written }
    }

    /// Writes `piece` at `offset`, after all that was handed over before.
    ///
    /// # Errors
    ///
    /// If this or an earlier piece cannot be written.
    pub(super) async fn write_at(&self, piece: Bytes, offset: u64) -> Result<(), Unwritable> {
        self.pieces.send((piece, offset)).await.map_err(|_| Unwritable)
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    ///
    /// What the system said to the first piece that could not be.
    pub(super) async fn close(self) -> io::Result<()> {
        drop(self.pieces);
        self.written.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn later_pieces_replace_earlier_ones() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("segments");
        fs::write(&path, b"what was there before").expect("writable");
        let file = SegmentFile::create(path.clone(), Some(dir.path().join("gone")));
        for (piece, offset) in [("abc", 0), ("xyz", 3), ("de", 2)] {
            file.write_at(Bytes::from_static(piece.as_bytes()), offset).await.expect("writable");
        }
        file.close().await.expect("writable");
        assert_eq!(fs::read(&path).expect("readable"), b"abdeyz");
    }

    #[tokio::test]
    async fn a_spare_file_is_written_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let (spare, path) = (dir.path().join("spare"), dir.path().join("segments"));
        fs::write(&spare, b"older and longer").expect("writable");
        let file = SegmentFile::create(path.clone(), Some(spare.clone()));
        file.write_at(Bytes::from_static(b"newer"), 0).await.expect("writable");
        file.close().await.expect("writable");
        assert_eq!((fs::read(&path).expect("readable"), spare.exists()), (b"newer and longer".to_vec(), false));
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_says_why() {
        let file = SegmentFile::create("/dev/null/segments".into(), None);
        while file.write_at(Bytes::from_static(b"abc"), 0).await.is_ok() {}
        let error = file.close().await.expect_err("no such folder");
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    }
}
