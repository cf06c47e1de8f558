//! The desk's attempts: from the order to the report.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use gristmill_common::failure::{Disposition, Failure, FailureCode};
use gristmill_common::ids::JobAttempt;
use gristmill_common::task::{AttemptOutput, AttemptReport, SegmentSource, TaskInput};
use tokio_util::sync::CancellationToken;

use super::{Desk, DeskEvent, Phase};
use crate::agent::admission::Request;
use crate::agent::gather::{FetchedFiles, Gather, Gathered};
use crate::agent::job::{Attempt, InSlot, Job, JobEnd};
use crate::agent::report::Report;
use crate::executor::message::{Run, ToExecutor, Work};

/// Files of fetched segments that a job keeps to write over. Raised, more disk is held until the job
/// ends; lowered, more segments go to new pages, at twice the cost.
const SPARE_FILES: usize = 16;

impl Desk {
    /// Begins an attempt, or answers again for one that is known: the master asks what became of it.
    pub(super) fn start(&mut self, id: JobAttempt, input: TaskInput) {
        let Some(job) = self.jobs.get_mut(&id.job).filter(|job| job.end == JobEnd::Open) else {
            let failure = Failure {
                disposition: Disposition::NotCounted,
                ..Failure::new(FailureCode::WorkerLost, format!("given back: {} is not open here", id.job))
            };
            return self.report(Report::Ended { id, result: Err(failure) });
        };
        if let Some(report) = job.reports.get(&id.attempt) {
            let report = report.clone();
            return self.report(report);
        }
        if let Some(attempt) = self.attempts.get(&id) {
            if matches!(attempt, Attempt::Running { .. } | Attempt::Forcing) {
                self.report(Report::Started(id));
            }
            return;
        }
        if let Some(failure) = &job.refusal {
            let report = Report::Ended { id, result: Err(failure.clone()) };
            job.reports.insert(id.attempt, report.clone());
            return self.report(report);
        }
        match input {
            TaskInput::Map { split, partitions, skip } => {
                self.enqueue(id, Work::Map { split, partitions, skip }, FetchedFiles::default());
            }
            TaskInput::Reduce { sources } => self.gather(id, sources.to_vec()),
        }
    }

    fn gather(&mut self, id: JobAttempt, sources: Vec<SegmentSource>) {
        let Phase::Serving(session) = self.phase else { return };
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        job.gathering += 1;
        let spares = job.spares.split(sources.len());
        let cancel = CancellationToken::new();
        self.attempts.insert(id, Attempt::Gathering { cancel: cancel.clone() });
        let gather = Gather {
            epoch: session.epoch,
            id,
            sources,
            scratch: self.launcher.scratch.clone(),
            machine: self.config.machine.clone(),
            limit: Arc::clone(&self.fetches),
            spares,
        };
        let events = self.launcher.events.clone();
        self.launcher.tasks.spawn(async move {
            let cancelled = Err(Failure::new(FailureCode::Cancelled, "the attempt was cancelled"));
            let result = cancel.run_until_cancelled(gather.run()).await.unwrap_or(cancelled);
            // Without a desk the worker is ending.
            let _ = events.send(DeskEvent::Gathered { id, result }).await;
        });
    }

    pub(super) fn on_gathered(&mut self, id: JobAttempt, result: Result<Gathered, Failure>) {
        if let Some(job) = self.jobs.get_mut(&id.job) {
            job.gathering -= 1;
        }
        if !matches!(self.attempts.get(&id), Some(Attempt::Gathering { .. })) {
            return;
        }
        match result {
            Ok(Gathered { segments, files }) => self.enqueue(id, Work::Reduce { segments }, files),
            Err(failure) => self.end_attempt(id, Err(failure)),
        }
    }

    fn enqueue(&mut self, id: JobAttempt, work: Work, files: FetchedFiles) {
        let Some(job) = self.jobs.get(&id.job) else { return };
        let alone = job.suspects.contains(&id.attempt.task);
        self.admission.enqueue(Request { id, bytes: job.spec.attempt_bytes, alone });
        self.attempts.insert(id, Attempt::Ready { work, files });
    }

    /// Starts what may start.
    pub(super) fn admit(&mut self) {
        let jobs = &self.jobs;
        let admitted = self.admission.admit(|job| jobs.get(&job).is_some_and(Job::takes_attempts));
        for id in admitted {
            self.begin(id);
        }
    }

    fn begin(&mut self, id: JobAttempt) {
        let Some(Attempt::Ready { work, files }) = self.attempts.remove(&id) else { return };
        self.attempts.insert(id, Attempt::Running { files });
        if let Err(error) = self.ensure_executor(id.job) {
            let message = format!("cannot start an executor in {}: {error}", self.launcher.scratch.root().display());
            return self.end_attempt(id, Err(Failure::new(FailureCode::WriteFailed, message)));
        }
        let executor = self.jobs.get_mut(&id.job).and_then(|job| job.executor.as_mut());
        let executor = executor.expect("it was just ensured");
        let slot = executor.take_slot(InSlot { id, objects: work.objects() });
        let slot = slot.expect("an executor has as many slots as the worker");
        executor.handle.send(ToExecutor::Run(Run { id, slot, work }));
        tracing::debug!(job = %id.job, attempt = %id.attempt, slot, "attempt started");
        self.report(Report::Started(id));
    }

    /// Takes what an attempt's executor says of its end. A part that has to be on disk before it
    /// counts is forced there while the slot works on; how many wait for that is bounded by the
    /// assignments that the master lets a worker hold.
    pub(super) fn on_ended(&mut self, id: JobAttempt, result: Result<AttemptReport, Failure>) {
        let wanted = matches!(self.attempts.get(&id), Some(Attempt::Running { .. }));
        let Some(job) = self.jobs.get(&id.job).filter(|job| wanted && job.spec.fsync) else {
            return self.end_attempt(id, result);
        };
        let (path, report) = match result {
            Ok(report) if matches!(report.output, AttemptOutput::Part(_)) => (job.staged_part(id.attempt), report),
            other => return self.end_attempt(id, other),
        };
        self.admission.leave(id);
        if let Some(Attempt::Running { files }) = self.attempts.insert(id, Attempt::Forcing) {
            self.keep_spares(id, files);
        }
        let events = self.launcher.events.clone();
        self.launcher.tasks.spawn(async move {
            let forced = tokio::task::spawn_blocking(move || force(&path).map(|()| report)).await;
            // The task is not aborted; a panic in it is a bug that only this attempt has to bear.
            let result = forced.unwrap_or_else(|error| Err(Failure::new(FailureCode::WriteFailed, error.to_string())));
            // Without a desk the worker is ending.
            let _ = events.send(DeskEvent::Forced { id, result }).await;
        });
    }

    /// Keeps files that an attempt has read, for later fetches of its job.
    fn keep_spares(&mut self, id: JobAttempt, files: FetchedFiles) {
        if let Some(job) = self.jobs.get_mut(&id.job).filter(|job| job.end == JobEnd::Open) {
            job.spares.take_from(files, SPARE_FILES);
        }
    }

    /// Ends an attempt whose part is on disk now, unless it was thrown away meanwhile.
    pub(super) fn on_forced(&mut self, id: JobAttempt, result: Result<AttemptReport, Failure>) {
        match self.attempts.get(&id) {
            Some(Attempt::Forcing) => self.end_attempt(id, result),
            _ => self.delete_outputs(id),
        }
    }

    /// Ends an attempt, wherever it is: reports it if it is still wanted, else throws its output
    /// away.
    pub(super) fn end_attempt(&mut self, id: JobAttempt, result: Result<AttemptReport, Failure>) {
        self.admission.leave(id);
        match self.attempts.remove(&id) {
            Some(Attempt::Gathering { .. } | Attempt::Ready { .. } | Attempt::Running { .. } | Attempt::Forcing) => {}
            // Nobody asks for it any more: cancelled, or of a job or session that is over.
            Some(Attempt::Cancelled { .. }) | None => return self.delete_outputs(id),
        }
        let report = Report::Ended { id, result };
        if let Some(job) = self.jobs.get_mut(&id.job) {
            job.reports.insert(id.attempt, report.clone());
        }
        self.report(report);
    }

    /// Stops an attempt without a report, and removes what it made.
    pub(super) fn throw_away(&mut self, id: JobAttempt) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        job.reports.remove(&id.attempt);
        match self.attempts.remove(&id) {
            // What is still being forced to disk goes once more when that has ended.
            None | Some(Attempt::Forcing) => self.delete_outputs(id),
            Some(Attempt::Gathering { cancel }) => cancel.cancel(),
            Some(Attempt::Ready { .. }) => self.admission.leave(id),
            Some(Attempt::Running { files }) => {
                self.attempts.insert(id, Attempt::Cancelled { _files: files });
                let Some(executor) = &job.executor else { return };
                executor.handle.send(ToExecutor::Cancel(id));
                let (events, key, grace) = (self.launcher.events.clone(), executor.key, self.config.cancel_grace);
                self.launcher.tasks.spawn(async move {
                    tokio::time::sleep(grace).await;
                    // Without a desk the worker is ending.
                    let _ = events.send(DeskEvent::GraceOver { id, key }).await;
                });
            }
            Some(cancelled @ Attempt::Cancelled { .. }) => {
                self.attempts.insert(id, cancelled);
            }
        }
    }

    pub(super) fn drop_attempts(&mut self, which: impl Fn(JobAttempt) -> bool) {
        self.attempts.retain(|id, attempt| {
            let dropped = which(*id);
            if dropped {
                self.admission.leave(*id);
                if let Attempt::Gathering { cancel } = attempt {
                    cancel.cancel();
                }
            }
            !dropped
        });
    }
}

/// Forces a file to disk.
fn force(path: &Path) -> Result<(), Failure> {
    let forced = File::open(path).and_then(|file| file.sync_all());
    forced.map_err(|error| {
        let message = format!("cannot force part {} to disk: {error}", path.display());
        Failure::new(FailureCode::WriteFailed, message)
    })
}
