//! Content is compressed piece by piece, each for itself, by one encoder for any number of files: what an
//! encoder remembers is large, what a file remembers is not. Equal pieces give equal bytes.
//!
//! | codec | a file is |
//! |---|---|
//! | gzip, deflate | one member or stream; each piece is deflated anew and ends with a whole byte |
//! | bzip2, xz | a stream for each piece |
//! | zstd | a frame, with a checksum, for each piece, and a table of them at the end (`seek_table.rs`) |
//! | lz4 | one frame of blocks that are not linked, with a checksum |
//! | snappy | one stream of the framing format |

use std::io;

use flate2::{Compress, Compression, FlushCompress, Status};
use liblzma::stream as xz;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::crc32c::masked_crc32c;
use super::encoded_part::{EncodedPart, State};
use super::{lz4, snappy};
use crate::form::Codec;
use crate::size::ByteSize;

/// Bytes of content of a piece of most codecs. Larger ones compress a little better; several tasks read a
/// file of smaller ones more evenly, and a record that crosses the border of two costs less.
const PIECE_BYTES: usize = 1 << 20;

/// The least bytes of a piece where it takes memory by its size.
const MIN_PIECE_BYTES: usize = 256 << 10;

/// The most.
const MAX_PIECE_BYTES: usize = 8 << 20;

/// The part of an attempt's memory that compressing may take.
const SHARE: u64 = 8;

/// Bytes that bzip2 takes besides those for each level.
const BZIP2_BYTES: u64 = 400 << 10;

/// Bytes that bzip2 takes for each level.
const BZIP2_LEVEL_BYTES: u64 = 800_000;

/// Content of a block of bzip2 for each level, less what runs of equal bytes may add.
const BZIP2_PIECE_BYTES: usize = 99_000;

/// Bytes of memory that xz takes for each byte of its dictionary, rounded up.
const XZ_FACTOR: u64 = 8;

/// How a block of LZ4 is said to be of at most 256 KiB.
const LZ4_BLOCK_CODE: u8 = 5;
const LZ4_BLOCK_BYTES: usize = 256 << 10;

/// Bytes by which output is made longer while a library fills it.
const GROW_BYTES: usize = 64 << 10;

/// What deflate's last block is if it is empty.
const EMPTY_LAST_BLOCK: [u8; 2] = [3, 0];

/// Compresses pieces of files.
pub struct Encoder {
    codec: Codec,
    kind: Kind,
    piece_bytes: usize,
}

enum Kind {
    Deflate(Box<Compress>),
    Bzip2 { level: u32 },
    Zstd { compressor: Compressor<'static>, frame: Vec<u8> },
    Lz4 { block: Vec<u8> },
    Snappy { encoder: Box<snap::raw::Encoder>, chunk: Vec<u8> },
    Xz { dictionary: u32 },
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("codec", &self.codec).finish_non_exhaustive()
    }
}

impl Encoder {
    /// Compresses in a small part of this memory.
    ///
    /// # Errors
    ///
    /// If a library refuses to begin.
    pub fn new(codec: Codec, attempt_bytes: ByteSize) -> io::Result<Self> {
        let memory = attempt_bytes.bytes() / SHARE;
        let (kind, piece_bytes) = match codec {
            Codec::Gzip | Codec::Deflate => {
                (Kind::Deflate(Box::new(Compress::new(Compression::default(), false))), PIECE_BYTES)
            }
            Codec::Bzip2 => {
                let level = (memory.saturating_sub(BZIP2_BYTES) / BZIP2_LEVEL_BYTES).clamp(1, 9) as u32;
                (Kind::Bzip2 { level }, level as usize * BZIP2_PIECE_BYTES)
            }
            Codec::Zstd => {
                let mut compressor = Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL)?;
                compressor.set_parameter(CParameter::ChecksumFlag(true))?;
                let frame = Vec::with_capacity(zstd::zstd_safe::compress_bound(PIECE_BYTES));
                (Kind::Zstd { compressor, frame }, PIECE_BYTES)
            }
            Codec::Lz4 => {
                let most = lz4_flex::block::get_maximum_output_size(LZ4_BLOCK_BYTES);
                (Kind::Lz4 { block: vec![0; most] }, PIECE_BYTES)
            }
            Codec::Snappy => {
                let chunk = vec![0; snap::raw::max_compress_len(snappy::FRAME_BYTES)];
                (Kind::Snappy { encoder: Box::new(snap::raw::Encoder::new()), chunk }, PIECE_BYTES)
            }
            Codec::Xz => {
                let piece = ((memory / XZ_FACTOR) as usize).clamp(MIN_PIECE_BYTES, MAX_PIECE_BYTES);
                (Kind::Xz { dictionary: piece as u32 }, piece)
            }
        };
        Ok(Self { codec, kind, piece_bytes })
    }

    /// Bytes of content that make a good piece.
    pub fn piece_bytes(&self) -> usize {
        self.piece_bytes
    }

    /// A file without content as yet.
    pub fn begin(&self) -> EncodedPart {
        EncodedPart::new(self.codec)
    }

    /// Appends some more content of a file, compressed, to `out`. More than a good piece are several.
    ///
    /// # Errors
    ///
    /// If a library cannot go on.
    pub fn encode(&mut self, part: &mut EncodedPart, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        content.chunks(self.piece_bytes).try_for_each(|piece| self.encode_piece(part, piece, out))
    }

    /// Appends what ends a file, which may have no content.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn finish(&mut self, part: &mut EncodedPart, out: &mut Vec<u8>) -> io::Result<()> {
        if !part.is_begun {
            // Even nothing has a beginning.
            self.encode_piece(part, &[], out)?;
        }
        match &part.state {
            State::Gzip(checksum) => {
                out.extend_from_slice(&EMPTY_LAST_BLOCK);
                out.extend_from_slice(&checksum.sum().to_le_bytes());
                out.extend_from_slice(&checksum.amount().to_le_bytes());
            }
            State::Deflate(checksum) => {
                out.extend_from_slice(&EMPTY_LAST_BLOCK);
                out.extend_from_slice(&checksum.value().to_be_bytes());
            }
            State::Zstd(table) => table.write(out),
            State::Lz4(checksum) => {
                out.extend_from_slice(&[0; 4]);
                out.extend_from_slice(&checksum.digest().to_le_bytes());
            }
            State::Pieces | State::Snappy => {}
        }
        Ok(())
    }

    fn encode_piece(&mut self, part: &mut EncodedPart, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let begins = !std::mem::replace(&mut part.is_begun, true);
        match (&mut self.kind, &mut part.state) {
            (Kind::Deflate(deflate), State::Gzip(checksum)) => {
                if begins {
                    // No time, no name, no system: the same bytes wherever it is written.
                    out.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
                }
                checksum.update(piece);
                deflate_piece(deflate, piece, out)
            }
            (Kind::Deflate(deflate), State::Deflate(checksum)) => {
                if begins {
                    out.extend_from_slice(&[0x78, 0x9c]);
                }
                checksum.update(piece);
                deflate_piece(deflate, piece, out)
            }
            (Kind::Bzip2 { level }, State::Pieces) => bzip2_stream(*level, piece, out),
            (Kind::Xz { dictionary }, State::Pieces) => xz_stream(*dictionary, piece, out),
            (Kind::Zstd { compressor, frame }, State::Zstd(table)) => {
                frame.clear();
                frame.reserve(zstd::zstd_safe::compress_bound(piece.len()));
                compressor.compress_to_buffer(piece, frame)?;
                table.add(frame.len(), piece.len());
                out.extend_from_slice(frame);
                Ok(())
            }
            (Kind::Lz4 { block }, State::Lz4(checksum)) => {
                if begins {
                    lz4_header(out);
                }
                checksum.update(piece);
                piece.chunks(LZ4_BLOCK_BYTES).try_for_each(|content| lz4_block(content, block, out))
            }
            (Kind::Snappy { encoder, chunk }, State::Snappy) => {
                if begins {
                    out.extend_from_slice(&snappy::STREAM);
                }
                piece.chunks(snappy::FRAME_BYTES).try_for_each(|content| snappy_chunk(encoder, content, chunk, out))
            }
            _ => Err(io::Error::other("the file was begun by an encoder of another codec")),
        }
    }
}

/// Deflates a piece without what was before it, up to a whole byte.
fn deflate_piece(deflate: &mut Compress, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    if piece.is_empty() {
        return Ok(());
    }
    deflate.reset();
    loop {
        out.reserve(GROW_BYTES);
        let rest = &piece[deflate.total_in() as usize..];
        match deflate.compress_vec(rest, out, FlushCompress::Sync)? {
            // Room is left only when all has been said.
            Status::Ok | Status::BufError if out.len() < out.capacity() => return Ok(()),
            Status::Ok | Status::BufError | Status::StreamEnd => {}
        }
    }
}

fn bzip2_stream(level: u32, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut stream = bzip2::Compress::new(bzip2::Compression::new(level), 0);
    loop {
        out.reserve(GROW_BYTES);
        let rest = &piece[stream.total_in() as usize..];
        if stream.compress_vec(rest, out, bzip2::Action::Finish)? == bzip2::Status::StreamEnd {
            return Ok(());
        }
    }
}

fn xz_stream(dictionary: u32, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut options = xz::LzmaOptions::new_preset(3)?;
    options.dict_size(dictionary);
    let mut filters = xz::Filters::new();
    filters.lzma2(&options);
    let mut stream = xz::Stream::new_stream_encoder(&filters, xz::Check::Crc64)?;
    loop {
        out.reserve(GROW_BYTES);
        let rest = &piece[stream.total_in() as usize..];
        if stream.process_vec(rest, out, xz::Action::Finish)? == xz::Status::StreamEnd {
            return Ok(());
        }
    }
}

/// Appends the header of a frame with blocks that are not linked, and a checksum.
fn lz4_header(out: &mut Vec<u8>) {
    let described = [0b0110_0100, LZ4_BLOCK_CODE << 4];
    out.extend_from_slice(&lz4::MAGIC);
    out.extend_from_slice(&described);
    out.push((xxhash_rust::xxh32::xxh32(&described, 0) >> 8) as u8);
}

fn lz4_block(content: &[u8], block: &mut [u8], out: &mut Vec<u8>) -> io::Result<()> {
    let bytes = lz4_flex::block::compress_into(content, block).map_err(io::Error::other)?;
    let (stored, flag) = if bytes < content.len() { (&block[..bytes], 0) } else { (content, lz4::UNCOMPRESSED) };
    let length = u32::try_from(stored.len()).expect("a block has at most 256 KiB");
    out.extend_from_slice(&(length | flag).to_le_bytes());
    out.extend_from_slice(stored);
    Ok(())
}

fn snappy_chunk(
    encoder: &mut snap::raw::Encoder,
    content: &[u8],
    chunk: &mut [u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let bytes = encoder.compress(content, chunk).map_err(io::Error::other)?;
    // As the format's description advises: what shrinks by less than an eighth stays as it is.
    let (stored, kind) = if bytes <= content.len() - content.len() / 8 {
        (&chunk[..bytes], snappy::COMPRESSED)
    } else {
        (content, snappy::UNCOMPRESSED)
    };
    let length = u32::try_from(stored.len() + 4).expect("a chunk has at most 64 KiB");
    out.extend_from_slice(&(length << 8 | u32::from(kind)).to_le_bytes());
    out.extend_from_slice(&masked_crc32c(content).to_le_bytes());
    out.extend_from_slice(stored);
    Ok(())
}
