//! Records and their messages. A message that has no meaning is damage; the reader says of what.

use std::collections::HashMap;
use std::sync::Arc;

use gristmill_common::ids::{AttemptId, JobId, MasterEpoch, Stage, TaskId, WorkerId};
use gristmill_common::task::{InputObject, JobPlan, Piece, Split};
use gristmill_common::time::WallTime;
use gristmill_common::wire::v1::journal_record as message;
use gristmill_common::wire::v1::journal_record::Body;
use gristmill_common::wire::{WireError, invalid, required, v1};

use super::record::{AcceptedJob, JournalRecord};
use crate::rpc::convert::{content_id, known_job_state};
use crate::scheduler::{JobState, Record};

impl From<&JournalRecord> for v1::JournalRecord {
    fn from(record: &JournalRecord) -> Self {
        let body = match record {
            JournalRecord::Claiming { job, output, missing, store } => Body::Claiming(message::Claiming {
                job: job.0,
                output: output.clone().into(),
                missing_folders: missing.iter().map(|folder| folder.to_string_lossy().into_owned()).collect(),
                store: Some(store).filter(|store| !store.is_default()).map(Into::into),
            }),
            JournalRecord::Accepted(accepted) => Body::Accepted(accepted.as_ref().into()),
            JournalRecord::WorkerNamed { key, worker } => {
                Body::WorkerNamed(message::WorkerNamed { key: key.clone(), worker: worker.0 })
            }
            JournalRecord::Fact(fact) => fact_to_wire(fact),
            JournalRecord::Closed { key, status } => {
                Body::Closed(message::Closed { idempotency_key: key.clone(), status: Some(status.as_ref().into()) })
            }
        };
        Self { body: Some(body) }
    }
}

impl TryFrom<v1::JournalRecord> for JournalRecord {
    type Error = WireError;

    fn try_from(wire: v1::JournalRecord) -> Result<Self, WireError> {
        let fact = match required("JournalRecord.body", wire.body)? {
            Body::Claiming(claiming) => {
                let output = claiming.output.parse().map_err(invalid("Claiming.output"))?;
                let missing = claiming.missing_folders.into_iter().map(Into::into).collect();
                let store = claiming.store.map(Into::into).unwrap_or_default();
                return Ok(JournalRecord::Claiming { job: JobId(claiming.job), output, missing, store });
            }
            Body::Accepted(accepted) => return Ok(JournalRecord::Accepted(Box::new(accepted.try_into()?))),
            Body::WorkerNamed(named) => {
                return Ok(JournalRecord::WorkerNamed { key: named.key, worker: WorkerId(named.worker) });
            }
            Body::Closed(closed) => {
                let status = Box::new(required("Closed.status", closed.status)?.try_into()?);
                return Ok(JournalRecord::Closed { key: closed.idempotency_key, status });
            }
            Body::Committed(committed) => Record::Committed {
                id: required("Committed.id", committed.id)?.try_into()?,
                worker: WorkerId(committed.worker),
                report: required("Committed.report", committed.report)?.try_into()?,
            },
            Body::Uploading(uploading) => {
                let uploads = uploading.uploads.into_iter().map(TryInto::try_into);
                Record::Uploading {
                    id: required("Uploading.id", uploading.id)?.try_into()?,
                    uploads: uploads.collect::<Result<_, _>>()?,
                }
            }
            Body::Failed(failed) => Record::Failed {
                id: required("Failed.id", failed.id)?.try_into()?,
                worker: WorkerId(failed.worker),
                failure: required("Failed.failure", failed.failure)?.try_into()?,
            },
            Body::Revoked(revoked) => {
                let reduces: Result<Vec<AttemptId>, _> = revoked.reduces.into_iter().map(TryInto::try_into).collect();
                Record::Revoked {
                    job: JobId(revoked.job),
                    map: TaskId::map(revoked.map),
                    reduces: reduces?,
                    rounds: revoked.rounds,
                }
            }
            Body::Decided(decided) => Record::Decided { job: JobId(decided.job) },
            Body::Ended(ended) => Record::Ended {
                job: JobId(ended.job),
                state: last_state(ended.state)?,
                failure: ended.failure.map(TryInto::try_into).transpose()?,
            },
        };
        Ok(JournalRecord::Fact(Box::new(fact)))
    }
}

fn fact_to_wire(fact: &Record) -> Body {
    match fact {
        Record::Committed { id, worker, report } => {
            Body::Committed(message::Committed { id: Some(id.into()), worker: worker.0, report: Some(report.into()) })
        }
        Record::Uploading { id, uploads } => {
            let uploads = uploads.iter().map(Into::into).collect();
            Body::Uploading(message::Uploading { id: Some(id.into()), uploads })
        }
        Record::Failed { id, worker, failure } => {
            Body::Failed(message::Failed { id: Some(id.into()), worker: worker.0, failure: Some(failure.into()) })
        }
        Record::Revoked { job, map, reduces, rounds } => {
            assert_eq!(map.stage, Stage::Map, "only map tasks have outputs that others read");
            let reduces = reduces.iter().map(Into::into).collect();
            Body::Revoked(message::Revoked { job: job.0, map: map.index, reduces, rounds: *rounds })
        }
        Record::Decided { job } => Body::Decided(message::Decided { job: job.0 }),
        Record::Ended { job, state, failure } => Body::Ended(message::Ended {
            job: job.0,
            state: v1::JobState::from(*state).into(),
            failure: failure.as_ref().map(Into::into),
        }),
    }
}

fn last_state(wire: i32) -> Result<JobState, WireError> {
    let state = v1::JobState::try_from(wire).ok().and_then(known_job_state);
    let unknown = || WireError::Unknown { field: "Ended.state", value: wire.to_string() };
    state.filter(|state| state.is_terminal()).ok_or_else(unknown)
}

impl From<&AcceptedJob> for message::Accepted {
    fn from(accepted: &AcceptedJob) -> Self {
        Self {
            job: accepted.job.0,
            idempotency_key: accepted.key.clone(),
            spec: Some(accepted.spec.as_ref().into()),
            binary_sha256: accepted.binary_sha256.clone(),
            plan: Some(plan_to_wire(&accepted.plan)),
            submitted_unix_millis: accepted.submitted.unix_millis,
            epoch: accepted.epoch.0,
            recipe_sha256: accepted.recipe.map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<message::Accepted> for AcceptedJob {
    type Error = WireError;

    fn try_from(wire: message::Accepted) -> Result<Self, WireError> {
        Ok(Self {
            job: JobId(wire.job),
            key: wire.idempotency_key,
            spec: Arc::new(required("Accepted.spec", wire.spec)?.try_into()?),
            binary_sha256: wire.binary_sha256,
            plan: Arc::new(plan_from_wire(required("Accepted.plan", wire.plan)?)?),
            submitted: WallTime { unix_millis: wire.submitted_unix_millis },
            epoch: MasterEpoch(wire.epoch),
            recipe: content_id("Accepted.recipe_sha256", &wire.recipe_sha256)?,
        })
    }
}

/// The tasks of a job as they are kept.
pub(in crate::runtime) fn plan_to_wire(plan: &JobPlan) -> message::Plan {
    let mut objects = Vec::new();
    let mut places: HashMap<&InputObject, u32> = HashMap::new();
    let mut place = |object| {
        *places.entry(object).or_insert_with(|| {
            objects.push(v1::InputObject::from(object));
            u32::try_from(objects.len() - 1).expect("a plan has fewer than 2^32 objects")
        })
    };
    let mut splits = Vec::with_capacity(plan.splits.len());
    for split in &plan.splits {
        let pieces = split.pieces.iter().map(|piece| {
            let object = place(&piece.object);
            v1::Piece { object, start: piece.start, end: piece.end }
        });
        let pieces = pieces.collect();
        splits.push(message::PlannedSplit { pieces, role: split.role });
    }
    message::Plan {
        objects,
        splits,
        reducers: plan.reducers,
        object_count: plan.objects,
        input_bytes: plan.input_bytes,
        warnings: plan.warnings.clone(),
    }
}

/// The tasks of a job from what was kept.
///
/// # Errors
///
/// If a piece is of no object of the plan, or not inside it.
pub(in crate::runtime) fn plan_from_wire(wire: message::Plan) -> Result<JobPlan, WireError> {
    let objects: Result<Vec<Arc<InputObject>>, WireError> =
        wire.objects.into_iter().map(|object| object.try_into().map(Arc::new)).collect();
    let objects = objects?;
    let splits = wire.splits.into_iter().map(|split| {
        let pieces = split.pieces.into_iter().map(|piece| planned_piece(&objects, piece));
        Ok(Split { pieces: pieces.collect::<Result<_, WireError>>()?, role: split.role })
    });
    Ok(JobPlan {
        splits: splits.collect::<Result<_, WireError>>()?,
        reducers: wire.reducers,
        objects: wire.object_count,
        input_bytes: wire.input_bytes,
        warnings: wire.warnings,
    })
}

fn planned_piece(objects: &[Arc<InputObject>], wire: v1::Piece) -> Result<Piece, WireError> {
    let object = usize::try_from(wire.object).ok().and_then(|place| objects.get(place));
    let unknown = || WireError::Unknown { field: "Piece.object", value: wire.object.to_string() };
    let object = object.ok_or_else(unknown)?;
    if wire.start > wire.end || wire.end > object.size {
        let reason = format!("{}..{} of {} bytes", wire.start, wire.end, object.size);
        return Err(WireError::Invalid { field: "Piece.end", reason });
    }
    Ok(Piece { object: Arc::clone(object), start: wire.start, end: wire.end })
}
