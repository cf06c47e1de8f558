//! What an object decodes to: bytes in order, the blocks they come in where these matter, and one error
//! that names the object, what it should be and where it is not.

use super::bzip2::{BlockScan, Bzip2Decoder};
use super::gzip::{GzipDecoder, ZlibDecoder};
use super::lz4::Lz4Decoder;
use super::snappy::SnappyDecoder;
use super::stored::StoredBytes;
use super::xz::XzDecoder;
use super::zstd::ZstdDecoder;
use super::{Decoder, Trouble};
use crate::content::damaged;
use crate::failure::{Failure, FailureCode, InputPosition};
use crate::form::Codec;
use crate::objects::OpenObject;
use crate::size::ByteSize;
use crate::task::InputObject;

/// Content up to this size may be as small as it likes when it is compressed.
const FREE_BYTES: u64 = 1 << 30;

/// Beyond that, how many times as large as what is stored content may be. No real data comes near it, and
/// a small file that holds a terabyte of nothing would keep a slot busy for an hour.
const MAX_RATIO: u64 = 1000;

/// What came next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many bytes of content, at least one.
    Bytes(usize),
    /// A block, or frame, begins that can be decoded without those before it; what comes next is its
    /// content. It is told where it begins in the object.
    Unit(u64),
    /// The content's end, which is the object's.
    End,
}

/// Decodes an object, or from one of its blocks on.
pub struct Decoded<'a> {
    codec: Codec,
    stored: StoredBytes<'a>,
    decoder: Box<dyn Decoder>,
    begin: u64,
    decoded: u64,
}

impl<'a> Decoded<'a> {
    /// The whole content of an object, decoded in at most `memory` bytes for what a format lets its writer
    /// choose. An object without a byte holds nothing, whatever it should be.
    pub fn whole(codec: Codec, open: &'a dyn OpenObject, object: &'a InputObject, memory: u64) -> Self {
        let decoder: Box<dyn Decoder> = match codec {
            Codec::Gzip => Box::new(GzipDecoder::new()),
            Codec::Bzip2 => Box::new(Bzip2Decoder::new()),
            Codec::Zstd => Box::new(ZstdDecoder::new(memory)),
            Codec::Lz4 => Box::new(Lz4Decoder::new()),
            Codec::Snappy => Box::new(SnappyDecoder::new(memory)),
            Codec::Xz => Box::new(XzDecoder::new(memory)),
            Codec::Deflate => Box::new(ZlibDecoder::new()),
        };
        let stored = StoredBytes::new(open, object, 0, object.size);
        Self { codec, stored, decoder, begin: 0, decoded: 0 }
    }

    /// A zstd object from a frame on, which begins at this byte.
    pub fn zstd_from(open: &'a dyn OpenObject, object: &'a InputObject, frame: u64, until: u64, memory: u64) -> Self {
        let decoder = Box::new(ZstdDecoder::inside(memory));
        let stored = StoredBytes::new(open, object, frame, until);
        Self { codec: Codec::Zstd, stored, decoder, begin: frame, decoded: 0 }
    }

    /// A bzip2 object from the first block on that begins in a range of its bytes; `None` if none does.
    /// What looks like the beginning of a block and cannot be decoded is none.
    ///
    /// # Errors
    ///
    /// If the object cannot be read.
    pub fn bzip2_in(
        open: &'a dyn OpenObject,
        object: &'a InputObject,
        range: std::ops::Range<u64>,
    ) -> Result<Option<Self>, Failure> {
        let mut scan = BlockScan::new(open, object, range.clone());
        let mut decoder = Bzip2Decoder::inside();
        while let Some(bit) = scan.next_block()? {
            let mut stored = StoredBytes::new(open, object, bit / 8, range.end);
            match decoder.begin_at(&mut stored, bit) {
                Ok(()) => {
                    let decoder = Box::new(decoder);
                    return Ok(Some(Self { codec: Codec::Bzip2, stored, decoder, begin: bit / 8, decoded: 0 }));
                }
                Err(Trouble::Input(failure)) => return Err(failure),
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// What comes next; `into` has room.
    ///
    /// # Errors
    ///
    /// `INPUT_DAMAGED` where the object is not in its form or holds unreasonably much, `RECORD_TOO_LARGE`
    /// if decoding takes more memory than it may, `INPUT_CHANGED` and `INPUT_UNREADABLE` as the object's
    /// reader says; each names the object and the byte of it, as it is stored.
    pub fn next(&mut self, into: &mut [u8]) -> Result<Step, Failure> {
        if self.stored.object().size == 0 {
            return Ok(Step::End);
        }
        let step = self.decoder.next(&mut self.stored, into).map_err(|trouble| self.failure(trouble))?;
        if let Step::Bytes(bytes) = step {
            self.decoded += bytes as u64;
            let stored = self.stored.offset() - self.begin;
            if self.decoded > FREE_BYTES && self.decoded / MAX_RATIO > stored {
                return Err(self.bomb());
            }
        }
        Ok(step)
    }

    /// Where decoding has come to in the object.
    pub fn stored_offset(&self) -> u64 {
        self.stored.offset()
    }

    /// Bytes of memory that decoding takes.
    pub fn memory(&self) -> usize {
        self.stored.memory() + self.decoder.memory()
    }

    #[cold]
    fn bomb(&self) -> Failure {
        let what = format!("what it holds is more than {MAX_RATIO} times as large as it is, and more than 1 GiB");
        self.damage(self.stored.offset(), &what)
    }

    #[cold]
    fn failure(&self, trouble: Trouble) -> Failure {
        let at = self.stored.offset();
        match trouble {
            Trouble::Input(failure) => failure,
            Trouble::OtherForm => self.damage(at, "it does not begin as such a file does"),
            Trouble::CutShort => self.damage(at, "it is cut short"),
            Trouble::Garbage => self.damage(at, "what follows its end is something else"),
            Trouble::Damage(what) => self.damage(at, &what),
            Trouble::Memory(needed) => {
                let uri = &self.stored.object().uri;
                let needed = needed.map_or_else(String::new, |needed| format!(" {},", ByteSize(needed)));
                let message = format!(
                    "cannot read input {uri} as {}: decoding it takes{needed} more memory than a quarter of an \
                     attempt's (raise --memory)",
                    self.codec
                );
                let position = InputPosition { object: uri.to_string(), offset: at };
                Failure::new(FailureCode::RecordTooLarge, message).at(position)
            }
        }
    }

    fn damage(&self, at: u64, what: &str) -> Failure {
        let object = self.stored.object();
        damaged(object, at, &format!("cannot read input {} as {}: {what}", object.uri, self.codec))
    }
}
