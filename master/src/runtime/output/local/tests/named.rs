//! Named outputs: published, undone and resumed with the parts that they came with.

use gristmill_common::task::NamedPart;

use super::*;

/// Stages two parts, the first of which comes with parts of these named outputs, the second with one of the
/// first of them; and a loser beside each, which has them as well.
fn stage_named(claim: &LocalClaim, names: &[&str]) -> Vec<PartSummary> {
    let mut parts = stage(claim, &["zero\n", ""]);
    for (part, names) in parts.iter_mut().zip([names, &names[..1]]) {
        let loser = part.staged_name.replace(".1", ".0");
        for staged in [&part.staged_name, &loser] {
            let folder = claim.staged_parts_dir().join(naming::staged_named_dir(staged));
            fs::create_dir(&folder).expect("created");
            for (number, name) in names.iter().enumerate() {
                let text = if *staged == loser { "loser".to_owned() } else { format!("{name} of {staged}\n") };
                fs::write(folder.join(number.to_string()), text).expect("staged");
            }
        }
        let summary = |name: &&str| {
            let bytes = format!("{name} of {}\n", part.staged_name).len() as u64;
            NamedPart { name: name.parse().expect("a name"), bytes, records: 1, checksum: 3, upload: None }
        };
        part.named = names.iter().map(summary).collect();
    }
    parts
}

const NAMES: [&str; 3] = ["b", "a/b=c", "a"];

/// What is published of [`NAMES`].
const TREE: [&str; 10] = [
    "_SUCCESS",
    "a/",
    "a/b=c/",
    "a/b=c/part-00000",
    "a/part-00000",
    "b/",
    "b/part-00000",
    "b/part-00001",
    "part-00000",
    "part-00001",
];

#[test]
fn named_outputs_are_published_with_the_parts_and_listed_by_name_behind_them() {
    let dir = tempfile::tempdir().expect("scratch");
    for (name, fsync) in [("x", false), ("y", true)] {
        let output = dir.path().join(name);
        let spec = JobSpec { fsync, ..spec(&output) };
        let mut claim = LocalClaim::acquire(&spec, JOB).expect("free");
        let parts = stage_named(&claim, &NAMES);
        let manifest = manifest(JOB, &spec, &parts);
        claim.publish(&parts, &[], &manifest).expect("published");
        claim.publish(&parts, &[], &manifest).expect("published again");
        drop(claim);
        assert_eq!(tree(&output), TREE);
        assert_eq!(text(output.join("a/b=c/part-00000")), "a/b=c of part-00000.r-0.1\n");
        assert_eq!(text(output.join("b/part-00001")), "b of part-00001.r-1.1\n");
        assert!(!naming::staging_dir(&output).exists());
        let paths: Vec<&str> = manifest.parts.iter().map(|part| part.path.as_str()).collect();
        let named = ["a/part-00000", "a/b=c/part-00000", "b/part-00000", "b/part-00001"];
        assert_eq!(paths, [&["part-00000", "part-00001"], &named[..]].concat());
        assert_eq!((manifest.parts[2].records, manifest.parts[2].checksum.as_str()), (1, "xxh3:0000000000000003"));
    }
}

#[test]
fn what_was_staged_for_named_outputs_is_undone() {
    let dir = tempfile::tempdir().expect("scratch");
    let claim = LocalClaim::acquire(&spec(&dir.path().join("out")), JOB).expect("free");
    stage_named(&claim, &NAMES);
    claim.undo().expect("undone");
    assert_eq!(tree(dir.path()), [""; 0]);
}

#[test]
fn a_commit_of_named_outputs_is_resumed_wherever_it_was_interrupted() {
    for step in 0..6 {
        let dir = tempfile::tempdir().expect("scratch");
        let spec = spec(&dir.path().join("out"));
        let claim = LocalClaim::acquire(&spec, JOB).expect("free");
        let parts = stage_named(&claim, &NAMES);
        let manifest = manifest(JOB, &spec, &parts);
        let result = claim.staging.join(RESULT);
        let staged = claim.staged_parts_dir().join(naming::staged_named_dir(&parts[0].staged_name));
        if step > 0 {
            fs::create_dir_all(result.join("a/b=c")).expect("created");
        }
        if step > 1 {
            fs::rename(staged.join("1"), result.join("a/b=c/part-00000")).expect("moved");
        }
        if step > 2 {
            fs::write(result.join("a/strange"), "x").expect("written");
            fs::create_dir_all(result.join("c/deep")).expect("created");
        }
        if step > 3 {
            claim.build_result(&parts, &[], &manifest).expect("built");
        }
        if step > 4 {
            claim.put_in_place().expect("renamed");
        }
        crash(claim);
        let mut claim = LocalClaim::reclaim(&spec, JOB, true).expect("its own");
        claim.publish(&parts, &[], &manifest).expect("resumed");
        drop(claim);
        assert_eq!(tree(&dir.path().join("out")), TREE, "step {step}");
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1, "step {step}");
    }
}

#[test]
fn a_named_part_that_is_not_what_was_reported_keeps_all_from_being_published() {
    let dir = tempfile::tempdir().expect("scratch");
    let output = dir.path().join("out");
    let mut claim = LocalClaim::acquire(&spec(&output), JOB).expect("free");
    let mut parts = stage_named(&claim, &NAMES);
    parts[1].named[0].bytes += 1;
    let error = claim.publish(&parts, &[], &manifest(JOB, &spec(&output), &parts)).expect_err("damaged");
    assert!(error.to_string().contains("part-00001.r-1.1.named/0 is missing or damaged"), "{error}");
    drop(claim);
    assert_eq!(tree(dir.path()), [""; 0]);
}

#[test]
fn two_outputs_that_a_file_system_takes_for_one_are_refused() {
    let dir = tempfile::tempdir().expect("scratch");
    let output = dir.path().join("out");
    let mut claim = LocalClaim::acquire(&spec(&output), JOB).expect("free");
    let parts = stage_named(&claim, &["b"]);
    // As if `B` had been moved there before, on a file system that ignores case.
    fs::create_dir_all(claim.staging.join(RESULT).join("b")).expect("created");
    fs::write(claim.staging.join(RESULT).join("b/part-00000"), "of B\n").expect("written");
    let error = claim.publish(&parts, &[], &manifest(JOB, &spec(&output), &parts)).expect_err("the same path");
    assert!(matches!(error, OutputError::SamePath { .. }), "{error}");
    drop(claim);
    assert_eq!(tree(dir.path()), [""; 0]);
}
