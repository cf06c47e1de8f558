//! A job of a master and a worker, and what must hold when an operation of one of them goes wrong.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use gristmill_common::storage::content_of;

use super::pair::{End, Pair, Role, Site};
use super::{BadRun, Fault, OperationsOptions, OperationsVerdict, PANICKED, Struck, wrong_error};
use crate::chaos::processes::of_cluster;
use crate::cluster::eventually_within;
use crate::data::parts;

/// How long the job may take; undisturbed it takes less than a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long what is left of a job may stay while master and worker live, and executors after them.
const SWEEP_PATIENCE: Duration = Duration::from_secs(10);

/// The exit code of `submit` when there is no master.
const UNREACHABLE: i32 = 4;

/// What a master and a worker keep in their folders by design.
const KEPT: [(Role, &[&str]); 2] = [
    (Role::Master, &["lock", "epoch", "journal.redb", "journal.seen", "files"]),
    (Role::Worker, &["lock", "worker-key", "scratch", "logs", "files"]),
];

/// Fails operations of one of the two, each once. If it `takes_over`, it is a master that finds a job
/// which an earlier one accepted.
pub(super) fn all(role: Role, takes_over: bool, options: &OperationsOptions, verdict: &mut OperationsVerdict) {
    let bench = Bench::new(&options.binary, role, takes_over);
    let undisturbed = bench.run(Fault::NEVER);
    assert!(
        undisturbed.wrong.is_empty(),
        "{}, undisturbed: {:?}\n{}",
        role.name(),
        undisturbed.wrong,
        undisturbed.printed
    );
    for fault in options.faults(&undisturbed.operations) {
        let Ran { struck, wrong, printed, succeeded, restarted, .. } = bench.run(fault);
        verdict.runs += 1;
        verdict.restarted += u64::from(restarted);
        if let Some(struck) = &struck {
            *verdict.calls.entry(struck.call).or_default() += 1;
        }
        match (wrong.is_empty(), succeeded) {
            (true, true) => verdict.succeeded += 1,
            (true, false) => verdict.refused += 1,
            (false, _) => {
                let (Fault { nth, effect }, subject) = (fault, options.of.name().to_owned());
                verdict.bad.push(BadRun { subject, effect, nth, struck, wrong, printed });
            }
        }
    }
}

/// Where the runs take place, and of whom the operations are that go wrong.
struct Bench {
    role: Role,
    takes_over: bool,
    site: Site,
    reference: BTreeMap<String, Vec<u8>>,
}

/// Whoever wants the job done.
enum User {
    /// And waits for it.
    Submits,
    /// One that was submitted before.
    Watches(String),
}

/// What came of a run.
struct Ran {
    operations: BTreeMap<super::FaultEffect, u64>,
    struck: Option<Struck>,
    wrong: Vec<String>,
    printed: String,
    /// Whether the job did.
    succeeded: bool,
    /// Whether the member had to be started again.
    restarted: bool,
}

impl Bench {
    /// Makes the input, and the output that it must have.
    fn new(binary: &Path, role: Role, takes_over: bool) -> Self {
        let site = Site::new(binary);
        let mut bench = Self { role, takes_over, site, reference: BTreeMap::new() };
        let input = bench.input().display().to_string();
        bench.succeed(&["generate", "text", "-o", &input, "--bytes", "300KB", "--files", "2"]);
        let job = bench.job();
        bench.succeed(&["run"].into_iter().chain(job.iter().map(String::as_str)).collect::<Vec<_>>());
        bench.reference = parts(&bench.output());
        bench
    }

    /// Runs a command that must succeed; gives what it printed.
    fn succeed(&self, args: &[&str]) -> String {
        let output = self.site.command(args).output().expect("the program starts");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it prints text")
    }

    fn input(&self) -> PathBuf {
        self.site.root().join("in")
    }

    /// In a folder that the job makes.
    fn output(&self) -> PathBuf {
        self.site.root().join("new/out")
    }

    /// One map task of both files and two reduce tasks, whose output is forced to disk.
    fn job(&self) -> Vec<String> {
        let [input, output] = [self.input(), self.output()].map(|path| path.display().to_string());
        ["word-count", "-i", &input, "-o", &output, "--reducers", "2", "--fsync"].map(str::to_owned).to_vec()
    }

    /// Removes what an earlier run left.
    fn clear(&self) {
        for folder in ["new", Role::Master.name(), Role::Worker.name()] {
            // The first run finds none.
            let _ = fs::remove_dir_all(self.site.root().join(folder));
        }
        for log in LOGS {
            // Nor such a file.
            let _ = fs::remove_file(self.site.log(log));
        }
    }

    /// One run in which the fault strikes.
    fn run(&self, fault: Fault) -> Ran {
        self.clear();
        let user = if self.takes_over { User::Watches(self.accepted()) } else { User::Submits };
        let mut pair = Pair::start(&self.site, self.role, fault);
        let exit = self.follow(&user, &mut pair);
        let mut wrong = Vec::new();
        eventually_within(SWEEP_PATIENCE, || {
            pair.tend();
            self.left_of_job(exit == Some(0)).is_empty()
        });
        let restarted = pair.ended_by_themselves() > 0;
        wrong.extend(self.left_of_job(exit == Some(0)));
        let mut ends = pair.end();
        let root = self.site.root();
        eventually_within(SWEEP_PATIENCE, || of_cluster(&root).is_empty());
        wrong.extend(of_cluster(&root).into_iter().map(|process| format!("still runs: {process}")));
        wrong.extend(self.strays());

        let traced = ends.iter_mut().find_map(|end| end.traced.take().map(|traced| (traced, end.role)));
        let (traced, role) = traced.expect("one of them is traced");
        let struck = traced.struck;
        for end in &ends {
            let struck = struck.as_ref().filter(|_| end.role == role);
            wrong.extend(wrong_end(end, struck).into_iter().map(|what| format!("{}: {what}", end.role.name())));
        }
        wrong.extend(self.wrong_result(exit, struck.as_ref()));
        let printed = LOGS.map(|log| format!("--- {log}\n{}\n", self.printed(log))).concat();
        Ran { operations: traced.operations, struck, wrong, printed, succeeded: exit == Some(0), restarted }
    }

    /// Has a job accepted by a master that dies before there is a worker; gives its id.
    fn accepted(&self) -> String {
        let pair = Pair::without_worker(&self.site);
        let (job, url) = (self.job(), pair.url());
        let words = job.iter().map(String::as_str).chain(["--detach", "--master", &url]);
        self.succeed(&["submit"].into_iter().chain(words).collect::<Vec<_>>()).trim().to_owned()
    }

    /// Lets the user follow the job, and try again as long as there is no master; gives the exit code,
    /// `None` if it takes too long.
    fn follow(&self, user: &User, pair: &mut Pair<'_>) -> Option<i32> {
        let mut command = self.start(user, &pair.url());
        let mut exit = None;
        eventually_within(PATIENCE, || {
            pair.tend();
            exit = command.try_wait().expect("a child can be asked").and_then(|status| status.code());
            // The first connection is tried once. What was submitted has an id, and is not submitted anew.
            let may_retry = matches!(user, User::Watches(_)) || !self.printed("user").contains("j-");
            if exit == Some(UNREACHABLE) && may_retry {
                command = self.start(user, &pair.url());
                exit = None;
            }
            exit.is_some()
        });
        if exit.is_none() {
            command.kill().expect("a child can be killed");
            command.wait().expect("a child can be waited for");
        }
        exit
    }

    fn start(&self, user: &User, url: &str) -> Child {
        let printed = fs::File::create(self.site.log("user")).expect("a scratch file");
        let words = match user {
            User::Submits => [&["submit".to_owned()], &self.job()[..]].concat(),
            User::Watches(job) => vec!["watch".to_owned(), job.clone()],
        };
        let words = words.iter().map(String::as_str).chain(["--master", url]);
        let mut command = self.site.command(&words.collect::<Vec<_>>());
        command.stdout(printed.try_clone().expect("scratch")).stderr(printed).spawn().expect("the program starts")
    }

    fn printed(&self, log: &str) -> String {
        fs::read_to_string(self.site.log(log)).unwrap_or_default()
    }

    /// What is not as it must be of what the user sees.
    fn wrong_result(&self, exit: Option<i32>, struck: Option<&Struck>) -> Vec<String> {
        let output = self.output();
        match exit {
            Some(0) if parts(&output) != self.reference => vec!["the output is wrong".to_owned()],
            Some(0) if !output.join("_SUCCESS").is_file() => vec!["there is no _SUCCESS".to_owned()],
            Some(0) => vec![],
            None => vec!["the job did not end in time".to_owned()],
            Some(_) => {
                wrong_error(struck, &self.printed("user")).into_iter().map(|what| format!("user: {what}")).collect()
            }
        }
    }

    /// What lies around of a job that is over, and should not.
    fn left_of_job(&self, succeeded: bool) -> Vec<String> {
        let new = self.site.root().join("new");
        let mut left = entries(&self.site.root().join("worker/scratch"));
        if succeeded {
            left.extend(entries(&new).into_iter().filter(|path| *path != self.output()));
        } else {
            left.extend(new.exists().then_some(new));
        }
        left.into_iter().map(|path| format!("left: {}", path.display())).collect()
    }

    /// What lies in the folders and is nothing that anybody keeps.
    fn strays(&self) -> Vec<String> {
        let root = self.site.root();
        let mut kept: Vec<PathBuf> = ["in", "new"].map(|name| root.join(name)).to_vec();
        let mut found = entries(&root);
        for (role, names) in KEPT {
            let folder = root.join(role.name());
            found.extend(entries(&folder).into_iter().chain(entries(&folder.join("files"))));
            kept.extend(names.iter().map(|name| folder.join(name)));
            kept.push(folder);
        }
        // What a replay of the job's tasks needs is kept as long as the job is listed.
        let files = entries(&root.join(Role::Master.name()).join("files"));
        kept.extend(files.into_iter().filter(|path| is_whole_content(path)).take(1));
        found.retain(|path| !kept.contains(path));
        found.into_iter().map(|path| format!("stray: {}", path.display())).collect()
    }
}

/// What the processes of a run print to.
const LOGS: [&str; 5] = ["user", "master-traced", "master", "worker-traced", "worker"];

/// What is not as it must be when a process has ended; `struck` if it was its operation.
fn wrong_end(end: &End, struck: Option<&Struck>) -> Vec<String> {
    let mut wrong = match end.exit {
        Some(0) if end.asked => vec![],
        Some(0) => vec!["it ended as if it had been asked to".to_owned()],
        Some(PANICKED) => vec!["it panicked".to_owned()],
        Some(_) => wrong_error(struck, &end.printed),
        None => vec!["a signal ended it, perhaps because it took too long".to_owned()],
    };
    if end.printed.contains("panicked at") {
        wrong.push("it tells of a panic".to_owned());
    }
    wrong
}

/// Whether a file holds what its name says.
fn is_whole_content(path: &Path) -> bool {
    let content = File::open(path).and_then(content_of);
    let name = path.file_name().and_then(|name| name.to_str());
    content.is_ok_and(|(id, _)| name == Some(id.to_string().as_str()))
}

/// What lies in a folder; nothing if there is no such folder.
fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
