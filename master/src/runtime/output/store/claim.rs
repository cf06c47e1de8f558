//! The claim as an object: taken, looked at, given back. A store's answer to a conditional write may be
//! lost, or be about an earlier try of the same write, so none is believed: what is there is read back,
//! and the writer id decides.

use bytes::Bytes;
use gristmill_common::ids::JobId;
use gristmill_common::naming::CLAIM_OBJECT;
use gristmill_common::storage::OutputStore;
use object_store::{Error, UpdateVersion};

use super::process::{self, Process};
use super::publish::read_success;
use super::record::{ClaimRecord, Verdict};
use super::{OutputError, interrupted};
use crate::failpoint::failpoint;
use crate::runtime::output::is_manifest_of;

/// The longest claim that is read.
pub(super) const MAX_CLAIM_BYTES: u64 = 1 << 16;

/// What an upload for trial would become. Its name is one of a part, so that it is found among unfinished
/// uploads if the answer to the trial is lost.
const TRIAL_OBJECT: &str = "part-trial";

/// How often taking a claim begins anew because what was there changed meanwhile, or the store gave no
/// answer. Each round means another claim that came or went, or a request that failed for good.
const ROUNDS: u32 = 20;

/// Takes the claim for a record: creates it, or takes over one that nobody holds any more.
///
/// # Errors
///
/// If somebody else holds it, or may, or the store does not do what a claim needs.
pub(super) async fn take(store: &OutputStore, record: &ClaimRecord) -> Result<(), OutputError> {
    let content = Bytes::from(record.to_bytes());
    let mut replacing: Option<UpdateVersion> = None;
    let mut round = 0;
    loop {
        interrupted(failpoint("claim.put_object"), "claim", store.uri())?;
        let written = match replacing.take() {
            None => store.create(CLAIM_OBJECT, content.clone()).await,
            Some(version) => store.replace(CLAIM_OBJECT, content.clone(), version).await,
        };
        interrupted(failpoint("claim.object_is_put"), "claim", store.uri())?;
        if let Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) = &written {
            return Err(lacks(store, "puts on condition that an object is not there, or is as it was"));
        }
        let found = store.read(CLAIM_OBJECT, MAX_CLAIM_BYTES).await?;
        match (found, written) {
            (Some((found, version)), _) => match judge(record, &found) {
                Verdict::Ours => return Ok(()),
                Verdict::Free => replacing = Some(version),
                Verdict::Held(holder) => return Err(OutputError::Held { output: store.uri().clone(), holder }),
                Verdict::OutOfSight(holder) => {
                    let claim = Box::new(store.uri_of(CLAIM_OBJECT));
                    return Err(OutputError::HeldOutOfSight { output: store.uri().clone(), holder, claim });
                }
            },
            (None, Err(source)) if refuses(&source) || round + 1 >= ROUNDS => {
                return Err(store_error("claim", store, CLAIM_OBJECT, source));
            }
            // Given back meanwhile, or the write did not arrive.
            (None, Ok(()) | Err(_)) => {}
        }
        if round + 1 >= ROUNDS {
            let holder = "other jobs, one after the other".to_owned();
            return Err(OutputError::Held { output: store.uri().clone(), holder });
        }
        store.pause(&record.writer, round.min(4)).await;
        round += 1;
    }
}

/// Makes sure that nobody used the place since an earlier process of the job held it: its claim stays until its
/// result is in place.
///
/// # Errors
///
/// If somebody did, or the store does not tell.
pub(super) async fn check_kept(store: &OutputStore, record: &ClaimRecord, job: JobId) -> Result<(), OutputError> {
    let found = store.read(CLAIM_OBJECT, MAX_CLAIM_BYTES).await?;
    if found.is_some_and(|(found, _)| record.is_of_same_job(&found)) {
        return Ok(());
    }
    match read_success(store).await? {
        Some(manifest) if is_manifest_of(&manifest, job) => Ok(()),
        _ => Err(OutputError::StagedPartsGone { output: store.uri().clone() }),
    }
}

/// Makes sure that the store keeps two jobs from one output and can begin uploads. The claim is held.
///
/// # Errors
///
/// If it does not, by name.
pub(super) async fn check_store(store: &OutputStore, record: &ClaimRecord) -> Result<(), OutputError> {
    interrupted(failpoint("claim.try_store"), "claim", store.uri())?;
    let second = ClaimRecord::new(gristmill_common::ids::JobId(0), record.process.clone());
    if store.create(CLAIM_OBJECT, second.to_bytes().into()).await.is_ok() && !is_held(store, record).await? {
        // It is that of the trial now.
        store.delete(CLAIM_OBJECT).await?;
        return Err(lacks(store, "puts on condition that an object is not there"));
    }
    match store.open_upload(TRIAL_OBJECT).await {
        Ok(upload) => Ok(store.abort(&upload).await?),
        Err(error) if matches!(*error.source, Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
            Err(lacks(store, "uploads in pieces"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Who has a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Whoever asks.
    Us,
    /// A later process of the same job: what the job has begun is that one's to complete.
    Successor,
    /// Somebody else, or nobody.
    Others,
}

/// Who has the claim by now.
///
/// # Errors
///
/// If the store does not tell.
pub(super) async fn holder(store: &OutputStore, record: &ClaimRecord) -> Result<Holder, OutputError> {
    let found = store.read(CLAIM_OBJECT, MAX_CLAIM_BYTES).await?;
    Ok(match found {
        Some((found, _)) if judge(record, &found) == Verdict::Ours => Holder::Us,
        Some((found, _)) if record.is_of_same_job(&found) => Holder::Successor,
        Some(_) | None => Holder::Others,
    })
}

/// Whether the claim is still the one that was taken.
///
/// # Errors
///
/// If the store does not tell.
pub(super) async fn is_held(store: &OutputStore, record: &ClaimRecord) -> Result<bool, OutputError> {
    Ok(holder(store, record).await? == Holder::Us)
}

/// Makes sure that the claim that was taken a while ago is still there. A server that looks whether an
/// object is there, and only then writes it, lets two that come at the same moment both believe that
/// theirs is the one; by now the later one is to be seen.
///
/// # Errors
///
/// If it is not, by who has it.
pub(super) async fn check_held(store: &OutputStore, record: &ClaimRecord) -> Result<(), OutputError> {
    let found = store.read(CLAIM_OBJECT, MAX_CLAIM_BYTES).await?;
    let holder = match found.map(|(found, _)| judge(record, &found)) {
        Some(Verdict::Ours) => return Ok(()),
        Some(Verdict::Held(holder) | Verdict::OutOfSight(holder)) => holder,
        Some(Verdict::Free) | None => "another job that came at the same time".to_owned(),
    };
    Err(OutputError::Held { output: store.uri().clone(), holder })
}

/// Gives the claim back, unless it is somebody else's by now.
///
/// # Errors
///
/// If the store does not delete it.
pub(super) async fn give_back(store: &OutputStore, record: &ClaimRecord) -> Result<(), OutputError> {
    interrupted(failpoint("claim.delete_object"), "give up", store.uri())?;
    if is_held(store, record).await? {
        store.delete(CLAIM_OBJECT).await?;
    }
    Ok(())
}

/// What a claim that was found means to whoever has `record`.
pub(super) fn judge(record: &ClaimRecord, found: &[u8]) -> Verdict {
    record.judge(found, |other: &Process| record.process.fate_of(other, process::started))
}

/// Whether trying again is of no use.
fn refuses(error: &Error) -> bool {
    matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. } | Error::NotFound { .. })
}

fn lacks(store: &OutputStore, what: &'static str) -> OutputError {
    OutputError::StoreLacks { output: store.uri().clone(), what }
}

pub(super) fn store_error(action: &'static str, store: &OutputStore, path: &str, source: Error) -> OutputError {
    OutputError::Store { action, object: store.uri_of(path), source: Box::new(source) }
}
