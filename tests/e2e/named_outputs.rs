//! A job with a thousand named outputs, here and on a cluster that loses a worker.

use std::fs;
use std::process::Command;

use gristmill_tests::cluster::Cluster;
use gristmill_tests::data::parts;

use crate::{arg, example, generated_text, gristmill, succeed};

#[test]
fn a_thousand_named_outputs_are_the_same_here_and_on_a_cluster_that_loses_a_worker() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let text = generated_text(dir.path(), 3);
    let job = |output| ["divide", "-i", arg(&text), "-o", output, "--split-size", "256KiB", "--reducers", "3"];
    let (here, there) = (dir.path().join("here"), dir.path().join("there"));
    let run = Command::new(example("lab")).arg("run").args(job(arg(&here))).output().expect("the program starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));

    let mut cluster = Cluster::start(example("lab"), 3);
    let id = cluster.submit_detached(&job(arg(&there)));
    let begun = |status: &serde_json::Value| {
        status["state"] == "succeeded" || status["stats"]["reduce"]["done"].as_u64().is_some_and(|done| done > 0)
    };
    cluster.wait_for_job(&id, "a reduce task done", begun);
    cluster.kill_worker(1);
    let status = cluster.wait_for_job(&id, "success", |status| status["state"] == "succeeded");
    cluster.wait_for_live_workers(2);

    let (expect, seen) = (parts(&here), parts(&there));
    assert!(expect == seen, "the outputs differ: {:?}", expect.keys().filter(|name| !seen.contains_key(*name)));
    let names: std::collections::BTreeSet<&str> =
        expect.keys().filter_map(|path| Some(path.rsplit_once('/')?.0)).collect();
    assert_eq!(names.len(), 1000);
    assert_eq!(status["parts"], expect.len());
    let bytes: usize = expect.values().map(Vec::len).sum();
    assert_eq!(status["bytes"], bytes);
    let mut left: Vec<_> =
        fs::read_dir(dir.path()).expect("a folder").map(|entry| entry.expect("readable").file_name()).collect();
    left.sort();
    assert_eq!(left, ["here", "text", "there"], "nothing that was staged is left");

    let verified = succeed(&["verify", arg(&there), "--json"]);
    let verified: serde_json::Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    assert_eq!((&verified["whole"], &verified["parts"]), (&true.into(), &expect.len().into()));
    let name = names.first().expect("a thousand");
    fs::write(there.join(name).join("part-00009"), "strange").expect("written");
    let refused = gristmill(&["verify", arg(&there)]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&format!("{name}/part-00009 is not listed")));
    fs::remove_file(there.join(name).join("part-00009")).expect("removed");

    // One of them is an input like any folder; the whole output is all of them.
    let lines = |input: &str, output: &str| {
        let output = dir.path().join(output);
        succeed(&["run", "copy", "-i", input, "-o", arg(&output)]);
        parts(&output).values().flatten().filter(|&&byte| byte == b'\n').count()
    };
    let of = |prefix: &str| {
        let some = expect.iter().filter(|(path, _)| path.starts_with(prefix));
        some.flat_map(|(_, part)| part).filter(|&&byte| byte == b'\n').count()
    };
    assert_eq!(lines(arg(&there.join(name)), "one"), of(&format!("{name}/")));
    assert_eq!(lines(arg(&there.join("part-*")), "main"), of("part-"));
    assert_eq!(lines(arg(&there), "all"), of(""));

    // A task that is replayed writes its parts of all of them.
    let kept = dir.path().join("kept");
    let mut replay = Command::new(example("lab"));
    replay.args(["replay", &id, "r-2", "--keep", arg(&kept), "--master", cluster.url()]);
    let replayed = replay.output().expect("the program starts");
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    let of_task = |path: &str| path.ends_with("part-00002");
    let expect: Vec<_> = expect.into_iter().filter(|(path, _)| of_task(path)).collect();
    assert!(expect == parts(&kept).into_iter().collect::<Vec<_>>());
}
