//! What is in an output's place before a job may have it: objects, and claims of outputs above and below
//! it. Changes nothing.

use futures::stream::StreamExt as _;
use gristmill_common::naming::{CLAIM_OBJECT, SUCCESS_FILE, is_hidden};
use gristmill_common::storage::OutputStore;
use object_store::path::Path;

use super::claim::{MAX_CLAIM_BYTES, judge};
use super::record::{ClaimRecord, Verdict};
use super::{OutputError, interrupted};
use crate::failpoint::failpoint;

/// Whether an object belongs to an output as readers see it, or says that there is one.
pub(super) fn is_in_the_way(path: &str) -> bool {
    path == SUCCESS_FILE || !path.split('/').any(is_hidden)
}

/// Checks that the place can be one of an output at all.
///
/// # Errors
///
/// If it cannot.
pub(super) async fn check_name(store: &OutputStore) -> Result<(), OutputError> {
    if store.is_object().await? {
        return Err(OutputError::NotAFolder { output: store.uri().clone(), kind: "an object" });
    }
    Ok(())
}

/// Checks that a job may have the output: nothing is there, or it may be replaced, and no other claim is
/// on it, above it or below it.
///
/// # Errors
///
/// What is in the way.
pub(super) async fn check(store: &OutputStore, record: &ClaimRecord, overwrite: bool) -> Result<(), OutputError> {
    interrupted(failpoint("claim.look_at_place"), "look at", store.uri())?;
    check_claims_above(store, record).await?;
    let mut listed = store.list();
    while let Some(found) = listed.next().await {
        let (path, meta) = found?;
        if path.ends_with(&format!("/{CLAIM_OBJECT}")) {
            check_nested(store, record, &meta.location).await?;
        } else if !overwrite && is_in_the_way(&path) {
            return Err(OutputError::Exists { output: store.uri().clone() });
        }
    }
    Ok(())
}

async fn check_claims_above(store: &OutputStore, record: &ClaimRecord) -> Result<(), OutputError> {
    let mut above = store.prefix().as_ref();
    while let Some((folder, _)) = above.rsplit_once('/') {
        let claim = Path::parse(format!("{folder}/{CLAIM_OBJECT}"));
        let claim = claim.map_err(|error| OutputError::Store {
            action: "look above",
            object: store.uri().clone(),
            source: Box::new(error.into()),
        })?;
        check_nested(store, record, &claim).await?;
        above = folder;
    }
    Ok(())
}

/// Checks that nobody holds the claim at a key, which is not that of this output.
async fn check_nested(store: &OutputStore, record: &ClaimRecord, claim: &Path) -> Result<(), OutputError> {
    let found = store.read_key(claim, MAX_CLAIM_BYTES).await;
    let at = store.uri_of_key(claim);
    let found =
        found.map_err(|source| OutputError::Store { action: "read", object: at.clone(), source: Box::new(source) })?;
    match found.map(|(found, _)| judge(record, &found)) {
        None | Some(Verdict::Ours | Verdict::Free) => Ok(()),
        Some(Verdict::Held(holder) | Verdict::OutOfSight(holder)) => {
            Err(OutputError::Nested { output: store.uri().clone(), holder, claim: Box::new(at) })
        }
    }
}
