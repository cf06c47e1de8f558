//! The tasks of one stage of an open job with their queues and sums, kept so that no event looks
//! at all tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gristmill_common::counters::Counters;
use gristmill_common::ids::{SessionId, Stage, TaskId};
use gristmill_common::task::{AttemptReport, AttemptStats};
use gristmill_common::time::Timestamp;

use super::attempt::{Attempt, AttemptState, AttemptStep};
use super::config::SchedulerConfig;
use super::task::{Commit, Committed, Task, TaskState, TaskStep};
use super::view::StageView;

/// Tasks with trouble that are asked for a place in one go. Raised, many that wait for a better
/// worker cost every event more; lowered, one behind them that a worker could run waits with them.
const MAX_PASSED_OVER: usize = 64;

/// One stage.
#[derive(Debug, Clone)]
pub(super) struct StageTasks {
    /// Which one.
    pub(super) stage: Stage,
    /// The tasks by index.
    pub(super) tasks: Vec<Task>,
    /// Pending tasks that do not rest and had no trouble: any worker with room will do.
    fresh: BTreeSet<u32>,
    /// Pending tasks that do not rest and had trouble: some workers fit better than others.
    troubled: BTreeSet<u32>,
    /// Second attempts in force, of tasks whose first one is far behind its peers.
    twins: BTreeMap<u32, Attempt>,
    /// Tasks with a committed output in force.
    pub(super) done: u32,
    /// Attempts in force.
    pub(super) active: u32,
    /// Bytes of input of the tasks that are done.
    pub(super) done_bytes: u64,
    /// Counted failures.
    pub(super) failed_attempts: u32,
    /// Attempts lost or handed back.
    pub(super) lost_attempts: u32,
    /// The sum over the reports committed last.
    pub(super) counters: Counters,
    /// The sum over the reports committed last.
    pub(super) stats: AttemptStats,
}

impl StageTasks {
    /// A stage of `tasks` tasks, all of them ready, whose attempts are numbered from `first_number` on.
    pub(super) fn new(stage: Stage, tasks: u32, first_number: u32) -> Self {
        Self {
            stage,
            tasks: (0..tasks).map(|_| Task::new(first_number)).collect(),
            fresh: (0..tasks).collect(),
            troubled: BTreeSet::new(),
            twins: BTreeMap::new(),
            done: 0,
            active: 0,
            done_bytes: 0,
            failed_attempts: 0,
            lost_attempts: 0,
            counters: Counters::default(),
            stats: AttemptStats::default(),
        }
    }

    /// How many tasks there are.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.tasks.len()).expect("built from a u32")
    }

    /// Whether every task has a committed output in force.
    pub(super) fn is_done(&self) -> bool {
        self.done == self.len()
    }

    /// The id of a task of this stage.
    pub(super) fn id(&self, index: u32) -> TaskId {
        TaskId { stage: self.stage, index }
    }

    /// The task of that index, if there is one.
    pub(super) fn get(&self, index: u32) -> Option<&Task> {
        self.tasks.get(index as usize)
    }

    /// The task of an index that exists.
    pub(super) fn task(&mut self, index: u32) -> &mut Task {
        &mut self.tasks[index as usize]
    }

    /// The first pending task that does not rest.
    pub(super) fn first_ready(&self) -> Option<u32> {
        self.fresh.first().into_iter().chain(self.troubled.first()).min().copied()
    }

    /// Whether a task is pending and does not rest.
    pub(super) fn has_ready(&self) -> bool {
        !self.fresh.is_empty() || !self.troubled.is_empty()
    }

    /// How many tasks are pending and do not rest.
    pub(super) fn ready_count(&self) -> usize {
        self.fresh.len() + self.troubled.len()
    }

    /// All pending tasks that do not rest.
    pub(super) fn ready(&self) -> BTreeSet<u32> {
        &self.fresh | &self.troubled
    }

    /// The first ready task that `place` finds a place for, and the place. If the first task without
    /// trouble has none, no other of them has. A task with trouble that is passed over waits for a
    /// worker that has no room now; not all of them are asked.
    pub(super) fn place_first<P>(&self, place: impl Fn(u32, &Task) -> Option<P>) -> Option<(u32, P)> {
        let try_place = |index: u32| Some((index, place(index, &self.tasks[index as usize])?));
        let fresh = self.fresh.first().copied().and_then(try_place);
        let troubled = self.troubled.iter().copied().take(MAX_PASSED_OVER).find_map(try_place);
        match (fresh, troubled) {
            (Some(fresh), Some(troubled)) => Some(if fresh.0 < troubled.0 { fresh } else { troubled }),
            (fresh, troubled) => fresh.or(troubled),
        }
    }

    /// Assignments sent ahead for each slot: what keeps a slot busy for so long by the mean time of the
    /// attempts so far, within the bounds.
    pub(super) fn queue_depth(&self, ahead: Duration, config: &SchedulerConfig) -> u32 {
        let (least, most) = (config.queue_per_slot, config.max_queue_per_slot.max(config.queue_per_slot));
        let ahead = u64::try_from(ahead.as_micros()).unwrap_or(u64::MAX);
        let fitting = ahead.saturating_mul(u64::from(self.done)).checked_div(self.stats.wall_micros);
        // Without a time, nothing is known of the next attempt's.
        fitting.map_or(least, |depth| u32::try_from(depth).unwrap_or(most).clamp(least, most))
    }

    /// The attempts of a task that are in force: none, one, or one and its twin.
    pub(super) fn attempts(&self, index: u32) -> impl Iterator<Item = &Attempt> {
        let first = self.get(index).and_then(Task::active);
        first.into_iter().chain(self.twins.get(&index))
    }

    /// Whether the attempt is in force on this session.
    pub(super) fn is_in_force(&self, index: u32, number: u32, session: SessionId) -> bool {
        self.attempts(index).any(|attempt| (attempt.number, attempt.session) == (number, session))
    }

    /// Second attempts in force.
    pub(super) fn twins(&self) -> &BTreeMap<u32, Attempt> {
        &self.twins
    }

    /// Grants a new attempt of a ready task; returns its number.
    pub(super) fn assign(&mut self, index: u32, session: SessionId, now: Timestamp) -> u32 {
        let number = self.next_number(index);
        self.task(index).step(TaskStep::Assign { number, session, now });
        assert!(self.fresh.remove(&index) || self.troubled.remove(&index), "only a ready task is assigned");
        self.active += 1;
        number
    }

    /// Grants a second attempt of a task that has one in force; returns its number.
    pub(super) fn assign_twin(&mut self, index: u32, session: SessionId, now: Timestamp) -> u32 {
        let number = self.next_number(index);
        self.add_twin(index, Attempt { number, session, state: AttemptState::Assigned, since: now });
        number
    }

    /// Takes in an attempt that a worker still has: as the one in force, or as its twin. The task must
    /// not be done, and have no twin.
    pub(super) fn adopt(&mut self, index: u32, number: u32, session: SessionId, now: Timestamp) {
        if self.task(index).active().is_some() {
            self.add_twin(index, Attempt { number, session, state: AttemptState::Assigned, since: now });
        } else {
            self.task(index).step(TaskStep::Assign { number, session, now });
            self.forget_ready(index);
            self.active += 1;
        }
        let task = self.task(index);
        task.next_number = task.next_number.max(number + 1);
    }

    /// The output committed last is there again. The task must be pending.
    pub(super) fn take_back(&mut self, index: u32, session: SessionId, bytes: u64) {
        let number = self.task(index).committed.as_ref().expect("it was committed before").number;
        self.task(index).step(TaskStep::Return { number, session, bytes });
        self.forget_ready(index);
        self.done += 1;
        self.done_bytes += bytes;
    }

    /// Takes note that an attempt in force began.
    pub(super) fn start(&mut self, index: u32, number: u32, now: Timestamp) {
        match self.twins.get_mut(&index).filter(|twin| twin.number == number) {
            Some(twin) => *twin = twin.started(now),
            None => self.task(index).step(TaskStep::Start { now }),
        }
    }

    /// Makes an attempt in force the task's result; returns its twin, which is in force no more.
    pub(super) fn commit(&mut self, index: u32, number: u32, report: AttemptReport, bytes: u64) -> Option<Attempt> {
        let loser = self.twins.remove(&index).map(|twin| {
            self.active -= 1;
            if twin.number != number {
                return twin;
            }
            let task = self.task(index);
            let first = *task.active().expect("only an active task has a twin");
            task.step(TaskStep::Replace { how: AttemptStep::Cancel, by: twin });
            first
        });
        self.active -= 1;
        self.done += 1;
        self.done_bytes += bytes;
        self.task(index).step(TaskStep::Commit { bytes });
        self.keep_report(index, number, report);
        loser
    }

    /// Keeps the report of the attempt committed last, and the sums over those reports.
    pub(super) fn keep_report(&mut self, index: u32, number: u32, report: AttemptReport) {
        let task = &mut self.tasks[index as usize];
        let earlier = task.committed.as_ref().map(|earlier| &earlier.report);
        let add = earlier.is_none();
        let same = earlier.is_some_and(|it| it.counters == report.counters && it.stats == report.stats);
        if add {
            self.counters.merge(&report.counters);
            self.stats.merge(&report.stats);
        }
        task.committed = Some(Box::new(Committed { number, report }));
        if !add && !same {
            self.sum_up();
        }
    }

    /// Ends an attempt in force without a result; its twin, if there is one, goes on. Returns whether
    /// the task is pending now. What went wrong must be with the task by now.
    pub(super) fn give_up(
        &mut self,
        index: u32,
        number: u32,
        how: AttemptStep,
        rests_until: Option<Timestamp>,
    ) -> bool {
        self.active -= 1;
        match how {
            AttemptStep::Fail => self.failed_attempts += 1,
            AttemptStep::Lose => self.lost_attempts += 1,
            AttemptStep::Start | AttemptStep::Commit | AttemptStep::Cancel => {}
        }
        match self.twins.remove(&index) {
            Some(twin) if twin.number == number => return false,
            Some(twin) => {
                self.task(index).step(TaskStep::Replace { how, by: twin });
                return false;
            }
            None => self.task(index).step(TaskStep::GiveUp { how, rests_until }),
        }
        if rests_until.is_none() {
            self.make_ready(index);
        }
        true
    }

    /// Lets a ready task rest.
    pub(super) fn rest(&mut self, index: u32, until: Timestamp) {
        self.task(index).state = TaskState::Pending { rests_until: Some(until) };
        self.forget_ready(index);
    }

    /// Ends the rest of a task.
    pub(super) fn wake(&mut self, index: u32) {
        self.task(index).step(TaskStep::Wake);
        self.make_ready(index);
    }

    /// Makes a task whose committed output is gone pending again; returns what was committed. What
    /// went wrong must be with the task by now.
    pub(super) fn revoke(&mut self, index: u32) -> Commit {
        let task = self.task(index);
        let commit = *task.commit().expect("only a done task is revoked");
        task.step(TaskStep::Revoke);
        self.done -= 1;
        self.done_bytes -= commit.bytes;
        self.make_ready(index);
        commit
    }

    /// Forgets what the attempt committed last reported: it counts no more. The task must be pending.
    pub(super) fn forget_report(&mut self, index: u32) {
        self.task(index).committed = None;
        self.sum_up();
    }

    /// Tasks that rest, and until when.
    pub(super) fn resting(&self) -> impl Iterator<Item = (Timestamp, u32)> {
        (0..).zip(&self.tasks).filter_map(|(index, task)| match task.state {
            TaskState::Pending { rests_until } => rests_until.map(|until| (until, index)),
            TaskState::Active(_) | TaskState::Done(_) => None,
        })
    }

    /// What is shown of the stage.
    pub(super) fn view(&self, input_bytes: u64) -> StageView {
        StageView {
            tasks: self.len(),
            done: self.done,
            active: self.active,
            failed_attempts: self.failed_attempts,
            lost_attempts: self.lost_attempts,
            input_bytes,
            done_bytes: self.done_bytes,
        }
    }

    fn make_ready(&mut self, index: u32) {
        let queue = if self.task(index).trouble().prefers_workers() { &mut self.troubled } else { &mut self.fresh };
        queue.insert(index);
    }

    fn forget_ready(&mut self, index: u32) {
        let _was_fresh = self.fresh.remove(&index) || self.troubled.remove(&index);
    }

    fn next_number(&mut self, index: u32) -> u32 {
        let task = self.task(index);
        task.next_number += 1;
        task.next_number - 1
    }

    fn add_twin(&mut self, index: u32, twin: Attempt) {
        let earlier = self.twins.insert(index, twin);
        assert!(earlier.is_none(), "a task has one twin at most");
        self.active += 1;
    }

    fn sum_up(&mut self) {
        self.counters = Counters::default();
        self.stats = AttemptStats::default();
        for committed in self.tasks.iter().filter_map(|task| task.committed.as_ref()) {
            self.counters.merge(&committed.report.counters);
            self.stats.merge(&committed.report.stats);
        }
    }
}
