//! The desk: owns everything the agent knows of jobs and attempts, and decides. One task; whatever
//! waits (links, executors, fetches) is another task that sends it events.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::failure::{Disposition, Failure, FailureCode};
use gristmill_common::ids::{JobAttempt, JobId};
use gristmill_common::spec::JobSpec;
use gristmill_common::task::{SegmentSource, TaskInput};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::admission::{Admission, Request};
use super::crash::{Death, judge};
use super::gather::{FetchedFiles, Gather, Gathered};
use super::job::{Attempt, Executor, InSlot, Job, JobEnd};
use super::process::{ExecutorEvent, ExecutorKey, Launcher};
use super::report::{Order, Report, Session};
use crate::executor::message::{Open, Run, ToExecutor, Work};
use crate::scratch;

/// How long a cancelled attempt may take to notice. Raised, a job whose user code hangs holds its
/// slot for longer; lowered, an attempt in the middle of a long record costs its neighbours their
/// executor.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// What happens to the desk.
#[derive(Debug)]
pub(super) enum DeskEvent {
    /// A session began.
    SessionOpened(Session),
    /// The session is over: everything of it has to go.
    SessionClosed,
    /// The master wants something under the session in force.
    Order(Order),
    /// An executor said something, or ended.
    Executor { job: JobId, key: ExecutorKey, event: ExecutorEvent },
    /// The segments of an attempt are local, or cannot be.
    Gathered { id: JobAttempt, result: Result<Gathered, Failure> },
    /// A cancelled attempt had its time to stop.
    GraceOver { id: JobAttempt, key: ExecutorKey },
    /// A released job's scratch is gone.
    Removed(JobId),
    /// All scratch is gone.
    Cleared,
    /// The worker stops.
    Stop,
}

/// What the desk tells the link to the master.
#[derive(Debug, PartialEq)]
pub(super) enum ToLink {
    /// To be sent under this session, if it is still in force.
    Report { session: Session, report: Report },
    /// Nothing of the closed session is left.
    Cleared,
}

/// What the desk needs to know of its worker.
#[derive(Debug)]
pub(super) struct DeskConfig {
    pub(super) slots: u32,
    pub(super) compress: bool,
    /// The name of this machine, if segments may be read from its disk.
    pub(super) machine: Option<String>,
    pub(super) binary_sha256: String,
}

/// What the desk is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No session yet.
    Idle,
    /// Orders are carried out.
    Serving(Session),
    /// Executors and fetches are ending; then all scratch goes.
    Clearing,
    /// All scratch is being removed.
    Removing,
}

/// The desk.
#[derive(Debug)]
pub(super) struct Desk {
    config: DeskConfig,
    launcher: Launcher,
    fetches: Arc<Semaphore>,
    admission: Admission,
    phase: Phase,
    stopping: bool,
    jobs: BTreeMap<JobId, Job>,
    attempts: BTreeMap<JobAttempt, Attempt>,
    executors: u64,
    outgoing: Vec<ToLink>,
}

impl Desk {
    pub(super) fn new(config: DeskConfig, launcher: Launcher, admission: Admission) -> Self {
        Self {
            config,
            launcher,
            fetches: Arc::new(Semaphore::new(super::gather::MAX_FETCHES)),
            admission,
            phase: Phase::Idle,
            stopping: false,
            jobs: BTreeMap::new(),
            attempts: BTreeMap::new(),
            executors: 0,
            outgoing: Vec::new(),
        }
    }

    /// Works until the worker stops and nothing of it is left.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<DeskEvent>, link: mpsc::Sender<ToLink>) {
        while let Some(event) = events.recv().await {
            let last = self.stopping && matches!(event, DeskEvent::Cleared);
            self.handle(event);
            for message in self.outgoing.drain(..) {
                // A link that is gone ends the worker; until then there is nobody to tell.
                let _ = link.send(message).await;
            }
            if last {
                return;
            }
        }
    }

    fn handle(&mut self, event: DeskEvent) {
        match event {
            DeskEvent::SessionOpened(_) if self.stopping => {}
            DeskEvent::SessionOpened(session) => self.phase = Phase::Serving(session),
            DeskEvent::SessionClosed => self.clear("its session is over"),
            DeskEvent::Stop => {
                self.stopping = true;
                self.clear("the worker stops");
            }
            DeskEvent::Order(order) => self.carry_out(order),
            DeskEvent::Executor { job, key, event } => self.on_executor(job, key, event),
            DeskEvent::Gathered { id, result } => self.on_gathered(id, result),
            DeskEvent::GraceOver { id, key } => self.on_grace_over(id, key),
            DeskEvent::Removed(job) => {
                self.jobs.remove(&job);
            }
            DeskEvent::Cleared => {
                self.jobs.clear();
                self.phase = Phase::Idle;
                self.outgoing.push(ToLink::Cleared);
            }
        }
        self.admit();
        self.settle();
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::OpenJob { job, spec, binary_sha256, staging } => {
                self.open_job(job, *spec, &binary_sha256, staging.into());
            }
            Order::Start { id, input } => self.start(id, input),
            Order::Cancel(id) | Order::Discard(id) => self.throw_away(id),
            Order::Release(job) => self.release(job),
        }
    }

    fn open_job(&mut self, job: JobId, spec: JobSpec, binary_sha256: &str, staging: PathBuf) {
        if self.jobs.contains_key(&job) {
            return;
        }
        let refusal = self.refusal(job, &spec, binary_sha256);
        match &refusal {
            Some(failure) => tracing::warn!(%job, reason = failure.message, "job refused"),
            None => tracing::info!(%job, name = spec.job, "job opened"),
        }
        self.jobs.insert(job, Job::new(spec, staging, refusal));
    }

    /// Why no attempt of the job can run here.
    fn refusal(&self, job: JobId, spec: &JobSpec, binary_sha256: &str) -> Option<Failure> {
        if binary_sha256 != self.config.binary_sha256 {
            let message = format!(
                "the job was submitted with another binary than this worker's (SHA-256 {:.12}, the worker has {:.12})",
                binary_sha256, self.config.binary_sha256
            );
            return Some(Failure::new(FailureCode::WrongBinary, message));
        }
        if !self.admission.can_ever_fit(spec.attempt_bytes) {
            let message = format!(
                "one attempt needs {} and this worker has {} for all (raise the worker's --memory or lower the job's)",
                spec.attempt_bytes,
                self.admission.budget()
            );
            return Some(Failure { disposition: Disposition::Abort, ..Failure::new(FailureCode::NoWorkers, message) });
        }
        let opened = self.launcher.scratch.open_job(job).and_then(|_| scratch::prune_logs(&self.launcher.logs));
        opened.err().map(|error| {
            let dir = self.launcher.scratch.root().display();
            Failure::new(FailureCode::WriteFailed, format!("cannot use scratch folder {dir}: {error}"))
        })
    }

    /// Begins an attempt, or answers again for one that is known: the master asks what became of it.
    fn start(&mut self, id: JobAttempt, input: TaskInput) {
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
            if matches!(attempt, Attempt::Running { .. }) {
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
            TaskInput::Map { split, partitions } => {
                self.enqueue(id, Work::Map { split, partitions }, FetchedFiles::default());
            }
            TaskInput::Reduce { sources } => self.gather(id, sources),
        }
    }

    fn gather(&mut self, id: JobAttempt, sources: Vec<SegmentSource>) {
        let Phase::Serving(session) = self.phase else { return };
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        job.gathering += 1;
        let cancel = CancellationToken::new();
        self.attempts.insert(id, Attempt::Gathering { cancel: cancel.clone() });
        let gather = Gather {
            epoch: session.epoch,
            id,
            sources,
            scratch: self.launcher.scratch.clone(),
            machine: self.config.machine.clone(),
            limit: Arc::clone(&self.fetches),
        };
        let events = self.launcher.events.clone();
        self.launcher.tasks.spawn(async move {
            let cancelled = Err(Failure::new(FailureCode::Cancelled, "the attempt was cancelled"));
            let result = cancel.run_until_cancelled(gather.run()).await.unwrap_or(cancelled);
            // Without a desk the worker is ending.
            let _ = events.send(DeskEvent::Gathered { id, result }).await;
        });
    }

    fn on_gathered(&mut self, id: JobAttempt, result: Result<Gathered, Failure>) {
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
    fn admit(&mut self) {
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

    fn ensure_executor(&mut self, id: JobId) -> std::io::Result<()> {
        let job = self.jobs.get_mut(&id).expect("attempts belong to open jobs");
        if job.executor.is_some() {
            return Ok(());
        }
        self.executors += 1;
        let key = ExecutorKey(self.executors);
        let open = Open {
            job: id,
            spec: job.spec.clone(),
            slots: self.config.slots,
            scratch: self.launcher.scratch.job_dir(id),
            staging: job.staging.clone(),
            positions: PathBuf::new(),
            compress: self.config.compress,
        };
        let handle = self.launcher.launch(key, open)?;
        let slots = vec![None; self.config.slots as usize];
        job.executor = Some(Executor { key, handle, opened: false, killed: None, slots });
        Ok(())
    }

    fn on_executor(&mut self, id: JobId, key: ExecutorKey, event: ExecutorEvent) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(executor) = job.executor.as_mut().filter(|executor| executor.key == key) else { return };
        match event {
            ExecutorEvent::Opened(Ok(())) => executor.opened = true,
            ExecutorEvent::Opened(Err(message)) => {
                let message = format!("cannot build job {}: {message}", job.spec.job);
                let failure = Failure { disposition: Disposition::Abort, ..Failure::new(FailureCode::UserError, message) };
                job.refusal = Some(failure.clone());
                let victims = executor.victims();
                for victim in victims {
                    self.leave_executor(victim.id);
                    self.end_attempt(victim.id, Err(failure.clone()));
                }
            }
            ExecutorEvent::Ended { id, result } => {
                self.leave_executor(id);
                self.end_attempt(id, result);
            }
            ExecutorEvent::Gone { cause } => self.on_executor_gone(id, cause),
        }
    }

    fn on_executor_gone(&mut self, id: JobId, cause: String) {
        let job = self.jobs.get_mut(&id).expect("the caller found it");
        let executor = job.executor.take().expect("the caller found it");
        let death = Death { cause, opened: executor.opened, killed: executor.killed.clone() };
        for verdict in judge(&death, executor.victims()) {
            if verdict.suspect {
                self.jobs.get_mut(&id).expect("the caller found it").suspects.insert(verdict.id.attempt.task);
            }
            tracing::warn!(job = %id, attempt = %verdict.id.attempt, failure = %verdict.failure, "executor died");
            // A process that was killed cleans nothing up.
            self.delete_outputs(verdict.id);
            self.end_attempt(verdict.id, Err(verdict.failure));
        }
    }

    fn leave_executor(&mut self, id: JobAttempt) {
        if let Some(executor) = self.jobs.get_mut(&id.job).and_then(|job| job.executor.as_mut()) {
            executor.leave_slot(id);
        }
    }

    /// Ends an attempt, wherever it is: reports it if it is still wanted, else throws its output
    /// away.
    fn end_attempt(&mut self, id: JobAttempt, result: Result<gristmill_common::task::AttemptReport, Failure>) {
        self.admission.leave(id);
        match self.attempts.remove(&id) {
            Some(Attempt::Gathering { .. } | Attempt::Ready { .. } | Attempt::Running { .. }) => {}
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
    fn throw_away(&mut self, id: JobAttempt) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        job.reports.remove(&id.attempt);
        match self.attempts.remove(&id) {
            None => self.delete_outputs(id),
            Some(Attempt::Gathering { cancel }) => cancel.cancel(),
            Some(Attempt::Ready { .. }) => self.admission.leave(id),
            Some(Attempt::Running { files }) => {
                self.attempts.insert(id, Attempt::Cancelled { _files: files });
                let Some(executor) = &job.executor else { return };
                executor.handle.send(ToExecutor::Cancel(id));
                let (events, key) = (self.launcher.events.clone(), executor.key);
                self.launcher.tasks.spawn(async move {
                    tokio::time::sleep(CANCEL_GRACE).await;
                    // Without a desk the worker is ending.
                    let _ = events.send(DeskEvent::GraceOver { id, key }).await;
                });
            }
            Some(cancelled @ Attempt::Cancelled { .. }) => {
                self.attempts.insert(id, cancelled);
            }
        }
    }

    fn on_grace_over(&mut self, id: JobAttempt, key: ExecutorKey) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let runs = |executor: &Executor| executor.slots.iter().flatten().any(|occupant| occupant.id == id);
        if job.executor.as_ref().is_some_and(|executor| executor.key == key && runs(executor)) {
            tracing::warn!(job = %id.job, attempt = %id.attempt, "cancelled attempt does not stop");
            job.kill_executor(&format!("its executor was ended because {} did not stop", id.attempt));
        }
    }

    fn release(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.end = JobEnd::Released;
        job.kill_executor("its job is over");
        self.drop_attempts(|attempt| attempt.job == id);
        tracing::info!(job = %id, "job released");
    }

    /// Ends everything; [`settle`](Self::settle) sees when it is over.
    fn clear(&mut self, why: &str) {
        if self.phase != Phase::Removing {
            self.phase = Phase::Clearing;
        }
        for job in self.jobs.values_mut() {
            job.kill_executor(why);
        }
        self.drop_attempts(|_| true);
    }

    fn drop_attempts(&mut self, which: impl Fn(JobAttempt) -> bool) {
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

    /// Removes scratch that nothing uses any more.
    fn settle(&mut self) {
        if self.phase == Phase::Clearing && self.jobs.values().all(Job::is_quiet) {
            self.phase = Phase::Removing;
            let scratch = self.launcher.scratch.clone();
            return self.remove("all scratch", move || scratch.clear(), DeskEvent::Cleared);
        }
        if matches!(self.phase, Phase::Clearing | Phase::Removing) {
            return;
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
            let scratch = self.launcher.scratch.clone();
            self.remove("a job's scratch", move || scratch.remove_job(id), DeskEvent::Removed(id));
        }
    }

    fn remove(
        &self,
        what: &'static str,
        work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
        done: DeskEvent,
    ) {
        let events = self.launcher.events.clone();
        self.launcher.tasks.spawn(async move {
            // A panic while removing is treated as files that stay: the next start removes them.
            let removed = tokio::task::spawn_blocking(work).await;
            if let Ok(Err(error)) = removed {
                tracing::warn!(what, %error, "scratch cannot be removed");
            }
            // Without a desk the worker is ending.
            let _ = events.send(done).await;
        });
    }

    fn report(&mut self, report: Report) {
        if let Phase::Serving(session) = self.phase {
            self.outgoing.push(ToLink::Report { session, report });
        }
    }

    fn delete_outputs(&self, id: JobAttempt) {
        let Some(job) = self.jobs.get(&id.job) else { return };
        for path in [self.launcher.scratch.map_output(id.job, id.attempt), job.staged_part(id.attempt)] {
            if let Err(error) = scratch::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "output cannot be removed");
            }
        }
    }
}
