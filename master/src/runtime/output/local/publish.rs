//! Job commit on the local file system: the winning parts and `_SUCCESS` become one folder, and that
//! folder the output, in one rename. Every step can be repeated after a crash.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use gristmill_common::ids::JobId;
use gristmill_common::naming::SUCCESS_FILE;
use gristmill_common::task::{BadRecords, PartSummary};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::result::{ResultFolder, sync};
use super::{LocalClaim, OutputError, Place, RESULT, place, sweep};
use crate::failpoint::failpoint;
use crate::runtime::manifest::Manifest;
use crate::runtime::output::{MAX_MANIFEST_BYTES, is_manifest_of};

impl LocalClaim {
    /// Puts the winning parts, in part order, what their attempts skipped, and the manifest in the
    /// output's place.
    ///
    /// No reader sees less than all of it; what was there before stays until then. Publishing again
    /// after success, or after a crash and a new claim by the same job, completes what is left to
    /// do. The claim holds until it is dropped.
    ///
    /// # Errors
    ///
    /// If a part is not what its attempt reported, somebody else put something into the output's
    /// place, or the file system refuses. Then what was in the output's place is still there.
    pub(in crate::runtime::output) fn publish(
        &mut self,
        parts: &[PartSummary],
        bad: &[BadRecords],
        manifest: &Manifest,
    ) -> Result<(), OutputError> {
        if !is_published_at(&self.output, self.job)? {
            self.build_result(parts, bad, manifest)?;
            self.put_in_place()?;
        }
        let swept = failpoint("publish.sweep").map_err(|error| OutputError::io("read folder", &self.staging, error));
        if let Err(error) = swept.and_then(|()| sweep(&self.staging, &[])) {
            // The output stands; what is left is removed when the claim is dropped, or by the next.
            tracing::warn!(output = %self.uri, %error, "something staged could not be removed");
        }
        Ok(())
    }

    pub(super) fn build_result(
        &self,
        parts: &[PartSummary],
        bad: &[BadRecords],
        manifest: &Manifest,
    ) -> Result<(), OutputError> {
        let result = self.staging.join(RESULT);
        let mut folder =
            ResultFolder::create(&result, self.staged_parts_dir(), manifest.spec.part_ending(), self.fsync)?;
        for (index, part) in (0..).zip(parts) {
            folder.take_part(index, part)?;
        }
        folder.take_bad(bad)?;
        folder.finish()?;

        let path = result.join(SUCCESS_FILE);
        let created = failpoint("publish.create_manifest").and_then(|()| File::create(&path));
        let written = created.and_then(|mut file| {
            failpoint("publish.write_manifest")?;
            file.write_all(&manifest.to_bytes())
        });
        written.map_err(|error| OutputError::io("write", &path, error))?;
        if let Ok(metadata) = fs::metadata(&self.output) {
            let set = failpoint("publish.set_permissions");
            set.and_then(|()| fs::set_permissions(&result, metadata.permissions()))
                .map_err(|error| OutputError::io("set the permissions of", &result, error))?;
        }
        if self.fsync {
            sync(&path, "publish.sync_manifest")?;
            sync(&result, "publish.sync_result")?;
        }
        Ok(())
    }

    pub(super) fn put_in_place(&self) -> Result<(), OutputError> {
        let result = self.staging.join(RESULT);
        let replaces = match place(&self.output, &self.uri)? {
            Place::Folder | Place::EmptyFolder => self.overwrite,
            Place::Free => false,
        };
        // The kernel itself refuses to rename over anything but an empty folder.
        let flags = if replaces { RenameFlags::EXCHANGE } else { RenameFlags::empty() };
        let rename = |from, to| renameat_with(CWD, from, CWD, to, flags).map_err(io::Error::from);
        let renamed = failpoint("publish.rename")
            .and_then(|()| rename(&result, &self.output))
            .and_then(|()| failpoint("publish.renamed"));
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {
                OutputError::Exists { output: self.uri.clone() }
            }
            io::ErrorKind::NotADirectory => OutputError::NotAFolder { output: self.uri.clone(), kind: "a file" },
            _ => OutputError::io("put the output in place at", &self.output, error),
        })?;
        self.sync_parents().inspect_err(|_| {
            // The job fails, and so nothing of it may stay where an output is looked for.
            if let Err(error) = rename(&self.output, &result) {
                tracing::warn!(output = %self.uri, %error, "the output of a failed job cannot be taken back");
            }
        })
    }

    /// Makes the output's place last, if the job asks for it.
    fn sync_parents(&self) -> Result<(), OutputError> {
        let Some(parent) = self.output.parent().filter(|_| self.fsync) else { return Ok(()) };
        // The new folders above it must last as well.
        let above = self.created.iter().filter_map(|folder| folder.parent());
        above.chain([parent]).try_for_each(|folder| sync(folder, "publish.sync_parent"))
    }
}

/// Whether the folder is the published result of this job: job ids are never used again.
///
/// # Errors
///
/// If the manifest cannot be read, which is told from its absence. One that may not be read is somebody
/// else's.
pub(super) fn is_published_at(output: &Path, job: JobId) -> Result<bool, OutputError> {
    look_for_published(output, job).map_err(|error| OutputError::io("read", &output.join(SUCCESS_FILE), error))
}

/// [`is_published_at`] in the words of the system.
fn look_for_published(output: &Path, job: JobId) -> io::Result<bool> {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    let mut bytes = Vec::new();
    let read =
        File::open(output.join(SUCCESS_FILE)).and_then(|file| file.take(MAX_MANIFEST_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(is_manifest_of(&bytes, job)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | PermissionDenied) => Ok(false),
        Err(error) => Err(error),
    }
}
