//! What happens when sessions come, break, resume and end. A session that ends takes its attempts
//! and map outputs with it; they are made again at once, not found missing one fetch at a time.

use std::sync::Arc;

use gristmill_common::ids::{AttemptId, JobAttempt, JobId, MasterEpoch, SessionId, Stage, TaskId};
use gristmill_common::task::Offer;

use super::Scheduler;
use super::attempt::AttemptStep;
use super::command::{CloseReason, Command, StaleReason};
use super::event::WorkerProfile;
use super::workers::SessionStep;

impl Scheduler {
    pub(super) fn on_worker_registered(&mut self, session: SessionId, profile: Arc<WorkerProfile>, offers: &[Offer]) {
        let worker = profile.worker;
        if let Some(earlier) = self.sessions.of_worker(profile.worker) {
            self.end_session(earlier, CloseReason::Superseded);
        }
        self.sessions.add(session, profile, self.now, &self.config);
        self.take_offers(session, offers);
        self.came_back(worker);
    }

    pub(super) fn on_stream_broken(&mut self, session: SessionId) {
        if self.sessions.open(session).is_some() {
            let step = SessionStep::Break(self.now);
            self.sessions.update(session, &self.config, |session| session.life = session.life.after(step));
        }
    }

    /// What was on its way when the stream broke may be lost, and nobody knows what: everything
    /// that matters is said again. A worker takes an assignment that it knows as a question and
    /// repeats its report.
    pub(super) fn on_stream_resumed(&mut self, epoch: MasterEpoch, session: SessionId) {
        if epoch != self.config.epoch || self.sessions.open(session).is_none() {
            let reason = if epoch == self.config.epoch { StaleReason::Session } else { StaleReason::Epoch };
            self.refuse(reason);
            self.close_unknown(session);
            return;
        }
        let step = SessionStep::Resume(self.now);
        self.sessions.update(session, &self.config, |session| session.life = session.life.after(step));
        let open = self.sessions.get(session).expect("it was just resumed");
        let over: Vec<JobId> = open.jobs.iter().copied().filter(|job| !self.jobs.contains_key(job)).collect();
        let active: Vec<JobAttempt> = open.active.iter().copied().collect();
        self.commands.extend(over.into_iter().map(|job| Command::ReleaseJob { session, job }));
        for id in active {
            self.repeat_assignment(session, id);
        }
    }

    /// Ends an open session: its attempts in force and its map outputs that are still needed
    /// become pending tasks.
    pub(super) fn end_session(&mut self, session: SessionId, reason: CloseReason) {
        let step = match reason {
            CloseReason::Left => SessionStep::Leave,
            CloseReason::Lost | CloseReason::Superseded | CloseReason::Unknown => SessionStep::Lose,
        };
        self.commands.push(Command::CloseSession { session, reason });
        let active = self.sessions.end(session, step, &self.config);
        self.sessions.readmit_if_none_is_left(&self.config);
        for id in active {
            let AttemptId { task, number } = id.attempt;
            let job = self.jobs.get_mut(&id.job).expect("attempts in force belong to open jobs");
            job.unasked.remove(&(session, id));
            job.stage_mut(task.stage).give_up(task.index, number, AttemptStep::Lose, None);
            self.notify.insert(id.job);
        }
        for (id, job) in &mut self.jobs {
            if job.needs_map_outputs() {
                let held: Vec<u32> = job.holders.get(&session).into_iter().flatten().copied().collect();
                for index in &held {
                    job.revoke_map(*index);
                }
                if !held.is_empty() {
                    self.notify.insert(*id);
                }
            }
        }
    }

    /// Answers a session that is not open here. A session of another epoch may bear the number of
    /// an open one, whose worker must not be told to go.
    pub(super) fn close_unknown(&mut self, session: SessionId) {
        if self.sessions.open(session).is_none() {
            self.commands.push(Command::CloseSession { session, reason: CloseReason::Unknown });
        }
    }

    fn repeat_assignment(&mut self, session: SessionId, id: JobAttempt) {
        let job = self.jobs.get(&id.job).expect("attempts in force belong to open jobs");
        let task: TaskId = id.attempt.task;
        // If the worker never heard of a reduce attempt, it needs every map output now.
        if task.stage == Stage::Reduce && !job.map.is_done() {
            self.cancel_attempt(session, id);
            let job = self.jobs.get_mut(&id.job).expect("it was there before");
            job.unasked.remove(&(session, id));
            job.reduce.give_up(task.index, id.attempt.number, AttemptStep::Lose, None);
            self.notify.insert(id.job);
        } else {
            let work = self.work_of(id.job, task);
            self.commands.push(Command::StartAttempt { session, id, work });
        }
    }
}
