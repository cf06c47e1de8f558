//! A cluster of child processes of this one: a master and workers, all the same binary. None of them
//! outlives this process, however it ends.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use gristmill_common::size::ByteSize;
use gristmill_master::client::JobsClient;
use gristmill_master::scheduler::SessionState;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;

use super::error::{CliError, Exit};
use super::master::THROWAWAY;
use super::worker::Shuffle;
use crate::render::console::Console;

/// How long master and workers may take to find each other.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a process may take to end in order before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// What to start.
#[derive(Debug, Clone)]
pub(super) struct ClusterPlan {
    /// Worker processes.
    pub(super) workers: u32,
    /// Attempts each runs at once.
    pub(super) slots: u32,
    /// Budget of each.
    pub(super) memory: ByteSize,
    /// Where the master listens.
    pub(super) listen: String,
    /// Whether that may be off loopback.
    pub(super) insecure_listen: bool,
    /// How segments are moved.
    pub(super) shuffle: Shuffle,
    /// Where state and scratch of all lie.
    pub(super) dir: PathBuf,
    /// Whether that goes with the cluster, and so its jobs have no future.
    pub(super) throwaway: bool,
    /// What the processes log, if not what settings say.
    pub(super) log: Option<&'static str>,
}

/// The processes of a running cluster.
pub(super) struct Processes {
    console: Console,
    url: String,
    master: Named,
    workers: Vec<Named>,
    throwaway: bool,
    /// The copying of what the processes print.
    logs: JoinSet<()>,
}

struct Named {
    name: String,
    child: Child,
    /// Whether its end was told.
    told: bool,
}

impl Processes {
    /// Starts the processes and waits until every worker has registered.
    ///
    /// # Errors
    ///
    /// If one of them cannot be started or ends, or they do not find each other in time.
    pub(super) async fn start(console: Console, plan: &ClusterPlan) -> Result<Self, CliError> {
        let mut args: Vec<OsString> = vec!["master".into(), "--listen".into(), plan.listen.clone().into()];
        args.extend(["--state".into(), plan.dir.join("master").into()]);
        if plan.insecure_listen {
            args.push("--insecure-listen".into());
        }
        if plan.throwaway {
            args.push(format!("--{THROWAWAY}").into());
        }
        let mut logs = JoinSet::new();
        let mut master = spawn(console, "master", args, plan.log, &mut logs)?;
        let stdout = master.child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let url = master_url(&mut master, &mut lines).await?;
        copy_lines(console, &master.name, lines, &mut logs);
        let mut processes = Self { console, url, master, workers: vec![], throwaway: plan.throwaway, logs };
        for number in 1..=plan.workers {
            let name = format!("worker {number}");
            let dir = plan.dir.join(format!("worker-{number}"));
            let args: Vec<OsString> = vec![
                "worker".into(),
                "--master".into(),
                processes.url.clone().into(),
                "--listen".into(),
                "127.0.0.1:0".into(),
                "--dir".into(),
                dir.into(),
                "--slots".into(),
                plan.slots.to_string().into(),
                "--memory".into(),
                plan.memory.bytes().to_string().into(),
                "--shuffle".into(),
                plan.shuffle.flag().into(),
                // Segments stay on this machine: compressing them costs more than it saves.
                "--compression".into(),
                "none".into(),
            ];
            let mut worker = spawn(console, &name, args, plan.log, &mut processes.logs)?;
            let stdout = worker.child.stdout.take().expect("it is piped");
            copy_lines(console, &name, BufReader::new(stdout).lines(), &mut processes.logs);
            processes.workers.push(worker);
        }
        processes.await_workers().await?;
        Ok(processes)
    }

    /// The master's URL.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The process ids of the workers that have not ended, in order.
    pub(super) fn worker_pids(&self) -> Vec<u32> {
        self.workers.iter().filter_map(|worker| worker.child.id()).collect()
    }

    /// Waits until a process ends, says so, and answers whether it was the master.
    pub(super) async fn next_end(&mut self) -> bool {
        loop {
            if let Some(status) = self.master.take_end() {
                self.console.insist(format_args!("the master ended ({status})"));
                return true;
            }
            for worker in &mut self.workers {
                if let Some(status) = worker.take_end() {
                    self.console.insist(format_args!("{} ended ({status}); it is not started again", worker.name));
                    return false;
                }
            }
            tokio::time::sleep(10 * LOOK_EVERY).await;
        }
    }

    /// Ends all processes. The workers end first if their master undoes its jobs, so that nobody writes
    /// meanwhile; else last, so that they keep what they have finished for its successor.
    pub(super) async fn stop(mut self) {
        if !self.throwaway {
            self.master.stop().await;
        }
        for worker in &self.workers {
            worker.signal(Signal::TERM);
        }
        for worker in &mut self.workers {
            worker.stop().await;
        }
        if self.throwaway {
            self.master.stop().await;
        }
        // What they still had to say is copied until their streams end, which is now.
        let rest = async { while self.logs.join_next().await.is_some() {} };
        let _rest = tokio::time::timeout(STOP_PATIENCE, rest).await;
    }

    async fn await_workers(&mut self) -> Result<(), CliError> {
        let client = JobsClient::connect(&self.url, START_PATIENCE)
            .await
            .map_err(|error| CliError::new(Exit::Failed, "the master does not answer").because(&error))?;
        let wanted = self.workers.len();
        let registered = async {
            loop {
                if let Some(dead) = self.workers.iter_mut().find_map(|worker| Some((worker.take_end()?, &worker.name)))
                {
                    let (status, name) = dead;
                    return Err(CliError::new(
                        Exit::Failed,
                        format!("{name} ended before it had registered: {status}"),
                    ));
                }
                let cluster = client
                    .workers()
                    .await
                    .map_err(|error| CliError::new(Exit::Failed, "the master does not answer").because(&error))?;
                let live = cluster.workers.iter().filter(|worker| worker.state == SessionState::Live).count();
                if live >= wanted {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(START_PATIENCE, registered).await.unwrap_or_else(|_| {
            let seconds = START_PATIENCE.as_secs();
            Err(CliError::new(Exit::Failed, format!("not all workers have registered within {seconds} s")))
        })
    }
}

impl Named {
    /// How the process ended, the first time that it is found to have ended.
    fn take_end(&mut self) -> Option<ExitStatus> {
        if self.told {
            return None;
        }
        let status = self.child.try_wait().ok().flatten();
        self.told = status.is_some();
        status
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            // It may have ended just now; then nothing is to be done.
            let _ended = kill_process(pid, signal);
        }
    }

    async fn stop(&mut self) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(STOP_PATIENCE, self.child.wait()).await.is_err() {
            let _ended = self.child.kill().await;
        }
    }
}

/// The line in which a master says where it serves.
async fn master_url(master: &mut Named, lines: &mut Lines<BufReader<ChildStdout>>) -> Result<String, CliError> {
    let failed = || CliError::new(Exit::Failed, "the master did not start");
    match tokio::time::timeout(START_PATIENCE, lines.next_line()).await {
        Ok(Ok(Some(url))) => Ok(url),
        Ok(Ok(None)) => Err(match master.child.wait().await {
            Ok(status) => failed().because(&std::io::Error::other(format!("it ended: {status}"))),
            Err(error) => failed().because(&error),
        }),
        Ok(Err(error)) => Err(failed().because(&error)),
        Err(_) => Err(failed().because(&std::io::Error::other("it says nothing"))),
    }
}

fn spawn(
    console: Console,
    name: &str,
    args: Vec<OsString>,
    log: Option<&str>,
    logs: &mut JoinSet<()>,
) -> Result<Named, CliError> {
    let failed = |error: &std::io::Error| CliError::new(Exit::Failed, format!("cannot start {name}")).because(error);
    let mut command = Command::new(std::env::current_exe().map_err(|error| failed(&error))?);
    command.args(args).arg("--parent").arg(std::process::id().to_string());
    if let Some(log) = log {
        command.env("GRISTMILL_LOG", log);
    }
    // A group of its own: Ctrl-C in the terminal is for this process, which ends the others in order.
    command.process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let stderr = child.stderr.take().expect("it is piped");
    copy_lines(console, name, BufReader::new(stderr).lines(), logs);
    Ok(Named { name: name.to_owned(), child, told: false })
}

/// Copies what a process prints to stderr, with its name in front.
fn copy_lines<R>(console: Console, name: &str, mut lines: Lines<BufReader<R>>, logs: &mut JoinSet<()>)
where
    R: AsyncRead + Unpin + Send + 'static,
{
    let name = name.to_owned();
    logs.spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            console.talk(format_args!("[{name}] {line}"));
        }
    });
}
