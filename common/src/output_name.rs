//! Names of the outputs that a job has beside its main one: which there can be. Touches no storage.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::naming::{BAD_DIR, is_hidden};

/// The most components of a name.
pub const MAX_COMPONENTS: usize = 8;

/// The most bytes of one component: what file systems take.
pub const MAX_COMPONENT_BYTES: usize = 255;

/// The most named outputs that one attempt puts records to. Raised, a report and a journal record may
/// become larger; lowered, jobs that divide their records finely need more reduce tasks.
pub const MAX_NAMES: usize = 10_000;

/// The most bytes of all names that one attempt uses, for the same reasons.
pub const MAX_NAMES_BYTES: usize = 1 << 20;

/// What parts begin with.
const PART: &str = "part-";

/// How much of a refused name is shown.
const SHOWN_CHARS: usize = 80;

/// The name of an output beside the job's main one: the folder of its parts, relative to the job's output.
///
/// One to [`MAX_COMPONENTS`] components of 1 to [`MAX_COMPONENT_BYTES`] bytes, separated by `/`, without
/// control characters. None begins with `_`, `.` or `part-`: so no named output can meet a part, the
/// manifest, skipped records, or a part of another one, even where one name continues another (`a` and
/// `a/b`).
///
/// # Examples
///
/// ```
/// use gristmill_common::output_name::OutputName;
///
/// let name: OutputName = "country=DE/year=2026".parse()?;
/// assert_eq!(name.folders().last(), Some("country=DE/year=2026"));
/// assert!("part-00000".parse::<OutputName>().is_err());
/// # Ok::<(), gristmill_common::output_name::OutputNameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OutputName(Box<str>);

/// Whether an attempt of a job could have made what lies under a path relative to the job's output: a
/// part, one of a named output, or skipped records.
pub fn is_object_of_output(path: &str) -> bool {
    match path.rsplit_once('/') {
        None => path.starts_with(PART),
        Some((folder, name)) => name.starts_with(PART) && (folder == BAD_DIR || OutputName::check(folder).is_ok()),
    }
}

/// Text that cannot name an output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown:?} cannot be the name of an output: {rule}")]
pub struct OutputNameError {
    /// What was given, or how it begins.
    pub shown: String,
    /// What it breaks.
    pub rule: NameRule,
}

/// What names keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameRule {
    /// No empty component.
    #[error("a component is empty (components are separated by one /)")]
    NotEmpty,
    /// No component of more than [`MAX_COMPONENT_BYTES`].
    #[error("a component has more than {MAX_COMPONENT_BYTES} bytes")]
    Short,
    /// At most [`MAX_COMPONENTS`].
    #[error("it has more than {MAX_COMPONENTS} components")]
    Shallow,
    /// No component that begins like the files of an output.
    #[error("a component begins with _, . or part-, and two outputs could have one path")]
    NotReserved,
    /// No control characters.
    #[error("it has a control character")]
    Printable,
}

impl OutputName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folders that its parts lie in, relative to the job's output, topmost first.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        let ends = self.0.match_indices('/').map(|(at, _)| at).chain([self.0.len()]);
        ends.map(|end| &self.0[..end])
    }

    fn check(text: &str) -> Result<(), NameRule> {
        for (index, component) in text.split('/').enumerate() {
            if index == MAX_COMPONENTS {
                return Err(NameRule::Shallow);
            }
            if component.is_empty() {
                return Err(NameRule::NotEmpty);
            }
            if component.len() > MAX_COMPONENT_BYTES {
                return Err(NameRule::Short);
            }
            if is_hidden(component) || component.starts_with(PART) {
                return Err(NameRule::NotReserved);
            }
        }
        if text.chars().any(char::is_control) { Err(NameRule::Printable) } else { Ok(()) }
    }
}

impl FromStr for OutputName {
    type Err = OutputNameError;

    fn from_str(text: &str) -> Result<Self, OutputNameError> {
        match Self::check(text) {
            Ok(()) => Ok(Self(text.into())),
            Err(rule) => Err(OutputNameError { shown: text.chars().take(SHOWN_CHARS).collect(), rule }),
        }
    }
}

impl fmt::Display for OutputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names hash and compare as their text.
impl Borrow<str> for OutputName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for OutputName {
    type Error = OutputNameError;

    fn try_from(text: String) -> Result<Self, OutputNameError> {
        text.parse()
    }
}

impl From<OutputName> for String {
    fn from(name: OutputName) -> String {
        name.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_that_meet_no_other() {
        let longest = vec!["x".repeat(MAX_COMPONENT_BYTES); MAX_COMPONENTS].join("/");
        for text in ["a", "a/b", "country=DE/year=2026", "a.b", "a_b", "apart-1", "é è", "*[x]?", longest.as_str()] {
            let name: OutputName = text.parse().expect(text);
            assert_eq!(name.as_str(), text);
        }
        let check = |text: &str, rule: NameRule| {
            assert_eq!(text.parse::<OutputName>().map_err(|error| error.rule), Err(rule), "{text:?}");
        };
        for text in ["", "/", "/a", "a/", "a//b"] {
            check(text, NameRule::NotEmpty);
        }
        for text in [".", "..", "a/../b", ".hidden", "_bad", "_SUCCESS", "a/_b", "part-00000", "a/part-", "part-x/a"] {
            check(text, NameRule::NotReserved);
        }
        check(&"x".repeat(MAX_COMPONENT_BYTES + 1), NameRule::Short);
        check(&"é".repeat(MAX_COMPONENT_BYTES / 2 + 1), NameRule::Short);
        check(&["x"; MAX_COMPONENTS + 1].join("/"), NameRule::Shallow);
        for text in ["a\0", "a\nb", "a/\u{7f}", "\u{85}"] {
            check(text, NameRule::Printable);
        }
    }

    #[test]
    fn a_refusal_names_what_was_given_and_the_rule() {
        let refusal = |text: &str| text.parse::<OutputName>().expect_err(text).to_string();
        let reserved = "a component begins with _, . or part-, and two outputs could have one path";
        assert_eq!(refusal("a/part-1"), format!("\"a/part-1\" cannot be the name of an output: {reserved}"));
        assert_eq!(refusal("a\n"), "\"a\\n\" cannot be the name of an output: it has a control character");
        assert!(refusal(&"x".repeat(1 << 20)).len() < 200);
    }

    #[test]
    fn folders_come_topmost_first() {
        let name: OutputName = "a/b=c/d".parse().expect("a name");
        assert_eq!(name.folders().collect::<Vec<_>>(), ["a", "a/b=c", "a/b=c/d"]);
    }
}
