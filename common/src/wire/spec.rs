//! The job spec. Conversion checks the form of each field; whether a job can run with the values is
//! for [`JobSpec::validate`].

use std::str::FromStr;
use std::time::Duration;

use super::{WireError, invalid, required, v1};
use crate::naming::Uri;
use crate::partition::Partitioning;
use crate::size::ByteSize;
use crate::spec::{JobShape, JobSpec, OnBadFile, OutputFormat, Share, ShippedFile, SideInput, StoreOptions};
use crate::text::{Delimiter, LineRule};

impl From<&LineRule> for v1::LineRule {
    fn from(rule: &LineRule) -> Self {
        use v1::line_rule::Rule;
        let rule = match rule {
            LineRule::Lf => Rule::Lf(true),
            LineRule::Any => Rule::Any(true),
            LineRule::Quoted => Rule::Quoted(true),
            LineRule::Delimiter(delimiter) => Rule::Delimiter(delimiter.bytes().to_vec()),
        };
        Self { rule: Some(rule) }
    }
}

impl TryFrom<v1::LineRule> for LineRule {
    type Error = WireError;

    fn try_from(wire: v1::LineRule) -> Result<Self, WireError> {
        use v1::line_rule::Rule;
        Ok(match required("LineRule.rule", wire.rule)? {
            Rule::Lf(_) => LineRule::Lf,
            Rule::Any(_) => LineRule::Any,
            Rule::Quoted(_) => LineRule::Quoted,
            Rule::Delimiter(bytes) => {
                LineRule::Delimiter(Delimiter::try_from(bytes).map_err(invalid("LineRule.delimiter"))?)
            }
        })
    }
}

/// What stands in place of a hash function's version if keys are divided by splitters: a peer that
/// does not know splitters refuses it.
const RANGES: u32 = 2;

impl From<&StoreOptions> for v1::StoreOptions {
    fn from(store: &StoreOptions) -> Self {
        Self { endpoint: store.endpoint.clone(), region: store.region.clone(), anonymous: store.anonymous }
    }
}

impl From<v1::StoreOptions> for StoreOptions {
    fn from(wire: v1::StoreOptions) -> Self {
        Self { endpoint: wire.endpoint, region: wire.region, anonymous: wire.anonymous }
    }
}

impl From<&JobSpec> for v1::JobSpec {
    fn from(spec: &JobSpec) -> Self {
        let shape = match spec.shape {
            JobShape::MapReduce => v1::JobShape::MapReduce,
            JobShape::MapOnly => v1::JobShape::MapOnly,
        };
        Self {
            job: spec.job.clone(),
            options_json: spec.options.to_string(),
            shape: shape.into(),
            inputs: spec.inputs.iter().cloned().map(String::from).collect(),
            side_inputs: spec.side_inputs.iter().map(Into::into).collect(),
            files: spec.files.iter().map(Into::into).collect(),
            output: spec.output.clone().into(),
            overwrite: spec.overwrite,
            reducers: spec.reducers,
            split_bytes: spec.split_size.bytes(),
            line_rule: Some((&spec.line_rule).into()),
            attempt_bytes: spec.attempt_bytes.bytes(),
            max_attempts: spec.max_attempts,
            speculation: spec.speculation,
            fsync: spec.fsync,
            require_deterministic: spec.require_deterministic,
            max_bad_records: spec.max_bad_records,
            record_timeout_ms: u64::try_from(spec.record_timeout.as_millis()).unwrap_or(u64::MAX),
            share: Some(v1::Share {
                weight: spec.share.weight,
                min_slots: spec.share.min_slots,
                priority: spec.share.priority,
            }),
            partitioner: match spec.partitioning {
                Partitioning::Hash { version } => version,
                Partitioning::Range { .. } => RANGES,
            },
            splitters: match &spec.partitioning {
                Partitioning::Hash { .. } => Vec::new(),
                Partitioning::Range { splitters } => splitters.clone(),
            },
            store: Some(&spec.store).filter(|store| !store.is_default()).map(Into::into),
            input_form: spec.input_form.map(|form| form.to_string()),
            skip_bad_files: spec.on_bad_file == OnBadFile::Skip,
            output_format: spec.output_format.map(|format| format.name().to_owned()),
            output_compression: spec.output_compression.map(|codec| codec.to_string()),
            part_bytes: spec.part_size.map(ByteSize::bytes),
        }
    }
}

impl TryFrom<v1::JobSpec> for JobSpec {
    type Error = WireError;

    fn try_from(wire: v1::JobSpec) -> Result<Self, WireError> {
        let shape = match v1::JobShape::try_from(wire.shape) {
            Ok(v1::JobShape::MapReduce) => JobShape::MapReduce,
            Ok(v1::JobShape::MapOnly) => JobShape::MapOnly,
            Ok(v1::JobShape::Unspecified) | Err(_) => {
                return Err(WireError::Unknown { field: "JobSpec.shape", value: wire.shape.to_string() });
            }
        };
        let inputs = wire.inputs.iter().map(|text| uri("JobSpec.inputs", text)).collect::<Result<_, _>>()?;
        Ok(Self {
            job: wire.job,
            options: options(&wire.options_json)?,
            shape,
            inputs,
            side_inputs: wire.side_inputs.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            files: wire.files.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            output: uri("JobSpec.output", &wire.output)?,
            overwrite: wire.overwrite,
            reducers: wire.reducers,
            split_size: ByteSize(wire.split_bytes),
            line_rule: required("JobSpec.line_rule", wire.line_rule)?.try_into()?,
            attempt_bytes: ByteSize(wire.attempt_bytes),
            max_attempts: wire.max_attempts,
            speculation: wire.speculation,
            fsync: wire.fsync,
            require_deterministic: wire.require_deterministic,
            max_bad_records: wire.max_bad_records,
            record_timeout: Duration::from_millis(wire.record_timeout_ms),
            share: wire.share.map_or_else(Share::default, |share| Share {
                weight: share.weight,
                min_slots: share.min_slots,
                priority: share.priority,
            }),
            partitioning: match wire.partitioner {
                RANGES => Partitioning::Range { splitters: wire.splitters },
                version => Partitioning::Hash { version },
            },
            store: wire.store.map(Into::into).unwrap_or_default(),
            input_form: named("JobSpec.input_form", wire.input_form)?,
            on_bad_file: if wire.skip_bad_files { OnBadFile::Skip } else { OnBadFile::Fail },
            output_format: wire.output_format.as_deref().map(output_format).transpose()?,
            output_compression: named("JobSpec.output_compression", wire.output_compression)?,
            part_size: wire.part_bytes.map(ByteSize),
        })
    }
}

impl From<&SideInput> for v1::SideInput {
    fn from(side: &SideInput) -> Self {
        Self { role: side.role, uri: side.uri.clone().into(), mapped: side.mapped }
    }
}

impl TryFrom<v1::SideInput> for SideInput {
    type Error = WireError;

    fn try_from(wire: v1::SideInput) -> Result<Self, WireError> {
        Ok(Self { role: wire.role, uri: uri("SideInput.uri", &wire.uri)?, mapped: wire.mapped })
    }
}

impl From<&ShippedFile> for v1::ShippedFile {
    fn from(file: &ShippedFile) -> Self {
        Self { name: file.name.clone(), sha256: file.content.to_string() }
    }
}

impl TryFrom<v1::ShippedFile> for ShippedFile {
    type Error = WireError;

    fn try_from(wire: v1::ShippedFile) -> Result<Self, WireError> {
        Ok(Self { name: wire.name, content: wire.sha256.parse().map_err(invalid("ShippedFile.sha256"))? })
    }
}

/// Parses an absolute URI. A plain path is refused: it would mean another file in another folder.
pub(super) fn uri(field: &'static str, text: &str) -> Result<Uri, WireError> {
    if !text.contains("://") {
        return Err(WireError::Invalid { field, reason: format!("{text:?} is not an absolute URI") });
    }
    text.parse().map_err(invalid(field))
}

fn named<T: FromStr>(field: &'static str, name: Option<String>) -> Result<Option<T>, WireError>
where
    T::Err: std::fmt::Display,
{
    name.map(|name| name.parse().map_err(invalid(field))).transpose()
}

fn output_format(name: &str) -> Result<OutputFormat, WireError> {
    let known = [OutputFormat::Csv, OutputFormat::Json, OutputFormat::Parquet];
    let unknown = || WireError::Unknown { field: "JobSpec.output_format", value: name.to_owned() };
    known.into_iter().find(|format| format.name() == name).ok_or_else(unknown)
}

fn options(json: &str) -> Result<serde_json::Value, WireError> {
    let field = "JobSpec.options_json";
    let options: serde_json::Value = serde_json::from_str(json).map_err(invalid(field))?;
    if !options.is_object() {
        return Err(WireError::Invalid { field, reason: "not a JSON object".to_owned() });
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::form::{Codec, Form};
    use crate::ids::ContentId;
    use crate::wire::round_trip;

    fn sample() -> JobSpec {
        let uri = |text: &str| text.parse().expect(text);
        let inputs = vec![uri("/data/a b%20.txt"), uri("s3://bucket/logs/*.gz")];
        let mut spec = JobSpec::new("word-count", JobShape::MapReduce, inputs, uri("/out"));
        spec.options = serde_json::json!({"top": 10, "pattern": "\u{0}é", "nested": {"a": [1, null]}});
        spec
    }

    #[test]
    fn specs_travel() {
        round_trip::<v1::JobSpec, _>(&sample());
        let delimiter = LineRule::Delimiter("\\x00é|".parse().expect("valid"));
        for line_rule in [LineRule::Lf, LineRule::Any, LineRule::Quoted, delimiter] {
            round_trip::<v1::LineRule, _>(&line_rule);
            let shape = JobShape::MapOnly;
            let (overwrite, fsync, speculation) = (true, true, false);
            let reducers = Some(7);
            round_trip::<v1::JobSpec, _>(&JobSpec {
                line_rule,
                shape,
                side_inputs: vec![SideInput { role: 1, uri: "/data/right.csv".parse().expect("a path"), mapped: true }],
                files: vec![ShippedFile { name: "stop words.txt".to_owned(), content: ContentId([0xa7; 32]) }],
                overwrite,
                fsync,
                speculation,
                require_deterministic: true,
                max_bad_records: 3,
                record_timeout: Duration::from_millis(1500),
                share: Share { weight: 3, min_slots: 2, priority: -1 },
                reducers,
                split_size: ByteSize(1),
                attempt_bytes: ByteSize(u64::MAX),
                max_attempts: 9,
                partitioning: Partitioning::Hash { version: 77 },
                store: StoreOptions {
                    endpoint: Some("http://127.0.0.1:9000".to_owned()),
                    region: Some("eu-north-1".to_owned()),
                    anonymous: true,
                },
                input_form: Some(Form::Parquet),
                on_bad_file: OnBadFile::Skip,
                output_format: Some(OutputFormat::Json),
                output_compression: Some(Codec::Bzip2),
                part_size: Some(ByteSize(5)),
                ..sample()
            });
        }
        for splitters in [vec![], vec![b"".to_vec(), b"\x00\xff".to_vec()]] {
            let partitioning = Partitioning::Range { splitters };
            round_trip::<v1::JobSpec, _>(&JobSpec { partitioning, ..sample() });
        }
    }

    #[test]
    fn malformed_specs_are_refused_by_field() {
        let check = |spoil: fn(&mut v1::JobSpec), expect: &str| {
            let mut wire = v1::JobSpec::from(&sample());
            spoil(&mut wire);
            let error = JobSpec::try_from(wire).expect_err(expect).to_string();
            assert!(error.starts_with(expect), "{error}");
        };
        check(|wire| wire.shape = 0, "field JobSpec.shape has the unknown value \"0\"");
        check(|wire| wire.options_json = "[1]".into(), "field JobSpec.options_json is not valid: not a JSON object");
        check(|wire| wire.options_json.clear(), "field JobSpec.options_json is not valid: ");
        check(|wire| wire.inputs[1] = "logs".into(), "field JobSpec.inputs is not valid: \"logs\" is not an");
        let relative =
            |wire: &mut v1::JobSpec| wire.side_inputs = vec![v1::SideInput { uri: "x".into(), ..Default::default() }];
        check(relative, "field SideInput.uri is not valid: \"x\" is not an");
        check(|wire| wire.output = "ftp://x/y".into(), "field JobSpec.output is not valid: unknown scheme");
        check(|wire| wire.line_rule = None, "field JobSpec.line_rule is missing");
        check(|wire| wire.line_rule = Some(v1::LineRule { rule: None }), "field LineRule.rule is missing");
        let empty = |wire: &mut v1::JobSpec| {
            wire.line_rule = Some(v1::LineRule { rule: Some(v1::line_rule::Rule::Delimiter(vec![])) });
        };
        check(empty, "field LineRule.delimiter is not valid: a delimiter needs");
    }
}
