//! One newtype per identity. `Display` is the form used in logs, paths, the command line and the
//! UI, and every id parses back from it. This file knows nothing of what the ids stand for.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Text that is not the `Display` form of an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct ParseIdError {
    /// What was given.
    pub text: String,
    /// The form that was expected, with an example.
    pub expected: &'static str,
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal, $format:literal, $parse:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, $format), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let parse: fn(&str) -> Result<$inner, ParseIntError> = $parse;
                text.strip_prefix($prefix)
                    .filter(|digits| !digits.starts_with('+'))
                    .and_then(|digits| parse(digits).ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError { text: text.to_owned(), expected: $expected })
            }
        }
    };
}

number_id! {
    /// One run of a job spec. Unique for ever: seconds since 1970 in the upper 32 bits, random bits below.
    JobId(u64), "j-", "{:012x}", |digits| u64::from_str_radix(digits, 16), "a job id such as j-68ff1a2b3c4d"
}
number_id! {
    /// A worker process as people name it; stays the same when it restarts on the same folder.
    WorkerId(u32), "w-", "{}", |digits| digits.parse(), "a worker id such as w-3"
}
number_id! {
    /// One registration of a worker process with one master epoch; a restart is a new session.
    SessionId(u64), "s-", "{}", |digits| digits.parse(), "a session id such as s-17"
}
number_id! {
    /// Fencing token of masters: grows each time a master takes over; lower ones are refused.
    MasterEpoch(u64), "e-", "{}", |digits| digits.parse(), "a master epoch such as e-2"
}

impl JobId {
    /// Builds an id from the second of submission and 16 random bits.
    pub fn new(unix_secs: u64, random: u16) -> Self {
        Self((unix_secs & 0xffff_ffff) << 16 | u64::from(random))
    }
}

/// What a file holds, by its SHA-256: files with the same id have the same bytes. Written as 64
/// hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentId(pub [u8; 32]);

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ContentId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let bad = || ParseIdError { text: text.to_owned(), expected: "a SHA-256 of 64 hexadecimal digits" };
        let digits = text.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return Err(bad());
        }
        let digit = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8).ok_or_else(bad);
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for ContentId {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

impl From<ContentId> for String {
    fn from(id: ContentId) -> Self {
        id.to_string()
    }
}

/// The map or the reduce half of one MapReduce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Reads splits.
    Map,
    /// Reads partitions.
    Reduce,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Map => "map",
            Stage::Reduce => "reduce",
        })
    }
}

/// Unit of scheduling inside a job: stage and index, both fixed by the plan. `m-12`, `r-0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// Which half of the MapReduce.
    pub stage: Stage,
    /// Position in the plan: map tasks in split order, reduce tasks by partition.
    pub index: u32,
}

impl TaskId {
    /// Map task `index`.
    pub fn map(index: u32) -> Self {
        Self { stage: Stage::Map, index }
    }

    /// Reduce task of partition `index`.
    pub fn reduce(index: u32) -> Self {
        Self { stage: Stage::Reduce, index }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.stage {
            Stage::Map => 'm',
            Stage::Reduce => 'r',
        };
        write!(f, "{letter}-{}", self.index)
    }
}

impl FromStr for TaskId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parsed = text.split_once('-').and_then(|(letter, digits)| {
            let index = digits.parse().ok().filter(|_| !digits.starts_with('+'))?;
            match letter {
                "m" => Some(TaskId::map(index)),
                "r" => Some(TaskId::reduce(index)),
                _ => None,
            }
        });
        parsed.ok_or_else(|| ParseIdError { text: text.to_owned(), expected: "a task id such as m-12 or r-0" })
    }
}

/// One execution of a task on one worker. Its number is never used again for that task. `m-12.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The task executed.
    pub task: TaskId,
    /// Counts up from 0 for each attempt of the task, whatever became of the earlier ones.
    pub number: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.number)
    }
}

impl FromStr for AttemptId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parsed = text.split_once('.').and_then(|(task, number)| {
            let number = number.parse().ok().filter(|_| !number.starts_with('+'))?;
            Some(AttemptId { task: task.parse().ok()?, number })
        });
        parsed.ok_or_else(|| ParseIdError { text: text.to_owned(), expected: "an attempt id such as m-12.0" })
    }
}

/// An attempt together with its job: what a worker that serves several jobs needs to name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobAttempt {
    /// The job.
    pub job: JobId,
    /// The attempt of one of its tasks.
    pub attempt: AttemptId,
}

impl fmt::Display for JobAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job, self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr<Err = ParseIdError> + fmt::Display + PartialEq + fmt::Debug>(id: T, text: &str) {
        assert_eq!(id.to_string(), text);
        assert_eq!(text.parse::<T>(), Ok(id));
    }

    #[test]
    fn every_id_parses_back_from_its_display_form() {
        check(JobId::new(0x68ff_1a2b, 0x3c4d), "j-68ff1a2b3c4d");
        check(WorkerId(3), "w-3");
        check(SessionId(17), "s-17");
        check(MasterEpoch(2), "e-2");
        check(TaskId::map(12), "m-12");
        check(TaskId::reduce(0), "r-0");
        check(AttemptId { task: TaskId::map(12), number: 4 }, "m-12.4");
    }

    #[test]
    fn other_text_is_refused_with_an_example() {
        for text in ["", "m", "x-1", "m-", "m-+1", "m--1", "m-1.", "m-99999999999"] {
            assert!(text.parse::<AttemptId>().is_err(), "{text}");
            assert!(text.parse::<TaskId>().is_err(), "{text}");
        }
        let error = "3".parse::<WorkerId>().expect_err("no prefix");
        assert_eq!(error.to_string(), "\"3\" is not a worker id such as w-3");
    }
}
