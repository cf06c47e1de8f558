//! Claims, commits and undoing on real folders.

mod named;

use std::fs::File;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use gristmill_common::counters::Counters;
use gristmill_common::ids::{AttemptId, TaskId};
use gristmill_common::spec::JobShape;
use gristmill_common::task::{BadRecords, JobPlan, PartSummary};
use gristmill_common::time::WallTime;

use super::*;
use crate::runtime::manifest::{JobTimes, Manifest, ManifestStats};

const JOB: JobId = JobId(0x1_0001);
const OTHER: JobId = JobId(0x1_0002);

fn spec(output: &Path) -> JobSpec {
    let input = "/no/such/input".parse().expect("a path");
    JobSpec::new("word-count", JobShape::MapReduce, vec![input], Uri::from_path(output))
}

fn overwriting(output: &Path) -> JobSpec {
    JobSpec { overwrite: true, ..spec(output) }
}

fn manifest(job: JobId, spec: &JobSpec, parts: &[PartSummary]) -> Manifest {
    let times = JobTimes { started: WallTime::default(), finished: WallTime::default() };
    Manifest::new(job, spec, &JobPlan::default(), times).with_result(
        parts,
        Counters::default(),
        ManifestStats::default(),
    )
}

/// Stages one part for each text, the way attempts do, and a loser beside each.
fn stage(claim: &LocalClaim, texts: &[&str]) -> Vec<PartSummary> {
    let stage = |(index, text): (u32, &&str)| {
        let attempt = |number| AttemptId { task: TaskId::reduce(index), number };
        let name = naming::staged_part_name(index, attempt(1));
        fs::write(claim.staged_parts_dir().join(naming::staged_part_name(index, attempt(0))), "loser").expect("staged");
        fs::write(claim.staged_parts_dir().join(&name), text).expect("staged");
        PartSummary {
            staged_name: name,
            bytes: text.len() as u64,
            records: 1,
            checksum: 7,
            named: Box::default(),
            upload: None,
            left_out: false,
        }
    };
    (0..).zip(texts).map(stage).collect()
}

/// Ends a claim the way `kill -9` does: the lock is free, everything else stays.
fn crash(mut claim: LocalClaim) {
    drop(claim.lock.take());
    std::mem::forget(claim);
}

/// All names below a folder, folders with a `/` behind them.
fn tree(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().expect("a type").is_dir() {
                names.push(format!("{name}/"));
                walk(&entry.path(), &format!("{name}/"), names);
            } else {
                names.push(name);
            }
        }
    }
    let mut names = Vec::new();
    walk(folder, "", &mut names);
    names.sort();
    names
}

fn refusal(spec: &JobSpec, dir: &Path) -> String {
    let error = LocalClaim::acquire(spec, JOB).expect_err("refused");
    error.to_string().replace(&dir.display().to_string(), "DIR")
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).expect("readable")
}

#[test]
fn a_published_output_holds_parts_and_manifest_and_nothing_else_is_left() {
    let dir = tempfile::tempdir().expect("scratch");
    for (name, fsync, prepared) in [("a", false, false), ("b", true, false), ("c", false, true), ("d/e/f", true, false)]
    {
        let output = dir.path().join(name);
        if prepared {
            fs::create_dir(&output).expect("created");
            fs::set_permissions(&output, fs::Permissions::from_mode(0o750)).expect("set");
        }
        let spec = JobSpec { fsync, ..spec(&output) };
        let mut claim = LocalClaim::acquire(&spec, JOB).expect("free");
        let parts = stage(&claim, &["zero\n", ""]);
        assert_eq!(output.exists(), prepared);
        claim.publish(&parts, &[], &manifest(JOB, &spec, &parts)).expect("published");
        claim.publish(&parts, &[], &manifest(JOB, &spec, &parts)).expect("published again");
        drop(claim);
        assert_eq!(tree(&output), ["_SUCCESS", "part-00000", "part-00001"]);
        assert_eq!(text(output.join("part-00000")), "zero\n");
        let written: Manifest = serde_json::from_str(&text(output.join("_SUCCESS"))).expect("JSON");
        assert_eq!(written, manifest(JOB, &spec, &parts));
        assert!(!naming::staging_dir(&output).exists());
        if prepared {
            assert_eq!(fs::metadata(&output).expect("a folder").permissions().mode() & 0o777, 0o750);
        }
    }
}

#[test]
fn skipped_records_are_published_beside_the_parts() {
    let dir = tempfile::tempdir().expect("scratch");
    let output = dir.path().join("out");
    let mut claim = LocalClaim::acquire(&spec(&output), JOB).expect("free");
    let parts = stage(&claim, &["zero\n"]);
    let bad = |staged_name: &str, text: &str| {
        fs::write(claim.staged_parts_dir().join(staged_name), text).expect("staged");
        let bytes = text.len() as u64;
        BadRecords { staged_name: staged_name.to_owned(), records: 1, objects: 0, bytes, upload: None }
    };
    let skipped = [bad("part-m-00000.jsonl.m-0.0", "{}\n"), bad("part-m-00007.jsonl.m-7.2", "{\"a\":1}\n")];
    let strange = bad("elsewhere", "{}\n");
    let manifest = manifest(JOB, &spec(&output), &parts).with_bad(&skipped);
    let error = claim.publish(&parts, &[strange], &manifest).expect_err("no such file");
    assert!(matches!(error, OutputError::Part { .. }), "{error}");
    claim.publish(&parts, &skipped, &manifest).expect("published");
    claim.publish(&parts, &skipped, &manifest).expect("published again");
    drop(claim);
    let names = ["_SUCCESS", "_bad/", "_bad/part-m-00000.jsonl", "_bad/part-m-00007.jsonl", "part-00000"];
    assert_eq!(tree(&output), names);
    assert_eq!(text(output.join("_bad/part-m-00007.jsonl")), "{\"a\":1}\n");
    let written: Manifest = serde_json::from_str(&text(output.join("_SUCCESS"))).expect("JSON");
    assert_eq!(written.bad[1].path, "_bad/part-m-00007.jsonl");
}

#[test]
fn a_job_without_parts_publishes_its_manifest() {
    let dir = tempfile::tempdir().expect("scratch");
    let output = dir.path().join("out");
    let mut claim = LocalClaim::acquire(&spec(&output), JOB).expect("free");
    claim.publish(&[], &[], &manifest(JOB, &spec(&output), &[])).expect("published");
    drop(claim);
    assert_eq!(tree(dir.path()), ["out/", "out/_SUCCESS"]);
}

#[test]
fn undoing_and_dropping_leave_nothing_but_what_was_there() {
    let dir = tempfile::tempdir().expect("scratch");
    fs::create_dir(dir.path().join("kept")).expect("created");
    for (output, undo) in [("kept/new/er/out", true), ("kept/new/er/out", false), ("out", true), ("out", false)] {
        let claim = LocalClaim::acquire(&spec(&dir.path().join(output)), JOB).expect("free");
        stage(&claim, &["zero", "one"]);
        if undo {
            claim.undo().expect("undone")
        } else {
            drop(claim)
        }
        assert_eq!(tree(dir.path()), ["kept/"]);
    }
    // A folder that somebody else uses by now stays.
    let claim = LocalClaim::acquire(&spec(&dir.path().join("new/er/out")), JOB).expect("free");
    fs::write(dir.path().join("new/note"), "").expect("written");
    claim.undo().expect("undone");
    assert_eq!(tree(dir.path()), ["kept/", "new/", "new/note"]);
}

#[test]
fn what_may_not_be_replaced_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().expect("scratch");
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("full")).expect("created");
    fs::write(path("full/x"), "x").expect("written");
    fs::write(path("file"), "x").expect("written");
    symlink("full", path("link")).expect("linked");
    let before = tree(dir.path());
    let check = |spec: JobSpec, expect: &str| {
        assert_eq!(refusal(&spec, dir.path()), expect);
        assert_eq!(tree(dir.path()), before);
    };
    check(spec(&path("full")), "output DIR/full exists and is not empty");
    let only = "only a folder can be an output or be replaced by one";
    check(spec(&path("file")), &format!("output DIR/file is a file; {only}"));
    check(overwriting(&path("file")), &format!("output DIR/file is a file; {only}"));
    check(overwriting(&path("link")), &format!("output DIR/link is a symbolic link; {only}"));
    check(spec(&path("file/below/out")), "cannot look at DIR/file/below/out");
    check(overwriting(Path::new("/")), "/ cannot be an output: it is the root of the file system");
    check(overwriting(Path::new("/proc")), "output /proc is a mount point, which cannot be replaced");
    let error = LocalClaim::acquire(&spec(&path("full")), JOB).expect_err("refused");
    assert_eq!(error.hint(), Some("choose another folder, or replace it with --overwrite"));
}

#[test]
fn links_between_output_and_input_are_seen_through() {
    let dir = tempfile::tempdir().expect("scratch");
    fs::create_dir_all(dir.path().join("data/old")).expect("created");
    fs::write(dir.path().join("data/old/a.txt"), "x").expect("written");
    symlink("data", dir.path().join("link")).expect("linked");
    let check = |input: &str, output: &str, expect: bool| {
        let mut spec = overwriting(&dir.path().join(output));
        spec.inputs = vec![Uri::from_path(&dir.path().join(input))];
        match LocalClaim::acquire(&spec, JOB) {
            Ok(claim) => {
                assert!(expect, "{input} {output}");
                claim.undo().expect("undone");
            }
            Err(OutputError::OverlapsInput { .. }) => assert!(!expect, "{input} {output}"),
            Err(error) => panic!("{error:?}"),
        }
    };
    check("link", "data/out", false);
    check("data", "link/out", false);
    check("link/old/a.txt", "data/old", false);
    check("link/old/*.txt", "data/old", false);
    check("link/old/*.txt", "data/out", true);
    check("link/old/a.txt", "data/out", true);
}

#[test]
fn a_second_claim_is_refused_while_the_first_lives() {
    let dir = tempfile::tempdir().expect("scratch");
    let output = dir.path().join("new/out");
    let claim = LocalClaim::acquire(&spec(&output), OTHER).expect("free");
    stage(&claim, &["zero"]);
    let before = tree(dir.path());
    assert_eq!(refusal(&spec(&output), dir.path()), format!("output DIR/new/out is claimed by job {OTHER}"));
    assert_eq!(tree(dir.path()), before);
    claim.undo().expect("undone");
    drop(LocalClaim::acquire(&spec(&output), JOB).expect("free again"));
    assert_eq!(tree(dir.path()), [""; 0]);
}

#[test]
fn only_one_of_many_claims_at_once_succeeds() {
    let dir = tempfile::tempdir().expect("scratch");
    let output = dir.path().join("new/out");
    for _ in 0..20 {
        let barrier = std::sync::Barrier::new(8);
        let finished = std::sync::Barrier::new(8);
        let claim_once = |number: u64| {
            barrier.wait();
            let claim = LocalClaim::acquire(&spec(&output), JobId(number));
            finished.wait();
            match claim {
                Ok(claim) => {
                    assert!(claim.staged_parts_dir().is_dir());
                    1
                }
                Err(OutputError::Held { .. }) => 0,
                Err(error) => panic!("{error:?}"),
            }
        };
        let won: u32 = std::thread::scope(|scope| {
            let claim_once = &claim_once;
            let threads: Vec<_> = (1..=8).map(|number| scope.spawn(move || claim_once(number))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(won, 1);
        assert!(!naming::staging_dir(&output).exists());
    }
}

#[test]
fn claims_and_releases_in_turn_never_fail_otherwise() {
    let dir = tempfile::tempdir().expect("scratch");
    let output = dir.path().join("new/er/out");
    let run = |number: u64| {
        for _ in 0..200 {
            match LocalClaim::acquire(&spec(&output), JobId(number)) {
                Ok(claim) => claim.undo().expect("undone"),
                Err(OutputError::Held { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 1..=4 {
            scope.spawn(move || run(number));
        }
    });
    // Only folders that one created and another was in meanwhile may stay.
    assert!(!naming::staging_dir(&output).exists());
}

#[test]
fn leftovers_of_a_dead_process_are_taken_over() {
    let dir = tempfile::tempdir().expect("scratch");
    let output = dir.path().join("new/out");
    let dead = LocalClaim::acquire(&spec(&output), OTHER).expect("free");
    stage(&dead, &["zero"]);
    let late = dead.staged_parts_dir();
    crash(dead);
    fs::write(naming::staging_dir(&output).join("claim"), "torn").expect("written");
    let claim = LocalClaim::acquire(&spec(&output), JOB).expect("its process is gone");
    assert_eq!(tree(&claim.staged_parts_dir()), [""; 0]);
    assert!(File::create(late.join("part-00000.r-0.2")).is_err(), "a late attempt of the dead job has no folder");
    crash(claim);

    let claim = LocalClaim::acquire(&spec(&output), OTHER).expect("its process is gone");
    claim.undo().expect("undone");
    // The torn record had lost who created the folder above; the later ones did not know of it.
    assert_eq!(tree(dir.path()), ["new/"]);
}

#[test]
fn folders_created_by_a_dead_process_are_undone_with_its_leftovers() {
    let dir = tempfile::tempdir().expect("scratch");
    let output = dir.path().join("new/er/out");
    crash(LocalClaim::acquire(&spec(&output), OTHER).expect("free"));
    LocalClaim::acquire(&spec(&output), JOB).expect("its process is gone").undo().expect("undone");
    assert_eq!(tree(dir.path()), [""; 0]);
}

#[test]
fn a_refused_claim_still_removes_leftovers() {
    let dir = tempfile::tempdir().expect("scratch");
    let output = dir.path().join("out");
    crash(LocalClaim::acquire(&spec(&output), OTHER).expect("free"));
    fs::create_dir(&output).expect("created");
    fs::write(output.join("x"), "x").expect("written");
    assert_eq!(refusal(&spec(&output), dir.path()), "output DIR/out exists and is not empty");
    assert_eq!(tree(dir.path()), ["out/", "out/x"]);
}

#[test]
fn overwriting_replaces_the_old_output_only_on_success() {
    let dir = tempfile::tempdir().expect("scratch");
    let output = dir.path().join("out");
    fs::create_dir_all(output.join("sub")).expect("created");
    fs::write(output.join("sub/old"), "old").expect("written");
    let old = ["out/", "out/sub/", "out/sub/old"];
    let spec = overwriting(&output);

    LocalClaim::acquire(&spec, JOB).expect("free").undo().expect("undone");
    assert_eq!(tree(dir.path()), old);

    let mut claim = LocalClaim::acquire(&spec, JOB).expect("free");
    let mut parts = stage(&claim, &["zero", "one"]);
    parts[1].bytes += 1;
    let error = claim.publish(&parts, &[], &manifest(JOB, &spec, &parts)).expect_err("damaged");
    assert!(error.to_string().ends_with("is missing or damaged: expected 4 bytes, found 3"), "{error}");
    drop(claim);
    assert_eq!(tree(dir.path()), old);

    let mut claim = LocalClaim::acquire(&spec, JOB).expect("free");
    let parts = stage(&claim, &["zero", "one"]);
    claim.publish(&parts, &[], &manifest(JOB, &spec, &parts)).expect("published");
    drop(claim);
    assert_eq!(tree(dir.path()), ["out/", "out/_SUCCESS", "out/part-00000", "out/part-00001"]);
}

#[test]
fn an_output_that_appears_meanwhile_is_not_replaced() {
    let dir = tempfile::tempdir().expect("scratch");
    let output = dir.path().join("out");
    let mut claim = LocalClaim::acquire(&spec(&output), JOB).expect("free");
    let parts = stage(&claim, &["zero"]);
    fs::create_dir(&output).expect("created");
    fs::write(output.join("theirs"), "x").expect("written");
    let error = claim.publish(&parts, &[], &manifest(JOB, &spec(&output), &parts)).expect_err("in the way");
    assert!(matches!(error, OutputError::Exists { .. }), "{error}");
    drop(claim);
    assert_eq!(tree(dir.path()), ["out/", "out/theirs"]);
}

#[test]
fn parts_are_taken_only_under_the_names_of_their_attempts() {
    let dir = tempfile::tempdir().expect("scratch");
    let output = dir.path().join("out");
    let mut claim = LocalClaim::acquire(&spec(&output), JOB).expect("free");
    fs::write(dir.path().join("secret"), "zero").expect("written");
    stage(&claim, &["zero"]);
    for name in ["../../secret", "part-00000./../../../secret", "part-00001.r-1.0", "part-00000", "part-00000.r-0.9"] {
        let staged_name = name.to_owned();
        let parts = [PartSummary {
            staged_name,
            bytes: 4,
            records: 1,
            checksum: 0,
            named: Box::default(),
            upload: None,
            left_out: false,
        }];
        let error = claim.publish(&parts, &[], &manifest(JOB, &spec(&output), &parts)).expect_err(name);
        assert!(matches!(error, OutputError::Part { found_bytes: None, .. }), "{name}: {error}");
    }
    assert!(dir.path().join("secret").exists() && !output.exists());
}

#[test]
fn a_commit_is_resumed_by_the_same_job_wherever_it_was_interrupted() {
    for replaced in [false, true] {
        for step in 0..4 {
            let dir = tempfile::tempdir().expect("scratch");
            let output = dir.path().join("out");
            if replaced {
                fs::create_dir(&output).expect("created");
                fs::write(output.join("old"), "old").expect("written");
            }
            let spec = JobSpec { overwrite: replaced, ..spec(&output) };
            let claim = LocalClaim::acquire(&spec, JOB).expect("free");
            let parts = stage(&claim, &["zero", "one"]);
            let manifest = manifest(JOB, &spec, &parts);
            let result = naming::staging_dir(&output).join(RESULT);
            match step {
                0 => {}
                1 => {
                    fs::create_dir(&result).expect("created");
                    let staged = claim.staged_parts_dir().join(&parts[0].staged_name);
                    fs::rename(staged, result.join("part-00000")).expect("moved");
                    fs::write(result.join("_SUCCESS"), "{\"torn").expect("written");
                }
                2 => claim.build_result(&parts, &[], &manifest).expect("built"),
                _ => {
                    claim.build_result(&parts, &[], &manifest).expect("built");
                    claim.put_in_place().expect("renamed");
                }
            }
            crash(claim);
            let mut claim = LocalClaim::acquire(&spec, JOB).expect("its own");
            claim.publish(&parts, &[], &manifest).expect("resumed");
            drop(claim);
            let expect = ["out/", "out/_SUCCESS", "out/part-00000", "out/part-00001"];
            assert_eq!(tree(dir.path()), expect, "replaced {replaced}, step {step}");
        }
    }
}

#[test]
fn what_is_not_ours_in_the_staging_folder_stays() {
    let dir = tempfile::tempdir().expect("scratch");
    let output = dir.path().join("out");
    let staging = naming::staging_dir(&output);
    fs::create_dir(&staging).expect("created");
    fs::write(staging.join("note"), "theirs").expect("written");
    LocalClaim::acquire(&spec(&output), JOB).expect("free").undo().expect("undone");
    assert_eq!(tree(dir.path()), [".out.gristmill/", ".out.gristmill/note"]);
    fs::remove_dir_all(&staging).expect("removed");
    symlink("elsewhere", &staging).expect("linked");
    assert_eq!(refusal(&spec(&output), dir.path()), "cannot use as a folder DIR/.out.gristmill");
}

#[test]
fn a_folder_without_permission_is_named() {
    let dir = tempfile::tempdir().expect("scratch");
    let parent = dir.path().join("shut");
    fs::create_dir(&parent).expect("created");
    fs::set_permissions(&parent, fs::Permissions::from_mode(0o555)).expect("set");
    if fs::create_dir(parent.join("probe")).is_ok() {
        eprintln!("skipped: this user may write everywhere");
        return;
    }
    let denied = "permission denied: cannot create folder DIR/shut";
    assert_eq!(refusal(&spec(&parent.join("out")), dir.path()), format!("{denied}/.out.gristmill"));
    assert_eq!(refusal(&spec(&parent.join("new/out")), dir.path()), format!("{denied}/new"));
    fs::set_permissions(&parent, fs::Permissions::from_mode(0o755)).expect("set");
    assert_eq!(tree(dir.path()), ["shut/"]);
}

#[test]
fn a_claim_is_taken_up_again_with_everything_that_was_staged() {
    let dir = tempfile::tempdir().expect("scratch");
    let spec = spec(&dir.path().join("deep/out"));
    let claim = LocalClaim::acquire(&spec, JOB).expect("free");
    stage(&claim, &["one"]);
    let record = claim.staging.join("claim");
    claim.abandon();
    let left = tree(dir.path());
    let said = fs::read(&record).expect("written");
    // As its holder wrote it, with more behind it, or not to its end.
    for text in [said.clone(), [&said[..], b"tail"].concat(), said[..said.len() / 2].to_vec(), Vec::new()] {
        fs::write(&record, &text).expect("written");
        let claim = LocalClaim::reclaim(&spec, JOB, true).expect("its own");
        assert_eq!(tree(dir.path()), left, "{}", String::from_utf8_lossy(&text));
        claim.abandon();
    }
    // The last record named no folders that were created, so they stay.
    LocalClaim::reclaim(&spec, JOB, true).expect("its own").undo().expect("removed");
    assert_eq!(tree(dir.path()), ["deep/"]);
    for staged in [true, false] {
        let error = LocalClaim::reclaim(&spec, JOB, staged).expect_err("not even the folder is there");
        assert!(matches!(error, OutputError::StagingMissing { .. }), "{error}");
        assert_eq!(tree(dir.path()), ["deep/"]);
    }
    let staging = naming::staging_dir(&dir.path().join("deep/out"));
    fs::create_dir(&staging).expect("made anew");
    let error = LocalClaim::reclaim(&spec, JOB, true).expect_err("what was staged is gone");
    assert!(matches!(error, OutputError::StagedPartsGone { .. }), "{error}");
    LocalClaim::reclaim(&spec, JOB, false).expect("nothing was staged").undo().expect("removed");
}

#[test]
fn leftovers_of_one_job_are_removed_and_what_others_left_or_hold_stays() {
    let dir = tempfile::tempdir().expect("scratch");
    let spec = spec(&dir.path().join("deep/out"));
    remove_leftovers(&spec.output, JOB, &[]).expect("nothing is there");
    assert_eq!(tree(dir.path()), [""; 0]);
    let claim = LocalClaim::acquire(&spec, JOB).expect("free");
    stage(&claim, &["one"]);
    let left = tree(dir.path());
    remove_leftovers(&spec.output, JOB, &[]).expect("it is held");
    assert_eq!(tree(dir.path()), left);
    claim.abandon();
    remove_leftovers(&spec.output, OTHER, &[]).expect("not its own");
    assert_eq!(tree(dir.path()), left);
    remove_leftovers(&spec.output, JOB, &[]).expect("removed");
    assert_eq!(tree(dir.path()), [""; 0]);

    // Nothing but the folders above it was made before its process ended.
    let spec = JobSpec { output: Uri::from_path(&dir.path().join("a/b/out")), ..spec };
    let missing = missing_folders(&spec.output);
    assert_eq!(missing, [dir.path().join("a"), dir.path().join("a/b")]);
    fs::create_dir_all(dir.path().join("a/b")).expect("created");
    fs::write(dir.path().join("a/other"), "").expect("written");
    remove_leftovers(&spec.output, JOB, &missing).expect("removed");
    assert_eq!(tree(dir.path()), ["a/", "a/other"]);
}

#[test]
fn a_claim_that_cannot_be_taken_up_again_removes_nothing() {
    let dir = tempfile::tempdir().expect("scratch");
    let spec = spec(&dir.path().join("out"));
    let claim = LocalClaim::acquire(&spec, JOB).expect("free");
    stage(&claim, &["one"]);
    claim.abandon();
    fs::create_dir(dir.path().join("out")).expect("created");
    fs::write(dir.path().join("out/other"), "of somebody").expect("written");
    let left = tree(dir.path());
    let error = LocalClaim::reclaim(&spec, JOB, true).expect_err("its place is taken");
    assert!(matches!(error, OutputError::Exists { .. }), "{error}");
    assert_eq!(tree(dir.path()), left);
    remove_leftovers(&spec.output, JOB, &[]).expect("removed once it is recorded");
    assert_eq!(tree(dir.path()), ["out/", "out/other"]);
}
