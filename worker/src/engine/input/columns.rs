//! Files of columns: the rows of the row groups that a piece owns, as blocks of records. How rows are read is the
//! business of `common`; here they are counted and named.

use gristmill_common::content::damaged;
use gristmill_common::failure::{Failure, FailureCode, InputPosition};
use gristmill_common::formats::parquet::{GroupRows, ParquetFile, ParquetProblem, RowForm, Wanted};
use gristmill_common::input::Framing;
use gristmill_common::objects::{OpenObject, failure_of};
use gristmill_common::record_offset::RecordOffset;
use gristmill_common::size::ByteSize;
use gristmill_common::task::{InputObject, Piece};
use gristmill_common::text::LineRule;

use super::piece::{RawBlock, ReadBuffer};
use crate::engine::failures;

/// Bytes of rows that are given at once. As large as the blocks in which text is read.
const BLOCK_BYTES: usize = 512 << 10;

/// What is wanted of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct RowsWanted {
    /// Whether they are handed on as rows, and not as text.
    pub(in crate::engine) is_row: bool,
    /// Whether as text they are objects, whatever the columns.
    pub(in crate::engine) objects: bool,
    /// The columns.
    pub(in crate::engine) columns: Wanted,
}

/// The rows of a piece.
pub(in crate::engine) struct ColumnRows<'a> {
    object: &'a InputObject,
    buffer: &'a mut Vec<u8>,
    file: ParquetFile,
    /// The row groups of the piece that are left, the last one first.
    groups: Vec<usize>,
    /// The one in hand.
    group: Option<Group>,
    wanted: &'a RowsWanted,
    form: RowForm,
    /// Where a row ends in a block.
    framing: Framing<'a>,
    max_record: ByteSize,
}

/// A row group in hand.
struct Group {
    number: usize,
    rows: GroupRows,
    /// Rows that were given, and their bytes.
    given: u64,
    given_bytes: u64,
}

impl<'a> ColumnRows<'a> {
    /// Opens the piece's file, of which `open` is another handle than the one that others read.
    ///
    /// # Errors
    ///
    /// `INPUT_DAMAGED` if it is no file of columns; as reading otherwise.
    pub(super) fn open(
        open: Box<dyn OpenObject>,
        piece: &'a Piece,
        (framing, wanted): (Framing<'a>, &'a RowsWanted),
        (max_record, max_pages): (ByteSize, ByteSize),
        buffer: &'a mut ReadBuffer,
    ) -> Result<Self, Failure> {
        let object = &*piece.object;
        let file =
            ParquetFile::open(open, object.size, max_pages.bytes()).map_err(|problem| failed(object, problem))?;
        let mut groups = file.groups_in(piece.start, piece.end);
        groups.reverse();
        let (form, framing) = match framing {
            _ if wanted.is_row => (RowForm::Rows, Framing::Rows),
            Framing::Text(rule) => (text_of(rule, wanted.objects), framing),
            Framing::Length(_) | Framing::Whole | Framing::Warc | Framing::Rows => {
                let message = format!("cannot read input {}: the job reads no rows, and it has no others", object.uri);
                return Err(damaged(object, 0, &message));
            }
        };
        let buffer = buffer.bytes();
        Ok(Self { object, buffer, file, groups, group: None, wanted, form, framing, max_record })
    }

    /// Whether they are rows, and not text.
    pub(super) fn is_row(&self) -> bool {
        self.wanted.is_row
    }

    /// The next rows.
    ///
    /// # Errors
    ///
    /// `INPUT_DAMAGED` where the file is damaged, with row group and column; `RECORD_TOO_LARGE` at a row beyond the
    /// limit.
    pub(super) fn next_block(&mut self) -> Result<Option<RawBlock<'_>>, Failure> {
        self.buffer.clear();
        loop {
            let mut group = match self.group.take() {
                Some(group) => group,
                None => {
                    let Some(number) = self.groups.pop() else { return Ok(None) };
                    let rows = self.file.read_group(number, &self.wanted.columns, self.form.clone());
                    let rows = rows.map_err(|problem| failed(self.object, problem))?;
                    Group { number, rows, given: 0, given_bytes: 0 }
                }
            };
            let rows = group.rows.fill(self.buffer, BLOCK_BYTES).map_err(|problem| failed(self.object, problem))?;
            if rows > 0 {
                self.check_rows(&group)?;
                let offset = RecordOffset::RowGroup { group: group.number as u64, place: group.given_bytes }.bits();
                let row = Some(group.given);
                group.given += rows as u64;
                group.given_bytes += self.buffer.len() as u64;
                let stored_to = self.stored_to(&group);
                self.group = Some(group);
                let pages = usize::try_from(self.file.page_bytes()).unwrap_or(usize::MAX);
                let buffer_bytes = self.buffer.capacity().saturating_add(pages);
                return Ok(Some(RawBlock { bytes: self.buffer, offset, stored_to, buffer_bytes, row }));
            }
        }
    }

    /// About where reading has come to in the object.
    fn stored_to(&self, group: &Group) -> u64 {
        let (start, bytes) = self.file.stored_place(group.number);
        let rows = self.file.rows_of(group.number).max(1);
        start + (u128::from(bytes) * u128::from(group.given) / u128::from(rows)) as u64
    }

    /// Checks the rows of the block, of which one can be too large only if they are many.
    fn check_rows(&self, group: &Group) -> Result<(), Failure> {
        let most = self.max_record.as_usize();
        let (mut start, mut row) = (0, group.given);
        while self.buffer.len() > most && start < self.buffer.len() {
            let span = self.framing.record_at(self.buffer, start);
            if span.end - start > most {
                let what = format!("row {row} of row group {}", group.number);
                let place = group.given_bytes + start as u64;
                let offset = RecordOffset::RowGroup { group: group.number as u64, place }.bits();
                let position = InputPosition { object: self.object.uri.to_string(), offset };
                return Err(failures::record_too_large(&what, span.end - start, self.max_record).at(position));
            }
            (start, row) = (span.next, row + 1);
        }
        Ok(())
    }
}

/// Rows as text whose records end as the rule says.
fn text_of(rule: &LineRule, objects: bool) -> RowForm {
    let end = match rule {
        LineRule::Lf | LineRule::Any | LineRule::Quoted => b"\n".to_vec(),
        LineRule::Delimiter(delimiter) => delimiter.bytes().to_vec(),
    };
    RowForm::Text { end, objects, quoted: *rule == LineRule::Quoted }
}

fn failed(object: &InputObject, problem: ParquetProblem) -> Failure {
    match problem {
        ParquetProblem::Object(error) => failure_of(object, error),
        damage @ ParquetProblem::Damaged { row_group, .. } => {
            let place = row_group.map_or(0, |group| RecordOffset::RowGroup { group: group as u64, place: 0 }.bits());
            damaged(object, place, &format!("cannot read {} as a Parquet file: {damage}", object.uri))
        }
        large @ ParquetProblem::Memory { row_group, .. } => {
            let offset = RecordOffset::RowGroup { group: row_group as u64, place: 0 }.bits();
            let position = InputPosition { object: object.uri.to_string(), offset };
            let message = format!("cannot read {} as a Parquet file: {large}", object.uri);
            Failure::new(FailureCode::RecordTooLarge, message).at(position)
        }
    }
}
