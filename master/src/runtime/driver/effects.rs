//! What the driver does and says when the journal has what it follows from.

use std::sync::Arc;

use gristmill_common::ids::{JobAttempt, JobId, SessionId};
use gristmill_common::spec::JobSpec;
use tracing::{debug, info, warn};

use super::{Done, Driver, PlannedSubmission};
use crate::runtime::journal::Change;
use crate::runtime::order::Order;
use crate::runtime::output::Leftover;
use crate::runtime::status::JobStatus;
use crate::scheduler::{AttemptWork, Command, Event};

/// Something to do or to say.
pub(super) enum Effect {
    /// What the scheduler commanded.
    Command(Command),
    /// Plan a job and claim its output.
    Plan { submission: PlannedSubmission, spec: Box<JobSpec> },
    /// Tell watchers.
    Tell { job: JobId, status: Box<JobStatus> },
    /// Answer a request.
    Answer(Box<dyn FnOnce() + Send>),
    /// Drop what only an open job needs.
    Settle { job: JobId },
    /// Remove what an earlier master left of a job without a future.
    Sweep(Leftover),
}

impl Driver {
    /// Hands what was recorded to the journal, and does what nothing holds back.
    pub(super) fn flush(&mut self) {
        loop {
            if let Some(batch) = self.outbox.next_batch() {
                self.write(batch);
            }
            let Some(effect) = self.outbox.next_effect() else { return };
            if let Some(session) = self.carry_out(effect) {
                // This closes the stream, so the loop ends.
                warn!(%session, "worker does not take its orders");
                self.step(Event::StreamBroken { session });
            }
        }
    }

    fn write(&mut self, batch: Vec<Change>) {
        let mut journal = self.journal.take().expect("one batch is written at a time");
        self.tasks.spawn(async move {
            let write = move || {
                let result = journal.commit(&batch);
                Done::Journaled { journal, result }
            };
            match tokio::task::spawn_blocking(write).await {
                Ok(done) => done,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        });
    }

    /// Does one thing. Returns the session whose stream turned out to be stuck.
    fn carry_out(&mut self, effect: Effect) -> Option<SessionId> {
        match effect {
            Effect::Command(command) => return self.obey(command),
            Effect::Plan { submission, spec } => self.plan(submission, *spec),
            Effect::Tell { job, status } => self.jobs.tell(job, *status),
            Effect::Answer(answer) => answer(),
            Effect::Settle { job } => self.settle(job),
            Effect::Sweep(leftover) => self.sweep(leftover),
        }
        None
    }

    fn obey(&mut self, command: Command) -> Option<SessionId> {
        match command {
            Command::Record(_) | Command::NotifyWatchers { .. } => unreachable!("seen to when it was commanded"),
            Command::StartAttempt { session, id, work } => {
                debug!(%session, %id, "attempt assigned");
                self.start_attempt(session, id, work)
            }
            Command::CancelAttempt { session, id } => self.send(session, Order::Cancel { id }),
            Command::DiscardOutput { session, id } => self.send(session, Order::Discard { id }),
            Command::ProceedUpload { session, id, batch } => self.send(session, Order::UploadsNoted { id, batch }),
            Command::ReleaseJob { session, job } => self.send(session, Order::Release { job }),
            Command::CloseSession { session, reason } => {
                info!(%session, ?reason, "session closed");
                self.send(session, Order::Close { reason })
            }
            Command::PublishJob { job, result } => {
                self.publish(job, result);
                None
            }
            Command::UndoJob { job } => {
                self.undo(job);
                None
            }
        }
    }

    fn send(&mut self, session: SessionId, order: Order) -> Option<SessionId> {
        self.streams.send(session, order).is_err().then_some(session)
    }

    fn start_attempt(&mut self, session: SessionId, id: JobAttempt, work: AttemptWork) -> Option<SessionId> {
        let job = self.jobs.work_mut(id.job).expect("a job is settled behind its last attempt");
        let input = job.input(id.attempt.task, work);
        if self.streams.must_open(session, id.job) {
            let open = Order::OpenJob {
                job: id.job,
                spec: Arc::clone(&job.spec),
                binary_sha256: job.binary_sha256.clone(),
                staging: job.staging.clone(),
            };
            if let Some(stuck) = self.send(session, open) {
                return Some(stuck);
            }
        }
        self.send(session, Order::Start { id, input })
    }

    /// Drops what only an open job needs, and forgets the jobs that the scheduler has forgotten.
    fn settle(&mut self, job: JobId) {
        self.jobs.settle(job);
        for ended in self.jobs.ended() {
            if self.scheduler.job_state(ended).is_none() {
                self.jobs.forget(ended);
                self.outbox.record(Change::Forget(ended));
            }
        }
    }
}
