//! From a job's type to [`AnyJob`]: the one place where user code is entered, and where its panics
//! end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gristmill_common::failure::{Failure, FailureCode, InputPosition};
use gristmill_common::job::{MapOnly, MapReduce, PartOrder, Result as JobResult};
use gristmill_common::output::Output;
use gristmill_common::program::JobVisitor;
use gristmill_common::spec::{JobShape, JobSpec, OutputFormat};
use gristmill_common::task::{AttemptReport, AttemptStats, JobPlan};
use gristmill_common::time::Clock;

use super::kept::Kept;
use super::map::MapInput;
use super::output::RowFormat;
use super::{AnyJob, AttemptContext, EngineTask, Reads, failures, map, panics, reduce, sample};

/// Makes an [`AnyJob`] of the visited job.
#[derive(Debug, Clone, Copy)]
pub struct IntoAnyJob;

impl JobVisitor for IntoAnyJob {
    type Output = Arc<dyn AnyJob>;

    fn map_reduce<J: MapReduce>(self, job: J) -> Arc<dyn AnyJob> {
        Arc::new(Reducing { job, kept: Kept::new() })
    }

    fn map_only<J: MapOnly>(self, job: J) -> Arc<dyn AnyJob> {
        Arc::new(Mapping(job))
    }
}

struct Reducing<J: MapReduce> {
    job: J,
    kept: Kept<J>,
}

impl<J: MapReduce> AnyJob for Reducing<J> {
    fn shape(&self) -> JobShape {
        JobShape::MapReduce
    }

    fn run(&self, task: &EngineTask<'_>, context: &AttemptContext<'_>) -> Result<AttemptReport, Failure> {
        guarded(task, context, || {
            let info = context.task();
            let own = set_up(context, || self.job.setup(&info))?;
            let job = own.as_ref().unwrap_or(&self.job);
            match *task {
                EngineTask::Map { split, partitions, skip } => {
                    map::run(job, &self.kept, MapInput { split, skip }, partitions, context)
                }
                EngineTask::Reduce { segments } => reduce::run(job, &self.kept, segments, context),
            }
        })
    }

    fn rest(&self) {
        self.kept.clear();
    }

    fn maps_record_by_record(&self) -> bool {
        J::RECORD_BY_RECORD
    }

    fn order(&self) -> PartOrder {
        J::ORDER
    }

    fn output_format(&self) -> Option<OutputFormat> {
        <J::Output as Output>::FORMAT
    }

    fn check_output(&self, spec: &JobSpec) -> Result<(), Failure> {
        RowFormat::of::<J::Output>(spec, || self.job.schema()).map(|_| ())
    }

    fn sample_keys(&self, spec: &JobSpec, plan: &JobPlan, reads: &Reads<'_>) -> Result<Vec<Vec<u8>>, Failure> {
        sample::sample_keys(&self.job, spec, plan, reads)
    }
}

struct Mapping<J>(J);

impl<J: MapOnly> AnyJob for Mapping<J> {
    fn shape(&self) -> JobShape {
        JobShape::MapOnly
    }

    fn output_format(&self) -> Option<OutputFormat> {
        <J::Output as Output>::FORMAT
    }

    fn check_output(&self, spec: &JobSpec) -> Result<(), Failure> {
        RowFormat::of::<J::Output>(spec, || self.0.schema()).map(|_| ())
    }

    fn maps_record_by_record(&self) -> bool {
        J::RECORD_BY_RECORD
    }

    fn run(&self, task: &EngineTask<'_>, context: &AttemptContext<'_>) -> Result<AttemptReport, Failure> {
        guarded(task, context, || {
            let info = context.task();
            let own = set_up(context, || self.0.setup(&info))?;
            let job = own.as_ref().unwrap_or(&self.0);
            match *task {
                EngineTask::Map { split, skip, .. } => map::run_map_only(job, MapInput { split, skip }, context),
                EngineTask::Reduce { .. } => {
                    Err(Failure::new(FailureCode::UserError, "a map-only job was given a reduce task"))
                }
            }
        })
    }
}

/// The job that the attempt is to run, if not the one of all attempts.
fn set_up<J>(context: &AttemptContext<'_>, setup: impl FnOnce() -> JobResult<Option<J>>) -> Result<Option<J>, Failure> {
    let _turn = context.position.user_turn();
    setup().map_err(|error| failures::user_failed("setup", &error))
}

/// Runs the attempt, times it, and makes a panic a failure with the record in hand.
fn guarded(
    task: &EngineTask<'_>,
    context: &AttemptContext<'_>,
    attempt: impl FnOnce() -> Result<AttemptReport, Failure>,
) -> Result<AttemptReport, Failure> {
    let clock = Clock::start();
    let result = panics::catch(attempt).unwrap_or_else(|message| {
        let failure = failures::user_panic(&message);
        Err(match position(task, context) {
            Some(position) => failure.at(position),
            None => failure,
        })
    });
    context.position.leave();
    if result.is_err() && context.cancelled.load(Ordering::Relaxed) {
        // Whatever user code made of it.
        return Err(failures::cancelled());
    }
    result.map(|report| AttemptReport {
        stats: AttemptStats { wall_micros: clock.now().as_micros(), ..report.stats },
        ..report
    })
}

fn position(task: &EngineTask<'_>, context: &AttemptContext<'_>) -> Option<InputPosition> {
    let (piece, offset) = context.position.get()?;
    let EngineTask::Map { split, .. } = task else { return None };
    let piece = split.pieces.get(usize::try_from(piece).ok()?)?;
    Some(InputPosition { object: piece.object.uri.to_string(), offset })
}
