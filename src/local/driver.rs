//! Drives the scheduler through one embedded job: carries its commands out, runs attempts on the
//! pool, and tells it what became of them. Decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use gristmill_common::failure::Failure;
use gristmill_common::ids::{JobAttempt, SessionId, WorkerId};
use gristmill_common::task::AttemptReport;
use gristmill_common::time::Clock;
use gristmill_master::scheduler::{
    AttemptWork, Command, Event, JobRequest, JobResult, JobView, Scheduler, SchedulerConfig, WorkerProfile,
    WorkerReport,
};
use gristmill_sys::positions::RecordPosition;
use rayon::{Scope, ThreadPool};

use super::attempt::Embedded;

/// How often the driver looks up from waiting, for Ctrl-C and for progress. Raised, both lag;
/// lowered, an idle process wakes for nothing.
const TICK: Duration = Duration::from_millis(50);

/// The session of the one worker.
const SESSION: SessionId = SessionId(1);

/// Where attempts run.
pub(super) struct Slots<'a> {
    /// The threads.
    pub(super) pool: &'a ThreadPool,
    /// One place for each attempt that may run at once, at most as many as there are threads.
    pub(super) positions: &'a [RecordPosition],
}

/// What the driver asks of the world.
pub(super) struct Hooks<'a> {
    /// The time.
    pub(super) clock: Clock,
    /// Whether the user asked for the end.
    pub(super) is_interrupted: &'a dyn Fn() -> bool,
    /// Shown how far the job is, about every [`TICK`].
    pub(super) progress: &'a mut dyn FnMut(&JobView),
    /// Puts the parts in place.
    pub(super) publish: &'a mut dyn FnMut(&JobResult) -> Result<(), Failure>,
}

/// Runs the job to its end: when this returns, nothing of it runs any more. If it did not succeed,
/// what it staged is still there.
pub(super) fn drive(embedded: &Embedded<'_>, slots: &Slots<'_>, hooks: &mut Hooks<'_>) -> JobView {
    let (sender, reports) = sync_channel(slots.positions.len());
    slots.pool.in_place_scope(|scope| {
        let mut driver = Driver {
            embedded,
            hooks,
            scope,
            slots,
            scheduler: Scheduler::new(SchedulerConfig::embedded()),
            sender,
            free: (0..slots.positions.len()).rev().collect(),
            running: BTreeMap::new(),
            waiting: VecDeque::new(),
        };
        driver.start();
        driver.finish(&reports)
    })
}

struct Finished {
    id: JobAttempt,
    outcome: Result<AttemptReport, Failure>,
}

struct Running {
    slot: usize,
    cancelled: Arc<AtomicBool>,
}

struct Driver<'d, 'env, 'scope, 'hooks> {
    embedded: &'env Embedded<'env>,
    hooks: &'d mut Hooks<'hooks>,
    scope: &'d Scope<'scope>,
    slots: &'env Slots<'env>,
    scheduler: Scheduler,
    sender: SyncSender<Finished>,
    /// Slots in which nothing runs; a cancelled attempt keeps its slot until it has returned.
    free: Vec<usize>,
    running: BTreeMap<JobAttempt, Running>,
    /// Attempts that were started while cancelled ones still held their slots.
    waiting: VecDeque<(JobAttempt, AttemptWork)>,
}

impl<'env: 'scope, 'scope> Driver<'_, 'env, 'scope, '_> {
    fn start(&mut self) {
        let profile = WorkerProfile {
            worker: WorkerId(0),
            slots: u32::try_from(self.slots.positions.len()).expect("there are as many threads"),
            address: String::new(),
            machine: String::new(),
            scratch: String::new(),
        };
        self.step(Event::WorkerRegistered { session: SESSION, profile: Arc::new(profile), offers: Vec::new() });
        let request = JobRequest::of(self.embedded.spec, self.embedded.plan);
        self.step(Event::JobSubmitted { job: self.embedded.id, request: Arc::new(request) });
    }

    fn finish(&mut self, reports: &Receiver<Finished>) -> JobView {
        let mut cancel_asked = false;
        let mut looked = self.hooks.clock.now();
        loop {
            // A view costs time in proportion to the tasks, so it is not made for every report.
            let now = self.hooks.clock.now();
            if self.running.is_empty() || now - looked >= TICK {
                looked = now;
                let view = self.scheduler.job(self.embedded.id).expect("the job was submitted and is remembered");
                if view.state.is_terminal() && self.running.is_empty() {
                    return view;
                }
                (self.hooks.progress)(&view);
            }
            if !cancel_asked && (self.hooks.is_interrupted)() {
                cancel_asked = true;
                self.step(Event::CancelRequested { job: self.embedded.id });
                continue;
            }
            match reports.recv_timeout(self.patience()) {
                Ok(finished) => {
                    self.take_in(finished);
                    while let Ok(finished) = reports.try_recv() {
                        self.take_in(finished);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the driver holds a sender itself"),
            }
            let now = self.hooks.clock.now();
            if self.scheduler.next_deadline().is_some_and(|deadline| deadline <= now) {
                self.step(Event::DeadlineReached);
            }
        }
    }

    fn patience(&self) -> Duration {
        let deadline = self.scheduler.next_deadline().map(|deadline| deadline.since(self.hooks.clock.now()));
        deadline.map_or(TICK, |until| until.min(TICK))
    }

    fn take_in(&mut self, finished: Finished) {
        let Finished { id, outcome } = finished;
        let running = self.running.remove(&id).expect("only running attempts finish");
        self.free.push(running.slot);
        if let Some((id, work)) = self.waiting.pop_front() {
            let started = self.spawn(id, work);
            self.step(started);
        }
        let report = match outcome {
            Ok(report) => WorkerReport::AttemptFinished { id, report },
            Err(failure) => WorkerReport::AttemptFailed { id, failure },
        };
        self.step(self.reported(report));
    }

    fn reported(&self, report: WorkerReport) -> Event {
        Event::WorkerReported { epoch: self.scheduler.epoch(), session: SESSION, report }
    }

    /// Hands an event to the scheduler and carries out what it commands, and what follows from that.
    fn step(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for command in self.scheduler.step(self.hooks.clock.now(), event) {
                events.extend(self.carry_out(command));
            }
        }
    }

    fn carry_out(&mut self, command: Command) -> Option<Event> {
        match command {
            Command::StartAttempt { session: _, id, work } if self.free.is_empty() => {
                self.waiting.push_back((id, work));
            }
            Command::StartAttempt { session: _, id, work } => return Some(self.spawn(id, work)),
            Command::CancelAttempt { session: _, id } => {
                self.waiting.retain(|(waiting, _)| *waiting != id);
                if let Some(running) = self.running.get(&id) {
                    running.cancelled.store(true, Ordering::Relaxed);
                }
            }
            Command::PublishJob { job, result } => {
                let published = (self.hooks.publish)(&result);
                return Some(match published {
                    Ok(()) => Event::JobPublished { job },
                    Err(failure) => Event::PublishFailed { job, failure },
                });
            }
            // Scratch and staging are removed as a whole once nothing runs any more, and progress is
            // looked up on every tick.
            Command::DiscardOutput { .. }
            | Command::ProceedUpload { .. }
            | Command::ReleaseJob { .. }
            | Command::UndoJob { .. }
            | Command::Record(_)
            | Command::NotifyWatchers { .. } => {}
            Command::CloseSession { session, reason } => {
                unreachable!("the embedded session {session} has no lease that could end ({reason:?})")
            }
        }
        None
    }

    fn spawn(&mut self, id: JobAttempt, work: AttemptWork) -> Event {
        let slot = self.free.pop().expect("whoever spawns has seen a free slot");
        let cancelled = Arc::new(AtomicBool::new(false));
        self.running.insert(id, Running { slot, cancelled: Arc::clone(&cancelled) });
        let (embedded, position) = (self.embedded, &self.slots.positions[slot]);
        let sender = self.sender.clone();
        self.scope.spawn(move |_| {
            let outcome = embedded.run(id, &work, position, &cancelled);
            sender.send(Finished { id, outcome }).expect("the driver waits for every attempt that runs");
        });
        self.reported(WorkerReport::AttemptStarted { id })
    }
}
