//! Compressed content, decoded as it is read and compressed as it is written, in bounded memory. Decides
//! nothing about what an object's form is, and knows no records.
//!
//! | file | responsibility |
//! |---|---|
//! | `stored.rs` | the bytes of an object in order, as they are stored |
//! | `decoded.rs` | what they decode to, its limits, and what is said of damage |
//! | `gzip.rs`, `zstd.rs`, `lz4.rs`, `snappy.rs`, `xz.rs`, `bzip2/` | the decoders |
//! | `seek_table.rs` | the table of frames at the end of a zstd object |
//! | `encoder.rs`, `encoded_part.rs` | content that is written |
//! | `crc32c.rs` | the checksum of snappy's frames |
//!
//! Several members, frames or streams after each other are one content. Whatever follows the end that is
//! none of these is damage, as is an end that comes too early: an answer is whole or an error.

mod bzip2;
mod crc32c;
mod decoded;
mod encoded_part;
mod encoder;
mod gzip;
mod lz4;
mod seek_table;
mod snappy;
mod stored;
#[cfg(test)]
mod tests;
mod xz;
mod zstd;

pub use decoded::{Decoded, Step};
pub use encoded_part::EncodedPart;
pub use encoder::Encoder;
pub use seek_table::{Frames, SeekTable};

use std::borrow::Cow;

use crate::failure::Failure;
use stored::StoredBytes;

/// Decodes one object, from where it is put to the object's end.
trait Decoder: Send {
    /// Decodes on into `into`, which has room. A decoder that said [`Step::End`] is not asked again.
    ///
    /// # Errors
    ///
    /// Why it cannot go on; all that was decoded before has been given.
    fn next(&mut self, stored: &mut StoredBytes<'_>, into: &mut [u8]) -> Result<Step, Trouble>;

    /// Bytes of memory that it takes.
    fn memory(&self) -> usize;
}

/// Why decoding cannot go on.
#[derive(Debug)]
enum Trouble {
    /// The object cannot be read.
    Input(Failure),
    /// It does not begin as its form says.
    OtherForm,
    /// It ends too early.
    CutShort,
    /// Something else follows its end.
    Garbage,
    /// It is damaged, in this way.
    Damage(Cow<'static, str>),
    /// Decoding takes more memory than it may: so many bytes, where that is known.
    Memory(Option<u64>),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Input(failure)
    }
}

impl Trouble {
    fn damage(what: &'static str) -> Self {
        Trouble::Damage(Cow::Borrowed(what))
    }
}
