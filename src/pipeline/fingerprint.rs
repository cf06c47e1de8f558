//! What the result of a pipeline depends on: if all of it is as it was, what is done need not be done
//! again.

use gristmill_common::ids::ContentId;
use gristmill_common::spec::{DEFAULT_MAX_ATTEMPTS, DEFAULT_RECORD_TIMEOUT, JobSpec, Share};
use gristmill_common::storage::{InputError, Stores, content_of, list_inputs};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything that a pipeline's intermediate data follows from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    /// The SHA-256 of the binary.
    binary: String,
    /// The pipeline and its options.
    options: Value,
    /// The general flags, those left out that change no record.
    flags: Value,
    /// The SHA-256 of the list of input objects as they are now.
    inputs: String,
}

impl Fingerprint {
    /// Of a pipeline of this binary with these options, whose stages have the settings of `spec` and read
    /// its inputs.
    ///
    /// # Errors
    ///
    /// If the inputs cannot be listed.
    pub(crate) fn of(binary: ContentId, options: Value, spec: &JobSpec, stores: &Stores) -> Result<Self, InputError> {
        let stores = stores.with_options(&spec.store);
        let objects = serde_json::to_vec(&list_inputs(&spec.inputs, &stores)?).expect("objects are plain data");
        let (inputs, _) = content_of(objects.as_slice()).expect("memory can be read");
        let flags = JobSpec {
            options: Value::Null,
            overwrite: false,
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            speculation: true,
            require_deterministic: false,
            record_timeout: DEFAULT_RECORD_TIMEOUT,
            share: Share::default(),
            fsync: false,
            ..spec.clone()
        };
        let flags = serde_json::to_value(flags).expect("specs are plain data");
        Ok(Self { binary: binary.to_string(), options, flags, inputs: inputs.to_string() })
    }

    /// What differs, in words; `None` if nothing does.
    pub(crate) fn difference(&self, other: &Self) -> Option<&'static str> {
        let differs = [
            (self.binary != other.binary, "the program"),
            (self.options != other.options, "the options"),
            (self.flags != other.flags, "the flags"),
            (self.inputs != other.inputs, "the input"),
        ];
        differs.into_iter().find_map(|(differs, what)| differs.then_some(what))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use gristmill_common::naming::Uri;
    use gristmill_common::spec::JobShape;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changes_the_result_differs_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let input = dir.path().join("in.txt");
        fs::write(&input, "one\n").expect("written");
        let spec = JobSpec::new(
            "x",
            JobShape::MapReduce,
            vec![Uri::from_path(&input)],
            Uri::from_path(&dir.path().join("out")),
        );
        let [one, two] = [[1; 32], [2; 32]].map(ContentId);
        let of = |binary, options, spec: &JobSpec| {
            Fingerprint::of(binary, options, spec, &Stores::without_environment()).expect("listed")
        };
        let first = of(one, json!({ "n": 1 }), &spec);
        let same = JobSpec { max_attempts: 1, fsync: true, overwrite: true, ..spec.clone() };
        assert_eq!(first.difference(&of(one, json!({ "n": 1 }), &same)), None);
        assert_eq!(first.difference(&of(two, json!({ "n": 1 }), &spec)), Some("the program"));
        assert_eq!(first.difference(&of(one, json!({ "n": 2 }), &spec)), Some("the options"));
        let other = JobSpec { reducers: Some(3), ..spec.clone() };
        assert_eq!(first.difference(&of(one, json!({ "n": 1 }), &other)), Some("the flags"));
        fs::write(&input, "one\ntwo\n").expect("written");
        assert_eq!(first.difference(&of(one, json!({ "n": 1 }), &spec)), Some("the input"));
    }
}
