//! The executor's own side: takes over the process, opens its job, and runs attempts until its
//! worker is gone.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::{fs, thread};

use gristmill_common::ids::JobAttempt;
use gristmill_common::objects::ObjectReader;
use gristmill_common::setup::ShippedPaths;
use gristmill_common::windowed::WindowedObjects;
use gristmill_common::wire::{WireError, v1};
use gristmill_sys::fatal;
use gristmill_sys::positions::{MAX_SLOTS, PositionBoard};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal};

use super::attempt::{install_panic_hook, run_in_hand};
use super::frame;
use super::message::{FromExecutor, Open, Run, ToExecutor, Work};
use super::ranges::WorkerRanges;
use crate::engine::shuffle::MapOutputPack;
use crate::engine::{AnyJob, AttemptContext, Compression, EngineTask, JobSource};
use crate::scratch;

/// Answers waiting to be written. A full queue makes attempts wait for the worker, which reads
/// always, so this only bounds memory.
const REPLY_QUEUE: usize = 64;

/// How long an executor without attempts keeps memory for the next one: longer than attempts of a busy
/// job are apart.
const REST_AFTER: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// How much more than its worker the executor invites the kernel's out-of-memory killer: user code
/// is the likely eater, and the worker must live to report it.
const OOM_SCORE_ABOVE: i32 = 500;

/// The kernel's largest such score.
const MAX_OOM_SCORE: i32 = 1000;

/// Why an executor ends other than by its worker's wish.
#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error("standard input is not the worker's socket: executors are started by workers only")]
    NoWorker,
    #[error("cannot set the process up: {source}")]
    SetUp {
        #[source]
        source: io::Error,
    },
    #[error("cannot talk to the worker: {source}")]
    Talk {
        #[source]
        source: io::Error,
    },
    #[error("the worker sent a message without meaning: {source}")]
    Message {
        #[source]
        source: WireError,
    },
    #[error("the worker sent {what} out of order")]
    OutOfOrder { what: &'static str },
    #[error("cannot map the record positions: {source}")]
    Positions {
        #[source]
        source: io::Error,
    },
    #[error("cannot start {slots} threads: {reason}")]
    Pool { slots: u32, reason: String },
}

/// Is an executor until the worker that started this process closes its end of the socket on
/// standard input, or of the one under `socket`, where a debugger has the terminal.
pub fn run_child(source: &dyn JobSource, socket: Option<&Path>) -> ExitCode {
    let result = take_over(socket).and_then(|control| serve(control, source));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The attempt's log is all there is to tell it to.
            let _ = writeln!(io::stderr(), "gristmill: executor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Moves the control socket out of user code's way and ties this process to its parent.
fn take_over(socket: Option<&Path>) -> Result<UnixStream, ChildError> {
    let set_up = |error: rustix::io::Errno| ChildError::SetUp { source: error.into() };
    let stdin = rustix::stdio::stdin();
    let control: OwnedFd = match socket {
        Some(path) => UnixStream::connect(path).map_err(|source| ChildError::Talk { source })?.into(),
        None if rustix::net::sockopt::socket_type(stdin).is_err() => return Err(ChildError::NoWorker),
        None => rustix::io::fcntl_dupfd_cloexec(stdin, 3).map_err(set_up)?,
    };
    let null = fs::File::open("/dev/null").map_err(|source| ChildError::SetUp { source })?;
    rustix::stdio::dup2_stdin(&null).map_err(set_up)?;
    // A parent that died before this line leaves a closed socket behind, which ends `serve`.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(set_up)?;
    // A crash is reported by the worker; a core of every attempt's memory would fill the disk.
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(set_up)?;
    // Without procfs the executor is as likely a victim as the worker.
    let _ = invite_oom_killer();
    fatal::install().map_err(|source| ChildError::SetUp { source })?;
    install_panic_hook();
    Ok(UnixStream::from(control))
}

/// Raises this process's score, which it inherited from its worker.
fn invite_oom_killer() -> io::Result<()> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let inherited: i32 = fs::read_to_string(FILE)?.trim().parse().map_err(io::Error::other)?;
    fs::write(FILE, (inherited + OOM_SCORE_ABOVE).min(MAX_OOM_SCORE).to_string())
}

/// Serves one job until the stream ends.
fn serve(mut control: UnixStream, source: &dyn JobSource) -> Result<(), ChildError> {
    let talk = |source| ChildError::Talk { source };
    let mut reader = BufReader::new(control.try_clone().map_err(talk)?);
    let Some(first) = next_message(&mut reader)? else { return Ok(()) };
    let ToExecutor::Open(open) = first else {
        return Err(ChildError::OutOfOrder { what: "an attempt before its job" });
    };
    let job = match build(source, &open) {
        Ok(job) => job,
        Err(reason) => {
            let answer = v1::FromExecutor::from(&FromExecutor::Opened(Err(reason)));
            return frame::write(&mut control, &answer).map_err(talk);
        }
    };
    let (replies, queue) = sync_channel(REPLY_QUEUE);
    let ranges = WorkerRanges::new(replies.clone());
    let executor = Arc::new(Executor::new(job, *open, ranges.clone())?);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(executor.open.slots as usize)
        .thread_name(|index| format!("slot-{index}"))
        .build()
        .map_err(|error| ChildError::Pool { slots: executor.open.slots, reason: error.to_string() })?;
    // Said before any attempt can begin: a crash from now on is an attempt's.
    frame::write(&mut control, &v1::FromExecutor::from(&FromExecutor::Opened(Ok(())))).map_err(talk)?;
    thread::Builder::new()
        .name("replies".to_owned())
        .spawn(move || write_replies(control, &queue))
        .map_err(|error| ChildError::Pool { slots: 1, reason: error.to_string() })?;
    let mut running = Running::default();
    let result = loop {
        if let Err(error) = wait(&reader, &running, executor.job.as_ref()) {
            break Err(error);
        }
        match next_message(&mut reader) {
            Ok(None) => break Ok(()),
            Ok(Some(ToExecutor::Run(run))) => {
                let cancelled = running.begin(run.id);
                let (executor, replies) = (Arc::clone(&executor), replies.clone());
                pool.spawn(move || executor.run(&run, &cancelled, &replies));
            }
            Ok(Some(ToExecutor::Cancel(id))) => running.cancel(id),
            Ok(Some(ToExecutor::Fetched { id, result })) => ranges.on_fetched(id, result),
            Ok(Some(ToExecutor::Open(_))) => break Err(ChildError::OutOfOrder { what: "a second job" }),
            Err(error) => break Err(error),
        }
    };
    running.cancel_all();
    result
}

/// Waits until there is something to read. A job that has nothing to run meanwhile keeps no memory:
/// its worker's budget is for the attempts of others then.
fn wait(reader: &BufReader<UnixStream>, running: &Running, job: &dyn AnyJob) -> Result<(), ChildError> {
    let mut sources = [PollFd::new(reader.get_ref(), PollFlags::IN)];
    let mut timeout = Some(REST_AFTER);
    while reader.buffer().is_empty() {
        match poll(&mut sources, timeout.as_ref()) {
            Ok(0) if running.is_idle() => {
                job.rest();
                timeout = None;
            }
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => break,
            Err(error) => return Err(ChildError::Talk { source: error.into() }),
        }
    }
    Ok(())
}

fn next_message(reader: &mut BufReader<UnixStream>) -> Result<Option<ToExecutor>, ChildError> {
    let message = frame::read::<v1::ToExecutor>(reader).map_err(|source| ChildError::Talk { source })?;
    message.map(ToExecutor::try_from).transpose().map_err(|source| ChildError::Message { source })
}

/// Builds the job; its constructor is user code, so it may panic.
fn build(source: &dyn JobSource, open: &Open) -> Result<Arc<dyn AnyJob>, String> {
    let built = panic::catch_unwind(AssertUnwindSafe(|| source.build(&open.spec)));
    match built {
        Ok(Ok(job)) if job.shape() == open.spec.shape => Ok(job),
        Ok(Ok(_)) => Err("the job's shape is not what was submitted".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("building it panicked; see the worker's log of the attempt".to_owned()),
    }
}

fn write_replies(mut control: UnixStream, queue: &Receiver<FromExecutor>) {
    for reply in queue {
        if frame::write(&mut control, &v1::FromExecutor::from(&reply)).is_err() {
            return;
        }
    }
}

/// The cancel flags of attempts that may be running.
#[derive(Debug, Default)]
struct Running(BTreeMap<JobAttempt, Arc<AtomicBool>>);

impl Running {
    /// Whether every attempt begun has ended.
    fn is_idle(&self) -> bool {
        self.0.values().all(|flag| Arc::strong_count(flag) == 1)
    }

    fn begin(&mut self, id: JobAttempt) -> Arc<AtomicBool> {
        // An attempt that ended has dropped its handle of the flag.
        self.0.retain(|_, flag| Arc::strong_count(flag) > 1);
        Arc::clone(self.0.entry(id).or_default())
    }

    fn cancel(&self, id: JobAttempt) {
        if let Some(flag) = self.0.get(&id) {
            flag.store(true, Ordering::Relaxed);
        }
    }

    fn cancel_all(&self) {
        self.0.values().for_each(|flag| flag.store(true, Ordering::Relaxed));
    }
}

/// An opened job.
struct Executor {
    job: Arc<dyn AnyJob>,
    open: Open,
    board: PositionBoard,
    pack: MapOutputPack,
    compression: Compression,
    /// The files that were shipped with the job.
    files: ShippedPaths,
    objects: Arc<dyn ObjectReader>,
}

impl Executor {
    fn new(job: Arc<dyn AnyJob>, open: Open, ranges: WorkerRanges) -> Result<Self, ChildError> {
        let slots = (open.slots as usize).min(MAX_SLOTS + 1);
        let board = PositionBoard::open(&open.positions, slots).map_err(|source| ChildError::Positions { source })?;
        let compression = if open.compress { Compression::Lz4 } else { Compression::None };
        let pack = MapOutputPack::new(&open.scratch);
        let files = open.spec.files.iter();
        let files = files.map(|file| (file.name.clone(), scratch::shipped_file(&open.scratch, &file.name))).collect();
        // Ranges are asked for only if there is an object in a store.
        let objects: Arc<dyn ObjectReader> = Arc::new(WindowedObjects::new(Arc::new(ranges), open.spec.attempt_bytes));
        Ok(Self { job, open, board, pack, compression, files, objects })
    }

    fn run(&self, run: &Run, cancelled: &Arc<AtomicBool>, replies: &SyncSender<FromExecutor>) {
        let task = match &run.work {
            Work::Map { split, partitions, skip } => EngineTask::Map { split, partitions: *partitions, skip },
            Work::Reduce { segments } => EngineTask::Reduce { segments },
        };
        let objects = self.objects.until(cancelled);
        let context = AttemptContext {
            id: run.id,
            spec: &self.open.spec,
            scratch: &self.open.scratch,
            staging: &self.open.staging,
            pack: &self.pack,
            compression: self.compression,
            cancelled,
            files: &self.files,
            objects: &objects,
            position: self.board.slot(run.slot as usize % self.board.slots()),
        };
        let result = run_in_hand(self.job.as_ref(), &task, &context);
        // What user code printed must be on its way before the attempt's log is closed.
        let _ = io::stdout().flush();
        // The writer is gone only if the worker is, which ends this process.
        let _ = replies.send(FromExecutor::Ended { id: run.id, result });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gristmill_common::failure::{Failure, FailureCode};
    use gristmill_common::ids::JobId;
    use gristmill_common::task::Split;

    use super::*;
    use crate::testing::{FakeJobs, fake_report, fake_spec};

    /// The worker's end, with an executor serving the other end in a thread.
    struct Worker {
        control: UnixStream,
        served: thread::JoinHandle<Result<(), ChildError>>,
        board: PositionBoard,
        _dir: tempfile::TempDir,
    }

    impl Worker {
        fn open(job: &str) -> Self {
            let dir = tempfile::tempdir().expect("a folder");
            let positions = dir.path().join("positions");
            let board = PositionBoard::create(&positions, 2).expect("new");
            let (control, other) = UnixStream::pair().expect("sockets");
            control.set_read_timeout(Some(Duration::from_secs(20))).expect("a deadline");
            let served = thread::spawn(move || serve(other, &FakeJobs::default()));
            let open = Open {
                job: JobId(1),
                spec: fake_spec(job),
                slots: 2,
                scratch: dir.path().to_owned(),
                staging: dir.path().to_owned(),
                positions,
                compress: false,
            };
            let mut worker = Self { control, served, board, _dir: dir };
            worker.say(&ToExecutor::Open(Box::new(open)));
            worker
        }

        fn say(&mut self, message: &ToExecutor) {
            frame::write(&mut self.control, &v1::ToExecutor::from(message)).expect("the executor reads");
        }

        fn start(&mut self, id: JobAttempt, slot: u32) {
            let work = Work::Map { split: Split::default(), partitions: 1, skip: Vec::new() };
            self.say(&ToExecutor::Run(Run { id, slot, work }));
        }

        fn hear(&mut self) -> FromExecutor {
            let message = frame::read::<v1::FromExecutor>(&mut self.control).expect("whole").expect("an answer");
            message.try_into().expect("a meaning")
        }

        fn close(self) -> Result<(), ChildError> {
            drop(self.control);
            self.served.join().expect("no panic")
        }
    }

    fn id(attempt: &str) -> JobAttempt {
        JobAttempt { job: JobId(1), attempt: attempt.parse().expect("an attempt") }
    }

    #[test]
    fn attempts_run_and_answer_until_the_socket_closes() {
        let mut worker = Worker::open("fake");
        assert_eq!(worker.hear(), FromExecutor::Opened(Ok(())));
        worker.start(id("m-0.0"), 0);
        assert_eq!(worker.hear(), FromExecutor::Ended { id: id("m-0.0"), result: Ok(fake_report()) });
        worker.start(id("m-1.0"), 1);
        assert_eq!(worker.hear(), FromExecutor::Ended { id: id("m-1.0"), result: Ok(fake_report()) });
        worker.close().expect("an orderly end");
    }

    #[test]
    fn a_job_without_attempts_rests_until_there_is_something_to_read() {
        struct Resting(std::sync::mpsc::Sender<()>);

        impl AnyJob for Resting {
            fn shape(&self) -> gristmill_common::spec::JobShape {
                unreachable!("nobody asks")
            }

            fn run(
                &self,
                _: &EngineTask<'_>,
                _: &AttemptContext<'_>,
            ) -> Result<gristmill_common::task::AttemptReport, Failure> {
                unreachable!("no attempt begins")
            }

            fn rest(&self) {
                self.0.send(()).expect("the test waits");
            }
        }

        let (mut control, other) = UnixStream::pair().expect("sockets");
        let (rested, rests) = std::sync::mpsc::channel();
        let waiting = thread::spawn(move || wait(&BufReader::new(other), &Running::default(), &Resting(rested)));
        rests.recv_timeout(Duration::from_secs(20)).expect("the job rests");
        control.write_all(b"x").expect("a buffer takes it");
        waiting.join().expect("no panic").expect("there is something to read");
        assert_eq!(rests.try_iter().count(), 0, "once is enough");
    }

    #[test]
    fn a_cancelled_attempt_stops_while_its_neighbour_goes_on() {
        let mut worker = Worker::open("wait");
        assert_eq!(worker.hear(), FromExecutor::Opened(Ok(())));
        worker.start(id("m-0.0"), 0);
        worker.start(id("m-1.0"), 1);
        worker.say(&ToExecutor::Cancel(id("m-1.0")));
        let cancelled = Failure::new(FailureCode::Cancelled, "the attempt was cancelled");
        assert_eq!(worker.hear(), FromExecutor::Ended { id: id("m-1.0"), result: Err(cancelled) });
        assert_eq!(worker.board.slot(1).get(), None);
        worker.close().expect("an orderly end");
    }

    #[test]
    fn a_panic_is_a_failure_of_its_attempt_alone() {
        let mut worker = Worker::open("panic");
        assert_eq!(worker.hear(), FromExecutor::Opened(Ok(())));
        for attempt in ["m-0.0", "m-0.1"] {
            worker.start(id(attempt), 0);
            let FromExecutor::Ended { result: Err(failure), .. } = worker.hear() else { panic!("no failure") };
            assert_eq!(failure.code, FailureCode::ExecutorCrash);
            assert_eq!(failure.message, "the engine panicked: on purpose");
        }
        worker.close().expect("an orderly end");
    }

    #[test]
    fn a_job_that_cannot_be_built_is_said_so() {
        let mut worker = Worker::open("missing");
        assert_eq!(worker.hear(), FromExecutor::Opened(Err("no such job: missing".to_owned())));
        worker.close().expect("an orderly end");
    }

    #[test]
    fn messages_out_of_order_end_the_executor() {
        let (mut control, other) = UnixStream::pair().expect("sockets");
        let first = v1::ToExecutor::from(&ToExecutor::Cancel(id("m-0.0")));
        frame::write(&mut control, &first).expect("a buffer takes it");
        let error = serve(other, &FakeJobs::default()).expect_err("no job");
        assert_eq!(error.to_string(), "the worker sent an attempt before its job out of order");
    }
}
