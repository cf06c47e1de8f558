//! Worker sessions: leases, load and who may be given work. It knows attempts only by id and
//! never looks into a job.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use gristmill_common::ids::{JobAttempt, JobId, SessionId, WorkerId};
use gristmill_common::time::Timestamp;

use super::config::SchedulerConfig;
use super::event::WorkerProfile;
use super::health::{Health, Standing};
use super::pace::Pace;
use super::view::{SessionState, WorkerView};

/// Where a session is in its life: `Live <-> Suspect`, then `Lost` or `Left` for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionLife {
    /// Its stream is open.
    Live {
        /// When it was heard last.
        heard: Timestamp,
    },
    /// Its stream broke.
    Suspect {
        /// When it was heard last.
        heard: Timestamp,
        /// When the stream broke.
        since: Timestamp,
    },
    /// Its time ran out, or its worker registered anew.
    Lost,
    /// Its worker stopped in order.
    Left,
}

/// What can happen to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionStep {
    /// It reported.
    Hear(Timestamp),
    /// Its stream broke.
    Break(Timestamp),
    /// It opened a new stream.
    Resume(Timestamp),
    /// Its time ran out, or its worker registered anew.
    Lose,
    /// Its worker stops in order.
    Leave,
}

impl SessionLife {
    /// The life after `step`. Whatever happens to a session that is over changes nothing.
    pub(super) fn after(self, step: SessionStep) -> SessionLife {
        match (self, step) {
            (SessionLife::Live { .. } | SessionLife::Suspect { .. }, SessionStep::Resume(heard))
            | (SessionLife::Live { .. }, SessionStep::Hear(heard)) => SessionLife::Live { heard },
            // A late report on the old stream proves life, not that the worker can be reached.
            (SessionLife::Suspect { since, .. }, SessionStep::Hear(heard)) => SessionLife::Suspect { heard, since },
            (SessionLife::Live { heard }, SessionStep::Break(since)) => SessionLife::Suspect { heard, since },
            (SessionLife::Suspect { heard, since }, SessionStep::Break(_)) => SessionLife::Suspect { heard, since },
            (SessionLife::Live { .. } | SessionLife::Suspect { .. }, SessionStep::Lose) => SessionLife::Lost,
            (SessionLife::Live { .. } | SessionLife::Suspect { .. }, SessionStep::Leave) => SessionLife::Left,
            (
                SessionLife::Lost | SessionLife::Left,
                SessionStep::Hear(_)
                | SessionStep::Break(_)
                | SessionStep::Resume(_)
                | SessionStep::Lose
                | SessionStep::Leave,
            ) => self,
        }
    }

    /// The kind, as shown.
    pub(super) fn state(self) -> SessionState {
        match self {
            SessionLife::Live { .. } => SessionState::Live,
            SessionLife::Suspect { .. } => SessionState::Suspect,
            SessionLife::Lost => SessionState::Lost,
            SessionLife::Left => SessionState::Left,
        }
    }
}

/// One session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// Who it is and what it can do.
    pub(super) profile: Arc<WorkerProfile>,
    /// Where it is in its life.
    pub(super) life: SessionLife,
    /// Attempts in force on it.
    pub(super) active: BTreeSet<JobAttempt>,
    /// Adopted reduce attempts that are not asked about before every map output is in place. They keep no
    /// slot busy, and one that waits for a map must not keep that map from being made.
    pub(super) unasked: BTreeSet<JobAttempt>,
    /// Jobs of which it ever got an attempt and which are not forgotten.
    pub(super) jobs: BTreeSet<JobId>,
    /// Attempts of it that were committed.
    pub(super) committed: u64,
    /// Attempts of it that failed and counted.
    pub(super) failed: u64,
    /// Whether its worker is given work.
    pub(super) standing: Standing,
    /// How long its attempts took.
    pub(super) pace: Pace,
}

impl Session {
    /// Whether it is neither lost nor left.
    pub(super) fn is_open(&self) -> bool {
        match self.life.state() {
            SessionState::Live | SessionState::Suspect => true,
            SessionState::Lost | SessionState::Left => false,
        }
    }

    /// Whether its stream is open.
    pub(super) fn is_reachable(&self) -> bool {
        self.life.state() == SessionState::Live
    }

    /// Whether it may be given work when it has room.
    pub(super) fn is_live(&self) -> bool {
        let allowed = match self.standing {
            Standing::Good => true,
            // One attempt at a time shows whether it is well again.
            Standing::Probed => self.active.is_subset(&self.unasked),
            Standing::Excluded => false,
        };
        allowed && self.is_reachable() && self.profile.slots > 0
    }

    /// The load at which a session has no room for more, if so many assignments are sent ahead for
    /// each slot.
    pub(super) fn full(queue_per_slot: u32) -> u64 {
        (1 + u64::from(queue_per_slot)) << LOAD_SHIFT
    }

    /// Attempts for each slot, in units fine enough to compare workers of different sizes.
    fn load(&self) -> u64 {
        ((self.active.len() as u64) << LOAD_SHIFT) / u64::from(self.profile.slots.max(1))
    }

    /// Where it stands among the others.
    fn place(&self, config: &SchedulerConfig) -> Place {
        let most = Self::full(config.queue_per_slot.max(config.max_queue_per_slot));
        Place { load: Some(self.load()).filter(|load| self.is_live() && *load < most), deadline: self.deadline(config) }
    }

    fn deadline(&self, config: &SchedulerConfig) -> Option<Timestamp> {
        let deadline = match self.life {
            SessionLife::Live { heard } => heard + config.lease,
            SessionLife::Suspect { heard, since } => (heard + config.lease).min(since + config.resume_grace),
            SessionLife::Lost | SessionLife::Left => return None,
        };
        // The end of time is never reached.
        Some(deadline).filter(|deadline| *deadline != Timestamp::from_micros(u64::MAX))
    }
}

/// Bits after the point of a load.
const LOAD_SHIFT: u32 = 20;

/// Where a session stands in the indexes over all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Place {
    /// Its load, if it may be given work.
    load: Option<u64>,
    deadline: Option<Timestamp>,
}

/// All sessions that are open, and those that ended lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions {
    all: BTreeMap<SessionId, Session>,
    by_worker: BTreeMap<WorkerId, SessionId>,
    /// Sessions that may be given work, the least loaded first.
    with_room: BTreeSet<(u64, SessionId)>,
    deadlines: BTreeSet<(Timestamp, SessionId)>,
    ended: VecDeque<SessionId>,
    /// Workers with failures that look like their own.
    pub(super) health: BTreeMap<WorkerId, Health>,
}

impl Sessions {
    /// Adds a session.
    ///
    /// # Panics
    ///
    /// If the id was used before, or the worker has an open session.
    pub(super) fn add(&mut self, id: SessionId, profile: Arc<WorkerProfile>, now: Timestamp, config: &SchedulerConfig) {
        assert!(!self.all.contains_key(&id), "session id {id} was used before");
        let earlier = self.by_worker.insert(profile.worker, id);
        assert!(earlier.is_none(), "the earlier session of {} must have ended", profile.worker);
        let life = SessionLife::Live { heard: now };
        let (active, unasked, jobs) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let standing = self.health.get(&profile.worker).map_or(Standing::Good, Health::standing);
        let (committed, failed, pace) = (0, 0, Pace::UNKNOWN);
        let session = Session { profile, life, active, unasked, jobs, committed, failed, standing, pace };
        let place = session.place(config);
        self.all.insert(id, session);
        self.move_to(id, Place::default(), place);
    }

    /// The session, if it is remembered.
    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.all.get(&id)
    }

    /// The session, if it is neither lost nor left.
    pub(super) fn open(&self, id: SessionId) -> Option<&Session> {
        self.get(id).filter(|session| session.is_open())
    }

    /// The open session of a worker.
    pub(super) fn of_worker(&self, worker: WorkerId) -> Option<SessionId> {
        self.by_worker.get(&worker).copied()
    }

    /// All remembered sessions, in session order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.all.iter().map(|(id, session)| (*id, session))
    }

    /// Sessions that may be given work, the least loaded first, with their load.
    pub(super) fn with_room(&self) -> impl Iterator<Item = (u64, SessionId, &Session)> {
        self.with_room.iter().map(|(load, id)| (*load, *id, &self.all[id]))
    }

    /// The session whose time runs out next.
    pub(super) fn next_deadline(&self) -> Option<(Timestamp, SessionId)> {
        self.deadlines.first().copied()
    }

    /// Changes an open session, and its place among the others accordingly.
    pub(super) fn update(&mut self, id: SessionId, config: &SchedulerConfig, change: impl FnOnce(&mut Session)) {
        let session = self.all.get_mut(&id).expect("the caller knows the session");
        let before = session.place(config);
        change(session);
        let after = session.place(config);
        self.move_to(id, before, after);
    }

    /// Ends an open session and forgets the oldest ended ones; returns its attempts in force.
    pub(super) fn end(&mut self, id: SessionId, step: SessionStep, config: &SchedulerConfig) -> BTreeSet<JobAttempt> {
        let mut active = BTreeSet::new();
        self.update(id, config, |session| {
            session.life = session.life.after(step);
            active = std::mem::take(&mut session.active);
            session.unasked.clear();
        });
        self.by_worker.remove(&self.all[&id].profile.worker);
        self.ended.push_back(id);
        while self.ended.len() > config.ended_sessions_kept {
            let oldest = self.ended.pop_front().expect("it is not empty");
            self.all.remove(&oldest);
        }
        active
    }

    /// Forgets that sessions had attempts of a job.
    pub(super) fn forget_job(&mut self, job: JobId) {
        for session in self.all.values_mut() {
            session.jobs.remove(&job);
            session.unasked.retain(|id| id.job != job);
        }
    }

    /// What is shown of the sessions, in session order.
    pub(super) fn views(&self) -> Vec<WorkerView> {
        let view = |(id, session): (SessionId, &Session)| WorkerView {
            worker: session.profile.worker,
            session: id,
            state: session.life.state(),
            address: session.profile.address.clone(),
            slots: session.profile.slots,
            active: u32::try_from(session.active.len()).unwrap_or(u32::MAX),
            committed: session.committed,
            failed: session.failed,
            excluded: session.standing == Standing::Excluded,
        };
        self.iter().map(view).collect()
    }

    /// Says what is wrong with the indexes, if anything is.
    pub(super) fn check(&self, config: &SchedulerConfig) -> Result<(), String> {
        let mut expected = Sessions { all: self.all.clone(), ended: self.ended.clone(), ..Sessions::default() };
        for (id, session) in self.iter().filter(|(_, session)| session.is_open()) {
            expected.move_to(id, Place::default(), session.place(config));
            let worker = session.profile.worker;
            if expected.by_worker.insert(worker, id).is_some() {
                return Err(format!("{worker} has two open sessions"));
            }
        }
        if expected.with_room != self.with_room {
            return Err(format!("sessions with room are {:?}, not {:?}", expected.with_room, self.with_room));
        }
        if expected.deadlines != self.deadlines {
            return Err(format!("deadlines are {:?}, not {:?}", expected.deadlines, self.deadlines));
        }
        if expected.by_worker != self.by_worker {
            return Err(format!("workers are {:?}, not {:?}", expected.by_worker, self.by_worker));
        }
        let over = self.all.iter().find(|(_, session)| !session.is_open() && !session.active.is_empty());
        over.map_or(Ok(()), |(id, _)| Err(format!("session {id} is over and holds attempts")))
    }

    fn move_to(&mut self, id: SessionId, before: Place, after: Place) {
        if before.load != after.load {
            before.load.map(|load| self.with_room.remove(&(load, id)));
            after.load.map(|load| self.with_room.insert((load, id)));
        }
        if before.deadline != after.deadline {
            before.deadline.map(|deadline| self.deadlines.remove(&(deadline, id)));
            after.deadline.map(|deadline| self.deadlines.insert((deadline, id)));
        }
    }
}
