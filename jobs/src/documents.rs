//! The index of `inverted-index --documents`: lines `ID TAB text`, and for each term the ids of the
//! lines it occurs in, ordered as numbers, each once.
//!
//! A list of ids travels as its last id (8 bytes, little endian) and the difference of each id to the
//! one before it (zigzag LEB128, the first to 0), in the order in which they came. So an id is appended
//! and lists are joined without decoding them; sorting is left to the reduce.

use gristmill_common::codec::{DecodeError, EncodeError};
use gristmill_common::prelude::*;
use memchr::memchr;

use crate::scan::for_each_word;

/// Indexes documents of one line each.
#[derive(Debug)]
pub(crate) struct DocumentIndexer {
    /// What terms are; runs of bytes that are not ASCII white space if absent.
    pub(crate) term: Option<regex::bytes::Regex>,
}

impl DocumentIndexer {
    fn index(&self, line: &[u8], out: &mut impl Emit<[u8], Ids>) -> Result<()> {
        if line.is_empty() {
            return Ok(());
        }
        let tab = memchr(b'\t', line).ok_or_else(|| malformed("the line has no TAB behind a document's id"))?;
        let id = number(&line[..tab]).ok_or_else(|| malformed("a document's id is not a number of at most 64 bits"))?;
        let text = &line[tab + 1..];
        match &self.term {
            None => for_each_word(text, |word| out.emit(word, IdsRef::One(id))),
            Some(term) => term.find_iter(text).try_for_each(|found| out.emit(found.as_bytes(), IdsRef::One(id))),
        }
    }
}

impl MapReduce for DocumentIndexer {
    type Input = Lines;
    type Key = [u8];
    type Value = Ids;
    type Combine = JoinIds;
    type Output = IdLines;

    fn map(&self, line: &[u8], out: &mut impl Emit<[u8], Ids>) -> Result<()> {
        self.index(line, out)
    }

    fn reduce(&self, term: &[u8], mut lists: Values<Ids>, out: &mut impl Sink<[u8], SortedIds>) -> Result<()> {
        let mut ids = Vec::new();
        while let Some(list) = lists.next_ref() {
            list.decode_into(&mut ids)?;
        }
        ids.sort_unstable();
        ids.dedup();
        out.put(term, &ids)
    }
}

fn malformed(reason: &str) -> JobError {
    RecordError { reason: reason.to_owned() }.into()
}

fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { number.checked_mul(10)?.checked_add(digit.into()) }
    })
}

/// Ids of documents as they travel.
#[derive(Debug)]
pub(crate) enum Ids {}

/// Ids as they are emitted, or as they were encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum IdsRef<'a> {
    /// One.
    One(u64),
    /// Several.
    List {
        /// The last id.
        last: u64,
        /// The differences.
        deltas: &'a [u8],
    },
}

impl IdsRef<'_> {
    fn decode_into(self, ids: &mut Vec<u64>) -> Result<(), DecodeError> {
        match self {
            IdsRef::One(id) => ids.push(id),
            IdsRef::List { mut deltas, .. } => {
                let mut id = 0;
                while !deltas.is_empty() {
                    id = read_delta(&mut deltas, id).ok_or_else(|| damaged(deltas.len()))?;
                    ids.push(id);
                }
            }
        }
        Ok(())
    }
}

impl Datum for Ids {
    type Ref<'a> = IdsRef<'a>;
}

impl Value for Ids {
    fn encode(value: &IdsRef<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match *value {
            IdsRef::One(id) => {
                out.extend_from_slice(&id.to_le_bytes());
                write_delta(0, id, out);
            }
            IdsRef::List { last, deltas } => {
                out.extend_from_slice(&last.to_le_bytes());
                out.extend_from_slice(deltas);
            }
        }
        Ok(())
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<IdsRef<'_>, DecodeError> {
        let (last, deltas) = bytes.split_first_chunk().ok_or_else(|| damaged(bytes.len()))?;
        Ok(IdsRef::List { last: u64::from_le_bytes(*last), deltas })
    }

    fn encode_part(value: &IdsRef<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut bytes = Vec::new();
        Self::encode(value, &mut bytes)?;
        <[u8] as Value>::encode_part(&bytes.as_slice(), out)
    }

    fn decode_part<'a>(input: &mut &'a [u8]) -> Result<IdsRef<'a>, DecodeError> {
        Self::decode(<[u8] as Value>::decode_part(input)?)
    }
}

fn damaged(len: usize) -> DecodeError {
    DecodeError { type_name: "document ids", len, reason: "not an encoded list".to_owned() }
}

#[inline]
fn write_delta(before: u64, id: u64, out: &mut Vec<u8>) {
    // Differences wrap around, so that any two ids have one of 64 bits.
    let delta = id.wrapping_sub(before) as i64;
    let mut rest = ((delta << 1) ^ (delta >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[inline]
fn read_delta(input: &mut &[u8], before: u64) -> Option<u64> {
    let mut zigzag = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            let delta = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
            return Some(before.wrapping_add(delta as u64));
        }
    }
    None
}

/// Ids in memory: nothing on the heap for the many terms of one document.
#[derive(Debug)]
pub(crate) struct IdList {
    last: u64,
    /// Empty as long as `last` is the only one.
    deltas: Vec<u8>,
}

impl IdList {
    fn list(&mut self) -> &mut Vec<u8> {
        if self.deltas.is_empty() {
            self.deltas.reserve_exact(16);
            write_delta(0, self.last, &mut self.deltas);
        }
        &mut self.deltas
    }

    #[inline]
    fn push(&mut self, id: u64) {
        let last = self.last;
        if id != last {
            write_delta(last, id, self.list());
            self.last = id;
        }
    }

    fn join(&mut self, last: u64, mut deltas: &[u8]) {
        // The first difference is to 0 and becomes one to the last id here; the others stay.
        let Some(first) = read_delta(&mut deltas, 0) else { return };
        self.push(first);
        self.list().extend_from_slice(deltas);
        self.last = last;
    }
}

/// Joins lists of ids.
#[derive(Debug)]
pub(crate) enum JoinIds {}

impl Combine<Ids> for JoinIds {
    type Acc = IdList;

    #[inline]
    fn start(value: IdsRef<'_>) -> IdList {
        match value {
            IdsRef::One(id) => IdList { last: id, deltas: Vec::new() },
            IdsRef::List { last, deltas } => IdList { last, deltas: deltas.to_vec() },
        }
    }

    #[inline]
    fn fold(acc: &mut IdList, value: IdsRef<'_>) -> Result<(), FoldError> {
        match value {
            IdsRef::One(id) => acc.push(id),
            IdsRef::List { last, deltas } => acc.join(last, deltas),
        }
        Ok(())
    }

    #[inline]
    fn merge(acc: &mut IdList, other: IdList) -> Result<(), FoldError> {
        if other.deltas.is_empty() {
            acc.push(other.last);
        } else {
            acc.join(other.last, &other.deltas);
        }
        Ok(())
    }

    fn encode(acc: &IdList, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let last = acc.last;
        Ids::encode(
            &if acc.deltas.is_empty() { IdsRef::One(last) } else { IdsRef::List { last, deltas: &acc.deltas } },
            out,
        )
    }

    #[inline]
    fn heap_bytes(acc: &IdList) -> usize {
        acc.deltas.capacity()
    }
}

/// Ids ready to be written.
#[derive(Debug)]
pub(crate) enum SortedIds {}

impl Datum for SortedIds {
    type Ref<'a> = &'a [u64];
}

/// Lines `term TAB id,id,…`.
#[derive(Debug)]
pub(crate) enum IdLines {}

impl Output for IdLines {
    type Key = [u8];
    type Value = SortedIds;

    fn write(term: &&[u8], ids: &&[u64], out: &mut Vec<u8>) {
        out.extend_from_slice(term);
        let mut before = b'\t';
        for id in *ids {
            out.push(before);
            u64::write_text(id, out);
            before = b',';
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_keep_every_id_however_they_are_joined(
            ids in proptest::collection::vec(any::<u64>(), 1..40), cut in 0_usize..40,
        ) {
            let of = |ids: &[u64]| {
                let mut parts = ids.iter().map(|&id| JoinIds::start(IdsRef::One(id)));
                let mut list = parts.next()?;
                parts.for_each(|part| JoinIds::merge(&mut list, part).expect("a list"));
                Some(list)
            };
            let (left, right) = ids.split_at(cut.min(ids.len()));
            let mut bytes = vec![];
            let joined = match (of(left), of(right)) {
                (Some(mut left), Some(right)) => {
                    JoinIds::encode(&right, &mut bytes).expect("encodes");
                    JoinIds::fold(&mut left, Ids::decode(&bytes).expect("whole")).expect("a list");
                    left
                }
                (left, right) => left.or(right).expect("some ids"),
            };
            bytes.clear();
            JoinIds::encode(&joined, &mut bytes).expect("encodes");
            let mut seen = vec![];
            Ids::decode(&bytes).expect("whole").decode_into(&mut seen).expect("whole");
            let mut expect = ids.clone();
            expect.dedup();
            prop_assert_eq!(seen, expect);
        }
    }

    #[test]
    fn damaged_lists_are_refused() {
        assert!(Ids::decode(b"1234567").is_err());
        let cut = Ids::decode(b"12345678\x80").expect("a length at least");
        assert!(cut.decode_into(&mut vec![]).is_err());
    }
}
