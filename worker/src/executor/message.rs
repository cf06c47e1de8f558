//! What worker and executor say to each other, in domain types.

use std::ops::Range;
use std::path::{Path, PathBuf};

use gristmill_common::failure::{Failure, InputPosition};
use gristmill_common::ids::{JobAttempt, JobId};
use gristmill_common::spec::JobSpec;
use gristmill_common::task::{AttemptReport, InputObject, Split};
use gristmill_common::wire::{WireError, required, v1};

use crate::engine::LocalSegment;

/// From the worker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ToExecutor {
    /// The first message.
    Open(Box<Open>),
    /// Run an attempt in a slot.
    Run(Run),
    /// Stop an attempt; it still answers.
    Cancel(JobAttempt),
    /// The file of a range that was asked for, or why there is none.
    Fetched { id: u64, result: Result<PathBuf, Failure> },
}

/// Which job an executor serves, and with what.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Open {
    pub(crate) job: JobId,
    pub(crate) spec: JobSpec,
    pub(crate) slots: u32,
    pub(crate) scratch: PathBuf,
    pub(crate) staging: PathBuf,
    /// The board of record positions.
    pub(crate) positions: PathBuf,
    pub(crate) compress: bool,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    pub(crate) id: JobAttempt,
    /// Picks the place on the board.
    pub(crate) slot: u32,
    pub(crate) work: Work,
}

/// What an attempt works on, all of it local.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Work {
    Map { split: Split, partitions: u32, skip: Vec<InputPosition> },
    Reduce { segments: Vec<LocalSegment> },
}

/// From the executor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FromExecutor {
    /// The answer to `Open`: ready, or why the job cannot be built.
    Opened(Result<(), String>),
    /// An attempt ended.
    Ended { id: JobAttempt, result: Result<AttemptReport, Failure> },
    /// Bytes of an object in a store are wanted, under a number.
    Fetch { id: u64, object: Box<InputObject>, range: Range<u64> },
    /// They are not wanted any more.
    Forget { id: u64 },
}

impl From<&ToExecutor> for v1::ToExecutor {
    fn from(message: &ToExecutor) -> Self {
        let body = match message {
            ToExecutor::Open(open) => v1::to_executor::Body::Open(open.as_ref().into()),
            ToExecutor::Run(run) => v1::to_executor::Body::Run(run.into()),
            ToExecutor::Cancel(id) => v1::to_executor::Body::Cancel(v1::CancelRun { id: Some(id.into()) }),
            ToExecutor::Fetched { id, result } => {
                let result = match result {
                    Ok(path) => v1::range_fetched::Result::Path(text(path)),
                    Err(failure) => v1::range_fetched::Result::Failure(failure.into()),
                };
                v1::to_executor::Body::Fetched(v1::RangeFetched { id: *id, result: Some(result) })
            }
        };
        Self { body: Some(body) }
    }
}

impl TryFrom<v1::ToExecutor> for ToExecutor {
    type Error = WireError;

    fn try_from(wire: v1::ToExecutor) -> Result<Self, WireError> {
        Ok(match required("ToExecutor.body", wire.body)? {
            v1::to_executor::Body::Open(open) => ToExecutor::Open(Box::new(open.try_into()?)),
            v1::to_executor::Body::Run(run) => ToExecutor::Run(run.try_into()?),
            v1::to_executor::Body::Cancel(cancel) => ToExecutor::Cancel(attempt("CancelRun.id", cancel.id)?),
            v1::to_executor::Body::Fetched(fetched) => ToExecutor::Fetched {
                id: fetched.id,
                result: match required("RangeFetched.result", fetched.result)? {
                    v1::range_fetched::Result::Path(path) => Ok(path.into()),
                    v1::range_fetched::Result::Failure(failure) => Err(failure.try_into()?),
                },
            },
        })
    }
}

impl From<&Open> for v1::OpenExecutor {
    fn from(open: &Open) -> Self {
        Self {
            job: open.job.0,
            spec: Some((&open.spec).into()),
            slots: open.slots,
            scratch: text(&open.scratch),
            staging: text(&open.staging),
            positions: text(&open.positions),
            compress: open.compress,
        }
    }
}

impl TryFrom<v1::OpenExecutor> for Open {
    type Error = WireError;

    fn try_from(wire: v1::OpenExecutor) -> Result<Self, WireError> {
        Ok(Self {
            job: JobId(wire.job),
            spec: required("OpenExecutor.spec", wire.spec)?.try_into()?,
            slots: wire.slots,
            scratch: wire.scratch.into(),
            staging: wire.staging.into(),
            positions: wire.positions.into(),
            compress: wire.compress,
        })
    }
}

impl From<&Run> for v1::RunAttempt {
    fn from(run: &Run) -> Self {
        let work = match &run.work {
            Work::Map { split, partitions, skip } => v1::run_attempt::Work::Map(v1::MapInput {
                split: Some(split.into()),
                partitions: *partitions,
                skip: skip.iter().map(Into::into).collect(),
            }),
            Work::Reduce { segments } => {
                let segments = segments.iter().map(segment_to_wire).collect();
                v1::run_attempt::Work::Reduce(v1::LocalReduce { segments })
            }
        };
        Self { id: Some((&run.id).into()), slot: run.slot, work: Some(work) }
    }
}

impl TryFrom<v1::RunAttempt> for Run {
    type Error = WireError;

    fn try_from(wire: v1::RunAttempt) -> Result<Self, WireError> {
        let work = match required("RunAttempt.work", wire.work)? {
            v1::run_attempt::Work::Map(map) => {
                let split = required("MapInput.split", map.split)?.try_into()?;
                let skip = map.skip.into_iter().map(Into::into).collect();
                Work::Map { split, partitions: map.partitions, skip }
            }
            v1::run_attempt::Work::Reduce(reduce) => {
                let segments = reduce.segments.into_iter().map(segment_from_wire).collect::<Result<_, _>>()?;
                Work::Reduce { segments }
            }
        };
        Ok(Self { id: attempt("RunAttempt.id", wire.id)?, slot: wire.slot, work })
    }
}

impl From<&FromExecutor> for v1::FromExecutor {
    fn from(message: &FromExecutor) -> Self {
        let body = match message {
            FromExecutor::Opened(result) => {
                let error = result.as_ref().err().cloned().unwrap_or_default();
                v1::from_executor::Body::Opened(v1::Opened { error })
            }
            FromExecutor::Ended { id, result: Ok(report) } => {
                v1::from_executor::Body::Finished(v1::RunFinished { id: Some(id.into()), report: Some(report.into()) })
            }
            FromExecutor::Ended { id, result: Err(failure) } => {
                v1::from_executor::Body::Failed(v1::RunFailed { id: Some(id.into()), failure: Some(failure.into()) })
            }
            FromExecutor::Fetch { id, object, range } => v1::from_executor::Body::Fetch(v1::FetchRange {
                id: *id,
                object: Some(object.as_ref().into()),
                start: range.start,
                end: range.end,
            }),
            FromExecutor::Forget { id } => v1::from_executor::Body::Forget(v1::ForgetRange { id: *id }),
        };
        Self { body: Some(body) }
    }
}

impl TryFrom<v1::FromExecutor> for FromExecutor {
    type Error = WireError;

    fn try_from(wire: v1::FromExecutor) -> Result<Self, WireError> {
        Ok(match required("FromExecutor.body", wire.body)? {
            v1::from_executor::Body::Opened(opened) => {
                FromExecutor::Opened(if opened.error.is_empty() { Ok(()) } else { Err(opened.error) })
            }
            v1::from_executor::Body::Finished(finished) => FromExecutor::Ended {
                id: attempt("RunFinished.id", finished.id)?,
                result: Ok(required("RunFinished.report", finished.report)?.try_into()?),
            },
            v1::from_executor::Body::Failed(failed) => FromExecutor::Ended {
                id: attempt("RunFailed.id", failed.id)?,
                result: Err(required("RunFailed.failure", failed.failure)?.try_into()?),
            },
            v1::from_executor::Body::Fetch(fetch) => {
                let object: InputObject = required("FetchRange.object", fetch.object)?.try_into()?;
                if fetch.start >= fetch.end || fetch.end > object.size {
                    let reason = format!("{}..{} is no range of {} bytes", fetch.start, fetch.end, object.size);
                    return Err(WireError::Invalid { field: "FetchRange.end", reason });
                }
                FromExecutor::Fetch { id: fetch.id, object: Box::new(object), range: fetch.start..fetch.end }
            }
            v1::from_executor::Body::Forget(forget) => FromExecutor::Forget { id: forget.id },
        })
    }
}

impl Work {
    /// The objects of the pieces, as people know them; a record position refers to them by index.
    pub(crate) fn objects(&self) -> Vec<String> {
        match self {
            Work::Map { split, .. } => split.pieces.iter().map(|piece| piece.object.uri.to_string()).collect(),
            Work::Reduce { .. } => Vec::new(),
        }
    }
}

fn attempt(field: &'static str, wire: Option<v1::JobAttempt>) -> Result<JobAttempt, WireError> {
    required(field, wire)?.try_into()
}

fn segment_to_wire(segment: &LocalSegment) -> v1::LocalSegment {
    v1::LocalSegment {
        attempt: Some((&segment.attempt).into()),
        path: text(&segment.path),
        offset: segment.offset,
        bytes: segment.bytes,
    }
}

fn segment_from_wire(wire: v1::LocalSegment) -> Result<LocalSegment, WireError> {
    let attempt = required("LocalSegment.attempt", wire.attempt)?.try_into()?;
    Ok(LocalSegment { attempt, path: wire.path.into(), offset: wire.offset, bytes: wire.bytes })
}

/// Paths of a worker are UTF-8: it checks its folder when it starts.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use gristmill_common::failure::FailureCode;
    use gristmill_common::naming::Uri;
    use gristmill_common::spec::JobShape;

    use super::*;

    fn id(attempt: &str) -> JobAttempt {
        JobAttempt { job: JobId(7), attempt: attempt.parse().expect("an attempt") }
    }

    #[test]
    fn messages_to_the_executor_travel() {
        let uri = |text: &str| text.parse::<Uri>().expect("a location");
        let spec = JobSpec::new("word-count", JobShape::MapReduce, vec![uri("/in")], uri("/out"));
        let segment =
            LocalSegment { attempt: id("m-1.0").attempt, path: "/scratch/m-1.0.out".into(), offset: 16, bytes: 99 };
        let open = Open {
            job: JobId(7),
            spec,
            slots: 2,
            scratch: "/scratch/j".into(),
            staging: "/out/.x".into(),
            positions: "/scratch/p".into(),
            compress: true,
        };
        for message in [
            ToExecutor::Open(Box::new(open)),
            ToExecutor::Run(Run {
                id: id("m-3.1"),
                slot: 1,
                work: Work::Map {
                    split: Split::default(),
                    partitions: 4,
                    skip: vec![InputPosition { object: "/in/a".to_owned(), offset: 7 }],
                },
            }),
            ToExecutor::Run(Run { id: id("r-0.0"), slot: 0, work: Work::Reduce { segments: vec![segment] } }),
            ToExecutor::Cancel(id("m-3.1")),
            ToExecutor::Fetched { id: 3, result: Ok("/scratch/j/ranges-0/3".into()) },
            ToExecutor::Fetched { id: 4, result: Err(Failure::new(FailureCode::InputChanged, "it is gone")) },
        ] {
            assert_eq!(ToExecutor::try_from(v1::ToExecutor::from(&message)), Ok(message));
        }
    }

    #[test]
    fn messages_from_the_executor_travel() {
        let uri = "s3://bucket/k=v/a b%.txt".parse::<Uri>().expect("a location");
        let etag = Some("\"1\"".to_owned());
        let object = InputObject { uri, size: 10, modified_micros: Some(7), etag, form: None };
        for message in [
            FromExecutor::Opened(Ok(())),
            FromExecutor::Opened(Err("no such job".to_owned())),
            FromExecutor::Ended { id: id("m-3.1"), result: Err(Failure::new(FailureCode::UserPanic, "index 4")) },
            FromExecutor::Fetch { id: 3, object: Box::new(object.clone()), range: 5..10 },
            FromExecutor::Forget { id: 3 },
        ] {
            assert_eq!(FromExecutor::try_from(v1::FromExecutor::from(&message)), Ok(message));
        }
        assert!(FromExecutor::try_from(v1::FromExecutor::default()).is_err());
        for range in [5..11, 5..5] {
            let wrong = FromExecutor::Fetch { id: 3, object: Box::new(object.clone()), range };
            assert!(FromExecutor::try_from(v1::FromExecutor::from(&wrong)).is_err());
        }
    }
}
