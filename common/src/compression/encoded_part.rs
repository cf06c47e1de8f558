//! One compressed file that is being written: what its format must remember from one piece to the next,
//! which is little, so that very many files can be written at once.

use std::fmt;

use flate2::Crc;
use xxhash_rust::xxh32::Xxh32;

use super::seek_table::WrittenTable;
use crate::form::Codec;

/// What is remembered of one file. Only the [`Encoder`](super::Encoder) that it was begun with goes on
/// with it.
pub struct EncodedPart {
    pub(super) state: State,
    pub(super) is_begun: bool,
}

pub(super) enum State {
    Gzip(Crc),
    Deflate(Adler),
    /// Streams of their own.
    Pieces,
    Zstd(WrittenTable),
    Lz4(Box<Xxh32>),
    Snappy,
}

impl fmt::Debug for EncodedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedPart").field("is_begun", &self.is_begun).finish_non_exhaustive()
    }
}

impl EncodedPart {
    pub(super) fn new(codec: Codec) -> Self {
        let state = match codec {
            Codec::Gzip => State::Gzip(Crc::new()),
            Codec::Deflate => State::Deflate(Adler::default()),
            Codec::Bzip2 | Codec::Xz => State::Pieces,
            Codec::Zstd => State::Zstd(WrittenTable::default()),
            Codec::Lz4 => State::Lz4(Box::new(Xxh32::new(0))),
            Codec::Snappy => State::Snappy,
        };
        Self { state, is_begun: false }
    }

    /// Bytes of memory taken besides itself.
    pub fn memory(&self) -> usize {
        match &self.state {
            State::Zstd(table) => table.memory(),
            State::Lz4(_) => size_of::<Xxh32>(),
            State::Gzip(_) | State::Deflate(_) | State::Pieces | State::Snappy => 0,
        }
    }

    /// Gives back what can be done without: the file then cannot be read by several tasks.
    pub fn give_up_table(&mut self) {
        if let State::Zstd(table) = &mut self.state {
            table.give_up();
        }
    }
}

/// The checksum of zlib (RFC 1950, 9).
#[derive(Debug, Clone, Copy)]
pub(super) struct Adler {
    low: u32,
    high: u32,
}

impl Default for Adler {
    fn default() -> Self {
        Self { low: 1, high: 0 }
    }
}

impl Adler {
    const MODULUS: u32 = 65_521;

    /// Bytes after which the sums must be reduced before they overflow.
    const MOST_BYTES: usize = 5_552;

    pub(super) fn update(&mut self, bytes: &[u8]) {
        for stretch in bytes.chunks(Self::MOST_BYTES) {
            for &byte in stretch {
                self.low += u32::from(byte);
                self.high += self.low;
            }
            self.low %= Self::MODULUS;
            self.high %= Self::MODULUS;
        }
    }

    pub(super) fn value(self) -> u32 {
        self.high << 16 | self.low
    }
}
