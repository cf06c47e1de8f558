//! What every job's tests share: runs options on in-memory objects through the sequential reference.

use clap::Command;
use gristmill_common::prelude::*;
use gristmill_common::reference::{ReferenceInput, ReferenceOutput};
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
