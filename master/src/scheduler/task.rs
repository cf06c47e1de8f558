//! The life of one task, and what is remembered of its attempts. What went wrong with it is in
//! `trouble`; queues and sums over tasks are the stage's business.

use gristmill_common::ids::SessionId;
use gristmill_common::task::{AttemptOutput, AttemptReport};
use gristmill_common::time::Timestamp;

use super::attempt::{Attempt, AttemptState, AttemptStep};
use super::trouble::Trouble;

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

/// What went wrong with a task of which nothing is known.
static NO_TROUBLE: Trouble = Trouble::none();

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
}
