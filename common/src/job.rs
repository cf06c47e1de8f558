//! What a job author writes: [`MapReduce`], or the smaller [`MapOnly`], and what their functions are
//! handed. Nothing here knows how records are stored, sorted or moved.

use std::fmt;

use crate::combine::Combine;
use crate::datum::{Datum, Value};
use crate::input::{Block, Input};
use crate::key::{Key, KeyError};
use crate::output::Output;
use crate::partition::EncodedKey;
use crate::setup::TaskContext;
pub use crate::values::{KeptRoom, KeptValues, ValueSource, Values, ValuesFailure};

/// What user code returns: its own error of any type, by `?`, or the engine's, passed on.
pub type Result<T, E = JobError> = std::result::Result<T, E>;

/// Why a job's function gave up.
///
/// Not an [`std::error::Error`] itself, so that `?` turns every error into one.
#[derive(Debug)]
pub struct JobError(Reason);

#[derive(Debug)]
enum Reason {
    User(Box<dyn std::error::Error + Send + Sync>),
    Interrupted,
}

impl JobError {
    /// An error with this message.
    ///
    /// # Examples
    ///
    /// ```
    /// use gristmill_common::job::{JobError, Result};
    ///
    /// fn port(text: &str) -> Result<u16> {
    ///     text.parse().map_err(|_| JobError::new(format!("{text:?} is not a port")))
    /// }
    /// assert_eq!(port("x").unwrap_err().to_string(), "\"x\" is not a port");
    /// ```
    pub fn new(message: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Reason::User(message.into()))
    }

    /// For engines: the real reason is kept elsewhere and user code only has to return.
    pub fn interrupted() -> Self {
        Self(Reason::Interrupted)
    }

    /// The error of user code, if it is an `E`.
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        match &self.0 {
            Reason::User(error) => error.downcast_ref(),
            Reason::Interrupted => None,
        }
    }

    /// Whether this is [`interrupted`](Self::interrupted), not an error of user code.
    pub fn is_interruption(&self) -> bool {
        matches!(self.0, Reason::Interrupted)
    }
}

impl fmt::Display for JobError {
    /// The error and its sources, separated by `: `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Interrupted => f.write_str("interrupted"),
            Reason::User(error) => {
                write!(f, "{error}")?;
                let mut source = error.source();
                while let Some(error) = source {
                    write!(f, ": {error}")?;
                    source = error.source();
                }
                Ok(())
            }
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for JobError {
    fn from(error: E) -> Self {
        Self(Reason::User(Box::new(error)))
    }
}

/// Takes what `map` emits.
pub trait Emit<K: Key + ?Sized, V: Value + ?Sized> {
    /// Emits one key-value pair; both are copied out before this returns.
    ///
    /// # Errors
    ///
    /// If the engine cannot take it (no space, record too large): return the error.
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<()>;

    /// Adds `by` to the job counter `name`.
    fn count(&mut self, name: &str, by: u64);
}

/// Takes what `reduce`, or a map-only `map`, puts into the output.
pub trait Sink<K: Datum + ?Sized, V: Datum + ?Sized = ()> {
    /// Writes one output record.
    ///
    /// # Errors
    ///
    /// If the engine cannot write it: return the error.
    fn put(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<()>;

    /// Adds `by` to the job counter `name`.
    fn count(&mut self, name: &str, by: u64);
}

/// What the parts of a job have to do with one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartOrder {
    /// Nothing: [`MapReduce::partition`] says which part a key belongs to. Each part is in key order.
    ByHash,
    /// All parts, one after the other, are in key order.
    ///
    /// Before the job starts, its `map` is run over a sample of the input, some ten thousand records
    /// spread evenly over it, and the keys found divide the key space into parts of even size. What
    /// `map` counts or emits then is not part of any result. [`MapReduce::partition`] is not asked.
    /// All records of one key are in one part, so a key much more frequent than others makes a part
    /// larger than others.
    Total,
}

/// Which records make one key group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// Those with equal keys.
    Key,
    /// Those whose keys have this many leading members in common, at least one and fewer than all. The
    /// group's values then come in the order of the other members: a *secondary sort*.
    /// [`MapReduce::reduce`] is handed the first key of the group, and a value that is to know the rest
    /// of its own key carries it.
    ///
    /// Only for jobs that do not combine.
    Leading(usize),
}

/// One MapReduce: user code over records, grouped by key.
///
/// # Examples
///
/// ```
/// use gristmill_common::prelude::*;
///
/// /// Counts how often each word occurs.
/// struct WordCount;
///
/// impl MapReduce for WordCount {
///     type Input = Lines;
///     type Key = [u8];
///     type Value = u64;
///     type Combine = Sum;
///     type Output = Text<[u8], u64>;
///
///     fn map(&self, line: &[u8], out: &mut impl Emit<[u8], u64>) -> Result<()> {
///         for word in words(line) {
///             out.emit(word, 1)?;
///         }
///         Ok(())
///     }
///
///     fn reduce(&self, word: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
///         out.put(word, counts.sum())
///     }
/// }
/// ```
pub trait MapReduce: Send + Sync + 'static {
    /// The records read.
    type Input: Input;
    /// What records are grouped by; output within a part is in key order.
    type Key: Key + ?Sized;
    /// What travels from map to reduce.
    type Value: Value + ?Sized;
    /// The fold that may run before `reduce`, or [`NoCombine`](crate::combine::NoCombine).
    type Combine: Combine<Self::Value>;
    /// The records written.
    type Output: Output;
    /// Whether the parts are in order too.
    const ORDER: PartOrder = PartOrder::ByHash;
    /// Which records one call of `reduce` is for.
    const GROUPING: Grouping = Grouping::Key;

    /// Called once before the first record or key group of every attempt: the job that this attempt
    /// runs, if it is to have a state of its own (a loaded dictionary, a connection); `None` for a job
    /// that has none.
    ///
    /// # Errors
    ///
    /// An error fails the attempt.
    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>>
    where
        Self: Sized,
    {
        let _ = task;
        Ok(None)
    }

    /// Emits any number of pairs for one record. Must give the same pairs whenever it is given the
    /// same record: a lost task is run again.
    ///
    /// # Errors
    ///
    /// An error fails the attempt and is shown with the record's file and offset.
    fn map(
        &self,
        record: <Self::Input as Input>::Record<'_>,
        out: &mut impl Emit<Self::Key, Self::Value>,
    ) -> Result<()>;

    /// Puts any number of output records for one key group.
    ///
    /// # Errors
    ///
    /// An error fails the attempt and is shown with the key.
    fn reduce(
        &self,
        key: <Self::Key as Datum>::Ref<'_>,
        values: Values<'_, Self::Value>,
        out: &mut impl Sink<<Self::Output as Output>::Key, <Self::Output as Output>::Value>,
    ) -> Result<()>;

    /// Called once after the last record of a map attempt, for jobs that hold something back until then.
    ///
    /// # Errors
    ///
    /// An error fails the attempt.
    fn finish_map(&self, out: &mut impl Emit<Self::Key, Self::Value>) -> Result<()> {
        let _ = out;
        Ok(())
    }

    /// Called once after the last key group of a reduce attempt.
    ///
    /// # Errors
    ///
    /// An error fails the attempt.
    fn finish_reduce(
        &self,
        out: &mut impl Sink<<Self::Output as Output>::Key, <Self::Output as Output>::Value>,
    ) -> Result<()> {
        let _ = out;
        Ok(())
    }

    /// Maps a block of whole records; by default one after the other. For maps that can scan many
    /// records at once.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    #[inline]
    fn map_block(&self, block: &mut Block<'_, Self::Input>, out: &mut impl Emit<Self::Key, Self::Value>) -> Result<()> {
        while let Some(record) = block.next_record() {
            self.map(record?, out)?;
        }
        Ok(())
    }

    /// The reduce task, below `partitions`, that owns a key; by default by hash. Must depend on the
    /// key alone, and where [`GROUPING`](Self::GROUPING) has it, on its leading members alone.
    #[inline]
    fn partition(&self, key: EncodedKey<'_>, partitions: u32) -> u32 {
        key.hash_partition(partitions)
    }

    /// Appends what every part begins with, such as a line of column names; by default nothing.
    fn begin_part(&self, part: &mut Vec<u8>) {
        let _ = part;
    }
}

/// An encoded key of a job, with the members by which the job groups told from the others.
///
/// # Errors
///
/// If it is grouped by leading members and has them not.
#[inline]
pub fn grouped_key<J: MapReduce>(key: &[u8]) -> Result<EncodedKey<'_>, KeyError> {
    match J::GROUPING {
        Grouping::Key => Ok(EncodedKey::new(key)),
        Grouping::Leading(members) => {
            const {
                if let Grouping::Leading(members) = J::GROUPING {
                    assert!(0 < members && members < J::Key::MEMBERS, "groups by some of the key's members, not all");
                    assert!(!J::Combine::ACTIVE, "records that are combined are grouped by the whole key");
                }
            }
            let mut rest = key;
            J::Key::pass_members(&mut rest, members)?;
            Ok(EncodedKey::grouped_by(key, key.len() - rest.len()))
        }
    }
}

/// A job without reduce: each map task writes one part, records in input order.
pub trait MapOnly: Send + Sync + 'static {
    /// The records read.
    type Input: Input;
    /// The records written.
    type Output: Output;

    /// Called once before the first record of every attempt: the job that this attempt
    /// runs, if it is to have a state of its own (a loaded dictionary, a connection); `None` for a job
    /// that has none.
    ///
    /// # Errors
    ///
    /// An error fails the attempt.
    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>>
    where
        Self: Sized,
    {
        let _ = task;
        Ok(None)
    }

    /// Puts any number of output records for one record.
    ///
    /// # Errors
    ///
    /// An error fails the attempt and is shown with the record's file and offset.
    fn map(
        &self,
        record: <Self::Input as Input>::Record<'_>,
        out: &mut impl Sink<<Self::Output as Output>::Key, <Self::Output as Output>::Value>,
    ) -> Result<()>;

    /// Called once after the last record of an attempt, for jobs that hold something back until then.
    ///
    /// # Errors
    ///
    /// An error fails the attempt.
    fn finish_map(
        &self,
        out: &mut impl Sink<<Self::Output as Output>::Key, <Self::Output as Output>::Value>,
    ) -> Result<()> {
        let _ = out;
        Ok(())
    }

    /// Maps a block of whole records; by default one after the other.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    #[inline]
    fn map_block(
        &self,
        block: &mut Block<'_, Self::Input>,
        out: &mut impl Sink<<Self::Output as Output>::Key, <Self::Output as Output>::Value>,
    ) -> Result<()> {
        while let Some(record) = block.next_record() {
            self.map(record?, out)?;
        }
        Ok(())
    }

    /// Appends what every part begins with, such as a line of column names; by default nothing.
    fn begin_part(&self, part: &mut Vec<u8>) {
        let _ = part;
    }
}

/// The maximal runs of bytes that are not ASCII white space (space, tab, LF, FF, CR).
#[inline]
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty())
}
