//! The records that an attempt skipped, and the damaged objects of which it left something out, staged as
//! JSON lines. Decides nothing about which.
//!
//! | field | value |
//! |---|---|
//! | `object`, `offset` | where the record begins; of an object, where it is damaged as it is stored |
//! | `row_group` | of a file of columns, which row group `offset` counts the bytes of rows of |
//! | `block` | where the block begins from which `offset` counts, only if it is not the content's beginning |
//! | `code`, `message` | why it was skipped, as failures of attempts say it |
//! | `bytes` | its length, without what ends it |
//! | `record` | its first 4 KiB as text, with U+FFFD for what is not UTF-8 |
//! | `hex` | the same bytes in hexadecimal, only if they are not UTF-8 |
//!
//! The line of an object has none of the last three.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use gristmill_common::counters::{BAD_FILES, BAD_RECORDS, Counters};
use gristmill_common::failure::Failure;
use gristmill_common::ids::AttemptId;
use gristmill_common::naming::staged_bad_records_name;
use gristmill_common::record_offset::RecordOffset;
use gristmill_common::task::BadRecords;
use serde_json::json;

use super::failures;

/// The most that is kept of a record, and of a message. More tells more of what was wrong; but the
/// letters of a job of long records would take as much room as its input.
const MOST_BYTES: usize = 4 << 10;

/// Why one record was skipped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Letter<'a> {
    pub(super) object: &'a str,
    pub(super) offset: u64,
    pub(super) failure: &'a Failure,
    pub(super) content: &'a [u8],
}

impl Letter<'_> {
    /// The line of the letter, with its line feed.
    fn line(&self) -> String {
        let content = &self.content[..self.content.len().min(MOST_BYTES)];
        let (text, is_text) = match std::str::from_utf8(content) {
            Ok(text) => (text.into(), true),
            // A character that the cut divides was whole.
            Err(error) if error.error_len().is_none() && content.len() < self.content.len() => {
                (String::from_utf8_lossy(&content[..error.valid_up_to()]), true)
            }
            Err(_) => (String::from_utf8_lossy(content), false),
        };
        let mut line = what_and_why(self.object, RecordOffset::from_bits(self.offset), self.failure);
        line["bytes"] = self.content.len().into();
        line["record"] = text.into();
        if !is_text {
            line["hex"] = content.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
        }
        format!("{line}\n")
    }
}

/// The fields that all lines have.
fn what_and_why(object: &str, at: RecordOffset, failure: &Failure) -> serde_json::Value {
    let (within, offset) = match at {
        RecordOffset::Content(offset) => (None, offset),
        RecordOffset::Block { block, place } => (Some(("block", block)), place),
        RecordOffset::RowGroup { group, place } => (Some(("row_group", group)), place),
    };
    let message = &failure.message;
    let cut = (0..=message.len().min(MOST_BYTES)).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    let mut line = json!({ "object": object, "offset": offset });
    if let Some((name, number)) = within {
        line[name] = number.into();
    }
    line["code"] = json!(failure.code);
    line["message"] = message[..cut].into();
    line
}

/// Collects the letters of one attempt in a staged file, which is made by the first one and removed
/// when dropped before [`finish`](Self::finish).
#[derive(Debug)]
pub(super) struct DeadLetters {
    path: PathBuf,
    spooled: bool,
    file: Option<BufWriter<File>>,
    records: u64,
    objects: u64,
    bytes: u64,
}

impl DeadLetters {
    /// None yet.
    pub(super) fn new(staging: &Path, attempt: AttemptId) -> Self {
        let path = staging.join(staged_bad_records_name(attempt));
        Self { path, spooled: false, file: None, records: 0, objects: 0, bytes: 0 }
    }

    /// The same, where they are staged in scratch to be sent to a store, or not.
    pub(super) fn in_scratch(mut self, spooled: bool) -> Self {
        self.spooled = spooled;
        self
    }

    /// How many records there are.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Adds a record.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(super) fn add(&mut self, letter: &Letter<'_>) -> Result<(), Failure> {
        self.records += 1;
        self.write(&letter.line())
    }

    /// Adds an object that is left out from where the failure says.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(super) fn add_object(&mut self, object: &str, failure: &Failure) -> Result<(), Failure> {
        self.objects += 1;
        let at = failure.position.as_ref().map_or(0, |position| position.offset);
        self.write(&format!("{}\n", what_and_why(object, RecordOffset::from_bits(at), failure)))
    }

    fn write(&mut self, line: &str) -> Result<(), Failure> {
        let file = match self.file.take() {
            Some(file) => Ok(file),
            None => File::create(&self.path).map(BufWriter::new),
        };
        let written = file.and_then(|file| self.file.insert(file).write_all(line.as_bytes()));
        self.bytes += line.len() as u64;
        written.map_err(|error| self.failed(&error))
    }

    /// Forces them to disk, for they are few, counts them, and says what there is; `None` if there are
    /// none.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub(super) fn finish(mut self, counters: &mut Counters) -> Result<Option<BadRecords>, Failure> {
        let Some(mut file) = self.file.take() else { return Ok(None) };
        if let Err(error) = file.flush().and_then(|()| file.get_ref().sync_all()) {
            self.file = Some(file);
            return Err(self.failed(&error));
        }
        for (name, count) in [(BAD_RECORDS, self.records), (BAD_FILES, self.objects)] {
            if count > 0 {
                counters.add(name, count);
            }
        }
        let staged_name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (records, objects, bytes) = (self.records, self.objects, self.bytes);
        Ok(Some(BadRecords { staged_name, records, objects, bytes, upload: None }))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        failures::staging_failed("skipped records", &self.path, error, self.spooled)
    }
}

impl Drop for DeadLetters {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // The job's undo removes whatever this cannot.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use gristmill_common::failure::{FailureCode, InputPosition};

    use super::*;

    fn line(content: &[u8]) -> serde_json::Value {
        let failure = Failure::new(FailureCode::UserError, "no number");
        let letter = Letter { object: "/in/a.txt", offset: 1204, failure: &failure, content };
        serde_json::from_str(&letter.line()).expect("a line of JSON")
    }

    #[test]
    fn letters_say_where_why_and_what() {
        let whole = json!({
            "object": "/in/a.txt", "offset": 1204, "code": "USER_ERROR", "message": "no number",
            "bytes": 6, "record": "x\t\"é\"",
        });
        assert_eq!(line("x\t\"é\"".as_bytes()), whole);
        let odd = line(b"x\xff\x00");
        assert_eq!((&odd["record"], &odd["hex"]), (&json!("x\u{fffd}\0"), &json!("78ff00")));
        let accents = "é".repeat(MOST_BYTES);
        let long = line(&[b"\xff", accents.as_bytes()].concat());
        assert_eq!(
            (&long["bytes"], long["hex"].as_str().map(str::len)),
            (&json!(2 * MOST_BYTES + 1), Some(2 * MOST_BYTES))
        );
        // The cut divides a character, which is then left out.
        let long = line(format!("x{accents}").as_bytes());
        assert_eq!(long["record"], format!("x{}", "é".repeat(MOST_BYTES / 2 - 1)));
        assert!(long["hex"].is_null());
    }

    #[test]
    fn places_in_blocks_and_damaged_objects_are_told() {
        let failure = Failure::new(FailureCode::UserError, "no number");
        let offset = RecordOffset::Block { block: 4_194_310, place: 17 }.bits();
        let letter = Letter { object: "/in/a.bz2", offset, failure: &failure, content: b"x" };
        let line: serde_json::Value = serde_json::from_str(&letter.line()).expect("a line of JSON");
        assert_eq!((&line["block"], &line["offset"]), (&json!(4_194_310), &json!(17)));
        let dir = tempfile::tempdir().expect("a folder");
        let attempt: AttemptId = "m-7.0".parse().expect("an attempt");
        let position = InputPosition { object: "/in/b.gz".to_owned(), offset: 99 };
        let damage = Failure::new(FailureCode::InputDamaged, "cut short").at(position);
        let mut letters = DeadLetters::new(dir.path(), attempt);
        letters.add_object("/in/b.gz", &damage).expect("room");
        let mut counters = Counters::default();
        let bad = letters.finish(&mut counters).expect("room").expect("one");
        let text = std::fs::read_to_string(dir.path().join(&bad.staged_name)).expect("staged");
        let line: serde_json::Value = serde_json::from_str(&text).expect("a line of JSON");
        let expect = json!({ "object": "/in/b.gz", "offset": 99, "code": "INPUT_DAMAGED", "message": "cut short" });
        assert_eq!((line, bad.records, bad.objects), (expect, 0, 1));
        assert_eq!((counters.get(BAD_RECORDS), counters.get(BAD_FILES)), (0, 1));
        let offset = RecordOffset::RowGroup { group: 3, place: 0 }.bits();
        let damage = damage.at(InputPosition { object: "/in/c.parquet".to_owned(), offset });
        let mut letters = DeadLetters::new(dir.path(), attempt);
        letters.add_object("/in/c.parquet", &damage).expect("room");
        letters.finish(&mut counters).expect("room").expect("one");
        let text = std::fs::read_to_string(dir.path().join(&bad.staged_name)).expect("staged");
        let line: serde_json::Value = serde_json::from_str(&text).expect("a line of JSON");
        assert_eq!((&line["row_group"], &line["offset"]), (&json!(3), &json!(0)));
    }

    #[test]
    fn letters_are_staged_or_leave_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let failure = Failure::new(FailureCode::UserPanic, "at a loss");
        let letter = Letter { object: "/in/a.txt", offset: 0, failure: &failure, content: b"x" };
        let attempt: AttemptId = "m-7.0".parse().expect("an attempt");
        let left = || std::fs::read_dir(dir.path()).expect("a folder").count();
        let mut counters = Counters::default();
        assert_eq!(DeadLetters::new(dir.path(), attempt).finish(&mut counters), Ok(None));
        let mut letters = DeadLetters::new(dir.path(), attempt);
        letters.add(&letter).expect("room");
        drop(letters);
        assert_eq!(left(), 0);
        let mut letters = DeadLetters::new(dir.path(), attempt);
        letters.add(&letter).expect("room");
        letters.add(&letter).expect("room");
        let bad = letters.finish(&mut counters).expect("room").expect("two");
        let text = std::fs::read_to_string(dir.path().join(&bad.staged_name)).expect("staged");
        assert_eq!((bad.records, bad.bytes, text.lines().count()), (2, text.len() as u64, 2));
        assert_eq!(counters.get(BAD_RECORDS), 2);
        assert_eq!(bad.staged_name, "part-m-00007.jsonl.m-7.0");
        let error = DeadLetters::new(&dir.path().join("missing"), attempt).add(&letter).expect_err("no folder");
        assert!(error.message.starts_with("cannot write skipped records "), "{error}");
    }
}
