//! Jobs with outputs in object stores, on real servers: the same bytes as on disk, not seen before the
//! job's decision, and nothing left of any upload, whoever is killed at which step and whatever the store
//! does meanwhile.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gristmill_tests::chaos::stores::{contests, equal};
use gristmill_tests::cluster::eventually_within;
use gristmill_tests::stores::step::kill_at;
use gristmill_tests::stores::trial::DEADLINE;
use gristmill_tests::stores::{Fault, FaultProxy, Moment, Rates, ServerKind, Step, StoreServer, StoreTrial};
use gristmill_tests::waiting::{end_of, run_to_end_within};

use super::{GRISTMILL, arg};

/// Reduce tasks of the jobs.
const REDUCERS: usize = 3;

/// Word count over so many megabytes on a server, if that is here.
fn trial(kind: ServerKind, megabytes: u32) -> Option<StoreTrial> {
    StoreTrial::start(Path::new(GRISTMILL), kind, megabytes, REDUCERS)
}

/// That the folder holds the answer and `_SUCCESS`, and nothing else is left.
#[track_caller]
fn check_whole(trial: &StoreTrial, folder: &str, context: &str) {
    assert_eq!(trial.wrong_with(folder), None, "{context}");
}

/// That nothing is there, and nothing is left.
#[track_caller]
fn check_nothing(trial: &StoreTrial, folder: &str, context: &str) {
    assert_eq!(trial.left_in(folder), None, "{context}");
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

#[test]
fn word_count_from_store_to_store_equals_local_and_is_replaced_only_if_asked_for() {
    for kind in [ServerKind::Moto, ServerKind::S3sFs, ServerKind::Azurite] {
        let Some(trial) = trial(kind, 8) else { continue };
        let endpoint = trial.server().url();
        let job = trial.job("out", &endpoint);
        expect_success(&trial.run(&job));
        check_whole(&trial, "out", &format!("{kind:?}"));
        let verify = [trial.server().uri("out"), "--endpoint".to_owned(), endpoint.clone()];
        expect_success(&run_to_end_within(DEADLINE, trial.command("verify", &verify)));

        expect_refusal(&trial.run(&job), 3, "exists and is not empty");
        check_whole(&trial, "out", "refused");
        trial.server().put("out/part-00009", "surplus");
        expect_refusal(&run_to_end_within(DEADLINE, trial.command("verify", &verify)), 1, "part-00009 is not listed");
        trial.server().put("out/part-00001", "damaged");
        expect_refusal(
            &run_to_end_within(DEADLINE, trial.command("verify", &verify)),
            1,
            "part-00001 has 7 bytes, not",
        );
        expect_success(&trial.run(&[&job[..], &owned(&["--overwrite"])].concat()));
        check_whole(&trial, "out", "replaced");
    }
}

#[test]
fn what_cannot_be_an_output_is_refused_by_name() {
    let Some(trial) = trial(ServerKind::Moto, 1) else { return };
    let refusal = |output: &str, text: &str| {
        let input = trial.server().uri("text");
        let args = ["word-count", "-i", &input, "-o", output, "--endpoint", &trial.server().url()];
        expect_refusal(&trial.run(&owned(&args)), 3, text);
    };
    refusal("http://127.0.0.1:1/out", "http:// is read-only");
    let text = trial.dir().join("text");
    let args = ["word-count", "-i", arg(&text), "-o", "s3://bucket", "--endpoint", &trial.server().url()];
    expect_refusal(&trial.run(&owned(&args)), 3, "cannot be an output");
    trial.server().put("object", "x");
    refusal("s3://bucket/object", "is an object");
    let process = r#"{"host":"elsewhere","boot":"b","space":"s","pid":7,"started":1}"#;
    let claim = format!(r#"{{"version":1,"job":"j-000000000009","writer":"00","process":{process}}}"#);
    trial.server().put("held/_gristmill.claim", claim);
    refusal("s3://bucket/held", "is claimed by job j-000000000009 (process 7 on host \"elsewhere\")");
    refusal("s3://bucket/held/below", "overlaps another one");
    check_nothing(&trial, "none", "nothing was made");
}

#[test]
fn jobs_on_three_workers_show_no_part_before_the_decision_and_equal_local_ones() {
    for kind in [ServerKind::Moto, ServerKind::S3sFs] {
        let Some(trial) = trial(kind, 24) else { continue };
        let seen = equal(&trial, 3);
        assert!(seen.is_clean(), "{kind:?}: {seen:?}");
        assert!(seen.uploads_seen > 0 || kind != ServerKind::Moto, "{kind:?}: {seen:?}");
    }
}

#[test]
fn of_those_that_want_one_output_at_once_one_has_it() {
    for kind in [ServerKind::Moto, ServerKind::S3sFs] {
        let Some(server) = StoreServer::start(kind) else { continue };
        let seen = contests(&server, 25, 7);
        assert!(seen.is_clean() && seen.faults > 0, "{kind:?}: {seen:?}");
    }
}

#[test]
fn a_master_that_is_killed_at_any_step_of_a_commit_loses_nothing_and_leaves_no_upload() {
    let Some(trial) = trial(ServerKind::Moto, 1) else { return };
    let mut cluster = trial.cluster(2);
    let steps = [(Step::Claim, 0), (Step::Complete, 0), (Step::Complete, 2), (Step::Success, 0), (Step::GiveBack, 0)];
    for (step, after) in steps {
        for applied in [false, true] {
            let moment = Moment { step, after, applied };
            let context = format!("killed at {moment:?}");
            let folder = format!("master-{step:?}-{after}-{applied}").to_lowercase();
            let proxy = FaultProxy::to(&trial.server().url());
            let master = cluster.master_pid();
            let killed = kill_at(&proxy, moment, move || vec![master]);
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
                eventually_within(DEADLINE, || !trial.server().keys(&folder).iter().any(|key| key.ends_with(".claim")));
            assert!(clean, "{context}: {:?}", trial.server().keys(&folder));
            check_whole(&trial, &folder, &context);
        }
    }
}

#[test]
fn workers_that_are_killed_while_they_send_cost_no_byte_and_leave_no_upload() {
    let Some(trial) = trial(ServerKind::Moto, 1) else { return };
    let mut cluster = trial.cluster(2);
    for step in [Step::OpenUpload, Step::SendPiece] {
        for applied in [false, true] {
            let moment = Moment { step, after: 0, applied };
            let context = format!("killed at {moment:?}");
            let folder = format!("worker-{step:?}-{applied}").to_lowercase();
            let proxy = FaultProxy::to(&trial.server().url());
            let workers: Vec<u32> = (0..2).map(|index| cluster.worker_pid(index)).collect();
            let killed = kill_at(&proxy, moment, move || workers.clone());
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
            check_whole(&trial, &folder, &context);
        }
    }
}

#[test]
fn a_job_that_is_cancelled_leaves_nothing_in_its_store() {
    let Some(trial) = trial(ServerKind::Moto, 1) else { return };
    let cluster = trial.cluster(2);
    let proxy = FaultProxy::to(&trial.server().url());
    // Pieces never arrive.
    proxy.deciding(|head| Step::SendPiece.is(head).then_some(Fault::Stall));
    let job = trial.job("cancelled", &proxy.url());
    let args: Vec<&str> = job.iter().map(String::as_str).collect();
    let id = cluster.submit_detached(&args);
    let sending = eventually_within(DEADLINE, || trial.server().unfinished_uploads("cancelled").unwrap_or(0) > 0);
    assert!(sending, "{}", cluster.logs());
    let cancel = cluster.run(&["cancel", &id]);
    expect_success(&cancel);
    let clean = eventually_within(DEADLINE, || {
        trial.server().keys("cancelled").is_empty() && trial.server().unfinished_uploads("cancelled").unwrap_or(0) == 0
    });
    assert!(clean, "{:?}\n{}", trial.server().keys("cancelled"), cluster.logs());
}

#[test]
fn what_a_killed_run_left_in_a_store_the_next_one_there_removes() {
    let Some(trial) = trial(ServerKind::Moto, 1) else { return };
    for (step, after) in [(Step::SendPiece, 0), (Step::Complete, 1), (Step::Success, 0), (Step::GiveBack, 0)] {
        let folder = format!("run-{step:?}-{after}").to_lowercase();
        let proxy = FaultProxy::to(&trial.server().url());
        // The proxy knows the process only when it has started.
        let pid = Arc::new(AtomicU32::new(0));
        let victim = Arc::clone(&pid);
        let moment = Moment { step, after, applied: true };
        kill_at(&proxy, moment, move || vec![victim.load(Ordering::Acquire)]);
        let job = trial.job(&folder, &proxy.url());
        let mut command = trial.command("run", &job);
        let mut run = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("the program starts");
        pid.store(run.id(), Ordering::Release);
        assert!(!end_of(&mut run).success(), "{step:?}: it was killed");
        proxy.passing();
        let left = trial.server().keys(&folder);
        assert!(left.iter().any(|key| key.ends_with(".claim")) || step == Step::GiveBack, "{step:?}: {left:?}");
        expect_success(&trial.run(&[&job[..], &owned(&["--overwrite"])].concat()));
        check_whole(&trial, &folder, &format!("{step:?}"));
    }
}

#[test]
fn outputs_are_whole_in_a_store_that_fails_now_and_then() {
    for kind in [ServerKind::Moto, ServerKind::S3sFs] {
        let Some(trial) = trial(kind, 4) else { continue };
        check_faults(&trial);
    }
}

fn check_faults(trial: &StoreTrial) {
    let cluster = trial.cluster(3);
    let mut faults = 0;
    for seed in 1..=3 {
        let proxy = FaultProxy::to(&trial.server().url());
        let rates =
            Rates { internal_error: 25, slow_down: 25, conflict: 10, truncate: 10, lose_reply: 10, ..Rates::default() };
        proxy.at_rates(seed, rates);
        let folder = format!("here-{seed}");
        expect_success(&trial.run(&trial.job(&folder, &proxy.url())));
        check_whole(trial, &folder, &format!("embedded, seed {seed}"));
        let folder = format!("cluster-{seed}");
        let mut submit = trial.submit(&cluster, &trial.job(&folder, &proxy.url()));
        end_of(&mut submit);
        let output = submit.wait_with_output().expect("it has ended");
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), cluster.logs());
        check_whole(trial, &folder, &format!("cluster, seed {seed}"));
        faults += proxy.counters().all_faults();
    }
    assert!(faults > 5, "{faults}");
}

#[test]
fn a_folder_that_cannot_hold_what_is_sent_is_refused() {
    let Some(trial) = trial(ServerKind::Moto, 1) else { return };
    let job = trial.job("full", &trial.server().url());
    let file = trial.dir().join("file");
    fs::write(&file, "").expect("scratch");
    let args = [&job[..], &owned(&["--dir", arg(Path::new(&file))])].concat();
    expect_refusal(&trial.run(&args), 3, "cannot use the scratch folder");
    check_nothing(&trial, "full", "refused");
}
