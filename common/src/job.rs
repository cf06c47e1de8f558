//! What a job author writes: [`MapReduce`], or the smaller [`MapOnly`], and what their functions are
//! handed. Nothing here knows how records are stored, sorted or moved.

use crate::combine::Combine;
use crate::datum::{Datum, Value};
use crate::formats::schema::{Schema, SchemaError};
use crate::input::{Block, Columns, Input};
pub use crate::job_error::{JobError, Result};
use crate::key::{Key, KeyError};
use crate::output::Output;
use crate::partition::EncodedKey;
use crate::setup::TaskContext;
pub use crate::values::{KeptRoom, KeptValues, ValueSource, Values, ValuesFailure};

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

    /// Writes one output record to the output of this name instead of the job's main one: to
    /// `OUTPUT/NAME/part-00003`, which becomes visible together with all other parts. Only tasks that put
    /// a record there have such a part; of each, they come in the order in which they were put.
    ///
    /// A name is a path of up to eight components, such as `country=DE/year=2026`
    /// ([`OutputName`](crate::output_name::OutputName)). An attempt may use 10,000 names, or one for each
    /// 16 KiB of its memory if that is fewer.
    ///
    /// # Errors
    ///
    /// If no output can have this name, and as for [`put`](Self::put): return the error.
    ///
    /// # Examples
    ///
    /// ```
    /// use gristmill_common::prelude::*;
    /// use gristmill_common::reference::{ReferenceInput, run_map_only};
    /// # use gristmill_common::text::LineRule;
    ///
    /// /// Log lines by their level; what has none is in the main output.
    /// struct ByLevel;
    ///
    /// impl MapOnly for ByLevel {
    ///     type Input = Utf8Lines;
    ///     type Output = Text<str>;
    ///
    ///     fn map(&self, line: &str, out: &mut impl Sink<str>) -> Result<()> {
    ///         match line.split_once(": ") {
    ///             Some((level, message)) => out.put_to(&format!("level={level}"), message, ()),
    ///             None => out.put(line, ()),
    ///         }
    ///     }
    /// }
    ///
    /// let objects: [(&str, &[u8]); 1] = [("log", b"warn: hot\n--\nerror: melts\nwarn: cold\n")];
    /// let input = ReferenceInput { objects: &objects, rule: &LineRule::Lf, partitions: 1 };
    /// let output = run_map_only(&ByLevel, &input)?;
    /// assert_eq!(output.parts, [b"--\n"]);
    /// assert_eq!(output.named["level=warn"][&0], b"hot\ncold\n");
    /// # Ok::<(), JobError>(())
    /// ```
    fn put_to(&mut self, output: &str, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<()>;

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
    /// Whether each record is mapped by itself: all that `map` makes of it is put before it returns, and none
    /// of it depends on other records. A job of which that is not true cannot leave bad records out, so it
    /// is refused with `--max-bad-records`.
    const RECORD_BY_RECORD: bool = true;

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

    /// Whether anything is put to the main output. A job that puts everything to named ones says no: its tasks then
    /// leave no empty part there, which would be no part of what their folders' names tell.
    fn has_main_output(&self) -> bool {
        true
    }

    /// Appends what every part begins with, such as a line of column names; by default what the type of
    /// [`Output`](Self::Output) says.
    fn begin_part(&self, part: &mut Vec<u8>) {
        Self::Output::begin_part(part);
    }

    /// The columns of what is put, for formats that have some; by default those of the type of
    /// [`Output`](Self::Output).
    ///
    /// # Errors
    ///
    /// If it has none.
    fn schema(&self) -> std::result::Result<Schema, SchemaError> {
        Self::Output::schema()
    }

    /// The columns that `map` looks at where an input of this role is a file of columns; by default those that the
    /// type of [`Input`](Self::Input) names, and if it names none, all of them.
    fn columns(&self, role: u32) -> Option<Vec<String>> {
        match Self::Input::reading(role).columns {
            Columns::Named(names) => Some(names.iter().map(ToString::to_string).collect()),
            Columns::AsText | Columns::AsObjects | Columns::All => None,
        }
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
    /// Whether each record is mapped by itself: all that `map` makes of it is put before it returns, and none
    /// of it depends on other records. A job of which that is not true cannot leave bad records out, so it
    /// is refused with `--max-bad-records`.
    const RECORD_BY_RECORD: bool = true;

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

    /// Whether anything is put to the main output. A job that puts everything to named ones says no: its tasks then
    /// leave no empty part there, which would be no part of what their folders' names tell.
    fn has_main_output(&self) -> bool {
        true
    }

    /// Appends what every part begins with, such as a line of column names; by default what the type of
    /// [`Output`](Self::Output) says.
    fn begin_part(&self, part: &mut Vec<u8>) {
        Self::Output::begin_part(part);
    }

    /// The columns of what is put, for formats that have some; by default those of the type of
    /// [`Output`](Self::Output).
    ///
    /// # Errors
    ///
    /// If it has none.
    fn schema(&self) -> std::result::Result<Schema, SchemaError> {
        Self::Output::schema()
    }

    /// The columns that `map` looks at where an input of this role is a file of columns; by default those that the
    /// type of [`Input`](Self::Input) names, and if it names none, all of them.
    fn columns(&self, role: u32) -> Option<Vec<String>> {
        match Self::Input::reading(role).columns {
            Columns::Named(names) => Some(names.iter().map(ToString::to_string).collect()),
            Columns::AsText | Columns::AsObjects | Columns::All => None,
        }
    }
}

/// The maximal runs of bytes that are not ASCII white space (space, tab, LF, FF, CR).
#[inline]
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty())
}
