//! Writing a file of segments, and opening one by its index.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_common::codec::VALUE_FORMAT;
use gristmill_common::ids::AttemptId;
use gristmill_common::task::MapOutputSummary;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::block::{BlockPacker, RecordRef};
use super::pack::{MapOutputPack, PACKED_BYTES};
use super::{RecordOrder, SegmentError};
use crate::engine::Compression;

const MAGIC: &[u8; 8] = b"GMSEGMT1";
const END_MAGIC: &[u8; 8] = b"GMSEGEND";
const VERSION: u16 = 1;
const HEADER_BYTES: u64 = 16;
const ENTRY_BYTES: usize = 48;
const TRAILER_BYTES: u64 = 32;

/// Bytes collected before the file is written to: large enough that the calls cost nothing.
const WRITE_BYTES: usize = 1 << 20;

/// Room for what a small output takes.
const FIRST_BYTES: usize = 2 << 10;

/// Bytes at the end of an output that are read at once, in the hope that its whole index is there.
const END_BYTES: u64 = 4 << 10;

/// Where one run of a partition's segment lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SegmentRange {
    /// First byte.
    pub offset: u64,
    /// Length; 0 for an empty run.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// Bytes of the records before compression.
    pub raw: u64,
    /// Hash of the records in order.
    pub content_hash: u64,
    /// Bytes of the largest block's records: what reading the run needs in memory.
    pub largest: u64,
}

/// What reports say of a map output with this index.
fn summary(partitions: u32, index: &[SegmentRange]) -> MapOutputSummary {
    MapOutputSummary {
        partitions,
        bytes: index.iter().map(|run| run.bytes).sum(),
        content_hash: index.iter().fold(0, |hash, run| mix(mix(hash, run.records), run.content_hash)),
    }
}

/// A hash of a sequence of hashes, so far `hash`, that goes on with `next`.
fn mix(hash: u64, next: u64) -> u64 {
    (hash.rotate_left(23) ^ next).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Where segments go.
#[derive(Debug)]
enum Target {
    File(Arc<File>),
    /// The file of a map output, if there is more than a little to write.
    Output {
        path: PathBuf,
        file: Option<Arc<File>>,
    },
}

/// Writes the segments of a file, partition by partition, in order; or several runs of each, run by
/// run. The file of a map output is removed when this is dropped before the output is finished.
#[derive(Debug)]
pub(in super::super) struct SegmentWriter {
    target: Target,
    block: BlockPacker,
    pending: Vec<u8>,
    written: u64,
    index: Vec<SegmentRange>,
    partitions: u32,
}

impl SegmentWriter {
    /// Starts `partitions` segments at the end of `file`, which has `at` bytes. Offsets in the index
    /// count from the file's start. Records will be pushed in `order`.
    pub(in super::super) fn new(
        file: Arc<File>,
        at: u64,
        partitions: u32,
        compression: Compression,
        order: RecordOrder,
    ) -> Self {
        Self::to(Target::File(file), at, partitions, BlockPacker::new(compression, order))
    }

    /// Starts the segments of a map output, which [`finish_output`](Self::finish_output) ends. Its file
    /// is made when there is more than a little to write. Records will be pushed in `order`.
    pub(in super::super) fn map_output(
        path: PathBuf,
        partitions: u32,
        compression: Compression,
        order: RecordOrder,
    ) -> Self {
        Self::to(Target::Output { path, file: None }, 0, partitions, BlockPacker::new(compression, order))
    }

    fn to(target: Target, at: u64, partitions: u32, block: BlockPacker) -> Self {
        let mut pending = Vec::with_capacity(FIRST_BYTES);
        pending.extend_from_slice(MAGIC);
        pending.extend_from_slice(&VERSION.to_le_bytes());
        pending.extend_from_slice(&[VALUE_FORMAT, 0]);
        pending.extend_from_slice(&partitions.to_le_bytes());
        let index = Vec::with_capacity(partitions as usize);
        Self { target, block, pending, written: at, index, partitions }
    }

    /// Begins the next partition's segment or, once every partition has one, its next run. The records
    /// of each run are in order.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(in super::super) fn begin_segment(&mut self) -> io::Result<()> {
        self.close_block()?;
        let offset = self.written + self.pending.len() as u64;
        self.index.push(SegmentRange { offset, ..SegmentRange::default() });
        self.block.begin_segment(self.index.len() > self.partitions as usize);
        Ok(())
    }

    /// Appends a record to the segment begun last.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    #[inline]
    pub(in super::super) fn push(&mut self, record: RecordRef<'_>) -> io::Result<()> {
        if self.block.is_full_for(record.key.len() + record.value.len() + 10, &self.pending) {
            self.close_block()?;
        }
        self.block.push(record, &mut self.pending);
        Ok(())
    }

    /// Appends a record that already has its lengths in front.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    #[inline]
    pub(in super::super) fn push_framed(&mut self, record: &[u8], lengths: usize) -> io::Result<()> {
        // The same bound as in `push`, so that blocks are cut alike however records come.
        if self.block.is_full_for(record.len() - lengths + 10, &self.pending) {
            self.close_block()?;
        }
        self.block.push_framed(record, &mut self.pending);
        Ok(())
    }

    fn close_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let closed = self.block.close(&mut self.pending);
        let segment = self.index.last_mut().expect("a record is only pushed into a segment");
        segment.bytes += closed.bytes;
        segment.records += closed.records;
        segment.raw += closed.raw;
        segment.largest = segment.largest.max(closed.raw);
        segment.content_hash = mix(segment.content_hash, closed.raw_hash);
        if self.pending.len() >= WRITE_BYTES {
            self.write_pending()?;
        } else if self.pending.len() > PACKED_BYTES {
            // No small output any more: it grows once for all.
            self.pending.reserve_exact((WRITE_BYTES + WRITE_BYTES / 4).saturating_sub(self.pending.len()));
        }
        Ok(())
    }

    fn write_pending(&mut self) -> io::Result<Arc<File>> {
        let file = match &mut self.target {
            Target::File(file) | Target::Output { file: Some(file), .. } => Arc::clone(file),
            Target::Output { path, file } => {
                let made = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
                Arc::clone(file.insert(Arc::new(made)))
            }
        };
        (&*file).write_all(&self.pending)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(file)
    }

    /// Runs begun so far.
    pub(in super::super) fn runs(&self) -> usize {
        self.index.len().div_ceil(self.partitions as usize)
    }

    /// Writes all records so far and gives memory back: the next run may be long in coming.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(in super::super) fn rest(&mut self) -> io::Result<()> {
        self.close_block()?;
        self.write_pending()?;
        self.pending = Vec::new();
        Ok(())
    }

    /// Makes spills of the runs written so far: takes the file's name away and gives the file, its
    /// length, and the index of each run.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or its name not be removed.
    pub(in super::super) fn into_spills(mut self) -> io::Result<(Arc<File>, u64, Vec<Vec<SegmentRange>>)> {
        self.close_block()?;
        let file = self.write_pending()?;
        if let Target::Output { path, .. } = std::mem::replace(&mut self.target, Target::File(Arc::clone(&file))) {
            std::fs::remove_file(path)?;
        }
        let runs = self.index.chunks(self.partitions as usize).map(<[SegmentRange]>::to_vec).collect();
        Ok((file, self.written, runs))
    }

    /// Writes index and trailer and tells the index and where the file ends now.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    ///
    /// # Panics
    ///
    /// If a run does not have all partitions.
    pub(in super::super) fn finish(mut self) -> io::Result<(Vec<SegmentRange>, u64)> {
        self.push_index()?;
        self.write_pending()?;
        Ok((std::mem::take(&mut self.index), self.written))
    }

    /// As [`finish`](Self::finish), for the map output of `attempt`: a small one goes into `pack`. Tells
    /// what it is, and the bytes it takes.
    ///
    /// # Errors
    ///
    /// If neither its own file nor the pack can be written.
    ///
    /// # Panics
    ///
    /// As [`finish`](Self::finish).
    pub(in super::super) fn finish_output(
        mut self,
        pack: &MapOutputPack,
        attempt: AttemptId,
    ) -> io::Result<(MapOutputSummary, u64)> {
        self.push_index()?;
        let made = summary(self.partitions, &self.index);
        if matches!(self.target, Target::Output { file: None, .. }) && self.pending.len() <= PACKED_BYTES {
            pack.append(attempt, &self.pending)?;
            return Ok((made, self.pending.len() as u64));
        }
        let file = self.write_pending()?;
        self.target = Target::File(file);
        Ok((made, self.written))
    }

    fn push_index(&mut self) -> io::Result<()> {
        self.close_block()?;
        let runs = self.runs().max(1);
        assert_eq!(self.index.len(), runs * self.partitions as usize, "every run has all partitions");
        let offset = self.written + self.pending.len() as u64;
        let start = self.pending.len();
        for segment in &self.index {
            let fields =
                [segment.offset, segment.bytes, segment.records, segment.raw, segment.content_hash, segment.largest];
            for field in fields {
                self.pending.extend_from_slice(&field.to_le_bytes());
            }
        }
        let checksum = xxh3_64_with_seed(&self.pending[start..], offset);
        self.pending.extend_from_slice(&offset.to_le_bytes());
        self.pending.extend_from_slice(&self.partitions.to_le_bytes());
        self.pending.extend_from_slice(&(runs as u32 - 1).to_le_bytes());
        self.pending.extend_from_slice(&checksum.to_le_bytes());
        self.pending.extend_from_slice(END_MAGIC);
        Ok(())
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        if let Target::Output { path, file: Some(_) } = &self.target {
            // The job's release removes what this cannot.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// An opened file of segments whose index was checked.
#[derive(Debug, Clone)]
pub struct MapOutput {
    file: Arc<File>,
    path: PathBuf,
    /// The first runs of all partitions, then their second ones, and so on.
    index: Vec<SegmentRange>,
    partitions: u32,
}

impl MapOutput {
    /// Opens a map output and checks its header, index and trailer; blocks are checked when read.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is not a whole map output.
    pub fn open(path: &Path) -> Result<Self, SegmentError> {
        let read = |source| SegmentError::Read { path: path.display().to_string(), source };
        let file = File::open(path).map_err(read)?;
        let len = file.metadata().map_err(read)?.len();
        Self::read(&Arc::new(file), path, 0, len)
    }

    /// Opens the map output that is `bytes` at `base` of a file.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(super) fn read(file: &Arc<File>, path: &Path, base: u64, bytes: u64) -> Result<Self, SegmentError> {
        let (partitions, index) = read_index(file, path, base, bytes)?;
        Ok(Self { file: Arc::clone(file), path: path.to_owned(), index, partitions })
    }

    /// Partitions in the file.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// Where the runs of a partition's segment lie, in their order, without empty ones; `None` beyond
    /// the last partition. One behind the other they are the segment.
    pub fn segment(&self, partition: u32) -> Option<Vec<SegmentRange>> {
        let runs = self.index.chunks(self.partitions as usize).map(|run| run.get(partition as usize).copied());
        let runs: Option<Vec<SegmentRange>> = runs.collect();
        runs.map(|runs| runs.into_iter().filter(|run| run.bytes > 0).collect())
    }

    /// The hash of all its records: [`MapOutputSummary::content_hash`] of the attempt that wrote it.
    pub fn content_hash(&self) -> u64 {
        summary(self.partitions, &self.index).content_hash
    }

    /// The open file, for positional reads.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Checks header and trailer of the output that is `len` bytes at `base` of a file, and gives how many
/// partitions it has and its index, whose offsets count from the file's start.
fn read_index(file: &File, path: &Path, base: u64, len: u64) -> Result<(u32, Vec<SegmentRange>), SegmentError> {
    let read = |source| SegmentError::Read { path: path.display().to_string(), source };
    let damaged = |at, reason| SegmentError::Damaged { path: path.display().to_string(), offset: base + at, reason };
    if len < HEADER_BYTES + TRAILER_BYTES {
        return Err(damaged(len, "the file is cut short"));
    }
    let end_at = len - len.min(END_BYTES);
    let mut end = vec![0; (len - end_at) as usize];
    file.read_exact_at(&mut end, base + end_at).map_err(read)?;
    let mut header = [0; HEADER_BYTES as usize];
    match end_at {
        0 => header.copy_from_slice(&end[..HEADER_BYTES as usize]),
        _ => file.read_exact_at(&mut header, base).map_err(read)?,
    }
    if !header.starts_with(MAGIC) || header[8..12] != [VERSION as u8, (VERSION >> 8) as u8, VALUE_FORMAT, 0] {
        return Err(damaged(0, "the header is of another format or version"));
    }
    let trailer = &end[end.len() - TRAILER_BYTES as usize..];
    let number = |range: std::ops::Range<usize>| {
        trailer[range].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let (offset, partitions, further_runs, checksum) = (number(0..8), number(8..12), number(12..16), number(16..24));
    let index_bytes = (partitions * (further_runs + 1)).saturating_mul(ENTRY_BYTES as u64);
    let ends_at = offset.checked_add(index_bytes);
    let whole = &trailer[24..] == END_MAGIC && ends_at == Some(len - TRAILER_BYTES) && partitions > 0;
    if !whole || trailer[8..12] != header[12..] {
        return Err(damaged(len - TRAILER_BYTES, "the trailer is damaged"));
    }
    let mut bytes = vec![0; index_bytes as usize];
    match offset.checked_sub(end_at) {
        Some(start) => bytes.copy_from_slice(&end[start as usize..][..index_bytes as usize]),
        None => file.read_exact_at(&mut bytes, base + offset).map_err(read)?,
    }
    if xxh3_64_with_seed(&bytes, offset) != checksum {
        return Err(damaged(offset, "the index's checksum does not match"));
    }
    let from_base = |segment: SegmentRange| SegmentRange { offset: base.saturating_add(segment.offset), ..segment };
    let index = bytes.chunks_exact(ENTRY_BYTES).map(parse_entry).map(from_base).collect();
    Ok((partitions as u32, index))
}

fn parse_entry(entry: &[u8]) -> SegmentRange {
    let mut fields =
        entry.chunks_exact(8).map(|field| field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)));
    let mut next = || fields.next().expect("an entry has six fields");
    SegmentRange { offset: next(), bytes: next(), records: next(), raw: next(), content_hash: next(), largest: next() }
}
