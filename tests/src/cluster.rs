//! Real processes of a cluster: a master and workers started from a given binary, killed, stopped and
//! restarted by tests. Everything lives in one temporary folder and ends with the value.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use gristmill_common::time::Clock;
use serde_json::Value;

/// How long any one condition may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(300);

/// A master and its workers.
#[derive(Debug)]
pub struct Cluster {
    binary: PathBuf,
    dir: tempfile::TempDir,
    url: String,
    master: Child,
    workers: Vec<Option<Child>>,
}

impl Cluster {
    /// Starts a master and `workers` workers of one slot, and waits until all are connected.
    ///
    /// # Panics
    ///
    /// If they do not come up in time.
    pub fn start(binary: impl Into<PathBuf>, workers: usize) -> Self {
        let binary = binary.into();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (master, url) = start_master(&binary, dir.path(), "127.0.0.1:0");
        let mut cluster = Self { binary, dir, url, master, workers: vec![] };
        for index in 0..workers {
            cluster.workers.push(None);
            cluster.start_worker(index);
        }
        cluster.wait_for_live_workers(workers);
        cluster
    }

    /// The master's URL.
    pub fn url(&self) -> &str {
        &self.url
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

    /// Starts a master that was killed again, on its folder and address.
    ///
    /// # Panics
    ///
    /// If it does not serve.
    pub fn restart_master(&mut self) {
        let listen = self.url.trim_start_matches("http://");
        let (master, url) = start_master(&self.binary, self.dir.path(), listen);
        assert_eq!(url, self.url);
        self.master = master;
    }

    /// Starts worker `index` (again), on its own folder.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start_worker(&mut self, index: usize) {
        let name = format!("worker-{index}");
        let worker = command(&self.binary)
            .args(["worker", "--master", &self.url, "--slots", "1", "--dir"])
            .arg(self.dir.path().join(&name))
            .stdout(Stdio::null())
            .stderr(log(self.dir.path(), &name))
            .spawn();
        self.workers[index] = Some(worker.expect("the worker starts"));
    }

    /// Ends worker `index` with SIGKILL.
    ///
    /// # Panics
    ///
    /// If it is not running.
    pub fn kill_worker(&mut self, index: usize) {
        let mut worker = self.workers[index].take().expect("the worker runs");
        worker.kill().expect("the worker can be killed");
        worker.wait().expect("the worker can be waited for");
    }

    /// Sends a signal such as `STOP` or `CONT` to worker `index`.
    ///
    /// # Panics
    ///
    /// If it is not running.
    pub fn signal_worker(&self, index: usize, signal: &str) {
        let pid = self.workers[index].as_ref().expect("the worker runs").id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().expect("kill is a standard tool");
        assert!(sent.success(), "cannot send {signal} to {pid}");
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
        let mut command = command(&self.binary);
        command.args(args).args(["--master", &self.url]);
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

    /// The folder of everything the cluster keeps.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.workers.iter_mut().flatten().chain([&mut self.master]) {
            // One that is gone already is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a command to its end.
///
/// # Panics
///
/// If it cannot be started, or does not end in time.
pub fn run_to_end(mut command: Command) -> Output {
    let read = |mut file: File| {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a temporary file is readable");
        bytes
    };
    // Files rather than pipes: nothing has to read while the command runs.
    let (stdout, stderr) = (tempfile::tempfile().expect("scratch"), tempfile::tempfile().expect("scratch"));
    command.stdout(stdout.try_clone().expect("scratch")).stderr(stderr.try_clone().expect("scratch"));
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let ended = eventually(|| child.try_wait().expect("a child can be asked").is_some());
    if !ended {
        child.kill().expect("a child can be killed");
    }
    let status = child.wait().expect("a child can be waited for");
    let output = Output { status, stdout: read(stdout), stderr: read(stderr) };
    assert!(ended, "{command:?} did not end; it printed {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Tries `condition` until it holds; `false` after a deadline.
pub fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let clock = Clock::start();
    while clock.now().as_micros() < DEADLINE.as_micros() as u64 {
        if condition() {
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    false
}

/// Starts a master with its state in `dir` and waits for its URL.
fn start_master(binary: &Path, dir: &Path, listen: &str) -> (Child, String) {
    let mut master = command(binary)
        .args(["master", "--listen", listen, "--state"])
        .arg(dir.join("state"))
        .stdout(Stdio::piped())
        .stderr(log(dir, "master"))
        .spawn()
        .expect("the master starts");
    let mut line = String::new();
    let stdout = master.stdout.take().expect("stdout is piped");
    BufReader::new(stdout).read_line(&mut line).expect("the master prints its URL");
    let at = line.find("http://").expect("the master prints its URL");
    let url = line[at..].split_whitespace().next().expect("a URL is a word").to_owned();
    (master, url)
}

fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    // The second names the trial data to tests; to the program it would be an unknown setting.
    command.stdin(Stdio::null()).env_remove("GRISTMILL_MASTER").env_remove("GRISTMILL_TEST_DATA");
    command
}

fn log(dir: &Path, name: &str) -> File {
    File::options().create(true).append(true).open(dir.join(format!("{name}.log"))).expect("a log file")
}
