//! The driver: the one task that owns the scheduler. It turns what arrives into events, carries the
//! commands out in order, and decides nothing. It never waits for a worker, a watcher or a disk:
//! slow work runs beside it and comes back as [`Done`]. What it does and says goes through the outbox,
//! behind the records that it follows from.
//!
//! | file | about |
//! |---|---|
//! | `outbox.rs` | what waits for the journal |
//! | `effects.rs` | what is done and said |
//! | `restart.rs` | the first steps, with what the journal had |
//! | `submissions.rs` | jobs handed in |
//! | `sessions.rs` | workers that register and resume |
//! | `outputs.rs` | publishing and undoing |
//! | `shutdown.rs` | its end, when it is told to |
//! | `watchers.rs` | what is shown, and to whom when |

mod effects;
mod outbox;
mod outputs;
mod restart;
mod sessions;
mod shutdown;
mod submissions;
mod watchers;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::failure::Failure;
use gristmill_common::ids::JobId;
use gristmill_common::spec::JobSpec;
use gristmill_common::storage::Stores;
use gristmill_common::time::{Clock, Timestamp};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info, warn};

use self::effects::Effect;
use self::outbox::Outbox;
use self::shutdown::Closing;
pub use self::shutdown::OpenJobs;
use super::describe;
use super::handle::{MasterHandle, Request};
use super::jobs::JobTable;
use super::journal::{Change, Journal, JournalError, JournalRecord};
use super::output::OutputClaim;
use super::prepare::{PreparedJob, SubmitError};
use super::recovery::Recovered;
use super::sessions::Streams;
use super::shipped::{JobFiles, ShippedFiles};
use crate::scheduler::{Command, Event, Record, Scheduler, SchedulerConfig};

/// How often watchers hear of progress. More often costs a message to every watcher each time.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Requests taken between two looks at timers and finished work. More cost less each, and delay
/// those looks.
const MAX_TAKEN: usize = 64;

/// Jobs that are planned at once. More only compete for the same disk.
const MAX_PLANNING: usize = 8;

/// Starts a driver on the current tokio runtime, with what `journal` had when it was replayed. It ends
/// after [`MasterHandle::shutdown`], when the last handle is dropped, or when the journal fails: then
/// nothing that was not durable was done or said, and the next master goes on from there.
pub fn start_driver(
    clock: Clock,
    config: SchedulerConfig,
    journal: Box<dyn Journal>,
    recovered: Recovered,
    files: ShippedFiles,
    stores: Stores,
) -> (MasterHandle, JoinHandle<Result<(), JournalError>>) {
    let (handle, inbox) = MasterHandle::new(config.epoch);
    let Recovered { table, jobs, workers, leftovers, changes } = recovered;
    let (scheduler, commands) = Scheduler::restore(config, clock.now(), jobs);
    let mut driver = Driver {
        clock,
        scheduler,
        streams: Streams::with_workers(workers),
        jobs: table,
        tasks: JoinSet::new(),
        planning: Arc::new(Semaphore::new(0)),
        sweeping: BTreeSet::new(),
        untold: BTreeSet::new(),
        closing: None,
        journal: Some(journal),
        outbox: Outbox::default(),
        files,
        stores,
    };
    driver.restart(changes, commands, leftovers);
    (handle, tokio::spawn(driver.run(inbox)))
}

struct Driver {
    clock: Clock,
    scheduler: Scheduler,
    streams: Streams,
    jobs: JobTable,
    tasks: JoinSet<Done>,
    /// Has no permits before what an earlier master left is removed: the same job submitted again would
    /// find its output claimed.
    planning: Arc<Semaphore>,
    /// Jobs of an earlier master whose leftovers are being removed.
    sweeping: BTreeSet<JobId>,
    /// Jobs whose watchers are to hear of progress.
    untold: BTreeSet<JobId>,
    closing: Option<Closing>,
    /// Absent while a batch is written.
    journal: Option<Box<dyn Journal>>,
    outbox: Outbox<Effect>,
    /// What travels with jobs.
    files: ShippedFiles,
    /// Reaches inputs and outputs with this process's credentials.
    stores: Stores,
}

/// Work done beside the driver.
enum Done {
    Journaled { journal: Box<dyn Journal>, result: Result<(), JournalError> },
    Looked { submission: PlannedSubmission, spec: Box<JobSpec>, missing: Vec<PathBuf> },
    Planned { submission: PlannedSubmission, result: Box<Result<(PreparedJob, JobFiles), SubmitError>> },
    Published { job: JobId, result: Result<(), Box<NotPublished>> },
    Undone { job: JobId, result: Result<(), String> },
}

/// A job commit that failed. If no driver takes it in, because that has ended, what is staged stays for the
/// next master, which publishes it: the job is decided.
struct NotPublished {
    failure: Failure,
    /// What is to be undone; absent if that has happened.
    claim: Option<OutputClaim>,
}

impl Drop for NotPublished {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            claim.abandon();
        }
    }
}

/// What is kept of a submission while it is planned.
#[derive(Debug)]
struct PlannedSubmission {
    job: JobId,
    key: String,
    binary_sha256: String,
}

impl Driver {
    async fn run(mut self, inbox: mpsc::Receiver<Request>) -> Result<(), JournalError> {
        info!(epoch = %self.scheduler.epoch(), "driver started");
        let result = self.serve(inbox).await;
        match &result {
            Ok(()) => info!(epoch = %self.scheduler.epoch(), "driver ended"),
            Err(failure) => error!(reason = describe(failure), "driver ended: the journal cannot be written"),
        }
        result
    }

    async fn serve(&mut self, mut inbox: mpsc::Receiver<Request>) -> Result<(), JournalError> {
        let mut requests = Vec::with_capacity(MAX_TAKEN);
        self.flush();
        loop {
            let wait = self.next_wake().map(|at| at.since(self.clock.now()));
            tokio::select! {
                taken = inbox.recv_many(&mut requests, MAX_TAKEN), if !self.outbox.is_full() && !self.hands_over() => {
                    if taken == 0 {
                        return Ok(());
                    }
                    requests.drain(..).for_each(|request| self.on_request(request));
                }
                Some(done) = self.tasks.join_next() => self.on_done(done.expect("beside-work catches panics"))?,
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {
                    // What has arrived meanwhile may be what the deadline waits for.
                    let arrived = if self.hands_over() { 0 } else { inbox.len() };
                    for _ in 0..arrived {
                        if let Ok(request) = inbox.try_recv() {
                            self.on_request(request);
                        }
                    }
                    self.on_wake();
                }
            }
            self.flush();
            if self.is_closed() {
                return Ok(());
            }
        }
    }

    fn next_wake(&self) -> Option<Timestamp> {
        let untold = self.untold.iter().filter_map(|job| self.jobs.get(*job));
        let progress = untold.map(|record| record.shown().1 + PROGRESS_INTERVAL).min();
        let closing = self.closing.map(|closing| closing.until);
        [self.scheduler_deadline(), closing, progress].into_iter().flatten().min()
    }

    /// When the scheduler wants to be woken. Of workers that are not listened to any more, silence
    /// means nothing.
    fn scheduler_deadline(&self) -> Option<Timestamp> {
        self.scheduler.next_deadline().filter(|_| !self.hands_over())
    }

    fn on_wake(&mut self) {
        let now = self.clock.now();
        if self.scheduler_deadline().is_some_and(|deadline| deadline <= now) {
            self.step(Event::DeadlineReached);
        }
        for job in std::mem::take(&mut self.untold) {
            self.tell_watchers(job);
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Submit { submission, reply } => self.on_submit(*submission, reply),
            Request::Cancel { job, reply } => {
                self.step(Event::CancelRequested { job });
                let status = self.status(job);
                self.answer(reply, status);
            }
            Request::Job { job, reply } => {
                let status = self.status(job);
                self.answer(reply, status);
            }
            Request::Watch { job, reply } => {
                let watch = self.on_watch(job);
                self.answer(reply, watch);
            }
            Request::Jobs { reply } => {
                let jobs = self.statuses();
                self.answer(reply, jobs);
            }
            Request::Workers { reply } => {
                let cluster = self.cluster();
                self.answer(reply, cluster);
            }
            Request::Register { hello, orders, reply } => self.on_register(hello, orders, reply),
            Request::Resume { epoch, session, orders, reply } => {
                let welcome = self.on_resume(epoch, session, orders);
                self.answer(reply, welcome);
            }
            Request::Report { epoch, session, report } => {
                self.step(Event::WorkerReported { epoch, session, report });
            }
            Request::StreamEnded { session, stream } => {
                if self.streams.end(session, stream) {
                    info!(%session, "stream broken");
                    self.step(Event::StreamBroken { session });
                }
            }
            Request::Shutdown { open_jobs } => self.on_shutdown(open_jobs),
        }
    }

    /// Takes in what was done beside the driver.
    ///
    /// # Errors
    ///
    /// If records could not be made durable: then nothing more may be done.
    fn on_done(&mut self, done: Done) -> Result<(), JournalError> {
        match done {
            Done::Journaled { journal, result } => {
                result?;
                self.journal = Some(journal);
                self.outbox.batch_is_durable();
            }
            Done::Looked { submission, spec, missing } => self.on_looked(submission, spec, missing),
            Done::Planned { submission, result } => self.on_planned(submission, *result),
            Done::Published { job, result: Ok(()) } => self.step(Event::JobPublished { job }),
            Done::Published { job, result: Err(mut not_published) } => {
                let (failure, claim) = (not_published.failure.clone(), not_published.claim.take());
                warn!(%job, %failure, "output not published");
                if let Some(work) = self.jobs.work_mut(job) {
                    work.claim = claim;
                }
                self.step(Event::PublishFailed { job, failure });
            }
            Done::Undone { job, result } => self.on_undone(job, result),
        }
        Ok(())
    }

    /// Takes one event to the scheduler.
    fn step(&mut self, event: Event) {
        let commands = self.scheduler.step(self.clock.now(), event);
        self.enqueue(commands);
    }

    /// Records the facts among the commands, and puts everything else behind them.
    fn enqueue(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Record(fact) => {
                    if let Record::Uploading { id, uploads } = &*fact
                        && let Some(claim) = self.jobs.work_mut(id.job).and_then(|work| work.claim.as_mut())
                    {
                        claim.note_uploads(uploads.iter().cloned());
                    }
                    self.outbox.record(Change::Append(JournalRecord::Fact(fact)));
                }
                // What watchers hear is how things are now, not when they hear it.
                Command::NotifyWatchers { job } => self.on_notify(job),
                Command::UndoJob { job } => {
                    self.jobs.begin_undoing(job);
                    self.outbox.push(Effect::Command(command));
                }
                command => self.outbox.push(Effect::Command(command)),
            }
        }
    }

    /// Answers a request, behind everything that was decided before.
    fn answer<T: Send + 'static>(&mut self, reply: oneshot::Sender<T>, value: T) {
        self.outbox.push(Effect::Answer(Box::new(move || {
            // Whoever asked may have gone.
            let _gone = reply.send(value);
        })));
    }
}

#[cfg(test)]
mod tests {
    use gristmill_common::failure::FailureCode;
    use gristmill_common::naming::Uri;
    use gristmill_common::spec::JobShape;

    use super::*;

    #[test]
    fn what_was_decided_stays_if_publishing_fails_and_nobody_hears_of_it() {
        let dir = tempfile::tempdir().expect("scratch");
        let uri = |name: &str| Uri::from_path(&dir.path().join(name));
        let spec = JobSpec::new("copy", JobShape::MapOnly, vec![uri("in")], uri("out"));
        let claim = OutputClaim::acquire(&spec, JobId(1), &Stores::without_environment()).expect("free");
        let staged = claim.staged_parts_dir().expect("a local output");
        let failure = Failure::new(FailureCode::CommitFailed, "disk full");
        drop(NotPublished { failure, claim: Some(claim) });
        assert!(staged.is_dir(), "the next master publishes it");
    }
}
