//! Part files: output records written in large pieces, counted and hashed on the way.

use std::fs::File;
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use gristmill_common::counters::Counters;
use gristmill_common::datum::Datum;
use gristmill_common::failure::Failure;
use gristmill_common::ids::AttemptId;
use gristmill_common::job::{JobError, Result as JobResult, Sink};
use gristmill_common::naming;
use gristmill_common::output::Output;
use gristmill_common::task::PartSummary;
use xxhash_rust::xxh3::Xxh3;

use super::failures;

/// Bytes collected before the file is written to.
const WRITE_BYTES: usize = 1 << 20;

/// The staged part of one attempt. Removed when dropped before [`finish`](Self::finish).
pub(super) struct PartWriter {
    file: File,
    path: PathBuf,
    pending: Vec<u8>,
    bytes: u64,
    records: u64,
    hash: Box<Xxh3>,
    keep: bool,
}

impl PartWriter {
    /// Creates the part's file in the staging folder.
    pub(super) fn create(staging: &Path, attempt: AttemptId) -> Result<Self, Failure> {
        let path = staging.join(naming::staged_part_name(attempt.task.index, attempt));
        let file = File::create(&path).map_err(|error| failures::write_failed("part", &path, &error))?;
        let pending = Vec::with_capacity(WRITE_BYTES + WRITE_BYTES / 8);
        Ok(Self { file, path, pending, bytes: 0, records: 0, hash: Box::new(Xxh3::new()), keep: false })
    }

    /// Writes what every part of the job begins with; no record.
    pub(super) fn begin(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.pending);
    }

    /// Appends records that were written elsewhere, in the part's format.
    pub(super) fn append(&mut self, bytes: &[u8], records: u64) -> Result<(), Failure> {
        self.pending.extend_from_slice(bytes);
        self.records += records;
        if self.pending.len() >= WRITE_BYTES { self.write_pending() } else { Ok(()) }
    }

    fn write_pending(&mut self) -> Result<(), Failure> {
        self.hash.update(&self.pending);
        self.bytes += self.pending.len() as u64;
        let written = self.file.write_all(&self.pending);
        self.pending.clear();
        written.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        failures::write_failed("part", &self.path, error)
    }

    /// Records written so far.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Writes what is left and says what the part holds.
    pub(super) fn finish(mut self, fsync: bool) -> Result<PartSummary, Failure> {
        self.write_pending()?;
        if fsync {
            self.file.sync_all().map_err(|error| self.failed(&error))?;
        }
        self.keep = true;
        let staged_name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(PartSummary { staged_name, bytes: self.bytes, records: self.records, checksum: self.hash.digest() })
    }
}

impl Drop for PartWriter {
    fn drop(&mut self) {
        if !self.keep {
            // The job's undo removes whatever this cannot.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Hands what user code puts to the part's format.
pub(super) struct PartSink<'a, O> {
    part: &'a mut PartWriter,
    counters: &'a mut Counters,
    /// The first failure to write; user code only sees that it is interrupted.
    pub(super) failure: Option<Failure>,
    output: PhantomData<O>,
}

impl<'a, O: Output> PartSink<'a, O> {
    pub(super) fn new(part: &'a mut PartWriter, counters: &'a mut Counters) -> Self {
        Self { part, counters, failure: None, output: PhantomData }
    }

    /// Records put so far.
    pub(super) fn records(&self) -> u64 {
        self.part.records
    }
}

impl<O: Output> Sink<O::Key, O::Value> for PartSink<'_, O> {
    #[inline]
    fn put(&mut self, key: <O::Key as Datum>::Ref<'_>, value: <O::Value as Datum>::Ref<'_>) -> JobResult<()> {
        O::write(&key, &value, &mut self.part.pending);
        self.part.records += 1;
        if self.part.pending.len() >= WRITE_BYTES
            && let Err(failure) = self.part.write_pending()
        {
            self.failure = Some(failure);
            return Err(JobError::interrupted());
        }
        Ok(())
    }

    fn count(&mut self, name: &str, by: u64) {
        self.counters.count(name, by);
    }
}
