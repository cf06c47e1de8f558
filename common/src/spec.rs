//! The job spec: the validated, immutable request of one job, and the memory rules that belong to
//! it. A spec holds everything that the output may depend on; nothing here depends on threads,
//! slots or machines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::form::{Codec, Form};
use crate::ids::ContentId;
use crate::naming::Uri;
use crate::partition::{PARTITIONER_VERSION, Partitioning};
use crate::size::ByteSize;
use crate::text::LineRule;

/// Memory of one attempt when no budget is given: table, sort buffer and I/O. Raising it saves
/// spills on large inputs, lowering it lets more attempts run at once in little memory.
pub const DEFAULT_ATTEMPT_BYTES: ByteSize = ByteSize::mib(160);

/// The least memory one attempt can work in.
pub const MIN_ATTEMPT_BYTES: ByteSize = ByteSize::mib(16);

/// Bytes of input per map task by default. Larger splits combine better and cost fewer segments,
/// smaller ones balance better and lose less when an attempt is lost.
pub const DEFAULT_SPLIT_SIZE: ByteSize = ByteSize::mib(64);

/// Attempts a task may fail before its job does.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 4;

/// How long one record may keep user code busy before its attempt is ended. Raised, an endless loop
/// holds a slot for longer; lowered, a slow record may be taken for one.
pub const DEFAULT_RECORD_TIMEOUT: Duration = Duration::from_secs(600);

/// The most that a job's share may weigh.
pub const MAX_WEIGHT: u32 = 1000;

/// The most reduce tasks of a job: segments are counted as map tasks times this.
pub const MAX_REDUCERS: u32 = 10_000;

/// What the job's code does with the records, as far as planner and scheduler care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobShape {
    /// Map, shuffle, reduce.
    MapReduce,
    /// Map alone: each map task writes a part.
    MapOnly,
}

/// What a job may take of a cluster that it has not to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Share {
    /// Slots in proportion to other jobs of the same priority; 1 to [`MAX_WEIGHT`].
    pub weight: u32,
    /// Slots that the job gets before any weight counts.
    pub min_slots: u32,
    /// Jobs of a higher priority are served first, whatever their weight.
    pub priority: i32,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: 1, min_slots: 0, priority: 0 }
    }
}

/// An input that a job's own options name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideInput {
    /// Which input of the job it is, from 1 on.
    pub role: u32,
    /// The object, folder or glob, absolute.
    pub uri: Uri,
    /// Whether map tasks read it, as they read the job's input; if not, the job's code reads it by
    /// itself and it is named here only so that no output overlaps it.
    pub mapped: bool,
}

/// A file that travels with a job: whoever runs an attempt has it, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippedFile {
    /// The name by which the job asks for it; no path.
    pub name: String,
    /// What it holds.
    pub content: ContentId,
}

/// How stores other than the local file system are reached. Secrets are never among it: each process
/// finds credentials of its own, in its environment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreOptions {
    /// The URL of a store that speaks the protocol of the scheme (`http://127.0.0.1:9000`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The region, where the store has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Whether requests are sent without credentials.
    #[serde(default)]
    pub anonymous: bool,
}

impl StoreOptions {
    /// Whether nothing is asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of a job if one of its input objects cannot be read to its end: damaged, cut short, or
/// not in the form that it should have. One that is gone or out of reach fails the job in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBadFile {
    /// It fails.
    #[default]
    Fail,
    /// The object is left out from where it is damaged on, counted, and named in `_bad`.
    Skip,
}

/// How the records of an output are written, whatever the job's own type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputFormat {
    /// Rows of RFC 4180, after a header.
    Csv,
    /// One JSON object a line.
    Json,
    /// Parquet files.
    Parquet,
}

impl OutputFormat {
    /// What it is called on the command line and in messages.
    pub fn name(self) -> &'static str {
        match self {
            OutputFormat::Csv => "csv",
            OutputFormat::Json => "json",
            OutputFormat::Parquet => "parquet",
        }
    }
}

/// The request of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Which job of the binary.
    pub job: String,
    /// The job's own options as a JSON object.
    pub options: serde_json::Value,
    /// Whether there is a reduce.
    pub shape: JobShape,
    /// What to read, in order: URIs of objects, folders or globs, absolute.
    pub inputs: Vec<Uri>,
    /// What else the job reads because its own options say so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub side_inputs: Vec<SideInput>,
    /// Files that travel with the job, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ShippedFile>,
    /// Where the output goes: the URI of a folder, absolute.
    pub output: Uri,
    /// Whether an existing output is replaced on success.
    pub overwrite: bool,
    /// Reduce tasks; derived from the input's size if absent.
    pub reducers: Option<u32>,
    /// Target bytes of input per map task.
    pub split_size: ByteSize,
    /// What ends a text record.
    pub line_rule: LineRule,
    /// Memory of one attempt: table, sort buffer, I/O. One record, or one pair of key and value, may take a quarter of
    /// it.
    pub attempt_bytes: ByteSize,
    /// Attempts a task may fail.
    pub max_attempts: u32,
    /// Whether stragglers get a second attempt.
    pub speculation: bool,
    /// Whether a map task whose attempts differ fails the job at once; if not, what was made of the
    /// superseded attempt is made again, at most three times.
    #[serde(default)]
    pub require_deterministic: bool,
    /// Records that user code may fail on before the job does; they are skipped, counted and kept.
    #[serde(default)]
    pub max_bad_records: u64,
    /// How long one record may keep user code busy; zero means for ever.
    pub record_timeout: Duration,
    /// What the job may take of a shared cluster.
    #[serde(default)]
    pub share: Share,
    /// Whether parts are forced to disk before they count.
    pub fsync: bool,
    /// Which reduce task owns a key.
    pub partitioning: Partitioning,
    /// How stores other than the local file system are reached.
    #[serde(default, skip_serializing_if = "StoreOptions::is_default")]
    pub store: StoreOptions,
    /// The form of all input objects; absent: each tells its own, by name or first bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_form: Option<Form>,
    /// What becomes of the job if an object cannot be read to its end.
    #[serde(default)]
    pub on_bad_file: OnBadFile,
    /// How records are written; absent: as the job's own type says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_format: Option<OutputFormat>,
    /// How parts are compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_compression: Option<Codec>,
    /// Target size of a part, as stored; absent: a task writes one part, however large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_size: Option<ByteSize>,
}

/// A spec that no job can run with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Zero reduce tasks, or more than [`MAX_REDUCERS`].
    #[error("cannot run with {reducers} reducers (1 to {MAX_REDUCERS})")]
    Reducers {
        /// What was asked for.
        reducers: u32,
    },
    /// Zero bytes per split.
    #[error("a split needs at least 1 byte")]
    SplitSize,
    /// A share of nothing, or beyond [`MAX_WEIGHT`].
    #[error("a job cannot have the weight {weight} (1 to {MAX_WEIGHT})")]
    Weight {
        /// What was asked for.
        weight: u32,
    },
    /// Zero bytes per part.
    #[error("a part needs at least 1 byte")]
    PartSize,
    /// Zero attempts.
    #[error("a task needs at least 1 attempt")]
    MaxAttempts,
    /// Less memory than any attempt can work in.
    #[error("{given} is too little memory: one attempt needs {MIN_ATTEMPT_BYTES}, so a process needs {}", min_budget())]
    Memory {
        /// What was given.
        given: ByteSize,
    },
    /// No input.
    #[error("a job needs at least one input")]
    NoInputs,
    /// Two shipped files have one name, or one has a name that is a path.
    #[error("a job cannot be shipped with a file named {name:?} (a plain name, once)")]
    ShippedName {
        /// The name.
        name: String,
    },
    /// The spec asks for a partition function this build does not have.
    #[error("partition function {version} is unknown (this build has {PARTITIONER_VERSION})")]
    Partitioner {
        /// What was asked for.
        version: u32,
    },
    /// Splitters that do not make as many ranges as there are reduce tasks, or are out of order.
    #[error("{splitters} splitters do not make the ranges of {} reducers", reducers.map_or("any number of".to_owned(), |n| n.to_string()))]
    Splitters {
        /// How many there are.
        splitters: usize,
        /// The reduce tasks asked for.
        reducers: Option<u32>,
    },
}

/// The smallest `--memory`.
pub fn min_budget() -> ByteSize {
    ByteSize(2 * MIN_ATTEMPT_BYTES.bytes())
}

/// The memory of one attempt under a process budget: the largest power of two that is at most half
/// of it.
///
/// # Errors
///
/// If that is less than [`MIN_ATTEMPT_BYTES`].
pub fn attempt_bytes_for(budget: ByteSize) -> Result<ByteSize, SpecError> {
    let half = budget.bytes() / 2;
    if half < MIN_ATTEMPT_BYTES.bytes() {
        return Err(SpecError::Memory { given: budget });
    }
    Ok(ByteSize(1 << half.ilog2()))
}

impl JobSpec {
    /// A spec with every setting at its default.
    pub fn new(job: impl Into<String>, shape: JobShape, inputs: Vec<Uri>, output: Uri) -> Self {
        Self {
            job: job.into(),
            options: serde_json::Value::Object(serde_json::Map::new()),
            shape,
            inputs,
            side_inputs: Vec::new(),
            files: Vec::new(),
            output,
            overwrite: false,
            reducers: None,
            split_size: DEFAULT_SPLIT_SIZE,
            line_rule: LineRule::default(),
            attempt_bytes: DEFAULT_ATTEMPT_BYTES,
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            speculation: true,
            require_deterministic: false,
            max_bad_records: 0,
            record_timeout: DEFAULT_RECORD_TIMEOUT,
            share: Share::default(),
            fsync: false,
            partitioning: Partitioning::default(),
            store: StoreOptions::default(),
            input_form: None,
            on_bad_file: OnBadFile::default(),
            output_format: None,
            output_compression: None,
            part_size: None,
        }
    }

    /// Everything the job reads: its inputs, then its side inputs.
    pub fn all_inputs(&self) -> impl Iterator<Item = &Uri> {
        self.inputs.iter().chain(self.side_inputs.iter().map(|side| &side.uri))
    }

    /// The roles of side inputs that map tasks read, ascending, and what each consists of.
    pub fn mapped_side_inputs(&self) -> BTreeMap<u32, Vec<Uri>> {
        let mut roles: BTreeMap<u32, Vec<Uri>> = BTreeMap::new();
        for side in self.side_inputs.iter().filter(|side| side.mapped) {
            roles.entry(side.role).or_default().push(side.uri.clone());
        }
        roles
    }

    /// The largest record that an attempt reads, the largest pair of key and value that it takes, and the
    /// largest that a fold may make of a key's values; all of them as encoded.
    pub fn max_record_bytes(&self) -> ByteSize {
        ByteSize(self.attempt_bytes.bytes() / 4)
    }

    /// What the names of parts end with: the format of their records, where it has a name, and their compression.
    /// Empty where neither is asked for.
    pub fn part_ending(&self) -> String {
        let format = match self.output_format {
            None => "",
            Some(OutputFormat::Csv) => ".csv",
            Some(OutputFormat::Json) => ".jsonl",
            // Its pages are compressed, not the file.
            Some(OutputFormat::Parquet) => return ".parquet".to_owned(),
        };
        let codec = self.output_compression.map(|codec| format!(".{}", codec.endings()[0]));
        format!("{format}{}", codec.unwrap_or_default())
    }

    /// Checks the numbers; whether inputs and output exist is for the planner.
    ///
    /// # Errors
    ///
    /// The first setting that no job can run with.
    pub fn validate(&self) -> Result<(), SpecError> {
        if let Some(reducers) = self.reducers
            && !(1..=MAX_REDUCERS).contains(&reducers)
        {
            return Err(SpecError::Reducers { reducers });
        }
        if self.split_size.bytes() == 0 {
            return Err(SpecError::SplitSize);
        }
        if self.part_size.is_some_and(|size| size.bytes() == 0) {
            return Err(SpecError::PartSize);
        }
        if self.max_attempts == 0 {
            return Err(SpecError::MaxAttempts);
        }
        if !(1..=MAX_WEIGHT).contains(&self.share.weight) {
            return Err(SpecError::Weight { weight: self.share.weight });
        }
        if self.attempt_bytes < MIN_ATTEMPT_BYTES {
            return Err(SpecError::Memory { given: ByteSize(2 * self.attempt_bytes.bytes()) });
        }
        if self.inputs.is_empty() {
            return Err(SpecError::NoInputs);
        }
        let mut names = BTreeSet::new();
        for ShippedFile { name, .. } in &self.files {
            let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
            if !plain || !names.insert(name) {
                return Err(SpecError::ShippedName { name: name.clone() });
            }
        }
        self.validate_partitioning()
    }

    fn validate_partitioning(&self) -> Result<(), SpecError> {
        match &self.partitioning {
            &Partitioning::Hash { version } if version != PARTITIONER_VERSION => {
                Err(SpecError::Partitioner { version })
            }
            Partitioning::Hash { .. } => Ok(()),
            Partitioning::Range { splitters } => {
                let ranges = splitters.len() as u64 + 1;
                let fits = self.reducers.map(u64::from) == Some(ranges) && splitters.is_sorted();
                let error = SpecError::Splitters { splitters: splitters.len(), reducers: self.reducers };
                if fits { Ok(()) } else { Err(error) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_parts_tell_format_and_compression() {
        let uri: Uri = "/x".parse().expect("a path");
        let mut spec = JobSpec::new("sort", JobShape::MapReduce, vec![uri.clone()], uri);
        for (format, codec, expect) in [
            (None, None, ""),
            (None, Some(Codec::Gzip), ".gz"),
            (Some(OutputFormat::Csv), None, ".csv"),
            (Some(OutputFormat::Json), Some(Codec::Zstd), ".jsonl.zst"),
            (Some(OutputFormat::Parquet), Some(Codec::Zstd), ".parquet"),
        ] {
            (spec.output_format, spec.output_compression) = (format, codec);
            assert_eq!(spec.part_ending(), expect);
        }
    }

    #[test]
    fn splitters_fit_the_reducers() {
        let uri: Uri = "/x".parse().expect("a path");
        let mut spec = JobSpec::new("sort", JobShape::MapReduce, vec![uri.clone()], uri);
        let mut check = |reducers: Option<u32>, splitters: &[&str], expect: &str| {
            spec.reducers = reducers;
            spec.partitioning =
                Partitioning::Range { splitters: splitters.iter().map(|key| key.as_bytes().to_vec()).collect() };
            assert_eq!(spec.validate().map_or_else(|error| error.to_string(), |()| String::new()), expect);
        };
        check(Some(1), &[], "");
        check(Some(3), &["b", "b"], "");
        check(Some(3), &["b"], "1 splitters do not make the ranges of 3 reducers");
        check(Some(3), &["b", "a"], "2 splitters do not make the ranges of 3 reducers");
        check(None, &["b"], "1 splitters do not make the ranges of any number of reducers");
    }

    #[test]
    fn attempts_get_the_largest_power_of_two_in_half_the_budget() {
        let check = |budget: u64, attempt: u64| {
            assert_eq!(attempt_bytes_for(ByteSize::mib(budget)), Ok(ByteSize::mib(attempt)));
        };
        check(32, 16);
        check(64, 32);
        check(100, 32);
        check(2048, 1024);
        let error = attempt_bytes_for(ByteSize(1)).expect_err("too little");
        let text = "1 B is too little memory: one attempt needs 16.0 MiB, so a process needs 32.0 MiB";
        assert_eq!(error.to_string(), text);
    }
}
