//! The form of an object picks what reads it. Every reader hands on blocks of whole records.

use std::sync::Arc;

use gristmill_common::content::form_of;
use gristmill_common::failure::Failure;
use gristmill_common::form::{Codec, Form};
use gristmill_common::formats::parquet::Wanted;
use gristmill_common::input::{Columns, Framing, Heading, Input};
use gristmill_common::objects::{ObjectReader, OpenObject};
use gristmill_common::size::ByteSize;
use gristmill_common::spec::JobSpec;
use gristmill_common::task::Piece;

use super::columns::{ColumnRows, RowsWanted};
use super::decoded::{DecodedSource, Decoding};
use super::piece::{PieceReader, RawBlock, ReadBuffer};
use super::plain::PlainSource;

/// Bytes read at once in search of a heading.
const HEADING_READ_BYTES: usize = 16 << 10;

/// What is the same for all pieces of an attempt.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Reading<'a> {
    /// Where records begin and end.
    pub(in crate::engine) framing: Framing<'a>,
    /// The largest record.
    pub(in crate::engine) max_record: ByteSize,
    /// The most that pages of columns may take in memory.
    max_pages: ByteSize,
    /// The form that was asked for all objects.
    pub(in crate::engine) form: Option<Form>,
    /// Whether the first record of an object tells what the others mean.
    has_heading: bool,
    /// What is wanted of files of columns.
    rows: RowsWanted,
    /// Opens what is read by more than one reader.
    objects: &'a dyn ObjectReader,
}

impl<'a> Reading<'a> {
    /// Reads records of a type from inputs of a role as the spec says; of files of columns the columns of these names,
    /// or all.
    pub(in crate::engine) fn of<I: Input>(
        spec: &'a JobSpec,
        role: u32,
        columns: Option<Vec<String>>,
        objects: &'a dyn ObjectReader,
    ) -> Self {
        let reading = I::reading(role);
        let columns = columns.map_or(Wanted::All, Wanted::Named);
        Self {
            framing: I::framing(&spec.line_rule, role),
            max_record: spec.max_record_bytes(),
            // As much as records may that are collected; the more of it is taken, the fewer these can be.
            max_pages: ByteSize(spec.attempt_bytes.bytes() / 4 * 3),
            form: spec.input_form,
            has_heading: reading.heading,
            rows: RowsWanted {
                is_row: !matches!(reading.columns, Columns::AsText | Columns::AsObjects),
                objects: reading.columns == Columns::AsObjects,
                columns,
            },
            objects,
        }
    }

    /// Reads records of objects of a form, up to 4 MiB each.
    #[cfg(test)]
    pub(super) fn testing(form: Form, framing: Framing<'a>) -> Self {
        let rows = RowsWanted { is_row: false, objects: false, columns: Wanted::All };
        let (max_record, max_pages, form) = (ByteSize::mib(4), ByteSize::mib(12), Some(form));
        Self {
            framing,
            max_record,
            max_pages,
            form,
            has_heading: false,
            rows,
            objects: &gristmill_common::objects::LocalObjects,
        }
    }

    /// Where the records end of a piece whose records are rows, or not.
    pub(in crate::engine) fn framing_of(&self, is_row: bool) -> Framing<'a> {
        if is_row { Framing::Rows } else { self.framing }
    }
}

/// The heading of a piece's object, if its type has one: the first record of `first`, the block that begins the
/// object, or read from the object.
///
/// # Errors
///
/// As [`PieceRecords::next_block`].
pub(in crate::engine) fn heading_of(
    open: &dyn OpenObject,
    piece: &Piece,
    how: &Reading<'_>,
    first: Option<&[u8]>,
) -> Result<Option<Heading>, Failure> {
    let record = |block: &[u8]| Heading::new(block[..how.framing.record_at(block, 0).end].to_vec());
    if !how.has_heading {
        return Ok(None);
    }
    if let Some(block) = first {
        return Ok(Some(record(block)));
    }
    let mut buffer = ReadBuffer::reading(HEADING_READ_BYTES);
    let beginning = Piece { object: Arc::clone(&piece.object), start: 0, end: piece.object.size.min(1) };
    let mut records = PieceRecords::open(open, &beginning, how, &mut buffer)?;
    let block = records.next_block()?;
    Ok(block.map(|block| record(block.bytes)))
}

/// The records of one piece, whatever the form of its object.
pub(in crate::engine) enum PieceRecords<'a> {
    /// None begins in it.
    None,
    /// They are cut from the object's content.
    Framed(PieceReader<'a>),
    /// They are rows of the object's columns.
    Columns(Box<ColumnRows<'a>>),
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
        how: &'a Reading<'a>,
        buffer: &'a mut ReadBuffer,
    ) -> Result<Self, Failure> {
        if piece.start >= piece.end {
            return Ok(PieceRecords::None);
        }
        let (object, framing) = (&*piece.object, how.framing);
        match form_of(object, how.form, open)? {
            // All records belong to the piece that begins the object.
            Form::Plain if !framing.is_splittable() && piece.start > 0 => Ok(PieceRecords::None),
            Form::Plain => {
                let source = Box::new(PlainSource::new(open, piece, framing));
                PieceReader::start(source, object, framing, how.max_record, buffer).map(PieceRecords::Framed)
            }
            Form::Compressed(codec) => Self::decoded(open, piece, how, codec, buffer),
            Form::SeekableZstd => Self::decoded(open, piece, how, Codec::Zstd, buffer),
            Form::Parquet => {
                // Readers of columns hold on to it.
                let open = how.objects.open(object)?;
                ColumnRows::open(open, piece, (framing, &how.rows), (how.max_record, how.max_pages), buffer)
                    .map(|rows| PieceRecords::Columns(Box::new(rows)))
            }
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
            PieceRecords::Columns(rows) => rows.next_block(),
        }
    }

    /// Whether the bytes of its records are bytes of the object.
    pub(in crate::engine) fn is_plain(&self) -> bool {
        match self {
            PieceRecords::None | PieceRecords::Columns(_) => false,
            PieceRecords::Framed(reader) => reader.is_plain(),
        }
    }

    /// Whether its records are rows, and not what the job's framing says.
    pub(in crate::engine) fn is_row(&self) -> bool {
        match self {
            PieceRecords::None | PieceRecords::Framed(_) => false,
            PieceRecords::Columns(rows) => rows.is_row(),
        }
    }

    /// Whether its records are of a file of columns, which names them itself.
    pub(in crate::engine) fn has_columns(&self) -> bool {
        matches!(self, PieceRecords::Columns(_))
    }
}
