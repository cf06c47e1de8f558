//! What must outlive the master. The scheduler says each fact as [`Command::Record`](super::Command)
//! before the commands that follow from it; [`RestoredJob`] is what the facts of a job add up to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gristmill_common::failure::Failure;
use gristmill_common::ids::{AttemptId, JobAttempt, JobId, MasterEpoch, Stage, TaskId, WorkerId};
use gristmill_common::task::{AttemptReport, OpenUpload};

use super::event::JobRequest;
use super::view::JobState;

/// A fact about an open job. Facts of one job are in order; nothing that follows from one may be done
/// or said before it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An attempt became the result of its task.
    Committed {
        /// The attempt.
        id: JobAttempt,
        /// Who ran it, and holds its output if that is a map output.
        worker: WorkerId,
        /// What it reported.
        report: AttemptReport,
    },
    /// An attempt that runs has begun uploads to an object store. Whatever becomes of it, somebody has to
    /// complete them or abort them.
    Uploading {
        /// The attempt.
        id: JobAttempt,
        /// The uploads.
        uploads: Vec<OpenUpload>,
    },
    /// An attempt failed, and the failure counts.
    Failed {
        /// The attempt.
        id: JobAttempt,
        /// Who ran it.
        worker: WorkerId,
        /// Why.
        failure: Failure,
    },
    /// A map task's attempts made different outputs: what was made of the earlier one counts no more.
    Revoked {
        /// The job.
        job: JobId,
        /// The map task.
        map: TaskId,
        /// Committed reduce attempts that read the earlier output.
        reduces: Vec<AttemptId>,
        /// How often the job's reduce attempts were revoked so far.
        rounds: u32,
    },
    /// The commit point: the parts are those of the committed attempts, for ever.
    Decided {
        /// The job.
        job: JobId,
    },
    /// The job is in its last state.
    Ended {
        /// The job.
        job: JobId,
        /// Succeeded, failed or cancelled.
        state: JobState,
        /// Why it failed.
        failure: Option<Failure>,
    },
}

impl Record {
    /// The job that the fact is about.
    pub fn job(&self) -> JobId {
        match self {
            Record::Committed { id, .. } | Record::Uploading { id, .. } | Record::Failed { id, .. } => id.job,
            Record::Revoked { job, .. } | Record::Decided { job } | Record::Ended { job, .. } => *job,
        }
    }
}

/// A committed attempt, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredCommit {
    /// Its number within its task.
    pub number: u32,
    /// Who ran it.
    pub worker: WorkerId,
    /// What it reported.
    pub report: AttemptReport,
}

/// A counted failure, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredFailure {
    /// The attempt.
    pub attempt: AttemptId,
    /// Who ran it.
    pub worker: WorkerId,
    /// Why.
    pub failure: Failure,
}

/// A job as its recorded facts tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredJob {
    /// Its id.
    pub job: JobId,
    /// What the scheduler must know of it.
    pub request: Arc<JobRequest>,
    /// The epoch of the master that accepted it.
    pub accepted: MasterEpoch,
    /// The commits in force, by task.
    pub commits: BTreeMap<TaskId, RestoredCommit>,
    /// Uploads that attempts have begun.
    pub uploads: BTreeSet<OpenUpload>,
    /// Counted failures, in order.
    pub failures: Vec<RestoredFailure>,
    /// Map tasks whose attempts made different outputs.
    pub differed: BTreeSet<TaskId>,
    /// How often reduce attempts were revoked for that.
    pub rounds: u32,
    /// Whether the parts are decided.
    pub decided: bool,
    /// Its last state, and why it failed.
    pub ended: Option<(JobState, Option<Failure>)>,
}

impl RestoredJob {
    /// A job of which nothing but its acceptance is recorded.
    pub fn new(job: JobId, request: Arc<JobRequest>, accepted: MasterEpoch) -> Self {
        Self {
            job,
            request,
            accepted,
            commits: BTreeMap::new(),
            uploads: BTreeSet::new(),
            failures: Vec::new(),
            differed: BTreeSet::new(),
            rounds: 0,
            decided: false,
            ended: None,
        }
    }

    /// Takes in the next fact about the job.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Committed { id, worker, report } => {
                let commit = RestoredCommit { number: id.attempt.number, worker, report };
                self.commits.insert(id.attempt.task, commit);
            }
            Record::Uploading { id: _, uploads } => self.uploads.extend(uploads),
            Record::Failed { id, worker, failure } => {
                self.failures.push(RestoredFailure { attempt: id.attempt, worker, failure });
            }
            Record::Revoked { job: _, map, reduces, rounds } => {
                self.differed.insert(map);
                self.rounds = rounds;
                for attempt in reduces {
                    let revoked = |commit: &RestoredCommit| commit.number == attempt.number;
                    if attempt.task.stage == Stage::Reduce && self.commits.get(&attempt.task).is_some_and(revoked) {
                        self.commits.remove(&attempt.task);
                    }
                }
            }
            Record::Decided { .. } => self.decided = true,
            Record::Ended { state, failure, .. } => self.ended = Some((state, failure)),
        }
    }
}
