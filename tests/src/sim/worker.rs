//! One simulated worker process: what it runs, what it holds, and what it knows of its session. It
//! decides nothing about time; the cluster's loop calls it.

use std::collections::{BTreeMap, VecDeque};

use gristmill_common::failure::Failure;
use gristmill_common::ids::{AttemptId, JobAttempt, JobId, SessionId};
use gristmill_common::task::AttemptReport;
use gristmill_common::time::Timestamp;
use gristmill_master::scheduler::AttemptWork;

use super::data::Count;
use super::network::StreamId;

/// A process, or the place where it will start again.
#[derive(Debug)]
pub(super) struct Worker {
    /// Attempts it runs at once.
    pub(super) slots: u32,
    /// Counts starts of the process: what belongs to an earlier one is void.
    pub(super) life: u64,
    /// Whether the process exists.
    pub(super) up: bool,
    /// Until when it stands still.
    pub(super) paused_until: Timestamp,
    /// Until when nothing reaches it and it reaches nothing.
    pub(super) cut_off_until: Timestamp,
    /// Its stream, as far as it knows.
    pub(super) stream: Option<StreamId>,
    /// Its session, as far as it knows.
    pub(super) session: Option<SessionId>,
    /// Attempts that wait for a slot.
    pub(super) queue: VecDeque<JobAttempt>,
    /// Attempts of the session that it has heard of.
    pub(super) attempts: BTreeMap<JobAttempt, Local>,
    /// Map outputs in its scratch.
    pub(super) outputs: BTreeMap<JobAttempt, Vec<Vec<Count>>>,
    /// The longest time between two heartbeats by the master's clock, in microseconds: its own
    /// clock runs fast or slow.
    pub(super) heartbeat_micros: u64,
}

/// An attempt as its worker sees it.
#[derive(Debug, Clone)]
pub(super) enum Local {
    /// It waits for a slot.
    Queued(AttemptWork),
    /// It computes; a reduce holds what it has fetched, by map task.
    Running {
        /// What it works on.
        work: AttemptWork,
        /// Segments fetched, with the map attempt each is of.
        fetched: BTreeMap<u32, (AttemptId, Vec<Count>)>,
    },
    /// It finished with this report.
    Finished(AttemptReport),
    /// It failed.
    Failed(Failure),
}

impl Worker {
    /// A worker that was never started.
    pub(super) fn new(slots: u32, heartbeat_micros: u64) -> Self {
        Self {
            slots,
            life: 0,
            up: false,
            paused_until: Timestamp::ZERO,
            cut_off_until: Timestamp::ZERO,
            stream: None,
            session: None,
            queue: VecDeque::new(),
            attempts: BTreeMap::new(),
            outputs: BTreeMap::new(),
            heartbeat_micros,
        }
    }

    /// Whether another worker can fetch from it now.
    pub(super) fn serves(&self, now: Timestamp) -> bool {
        self.up && self.paused_until <= now && self.cut_off_until <= now
    }

    /// Forgets all it runs and holds.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.attempts.clear();
        self.outputs.clear();
    }

    /// Forgets one attempt.
    pub(super) fn drop_attempt(&mut self, id: JobAttempt) {
        self.queue.retain(|queued| *queued != id);
        self.attempts.remove(&id);
        self.outputs.remove(&id);
    }

    /// Forgets a job.
    pub(super) fn drop_job(&mut self, job: JobId) {
        self.queue.retain(|queued| queued.job != job);
        self.attempts.retain(|id, _| id.job != job);
        self.outputs.retain(|id, _| id.job != job);
    }

    /// Takes the next queued attempt into a free slot.
    pub(super) fn begin_next(&mut self) -> Option<JobAttempt> {
        let running = self.attempts.values().filter(|local| matches!(local, Local::Running { .. })).count();
        if running >= self.slots as usize {
            return None;
        }
        let id = self.queue.pop_front()?;
        let local = self.attempts.get_mut(&id).expect("queued attempts are known");
        if let Local::Queued(work) = local {
            *local = Local::Running { work: work.clone(), fetched: BTreeMap::new() };
        }
        Some(id)
    }

    /// Whether it computes, or will.
    pub(super) fn is_busy(&self) -> bool {
        self.attempts.values().any(|local| matches!(local, Local::Queued(_) | Local::Running { .. }))
    }
}
