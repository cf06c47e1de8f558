//! `gristmill explain`: what a job would do, without doing it.

use clap::{ArgMatches, Args as _, Command};
use gristmill_common::partition::Partitioning;
use gristmill_common::size::ByteSize;
use gristmill_common::spec::JobSpec;
use gristmill_common::task::JobPlan;
use gristmill_master::runtime::{PreparedJob, fresh_job_id, prepare};
use serde_json::json;

use super::args::{JobArgs, JobRequest};
use super::error::{CliError, Exit};
use super::pipeline::PipelineCall;
use super::{Context, job_of, job_verb, rejection};
use crate::entry::JobTable;
use crate::render::stages;
use crate::render::summary::plural;

pub(super) fn command(jobs: &JobTable, program: &str) -> Command {
    let verb = JobArgs::augment_args(Command::new("explain"));
    job_verb(
        verb.about("Show the plan of a job, without running it, and whether its output may be written"),
        jobs,
        program,
    )
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let (entry, matches) = job_of(context, matches);
    if entry.is_pipeline() {
        return explain_pipeline(context, &PipelineCall::read(context, entry, matches)?);
    }
    let mut request = JobRequest::read(context, entry, matches)?;
    request.divide_keys(context)?;
    // Claiming the output is the only sure check; the claim is given up at once and leaves nothing.
    let prepared =
        prepare(request.spec, fresh_job_id(&context.clock), &context.stores).map_err(|error| rejection(&error))?;
    let PreparedJob { spec, plan, claim, .. } = prepared;
    claim.undo().map_err(|error| CliError::of(Exit::Failed, &error))?;
    if context.console.json {
        context.console.data(object(&spec, &plan));
    } else {
        context.console.data(text(&spec, &plan).trim_end());
    }
    Ok(Exit::Succeeded)
}

fn explain_pipeline(context: &Context, call: &PipelineCall<'_>) -> Result<Exit, CliError> {
    call.check(context)?;
    let stages = stages::plan(&call.planned.outline);
    if context.console.json {
        let (name, output) = (call.name, call.output().to_string());
        context.console.data(json!({ "pipeline": name, "output": output, "output_check": "ok", "stages": stages }));
    } else {
        let stages: String = stages.iter().map(|stage| format!("  {stage}\n")).collect();
        context.console.data(format_args!("{}\n{stages}  output   {}: can be written", call.name, call.output()));
    }
    Ok(Exit::Succeeded)
}

/// The smallest, the mean and the largest split in bytes.
fn split_sizes(plan: &JobPlan) -> [u64; 3] {
    let sizes: Vec<u64> = plan.splits.iter().map(|split| split.bytes()).collect();
    let count = sizes.len().max(1) as u64;
    let smallest = sizes.iter().min().copied().unwrap_or(0);
    let largest = sizes.iter().max().copied().unwrap_or(0);
    [smallest, sizes.iter().sum::<u64>() / count, largest]
}

fn object(spec: &JobSpec, plan: &JobPlan) -> serde_json::Value {
    let [smallest, mean, largest] = split_sizes(plan);
    json!({
        "name": spec.job,
        "shape": spec.shape,
        "output": spec.output.to_string(),
        "output_check": "ok",
        "objects": plan.objects,
        "input_bytes": plan.input_bytes,
        "map_tasks": plan.splits.len(),
        "reduce_tasks": plan.reducers,
        "split_bytes": { "smallest": smallest, "mean": mean, "largest": largest },
        "attempt_bytes": spec.attempt_bytes,
        "warnings": plan.warnings,
        "spec": spec,
    })
}

fn text(spec: &JobSpec, plan: &JobPlan) -> String {
    let [smallest, mean, largest] = split_sizes(plan).map(ByteSize);
    let sizes = if smallest == largest { mean.to_string() } else { format!("{smallest} to {largest}, mean {mean}") };
    let reduce = match plan.reducers {
        0 => "none: each map task writes a part".to_owned(),
        reducers => {
            let order = if matches!(spec.partitioning, Partitioning::Range { .. }) { ", all in order" } else { "" };
            format!("{}, a part each{order}", plural(reducers.into(), "task"))
        }
    };
    let replaces = if spec.overwrite { ", replacing what is there" } else { "" };
    let mut text = format!(
        "{}\n  input    {} in {}\n  map      {} of {sizes}\n  reduce   {reduce}\n  memory   {} for each \
         attempt\n  records  end at {}\n  output   {}{replaces}: can be written\n",
        spec.job,
        ByteSize(plan.input_bytes),
        plural(plan.objects, "object"),
        plural(plan.splits.len() as u64, "task"),
        spec.attempt_bytes,
        spec.line_rule,
        spec.output,
    );
    for warning in &plan.warnings {
        text.push_str(&format!("  warning: {warning}\n"));
    }
    text
}
