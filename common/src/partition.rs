//! Which reduce task owns a key. The function is part of the wire format: workers of one job, and a
//! job and its re-run, must agree on it, so it is versioned and pinned by golden values.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::datum::Datum;
use crate::key::{Key, KeyArena, KeyError};

/// Recorded in every job spec; a new partition function takes the next number.
pub const PARTITIONER_VERSION: u32 = 1;

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
}

impl<'a> EncodedKey<'a> {
    /// Wraps an encoded key.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
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

    /// The partition by hash, which is the default of every job.
    #[inline]
    pub fn hash_partition(&self, partitions: u32) -> u32 {
        hash_partition(self.bytes, partitions)
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
    fn keys_spread_evenly() {
        let mut counts = [0_u32; 8];
        for key in 0..80_000_u32 {
            counts[hash_partition(&key.to_be_bytes(), 8) as usize] += 1;
        }
        assert!(counts.iter().all(|&n| (9_500..10_500).contains(&n)), "{counts:?}");
    }
}
