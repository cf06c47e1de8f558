//! The life of one attempt. Which attempt of a task is in force is the task's business.

use gristmill_common::ids::SessionId;
use gristmill_common::time::Timestamp;

/// Where an attempt is in its life: `Assigned -> Running -> Committed | Failed | Cancelled | Lost`.
/// A worker may report an end without having reported the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptState {
    /// Granted to a session.
    Assigned,
    /// An executor began it.
    Running,
    /// It is the result of its task.
    Committed,
    /// It failed, and the failure counts.
    Failed,
    /// The master stopped it.
    Cancelled,
    /// It went with its worker, or the worker handed it back.
    Lost,
}

/// What can happen to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptStep {
    /// An executor began it.
    Start,
    /// Its report was accepted.
    Commit,
    /// It failed, and the failure counts.
    Fail,
    /// The master stops it.
    Cancel,
    /// Its worker is gone, or handed it back.
    Lose,
}

impl AttemptState {
    /// The state after `step`; `None` if an attempt in this state cannot take it.
    pub(super) fn after(self, step: AttemptStep) -> Option<AttemptState> {
        match (self, step) {
            // A repeated report of the start says nothing new.
            (AttemptState::Assigned | AttemptState::Running, AttemptStep::Start) => Some(AttemptState::Running),
            (AttemptState::Assigned | AttemptState::Running, AttemptStep::Commit) => Some(AttemptState::Committed),
            (AttemptState::Assigned | AttemptState::Running, AttemptStep::Fail) => Some(AttemptState::Failed),
            (AttemptState::Assigned | AttemptState::Running, AttemptStep::Cancel) => Some(AttemptState::Cancelled),
            (AttemptState::Assigned | AttemptState::Running, AttemptStep::Lose) => Some(AttemptState::Lost),
            (
                AttemptState::Committed | AttemptState::Failed | AttemptState::Cancelled | AttemptState::Lost,
                AttemptStep::Start | AttemptStep::Commit | AttemptStep::Fail | AttemptStep::Cancel | AttemptStep::Lose,
            ) => None,
        }
    }
}

/// An attempt in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    /// Its number within its task.
    pub(super) number: u32,
    /// Who holds it.
    pub(super) session: SessionId,
    /// `Assigned` or `Running` while it is in force.
    pub(super) state: AttemptState,
    /// When it was assigned, or, once that is known, when it began.
    pub(super) since: Timestamp,
}

impl Attempt {
    /// The attempt once it has begun; a repeated report of that says nothing new.
    pub(super) fn started(self, now: Timestamp) -> Attempt {
        let since = if self.state == AttemptState::Assigned { now } else { self.since };
        Attempt { since, ..self.after(AttemptStep::Start) }
    }

    /// The attempt after `step`.
    ///
    /// # Panics
    ///
    /// If it is over already: the caller must ask the task which attempt is in force.
    pub(super) fn after(self, step: AttemptStep) -> Attempt {
        let state = self.state.after(step);
        Attempt { state: state.expect("only an attempt in force takes a step"), ..self }
    }
}
