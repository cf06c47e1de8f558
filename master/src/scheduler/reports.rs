//! Reports of workers: the fence that keeps stale ones out, task commits, and what failures mean.
//! Decisions read a failure's code and disposition; its message is only compared for equality.

use std::time::Duration;

use gristmill_common::failure::{Disposition, Failure, FailureCode};
use gristmill_common::ids::{AttemptId, JobAttempt, MasterEpoch, SessionId, Stage, WorkerId};
use gristmill_common::task::{AttemptReport, OpenUpload};

use super::Scheduler;
use super::attempt::AttemptStep;
use super::command::{AttemptFailure, CloseReason, Command, StaleReason};
use super::event::WorkerReport;
use super::job::JobStep;
use super::planted::Bug;
use super::record::Record;
use super::view::JobState;
use super::workers::SessionStep;

/// Workers that must have failed to reach a holder of map outputs before these are made again.
const MIN_SINKS: usize = 2;

/// How a report about an attempt stands to what is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is about the attempt in force.
    InForce,
    /// It is about the committed attempt: it arrived before, and was accepted.
    Accepted,
    /// It is about nothing that matters any more.
    Stale(StaleReason),
}

impl Scheduler {
    pub(super) fn on_worker_reported(&mut self, epoch: MasterEpoch, session: SessionId, report: WorkerReport) {
        let fence = if epoch != self.config.epoch && !self.config.has(Bug::SkipEpochCheck) {
            Some(StaleReason::Epoch)
        } else if self.sessions.open(session).is_none() && !self.may_be_ended(session) {
            Some(StaleReason::Session)
        } else {
            None
        };
        if let Some(reason) = fence {
            self.refuse(reason);
            if report == WorkerReport::Heartbeat {
                self.close_unknown(session);
            }
            return;
        }
        let step = SessionStep::Hear(self.now);
        self.sessions.update(session, &self.config, |session| session.life = session.life.after(step));
        match report {
            WorkerReport::Heartbeat => {}
            WorkerReport::AttemptStarted { id } => self.on_attempt_started(session, id),
            WorkerReport::UploadsOpened { id, batch, uploads } => self.on_uploads_opened(session, id, batch, uploads),
            WorkerReport::AttemptFinished { id, report } => self.on_attempt_finished(session, id, report),
            WorkerReport::AttemptFailed { id, failure } => self.on_attempt_failed(session, id, failure),
            WorkerReport::WorkerLeft => self.end_session(session, CloseReason::Left),
        }
    }

    /// Whether a mistake lets reports of this session pass although it has ended.
    fn may_be_ended(&self, session: SessionId) -> bool {
        self.config.has(Bug::SkipSessionCheck) && self.sessions.get(session).is_some()
    }

    pub(super) fn refuse(&mut self, reason: StaleReason) {
        *self.refusals.entry(reason).or_default() += 1;
    }

    fn on_attempt_started(&mut self, session: SessionId, id: JobAttempt) {
        match self.standing(session, id) {
            Standing::InForce => {
                let AttemptId { task, number } = id.attempt;
                let job = self.jobs.get_mut(&id.job).expect("its attempt is in force");
                job.stage_mut(task.stage).start(task.index, number, self.now);
            }
            Standing::Accepted => self.refuse(StaleReason::Attempt),
            Standing::Stale(reason) => self.refuse(reason),
        }
    }

    /// Records what an attempt in force is about to upload; one that is not throws it away.
    fn on_uploads_opened(&mut self, session: SessionId, id: JobAttempt, batch: u32, uploads: Vec<OpenUpload>) {
        match self.standing(session, id) {
            Standing::InForce => {
                self.record(|| Record::Uploading { id, uploads });
                self.commands.push(Command::ProceedUpload { session, id, batch });
            }
            Standing::Accepted => self.refuse(StaleReason::Attempt),
            Standing::Stale(reason) => {
                self.refuse(reason);
                self.commands.push(Command::DiscardOutput { session, id });
            }
        }
    }

    fn on_attempt_finished(&mut self, session: SessionId, id: JobAttempt, report: AttemptReport) {
        match self.standing(session, id) {
            Standing::InForce => {}
            // Said twice: what it left behind is the result, and must stay.
            Standing::Accepted => return self.refuse(StaleReason::Attempt),
            Standing::Stale(_) if self.accept_second(session, id, &report) => return,
            Standing::Stale(reason) => {
                self.refuse(reason);
                if !self.config.has(Bug::KeepRefusedOutput) {
                    self.commands.push(Command::DiscardOutput { session, id });
                }
                return;
            }
        }
        let job = self.jobs.get_mut(&id.job).expect("its attempt is in force");
        if let Err(message) = job.check_output(id.attempt.task, &report.output) {
            self.commands.push(Command::DiscardOutput { session, id });
            self.fail_attempt(session, id, Failure::new(FailureCode::ExecutorCrash, message));
            return;
        }
        if let Err(failure) = self.supersede(id, &report) {
            return self.end_job(id.job, JobStep::Fail, Some(failure.of_task(id.attempt.task)));
        }
        self.commit(session, id, report);
    }

    /// Makes the attempt in force the result of its task.
    fn commit(&mut self, session: SessionId, id: JobAttempt, report: AttemptReport) {
        let worker = self.worker_of(session);
        if !self.config.has(Bug::RecordNoCommit) {
            self.record(|| Record::Committed { id, worker, report: report.clone() });
        }
        self.measure_done(session, id, Duration::from_micros(report.stats.wall_micros));
        let job = self.jobs.get_mut(&id.job).expect("its attempt is in force");
        let skipped = report.bad.is_some();
        let at_fault = job.clear(id.attempt.task, worker);
        let loser = job.commit(id.attempt, session, report);
        self.count_twice(id);
        let job = self.jobs.get_mut(&id.job).expect("its attempt is in force");
        // All tasks are looked at only when one more skipped something.
        let too_bad = if skipped { job.too_many_bad_records() } else { None };
        let too_much = too_bad.or_else(|| job.too_many_named_parts());
        let decided = job.last_stage().is_done();
        self.notify.insert(id.job);
        self.sessions.update(session, &self.config, |session| {
            session.active.remove(&id);
            session.committed += 1;
        });
        self.sessions.succeeded(worker, &self.config);
        if let Some(worker) = at_fault {
            self.sessions.strike(worker, self.now, &self.config);
        }
        if let Some(loser) = loser.filter(|_| !self.config.has(Bug::KeepTwin)) {
            self.measure_loser(id.job, id.attempt.task, &loser);
            let attempt = AttemptId { task: id.attempt.task, number: loser.number };
            self.cancel_attempt(loser.session, JobAttempt { job: id.job, attempt });
        }
        if let Some(failure) = too_much {
            self.end_job(id.job, JobStep::Fail, Some(failure.of_task(id.attempt.task)));
        } else if decided {
            self.decide(id.job);
        }
    }

    /// Has a worker stop an attempt that is in force no more.
    pub(super) fn cancel_attempt(&mut self, session: SessionId, id: JobAttempt) {
        self.commands.push(Command::CancelAttempt { session, id });
        self.sessions.update(session, &self.config, |session| {
            session.active.remove(&id);
        });
    }

    /// Says a fact that must outlive the master, if anybody listens.
    pub(super) fn record(&mut self, fact: impl FnOnce() -> Record) {
        if self.config.records {
            self.commands.push(Command::Record(Box::new(fact())));
        }
    }

    fn on_attempt_failed(&mut self, session: SessionId, id: JobAttempt, failure: Failure) {
        match self.standing(session, id) {
            Standing::InForce => self.fail_attempt(session, id, failure),
            Standing::Accepted => self.refuse(StaleReason::Attempt),
            Standing::Stale(reason) => self.refuse(reason),
        }
    }

    /// Ends the attempt in force by a failure and does what its disposition means.
    fn fail_attempt(&mut self, session: SessionId, id: JobAttempt, mut failure: Failure) {
        if failure.code == FailureCode::ScratchFull && !self.config.waits_for_scratch {
            failure.disposition = Disposition::Retry;
        }
        let counted = match failure.disposition {
            Disposition::Retry | Disposition::RetryElsewhere | Disposition::Abort => true,
            Disposition::RedoInput | Disposition::NotCounted => self.config.has(Bug::CountLosses),
        };
        let worker = self.worker_of(session);
        if counted {
            self.record(|| Record::Failed { id, worker, failure: failure.clone() });
        }
        self.sessions.update(session, &self.config, |session| {
            session.active.remove(&id);
            session.failed += u64::from(counted);
        });
        self.notify.insert(id.job);
        let kept = self.config.failures_kept;
        let job = self.jobs.get_mut(&id.job).expect("its attempt is in force");
        job.failures.push(AttemptFailure { id, session, failure: failure.clone(), counted });
        if job.failures.len() > kept {
            job.failures.remove(0);
        }
        match failure.disposition {
            Disposition::Retry => self.count_failure(session, id, failure),
            Disposition::RetryElsewhere => {
                // A job of another binary says nothing of the worker.
                if failure.code != FailureCode::WrongBinary {
                    job.suspects.entry(worker).or_default().insert(id.attempt.task);
                }
                self.count_failure(session, id, failure);
            }
            Disposition::Abort => {
                let task = id.attempt.task;
                job.stage_mut(task.stage).give_up(task.index, id.attempt.number, AttemptStep::Fail, None);
                let message = format!("task {task} failed on {worker}: {}", failure.message);
                self.end_job(id.job, JobStep::Fail, Some(Failure { message, ..failure }.of_task(task)));
            }
            Disposition::RedoInput => {
                self.redo_outputs(worker, id, &failure);
                self.hand_back(id, failure);
            }
            Disposition::NotCounted if self.config.has(Bug::CountLosses) => self.count_failure(session, id, failure),
            Disposition::NotCounted => {
                self.note_full_scratch(worker, id, &failure);
                self.hand_back(id, failure);
            }
        }
    }

    fn count_failure(&mut self, session: SessionId, id: JobAttempt, failure: Failure) {
        let (task, worker) = (id.attempt.task, self.worker_of(session));
        let job = self.jobs.get_mut(&id.job).expect("its attempt is in force");
        let allowed = job.request.max_attempts as usize;
        let allows_bad = job.request.max_bad_records > 0;
        let stage = job.stage_mut(task.stage);
        let certain = stage.task(task.index).trouble_mut().count(worker, &failure, allows_bad);
        stage.give_up(task.index, id.attempt.number, AttemptStep::Fail, None);
        let failed = stage.task(task.index).trouble().counted(allows_bad);
        if certain || failed >= allowed {
            let message = match failed {
                1 => format!("task {task} failed 1 attempt, on {worker}: {}", failure.message),
                _ => format!("task {task} failed {failed} attempts, last on {worker}: {}", failure.message),
            };
            self.end_job(id.job, JobStep::Fail, Some(Failure { message, ..failure }.of_task(task)));
        }
    }

    /// Has a worker without room on its disk rest before long, and the task go elsewhere.
    fn note_full_scratch(&mut self, worker: WorkerId, id: JobAttempt, failure: &Failure) {
        if failure.code == FailureCode::ScratchFull {
            let job = self.jobs.get_mut(&id.job).expect("its attempt is in force");
            job.stage_mut(id.attempt.task.stage).task(id.attempt.task.index).trouble_mut().blame(worker);
            self.sessions.out_of_room(worker, &failure.message, self.now, &self.config);
        }
    }

    /// Makes the task pending again after a rest that grows with each time, so that a cause which
    /// lasts does not keep master and worker busy.
    fn hand_back(&mut self, id: JobAttempt, failure: Failure) {
        let task = id.attempt.task;
        let job = self.jobs.get_mut(&id.job).expect("its attempt is in force");
        let trouble = job.stage_mut(task.stage).task(task.index).trouble_mut();
        trouble.hand_backs = trouble.hand_backs.saturating_add(1);
        trouble.hand_back_message = failure.message;
        let times = trouble.hand_backs;
        let rests_until = self.rest_after_hand_back(times);
        let job = self.jobs.get_mut(&id.job).expect("its attempt is in force");
        let stage = job.stage_mut(task.stage);
        if stage.give_up(task.index, id.attempt.number, AttemptStep::Lose, Some(rests_until)) {
            self.resting.insert((rests_until, id.job, task));
        }
    }

    /// Makes the map tasks pending whose named attempts are still the committed ones: another
    /// reducer may have told before, and then a new output is in place or under way.
    fn redo_outputs(&mut self, sink: WorkerId, id: JobAttempt, failure: &Failure) {
        let live = self.sessions.iter().filter(|(_, session)| session.is_live()).count();
        let job = self.jobs.get_mut(&id.job).expect("its attempt is in force");
        if !job.needs_map_outputs() || self.config.has(Bug::ForgetLostInput) {
            return;
        }
        let unreachable = failure.code == FailureCode::SourceUnreachable;
        for lost in &failure.lost_outputs {
            let AttemptId { task, number } = *lost;
            let commit = job.get(task).and_then(|task| task.commit().copied());
            if let Some(commit) = commit.filter(|commit| task.stage == Stage::Map && commit.number == number) {
                // One sink that cannot reach a holder may have itself to blame: another one tries
                // first, if there is another one.
                let sinks = job.unreachable.entry(commit.session).or_default();
                if unreachable {
                    sinks.insert(sink);
                }
                if unreachable && sinks.len() < MIN_SINKS && live > MIN_SINKS {
                    let trouble = job.stage_mut(id.attempt.task.stage).task(id.attempt.task.index).trouble_mut();
                    trouble.blame(sink);
                    continue;
                }
                if let Some(holder) = self.sessions.get(commit.session) {
                    let trouble = job.map.task(task.index).trouble_mut();
                    trouble.blame(holder.profile.worker);
                }
                job.revoke_map(task.index);
                // Its holder must not offer again what is known to be bad.
                if !unreachable && self.sessions.open(commit.session).is_some() {
                    let lost = JobAttempt { job: id.job, attempt: *lost };
                    self.commands.push(Command::DiscardOutput { session: commit.session, id: lost });
                }
            }
        }
    }

    fn standing(&self, session: SessionId, id: JobAttempt) -> Standing {
        let AttemptId { task, number } = id.attempt;
        if let Some(job) = self.jobs.get(&id.job) {
            let task = job.get(task);
            let stage = job.stage(id.attempt.task.stage);
            let active = stage.is_in_force(id.attempt.task.index, number, session)
                || self.config.has(Bug::SkipNumberCheck) && stage.attempts(id.attempt.task.index).next().is_some();
            let commit =
                task.and_then(|task| task.commit()).is_some_and(|c| (c.number, c.session) == (number, session));
            return match (active, commit) {
                (true, _) => Standing::InForce,
                (false, true) => Standing::Accepted,
                (false, false) => Standing::Stale(StaleReason::Attempt),
            };
        }
        let Some(ended) = self.ended.get(&id.job) else { return Standing::Stale(StaleReason::Job) };
        let makes_parts = if ended.view.reduce.tasks == 0 { Stage::Map } else { Stage::Reduce };
        let won = ended.view.state == JobState::Succeeded
            && task.stage == makes_parts
            && ended.winners.get(task.index as usize) == Some(&number);
        if won { Standing::Accepted } else { Standing::Stale(StaleReason::Job) }
    }

    pub(super) fn worker_of(&self, session: SessionId) -> WorkerId {
        self.sessions.get(session).expect("its attempt was in force").profile.worker
    }
}
