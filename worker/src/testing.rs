//! What tests of executor and agent share: a binary with jobs that finish, wait, panic, print, abort or
//! find their segments damaged, as their names say.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gristmill_common::codec::VALUE_FORMAT;
use gristmill_common::counters::Counters;
use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::Stage;
use gristmill_common::naming::{Uri, staged_named_dir, staged_part_name};
use gristmill_common::program::OptionError;
use gristmill_common::spec::{JobShape, JobSpec};
use gristmill_common::task::{AttemptOutput, AttemptReport, AttemptStats, MapOutputSummary, NamedPart, PartSummary};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::engine::{AnyJob, AttemptContext, EngineTask, JobSource, LocalSegment, map_output_path};

/// The jobs of the fake binary.
#[derive(Default)]
pub(crate) struct FakeJobs {
    /// The executor's end of its socket, for user code that passes it on.
    pub(crate) socket: Option<OwnedFd>,
}

struct FakeJob {
    name: String,
    socket: Option<OwnedFd>,
}

/// A spec of the fake job with this name.
pub(crate) fn fake_spec(job: &str) -> JobSpec {
    let uri = |text: &str| text.parse::<Uri>().expect("a location");
    JobSpec::new(job, JobShape::MapReduce, vec![uri("/in")], uri("/out"))
}

/// What every fake attempt that finishes reports.
pub(crate) fn fake_report() -> AttemptReport {
    AttemptReport {
        output: AttemptOutput::MapOutput(MapOutputSummary::default()),
        counters: Counters::default(),
        stats: AttemptStats::default(),
        bad: None,
    }
}

impl JobSource for FakeJobs {
    fn build(&self, spec: &JobSpec) -> Result<Arc<dyn AnyJob>, OptionError> {
        match spec.job.as_str() {
            "missing" => Err(OptionError::new("no such job: missing")),
            name => {
                let socket = self.socket.as_ref().map(|socket| socket.try_clone().expect("a descriptor"));
                Ok(Arc::new(FakeJob { name: name.to_owned(), socket }))
            }
        }
    }
}

impl AnyJob for FakeJob {
    fn shape(&self) -> JobShape {
        JobShape::MapReduce
    }

    fn run(&self, task: &EngineTask<'_>, context: &AttemptContext<'_>) -> Result<AttemptReport, Failure> {
        let attempt = context.id.attempt;
        context.position.enter_piece(0, 0);
        context.position.offset().store(1204, Ordering::Relaxed);
        match (self.name.as_str(), attempt.task.index) {
            ("panic", _) => panic!("on purpose"),
            ("abort", 0) => std::process::abort(),
            ("hang", 0) => {
                let _turn = context.position.user_turn();
                loop {
                    std::thread::yield_now();
                }
            }
            // A process in the executor's group that holds its end of the socket.
            ("leave", _) => {
                let mut left = std::process::Command::new("sleep");
                left.stdin(self.socket.as_ref().expect("this is an executor").try_clone().expect("a descriptor"));
                let left = left.arg("1000").spawn().expect("a standard tool");
                println!("{} leaves {}", std::process::id(), left.id());
                wait_for_gate(context);
                std::process::abort();
            }
            // All but the first task wait.
            ("gate" | "late", 1..) => wait_for_gate(context),
            ("wait" | "abort" | "hang", _) => {
                println!("{attempt} waits");
                while !context.cancelled.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                return Err(Failure::new(FailureCode::Cancelled, "the attempt was cancelled"));
            }
            ("print", _) => println!("hello from {attempt}"),
            _ => {}
        }
        match (task, attempt.task.stage) {
            (EngineTask::Reduce { .. }, _) if matches!(self.name.as_str(), "part" | "named") => {
                return Ok(fake_part(context, self.name == "named"));
            }
            (EngineTask::Reduce { segments }, _) if matches!(self.name.as_str(), "damaged" | "heal" | "late") => {
                let bytes = fs::read(&segments[0].path).expect("a segment");
                if !bytes.ends_with(b"whole") {
                    if self.name == "heal" {
                        // What was damaged on the way is whole where it came from.
                        hand_made_output(&map_output_path(context.scratch, segments[0].attempt), &[b"whole"]);
                    }
                    let mut failure = Failure::new(FailureCode::MapOutputLost, "damaged");
                    failure.lost_outputs.push(segments[0].attempt);
                    return Err(failure);
                }
            }
            (EngineTask::Reduce { segments }, _) => {
                let staged = context.staging.join(staged_part_name(attempt.task.index, attempt));
                fs::write(staged, told(segments)).expect("a staged part");
            }
            (EngineTask::Map { .. }, Stage::Map) => {
                fs::write(map_output_path(context.scratch, attempt), b"output").expect("a map output");
            }
            (EngineTask::Map { .. }, Stage::Reduce) => {}
        }
        Ok(fake_report())
    }
}

/// Stages a part, and one of a named output with it where there is one: the first attempt of a task forgets
/// the last file that it says it has.
fn fake_part(context: &AttemptContext<'_>, with_named: bool) -> AttemptReport {
    let attempt = context.id.attempt;
    let staged_name = staged_part_name(attempt.task.index, attempt);
    let named_dir = context.staging.join(staged_named_dir(&staged_name));
    if with_named || attempt.number > 0 {
        fs::write(context.staging.join(&staged_name), b"part").expect("a staged part");
    }
    if with_named {
        fs::create_dir(&named_dir).expect("a staged folder");
        if attempt.number > 0 {
            fs::write(named_dir.join("0"), b"named").expect("a staged part");
        }
    }
    let name = "a/b".parse().expect("a name");
    let named =
        with_named.then_some(NamedPart { name, bytes: 5, records: 1, checksum: 0, upload: None }).into_iter().collect();
    let part = PartSummary {
        staged_name,
        bytes: 4,
        records: u64::from(context.spec.fsync),
        checksum: 0,
        named,
        upload: None,
        left_out: false,
    };
    AttemptReport { output: AttemptOutput::Part(part), ..fake_report() }
}

/// Waits for a file of this name in the staging folder.
fn wait_for_gate(context: &AttemptContext<'_>) {
    while !context.staging.join("gate").exists() && !context.cancelled.load(Ordering::Relaxed) {
        std::thread::yield_now();
    }
}

/// What segments hold, as the text of a part, so that a test sees what was fetched.
fn told(segments: &[LocalSegment]) -> Vec<u8> {
    let mut part = Vec::new();
    for segment in segments {
        let bytes = fs::read(&segment.path).expect("a fetched file");
        let (start, end) = (segment.offset as usize, (segment.offset + segment.bytes) as usize);
        part.extend_from_slice(format!("{} ", segment.attempt).as_bytes());
        part.extend_from_slice(&bytes[start..end]);
        part.push(b'\n');
    }
    part
}

/// Waits for `future`, not for ever.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("done before the deadline")
}

/// Writes a map output whose segments hold these bytes; they are no blocks, which only the engine
/// would notice.
pub(crate) fn hand_made_output(path: &Path, segments: &[&[u8]]) {
    hand_made_runs(path, segments.len(), segments);
}

/// As [`hand_made_output`], with the first runs of all partitions, then the second ones, and so on.
pub(crate) fn hand_made_runs(path: &Path, partitions: usize, runs: &[&[u8]]) {
    let mut file = b"GMSEGMT1\x01\x00".to_vec();
    file.extend_from_slice(&[VALUE_FORMAT, 0]);
    file.extend_from_slice(&(partitions as u32).to_le_bytes());
    let mut index = Vec::new();
    for run in runs {
        for field in [file.len() as u64, run.len() as u64, 1, run.len() as u64, 0, run.len() as u64] {
            index.extend_from_slice(&field.to_le_bytes());
        }
        file.extend_from_slice(run);
    }
    let offset = file.len() as u64;
    file.extend_from_slice(&index);
    file.extend_from_slice(&offset.to_le_bytes());
    file.extend_from_slice(&(partitions as u32).to_le_bytes());
    file.extend_from_slice(&((runs.len() / partitions) as u32 - 1).to_le_bytes());
    file.extend_from_slice(&xxh3_64_with_seed(&index, offset).to_le_bytes());
    file.extend_from_slice(b"GMSEGEND");
    fs::write(path, file).expect("a map output");
}
