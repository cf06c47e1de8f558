//! What a registering worker still has: committed outputs are counted on again, attempts that are
//! still wanted go on, and the rest is thrown away. After a restart of the master, tasks rest until the
//! workers that may have something for them came back, or the time for that is over.

use gristmill_common::ids::{AttemptId, JobAttempt, JobId, SessionId, Stage, TaskId, WorkerId};
use gristmill_common::task::Offer;

use super::Scheduler;
use super::attempt::AttemptStep;
use super::command::{AttemptWork, Command};
use super::health::Standing;
use super::job::{Job, JobStep};
use super::planted::Bug;
use super::task::{Committed, TaskState};
use super::view::JobState;
use super::workers::Session;

/// What becomes of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It is the result of its task, which knows where it is.
    Keep,
    /// It is the map output committed last, and there again.
    TakeBack,
    /// It is in force from now on.
    Adopt,
    /// Nobody wants it.
    Discard,
    /// Its job is over, or unknown.
    Release,
}

impl Scheduler {
    /// Answers what a worker offers under its new session.
    pub(super) fn take_offers(&mut self, session: SessionId, offers: &[Offer]) {
        // What counts comes first, so that no other attempt of such a task is adopted beside it.
        for offer in offers {
            if self.answer(session, offer) == Answer::TakeBack {
                self.take_back(session, offer.id);
            }
        }
        let mut released = Vec::new();
        for offer in offers {
            let job = offer.id.job;
            // Whatever becomes of it: should the answer be lost, the job's release is said again.
            self.belongs_to(session, offer.id);
            match self.answer(session, offer) {
                Answer::Keep | Answer::TakeBack => {}
                Answer::Adopt if self.has_place(session, offer.id) => self.adopt(session, offer.id),
                Answer::Adopt | Answer::Discard => self.commands.push(Command::DiscardOutput { session, id: offer.id }),
                Answer::Release if released.contains(&job) => {}
                Answer::Release => {
                    released.push(job);
                    self.commands.push(Command::ReleaseJob { session, job });
                }
            }
        }
    }

    /// A worker is back that an earlier master counted on; if it is the last one, nothing more is to be
    /// waited for.
    pub(super) fn came_back(&mut self, worker: WorkerId) {
        let Some(until) = self.adoption_ends else { return };
        if self.expected.remove(&worker) && self.expected.is_empty() {
            self.adoption_ends = None;
            let rested: Vec<_> = self.resting.iter().filter(|(at, _, _)| *at == until).copied().collect();
            for rest in rested {
                self.resting.remove(&rest);
                let (_, job, task) = rest;
                let open = self.jobs.get_mut(&job).expect("tasks of ended jobs do not rest");
                open.stage_mut(task.stage).wake(task.index);
            }
        }
    }

    /// Asks about adopted reduce attempts whose map outputs are all in place again: a worker that lost
    /// one after all would run it, and must find every segment.
    pub(super) fn ask_adopted(&mut self) {
        let complete = |job: &Job| !job.unasked.is_empty() && job.map.is_done();
        let ready: Vec<_> = self.jobs.iter().filter(|(_, job)| complete(job)).map(|(id, _)| *id).collect();
        for job in ready {
            let unasked = std::mem::take(&mut self.jobs.get_mut(&job).expect("it was just found").unasked);
            for (session, id) in unasked {
                // It may have ended meanwhile without being asked about; and a session whose stream
                // broke is asked when it resumes.
                let AttemptId { task, number } = id.attempt;
                let in_force = self.jobs[&job].stage(task.stage).is_in_force(task.index, number, session);
                let live = self.sessions.get(session).is_some_and(Session::is_reachable);
                if self.sessions.open(session).is_some() {
                    self.sessions.update(session, &self.config, |it| {
                        it.unasked.remove(&id);
                    });
                }
                if !in_force || !live {
                    continue;
                }
                let work = self.work_of(job, id.attempt.task);
                self.commands.push(Command::StartAttempt { session, id, work });
            }
        }
    }

    /// Whether the session takes one more attempt. A worker with more than it may be given has some of
    /// several earlier sessions.
    ///
    /// Reduce attempts are asked about only when every map output is in place. Until then they must not
    /// take the last place, which a map that has to be made again may need.
    fn has_place(&self, session: SessionId, id: JobAttempt) -> bool {
        let open = self.sessions.get(session).expect("it just registered");
        let places = |queued: u32| u64::from(open.profile.slots) * (1 + u64::from(queued));
        let waits =
            id.attempt.task.stage == Stage::Reduce && self.jobs.get(&id.job).is_some_and(|job| !job.map.is_done());
        let active = open.active.len() as u64;
        if waits {
            open.standing == Standing::Good && active + 1 < places(self.config.queue_per_slot)
        } else {
            active < places(self.config.queue_per_slot.max(self.config.max_queue_per_slot))
        }
    }

    fn answer(&self, session: SessionId, offer: &Offer) -> Answer {
        let JobAttempt { job, attempt: AttemptId { task, number } } = offer.id;
        let Some(job) = self.jobs.get(&job) else { return Answer::Release };
        let Some(known) = job.get(task) else { return Answer::Discard };
        let deciding = !matches!(job.state, JobState::Queued | JobState::Running);
        // What read an output that was made again differently must not count.
        let sound = task.stage == Stage::Map || job.differed.is_empty() || self.config.has(Bug::AdoptSuperseded);
        let last = known.committed.as_deref().filter(|last| last.number == number || self.config.has(Bug::TrustOffer));
        let trusts = self.config.has(Bug::TrustOffer);
        let same =
            |last: &Committed| offer.content_hash.is_some() && (trusts || last.content_hash() == offer.content_hash);
        match &known.state {
            TaskState::Done(commit) if commit.number == number && !self.config.has(Bug::DiscardCommitted) => {
                Answer::Keep
            }
            TaskState::Done(_) => Answer::Discard,
            TaskState::Pending { .. } | TaskState::Active(_) if deciding => Answer::Discard,
            TaskState::Pending { .. } => match last {
                Some(last) if same(last) => Answer::TakeBack,
                Some(_) => Answer::Discard,
                None if sound => Answer::Adopt,
                None => Answer::Discard,
            },
            // It is being made again, for nothing.
            TaskState::Active(_) if last.is_some_and(same) => Answer::TakeBack,
            TaskState::Active(first) => {
                let beside = first.session != session && !job.stage(task.stage).twins().contains_key(&task.index);
                let fits = sound && last.is_none() && first.number != number;
                if beside && fits { Answer::Adopt } else { Answer::Discard }
            }
        }
    }

    fn take_back(&mut self, session: SessionId, id: JobAttempt) {
        let (job, task) = (id.job, id.attempt.task);
        self.stop_resting(job, task);
        self.cancel_redo(job, task);
        self.jobs.get_mut(&job).expect("the offer was answered").take_back(task.index, session);
        self.notify.insert(job);
    }

    /// Stops the attempts of a task whose output is back.
    fn cancel_redo(&mut self, job: JobId, task: TaskId) {
        let open = self.jobs.get_mut(&job).expect("the offer was answered");
        let stage = open.stage_mut(task.stage);
        let attempts: Vec<_> = stage.attempts(task.index).map(|attempt| (attempt.session, attempt.number)).collect();
        for (session, number) in attempts {
            let stage = self.jobs.get_mut(&job).expect("the offer was answered").stage_mut(task.stage);
            stage.give_up(task.index, number, AttemptStep::Cancel, None);
            self.cancel_attempt(session, JobAttempt { job, attempt: AttemptId { task, number } });
        }
    }

    fn adopt(&mut self, session: SessionId, id: JobAttempt) {
        let AttemptId { task, number } = id.attempt;
        self.stop_resting(id.job, task);
        let job = self.jobs.get_mut(&id.job).expect("the offer was answered");
        if job.state == JobState::Queued {
            job.step(JobStep::Begin);
        }
        job.stage_mut(task.stage).adopt(task.index, number, session, self.now);
        self.notify.insert(id.job);
        self.sessions.update(session, &self.config, |session| {
            session.active.insert(id);
        });
        match task.stage {
            Stage::Map => {
                let work = AttemptWork::Map { skip: self.skipped(id.job, task) };
                self.commands.push(Command::StartAttempt { session, id, work });
            }
            Stage::Reduce => {
                self.jobs.get_mut(&id.job).expect("it was there before").unasked.insert((session, id));
                self.sessions.update(session, &self.config, |session| {
                    session.unasked.insert(id);
                });
            }
        }
    }

    /// The session has something of the job, so it must be told when that is over.
    fn belongs_to(&mut self, session: SessionId, id: JobAttempt) {
        self.sessions.update(session, &self.config, |session| {
            session.jobs.insert(id.job);
        });
    }

    fn stop_resting(&mut self, job: JobId, task: TaskId) {
        let state = self.jobs.get(&job).and_then(|job| job.get(task)).map(|task| task.state);
        if let Some(TaskState::Pending { rests_until: Some(until) }) = state {
            self.resting.remove(&(until, job, task));
        }
    }
}
