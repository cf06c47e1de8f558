//! The desk's attempts: from the order to the report.

use std::sync::Arc;

use gristmill_common::durable::force_all;
use gristmill_common::failure::{Disposition, Failure, FailureCode};
use gristmill_common::ids::{JobAttempt, JobId};
use gristmill_common::task::{AttemptReport, SegmentSource, TaskInput};
use tokio_util::sync::CancellationToken;

use super::{Desk, DeskEvent, Phase};
use crate::agent::admission::Request;
use crate::agent::gather::{FetchedFiles, Gather, Gathered, Given, Round};
use crate::agent::job::{Attempt, InSlot, Job, JobEnd};
use crate::agent::report::Report;
use crate::executor::message::{Run, ToExecutor, Work};

/// Files of fetched segments that a job keeps to write over. Raised, more disk is held until the job
/// ends; lowered, more segments go to new pages, at twice the cost.
const SPARE_FILES: usize = 16;

impl Desk {
    /// Begins an attempt, or answers again for one that is known: the master asks what became of it.
    pub(super) fn start(&mut self, id: JobAttempt, input: TaskInput) {
        let Some(job) = self.jobs.get(&id.job).filter(|job| job.end == JobEnd::Open) else {
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
            if matches!(attempt, Attempt::Running { .. } | Attempt::Forcing | Attempt::Uploading { .. }) {
                self.report(Report::Started(id));
                self.ask_again(id);
            }
            return;
        }
        if let Some(failure) = self.refused(id.job) {
            return self.keep_and_send(Report::Ended { id, result: Err(failure) });
        }
        if self.drop_held(id) {
            return self.give_back_held(id);
        }
        if let Some(failure) = self.disk_full() {
            return self.keep_and_send(Report::Ended { id, result: Err(failure) });
        }
        match input {
            TaskInput::Map { split, partitions, skip } => {
                self.enqueue(id, Work::Map { split, partitions, skip }, Given::default());
            }
            TaskInput::Reduce { sources } => self.gather(id, sources, Round::First),
        }
    }

    /// Why no attempt of the job can run here. What a disk refused is asked for again: it may have room by
    /// now, or answer.
    fn refused(&mut self, job: JobId) -> Option<Failure> {
        let known = self.jobs.get(&job)?.refusal.clone()?;
        if !matches!(known.code, FailureCode::ScratchFull | FailureCode::WriteFailed) {
            return Some(known);
        }
        let now = self.open_folder(job);
        let is_open = now.is_none();
        self.jobs.get_mut(&job)?.refusal = now;
        if is_open {
            self.supply(job);
        }
        self.jobs.get(&job)?.refusal.clone()
    }

    /// Why nothing may begin now that needs room in scratch.
    fn disk_full(&self) -> Option<Failure> {
        // What is wrong with a disk that does not tell shows when it is written to.
        let (used, limit) = (self.launcher.scratch.used_percent().ok()?, self.config.scratch_limit);
        (used > limit).then(|| {
            let dir = self.launcher.scratch.root().display();
            let message =
                format!("the disk of scratch folder {dir} is {used} % full, more than --scratch-limit {limit}");
            Failure::new(FailureCode::ScratchFull, message)
        })
    }

    fn gather(&mut self, id: JobAttempt, sources: Arc<[SegmentSource]>, round: Round) {
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
            round,
            scratch: self.launcher.scratch.clone(),
            machine: self.config.machine.clone(),
            dialer: self.config.dialer.clone(),
            fetches: Arc::clone(&self.fetches),
            disk: Arc::clone(&self.disk),
            spares,
            cancel,
        };
        let events = self.launcher.events.clone();
        self.launcher.tasks.spawn(async move {
            let result = gather.run().await;
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
        // What the job needs may have turned out not to be had while it gathered.
        let refusal = self.jobs.get(&id.job).and_then(|job| job.refusal.clone());
        match refusal.map_or(result, Err) {
            Ok(Gathered { segments, given }) => self.enqueue(id, Work::Reduce { segments }, given),
            Err(failure) => self.end_attempt(id, Err(failure)),
        }
    }

    fn enqueue(&mut self, id: JobAttempt, work: Work, given: Given) {
        let Some(job) = self.jobs.get(&id.job) else { return };
        let alone = job.suspects.contains(&id.attempt.task);
        self.admission.enqueue(Request { id, bytes: job.spec.attempt_bytes, alone });
        self.attempts.insert(id, Attempt::Ready { work, given });
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
        let Some(Attempt::Ready { work, given }) = self.attempts.remove(&id) else { return };
        self.attempts.insert(id, Attempt::Running { given });
        if let Err(error) = self.ensure_executor(id.job) {
            let message = format!("cannot start an executor in {}: {error}", self.launcher.scratch.root().display());
            return self.end_attempt(id, Err(Failure::in_scratch(message, &error)));
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
        if let Err(failure) = &result
            && failure.code == FailureCode::MapOutputLost
            && let Some(sources) = self.take_sources(id)
        {
            tracing::warn!(job = %id.job, attempt = %id.attempt, %failure, "segments are fetched once more");
            self.admission.leave(id);
            return self.gather(id, sources, Round::Second);
        }
        let wanted = matches!(self.attempts.get(&id), Some(Attempt::Running { .. }));
        let objects = result.as_ref().map_or_else(|_| Vec::new(), |report| self.to_be_sent(id, report));
        let result = match result {
            Ok(report) if wanted && !objects.is_empty() => return self.upload(id, report, objects),
            result => result,
        };
        let Some(job) = self.jobs.get(&id.job).filter(|job| wanted && job.is_forced()) else {
            return self.end_attempt(id, result);
        };
        let staged = result.as_ref().map_or_else(|_| Vec::new(), |report| job.staged_files(id.attempt, &report.output));
        if staged.is_empty() {
            return self.end_attempt(id, result);
        }
        self.admission.leave(id);
        if let Some(Attempt::Running { given }) = self.attempts.insert(id, Attempt::Forcing) {
            self.keep_spares(id, given.files);
        }
        let (events, disk) = (self.launcher.events.clone(), Arc::clone(&self.disk));
        self.launcher.tasks.spawn(async move {
            let _permit = disk.acquire().await.expect("it is never closed");
            let forced = move || match force_all(&staged) {
                Ok(()) => result,
                Err(lost) => Err(Failure::new(FailureCode::WriteFailed, format!("a part is not safe: {lost}"))),
            };
            let forced = tokio::task::spawn_blocking(forced).await;
            // The task is not aborted; a panic in it is a bug that only this attempt has to bear.
            let result = forced.unwrap_or_else(|error| Err(Failure::new(FailureCode::WriteFailed, error.to_string())));
            // Without a desk the worker is ending.
            let _ = events.send(DeskEvent::Forced { id, result }).await;
        });
    }

    /// Where an attempt's segments are from, if what was fetched of them may be damaged on this side and
    /// no session has ended since. What it was given goes with the answer.
    fn take_sources(&mut self, id: JobAttempt) -> Option<Arc<[SegmentSource]>> {
        match self.attempts.get_mut(&id) {
            Some(Attempt::Running { given }) => std::mem::take(given).again,
            _ => None,
        }
    }

    /// Keeps files that an attempt has read, for later fetches of its job.
    pub(super) fn keep_spares(&mut self, id: JobAttempt, files: FetchedFiles) {
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
            Some(
                Attempt::Gathering { .. }
                | Attempt::Ready { .. }
                | Attempt::Running { .. }
                | Attempt::Forcing
                | Attempt::Uploading { .. },
            ) => {}
            // Nobody asks for it any more: cancelled, or of a job or session that is over.
            Some(Attempt::Cancelled { .. }) | None => return self.delete_outputs(id),
        }
        self.keep_and_send(Report::Ended { id, result });
    }

    /// Reports the end of an attempt, and again whenever the master asks.
    pub(super) fn keep_and_send(&mut self, report: Report) {
        if let Report::Ended { id, .. } = &report
            && let Some(job) = self.jobs.get_mut(&id.job)
        {
            job.reports.insert(id.attempt, report.clone());
        }
        self.report(report);
    }

    /// Stops an attempt without a report, and removes what it made.
    pub(super) fn throw_away(&mut self, id: JobAttempt) {
        if self.drop_held(id) {
            return self.delete_outputs(id);
        }
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        job.reports.remove(&id.attempt);
        match self.attempts.remove(&id) {
            // What is still being forced to disk goes once more when that has ended.
            None | Some(Attempt::Forcing) => self.delete_outputs(id),
            // What is being sent goes when that has stopped.
            Some(Attempt::Gathering { cancel } | Attempt::Uploading { cancel, .. }) => cancel.cancel(),
            Some(Attempt::Ready { .. }) => self.admission.leave(id),
            Some(Attempt::Running { given }) => {
                self.attempts.insert(id, Attempt::Cancelled { _given: given });
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

    pub(super) fn drop_attempts(&mut self, which: impl Fn(JobAttempt, &Attempt) -> bool) {
        self.attempts.retain(|id, attempt| {
            let dropped = which(*id, attempt);
            if dropped {
                self.admission.leave(*id);
                if let Attempt::Gathering { cancel } | Attempt::Uploading { cancel, .. } = attempt {
                    cancel.cancel();
                }
            }
            !dropped
        });
    }
}
