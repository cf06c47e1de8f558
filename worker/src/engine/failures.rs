//! Failures as the engine phrases them: what could not be done, to which file, and why.

use std::fmt::Display;
use std::io;
use std::path::Path;

use gristmill_common::failure::{Disposition, Failure, FailureCode, InputPosition};
use gristmill_common::ids::AttemptId;
use gristmill_common::job::{JobError, PartOrder};
use gristmill_common::naming::Uri;
use gristmill_common::size::ByteSize;

/// A file in scratch (spill, map output) cannot be written: no space, no permission.
pub(super) fn scratch_failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::in_scratch(format!("cannot write {what} {}: {error}", path.display()), error)
}

/// A file in the output's place (part, skipped records) cannot be written: no space, no permission.
pub(super) fn write_failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(FailureCode::WriteFailed, format!("cannot write {what} {}: {error}", path.display()))
}

/// A staged file cannot be written; `spooled` says that it is staged in scratch, to be sent to a store.
pub(super) fn staging_failed(what: &str, path: &Path, error: &io::Error, spooled: bool) -> Failure {
    if spooled { scratch_failed(what, path, error) } else { write_failed(what, path, error) }
}

/// What user code made of being set up for an attempt, or of its end.
pub(super) fn user_failed(what: &str, error: &JobError) -> Failure {
    match error.downcast_ref::<Failure>() {
        Some(failure) => failure.clone(),
        None => user_error(format!("{what} failed: {error}")),
    }
}

/// A spill of this very attempt cannot be read back, or is damaged.
pub(super) fn spill_unreadable(error: &impl Display) -> Failure {
    Failure::new(FailureCode::WriteFailed, format!("cannot read back a spill: {error}"))
}

/// A map output cannot be read, or is damaged: that map task has to run again.
pub(super) fn map_output_lost(attempt: AttemptId, error: &impl Display) -> Failure {
    let mut failure = Failure::new(FailureCode::MapOutputLost, format!("cannot read map output {attempt}: {error}"));
    failure.lost_outputs.push(attempt);
    failure
}

/// A record does not fit into a quarter of the attempt's memory.
pub(super) fn record_too_large(what: &str, bytes: usize, limit: ByteSize) -> Failure {
    let most = limit.bytes();
    let message = format!(
        "{what} takes {bytes} bytes and the limit is {most} ({limit}), a quarter of an attempt's memory (raise --memory)"
    );
    Failure::new(FailureCode::RecordTooLarge, message)
}

/// The attempt was told to stop.
pub(super) fn cancelled() -> Failure {
    Failure::new(FailureCode::Cancelled, "the attempt was cancelled")
}

/// User code gave a result that the engine cannot use.
pub(super) fn user_error(message: impl Into<String>) -> Failure {
    Failure::new(FailureCode::UserError, message)
}

/// User code panicked.
pub(super) fn user_panic(message: &str) -> Failure {
    Failure::new(FailureCode::UserPanic, format!("user code panicked: {message}"))
}

/// The spec does not divide the keys as the job asks for: whoever made the spec did not know the job.
pub(super) fn misdirected(order: PartOrder, partitions: u32) -> Failure {
    let asks = match order {
        PartOrder::ByHash => "by its own function",
        PartOrder::Total => "in ranges",
    };
    let message = format!("the job divides its keys {asks}, and its spec does not say how for {partitions} partitions");
    let mut failure = Failure::new(FailureCode::UserError, message);
    failure.disposition = Disposition::Abort;
    failure
}

/// An object ends in the middle of a record of fixed length.
pub(super) fn cut_short(object: &Uri, offset: u64, reason: &str) -> Failure {
    Failure::new(FailureCode::BadRecord, format!("cannot read a record: {reason}"))
        .at(InputPosition { object: object.to_string(), offset })
}

/// Data that user code wrote in this job does not decode: its types changed between map and reduce,
/// or a serde implementation is not symmetric. Running it again cannot help.
pub(super) fn undecodable(message: impl Into<String>) -> Failure {
    let mut failure = Failure::new(FailureCode::UserError, message);
    failure.disposition = Disposition::Abort;
    failure
}
