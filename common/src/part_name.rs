//! Names of the parts that a task writes beside its first one: those of named outputs, and further ones where a part
//! has the size that the job asks for. Touches no storage.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::naming::further_part_file_name;
use crate::output_name::{OutputName, OutputNameError};

/// What stands before the number of a further part, in text. No output has a component that begins so.
const FURTHER: &str = "part-";

/// A part of a task beside its first one: of which output it is, and which one there.
///
/// As text it is the output's name, behind which a further part has its number: `a/b`, `a/b/part-1`, and `part-1` for
/// one of the main output. What the files of parts are called is told by [`part_path`](Self::part_path).
///
/// # Examples
///
/// ```
/// use gristmill_common::part_name::PartName;
///
/// let name: PartName = "country=DE/part-2".parse()?;
/// assert_eq!(name.part_path(3, ".gz"), "country=DE/part-00003_00002.gz");
/// # Ok::<(), gristmill_common::output_name::OutputNameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PartName {
    /// The named output; `None` for the main one.
    output: Option<OutputName>,
    /// Which part it is there: 0 is the first one.
    number: u32,
}

impl PartName {
    /// The part that the task begins after its first one of the main output.
    pub const SECOND: PartName = PartName { output: None, number: 1 };

    /// The name of the part that comes behind this one.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { output: self.output.clone(), number: self.number.saturating_add(1) }
    }

    /// The named output; `None` for the main one.
    pub fn output(&self) -> Option<&str> {
        self.output.as_ref().map(OutputName::as_str)
    }

    /// Which part of its output it is, of those that its task writes; 0 is the first one.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The path of the part of task `index`, relative to the job's output, whose parts have this ending. In the order
    /// of paths, the parts of one output are in the order in which their task wrote them.
    pub fn part_path(&self, index: u32, ending: &str) -> String {
        let file = further_part_file_name(index, self.number, ending);
        self.output().map_or(file.clone(), |output| format!("{output}/{file}"))
    }

    /// The folders that it lies in, relative to the job's output, topmost first.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.output.iter().flat_map(OutputName::folders)
    }
}

/// The first part of a named output.
impl From<OutputName> for PartName {
    fn from(output: OutputName) -> Self {
        Self { output: Some(output), number: 0 }
    }
}

impl FromStr for PartName {
    type Err = OutputNameError;

    /// Refuses what [`fmt::Display`] does not write.
    fn from_str(text: &str) -> Result<Self, OutputNameError> {
        let (output, last) = text.rsplit_once('/').map_or((None, text), |(output, last)| (Some(output), last));
        let number = last.strip_prefix(FURTHER).and_then(|number| number.parse::<u32>().ok());
        match number.filter(|number| *number > 0 && last.len() == format!("{FURTHER}{number}").len()) {
            Some(number) => Ok(Self { output: output.map(str::parse).transpose()?, number }),
            None => text.parse().map(|output: OutputName| output.into()),
        }
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.output, self.number) {
            (Some(output), 0) => write!(f, "{output}"),
            (Some(output), number) => write!(f, "{output}/{FURTHER}{number}"),
            (None, number) => write!(f, "{FURTHER}{number}"),
        }
    }
}

impl TryFrom<String> for PartName {
    type Error = OutputNameError;

    fn try_from(text: String) -> Result<Self, OutputNameError> {
        text.parse()
    }
}

impl From<PartName> for String {
    fn from(name: PartName) -> String {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_outputs_and_may_have_a_number_behind() {
        let check = |text: &str, output: Option<&str>, number: u32, path: &str| {
            let name: PartName = text.parse().expect(text);
            assert_eq!((name.output(), name.number()), (output, number), "{text}");
            assert_eq!((name.to_string(), name.part_path(7, ".gz")), (text.to_owned(), path.to_owned()));
        };
        check("a/b=c", Some("a/b=c"), 0, "a/b=c/part-00007.gz");
        check("a/part-1", Some("a"), 1, "a/part-00007_00001.gz");
        check("part-12", None, 12, "part-00007_00012.gz");
        assert_eq!(PartName::SECOND.to_string(), "part-1");
        assert_eq!(PartName::SECOND.next().folders().count(), 0);
        for text in ["", "part-", "part-0", "part-01", "part-+1", "part-x", "part-4294967296", "part-1/a", "a//part-1"]
        {
            assert!(text.parse::<PartName>().is_err(), "{text}");
        }
    }

    #[test]
    fn files_are_in_the_order_in_which_they_are_written() {
        for ending in ["", ".gz", ".jsonl.zst"] {
            let first = "part-00007".to_owned() + ending;
            let second = PartName::SECOND.part_path(7, ending);
            let third = PartName::SECOND.next().part_path(7, ending);
            let other = "part-00008".to_owned() + ending;
            assert!(first < second && second < third && third < other, "{first} {second} {third} {other}");
        }
    }
}
