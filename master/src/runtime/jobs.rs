//! What only the runtime knows of jobs: specs, plans, claims, times, watchers, and which
//! submission made which job. What state a job is in is the scheduler's business.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gristmill_common::counters::Counters;
use gristmill_common::ids::{ContentId, JobId, TaskId};
use gristmill_common::naming::Uri;
use gristmill_common::spec::JobSpec;
use gristmill_common::task::{AttemptStats, JobPlan, TaskInput};
use gristmill_common::time::{Timestamp, WallTime};
use tokio::sync::{oneshot, watch};

use super::handle::{Accepted, SubmitRefusal};
use super::journal::AcceptedJob;
use super::output::OutputClaim;
use super::shipped::JobFiles;
use super::status::JobStatus;
use crate::scheduler::{AttemptWork, JobState, JobView, StageView};

/// Open jobs and jobs being planned. More only wait longer, and each costs its plan's memory.
pub(super) const MAX_OPEN_JOBS: usize = 1000;

/// Who waits for a submission.
pub(super) type Submitter = oneshot::Sender<Result<Accepted, SubmitRefusal>>;

/// One job.
#[derive(Debug)]
pub(super) struct JobRecord {
    /// The submission that made it.
    key: String,
    name: String,
    output: Uri,
    submitted: WallTime,
    finished: Option<WallTime>,
    warnings: Vec<String>,
    recipe: Option<ContentId>,
    /// What only an open job needs; most of its memory.
    work: Option<JobWork>,
    /// How it was when nothing was left to be published or undone. Absent before then.
    closed: Option<JobView>,
    /// Whether what it staged is being removed.
    undoing: bool,
    watchers: watch::Sender<Arc<JobStatus>>,
    /// In which state it was last put in the way of watchers, and when.
    shown: (JobState, Timestamp),
}

/// What only an open job needs.
#[derive(Debug)]
pub(super) struct JobWork {
    pub(super) spec: Arc<JobSpec>,
    pub(super) plan: Arc<JobPlan>,
    /// The claim on the output, until it is published or undone.
    pub(super) claim: Option<OutputClaim>,
    /// The folder in which attempts stage parts; empty if they send them to a store.
    pub(super) staging: String,
    pub(super) binary_sha256: String,
    /// Keeps them where workers fetch them.
    _files: JobFiles,
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

    /// Remembers a job that was taken on and is open.
    pub(super) fn insert(&mut self, accepted: &AcceptedJob, claim: OutputClaim, files: JobFiles) {
        let mut record = JobRecord::new(accepted);
        record.work = Some(JobWork {
            spec: Arc::clone(&accepted.spec),
            plan: Arc::clone(&accepted.plan),
            staging: claim.staged_parts_dir().map(|dir| dir.to_string_lossy().into_owned()).unwrap_or_default(),
            claim: Some(claim),
            binary_sha256: accepted.binary_sha256.clone(),
            _files: files,
        });
        self.keys.insert(accepted.key.clone(), accepted.job);
        self.records.insert(accepted.job, record);
        self.open.insert(accepted.job);
    }

    /// Remembers a job that is over, though something of it may be left.
    pub(super) fn insert_over(&mut self, accepted: &AcceptedJob, finished: WallTime) {
        let mut record = JobRecord::new(accepted);
        record.finished = Some(finished);
        self.keys.insert(accepted.key.clone(), accepted.job);
        self.records.insert(accepted.job, record);
    }

    /// Remembers a job of which nothing is left but what is shown.
    pub(super) fn insert_closed(&mut self, key: String, status: JobStatus) {
        let job = status.view.job;
        self.keys.insert(key.clone(), job);
        self.records.insert(job, JobRecord::closed(key, status));
    }

    /// A remembered job.
    pub(super) fn get(&self, job: JobId) -> Option<&JobRecord> {
        self.records.get(&job)
    }

    /// What an open job needs.
    pub(super) fn work_mut(&mut self, job: JobId) -> Option<&mut JobWork> {
        self.records.get_mut(&job)?.work.as_mut()
    }

    /// When an open job was submitted.
    pub(super) fn submitted(&self, job: JobId) -> WallTime {
        self.records.get(&job).map_or_else(WallTime::default, |record| record.submitted)
    }

    /// The job is over.
    pub(super) fn end(&mut self, job: JobId, finished: WallTime) {
        self.open.remove(&job);
        if let Some(record) = self.records.get_mut(&job) {
            record.finished = Some(finished);
        }
    }

    /// Drops what only an open job needs.
    pub(super) fn settle(&mut self, job: JobId) {
        if let Some(record) = self.records.get_mut(&job) {
            record.work = None;
        }
    }

    /// What the job staged is about to be removed.
    pub(super) fn begin_undoing(&mut self, job: JobId) {
        if let Some(record) = self.records.get_mut(&job) {
            record.undoing = true;
        }
    }

    /// What the job staged is removed, or not, and why. Returns whether there is such a job.
    pub(super) fn end_undoing(&mut self, job: JobId, trouble: Option<String>) -> bool {
        let Some(record) = self.records.get_mut(&job) else { return false };
        record.undoing = false;
        let warning = |reason| format!("not everything that the job staged could be removed: {reason}");
        record.warnings.extend(trouble.map(warning));
        true
    }

    /// Nothing is left of the job. Returns the key of its submission the first time.
    pub(super) fn close(&mut self, job: JobId, last: JobView) -> Option<String> {
        let record = self.records.get_mut(&job).filter(|record| record.closed.is_none())?;
        record.closed = Some(last);
        Some(record.key.clone())
    }

    /// Jobs that are over and of which something may be left.
    pub(super) fn over_and_not_closed(&self) -> Vec<JobId> {
        let left = self.records.iter().filter(|(job, record)| !self.open.contains(job) && record.closed.is_none());
        left.map(|(job, _)| *job).collect()
    }

    /// Watchers are about to be told of this state.
    pub(super) fn show(&mut self, job: JobId, state: JobState, now: Timestamp) {
        if let Some(record) = self.records.get_mut(&job) {
            record.shown = (state, now);
        }
    }

    /// Tells watchers, if there is something new.
    pub(super) fn tell(&mut self, job: JobId, status: JobStatus) {
        let Some(record) = self.records.get_mut(&job) else { return };
        record.watchers.send_if_modified(|told| {
            let new = **told != status;
            if new {
                *told = Arc::new(status);
            }
            new
        });
    }

    /// Forgets a job and the submission that made it.
    pub(super) fn forget(&mut self, job: JobId) {
        if let Some(record) = self.records.remove(&job) {
            self.keys.remove(&record.key);
        }
        self.open.remove(&job);
    }

    /// The jobs that are remembered and of which nothing is left.
    pub(super) fn ended(&self) -> Vec<JobId> {
        self.records.iter().filter(|(_, record)| record.closed.is_some()).map(|(job, _)| *job).collect()
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

impl Drop for JobTable {
    /// What is left to do is the next master's: nothing that is staged may go with this one.
    fn drop(&mut self) {
        let works = self.records.values_mut().filter_map(|record| record.work.as_mut());
        works.filter_map(|work| work.claim.take()).for_each(OutputClaim::abandon);
    }
}

impl JobRecord {
    fn new(accepted: &AcceptedJob) -> Self {
        let status = JobStatus {
            view: queued_view(accepted.job),
            name: accepted.spec.job.clone(),
            output: accepted.spec.output.clone(),
            submitted: accepted.submitted,
            finished: None,
            warnings: accepted.plan.warnings.clone(),
            recipe: accepted.recipe,
        };
        Self { closed: None, ..Self::closed(accepted.key.clone(), status) }
    }

    fn closed(key: String, status: JobStatus) -> Self {
        Self {
            key,
            name: status.name.clone(),
            output: status.output.clone(),
            submitted: status.submitted,
            finished: status.finished,
            warnings: status.warnings.clone(),
            recipe: status.recipe,
            work: None,
            closed: Some(status.view.clone()),
            undoing: false,
            shown: (status.view.state, Timestamp::ZERO),
            watchers: watch::Sender::new(Arc::new(status)),
        }
    }

    /// What is shown of the job; `view` is how the scheduler sees it, which knows less of a job that was
    /// closed by an earlier master.
    pub(super) fn status(&self, view: JobView) -> JobStatus {
        JobStatus {
            view: self.closed.clone().unwrap_or(view),
            name: self.name.clone(),
            output: self.output.clone(),
            submitted: self.submitted,
            finished: self.finished,
            warnings: self.warnings.clone(),
            recipe: self.recipe,
        }
    }

    /// Whether what it staged is being removed.
    pub(super) fn is_undoing(&self) -> bool {
        self.undoing
    }

    /// Whether anybody watches.
    pub(super) fn is_watched(&self) -> bool {
        self.watchers.receiver_count() > 0
    }

    /// In which state watchers were last told of it, and when.
    pub(super) fn shown(&self) -> (JobState, Timestamp) {
        self.shown
    }

    /// A watcher, who sees at once what was told last.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<JobStatus>> {
        self.watchers.subscribe()
    }
}

impl JobWork {
    /// What an attempt of `task` works on.
    pub(super) fn input(&self, task: TaskId, work: AttemptWork) -> TaskInput {
        match work {
            AttemptWork::Map { skip } => {
                let split = self.plan.splits.get(task.index as usize);
                let split = split.expect("only tasks of the plan get attempts").clone();
                TaskInput::Map { split, partitions: self.plan.reducers, skip }
            }
            AttemptWork::Reduce { sources } => TaskInput::Reduce { sources },
        }
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
