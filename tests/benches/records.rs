//! What the benches work on: the same records in every run.

use gristmill_tests::random::Random;

/// Bytes of a key and of a value of [`Table::random`], as TeraSort has them.
const KEY_BYTES: usize = 10;
const VALUE_BYTES: usize = 90;

/// Records one after the other, each a key of [`KEY_BYTES`] and a value of [`VALUE_BYTES`].
pub(crate) struct Table(Vec<[u8; KEY_BYTES + VALUE_BYTES]>);

impl Table {
    /// Records with random keys; the beginnings of values are random, their ends are text that LZ4
    /// can pack.
    pub(crate) fn random(count: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut record = || {
            let mut bytes = [b' '; KEY_BYTES + VALUE_BYTES];
            for word in bytes[..40].chunks_exact_mut(8) {
                word.copy_from_slice(&random.next_u64().to_le_bytes());
            }
            bytes
        };
        Self((0..count).map(|_| record()).collect())
    }

    /// The same in key order.
    pub(crate) fn sorted(count: usize, seed: u64) -> Self {
        let mut table = Self::random(count, seed);
        table.0.sort_unstable();
        table
    }

    /// Bytes of all keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_flattened().len()
    }

    /// Keys and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|record| record.split_at(KEY_BYTES))
    }
}

/// Words of two to six bytes, as unevenly frequent as in a real text: the `n`-th most frequent of
/// `distinct` ones occurs about `1 / n` as often as the first.
pub(crate) fn words(count: usize, distinct: u64) -> Vec<Vec<u8>> {
    let mut random = Random::new(1);
    let mut word = || {
        let uniform = random.within(0, 1 << 53) as f64 / (1_u64 << 53) as f64;
        let rank = (distinct as f64).powf(uniform) as u64;
        spell(rank)
    };
    (0..count).map(|_| word()).collect()
}

/// A number as a word; different numbers are different words.
fn spell(mut number: u64) -> Vec<u8> {
    let mut word = vec![b'-'];
    while number > 0 {
        word.push(b'a' + (number % 26) as u8);
        number /= 26;
    }
    word
}
