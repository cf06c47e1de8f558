//! What only the runtime knows of jobs: specs, plans, claims, times, watchers, and which
//! submission made which job. What state a job is in is the scheduler's business.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gristmill_common::counters::Counters;
use gristmill_common::ids::{JobId, TaskId};
use gristmill_common::spec::JobSpec;
use gristmill_common::task::{AttemptStats, JobPlan, TaskInput};
use gristmill_common::time::{Timestamp, WallTime};
use tokio::sync::{oneshot, watch};

use super::handle::{Accepted, SubmitRefusal};
use super::output::OutputClaim;
use super::prepare::PreparedJob;
use super::status::JobStatus;
use crate::scheduler::{AttemptWork, JobState, JobView, StageView};

/// Open jobs and jobs being planned. More only wait longer, and each costs its plan's memory.
pub(super) const MAX_OPEN_JOBS: usize = 1000;

/// Who waits for a submission.
pub(super) type Submitter = oneshot::Sender<Result<Accepted, SubmitRefusal>>;

/// One job.
#[derive(Debug)]
pub(super) struct JobRecord {
    pub(super) spec: Arc<JobSpec>,
    /// Without splits once the job is over: they are most of its memory.
    pub(super) plan: Arc<JobPlan>,
    /// The claim on the output, until it is published or undone.
    pub(super) claim: Option<OutputClaim>,
    /// The folder in which attempts stage parts.
    pub(super) staging: String,
    pub(super) binary_sha256: String,
    /// The submission that made it.
    key: String,
    pub(super) submitted: WallTime,
    pub(super) finished: Option<WallTime>,
    pub(super) warnings: Vec<String>,
    /// Whether what it staged is being removed.
    pub(super) undoing: bool,
    watchers: watch::Sender<Arc<JobStatus>>,
    /// When watchers were told last.
    told: Timestamp,
}

/// What becomes of a submission.
#[derive(Debug)]
pub(super) enum Admission {
    /// Its job is there already.
    Known(Accepted, Submitter),
    /// The same is being planned: the submitter was put with those who wait for it.
    Waiting,
    /// Too much is going on.
    Busy(Submitter),
    /// It is to be planned under this id.
    Plan(JobId),
}

/// All jobs that the runtime remembers.
#[derive(Debug, Default)]
pub(super) struct JobTable {
    records: BTreeMap<JobId, JobRecord>,
    keys: HashMap<String, JobId>,
    preparing: BTreeMap<String, (JobId, Vec<Submitter>)>,
    /// Jobs that are not over.
    pub(super) open: BTreeSet<JobId>,
}

impl JobTable {
    /// Finds out what is to be done with a submission; `fresh` draws job ids.
    pub(super) fn admit(&mut self, key: &str, submitter: Submitter, fresh: impl FnMut() -> JobId) -> Admission {
        if let Some(job) = self.keys.get(key) {
            let warnings = self.records[job].warnings.clone();
            return Admission::Known(Accepted { job: *job, warnings }, submitter);
        }
        if let Some((_, waiting)) = self.preparing.get_mut(key) {
            waiting.push(submitter);
            return Admission::Waiting;
        }
        if self.open.len() + self.preparing.len() >= MAX_OPEN_JOBS {
            return Admission::Busy(submitter);
        }
        let job = self.unused(fresh);
        self.preparing.insert(key.to_owned(), (job, vec![submitter]));
        Admission::Plan(job)
    }

    /// Ends the planning of a submission; returns those who wait for it.
    pub(super) fn planned(&mut self, key: &str) -> Vec<Submitter> {
        self.preparing.remove(key).map(|(_, waiting)| waiting).unwrap_or_default()
    }

    /// Remembers a planned job.
    pub(super) fn insert(&mut self, key: &str, binary_sha256: String, prepared: PreparedJob, submitted: WallTime) {
        let PreparedJob { job, spec, plan, claim, request: _ } = prepared;
        let status = JobStatus {
            view: queued_view(job),
            name: spec.job.clone(),
            output: spec.output.clone(),
            submitted,
            finished: None,
            warnings: plan.warnings.clone(),
        };
        let record = JobRecord {
            warnings: plan.warnings.clone(),
            spec,
            plan,
            staging: claim.staged_parts_dir().to_string_lossy().into_owned(),
            claim: Some(claim),
            binary_sha256,
            key: key.to_owned(),
            submitted,
            finished: None,
            undoing: false,
            watchers: watch::Sender::new(Arc::new(status)),
            told: Timestamp::ZERO,
        };
        self.keys.insert(key.to_owned(), job);
        self.records.insert(job, record);
        self.open.insert(job);
    }

    /// A remembered job.
    pub(super) fn get(&self, job: JobId) -> Option<&JobRecord> {
        self.records.get(&job)
    }

    /// A remembered job, to change.
    pub(super) fn get_mut(&mut self, job: JobId) -> Option<&mut JobRecord> {
        self.records.get_mut(&job)
    }

    /// Forgets a job and the submission that made it.
    pub(super) fn forget(&mut self, job: JobId) {
        if let Some(record) = self.records.remove(&job) {
            self.keys.remove(&record.key);
        }
        self.open.remove(&job);
    }

    /// The jobs that are remembered and over.
    pub(super) fn ended(&self) -> Vec<JobId> {
        self.records.keys().filter(|job| !self.open.contains(job)).copied().collect()
    }

    fn unused(&self, mut fresh: impl FnMut() -> JobId) -> JobId {
        loop {
            let job = fresh();
            if !self.records.contains_key(&job) && !self.preparing.values().any(|(id, _)| *id == job) {
                return job;
            }
        }
    }
}

impl JobRecord {
    /// What is shown of the job.
    pub(super) fn status(&self, view: JobView) -> JobStatus {
        JobStatus {
            view,
            name: self.spec.job.clone(),
            output: self.spec.output.clone(),
            submitted: self.submitted,
            finished: self.finished,
            warnings: self.warnings.clone(),
        }
    }

    /// What an attempt of `task` works on.
    pub(super) fn input(&self, task: TaskId, work: AttemptWork) -> TaskInput {
        match work {
            AttemptWork::Map { skip } => {
                let split = self.plan.splits.get(task.index as usize);
                let split = split.expect("only tasks of the plan get attempts, before the job is over").clone();
                TaskInput::Map { split, partitions: self.plan.reducers, skip }
            }
            AttemptWork::Reduce { sources } => TaskInput::Reduce { sources },
        }
    }

    /// Whether anybody watches.
    pub(super) fn is_watched(&self) -> bool {
        self.watchers.receiver_count() > 0
    }

    /// What watchers were told last, and when.
    pub(super) fn told(&self) -> (Arc<JobStatus>, Timestamp) {
        (Arc::clone(&self.watchers.borrow()), self.told)
    }

    /// Tells watchers, if there is something new.
    pub(super) fn tell(&mut self, now: Timestamp, status: JobStatus) {
        self.told = now;
        self.watchers.send_if_modified(|told| {
            let new = **told != status;
            if new {
                *told = Arc::new(status);
            }
            new
        });
    }

    /// A watcher, who sees at once what was told last.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<JobStatus>> {
        self.watchers.subscribe()
    }

    /// Drops what only an open job needs.
    pub(super) fn shrink(&mut self) {
        let plan = JobPlan { splits: Vec::new(), ..JobPlan::clone(&self.plan) };
        self.plan = Arc::new(plan);
    }
}

/// What a job looks like before the scheduler has heard of it.
fn queued_view(job: JobId) -> JobView {
    JobView {
        job,
        state: JobState::Queued,
        map: StageView::default(),
        reduce: StageView::default(),
        counters: Counters::default(),
        map_stats: AttemptStats::default(),
        reduce_stats: AttemptStats::default(),
        differed: Vec::new(),
        failure: None,
        waiting: None,
    }
}
