//! The records that an attempt skipped, staged as JSON lines. Decides nothing about which.
//!
//! | field | value |
//! |---|---|
//! | `object`, `offset` | where the record begins |
//! | `code`, `message` | why it was skipped, as failures of attempts say it |
//! | `bytes` | its length, without what ends it |
//! | `record` | its first 4 KiB as text, with U+FFFD for what is not UTF-8 |
//! | `hex` | the same bytes in hexadecimal, only if they are not UTF-8 |

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use gristmill_common::counters::{BAD_RECORDS, Counters};
use gristmill_common::failure::Failure;
use gristmill_common::ids::AttemptId;
use gristmill_common::naming::staged_bad_records_name;
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
        let message = &self.failure.message;
        let cut = (0..=message.len().min(MOST_BYTES)).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        let mut line = json!({
            "object": self.object,
            "offset": self.offset,
            "code": self.failure.code,
            "message": &message[..cut],
            "bytes": self.content.len(),
            "record": text,
        });
        if !is_text {
            line["hex"] = content.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
        }
        format!("{line}\n")
    }
}

/// Collects the letters of one attempt in a staged file, which is made by the first one and removed
/// when dropped before [`finish`](Self::finish).
#[derive(Debug)]
pub(super) struct DeadLetters {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    records: u64,
    bytes: u64,
}

impl DeadLetters {
    /// None yet.
    pub(super) fn new(staging: &Path, attempt: AttemptId) -> Self {
        Self { path: staging.join(staged_bad_records_name(attempt)), file: None, records: 0, bytes: 0 }
    }

    /// How many there are.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Adds one.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(super) fn add(&mut self, letter: &Letter<'_>) -> Result<(), Failure> {
        let line = letter.line();
        let file = match self.file.take() {
            Some(file) => Ok(file),
            None => File::create(&self.path).map(BufWriter::new),
        };
        let written = file.and_then(|file| self.file.insert(file).write_all(line.as_bytes()));
        self.records += 1;
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
        counters.add(BAD_RECORDS, self.records);
        let staged_name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Some(BadRecords { staged_name, records: self.records, bytes: self.bytes, upload: None }))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        failures::write_failed("skipped records", &self.path, error)
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
    use gristmill_common::failure::FailureCode;

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
