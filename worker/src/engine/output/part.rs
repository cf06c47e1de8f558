//! The staged part of one attempt, and those of named outputs with it: all of them stay, or none does.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use gristmill_common::counters::{Counters, NAMED_PARTS};
use gristmill_common::failure::Failure;
use gristmill_common::naming;
use gristmill_common::size::ByteSize;
use gristmill_common::task::{AttemptStats, PartSummary};
use xxhash_rust::xxh3::Xxh3;

use super::named::NamedParts;
use crate::engine::{AttemptContext, failures};

/// Bytes collected before the file is written to.
pub(super) const WRITE_BYTES: usize = 1 << 20;

/// The staged part of one attempt. Removed, with those of named outputs, when dropped before
/// [`finish`](Self::finish).
pub(in crate::engine) struct PartWriter {
    file: File,
    path: PathBuf,
    staged_name: String,
    pub(super) pending: Vec<u8>,
    bytes: u64,
    pub(super) records: u64,
    hash: Box<Xxh3>,
    keep: bool,
    /// What every part of the job begins with.
    header: Vec<u8>,
    attempt_bytes: ByteSize,
    /// Absent until a record is put to one.
    named: Option<Box<NamedParts>>,
    /// Whether it lies in scratch, to be sent to a store.
    spooled: bool,
}

impl PartWriter {
    /// Creates the part's file in the staging folder.
    pub(in crate::engine) fn create(context: &AttemptContext<'_>) -> Result<Self, Failure> {
        let attempt = context.id.attempt;
        let staged_name = naming::staged_part_name(attempt.task.index, attempt);
        let path = context.staging.join(&staged_name);
        let spooled = context.spec.output.local_path().is_none();
        let file = File::create(&path).map_err(|error| failures::staging_failed("part", &path, &error, spooled))?;
        Ok(Self {
            file,
            path,
            staged_name,
            pending: Vec::with_capacity(WRITE_BYTES + WRITE_BYTES / 8),
            bytes: 0,
            records: 0,
            hash: Box::new(Xxh3::new()),
            keep: false,
            header: Vec::new(),
            attempt_bytes: context.spec.attempt_bytes,
            named: None,
            spooled,
        })
    }

    /// Writes what every part of the job begins with; no record.
    pub(in crate::engine) fn begin(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.header);
        self.pending.extend_from_slice(&self.header);
    }

    /// Appends records that were written elsewhere, in the part's format.
    pub(in crate::engine) fn append(&mut self, bytes: &[u8], records: u64) -> Result<(), Failure> {
        self.pending.extend_from_slice(bytes);
        self.records += records;
        if self.pending.len() >= WRITE_BYTES { self.write_pending() } else { Ok(()) }
    }

    /// The attempt's parts of named outputs.
    #[inline]
    pub(in crate::engine) fn named(&mut self) -> &mut NamedParts {
        self.named.get_or_insert_with(|| {
            let folder = self.path.with_file_name(naming::staged_named_dir(&self.staged_name));
            let named = NamedParts::new(folder, self.header.clone(), self.attempt_bytes);
            Box::new(named.in_scratch(self.spooled))
        })
    }

    pub(super) fn write_pending(&mut self) -> Result<(), Failure> {
        self.hash.update(&self.pending);
        self.bytes += self.pending.len() as u64;
        let written = self.file.write_all(&self.pending);
        self.pending.clear();
        written.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        failures::staging_failed("part", &self.path, error, self.spooled)
    }

    /// Writes what is left, says what the part and those of named outputs hold, and counts that.
    pub(in crate::engine) fn finish(
        mut self,
        context: &AttemptContext<'_>,
        stats: &mut AttemptStats,
        counters: &mut Counters,
    ) -> Result<PartSummary, Failure> {
        let fsync = context.spec.fsync;
        self.write_pending()?;
        if fsync {
            self.file.sync_all().map_err(|error| self.failed(&error))?;
        }
        let named = match self.named.take() {
            Some(named) => named.finish(fsync)?,
            None => Box::default(),
        };
        self.keep = true;
        let staged_name = std::mem::take(&mut self.staged_name);
        let (bytes, records, checksum) = (self.bytes, self.records, self.hash.digest());
        let part = PartSummary { staged_name, bytes, records, checksum, named, upload: None };
        stats.output_bytes = part.total_bytes();
        stats.output_records = records + part.named.iter().map(|named| named.records).sum::<u64>();
        if !part.named.is_empty() {
            counters.add(NAMED_PARTS, part.named.len() as u64);
        }
        Ok(part)
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
