//! What attempts report: outputs, counters, statistics, failures.

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as NameError, StrDeserializer};

use super::{WireError, invalid, required, v1};
use crate::counters::Counters;
use crate::failure::{Disposition, Failure, FailureCode, InputPosition};
use crate::task::{AttemptOutput, AttemptReport, AttemptStats, MapOutputSummary, Offer};

/// The wire form of counters, in name order.
pub fn counters_to_wire(counters: &Counters) -> Vec<v1::Counter> {
    counters.iter().map(|(name, value)| v1::Counter { name: name.to_owned(), value }).collect()
}

/// Counters from their wire form; equal names add up.
pub fn counters_from_wire(wire: Vec<v1::Counter>) -> Counters {
    wire.into_iter().map(|counter| (counter.name, counter.value)).collect()
}

impl From<&MapOutputSummary> for v1::MapOutput {
    fn from(output: &MapOutputSummary) -> Self {
        Self { partitions: output.partitions, bytes: output.bytes, content_hash: output.content_hash }
    }
}

impl From<v1::MapOutput> for MapOutputSummary {
    fn from(wire: v1::MapOutput) -> Self {
        Self { partitions: wire.partitions, bytes: wire.bytes, content_hash: wire.content_hash }
    }
}

impl From<&AttemptStats> for v1::AttemptStats {
    fn from(stats: &AttemptStats) -> Self {
        Self {
            input_bytes: stats.input_bytes,
            input_records: stats.input_records,
            output_records: stats.output_records,
            output_bytes: stats.output_bytes,
            spills: stats.spills,
            spilled_bytes: stats.spilled_bytes,
            merge_passes: stats.merge_passes,
            groups: stats.groups,
            wall_micros: stats.wall_micros,
        }
    }
}

impl From<v1::AttemptStats> for AttemptStats {
    fn from(wire: v1::AttemptStats) -> Self {
        Self {
            input_bytes: wire.input_bytes,
            input_records: wire.input_records,
            output_records: wire.output_records,
            output_bytes: wire.output_bytes,
            spills: wire.spills,
            spilled_bytes: wire.spilled_bytes,
            merge_passes: wire.merge_passes,
            groups: wire.groups,
            wall_micros: wire.wall_micros,
        }
    }
}

impl From<&AttemptReport> for v1::AttemptReport {
    fn from(report: &AttemptReport) -> Self {
        use v1::attempt_report::Output;
        let output = match &report.output {
            AttemptOutput::MapOutput(made) => Output::MapOutput(made.into()),
            AttemptOutput::Part(part) => Output::Part(part.into()),
        };
        Self {
            output: Some(output),
            counters: counters_to_wire(&report.counters),
            stats: Some((&report.stats).into()),
            bad: report.bad.as_deref().map(Into::into),
        }
    }
}

impl TryFrom<v1::AttemptReport> for AttemptReport {
    type Error = WireError;

    fn try_from(wire: v1::AttemptReport) -> Result<Self, WireError> {
        use v1::attempt_report::Output;
        let output = match required("AttemptReport.output", wire.output)? {
            Output::MapOutput(made) => AttemptOutput::MapOutput(made.into()),
            Output::Part(part) => AttemptOutput::Part(part.try_into()?),
        };
        let stats = required("AttemptReport.stats", wire.stats)?.into();
        let bad = wire.bad.map(TryInto::try_into).transpose()?.map(Box::new);
        Ok(Self { output, counters: counters_from_wire(wire.counters), stats, bad })
    }
}

impl From<&Failure> for v1::Failure {
    fn from(failure: &Failure) -> Self {
        let position = failure.position.as_ref();
        Self {
            code: failure.code.to_string(),
            disposition: disposition_name(failure.disposition).to_owned(),
            message: failure.message.clone(),
            position: position.map(Into::into),
            lost_outputs: failure.lost_outputs.iter().map(Into::into).collect(),
            task: failure.task.map(|task| task.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::Failure> for Failure {
    type Error = WireError;

    fn try_from(wire: v1::Failure) -> Result<Self, WireError> {
        Ok(Self {
            code: named::<FailureCode>("Failure.code", &wire.code)?,
            disposition: named::<Disposition>("Failure.disposition", &wire.disposition)?,
            message: wire.message,
            position: wire.position.map(Into::into),
            lost_outputs: wire.lost_outputs.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            task: match wire.task.as_str() {
                "" => None,
                task => Some(task.parse().map_err(invalid("Failure.task"))?),
            },
        })
    }
}

impl From<&InputPosition> for v1::InputPosition {
    fn from(position: &InputPosition) -> Self {
        Self { object: position.object.clone(), offset: position.offset }
    }
}

impl From<v1::InputPosition> for InputPosition {
    fn from(wire: v1::InputPosition) -> Self {
        Self { object: wire.object, offset: wire.offset }
    }
}

impl From<&Offer> for v1::Offer {
    fn from(offer: &Offer) -> Self {
        Self { id: Some((&offer.id).into()), content_hash: offer.content_hash }
    }
}

impl TryFrom<v1::Offer> for Offer {
    type Error = WireError;

    fn try_from(wire: v1::Offer) -> Result<Self, WireError> {
        Ok(Self { id: required("Offer.id", wire.id)?.try_into()?, content_hash: wire.content_hash })
    }
}

/// The name that serde gives the disposition.
fn disposition_name(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Retry => "retry",
        Disposition::RetryElsewhere => "retry_elsewhere",
        Disposition::RedoInput => "redo_input",
        Disposition::NotCounted => "not_counted",
        Disposition::Abort => "abort",
    }
}

/// The variant of a plain enum that serde calls `name`.
fn named<'a, T: Deserialize<'a>>(field: &'static str, name: &'a str) -> Result<T, WireError> {
    let names: StrDeserializer<'a, NameError> = name.into_deserializer();
    T::deserialize(names).map_err(|_| WireError::Unknown { field, value: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{JobAttempt, JobId, TaskId};
    use crate::task::{BadRecords, NamedPart, OpenUpload, PartSummary, SentUpload};
    use crate::wire::round_trip;

    const CODES: [FailureCode; 20] = [
        FailureCode::UserError,
        FailureCode::UserPanic,
        FailureCode::ExecutorCrash,
        FailureCode::RecordTimeout,
        FailureCode::OutOfMemory,
        FailureCode::BadRecord,
        FailureCode::RecordTooLarge,
        FailureCode::InputUnreadable,
        FailureCode::InputChanged,
        FailureCode::InputDamaged,
        FailureCode::MapOutputLost,
        FailureCode::SourceUnreachable,
        FailureCode::NondeterministicMap,
        FailureCode::WriteFailed,
        FailureCode::WrongBinary,
        FailureCode::WorkerLost,
        FailureCode::Cancelled,
        FailureCode::CommitFailed,
        FailureCode::NoWorkers,
        FailureCode::ScratchFull,
    ];

    #[test]
    fn every_failure_travels() {
        for code in CODES {
            round_trip::<v1::Failure, _>(&Failure::new(code, "cannot read"));
        }
        let dispositions = [
            Disposition::Retry,
            Disposition::RetryElsewhere,
            Disposition::RedoInput,
            Disposition::NotCounted,
            Disposition::Abort,
        ];
        for disposition in dispositions {
            let position = InputPosition { object: "logs/a.txt".into(), offset: u64::MAX };
            let mut failure = Failure::new(FailureCode::MapOutputLost, "gone").at(position).of_task(TaskId::map(7));
            failure.disposition = disposition;
            failure.lost_outputs = vec!["m-3.1".parse().expect("valid")];
            round_trip::<v1::Failure, _>(&failure);
        }
    }

    #[test]
    fn reports_travel() {
        let stats = AttemptStats {
            input_bytes: 1,
            input_records: 2,
            output_records: 3,
            output_bytes: 4,
            spills: 5,
            spilled_bytes: 6,
            merge_passes: 7,
            groups: 8,
            wall_micros: 9,
        };
        let counters: Counters = [("b", 2), ("a", u64::MAX)].into_iter().collect();
        let made = MapOutputSummary { partitions: 1, bytes: 2, content_hash: u64::MAX };
        let sent = |pieces: usize| {
            let pieces = vec!["\"etag\"".to_owned(); pieces].into();
            Some(Box::new(SentUpload { id: "upload".into(), pieces, checksum: u64::MAX }))
        };
        let part = |names: &[&str]| {
            let named = |name: &&str| {
                let name = name.parse().expect("a name");
                NamedPart { name, bytes: 6, records: 7, checksum: u64::MAX, upload: sent(2) }
            };
            let named = names.iter().map(named).collect();
            PartSummary {
                staged_name: "part-00000.r-0.0".into(),
                bytes: 3,
                records: 4,
                checksum: 5,
                named,
                upload: sent(0),
                left_out: false,
            }
        };
        let outputs = [
            AttemptOutput::MapOutput(MapOutputSummary::default()),
            AttemptOutput::MapOutput(made),
            AttemptOutput::Part(part(&[])),
            AttemptOutput::Part(part(&["b", "a/b=c"])),
        ];
        for output in outputs {
            let bad = Some(Box::new(BadRecords {
                staged_name: "bad-00000.m-0.0".into(),
                records: 2,
                objects: 1,
                bytes: 30,
                upload: sent(1),
            }));
            let report = AttemptReport { output, counters: counters.clone(), stats, bad };
            round_trip::<v1::AttemptReport, _>(&report);
        }
    }

    #[test]
    fn uploads_of_objects_of_an_output_travel_and_no_others() {
        let upload = |object: &str| OpenUpload { object: object.to_owned(), id: "upload".to_owned() };
        for object in ["part-00000", "a/b=c/part-00000", "_bad/part-m-00000.jsonl"] {
            round_trip::<v1::OpenUpload, _>(&upload(object));
        }
        for object in ["", "_SUCCESS", "../part-00000", "a//part-00000", "_gristmill.claim", "_x/part-00000", "a/b"] {
            let error = OpenUpload::try_from(v1::OpenUpload::from(&upload(object))).expect_err(object).to_string();
            assert!(error.contains("is no object of an output"), "{error}");
        }
    }

    #[test]
    fn offers_travel() {
        let id = JobAttempt { job: JobId(1), attempt: "m-3.1".parse().expect("valid") };
        for content_hash in [None, Some(0), Some(u64::MAX)] {
            round_trip::<v1::Offer, _>(&Offer { id, content_hash });
        }
    }

    #[test]
    fn malformed_reports_are_refused_by_field() {
        let failure = v1::Failure { code: "WHATEVER".into(), ..Default::default() };
        let error = Failure::try_from(failure).expect_err("no such code").to_string();
        assert_eq!(error, "field Failure.code has the unknown value \"WHATEVER\"");
        let error = AttemptReport::try_from(v1::AttemptReport::default()).expect_err("no output");
        assert_eq!(error, WireError::Missing { field: "AttemptReport.output" });
    }
}
