//! The desk: owns everything the agent knows of jobs and attempts, and decides. One task; whatever
//! waits (links, executors, fetches) is another task that sends it events.
//!
//! Work outlives sessions: what runs goes on without a master, and the next session begins with
//! [`offers`] of all there is.

mod attempts;
mod executors;
mod offers;
mod supplies;
mod uploads;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::failure::{Disposition, Failure, FailureCode};
use gristmill_common::ids::{ContentId, JobAttempt, JobId};
use gristmill_common::removal::remove_tree;
use gristmill_common::spec::JobSpec;
use gristmill_common::storage::Stores;
use gristmill_common::task::{AttemptReport, Offer};
use gristmill_common::tls::Dialer;
use tokio::sync::{Semaphore, mpsc};

use crate::agent::admission::Admission;
use crate::agent::gather::{Gathered, MAX_DISK_WORK, MAX_FETCHES};
use crate::agent::job::{Asked, Attempt, Job, JobEnd};
use crate::agent::process::{ExecutorEvent, ExecutorKey, Launcher};
use crate::agent::report::{Order, Report, Session};
use crate::agent::supply::Supplies;
use crate::scratch::{self, Held};
use crate::upload::Uploader;

/// What happens to the desk.
#[derive(Debug)]
pub(in crate::agent) enum DeskEvent {
    /// A session began.
    SessionOpened(Session),
    /// The session, if there was one, is over, and the next one is to begin.
    OffersWanted,
    /// The master wants something under the session in force.
    Order(Order),
    /// An executor said something, or ended.
    Executor { job: JobId, key: ExecutorKey, event: ExecutorEvent },
    /// The segments of an attempt are local, or cannot be.
    Gathered { id: JobAttempt, result: Result<Gathered, Failure> },
    /// The part of an attempt is on disk, or cannot be forced there.
    Forced { id: JobAttempt, result: Result<AttemptReport, Failure> },
    /// An attempt has begun uploads, and waits for the master to note them.
    UploadsOpened { id: JobAttempt, asked: Asked },
    /// What an attempt staged is in its store, or cannot be sent there.
    Uploaded { id: JobAttempt, result: Result<AttemptReport, Failure> },
    /// It is time to look whether the executor's records get on.
    Look { job: JobId, key: ExecutorKey },
    /// A cancelled attempt had its time to stop.
    GraceOver { id: JobAttempt, key: ExecutorKey },
    /// What a job runs with is here, or cannot be.
    Supplied { job: JobId, result: Result<Supplies, Failure> },
    /// A released job's scratch is gone.
    Removed(JobId),
    /// The worker stops: executors and fetches end, and then the desk.
    Stop,
}

/// What the desk tells the link to the master.
#[derive(Debug, PartialEq)]
pub(in crate::agent) enum ToLink {
    /// To be sent under this session, if it is still in force.
    Report { session: Session, report: Report },
    /// What the next session begins with. Until it has begun, nothing is reported.
    Offers(Vec<Offer>),
}

/// What the desk needs to know of its worker.
#[derive(Debug)]
pub(in crate::agent) struct DeskConfig {
    pub(in crate::agent) slots: u32,
    pub(in crate::agent) compress: bool,
    /// How full the disk of scratch may be, in percent, for attempts to begin.
    pub(in crate::agent) scratch_limit: u64,
    /// The name of this machine, if segments may be read from its disk.
    pub(in crate::agent) machine: Option<String>,
    /// How other workers are reached.
    pub(in crate::agent) dialer: Dialer,
    /// The worker's own binary.
    pub(in crate::agent) binary: ContentId,
    /// How long a cancelled attempt may take to notice.
    pub(in crate::agent) cancel_grace: Duration,
    /// The object stores that this worker can reach.
    pub(in crate::agent) stores: Stores,
}

/// What the desk is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is no session. What runs goes on; whether the link waits for offers.
    Alone { asked: bool },
    /// Orders are carried out.
    Serving(Session),
    /// The worker stops: executors, fetches and removals are ending.
    Stopping,
}

/// The desk.
#[derive(Debug)]
pub(in crate::agent) struct Desk {
    config: DeskConfig,
    launcher: Launcher,
    fetches: Arc<Semaphore>,
    disk: Arc<Semaphore>,
    uploader: Uploader,
    admission: Admission,
    phase: Phase,
    jobs: BTreeMap<JobId, Job>,
    /// Map outputs that an earlier process of this worker finished: nobody can report them again.
    held: Held,
    attempts: BTreeMap<JobAttempt, Attempt>,
    executors: u64,
    /// Jobs whose scratch is being removed.
    removing: usize,
    outgoing: Vec<ToLink>,
}

impl Desk {
    pub(in crate::agent) fn new(config: DeskConfig, launcher: Launcher, admission: Admission, held: Held) -> Self {
        Self {
            config,
            launcher,
            fetches: Arc::new(Semaphore::new(MAX_FETCHES)),
            disk: Arc::new(Semaphore::new(MAX_DISK_WORK)),
            uploader: Uploader::new(Some(admission.budget())),
            admission,
            phase: Phase::Alone { asked: false },
            jobs: BTreeMap::new(),
            held,
            attempts: BTreeMap::new(),
            executors: 0,
            removing: 0,
            outgoing: Vec::new(),
        }
    }

    /// Works until the worker stops and nothing uses its scratch any more.
    pub(in crate::agent) async fn run(mut self, mut events: mpsc::Receiver<DeskEvent>, link: mpsc::Sender<ToLink>) {
        while let Some(event) = events.recv().await {
            self.handle(event);
            for message in self.outgoing.drain(..) {
                // A link that is gone ends the worker; until then there is nobody to tell.
                let _ = link.send(message).await;
            }
            if self.is_stopped() {
                return;
            }
        }
    }

    fn handle(&mut self, event: DeskEvent) {
        match event {
            DeskEvent::SessionOpened(_) | DeskEvent::OffersWanted | DeskEvent::Order(_)
                if self.phase == Phase::Stopping => {}
            DeskEvent::SessionOpened(session) => self.phase = Phase::Serving(session),
            DeskEvent::OffersWanted => self.end_session(),
            DeskEvent::Stop => self.stop(),
            DeskEvent::Order(order) => self.carry_out(order),
            DeskEvent::Executor { job, key, event } => self.on_executor(job, key, event),
            DeskEvent::Gathered { id, result } => self.on_gathered(id, result),
            DeskEvent::Forced { id, result } => self.on_forced(id, result),
            DeskEvent::UploadsOpened { id, asked } => self.on_uploads_opened(id, asked),
            DeskEvent::Uploaded { id, result } => self.on_uploaded(id, result),
            DeskEvent::Supplied { job, result } => self.on_supplied(job, result),
            DeskEvent::Look { job, key } => self.on_look(job, key),
            DeskEvent::GraceOver { id, key } => self.on_grace_over(id, key),
            DeskEvent::Removed(job) => {
                self.removing -= 1;
                self.jobs.remove(&job);
            }
        }
        self.admit();
        self.settle();
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::OpenJob { job, spec, binary_sha256, staging } => {
                // What goes to a store is staged here.
                let staging = if staging.is_empty() { self.launcher.scratch.staged_dir(job) } else { staging.into() };
                self.open_job(job, *spec, binary_sha256, staging);
            }
            Order::Start { id, input } => self.start(id, input),
            Order::Cancel(id) | Order::Discard(id) => self.throw_away(id),
            Order::UploadsNoted { id, batch } => self.on_uploads_noted(id, batch),
            Order::Release(job) => self.release(job),
        }
    }

    fn open_job(&mut self, job: JobId, spec: JobSpec, binary_sha256: String, staging: PathBuf) {
        if self.jobs.contains_key(&job) {
            return;
        }
        let refusal = self.refusal(job, &spec);
        match &refusal {
            Some(failure) => tracing::warn!(%job, reason = failure.message, "job refused"),
            None => tracing::info!(%job, name = spec.job, "job opened"),
        }
        let refused = refusal.is_some();
        self.jobs.insert(job, Job::new(spec, binary_sha256, staging, refusal));
        if !refused {
            self.supply(job);
        }
    }

    /// Why no attempt of the job can run here.
    fn refusal(&self, job: JobId, spec: &JobSpec) -> Option<Failure> {
        if !self.admission.can_ever_fit(spec.attempt_bytes) {
            let message = format!(
                "one attempt needs {} and this worker has {} for all (raise the worker's --memory or lower the job's)",
                spec.attempt_bytes,
                self.admission.budget()
            );
            return Some(Failure { disposition: Disposition::Abort, ..Failure::new(FailureCode::NoWorkers, message) });
        }
        self.open_folder(job)
    }

    /// Makes the job's folder in scratch; why not, if that fails.
    fn open_folder(&self, job: JobId) -> Option<Failure> {
        if let Err(error) = scratch::prune_logs(&self.launcher.logs) {
            // They go when the next job is opened.
            tracing::warn!(logs = %self.launcher.logs.display(), %error, "old logs cannot be removed");
        }
        self.launcher.scratch.open_job(job).err().map(|error| {
            let dir = self.launcher.scratch.job_dir(job);
            Failure::in_scratch(format!("cannot use scratch folder {}: {error}", dir.display()), &error)
        })
    }

    fn release(&mut self, id: JobId) {
        let was_held = self.held.remove(&id).is_some();
        match self.jobs.get_mut(&id) {
            Some(job) if job.end != JobEnd::Open => return,
            Some(job) => {
                job.end = JobEnd::Released;
                job.reports.clear();
                job.stop_supplying();
                job.kill_executor("its job is over");
                self.drop_attempts(|attempt, _| attempt.job == id);
            }
            None if was_held => self.remove_scratch(id),
            None => return,
        }
        tracing::info!(job = %id, "job released");
    }

    /// Ends everything; [`is_stopped`](Self::is_stopped) tells when it is over.
    fn stop(&mut self) {
        self.phase = Phase::Stopping;
        for job in self.jobs.values_mut() {
            job.kill_executor("the worker stops");
            job.stop_supplying();
        }
        self.drop_attempts(|_, _| true);
    }

    fn is_stopped(&self) -> bool {
        self.phase == Phase::Stopping && self.removing == 0 && self.jobs.values().all(Job::is_quiet)
    }

    /// Removes scratch that nothing uses any more.
    fn settle(&mut self) {
        if self.phase == (Phase::Alone { asked: true }) {
            self.answer_link();
        }
        let quiet = |(id, job): (&JobId, &mut Job)| {
            let over = job.end == JobEnd::Released && job.is_quiet();
            if over {
                job.end = JobEnd::Removing;
            }
            over.then_some(*id)
        };
        let over: Vec<JobId> = self.jobs.iter_mut().filter_map(quiet).collect();
        for id in over {
            self.remove_scratch(id);
        }
    }

    fn remove_scratch(&mut self, id: JobId) {
        self.removing += 1;
        let (scratch, events) = (self.launcher.scratch.clone(), self.launcher.events.clone());
        self.launcher.tasks.spawn(async move {
            // A panic while removing is treated as files that stay: the next start removes them.
            let removed = tokio::task::spawn_blocking(move || scratch.remove_job(id)).await;
            if let Ok(Err(error)) = removed {
                tracing::warn!(job = %id, %error, "scratch cannot be removed");
            }
            // Without a desk the worker is ending.
            let _ = events.send(DeskEvent::Removed(id)).await;
        });
    }

    fn report(&mut self, report: Report) {
        if let Phase::Serving(session) = self.phase {
            self.outgoing.push(ToLink::Report { session, report });
        }
    }

    /// Removes what an attempt left. A small map output lies in a pack and stays until the job's release:
    /// nobody asks for it by an id that is never used again.
    fn delete_outputs(&self, id: JobAttempt) {
        delete(&self.launcher.scratch.map_output(id.job, id.attempt));
        self.delete_staged(id);
    }

    /// Removes what an attempt staged.
    fn delete_staged(&self, id: JobAttempt) {
        let staged = self.jobs.get(&id.job).into_iter();
        let staged = staged.flat_map(|job| [job.staged_part(id.attempt), job.staged_bad_records(id.attempt)]);
        staged.for_each(|path| delete(&path));
        if let Some(folder) = self.jobs.get(&id.job).map(|job| job.staged_named_dir(id.attempt))
            && folder.exists()
        {
            // It may hold thousands of files, for which nobody has to wait.
            self.launcher.tasks.spawn_blocking(move || {
                if let Err(error) = remove_tree(&folder) {
                    tracing::warn!(path = %folder.display(), %error, "named outputs cannot be removed");
                }
            });
        }
    }
}

fn delete(path: &Path) {
    if let Err(error) = scratch::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "output cannot be removed");
    }
}
