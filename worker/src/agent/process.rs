//! The worker's side of one executor process: starts it, passes messages on, keeps what it prints,
//! and tells how it ended. Decides nothing about attempts.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use gristmill_common::ids::{JobAttempt, JobId};
use gristmill_common::size::ByteSize;
use gristmill_common::storage::Fetcher;
use gristmill_common::wire::v1;
use gristmill_sys::positions::PositionBoard;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process_group, prlimit, waitid,
};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::crash::{ProcessEnd, describe};
use super::desk::DeskEvent;
use super::log::AttemptLogs;
use super::spawner::Spawner;
use super::supply::Supply;
use crate::executor::frame;
use crate::executor::message::{FromExecutor, Open, ToExecutor};
use crate::memory;
use crate::ranges::RangeServer;
use crate::scratch::{self, Scratch};

/// What an executor may know of the worker's surroundings. Everything else, credentials above all,
/// stays with the worker.
pub(crate) const ENVIRONMENT: [&str; 7] = ["PATH", "HOME", "TMPDIR", "LANG", "TZ", "RUST_BACKTRACE", "GRISTMILL_LOG"];

/// What an executor is told besides. mimalloc, if the binary has it, then takes memory piece by piece
/// and not a gibibyte ahead, all of which would count towards the executor's limit.
pub(crate) const ALLOCATOR_BEGINS_SMALL: (&str, &str) = ("MIMALLOC_ARENA_EAGER_COMMIT", "0");

/// Messages waiting for an executor. It reads always; one that lets so many wait is not working any
/// more.
const MAX_WAITING_MESSAGES: usize = 1024;

/// How long the last words of a dead executor are waited for: a process that it left behind in another
/// group may hold its end of the socket.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Bytes that are remembered of what an executor prints before it begins.
const MAX_NOTED: usize = 2048;

/// Names one executor process among all that this worker ever started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ExecutorKey(pub(super) u64);

/// What an executor process tells the desk.
#[derive(Debug)]
pub(super) enum ExecutorEvent {
    /// It has built its job, or cannot.
    Opened(Result<(), String>),
    /// An attempt ended.
    Ended { id: JobAttempt, result: Result<gristmill_common::task::AttemptReport, gristmill_common::failure::Failure> },
    /// It could not be started, or ended. The last event.
    Gone { end: ProcessEnd },
}

/// The desk's end of an executor.
#[derive(Debug)]
pub(super) struct ExecutorHandle {
    messages: mpsc::Sender<ToExecutor>,
    kill: CancellationToken,
    /// Where its attempts are.
    pub(super) board: Arc<PositionBoard>,
}

impl ExecutorHandle {
    /// Passes a message on. An executor that does not take it is ended.
    pub(super) fn send(&self, message: ToExecutor) {
        if self.messages.try_send(message).is_err() {
            self.kill();
        }
    }

    /// Ends the process, with all that it started.
    pub(super) fn kill(&self) {
        self.kill.cancel();
    }
}

/// What every executor of a worker is started with.
#[derive(Debug)]
pub(super) struct Launcher {
    pub(super) spawner: Spawner,
    pub(super) scratch: Scratch,
    pub(super) logs: PathBuf,
    /// The most that each may have for its data.
    pub(super) executor_memory: ByteSize,
    /// Gets what jobs come with.
    pub(super) supply: Supply,
    /// Reads from stores for executors.
    pub(super) fetcher: Fetcher,
    pub(super) events: mpsc::Sender<DeskEvent>,
    pub(super) tasks: TaskTracker,
}

impl Launcher {
    /// Starts an executor for `open`, whose board of positions is made here: `program`, or the worker's
    /// own binary.
    ///
    /// # Errors
    ///
    /// If the board cannot be made. That the process cannot be started is told by an event.
    pub(super) fn launch(
        &self,
        key: ExecutorKey,
        mut open: Open,
        program: Option<PathBuf>,
    ) -> io::Result<ExecutorHandle> {
        let job = open.job;
        open.positions = self.scratch.positions_file(job, key.0);
        let positions = open.positions.clone();
        let fetcher = self.fetcher.with_stores(self.fetcher.stores().with_options(&open.spec.store));
        let board = Arc::new(PositionBoard::create(&positions, open.slots as usize)?);
        let (messages, queue) = mpsc::channel(MAX_WAITING_MESSAGES);
        let kill = CancellationToken::new();
        let handle = ExecutorHandle { messages, kill: kill.clone(), board };
        handle.send(ToExecutor::Open(Box::new(open)));
        let logs = AttemptLogs::new(self.logs.join(job.to_string()));
        let events = self.events.clone();
        let ranges = Ranges { fetcher, folder: self.scratch.ranges_dir(job, key.0) };
        let supervisor = Supervisor { job, key, kill, logs, events, ranges, opened: false, printed: Vec::new() };
        let (spawner, folder, memory) = (self.spawner.clone(), self.scratch.job_dir(job), self.executor_memory);
        let program = program.unwrap_or_else(|| spawner.program());
        self.tasks.spawn(async move {
            let mut supervisor = supervisor;
            let end = match start(&spawner, program, folder, memory).await {
                Ok(process) => supervisor.watch(process, queue).await,
                Err(error) => ProcessEnd { cause: format!("cannot start executor: {error}"), out_of_memory: false },
            };
            if let Err(error) = scratch::remove_file(&positions) {
                tracing::warn!(%job, %error, "record positions cannot be removed");
            }
            supervisor.tell(ExecutorEvent::Gone { end }).await;
        });
        Ok(handle)
    }
}

/// A running executor. Its process is reaped by nobody but its supervisor, and leads a group of the
/// same number, which is nobody else's until then.
struct Process {
    child: Child,
    pid: Pid,
    /// Completes once it has ended; it is not reaped by then.
    ended: oneshot::Receiver<()>,
    control: UnixStream,
    output: pipe::Receiver,
}

async fn start(spawner: &Spawner, program: PathBuf, folder: PathBuf, memory: ByteSize) -> io::Result<Process> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let (reader, writer) = io::pipe()?;
    let second = writer.try_clone()?;
    let mut command = Command::new(program);
    command.args(spawner.args());
    command.env_clear().envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.env(ALLOCATOR_BEGINS_SMALL.0, ALLOCATOR_BEGINS_SMALL.1);
    command.current_dir(folder).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::from(writer)).stderr(Stdio::from(second));
    // The command holds this process's copies of the child's ends, and ends with this call.
    let child = spawner.spawn(command).await?;
    let pid = pid_of(&child).ok_or_else(|| io::Error::other("it has no process id"))?;
    // Data, not address space: what is mapped without being written to costs no memory. A lower limit
    // of the worker's own stays, since only the privileged may raise one.
    let own = getrlimit(Resource::Data).maximum.unwrap_or(u64::MAX);
    let limit = Some(memory.bytes().min(own));
    prlimit(Some(pid), Resource::Data, Rlimit { current: limit, maximum: limit })?;
    let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let ended = watch_end(pid)?;
    Ok(Process { child, pid, ended, control: UnixStream::from_std(ours)?, output })
}

/// What the ranges of one executor come from, and where they go.
struct Ranges {
    fetcher: Fetcher,
    folder: PathBuf,
}

impl Ranges {
    /// Serves an executor that is told through `frames`; one that does not take what it asked for is ended.
    fn serve(&self, frames: &mpsc::Sender<Vec<u8>>, kill: &CancellationToken) -> RangeServer {
        let (frames, kill) = (frames.clone(), kill.clone());
        let tell = move |message: &ToExecutor| {
            let frame = frame::encode(&v1::ToExecutor::from(message)).ok();
            if frame.and_then(|frame| frames.try_send(frame).ok()).is_none() {
                kill.cancel();
            }
        };
        RangeServer::new(self.fetcher.clone(), self.folder.clone(), Arc::new(tell))
    }
}

struct Supervisor {
    job: JobId,
    key: ExecutorKey,
    kill: CancellationToken,
    logs: AttemptLogs,
    events: mpsc::Sender<DeskEvent>,
    ranges: Ranges,
    /// Whether it has built its job.
    opened: bool,
    /// What it printed last before that: why it could not even begin.
    printed: Vec<u8>,
}

impl Supervisor {
    /// Serves the process to its end and tells the cause.
    async fn watch(&mut self, process: Process, mut queue: mpsc::Receiver<ToExecutor>) -> ProcessEnd {
        let Process { mut child, pid, mut ended, control, output } = process;
        let oom_kills = memory::oom_kills();
        tracing::info!(job = %self.job, %pid, "executor started");
        let (read, mut write) = control.into_split();
        let mut incoming = std::pin::pin!(messages(read));
        let (frames, mut unwritten) = mpsc::channel::<Vec<u8>>(MAX_WAITING_MESSAGES);
        let mut ranges = self.ranges.serve(&frames, &self.kill);
        let writer = async {
            while let Some(frame) = unwritten.recv().await {
                if write.write_all(&frame).await.is_err() {
                    break;
                }
            }
            // A dead executor takes nothing; its end is told by its exit.
            std::future::pending::<()>().await;
        };
        let mut writer = std::pin::pin!(writer);
        let (mut hears, mut prints, mut asked, mut killed) = (true, true, true, false);
        loop {
            tokio::select! {
                () = self.kill.cancelled(), if !killed => {
                    killed = true;
                    end_group(pid);
                }
                ready = output.readable(), if prints => prints = ready.is_ok() && self.keep_output(&output),
                message = incoming.next(), if hears => match message {
                    Some(message) => {
                        if let Some(message) = ranges.take(message) {
                            self.hear(message, &output).await;
                        }
                    }
                    None => hears = false,
                },
                message = queue.recv(), if asked => match message {
                    Some(message) => self.pass_on(&message, &frames),
                    None => asked = false,
                },
                () = &mut writer => {}
                // The thread does not end before it has said so.
                _ended = &mut ended => break,
            }
        }
        // Before it is reaped: afterwards its number may be that of a stranger's group.
        end_group(pid);
        drop(ranges);
        // What it said before it died was said.
        let _ = timeout(LAST_WORDS, async {
            while let Some(message) = incoming.next().await {
                self.hear(message, &output).await;
            }
        })
        .await;
        self.keep_output(&output);
        let status = child.wait().await;
        let said = |cause| ProcessEnd { cause, out_of_memory: false };
        let end = match status {
            Ok(_) if killed => said("ended by its worker".to_owned()),
            Ok(status) => self.explain(describe(status, memory::oom_kills() > oom_kills)),
            Err(error) => said(format!("executor lost: {error}")),
        };
        tracing::info!(job = %self.job, cause = end.cause, "executor ended");
        end
    }

    async fn hear(&mut self, message: FromExecutor, output: &pipe::Receiver) {
        match message {
            FromExecutor::Opened(result) => {
                self.opened = true;
                self.tell(ExecutorEvent::Opened(result)).await;
            }
            FromExecutor::Ended { id, result } => {
                // What the attempt printed is in the pipe by now.
                self.keep_output(output);
                self.logs.end(id.attempt);
                self.tell(ExecutorEvent::Ended { id, result }).await;
            }
            // Those of a dead executor; the others were taken before.
            FromExecutor::Fetch { .. } | FromExecutor::Forget { .. } => {}
        }
    }

    fn pass_on(&mut self, message: &ToExecutor, frames: &mpsc::Sender<Vec<u8>>) {
        if let ToExecutor::Run(run) = message {
            self.logs.begin(run.id.attempt);
        }
        let sent = frame::encode(&v1::ToExecutor::from(message)).ok().and_then(|frame| frames.try_send(frame).ok());
        if sent.is_none() {
            tracing::warn!(job = %self.job, "executor does not take its messages");
            self.kill.cancel();
        }
    }

    /// Keeps what is in the pipe by now; false once nothing can come any more.
    fn keep_output(&mut self, output: &pipe::Receiver) -> bool {
        let mut buffer = [0; 16 << 10];
        // A pipe holds 64 KiB: what was there at the call is read, what comes meanwhile may wait.
        for _ in 0..5 {
            // Past tokio first, which learns of new bytes only when it next looks; and through it
            // once the pipe is empty, so that it takes note.
            let read = match rustix::io::read(output, &mut buffer) {
                Err(rustix::io::Errno::AGAIN) => output.try_read(&mut buffer),
                read => read.map_err(io::Error::from),
            };
            match read {
                Ok(0) => return false,
                Ok(read) => {
                    self.logs.append(&buffer[..read]);
                    self.note(&buffer[..read]);
                }
                Err(error) => return matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
            }
        }
        true
    }

    /// Remembers what an executor that has not begun yet says.
    fn note(&mut self, bytes: &[u8]) {
        if !self.opened {
            self.printed.extend_from_slice(bytes);
            let surplus = self.printed.len().saturating_sub(MAX_NOTED);
            self.printed.drain(..surplus);
        }
    }

    /// Adds what it printed last to the end of an executor that never began.
    fn explain(&self, mut end: ProcessEnd) -> ProcessEnd {
        let printed = String::from_utf8_lossy(&self.printed);
        if let Some(last) = printed.lines().rfind(|line| !line.trim().is_empty()).filter(|_| !self.opened) {
            end.cause = format!("{} (it printed: {})", end.cause, last.trim());
        }
        end
    }

    async fn tell(&self, event: ExecutorEvent) {
        // Without a desk the worker is ending, and its executors with it.
        let _ = self.events.send(DeskEvent::Executor { job: self.job, key: self.key, event }).await;
    }
}

/// The messages of an executor, until it ends or says something without meaning.
fn messages(read: OwnedReadHalf) -> impl Stream<Item = FromExecutor> {
    stream::unfold(BufReader::new(read), |mut read| async move {
        let message = match frame::read_async::<v1::FromExecutor>(&mut read).await {
            Ok(message) => message.map(FromExecutor::try_from).transpose().map_err(io::Error::other),
            Err(error) => Err(error),
        };
        match message {
            Ok(message) => message.map(|message| (message, read)),
            // Both are how the socket of a process that died may end.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => None,
            Err(error) => {
                tracing::warn!(%error, "executor does not speak the protocol");
                None
            }
        }
    })
    .fuse()
}

fn pid_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
}

/// Waits beside for the end of a child, and leaves it to be reaped. On a thread of its own: one for each
/// executor would use up those that the runtime has for disks.
///
/// # Errors
///
/// If there can be no more threads.
fn watch_end(pid: Pid) -> io::Result<oneshot::Receiver<()>> {
    let (tell, ended) = oneshot::channel();
    thread::Builder::new().name("executor-end".to_owned()).spawn(move || {
        let wait = || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        // Any other error says that there is no such child any more.
        while wait().is_err_and(|error| error == rustix::io::Errno::INTR) {}
        // Its supervisor may have gone with the worker.
        let _ = tell.send(());
    })?;
    Ok(ended)
}

/// Kills the executor and every process that it started in its group.
fn end_group(pid: Pid) {
    // A group without members is what is wanted.
    let _ = kill_process_group(pid, Signal::KILL);
}
