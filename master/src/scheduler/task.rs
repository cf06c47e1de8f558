//! The life of one task, and what is remembered of its attempts. Queues and sums over tasks are
//! the stage's business.

use std::collections::BTreeMap;

use gristmill_common::failure::{Disposition, Failure, FailureCode, InputPosition};
use gristmill_common::ids::{SessionId, WorkerId};
use gristmill_common::task::{AttemptOutput, AttemptReport};
use gristmill_common::time::Timestamp;

use super::attempt::{Attempt, AttemptState, AttemptStep};

/// Where a task is in its life: `Pending -> Active -> Done`, and back to `Pending` if the attempt
/// fails or is lost, or if a committed map output is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskState {
    /// It needs an attempt.
    Pending {
        /// Not before this time; `None`: at once.
        rests_until: Option<Timestamp>,
    },
    /// An attempt is in force.
    Active(Attempt),
    /// An attempt was committed and its output is in place.
    Done(Commit),
}

/// The committed attempt of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Commit {
    /// Its number within its task.
    pub(super) number: u32,
    /// Who ran it, and holds its output if that is a map output.
    pub(super) session: SessionId,
    /// Bytes of input that count as done with it.
    pub(super) bytes: u64,
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskStep {
    /// Its rest is over.
    Wake,
    /// An attempt is granted to a session.
    Assign {
        /// The attempt's number.
        number: u32,
        /// The session.
        session: SessionId,
        /// When.
        now: Timestamp,
    },
    /// The attempt in force began.
    Start {
        /// When.
        now: Timestamp,
    },
    /// Another attempt takes the place of the one in force.
    Replace {
        /// How the one in force ends.
        how: AttemptStep,
        /// The other one.
        by: Attempt,
    },
    /// The output that was committed last is there again, at another session.
    Return {
        /// The number of its attempt.
        number: u32,
        /// Who holds it.
        session: SessionId,
        /// Bytes of input that count as done with it.
        bytes: u64,
    },
    /// The report of the attempt in force is accepted.
    Commit {
        /// Bytes of input that count as done with it.
        bytes: u64,
    },
    /// The attempt in force ends without a result.
    GiveUp {
        /// How it ends.
        how: AttemptStep,
        /// When the next one may begin.
        rests_until: Option<Timestamp>,
    },
    /// The committed output is gone.
    Revoke,
}

impl TaskState {
    /// The state after `step`; `None` if a task in this state cannot take it.
    pub(super) fn after(self, step: TaskStep) -> Option<TaskState> {
        match (self, step) {
            (TaskState::Pending { .. }, TaskStep::Wake) => Some(TaskState::Pending { rests_until: None }),
            (TaskState::Pending { .. }, TaskStep::Assign { number, session, now }) => {
                Some(TaskState::Active(Attempt { number, session, state: AttemptState::Assigned, since: now }))
            }
            (TaskState::Pending { .. }, TaskStep::Return { number, session, bytes }) => {
                Some(TaskState::Done(Commit { number, session, bytes }))
            }
            (TaskState::Active(attempt), TaskStep::Start { now }) => Some(TaskState::Active(attempt.started(now))),
            (TaskState::Active(attempt), TaskStep::Replace { how, by }) => {
                attempt.after(how);
                Some(TaskState::Active(by))
            }
            (TaskState::Active(attempt), TaskStep::Commit { bytes }) => {
                let Attempt { number, session, .. } = attempt.after(AttemptStep::Commit);
                Some(TaskState::Done(Commit { number, session, bytes }))
            }
            (TaskState::Active(attempt), TaskStep::GiveUp { how, rests_until }) => {
                attempt.after(how);
                Some(TaskState::Pending { rests_until })
            }
            (TaskState::Done(_), TaskStep::Revoke) => Some(TaskState::Pending { rests_until: None }),
            (
                TaskState::Pending { .. },
                TaskStep::Start { .. }
                | TaskStep::Replace { .. }
                | TaskStep::Commit { .. }
                | TaskStep::GiveUp { .. }
                | TaskStep::Revoke,
            )
            | (
                TaskState::Active(_),
                TaskStep::Wake | TaskStep::Assign { .. } | TaskStep::Return { .. } | TaskStep::Revoke,
            )
            | (
                TaskState::Done(_),
                TaskStep::Wake
                | TaskStep::Assign { .. }
                | TaskStep::Return { .. }
                | TaskStep::Replace { .. }
                | TaskStep::Start { .. }
                | TaskStep::Commit { .. }
                | TaskStep::GiveUp { .. },
            ) => None,
        }
    }
}

/// One task of an open job.
#[derive(Debug, Clone)]
pub(super) struct Task {
    /// Where it is in its life.
    pub(super) state: TaskState,
    /// The number of its next attempt.
    pub(super) next_number: u32,
    /// What went wrong with it; absent for nearly every task, and there may be very many.
    trouble: Option<Box<Trouble>>,
    /// The attempt committed last. It stays when a map output is lost: the reducers may have fetched
    /// all of it, and then the job's counters include it.
    pub(super) committed: Option<Box<Committed>>,
}

/// What an attempt that was committed said.
#[derive(Debug, Clone)]
pub(super) struct Committed {
    /// Its number within its task.
    pub(super) number: u32,
    /// Its report.
    pub(super) report: AttemptReport,
}

impl Committed {
    /// What tells its map output from one with other records.
    pub(super) fn content_hash(&self) -> Option<u64> {
        match &self.report.output {
            AttemptOutput::MapOutput(made) => Some(made.content_hash),
            AttemptOutput::Part(_) => None,
        }
    }
}

/// What went wrong with a task.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    /// How often a worker handed an attempt of it back.
    pub(super) hand_backs: u32,
    /// The text of the last hand-back.
    pub(super) hand_back_message: String,
    /// Its counted failures, at most as many as the job allows.
    pub(super) failures: Vec<CountedFailure>,
    /// How often its output was lost on a worker that lives.
    pub(super) lost_on: BTreeMap<WorkerId, usize>,
}

/// What went wrong with a task of which nothing is known.
static NO_TROUBLE: Trouble = Trouble::none();

impl Trouble {
    const fn none() -> Self {
        Self { hand_backs: 0, hand_back_message: String::new(), failures: Vec::new(), lost_on: BTreeMap::new() }
    }
}

/// A failure that counts against a task, as far as later ones are compared with it.
#[derive(Debug, Clone)]
pub(super) struct CountedFailure {
    worker: WorkerId,
    failure: Failure,
}

impl CountedFailure {
    /// Whether the executor went down with it, so that the attempt could not skip the record by itself.
    fn ended_its_process(&self) -> bool {
        matches!(self.failure.code, FailureCode::ExecutorCrash | FailureCode::RecordTimeout | FailureCode::OutOfMemory)
    }

    fn is_at_the_same_record(&self, other: &CountedFailure) -> bool {
        self.ended_its_process() && self.failure.position == other.failure.position
    }
}

impl Task {
    /// A task without attempts, whose first one gets this number.
    pub(super) fn new(next_number: u32) -> Self {
        Self { state: TaskState::Pending { rests_until: None }, next_number, trouble: None, committed: None }
    }

    /// What went wrong with it.
    pub(super) fn trouble(&self) -> &Trouble {
        self.trouble.as_deref().unwrap_or(&NO_TROUBLE)
    }

    /// What went wrong with it, to add to.
    pub(super) fn trouble_mut(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_with(|| Box::new(Trouble::none()))
    }

    /// Takes a step of its life.
    ///
    /// # Panics
    ///
    /// If the task cannot take it: the caller must have checked what is in force.
    pub(super) fn step(&mut self, step: TaskStep) {
        self.state = self.state.after(step).expect("the caller knows the task's state");
    }

    /// The attempt in force.
    pub(super) fn active(&self) -> Option<&Attempt> {
        match &self.state {
            TaskState::Active(attempt) => Some(attempt),
            TaskState::Pending { .. } | TaskState::Done(_) => None,
        }
    }

    /// The committed attempt in force.
    pub(super) fn commit(&self) -> Option<&Commit> {
        match &self.state {
            TaskState::Done(commit) => Some(commit),
            TaskState::Pending { .. } | TaskState::Active(_) => None,
        }
    }

    /// How often the task failed on, or was lost by, `worker`.
    pub(super) fn trouble_on(&self, worker: WorkerId) -> usize {
        let trouble = self.trouble();
        let failed = trouble.failures.iter().filter(|counted| counted.worker == worker).count();
        failed + trouble.lost_on.get(&worker).copied().unwrap_or(0)
    }

    /// Whether some workers are less fit for this task than others.
    pub(super) fn had_trouble(&self) -> bool {
        let trouble = self.trouble();
        !trouble.failures.is_empty() || !trouble.lost_on.is_empty()
    }

    /// Whether it is worth waiting for a worker without trouble, because the trouble is likely the
    /// worker's own.
    pub(super) fn waits_for_better(&self) -> bool {
        let elsewhere = |counted: &CountedFailure| counted.failure.disposition == Disposition::RetryElsewhere;
        let trouble = self.trouble();
        !trouble.lost_on.is_empty() || trouble.failures.iter().any(elsewhere)
    }

    /// Records on which user code ended its process often enough to be skipped, if the job allows bad
    /// ones: what crashes twice at one record crashes there.
    pub(super) fn skipped(&self) -> Vec<InputPosition> {
        let failures = &self.trouble().failures;
        let mut skipped = Vec::new();
        for (nth, counted) in failures.iter().enumerate() {
            let again = |earlier: &CountedFailure| earlier.is_at_the_same_record(counted);
            if let Some(position) = counted.failure.position.as_ref().filter(|at| !skipped.contains(*at))
                && counted.ended_its_process()
                && failures[..nth].iter().any(again)
            {
                skipped.push(position.clone());
            }
        }
        skipped
    }

    /// Failures that count: all, or, if the job allows bad records, those at records not skipped.
    pub(super) fn counted_failures(&self, allows_bad: bool) -> usize {
        let failures = &self.trouble().failures;
        if !allows_bad {
            return failures.len();
        }
        let skipped = self.skipped();
        let stays =
            |counted: &&CountedFailure| counted.failure.position.as_ref().is_none_or(|at| !skipped.contains(at));
        failures.iter().filter(stays).count()
    }

    /// Counts a failure. Returns whether the user's code fails the same way wherever it runs: twice
    /// with the same message, either on two workers or at the same record.
    pub(super) fn count_failure(&mut self, worker: WorkerId, failure: &Failure) -> bool {
        let failures = &mut self.trouble_mut().failures;
        let certain = failures.iter().any(|earlier| {
            let same = earlier.failure.code == failure.code && earlier.failure.message == failure.message;
            let same_record = failure.position.is_some() && earlier.failure.position == failure.position;
            same && match failure.code {
                FailureCode::UserError | FailureCode::UserPanic => earlier.worker != worker || same_record,
                FailureCode::BadRecord => same_record,
                FailureCode::ExecutorCrash
                | FailureCode::RecordTimeout
                | FailureCode::OutOfMemory
                | FailureCode::RecordTooLarge
                | FailureCode::InputUnreadable
                | FailureCode::InputChanged
                | FailureCode::MapOutputLost
                | FailureCode::SourceUnreachable
                | FailureCode::NondeterministicMap
                | FailureCode::WriteFailed
                | FailureCode::WrongBinary
                | FailureCode::WorkerLost
                | FailureCode::Cancelled
                | FailureCode::CommitFailed
                | FailureCode::NoWorkers => false,
            }
        });
        failures.push(CountedFailure { worker, failure: failure.clone() });
        certain
    }
}
