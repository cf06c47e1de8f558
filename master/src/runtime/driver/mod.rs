//! The driver: the one task that owns the scheduler. It turns what arrives into events, carries the
//! commands out in order, and decides nothing. It never waits for a worker, a watcher or a disk:
//! slow work runs beside it and comes back as [`Done`].

//!
//! | file | about |
//! |---|---|
//! | `submissions.rs` | jobs handed in |
//! | `sessions.rs` | workers that register and resume |
//! | `outputs.rs` | publishing and undoing |
//! | `watchers.rs` | what is shown, and to whom when |

mod outputs;
mod sessions;
mod submissions;
mod watchers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::failure::Failure;
use gristmill_common::ids::{JobAttempt, JobId, SessionId};
use gristmill_common::time::{Clock, Timestamp};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, info, warn};

use super::handle::{MasterHandle, Request};
use super::jobs::JobTable;
use super::order::Order;
use super::output::OutputClaim;
use super::prepare::{PreparedJob, SubmitError};
use super::sessions::Streams;
use crate::scheduler::{AttemptWork, Command, Event, Scheduler, SchedulerConfig};

/// How often watchers hear of progress. More often costs a message to every watcher each time.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Requests taken between two looks at timers and finished work. More cost less each, and delay
/// those looks.
const MAX_TAKEN: usize = 64;

/// Jobs that are planned at once. More only compete for the same disk.
const MAX_PLANNING: usize = 8;

/// How long a master that shuts down waits until its jobs are undone or published.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);

/// Starts a driver on the current tokio runtime. It ends after [`MasterHandle::shutdown`], or when
/// the last handle is dropped.
pub fn start_driver(clock: Clock, config: SchedulerConfig) -> (MasterHandle, JoinHandle<()>) {
    let (handle, inbox) = MasterHandle::new(config.epoch);
    let driver = Driver {
        clock,
        scheduler: Scheduler::new(config),
        streams: Streams::default(),
        jobs: JobTable::default(),
        tasks: JoinSet::new(),
        planning: Arc::new(Semaphore::new(MAX_PLANNING)),
        untold: BTreeSet::new(),
        closing: None,
    };
    (handle, tokio::spawn(driver.run(inbox)))
}

struct Driver {
    clock: Clock,
    scheduler: Scheduler,
    streams: Streams,
    jobs: JobTable,
    tasks: JoinSet<Done>,
    planning: Arc<Semaphore>,
    /// Jobs whose watchers are to hear of progress.
    untold: BTreeSet<JobId>,
    /// When a shutdown under way waits no longer.
    closing: Option<Timestamp>,
}

/// Work done beside the driver.
enum Done {
    Planned { submission: PlannedSubmission, result: Box<Result<PreparedJob, SubmitError>> },
    Published { job: JobId, result: Result<(), Box<NotPublished>> },
    Undone { job: JobId, result: Result<(), String> },
}

/// A job commit that failed.
struct NotPublished {
    failure: Failure,
    /// What is to be undone; absent if that has happened.
    claim: Option<OutputClaim>,
}

/// What is kept of a submission while it is planned.
struct PlannedSubmission {
    key: String,
    binary_sha256: String,
}

impl Driver {
    async fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        info!(epoch = %self.scheduler.epoch(), "driver started");
        let mut requests = Vec::with_capacity(MAX_TAKEN);
        loop {
            let wait = self.next_wake().map(|at| at.since(self.clock.now()));
            tokio::select! {
                taken = inbox.recv_many(&mut requests, MAX_TAKEN) => {
                    if taken == 0 {
                        break;
                    }
                    requests.drain(..).for_each(|request| self.on_request(request));
                }
                Some(done) = self.tasks.join_next() => self.on_done(done.expect("beside-work catches panics")),
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {
                    // What has arrived meanwhile may be what the deadline waits for.
                    for _ in 0..inbox.len() {
                        if let Ok(request) = inbox.try_recv() {
                            self.on_request(request);
                        }
                    }
                    self.on_wake();
                }
            }
            if self.is_closed() {
                break;
            }
        }
        info!(epoch = %self.scheduler.epoch(), "driver ended");
    }

    fn next_wake(&self) -> Option<Timestamp> {
        let untold = self.untold.iter().filter_map(|job| self.jobs.get(*job));
        let progress = untold.map(|record| record.told().1 + PROGRESS_INTERVAL).min();
        [self.scheduler.next_deadline(), self.closing, progress].into_iter().flatten().min()
    }

    fn on_wake(&mut self) {
        let now = self.clock.now();
        if self.scheduler.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.step(Event::DeadlineReached);
        }
        for job in std::mem::take(&mut self.untold) {
            self.tell_watchers(job);
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Submit { submission, reply } => self.on_submit(submission, reply),
            Request::Cancel { job, reply } => {
                self.step(Event::CancelRequested { job });
                answer(reply, self.status(job));
            }
            Request::Job { job, reply } => answer(reply, self.status(job)),
            Request::Watch { job, reply } => {
                let watch = self.on_watch(job);
                answer(reply, watch);
            }
            Request::Jobs { reply } => {
                let views = self.scheduler.jobs();
                answer(reply, views.into_iter().filter_map(|view| self.dress(view)).collect());
            }
            Request::Workers { reply } => answer(reply, self.cluster()),
            Request::Register { hello, orders, reply } => self.on_register(hello, orders, reply),
            Request::Resume { epoch, session, orders, reply } => {
                let welcome = self.on_resume(epoch, session, orders);
                answer(reply, welcome);
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
            Request::Shutdown => self.on_shutdown(),
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Planned { submission, result } => self.on_planned(submission, *result),
            Done::Published { job, result: Ok(()) } => self.step(Event::JobPublished { job }),
            Done::Published { job, result: Err(not_published) } => {
                let NotPublished { failure, claim } = *not_published;
                warn!(%job, %failure, "output not published");
                if let Some(record) = self.jobs.get_mut(job) {
                    record.claim = claim;
                }
                self.step(Event::PublishFailed { job, failure });
            }
            Done::Undone { job, result } => {
                if let Some(record) = self.jobs.get_mut(job) {
                    record.undoing = false;
                    if let Err(reason) = result {
                        warn!(%job, reason, "staged output not removed");
                        record.warnings.push(format!("not everything that the job staged could be removed: {reason}"));
                    }
                }
                self.tell_watchers(job);
            }
        }
    }

    /// Takes one event to the scheduler and carries out what it commands.
    fn step(&mut self, event: Event) {
        let commands = self.scheduler.step(self.clock.now(), event);
        let mut stuck = Vec::new();
        for command in commands {
            if let Some(session) = self.carry_out(command) {
                stuck.push(session);
            }
        }
        // Each round closes the streams it is about, so this ends.
        for session in stuck {
            warn!(%session, "worker does not take its orders");
            self.step(Event::StreamBroken { session });
        }
    }

    /// Carries out one command. Returns the session whose stream turned out to be stuck.
    fn carry_out(&mut self, command: Command) -> Option<SessionId> {
        match command {
            // Nothing is recorded yet.
            Command::Record(_) => {}
            Command::StartAttempt { session, id, work } => {
                debug!(%session, %id, "attempt assigned");
                return self.start_attempt(session, id, work);
            }
            Command::CancelAttempt { session, id } => return self.send(session, Order::Cancel { id }),
            Command::DiscardOutput { session, id } => return self.send(session, Order::Discard { id }),
            Command::ReleaseJob { session, job } => return self.send(session, Order::Release { job }),
            Command::CloseSession { session, reason } => {
                info!(%session, ?reason, "session closed");
                return self.send(session, Order::Close { reason });
            }
            Command::PublishJob { job, result } => self.publish(job, result),
            Command::UndoJob { job } => self.undo(job),
            Command::NotifyWatchers { job } => self.on_notify(job),
        }
        None
    }

    fn send(&mut self, session: SessionId, order: Order) -> Option<SessionId> {
        self.streams.send(session, order).is_err().then_some(session)
    }

    fn start_attempt(&mut self, session: SessionId, id: JobAttempt, work: AttemptWork) -> Option<SessionId> {
        let record = self.jobs.get(id.job).expect("the scheduler assigns attempts of open jobs only");
        let input = record.input(id.attempt.task, work);
        if self.streams.must_open(session, id.job) {
            let open = Order::OpenJob {
                job: id.job,
                spec: Arc::clone(&record.spec),
                binary_sha256: record.binary_sha256.clone(),
                staging: record.staging.clone(),
            };
            if let Some(stuck) = self.send(session, open) {
                return Some(stuck);
            }
        }
        self.send(session, Order::Start { id, input })
    }

    fn on_shutdown(&mut self) {
        let until = self.clock.now() + SHUTDOWN_PATIENCE;
        self.closing.get_or_insert(until);
        let open: Vec<JobId> = self.jobs.open.iter().copied().collect();
        info!(open_jobs = open.len(), "shutting down");
        for job in open {
            self.step(Event::CancelRequested { job });
        }
    }

    /// Whether a shutdown is complete, or its patience over.
    fn is_closed(&self) -> bool {
        self.closing.is_some_and(|until| {
            let idle = self.jobs.open.is_empty() && self.tasks.is_empty();
            idle || self.clock.now() >= until
        })
    }
}

/// Answers a request; whoever asked may have gone.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    let _gone = reply.send(value);
}
