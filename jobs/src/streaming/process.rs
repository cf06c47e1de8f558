//! One command of a streaming job while it runs: what is written to its stdin, read from its stdout and
//! heard on its stderr, all by the thread that asks. No pipe is ever waited for alone, so a command may
//! read and write in any order and amount; nothing is held in memory but one buffer of its output.

use std::io::{ErrorKind, Read, Write as _};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gristmill_common::job::{JobError, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};

use super::listener::Listener;

/// Bytes that each pipe holds, where the system lets it. Larger pipes mean fewer turns between this
/// process and the command; all of them count against the user's share of memory in pipes.
const PIPE_BYTES: usize = 1 << 20;

/// Bytes of output read at once.
const OUTPUT_BYTES: usize = 256 << 10;

/// Bytes of stderr read at once.
const STDERR_BYTES: usize = 16 << 10;

/// How long a command is waited for between two looks at whether the attempt is to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// The shortest and the longest time between two looks at whether a command has ended that closed its
/// stdout: nearly all have by then, and a few go on for long.
const LEAST_PAUSE: Duration = Duration::from_micros(50);
const MOST_PAUSE: Duration = Duration::from_millis(20);

/// Reads of stderr after the end of a command, whose children may go on writing for ever.
const LAST_READS: usize = 64;

/// How often a program is tried that was just copied: a process that another thread starts meanwhile may
/// hold it open for a moment.
const BUSY_TRIES: usize = 1000;

/// Takes output: as many whole records of the bytes as there are, and at the end what is left. Tells how
/// many bytes it took.
pub(super) type Take<'a> = dyn FnMut(&[u8], bool) -> Result<usize> + 'a;

/// What a command is allowed.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// What it is in the job, and the command as it was given.
    pub(super) name: String,
    /// Whether it may end with another code than 0.
    pub(super) lenient: bool,
    /// The most bytes of one record.
    pub(super) max_record: usize,
    /// Set when the attempt is to stop.
    pub(super) cancelled: Arc<AtomicBool>,
}

/// A command that runs.
#[derive(Debug)]
pub(super) struct Process {
    terms: Terms,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// Output that was not taken yet is in `output[..held]`.
    output: Vec<u8>,
    held: usize,
    listener: Listener,
}

impl Process {
    /// Starts a command.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(super) fn start(command: &mut Command, terms: Terms, listener: Listener) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut spawned = command.spawn();
        for _ in 0..BUSY_TRIES {
            if !spawned.as_ref().is_err_and(|error| error.kind() == ErrorKind::ExecutableFileBusy) {
                break;
            }
            std::thread::yield_now();
            spawned = command.spawn();
        }
        let mut child = spawned.map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::NotFound => " (it must be on PATH wherever tasks run, or be shipped with -files)",
                ErrorKind::PermissionDenied => " (is it executable?)",
                _ => "",
            };
            JobError::new(format!("cannot start {}: {error}{hint}", terms.name))
        })?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let output = vec![0; OUTPUT_BYTES];
        let process = Self { terms, child, stdin, stdout, stderr, output, held: 0, listener };
        process
            .set_up_pipes()
            .map_err(|error| JobError::new(format!("cannot talk to {}: {error}", process.terms.name)))?;
        Ok(process)
    }

    fn set_up_pipes(&self) -> std::result::Result<(), Errno> {
        for pipe in [self.stdin.as_ref().map(widen), self.stdout.as_ref().map(widen)].into_iter().flatten() {
            pipe?;
        }
        self.stderr.as_ref().map_or(Ok(()), |pipe| ioctl_fionbio(pipe, true))
    }

    /// What the command said besides its output.
    pub(super) fn listener(&mut self) -> &mut Listener {
        &mut self.listener
    }

    /// Writes all of `input` to the command, and takes what output there is meanwhile. Input that the
    /// command does not want any more is dropped.
    ///
    /// # Errors
    ///
    /// That of `take`; or the command has failed.
    pub(super) fn feed(&mut self, mut input: &[u8], take: &mut Take<'_>) -> Result<()> {
        loop {
            let wrote = self.write(&mut input)?;
            let moved = self.read_output(take)? | self.read_stderr()? | wrote;
            if self.stdin.is_none() {
                // It wants no more. If it failed, there is no need to read the rest of the input first.
                return match self.child.try_wait() {
                    Ok(Some(status)) if !self.may_end_with(status) => self.finish(take),
                    _ => Ok(()),
                };
            }
            if input.is_empty() {
                return Ok(());
            }
            if !moved {
                self.wait(PATIENCE)?;
            }
        }
    }

    /// Closes the command's stdin, takes the rest of its output and waits for its end.
    ///
    /// # Errors
    ///
    /// That of `take`; or the command has failed.
    pub(super) fn finish(&mut self, take: &mut Take<'_>) -> Result<()> {
        self.stdin = None;
        while self.stdout.is_some() {
            if !(self.read_output(take)? | self.read_stderr()?) && self.stdout.is_some() {
                self.wait(PATIENCE)?;
            }
        }
        let rest = self.held;
        if take(&self.output[..rest], true)? < rest {
            return Err(JobError::new(format!("the output of {} ends in the middle of a record", self.terms.name)));
        }
        self.held = 0;
        let status = self.ended()?;
        self.listener.end();
        if self.may_end_with(status) {
            return Ok(());
        }
        Err(JobError::new(format!("{} {}{}", self.terms.name, shown(status), self.listener.last_words())))
    }

    /// Waits for the end of a command that has closed its stdout.
    fn ended(&mut self) -> Result<ExitStatus> {
        let failed = |name: &str, error: std::io::Error| JobError::new(format!("cannot wait for {name}: {error}"));
        let mut pause = LEAST_PAUSE;
        let status = loop {
            while self.read_stderr()? {}
            if let Some(status) = self.child.try_wait().map_err(|error| failed(&self.terms.name, error))? {
                break status;
            }
            self.wait(pause)?;
            pause = (2 * pause).min(MOST_PAUSE);
        };
        for _ in 0..LAST_READS {
            if !self.read_stderr()? {
                break;
            }
        }
        Ok(status)
    }

    fn may_end_with(&self, status: ExitStatus) -> bool {
        status.success() || self.terms.lenient
    }

    /// Writes what the pipe takes; tells whether that was anything.
    fn write(&mut self, input: &mut &[u8]) -> Result<bool> {
        let Some(stdin) = &mut self.stdin else { return Ok(false) };
        if input.is_empty() {
            return Ok(false);
        }
        match stdin.write(input) {
            Ok(written) => *input = &input[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.stdin = None,
            Err(error) => return Err(JobError::new(format!("cannot write to {}: {error}", self.terms.name))),
        }
        Ok(true)
    }

    /// Reads what output there is and has it taken; tells whether that was anything.
    fn read_output(&mut self, take: &mut Take<'_>) -> Result<bool> {
        let Some(stdout) = &mut self.stdout else { return Ok(false) };
        match read(stdout, &mut self.output[self.held..]) {
            Ok(None) => return Ok(false),
            Ok(Some(0)) => self.stdout = None,
            Ok(Some(bytes)) => self.held += bytes,
            Err(error) => return Err(JobError::new(format!("cannot read the output of {}: {error}", self.terms.name))),
        }
        let taken = take(&self.output[..self.held], false)?;
        self.output.copy_within(taken..self.held, 0);
        self.held -= taken;
        if self.held == self.output.len() {
            if self.held > self.terms.max_record {
                let text = format!("{} wrote a record of more than {} bytes", self.terms.name, self.terms.max_record);
                return Err(JobError::new(text + "; --memory sets how long one may be"));
            }
            self.output.resize(2 * self.held, 0);
        }
        Ok(true)
    }

    /// Hears what there is; tells whether that was anything.
    fn read_stderr(&mut self) -> Result<bool> {
        let Some(stderr) = &mut self.stderr else { return Ok(false) };
        let mut heard = [0; STDERR_BYTES];
        match read(stderr, &mut heard) {
            Ok(None) => return Ok(false),
            Ok(Some(0)) => self.stderr = None,
            Ok(Some(bytes)) => self.listener.hear(&heard[..bytes])?,
            Err(error) => return Err(JobError::new(format!("cannot read the stderr of {}: {error}", self.terms.name))),
        }
        Ok(true)
    }

    /// Waits until any pipe has something to do, or for so long.
    fn wait(&self, at_most: Duration) -> Result<()> {
        if self.terms.cancelled.load(Ordering::Relaxed) {
            return Err(JobError::interrupted());
        }
        let stdin = self.stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT));
        let stdout = self.stdout.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN));
        let stderr = self.stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN));
        let mut pipes: Vec<PollFd<'_>> = [stdin, stdout, stderr].into_iter().flatten().collect();
        let at_most = Timespec { tv_sec: 0, tv_nsec: at_most.subsec_nanos().into() };
        match poll(&mut pipes, Some(&at_most)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(JobError::new(format!("cannot wait for {}: {error}", self.terms.name))),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and nobody asks for the code of the others.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a pipe large and one that does not wait.
fn widen(pipe: &impl std::os::fd::AsFd) -> std::result::Result<(), Errno> {
    // What the system does not give is only missed in speed.
    #[cfg(target_os = "linux")]
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
    ioctl_fionbio(pipe, true)
}

/// Reads what there is: `None` if that is nothing yet, 0 at the end.
fn read(pipe: &mut impl Read, into: &mut [u8]) -> std::io::Result<Option<usize>> {
    loop {
        match pipe.read(into) {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// How a command ended.
fn shown(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}
