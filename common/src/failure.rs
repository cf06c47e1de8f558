//! What went wrong, in a form that travels from executor to worker to master to user: a code that
//! programs may match, a [`Disposition`] that the scheduler acts on, and a text for people. Retry
//! decisions read the disposition, never the text.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, TaskId};
use crate::record_offset::RecordOffset;

/// What a failure means for the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// May succeed anywhere, at once; counts against the task's attempts.
    Retry,
    /// This worker is the likely cause (file not readable or not writable here); counts, and prefers another.
    RetryElsewhere,
    /// A map output it needs is gone or damaged: that map task runs again, this attempt is handed
    /// back and does not count.
    RedoInput,
    /// The worker was lost, drained, cancelled or has a full disk: the attempt never counts.
    NotCounted,
    /// No attempt can succeed (input changed, record too large): the job fails now.
    Abort,
}

/// A failure's kind, stable for programs; its text form is `UPPER_SNAKE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureCode {
    /// `map` or `reduce` returned an error.
    UserError,
    /// `map` or `reduce` panicked.
    UserPanic,
    /// The executor process died (abort, signal, out of memory).
    ExecutorCrash,
    /// One record kept `map` or `reduce` busy for longer than the job allows.
    RecordTimeout,
    /// User code took more memory than the executor has.
    OutOfMemory,
    /// A record is not what the input type says.
    BadRecord,
    /// A record or key is larger than a quarter of the attempt's memory.
    RecordTooLarge,
    /// An input object is missing or cannot be read.
    InputUnreadable,
    /// An input object is not what was planned (size, time or tag differ).
    InputChanged,
    /// An input object is damaged, cut short, or not in the form that it should have.
    InputDamaged,
    /// A map output is missing or damaged.
    MapOutputLost,
    /// The holder of a map output cannot be reached from here; the output may be well.
    SourceUnreachable,
    /// Attempts of one map task made different outputs, too often.
    NondeterministicMap,
    /// Scratch or output cannot be written, for other reasons than [`ScratchFull`](Self::ScratchFull).
    WriteFailed,
    /// The job's binary, or a file that travels with it, cannot be had or cannot run on this worker.
    WrongBinary,
    /// The worker was lost.
    WorkerLost,
    /// The job was cancelled.
    Cancelled,
    /// The job commit failed.
    CommitFailed,
    /// No worker came within the time given.
    NoWorkers,
    /// The disk of the worker's scratch folder has no room.
    ScratchFull,
}

impl FailureCode {
    /// The disposition of a failure of this kind, unless the reporter knows better.
    pub fn disposition(self) -> Disposition {
        match self {
            FailureCode::UserError
            | FailureCode::UserPanic
            | FailureCode::ExecutorCrash
            | FailureCode::RecordTimeout
            | FailureCode::OutOfMemory => Disposition::Retry,
            FailureCode::InputUnreadable | FailureCode::WriteFailed | FailureCode::WrongBinary => {
                Disposition::RetryElsewhere
            }
            FailureCode::MapOutputLost | FailureCode::SourceUnreachable => Disposition::RedoInput,
            FailureCode::WorkerLost | FailureCode::Cancelled | FailureCode::ScratchFull => Disposition::NotCounted,
            FailureCode::BadRecord
            | FailureCode::RecordTooLarge
            | FailureCode::InputChanged
            | FailureCode::InputDamaged
            | FailureCode::NondeterministicMap
            | FailureCode::CommitFailed
            | FailureCode::NoWorkers => Disposition::Abort,
        }
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FailureCode::UserError => "USER_ERROR",
            FailureCode::UserPanic => "USER_PANIC",
            FailureCode::ExecutorCrash => "EXECUTOR_CRASH",
            FailureCode::RecordTimeout => "RECORD_TIMEOUT",
            FailureCode::OutOfMemory => "OUT_OF_MEMORY",
            FailureCode::BadRecord => "BAD_RECORD",
            FailureCode::RecordTooLarge => "RECORD_TOO_LARGE",
            FailureCode::InputUnreadable => "INPUT_UNREADABLE",
            FailureCode::InputChanged => "INPUT_CHANGED",
            FailureCode::InputDamaged => "INPUT_DAMAGED",
            FailureCode::MapOutputLost => "MAP_OUTPUT_LOST",
            FailureCode::SourceUnreachable => "SOURCE_UNREACHABLE",
            FailureCode::NondeterministicMap => "NONDETERMINISTIC_MAP",
            FailureCode::WriteFailed => "WRITE_FAILED",
            FailureCode::WrongBinary => "WRONG_BINARY",
            FailureCode::WorkerLost => "WORKER_LOST",
            FailureCode::Cancelled => "CANCELLED",
            FailureCode::CommitFailed => "COMMIT_FAILED",
            FailureCode::NoWorkers => "NO_WORKERS",
            FailureCode::ScratchFull => "SCRATCH_FULL",
        })
    }
}

/// Where in the input a failure happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InputPosition {
    /// The object, as shown to people.
    pub object: String,
    /// Byte offset of the record, as [`RecordOffset`] reads it; of damage, that in the object as stored.
    pub offset: u64,
}

impl fmt::Display for InputPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RecordOffset::from_bits(self.offset) {
            RecordOffset::Content(offset) => write!(f, "{}:{offset}", self.object),
            in_block @ (RecordOffset::Block { .. } | RecordOffset::RowGroup { .. }) => {
                write!(f, "{}: {in_block}", self.object)
            }
        }
    }
}

/// One failure of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind.
    pub code: FailureCode,
    /// What it means for the task.
    pub disposition: Disposition,
    /// What happened, naming the object: a lower-case fragment.
    pub message: String,
    /// The record in hand, where there is one.
    pub position: Option<InputPosition>,
    /// The map attempts whose outputs are lost or cannot be had, for [`FailureCode::MapOutputLost`] and
    /// [`FailureCode::SourceUnreachable`].
    pub lost_outputs: Vec<AttemptId>,
    /// The task because of which a job failed, where it is one; whoever ran an attempt leaves it empty.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "task_text")]
    pub task: Option<TaskId>,
}

/// A task by its name, such as `m-3`.
mod task_text {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::ids::TaskId;

    pub(super) fn serialize<S: Serializer>(task: &Option<TaskId>, serializer: S) -> Result<S::Ok, S::Error> {
        match task {
            Some(task) => serializer.collect_str(task),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TaskId>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

impl Failure {
    /// A failure with its kind's usual disposition.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self {
            code,
            disposition: code.disposition(),
            message: message.into(),
            position: None,
            lost_outputs: Vec::new(),
            task: None,
        }
    }

    /// What could not be done in scratch. That its disk is full is the worker's own trouble, and tells
    /// nothing of the task.
    pub fn in_scratch(message: impl Into<String>, error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureCode::ScratchFull,
            _ => FailureCode::WriteFailed,
        };
        Self::new(code, message)
    }

    /// The same as the reason why a job failed.
    #[must_use]
    pub fn of_task(mut self, task: TaskId) -> Self {
        self.task = Some(task);
        self
    }

    /// The same at a known record.
    #[must_use]
    pub fn at(mut self, position: InputPosition) -> Self {
        self.position = Some(position);
        self
    }
}

impl fmt::Display for Failure {
    /// The message, and file and offset where known: `cannot parse "x" (logs/a.txt:1204)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.position {
            Some(position) => write!(f, " (at {position})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_name_their_position() {
        let position = InputPosition { object: "logs/a.txt".into(), offset: 1204 };
        let failure = Failure::new(FailureCode::UserError, "cannot parse \"x\"").at(position);
        assert_eq!(failure.to_string(), "cannot parse \"x\" (at logs/a.txt:1204)");
        assert_eq!(failure.disposition, Disposition::Retry);
        let offset = RecordOffset::Block { block: 4_194_310, place: 17 }.bits();
        let position = InputPosition { object: "logs/a.bz2".into(), offset };
        assert_eq!(position.to_string(), "logs/a.bz2: byte 17 of the block at byte 4194310");
    }

    #[test]
    fn the_task_of_a_job_that_failed_is_named() {
        let failure = Failure::new(FailureCode::UserError, "no").of_task(TaskId::map(3));
        let json = serde_json::to_value(&failure).expect("plain");
        assert_eq!(json["task"], "m-3");
        assert_eq!(serde_json::from_value::<Failure>(json).expect("the same"), failure);
        let json = serde_json::to_value(Failure::new(FailureCode::UserError, "no")).expect("plain");
        assert!(json.get("task").is_none());
    }

    #[test]
    fn codes_serialise_as_they_display() {
        for code in [FailureCode::UserError, FailureCode::MapOutputLost, FailureCode::NoWorkers] {
            assert_eq!(serde_json::to_string(&code).expect("plain enum"), format!("\"{code}\""));
        }
    }
}
