//! One attempt of an embedded run: finds its segments, runs the engine on the calling thread.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::{AttemptId, JobAttempt, JobId, Stage};
use gristmill_common::objects::ObjectReader;
use gristmill_common::setup::ShippedPaths;
use gristmill_common::spec::JobSpec;
use gristmill_common::task::{AttemptReport, JobPlan, SegmentSource};
use gristmill_master::scheduler::AttemptWork;
use gristmill_sys::positions::RecordPosition;
use gristmill_worker::engine::shuffle::{MapOutputPack, MapOutputs, SegmentError, SegmentRange};
use gristmill_worker::engine::{AnyJob, AttemptContext, Compression, EngineTask, LocalSegment};
use gristmill_worker::executor::run_in_hand;

use super::upload::Sender;

/// A planned job and where it works.
#[derive(Clone, Copy)]
pub(super) struct Embedded<'a> {
    /// Its id.
    pub(super) id: JobId,
    /// What was asked for.
    pub(super) spec: &'a JobSpec,
    /// Its tasks.
    pub(super) plan: &'a JobPlan,
    /// Its code.
    pub(super) job: &'a dyn AnyJob,
    /// Its folder in scratch.
    pub(super) scratch: &'a Path,
    /// Takes the small map outputs.
    pub(super) pack: &'a MapOutputPack,
    /// Where its parts are staged.
    pub(super) staging: &'a Path,
    /// Sends them to the job's output, if that is in an object store.
    pub(super) sender: Option<&'a Sender>,
    /// The files that it reads besides.
    pub(super) files: &'a ShippedPaths,
    /// Opens what it reads.
    pub(super) objects: &'a Arc<dyn ObjectReader>,
}

impl Embedded<'_> {
    /// Runs an attempt to its end, and sends what it made. A panic of the engine itself is a failure too:
    /// whoever waits for the report must not wait for ever.
    pub(super) fn run(
        &self,
        id: JobAttempt,
        work: &AttemptWork,
        position: &RecordPosition,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<AttemptReport, Failure> {
        let report = self.run_here(id, work, position, cancelled)?;
        match self.sender {
            Some(sender) => sender.send(self.staging, id.attempt, report, cancelled),
            None => Ok(report),
        }
    }

    fn run_here(
        &self,
        id: JobAttempt,
        work: &AttemptWork,
        position: &RecordPosition,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<AttemptReport, Failure> {
        let objects = self.objects.until(cancelled);
        let context = AttemptContext {
            id,
            spec: self.spec,
            scratch: self.scratch,
            staging: self.staging,
            pack: self.pack,
            // Segments stay on this disk: compressing them costs more than it saves.
            compression: Compression::None,
            cancelled,
            files: self.files,
            objects: &objects,
            position,
        };
        let task = id.attempt.task;
        match (task.stage, work) {
            (Stage::Map, AttemptWork::Map { .. }) => {
                let split = &self.plan.splits[task.index as usize];
                // A record that ends this process ends the job: there is none to pass over.
                let task = EngineTask::Map { split, partitions: self.plan.reducers, skip: &[] };
                run_in_hand(self.job, &task, &context)
            }
            (Stage::Reduce, AttemptWork::Reduce { sources }) => {
                let segments = self.segments(task.index, sources)?;
                run_in_hand(self.job, &EngineTask::Reduce { segments: &segments }, &context)
            }
            (Stage::Map, AttemptWork::Reduce { .. }) | (Stage::Reduce, AttemptWork::Map { .. }) => {
                unreachable!("the work of {id} is of the other stage")
            }
        }
    }

    /// A partition's segments in map-task order.
    fn segments(&self, partition: u32, sources: &[SegmentSource]) -> Result<Vec<LocalSegment>, Failure> {
        let mut outputs = MapOutputs::new(self.scratch);
        let attempts = sources.iter().flat_map(|source| &source.attempts);
        let mut segments = Vec::new();
        for &attempt in attempts {
            segments.extend(segment(&mut outputs, attempt, partition)?);
        }
        // Stable, since several runs of an attempt are in order.
        segments.sort_by_key(|segment| segment.attempt.task.index);
        Ok(segments)
    }
}

/// The runs of one segment.
fn segment(outputs: &mut MapOutputs, attempt: AttemptId, partition: u32) -> Result<Vec<LocalSegment>, Failure> {
    let lost = |reason: String| {
        let mut failure = Failure::new(FailureCode::MapOutputLost, reason);
        failure.lost_outputs.push(attempt);
        failure
    };
    let output = outputs.open(attempt).map_err(|error: SegmentError| lost(error.to_string()))?;
    let runs =
        output.segment(partition).ok_or_else(|| lost(format!("map output {attempt} has no partition {partition}")))?;
    let path = output.path();
    let run = |run: SegmentRange| LocalSegment { attempt, path: path.to_owned(), offset: run.offset, bytes: run.bytes };
    Ok(runs.into_iter().map(run).collect())
}
