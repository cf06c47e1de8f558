//! Workers that keep failing: a circuit breaker for each. Failures in a row that were the worker's own
//! (a full disk, an input that could be read elsewhere) exclude it for a while; then one attempt at a
//! time probes it, and the first that is committed readmits it. Until it is known whose fault a failure
//! was, only the job in which it happened takes note of it.

use gristmill_common::ids::{SessionId, TaskId, WorkerId};
use gristmill_common::time::Timestamp;

use super::Scheduler;
use super::config::SchedulerConfig;
use super::job::Job;
use super::workers::{Session, Sessions};

/// Whether a worker is given work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// As any other.
    Good,
    /// One attempt at a time.
    Probed,
    /// None.
    Excluded,
}

/// What is known of a worker that failed lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Health {
    /// Failures in a row.
    strikes: u32,
    /// Exclusions in a row.
    exclusions: u32,
    /// Until when it is excluded.
    until: Option<Timestamp>,
    /// What it said, if its last failure was that its disk has no room.
    no_room: Option<String>,
}

impl Health {
    /// Whether the worker is given work.
    pub(super) fn standing(&self) -> Standing {
        match (self.until, self.exclusions) {
            (Some(_), _) => Standing::Excluded,
            (None, 0) => Standing::Good,
            (None, _) => Standing::Probed,
        }
    }

    /// Until when it is excluded.
    pub(super) fn excluded_until(&self) -> Option<Timestamp> {
        self.until
    }

    /// Counts a failure, for want of room or for another reason.
    fn strike(&mut self, no_room: Option<&str>, now: Timestamp, config: &SchedulerConfig) {
        self.strikes += 1;
        self.no_room = no_room.map(str::to_owned);
        if self.until.is_none() && (self.strikes >= config.strikes || self.exclusions > 0) {
            let doubled = config.exclusion.saturating_mul(1_u32.checked_shl(self.exclusions).unwrap_or(u32::MAX));
            let cap = if no_room.is_some() { config.exclusion_cap_scratch } else { config.exclusion_cap };
            self.until = Some(now + doubled.min(cap));
            self.exclusions += 1;
            self.strikes = 0;
        }
    }
}

impl Sessions {
    /// Counts a failure that was the worker's own.
    pub(super) fn strike(&mut self, worker: WorkerId, now: Timestamp, config: &SchedulerConfig) {
        self.health.entry(worker).or_default().strike(None, now, config);
        self.apply_health(worker, config);
        self.readmit_if_none_is_left(config);
    }

    /// Counts that a worker found no room on its disk, with what it said.
    pub(super) fn out_of_room(&mut self, worker: WorkerId, said: &str, now: Timestamp, config: &SchedulerConfig) {
        self.health.entry(worker).or_default().strike(Some(said), now, config);
        self.apply_health(worker, config);
        self.readmit_if_none_is_left(config);
    }

    /// Connected workers that are excluded because their disks have no room, with what they said.
    pub(super) fn without_room(&self) -> impl Iterator<Item = (WorkerId, &str)> {
        let excluded = self.health.iter().filter(|(_, health)| health.until.is_some());
        let full = excluded.filter_map(|(worker, health)| Some((*worker, health.no_room.as_deref()?)));
        full.filter(|(worker, _)| self.of_worker(*worker).is_some())
    }

    /// Takes note of an attempt that was committed: its worker is well.
    pub(super) fn succeeded(&mut self, worker: WorkerId, config: &SchedulerConfig) {
        if self.health.remove(&worker).is_some() {
            self.apply_health(worker, config);
        }
    }

    /// When the next exclusion ends.
    pub(super) fn next_readmission(&self) -> Option<Timestamp> {
        self.health.values().filter_map(Health::excluded_until).min()
    }

    /// Ends the exclusions whose time is over.
    pub(super) fn readmit(&mut self, now: Timestamp, config: &SchedulerConfig) {
        let over = |health: &Health| health.until.is_some_and(|until| until <= now);
        let workers: Vec<WorkerId> = self.health.iter().filter(|(_, it)| over(it)).map(|(id, _)| *id).collect();
        self.end_exclusions(workers, config);
    }

    /// Ends all exclusions but those for want of room if no other worker is left: failing there is better
    /// than waiting.
    pub(super) fn readmit_if_none_is_left(&mut self, config: &SchedulerConfig) {
        let left = |(_, session): (SessionId, &Session)| session.is_open() && session.standing != Standing::Excluded;
        if self.health.is_empty() || self.iter().any(left) {
            return;
        }
        let excluded = self.health.iter().filter(|(_, health)| health.until.is_some() && health.no_room.is_none());
        let workers: Vec<WorkerId> = excluded.map(|(id, _)| *id).collect();
        self.end_exclusions(workers, config);
    }

    fn end_exclusions(&mut self, workers: Vec<WorkerId>, config: &SchedulerConfig) {
        for worker in workers {
            if let Some(health) = self.health.get_mut(&worker) {
                health.until = None;
            }
            self.apply_health(worker, config);
        }
    }

    fn apply_health(&mut self, worker: WorkerId, config: &SchedulerConfig) {
        let standing = self.health.get(&worker).map_or(Standing::Good, Health::standing);
        if let Some(session) = self.of_worker(worker) {
            self.update(session, config, |session| session.standing = standing);
        }
    }
}

impl Job {
    /// Takes note that a worker has done the task: it is above suspicion. Returns whose fault it was that
    /// the task failed before: what several workers saw alike is the fault of none of them.
    pub(super) fn clear(&mut self, task: TaskId, by: WorkerId) -> Option<WorkerId> {
        self.suspects.remove(&by);
        let failed = self.suspects.iter_mut().filter_map(|(worker, tasks)| tasks.remove(&task).then_some(*worker));
        let failed: Vec<WorkerId> = failed.collect();
        self.suspects.retain(|_, tasks| !tasks.is_empty());
        if let [only] = failed[..] { Some(only) } else { None }
    }
}

impl Scheduler {
    /// Whether the job gives a worker nothing more: too many of its tasks failed there for what may be the
    /// worker's own reasons.
    pub(super) fn distrusts(&self, job: &Job, worker: WorkerId) -> bool {
        job.suspects.get(&worker).is_some_and(|tasks| tasks.len() >= self.config.strikes as usize)
    }
}
