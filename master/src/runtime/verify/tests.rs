//! Outputs that are whole, and outputs that are not.

use gristmill_common::ids::JobId;
use gristmill_common::spec::{JobShape, JobSpec};
use gristmill_common::task::{BadRecords, JobPlan, NamedPart, PartSummary};
use gristmill_common::time::WallTime;
use xxhash_rust::xxh3::xxh3_64;

use std::fs;
use std::path::Path;

use super::*;
use crate::runtime::manifest::JobTimes;

const PARTS: [&[u8]; 3] = [b"apple\t1\n", b"", b"pear\t12\nplum\t3\n"];
/// In the parts of the named outputs `a` and `a/b`.
const NAMED: &[u8] = b"fig\t7\n";
const BAD: &str = "{\"offset\":1}\n{\"offset\":9}\n";

fn uri(path: &Path) -> Uri {
    Uri::from_path(path)
}

/// An output of three parts, two named ones of one part each, and one file of two skipped records.
fn output() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("scratch");
    let spec = JobSpec::new("copy", JobShape::MapOnly, vec![uri(dir.path())], uri(dir.path()));
    let times = JobTimes { started: WallTime::default(), finished: WallTime::default() };
    let bad = BadRecords {
        staged_name: "part-m-00002.jsonl.m-2.0".into(),
        records: 2,
        objects: 0,
        bytes: BAD.len() as u64,
        upload: None,
    };
    let summary = |bytes: &&[u8]| PartSummary {
        staged_name: String::new(),
        bytes: bytes.len() as u64,
        records: 0,
        checksum: xxh3_64(bytes),
        named: Box::default(),
        upload: None,
        left_out: false,
    };
    let mut parts: Vec<PartSummary> = PARTS.iter().map(summary).collect();
    let name = |name: &str| name.parse().expect("a name");
    let (bytes, checksum) = (NAMED.len() as u64, xxh3_64(NAMED));
    parts[1].named =
        ["a/b", "a"].map(|text| NamedPart { name: name(text), bytes, records: 1, checksum, upload: None }).into();
    let manifest = Manifest::new(JobId(1), &spec, &JobPlan::default(), times)
        .with_result(&parts, Default::default(), Default::default())
        .with_bad(&[bad]);
    fs::create_dir_all(dir.path().join("a/b")).expect("created");
    for (part, bytes) in manifest.parts.iter().zip(PARTS.into_iter().chain([NAMED; 2])) {
        fs::write(dir.path().join(&part.path), bytes).expect("written");
    }
    fs::create_dir(dir.path().join(BAD_DIR)).expect("created");
    fs::write(dir.path().join(&manifest.bad[0].path), BAD).expect("written");
    fs::write(dir.path().join(SUCCESS_FILE), manifest.to_bytes()).expect("written");
    dir
}

fn damage(dir: &Path) -> Vec<String> {
    let output = FinishedOutput::open(&uri(dir)).expect("a manifest");
    let parts = output.manifest().parts.iter().filter_map(|part| output.check_part(part));
    let bad = output.manifest().bad.iter().filter_map(|bad| output.check_bad(bad));
    let found = parts.chain(bad).chain(output.strangers().expect("a folder"));
    found.map(|damage| damage.to_string()).collect()
}

#[test]
fn an_output_as_published_is_whole_whatever_is_hidden_in_it() {
    let dir = output();
    fs::write(dir.path().join("_notes"), "x").expect("written");
    assert_eq!(damage(dir.path()), [""; 0]);
}

#[test]
fn every_flipped_bit_and_every_truncation_of_a_part_is_found() {
    let dir = output();
    let main = PARTS.iter().enumerate().map(|(index, bytes)| (format!("part-{index:05}"), *bytes));
    for (name, bytes) in main.chain([("a/b/part-00001".to_owned(), NAMED)]) {
        let path = dir.path().join(&name);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 1 << bit;
                fs::write(&path, &flipped).expect("written");
                let found = damage(dir.path());
                let start = format!("{name} is damaged: its checksum is xxh3:");
                assert!(found.len() == 1 && found[0].starts_with(&start), "bit {bit} at {at}: {found:?}");
            }
            fs::write(&path, &bytes[..at]).expect("written");
            assert_eq!(damage(dir.path()), [format!("{name} has {at} bytes, not {}", bytes.len())]);
        }
        fs::write(&path, [bytes, b"x".as_slice()].concat()).expect("written");
        assert_eq!(damage(dir.path()), [format!("{name} has {} bytes, not {}", bytes.len() + 1, bytes.len())]);
        fs::write(&path, bytes).expect("written");
    }
    assert_eq!(damage(dir.path()), [""; 0]);
}

#[test]
fn missing_and_additional_files_are_named() {
    let dir = output();
    fs::remove_file(dir.path().join("part-00001")).expect("removed");
    fs::write(dir.path().join("part-00003"), "more").expect("written");
    fs::create_dir(dir.path().join("x")).expect("created");
    fs::write(dir.path().join("_bad/part-m-00002.jsonl"), BAD.replace('\n', " ")).expect("written");
    let expect = [
        "part-00001 is missing",
        "_bad/part-m-00002.jsonl has 0 lines, not 2",
        "part-00003 is not listed in _SUCCESS",
        "x is not listed in _SUCCESS",
    ];
    assert_eq!(damage(dir.path()), expect);
}

#[test]
fn strangers_in_named_outputs_are_named_and_so_are_missing_ones() {
    let dir = output();
    fs::write(dir.path().join("a/part-00000"), "more").expect("written");
    fs::write(dir.path().join("a/b/.part"), "hidden").expect("written");
    fs::create_dir(dir.path().join("a/b/c")).expect("created");
    assert_eq!(damage(dir.path()), ["a/b/c is not listed in _SUCCESS", "a/part-00000 is not listed in _SUCCESS"]);
    fs::remove_dir_all(dir.path().join("a")).expect("removed");
    assert_eq!(damage(dir.path()), ["a/part-00001 is missing", "a/b/part-00001 is missing"]);
    fs::write(dir.path().join("a"), "a file").expect("written");
    let found = damage(dir.path());
    assert!(found.len() == 2 && found[0].starts_with("a/part-00001 cannot be read: "), "{found:?}");
}

#[test]
fn without_a_manifest_there_is_nothing_to_compare() {
    let dir = output();
    let success = dir.path().join(SUCCESS_FILE);
    let text = fs::read_to_string(&success).expect("a manifest");
    let check = |content: &str, reason: &str| {
        fs::write(&success, content).expect("written");
        let error = FinishedOutput::open(&uri(dir.path())).expect_err(reason).to_string();
        assert!(error.contains("_SUCCESS is damaged: ") && error.contains(reason), "{error}");
    };
    check(&text[..text.len() / 2], "EOF");
    check(&text.replace("\"version\": 2", "\"version\": 3"), "its version is 3, and this program knows 2");
    check(&text.replace("\"part-00001\"", "\"part-00002\""), "its checksum does not match");
    let unchecked = text.replace("\"version\": 2", "\"version\": 1");
    check(&unchecked.replace("\"part-00001\"", "\"../part-00001\""), "which is no file of an output");
    check(&unchecked.replace("\"_bad/", "\"_bad/../"), "which is no file of an output");
    for path in ["a/../part-00001", "_a/part-00001", "a/", "/part-00001", "a/.hidden"] {
        check(&unchecked.replace("\"a/part-00001\"", &format!("\"{path}\"")), "which is no file of an output");
    }
    fs::remove_file(&success).expect("removed");
    let refusal = |uri: &Uri| FinishedOutput::open(uri).expect_err("refused");
    assert!(matches!(refusal(&uri(dir.path())), VerifyError::Unfinished { .. }));
    assert!(matches!(refusal(&uri(&dir.path().join("part-00000"))), VerifyError::Unfinished { .. }));
    assert!(matches!(refusal(&uri(&dir.path().join("none"))), VerifyError::Missing { .. }));
    assert!(matches!(refusal(&"s3://a/b".parse().expect("a URI")), VerifyError::NotBuiltIn { .. }));
}
