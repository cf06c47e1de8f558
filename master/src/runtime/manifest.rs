//! `_SUCCESS`: the manifest that ends a job's output. Only its shape; `output.rs` writes it.
//!
//! A JSON object, indented, ended by a line feed, its fields in this order:
//!
//! | field | value |
//! |---|---|
//! | `version` | 2 |
//! | `job` | the job id, `j-…` |
//! | `name` | the job's name in its binary |
//! | `started`, `finished` | ISO 8601 in UTC, to the second |
//! | `inputs` | `{objects, bytes}` read |
//! | `parts` | `[{path, bytes, records, checksum}]` in part order, then those of named outputs by name and part; `path` is relative to the output, `checksum` is `xxh3:` and 16 hex digits of the XXH3-64 of the part's bytes |
//! | `bad` | `[{path, bytes, records}]` in task order: what map tasks skipped; absent if that is nothing |
//! | `counters` | name -> sum over the committed attempts |
//! | `stats` | `{map, reduce}`: what the committed attempts of each stage did |
//! | `nondeterministic` | map tasks whose attempts made different outputs, such as `m-3`; absent if there are none |
//! | `spec` | the job spec as submitted |
//! | `checksum` | `xxh3:` and 16 hex digits of the XXH3-64 of all bytes before the comma that precedes this field |
//!
//! Version 1 had no `checksum`, and is still read. Everything but `job`, `started`, `finished`, the
//! times in `stats` and `checksum` is a function of job, spec and input.

use gristmill_common::counters::Counters;
use gristmill_common::ids::{JobId, TaskId};
use gristmill_common::naming::{BAD_DIR, bad_records_name_of, part_file_name};
use gristmill_common::spec::JobSpec;
use gristmill_common::task::{AttemptStats, BadRecords, JobPlan, PartSummary};
use gristmill_common::time::WallTime;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The version of the format written here.
pub const MANIFEST_VERSION: u32 = 2;

/// The last version without a checksum of the manifest itself.
const UNCHECKED_VERSION: u32 = 1;

/// How a manifest ends without its checksum.
const END: &str = "\n}";

/// The content of `_SUCCESS`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: u32,
    /// The job id in its display form.
    pub job: String,
    /// The job's name in its binary.
    pub name: String,
    /// When it was accepted.
    pub started: String,
    /// When all its tasks were done.
    pub finished: String,
    /// What it read.
    pub inputs: ManifestInputs,
    /// What it wrote, in part order; then what it put to named outputs, by name and part.
    pub parts: Vec<ManifestPart>,
    /// What it skipped, in task order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad: Vec<ManifestBad>,
    /// Sums over the committed attempts.
    pub counters: Counters,
    /// Sums over the committed attempts of each stage.
    pub stats: ManifestStats,
    /// Map tasks whose attempts made different outputs; the parts are those of one set of attempts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nondeterministic: Vec<String>,
    /// What was asked for.
    pub spec: JobSpec,
}

/// What a job read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ManifestInputs {
    /// Objects, empty ones included.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One part of the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPart {
    /// Its path relative to the output.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its records.
    pub records: u64,
    /// `xxh3:` and the XXH3-64 of its bytes in 16 hex digits.
    pub checksum: String,
}

/// The records that one map task skipped, and the damaged objects of which it left something out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestBad {
    /// The path, relative to the output, of a file of JSON lines.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its lines that are records.
    pub records: u64,
    /// Its lines that are damaged objects.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub objects: u64,
}

/// Whether a count is not worth writing.
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What the committed attempts did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ManifestStats {
    /// The map attempts.
    pub map: AttemptStats,
    /// The reduce attempts.
    pub reduce: AttemptStats,
}

/// When a job ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobTimes {
    /// When it was accepted.
    pub started: WallTime,
    /// When all its tasks were done.
    pub finished: WallTime,
}

impl Manifest {
    /// The manifest of a job without parts; [`with_result`](Self::with_result) adds what it made.
    pub fn new(job: JobId, spec: &JobSpec, plan: &JobPlan, times: JobTimes) -> Self {
        Self {
            version: MANIFEST_VERSION,
            job: job.to_string(),
            name: spec.job.clone(),
            started: times.started.to_string(),
            finished: times.finished.to_string(),
            inputs: ManifestInputs { objects: plan.objects, bytes: plan.input_bytes },
            parts: Vec::new(),
            bad: Vec::new(),
            counters: Counters::default(),
            stats: ManifestStats::default(),
            nondeterministic: Vec::new(),
            spec: spec.clone(),
        }
    }

    /// The same with the winning parts by part number, and the sums over the winning attempts.
    #[must_use]
    pub fn with_result(mut self, parts: &[PartSummary], counters: Counters, stats: ManifestStats) -> Self {
        let entry = |path: String, bytes: u64, records: u64, checksum: u64| {
            let checksum = format!("xxh3:{checksum:016x}");
            ManifestPart { path, bytes, records, checksum }
        };
        let ending = self.spec.part_ending();
        // By name, part and piece.
        type Place<'n> = (Option<&'n str>, u32, u32);
        let mut listed: Vec<(Place<'_>, ManifestPart)> = Vec::new();
        for (index, part) in (0..).zip(parts) {
            if !part.left_out {
                let path = part_file_name(index, &ending);
                listed.push(((None, index, 0), entry(path, part.bytes, part.records, part.checksum)));
            }
            listed.extend(part.named.iter().map(|other| {
                let path = other.name.part_path(index, &ending);
                let place = (other.name.output(), index, other.name.number());
                (place, entry(path, other.bytes, other.records, other.checksum))
            }));
        }
        // Those of the main output come first.
        listed.sort_by_key(|(place, _)| *place);
        self.parts = listed.into_iter().map(|(_, entry)| entry).collect();
        self.counters = counters;
        self.stats = stats;
        self
    }

    /// The same with the map tasks whose attempts differed.
    #[must_use]
    pub fn with_differing(mut self, maps: &[TaskId]) -> Self {
        self.nondeterministic = maps.iter().map(TaskId::to_string).collect();
        self
    }

    /// The same with what the winning attempts skipped. A name that is not that of skipped records makes
    /// a path without a file name; publishing refuses it.
    #[must_use]
    pub fn with_bad(mut self, bad: &[BadRecords]) -> Self {
        let entry = |bad: &BadRecords| ManifestBad {
            path: format!("{BAD_DIR}/{}", bad_records_name_of(&bad.staged_name).unwrap_or_default()),
            bytes: bad.bytes,
            records: bad.records,
            objects: bad.objects,
        };
        self.bad = bad.iter().map(entry).collect();
        self
    }

    /// The bytes of `_SUCCESS`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("all keys are strings and a Vec takes all bytes");
        bytes.truncate(bytes.len() - END.len());
        let ending = ending(&bytes);
        bytes.extend_from_slice(ending.as_bytes());
        bytes
    }

    /// Reads the content of a `_SUCCESS`.
    ///
    /// # Errors
    ///
    /// If it is damaged or of a version that this build does not know; says how.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match manifest.version {
            UNCHECKED_VERSION => Ok(manifest),
            MANIFEST_VERSION => {
                let text = bytes.len().checked_sub(ending(b"").len()).map(|end| bytes.split_at(end));
                let is_whole = text.is_some_and(|(text, end)| end == ending(text).as_bytes());
                if is_whole { Ok(manifest) } else { Err("its checksum does not match".to_owned()) }
            }
            version => Err(format!("its version is {version}, and this program knows {MANIFEST_VERSION}")),
        }
    }
}

/// What follows the last field but one.
fn ending(text: &[u8]) -> String {
    format!(",\n  \"checksum\": \"xxh3:{:016x}\"{END}\n", xxh3_64(text))
}

#[cfg(test)]
mod tests {
    use gristmill_common::spec::JobShape;

    use super::*;

    #[test]
    fn the_format_is_fixed() {
        let uri = |text: &str| text.parse().expect("a path");
        let spec = JobSpec::new("word-count", JobShape::MapReduce, vec![uri("/in")], uri("/out"));
        let plan = JobPlan { objects: 2, input_bytes: 30, ..JobPlan::default() };
        let wall = |secs: u64| WallTime { unix_millis: secs * 1000 };
        let times = JobTimes { started: wall(1_795_232_712), finished: wall(1_795_232_713) };
        let part = PartSummary {
            staged_name: "part-00000.r-0.1".into(),
            bytes: 9,
            records: 3,
            checksum: 0xabc,
            named: Box::default(),
            upload: None,
            left_out: false,
        };
        let counters: Counters = [("lines", 5)].into_iter().collect();
        let stats = ManifestStats { map: AttemptStats { input_bytes: 30, ..Default::default() }, ..Default::default() };
        let manifest = Manifest::new(JobId(0x1_2345), &spec, &plan, times).with_result(&[part], counters, stats);

        let bytes = manifest.to_bytes();
        let text = String::from_utf8(bytes.clone()).expect("JSON");
        let head = r#"{
  "version": 2,
  "job": "j-000000012345",
  "name": "word-count",
  "started": "2026-11-21T03:45:12Z",
  "finished": "2026-11-21T03:45:13Z",
  "inputs": {
    "objects": 2,
    "bytes": 30
  },
  "parts": [
    {
      "path": "part-00000",
      "bytes": 9,
      "records": 3,
      "checksum": "xxh3:0000000000000abc"
    }
  ],
  "counters": {
    "lines": 5
  },
  "stats": {
    "map": {
      "input_bytes": 30,"#;
        assert!(text.starts_with(head), "{text}");
        let end = text.rfind(",\n  \"checksum\"").expect("it has one");
        let checksum = format!("xxh3:{:016x}", xxh3_64(&bytes[..end]));
        assert_eq!(text[end..], format!(",\n  \"checksum\": \"{checksum}\"\n}}\n"));
        assert_eq!(Manifest::from_bytes(&bytes), Ok(manifest.clone()));
        let first_version = format!("{}\n}}\n", text[..end].replace("\"version\": 2", "\"version\": 1"));
        assert_eq!(Manifest::from_bytes(first_version.as_bytes()), Ok(Manifest { version: 1, ..manifest }));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let uri: gristmill_common::naming::Uri = "/x".parse().expect("a path");
        let spec = JobSpec::new("x", JobShape::MapOnly, vec![], uri);
        let times = JobTimes { started: WallTime::default(), finished: WallTime::default() };
        let whole = Manifest::new(JobId(1), &spec, &JobPlan::default(), times).to_bytes();
        for at in 0..whole.len() {
            assert!(Manifest::from_bytes(&whole[..at]).is_err(), "cut to {at} bytes");
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                assert!(Manifest::from_bytes(&damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
    }
}
