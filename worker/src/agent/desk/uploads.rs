//! What attempts of jobs with outputs in object stores have staged goes there: sent beside the slots, and
//! not before the master has noted the uploads.

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::JobAttempt;
use gristmill_common::spec::JobSpec;
use gristmill_common::storage::{OutputStore, Stores};
use gristmill_common::task::{AttemptReport, OpenUpload};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Desk, DeskEvent};
use crate::agent::job::{Asked, Attempt, Job};
use crate::agent::report::Report;
use crate::upload::{StagedObject, UploadNotes, staged_objects, with_uploads};

/// Asks the master to note an attempt's uploads, by way of the desk.
struct Notes {
    id: JobAttempt,
    events: mpsc::Sender<DeskEvent>,
}

impl UploadNotes for Notes {
    async fn note(&mut self, batch: u32, uploads: Vec<OpenUpload>) -> bool {
        let (noted, answer) = oneshot::channel();
        let asked = DeskEvent::UploadsOpened { id: self.id, asked: Asked { batch, uploads, noted } };
        // Without a desk the worker is ending; without an answer nobody wants the attempt.
        self.events.send(asked).await.is_ok() && answer.await.is_ok()
    }
}

impl Desk {
    /// What an attempt has staged that has to be sent to a store; nothing if the output is local.
    pub(super) fn to_be_sent(&self, id: JobAttempt, report: &AttemptReport) -> Vec<StagedObject> {
        let job = self.jobs.get(&id.job).filter(|job| job.spec.output.local_path().is_none());
        let staged = |job: &Job| staged_objects(&job.staging, &job.spec.part_ending(), id.attempt, report);
        job.map(staged).unwrap_or_default()
    }

    /// Sends it; the attempt's slot is free meanwhile. How many attempts do so at a time is bounded by the
    /// assignments that the master lets a worker hold.
    pub(super) fn upload(&mut self, id: JobAttempt, report: AttemptReport, objects: Vec<StagedObject>) {
        self.admission.leave(id);
        let cancel = CancellationToken::new();
        let uploading = Attempt::Uploading { cancel: cancel.clone(), asked: None };
        if let Some(Attempt::Running { given }) = self.attempts.insert(id, uploading) {
            self.keep_spares(id, given.files);
        }
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        job.uploading += 1;
        let (spec, stores) = (job.spec.clone(), self.config.stores.clone());
        let (events, uploader) = (self.launcher.events.clone(), self.uploader.clone());
        self.launcher.tasks.spawn(async move {
            let mut notes = Notes { id, events: events.clone() };
            let result = match open(&spec, &stores) {
                Ok(store) => uploader.send(&store, &objects, &mut notes, &cancel).await,
                Err(failure) => Err(failure),
            };
            let result = result.map(|sent| with_uploads(report, sent));
            // Without a desk the worker is ending.
            let _ = events.send(DeskEvent::Uploaded { id, result }).await;
        });
    }

    /// Passes a request on to the master, and keeps it for a master that does not get it.
    pub(super) fn on_uploads_opened(&mut self, id: JobAttempt, request: Asked) {
        // Dropping the request tells the upload that nobody wants it.
        let Some(Attempt::Uploading { asked, .. }) = self.attempts.get_mut(&id) else { return };
        *asked = Some(request);
        self.ask_again(id);
    }

    /// Asks the master again what it has not answered.
    pub(super) fn ask_again(&mut self, id: JobAttempt) {
        if let Some(Attempt::Uploading { asked: Some(asked), .. }) = self.attempts.get(&id) {
            let Asked { batch, uploads, .. } = asked;
            let report = Report::UploadsOpened { id, batch: *batch, uploads: uploads.clone() };
            self.report(report);
        }
    }

    /// The master has noted a request.
    pub(super) fn on_uploads_noted(&mut self, id: JobAttempt, batch: u32) {
        if let Some(Attempt::Uploading { asked, .. }) = self.attempts.get_mut(&id)
            && let Some(asked) = asked.take_if(|asked| asked.batch == batch)
        {
            // One that has failed meanwhile does not listen.
            let _ = asked.noted.send(());
        }
    }

    /// Ends an attempt that has sent everything, or cannot, unless it was thrown away meanwhile.
    pub(super) fn on_uploaded(&mut self, id: JobAttempt, result: Result<AttemptReport, Failure>) {
        if let Some(job) = self.jobs.get_mut(&id.job) {
            job.uploading -= 1;
        }
        if matches!(self.attempts.get(&id), Some(Attempt::Uploading { .. })) && result.is_ok() {
            self.delete_staged(id);
            self.end_attempt(id, result);
        } else {
            self.delete_outputs(id);
            if self.attempts.contains_key(&id) {
                self.end_attempt(id, result);
            }
        }
    }
}

/// The place of a job's output.
fn open(spec: &JobSpec, stores: &Stores) -> Result<OutputStore, Failure> {
    let failed = |reason: String| Failure::new(FailureCode::WriteFailed, reason);
    let at = stores.with_options(&spec.store).at(&spec.output).map_err(|error| failed(error.to_string()))?;
    OutputStore::new(at, spec.output.clone())
        .ok_or_else(|| failed(format!("cannot write {}: its store has no uploads in pieces", spec.output)))
}
