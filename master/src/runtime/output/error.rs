//! Why an output cannot be claimed, published or undone.

use std::io;
use std::path::{Path, PathBuf};

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::naming::Uri;
use gristmill_common::storage::{ObjectError, StoreError};

use crate::runtime::describe;

/// Why an output cannot be claimed, published or undone.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Nobody can write there.
    #[error("cannot write {output}: {}:// is read-only", output.scheme())]
    ReadOnly {
        /// The output.
        output: Uri,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    NoStore(#[from] StoreError),
    /// The store does not do what a commit needs.
    #[error("cannot write {output}: its store lacks {what}")]
    StoreLacks {
        /// The output.
        output: Uri,
        /// What it lacks.
        what: &'static str,
    },
    /// The root of the file system has no place beside it.
    #[error("{output} cannot be an output: it is the root of {}", root_of(output))]
    Root {
        /// The output.
        output: Uri,
    },
    /// A folder with something in it, and the job may not replace it.
    #[error("output {output} exists and is not empty")]
    Exists {
        /// The output.
        output: Uri,
    },
    /// Something that is never replaced.
    #[error("output {output} is {kind}; only a folder can be an output or be replaced by one")]
    NotAFolder {
        /// The output.
        output: Uri,
        /// What it is.
        kind: &'static str,
    },
    /// A folder that cannot be renamed.
    #[error("output {output} is a mount point, which cannot be replaced")]
    MountPoint {
        /// The output.
        output: Uri,
    },
    /// The file system cannot exchange two folders.
    #[error("cannot replace {output} atomically: its file system cannot exchange two folders")]
    CannotReplace {
        /// The output.
        output: Uri,
        /// What it reports.
        source: io::Error,
    },
    /// Links make output and input meet.
    #[error("output {output} and input {input} overlap, since links lead from one to the other")]
    OverlapsInput {
        /// The output.
        output: Uri,
        /// The input.
        input: Uri,
    },
    /// A live process is at work on it.
    #[error("output {output} is claimed by {holder}")]
    Held {
        /// The output.
        output: Uri,
        /// `job j-…`, or `another job` if it has not said yet which.
        holder: String,
    },
    /// A process on another machine claimed it, of which nobody here can tell whether it lives.
    #[error("output {output} is claimed by {holder}, which cannot be seen from here (its claim is {claim})")]
    HeldOutOfSight {
        /// The output.
        output: Uri,
        /// Which job, and where.
        holder: String,
        /// The object that is its claim.
        claim: Box<Uri>,
    },
    /// Another job has an output above it or below it.
    #[error("output {output} overlaps another one, which is claimed by {holder} (its claim is {claim})")]
    Nested {
        /// The output.
        output: Uri,
        /// Which job.
        holder: String,
        /// The object that is its claim.
        claim: Box<Uri>,
    },
    /// Somebody else took the claim, or removed it, while the job ran.
    #[error("the job's claim on {output} is gone: something else removed or replaced it while the job ran")]
    ClaimLost {
        /// The output.
        output: Uri,
    },
    /// What an attempt sent is gone.
    #[error("what was sent for {object} is gone: its upload was aborted or has expired")]
    UploadGone {
        /// What it would have become.
        object: Uri,
    },
    /// Parts that attempts of the job staged are gone.
    #[error("what the job staged for {output} is gone: something else used that output while no master ran")]
    StagedPartsGone {
        /// The output.
        output: Uri,
    },
    /// The folder in which the job staged is not there, nor anything in the output's place: the job left
    /// it, and nobody who used the output would have taken it along.
    #[error("staging folder {} is not there; is its file system mounted?", path.display())]
    StagingMissing {
        /// The folder.
        path: PathBuf,
    },
    /// A committed part is not what its attempt reported.
    #[error("staged part {} is missing or damaged: expected {expected_bytes} bytes, found {}", path.display(), found(*found_bytes))]
    Part {
        /// Where it was expected.
        path: PathBuf,
        /// The size reported.
        expected_bytes: u64,
        /// The size found, if there is a file.
        found_bytes: Option<u64>,
    },
    /// The file system takes two names for one.
    #[error("two outputs of the job have one path on this file system: {}", path.display())]
    SamePath {
        /// The path.
        path: PathBuf,
    },
    /// A store refuses, or does not answer.
    #[error("cannot {action} {object}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// On which object.
        object: Uri,
        /// What it reports.
        source: Box<object_store::Error>,
    },
    /// The operating system refuses.
    #[error("permission denied: cannot {action} {}", path.display())]
    PermissionDenied {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
    },
    /// The operating system reports something else.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What it reports.
        source: io::Error,
    },
}

impl OutputError {
    /// What to try, where there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            OutputError::Exists { .. } => Some("choose another folder, or replace it with --overwrite"),
            OutputError::NotAFolder { .. } | OutputError::Root { .. } | OutputError::MountPoint { .. } => {
                Some("choose another folder")
            }
            OutputError::CannotReplace { .. } => Some("remove the old output yourself and run without --overwrite"),
            OutputError::OverlapsInput { .. } => Some("choose an output folder beside the input"),
            OutputError::StagedPartsGone { .. } | OutputError::ClaimLost { .. } => Some("submit the job again"),
            OutputError::UploadGone { .. } => {
                Some("run the job again; a rule of the bucket that aborts uploads must leave them alone for longer")
            }
            OutputError::Held { .. } => Some("wait for that job or cancel it"),
            OutputError::HeldOutOfSight { .. } => {
                Some("if that process is gone, delete the object that is its claim; else wait for it")
            }
            OutputError::Nested { .. } => {
                Some("choose another place; if the process that made the claim is gone, delete that object")
            }
            OutputError::ReadOnly { .. } => Some("write to a local folder or an object store"),
            OutputError::NoStore(error) => error.hint(),
            OutputError::StoreLacks { .. } => Some("write to a local folder and copy it"),
            OutputError::SamePath { .. } => Some("choose names that do not differ in upper and lower case alone"),
            OutputError::Part { .. }
            | OutputError::StagingMissing { .. }
            | OutputError::Store { .. }
            | OutputError::PermissionDenied { .. }
            | OutputError::Io { .. } => None,
        }
    }

    /// Whether the output may be as it was left, and only cannot be seen to at the moment.
    pub fn is_out_of_reach(&self) -> bool {
        match self {
            // A bucket that is gone does not come back with what was sent to it.
            OutputError::Store { source, .. } if matches!(**source, object_store::Error::NotFound { .. }) => false,
            OutputError::StagingMissing { .. }
            | OutputError::NoStore(_)
            | OutputError::Store { .. }
            | OutputError::PermissionDenied { .. }
            | OutputError::Io { .. } => true,
            OutputError::ReadOnly { .. }
            | OutputError::StoreLacks { .. }
            | OutputError::HeldOutOfSight { .. }
            | OutputError::Nested { .. }
            | OutputError::ClaimLost { .. }
            | OutputError::UploadGone { .. }
            | OutputError::Root { .. }
            | OutputError::Exists { .. }
            | OutputError::NotAFolder { .. }
            | OutputError::MountPoint { .. }
            | OutputError::CannotReplace { .. }
            | OutputError::OverlapsInput { .. }
            | OutputError::Held { .. }
            | OutputError::StagedPartsGone { .. }
            | OutputError::SamePath { .. }
            | OutputError::Part { .. } => false,
        }
    }

    /// The failure of a job whose output cannot be put in place, with all that is known.
    pub fn to_failure(&self) -> Failure {
        Failure::new(FailureCode::CommitFailed, describe(self))
    }

    /// Whether something on the way was not there.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, OutputError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::PermissionDenied => OutputError::PermissionDenied { action, path },
            _ => OutputError::Io { action, path, source },
        }
    }
}

fn found(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "no file".to_owned(), |bytes| bytes.to_string())
}

fn root_of(output: &Uri) -> &'static str {
    if output.scheme() == "file" { "the file system" } else { "its bucket" }
}

impl From<ObjectError> for OutputError {
    fn from(error: ObjectError) -> Self {
        let ObjectError { action, object, source } = error;
        OutputError::Store { action, object, source }
    }
}
