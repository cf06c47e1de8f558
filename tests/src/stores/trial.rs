//! A job from a store to the same store on a server that runs: its input, its answer on disk, and what must
//! be in the store when it is over.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::servers::{ServerKind, StoreServer};
use crate::cluster::{Cluster, command};
use crate::data::parts;
use crate::waiting::run_to_end_within;

/// How long a job over some megabytes may take on a busy machine, however often something is killed.
pub const DEADLINE: Duration = Duration::from_secs(300);

/// The folder of the input in the bucket. Without the slash, s3s-fs would be asked whether that is an object,
/// and answers 500 each time.
const INPUT: &str = "text/";

/// Word count over the same bytes in a store and on disk.
#[derive(Debug)]
pub struct StoreTrial {
    server: StoreServer,
    binary: PathBuf,
    dir: tempfile::TempDir,
    reducers: usize,
    expect: BTreeMap<String, Vec<u8>>,
}

impl StoreTrial {
    /// Text of so many megabytes on a server, if that is here, and its words counted by so many reduce tasks
    /// on disk.
    ///
    /// # Panics
    ///
    /// If the program `binary` fails at that.
    pub fn start(binary: &Path, kind: ServerKind, megabytes: u32, reducers: usize) -> Option<Self> {
        let server = StoreServer::start(kind)?;
        let dir = tempfile::tempdir().expect("scratch");
        let (text, local) = (dir.path().join("text"), dir.path().join("local"));
        let [bytes, tasks] = [format!("{megabytes}MB"), reducers.to_string()];
        for args in [
            ["generate", "text", "-o", arg(&text), "--bytes", &bytes, "--files", "4"],
            ["run", "word-count", "-i", arg(&text), "-o", arg(&local), "--reducers", &tasks],
        ] {
            let mut program = command(binary, dir.path());
            program.args(args);
            let output = run_to_end_within(DEADLINE, program);
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        for file in fs::read_dir(&text).expect("a folder").map(|file| file.expect("readable").path()) {
            let name = file.file_name().expect("a file").to_string_lossy().into_owned();
            server.put(&format!("{INPUT}{name}"), fs::read(&file).expect("readable"));
        }
        Some(Self { server, binary: binary.to_owned(), dir, reducers, expect: parts(&local) })
    }

    /// The server.
    pub fn server(&self) -> &StoreServer {
        &self.server
    }

    /// A folder for what a test keeps beside.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The arguments of word count from the store to a folder of it, which is reached at `endpoint`.
    pub fn job(&self, folder: &str, endpoint: &str) -> Vec<String> {
        let (input, output) = (self.server.uri(INPUT), self.server.uri(folder));
        let reducers = self.reducers.to_string();
        let args = ["word-count", "-i", &input, "-o", &output, "--reducers", &reducers, "--endpoint", endpoint];
        args.iter().map(|arg| (*arg).to_owned()).collect()
    }

    /// The program with the store's credentials.
    pub fn command(&self, verb: &str, args: &[String]) -> Command {
        let mut command = command(&self.binary, self.dir.path());
        command.envs(self.server.credentials()).arg(verb).args(args);
        command
    }

    /// Runs a job in one process to its end.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    pub fn run(&self, args: &[String]) -> Output {
        run_to_end_within(DEADLINE, self.command("run", args))
    }

    /// A cluster whose processes have the store's credentials.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub fn cluster(&self, workers: usize) -> Cluster {
        let mut cluster = self.master();
        let url = cluster.url().to_owned();
        for _ in 0..workers {
            cluster.add_worker(&["--master", &url]);
        }
        cluster.wait_for_live_workers(workers);
        cluster
    }

    /// The same without workers.
    ///
    /// # Panics
    ///
    /// As [`cluster`](Self::cluster).
    pub fn master(&self) -> Cluster {
        Cluster::with_variables(&self.binary, &self.server.credentials())
    }

    /// Starts `submit` of a job, which waits for its end.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn submit(&self, cluster: &Cluster, args: &[String]) -> Child {
        let mut command = self.command("submit", args);
        command.args(["--master", cluster.url()]).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("the program starts")
    }

    /// What is wrong with a folder that must hold the answer and `_SUCCESS`, with nothing left beside.
    pub fn wrong_with(&self, folder: &str) -> Option<String> {
        let mut keys: Vec<String> = self.expect.keys().map(|name| format!("{folder}/{name}")).collect();
        keys.insert(0, format!("{folder}/_SUCCESS"));
        let found = self.server.keys(folder);
        if found != keys {
            return Some(format!("it has {found:?}"));
        }
        for (name, bytes) in &self.expect {
            let found = self.server.get(&format!("{folder}/{name}"));
            if found.as_ref() != Some(bytes) {
                return Some(format!("{name} has {:?} bytes, not {}", found.map(|found| found.len()), bytes.len()));
            }
        }
        self.uploads_left(folder)
    }

    /// What is in a folder that must be empty, or is left of uploads to it.
    pub fn left_in(&self, folder: &str) -> Option<String> {
        let found = self.server.keys(folder);
        if found.is_empty() { self.uploads_left(folder) } else { Some(format!("it has {found:?}")) }
    }

    fn uploads_left(&self, folder: &str) -> Option<String> {
        let left = self.server.unfinished_uploads(folder).filter(|left| *left > 0);
        left.map(|left| format!("{left} uploads are neither completed nor aborted"))
    }
}

fn arg(path: &Path) -> &str {
    path.to_str().expect("scratch paths are UTF-8")
}
