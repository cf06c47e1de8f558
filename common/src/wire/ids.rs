//! Attempt ids. Plain numbers (job, session, epoch) travel as they are.

use super::{WireError, required, v1};
use crate::ids::{AttemptId, JobAttempt, JobId, Stage, TaskId};

impl From<Stage> for v1::Stage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Map => v1::Stage::Map,
            Stage::Reduce => v1::Stage::Reduce,
        }
    }
}

impl From<&AttemptId> for v1::AttemptId {
    fn from(id: &AttemptId) -> Self {
        let stage = v1::Stage::from(id.task.stage);
        Self { stage: stage.into(), index: id.task.index, number: id.number }
    }
}

impl TryFrom<v1::AttemptId> for AttemptId {
    type Error = WireError;

    fn try_from(wire: v1::AttemptId) -> Result<Self, WireError> {
        let stage = match v1::Stage::try_from(wire.stage) {
            Ok(v1::Stage::Map) => Stage::Map,
            Ok(v1::Stage::Reduce) => Stage::Reduce,
            Ok(v1::Stage::Unspecified) | Err(_) => {
                return Err(WireError::Unknown { field: "AttemptId.stage", value: wire.stage.to_string() });
            }
        };
        Ok(Self { task: TaskId { stage, index: wire.index }, number: wire.number })
    }
}

impl From<&JobAttempt> for v1::JobAttempt {
    fn from(id: &JobAttempt) -> Self {
        Self { job: id.job.0, attempt: Some((&id.attempt).into()) }
    }
}

impl TryFrom<v1::JobAttempt> for JobAttempt {
    type Error = WireError;

    fn try_from(wire: v1::JobAttempt) -> Result<Self, WireError> {
        let attempt = required("JobAttempt.attempt", wire.attempt)?.try_into()?;
        Ok(Self { job: JobId(wire.job), attempt })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::round_trip;

    #[test]
    fn attempts_travel() {
        for text in ["m-0.0", "r-12.3", "m-4294967295.4294967295"] {
            let attempt: AttemptId = text.parse().expect(text);
            round_trip::<v1::AttemptId, _>(&attempt);
            round_trip::<v1::JobAttempt, _>(&JobAttempt { job: JobId(u64::MAX), attempt });
        }
    }

    #[test]
    fn attempts_without_a_stage_are_refused_by_field() {
        let check = |stage: i32| {
            let wire = v1::AttemptId { stage, index: 1, number: 2 };
            AttemptId::try_from(wire).expect_err("no such stage").to_string()
        };
        assert_eq!(check(0), "field AttemptId.stage has the unknown value \"0\"");
        assert_eq!(check(9), "field AttemptId.stage has the unknown value \"9\"");
        let error = JobAttempt::try_from(v1::JobAttempt::default()).expect_err("no attempt");
        assert_eq!(error, WireError::Missing { field: "JobAttempt.attempt" });
    }
}
