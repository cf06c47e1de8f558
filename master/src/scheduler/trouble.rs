//! What went wrong with one task: which failures count and for how much, on which workers it had
//! trouble, and which records its next attempts skip. Nothing here looks at failures one by one more
//! often than a job allows attempts.

use std::collections::BTreeMap;

use gristmill_common::failure::{Disposition, Failure, FailureCode, InputPosition};
use gristmill_common::ids::WorkerId;

/// Times that user code ends its process at one record before the record is skipped or the job
/// fails on the word of two workers: what crashes twice at one record crashes there.
const TIMES_TO_BE_SURE: usize = 2;

/// The same on the word of one worker, whose processor or libraries may be unlike all others'.
const TIMES_ON_ONE_WORKER: usize = 3;

/// What went wrong with a task.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    /// How often a worker handed an attempt of it back.
    pub(super) hand_backs: u32,
    /// The text of the last hand-back.
    pub(super) hand_back_message: String,
    /// Its counted failures, in order: at most as many as the job allows, and those at records that
    /// are skipped.
    failures: Vec<CountedFailure>,
    /// How many of them are at records that are skipped.
    at_skipped: usize,
    /// How often a record had a part in them.
    records: BTreeMap<InputPosition, AtRecord>,
    /// How often it failed on, was refused by, or was lost on a worker that lives.
    on: BTreeMap<WorkerId, usize>,
    /// Whether some of that is likely the worker's own.
    likely_the_workers: bool,
}

/// A failure that counts against a task, as far as later ones are compared with it.
#[derive(Debug, Clone)]
struct CountedFailure {
    worker: WorkerId,
    failure: Failure,
}

/// The failures at one record.
#[derive(Debug, Clone, Copy, Default)]
struct AtRecord {
    /// All.
    failures: usize,
    /// Those for which it may be skipped.
    endings: usize,
}

impl AtRecord {
    fn is_skipped(self) -> bool {
        self.endings >= TIMES_TO_BE_SURE
    }
}

impl Trouble {
    /// Nothing.
    pub(super) const fn none() -> Self {
        Self {
            hand_backs: 0,
            hand_back_message: String::new(),
            failures: Vec::new(),
            at_skipped: 0,
            records: BTreeMap::new(),
            on: BTreeMap::new(),
            likely_the_workers: false,
        }
    }

    /// How often the task failed on, was refused by, or was lost on `worker`.
    pub(super) fn on(&self, worker: WorkerId) -> usize {
        self.on.get(&worker).copied().unwrap_or(0)
    }

    /// Whether some workers are less fit for the task than others.
    pub(super) fn prefers_workers(&self) -> bool {
        !self.on.is_empty()
    }

    /// Whether it is worth waiting for a worker without trouble, because the trouble is likely the
    /// worker's own.
    pub(super) fn waits_for_better(&self) -> bool {
        self.likely_the_workers
    }

    /// Takes note of trouble that is likely the worker's own and does not count against the task.
    pub(super) fn blame(&mut self, worker: WorkerId) {
        *self.on.entry(worker).or_default() += 1;
        self.likely_the_workers = true;
    }

    /// Records to be skipped if the job allows bad ones, in order of their objects and offsets.
    pub(super) fn skipped(&self) -> Vec<InputPosition> {
        let skipped = self.records.iter().filter(|(_, at)| at.is_skipped());
        skipped.map(|(position, _)| position.clone()).collect()
    }

    /// Failures that count: all, or, if the job allows bad records, those at records not skipped.
    pub(super) fn counted(&self, allows_bad: bool) -> usize {
        self.failures.len() - if allows_bad { self.at_skipped } else { 0 }
    }

    /// Counts a failure. Returns whether the user's code fails the same way wherever it runs, and
    /// nothing can be skipped for it.
    pub(super) fn count(&mut self, worker: WorkerId, failure: &Failure, allows_bad: bool) -> bool {
        let certain = !(allows_bad && may_be_skipped(failure)) && self.is_certain(worker, failure);
        if let Some(position) = &failure.position {
            let at = self.records.entry(position.clone()).or_default();
            let was_skipped = at.is_skipped();
            at.failures += 1;
            at.endings += usize::from(may_be_skipped(failure));
            self.at_skipped += match (was_skipped, at.is_skipped()) {
                (true, _) => 1,
                (false, true) => at.failures,
                (false, false) => 0,
            };
        }
        *self.on.entry(worker).or_default() += 1;
        self.likely_the_workers |= failure.disposition == Disposition::RetryElsewhere;
        self.failures.push(CountedFailure { worker, failure: failure.clone() });
        certain
    }

    /// Whether one more failure like this one shows that user code fails wherever it runs.
    fn is_certain(&self, worker: WorkerId, failure: &Failure) -> bool {
        let at_record =
            |earlier: &CountedFailure| failure.position.is_some() && earlier.failure.position == failure.position;
        let same = |earlier: &&CountedFailure| earlier.failure.code == failure.code;
        let said_the_same = |earlier: &&CountedFailure| same(earlier) && earlier.failure.message == failure.message;
        let earlier = self.failures.iter();
        match failure.code {
            FailureCode::UserError | FailureCode::UserPanic => {
                earlier.filter(said_the_same).any(|earlier| earlier.worker != worker || at_record(earlier))
            }
            FailureCode::BadRecord => earlier.filter(said_the_same).any(at_record),
            // What is said of the end of a process differs from one to the next.
            FailureCode::ExecutorCrash | FailureCode::RecordTimeout | FailureCode::OutOfMemory => {
                let alike: Vec<_> = earlier.filter(same).filter(|earlier| at_record(earlier)).collect();
                alike.iter().any(|earlier| earlier.worker != worker) || alike.len() + 1 >= TIMES_ON_ONE_WORKER
            }
            FailureCode::RecordTooLarge
            | FailureCode::InputUnreadable
            | FailureCode::InputChanged
            | FailureCode::InputDamaged
            | FailureCode::MapOutputLost
            | FailureCode::SourceUnreachable
            | FailureCode::NondeterministicMap
            | FailureCode::WriteFailed
            | FailureCode::WrongBinary
            | FailureCode::WorkerLost
            | FailureCode::Cancelled
            | FailureCode::CommitFailed
            | FailureCode::NoWorkers
            | FailureCode::ScratchFull => false,
        }
    }
}

/// Whether the failure took the executor with it, so that the attempt could not skip the record by
/// itself, and would have done so anywhere. How much memory there is differs between workers: a record
/// skipped for want of it would be missing from the output on some clusters only.
fn may_be_skipped(failure: &Failure) -> bool {
    let ended = matches!(failure.code, FailureCode::ExecutorCrash | FailureCode::RecordTimeout);
    ended && failure.position.is_some()
}
