//! The staged part of one attempt, further ones behind it where it has the size that the job asks for, and those of
//! named outputs with them: all of them stay, or none does.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use gristmill_common::compression::EncodedPart;
use gristmill_common::counters::{Counters, LEFT_OUT_PARTS, NAMED_PARTS};
use gristmill_common::failure::Failure;
use gristmill_common::naming;
use gristmill_common::part_name::PartName;
use gristmill_common::task::{AttemptStats, PartSummary};
use xxhash_rust::xxh3::Xxh3;

use super::coding::{Coding, StoredAs, WRITE_BYTES};
use super::named::{NamedParts, Written};
use super::rows::{RowEncoder, RowFormat};
use crate::engine::{AttemptContext, failures};

/// The least bytes that are collected before they are stored, where parts are smaller.
const MIN_BATCH_BYTES: u64 = 4 << 10;

/// The staged part of one attempt. Removed, with all others of the attempt, when dropped before
/// [`finish`](Self::finish).
pub(in crate::engine) struct PartWriter {
    /// That of the part that is written now; none between two of them.
    file: Option<File>,
    /// That of the first part.
    path: PathBuf,
    staged_name: String,
    pub(super) pending: Vec<u8>,
    /// Bytes collected before they are stored: content, or rows that become content.
    pub(super) batch_bytes: usize,
    coding: Coding,
    encoded: Option<EncodedPart>,
    /// Of the part that is written now.
    bytes: u64,
    hash: Box<Xxh3>,
    /// Records of all parts.
    pub(super) records: u64,
    /// Those of them that are in parts that are whole.
    whole_records: u64,
    /// The first part, once it is whole.
    first: Option<Written>,
    /// Which part is written now, and its number among all but the first; `None` for that.
    further: Option<(PartName, usize)>,
    fsync: bool,
    keep: bool,
    /// Whether it is left out if it has no record.
    may_be_left_out: bool,
    /// What every part of the job begins with, if records are written as they are put.
    header: Vec<u8>,
    stored_as: StoredAs,
    /// What becomes of the rows that are pending, if rows are.
    rows: Option<Rows>,
    /// Absent until a record is put to one.
    named: Option<Box<NamedParts>>,
    /// Whether it lies in scratch, to be sent to a store.
    spooled: bool,
}

/// Rows on their way.
struct Rows {
    format: RowFormat,
    encoder: RowEncoder,
    content: Vec<u8>,
}

impl PartWriter {
    /// Creates the part's file in the staging folder, for rows of a format or for records as they are put.
    pub(in crate::engine) fn create(context: &AttemptContext<'_>, format: Option<RowFormat>) -> Result<Self, Failure> {
        let begin = |format: RowFormat| {
            let mut content = Vec::new();
            let encoder = format.begin(&mut content)?;
            Ok(Rows { format, encoder, content })
        };
        let stored_as = StoredAs::of(context.spec, format.as_ref());
        let rows = format.map(begin).transpose()?;
        let attempt = context.id.attempt;
        let staged_name = naming::staged_part_name(attempt.task.index, attempt);
        let path = context.staging.join(&staged_name);
        let spooled = context.is_spooled();
        let failed = |error: io::Error| failures::staging_failed("part", &path, &error, spooled);
        let coding = Coding::new(stored_as).map_err(failed)?;
        let piece_bytes = || coding.piece_bytes(WRITE_BYTES);
        let batch_bytes = rows.as_ref().map_or_else(piece_bytes, |rows| rows.format.batch_bytes());
        let part_batch = usize::try_from(stored_as.part_bytes.max(MIN_BATCH_BYTES)).unwrap_or(usize::MAX);
        let batch_bytes = batch_bytes.min(part_batch);
        let file = File::create(&path).map_err(failed)?;
        Ok(Self {
            file: Some(file),
            path,
            staged_name,
            pending: Vec::with_capacity(batch_bytes + batch_bytes / 8),
            batch_bytes,
            encoded: coding.begin(),
            coding,
            bytes: 0,
            hash: Box::new(Xxh3::new()),
            records: 0,
            whole_records: 0,
            first: None,
            further: None,
            fsync: context.spec.fsync,
            keep: false,
            may_be_left_out: false,
            header: Vec::new(),
            stored_as,
            rows,
            named: None,
            spooled,
        })
    }

    /// Whether rows are pending, and not records as they are written.
    #[inline]
    pub(in crate::engine) fn takes_rows(&self) -> bool {
        self.rows.is_some()
    }

    /// Writes what every part of the job begins with; no record, and nothing where a format says what parts begin with.
    pub(in crate::engine) fn begin(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.rows.is_some() {
            return;
        }
        write(&mut self.header);
        self.pending.extend_from_slice(&self.header);
    }

    /// Leaves the part out if no record is put to it.
    pub(in crate::engine) fn leave_out_if_empty(&mut self) {
        self.may_be_left_out = true;
    }

    /// Appends records that were written elsewhere, in the part's format.
    pub(in crate::engine) fn append(&mut self, bytes: &[u8], records: u64) -> Result<(), Failure> {
        self.pending.extend_from_slice(bytes);
        self.records += records;
        if self.pending.len() >= self.batch_bytes { self.write_pieces() } else { Ok(()) }
    }

    /// The attempt's other parts.
    #[inline]
    pub(in crate::engine) fn named(&mut self) -> &mut NamedParts {
        self.named.get_or_insert_with(|| {
            let folder = self.path.with_file_name(naming::staged_named_dir(&self.staged_name));
            let format = self.rows.as_ref().map(|rows| rows.format.clone());
            let named = NamedParts::new(folder, self.header.clone(), format, self.stored_as);
            Box::new(named.in_scratch(self.spooled))
        })
    }

    /// Writes what is pending, but for what does not make a piece. The part ends if it has its size.
    pub(super) fn write_pieces(&mut self) -> Result<(), Failure> {
        if self.file.is_none() {
            self.begin_further()?;
        }
        if let Some(Rows { encoder, content, .. }) = &mut self.rows {
            encoder.encode(&mut self.pending, content)?;
        }
        let content = self.rows.as_ref().map_or(&self.pending, |rows| &rows.content);
        self.write(self.coding.whole_pieces(content.len()))?;
        if self.bytes >= self.stored_as.part_bytes { self.end_part() } else { Ok(()) }
    }

    /// Begins the next part: there are records for it.
    fn begin_further(&mut self) -> Result<(), Failure> {
        let name = self.further.take().map_or(PartName::SECOND, |(name, _)| name.next());
        let (number, file) = self.named().begin_elsewhere(name.clone())?;
        (self.file, self.further) = (Some(file), Some((name, number)));
        (self.bytes, self.encoded) = (0, self.coding.begin());
        match &mut self.rows {
            Some(Rows { format, encoder, content }) => *encoder = format.begin(content)?,
            None => drop(self.pending.splice(..0, self.header.iter().copied())),
        }
        Ok(())
    }

    /// Writes the first `count` bytes of content that are pending.
    fn write(&mut self, count: usize) -> Result<(), Failure> {
        let Self { file, hash, bytes, pending, rows, coding, encoded, .. } = self;
        let content = rows.as_mut().map_or(pending, |rows| &mut rows.content);
        let written = coding.store(encoded, &content[..count], |stored| store(file, hash, bytes, stored));
        content.drain(..count);
        written.map_err(|error| self.failed(&error))
    }

    /// Writes what is pending, and what ends the part.
    fn end_part(&mut self) -> Result<(), Failure> {
        let last = match &mut self.rows {
            Some(Rows { format, encoder, content }) => {
                encoder.encode(&mut self.pending, content)?;
                // Another one takes its place when there is another part.
                let next = format.begin(&mut Vec::new())?;
                std::mem::replace(encoder, next).finish(content)?;
                content.len()
            }
            None => self.pending.len(),
        };
        self.write(last)?;
        let Self { file, hash, bytes, coding, encoded, .. } = self;
        let written = coding.end(encoded, |stored| store(file, hash, bytes, stored));
        written.map_err(|error| self.failed(&error))?;
        if let Some(file) = self.file.take().filter(|_| self.fsync && self.further.is_none()) {
            file.sync_all().map_err(|error| self.failed(&error))?;
        }
        let (records, hash) =
            (self.records - self.whole_records, std::mem::replace(&mut self.hash, Box::new(Xxh3::new())));
        self.whole_records = self.records;
        let written = Written { bytes: self.bytes, records, hash };
        match &self.further {
            None => self.first = Some(written),
            &Some((_, number)) => self.named().end_elsewhere(number, written),
        }
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Failure {
        match (&self.further, &self.named) {
            (Some((_, number)), Some(named)) => named.failed_elsewhere(*number, error),
            _ => failures::staging_failed("part", &self.path, error, self.spooled),
        }
    }

    /// Writes what is left, says what the parts hold, and counts that.
    pub(in crate::engine) fn finish(
        mut self,
        context: &AttemptContext<'_>,
        stats: &mut AttemptStats,
        counters: &mut Counters,
    ) -> Result<PartSummary, Failure> {
        if self.file.is_some() || !self.pending.is_empty() {
            self.write_pieces()?;
        }
        if self.file.is_some() {
            self.end_part()?;
        }
        let named = match self.named.take() {
            Some(named) => named.finish(context.spec.fsync)?,
            None => Box::default(),
        };
        let left_out = self.may_be_left_out && self.records == 0;
        self.keep = !left_out;
        let staged_name = std::mem::take(&mut self.staged_name);
        let Some(Written { bytes, records, hash }) = self.first.take() else {
            return Err(self.failed(&io::Error::other("it was not ended")));
        };
        let (bytes, checksum) = if left_out { (0, 0) } else { (bytes, hash.digest()) };
        let part = PartSummary { staged_name, bytes, records, checksum, named, upload: None, left_out };
        stats.output_bytes = part.total_bytes();
        stats.output_records = records + part.named.iter().map(|named| named.records).sum::<u64>();
        if left_out {
            counters.add(LEFT_OUT_PARTS, 1);
        }
        if !part.named.is_empty() {
            counters.add(NAMED_PARTS, part.named.len() as u64);
        }
        Ok(part)
    }
}

/// Writes what is stored of a part, and counts it.
fn store(file: &mut Option<File>, hash: &mut Xxh3, bytes: &mut u64, stored: &[u8]) -> io::Result<()> {
    let Some(file) = file else { return Err(io::Error::other("its file is not open")) };
    hash.update(stored);
    *bytes += stored.len() as u64;
    file.write_all(stored)
}

impl Drop for PartWriter {
    fn drop(&mut self) {
        if !self.keep {
            // The job's undo removes whatever this cannot.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
