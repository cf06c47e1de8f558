//! The form of an object picks what reads it. Every reader hands on blocks of whole records.

use gristmill_common::content::{form_of, not_read};
use gristmill_common::failure::Failure;
use gristmill_common::form::{Codec, Form};
use gristmill_common::input::Framing;
use gristmill_common::objects::OpenObject;
use gristmill_common::size::ByteSize;
use gristmill_common::spec::JobSpec;
use gristmill_common::task::Piece;

use super::decoded::{DecodedSource, Decoding};
use super::piece::{PieceReader, RawBlock, ReadBuffer};
use super::plain::PlainSource;

/// What is the same for all pieces of an attempt.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Reading<'a> {
    /// Where records begin and end.
    pub(in crate::engine) framing: Framing<'a>,
    /// The largest record.
    pub(in crate::engine) max_record: ByteSize,
    /// The form that was asked for all objects.
    pub(in crate::engine) form: Option<Form>,
}

impl<'a> Reading<'a> {
    /// Reads records of this framing as the spec says.
    pub(in crate::engine) fn new(spec: &JobSpec, framing: Framing<'a>) -> Self {
        Self { framing, max_record: spec.max_record_bytes(), form: spec.input_form }
    }
}

/// The records of one piece, whatever the form of its object.
pub(in crate::engine) enum PieceRecords<'a> {
    /// None begins in it.
    None,
    /// They are cut from the object's content.
    Framed(PieceReader<'a>),
}

impl<'a> PieceRecords<'a> {
    /// Opens a piece of an object, which is `open`.
    ///
    /// # Errors
    ///
    /// As [`next_block`](Self::next_block).
    pub(in crate::engine) fn open(
        open: &'a dyn OpenObject,
        piece: &'a Piece,
        how: &Reading<'a>,
        buffer: &'a mut ReadBuffer,
    ) -> Result<Self, Failure> {
        if piece.start >= piece.end {
            return Ok(PieceRecords::None);
        }
        let (object, framing) = (&*piece.object, how.framing);
        match form_of(object, how.form, open)? {
            Form::Plain => {
                let source = Box::new(PlainSource::new(open, piece, framing));
                PieceReader::start(source, object, framing, how.max_record, buffer).map(PieceRecords::Framed)
            }
            Form::Compressed(codec) => Self::decoded(open, piece, how, codec, buffer),
            Form::SeekableZstd => Self::decoded(open, piece, how, Codec::Zstd, buffer),
            Form::Parquet => Err(not_read(object, Form::Parquet)),
        }
    }

    fn decoded(
        open: &'a dyn OpenObject,
        piece: &'a Piece,
        how: &Reading<'a>,
        codec: Codec,
        buffer: &'a mut ReadBuffer,
    ) -> Result<Self, Failure> {
        // What an object asks for is bounded as its records are.
        let decoding = Decoding { codec, memory: how.max_record.bytes() };
        let Some(source) = DecodedSource::open(open, piece, how.framing, decoding)? else {
            return Ok(PieceRecords::None);
        };
        PieceReader::start(Box::new(source), &piece.object, how.framing, how.max_record, buffer)
            .map(PieceRecords::Framed)
    }

    /// The next block; `None` at the end of the piece.
    ///
    /// # Errors
    ///
    /// What keeps the piece from being read, with its offset; `INPUT_DAMAGED` where the object is not in
    /// its form.
    pub(in crate::engine) fn next_block(&mut self) -> Result<Option<RawBlock<'_>>, Failure> {
        match self {
            PieceRecords::None => Ok(None),
            PieceRecords::Framed(reader) => reader.next_block(),
        }
    }

    /// Whether the bytes of its records are bytes of the object.
    pub(in crate::engine) fn is_plain(&self) -> bool {
        match self {
            PieceRecords::None => false,
            PieceRecords::Framed(reader) => reader.is_plain(),
        }
    }
}
