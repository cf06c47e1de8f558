//! Waiting with a deadline, for conditions and for commands.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::{Child, Command, ExitStatus, Output};
use std::time::Duration;

use gristmill_common::time::Clock;

/// How long any one condition may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(300);

/// Runs a command to its end.
///
/// # Panics
///
/// If it cannot be started, or does not end in time.
pub fn run_to_end(command: Command) -> Output {
    run_to_end_within(DEADLINE, command)
}

/// Runs a command to its end, which comes within `deadline`.
///
/// # Panics
///
/// If it cannot be started, or does not end in time.
pub fn run_to_end_within(deadline: Duration, command: Command) -> Output {
    run_watched(deadline, command, |_| {})
}

/// Runs a command to its end, and calls `watch` with its process id every few milliseconds until then.
///
/// # Panics
///
/// If it cannot be started, or does not end in time.
pub fn run_to_end_watched(command: Command, watch: impl FnMut(u32)) -> Output {
    run_watched(DEADLINE, command, watch)
}

fn run_watched(deadline: Duration, mut command: Command, mut watch: impl FnMut(u32)) -> Output {
    let read = |mut file: File| {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a temporary file is readable");
        bytes
    };
    // Files rather than pipes: nothing has to read while the command runs.
    let (stdout, stderr) = (tempfile::tempfile().expect("scratch"), tempfile::tempfile().expect("scratch"));
    command.stdout(stdout.try_clone().expect("scratch")).stderr(stderr.try_clone().expect("scratch"));
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let ended = eventually_within(deadline, || {
        watch(child.id());
        child.try_wait().expect("a child can be asked").is_some()
    });
    if !ended {
        child.kill().expect("a child can be killed");
    }
    let status = child.wait().expect("a child can be waited for");
    let output = Output { status, stdout: read(stdout), stderr: read(stderr) };
    assert!(ended, "{command:?} did not end; it printed {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// How a process ended, which it does in time.
///
/// # Panics
///
/// If it does not; it is killed then.
pub fn end_of(child: &mut Child) -> ExitStatus {
    let ended = eventually(|| child.try_wait().expect("a child can be asked").is_some());
    if !ended {
        child.kill().expect("a child can be killed");
    }
    let status = child.wait().expect("a child can be waited for");
    assert!(ended, "process {} did not end", child.id());
    status
}

/// Tries `condition` until it holds; `false` after a deadline.
pub fn eventually(condition: impl FnMut() -> bool) -> bool {
    eventually_within(DEADLINE, condition)
}

/// Tries `condition` until it holds; `false` if it does not within `deadline`.
pub fn eventually_within(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let clock = Clock::start();
    while clock.now().as_micros() < deadline.as_micros() as u64 {
        if condition() {
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    false
}
