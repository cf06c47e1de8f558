//! A job's output on the local file system: claimed before the job starts, staged beside its place,
//! put there in one rename, or undone without a trace. Writes no records; attempts do.
//!
//! For the output `/data/counts` everything happens in one folder beside it:
//!
//! ```text
//! /data/.counts.gristmill/
//!     claim              locked while a process holds the output; says which job
//!     j-68ff1a2b3c4d/    where that job's attempts stage parts, each under a name of its own, and
//!                        what they put to named outputs in folders beside them
//!     result/            the output as it will be; after an exchange, what it was before
//!     removing/          on its way out
//! ```
//!
//! The lock, not the folder, is the claim: it ends with its process, however that ends. What a dead
//! process left is removed by the next one that claims the output. The lock file is unlinked by its
//! holder only, and whoever locks it checks that it is still the file under that name.

mod claim_file;
mod publish;
mod result;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use gristmill_common::ids::JobId;
use gristmill_common::naming::{self, Uri};
use gristmill_common::removal::{once_more, remove_empty};
use gristmill_common::spec::JobSpec;
use gristmill_common::storage::Pattern;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use self::claim_file::{ClaimFile, ClaimRecord};
use super::error::OutputError;
use crate::failpoint::failpoint;

/// The folder in the staging folder that becomes the output.
const RESULT: &str = "result";
/// Where folders go before they are removed, so that late writers no longer find them.
const REMOVING: &str = "removing";
/// Two folders exchanged for trial.
const PROBES: [&str; 2] = ["probe-a", "probe-b"];
/// How often folders above the output are created again because another claim removed them.
const ENTER_ROUNDS: u32 = 100;
/// How often a folder is removed again because somebody wrote into it meanwhile.
const REMOVE_ROUNDS: u32 = 5;

/// One job's hold on one output. Dropping it removes everything that is not published.
#[derive(Debug)]
pub(super) struct LocalClaim {
    job: JobId,
    uri: Uri,
    output: PathBuf,
    staging: PathBuf,
    overwrite: bool,
    fsync: bool,
    /// Folders above the output that did not exist before, topmost first.
    created: Vec<PathBuf>,
    /// Absent before the lock is taken and after it is given back.
    lock: Option<ClaimFile>,
}

/// What is in the output's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Free,
    EmptyFolder,
    Folder,
}

impl LocalClaim {
    /// Claims the spec's output for a job and makes the folder in which its attempts stage parts.
    ///
    /// Folders above the output are created where missing. Leftovers of other jobs whose process is
    /// gone are removed; those of this very job are kept, so that a commit can be resumed.
    ///
    /// # Errors
    ///
    /// If the output is not local, exists and may not be replaced, overlaps an input, is claimed by a
    /// live process, or a folder cannot be made there. Then nothing is left behind.
    pub(super) fn acquire(spec: &JobSpec, job: JobId) -> Result<Self, OutputError> {
        let mut claim = Self::unclaimed(spec, job)?;
        claim.take(spec)?;
        Ok(claim)
    }

    /// A claim that nothing was done for yet.
    fn unclaimed(spec: &JobSpec, job: JobId) -> Result<Self, OutputError> {
        let uri = spec.output.clone();
        let output = uri.local_path().ok_or_else(|| OutputError::ReadOnly { output: uri.clone() })?;
        if output.file_name().is_none() {
            return Err(OutputError::Root { output: uri });
        }
        let staging = naming::staging_dir(&output);
        let (overwrite, fsync) = (spec.overwrite, spec.fsync);
        Ok(Self { job, uri, output, staging, overwrite, fsync, created: Vec::new(), lock: None })
    }

    /// Takes the lock, if the job may put its output there, and makes the folder for staged parts.
    fn take(&mut self, spec: &JobSpec) -> Result<(), OutputError> {
        self.check_overlap(spec.all_inputs())?;
        if !self.staging.exists() {
            // Refused before anything is made; leftovers are worth the way through the lock.
            self.check_place()?;
        }
        self.enter()?;
        if self.check_place()? == Place::Folder && !publish::is_published_at(&self.output, self.job)? {
            self.probe_exchange()?;
        }
        let staged = self.staged_parts_dir();
        match failpoint("claim.create_parts").and_then(|()| fs::create_dir(&staged)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(OutputError::io("create folder", &staged, error))
            }
            _ => Ok(()),
        }
    }

    /// Takes up the claim of a job that an earlier process held. `staged` says that parts of it were
    /// committed, which must still be there unless the output is published.
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Self::acquire), and if what was staged is gone: somebody else used the output
    /// meanwhile. Everything stays as it is then: [`remove_leftovers`] removes it once it is recorded that the
    /// job is over.
    pub(super) fn reclaim(spec: &JobSpec, job: JobId, staged: bool) -> Result<Self, OutputError> {
        let mut claim = Self::unclaimed(spec, job)?;
        match claim.look_for_staged(staged).and_then(|()| claim.take(spec)) {
            Ok(()) => Ok(claim),
            Err(error) => {
                claim.abandon();
                Err(error)
            }
        }
    }

    /// Checks that what the job left, parts too if some were committed, is where it was left.
    fn look_for_staged(&self, parts: bool) -> Result<(), OutputError> {
        failpoint("claim.reclaim").map_err(|error| OutputError::io("claim", &self.output, error))?;
        if publish::is_published_at(&self.output, self.job)? {
            return Ok(());
        }
        let gone = |path: &Path| match fs::symlink_metadata(path) {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(OutputError::io("look at", path, error)),
        };
        // Whoever takes an output leaves something in its place, now or before.
        if gone(&self.staging)? && place(&self.output, &self.uri)? != Place::Folder {
            return Err(OutputError::StagingMissing { path: self.staging.clone() });
        }
        if parts && gone(&self.staged_parts_dir())? {
            return Err(OutputError::StagedPartsGone { output: self.uri.clone() });
        }
        Ok(())
    }

    /// Gives the claim up and leaves everything that is staged, for the master that comes next.
    pub(super) fn abandon(mut self) {
        drop(self.lock.take());
        self.created.clear();
    }

    /// The folder in which attempts stage parts, under [`naming::staged_part_name`].
    pub(super) fn staged_parts_dir(&self) -> PathBuf {
        naming::staged_parts_dir(&self.output, self.job)
    }

    /// The job that holds the output.
    pub(super) fn job(&self) -> JobId {
        self.job
    }

    /// Removes everything staged, the folders created above the output if they are empty, and the
    /// claim. A published output stays.
    ///
    /// # Errors
    ///
    /// The first thing that cannot be removed; the claim is given up all the same.
    pub(super) fn undo(mut self) -> Result<(), OutputError> {
        self.release()
    }

    fn release(&mut self) -> Result<(), OutputError> {
        let mut result = Ok(());
        if let Some(lock) = self.lock.take() {
            let swept = failpoint("undo.sweep").map_err(|error| OutputError::io("read folder", &self.staging, error));
            result = swept.and_then(|()| once_more(|| sweep(&self.staging, &[])));
            result = result.and(lock.remove());
            // Fails if somebody else is about to claim the output, who then uses the folder.
            let _ = failpoint("claim.remove_staging").and_then(|()| remove_empty(&self.staging));
        }
        for parent in self.created.drain(..).rev() {
            // Fails if the output or anything else is in it, and then it shall stay.
            let _ = failpoint("claim.remove_parent").and_then(|()| remove_empty(&parent));
        }
        result
    }

    /// Makes the folders above the output and takes the lock below them.
    fn enter(&mut self) -> Result<(), OutputError> {
        let mut round = 1;
        loop {
            match self.create_parents().and_then(|()| self.take_lock()) {
                // Another claim, undone meanwhile, took along the folders that it had created.
                Err(error) if error.is_missing() && round < ENTER_ROUNDS => round += 1,
                result => return result,
            }
        }
    }

    fn create_parents(&mut self) -> Result<(), OutputError> {
        let mut missing = missing_above(&self.output);
        while let Some(parent) = missing.pop() {
            match failpoint("claim.create_parent").and_then(|()| fs::create_dir(&parent)) {
                Ok(()) if self.created.contains(&parent) => {}
                Ok(()) => self.created.push(parent),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(OutputError::io("create folder", &parent, error)),
            }
        }
        Ok(())
    }

    fn take_lock(&mut self) -> Result<(), OutputError> {
        let (mut lock, previous) = ClaimFile::lock(&self.staging, &self.uri)?;
        let own = self.job.to_string();
        let is_own = match &previous {
            Some(record) => record.job == own,
            // Its writer died before it had said whose the claim is. A folder of this job says it: every
            // other claim would have removed it first.
            None => self.staged_parts_dir().is_dir(),
        };
        let keep: &[&str] = if is_own { &[RESULT, &own] } else { &[] };
        if let Some(record) = &previous {
            tracing::info!(output = %self.uri, job = %record.job, "taking over an output whose process is gone");
        }
        self.inherit(previous);
        let swept = sweep(&self.staging, keep);
        let written = lock.write(&ClaimRecord { job: own, created: self.created.clone() });
        self.lock = Some(lock);
        swept.and(written)
    }

    /// Whoever undoes the claim also undoes what the dead process created.
    fn inherit(&mut self, previous: Option<ClaimRecord>) {
        let folders = previous.map(|record| record.created).unwrap_or_default();
        let above = folders.into_iter().filter(|folder| self.output != *folder && self.output.starts_with(folder));
        self.created.splice(0..0, above);
    }

    /// What is in the output's place, if the job may put its output there.
    fn check_place(&self) -> Result<Place, OutputError> {
        let place = place(&self.output, &self.uri)?;
        if place == Place::Folder && !self.overwrite && !publish::is_published_at(&self.output, self.job)? {
            return Err(OutputError::Exists { output: self.uri.clone() });
        }
        Ok(place)
    }

    /// Finds out before the work, not after it, whether two folders can change places here.
    fn probe_exchange(&self) -> Result<(), OutputError> {
        let [a, b] = PROBES.map(|name| self.staging.join(name));
        for folder in [&a, &b] {
            fs::create_dir(folder).map_err(|error| OutputError::io("create folder", folder, error))?;
        }
        let exchange = || renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).map_err(io::Error::from);
        let exchanged = failpoint("claim.probe").and_then(|()| exchange());
        for folder in [&a, &b] {
            remove_empty(folder).map_err(|error| OutputError::io("remove folder", folder, error))?;
        }
        exchanged.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => {
                OutputError::CannotReplace { output: self.uri.clone(), source: error }
            }
            _ => OutputError::io("exchange with another folder", &a, error),
        })
    }

    /// Compares output and inputs with all links resolved; by name the planner has done it.
    fn check_overlap<'a>(&self, inputs: impl Iterator<Item = &'a Uri>) -> Result<(), OutputError> {
        let Some(output) = resolve(&self.output) else { return Ok(()) };
        for input in inputs {
            let overlap = || OutputError::OverlapsInput { output: self.uri.clone(), input: input.clone() };
            let real = input.local_path().and_then(|path| fs::canonicalize(path).ok());
            if let Some(real) = real {
                if real.starts_with(&output) || output.starts_with(&real) {
                    return Err(overlap());
                }
            } else if let Ok(pattern) = Pattern::parse(input) {
                let mut folders = pattern.folders().filter_map(Uri::local_path);
                if folders.any(|folder| resolve(&folder).is_some_and(|real| real.starts_with(&output))) {
                    return Err(overlap());
                }
            }
        }
        Ok(())
    }
}

impl Drop for LocalClaim {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            tracing::warn!(output = %self.uri, %error, "something staged could not be removed");
        }
    }
}

/// Whether what is in the output's place is the published result of this job.
///
/// # Errors
///
/// If it cannot be looked at.
pub(super) fn is_published(output: &Uri, job: JobId) -> Result<bool, OutputError> {
    output.local_path().map_or(Ok(false), |path| publish::is_published_at(&path, job))
}

/// Folders above the output that do not exist, topmost first.
pub(super) fn missing_folders(output: &Uri) -> Vec<PathBuf> {
    let mut missing = output.local_path().map(|path| missing_above(&path)).unwrap_or_default();
    missing.reverse();
    missing
}

/// Folders above a path that do not exist, deepest first.
fn missing_above(path: &Path) -> Vec<PathBuf> {
    let missing =
        |folder: &&Path| matches!(fs::metadata(folder), Err(error) if error.kind() == io::ErrorKind::NotFound);
    path.ancestors().skip(1).take_while(missing).map(Path::to_path_buf).collect()
}

/// Removes what a claim of this very job left whose process is gone, and of `created`, topmost first,
/// the folders above the output with nothing in them. What others claim or left stays.
///
/// # Errors
///
/// The first thing that cannot be removed.
pub(super) fn remove_leftovers(output: &Uri, job: JobId, created: &[PathBuf]) -> Result<(), OutputError> {
    let Some(path) = output.local_path() else { return Ok(()) };
    let removed = remove_staged(output, &path, job);
    for folder in created.iter().rev().filter(|folder| path.starts_with(folder) && path != **folder) {
        // Fails if anything is in it, and then it shall stay.
        let _ = remove_empty(folder);
    }
    removed
}

fn remove_staged(uri: &Uri, output: &Path, job: JobId) -> Result<(), OutputError> {
    let staging = naming::staging_dir(output);
    if !staging.try_exists().map_err(|error| OutputError::io("look for", &staging, error))? {
        return Ok(());
    }
    let (lock, previous) = match ClaimFile::lock(&staging, uri) {
        Err(OutputError::Held { .. }) => return Ok(()),
        locked => locked?,
    };
    let mut claim = LocalClaim {
        job,
        uri: uri.clone(),
        output: output.to_owned(),
        staging,
        overwrite: false,
        fsync: false,
        created: Vec::new(),
        lock: Some(lock),
    };
    match previous {
        Some(record) if record.job != job.to_string() => claim.abandon(),
        previous => {
            claim.inherit(previous);
            claim.undo()?;
        }
    }
    Ok(())
}

/// What is in the output's place, unless no output can ever be there.
fn place(output: &Path, uri: &Uri) -> Result<Place, OutputError> {
    let metadata = match fs::symlink_metadata(output) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::Free),
        Err(error) => return Err(OutputError::io("look at", output, error)),
    };
    if !metadata.is_dir() {
        let kind = if metadata.is_symlink() { "a symbolic link" } else { "a file" };
        return Err(OutputError::NotAFolder { output: uri.clone(), kind });
    }
    let parent = output.parent().unwrap_or(output);
    let parent = fs::metadata(parent).map_err(|error| OutputError::io("look at", parent, error))?;
    if parent.dev() != metadata.dev() {
        return Err(OutputError::MountPoint { output: uri.clone() });
    }
    let mut entries = fs::read_dir(output).map_err(|error| OutputError::io("read folder", output, error))?;
    Ok(if entries.next().is_none() { Place::EmptyFolder } else { Place::Folder })
}

/// The path with links resolved, as far as it exists.
fn resolve(path: &Path) -> Option<PathBuf> {
    let existing = path.ancestors().find_map(|ancestor| Some((ancestor, fs::canonicalize(ancestor).ok()?)));
    let (ancestor, real) = existing?;
    Some(real.join(path.strip_prefix(ancestor).ok()?))
}

/// Removes what claims leave in a staging folder, but for the names in `keep`. Anything else in it
/// is not ours and stays.
fn sweep(staging: &Path, keep: &[&str]) -> Result<(), OutputError> {
    let read = |error| OutputError::io("read folder", staging, error);
    let mut result = Ok(());
    for entry in fs::read_dir(staging).map_err(read)? {
        let name = entry.map_err(read)?.file_name().to_string_lossy().into_owned();
        let ours =
            name == RESULT || name == REMOVING || PROBES.contains(&name.as_str()) || name.parse::<JobId>().is_ok();
        if ours && !keep.contains(&name.as_str()) {
            result = result.and(remove_tree(staging, &name));
        }
    }
    result
}

/// Removes a folder of the staging folder. It is renamed first, so that an attempt that has not
/// heard of its end fails to create files in it.
fn remove_tree(staging: &Path, name: &str) -> Result<(), OutputError> {
    let removing = staging.join(REMOVING);
    if name != REMOVING {
        remove_all(&removing)?;
        let from = staging.join(name);
        let renamed = failpoint("undo.rename").and_then(|()| fs::rename(&from, &removing));
        renamed.map_err(|error| OutputError::io("rename", &from, error))?;
    }
    remove_all(&removing)
}

fn remove_all(folder: &Path) -> Result<(), OutputError> {
    let mut round = 1;
    loop {
        match failpoint("undo.remove").and_then(|()| fs::remove_dir_all(folder)) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && round < REMOVE_ROUNDS => round += 1,
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(OutputError::io("remove folder", folder, error));
            }
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
