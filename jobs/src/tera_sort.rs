//! `tera-sort`: records of 100 bytes in the order of their first 10 bytes, over all parts. Records of
//! equal keys keep their order. What else the bytes are does not matter.

use clap::Args;
use gristmill_common::prelude::*;
use serde::{Deserialize, Serialize};

/// Bytes of a record, as TeraGen and gensort write them.
const RECORD: usize = 100;

/// Bytes of a record's key.
const KEY: usize = 10;

/// Sorts 100-byte records by their first 10 bytes, over all parts
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeraSort {}

impl Program for TeraSort {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(self))
    }
}

impl MapReduce for TeraSort {
    type Input = FixedLength<RECORD>;
    type Key = [u8];
    type Value = [u8];
    type Combine = NoCombine;
    type Output = Raw<[u8], [u8]>;
    const ORDER: PartOrder = PartOrder::Total;

    #[inline]
    fn map(&self, record: &[u8; RECORD], out: &mut impl Emit<[u8], [u8]>) -> Result<()> {
        let (key, rest) = record.split_at(KEY);
        out.emit(key, rest)
    }

    #[inline]
    fn reduce(&self, key: &[u8], rests: Values<[u8]>, out: &mut impl Sink<[u8], [u8]>) -> Result<()> {
        rests.try_for_each(|rest| out.put(key, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{check, check_options};

    /// A record with this key and a mark that tells it from others.
    fn record(key: &[u8], mark: u8) -> Vec<u8> {
        let mut record = key.to_vec();
        record.resize(RECORD - 1, b'\n');
        record.push(mark);
        record
    }

    #[test]
    fn records_are_in_key_order_and_equal_keys_in_input_order() {
        let [low, middle, high] = [b"\0\n\r        ", b"AsfAGHM5om ", b"\xff          "].map(|key| &key[..KEY]);
        let first = [record(high, 1), record(middle, 2), record(low, 3)].concat();
        let second = [record(middle, 4), record(middle, 5)].concat();
        let expect =
            [record(low, 3), record(middle, 2), record(middle, 4), record(middle, 5), record(high, 1)].concat();
        check::<TeraSort>(&[], &[("a", &first), ("b", &second)], &expect);
        check::<TeraSort>(&[], &[("a", b"")], b"");
        check_options::<TeraSort>(&[]);
    }
}
