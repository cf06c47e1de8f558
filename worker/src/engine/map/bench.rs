//! The engine's parts one by one, for the benches in `tests/benches` and nobody else: only the feature
//! `bench` compiles this. It lies in `map` because a module sees what its ancestors hold, so that
//! nothing has to be opened for it. It measures nothing itself.

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::sync::Arc;

use gristmill_common::combine::Sum;
use gristmill_common::ids::{AttemptId, JobAttempt, JobId, TaskId};
use gristmill_common::input::Lines;
use gristmill_common::job::{Emit, MapReduce, Result as JobResult, Sink, Values};
use gristmill_common::naming::Uri;
use gristmill_common::objects::LocalObjects;
use gristmill_common::output::Text;
use gristmill_common::setup::ShippedPaths;
use gristmill_common::size::ByteSize;
use gristmill_common::spec::{JobShape, JobSpec};
use gristmill_sys::positions::RecordPosition;

use super::emitter::Emitter;
use super::partitioner::Partitioner;
use super::sort_buffer::SortBuffer;
use crate::engine::kept::Kept;
use crate::engine::merge::Merge;
use crate::engine::shuffle::{
    MapOutputPack, RecordOrder, RecordRef, SegmentBlocks, SegmentCursor, SegmentError, SegmentRange, SegmentWriter,
};
use crate::engine::{AttemptContext, Compression};

/// Memory of an attempt in which nothing is spilled here.
const ATTEMPT_BYTES: ByteSize = ByteSize::mib(1 << 10);

/// An encoded key and an encoded value.
pub type Record<'a> = (&'a [u8], &'a [u8]);

/// Records in a sort buffer.
#[derive(Debug)]
pub struct FilledBuffer(SortBuffer);

impl FilledBuffer {
    /// Takes records in, all of one partition, into `room` bytes of fresh memory.
    ///
    /// # Panics
    ///
    /// If they do not fit.
    pub fn of<'a>(records: impl Iterator<Item = Record<'a>>, room: usize) -> Self {
        let mut buffer = SortBuffer::new();
        for (key, value) in records {
            assert!(buffer.fits(key.len() + value.len(), room), "the records fit into {room} bytes");
            buffer.push(0, key, value);
        }
        Self(buffer)
    }

    /// Sorts the records by key and emission.
    pub fn sort(&mut self) {
        self.0.sort();
    }
}

/// A job of which only the types matter.
struct Counting;

impl MapReduce for Counting {
    type Input = Lines;
    type Key = [u8];
    type Value = u64;
    type Combine = Sum;
    type Output = Text<[u8], u64>;

    fn map(&self, key: &[u8], out: &mut impl Emit<[u8], u64>) -> JobResult<()> {
        out.emit(key, 1)
    }

    fn reduce(&self, key: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> JobResult<()> {
        out.put(key, counts.sum())
    }
}

/// Emits `(key, 1)` for every key into the combiner table of a fresh map attempt that folds with `Sum`.
///
/// # Panics
///
/// If the distinct keys do not fit into a gibibyte.
pub fn count<'a>(keys: impl Iterator<Item = &'a [u8]>) {
    let nowhere = Path::new("/nowhere");
    let mut spec = JobSpec::new("bench", JobShape::MapReduce, vec![], Uri::from_path(nowhere));
    spec.attempt_bytes = ATTEMPT_BYTES;
    let context = AttemptContext {
        id: JobAttempt { job: JobId(1), attempt: AttemptId { task: TaskId::map(0), number: 0 } },
        spec: &spec,
        scratch: nowhere,
        staging: nowhere,
        pack: &MapOutputPack::new(nowhere),
        compression: Compression::None,
        cancelled: &Arc::default(),
        files: &ShippedPaths::new(),
        objects: &LocalObjects::shared(),
        position: &RecordPosition::new(),
    };
    let partitioner = Partitioner::new(&Counting, 1, &context).expect("the spec divides keys by hash, as the job does");
    let kept = Kept::new();
    let mut emitter = Emitter::new(partitioner, &kept, &context);
    for key in keys {
        emitter.emit(key, 1).expect("nothing is spilled");
    }
    emitter.end_block(0).expect("nothing is spilled");
    black_box(&mut emitter);
}

/// One segment in a file of its own.
#[derive(Debug)]
pub struct Segment {
    file: Arc<File>,
    range: SegmentRange,
}

impl Segment {
    /// Writes sorted records to an empty file.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write<'a>(
        file: File,
        records: impl Iterator<Item = Record<'a>>,
        compression: Compression,
    ) -> io::Result<Self> {
        let file = Arc::new(file);
        let mut writer = SegmentWriter::new(Arc::clone(&file), 0, 1, compression, RecordOrder::ByKey);
        writer.begin_segment()?;
        for (key, value) in records {
            writer.push(RecordRef { key, value })?;
        }
        let (index, _) = writer.finish()?;
        Ok(Self { file, range: index[0] })
    }

    /// Reads all records, and tells how many bytes keys and values had.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is damaged.
    pub fn read(&self) -> Result<usize, SegmentError> {
        let mut cursor = self.open()?;
        let mut bytes = 0;
        while !cursor.is_exhausted() {
            bytes += cursor.key().len() + cursor.value().len();
            cursor.advance()?;
        }
        Ok(bytes)
    }

    fn open(&self) -> Result<SegmentCursor, SegmentError> {
        SegmentCursor::open(SegmentBlocks::new(
            Arc::clone(&self.file),
            "bench".into(),
            self.range.offset,
            self.range.bytes,
        ))
    }
}

/// Reads segments merged into one sequence, and tells how many bytes keys and values had.
///
/// # Errors
///
/// If a file cannot be read or is damaged.
pub fn merge(segments: &[Segment]) -> Result<usize, SegmentError> {
    let cursors = segments.iter().map(Segment::open).collect::<Result<Vec<_>, _>>()?;
    let mut merge = Merge::new(cursors);
    let mut bytes = 0;
    while let Some(head) = merge.head() {
        bytes += head.key().len() + head.value().len();
        merge.advance().map_err(|failed| failed.error)?;
    }
    Ok(bytes)
}
