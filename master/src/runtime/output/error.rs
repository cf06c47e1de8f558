//! Why an output cannot be claimed, published or undone.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::naming::Uri;

/// Why an output cannot be claimed, published or undone.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// No writer for this scheme.
    #[error("cannot write {output}: writing to {scheme}:// is not built in yet")]
    NotBuiltIn {
        /// The scheme.
        scheme: String,
        /// The output.
        output: Uri,
    },
    /// The root of the file system has no place beside it.
    #[error("{output} cannot be an output: it is the root of the file system")]
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
            OutputError::StagedPartsGone { .. } => Some("submit the job again"),
            OutputError::Held { .. } => Some("wait for that job or cancel it"),
            OutputError::NotBuiltIn { .. } => Some("write to a local folder and copy it"),
            OutputError::SamePath { .. } => Some("choose names that do not differ in upper and lower case alone"),
            OutputError::Part { .. }
            | OutputError::StagingMissing { .. }
            | OutputError::PermissionDenied { .. }
            | OutputError::Io { .. } => None,
        }
    }

    /// Whether the output may be as it was left, and only cannot be seen to at the moment.
    pub fn is_out_of_reach(&self) -> bool {
        match self {
            OutputError::StagingMissing { .. } | OutputError::PermissionDenied { .. } | OutputError::Io { .. } => true,
            OutputError::NotBuiltIn { .. }
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
        let message = match self.source() {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        };
        Failure::new(FailureCode::CommitFailed, message)
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
