//! gzip (RFC 1952), any number of members, and zlib (RFC 1950), one stream.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::stored::StoredBytes;
use super::{Decoder, Step, Trouble};

/// Memory of an inflater: its window and its tables.
const INFLATE_BYTES: usize = 64 << 10;

/// Flags of a member's header.
const HEADER_CHECKSUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The first member, or stream.
    Beginning,
    /// Deflated content.
    Content,
    /// Another member, or the end.
    Behind,
}

/// Decodes gzip.
pub(super) struct GzipDecoder {
    at: At,
    inflate: Decompress,
    checksum: Crc,
}

impl GzipDecoder {
    pub(super) fn new() -> Self {
        Self { at: At::Beginning, inflate: Decompress::new(false), checksum: Crc::new() }
    }

    fn end_member(&mut self, stored: &mut StoredBytes<'_>) -> Result<(), Trouble> {
        let trailer: [u8; 8] = stored.take_array()?.ok_or(Trouble::CutShort)?;
        let expected = u64::from_le_bytes(trailer);
        let found = u64::from(self.checksum.amount()) << 32 | u64::from(self.checksum.sum());
        if expected as u32 != found as u32 {
            return Err(Trouble::damage("the checksum of what it holds does not match"));
        }
        if expected != found {
            return Err(Trouble::damage("what it holds has not the length that it says"));
        }
        self.at = At::Behind;
        Ok(())
    }
}

impl Decoder for GzipDecoder {
    fn next(&mut self, stored: &mut StoredBytes<'_>, into: &mut [u8]) -> Result<Step, Trouble> {
        loop {
            match self.at {
                At::Behind if stored.is_at_end() => return Ok(Step::End),
                At::Beginning | At::Behind => {
                    pass_header(stored, self.at == At::Beginning)?;
                    self.inflate.reset(false);
                    self.checksum.reset();
                    self.at = At::Content;
                }
                At::Content => {
                    let (got, ended) = inflate(&mut self.inflate, stored, into)?;
                    self.checksum.update(&into[..got]);
                    if ended {
                        self.end_member(stored)?;
                    }
                    if got > 0 {
                        return Ok(Step::Bytes(got));
                    }
                }
            }
        }
    }

    fn memory(&self) -> usize {
        INFLATE_BYTES
    }
}

/// Passes a member's header.
fn pass_header(stored: &mut StoredBytes<'_>, is_first: bool) -> Result<(), Trouble> {
    let head = stored.peek(4)?;
    if !b"\x1f\x8b".starts_with(&head[..head.len().min(2)]) {
        return Err(if is_first { Trouble::OtherForm } else { Trouble::Garbage });
    }
    let Some(&[_, _, method, flags]) = head.first_chunk() else { return Err(Trouble::CutShort) };
    if method != 8 || flags & RESERVED != 0 {
        return Err(Trouble::damage("a member's header is not one"));
    }
    let _: [u8; 10] = stored.take_array()?.ok_or(Trouble::CutShort)?;
    if flags & EXTRA != 0 {
        let length: [u8; 2] = stored.take_array()?.ok_or(Trouble::CutShort)?;
        if !stored.skip(u16::from_le_bytes(length).into()) {
            return Err(Trouble::CutShort);
        }
    }
    for _ in [NAME, COMMENT].into_iter().filter(|text| flags & text != 0) {
        // It ends with a zero.
        while stored.take_array::<1>()?.ok_or(Trouble::CutShort)? != [0] {}
    }
    if flags & HEADER_CHECKSUM != 0 && !stored.skip(2) { Err(Trouble::CutShort) } else { Ok(()) }
}

/// Inflates some bytes into `into`; how many, and whether that was the end.
fn inflate(inflate: &mut Decompress, stored: &mut StoredBytes<'_>, into: &mut [u8]) -> Result<(usize, bool), Trouble> {
    loop {
        let input = stored.fill()?;
        let is_end = input.is_empty();
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(input, into, FlushDecompress::None);
        let used = (inflate.total_in() - before_in) as usize;
        let got = (inflate.total_out() - before_out) as usize;
        stored.consume(used);
        match status {
            Err(_) => return Err(Trouble::damage("its deflated content is damaged")),
            Ok(Status::StreamEnd) => return Ok((got, true)),
            Ok(Status::Ok | Status::BufError) if got > 0 => return Ok((got, false)),
            Ok(Status::Ok | Status::BufError) if is_end => return Err(Trouble::CutShort),
            Ok(Status::Ok | Status::BufError) => {}
        }
    }
}

/// Decodes zlib.
pub(super) struct ZlibDecoder {
    at: At,
    inflate: Decompress,
}

impl ZlibDecoder {
    pub(super) fn new() -> Self {
        Self { at: At::Beginning, inflate: Decompress::new(true) }
    }
}

impl Decoder for ZlibDecoder {
    fn next(&mut self, stored: &mut StoredBytes<'_>, into: &mut [u8]) -> Result<Step, Trouble> {
        loop {
            match self.at {
                At::Behind if stored.is_at_end() => return Ok(Step::End),
                At::Behind => return Err(Trouble::Garbage),
                At::Beginning => {
                    // Deflate with a window of at most 32 KiB, no dictionary, and a check of these two bytes.
                    match *stored.peek(2)? {
                        [method, flags] => {
                            let is_one = method & 0x0f == 8 && method >> 4 <= 7 && flags & 0x20 == 0;
                            if !is_one || u16::from_be_bytes([method, flags]) % 31 != 0 {
                                return Err(Trouble::OtherForm);
                            }
                        }
                        _ => return Err(Trouble::CutShort),
                    }
                    self.at = At::Content;
                }
                At::Content => {
                    let (got, ended) = inflate(&mut self.inflate, stored, into)?;
                    if ended {
                        self.at = At::Behind;
                    }
                    if got > 0 {
                        return Ok(Step::Bytes(got));
                    }
                }
            }
        }
    }

    fn memory(&self) -> usize {
        INFLATE_BYTES
    }
}
