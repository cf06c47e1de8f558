//! What map attempts leave for reduce attempts, read by a reduce attempt.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_common::ids::{AttemptId, JobAttempt, JobId, TaskId};
use gristmill_common::naming::Uri;
use gristmill_common::objects::LocalObjects;
use gristmill_common::program::JobVisitor as _;
use gristmill_common::setup::ShippedPaths;
use gristmill_common::spec::{JobShape, JobSpec};
use gristmill_common::task::{AttemptOutput, AttemptReport, InputObject, Piece, Split};
use gristmill_jobs::WordCount;
use gristmill_sys::positions::RecordPosition;
use gristmill_worker::engine::shuffle::{MapOutputPack, MapOutputs, SegmentRange};
use gristmill_worker::engine::{AnyJob, AttemptContext, Compression, EngineTask, IntoAnyJob, LocalSegment};
use gristmill_worker::executor::run_in_hand;

use super::specimen::{Reading, Specimen};
use crate::random::Random;

/// Words of the larger input: so many that their map output has a file of its own.
const WORDS: u64 = 9_000;

/// Words of the smaller one, whose map output goes into a pack.
const PACKED_WORDS: u64 = 300;

/// Bytes of a word.
const WORD_BYTES: usize = 8;

/// The partition that is read; a map output has one more.
const PARTITION: u32 = 1;

/// A map task and what its output is read from.
struct Segments {
    kind: &'static str,
    /// Where the map output is.
    scratch: PathBuf,
    file: PathBuf,
    attempt: AttemptId,
    /// The bytes of the file if it is what a worker fetched, which the sealed header of the response
    /// tells, and not where the output was made.
    fetched: Option<u64>,
    spec: JobSpec,
    pack: MapOutputPack,
    compression: Compression,
    /// The part that is made of it.
    part: Vec<u8>,
}

/// Map outputs as they are and compressed, a pack and its index, and fetched segments.
pub(super) fn specimens(dir: &Path, random: &mut Random) -> Vec<Box<dyn Specimen>> {
    let none = Compression::None;
    vec![
        Box::new(Segments::make(&dir.join("plain"), "map output", (WORDS, none), random)),
        Box::new(Segments::make(&dir.join("lz4"), "compressed map output", (WORDS, Compression::Lz4), random)),
        Box::new(Segments::make(&dir.join("packed"), "pack", (PACKED_WORDS, none), random)),
        Box::new(Segments::make(&dir.join("index"), "index of a pack", (PACKED_WORDS, none), random)),
        Box::new(Segments::make(&dir.join("fetched"), "fetched segments", (WORDS, none), random).fetched()),
    ]
}

impl Segments {
    /// Runs a map attempt over random words in a folder of its own.
    fn make(scratch: &Path, kind: &'static str, (words, compression): (u64, Compression), random: &mut Random) -> Self {
        fs::create_dir(scratch).expect("a scratch folder");
        let input = scratch.join("input");
        let words = (0..words).map(|_| format!("{:0WORD_BYTES$x}\n", random.next_u64() >> 32));
        fs::write(&input, words.collect::<String>()).expect("a scratch file");
        let uri = Uri::from_path(&input);
        let spec = JobSpec::new("word-count", JobShape::MapReduce, vec![uri.clone()], Uri::from_path(scratch));
        let attempt = AttemptId { task: TaskId::map(0), number: 0 };
        let (scratch, pack) = (scratch.to_owned(), MapOutputPack::new(scratch));
        let file = PathBuf::new();
        let mut made = Self { kind, scratch, file, attempt, fetched: None, spec, pack, compression, part: Vec::new() };
        let size = fs::metadata(&input).expect("a scratch file").len();
        let object = Arc::new(InputObject { uri, size, modified_micros: None, etag: None, form: None });
        let split = Split { pieces: vec![Piece { object, start: 0, end: size }], role: 0 };
        let task = EngineTask::Map { split: &split, partitions: PARTITION + 1, skip: &[] };
        made.attempt(attempt, &task).expect("the map attempt succeeds");
        made.file = made.made_file();
        made.part = made.reduce().expect("the map output is whole");
        made
    }

    /// The file that the map attempt made, by kind.
    fn made_file(&self) -> PathBuf {
        let mut files: Vec<PathBuf> =
            fs::read_dir(&self.scratch).expect("a scratch folder").flatten().map(|entry| entry.path()).collect();
        files.retain(|path| match (self.kind, path.extension().and_then(|extension| extension.to_str())) {
            ("index of a pack", extension) => extension == Some("idx"),
            ("pack", extension) => extension.is_none() && !path.ends_with("input"),
            (_, extension) => extension == Some("out"),
        });
        assert_eq!(files.len(), 1, "{}: {files:?}", self.kind);
        files.remove(0)
    }

    /// The same with the segment in a file of its own, as a worker keeps what it fetched.
    fn fetched(mut self) -> Self {
        let whole = fs::read(&self.file).expect("a scratch file");
        let segments = self.segments().expect("the map output is whole");
        let runs = segments.iter().map(|run| &whole[run.offset as usize..(run.offset + run.bytes) as usize]);
        self.file = self.scratch.join("r-1.0-s-1.seg");
        let bytes = runs.collect::<Vec<_>>().concat();
        fs::write(&self.file, &bytes).expect("a scratch file");
        self.fetched = Some(bytes.len() as u64);
        self
    }

    fn attempt(&self, attempt: AttemptId, task: &EngineTask<'_>) -> Result<AttemptReport, String> {
        let job: Arc<dyn AnyJob> = IntoAnyJob.map_reduce(WordCount::default());
        let context = AttemptContext {
            id: JobAttempt { job: JobId(1), attempt },
            spec: &self.spec,
            scratch: &self.scratch,
            staging: &self.scratch,
            pack: &self.pack,
            compression: self.compression,
            cancelled: &Arc::default(),
            files: &ShippedPaths::new(),
            objects: &LocalObjects::shared(),
            position: &RecordPosition::new(),
        };
        run_in_hand(&*job, task, &context).map_err(|failure| failure.message)
    }

    /// The partition's runs, from wherever they are.
    fn segments(&self) -> Result<Vec<LocalSegment>, String> {
        let attempt = self.attempt;
        if let Some(bytes) = self.fetched {
            return Ok(vec![LocalSegment { attempt, path: self.file.clone(), offset: 0, bytes }]);
        }
        let output = MapOutputs::new(&self.scratch).open(attempt).map_err(|error| error.to_string())?;
        let runs = output.segment(PARTITION).ok_or_else(|| format!("{} has no such partition", self.file.display()))?;
        let path = output.path();
        let run =
            |run: SegmentRange| LocalSegment { attempt, path: path.to_owned(), offset: run.offset, bytes: run.bytes };
        Ok(runs.into_iter().map(run).collect())
    }

    /// The part that a reduce attempt makes of the partition.
    fn reduce(&self) -> Result<Vec<u8>, String> {
        let segments = self.segments()?;
        let attempt = AttemptId { task: TaskId::reduce(PARTITION), number: 0 };
        let report = self.attempt(attempt, &EngineTask::Reduce { segments: &segments })?;
        let AttemptOutput::Part(part) = report.output else { unreachable!("a reduce attempt makes a part") };
        let path = self.scratch.join(part.staged_name);
        let bytes = fs::read(&path).expect("a staged part");
        fs::remove_file(path).expect("a staged part");
        Ok(bytes)
    }
}

impl Specimen for Segments {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn file(&self) -> &Path {
        &self.file
    }

    fn read(&mut self) -> Reading {
        match self.reduce() {
            Ok(part) if part == self.part => Reading::Same,
            Ok(_) => Reading::Wrong,
            Err(text) => Reading::Refused(text),
        }
    }

    /// A failure names the file or the attempt that wrote it, by which it is made again.
    fn names(&self, text: &str) -> bool {
        let name = self.file.file_name().and_then(|name| name.to_str());
        text.contains(&self.attempt.to_string()) || name.is_some_and(|name| text.contains(name))
    }
}
