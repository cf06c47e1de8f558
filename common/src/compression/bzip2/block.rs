//! One block of bzip2: its bits become symbols, these the block's bytes, run lengths and all. The format has
//! no specification but its program; what is here follows that format as it is commonly described.

use super::bits::Bits;
use super::checksum::Checksum;
use super::huffman::{self, Code, MOST_SYMBOLS};
use super::order::Order;
use crate::compression::Trouble;
use crate::compression::stored::StoredBytes;

/// The most symbols of a block of level 9.
pub(super) const MOST_BYTES: usize = 900_000;

/// Symbols that one code is used for before the next is chosen.
const GROUP: usize = 50;

/// Codes of a block.
const CODES: std::ops::RangeInclusive<u64> = 2..=6;

/// Bytes of content that are decoded at once: more than nearly all blocks hold.
const CONTENT_BYTES: usize = 1 << 20;

/// After so many equal bytes comes a count of further ones.
const RUN: u8 = 4;

/// Decodes blocks, one at a time, in the same memory.
pub(super) struct Block {
    /// For each byte of the block's last column: the byte, and above it where the byte behind it lies.
    column: Vec<u32>,
    length: usize,
    origin: u32,
    codes: Vec<Code>,
    selectors: Vec<u8>,
    /// The block's symbols in their order.
    order: Order,
    /// Checked content of the block, `content[given..]` of which comes next.
    content: Vec<u8>,
    given: usize,
    unwind: Unwind,
}

/// How far the block's symbols have become bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Unwind {
    /// The next symbol.
    at: usize,
    last: u8,
    /// How many of the last symbols were equal.
    equal: u8,
    /// How often `last` is still to be repeated.
    repeat: u8,
}

impl Block {
    pub(super) fn new() -> Self {
        Self {
            column: Vec::new(),
            length: 0,
            origin: 0,
            codes: Vec::new(),
            selectors: Vec::new(),
            order: Order::default(),
            content: Vec::new(),
            given: 0,
            unwind: Unwind::default(),
        }
    }

    /// Bytes of memory taken.
    pub(super) fn memory(&self) -> usize {
        let column = self.column.capacity() * size_of::<u32>();
        column + self.order.memory() + self.content.capacity() + self.selectors.capacity()
    }

    /// Decodes the block whose magic was passed, of at most `most` bytes, and checks it. Its checksum.
    pub(super) fn decode(
        &mut self,
        bits: &mut Bits,
        stored: &mut StoredBytes<'_>,
        most: usize,
    ) -> Result<u32, Trouble> {
        self.content.clear();
        self.given = 0;
        let checksum = bits.take(stored, 32)? as u32;
        if bits.take(stored, 1)? == 1 {
            return Err(Trouble::damage("a block is of a kind that was given up in 1999, or damaged"));
        }
        self.origin = bits.take(stored, 24)? as u32;
        let (symbols, symbol_count) = used_bytes(bits, stored)?;
        self.read_selectors(bits, stored)?;
        let lengths = self.codes.len();
        for code in 0..lengths {
            read_code(&mut self.codes[code], symbol_count + 2, bits, stored)?;
        }
        self.read_symbols(bits, stored, symbols, symbol_count, most)?;
        self.link()?;
        self.check(checksum)?;
        Ok(checksum)
    }

    /// Reads which code each group of symbols has.
    fn read_selectors(&mut self, bits: &mut Bits, stored: &mut StoredBytes<'_>) -> Result<(), Trouble> {
        let codes = bits.take(stored, 3)?;
        let count = bits.take(stored, 15)? as usize;
        if !CODES.contains(&codes) || count == 0 {
            return Err(broken());
        }
        let codes = codes as usize;
        self.codes.resize_with(codes, Code::new);
        self.selectors.clear();
        let mut order = [0_u8, 1, 2, 3, 4, 5];
        for _ in 0..count {
            let mut place = 0;
            while bits.take(stored, 1)? == 1 {
                place += 1;
                if place == codes {
                    return Err(broken());
                }
            }
            order[..=place].rotate_right(1);
            self.selectors.push(order[0]);
        }
        Ok(())
    }

    /// Reads the symbols and undoes what made them of the last column: runs of the first symbol, and places
    /// in a list that is reordered as it is used.
    fn read_symbols(
        &mut self,
        bits: &mut Bits,
        stored: &mut StoredBytes<'_>,
        mut order: [u8; 256],
        symbol_count: usize,
        most: usize,
    ) -> Result<(), Trouble> {
        if self.column.is_empty() {
            self.column = vec![0; MOST_BYTES];
        }
        let column = &mut self.column[..most];
        let end = symbol_count as u16 + 1;
        let (mut length, mut run, mut weight) = (0_usize, 0_usize, 1_usize);
        for &selector in &self.selectors {
            let code = &self.codes[usize::from(selector)];
            for _ in 0..GROUP {
                bits.need(stored, huffman::MOST_BITS)?;
                let (symbol, symbol_bits) = code.find(bits.peek()).ok_or_else(broken)?;
                bits.pass(symbol_bits);
                if symbol < 2 {
                    run += weight << symbol;
                    weight <<= 1;
                    if run > most {
                        return Err(broken());
                    }
                    continue;
                }
                if run > 0 {
                    let into = column.get_mut(length..length + run).ok_or_else(broken)?;
                    into.fill(u32::from(order[0]));
                    length += run;
                    (run, weight) = (0, 1);
                }
                if symbol == end {
                    self.length = length;
                    return Ok(());
                }
                let place = usize::from(symbol) - 1;
                let byte = order[place];
                order.copy_within(..place, 1);
                order[0] = byte;
                *column.get_mut(length).ok_or_else(broken)? = u32::from(byte);
                length += 1;
            }
        }
        Err(broken())
    }

    /// Finds for each byte of the last column where the byte behind it lies, and so the order of all.
    fn link(&mut self) -> Result<(), Trouble> {
        let column = &mut self.column[..self.length];
        if self.origin as usize >= column.len() {
            return Err(broken());
        }
        let mut starts = [0_u32; 256];
        column.iter().for_each(|entry| starts[(entry & 0xff) as usize] += 1);
        let mut before = 0;
        for start in &mut starts {
            before += std::mem::replace(start, before);
        }
        for at in 0..column.len() {
            let start = &mut starts[(column[at] & 0xff) as usize];
            column[*start as usize] |= (at as u32) << 8;
            *start += 1;
        }
        let first = column[self.origin as usize] >> 8;
        self.order.find(column, first);
        Ok(())
    }

    /// Finds the block's bytes, as many as are decoded at once, and checks all of them before any is given.
    fn check(&mut self, expected: u32) -> Result<(), Trouble> {
        self.unwind = Unwind::default();
        let mut checksum = Checksum::new();
        let mut rounds = 0;
        loop {
            self.fill();
            checksum.update(&self.content);
            rounds += 1;
            if self.unwind.is_done(self.length) {
                break;
            }
        }
        if checksum.value() != expected {
            return Err(Trouble::damage("the checksum of a block does not match"));
        }
        if rounds > 1 {
            // Long runs: found once more, piece by piece.
            self.content.clear();
            self.unwind = Unwind::default();
        }
        Ok(())
    }

    /// Finds the next bytes.
    fn fill(&mut self) {
        // A little block need not touch all that a large one takes.
        self.content.resize(CONTENT_BYTES.min(2 * self.length + 4096), 0);
        let found = self.unwind.run(self.order.bytes(), &mut self.content);
        self.content.truncate(found);
    }

    /// Gives the next bytes of the block; none at its end.
    pub(super) fn give(&mut self, into: &mut [u8]) -> usize {
        if self.given == self.content.len() {
            self.given = 0;
            self.fill();
        }
        let rest = &self.content[self.given..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        count
    }
}

impl Unwind {
    fn is_done(&self, symbols: usize) -> bool {
        self.at == symbols && self.repeat == 0
    }

    /// Finds the next bytes, as many as there is room for or are left.
    fn run(&mut self, symbols: &[u8], into: &mut [u8]) -> usize {
        let mut next = *self;
        let mut found = 0;
        while found < into.len() {
            if next.repeat > 0 {
                let count = usize::from(next.repeat).min(into.len() - found);
                into[found..found + count].fill(next.last);
                found += count;
                next.repeat -= count as u8;
                continue;
            }
            let Some(&byte) = symbols.get(next.at) else { break };
            next.at += 1;
            if next.equal == RUN {
                next.equal = 0;
                next.repeat = byte;
                continue;
            }
            next.equal = if byte == next.last { next.equal + 1 } else { 1 };
            if next.equal == 1 {
                next.last = byte;
            }
            into[found] = byte;
            found += 1;
        }
        *self = next;
        found
    }
}

/// Reads which bytes the block has, in ascending order, and how many these are.
fn used_bytes(bits: &mut Bits, stored: &mut StoredBytes<'_>) -> Result<([u8; 256], usize), Trouble> {
    let ranges = bits.take(stored, 16)?;
    let (mut used, mut count) = ([0; 256], 0);
    for range in (0..16_u8).filter(|range| ranges & 0x8000 >> range != 0) {
        let bytes = bits.take(stored, 16)?;
        for byte in (0..16_u8).filter(|byte| bytes & 0x8000 >> byte != 0) {
            used[count] = range << 4 | byte;
            count += 1;
        }
    }
    if count == 0 { Err(broken()) } else { Ok((used, count)) }
}

/// Reads the lengths of a code's symbols.
fn read_code(code: &mut Code, symbols: usize, bits: &mut Bits, stored: &mut StoredBytes<'_>) -> Result<(), Trouble> {
    let mut lengths = [0_u8; MOST_SYMBOLS];
    let mut length = bits.take(stored, 5)? as u8;
    for symbol in &mut lengths[..symbols] {
        loop {
            if !(1..=huffman::MOST_BITS as u8).contains(&length) {
                return Err(broken());
            }
            if bits.take(stored, 1)? == 0 {
                break;
            }
            length = if bits.take(stored, 1)? == 0 { length + 1 } else { length - 1 };
        }
        *symbol = length;
    }
    if code.set(&lengths[..symbols]) { Ok(()) } else { Err(broken()) }
}

#[cold]
fn broken() -> Trouble {
    Trouble::damage("a block is damaged")
}
