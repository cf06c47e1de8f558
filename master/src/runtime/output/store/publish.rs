//! Job commit in an object store: uploads are completed one by one, and `_SUCCESS` ends them. Every step
//! can be repeated after a crash.

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt as _, TryStreamExt as _};
use gristmill_common::ids::JobId;
use gristmill_common::naming::{CLAIM_OBJECT, SUCCESS_FILE};
use gristmill_common::storage::{OutputStore, TRIES};

use super::claim::{is_held, store_error};
use super::place::is_in_the_way;
use super::record::ClaimRecord;
use super::sent::{SentObject, paths};
use super::{OutputError, interrupted};
use crate::failpoint::failpoint;
use crate::runtime::output::{MAX_MANIFEST_BYTES, is_manifest_of};

/// Requests under way at once. More finish large outputs sooner, and are more often told to slow down.
pub(super) const AT_ONCE: usize = 16;

/// What is put in place.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) store: OutputStore,
    pub(super) record: ClaimRecord,
    pub(super) job: JobId,
    pub(super) overwrite: bool,
    pub(super) objects: Vec<SentObject>,
    pub(super) manifest: Bytes,
}

impl Publication {
    /// Puts everything in place, `_SUCCESS` last; again after success, it does nothing.
    ///
    /// # Errors
    ///
    /// If the claim is lost, an upload is gone, somebody else put something into the output's place, or
    /// the store refuses.
    pub(super) async fn put(&self) -> Result<(), OutputError> {
        interrupted(failpoint("publish.check_claim"), "check the claim on", self.store.uri())?;
        self.check_claim().await?;
        match read_success(&self.store).await? {
            Some(manifest) if is_manifest_of(&manifest, self.job) => return Ok(()),
            Some(_) if self.overwrite => {
                interrupted(failpoint("publish.delete_success"), "delete", &self.store.uri_of(SUCCESS_FILE))?;
                self.store.delete(SUCCESS_FILE).await?;
            }
            Some(_) => return Err(OutputError::Exists { output: self.store.uri().clone() }),
            None => {}
        }
        if !self.overwrite {
            self.check_nothing_came_between().await?;
        }
        self.complete_all().await?;
        if self.overwrite {
            // That may have taken long, and what is deleted next may be another's by now.
            self.check_claim().await?;
            self.delete_others().await?;
        }
        self.create_success().await
    }

    async fn check_claim(&self) -> Result<(), OutputError> {
        match is_held(&self.store, &self.record).await? {
            true => Ok(()),
            false => Err(OutputError::ClaimLost { output: self.store.uri().clone() }),
        }
    }

    /// Checks that nobody put anything into the place since it was claimed.
    async fn check_nothing_came_between(&self) -> Result<(), OutputError> {
        let own = paths(&self.objects);
        let mut listed = self.store.list();
        while let Some(found) = listed.next().await {
            let (path, _) = found?;
            if is_in_the_way(&path) && !own.contains(path.as_str()) {
                return Err(OutputError::Exists { output: self.store.uri().clone() });
            }
        }
        Ok(())
    }

    async fn complete_all(&self) -> Result<(), OutputError> {
        let mut under_way = FuturesUnordered::new();
        for object in &self.objects {
            if under_way.len() >= AT_ONCE {
                under_way.try_next().await?;
            }
            under_way.push(object.complete(&self.store));
        }
        under_way.try_collect().await
    }

    /// Deletes what was there before the job and is none of it.
    async fn delete_others(&self) -> Result<(), OutputError> {
        let own = paths(&self.objects);
        let mut under_way = FuturesUnordered::new();
        let mut listed = self.store.list();
        while let Some(found) = listed.next().await {
            let (path, _) = found?;
            if own.contains(path.as_str()) || path == SUCCESS_FILE || path == CLAIM_OBJECT {
                continue;
            }
            if under_way.len() >= AT_ONCE {
                under_way.try_next().await?;
            }
            under_way.push(self.delete_other(path));
        }
        under_way.try_collect().await
    }

    async fn delete_other(&self, path: String) -> Result<(), OutputError> {
        interrupted(failpoint("publish.delete_other"), "delete", &self.store.uri_of(&path))?;
        Ok(self.store.delete(&path).await?)
    }

    async fn create_success(&self) -> Result<(), OutputError> {
        let mut failures = 0;
        loop {
            let success = self.store.uri_of(SUCCESS_FILE);
            interrupted(failpoint("publish.create_success"), "write", &success)?;
            let created = self.store.create(SUCCESS_FILE, self.manifest.clone()).await;
            interrupted(failpoint("publish.success_is_created"), "write", &success)?;
            let Err(source) = created else { return Ok(()) };
            match read_success(&self.store).await? {
                Some(manifest) if is_manifest_of(&manifest, self.job) => return Ok(()),
                Some(_) => return Err(OutputError::Exists { output: self.store.uri().clone() }),
                None if failures + 1 >= TRIES => return Err(store_error("write", &self.store, SUCCESS_FILE, source)),
                None => self.store.pause(SUCCESS_FILE, failures).await,
            }
            failures += 1;
        }
    }
}

/// The manifest in an output's place.
///
/// # Errors
///
/// If the store does not give it.
pub(super) async fn read_success(store: &OutputStore) -> Result<Option<Bytes>, OutputError> {
    Ok(store.read(SUCCESS_FILE, MAX_MANIFEST_BYTES).await?.map(|(manifest, _)| manifest))
}
