//! Real processes of a cluster: a master and workers started from a given binary, killed, stopped and
//! restarted by tests. Everything lives in one temporary folder and ends with the value.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub use crate::waiting::{eventually, eventually_within, run_to_end};

/// How long a process that is asked to end may take.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// What a master says that cannot listen on the port it was told.
const PORT_TAKEN: &str = "Address already in use";

/// Lines of a log in which the reason of an end is looked for.
const LAST_LINES: usize = 4;

/// A master and its workers.
#[derive(Debug)]
pub struct Cluster {
    binary: PathBuf,
    dir: tempfile::TempDir,
    url: String,
    master: Child,
    workers: Vec<Member>,
    /// Variables that its processes have besides those of the test.
    variables: Vec<(String, String)>,
}

/// A worker that runs or may run again.
#[derive(Debug)]
struct Member {
    process: Option<Child>,
    /// What it is told besides its folder.
    args: Vec<String>,
}

impl Cluster {
    /// Starts a master and `workers` workers of one slot, and waits until all are connected.
    ///
    /// # Panics
    ///
    /// If they do not come up in time.
    pub fn start(binary: impl Into<PathBuf>, workers: usize) -> Self {
        Self::start_with(binary, workers, &[])
    }

    /// The same with more arguments for each worker.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_with(binary: impl Into<PathBuf>, workers: usize, worker_args: &[&str]) -> Self {
        let mut cluster = Self::without_workers(binary);
        let url = cluster.url.clone();
        for _ in 0..workers {
            cluster.add_worker(&[&["--master", &url], worker_args].concat());
        }
        cluster.wait_for_live_workers(workers);
        cluster
    }

    /// Starts a master alone.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub fn without_workers(binary: impl Into<PathBuf>) -> Self {
        Self::with_variables(binary, &[])
    }

    /// Starts a master alone; it and the workers to come have these variables besides the test's.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub fn with_variables(binary: impl Into<PathBuf>, variables: &[(&str, &str)]) -> Self {
        let binary = binary.into();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Vec<_> = variables.iter().map(owned).collect();
        let (master, url) = start_master(&binary, dir.path(), "127.0.0.1:0", &variables);
        Self { binary, dir, url, master, workers: vec![], variables }
    }

    /// Starts one more worker of one slot, with these arguments besides its folder, and does not wait
    /// for it; gives its index.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn add_worker(&mut self, args: &[&str]) -> usize {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self.workers.push(Member { process: None, args });
        self.start_worker(self.workers.len() - 1);
        self.workers.len() - 1
    }

    /// How many workers there are, running or not.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// From now on, processes are started with these variables besides those of the test.
    pub fn set_variables(&mut self, variables: &[(&str, &str)]) {
        self.variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    }

    /// The master's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The master's process.
    pub fn master_pid(&self) -> u32 {
        self.master.id()
    }

    /// Ends the master with SIGKILL.
    ///
    /// # Panics
    ///
    /// If it cannot be killed.
    pub fn kill_master(&mut self) {
        self.master.kill().expect("the master can be killed");
        self.master.wait().expect("the master can be waited for");
    }

    /// Asks the master to end in order, and waits until it has.
    ///
    /// # Panics
    ///
    /// If it does not end in time, or ends with an error.
    pub fn stop_master(&mut self) {
        ask_to_end(self.master.id());
        let mut status = None;
        let ended = eventually_within(END_PATIENCE, || {
            status = self.master.try_wait().expect("a child can be asked");
            status.is_some()
        });
        assert!(ended && status.is_some_and(|status| status.success()), "{status:?}\n{}", self.logs());
    }

    /// Starts a master that has ended again, on its folder and address. A client of another cluster may have
    /// the port as its own for a while; then it is tried again.
    ///
    /// # Panics
    ///
    /// If it does not serve.
    pub fn restart_master(&mut self) {
        let listen = self.url.trim_start_matches("http://").to_owned();
        let mut served = None;
        eventually(|| {
            let mut command = master_command(&self.binary, self.dir.path(), &listen);
            command.envs(self.variables.iter().cloned());
            let (master, url) = await_url(command.spawn().expect("the master starts"));
            self.master = master;
            served = url;
            if served.is_none() {
                self.master.wait().expect("the master can be waited for");
            }
            served.is_some() || !self.last_words_of_master().contains(PORT_TAKEN)
        });
        assert_eq!(served.as_ref(), Some(&self.url), "{}", self.logs());
    }

    /// What the last master said last.
    fn last_words_of_master(&self) -> String {
        let said = std::fs::read_to_string(self.dir.path().join("master.log")).unwrap_or_default();
        said.lines().rev().take(LAST_LINES).collect::<Vec<_>>().join("\n")
    }

    /// The same with a master that dies where it comes by the failpoint `place` after it has passed it so
    /// often, for which the program must have been built with them. Tells whether it got as far as to serve.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn restart_master_dying_at(&mut self, place: &str, after: usize) -> bool {
        let listen = self.url.trim_start_matches("http://");
        let mut command = master_command(&self.binary, self.dir.path(), listen);
        command.env("FAILPOINTS", dying_at(place, after)).envs(self.variables.iter().cloned());
        let (master, url) = await_url(command.spawn().expect("the master starts"));
        self.master = master;
        url.is_some()
    }

    /// Whether the master has ended though nobody killed it.
    ///
    /// # Panics
    ///
    /// If the child cannot be asked.
    pub fn master_ended_by_itself(&mut self) -> bool {
        self.master.try_wait().expect("a child can be asked").is_some()
    }

    /// Starts worker `index` (again), on its own folder.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start_worker(&mut self, index: usize) {
        let name = format!("worker-{index}");
        let says = self.workers[index].args.iter().any(|arg| arg == "--slots");
        let slots: &[&str] = if says { &[] } else { &["--slots", "1"] };
        let worker = command(&self.binary, self.dir.path())
            .args(["worker", "--dir"])
            .arg(self.worker_dir(index))
            .args(slots)
            .args(&self.workers[index].args)
            .envs(self.variables.iter().cloned())
            .stdout(Stdio::null())
            .stderr(log(self.dir.path(), &name))
            .spawn();
        self.workers[index].process = Some(worker.expect("the worker starts"));
    }

    /// Starts the workers that do not run.
    ///
    /// # Panics
    ///
    /// If one cannot be started.
    pub fn start_missing_workers(&mut self) {
        for index in 0..self.workers.len() {
            if self.workers[index].process.is_none() {
                self.start_worker(index);
            }
        }
    }

    /// Ends worker `index` with SIGKILL.
    ///
    /// # Panics
    ///
    /// If it is not running.
    pub fn kill_worker(&mut self, index: usize) {
        let mut worker = self.workers[index].process.take().expect("the worker runs");
        worker.kill().expect("the worker can be killed");
        worker.wait().expect("the worker can be waited for");
    }

    /// Sends a signal such as `STOP` or `CONT` to worker `index`.
    ///
    /// # Panics
    ///
    /// If it is not running.
    pub fn signal_worker(&self, index: usize, signal: &str) {
        let pid = self.worker_pid(index).to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().expect("kill is a standard tool");
        assert!(sent.success(), "cannot send {signal} to {pid}");
    }

    /// The process of worker `index`.
    ///
    /// # Panics
    ///
    /// If it is not running.
    pub fn worker_pid(&self, index: usize) -> u32 {
        self.workers[index].process.as_ref().expect("the worker runs").id()
    }

    /// The folder of worker `index`.
    pub fn worker_dir(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("worker-{index}"))
    }

    /// The processes that ended though nobody killed them, and how. They are forgotten, and workers
    /// may be started again.
    ///
    /// # Panics
    ///
    /// If a child cannot be asked.
    pub fn ended_by_themselves(&mut self) -> Vec<String> {
        let mut ended = Vec::new();
        for (index, member) in self.workers.iter_mut().enumerate() {
            let status = member.process.as_mut().and_then(|child| child.try_wait().expect("a child can be asked"));
            if let Some(status) = status {
                member.process = None;
                ended.push(format!("worker {index} ended: {status}"));
            }
        }
        if let Some(status) = self.master.try_wait().expect("a child can be asked") {
            ended.push(format!("the master ended: {status}"));
        }
        ended
    }

    /// Asks all processes to end, workers first, and waits until they have; gives those that had to be
    /// killed or ended with an error.
    ///
    /// # Panics
    ///
    /// If a child cannot be asked.
    pub fn end(&mut self) -> Vec<String> {
        let workers = self.workers.iter_mut().enumerate();
        let workers = workers.filter_map(|(index, member)| Some((format!("worker {index}"), member.process.as_mut()?)));
        let mut all: Vec<_> = workers.collect();
        all.push(("the master".to_owned(), &mut self.master));
        let mut unwilling = Vec::new();
        for (name, child) in all {
            ask_to_end(child.id());
            let mut status = None;
            eventually_within(END_PATIENCE, || {
                status = child.try_wait().expect("a child can be asked");
                status.is_some()
            });
            match status {
                Some(status) if status.success() => {}
                Some(status) => unwilling.push(format!("{name} ended with {status}")),
                None => unwilling.push(format!("{name} did not end when asked to")),
            }
        }
        unwilling
    }

    /// Runs `gristmill ARGS… --master URL` to its end.
    ///
    /// # Panics
    ///
    /// If it cannot be started, or does not end in time.
    pub fn run(&self, args: &[&str]) -> Output {
        run_to_end(self.command(args))
    }

    /// The command `gristmill ARGS… --master URL`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = command(&self.binary, self.dir.path());
        command.envs(self.variables.iter().cloned()).args(args).args(["--master", &self.url]);
        command
    }

    /// The command `gristmill ARGS…`, which needs no master.
    pub fn embedded(&self, args: &[&str]) -> Command {
        let mut command = command(&self.binary, self.dir.path());
        command.envs(self.variables.iter().cloned()).args(args);
        command
    }

    /// The object that `gristmill ARGS… --json` prints.
    ///
    /// # Panics
    ///
    /// If it prints something else.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("{args:?} printed {text:?} ({error}); {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// Submits and does not wait; gives the job's id.
    ///
    /// # Panics
    ///
    /// If the job is refused.
    pub fn submit_detached(&self, args: &[&str]) -> String {
        let output = self.run(&[&["submit"], args, &["--detach"]].concat());
        assert!(output.status.success(), "refused: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("an id is text").trim().to_owned()
    }

    /// Waits until `condition` holds of a job's status, and gives that status.
    ///
    /// # Panics
    ///
    /// If it does not in time; with what the master and the workers logged.
    pub fn wait_for_job(&self, job: &str, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let held = eventually(|| {
            last = self.json(&["status", job]);
            condition(&last)
        });
        assert!(held, "{what} did not come true; last status: {last:#}\n{}", self.logs());
        last
    }

    /// Waits until exactly `count` workers are live.
    ///
    /// # Panics
    ///
    /// If they are not in time.
    pub fn wait_for_live_workers(&self, count: usize) {
        let mut last = Value::Null;
        let held = eventually(|| {
            last = self.json(&["workers"]);
            let workers = last["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
            workers.iter().filter(|worker| worker["state"] == "live").count() == count
        });
        assert!(held, "not {count} live workers: {last:#}\n{}", self.logs());
    }

    /// What the processes wrote to stderr, the ends of it.
    pub fn logs(&self) -> String {
        let mut logs = String::new();
        for entry in std::fs::read_dir(self.dir.path()).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "log") {
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let tail = text.lines().rev().take(30).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>();
                logs.push_str(&format!("--- {}\n{}\n", entry.file_name().to_string_lossy(), tail.join("\n")));
            }
        }
        logs
    }

    /// Copies what the processes wrote to stderr, a file each, to a folder, which is made if need be.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn copy_logs(&self, to: &Path) {
        std::fs::create_dir_all(to).expect("the folder for logs can be made");
        for path in self.dir.path().read_dir().into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "log") {
                let name = path.file_name().expect("a log has a name");
                std::fs::copy(&path, to.join(name)).expect("a log can be copied");
            }
        }
    }

    /// The folder of everything the cluster keeps.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.workers.iter_mut().filter_map(|member| member.process.as_mut()).chain([&mut self.master]) {
            // One that is gone already is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The variable that has a program die at a failpoint that it has passed so often.
pub(crate) fn dying_at(place: &str, after: usize) -> String {
    // Zero times would be always.
    if after == 0 { format!("{place}=panic") } else { format!("{place}={after}*off->panic") }
}

/// Starts a master with its state in `dir` and waits for its URL.
fn start_master(binary: &Path, dir: &Path, listen: &str, variables: &[(String, String)]) -> (Child, String) {
    let mut command = master_command(binary, dir, listen);
    let (master, url) = await_url(command.envs(variables.iter().cloned()).spawn().expect("the master starts"));
    (master, url.expect("the master prints its URL"))
}

fn master_command(binary: &Path, dir: &Path, listen: &str) -> Command {
    let mut command = command(binary, dir);
    command.args(["master", "--listen", listen, "--state"]).arg(dir.join("state"));
    command.stdout(Stdio::piped()).stderr(log(dir, "master"));
    command
}

/// Waits until a master prints its URL, or ends.
fn await_url(mut master: Child) -> (Child, Option<String>) {
    let mut line = String::new();
    let stdout = master.stdout.take().expect("stdout is piped");
    BufReader::new(stdout).read_line(&mut line).expect("what the master prints is text");
    let url = line.find("http://").and_then(|at| line[at..].split_whitespace().next().map(str::to_owned));
    (master, url)
}

/// Asks a process to end in order.
pub(crate) fn ask_to_end(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // One that is gone already is what is wanted.
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// The program, with its temporary files in the cluster's folder, where they can be found.
pub(crate) fn command(binary: &Path, dir: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env("TMPDIR", dir);
    // The others are for tests; to the program they would be unknown settings.
    command.stdin(Stdio::null()).env_remove("GRISTMILL_MASTER").env_remove("GRISTMILL_TEST_DATA");
    command.env_remove("GRISTMILL_TEST_ROUNDS");
    command
}

fn log(dir: &Path, name: &str) -> File {
    File::options().create(true).append(true).open(dir.join(format!("{name}.log"))).expect("a log file")
}
