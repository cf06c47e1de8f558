//! The life of one task, and what is remembered of its attempts. Queues and sums over tasks are
//! the stage's business.

use std::collections::BTreeMap;

use gristmill_common::failure::{Disposition, Failure, FailureCode};
use gristmill_common::ids::{SessionId, WorkerId};
use gristmill_common::task::AttemptReport;
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
    },
    /// The attempt in force began.
    Start,
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
            (TaskState::Pending { .. }, TaskStep::Assign { number, session }) => {
                Some(TaskState::Active(Attempt { number, session, state: AttemptState::Assigned }))
            }
            (TaskState::Active(attempt), TaskStep::Start) => Some(TaskState::Active(attempt.after(AttemptStep::Start))),
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
                TaskStep::Start | TaskStep::Commit { .. } | TaskStep::GiveUp { .. } | TaskStep::Revoke,
            )
            | (TaskState::Active(_), TaskStep::Wake | TaskStep::Assign { .. } | TaskStep::Revoke)
            | (
                TaskState::Done(_),
                TaskStep::Wake
                | TaskStep::Assign { .. }
                | TaskStep::Start
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
    /// The report of the attempt committed last. It stays when a map output is lost: the reducers
    /// may have fetched all of it, and then the job's counters include it.
    pub(super) committed: Option<Box<AttemptReport>>,
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

impl Task {
    /// A task without attempts.
    pub(super) fn new() -> Self {
        Self { state: TaskState::Pending { rests_until: None }, next_number: 0, trouble: None, committed: None }
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
