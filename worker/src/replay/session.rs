//! An executor of a replayed job: started as a worker starts one, given one attempt after the other, and
//! judged as a worker judges one when it dies.

use std::io::BufReader;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, thread};

use gristmill_common::failure::{Disposition, Failure, FailureCode, InputPosition};
use gristmill_common::ids::{AttemptId, JobAttempt};
use gristmill_common::size::ByteSize;
use gristmill_common::spec::JobSpec;
use gristmill_common::task::AttemptReport;
use gristmill_common::wire::v1;
use gristmill_sys::positions::{PositionBoard, RecordPosition};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions};
use rustix::process::{getrlimit, kill_process_group, prlimit, waitid};

use super::{Replay, ReplayError};
use crate::agent::crash::{Death, Ending, Victim, describe, judge};
use crate::agent::process::{ALLOCATOR_BEGINS_SMALL, ENVIRONMENT};
use crate::agent::watchdog::Watchdog;
use crate::executor::message::{FromExecutor, Run, ToExecutor, Work};
use crate::executor::{EXECUTOR_VERB, frame};
use crate::memory;
use crate::ranges::RangeServer;

/// Answers that wait to be read; an executor with one slot says one thing at a time.
const WAITING_ANSWERS: usize = 4;

/// How often whoever waits for an attempt looks up if nothing has to be looked after more often. Raised,
/// Ctrl-C answers later; lowered, an idle process wakes for nothing.
const TICK: Duration = Duration::from_millis(200);

/// How an attempt ended.
pub(super) enum End {
    /// The executor said how, and takes the next one.
    Told(Result<AttemptReport, Failure>),
    /// The executor is dead.
    Died(Failure),
}

impl End {
    pub(super) fn into_result(self) -> Result<AttemptReport, Failure> {
        match self {
            End::Told(result) => result,
            End::Died(failure) => Err(failure),
        }
    }
}

/// An executor that has opened its job. It ends with this value, and all that it started with it.
#[derive(Debug)]
pub(super) struct Session {
    child: Child,
    pid: Pid,
    control: Arc<Mutex<UnixStream>>,
    answers: Receiver<FromExecutor>,
    board: PositionBoard,
    /// What it may have for its data.
    memory: ByteSize,
    /// Processes that the kernel had killed for want of memory before it started.
    oom_kills: u64,
    opened: bool,
}

impl Session {
    /// Starts an executor of the job's binary and has it open the job; a failure if it cannot.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(super) fn start(replay: &Replay<'_>, spec: JobSpec) -> Result<Result<Self, Failure>, ReplayError> {
        let (number, positions, board) = board(replay)?;
        let unstarted =
            |source: io::Error| ReplayError::Start { program: replay.program.display().to_string(), source };
        let mut session = Self::spawn(replay, number, board).map_err(unstarted)?;
        let name = spec.job.clone();
        let open = ToExecutor::Open(Box::new(replay.open(spec, &positions)));
        session.say(&open);
        Ok(match session.answers.recv() {
            Ok(FromExecutor::Opened(Ok(()))) => {
                session.opened = true;
                Ok(session)
            }
            Ok(FromExecutor::Opened(Err(message))) => Err(unbuilt(&name, &message)),
            Ok(_) | Err(_) => {
                let victim = Victim { id: replay.of_job(replay.attempt), position: None, fault: None };
                Err(session.judge(None, victim))
            }
        })
    }

    fn spawn(replay: &Replay<'_>, number: usize, board: PositionBoard) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(replay.program);
        command.arg(EXECUTOR_VERB).current_dir(replay.scratch).process_group(0);
        command.env_clear().envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.env(ALLOCATOR_BEGINS_SMALL.0, ALLOCATOR_BEGINS_SMALL.1);
        // What user code prints is talk here: standard output has what programs read.
        let printed = io::stderr().as_fd().try_clone_to_owned()?;
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::from(printed));
        let oom_kills = memory::oom_kills();
        let child = command.spawn()?;
        // The command holds the executor's end of the socket, whose other end would never be closed.
        drop(command);
        let pid = Pid::from_child(&child);
        let incoming = ours.try_clone()?;
        let control = Arc::new(Mutex::new(ours));
        let answers = hear(incoming, replay.store_ranges().serve(&control, number))?;
        let session = Self { child, pid, control, answers, board, memory: replay.memory, oom_kills, opened: false };
        let own = getrlimit(Resource::Data).maximum.unwrap_or(u64::MAX);
        let limit = Some(replay.memory.bytes().min(own));
        prlimit(Some(pid), Resource::Data, Rlimit { current: limit, maximum: limit })?;
        Ok(session)
    }

    /// Runs an attempt to its end; `objects` are what the positions of its records refer to.
    ///
    /// # Errors
    ///
    /// If it is to be given up.
    pub(super) fn run(
        &mut self,
        replay: &Replay<'_>,
        attempt: AttemptId,
        work: Work,
        objects: Vec<String>,
    ) -> Result<End, ReplayError> {
        let id = replay.of_job(attempt);
        self.say(&ToExecutor::Run(Run { id, slot: 0, work }));
        let mut watchdog = Watchdog::new(replay.spec.record_timeout, 1);
        let tick = watchdog.as_ref().map_or(TICK, Watchdog::interval);
        loop {
            match self.answers.recv_timeout(tick) {
                Ok(FromExecutor::Ended { id: ended, result }) if ended == id => return Ok(End::Told(result)),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    if (replay.is_interrupted)() {
                        return Err(ReplayError::Interrupted);
                    }
                    let moment = self.board.slot(0).moment();
                    let stuck = watchdog.as_mut().and_then(|dog| dog.look(std::iter::once(Some((id, moment)))));
                    if let Some(culprit) = stuck {
                        let victim = self.victim(id, &objects);
                        let limit = replay.spec.record_timeout;
                        return Ok(End::Died(self.judge(Some(Ending::TimedOut { culprit, limit }), victim)));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let victim = self.victim(id, &objects);
                    return Ok(End::Died(self.judge(None, victim)));
                }
            }
        }
    }

    fn say(&self, message: &ToExecutor) {
        super::say(&self.control, message);
    }

    fn victim(&self, id: JobAttempt, objects: &[String]) -> Victim {
        let place = self.board.slot(0);
        Victim { id, position: position(place, objects), fault: place.fault() }
    }

    /// Ends the process if it was found wanting, and finds what the attempt failed of, as a worker does.
    fn judge(&mut self, killed: Option<Ending>, victim: Victim) -> Failure {
        if killed.is_some() {
            self.end_group();
        }
        let wait = || waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        while wait().is_err_and(|error| error == rustix::io::Errno::INTR) {}
        // Before it is reaped: afterwards its number may be that of a stranger's group.
        self.end_group();
        // The socket may be closed before its process has ended; the mark is there by now.
        let victim = Victim { fault: self.board.slot(0).fault(), ..victim };
        let status = match self.child.wait() {
            Ok(status) => status,
            Err(error) => return Failure::new(FailureCode::ExecutorCrash, format!("executor lost: {error}")),
        };
        let end = describe(status, memory::oom_kills() > self.oom_kills);
        let death = Death { end, opened: self.opened, killed, memory: self.memory };
        let verdict = judge(&death, vec![victim]).pop();
        verdict.expect("there is one for each victim").failure
    }

    fn end_group(&self) {
        // A group without members is what is wanted.
        let _ = kill_process_group(self.pid, Signal::KILL);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // One that was judged is reaped, and its number may be that of a stranger's group.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end_group();
            let _ = self.child.wait();
        }
    }
}

/// A number that no other executor of the replay has, its board of one place, and the board's file.
fn board(replay: &Replay<'_>) -> Result<(usize, PathBuf, PositionBoard), ReplayError> {
    let mut number = 0;
    loop {
        let path = replay.scratch.join(format!("positions-{number}"));
        match PositionBoard::create(&path, 1) {
            Ok(board) => return Ok((number, path, board)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(source) => return Err(ReplayError::Scratch { path, source }),
        }
    }
}

/// The record that a place on a board says is in hand.
pub(super) fn position(place: &RecordPosition, objects: &[String]) -> Option<InputPosition> {
    let (piece, offset) = place.get()?;
    let object = objects.get(usize::try_from(piece).ok()?)?.clone();
    Some(InputPosition { object, offset })
}

/// The failure of attempts whose job cannot be built.
pub(super) fn unbuilt(job: &str, message: &str) -> Failure {
    let message = format!("cannot build job {job}: {message}");
    Failure { disposition: Disposition::Abort, ..Failure::new(FailureCode::UserError, message) }
}

/// Reads what an executor says, on a thread that ends with its end of the socket.
fn hear(control: UnixStream, mut ranges: RangeServer) -> io::Result<Receiver<FromExecutor>> {
    let (tell, answers): (SyncSender<FromExecutor>, _) = sync_channel(WAITING_ANSWERS);
    thread::Builder::new().name("executor-answers".to_owned()).spawn(move || {
        let mut control = BufReader::new(control);
        // An executor that says something without meaning is as good as dead.
        while let Ok(Some(message)) = frame::read::<v1::FromExecutor>(&mut control) {
            let Ok(message) = FromExecutor::try_from(message) else { return };
            if ranges.take(message).is_some_and(|message| tell.send(message).is_err()) {
                return;
            }
        }
    })?;
    Ok(answers)
}
