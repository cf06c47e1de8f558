//! What a plan consists of and what attempts report: pinned inputs, task inputs, segment and part
//! descriptions. Plain data that planner, scheduler, workers and the wire share.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::counters::Counters;
use crate::failure::InputPosition;
use crate::form::Form;
use crate::ids::{AttemptId, JobAttempt, SessionId};
use crate::naming::Uri;
use crate::part_name::PartName;

/// An input object as it was when the job was planned. Reads of anything else fail.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InputObject {
    /// Where it is.
    pub uri: Uri,
    /// Its size in bytes.
    pub size: u64,
    /// Last modification in microseconds since 1970, where the store tells.
    pub modified_micros: Option<i64>,
    /// The store's entity tag, where it has one.
    pub etag: Option<String>,
    /// How its content is stored, where that was told when the job was planned; an object that was not
    /// looked at is one piece, and whoever reads it looks at its first bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
}

/// A byte range of one input object. The records that start inside it belong to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Piece {
    /// The object.
    pub object: Arc<InputObject>,
    /// First byte.
    pub start: u64,
    /// One past the last byte; `start <= end <= object.size`.
    pub end: u64,
}

/// The input of one map task: one piece, or several small objects packed together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Split {
    /// The pieces in canonical order.
    pub pieces: Vec<Piece>,
    /// Which input of the job they belong to, as in [`Provenance`](crate::input::Provenance).
    #[serde(default)]
    pub role: u32,
}

impl Split {
    /// Bytes in all pieces.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.end - piece.start).sum()
    }
}

/// All tasks of a job. A function of the job spec and the listing of its inputs, nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobPlan {
    /// One split for each map task, in task order.
    pub splits: Vec<Split>,
    /// Reduce tasks; 0 if the job is map-only.
    pub reducers: u32,
    /// Objects read.
    pub objects: u64,
    /// Bytes read.
    pub input_bytes: u64,
    /// What a user should know before the job runs, such as inputs that cannot be split.
    pub warnings: Vec<String>,
}

/// The map output of a finished attempt. It does not list the segments: a master that knew the size
/// of each would hold one number for every pair of a map and a reduce task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct MapOutputSummary {
    /// Segments: one per reduce task, empty ones included.
    pub partitions: u32,
    /// Bytes of all segments as stored.
    pub bytes: u64,
    /// Hash of the records of all segments in order, and of the runs they lie in: always the same for
    /// the same task of the same spec.
    pub content_hash: u64,
}

/// An upload to an object store that was begun and not completed: its bytes are kept, and nobody sees
/// them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpenUpload {
    /// What it becomes: a path relative to the job's output.
    pub object: String,
    /// What the store calls it; empty where stores know uploads by their objects alone.
    pub id: String,
}

/// An upload that has all its bytes, and only needs to be completed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SentUpload {
    /// What the store calls it.
    pub id: String,
    /// What the store calls its pieces (entity tags, on S3), in order; none if it has no bytes.
    pub pieces: Box<[String]>,
    /// XXH3-64 of its bytes.
    pub checksum: u64,
}

/// A staged part file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartSummary {
    /// The file's name in the staging folder.
    pub staged_name: String,
    /// Its size.
    pub bytes: u64,
    /// Its records.
    pub records: u64,
    /// XXH3-64 of its bytes.
    pub checksum: u64,
    /// The other parts of the attempt, those of named outputs and further ones, in the order of the first record
    /// of each. The nth lies in the folder [`staged_named_dir`](crate::naming::staged_named_dir) under the number n,
    /// from 0 on.
    #[serde(default, skip_serializing_if = "<[NamedPart]>::is_empty")]
    pub named: Box<[NamedPart]>,
    /// The upload that it was sent in, if the output is in an object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Box<SentUpload>>,
    /// Whether it has no record, is not kept, and becomes no part of the output: the job puts everything to named ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_out: bool,
}

impl PartSummary {
    /// Bytes of the part and of all others of the attempt.
    pub fn total_bytes(&self) -> u64 {
        self.bytes + self.named.iter().map(|named| named.bytes).sum::<u64>()
    }
}

/// A staged part of a named output, or a further part of any; never without a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NamedPart {
    /// Which one.
    pub name: PartName,
    /// Its size.
    pub bytes: u64,
    /// Its records.
    pub records: u64,
    /// XXH3-64 of its bytes.
    pub checksum: u64,
    /// The upload that it was sent in, if the output is in an object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Box<SentUpload>>,
}

/// The records that an attempt skipped, and the damaged objects of which it left something out, kept as a
/// staged file of JSON lines.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BadRecords {
    /// The file's name in the staging folder.
    pub staged_name: String,
    /// How many records were skipped.
    pub records: u64,
    /// Of how many objects something was left out.
    #[serde(default)]
    pub objects: u64,
    /// The file's size.
    pub bytes: u64,
    /// The upload that they were sent in, if the output is in an object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Box<SentUpload>>,
}

/// What a finished attempt leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutput {
    /// A map output in the worker's scratch: one segment per reduce task.
    MapOutput(MapOutputSummary),
    /// A part in the job's staging folder.
    Part(PartSummary),
}

/// What an attempt did. All counts are of this attempt alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AttemptStats {
    /// Bytes of input or of segments read.
    pub input_bytes: u64,
    /// Records mapped, or records merged.
    pub input_records: u64,
    /// Pairs emitted, or records put, to named outputs too.
    pub output_records: u64,
    /// Bytes of map output or of all parts.
    pub output_bytes: u64,
    /// Times the sort buffer or combiner table was full and written before the end.
    pub spills: u64,
    /// Bytes that were written to be read by the same attempt again: those of spills and of
    /// intermediate merges, but not of runs that stay in the map output.
    pub spilled_bytes: u64,
    /// Merges of runs into longer runs before the last one.
    pub merge_passes: u64,
    /// Key groups reduced.
    pub groups: u64,
    /// Wall time in microseconds.
    pub wall_micros: u64,
}

impl AttemptStats {
    /// Adds another attempt's counts; times add up too.
    pub fn merge(&mut self, other: &AttemptStats) {
        self.input_bytes += other.input_bytes;
        self.input_records += other.input_records;
        self.output_records += other.output_records;
        self.output_bytes += other.output_bytes;
        self.spills += other.spills;
        self.spilled_bytes += other.spilled_bytes;
        self.merge_passes += other.merge_passes;
        self.groups += other.groups;
        self.wall_micros += other.wall_micros;
    }
}

/// The report of a finished attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// What it leaves behind.
    pub output: AttemptOutput,
    /// What user code and engine counted.
    pub counters: Counters,
    /// What it did.
    pub stats: AttemptStats,
    /// What it skipped, if it skipped anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad: Option<Box<BadRecords>>,
}

/// An attempt that a registering worker knows from an earlier session, or from before it was restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offer {
    /// The attempt.
    pub id: JobAttempt,
    /// [`MapOutputSummary::content_hash`] of a finished map output; `None` while the attempt waits or
    /// runs, and for parts.
    pub content_hash: Option<u64>,
}

/// The map outputs that one worker session holds for a reduce attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentSource {
    /// Who holds them.
    pub session: SessionId,
    /// Where its shuffle service listens, as `http://host:port`; empty in an embedded run.
    pub address: String,
    /// Names the machine: processes with equal names can read each other's scratch.
    pub machine: String,
    /// Its scratch folder on that machine.
    pub scratch: String,
    /// The committed map attempts, in map-task order.
    pub attempts: Vec<AttemptId>,
}

/// What an attempt works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskInput {
    /// A map task's split and the number of partitions (0: map-only).
    Map {
        /// What to read.
        split: Split,
        /// Reduce tasks of the job.
        partitions: u32,
        /// Records to skip, because user code ended its process on them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        skip: Vec<InputPosition>,
    },
    /// A reduce task's segments; the partition is the task's index.
    Reduce {
        /// Every committed map output, grouped by holder.
        sources: Arc<[SegmentSource]>,
    },
}
