//! What a job author writes: [`MapReduce`], or the smaller [`MapOnly`], and what their functions are
//! handed. Nothing here knows how records are stored, sorted or moved.

use std::fmt;
use std::marker::PhantomData;

use crate::codec::DecodeError;
use crate::combine::{Addend, Combine};
use crate::datum::{Datum, Value};
use crate::input::{Block, Input};
use crate::key::Key;
use crate::output::Output;
use crate::partition::EncodedKey;

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
    fn count(&mut self, name: &'static str, by: u64);
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
    fn count(&mut self, name: &'static str, by: u64);
}

/// Where the values of a key group come from; implemented by engines.
pub trait ValueSource {
    /// Moves to the next value; `false` after the last one or after a failure.
    fn advance(&mut self) -> bool;

    /// The value moved to, encoded.
    fn value(&self) -> &[u8];

    /// Records that the values cannot be used; the attempt fails whatever `reduce` returns.
    fn fail(&self, failure: ValuesFailure);
}

/// Why the values of a key group cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValuesFailure {
    /// A value does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A sum leaves its type's range.
    #[error("the sum of the values overflows {type_name}")]
    Overflow {
        /// The Rust type.
        type_name: &'static str,
    },
}

/// The values of one key group, read one after the other in canonical order: by map task, then by
/// emission. They need not fit in memory.
///
/// If reading fails, the values end early and the attempt fails whatever `reduce` returns, so
/// `reduce` need not check.
pub struct Values<'a, V: Value + ?Sized> {
    source: &'a mut dyn ValueSource,
    value: PhantomData<fn(&V)>,
}

impl<'a, V: Value + ?Sized> Values<'a, V> {
    /// Reads the values of `source`.
    pub fn new(source: &'a mut dyn ValueSource) -> Self {
        Self { source, value: PhantomData }
    }

    /// The next value, borrowed until the one after it is asked for.
    #[inline]
    pub fn next_ref(&mut self) -> Option<V::Ref<'_>> {
        if !self.source.advance() {
            return None;
        }
        let source: &dyn ValueSource = self.source;
        V::decode(source.value()).map_err(|error| source.fail(error.into())).ok()
    }

    /// Calls `f` with every value left.
    ///
    /// # Errors
    ///
    /// The first error of `f`.
    #[inline]
    pub fn try_for_each(mut self, mut f: impl FnMut(V::Ref<'_>) -> Result<()>) -> Result<()> {
        while let Some(value) = self.next_ref() {
            f(value)?;
        }
        Ok(())
    }

    /// How many values are left.
    pub fn count(self) -> u64 {
        let mut count = 0;
        while self.source.advance() {
            count += 1;
        }
        count
    }
}

impl<V: Value + Addend + for<'r> Datum<Ref<'r> = V>> Values<'_, V> {
    /// The sum of the values left; beyond the type's range the attempt fails.
    #[inline]
    pub fn sum(mut self) -> V {
        let mut sum = V::default();
        while let Some(value) = self.next_ref() {
            match sum.checked_sum(value) {
                Some(next) => sum = next,
                None => {
                    self.source.fail(ValuesFailure::Overflow { type_name: std::any::type_name::<V>() });
                    break;
                }
            }
        }
        sum
    }
}

impl<V: Value + for<'r> Datum<Ref<'r> = V>> Iterator for Values<'_, V> {
    type Item = V;

    #[inline]
    fn next(&mut self) -> Option<V> {
        if !self.source.advance() {
            return None;
        }
        let source: &dyn ValueSource = self.source;
        V::decode(source.value()).map_err(|error| source.fail(error.into())).ok()
    }
}

impl<V: Value + ?Sized> fmt::Debug for Values<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").finish_non_exhaustive()
    }
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
    /// key alone.
    #[inline]
    fn partition(&self, key: EncodedKey<'_>, partitions: u32) -> u32 {
        key.hash_partition(partitions)
    }

    /// Appends what every part begins with, such as a line of column names; by default nothing.
    fn begin_part(&self, part: &mut Vec<u8>) {
        let _ = part;
    }
}

/// A job without reduce: each map task writes one part, records in input order.
pub trait MapOnly: Send + Sync + 'static {
    /// The records read.
    type Input: Input;
    /// The records written.
    type Output: Output;

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
