//! Record types that a job can read, and the [`Block`] of whole records in which the engine hands
//! them to `map`. Where text records begin and end is decided in `text.rs`.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

pub use crate::framing::{Framing, cut_short};
pub use crate::heading::Heading;
use crate::text::LineRule;

/// Where the record in hand comes from, and what is known of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provenance<'a> {
    /// The input object, as its URI or path is shown to people.
    pub object: &'a str,
    /// Byte offset of the record's first byte in the object.
    pub offset: u64,
    /// Which input of the job the object belongs to: 0 is what the job was told to read, 1 and on are
    /// the side inputs that the job's own options name.
    pub role: u32,
    /// The object's first record, for types of records that [have one](Reading::heading) which tells what
    /// the others mean.
    pub heading: Option<&'a Heading>,
    /// Whether the record's bytes are a [row](crate::formats::row), made of a file of columns, and not what
    /// stands in the object.
    pub is_row: bool,
}

impl<'a> Provenance<'a> {
    /// A record that lies in its object as it is.
    pub fn new(object: &'a str, offset: u64, role: u32) -> Self {
        Self { object, offset, role, heading: None, is_row: false }
    }

    /// The same of an object whose first record is known.
    #[must_use]
    pub fn under(mut self, heading: Option<&'a Heading>) -> Self {
        self.heading = heading;
        self
    }
}

/// A record that is not what the job's input type says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct RecordError {
    /// What is wrong with the record.
    pub reason: String,
}

impl RecordError {
    /// An error for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// What the engine does with the records of a type before one is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Whether the first record of each object is a heading: no record for `map`, but known to all others of
    /// the object ([`Provenance::heading`]).
    pub heading: bool,
    /// What is made of the rows of files of columns, such as Parquet.
    pub columns: Columns,
}

/// What is made of the rows of files of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Columns {
    /// Lines of text: the values of the only column, if that has strings or bytes, and otherwise a JSON object
    /// for each row.
    #[default]
    AsText,
    /// Lines of text, a JSON object for each row.
    AsObjects,
    /// Rows with all columns, and their names.
    All,
    /// Rows with the values of these columns, in this order; others are not read.
    Named(&'static [&'static str]),
}

/// A type of records.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what the records of an input are",
    note = "`Lines`, `Utf8Lines`, `Csv<T>`, `JsonLines<T>`, `Parquet<T>` and `FixedLength<N>` do, and types of your own \
            that implement `Input`"
)]
pub trait Input: Send + Sync + 'static {
    /// What `map` is given, borrowed from the read buffer.
    type Record<'a>;

    /// Makes the record of its bytes.
    ///
    /// # Errors
    ///
    /// If the bytes are no such record.
    fn decode<'a>(bytes: &'a [u8], from: Provenance<'a>) -> Result<Self::Record<'a>, RecordError>;

    /// What tells where records of an input of this role begin and end: by default the job's line rule.
    #[inline]
    fn framing(rule: &LineRule, role: u32) -> Framing<'_> {
        let _ = role;
        Framing::Text(rule)
    }

    /// What is done with records of an input of this role before they are decoded; by default nothing.
    #[inline]
    fn reading(role: u32) -> Reading {
        let _ = role;
        Reading::default()
    }

    /// Whether what stands between two ends of records is none, such as an empty line; by default all are.
    #[inline]
    fn is_blank(bytes: &[u8], role: u32) -> bool {
        let _ = (bytes, role);
        false
    }
}

/// Records of `N` bytes each, whatever the bytes are: the line rule has no say.
///
/// An object whose size is no multiple of `N` fails the job at its last, incomplete record.
#[derive(Debug)]
pub enum FixedLength<const N: usize> {}

impl<const N: usize> Input for FixedLength<N> {
    type Record<'a> = &'a [u8; N];

    #[inline]
    fn decode<'a>(bytes: &'a [u8], _from: Provenance<'a>) -> Result<&'a [u8; N], RecordError> {
        bytes.try_into().map_err(|_| RecordError { reason: cut_short(bytes.len(), N) })
    }

    #[inline]
    fn framing(_rule: &LineRule, _role: u32) -> Framing<'_> {
        const { assert!(N > 0, "a record has at least one byte") };
        Framing::Length(N)
    }
}

/// Lines as bytes, UTF-8 or not.
#[derive(Debug)]
pub enum Lines {}

impl Input for Lines {
    type Record<'a> = &'a [u8];

    #[inline]
    fn decode<'a>(bytes: &'a [u8], _from: Provenance<'a>) -> Result<&'a [u8], RecordError> {
        Ok(bytes)
    }
}

/// Lines that must be UTF-8.
#[derive(Debug)]
pub enum Utf8Lines {}

impl Input for Utf8Lines {
    type Record<'a> = &'a str;

    #[inline]
    fn decode<'a>(bytes: &'a [u8], _from: Provenance<'a>) -> Result<&'a str, RecordError> {
        std::str::from_utf8(bytes).map_err(|error| RecordError { reason: format!("not UTF-8: {error}") })
    }
}

/// Records of `I`, each with where it comes from: `map` is given `(Provenance, record)`.
#[derive(Debug)]
pub struct Located<I>(PhantomData<I>);

impl<I: Input> Input for Located<I> {
    type Record<'a> = (Provenance<'a>, I::Record<'a>);

    #[inline]
    fn decode<'a>(bytes: &'a [u8], from: Provenance<'a>) -> Result<Self::Record<'a>, RecordError> {
        Ok((from, I::decode(bytes, from)?))
    }

    #[inline]
    fn framing(rule: &LineRule, role: u32) -> Framing<'_> {
        I::framing(rule, role)
    }

    #[inline]
    fn reading(role: u32) -> Reading {
        I::reading(role)
    }

    #[inline]
    fn is_blank(bytes: &[u8], role: u32) -> bool {
        I::is_blank(bytes, role)
    }
}

/// Records of two types: those of the job's own input, and those of a side input that its options name
/// ([`Program::side_inputs`](crate::program::Program::side_inputs)). As an input type it says what each
/// is, as a record which one is in hand.
///
/// For more side inputs, `OneOf<A, OneOf<B, C>>`: the inner one's own are the records of role 1, its
/// side those of role 2. Each may be of any type: lines beside rows of Parquet files, say.
///
/// # Examples
///
/// ```
/// use gristmill_common::prelude::*;
///
/// struct Names;
///
/// impl MapReduce for Names {
///     type Input = OneOf<Utf8Lines, Lines>;
/// #   type Key = u64;
/// #   type Value = str;
/// #   type Combine = NoCombine;
/// #   type Output = Text<u64>;
///     // ...
///     fn map(&self, line: OneOf<&str, &[u8]>, out: &mut impl Emit<u64, str>) -> Result<()> {
///         match line {
///             OneOf::Main(order) => out.emit(order.len() as u64, order),
///             OneOf::Side(customer) => out.emit(customer.len() as u64, "a customer"),
///         }
///     }
/// #   fn reduce(&self, _: u64, _: Values<str>, _: &mut impl Sink<u64>) -> Result<()> {
/// #       Ok(())
/// #   }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OneOf<A, B> {
    /// Of the job's own input.
    Main(A),
    /// Of the side input.
    Side(B),
}

impl<A: Input, B: Input> Input for OneOf<A, B> {
    type Record<'a> = OneOf<A::Record<'a>, B::Record<'a>>;

    #[inline]
    fn decode<'a>(bytes: &'a [u8], from: Provenance<'a>) -> Result<Self::Record<'a>, RecordError> {
        match from.role.checked_sub(1) {
            None => A::decode(bytes, from).map(OneOf::Main),
            Some(role) => B::decode(bytes, Provenance { role, ..from }).map(OneOf::Side),
        }
    }

    #[inline]
    fn framing(rule: &LineRule, role: u32) -> Framing<'_> {
        match role.checked_sub(1) {
            None => A::framing(rule, role),
            Some(role) => B::framing(rule, role),
        }
    }

    #[inline]
    fn reading(role: u32) -> Reading {
        match role.checked_sub(1) {
            None => A::reading(role),
            Some(role) => B::reading(role),
        }
    }

    #[inline]
    fn is_blank(bytes: &[u8], role: u32) -> bool {
        match role.checked_sub(1) {
            None => A::is_blank(bytes, role),
            Some(role) => B::is_blank(bytes, role),
        }
    }
}

/// Consecutive whole records of one object, read as one buffer.
///
/// The position of the record in hand is kept in a shared cell, so that whoever watches the attempt
/// can name file and offset even if the process dies in user code.
#[derive(Debug)]
pub struct Block<'a, I> {
    bytes: &'a [u8],
    at: usize,
    rule: &'a LineRule,
    start: Provenance<'a>,
    position: &'a AtomicU64,
    records: u64,
    first: bool,
    input: PhantomData<fn() -> I>,
}

impl<'a, I: Input> Block<'a, I> {
    /// A block over `bytes`, whose first record starts at `start`; `position` follows the records.
    pub fn new(bytes: &'a [u8], rule: &'a LineRule, start: Provenance<'a>, position: &'a AtomicU64) -> Self {
        position.store(start.offset, Ordering::Relaxed);
        Self { bytes, at: 0, rule, start, position, records: 0, first: false, input: PhantomData }
    }

    /// Says that the object's first record is this block's first.
    #[must_use]
    pub fn beginning_object(mut self) -> Self {
        self.first = true;
        self
    }

    /// Whether the next record is the first of its object: where a table has its header.
    pub fn is_at_beginning(&self) -> bool {
        self.first && self.at == 0
    }

    /// Where each record ends.
    #[inline]
    fn framing(&self) -> Framing<'a> {
        if self.start.is_row { Framing::Rows } else { I::framing(self.rule, self.start.role) }
    }

    /// Where the next record is.
    pub fn provenance(&self) -> Provenance<'a> {
        Provenance { offset: self.start.offset + self.at as u64, ..self.start }
    }

    /// The bytes of the next record as the rule gives them, not yet decoded, passed as
    /// [`next_record`](Self::next_record) would.
    #[inline]
    pub fn next_raw(&mut self) -> Option<&'a [u8]> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let span = self.framing().record_at(self.bytes, self.at);
        let record = &self.bytes[self.at..span.end];
        self.position.store(self.start.offset + self.at as u64, Ordering::Relaxed);
        self.at = span.next;
        self.records += 1;
        Some(record)
    }

    /// Says which record of [`rest`](Self::rest) is in hand, by the place of its first byte there. For
    /// maps that scan a whole block, before they give up.
    pub fn point_at(&self, place: usize) {
        self.position.store(self.start.offset + (self.at + place) as u64, Ordering::Relaxed);
    }

    /// The next record; `None` after the last one. What is none, a heading or a blank line, is passed over.
    ///
    /// # Errors
    ///
    /// If its bytes are no record of this type.
    #[inline]
    pub fn next_record(&mut self) -> Option<Result<I::Record<'a>, RecordError>> {
        let (role, is_row) = (self.start.role, self.start.is_row);
        if I::reading(role).heading && !is_row && self.is_at_beginning() {
            self.next_raw()?;
        }
        loop {
            let from = self.provenance();
            let bytes = self.next_raw()?;
            if is_row || !I::is_blank(bytes, role) {
                return Some(I::decode(bytes, from));
            }
        }
    }

    /// All bytes from the record in hand on, with their line ends, for maps that scan a whole block
    /// at once. [`skip_to_end`](Self::skip_to_end) then counts them as read.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// What ends the records of this block, if they are text.
    pub fn rule(&self) -> &'a LineRule {
        self.rule
    }

    /// Marks the rest of the block as read and counts its records.
    pub fn skip_to_end(&mut self) {
        let framing = self.framing();
        self.records += match framing {
            Framing::Length(length) => self.rest().len().div_ceil(length) as u64,
            Framing::Whole => u64::from(!self.rest().is_empty()),
            Framing::Text(LineRule::Lf) => {
                let rest = self.rest();
                let ends = memchr::memchr_iter(b'\n', rest).count() as u64;
                ends + u64::from(rest.last().is_some_and(|&last| last != b'\n'))
            }
            Framing::Text(LineRule::Any | LineRule::Quoted | LineRule::Delimiter(_))
            | Framing::Rows
            | Framing::Warc => {
                let mut count = 0;
                let mut at = self.at;
                while at < self.bytes.len() {
                    at = framing.record_at(self.bytes, at).next;
                    count += 1;
                }
                count
            }
        };
        self.at = self.bytes.len();
    }

    /// How many records were read so far.
    pub fn records_read(&self) -> u64 {
        self.records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_their_position() {
        let position = AtomicU64::new(0);
        let start = Provenance::new("a.txt", 100, 0);
        let mut block: Block<'_, Located<Utf8Lines>> =
            Block::new(b"one\ntwo\r\n\xff\n", &LineRule::Lf, start, &position);
        let (from, record) = block.next_record().expect("first").expect("UTF-8");
        assert_eq!((from.offset, record), (100, "one"));
        let (from, record) = block.next_record().expect("second").expect("UTF-8");
        assert_eq!((from.offset, record), (104, "two"));
        assert!(block.next_record().expect("third").is_err());
        assert_eq!(position.load(Ordering::Relaxed), 109);
        assert!(block.next_record().is_none());
        assert_eq!(block.records_read(), 3);
    }

    #[test]
    fn records_of_fixed_length_follow_no_line_rule() {
        let position = AtomicU64::new(0);
        let start = Provenance::new("a.dat", 30, 0);
        let new = || Block::<'_, Located<FixedLength<3>>>::new(b"a\nb\n\n\nxy", &LineRule::Lf, start, &position);
        let mut block = new();
        let (from, record) = block.next_record().expect("first").expect("whole");
        assert_eq!((from.offset, record), (30, b"a\nb"));
        let (from, record) = block.next_record().expect("second").expect("whole");
        assert_eq!((from.offset, record), (33, b"\n\n\n"));
        let error = block.next_record().expect("third").expect_err("incomplete");
        assert_eq!(error.to_string(), "it is cut short: 2 of 3 bytes");
        assert!(block.next_record().is_none());
        let mut block = new();
        block.skip_to_end();
        assert_eq!(block.records_read(), 3);
    }

    #[test]
    fn records_of_two_types_are_told_by_their_role() {
        type Three = OneOf<Lines, OneOf<Utf8Lines, Located<Lines>>>;
        let from = |role| Provenance::new("a", 7, role);
        assert_eq!(Three::decode(b"\xff", from(0)), Ok(OneOf::Main(b"\xff".as_slice())));
        assert!(Three::decode(b"\xff", from(1)).is_err());
        assert_eq!(Three::decode(b"x", from(1)), Ok(OneOf::Side(OneOf::Main("x"))));
        let third = Three::decode(b"x", from(2));
        assert_eq!(third, Ok(OneOf::Side(OneOf::Side((from(0), b"x".as_slice())))));
        assert_eq!(Three::framing(&LineRule::Any, 2), Framing::Text(&LineRule::Any));
        type Mixed = OneOf<FixedLength<3>, Lines>;
        let framings = [0, 1].map(|role| Mixed::framing(&LineRule::Lf, role));
        assert_eq!(framings, [Framing::Length(3), Framing::Text(&LineRule::Lf)]);
    }

    #[test]
    fn skipping_counts_the_rest() {
        let position = AtomicU64::new(0);
        for (rule, bytes, records) in [
            (LineRule::Lf, "a\nb\nc", 3),
            (LineRule::Lf, "a\nb\n", 2),
            (LineRule::Any, "a\rb\r\nc\n\n", 4),
            (LineRule::Lf, "", 0),
        ] {
            let start = Provenance::new("a", 0, 0);
            let mut block: Block<'_, Lines> = Block::new(bytes.as_bytes(), &rule, start, &position);
            block.skip_to_end();
            assert_eq!((block.records_read(), block.rest()), (records, b"".as_slice()), "{bytes:?}");
        }
    }
}
