//! One open job: its stages, who holds its map outputs, and its life cycle. It knows nothing of
//! sessions beyond their ids.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gristmill_common::counters::{Counters, NAMED_PARTS};
use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::{AttemptId, JobAttempt, JobId, SessionId, Stage, TaskId, WorkerId};
use gristmill_common::spec::Share;
use gristmill_common::task::{AttemptOutput, AttemptReport, BadRecords, PartSummary, SegmentSource};

use super::attempt::{Attempt, AttemptStep};
use super::command::{AttemptFailure, JobResult};
use super::event::JobRequest;
use super::record::RestoredCommit;
use super::restore::NUMBERS_PER_EPOCH;
use super::stage::StageTasks;
use super::task::{Commit, Task};
use super::view::{JobState, JobView};

/// The most parts of named outputs of a job. Raised, a master needs more memory, some hundred bytes for
/// each, and `_SUCCESS` becomes larger; lowered, jobs with many names and many reduce tasks are refused.
const MAX_NAMED_PARTS: u64 = 1_000_000;

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobStep {
    /// Its first attempt is assigned, or it has none to assign.
    Begin,
    /// Its tasks are done.
    Decide,
    /// Its output is in place.
    Publish,
    /// It cannot succeed.
    Fail,
    /// Somebody asked for its end.
    Cancel,
}

impl JobState {
    /// The state after `step`; `None` if a job in this state cannot take it.
    pub(super) fn after(self, step: JobStep) -> Option<JobState> {
        match (self, step) {
            (JobState::Queued, JobStep::Begin) => Some(JobState::Running),
            (JobState::Running, JobStep::Decide) => Some(JobState::Committing),
            (JobState::Committing, JobStep::Publish) => Some(JobState::Succeeded),
            (JobState::Running | JobState::Committing, JobStep::Fail) => Some(JobState::Failed),
            (JobState::Queued | JobState::Running, JobStep::Cancel) => Some(JobState::Cancelled),
            (JobState::Queued, JobStep::Decide | JobStep::Publish | JobStep::Fail)
            | (JobState::Running, JobStep::Begin | JobStep::Publish)
            | (JobState::Committing, JobStep::Begin | JobStep::Decide | JobStep::Cancel)
            | (
                JobState::Succeeded | JobState::Failed | JobState::Cancelled,
                JobStep::Begin | JobStep::Decide | JobStep::Publish | JobStep::Fail | JobStep::Cancel,
            ) => None,
        }
    }
}

/// A job that is not over.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// The last number that an attempt gets under this master.
    last_number: u32,
    /// Counts submissions: the order in which equal jobs are served.
    pub(super) order: u64,
    /// What was asked for.
    pub(super) request: Arc<JobRequest>,
    /// Where it is in its life.
    pub(super) state: JobState,
    /// The map stage.
    pub(super) map: StageTasks,
    /// The reduce stage; no tasks if map-only.
    pub(super) reduce: StageTasks,
    /// Which map tasks' outputs in force each session holds. Empty for a map-only job.
    pub(super) holders: BTreeMap<SessionId, BTreeSet<u32>>,
    /// Bytes of all splits.
    pub(super) input_bytes: u64,
    /// Bytes of the map outputs committed last.
    pub(super) output_bytes: u64,
    /// Every map output in force, grouped by holder, if somebody asked since they changed last.
    pub(super) sources: Option<Arc<[SegmentSource]>>,
    /// Adopted reduce attempts that are to be asked about once every map output is in place again.
    pub(super) unasked: BTreeSet<(SessionId, JobAttempt)>,
    /// Tasks that failed on a worker for what may be its own reasons, since it last did one of the job's.
    /// Until another worker has done them nobody knows whose fault that was.
    pub(super) suspects: BTreeMap<WorkerId, BTreeSet<TaskId>>,
    /// Which workers could not reach which holders of map outputs.
    pub(super) unreachable: BTreeMap<SessionId, BTreeSet<WorkerId>>,
    /// Map tasks whose attempts made different outputs.
    pub(super) differed: BTreeSet<TaskId>,
    /// How often reduce attempts were revoked for that.
    pub(super) rounds: u32,
    /// The newest failures, oldest first.
    pub(super) failures: Vec<AttemptFailure>,
}

/// A job that is over, as far as it is remembered.
#[derive(Debug, Clone)]
pub(super) struct EndedJob {
    /// What is shown of it.
    pub(super) view: JobView,
    /// Its newest failures, oldest first.
    pub(super) failures: Vec<AttemptFailure>,
    /// The attempt numbers behind the parts of a succeeded job: a repeated report of one of them
    /// must not be answered by throwing it away.
    pub(super) winners: Vec<u32>,
}

impl Job {
    /// A job without attempts, the first of which get this number.
    pub(super) fn new(order: u64, request: Arc<JobRequest>, first_number: u32) -> Self {
        let maps = u32::try_from(request.split_bytes.len()).expect("the planner numbers tasks with u32");
        Self {
            order,
            last_number: first_number.saturating_add(NUMBERS_PER_EPOCH - 1),
            state: JobState::Queued,
            map: StageTasks::new(Stage::Map, maps, first_number),
            reduce: StageTasks::new(Stage::Reduce, request.reducers, first_number),
            holders: BTreeMap::new(),
            input_bytes: request.split_bytes.iter().sum(),
            output_bytes: 0,
            sources: None,
            unasked: BTreeSet::new(),
            suspects: BTreeMap::new(),
            unreachable: BTreeMap::new(),
            differed: BTreeSet::new(),
            rounds: 0,
            failures: Vec::new(),
            request,
        }
    }

    /// Takes a step of its life.
    ///
    /// # Panics
    ///
    /// If it cannot take it: the caller must have checked the state.
    pub(super) fn step(&mut self, step: JobStep) {
        self.state = self.state.after(step).expect("the caller knows the job's state");
    }

    /// Whether its output is made by map tasks.
    pub(super) fn is_map_only(&self) -> bool {
        self.request.reducers == 0
    }

    /// The stage that makes the parts.
    pub(super) fn last_stage(&self) -> &StageTasks {
        if self.is_map_only() { &self.map } else { &self.reduce }
    }

    /// One of the stages.
    pub(super) fn stage(&self, stage: Stage) -> &StageTasks {
        match stage {
            Stage::Map => &self.map,
            Stage::Reduce => &self.reduce,
        }
    }

    /// One of the stages.
    pub(super) fn stage_mut(&mut self, stage: Stage) -> &mut StageTasks {
        match stage {
            Stage::Map => &mut self.map,
            Stage::Reduce => &mut self.reduce,
        }
    }

    /// The task of that id, if there is one.
    pub(super) fn get(&self, task: TaskId) -> Option<&Task> {
        self.stage(task.stage).get(task.index)
    }

    /// Attempts in force.
    pub(super) fn active(&self) -> u32 {
        self.map.active + self.reduce.active
    }

    /// Why the job fails if a task used up the numbers of its attempts.
    pub(super) fn out_of_numbers(&self, task: TaskId) -> Option<Failure> {
        // The last one stays free: after very many masters it is the largest number there is.
        let over = self.get(task).is_some_and(|task| task.next_number >= self.last_number);
        let message = || format!("task {task} was lost or given back {NUMBERS_PER_EPOCH} times");
        over.then(|| Failure::new(FailureCode::WorkerLost, message()))
    }

    /// When the job is served, compared with others: by priority; then those below their least number
    /// of slots; then the one with the fewest attempts for its weight, so that jobs of any length share
    /// the workers as their weights say.
    pub(super) fn turn(&self) -> (Reverse<i32>, bool, u64) {
        let Share { weight, min_slots, priority } = self.request.share;
        let active = u64::from(self.active());
        (Reverse(priority), active >= u64::from(min_slots), (active << 32) / u64::from(weight.max(1)))
    }

    /// The stage from which a task could be assigned now. Reduce tasks wait until every map output
    /// is in place, so maps to be redone come first by themselves.
    pub(super) fn assignable(&self) -> Option<Stage> {
        match self.state {
            JobState::Queued | JobState::Running => {}
            JobState::Committing | JobState::Succeeded | JobState::Failed | JobState::Cancelled => return None,
        }
        if self.map.has_ready() {
            Some(Stage::Map)
        } else if self.map.is_done() && self.reduce.has_ready() {
            Some(Stage::Reduce)
        } else {
            None
        }
    }

    /// Whether lost map outputs must be made again.
    pub(super) fn needs_map_outputs(&self) -> bool {
        self.state == JobState::Running && !self.reduce.is_done()
    }

    /// Whether the report is of the kind that the task makes; the text says what is wrong.
    pub(super) fn check_output(&self, task: TaskId, output: &AttemptOutput) -> Result<(), String> {
        let segments = self.request.reducers;
        match (output, task.stage, self.is_map_only()) {
            (AttemptOutput::MapOutput(made), Stage::Map, false) if made.partitions == segments => Ok(()),
            (AttemptOutput::MapOutput(made), Stage::Map, false) => {
                Err(format!("the worker reported {} segments of {task} instead of {segments}", made.partitions))
            }
            (AttemptOutput::MapOutput(_), Stage::Map, true) | (AttemptOutput::MapOutput(_), Stage::Reduce, _) => {
                Err(format!("the worker reported a map output of {task}, which makes a part"))
            }
            (AttemptOutput::Part(_), Stage::Map, true) | (AttemptOutput::Part(_), Stage::Reduce, _) => Ok(()),
            (AttemptOutput::Part(_), Stage::Map, false) => {
                Err(format!("the worker reported a part of {task}, which makes a map output"))
            }
        }
    }

    /// Makes the attempt in force the task's result. The report must have passed `check_output`.
    /// Returns its twin, which is in force no more.
    pub(super) fn commit(&mut self, id: AttemptId, session: SessionId, report: AttemptReport) -> Option<Attempt> {
        let AttemptId { task, number } = id;
        if let AttemptOutput::MapOutput(made) = &report.output {
            self.output_bytes -= self.kept_output_bytes(task.index);
            self.output_bytes += made.bytes;
            self.sources = None;
            self.holders.entry(session).or_default().insert(task.index);
        }
        let bytes = self.input_bytes_of(task, &report);
        self.stage_mut(task.stage).commit(task.index, number, report, bytes)
    }

    /// The map output that was committed last is at this session again.
    pub(super) fn take_back(&mut self, index: u32, session: SessionId) {
        self.sources = None;
        self.holders.entry(session).or_default().insert(index);
        self.map.take_back(index, session, self.request.split_bytes[index as usize]);
    }

    /// Bytes of the map output committed last, whether or not it is still there.
    fn kept_output_bytes(&self, map: u32) -> u64 {
        match self.map.tasks[map as usize].committed.as_ref().map(|earlier| &earlier.report.output) {
            Some(AttemptOutput::MapOutput(made)) => made.bytes,
            Some(AttemptOutput::Part(_)) | None => 0,
        }
    }

    /// Bytes of input that count as done with an attempt.
    pub(super) fn input_bytes_of(&self, task: TaskId, report: &AttemptReport) -> u64 {
        match task.stage {
            Stage::Map => self.request.split_bytes[task.index as usize],
            Stage::Reduce => report.stats.input_bytes,
        }
    }

    /// Puts a commit in force that was recorded under an earlier master.
    pub(super) fn restore(&mut self, task: TaskId, commit: RestoredCommit) {
        let RestoredCommit { number, report, .. } = commit;
        let bytes = self.input_bytes_of(task, &report);
        let makes_parts = matches!(report.output, AttemptOutput::Part(_));
        if let AttemptOutput::MapOutput(made) = &report.output {
            self.output_bytes += made.bytes;
        }
        let stage = self.stage_mut(task.stage);
        stage.keep_report(task.index, number, report);
        if makes_parts {
            // Parts lie in the output's staging folder: nobody has to come back for them.
            stage.take_back(task.index, SessionId(0), bytes);
        }
    }

    /// Makes a done map task pending because its output is gone.
    pub(super) fn revoke_map(&mut self, index: u32) -> Commit {
        let commit = self.map.revoke(index);
        self.sources = None;
        if let Some(held) = self.holders.get_mut(&commit.session) {
            held.remove(&index);
            if held.is_empty() {
                self.holders.remove(&commit.session);
            }
        }
        commit
    }

    /// How many map outputs a session holds.
    pub(super) fn held_by(&self, session: SessionId) -> usize {
        self.holders.get(&session).map_or(0, BTreeSet::len)
    }

    /// The attempts in force, in task order.
    pub(super) fn active_attempts(&self, job: JobId) -> Vec<(SessionId, JobAttempt)> {
        let of_stage = |stage: &StageTasks| -> Vec<_> {
            let active = (0..stage.len()).flat_map(|index| stage.attempts(index).map(move |a| (stage.id(index), a)));
            active
                .map(|(task, a)| (a.session, JobAttempt { job, attempt: AttemptId { task, number: a.number } }))
                .collect()
        };
        [of_stage(&self.map), of_stage(&self.reduce)].concat()
    }

    /// Ends every attempt in force and every rest; returns the attempts.
    pub(super) fn cancel_all(&mut self, job: JobId) -> Vec<(SessionId, JobAttempt)> {
        let active = self.active_attempts(job);
        for (_, JobAttempt { attempt: AttemptId { task, number }, .. }) in &active {
            self.stage_mut(task.stage).give_up(task.index, *number, AttemptStep::Cancel, None);
        }
        self.unasked.clear();
        for stage in [&mut self.map, &mut self.reduce] {
            let resting: Vec<u32> = stage.resting().map(|(_, index)| index).collect();
            resting.into_iter().for_each(|index| stage.wake(index));
        }
        active
    }

    /// What is published.
    pub(super) fn result(&self) -> JobResult {
        let reports = self.last_stage().tasks.iter().filter_map(|task| Some(&task.committed.as_ref()?.report));
        let parts: Vec<PartSummary> = reports
            .filter_map(|report| match &report.output {
                AttemptOutput::Part(part) => Some(part.clone()),
                AttemptOutput::MapOutput(_) => None,
            })
            .collect();
        let bad = self.bad_records().cloned().collect();
        let differed = self.differed.iter().copied().collect();
        JobResult {
            parts,
            bad,
            differed,
            counters: self.counters(),
            map_stats: self.map.stats,
            reduce_stats: self.reduce.stats,
        }
    }

    /// Why the job fails if it skipped more records than it may.
    pub(super) fn too_many_bad_records(&self) -> Option<Failure> {
        let (bad, allowed) = (self.bad_records().map(|bad| bad.records).sum::<u64>(), self.request.max_bad_records);
        let message = || format!("{bad} records are bad, and {allowed} may be");
        (bad > allowed).then(|| Failure::new(FailureCode::BadRecord, message()))
    }

    /// Why the job fails if it has more parts of named outputs than can be published.
    pub(super) fn too_many_named_parts(&self) -> Option<Failure> {
        let parts = self.last_stage().counters.get(NAMED_PARTS);
        let message = || {
            format!(
                "the job has more than {MAX_NAMED_PARTS} parts of named outputs (fewer reduce tasks make fewer, or \
                 a partition that sends an output's records to one of them)"
            )
        };
        (parts > MAX_NAMED_PARTS).then(|| Failure::new(FailureCode::UserError, message()))
    }

    /// What committed attempts skipped.
    pub(super) fn bad_records(&self) -> impl Iterator<Item = &BadRecords> {
        let committed = self.map.tasks.iter().chain(&self.reduce.tasks).filter_map(|task| task.committed.as_ref());
        committed.filter_map(|committed| committed.report.bad.as_deref())
    }

    /// What is shown of the job, but for its failure and what it waits for.
    pub(super) fn view(&self, job: JobId) -> JobView {
        JobView {
            job,
            state: self.state,
            map: self.map.view(self.input_bytes),
            reduce: self.reduce.view(self.output_bytes),
            counters: self.counters(),
            map_stats: self.map.stats,
            reduce_stats: self.reduce.stats,
            differed: self.differed.iter().copied().collect(),
            failure: None,
            waiting: None,
        }
    }

    /// What is kept of a job that is over.
    pub(super) fn into_ended(self, job: JobId, failure: Option<Failure>) -> EndedJob {
        let winners = match self.state {
            JobState::Succeeded => {
                let commits = self.last_stage().tasks.iter().filter_map(Task::commit);
                commits.map(|commit| commit.number).collect()
            }
            JobState::Queued | JobState::Running | JobState::Committing | JobState::Failed | JobState::Cancelled => {
                Vec::new()
            }
        };
        EndedJob { view: JobView { failure, ..self.view(job) }, failures: self.failures, winners }
    }

    fn counters(&self) -> Counters {
        let mut counters = self.map.counters.clone();
        counters.merge(&self.reduce.counters);
        counters
    }
}
