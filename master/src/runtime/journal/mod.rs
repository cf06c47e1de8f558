//! The journal: what must outlive the master, in order, durable before anything that follows from
//! it is done or said. Knows how records are kept; what they mean is for `recovery` and the scheduler.
//!
//! | file | responsibility |
//! |---|---|
//! | `record.rs`, `wire.rs` | what is kept, and its messages |
//! | `frame.rs` | the bytes around one record: format, checksum |
//! | `redb_file.rs` | the engine of a master: one redb file |
//! | `seen.rs` | how many commits were acknowledged, told beside it |
//! | `memory.rs` | the engine of tests, which outlives a master in its process |
//! | `contain.rs` | panics of an engine on a damaged file become errors |
//! | `error.rs` | why a journal cannot be used |

mod contain;
mod error;
mod frame;
mod memory;
mod record;
mod redb_file;
mod seen;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt::Debug;

use gristmill_common::ids::JobId;

pub use contain::panic_is_contained;
pub use error::{JournalError, Place};
pub use memory::MemoryJournal;
pub use record::{AcceptedJob, JournalRecord};
pub use redb_file::RedbJournal;
pub(super) use wire::{plan_from_wire, plan_to_wire};

/// One change of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Keep a record.
    Append(JournalRecord),
    /// Drop all records of a job.
    Forget(JobId),
}

/// Keeps records. Used by one master at a time, which replays it before it changes it.
pub trait Journal: Send + Debug {
    /// Visits every record: those of no job first, then job by job, and in the order in which they
    /// were appended within each.
    ///
    /// # Errors
    ///
    /// If anything is damaged or unknown to this build; whatever was visited before then is to be
    /// thrown away.
    fn replay(&mut self, visit: &mut dyn FnMut(JournalRecord)) -> Result<(), JournalError>;

    /// Makes changes, in order: all of them last when this returns, or none of them does.
    ///
    /// # Errors
    ///
    /// If they cannot be made durable. Whether they last is open then, and the journal is to be used
    /// no more.
    fn commit(&mut self, changes: &[Change]) -> Result<(), JournalError>;
}
