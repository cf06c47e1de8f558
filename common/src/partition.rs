//! Which reduce task owns a key: by hash, or by ranges that keep all parts in one order. Either is
//! part of the wire format: workers of one job, and a job and its re-run, must agree on it, so the
//! hash is versioned and pinned by golden values, and the ranges are written into the job spec.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::datum::Datum;
use crate::key::{Key, KeyArena, KeyError, key_prefix};

/// Recorded in job specs that partition by hash; a new hash partition function takes another number.
pub const PARTITIONER_VERSION: u32 = 1;

/// The most bytes of a splitter. Longer ones balance keys that share a longer beginning, and make
/// specs of many reduce tasks larger.
pub const MAX_SPLITTER_BYTES: usize = 128;

/// How a job's keys are divided among its reduce tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partitioning {
    /// By the job's own function, which by default is [`hash_partition`].
    Hash {
        /// [`PARTITIONER_VERSION`].
        version: u32,
    },
    /// In ranges: part `i` holds the keys from splitter `i - 1` on and below splitter `i`, so the
    /// parts, one after the other, are in key order.
    Range {
        /// Encoded keys in ascending order, one fewer than there are reduce tasks; equal ones leave
        /// the parts between them empty. Text forms hold them in hexadecimal.
        #[serde(with = "hexadecimal")]
        splitters: Vec<Vec<u8>>,
    },
}

impl Default for Partitioning {
    fn default() -> Self {
        Self::Hash { version: PARTITIONER_VERSION }
    }
}

impl Partitioning {
    /// Ranges for `partitions` reduce tasks that divide the sampled encoded keys evenly. A function
    /// of the sample alone.
    ///
    /// Splitters are no longer than they must be to divide the sample, and at most
    /// [`MAX_SPLITTER_BYTES`] long. Without a sample all keys belong to the last part.
    ///
    /// # Examples
    ///
    /// ```
    /// use gristmill_common::partition::Partitioning;
    ///
    /// let sample = ["ant", "bee", "cat", "cow"].map(|key| key.as_bytes().to_vec());
    /// let splitters = vec![b"c".to_vec()];
    /// assert_eq!(Partitioning::ranges(sample.to_vec(), 2), Partitioning::Range { splitters });
    /// ```
    pub fn ranges(mut sample: Vec<Vec<u8>>, partitions: u32) -> Self {
        sample.sort_unstable();
        let quantile = |index: u32| {
            let at = (sample.len() as u64 * u64::from(index) / u64::from(partitions)) as usize;
            let Some(key) = sample.get(at) else { return Vec::new() };
            let smaller = sample[..at].partition_point(|other| other < key);
            let shared = match smaller.checked_sub(1) {
                Some(before) => key.iter().zip(&sample[before]).take_while(|(a, b)| a == b).count(),
                None => key.len(),
            };
            key[..(shared + 1).min(key.len()).min(MAX_SPLITTER_BYTES)].to_vec()
        };
        Self::Range { splitters: (1..partitions).map(quantile).collect() }
    }
}

/// Finds the range of a key among a job's splitters.
#[derive(Debug, Clone)]
pub struct RangePartitioner<'a> {
    /// The splitters' first bytes as numbers: nearly all searches end without touching the rest.
    prefixes: Vec<u64>,
    splitters: &'a [Vec<u8>],
}

impl<'a> RangePartitioner<'a> {
    /// A partitioner over ascending splitters.
    pub fn new(splitters: &'a [Vec<u8>]) -> Self {
        Self { prefixes: splitters.iter().map(|splitter| key_prefix(splitter)).collect(), splitters }
    }

    /// How many splitters are not above the encoded key: the key's part.
    #[inline]
    pub fn partition(&self, encoded: &[u8]) -> u32 {
        let prefix = key_prefix(encoded);
        let from = self.prefixes.partition_point(|&other| other < prefix);
        match self.prefixes.get(from) {
            Some(&other) if other == prefix => self.among_equal_prefixes(from, encoded),
            _ => from as u32,
        }
    }

    #[cold]
    fn among_equal_prefixes(&self, from: usize, encoded: &[u8]) -> u32 {
        (from + self.splitters[from..].partition_point(|splitter| splitter.as_slice() <= encoded)) as u32
    }
}

/// Byte strings as hexadecimal text, for JSON.
mod hexadecimal {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(strings: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
        let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        serializer.collect_seq(strings.iter().map(hex))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let bytes = |text: &String| -> Option<Vec<u8>> {
            let digit = |digit: &u8| char::from(*digit).to_digit(16).map(|digit| digit as u8);
            let pairs = text.as_bytes().chunks(2);
            pairs.map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect()
        };
        let named = |text: &String| bytes(text).ok_or_else(|| D::Error::custom(format!("{text:?} is not hexadecimal")));
        texts.iter().map(named).collect()
    }
}

/// Makes the hash differ from plain xxh3, so that keys which are themselves xxh3 hashes spread too.
const SEED: u64 = 0x6772_6973_746d_696c;

/// The partition of an encoded key: XXH3-64 with a fixed seed, scaled to `partitions` by
/// multiplication (Lemire, "Fast random integer generation in an interval").
///
/// # Panics
///
/// If `partitions` is 0.
#[inline]
pub fn hash_partition(encoded: &[u8], partitions: u32) -> u32 {
    assert!(partitions > 0, "a job has at least one partition");
    let hash = xxh3_64_with_seed(encoded, SEED);
    ((u128::from(hash) * u128::from(partitions)) >> 64) as u32
}

/// A key as the engine holds it: encoded, decoded only if a partitioner asks.
#[derive(Debug, Clone, Copy)]
pub struct EncodedKey<'a> {
    bytes: &'a [u8],
    /// How many bytes belong to the members by which records are grouped.
    grouped: usize,
}

impl<'a> EncodedKey<'a> {
    /// Wraps an encoded key that is grouped by as a whole.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, grouped: bytes.len() }
    }

    /// Wraps an encoded key that is grouped by its first `grouped` bytes.
    ///
    /// # Panics
    ///
    /// If it is shorter.
    pub fn grouped_by(bytes: &'a [u8], grouped: usize) -> Self {
        assert!(grouped <= bytes.len(), "a key has the members by which it is grouped");
        Self { bytes, grouped }
    }

    /// The encoding of the members by which records are grouped: all of them, unless the job says
    /// otherwise.
    pub fn grouped(&self) -> &'a [u8] {
        &self.bytes[..self.grouped]
    }

    /// The order-preserving encoding.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The key itself.
    ///
    /// # Errors
    ///
    /// If the bytes are not the encoding of a `K`.
    pub fn decode<'b, K: Key + ?Sized>(&self, arena: &'b KeyArena) -> Result<<K as Datum>::Ref<'b>, KeyError>
    where
        'a: 'b,
    {
        K::decode(self.bytes, arena)
    }

    /// The partition by hash of what is grouped by, which is the default of every job.
    #[inline]
    pub fn hash_partition(&self, partitions: u32) -> u32 {
        hash_partition(self.grouped(), partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_golden() {
        let row = |key: &str| [1, 2, 7, 1000].map(|n| hash_partition(key.as_bytes(), n));
        assert_eq!(row(""), GOLDEN[0]);
        assert_eq!(row("the"), GOLDEN[1]);
        assert_eq!(row("a key longer than sixteen bytes"), GOLDEN[2]);
    }

    const GOLDEN: [[u32; 4]; 3] = [[0, 1, 5, 752], [0, 0, 2, 323], [0, 0, 0, 113]];

    #[test]
    fn ranges_divide_a_sample_evenly() {
        let check = |sample: &[&str], partitions: u32, expect: &[&str]| {
            let sample = sample.iter().map(|key| key.as_bytes().to_vec()).collect();
            let splitters = expect.iter().map(|key| key.as_bytes().to_vec()).collect();
            assert_eq!(Partitioning::ranges(sample, partitions), Partitioning::Range { splitters });
        };
        check(&[], 3, &["", ""]);
        check(&["x"], 1, &[]);
        check(&["d", "b", "a", "c"], 2, &["c"]);
        check(&["apple", "apply", "beech"], 3, &["apply", "b"]);
        check(&["a", "k", "k", "k", "k", "z"], 3, &["k", "k"]);
        check(&["same", "same"], 3, &["same", "same"]);
        let long = "x".repeat(500);
        check(&[&long, &format!("{long}y")], 2, &[&long[..MAX_SPLITTER_BYTES]]);
    }

    #[test]
    fn a_key_belongs_above_all_splitters_that_are_not_above_it() {
        let splitters = ["b", "common prefix m", "common prefix m", "common prefix x", "d", "d\0"];
        let splitters = splitters.map(|key| key.as_bytes().to_vec());
        let ranges = RangePartitioner::new(&splitters);
        let keys =
            ["", "a", "b", "b\0", "common prefix", "common prefix m", "common prefix q", "d", "d\0", "d\0\0", "e"];
        for key in keys {
            let expect = splitters.iter().filter(|splitter| splitter.as_slice() <= key.as_bytes()).count();
            assert_eq!(ranges.partition(key.as_bytes()), expect as u32, "{key:?}");
        }
        assert_eq!(RangePartitioner::new(&[]).partition(b"any"), 0);
    }

    #[test]
    fn splitters_are_hexadecimal_text() {
        let ranges = Partitioning::Range { splitters: vec![b"".to_vec(), b"\x00\xfa".to_vec()] };
        let json = serde_json::to_string(&ranges).expect("JSON");
        assert_eq!(json, r#"{"range":{"splitters":["","00fa"]}}"#);
        assert_eq!(serde_json::from_str::<Partitioning>(&json).expect("its own form"), ranges);
        for bad in ["0", "0g", "é"] {
            let json = json.replace("00fa", bad);
            assert!(serde_json::from_str::<Partitioning>(&json).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_spread_evenly() {
        let mut counts = [0_u32; 8];
        for key in 0..80_000_u32 {
            counts[hash_partition(&key.to_be_bytes(), 8) as usize] += 1;
        }
        assert!(counts.iter().all(|&n| (9_500..10_500).contains(&n)), "{counts:?}");
    }
}
