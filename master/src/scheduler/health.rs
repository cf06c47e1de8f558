//! Workers that keep failing: a circuit breaker for each. Failures in a row that look like the worker's
//! own (a full disk, an input that cannot be read there) exclude it for a while; then one attempt at a
//! time probes it, and the first that is committed readmits it.

use gristmill_common::ids::{SessionId, WorkerId};
use gristmill_common::time::Timestamp;

use super::config::SchedulerConfig;
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
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Health {
    /// Failures in a row.
    strikes: u32,
    /// Exclusions in a row.
    exclusions: u32,
    /// Until when it is excluded.
    until: Option<Timestamp>,
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

    /// Counts a failure.
    fn strike(&mut self, now: Timestamp, config: &SchedulerConfig) {
        self.strikes += 1;
        if self.until.is_none() && (self.strikes >= config.strikes || self.exclusions > 0) {
            let doubled = config.exclusion.saturating_mul(1_u32.checked_shl(self.exclusions).unwrap_or(u32::MAX));
            self.until = Some(now + doubled.min(config.exclusion_cap));
            self.exclusions += 1;
            self.strikes = 0;
        }
    }
}

impl Sessions {
    /// Counts a failure that looks like the worker's own.
    pub(super) fn strike(&mut self, worker: WorkerId, now: Timestamp, config: &SchedulerConfig) {
        self.health.entry(worker).or_default().strike(now, config);
        self.apply_health(worker, config);
        self.readmit_if_none_is_left(config);
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

    /// Ends all exclusions if no other worker is left: failing there is better than waiting.
    pub(super) fn readmit_if_none_is_left(&mut self, config: &SchedulerConfig) {
        let left = |(_, session): (SessionId, &Session)| session.is_open() && session.standing != Standing::Excluded;
        if self.health.is_empty() || self.iter().any(left) {
            return;
        }
        let excluded = self.health.iter().filter(|(_, health)| health.until.is_some());
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
