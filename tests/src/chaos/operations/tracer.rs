//! A process with its threads and children under `ptrace`, one of whose file operations goes wrong.
//! Only for Linux on x86_64: elsewhere the registers are others. Judges nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::calls::{FileCall, Place, Subject, file_call};
use super::{Fault, FaultEffect, Struck};

/// What `PTRACE_GET_SYSCALL_INFO` calls a stop at the entry of a system call; all others are exits.
const ENTRY: u8 = 1;

/// The longest path that Linux takes, in bytes.
const MAX_PATH_BYTES: usize = 4096;

/// What is traced.
#[derive(Debug)]
pub(super) struct Program<'a> {
    /// The program.
    pub(super) binary: &'a Path,
    /// Its arguments.
    pub(super) args: &'a [&'a str],
    /// Its current folder, and the only one in which operations are counted and go wrong.
    pub(super) root: &'a Path,
    /// The file that takes what it prints, stdout and stderr.
    pub(super) printed: &'a Path,
    /// When it is killed if it has not ended, with all its children.
    pub(super) patience: Duration,
}

/// How a traced process ended.
#[derive(Debug)]
pub(super) struct Traced {
    /// Operations up to the one that it struck, or all, that each effect can strike.
    pub(super) operations: BTreeMap<FaultEffect, u64>,
    /// What it struck, if there were as many.
    pub(super) struck: Option<Struck>,
    /// The exit code; `None` if a signal ended it, as it does when it takes too long.
    pub(super) exit: Option<i32>,
}

/// Runs a program to its end while the `fault` strikes one operation of its own or its children's.
/// `started` is told its process id; the calling thread can have no other children meanwhile.
///
/// # Errors
///
/// If it cannot be started, or not be traced.
pub(super) fn trace(program: &Program<'_>, fault: Fault, started: impl FnOnce(u32)) -> io::Result<Traced> {
    let pid = start_stopped(program)?;
    started(pid.as_raw().unsigned_abs());
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options)?;
    kill(pid, Signal::SIGCONT)?;
    let (ended, patience) = (sync_channel::<()>(0), program.patience);
    let watchdog = thread::spawn(move || {
        if ended.1.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            // One that ended at this very moment is what was wanted.
            let _ = killpg(pid, Signal::SIGKILL);
        }
    });
    let mut tracer =
        Tracer { root: program.root, fault, operations: BTreeMap::new(), struck: None, pending: BTreeMap::new() };
    let exit = tracer.run(pid);
    drop(ended.0);
    watchdog.join().expect("the watchdog does not panic");
    Ok(Traced { operations: tracer.operations, struck: tracer.struck, exit: exit? })
}

/// Starts a shell in a process group of its own that stops itself, and becomes the program once it is
/// continued.
fn start_stopped(program: &Program<'_>) -> io::Result<Pid> {
    let printed = File::create(program.printed)?;
    let child = Command::new("sh")
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .arg(program.binary)
        .args(program.args)
        .current_dir(program.root)
        .env("TMPDIR", program.root)
        .env_remove("GRISTMILL_MASTER")
        .env_remove("GRISTMILL_TEST_DATA")
        .env_remove("GRISTMILL_TEST_ROUNDS")
        .stdin(Stdio::null())
        .stdout(printed.try_clone()?)
        .stderr(printed)
        .process_group(0)
        .spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed());
    match waitpid(pid, Some(WaitPidFlag::WUNTRACED))? {
        WaitStatus::Stopped(..) => Ok(pid),
        other => Err(io::Error::other(format!("the shell did not stop itself: {other:?}"))),
    }
}

/// What is put right when a call that was tampered with returns.
#[derive(Debug, Clone, Copy)]
enum Repair {
    /// The call was left out and returns this error.
    Return(Errno),
    /// The call was made with another third argument than this one.
    ThirdArgument(u64),
}

struct Tracer<'a> {
    root: &'a Path,
    fault: Fault,
    operations: BTreeMap<FaultEffect, u64>,
    struck: Option<Struck>,
    /// By thread.
    pending: BTreeMap<Pid, Repair>,
}

impl Tracer<'_> {
    /// Lets everything run until no tracee is left; gives the exit code of `main`.
    fn run(&mut self, main: Pid) -> io::Result<Option<i32>> {
        let mut exit = None;
        loop {
            // Other threads of this process have children of their own.
            let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Ok(status) => status,
                Err(Errno::ECHILD) => return Ok(exit),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let (pid, signal) = match status {
                WaitStatus::Exited(pid, code) => {
                    exit = if pid == main { Some(code) } else { exit };
                    continue;
                }
                WaitStatus::Signaled(..) | WaitStatus::Continued(_) | WaitStatus::StillAlive => continue,
                WaitStatus::PtraceSyscall(pid) => {
                    gone_is_fine(self.at_call(pid))?;
                    (pid, None)
                }
                WaitStatus::PtraceEvent(pid, ..) => (pid, None),
                WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            };
            // What comes after the fault is not looked at, and need not be slow.
            let is_over = self.struck.is_some() && self.pending.is_empty();
            gone_is_fine(if is_over { ptrace::cont(pid, signal) } else { ptrace::syscall(pid, signal) })?;
        }
    }

    /// A thread enters or leaves a system call.
    fn at_call(&mut self, thread: Pid) -> nix::Result<()> {
        if ptrace::syscall_info(thread)?.op == ENTRY {
            return self.enter(thread);
        }
        let Some(repair) = self.pending.remove(&thread) else { return Ok(()) };
        let mut registers = ptrace::getregs(thread)?;
        match repair {
            Repair::Return(error) => registers.rax = (-i64::from(error as i32)).cast_unsigned(),
            Repair::ThirdArgument(value) => registers.rdx = value,
        }
        ptrace::setregs(thread, registers)
    }

    fn enter(&mut self, thread: Pid) -> nix::Result<()> {
        if self.struck.is_some() {
            return Ok(());
        }
        let mut registers = ptrace::getregs(thread)?;
        let Some(call) = file_call(registers.orig_rax) else { return Ok(()) };
        let objects = self.objects(thread, call, &registers);
        if objects.is_empty() {
            return Ok(());
        }
        for effect in FaultEffect::ALL {
            if repair(effect, call, &registers).is_some() {
                *self.operations.entry(effect).or_default() += 1;
            }
        }
        let Some(repair) = repair(self.fault.effect, call, &registers) else { return Ok(()) };
        if self.operations[&self.fault.effect] != self.fault.nth {
            return Ok(());
        }
        match repair {
            Repair::Return(_) => registers.orig_rax = u64::MAX,
            Repair::ThirdArgument(_) => registers.rdx /= 2,
        }
        self.pending.insert(thread, repair);
        self.struck = Some(Struck { call: call.name, objects });
        ptrace::setregs(thread, registers)
    }

    /// The files below the root that the call is about.
    fn objects(&self, thread: Pid, call: &FileCall, registers: &user_regs_struct) -> Vec<PathBuf> {
        let argument = |index: usize| {
            [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9][index]
        };
        let path = |subject: &Subject| match *subject {
            Subject::File(file) => descriptor(thread, argument(file)),
            Subject::Path(place, at) => {
                let name = text_at(thread, argument(at))?;
                let folder = match place {
                    _ if name.is_absolute() => return Some(name),
                    Place::Current => current_folder(thread),
                    Place::Folder(folder) => match argument(folder) as i32 {
                        libc::AT_FDCWD => current_folder(thread),
                        _ => descriptor(thread, argument(folder)),
                    },
                }?;
                Some(if name.as_os_str().is_empty() { folder } else { folder.join(name) })
            }
        };
        call.subjects.iter().filter_map(path).filter(|path| path.starts_with(self.root)).collect()
    }
}

/// What the effect does to this call; `None` if it cannot strike it.
fn repair(effect: FaultEffect, call: &FileCall, registers: &user_regs_struct) -> Option<Repair> {
    match effect {
        FaultEffect::Io => Some(Repair::Return(Errno::EIO)),
        FaultEffect::Full => {
            call.takes_space(registers.rsi, registers.rdx, registers.r10).then_some(Repair::Return(Errno::ENOSPC))
        }
        FaultEffect::Short => (call.is_transfer && registers.rdx > 1).then_some(Repair::ThirdArgument(registers.rdx)),
    }
}

/// A tracee may be killed between its stop and what is done about it.
fn gone_is_fine(result: nix::Result<()>) -> nix::Result<()> {
    match result {
        Err(Errno::ESRCH) => Ok(()),
        other => other,
    }
}

/// What a thread's descriptor is open on.
fn descriptor(thread: Pid, descriptor: u64) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{thread}/fd/{}", descriptor as i32)).ok()
}

fn current_folder(thread: Pid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{thread}/cwd")).ok()
}

/// The text that ends with a zero byte at an address of a thread.
fn text_at(thread: Pid, address: u64) -> Option<PathBuf> {
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut bytes = vec![0; MAX_PATH_BYTES];
    // It may end at the end of what is mapped.
    let read = memory.read_at(&mut bytes, address).ok()?;
    let end = bytes[..read].iter().position(|&byte| byte == 0)?;
    Some(PathBuf::from(std::str::from_utf8(&bytes[..end]).ok()?))
}
