//! The canonical Huffman codes of a block: at most 258 symbols, codes of 1 to 20 bits.

/// The longest code.
pub(super) const MOST_BITS: u32 = 20;

/// Codes up to this length are found by one look into a table. Longer ones are rare: a table of more bits
/// takes longer to fill than it saves.
const TABLE_BITS: u32 = 11;

/// The most symbols.
pub(super) const MOST_SYMBOLS: usize = 258;

/// Finds the symbol that a code stands for.
pub(super) struct Code {
    /// For each beginning of a code: the symbol and the code's length, `symbol << 5 | length`; 0 if the code is
    /// longer.
    table: Vec<u16>,
    /// For each length: the first code beyond those of that length, its bits on top of 20.
    limits: [u32; MOST_BITS as usize + 1],
    /// For each length: what to add to a code of that length to get the symbol's place in `symbols`.
    bases: [i32; MOST_BITS as usize + 1],
    /// The symbols by code.
    symbols: [u16; MOST_SYMBOLS],
    shortest: u32,
    count: usize,
}

impl Code {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            table: vec![0; 1 << TABLE_BITS],
            limits: [0; MOST_BITS as usize + 1],
            bases: [0; MOST_BITS as usize + 1],
            symbols: [0; MOST_SYMBOLS],
            shortest: 1,
            count: 0,
        }
    }

    /// Takes the lengths of the codes of all symbols, each 1 to 20; whether there are such codes.
    pub(super) fn set(&mut self, lengths: &[u8]) -> bool {
        let mut counts = [0_u32; MOST_BITS as usize + 1];
        lengths.iter().for_each(|&length| counts[usize::from(length)] += 1);
        self.table.fill(0);
        self.shortest = MOST_BITS;
        self.count = 0;
        let mut code = 0_u32;
        for length in 1..=MOST_BITS {
            let at = length as usize;
            self.bases[at] = self.count as i32 - code as i32;
            if counts[at] > 0 {
                self.shortest = self.shortest.min(length);
                let of_length = lengths.iter().enumerate().filter(|(_, other)| u32::from(**other) == length);
                for (symbol, _) in of_length {
                    self.symbols[self.count] = symbol as u16;
                    self.count += 1;
                    if length <= TABLE_BITS && code < 1 << length {
                        let first = (code << (TABLE_BITS - length)) as usize;
                        let entry = (symbol as u16) << 5 | length as u16;
                        self.table[first..first + (1 << (TABLE_BITS - length))].fill(entry);
                    }
                    code += 1;
                }
            }
            if code > 1 << length {
                return false;
            }
            self.limits[at] = code << (MOST_BITS - length);
            code <<= 1;
        }
        true
    }

    /// The symbol that the code stands for with which `bits` begins, and its length; `None` if there is no
    /// such code. At least 20 of the bits are there.
    #[inline]
    pub(super) fn find(&self, bits: u64) -> Option<(u16, u32)> {
        let entry = self.table[(bits >> (64 - TABLE_BITS)) as usize];
        if entry != 0 { Some((entry >> 5, u32::from(entry & 31))) } else { self.find_long(bits) }
    }

    fn find_long(&self, bits: u64) -> Option<(u16, u32)> {
        let top = (bits >> (64 - MOST_BITS)) as u32;
        let length = (self.shortest..=MOST_BITS).find(|&length| top < self.limits[length as usize])?;
        let place = (top >> (MOST_BITS - length)) as i32 + self.bases[length as usize];
        let symbol = self.symbols[..self.count].get(usize::try_from(place).ok()?)?;
        Some((*symbol, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_all_lengths_are_found() {
        // 0, 10, 110, ..., and two of the longest.
        let lengths: Vec<u8> = (1..=20).chain([20]).collect();
        let mut code = Code::new();
        assert!(code.set(&lengths));
        for symbol in 0..=20_u32 {
            let ones = symbol.min(20);
            let bits = !(u64::MAX >> ones);
            assert_eq!(code.find(bits), Some((symbol as u16, (symbol + 1).min(20))), "{symbol}");
        }
    }

    #[test]
    fn codes_that_cannot_be_are_refused() {
        let mut code = Code::new();
        assert!(!code.set(&[1, 1, 1]));
        assert!(!code.set(&[1, 2, 2, 20]));
        assert!(code.set(&[2, 2, 2]));
        assert_eq!(code.find(u64::MAX), None);
        assert_eq!(code.find(0), Some((0, 2)));
    }
}
