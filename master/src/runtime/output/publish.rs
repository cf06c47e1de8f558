//! Job commit on the local file system: the winning parts and `_SUCCESS` become one folder, and that
//! folder the output, in one rename. Every step can be repeated after a crash.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use gristmill_common::ids::JobId;
use gristmill_common::naming::{BAD_DIR, SUCCESS_FILE, bad_records_name_of, part_name};
use gristmill_common::task::{BadRecords, PartSummary};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::Deserialize;

use super::{OutputClaim, OutputError, Place, RESULT, place, sweep};
use crate::failpoint::failpoint;
use crate::runtime::manifest::Manifest;

/// The largest `_SUCCESS` that is read back, some hundred bytes for each of a million parts.
const MAX_MANIFEST_BYTES: u64 = 256 << 20;

impl OutputClaim {
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
    pub fn publish(
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
        create_folder(&result)?;
        let staged = self.staged_parts_dir();
        let mut names = BTreeSet::new();
        for (index, part) in (0..).zip(parts) {
            let name = part_name(index);
            move_part(&staged, part, &name, &result.join(&name))?;
            if self.fsync {
                sync(&result.join(&name), "publish.sync_part")?;
            }
            names.insert(name);
        }
        if !bad.is_empty() {
            self.build_bad(bad, &result.join(BAD_DIR))?;
            names.insert(BAD_DIR.to_owned());
        }
        remove_others(&result, &names)?;

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

    /// Moves what was skipped into its folder.
    fn build_bad(&self, bad: &[BadRecords], folder: &Path) -> Result<(), OutputError> {
        create_folder(folder)?;
        let staged = self.staged_parts_dir();
        let mut names = BTreeSet::new();
        for bad in bad {
            let source = staged.join(&bad.staged_name);
            // The name comes from a worker's report, as that of a part.
            let Some(name) = bad_records_name_of(&bad.staged_name) else {
                return Err(OutputError::Part { path: source, expected_bytes: bad.bytes, found_bytes: None });
            };
            move_staged(&source, bad.bytes, &folder.join(&name))?;
            if self.fsync {
                sync(&folder.join(&name), "publish.sync_bad")?;
            }
            names.insert(name);
        }
        remove_others(folder, &names)?;
        if self.fsync { sync(folder, "publish.sync_bad_folder") } else { Ok(()) }
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
    #[derive(Deserialize)]
    struct Head {
        job: String,
    }
    let mut bytes = Vec::new();
    let read =
        File::open(output.join(SUCCESS_FILE)).and_then(|file| file.take(MAX_MANIFEST_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(serde_json::from_slice::<Head>(&bytes).is_ok_and(|head| head.job == job.to_string())),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | PermissionDenied) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Moves a staged part into the result, unless an interrupted commit has done so.
fn move_part(staged: &Path, part: &PartSummary, name: &str, target: &Path) -> Result<(), OutputError> {
    let source = staged.join(&part.staged_name);
    // The name comes from a worker's report: it may only be that of an attempt at this part.
    let attempt = part.staged_name.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
    if attempt.is_none_or(|attempt| attempt.contains('/')) {
        return Err(OutputError::Part { path: source, expected_bytes: part.bytes, found_bytes: None });
    }
    move_staged(&source, part.bytes, target)
}

/// Moves a staged file of a known size, unless an interrupted commit has done so.
fn move_staged(source: &Path, expected_bytes: u64, target: &Path) -> Result<(), OutputError> {
    match (file_bytes(source), file_bytes(target)) {
        (Some(bytes), _) if bytes == expected_bytes => {
            let moved = failpoint("publish.move_part").and_then(|()| fs::rename(source, target));
            moved.map_err(|error| OutputError::io("rename", source, error))
        }
        (None, Some(bytes)) if bytes == expected_bytes => Ok(()),
        (found_bytes, _) => Err(OutputError::Part { path: source.to_owned(), expected_bytes, found_bytes }),
    }
}

/// Makes a folder, unless an interrupted commit has done so.
fn create_folder(folder: &Path) -> Result<(), OutputError> {
    match failpoint("publish.create_result").and_then(|()| fs::create_dir(folder)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(OutputError::io("create folder", folder, error))
        }
        _ => Ok(()),
    }
}

/// The size of a regular file.
fn file_bytes(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
}

fn remove_others(result: &Path, names: &BTreeSet<String>) -> Result<(), OutputError> {
    let read = |error| OutputError::io("read folder", result, error);
    for entry in fs::read_dir(result).map_err(read)? {
        let name = entry.map_err(read)?.file_name();
        if !name.to_str().is_some_and(|name| names.contains(name)) {
            let path = result.join(name);
            let removed = failpoint("publish.remove_other").and_then(|()| fs::remove_file(&path));
            removed.map_err(|error| OutputError::io("remove", &path, error))?;
        }
    }
    Ok(())
}

/// Makes a file or folder last; `place` is where trials interrupt that.
fn sync(path: &Path, place: &'static str) -> Result<(), OutputError> {
    let synced = failpoint(place).and_then(|()| File::open(path)).and_then(|file| file.sync_all());
    synced.map_err(|error| OutputError::io("sync", path, error))
}
