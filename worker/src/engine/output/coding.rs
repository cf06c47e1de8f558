//! How parts are stored: as they are, or compressed. What an encoder remembers serves all parts of an
//! attempt; what comes out of it is bounded, whatever goes in.

use std::io;

use gristmill_common::compression::{EncodedPart, Encoder};
use gristmill_common::form::Codec;
use gristmill_common::size::ByteSize;
use gristmill_common::spec::JobSpec;

use super::rows::RowFormat;

/// Bytes collected before the file is written to, where they are stored as they are.
pub(super) const WRITE_BYTES: usize = 1 << 20;

/// How a job asks for its parts to be stored, the size at which another one begins, and the memory of an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoredAs {
    pub(super) codec: Option<Codec>,
    pub(super) attempt_bytes: ByteSize,
    /// No part is that large if there is to be only one.
    pub(super) part_bytes: u64,
}

impl StoredAs {
    /// As the job asks for, where a format that compresses for itself leaves nothing to do.
    pub(super) fn of(spec: &JobSpec, format: Option<&RowFormat>) -> Self {
        let codec = spec.output_compression.filter(|_| !format.is_some_and(RowFormat::compresses));
        let part_bytes = spec.part_size.map_or(u64::MAX, ByteSize::bytes);
        Self { codec, attempt_bytes: spec.attempt_bytes, part_bytes }
    }
}

/// Stores parts as a job asks for.
#[derive(Debug)]
pub(super) struct Coding {
    compressing: Option<Compressing>,
}

#[derive(Debug)]
struct Compressing {
    encoder: Encoder,
    /// One piece, compressed.
    out: Vec<u8>,
}

impl Coding {
    /// As it was asked for.
    ///
    /// # Errors
    ///
    /// If an encoder refuses to begin.
    pub(super) fn new(asked: StoredAs) -> io::Result<Self> {
        let compressing = |codec| {
            let encoder = Encoder::new(codec, asked.attempt_bytes)?;
            io::Result::Ok(Compressing { encoder, out: Vec::new() })
        };
        Ok(Self { compressing: asked.codec.map(compressing).transpose()? })
    }

    /// A part without content as yet; `None` if parts are stored as they are.
    pub(super) fn begin(&self) -> Option<EncodedPart> {
        self.compressing.as_ref().map(|compressing| compressing.encoder.begin())
    }

    /// Bytes of content that are stored at once, `plain` if they are stored as they are.
    pub(super) fn piece_bytes(&self, plain: usize) -> usize {
        self.compressing.as_ref().map_or(plain, |compressing| compressing.encoder.piece_bytes())
    }

    /// How much of what is pending is to be stored now: all of it, or as many whole pieces as there are, so
    /// that no piece is smaller because a record ended there.
    pub(super) fn whole_pieces(&self, pending: usize) -> usize {
        self.compressing.as_ref().map_or(pending, |compressing| pending - pending % compressing.encoder.piece_bytes())
    }

    /// Hands what stands for some more content of a part to `write`.
    ///
    /// # Errors
    ///
    /// As `write` says, or the encoder.
    pub(super) fn store(
        &mut self,
        part: &mut Option<EncodedPart>,
        content: &[u8],
        mut write: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let (Some(Compressing { encoder, out }), Some(part)) = (&mut self.compressing, part) else {
            return write(content);
        };
        content.chunks(encoder.piece_bytes()).try_for_each(|piece| {
            out.clear();
            encoder.encode(part, piece, out)?;
            write(out)
        })
    }

    /// Hands what ends a part to `write`.
    ///
    /// # Errors
    ///
    /// As [`store`](Self::store).
    pub(super) fn end(
        &mut self,
        part: &mut Option<EncodedPart>,
        write: impl FnOnce(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let (Some(Compressing { encoder, out }), Some(part)) = (&mut self.compressing, part) else { return Ok(()) };
        out.clear();
        encoder.finish(part, out)?;
        write(out)
    }
}
