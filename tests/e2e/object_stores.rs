//! Jobs over inputs in object stores, on real servers that the tests start: equal to the same bytes read
//! from disk, whatever the keys are called and whatever the store does meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gristmill_common::time::Clock;
use gristmill_tests::cluster::Cluster;
use gristmill_tests::stores::{Fault, FaultProxy, Manners, Rates, ServerKind, StoreServer, WebServer};
use gristmill_tests::waiting::run_to_end_within;
use serde_json::Value;

use super::{GRISTMILL, arg, generated_text, root, succeed};

/// How long a job over some megabytes may take on a busy machine, however often it has to ask again.
const DEADLINE: Duration = Duration::from_secs(300);

/// Runs the program with the variables of a store and no others that name one.
fn call(server: &StoreServer, args: &[&str]) -> Output {
    run_to_end_within(DEADLINE, command(&server.credentials(), args))
}

fn command(variables: &[(&str, &str)], args: &[&str]) -> Command {
    let mut command = Command::new(GRISTMILL);
    for (name, _) in std::env::vars() {
        if ["AWS_", "AZURE_", "GOOGLE_", "GRISTMILL_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.envs(variables.iter().copied()).env("HOME", "/nonexistent").args(args).current_dir(root());
    command
}

/// The parts of an output, one after the other.
fn parts(output: &Path) -> Vec<u8> {
    let entries = fs::read_dir(output).expect("an output").map(|entry| entry.expect("readable").path());
    let mut parts: Vec<_> = entries
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-")))
        .collect();
    parts.sort_unstable();
    parts.iter().flat_map(|part| fs::read(part).expect("readable")).collect()
}

/// Puts the files of a folder below `text/`.
fn put_all(server: &StoreServer, folder: &Path) {
    for file in files_below(folder) {
        let name = file.file_name().expect("a file").to_string_lossy().into_owned();
        server.put(&format!("text/{name}"), fs::read(&file).expect("readable"));
    }
}

/// All files in a folder and those below it.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("readable").path()) {
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

#[track_caller]
fn expect_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Servers of every kind that is here.
fn servers() -> impl Iterator<Item = StoreServer> {
    [ServerKind::Moto, ServerKind::S3sFs, ServerKind::Azurite].into_iter().filter_map(StoreServer::start)
}

/// Keys that some client or server would encode, decode or drop if it could.
const ODD_KEYS: [&str; 8] = [
    "plain.txt",
    "with space.txt",
    "100%25.txt",
    "100%.txt",
    "k=v/a+b.txt",
    "\u{e9}\u{4e16}.txt",
    "a&b;c,d@e.txt",
    "x/y/z",
];

#[test]
fn odd_keys_are_read_from_every_store_by_folder_glob_and_name() {
    for server in servers() {
        let dir = tempfile::tempdir().expect("scratch");
        for (number, key) in ODD_KEYS.iter().enumerate() {
            server.put(&format!("odd/{key}"), format!("word{number} shared\n"));
        }
        let check = |input: &str, expect: &str| {
            let out = dir.path().join("out");
            let (input, endpoint) = (server.uri(input), server.url());
            let args = ["run", "word-count", "-i", &input, "-o", arg(&out), "--reducers", "1", "--endpoint", &endpoint];
            expect_success(&call(&server, &args));
            assert_eq!(String::from_utf8_lossy(&parts(&out)), expect, "{input}");
            fs::remove_dir_all(out).expect("an output");
        };
        let words: String = (0..ODD_KEYS.len()).map(|number| format!("word{number}\t1\n")).collect();
        check("odd", &format!("shared\t{}\n{words}", ODD_KEYS.len()));
        check("odd/100%25.txt", "shared\t1\nword2\t1\n");
        check("odd/100%.txt", "shared\t1\nword3\t1\n");
        check("odd/*=*/*+*", "shared\t1\nword4\t1\n");
        check("odd/w*", "shared\t1\nword1\t1\n");
    }
}

#[test]
fn word_count_over_a_store_equals_word_count_over_files() {
    let dir = tempfile::tempdir().expect("scratch");
    let text = generated_text(dir.path(), 24);
    let local = dir.path().join("local");
    succeed(&["run", "word-count", "-i", arg(&text), "-o", arg(&local), "--reducers", "3"]);
    for server in servers() {
        put_all(&server, &text);
        let out = dir.path().join("from-store");
        let (input, endpoint) = (server.uri("text"), server.url());
        let run = ["run", "word-count", "-i", &input, "-o", arg(&out), "--reducers", "3", "--endpoint", &endpoint];
        for more in [&["--memory", "32MiB"][..], &["--split-size", "1MiB"], &[]] {
            expect_success(&call(&server, &[&run, more].concat()));
            assert!(parts(&out) == parts(&local), "another output with {more:?}");
            fs::remove_dir_all(&out).expect("an output");
        }
    }
}

#[test]
fn workers_read_stores_for_their_executors_and_the_answer_is_the_same() {
    let dir = tempfile::tempdir().expect("scratch");
    let text = generated_text(dir.path(), 24);
    let local = dir.path().join("local");
    succeed(&["run", "word-count", "-i", arg(&text), "-o", arg(&local), "--reducers", "3"]);
    for server in servers() {
        put_all(&server, &text);
        let mut cluster = Cluster::with_variables(GRISTMILL, &server.credentials());
        let url = cluster.url().to_owned();
        for _ in 0..3 {
            cluster.add_worker(&["--master", &url]);
        }
        cluster.wait_for_live_workers(3);
        let (input, endpoint, out) = (server.uri("text"), server.url(), dir.path().join("on-cluster"));
        let submit =
            ["submit", "word-count", "-i", &input, "-o", arg(&out), "--reducers", "3", "--endpoint", &endpoint];
        for more in [&[][..], &["--split-size", "1MiB", "--memory", "32MiB"]] {
            let output = cluster.run(&[&submit, more].concat());
            assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), cluster.logs());
            assert!(parts(&out) == parts(&local), "another output with {more:?}");
            fs::remove_dir_all(&out).expect("an output");
        }
        // Nothing of what executors have read is left on the workers' disks while they run.
        let ranges = files_below(cluster.dir()).into_iter().filter(|path| path.to_string_lossy().contains("/ranges-"));
        assert_eq!(ranges.count(), 0);
    }
}

#[test]
fn a_worker_without_credentials_leaves_its_tasks_to_others_and_is_named_if_there_are_none() {
    let Some(server) = StoreServer::start(ServerKind::Moto) else { return };
    let dir = tempfile::tempdir().expect("scratch");
    server.put("text/a.txt", "to be or not to be\n".repeat(1000));
    // Only the master has them: every worker is another user's.
    let mut cluster = Cluster::with_variables(GRISTMILL, &server.credentials());
    let url = cluster.url().to_owned();
    cluster.set_variables(&[("HOME", "/nonexistent")]);
    cluster.add_worker(&["--master", &url]);
    cluster.wait_for_live_workers(1);
    let (input, endpoint, out) = (server.uri("text"), server.url(), dir.path().join("out"));
    let submit = ["submit", "word-count", "-i", &input, "-o", arg(&out), "--reducers", "1", "--endpoint", &endpoint];
    let output = cluster.run(&[&submit[..], &["--max-attempts", "2"]].concat());
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("s3://bucket/text/a.txt") && text.contains("no credentials"), "{text}");

    cluster.set_variables(&server.credentials());
    cluster.add_worker(&["--master", &url]);
    cluster.wait_for_live_workers(2);
    let output = cluster.run(&submit);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&parts(&out)), "be\t2000\nnot\t1000\nor\t1000\nto\t2000\n");
}

#[test]
fn what_is_open_to_everybody_is_read_without_credentials_and_the_rest_refused_by_name() {
    let Some(server) = StoreServer::start(ServerKind::Moto) else { return };
    let dir = tempfile::tempdir().expect("scratch");
    let (endpoint, out) = (server.url(), dir.path().join("out"));
    server.put_for_everybody("open/a.txt", "to be or not to be\n");
    server.put("shut/a.txt", "to be or not to be\n");
    let run = |key: &str| {
        let input = server.uri(key);
        let args = ["run", "word-count", "-i", &input, "-o", arg(&out), "--reducers", "1", "--endpoint", &endpoint];
        run_to_end_within(DEADLINE, command(&[], &[&args[..], &["--anonymous"]].concat()))
    };
    let output = run("shut/a.txt");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("s3://bucket/shut/a.txt"), "{said}");
    expect_success(&run("open/a.txt"));
    assert_eq!(String::from_utf8_lossy(&parts(&out)), "be\t2\nnot\t1\nor\t1\nto\t2\n");
}

#[test]
fn without_credentials_the_job_is_refused_at_once_with_all_places_that_were_looked_at() {
    let dir = tempfile::tempdir().expect("scratch");
    let out = dir.path().join("out");
    for (input, places) in [
        (
            "s3://bucket/x",
            &[
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY",
                ".aws/credentials",
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "an instance role",
            ][..],
        ),
        (
            "gs://bucket/x",
            &["GOOGLE_APPLICATION_CREDENTIALS", "application_default_credentials.json", "Compute Engine"],
        ),
        (
            "az://container/x",
            &["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_CLIENT_ID", "managed identity"],
        ),
    ] {
        let account = [("AZURE_STORAGE_ACCOUNT_NAME", "account"), ("AWS_EC2_METADATA_DISABLED", "true")];
        let clock = Clock::start();
        let before = clock.now();
        let output =
            run_to_end_within(DEADLINE, command(&account, &["run", "word-count", "-i", input, "-o", arg(&out)]));
        let took = clock.now().since(before);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{text}");
        assert!(took < Duration::from_secs(2), "{took:?}: {text}");
        // A machine in a cloud is asked, and gives none.
        let is_asked = text.contains("did not give any");
        for place in places.iter().filter(|_| !is_asked) {
            assert!(text.contains(place), "no {place} in: {text}");
        }
        assert!(text.contains("--anonymous"), "{text}");
    }
}

#[test]
fn the_doctor_says_what_works_with_which_credentials_and_leaves_nothing() {
    for server in servers() {
        server.put("data/a.txt", "text");
        let (location, endpoint) = (server.uri("data"), server.url());
        let output = call(&server, &["doctor", &location, "--endpoint", &endpoint, "--json"]);
        let seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(seen["endpoint"].as_str(), Some(endpoint.as_str()), "{seen:#}");
        let variable = if server.scheme() == "s3" { "AWS_ACCESS_KEY_ID" } else { "AZURE_STORAGE_ACCOUNT_KEY" };
        assert!(seen["credentials"].as_str().is_some_and(|from| from.contains(variable)), "{seen:#}");
        let trials = seen["trials"].as_array().expect("trials");
        let result =
            |name: &str| trials.iter().find(|trial| trial["ability"] == name).map(|trial| trial["result"].clone());
        for ability in ["list", "read", "write", "multipart", "delete"] {
            assert_eq!(result(ability), Some("works".into()), "{ability}: {seen:#}");
        }
        // s3s-fs looks whether there is a file, and then makes it, so that two creations may both succeed.
        let once = result("create-once");
        let is_told = server.kind() == ServerKind::S3sFs && once == Some("fails".into());
        assert!(once == Some("works".into()) || is_told, "{seen:#}");
        assert_eq!(seen["ok"].as_bool(), Some(!is_told), "{seen:#}");
        assert_eq!(server.keys(""), ["data/a.txt"]);
        assert!(!String::from_utf8_lossy(&output.stdout).contains("test-secret"));
    }
    let output = run_to_end_within(DEADLINE, command(&[], &["doctor", "s3://bucket/x"]));
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let Some(server) = StoreServer::start(ServerKind::Moto) else { return };
    // One that refuses conditional writes, and a bucket that is not there.
    let proxy = FaultProxy::to(&server.url());
    proxy.deciding(|head| (head.header("if-none-match").is_some()).then_some(Fault::Status(501)));
    let output = call(&server, &["doctor", &server.uri("data"), "--endpoint", &proxy.url()]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("create-once"), "{text}");
    let output = call(&server, &["doctor", "s3://no-such-bucket/x", "--endpoint", &server.url()]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_object_that_changes_during_the_job_fails_it_by_name() {
    for server in servers() {
        let dir = tempfile::tempdir().expect("scratch");
        server.put("changing/a.txt", "to be or not to be\n".repeat(200_000));
        let proxy = FaultProxy::to(server.url().trim_end_matches("/devstoreaccount1"));
        let seen = Arc::new(AtomicU64::new(0));
        let (other, key) = (server.stores_at(&server.url()), server.uri("changing/a.txt"));
        let reads = Arc::clone(&seen);
        // Changes it before the second range is read.
        proxy.deciding(move |head| {
            if head.method == "GET" && head.target.contains("a.txt") && reads.fetch_add(1, Ordering::Relaxed) == 1 {
                let at = other.at(&key.parse().expect("a location")).expect("there are credentials");
                let (store, path) = (Arc::clone(&at.store), at.path.clone());
                let put =
                    async move { store.put_opts(&path, "else\n".repeat(800_000).into(), Default::default()).await };
                at.runtime.wait(put).expect("the server takes it");
            }
            None
        });
        let endpoint = server.url().replace(server.url().trim_end_matches("/devstoreaccount1"), &proxy.url());
        let (input, out) = (server.uri("changing"), dir.path().join("out"));
        let args = ["run", "word-count", "-i", &input, "-o", arg(&out), "--endpoint", &endpoint, "--memory", "32MiB"];
        let output = call(&server, &args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("changing/a.txt changed since"), "{text}");
        assert!(!out.exists());
    }
}

#[test]
fn what_stores_do_now_and_then_costs_time_and_nothing_else() {
    let Some(server) = StoreServer::start(ServerKind::Moto) else { return };
    let dir = tempfile::tempdir().expect("scratch");
    let text = generated_text(dir.path(), 8);
    let local = dir.path().join("local");
    succeed(&["run", "word-count", "-i", arg(&text), "-o", arg(&local), "--reducers", "2"]);
    put_all(&server, &text);
    let proxy = FaultProxy::to(&server.url());
    let rates = Rates { internal_error: 50, slow_down: 50, truncate: 50, reset: 20, ..Rates::default() };
    proxy.at_rates(6, rates);
    let (input, endpoint, out) = (server.uri("text"), proxy.url(), dir.path().join("out"));
    let args = ["run", "word-count", "-i", &input, "-o", arg(&out), "--reducers", "2", "--endpoint", &endpoint];
    expect_success(&call(&server, &[&args[..], &["--memory", "32MiB"]].concat()));
    assert!(parts(&out) == parts(&local), "another output");
    let counters = proxy.counters();
    assert!(counters.all_faults() >= 3, "{counters:?}");

    // A store that never gives a whole body is not asked for ever.
    proxy.deciding(|head| (head.method == "GET" && head.target.contains("/text/")).then_some(Fault::Truncate));
    fs::remove_dir_all(&out).expect("an output");
    let output = call(&server, &args);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot read input s3://bucket/text/") && text.contains("broke off"), "{text}");
}

#[test]
fn objects_behind_a_web_server_are_read_however_it_answers() {
    let dir = tempfile::tempdir().expect("scratch");
    let out = dir.path().join("out");
    let text = "to be or not to be\n".repeat(100_000);
    let all = Manners { ranges: true, tags: true, head: true };
    for manners in [
        all,
        Manners { ranges: false, ..all },
        Manners { tags: false, head: false, ..all },
        Manners { ranges: false, tags: false, head: false },
    ] {
        let server = WebServer::start(text.as_str(), manners);
        // Two ways to write one URL.
        for path in ["a b%25.txt", "a%20b%25.txt"] {
            let input = server.url(path);
            let args = ["run", "word-count", "-i", &input, "-o", arg(&out), "--split-size", "500KB", "--reducers", "1"];
            expect_success(&run_to_end_within(DEADLINE, command(&[], &[&args[..], &["--memory", "32MiB"]].concat())));
            let expect = "be\t200000\nnot\t100000\nor\t100000\nto\t200000\n";
            assert_eq!(String::from_utf8_lossy(&parts(&out)), expect, "{manners:?}");
            fs::remove_dir_all(&out).expect("an output");
        }
        for path in ["none", "*.txt"] {
            let output = run_to_end_within(
                DEADLINE,
                command(&[], &["run", "word-count", "-i", &server.url(path), "-o", arg(&out)]),
            );
            assert_eq!(output.status.code(), Some(3));
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // A name that is none may be a pattern.
            let expect = if path == "none" { "no such input" } else { "web servers have no listings" };
            assert!(said.contains(expect), "{said}");
        }
    }
}
