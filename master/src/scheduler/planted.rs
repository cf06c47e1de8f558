//! Mistakes made on purpose. The simulator must find each of them; one that it does not see shows where
//! it is blind. Without the feature `planted` no mistake can be chosen, and the checks compile to
//! nothing.

use gristmill_common::ids::{AttemptId, JobAttempt, SessionId, Stage, WorkerId};
use gristmill_common::task::AttemptReport;

use super::Scheduler;
use super::config::SchedulerConfig;
use super::job::Job;
use super::record::Record;
use super::view::JobState;

/// A mistake.
#[cfg_attr(not(feature = "planted"), expect(unreachable_pub, reason = "it is public with the feature"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A second finished attempt of a task replaces the first one.
    AcceptSecondCommit,
    /// Reports of another epoch are accepted.
    SkipEpochCheck,
    /// Reports of an ended session are accepted.
    SkipSessionCheck,
    /// The attempt's number is not compared.
    SkipNumberCheck,
    /// The map outputs of a lost worker are not made again.
    ForgetLostOutputs,
    /// A map output that a reduce attempt found lost is not made again.
    ForgetLostInput,
    /// Reduce attempts begin when one map output is missing.
    ReduceTooEarly,
    /// A loss counts against a task like a failure.
    CountLosses,
    /// What a refused report left is not thrown away.
    KeepRefusedOutput,
    /// A failed job's staged parts stay.
    ForgetUndo,
    /// Workers are not told that a job is over.
    ForgetRelease,
    /// A decided job can be cancelled.
    CancelDecided,
    /// Tasks that rest never wake.
    ForgetRest,
    /// A worker that is silent keeps its attempts for ever.
    IgnoreLease,
    /// The sums over committed attempts count repeated ones twice.
    CountTwice,
    /// A restarted master gives numbers from 0 again.
    ReuseNumbers,
    /// A restarted master forgets what was committed.
    ForgetCommits,
    /// A restarted master forgets that a job was decided.
    ForgetDecision,
    /// A restarted master forgets that a job was over.
    ForgetEnd,
    /// An offered map output is taken back whatever its hash.
    TrustOffer,
    /// An offered reduce attempt is adopted whatever it read.
    AdoptSuperseded,
    /// Every offer is thrown away, also committed parts.
    DiscardCommitted,
    /// Map outputs that differ change nothing.
    IgnoreDifference,
    /// The loser of two attempts is not stopped.
    KeepTwin,
    /// Commits are not recorded.
    RecordNoCommit,
    /// The decision is recorded after the command to publish.
    RecordTooLate,
    /// A worker that resumes is not told again what it may have missed.
    ForgetRepeat,
}

impl Bug {
    /// Every mistake.
    #[cfg(feature = "planted")]
    pub const ALL: [Bug; 27] = [
        Bug::AcceptSecondCommit,
        Bug::SkipEpochCheck,
        Bug::SkipSessionCheck,
        Bug::SkipNumberCheck,
        Bug::ForgetLostOutputs,
        Bug::ForgetLostInput,
        Bug::ReduceTooEarly,
        Bug::CountLosses,
        Bug::KeepRefusedOutput,
        Bug::ForgetUndo,
        Bug::ForgetRelease,
        Bug::CancelDecided,
        Bug::ForgetRest,
        Bug::IgnoreLease,
        Bug::CountTwice,
        Bug::ReuseNumbers,
        Bug::ForgetCommits,
        Bug::ForgetDecision,
        Bug::ForgetEnd,
        Bug::TrustOffer,
        Bug::AdoptSuperseded,
        Bug::DiscardCommitted,
        Bug::IgnoreDifference,
        Bug::KeepTwin,
        Bug::RecordNoCommit,
        Bug::RecordTooLate,
        Bug::ForgetRepeat,
    ];
}

impl Scheduler {
    /// The stage of which a reduce attempt begins although one map output is missing.
    pub(super) fn too_early(&self, job: &Job) -> Option<Stage> {
        let nearly = job.state == JobState::Running && job.map.done + 1 == job.map.len();
        (self.config.has(Bug::ReduceTooEarly) && nearly && job.reduce.has_ready()).then_some(Stage::Reduce)
    }

    /// Lets a second finished attempt of a done task take the place of the first one.
    pub(super) fn accept_second(&mut self, session: SessionId, id: JobAttempt, report: &AttemptReport) -> bool {
        let AttemptId { task, number } = id.attempt;
        let open = self.jobs.get_mut(&id.job).filter(|_| self.config.has(Bug::AcceptSecondCommit));
        let Some(open) = open.filter(|open| open.get(task).is_some_and(|task| task.commit().is_some())) else {
            return false;
        };
        let bytes = open.input_bytes_of(task, report);
        let stage = open.stage_mut(task.stage);
        stage.revoke(task.index);
        stage.adopt(task.index, number, session, self.now);
        let _no_twin = stage.commit(task.index, number, report.clone(), bytes);
        self.record(|| Record::Committed { id, worker: WorkerId(0), report: report.clone() });
        true
    }

    /// Adds the report of a repeated task to the sums once more.
    pub(super) fn count_twice(&mut self, id: JobAttempt) {
        let task = id.attempt.task;
        let open = self.jobs.get_mut(&id.job).filter(|_| self.config.has(Bug::CountTwice) && id.attempt.number > 0);
        let Some(stage) = open.map(|open| open.stage_mut(task.stage)) else { return };
        if let Some(committed) = stage.get(task.index).and_then(|task| task.committed.clone()) {
            stage.counters.merge(&committed.report.counters);
        }
    }
}

impl SchedulerConfig {
    /// Whether this mistake was chosen.
    #[cfg(feature = "planted")]
    pub(super) fn has(&self, bug: Bug) -> bool {
        self.planted == Some(bug)
    }

    /// Whether this mistake was chosen: never.
    #[cfg(not(feature = "planted"))]
    #[expect(clippy::unused_self, reason = "the same with and without the feature")]
    pub(super) fn has(&self, _bug: Bug) -> bool {
        false
    }
}
