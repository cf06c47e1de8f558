//! Why a journal cannot be used. Every error names the file, and damage the record.

use std::fmt;
use std::path::PathBuf;

use gristmill_common::ids::JobId;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Something in it is not what was written.
    #[error("the journal {} is damaged in {place}: {reason}", .file.display())]
    Damaged {
        /// The journal.
        file: PathBuf,
        /// Where.
        place: Place,
        /// What is wrong.
        reason: String,
    },
    /// It was written by a build that knows more than this one.
    #[error("the journal {} holds {place} in format {format}; this build reads formats up to {known}", .file.display())]
    Newer {
        /// The journal.
        file: PathBuf,
        /// Where.
        place: Place,
        /// The format found.
        format: u8,
        /// The newest format that this build reads.
        known: u8,
    },
    /// Commits that were acknowledged are gone.
    #[error(
        "the journal {} is damaged at its end: it holds {commits} commits, and {acknowledged} were acknowledged",
        .file.display()
    )]
    Lost {
        /// The journal.
        file: PathBuf,
        /// Commits in it.
        commits: u64,
        /// Commits that were.
        acknowledged: u64,
    },
    /// Records are missing.
    #[error("the journal is incomplete: it has facts about job {job}, but not that it was accepted")]
    Incomplete {
        /// The job.
        job: JobId,
    },
    /// The operating system or the store refuses.
    #[error("cannot {action} the journal {}", .file.display())]
    Store {
        /// What was tried.
        action: &'static str,
        /// The journal.
        file: PathBuf,
        /// What is reported.
        source: Box<redb::Error>,
    },
}

impl JournalError {
    /// What to try, where there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            JournalError::Damaged { .. } | JournalError::Incomplete { .. } => {
                Some("put a copy of the state folder in its place, or start on an empty one, which forgets all jobs")
            }
            JournalError::Lost { .. } => Some(
                "put a copy of the state folder in its place; or remove journal.seen beside it, which forgets what the \
                 missing commits held",
            ),
            JournalError::Newer { .. } => Some("start the version of gristmill that wrote it, or a later one"),
            JournalError::Store { .. } => Some("see whether the disk is full or broken, then start the master again"),
        }
    }
}

/// A place in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The file's own structure.
    Structure,
    /// One record.
    Record(RecordKey),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Structure => write!(f, "its structure"),
            Place::Record(key) => write!(f, "record {key}"),
        }
    }
}

/// What a record is kept under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKey {
    /// The number of the job; 0 if the record is of no job.
    pub job: u64,
    /// Grows with every record of the journal.
    pub sequence: u64,
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.job {
            0 => write!(f, "{}", self.sequence),
            job => write!(f, "{} of job {}", self.sequence, JobId(job)),
        }
    }
}
