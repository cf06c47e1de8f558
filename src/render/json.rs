//! The documented objects of `--json`.
//!
//! A job (`run`, `submit`, `status`, `watch`, `cancel`, and each of `jobs`):
//!
//! | field | value |
//! |---|---|
//! | `job`, `name`, `state`, `output` | id, job of the binary, `queued` … `succeeded`, location |
//! | `parts`, `records`, `bytes` | what it wrote so far, to named outputs too |
//! | `counters`, `bad_records`, `bad_files` | name -> sum; records skipped; damaged files of which something was left out |
//! | `stats` | `{map, reduce}`: what the committed attempts did, and of each stage its `tasks`, `done`, `active`, `failed_attempts`, `lost_attempts` |
//! | `submitted`, `wall_ms` | when, in UTC; how long it took, or has taken |
//! | `nondeterministic` | map tasks whose attempts made different records |
//! | `warnings`, `waiting`, `failure` | texts; what it waits for, if anything; why it failed |
//! | `replay` | `status` only: the command that runs the task which failed the job again |
//! | `peak_rss_bytes` | `run` only: the most memory the process had |

use gristmill_common::counters::{BAD_FILES, BAD_RECORDS, LEFT_OUT_PARTS, NAMED_PARTS};
use gristmill_common::ids::JobId;
use gristmill_common::task::AttemptStats;
use gristmill_common::time::WallTime;
use gristmill_master::runtime::JobStatus;
use gristmill_master::scheduler::{JobState, JobView, SessionState, StageView, WorkerView};
use serde_json::{Value, json};

/// A job.
pub(crate) fn job(status: &JobStatus, now: WallTime) -> Value {
    let view = &status.view;
    let (stage, stats) = written(view);
    json!({
        "job": view.job.to_string(),
        "name": status.name,
        "state": state(view.state),
        "output": status.output.to_string(),
        "parts": parts(view, stage),
        "records": stats.output_records,
        "bytes": stats.output_bytes,
        "counters": view.counters,
        "bad_records": view.counters.get(BAD_RECORDS),
        "bad_files": view.counters.get(BAD_FILES),
        "stats": { "map": stage_stats(&view.map, &view.map_stats), "reduce": stage_stats(&view.reduce, &view.reduce_stats) },
        "submitted": status.submitted.to_string(),
        "wall_ms": wall_millis(status, now),
        "nondeterministic": view.differed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "warnings": status.warnings,
        "waiting": view.waiting,
        "failure": view.failure,
    })
}

/// How many parts a job has written, of all its outputs.
pub(crate) fn parts(view: &JobView, written: &StageView) -> u64 {
    let first = u64::from(written.done).saturating_sub(view.counters.get(LEFT_OUT_PARTS));
    first + view.counters.get(NAMED_PARTS)
}

/// A job that was accepted and is not waited for.
pub(crate) fn accepted(job: JobId, warnings: &[String]) -> Value {
    json!({ "job": job.to_string(), "state": state(JobState::Queued), "warnings": warnings })
}

/// A worker.
pub(crate) fn worker(worker: &WorkerView) -> Value {
    json!({
        "worker": worker.worker.to_string(),
        "session": worker.session.to_string(),
        "state": session_state(worker.state),
        "address": worker.address,
        "slots": worker.slots,
        "active": worker.active,
        "committed": worker.committed,
        "failed": worker.failed,
        "excluded": worker.excluded,
    })
}

/// A job's state as it is shown everywhere.
pub(crate) fn state(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "queued",
        JobState::Running => "running",
        JobState::Committing => "committing",
        JobState::Succeeded => "succeeded",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}

/// A session's state as it is shown everywhere.
pub(crate) fn session_state(state: SessionState) -> &'static str {
    match state {
        SessionState::Live => "live",
        SessionState::Suspect => "suspect",
        SessionState::Lost => "lost",
        SessionState::Left => "left",
    }
}

/// The half of a job that writes its parts, and what its committed attempts did.
pub(crate) fn written(view: &JobView) -> (&StageView, &AttemptStats) {
    if view.reduce.tasks > 0 { (&view.reduce, &view.reduce_stats) } else { (&view.map, &view.map_stats) }
}

/// How long a job took, or has taken so far.
pub(crate) fn wall_millis(status: &JobStatus, now: WallTime) -> u64 {
    status.finished.unwrap_or(now).unix_millis.saturating_sub(status.submitted.unix_millis)
}

fn stage_stats(stage: &StageView, stats: &AttemptStats) -> Value {
    let mut object = json!({
        "tasks": stage.tasks,
        "done": stage.done,
        "active": stage.active,
        "failed_attempts": stage.failed_attempts,
        "lost_attempts": stage.lost_attempts,
    });
    let stats = serde_json::to_value(stats).expect("plain numbers serialise");
    if let (Value::Object(object), Value::Object(stats)) = (&mut object, stats) {
        object.extend(stats);
    }
    object
}
