//! One simulated worker process: what it runs, what it holds, and what it knows of its session. It
//! decides nothing about time; the cluster's loop calls it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gristmill_common::failure::Failure;
use gristmill_common::ids::{JobAttempt, JobId, MasterEpoch, SessionId};
use gristmill_common::task::{AttemptReport, Offer};
use gristmill_common::time::Timestamp;
use gristmill_master::scheduler::AttemptWork;

use super::data::{Count, content_hash};
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
    /// Its session, and the epoch of the master that gave it, as far as it knows.
    pub(super) session: Option<(MasterEpoch, SessionId)>,
    /// How many times as long as others it takes.
    pub(super) slowness: u32,
    /// Attempts that wait for a slot.
    pub(super) queue: VecDeque<JobAttempt>,
    /// Attempts of the session that it has heard of.
    pub(super) attempts: BTreeMap<JobAttempt, Local>,
    /// Map outputs in its scratch, which outlives the process.
    pub(super) outputs: BTreeMap<JobAttempt, Vec<Vec<Count>>>,
    /// Outputs in it whose bytes have changed.
    pub(super) damaged: BTreeSet<JobAttempt>,
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
        /// Segments fetched, with the hash of the map output that each is of.
        fetched: BTreeMap<u32, (u64, Vec<Count>)>,
    },
    /// It finished with this report.
    Finished(AttemptReport),
    /// It failed.
    Failed(Failure),
}

impl Worker {
    /// A worker that was never started.
    pub(super) fn new(slots: u32, heartbeat_micros: u64, slowness: u32) -> Self {
        Self {
            slots,
            life: 0,
            up: false,
            paused_until: Timestamp::ZERO,
            cut_off_until: Timestamp::ZERO,
            stream: None,
            session: None,
            slowness,
            queue: VecDeque::new(),
            attempts: BTreeMap::new(),
            outputs: BTreeMap::new(),
            damaged: BTreeSet::new(),
            heartbeat_micros,
        }
    }

    /// Whether another worker can fetch from it now.
    pub(super) fn serves(&self, now: Timestamp) -> bool {
        self.up && self.paused_until <= now && self.cut_off_until <= now
    }

    /// Forgets all it runs; what is on disk stays.
    pub(super) fn lose_process(&mut self) {
        self.queue.clear();
        self.attempts.clear();
    }

    /// Ends what cannot go on without the session it began under: fetches, attempts that were not begun
    /// and need segments, and failures not accepted.
    pub(super) fn end_session(&mut self) {
        let goes_on = |local: &Local| match local {
            Local::Queued(work) => matches!(work, AttemptWork::Map { .. }),
            Local::Running { work: AttemptWork::Map { .. }, .. } => true,
            Local::Running { work: AttemptWork::Reduce { sources }, fetched } => {
                sources.iter().map(|source| source.attempts.len()).sum::<usize>() == fetched.len()
            }
            Local::Finished(_) => true,
            Local::Failed(_) => false,
        };
        self.attempts.retain(|_, local| goes_on(local));
        let attempts = &self.attempts;
        self.queue.retain(|id| attempts.contains_key(id));
        self.session = None;
    }

    /// What it offers a master under a new session.
    pub(super) fn offers(&self) -> Vec<Offer> {
        let hash = |id: &JobAttempt| self.outputs.get(id).map(|segments| content_hash(segments));
        let mut offers: BTreeMap<JobAttempt, Option<u64>> = self.outputs.keys().map(|id| (*id, hash(id))).collect();
        for (id, local) in &self.attempts {
            let finished = matches!(local, Local::Finished(_));
            offers.insert(*id, hash(id).filter(|_| finished));
        }
        offers.into_iter().map(|(id, content_hash)| Offer { id, content_hash }).collect()
    }

    /// Forgets one attempt.
    pub(super) fn drop_attempt(&mut self, id: JobAttempt) {
        self.queue.retain(|queued| *queued != id);
        self.attempts.remove(&id);
        self.outputs.remove(&id);
        self.damaged.remove(&id);
    }

    /// Forgets a job.
    pub(super) fn drop_job(&mut self, job: JobId) {
        self.queue.retain(|queued| queued.job != job);
        self.attempts.retain(|id, _| id.job != job);
        self.outputs.retain(|id, _| id.job != job);
        self.damaged.retain(|id| id.job != job);
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
