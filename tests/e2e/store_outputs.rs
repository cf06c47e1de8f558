//! Jobs with outputs in object stores, on real servers: the same bytes as on disk, not seen before the
//! job's decision, and nothing left of any upload, whoever is killed at which step and whatever the store
//! does meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gristmill_tests::cluster::{Cluster, eventually_within};
use gristmill_tests::stores::{Fault, FaultProxy, Rates, RequestHead, ServerKind, StoreServer};
use gristmill_tests::waiting::run_to_end_within;

use super::{GRISTMILL, arg, generated_text, root, succeed};

/// How long a job over some megabytes may take on a busy machine, however often something is killed.
const DEADLINE: Duration = Duration::from_secs(300);

/// Reduce tasks of the jobs.
const REDUCERS: usize = 3;

/// The same bytes in a store and on disk, and the answer on disk.
struct Trial {
    server: StoreServer,
    dir: tempfile::TempDir,
    expect: BTreeMap<String, Vec<u8>>,
}

impl Trial {
    /// Text of so many megabytes on a server, if that is here.
    fn start(kind: ServerKind, megabytes: u32) -> Option<Self> {
        let server = StoreServer::start(kind)?;
        let dir = tempfile::tempdir().expect("scratch");
        let text = generated_text(dir.path(), megabytes);
        let local = dir.path().join("local");
        let reducers = REDUCERS.to_string();
        succeed(&["run", "word-count", "-i", arg(&text), "-o", arg(&local), "--reducers", &reducers]);
        for file in fs::read_dir(&text).expect("a folder").map(|file| file.expect("readable").path()) {
            let name = file.file_name().expect("a file").to_string_lossy().into_owned();
            server.put(&format!("text/{name}"), fs::read(&file).expect("readable"));
        }
        let expect = (0..REDUCERS).map(|index| {
            let name = format!("part-{index:05}");
            let bytes = fs::read(local.join(&name)).expect("a part");
            (name, bytes)
        });
        Some(Self { server, dir, expect: expect.collect() })
    }

    /// The arguments of word count from the store to a folder of it, which is reached at `endpoint`.
    fn job(&self, folder: &str, endpoint: &str) -> Vec<String> {
        let (input, output, reducers) = (self.server.uri("text"), self.server.uri(folder), REDUCERS.to_string());
        let args = ["word-count", "-i", &input, "-o", &output, "--reducers", &reducers, "--endpoint", endpoint];
        args.iter().map(|arg| (*arg).to_owned()).collect()
    }

    fn command(&self, verb: &str, args: &[String]) -> Command {
        let mut command = Command::new(GRISTMILL);
        command.env_remove("GRISTMILL_TEST_DATA").env_remove("GRISTMILL_TEST_ROUNDS").current_dir(root());
        command.envs(self.server.credentials()).env("TMPDIR", self.dir.path()).arg(verb).args(args);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[String]) -> Output {
        run_to_end_within(DEADLINE, self.command("run", args))
    }

    fn cluster(&self, workers: usize) -> Cluster {
        let mut cluster = Cluster::with_variables(GRISTMILL, &self.server.credentials());
        let url = cluster.url().to_owned();
        for _ in 0..workers {
            cluster.add_worker(&["--master", &url]);
        }
        cluster.wait_for_live_workers(workers);
        cluster
    }

    /// Starts `submit` of a job, which waits for its end.
    fn submit(&self, cluster: &Cluster, args: &[String]) -> Child {
        let mut command = self.command("submit", args);
        command.args(["--master", cluster.url()]).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("the program starts")
    }

    /// That the folder holds the answer and `_SUCCESS`, and nothing else is left.
    #[track_caller]
    fn check_whole(&self, folder: &str, context: &str) {
        let mut keys: Vec<String> = self.expect.keys().map(|name| format!("{folder}/{name}")).collect();
        keys.insert(0, format!("{folder}/_SUCCESS"));
        assert_eq!(self.server.keys(folder), keys, "{context}");
        for (name, bytes) in &self.expect {
            let found = self.server.get(&format!("{folder}/{name}")).expect("it is listed");
            assert!(found == *bytes, "{context}: {name} has {} bytes, not {}", found.len(), bytes.len());
        }
        assert_eq!(self.server.unfinished_uploads(folder).unwrap_or(0), 0, "{context}");
    }

    /// That nothing is there, and nothing is left.
    #[track_caller]
    fn check_nothing(&self, folder: &str, context: &str) {
        assert_eq!(self.server.keys(folder), [""; 0], "{context}");
        assert_eq!(self.server.unfinished_uploads(folder).unwrap_or(0), 0, "{context}");
    }
}

#[track_caller]
fn expect_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn expect_refusal(output: &Output, code: i32, text: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(text), "{said}");
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

fn kill(pid: u32) {
    // One that is gone already is what is wanted.
    let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
}

#[test]
fn word_count_from_store_to_store_equals_local_and_is_replaced_only_if_asked_for() {
    for kind in [ServerKind::Moto, ServerKind::S3sFs, ServerKind::Azurite] {
        let Some(trial) = Trial::start(kind, 8) else { continue };
        let endpoint = trial.server.url();
        let job = trial.job("out", &endpoint);
        expect_success(&trial.run(&job));
        trial.check_whole("out", &format!("{kind:?}"));
        let verify = [trial.server.uri("out"), "--endpoint".to_owned(), endpoint.clone()];
        expect_success(&run_to_end_within(DEADLINE, trial.command("verify", &verify)));

        expect_refusal(&trial.run(&job), 3, "exists and is not empty");
        trial.check_whole("out", "refused");
        trial.server.put("out/part-00009", "surplus");
        expect_refusal(&run_to_end_within(DEADLINE, trial.command("verify", &verify)), 1, "part-00009 is not listed");
        trial.server.put("out/part-00001", "damaged");
        expect_refusal(
            &run_to_end_within(DEADLINE, trial.command("verify", &verify)),
            1,
            "part-00001 has 7 bytes, not",
        );
        expect_success(&trial.run(&[&job[..], &owned(&["--overwrite"])].concat()));
        trial.check_whole("out", "replaced");
    }
}

#[test]
fn what_cannot_be_an_output_is_refused_by_name() {
    let Some(trial) = Trial::start(ServerKind::Moto, 1) else { return };
    let refusal = |output: &str, text: &str| {
        let input = trial.server.uri("text");
        let args = ["word-count", "-i", &input, "-o", output, "--endpoint", &trial.server.url()];
        expect_refusal(&trial.run(&owned(&args)), 3, text);
    };
    refusal("http://127.0.0.1:1/out", "http:// is read-only");
    let text = trial.dir.path().join("text");
    let args = ["word-count", "-i", arg(&text), "-o", "s3://bucket", "--endpoint", &trial.server.url()];
    expect_refusal(&trial.run(&owned(&args)), 3, "cannot be an output");
    trial.server.put("object", "x");
    refusal("s3://bucket/object", "is an object");
    let process = r#"{"host":"elsewhere","boot":"b","space":"s","pid":7,"started":1}"#;
    let claim = format!(r#"{{"version":1,"job":"j-000000000009","writer":"00","process":{process}}}"#);
    trial.server.put("held/_gristmill.claim", claim);
    refusal("s3://bucket/held", "is claimed by job j-000000000009 (process 7 on host \"elsewhere\")");
    refusal("s3://bucket/held/below", "overlaps another one");
    trial.check_nothing("none", "nothing was made");
}

#[test]
fn a_cluster_shows_no_part_before_the_decision_and_its_output_equals_local() {
    let Some(trial) = Trial::start(ServerKind::Moto, 24) else { return };
    let cluster = trial.cluster(3);
    let endpoint = trial.server.url();
    let mut submit = trial.submit(&cluster, &trial.job("out", &endpoint));
    let (mut looks, mut begun) = (0, false);
    loop {
        let ended = submit.try_wait().expect("a child can be asked").is_some();
        let keys = trial.server.keys("out");
        begun |= trial.server.unfinished_uploads("out").is_some_and(|uploads| uploads > 0);
        if keys.iter().any(|key| key.contains("/part-")) {
            // Asked after the listing: what was visible then had been decided before.
            let jobs = cluster.json(&["jobs"]);
            let text = jobs.to_string().to_lowercase();
            assert!(text.contains("committing") || text.contains("succeeded"), "{keys:?} while {text}");
        }
        looks += 1;
        if ended {
            break;
        }
    }
    expect_success(&submit.wait_with_output().expect("it has ended"));
    assert!(looks > 3 && begun, "{looks} looks, uploads seen: {begun}");
    trial.check_whole("out", "on three workers");
}

/// A step of a commit, by the request that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Claim,
    OpenUpload,
    SendPiece,
    Complete(u64),
    Success,
    GiveBack,
}

impl Step {
    fn is(self, head: &RequestHead) -> bool {
        let (method, target) = (head.method.as_str(), head.target.as_str());
        let is_put_of = |name: &str| method == "PUT" && target.contains(name);
        match self {
            Step::Claim => is_put_of("_gristmill.claim"),
            Step::OpenUpload => method == "POST" && target.contains("part-0") && target.contains("uploads"),
            Step::SendPiece => is_put_of("partNumber="),
            Step::Complete(_) => method == "POST" && target.contains("uploadId="),
            Step::Success => is_put_of("_SUCCESS"),
            Step::GiveBack => {
                let deletes = method == "DELETE" || method == "POST" && target.contains("delete");
                deletes && !target.contains("uploadId=")
            }
        }
    }

    /// How many such requests there are before.
    fn skipped(self) -> u64 {
        if let Step::Complete(skipped) = self { skipped } else { 0 }
    }
}

/// Has the proxy kill processes when a step is asked for: before it is carried out, or after. Tells when it
/// has.
fn kill_at(proxy: &FaultProxy, step: Step, applied: bool, pids: Vec<u32>) -> Arc<AtomicBool> {
    let killed = Arc::new(AtomicBool::new(false));
    let (done, seen) = (Arc::clone(&killed), AtomicU64::new(0));
    proxy.deciding(move |head| {
        if !step.is(head) || seen.fetch_add(1, Ordering::Relaxed) != step.skipped() {
            return None;
        }
        pids.iter().copied().for_each(kill);
        done.store(true, Ordering::Release);
        Some(if applied { Fault::LoseReply } else { Fault::Reset })
    });
    killed
}

#[test]
fn a_master_that_is_killed_at_any_step_of_a_commit_loses_nothing_and_leaves_no_upload() {
    let Some(trial) = Trial::start(ServerKind::Moto, 1) else { return };
    let mut cluster = trial.cluster(2);
    let steps = [Step::Claim, Step::Complete(0), Step::Complete(2), Step::Success, Step::GiveBack];
    for step in steps {
        for applied in [false, true] {
            let context = format!("killed at {step:?}, {}", if applied { "after it" } else { "before it" });
            let folder = format!("master-{step:?}-{applied}").replace(['(', ')'], "-").to_lowercase();
            let proxy = FaultProxy::to(&trial.server.url());
            let killed = kill_at(&proxy, step, applied, vec![cluster.master_pid()]);
            let mut submit = trial.submit(&cluster, &trial.job(&folder, &proxy.url()));
            let reached = eventually_within(DEADLINE, || {
                killed.load(Ordering::Acquire) || submit.try_wait().expect("a child can be asked").is_some()
            });
            assert!(reached && killed.load(Ordering::Acquire), "{context}: not reached\n{}", cluster.logs());
            proxy.passing();
            cluster.kill_master();
            cluster.restart_master();
            let ended = eventually_within(DEADLINE, || submit.try_wait().expect("a child can be asked").is_some());
            assert!(ended, "{context}: no end\n{}", cluster.logs());
            let output = submit.wait_with_output().expect("it has ended");
            assert!(output.status.success(), "{context}: {}", String::from_utf8_lossy(&output.stderr));
            // The client hears of the end before the last of the clean-up, where the old master died in it.
            let clean =
                eventually_within(DEADLINE, || !trial.server.keys(&folder).iter().any(|key| key.ends_with(".claim")));
            assert!(clean, "{context}: {:?}", trial.server.keys(&folder));
            trial.check_whole(&folder, &context);
        }
    }
}

#[test]
fn workers_that_are_killed_while_they_send_cost_no_byte_and_leave_no_upload() {
    let Some(trial) = Trial::start(ServerKind::Moto, 1) else { return };
    let mut cluster = trial.cluster(2);
    for step in [Step::OpenUpload, Step::SendPiece] {
        for applied in [false, true] {
            let context = format!("killed at {step:?}, {}", if applied { "after it" } else { "before it" });
            let folder = format!("worker-{step:?}-{applied}").to_lowercase();
            let proxy = FaultProxy::to(&trial.server.url());
            let killed = kill_at(&proxy, step, applied, (0..2).map(|index| cluster.worker_pid(index)).collect());
            let mut submit = trial.submit(&cluster, &trial.job(&folder, &proxy.url()));
            let reached = eventually_within(DEADLINE, || killed.load(Ordering::Acquire));
            assert!(reached, "{context}: not reached\n{}", cluster.logs());
            proxy.passing();
            for index in 0..2 {
                cluster.kill_worker(index);
                cluster.start_worker(index);
            }
            let ended = eventually_within(DEADLINE, || submit.try_wait().expect("a child can be asked").is_some());
            assert!(ended, "{context}: no end\n{}", cluster.logs());
            let output = submit.wait_with_output().expect("it has ended");
            assert!(output.status.success(), "{context}: {}", String::from_utf8_lossy(&output.stderr));
            trial.check_whole(&folder, &context);
        }
    }
}

#[test]
fn a_job_that_is_cancelled_leaves_nothing_in_its_store() {
    let Some(trial) = Trial::start(ServerKind::Moto, 1) else { return };
    let cluster = trial.cluster(2);
    let proxy = FaultProxy::to(&trial.server.url());
    // Pieces never arrive.
    proxy.deciding(|head| Step::SendPiece.is(head).then_some(Fault::Stall));
    let job = trial.job("cancelled", &proxy.url());
    let args: Vec<&str> = job.iter().map(String::as_str).collect();
    let id = cluster.submit_detached(&args);
    let sending = eventually_within(DEADLINE, || trial.server.unfinished_uploads("cancelled").unwrap_or(0) > 0);
    assert!(sending, "{}", cluster.logs());
    let cancel = cluster.run(&["cancel", &id]);
    expect_success(&cancel);
    let clean = eventually_within(DEADLINE, || {
        trial.server.keys("cancelled").is_empty() && trial.server.unfinished_uploads("cancelled").unwrap_or(0) == 0
    });
    assert!(clean, "{:?}\n{}", trial.server.keys("cancelled"), cluster.logs());
}

#[test]
fn what_a_killed_run_left_in_a_store_the_next_one_there_removes() {
    let Some(trial) = Trial::start(ServerKind::Moto, 1) else { return };
    for step in [Step::SendPiece, Step::Complete(1), Step::Success, Step::GiveBack] {
        let folder = format!("run-{step:?}").replace(['(', ')'], "-").to_lowercase();
        let proxy = FaultProxy::to(&trial.server.url());
        // The proxy knows the process only when it has started.
        let (pid, seen) = (Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
        let victim = Arc::clone(&pid);
        proxy.deciding(move |head| {
            if !step.is(head) || seen.fetch_add(1, Ordering::Relaxed) != step.skipped() {
                return None;
            }
            kill(u32::try_from(victim.load(Ordering::Acquire)).expect("a process"));
            Some(Fault::LoseReply)
        });
        let job = trial.job(&folder, &proxy.url());
        let mut command = trial.command("run", &job);
        let mut run = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("the program starts");
        pid.store(u64::from(run.id()), Ordering::Release);
        assert!(!run.wait().expect("it ends").success(), "{step:?}: it was killed");
        proxy.passing();
        let left = trial.server.keys(&folder);
        assert!(left.iter().any(|key| key.ends_with(".claim")) || step == Step::GiveBack, "{step:?}: {left:?}");
        expect_success(&trial.run(&[&job[..], &owned(&["--overwrite"])].concat()));
        trial.check_whole(&folder, &format!("{step:?}"));
    }
}

#[test]
fn outputs_are_whole_in_a_store_that_fails_now_and_then() {
    let Some(trial) = Trial::start(ServerKind::Moto, 4) else { return };
    let cluster = trial.cluster(3);
    let mut faults = 0;
    for seed in 1..=3 {
        let proxy = FaultProxy::to(&trial.server.url());
        let rates =
            Rates { internal_error: 25, slow_down: 25, conflict: 10, truncate: 10, lose_reply: 10, ..Rates::default() };
        proxy.at_rates(seed, rates);
        let folder = format!("here-{seed}");
        expect_success(&trial.run(&trial.job(&folder, &proxy.url())));
        trial.check_whole(&folder, &format!("embedded, seed {seed}"));
        let folder = format!("cluster-{seed}");
        let output = trial.submit(&cluster, &trial.job(&folder, &proxy.url())).wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), cluster.logs());
        trial.check_whole(&folder, &format!("cluster, seed {seed}"));
        faults += proxy.counters().all_faults();
    }
    assert!(faults > 5, "{faults}");
}

#[test]
fn a_spool_without_room_is_a_clear_failure() {
    let Some(trial) = Trial::start(ServerKind::Moto, 1) else { return };
    let job = trial.job("full", &trial.server.url());
    // A folder for scratch that cannot be written to, as one on a full disk cannot.
    let file = trial.dir.path().join("file");
    fs::write(&file, "").expect("scratch");
    let args = [&job[..], &owned(&["--dir", arg(Path::new(&file))])].concat();
    expect_refusal(&trial.run(&args), 3, "cannot use the scratch folder");
    trial.check_nothing("full", "refused");
}
