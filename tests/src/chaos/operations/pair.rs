//! A cluster of one master and one worker, one of which is traced and started again, untraced, if it
//! ends by itself. Judges nothing.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;

use super::Fault;
use super::tracer::{Program, Traced, trace};
use crate::chaos::arena::free_address;
use crate::chaos::processes::signal;
use crate::cluster::{ask_to_end, command, eventually_within};

/// How long the master may take until it serves, and either may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(20);

/// When a traced process is killed, whatever happens: later than all that is waited for.
const LIFETIME: Duration = Duration::from_secs(180);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Master,
    Worker,
}

impl Role {
    /// Its verb on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Worker => "worker",
        }
    }
}

/// Where everything lies.
#[derive(Debug)]
pub(super) struct Site {
    binary: PathBuf,
    /// Holds the root, and beside it what the processes print, which is no operation of theirs.
    dir: tempfile::TempDir,
}

impl Site {
    pub(super) fn new(binary: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("operations-").tempdir().expect("a temporary folder");
        let site = Self { binary: binary.to_owned(), dir };
        fs::create_dir(site.root()).expect("a scratch folder");
        site
    }

    /// The folder in which operations count.
    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// The file that takes what a process prints.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.log"))
    }

    /// The program with its temporary files in the root.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = command(&self.binary, &self.root());
        command.current_dir(self.root()).args(args);
        command
    }

    /// What a member is told: its folder and the master's address.
    fn args(&self, role: Role, master: SocketAddr) -> Vec<String> {
        let folder = self.root().join(role.name()).display().to_string();
        let words = match role {
            Role::Master => ["--listen".to_owned(), master.to_string(), "--state".to_owned(), folder].to_vec(),
            Role::Worker => {
                let of = ["--master".to_owned(), format!("http://{master}"), "--dir".to_owned(), folder];
                [&of[..], &["--slots".to_owned(), "1".to_owned()]].concat()
            }
        };
        [&[role.name().to_owned()], &words[..]].concat()
    }
}

/// How a member ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) role: Role,
    /// Whether it was asked to.
    pub(super) asked: bool,
    /// The exit code; `None` if a signal ended it.
    pub(super) exit: Option<i32>,
    /// What the tracer saw, if it was traced.
    pub(super) traced: Option<Traced>,
    pub(super) printed: String,
}

/// The two processes. Dropping it kills them.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    site: &'a Site,
    master: SocketAddr,
    /// Those that run.
    members: Vec<Member>,
    /// How those ended that are no more.
    ends: Vec<End>,
}

#[derive(Debug)]
struct Member {
    role: Role,
    log: PathBuf,
    process: Process,
}

#[derive(Debug)]
enum Process {
    Traced { pid: u32, tracer: JoinHandle<io::Result<Traced>> },
    Plain(Child),
}

impl<'a> Pair<'a> {
    /// Starts a master, waits until it or its successor serves, and starts a worker. The fault strikes
    /// the one with this role. If no master serves in time, nobody will reach one.
    pub(super) fn start(site: &'a Site, role: Role, fault: Fault) -> Self {
        let mut pair = Self::with_master(site, (role == Role::Master).then_some(fault));
        pair.add(Role::Worker, (role == Role::Worker).then_some(fault));
        pair
    }

    /// Starts a master alone.
    pub(super) fn without_worker(site: &'a Site) -> Self {
        Self::with_master(site, None)
    }

    fn with_master(site: &'a Site, fault: Option<Fault>) -> Self {
        let mut pair = Self { site, master: free_address(), members: Vec::new(), ends: Vec::new() };
        pair.add(Role::Master, fault);
        eventually_within(PATIENCE, || {
            pair.tend();
            let serves = |member: &Member| fs::read_to_string(&member.log).is_ok_and(|text| text.contains("http://"));
            pair.members.iter().any(serves)
        });
        pair
    }

    /// The master's URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.master)
    }

    /// Notes who has ended, and starts a traced one again, untraced.
    pub(super) fn tend(&mut self) {
        while let Some(index) = self.members.iter_mut().position(Member::has_ended) {
            let end = self.members.remove(index).end(false);
            if end.traced.is_some() {
                self.add(end.role, None);
            }
            self.ends.push(end);
        }
    }

    /// How often a member was started again.
    pub(super) fn ended_by_themselves(&self) -> usize {
        self.ends.iter().filter(|end| !end.asked).count()
    }

    /// Asks the worker, then the master, to end, and kills whoever does not; gives how all members ended,
    /// earlier ones too.
    pub(super) fn end(mut self) -> Vec<End> {
        for role in [Role::Worker, Role::Master] {
            self.tend();
            let Some(index) = self.members.iter().position(|member| member.role == role) else { continue };
            let mut member = self.members.remove(index);
            ask_to_end(member.pid());
            if !eventually_within(PATIENCE, || member.has_ended()) {
                // A traced one ends with its tracer's patience.
                member.kill();
            }
            self.ends.push(member.end(true));
        }
        std::mem::take(&mut self.ends)
    }

    fn add(&mut self, role: Role, fault: Option<Fault>) {
        let args = self.site.args(role, self.master);
        let log =
            self.site.log(&if fault.is_some() { format!("{}-traced", role.name()) } else { role.name().to_owned() });
        let process = match fault {
            Some(fault) => start_traced(self.site, args, &log, fault),
            None => {
                let printed = File::create(&log).expect("a scratch file");
                let mut command = self.site.command(&args.iter().map(String::as_str).collect::<Vec<_>>());
                command.stdin(Stdio::null()).stdout(printed.try_clone().expect("scratch")).stderr(printed);
                Process::Plain(command.spawn().expect("the program starts"))
            }
        };
        self.members.push(Member { role, log, process });
    }
}

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        for mut member in self.members.drain(..) {
            member.kill();
            member.end(false);
        }
    }
}

/// Starts a process under a tracer of its own; gives both once it has a process id.
fn start_traced(site: &Site, args: Vec<String>, log: &Path, fault: Fault) -> Process {
    let (binary, root, printed) = (site.binary.clone(), site.root(), log.to_owned());
    let (tell, told) = sync_channel(1);
    let tracer = thread::spawn(move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let program = Program { binary: &binary, args: &args, root: &root, printed: &printed, patience: LIFETIME };
        trace(&program, fault, |pid| tell.send(pid).expect("it is waited for"))
    });
    let pid = told.recv().expect("this process may start and trace children");
    Process::Traced { pid, tracer }
}

impl Member {
    fn pid(&self) -> u32 {
        match &self.process {
            Process::Traced { pid, .. } => *pid,
            Process::Plain(child) => child.id(),
        }
    }

    /// Whether it is gone, and all that it started if it was traced.
    fn has_ended(&mut self) -> bool {
        match &mut self.process {
            Process::Traced { tracer, .. } => tracer.is_finished(),
            Process::Plain(child) => child.try_wait().expect("a child can be asked").is_some(),
        }
    }

    fn kill(&mut self) {
        match &mut self.process {
            Process::Traced { pid, .. } => signal(&[*pid], Signal::KILL),
            // One that is gone already is what is wanted.
            Process::Plain(child) => drop(child.kill()),
        }
    }

    /// Waits for its end.
    fn end(self, asked: bool) -> End {
        let (exit, traced) = match self.process {
            Process::Traced { tracer, .. } => {
                let traced = tracer.join().expect("the tracer does not panic").expect("a child can be traced");
                (traced.exit, Some(traced))
            }
            Process::Plain(mut child) => (child.wait().expect("a child can be waited for").code(), None),
        };
        let printed = fs::read_to_string(&self.log).unwrap_or_default();
        End { role: self.role, asked, exit, traced, printed }
    }
}
