//! Sends what attempts of an embedded run have staged to the object store of the job's output, and knows
//! what was begun, for the end of the claim. Completes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gristmill_common::failure::Failure;
use gristmill_common::ids::AttemptId;
use gristmill_common::size::ByteSize;
use gristmill_common::storage::OutputStore;
use gristmill_common::task::{AttemptReport, OpenUpload};
use gristmill_worker::upload::{CancellationToken, UploadNotes, Uploader, staged_objects, with_uploads};

/// How often an upload looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Sends parts to one output.
pub(super) struct Sender {
    store: OutputStore,
    /// What the names of parts end with.
    ending: String,
    uploader: Uploader,
    begun: Begun,
}

/// The uploads that were begun. They are in this memory alone: if the process dies, the next run on the
/// same output asks the store. Behind a lock because uploads run on the store's threads, which must not
/// wait for the driver: it waits for them.
#[derive(Debug, Clone, Default)]
struct Begun(Arc<Mutex<BTreeSet<OpenUpload>>>);

impl UploadNotes for Begun {
    async fn note(&mut self, _batch: u32, uploads: Vec<OpenUpload>) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(uploads);
        true
    }
}

impl Sender {
    /// Sends to this output, whose parts have this ending; `memory` is what all attempts may have.
    pub(super) fn new(store: OutputStore, ending: String, memory: Option<ByteSize>) -> Self {
        Self { store, ending, uploader: Uploader::new(memory), begun: Begun::default() }
    }

    /// Sends what an attempt staged, removes it, and returns the report with its uploads.
    ///
    /// # Errors
    ///
    /// If it is cancelled, or something cannot be sent.
    pub(super) fn send(
        &self,
        staging: &Path,
        attempt: AttemptId,
        report: AttemptReport,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<AttemptReport, Failure> {
        let objects = staged_objects(staging, &self.ending, attempt, &report);
        let files: Vec<_> = objects.iter().map(|staged| staged.path.clone()).collect();
        let (store, uploader, mut begun) = (self.store.clone(), self.uploader.clone(), self.begun.clone());
        let cancelled = Arc::clone(cancelled);
        let sent = self.store.wait(async move {
            let cancel = CancellationToken::new();
            let watch = async {
                while !cancelled.load(Ordering::Relaxed) {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                cancel.cancel();
                std::future::pending().await
            };
            tokio::select! {
                sent = uploader.send(&store, &objects, &mut begun, &cancel) => sent,
                () = watch => unreachable!("it never ends"),
            }
        });
        for file in files {
            // What stays goes with the run's scratch.
            let _later = fs::remove_file(file);
        }
        Ok(with_uploads(report, sent?))
    }

    /// Everything that was begun.
    pub(super) fn begun(&self) -> BTreeSet<OpenUpload> {
        self.begun.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
