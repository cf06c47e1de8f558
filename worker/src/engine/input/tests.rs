//! Real and deliberately nasty files, under each line rule, over every small split size.

mod compressed;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::form::Form;
use gristmill_common::input::Framing;
use gristmill_common::naming::Uri;
use gristmill_common::objects::OpenObject;
use gristmill_common::task::{InputObject, Piece};
use gristmill_common::text::LineRule;
use sha2::{Digest as _, Sha256};

use super::{PieceRecords, ReadBuffer, Reading};

/// An object in memory: reading it a million times costs no system calls.
struct InMemory(Vec<u8>);

impl OpenObject for InMemory {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn will_read(&self, _offset: u64, _bytes: u64) {}

    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }
}

/// How objects are read here.
fn reading(form: Form, framing: Framing<'_>) -> Reading<'_> {
    Reading::testing(form, framing)
}

/// What `records.tsv` says of a file: records, bytes, and a hash over each record behind its length.
#[derive(Debug, PartialEq, Eq)]
struct Digest {
    records: u64,
    bytes: u64,
    sha256: String,
}

fn digest_in_splits(
    object: &InMemory,
    (form, rule): (Form, &LineRule),
    split_size: u64,
    buffer: &mut ReadBuffer,
) -> Digest {
    let size = object.0.len() as u64;
    let pinned = Arc::new(InputObject {
        uri: Uri::from_path("/x".as_ref()),
        size,
        modified_micros: None,
        etag: None,
        form: None,
    });
    let mut hash = Sha256::new();
    let (mut records, mut bytes, mut start) = (0, 0, 0);
    let mut framed = Vec::new();
    while start < size {
        let end = if rule.is_splittable() { (start + split_size).min(size) } else { size };
        let piece = Piece { object: Arc::clone(&pinned), start, end };
        let how = reading(form, Framing::Text(rule));
        let mut reader = PieceRecords::open(object, &piece, &how, buffer).expect("readable");
        while let Some(block) = reader.next_block().expect("readable") {
            let mut at = 0;
            while at < block.bytes.len() {
                let span = rule.record_at(block.bytes, at);
                let record = &block.bytes[at..span.end];
                framed.extend_from_slice(&(record.len() as u32).to_be_bytes());
                framed.extend_from_slice(record);
                records += 1;
                bytes += record.len() as u64;
                at = span.next;
            }
        }
        if framed.len() > 1 << 16 {
            hash.update(&framed);
            framed.clear();
        }
        start = end;
    }
    hash.update(&framed);
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Digest { records, bytes, sha256 }
}

/// The folder of trial data: `$GRISTMILL_TEST_DATA`, or `shared/data` beside the repository.
fn trial_data() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let dir = std::env::var_os("GRISTMILL_TEST_DATA").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    dir.is_dir().then_some(dir)
}

/// A row of `records.tsv`: a file, a line rule, and what there is.
struct Row {
    file: String,
    rule: LineRule,
    expect: Digest,
}

/// The rows, if there is trial data, and its folder.
fn rows() -> Option<(PathBuf, Vec<Row>)> {
    let Some(data) = trial_data() else {
        println!("skipped: no trial data (set GRISTMILL_TEST_DATA to its folder)");
        return None;
    };
    let rows = fs::read_to_string(data.join("expected/records.tsv")).expect("the data has its answers");
    let row = |row: &str| {
        let fields: Vec<&str> = row.split('\t').collect();
        let rule = match fields[1] {
            "hadoop" => LineRule::Any,
            "lf-strip-cr" => LineRule::Lf,
            "lf-raw" => LineRule::Delimiter("\\n".parse().expect("valid")),
            other => panic!("unknown rule {other}"),
        };
        let number = |text: &str| text.parse::<u64>().expect("a number");
        let expect = Digest { records: number(fields[2]), bytes: number(fields[3]), sha256: fields[4].to_owned() };
        Row { file: fields[0].to_owned(), rule, expect }
    };
    Some((data, rows.lines().map(row).collect()))
}

#[test]
fn real_files_give_the_expected_records_at_every_split_size() {
    let Some((data, rows)) = rows() else { return };
    let is_plain = |row: &&Row| !matches!(Form::of_name(&row.file), Some(Form::Compressed(_)));
    let plain: Vec<&Row> = rows.iter().filter(is_plain).collect();
    assert!(plain.len() >= 45, "only {} rows", plain.len());
    // Each thread takes every second row; the rows of one file are neighbours.
    std::thread::scope(|threads| {
        for half in 0..2 {
            let (plain, data) = (&plain, &data);
            threads.spawn(move || {
                let mut buffer = ReadBuffer::default();
                for Row { file, rule, expect } in plain.iter().skip(half).step_by(2) {
                    let object = InMemory(fs::read(data.join(file)).expect("the data is complete"));
                    for split_size in (1..=64).chain([1000, u64::from(u32::MAX)]) {
                        let seen = digest_in_splits(&object, (Form::Plain, rule), split_size, &mut buffer);
                        assert_eq!(&seen, expect, "{file} under {rule} in splits of {split_size}");
                    }
                }
            });
        }
    });
}

/// The records of `length` bytes that a split reader finds, and where one is cut short.
fn fixed_in_splits(object: &InMemory, length: usize, split_size: u64, read_bytes: usize) -> (Vec<u8>, Vec<u64>) {
    let size = object.0.len() as u64;
    let pinned = Arc::new(InputObject {
        uri: Uri::from_path("/x".as_ref()),
        size,
        modified_micros: None,
        etag: None,
        form: None,
    });
    let mut buffer = ReadBuffer::reading(read_bytes);
    let (mut records, mut cut, mut start) = (vec![], vec![], 0);
    while start < size {
        let end = (start + split_size).min(size);
        let piece = Piece { object: Arc::clone(&pinned), start, end };
        let how = reading(Form::Plain, Framing::Length(length));
        let mut reader = PieceRecords::open(object, &piece, &how, &mut buffer).expect("readable");
        loop {
            match reader.next_block() {
                Ok(Some(block)) => {
                    assert_eq!((block.bytes.len() % length, block.offset), (0, records.len() as u64));
                    records.extend_from_slice(block.bytes);
                }
                Ok(None) => break,
                Err(failure) => {
                    assert_eq!(failure.code, FailureCode::BadRecord);
                    cut.push(failure.position.expect("it names the place").offset);
                    break;
                }
            }
        }
        start = end;
    }
    (records, cut)
}

#[test]
fn records_of_fixed_length_do_not_depend_on_the_cut() {
    for (size, length) in [(0, 3), (1, 3), (30, 3), (31, 3), (300, 100), (299, 100), (7, 7), (50, 1)] {
        let object = InMemory((0..size).map(|byte| byte as u8).collect());
        let whole = size - size % length;
        let cut = if whole < size { vec![whole as u64] } else { vec![] };
        for (split_size, read_bytes) in (1..40).map(|split| (split, 8)).chain([(100, 1000), (1000, 1)]) {
            let seen = fixed_in_splits(&object, length, split_size, read_bytes);
            assert_eq!(seen, (object.0[..whole].to_vec(), cut.clone()), "{size} by {length} in {split_size}");
        }
    }
}
