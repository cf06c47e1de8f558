//! What every job's tests share: runs options on in-memory objects through the sequential reference.

use clap::Command;
use gristmill_common::naming::Uri;
use gristmill_common::prelude::*;
use gristmill_common::reference::{ReferenceInput, ReferenceOutput, SidedInput};
use gristmill_common::setup::ShippedPaths;
use gristmill_common::spec::{JobShape, JobSpec};
use gristmill_common::text::LineRule;

/// The rules under which jobs are tried.
pub(crate) fn rules() -> Vec<LineRule> {
    let delimiter = |text: &str| LineRule::Delimiter(text.parse().expect("a delimiter"));
    vec![LineRule::Lf, LineRule::Any, delimiter("\\t"), delimiter(" \\n"), delimiter("ab"), delimiter("\\x0b")]
}

/// The options that a command line gives.
pub(crate) fn parsed<P: Program>(flags: &[&str]) -> P {
    let matches = P::augment_args(Command::new("job").no_binary_name(true)).try_get_matches_from(flags).expect("flags");
    P::from_arg_matches(&matches).expect("options")
}

/// What the job must give with one reduce task.
pub(crate) fn output<P: Program>(program: P, rule: &LineRule, objects: &[(&str, &[u8])]) -> ReferenceOutput {
    let input = ReferenceInput { objects, rule, partitions: 1 };
    program.visit(input).expect("options that can be").expect("no error of user code")
}

/// Runs the options over objects under the default rule and compares the whole output.
pub(crate) fn check<P: Program>(flags: &[&str], objects: &[(&str, &[u8])], expect: &[u8]) {
    let part = output(parsed::<P>(flags), &LineRule::Lf, objects).parts.concat();
    assert_eq!(part.escape_ascii().to_string(), expect.escape_ascii().to_string(), "{flags:?} over {objects:?}");
}

/// What the job must give with one reduce task once it has looked at its inputs, or why it gives
/// nothing. Side inputs, by role, come first.
pub(crate) fn table_output<P: Program>(
    flags: &[&str],
    side: &[(u32, &str, &[u8])],
    objects: &[(&str, &[u8])],
) -> Result<Vec<u8>, String> {
    let mut program = parsed::<P>(flags);
    let uri = |name: &str| format!("/{name}").parse::<Uri>().expect("a path");
    let mut spec = JobSpec::new("job", JobShape::MapReduce, vec![uri("in")], uri("out"));
    // Keeps a join from loading its right side, which is no file here.
    spec.reducers = Some(1);
    let of_role = |role: u32| {
        let main = objects.iter().filter(move |_| role == 0).copied();
        main.chain(side.iter().filter(move |row| row.0 == role).map(|&(_, name, bytes)| (name, bytes)))
    };
    let sample = |role: u32| InputSample {
        role,
        objects: vec![],
        first_record: of_role(role)
            .find(|(_, bytes)| !bytes.is_empty())
            .map(|(name, bytes)| (LineRule::Lf.records(bytes).next().unwrap_or_default().to_vec(), name.to_owned())),
        first_records: of_role(role)
            .find(|(_, bytes)| !bytes.is_empty())
            .map(|(_, bytes)| LineRule::Lf.records(bytes).map(<[u8]>::to_vec).collect())
            .unwrap_or_default(),
        schema: None,
    };
    if program.looks_at_inputs() {
        let samples: Vec<InputSample> = (0..=program.side_inputs().len() as u32).map(sample).collect();
        program.look(&spec, &samples).map_err(|error| error.message)?;
    }
    let input = ReferenceInput { objects, rule: &LineRule::Lf, partitions: 1 };
    let output =
        program.visit(SidedInput { input, side, files: &ShippedPaths::new() }).map_err(|error| error.message)?;
    Ok(output.map_err(|error| error.to_string())?.parts.concat())
}

/// As [`check`], for jobs that look at their inputs.
pub(crate) fn check_table<P: Program>(
    flags: &[&str],
    side: &[(u32, &str, &[u8])],
    objects: &[(&str, &[u8])],
    expect: &[u8],
) {
    let output = table_output::<P>(flags, side, objects).expect("a result");
    assert_eq!(output.escape_ascii().to_string(), expect.escape_ascii().to_string(), "{flags:?}");
}

/// Why the job gives nothing.
pub(crate) fn table_error<P: Program>(
    flags: &[&str],
    side: &[(u32, &str, &[u8])],
    objects: &[(&str, &[u8])],
) -> String {
    table_output::<P>(flags, side, objects).expect_err("no result")
}

/// Checks that the options have a one-line summary for `--help` and that a spec carries them.
pub(crate) fn check_options<P: Program>(flags: &[&str]) {
    let program = parsed::<P>(flags);
    let command = P::augment_args(Command::new("job"));
    let about = command.get_about().expect("a summary").to_string();
    assert!(!about.is_empty() && about.len() <= 80 && !about.contains('\n'), "{about:?}");
    let json = serde_json::to_value(&program).expect("options are JSON");
    assert!(json.is_object(), "{json}");
    let back: P = serde_json::from_value(json.clone()).expect("a spec's options");
    assert_eq!(serde_json::to_value(&back).expect("options are JSON"), json);
}
