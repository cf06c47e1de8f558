//! An executor that a debugger starts: it has the terminal, and so the executor finds whoever replays
//! under a path in place of its standard input. It may be started again and again, and is neither limited
//! nor watched: whoever debugs stops it for as long as they like.

use std::io::{self, BufReader};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use gristmill_common::failure::{Failure, InputPosition};
use gristmill_common::spec::JobSpec;
use gristmill_common::task::AttemptReport;
use gristmill_common::wire::v1;
use gristmill_sys::positions::PositionBoard;

use super::session::{position, unbuilt};
use super::{Replay, ReplayError, Replayed, StoreRanges, ended, say};
use crate::executor::message::{FromExecutor, Open, Run, ToExecutor, Work};
use crate::executor::{EXECUTOR_VERB, frame};
use crate::ranges::RangeServer;

/// What is known of a run when its executor is gone.
enum Seen {
    /// It said how the attempt ended.
    Ended(Result<AttemptReport, Failure>),
    /// It did not, with this record in hand.
    Gone(Option<InputPosition>),
}

/// What every executor that comes is given.
struct Given {
    open: Open,
    run: Run,
    objects: Vec<String>,
    stores: StoreRanges,
}

impl Replay<'_> {
    /// Starts the debugger and waits for its end; the last run under it counts.
    pub(super) fn debug(&self, spec: JobSpec, work: Work, objects: Vec<String>) -> Result<Replayed, ReplayError> {
        let socket = self.scratch.join("control");
        let unusable = |source| ReplayError::Scratch { path: socket.clone(), source };
        let listener = UnixListener::bind(&socket).map_err(unusable)?;
        let open = self.open(spec, &self.scratch.join("positions"));
        let run = Run { id: self.of_job(self.attempt), slot: 0, work };
        let given = Given { open, run, objects, stores: self.store_ranges() };
        let over = Arc::new(AtomicBool::new(false));
        let (tell, seen) = sync_channel(1);
        let is_over = Arc::clone(&over);
        let serve = move || serve(&listener, &given, &is_over, &tell);
        thread::Builder::new().name("debugged".to_owned()).spawn(serve).map_err(unusable)?;
        let (debugger, args) = self.debugger.split_first().expect("the caller has one");
        let mut command = Command::new(debugger);
        command.args(args).arg(self.program).arg(EXECUTOR_VERB).arg(&socket).current_dir(self.scratch);
        let status = command.status();
        over.store(true, Ordering::Relaxed);
        // Whoever waits for the next executor is woken by this one, and sees that it was the last.
        let last = match UnixStream::connect(&socket) {
            Ok(_woken) => seen.recv().unwrap_or(Seen::Gone(None)),
            Err(_) => Seen::Gone(None),
        };
        status.map_err(|source| ReplayError::Start { program: debugger.clone(), source })?;
        Ok(match last {
            Seen::Ended(result) => ended(result),
            Seen::Gone(position) => Replayed::Unfinished(position),
        })
    }
}

/// Serves one executor after the other until it is over, and tells of the last one.
fn serve(listener: &UnixListener, given: &Given, over: &AtomicBool, tell: &SyncSender<Seen>) {
    let mut last = Seen::Gone(None);
    while let Ok((control, _)) = listener.accept() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        last = converse(control, given).unwrap_or(Seen::Gone(None));
    }
    // Whoever asked waits for exactly this.
    let _ = tell.send(last);
}

fn converse(control: UnixStream, given: &Given) -> io::Result<Seen> {
    // Another run may have begun it.
    let _absent = std::fs::remove_file(&given.open.positions);
    let board = PositionBoard::create(&given.open.positions, 1)?;
    let mut answers = BufReader::new(control.try_clone()?);
    let control = Arc::new(Mutex::new(control));
    let mut ranges = given.stores.serve(&control, 0);
    say(&control, &ToExecutor::Open(Box::new(given.open.clone())));
    match next(&mut answers, &mut ranges) {
        Some(FromExecutor::Opened(Ok(()))) => {}
        Some(FromExecutor::Opened(Err(message))) => {
            return Ok(Seen::Ended(Err(unbuilt(&given.open.spec.job, &message))));
        }
        Some(_) | None => return Ok(Seen::Gone(None)),
    }
    say(&control, &ToExecutor::Run(given.run.clone()));
    Ok(match next(&mut answers, &mut ranges) {
        Some(FromExecutor::Ended { result, .. }) => Seen::Ended(result),
        Some(_) | None => Seen::Gone(position(board.slot(0), &given.objects)),
    })
}

/// What the executor says next that is not about ranges.
fn next(answers: &mut BufReader<UnixStream>, ranges: &mut RangeServer) -> Option<FromExecutor> {
    loop {
        let message = frame::read::<v1::FromExecutor>(answers).ok()??;
        if let Some(message) = ranges.take(FromExecutor::try_from(message).ok()?) {
            return Some(message);
        }
    }
}
