//! Sends what attempts have staged in scratch to an object store, as uploads that somebody else completes
//! once the job is decided. Nothing is sent in an upload before whoever keeps the job's records has noted
//! it. Completes none, and aborts only its own.
//!
//! | file | responsibility |
//! |---|---|
//! | `staged.rs` | which files an attempt staged, and what they become |

mod staged;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::size::ByteSize;
use gristmill_common::storage::{ObjectError, OutputStore, pieces};
use gristmill_common::task::{OpenUpload, SentUpload};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
pub use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::Xxh3;

pub use self::staged::{StagedObject, staged_objects, with_uploads};
use crate::fetch::innermost;

/// The most memory, in MiB, that pieces on their way take in a process, unless one alone takes more. More
/// keeps more connections busy, less leaves more memory to attempts.
const MOST_MIB: usize = 64;

/// The least, which is a piece of all but the largest objects.
const LEAST_MIB: usize = 8;

/// Which part of a process's memory that may be: it comes on top of what attempts have.
const SHARE: u64 = 8;

/// Uploads that an attempt begins, has noted and sends before it begins the next. More save messages, less
/// makes them smaller and leaves fewer uploads open where thousands of small objects are sent.
const BATCH: usize = 64;

/// Objects that an attempt sends at a time, of which each has its pieces sent in parallel.
const OBJECTS_AT_ONCE: usize = 4;

/// Requests without a body, of one attempt, at a time.
const REQUESTS_AT_ONCE: usize = 8;

/// How long aborting may take that nobody depends on: what is left the job's end aborts.
const ABORT_PATIENCE: Duration = Duration::from_secs(5);

/// Whoever keeps a record of uploads.
pub trait UploadNotes: Send {
    /// Says which uploads were begun, and returns when that is recorded; false if nobody wants them any
    /// more. Batches are numbered from 0 on.
    fn note(&mut self, batch: u32, uploads: Vec<OpenUpload>) -> impl Future<Output = bool> + Send;
}

/// Sends the parts of a process. Clones share its memory.
#[derive(Debug, Clone)]
pub struct Uploader {
    memory: Arc<Semaphore>,
    mib: usize,
}

impl Uploader {
    /// One for a process whose attempts may have this memory, if that is bounded.
    pub fn new(memory: Option<ByteSize>) -> Self {
        let share = memory.map_or(MOST_MIB, |memory| {
            usize::try_from(memory.bytes() / SHARE / ByteSize::mib(1).bytes()).unwrap_or(MOST_MIB)
        });
        let mib = share.clamp(LEAST_MIB, MOST_MIB);
        Self { memory: Arc::new(Semaphore::new(mib)), mib }
    }

    /// Sends objects, in their order; returns the upload of each. If it fails or is cancelled, uploads
    /// that it began are aborted.
    ///
    /// # Errors
    ///
    /// `CANCELLED` if it is; else a file that cannot be read or is not what was staged, or an object that
    /// the store does not take.
    pub async fn send(
        &self,
        store: &OutputStore,
        objects: &[StagedObject],
        notes: &mut impl UploadNotes,
        cancel: &CancellationToken,
    ) -> Result<Vec<SentUpload>, Failure> {
        let mut begun = Vec::new();
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(no_longer_wanted()),
            result = self.send_all(store, objects, notes, &mut begun) => result,
        };
        if result.is_err() {
            abort(store, &begun).await;
        }
        result
    }

    async fn send_all(
        &self,
        store: &OutputStore,
        objects: &[StagedObject],
        notes: &mut impl UploadNotes,
        begun: &mut Vec<OpenUpload>,
    ) -> Result<Vec<SentUpload>, Failure> {
        let mut sent = Vec::with_capacity(objects.len());
        for (batch, objects) in (0..).zip(objects.chunks(BATCH)) {
            let first = begun.len();
            let open: Vec<_> = objects.iter().map(|staged| store.open_upload(&staged.object)).collect();
            let mut open = stream::iter(open).buffered(REQUESTS_AT_ONCE);
            let mut failed = None;
            // After an error those that are under way are still waited for: they may have to be aborted.
            while let Some(upload) = open.next().await {
                match upload {
                    Ok(upload) => begun.push(upload),
                    Err(error) => failed = failed.or(Some(not_sent(&error))),
                }
            }
            if let Some(failure) = failed {
                return Err(failure);
            }
            let uploads = &begun[first..];
            if !notes.note(batch, uploads.to_vec()).await {
                return Err(no_longer_wanted());
            }
            let sending: Vec<_> =
                objects.iter().zip(uploads).map(|(staged, upload)| self.send_one(store, staged, upload)).collect();
            sent.extend(stream::iter(sending).buffered(OBJECTS_AT_ONCE).try_collect::<Vec<_>>().await?);
        }
        Ok(sent)
    }

    /// Sends one object, reading ahead of the store as far as memory allows.
    async fn send_one(
        &self,
        store: &OutputStore,
        staged: &StagedObject,
        upload: &OpenUpload,
    ) -> Result<SentUpload, Failure> {
        let unreadable = |error: io::Error| {
            let message = format!("cannot read back {}: {error}", staged.path.display());
            Failure::new(FailureCode::WriteFailed, message)
        };
        let path = staged.path.clone();
        let file = blocking(move || File::open(path)).await.map_err(unreadable)?;
        let (file, mut hash) = (Arc::new(file), Xxh3::new());
        let count = pieces(staged.bytes).len();
        let mut names = vec![String::new(); count];
        let mut under_way: JoinSet<(usize, Result<String, ObjectError>)> = JoinSet::new();
        for (number, range) in pieces(staged.bytes).enumerate() {
            let permit = self.room_for(&range).await;
            let file = Arc::clone(&file);
            let piece = blocking(move || read(&file, range)).await.map_err(unreadable)?;
            hash.update(&piece);
            let (store, upload) = (store.clone(), upload.clone());
            // On its own, so that it goes on while this waits for room.
            under_way.spawn(async move {
                let sent = store.send_piece(&upload, number, piece).await;
                drop(permit);
                (number, sent)
            });
            while let Some(done) = under_way.try_join_next() {
                take(done, &mut names)?;
            }
        }
        while let Some(done) = under_way.join_next().await {
            take(done, &mut names)?;
        }
        let checksum = hash.digest();
        if staged.checksum.is_some_and(|expected| expected != checksum) {
            let message = format!("{} was damaged before it was sent", staged.path.display());
            return Err(Failure::new(FailureCode::WriteFailed, message));
        }
        Ok(SentUpload { id: upload.id.clone(), pieces: names.into(), checksum })
    }

    /// Memory for a piece.
    async fn room_for(&self, piece: &Range<u64>) -> OwnedSemaphorePermit {
        let mib = usize::try_from((piece.end - piece.start).div_ceil(1 << 20)).unwrap_or(self.mib);
        let permits = u32::try_from(mib.min(self.mib)).expect("a small constant");
        Arc::clone(&self.memory).acquire_many_owned(permits).await.expect("it is never closed")
    }
}

/// Aborts uploads of which nobody needs to know any more.
pub async fn abort(store: &OutputStore, uploads: &[OpenUpload]) {
    let aborts: Vec<_> = uploads.iter().map(|upload| store.abort(upload)).collect();
    let all = async {
        let mut aborted = stream::iter(aborts).buffer_unordered(REQUESTS_AT_ONCE);
        while let Some(result) = aborted.next().await {
            if let Err(error) = result {
                tracing::debug!(object = %error.object, reason = innermost(&error), "upload not aborted");
            }
        }
    };
    if tokio::time::timeout(ABORT_PATIENCE, all).await.is_err() {
        tracing::debug!(output = %store.uri(), "uploads are left to the job's end");
    }
}

/// Notes what became of a piece.
fn take(
    done: Result<(usize, Result<String, ObjectError>), tokio::task::JoinError>,
    names: &mut [String],
) -> Result<(), Failure> {
    let (number, name) = match done {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => unreachable!("pieces are aborted only with the whole set"),
        },
    };
    names[number] = name.map_err(|error| not_sent(&error))?;
    Ok(())
}

fn read(file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let size = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut piece = vec![0; size];
    file.read_exact_at(&mut piece, range.start)?;
    Ok(piece.into())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error)),
    }
}

fn not_sent(error: &ObjectError) -> Failure {
    Failure::new(FailureCode::WriteFailed, format!("{error}: {}", innermost(&error.source)))
}

fn no_longer_wanted() -> Failure {
    Failure::new(FailureCode::Cancelled, "the attempt was cancelled")
}
