//! The records of Hadoop's TeraGen, and what TeraValidate says of sorted ones. Byte for byte and sum
//! for sum the same as `org.apache.hadoop.examples.terasort`. Reads and writes nothing itself.
//!
//! | bytes | of record `i` |
//! |---|---|
//! | 0..10 | the key: the first 10 of the 16 bytes of `r(i)`, big endian |
//! | 10..12 | `00 11` |
//! | 12..44 | `i` in 32 upper-case hexadecimal digits |
//! | 44..48 | `88 99 AA BB` |
//! | 48..96 | the last 12 hexadecimal digits of `r(i)`, each four times |
//! | 96..100 | `CC DD EE FF` |
//!
//! `r(i) = a * r(i - 1) + c` modulo 2^128, `r(-1) = 0`.

/// Bytes of a record.
pub(crate) const RECORD: usize = 100;

/// Bytes of a record's key.
pub(crate) const KEY: usize = 10;

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;
const INCREMENT: u128 = 0x4a69_6d47_7261_7952_4950_2020_2020_2001;

/// Writes consecutive records.
#[derive(Debug, Clone)]
pub(crate) struct RowGenerator {
    row: u128,
    random: u128,
}

impl RowGenerator {
    /// A generator whose first record is `row`.
    pub(crate) fn at(row: u64) -> Self {
        let mut generator = Self { row: u128::from(row), random: jump(row) };
        generator.random = step(generator.random);
        generator
    }

    /// Fills `out`, whose length is a multiple of [`RECORD`].
    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        for record in out.chunks_exact_mut(RECORD) {
            record[..KEY].copy_from_slice(&self.random.to_be_bytes()[..KEY]);
            record[10..12].copy_from_slice(&[0x00, 0x11]);
            for (at, digits) in record[12..44].chunks_exact_mut(2).enumerate() {
                digits.copy_from_slice(&PAIRS[(self.row >> (120 - 8 * at)) as usize & 0xff]);
            }
            record[44..48].copy_from_slice(&[0x88, 0x99, 0xAA, 0xBB]);
            for (at, filler) in record[48..96].chunks_exact_mut(4).enumerate() {
                filler.copy_from_slice(&[DIGITS[(self.random >> (44 - 4 * at)) as usize & 0xf]; 4]);
            }
            record[96..].copy_from_slice(&[0xCC, 0xDD, 0xEE, 0xFF]);
            self.random = step(self.random);
            self.row += 1;
        }
    }
}

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Every byte in two digits.
const PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0xf]];
        byte += 1;
    }
    pairs
};

fn step(random: u128) -> u128 {
    random.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT)
}

/// `r(rows - 1)`: the step repeated `rows` times from 0, by repeated squaring.
fn jump(rows: u64) -> u128 {
    let (mut multiplier, mut increment) = (MULTIPLIER, INCREMENT);
    let mut random = 0_u128;
    let mut left = rows;
    while left > 0 {
        if left & 1 == 1 {
            random = random.wrapping_mul(multiplier).wrapping_add(increment);
        }
        increment = multiplier.wrapping_mul(increment).wrapping_add(increment);
        multiplier = multiplier.wrapping_mul(multiplier);
        left >>= 1;
    }
    random
}

/// What is known of consecutive records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Digest {
    /// How many there are.
    pub(crate) records: u64,
    /// How many have the key of the record before them.
    pub(crate) duplicates: u64,
    /// The sum of their CRC-32s.
    pub(crate) checksum: u128,
    /// The first record, by number, whose key is below that of the one before it.
    pub(crate) misordered: Option<u64>,
    first: Option<[u8; KEY]>,
    last: Option<[u8; KEY]>,
}

impl Digest {
    /// Takes in the records that follow.
    pub(crate) fn update(&mut self, records: &[u8]) {
        for record in records.chunks_exact(RECORD) {
            let key: [u8; KEY] = *record.first_chunk().expect("a record is longer than its key");
            self.follow(key);
            self.first.get_or_insert(key);
            self.last = Some(key);
            self.records += 1;
            self.checksum += u128::from(crc32fast::hash(record));
        }
    }

    /// Takes in the digest of the records that follow.
    pub(crate) fn append(&mut self, next: &Digest) {
        if let Some(first) = next.first {
            self.follow(first);
            self.first = self.first.or(next.first);
            self.last = next.last;
        }
        self.misordered = self.misordered.or(next.misordered.map(|record| self.records + record));
        self.records += next.records;
        self.duplicates += next.duplicates;
        self.checksum += next.checksum;
    }

    /// Compares the next key with the last one.
    fn follow(&mut self, key: [u8; KEY]) {
        match self.last.map(|last| last.cmp(&key)) {
            Some(std::cmp::Ordering::Equal) => self.duplicates += 1,
            Some(std::cmp::Ordering::Greater) => self.misordered = self.misordered.or(Some(self.records)),
            Some(std::cmp::Ordering::Less) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(from: u64, count: usize) -> Vec<u8> {
        let mut rows = vec![0; count * RECORD];
        RowGenerator::at(from).fill(&mut rows);
        rows
    }

    fn digest(rows: &[u8]) -> Digest {
        let mut digest = Digest::default();
        digest.update(rows);
        digest
    }

    #[test]
    fn sums_are_those_of_hadoop() {
        for (count, checksum) in [(1, 0x9750_3e23), (100, 0x36_5ed3_f3e1), (10_000, 0x139a_befd_74b2)] {
            assert_eq!(digest(&rows(0, count)).checksum, checksum, "{count} rows");
        }
    }

    #[test]
    fn generation_may_start_at_any_row() {
        let all = rows(0, 300);
        for from in [0, 1, 2, 63, 64, 255, 299] {
            assert!(all[from * RECORD..] == rows(from as u64, 300 - from), "from row {from}");
        }
        assert_eq!(&rows(u64::MAX, 1)[12..44], b"0000000000000000FFFFFFFFFFFFFFFF");
    }

    #[test]
    fn digests_of_pieces_make_that_of_the_whole() {
        let key = |key: u8| {
            let mut record = rows(u64::from(key), 1);
            record[..KEY].fill(key);
            record
        };
        let check = |keys: &[u8], duplicates: u64, misordered: Option<u64>| {
            let records: Vec<u8> = keys.iter().flat_map(|&byte| key(byte)).collect();
            let whole = digest(&records);
            assert_eq!(
                (whole.records, whole.duplicates, whole.misordered),
                (keys.len() as u64, duplicates, misordered)
            );
            for cut in 0..=keys.len() {
                let (front, back) = records.split_at(cut * RECORD);
                let mut joined = Digest::default();
                [front, &[], back].into_iter().for_each(|piece| joined.append(&digest(piece)));
                assert_eq!(joined, whole, "{keys:?} cut at {cut}");
            }
        };
        check(&[], 0, None);
        check(&[1, 2, 2, 2, 3], 2, None);
        check(&[2, 1, 3, 2], 0, Some(1));
        check(&[1, 5, 5, 4], 1, Some(3));
    }
}
