//! The scheduler: a state machine that turns [`Event`]s into [`Command`]s. It decides everything
//! about jobs, tasks, attempts and sessions, and does nothing: it reads no clock, waits for
//! nothing, draws no random numbers and never iterates over a hash map, so that the same events
//! always give the same commands. The cluster, the embedded mode and the simulator all drive it.
//!
//! | file | about |
//! |---|---|
//! | `event`, `command`, `view`, `config` | what goes in, what comes out, what is shown, constants |
//! | `job`, `stage`, `task`, `attempt`, `workers` | the life cycles, each with one transition function |
//! | `trouble` | what went wrong with a task |
//! | `reports` | reports of workers: fencing, commits, failures |
//! | `sessions` | sessions that come, break, resume and end |
//! | `jobs` | jobs that come, decide and end |
//! | `offers`, `restore` | what workers still have, and what an earlier master recorded |
//! | `consistency` | map tasks whose attempts differ |
//! | `speculation` | stragglers and their twins |
//! | `placement`, `policy` | which attempt goes where |
//! | `pace` | how fast workers are, and which would hold a stage up |
//! | `health` | workers that keep failing |
//! | `record` | what must outlive the master |
//! | `planted` | mistakes on purpose, for the simulator |
//! | `reasons` | why a job waits |
//! | `invariants` | what must hold between two events |

mod attempt;
mod command;
mod config;
mod consistency;
mod event;
mod health;
mod invariants;
mod job;
mod jobs;
mod offers;
mod pace;
mod placement;
mod planted;
mod policy;
mod reasons;
mod record;
mod reports;
mod restore;
mod sessions;
mod speculation;
mod stage;
mod task;
#[cfg(test)]
mod tests;
mod trouble;
mod view;
mod workers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gristmill_common::ids::{JobId, MasterEpoch, SessionId, TaskId, WorkerId};
use gristmill_common::time::Timestamp;

pub use command::{AttemptFailure, AttemptWork, CloseReason, Command, JobResult, StaleReason};
pub use config::SchedulerConfig;
pub use event::{Event, JobRequest, WorkerProfile, WorkerReport};
#[cfg(feature = "planted")]
pub use planted::Bug;
pub use policy::{Candidate, Choose, Placement, affinity, rendezvous};
pub use record::{Record, RestoredCommit, RestoredFailure, RestoredJob};
pub use view::{JobState, JobView, SessionState, StageView, WorkerView};

use job::{EndedJob, Job};
use planted::Bug as Mistake;
use workers::{SessionLife, SessionStep, Sessions};

/// The state of a cluster's work.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use gristmill_common::ids::JobId;
/// use gristmill_common::time::Timestamp;
/// use gristmill_master::scheduler::{Event, JobRequest, JobState, Scheduler, SchedulerConfig};
///
/// let mut scheduler = Scheduler::new(SchedulerConfig::default());
/// let request = JobRequest::new(vec![100], 1);
/// scheduler.step(Timestamp::ZERO, Event::JobSubmitted { job: JobId(1), request: Arc::new(request) });
/// let job = scheduler.job(JobId(1)).expect("just submitted");
/// assert_eq!((job.state, job.waiting.as_deref()), (JobState::Queued, Some("no worker is connected")));
/// ```
#[derive(Debug, Clone)]
pub struct Scheduler {
    config: SchedulerConfig,
    now: Timestamp,
    submitted: u64,
    jobs: BTreeMap<JobId, Job>,
    ended: BTreeMap<JobId, EndedJob>,
    ended_order: VecDeque<JobId>,
    sessions: Sessions,
    /// Tasks that rest: after a hand-back, or until workers came back after a restart of the master.
    resting: BTreeSet<(Timestamp, JobId, TaskId)>,
    /// Workers that hold what an earlier master recorded, and did not come back yet.
    expected: BTreeSet<WorkerId>,
    /// Until when they are waited for.
    adoption_ends: Option<Timestamp>,
    /// When stragglers are looked for next.
    next_look: Option<Timestamp>,
    /// Attempts placed so far.
    placed: u64,
    refusals: BTreeMap<StaleReason, u64>,
    /// Commands of the step under way.
    commands: Vec<Command>,
    /// Jobs whose watchers are told at the end of the step under way.
    notify: BTreeSet<JobId>,
}

impl Scheduler {
    /// A scheduler that knows no jobs and no workers.
    pub fn new(config: SchedulerConfig) -> Self {
        Self {
            config,
            now: Timestamp::ZERO,
            submitted: 0,
            jobs: BTreeMap::new(),
            ended: BTreeMap::new(),
            ended_order: VecDeque::new(),
            sessions: Sessions::default(),
            resting: BTreeSet::new(),
            expected: BTreeSet::new(),
            adoption_ends: None,
            next_look: None,
            placed: 0,
            refusals: BTreeMap::new(),
            commands: Vec::new(),
            notify: BTreeSet::new(),
        }
    }

    /// Takes in one event and says what is to be done about it, in order. Time never runs
    /// backwards: an earlier `now` counts as the latest one.
    ///
    /// Leases and rests end only with [`Event::DeadlineReached`], so a runtime that was held up
    /// delivers what has arrived meanwhile before it.
    ///
    /// # Panics
    ///
    /// If a job or session id is used twice.
    pub fn step(&mut self, now: Timestamp, event: Event) -> Vec<Command> {
        self.now = self.now.max(now);
        match event {
            Event::JobSubmitted { job, request } => self.on_job_submitted(job, request),
            Event::CancelRequested { job } => self.on_cancel_requested(job),
            Event::WorkerRegistered { session, profile, offers } => {
                self.on_worker_registered(session, profile, &offers)
            }
            Event::StreamBroken { session } => self.on_stream_broken(session),
            Event::StreamResumed { epoch, session } => self.on_stream_resumed(epoch, session),
            Event::WorkerReported { epoch, session, report } => self.on_worker_reported(epoch, session, report),
            Event::JobPublished { job } => self.on_job_published(job),
            Event::PublishFailed { job, failure } => self.on_publish_failed(job, failure),
            Event::DeadlineReached => self.on_deadline_reached(),
        }
        self.ask_adopted();
        self.assign_ready_tasks();
        self.watch_stragglers();
        let notify = std::mem::take(&mut self.notify);
        self.commands.extend(notify.into_iter().map(|job| Command::NotifyWatchers { job }));
        std::mem::take(&mut self.commands)
    }

    /// When [`Event::DeadlineReached`] is due, unless an event before then changes it.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let session = self.sessions.next_deadline().map(|(at, _)| at);
        let task = self.resting.first().map(|(at, _, _)| *at);
        [session, task, self.next_look, self.sessions.next_readmission()].into_iter().flatten().min()
    }

    /// The epoch whose reports are accepted.
    pub fn epoch(&self) -> MasterEpoch {
        self.config.epoch
    }

    /// A job that is open, or ended not too long ago.
    pub fn job(&self, job: JobId) -> Option<JobView> {
        match self.jobs.get(&job) {
            Some(open) => Some(JobView { waiting: self.waiting_reason(job, open), ..open.view(job) }),
            None => self.ended.get(&job).map(|ended| ended.view.clone()),
        }
    }

    /// The state of such a job. Unlike [`job`](Self::job) it costs the same however large job and
    /// cluster are.
    pub fn job_state(&self, job: JobId) -> Option<JobState> {
        let open = self.jobs.get(&job).map(|open| open.state);
        open.or_else(|| self.ended.get(&job).map(|ended| ended.view.state))
    }

    /// All remembered jobs, in the order of their ids, which is roughly that of submission.
    pub fn jobs(&self) -> Vec<JobView> {
        let ids: BTreeSet<JobId> = self.jobs.keys().chain(self.ended.keys()).copied().collect();
        ids.into_iter().filter_map(|id| self.job(id)).collect()
    }

    /// The newest failures of a job's attempts, oldest first; none if the job is not remembered.
    pub fn job_failures(&self, job: JobId) -> &[AttemptFailure] {
        match self.jobs.get(&job) {
            Some(open) => &open.failures,
            None => self.ended.get(&job).map_or(&[], |ended| &ended.failures),
        }
    }

    /// All open sessions and the ones that ended lately, in session order.
    pub fn workers(&self) -> Vec<WorkerView> {
        self.sessions.views()
    }

    /// The worker of a session that is open.
    pub fn worker_of_open(&self, session: SessionId) -> Option<WorkerId> {
        self.sessions.open(session).map(|open| open.profile.worker)
    }

    /// How many reports were refused, and why.
    pub fn stale_refusals(&self) -> &BTreeMap<StaleReason, u64> {
        &self.refusals
    }

    fn on_deadline_reached(&mut self) {
        while let Some((_, session)) = self.sessions.next_deadline().filter(|(at, _)| *at <= self.now) {
            if self.config.has(Mistake::IgnoreLease) {
                let step = SessionStep::Hear(self.now);
                self.sessions.update(session, &self.config, |it| {
                    it.life = SessionLife::Live { heard: Timestamp::ZERO }.after(step)
                });
                continue;
            }
            self.end_session(session, CloseReason::Lost);
        }
        while let Some((_, job, task)) = self.resting.first().copied().filter(|(at, _, _)| *at <= self.now) {
            self.resting.pop_first();
            if self.config.has(Mistake::ForgetRest) {
                continue;
            }
            let open = self.jobs.get_mut(&job).expect("tasks of ended jobs do not rest");
            open.stage_mut(task.stage).wake(task.index);
        }
        if self.adoption_ends.is_some_and(|at| at <= self.now) {
            self.adoption_ends = None;
            self.expected.clear();
        }
        self.sessions.readmit(self.now, &self.config);
        if self.next_look.is_some_and(|at| at <= self.now) {
            self.look_for_stragglers();
        }
    }

    /// The end of a rest after the `times`-th hand-back of one task.
    fn rest_after_hand_back(&self, times: u32) -> Timestamp {
        let factor = 1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX);
        let rest = self.config.hand_back_delay.saturating_mul(factor);
        self.now + rest.min(self.config.hand_back_delay_cap)
    }
}
