//! A job's output: claimed before the job starts, staged where nobody sees it, put in its place when the
//! job is decided, or undone without a trace. Writes no records; attempts do.
//!
//! | module | outputs |
//! |---|---|
//! | `local/` | on the local file system: staged beside their place, put there in one rename |
//! | `store/` | in an object store: sent as uploads that are completed after the decision |
//!
//! Everything here blocks; call it from a thread that may wait.

mod error;
mod local;
mod store;

use std::collections::BTreeSet;
use std::path::PathBuf;

use gristmill_common::ids::JobId;
use gristmill_common::naming::Uri;
use gristmill_common::spec::{JobSpec, StoreOptions};
use gristmill_common::storage::{OutputStore, Stores};
use gristmill_common::task::{BadRecords, OpenUpload, PartSummary};
use serde::Deserialize;

pub use self::error::OutputError;
use self::local::LocalClaim;
use self::store::StoreClaim;
use super::manifest::Manifest;

/// The largest `_SUCCESS` that is read back, some hundred bytes for each of a million parts.
pub(super) const MAX_MANIFEST_BYTES: u64 = 256 << 20;

/// One job's hold on one output. Dropping it removes everything that is not published.
#[derive(Debug)]
pub struct OutputClaim(Kind);

#[derive(Debug)]
enum Kind {
    Local(Box<LocalClaim>),
    Store(Box<StoreClaim>),
}

impl OutputClaim {
    /// Claims the spec's output for a job and prepares what its attempts need to stage parts.
    ///
    /// Leftovers of other jobs whose process is gone are removed; those of this very job are kept, so that
    /// a commit can be resumed.
    ///
    /// # Errors
    ///
    /// If nothing can be written there, it exists and may not be replaced, overlaps an input, or is
    /// claimed by a process that lives or may live. Then nothing is left behind.
    pub fn acquire(spec: &JobSpec, job: JobId, stores: &Stores) -> Result<Self, OutputError> {
        if spec.output.local_path().is_some() {
            return Ok(Self(Kind::Local(Box::new(LocalClaim::acquire(spec, job)?))));
        }
        let store = open(&spec.output, &spec.store, stores)?;
        Ok(Self(Kind::Store(Box::new(StoreClaim::acquire(store, job, spec.overwrite)?))))
    }

    /// Takes up the claim of a job that an earlier process held, as far as `left` says what it left.
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Self::acquire), and if what was staged is gone: somebody else used the output
    /// meanwhile. Everything stays as it is then: [`Leftover::remove`] removes it once it is recorded that
    /// the job is over.
    pub fn reclaim(spec: &JobSpec, job: JobId, left: &Progress, stores: &Stores) -> Result<Self, OutputError> {
        if spec.output.local_path().is_some() {
            return Ok(Self(Kind::Local(Box::new(LocalClaim::reclaim(spec, job, left.staged)?))));
        }
        let store = open(&spec.output, &spec.store, stores)?;
        Ok(Self(Kind::Store(Box::new(StoreClaim::reclaim(store, job, spec.overwrite, left)?))))
    }

    /// Gives the claim up and leaves everything that is staged, for the master that comes next.
    pub fn abandon(self) {
        match self.0 {
            Kind::Local(claim) => claim.abandon(),
            Kind::Store(claim) => claim.abandon(),
        }
    }

    /// The folder in which attempts stage parts, under [`staged_part_name`]; `None` if they stage them in
    /// scratch and send them to a store.
    ///
    /// [`staged_part_name`]: gristmill_common::naming::staged_part_name
    pub fn staged_parts_dir(&self) -> Option<PathBuf> {
        match &self.0 {
            Kind::Local(claim) => Some(claim.staged_parts_dir()),
            Kind::Store(_) => None,
        }
    }

    /// The store to which attempts send what they stage, if the output is in one.
    pub fn store(&self) -> Option<OutputStore> {
        match &self.0 {
            Kind::Local(_) => None,
            Kind::Store(claim) => Some(claim.store()),
        }
    }

    /// The job that holds the output.
    pub fn job(&self) -> JobId {
        match &self.0 {
            Kind::Local(claim) => claim.job(),
            Kind::Store(claim) => claim.job(),
        }
    }

    /// Keeps in mind what attempts have begun to upload: what is not published is aborted.
    pub fn note_uploads(&mut self, uploads: impl IntoIterator<Item = OpenUpload>) {
        match &mut self.0 {
            // Nobody uploads to a folder.
            Kind::Local(_) => {}
            Kind::Store(claim) => claim.note(uploads),
        }
    }

    /// Puts the winning parts, in part order, what their attempts skipped, and the manifest in the
    /// output's place.
    ///
    /// Publishing again after success, or after a crash and a new claim by the same job, completes what
    /// is left to do. The claim holds until it is dropped. On a local file system no reader sees less
    /// than all of it; in a store, none that waits for `_SUCCESS`.
    ///
    /// # Errors
    ///
    /// If a part is not what its attempt reported, somebody else put something into the output's place,
    /// or the file system or store refuses.
    pub fn publish(
        &mut self,
        parts: &[PartSummary],
        bad: &[BadRecords],
        manifest: &Manifest,
    ) -> Result<(), OutputError> {
        match &mut self.0 {
            Kind::Local(claim) => claim.publish(parts, bad, manifest),
            Kind::Store(claim) => claim.publish(parts, bad, manifest),
        }
    }

    /// Removes everything staged, and the claim. A published output stays.
    ///
    /// # Errors
    ///
    /// The first thing that cannot be removed; the claim is given up all the same.
    pub fn undo(self) -> Result<(), OutputError> {
        match self.0 {
            Kind::Local(claim) => claim.undo(),
            Kind::Store(claim) => claim.undo(),
        }
    }
}

/// How far a job had come under an earlier master.
#[derive(Debug, Default)]
pub struct Progress {
    /// Whether parts of it were committed.
    pub staged: bool,
    /// Whether its parts are decided.
    pub decided: bool,
    /// Uploads that its attempts have begun.
    pub uploads: BTreeSet<OpenUpload>,
}

/// What is to be removed of a job without a future.
#[derive(Debug)]
pub struct Leftover {
    /// The job.
    pub job: JobId,
    /// Its output.
    pub output: Uri,
    /// How the output's store is reached.
    pub store: StoreOptions,
    /// Folders above the output that did not exist before, topmost first.
    pub created: Vec<PathBuf>,
    /// Uploads that its attempts have begun.
    pub uploads: BTreeSet<OpenUpload>,
    /// What the names of its parts end with.
    pub ending: String,
    /// The parts that may be in place, if it was decided.
    pub parts: Vec<PartSummary>,
    /// What it skipped, likewise.
    pub bad: Vec<BadRecords>,
}

impl Leftover {
    /// Removes what a claim of this very job left whose process is gone, and the folders above the output
    /// with nothing in them. What others claim or left stays.
    ///
    /// # Errors
    ///
    /// The first thing that cannot be removed.
    pub fn remove(self, stores: &Stores) -> Result<(), OutputError> {
        if self.output.local_path().is_some() {
            return local::remove_leftovers(&self.output, self.job, &self.created);
        }
        let store = open(&self.output, &self.store, stores)?;
        // What was not sent is not in place either.
        let sent = store::sent_objects(&self.ending, &self.parts, &self.bad).unwrap_or_default();
        store::remove_leftovers(&store, self.job, self.uploads, sent)
    }
}

/// Whether what is in the output's place is the published result of this job.
///
/// # Errors
///
/// If it cannot be looked at.
pub fn is_published(output: &Uri, options: &StoreOptions, job: JobId, stores: &Stores) -> Result<bool, OutputError> {
    if output.local_path().is_some() {
        return local::is_published(output, job);
    }
    store::is_published(&open(output, options, stores)?, job)
}

/// Folders above the output that do not exist, topmost first; none in a store.
pub fn missing_folders(output: &Uri) -> Vec<PathBuf> {
    local::missing_folders(output)
}

/// The place of an output in its store.
fn open(output: &Uri, options: &StoreOptions, stores: &Stores) -> Result<OutputStore, OutputError> {
    if matches!(output.scheme(), "http" | "https") {
        return Err(OutputError::ReadOnly { output: output.clone() });
    }
    let at = stores.with_options(options).prepare(output)?;
    OutputStore::new(at, output.clone())
        .ok_or_else(|| OutputError::StoreLacks { output: output.clone(), what: "uploads in pieces" })
}

/// Whether these bytes are the manifest of this job: job ids are never used again.
fn is_manifest_of(bytes: &[u8], job: JobId) -> bool {
    #[derive(Deserialize)]
    struct Head {
        job: String,
    }
    serde_json::from_slice::<Head>(bytes).is_ok_and(|head| head.job == job.to_string())
}
