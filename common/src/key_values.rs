//! Gristmill's own format for records that one job hands to the next: keys and values in the form in
//! which they travel, checked one by one, and cut anywhere like lines.
//!
//! A file is its records one after the other, each ended by the byte `f8`. A record is, before its
//! bytes are escaped:
//!
//! | bytes | what |
//! |---|---|
//! | 0.. | the key, delimiting itself ([`Value::encode_part`]) |
//! | .. | the value ([`Value::encode`]) |
//! | last 4 | the low half of the XXH3-64 of all before, with the seed [`FORMAT`], little endian |
//!
//! Then each `f8` is written `f9 00` and each `f9` is written `f9 01`, so that `f8` occurs at the ends
//! of records only. Neither byte is ever part of UTF-8, so text is stored as it is. A record that was
//! written in another format, or damaged, is refused by its check, with its file and offset. A file that
//! lost whole records at its end is not found out here but by its output's manifest.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::LazyLock;

use memchr::{memchr, memchr2};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::codec::DecodeError;
use crate::datum::{Datum, Value};
use crate::input::{Framing, Input, Provenance, RecordError};
use crate::output::Output;
use crate::text::{Delimiter, LineRule};

/// The number of this format. Another one makes other checks, so neither reads the other's records.
pub const FORMAT: u64 = 1;

/// Ends a record.
const END: u8 = 0xf8;

/// Stands before the code of an escaped byte: what it is above [`END`].
const ESCAPE: u8 = 0xf9;

/// Bytes of a record's check.
const CHECK_BYTES: usize = 4;

/// Where records end, whatever ends the text records of the job.
static RULE: LazyLock<LineRule> =
    LazyLock::new(|| LineRule::Delimiter(Delimiter::try_from(vec![END]).expect("one byte is a delimiter")));

/// Records of a key and a value in Gristmill's own format: as an output what a later job reads, as an
/// input what an earlier one wrote.
///
/// Any type that travels as a value can be either. A value whose `Serialize` fails ends the attempt.
///
/// # Examples
///
/// ```
/// use gristmill_common::prelude::*;
///
/// /// Hands on the words that occur more than once.
/// struct Often;
///
/// impl MapOnly for Often {
///     type Input = KeyValues<str, u64>;
///     type Output = Text<str>;
///
///     fn map(&self, word: KeyValue<'_, str, u64>, out: &mut impl Sink<str>) -> Result<()> {
///         match word.get()? {
///             (_, 0..=1) => Ok(()),
///             (word, _) => out.put(word, ()),
///         }
///     }
/// }
/// ```
pub struct KeyValues<K: ?Sized, V: ?Sized>(PhantomData<K>, PhantomData<V>);

/// A record of [`KeyValues`], its check passed.
pub struct KeyValue<'a, K: ?Sized, V: ?Sized> {
    /// Key and value.
    bytes: Cow<'a, [u8]>,
    types: PhantomData<(PhantomData<K>, PhantomData<V>)>,
}

impl<K: Value + ?Sized, V: Value + ?Sized> KeyValue<'_, K, V> {
    /// The key and the value, borrowed from the record.
    ///
    /// # Errors
    ///
    /// If the record was written with other types.
    #[inline]
    pub fn get(&self) -> Result<(K::Ref<'_>, V::Ref<'_>), RecordError> {
        let undecodable = |error: DecodeError| RecordError { reason: error.to_string() };
        let mut rest = &*self.bytes;
        let key = K::decode_part(&mut rest).map_err(undecodable)?;
        Ok((key, V::decode(rest).map_err(undecodable)?))
    }
}

impl<K, V> Input for KeyValues<K, V>
where
    K: Value + Send + Sync + ?Sized,
    V: Value + Send + Sync + ?Sized,
{
    type Record<'a> = KeyValue<'a, K, V>;

    #[inline]
    fn decode<'a>(bytes: &'a [u8], _from: Provenance<'a>) -> Result<KeyValue<'a, K, V>, RecordError> {
        let plain = unescaped(bytes).ok_or_else(damaged)?;
        let (record, check) = plain.split_last_chunk::<CHECK_BYTES>().ok_or_else(damaged)?;
        if u32::from_le_bytes(*check) != check_of(record) {
            return Err(damaged());
        }
        let length = record.len();
        let bytes = match plain {
            Cow::Borrowed(plain) => Cow::Borrowed(&plain[..length]),
            Cow::Owned(mut plain) => {
                plain.truncate(length);
                Cow::Owned(plain)
            }
        };
        Ok(KeyValue { bytes, types: PhantomData })
    }

    #[inline]
    fn framing(_rule: &LineRule, _role: u32) -> Framing<'_> {
        Framing::Text(&RULE)
    }
}

impl<K, V> Output for KeyValues<K, V>
where
    K: Value + Send + Sync + ?Sized,
    V: Value + Send + Sync + ?Sized,
{
    type Key = K;
    type Value = V;

    /// # Panics
    ///
    /// If the `Serialize` of key or value fails.
    #[inline]
    fn write(key: &K::Ref<'_>, value: &<V as Datum>::Ref<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        let encoded = K::encode_part(key, out).and_then(|()| V::encode(value, out));
        encoded.unwrap_or_else(|error| panic!("{error}"));
        let check = check_of(&out[start..]);
        out.extend_from_slice(&check.to_le_bytes());
        escape(out, start);
        out.push(END);
    }
}

#[inline]
fn check_of(record: &[u8]) -> u32 {
    xxh3_64_with_seed(record, FORMAT) as u32
}

#[cold]
fn damaged() -> RecordError {
    RecordError { reason: "not a record of keys and values, or damaged".to_owned() }
}

/// Escapes the bytes of `out` from `start` on.
#[inline]
fn escape(out: &mut Vec<u8>, start: usize) {
    let Some(first) = memchr2(END, ESCAPE, &out[start..]) else { return };
    let plain = out.split_off(start + first);
    let mut rest = plain.as_slice();
    while let Some(at) = memchr2(END, ESCAPE, rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[ESCAPE, rest[at] - END]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// What was escaped; `None` if nothing is escaped like this.
#[inline]
fn unescaped(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr(ESCAPE, bytes).is_none() {
        return Some(Cow::Borrowed(bytes));
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = memchr(ESCAPE, rest) {
        plain.extend_from_slice(&rest[..at]);
        let code = *rest.get(at + 1)?;
        if code > ESCAPE - END {
            return None;
        }
        plain.push(END + code);
        rest = &rest[at + 2..];
    }
    plain.extend_from_slice(rest);
    Some(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::datum::{Maybe, Pair};

    type Rows = KeyValues<[u8], Pair<u64, Maybe<str>>>;
    type Row<'a> = (&'a [u8], (u64, Option<&'a str>));
    type OwnedRow = (Vec<u8>, u64, Option<String>);

    fn written(rows: &[Row<'_>]) -> Vec<u8> {
        let mut file = vec![];
        rows.iter().for_each(|(key, value)| Rows::write(key, value, &mut file));
        file
    }

    /// The records of a stretch of a file that begins and ends where records do.
    fn read(stretch: &[u8]) -> Result<Vec<OwnedRow>, RecordError> {
        let from = Provenance::new("a", 0, 0);
        let records = RULE.records(stretch).map(|bytes| {
            let record = Rows::decode(bytes, from)?;
            let (key, (number, text)) = record.get()?;
            Ok((key.to_vec(), number, text.map(str::to_owned)))
        });
        records.collect()
    }

    fn owned(rows: &[Row<'_>]) -> Vec<OwnedRow> {
        rows.iter().map(|&(key, (number, text))| (key.to_vec(), number, text.map(str::to_owned))).collect()
    }

    #[test]
    fn bytes_are_golden() {
        let rows: [Row<'_>; 3] = [(b"", (0, None)), (b"node", (300, Some("ab"))), (b"\xf8-\xf9", (1, None))];
        let hex = |file: Vec<u8>| file.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let files = rows.map(|row| hex(written(&[row])));
        assert_eq!(files, ["00000088758a66f8", "046e6f6465fb2c010161625a970a1ff8", "03f9002df901010055931c28f8"]);
        assert_eq!(read(&written(&rows)), Ok(owned(&rows)));
    }

    #[test]
    fn every_changed_bit_of_a_record_is_refused() {
        let rows: [Row<'_>; 2] = [(b"one", (1, Some("x"))), (b"\xf8\xf9two", (u64::MAX, None))];
        let file = written(&rows);
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << bit;
                assert!(read(&damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
        assert!(read(b"lines\nof text\n").is_err());
    }

    #[test]
    fn other_types_are_refused() {
        let mut file = vec![];
        KeyValues::<u64, str>::write(&7, &"text", &mut file);
        let from = Provenance::new("a", 0, 0);
        let record = KeyValues::<u64, u64>::decode(&file[..file.len() - 1], from).expect("its check is right");
        let error = record.get().expect_err("text is no number");
        assert!(error.to_string().contains("cannot decode 4 bytes as u64"), "{error}");
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_records(
            rows in proptest::collection::vec(
                (proptest::collection::vec(proptest::sample::select(b"a\xf8\xf9\0\n".to_vec()), 0..8), any::<u64>()),
                0..20,
            ),
            size in 1_usize..40,
        ) {
            let rows: Vec<Row<'_>> = rows.iter().map(|(key, number)| (&key[..], (*number, None))).collect();
            let file = written(&rows);
            let start_at = |at: usize| match at {
                0 => 0,
                at => RULE.first_start(&file, at).unwrap_or(file.len()),
            };
            let mut found = vec![];
            for from in (0..file.len()).step_by(size) {
                let (start, end) = (start_at(from), start_at((from + size).min(file.len())));
                found.extend(read(&file[start..end.max(start)])?);
            }
            prop_assert_eq!(found, owned(&rows));
        }
    }
}
