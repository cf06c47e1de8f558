//! The checksum of bzip2: CRC-32 with the highest bit of each byte first, eight bytes at a time.

const POLYNOMIAL: u32 = 0x04c1_1db7;

/// `TABLES[k][byte]`: the remainder of a byte with `k` zero bytes behind it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            let over = remainder & 1 << 31 != 0;
            remainder = if over { remainder << 1 ^ POLYNOMIAL } else { remainder << 1 };
            bit += 1;
        }
        tables[0][byte] = remainder;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[zeros - 1][byte];
            tables[zeros][byte] = before << 8 ^ tables[0][(before >> 24) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// The checksum of bytes that come piece by piece.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checksum(u32);

impl Checksum {
    pub(super) fn new() -> Self {
        Self(u32::MAX)
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let (chunks, rest) = bytes.as_chunks::<8>();
        for chunk in chunks {
            let word = u64::from_be_bytes(*chunk) ^ u64::from(self.0) << 32;
            self.0 = 0;
            for (place, table) in TABLES.iter().enumerate() {
                self.0 ^= table[(word >> (8 * place)) as usize & 0xff];
            }
        }
        for byte in rest {
            self.0 = self.0 << 8 ^ TABLES[0][((self.0 >> 24) as u8 ^ byte) as usize];
        }
    }

    pub(super) fn value(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_checksums_are_found_however_the_bytes_come() {
        let mut whole = Checksum::new();
        whole.update(b"123456789");
        assert_eq!(whole.value(), 0xfc89_1918);
        let bytes: Vec<u8> = (0..100_u8).collect();
        let mut at_once = Checksum::new();
        at_once.update(&bytes);
        for cut in 0..bytes.len() {
            let mut twice = Checksum::new();
            twice.update(&bytes[..cut]);
            twice.update(&bytes[cut..]);
            assert_eq!(twice.value(), at_once.value(), "{cut}");
        }
    }
}
