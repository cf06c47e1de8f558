//! Messages to domain types and back: what only the master and its clients know. What workers know
//! too is in `common::wire`.

use gristmill_common::ids::{ContentId, JobId, MasterEpoch, SessionId, TaskId, WorkerId};
use gristmill_common::task::AttemptStats;
use gristmill_common::time::WallTime;
use gristmill_common::wire::{WireError, counters_from_wire, counters_to_wire, invalid, required, v1};

use crate::runtime::{ClusterStatus, JobStatus, Order};
use crate::scheduler::{CloseReason, JobState, JobView, SessionState, StageView, WorkerReport, WorkerView};

/// Reads the report in a worker's message.
pub(super) fn report(body: v1::worker_message::Body) -> Result<WorkerReport, WireError> {
    use v1::worker_message::Body;
    Ok(match body {
        Body::Heartbeat(_) => WorkerReport::Heartbeat,
        Body::Leave(_) => WorkerReport::WorkerLeft,
        Body::Started(started) => {
            WorkerReport::AttemptStarted { id: required("AttemptStarted.id", started.id)?.try_into()? }
        }
        Body::Finished(finished) => WorkerReport::AttemptFinished {
            id: required("AttemptFinished.id", finished.id)?.try_into()?,
            report: required("AttemptFinished.report", finished.report)?.try_into()?,
        },
        Body::Uploads(opened) => {
            let uploads = opened.uploads.into_iter().map(TryInto::try_into);
            WorkerReport::UploadsOpened {
                id: required("UploadsOpened.id", opened.id)?.try_into()?,
                batch: opened.batch,
                uploads: uploads.collect::<Result<_, _>>()?,
            }
        }
        Body::Failed(failed) => WorkerReport::AttemptFailed {
            id: required("AttemptFailed.id", failed.id)?.try_into()?,
            failure: required("AttemptFailed.failure", failed.failure)?.try_into()?,
        },
        Body::Register(_) | Body::Resume(_) => {
            let reason = "only the first message of a stream registers or resumes".to_owned();
            return Err(WireError::Invalid { field: "WorkerMessage.body", reason });
        }
    })
}

/// The message of an order.
pub(super) fn order(order: &Order) -> v1::master_message::Body {
    use v1::master_message::Body;
    match order {
        Order::OpenJob { job, spec, binary_sha256, staging } => Body::OpenJob(v1::OpenJob {
            job: job.0,
            spec: Some(spec.as_ref().into()),
            binary_sha256: binary_sha256.clone(),
            staging: staging.clone(),
        }),
        Order::Start { id, input } => Body::Start(v1::StartAttempt { id: Some(id.into()), input: Some(input.into()) }),
        Order::Cancel { id } => Body::Cancel(v1::CancelAttempt { id: Some(id.into()) }),
        Order::Discard { id } => Body::Discard(v1::DiscardOutput { id: Some(id.into()) }),
        Order::UploadsNoted { id, batch } => Body::Noted(v1::UploadsNoted { id: Some(id.into()), batch: *batch }),
        Order::Release { job } => Body::Release(v1::ReleaseJob { job: job.0 }),
        Order::Close { reason } => Body::Close(close(*reason)),
    }
}

/// The message that ends a session.
pub(super) fn close(reason: CloseReason) -> v1::CloseSession {
    let (reason, message) = match reason {
        CloseReason::Lost => ("lost", "the session was lost: nothing was heard of the worker for too long"),
        CloseReason::Superseded => ("superseded", "the same worker registered anew"),
        CloseReason::Left => ("left", "the worker left"),
        CloseReason::Unknown => ("unknown", "the session is over, or belongs to another epoch of the master"),
    };
    v1::CloseSession { reason: reason.to_owned(), message: message.to_owned() }
}

/// The message that sends a worker away that cannot be served.
pub(super) fn incompatible(message: String) -> v1::CloseSession {
    v1::CloseSession { reason: "incompatible".to_owned(), message }
}

impl From<&JobStatus> for v1::JobStatus {
    fn from(status: &JobStatus) -> Self {
        let view = &status.view;
        Self {
            job: view.job.0,
            state: v1::JobState::from(view.state).into(),
            name: status.name.clone(),
            output: status.output.clone().into(),
            map: Some((&view.map).into()),
            reduce: Some((&view.reduce).into()),
            counters: counters_to_wire(&view.counters),
            map_stats: Some((&view.map_stats).into()),
            reduce_stats: Some((&view.reduce_stats).into()),
            failure: view.failure.as_ref().map(Into::into),
            waiting: view.waiting.clone().unwrap_or_default(),
            submitted_unix_millis: status.submitted.unix_millis,
            finished_unix_millis: status.finished.map_or(0, |at| at.unix_millis),
            warnings: status.warnings.clone(),
            differed: view.differed.iter().map(|task| task.index).collect(),
            recipe_sha256: status.recipe.map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::JobStatus> for JobStatus {
    type Error = WireError;

    fn try_from(wire: v1::JobStatus) -> Result<Self, WireError> {
        let stats = |field, stats| required(field, stats).map(AttemptStats::from);
        let view = JobView {
            job: JobId(wire.job),
            state: job_state(wire.state)?,
            map: required("JobStatus.map", wire.map)?.into(),
            reduce: required("JobStatus.reduce", wire.reduce)?.into(),
            counters: counters_from_wire(wire.counters),
            map_stats: stats("JobStatus.map_stats", wire.map_stats)?,
            reduce_stats: stats("JobStatus.reduce_stats", wire.reduce_stats)?,
            differed: wire.differed.into_iter().map(TaskId::map).collect(),
            failure: wire.failure.map(TryInto::try_into).transpose()?,
            waiting: Some(wire.waiting).filter(|text| !text.is_empty()),
        };
        let wall = |unix_millis| WallTime { unix_millis };
        Ok(Self {
            view,
            name: wire.name,
            output: wire.output.parse().map_err(invalid("JobStatus.output"))?,
            submitted: wall(wire.submitted_unix_millis),
            finished: Some(wire.finished_unix_millis).filter(|millis| *millis > 0).map(wall),
            warnings: wire.warnings,
            recipe: content_id("JobStatus.recipe_sha256", &wire.recipe_sha256)?,
        })
    }
}

/// A file by its SHA-256; `None` for no text.
///
/// # Errors
///
/// If the text is neither.
pub(crate) fn content_id(field: &'static str, text: &str) -> Result<Option<ContentId>, WireError> {
    Some(text).filter(|text| !text.is_empty()).map(|text| text.parse().map_err(invalid(field))).transpose()
}

impl From<JobState> for v1::JobState {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Queued => v1::JobState::Queued,
            JobState::Running => v1::JobState::Running,
            JobState::Committing => v1::JobState::Committing,
            JobState::Succeeded => v1::JobState::Succeeded,
            JobState::Failed => v1::JobState::Failed,
            JobState::Cancelled => v1::JobState::Cancelled,
        }
    }
}

fn job_state(wire: i32) -> Result<JobState, WireError> {
    let unknown = || WireError::Unknown { field: "JobStatus.state", value: wire.to_string() };
    let state = v1::JobState::try_from(wire).ok().and_then(known_job_state);
    state.ok_or_else(unknown)
}

/// The state, unless it says nothing.
pub(crate) fn known_job_state(wire: v1::JobState) -> Option<JobState> {
    match wire {
        v1::JobState::Queued => Some(JobState::Queued),
        v1::JobState::Running => Some(JobState::Running),
        v1::JobState::Committing => Some(JobState::Committing),
        v1::JobState::Succeeded => Some(JobState::Succeeded),
        v1::JobState::Failed => Some(JobState::Failed),
        v1::JobState::Cancelled => Some(JobState::Cancelled),
        v1::JobState::Unspecified => None,
    }
}

impl From<&StageView> for v1::StageStatus {
    fn from(stage: &StageView) -> Self {
        Self {
            tasks: stage.tasks,
            done: stage.done,
            active: stage.active,
            failed_attempts: stage.failed_attempts,
            lost_attempts: stage.lost_attempts,
            input_bytes: stage.input_bytes,
            done_bytes: stage.done_bytes,
        }
    }
}

impl From<v1::StageStatus> for StageView {
    fn from(wire: v1::StageStatus) -> Self {
        Self {
            tasks: wire.tasks,
            done: wire.done,
            active: wire.active,
            failed_attempts: wire.failed_attempts,
            lost_attempts: wire.lost_attempts,
            input_bytes: wire.input_bytes,
            done_bytes: wire.done_bytes,
        }
    }
}

impl From<&ClusterStatus> for v1::WorkersReply {
    fn from(cluster: &ClusterStatus) -> Self {
        let refusal = |(reason, count): &(String, u64)| v1::StaleRefusal { reason: reason.clone(), count: *count };
        Self {
            workers: cluster.workers.iter().map(Into::into).collect(),
            stale_refusals: cluster.stale_refusals.iter().map(refusal).collect(),
            epoch: cluster.epoch.0,
        }
    }
}

impl TryFrom<v1::WorkersReply> for ClusterStatus {
    type Error = WireError;

    fn try_from(wire: v1::WorkersReply) -> Result<Self, WireError> {
        Ok(Self {
            workers: wire.workers.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            stale_refusals: wire.stale_refusals.into_iter().map(|refusal| (refusal.reason, refusal.count)).collect(),
            epoch: MasterEpoch(wire.epoch),
        })
    }
}

impl From<&WorkerView> for v1::WorkerStatus {
    fn from(view: &WorkerView) -> Self {
        let state = match view.state {
            SessionState::Live => v1::SessionState::Live,
            SessionState::Suspect => v1::SessionState::Suspect,
            SessionState::Lost => v1::SessionState::Lost,
            SessionState::Left => v1::SessionState::Left,
        };
        Self {
            worker: view.worker.0,
            session: view.session.0,
            state: state.into(),
            address: view.address.clone(),
            slots: view.slots,
            active: view.active,
            committed: view.committed,
            failed: view.failed,
            excluded: view.excluded,
        }
    }
}

impl TryFrom<v1::WorkerStatus> for WorkerView {
    type Error = WireError;

    fn try_from(wire: v1::WorkerStatus) -> Result<Self, WireError> {
        let state = match v1::SessionState::try_from(wire.state) {
            Ok(v1::SessionState::Live) => SessionState::Live,
            Ok(v1::SessionState::Suspect) => SessionState::Suspect,
            Ok(v1::SessionState::Lost) => SessionState::Lost,
            Ok(v1::SessionState::Left) => SessionState::Left,
            Ok(v1::SessionState::Unspecified) | Err(_) => {
                return Err(WireError::Unknown { field: "WorkerStatus.state", value: wire.state.to_string() });
            }
        };
        Ok(Self {
            worker: WorkerId(wire.worker),
            session: SessionId(wire.session),
            state,
            address: wire.address,
            slots: wire.slots,
            active: wire.active,
            committed: wire.committed,
            failed: wire.failed,
            excluded: wire.excluded,
        })
    }
}

#[cfg(test)]
mod tests {
    use gristmill_common::failure::{Failure, FailureCode};

    use super::*;

    fn stage(from: u32) -> StageView {
        StageView {
            tasks: from,
            done: from + 1,
            active: from + 2,
            failed_attempts: from + 3,
            lost_attempts: from + 4,
            input_bytes: u64::from(from) + 5,
            done_bytes: u64::from(from) + 6,
        }
    }

    #[test]
    fn statuses_travel() {
        let states = [
            JobState::Queued,
            JobState::Running,
            JobState::Committing,
            JobState::Succeeded,
            JobState::Failed,
            JobState::Cancelled,
        ];
        for (state, full) in states.into_iter().flat_map(|state| [(state, true), (state, false)]) {
            let stats = |wall_micros| AttemptStats { wall_micros, ..AttemptStats::default() };
            let view = JobView {
                differed: vec![TaskId::map(3)],
                job: JobId(77),
                state,
                map: stage(10),
                reduce: stage(20),
                counters: [("a", 1), ("b", 2)].into_iter().collect(),
                map_stats: stats(1),
                reduce_stats: stats(2),
                failure: full.then(|| Failure::new(FailureCode::UserError, "no")),
                waiting: full.then(|| "no worker is connected".to_owned()),
            };
            let status = JobStatus {
                view,
                name: "word-count".into(),
                output: "/out".parse().expect("a path"),
                submitted: WallTime { unix_millis: 5 },
                finished: full.then_some(WallTime { unix_millis: 6 }),
                warnings: vec!["careful".into()],
                recipe: full.then_some(ContentId([7; 32])),
            };
            assert_eq!(JobStatus::try_from(v1::JobStatus::from(&status)), Ok(status));
        }
        let error = JobStatus::try_from(v1::JobStatus::default()).expect_err("no state").to_string();
        assert_eq!(error, "field JobStatus.state has the unknown value \"0\"");
    }

    #[test]
    fn workers_travel() {
        let states = [SessionState::Live, SessionState::Suspect, SessionState::Lost, SessionState::Left];
        let worker = |state| WorkerView {
            excluded: true,
            worker: WorkerId(1),
            session: SessionId(2),
            state,
            address: "http://127.0.0.1:1".into(),
            slots: 3,
            active: 4,
            committed: 5,
            failed: 6,
        };
        let stale_refusals = vec![("epoch".to_owned(), 7)];
        let workers = states.map(worker).to_vec();
        let cluster = ClusterStatus { workers, stale_refusals, epoch: MasterEpoch(9) };
        assert_eq!(ClusterStatus::try_from(v1::WorkersReply::from(&cluster)), Ok(cluster));
    }

    #[test]
    fn reports_without_content_are_refused_by_field() {
        use v1::worker_message::Body;
        let check = |body: Body, expect: &str| {
            let error = report(body).expect_err(expect).to_string();
            assert!(error.starts_with(expect), "{error}");
        };
        check(Body::Resume(v1::Resume {}), "field WorkerMessage.body is not valid");
        check(Body::Started(v1::AttemptStarted::default()), "field AttemptStarted.id is missing");
        check(Body::Finished(v1::AttemptFinished::default()), "field AttemptFinished.id is missing");
        check(Body::Failed(v1::AttemptFailed::default()), "field AttemptFailed.id is missing");
    }
}
