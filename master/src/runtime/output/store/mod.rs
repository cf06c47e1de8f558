//! A job's output in an object store: claimed by an object in its place, sent by attempts as uploads that
//! nobody sees, put in place by completing them, or undone without a trace. Sends no part; attempts do.
//!
//! | file | responsibility |
//! |---|---|
//! | `process.rs`, `record.rs` | who holds a claim, and whether it is gone |
//! | `claim.rs` | the claim as an object |
//! | `place.rs` | what is in the output's place |
//! | `sent.rs` | objects that attempts have sent, and whether they are in place |
//! | `publish.rs` | job commit |
//! | `undo.rs` | the end of a claim |
//!
//! Why it is done in this way: `docs/adr/0019-commit-on-object-stores.md`.

mod claim;
mod place;
mod process;
mod publish;
mod record;
mod sent;
#[cfg(test)]
mod tests;
mod undo;

use std::collections::BTreeSet;
use std::io;

use gristmill_common::ids::JobId;
use gristmill_common::naming::{CLAIM_OBJECT, Uri};
use gristmill_common::storage::OutputStore;
use gristmill_common::task::{BadRecords, OpenUpload, PartSummary};

use self::process::Process;
use self::publish::{Publication, read_success};
use self::record::ClaimRecord;
pub(super) use self::sent::{SentObject, sent_objects};
use self::undo::Ending;
use super::error::OutputError;
use super::{Progress, is_manifest_of};
use crate::failpoint::failpoint;
use crate::runtime::manifest::Manifest;

/// One job's hold on one output in a store. Dropping it removes everything that is not published.
#[derive(Debug)]
pub(super) struct StoreClaim {
    store: OutputStore,
    job: JobId,
    record: ClaimRecord,
    overwrite: bool,
    /// Uploads that attempts have begun.
    begun: BTreeSet<OpenUpload>,
    /// What a commit has completed, or is about to.
    sent: Vec<SentObject>,
    /// Uploads that are objects now.
    completed: BTreeSet<OpenUpload>,
    /// Whether there is anything to give back.
    held: bool,
}

impl StoreClaim {
    /// Claims an output for a job.
    ///
    /// # Errors
    ///
    /// If the place is no place for an output, something is there and may not be replaced, another job
    /// holds it or one above or below it, or the store lacks what is needed. Then nothing is left.
    pub(super) fn acquire(store: OutputStore, job: JobId, overwrite: bool) -> Result<Self, OutputError> {
        if store.prefix().as_ref().is_empty() {
            return Err(OutputError::Root { output: store.uri().clone() });
        }
        let record = ClaimRecord::new(job, Process::this());
        let (place, mine) = (store.clone(), record.clone());
        store.wait(async move {
            // Refused before anything is made; and again when the claim keeps others from coming.
            place::check_name(&place).await?;
            place::check(&place, &mine, overwrite).await?;
            claim::take(&place, &mine).await?;
            let checked = async {
                claim::check_store(&place, &mine).await?;
                place::check(&place, &mine, overwrite).await?;
                claim::check_held(&place, &mine).await
            };
            let result = checked.await;
            if result.is_err() {
                let (begun, sent) = (BTreeSet::new(), Vec::new());
                let ending = Ending { store: place, record: mine, begun, sent };
                if let Err(error) = ending.end().await {
                    tracing::warn!(%error, "a claim that was refused cannot be given back");
                }
            }
            result
        })?;
        Ok(Self::held(store, job, record, overwrite))
    }

    fn held(store: OutputStore, job: JobId, record: ClaimRecord, overwrite: bool) -> Self {
        let (begun, completed) = (BTreeSet::new(), BTreeSet::new());
        Self { store, job, record, overwrite, begun, sent: Vec::new(), completed, held: true }
    }

    /// Takes up the claim of a job that an earlier process held. Parts of one that is decided may be in place.
    ///
    /// # Errors
    ///
    /// If somebody else holds the output, put something there, or used it meanwhile. Everything stays as it
    /// is then.
    pub(super) fn reclaim(
        store: OutputStore,
        job: JobId,
        overwrite: bool,
        left: &Progress,
    ) -> Result<Self, OutputError> {
        let record = ClaimRecord::new(job, Process::this());
        let (place, mine) = (store.clone(), record.clone());
        let (decided, begun) = (left.decided, left.decided || !left.uploads.is_empty());
        store.wait(async move {
            interrupted(failpoint("claim.reclaim_object"), "claim", place.uri())?;
            if begun {
                claim::check_kept(&place, &mine, job).await?;
            }
            claim::take(&place, &mine).await?;
            if decided { Ok(()) } else { place::check(&place, &mine, overwrite).await }
        })?;
        let mut claim = Self::held(store, job, record, overwrite);
        claim.note(left.uploads.iter().cloned());
        Ok(claim)
    }

    /// Keeps in mind what attempts have begun to upload.
    pub(super) fn note(&mut self, uploads: impl IntoIterator<Item = OpenUpload>) {
        self.begun.extend(uploads.into_iter().filter(|upload| !self.completed.contains(upload)));
    }

    /// Gives the claim up and leaves everything, for the master that comes next.
    pub(super) fn abandon(mut self) {
        self.held = false;
    }

    /// Where attempts send what they stage.
    pub(super) fn store(&self) -> OutputStore {
        self.store.clone()
    }

    /// The job that holds the output.
    pub(super) fn job(&self) -> JobId {
        self.job
    }

    /// Puts what the winning attempts sent in place, and the manifest.
    ///
    /// # Errors
    ///
    /// If an object was not sent, its upload is gone, the claim is lost, somebody else put something
    /// there, or the store refuses.
    pub(super) fn publish(
        &mut self,
        parts: &[PartSummary],
        bad: &[BadRecords],
        manifest: &Manifest,
    ) -> Result<(), OutputError> {
        let not_sent = |path: String| OutputError::UploadGone { object: self.store.uri_of(&path) };
        let objects = sent_objects(&manifest.spec.part_ending(), parts, bad).map_err(not_sent)?;
        self.sent.clone_from(&objects);
        let publication = Publication {
            store: self.store.clone(),
            record: self.record.clone(),
            job: self.job,
            overwrite: self.overwrite,
            objects,
            manifest: manifest.to_bytes().into(),
        };
        self.store.wait(async move { publication.put().await })?;
        // They are objects now.
        for sent in self.sent.drain(..) {
            let upload = sent.open_upload();
            self.begun.remove(&upload);
            self.completed.insert(upload);
        }
        Ok(())
    }

    /// Removes everything that is not published, and the claim.
    ///
    /// # Errors
    ///
    /// The first thing that cannot be removed.
    pub(super) fn undo(mut self) -> Result<(), OutputError> {
        self.release()
    }

    fn release(&mut self) -> Result<(), OutputError> {
        if !std::mem::take(&mut self.held) {
            return Ok(());
        }
        let ending = Ending {
            store: self.store.clone(),
            record: self.record.clone(),
            begun: std::mem::take(&mut self.begun),
            sent: std::mem::take(&mut self.sent),
        };
        self.store.wait(async move { ending.end().await })
    }
}

impl Drop for StoreClaim {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            tracing::warn!(output = %self.store.uri(), %error, "something sent could not be removed");
        }
    }
}

/// Whether what is in the output's place is the published result of this job.
///
/// # Errors
///
/// If it cannot be looked at.
pub(super) fn is_published(store: &OutputStore, job: JobId) -> Result<bool, OutputError> {
    let place = store.clone();
    store.wait(async move { Ok(read_success(&place).await?.is_some_and(|manifest| is_manifest_of(&manifest, job))) })
}

/// Removes what a claim of this very job left whose process is gone: uploads that it began, objects that
/// it completed, and the claim. What others claim or left stays.
///
/// # Errors
///
/// The first thing that cannot be removed.
pub(super) fn remove_leftovers(
    store: &OutputStore,
    job: JobId,
    begun: BTreeSet<OpenUpload>,
    sent: Vec<SentObject>,
) -> Result<(), OutputError> {
    let (place, record) = (store.clone(), ClaimRecord::new(job, Process::this()));
    store.wait(async move {
        let found = place.read(CLAIM_OBJECT, claim::MAX_CLAIM_BYTES).await?;
        if found.is_some_and(|(found, _)| record.is_of_same_job(&found)) {
            claim::take(&place, &record).await?;
        }
        Ending { store: place, record, begun, sent }.end().await
    })
}

/// A place at which a trial interrupts what is done to an object.
fn interrupted(passed: io::Result<()>, action: &'static str, object: &Uri) -> Result<(), OutputError> {
    passed.map_err(|error| {
        let source = object_store::Error::Generic { store: "trial", source: error.into() };
        OutputError::Store { action, object: object.clone(), source: Box::new(source) }
    })
}
