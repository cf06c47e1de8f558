//! The end of a claim: uploads that nobody will complete are aborted, what a failed commit has completed
//! is deleted, and the claim is given back. All of it is tried, whatever fails.

use std::collections::BTreeSet;

use futures::stream::{FuturesUnordered, StreamExt as _};
use gristmill_common::naming::CLAIM_OBJECT;
use gristmill_common::storage::OutputStore;
use gristmill_common::task::OpenUpload;

use super::claim::{Holder, give_back, holder};
use super::publish::{AT_ONCE, read_success};
use super::record::ClaimRecord;
use super::sent::SentObject;
use super::{OutputError, interrupted};
use crate::failpoint::failpoint;

/// A claim about to end.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) store: OutputStore,
    pub(super) record: ClaimRecord,
    /// Uploads that were begun.
    pub(super) begun: BTreeSet<OpenUpload>,
    /// What a commit completed, or was about to.
    pub(super) sent: Vec<SentObject>,
}

impl Ending {
    /// Removes everything that is not published, and then the claim; nothing if a later process of the same
    /// job has it.
    ///
    /// # Errors
    ///
    /// The first thing that cannot be removed.
    pub(super) async fn end(&self) -> Result<(), OutputError> {
        // An overwriting commit deletes another's `_SUCCESS` first, and others find none: with one in place, what
        // is there is its.
        let is_published = read_success(&self.store).await?.is_some();
        let holder = holder(&self.store, &self.record).await?;
        if holder == Holder::Successor {
            return Ok(());
        }
        let mut result = self.abort(&self.begun).await;
        // Somebody else's by now: then only what is known by its id is ours to remove.
        if holder == Holder::Us {
            result = result.and(self.sweep().await);
            if !is_published {
                result = result.and(self.delete_completed().await);
            }
        }
        result.and(give_back(&self.store, &self.record).await)
    }

    /// Aborts uploads that nobody told of: those of workers that ended before they could.
    async fn sweep(&self) -> Result<(), OutputError> {
        interrupted(failpoint("undo.list_uploads"), "list uploads to", self.store.uri())?;
        let Some(mut unfinished) = self.store.unfinished().await? else { return Ok(()) };
        if !unfinished.is_empty() {
            // Below another claim they are that job's. It was made before they were begun, and so is seen.
            let mut listed = self.store.list();
            while let Some(found) = listed.next().await {
                let (path, _) = found?;
                if let Some(folder) = path.strip_suffix(CLAIM_OBJECT).filter(|folder| folder.ends_with('/')) {
                    unfinished.retain(|upload| !upload.object.starts_with(folder));
                }
            }
        }
        self.abort(&unfinished).await
    }

    async fn abort(&self, uploads: &BTreeSet<OpenUpload>) -> Result<(), OutputError> {
        let (mut under_way, mut result) = (FuturesUnordered::new(), Ok(()));
        for upload in uploads {
            if under_way.len() >= AT_ONCE {
                result = result.and(under_way.next().await.unwrap_or(Ok(())));
            }
            under_way.push(self.abort_one(upload));
        }
        while let Some(done) = under_way.next().await {
            result = result.and(done);
        }
        result
    }

    async fn abort_one(&self, upload: &OpenUpload) -> Result<(), OutputError> {
        interrupted(failpoint("undo.abort_upload"), "abort the upload of", &self.store.uri_of(&upload.object))?;
        Ok(self.store.abort(upload).await?)
    }

    async fn delete_completed(&self) -> Result<(), OutputError> {
        let (mut under_way, mut result) = (FuturesUnordered::new(), Ok(()));
        for object in &self.sent {
            if under_way.len() >= AT_ONCE {
                result = result.and(under_way.next().await.unwrap_or(Ok(())));
            }
            under_way.push(self.delete_one(object));
        }
        while let Some(done) = under_way.next().await {
            result = result.and(done);
        }
        result
    }

    async fn delete_one(&self, object: &SentObject) -> Result<(), OutputError> {
        interrupted(failpoint("undo.delete_completed"), "delete", &self.store.uri_of(&object.path))?;
        if object.is_in_place(&self.store).await? {
            self.store.delete(&object.path).await?;
        }
        Ok(())
    }
}
