//! The rows of a block of records, and of each the fields that a job wants. Where delimited text has no
//! quote in a block, one scan finds lines and fields together; the result is that of reading record by
//! record.

use gristmill_common::formats::Place;
use gristmill_common::prelude::*;
use gristmill_common::text::LineRule;
use memchr::{memchr, memchr2_iter};

use super::json;
use super::options::{Table, without_mark};

/// Reads rows; keeps its memory from row to row.
#[derive(Debug)]
pub(crate) struct Rows<'t> {
    table: &'t Table,
    wanted: &'t [usize],
    /// Whether a row may not go on behind the last column that is wanted.
    exact: bool,
    places: Vec<Place>,
    unescaped: Vec<u8>,
}

/// The wanted fields of one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    /// The row as it was read.
    pub(crate) record: &'a [u8],
    /// What `places` refer to; the record or the block it lies in.
    base: &'a [u8],
    places: &'a [Place],
    unescaped: &'a [u8],
}

impl<'a> Row<'a> {
    /// The field in the wanted column of this index, without quotes. Of a JSON object, its value as
    /// marked text, which [`Table`] and `write_json` understand.
    #[inline]
    pub(crate) fn field(&self, index: usize) -> &'a [u8] {
        match &self.places[index] {
            Place::Record(range) => &self.base[range.start..range.end],
            Place::Unescaped(range) => &self.unescaped[range.start..range.end],
        }
    }
}

impl<'t> Rows<'t> {
    /// Reads rows of a table; `wanted` are columns, ascending and each once.
    pub(crate) fn new(table: &'t Table, wanted: &'t [usize]) -> Self {
        debug_assert!(wanted.is_sorted_by(|a, b| a < b), "columns are wanted in order");
        Self { table, wanted, exact: false, places: vec![Place::default(); wanted.len()], unescaped: Vec::new() }
    }

    /// Takes rows that have more fields than are wanted for malformed: all columns are wanted.
    pub(crate) fn exact(mut self) -> Self {
        self.exact = true;
        self
    }

    /// Calls `f` with every row of a block. Checks and skips the header of an object, or if it has none
    /// the byte order mark of its first row, and skips empty lines.
    ///
    /// # Errors
    ///
    /// If a header is not the table's, a row is malformed or lacks a wanted column, or `f` fails; the
    /// block then points at the row.
    pub(crate) fn for_each<I: Input>(
        &mut self,
        block: &mut Block<'_, I>,
        mut f: impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        if self.table.json.is_some() {
            return self.objects(block, f);
        }
        let mut begins = block.is_at_beginning();
        if begins
            && let Some(header) = &self.table.header
            && let Some(record) = block.next_raw()
        {
            header.check(record)?;
            begins = false;
        }
        let quoted = self.table.dialect.quotes && memchr(b'"', block.rest()).is_some();
        if matches!(block.rule(), LineRule::Lf) && !quoted {
            self.scan(block, begins, &mut f)?;
            block.skip_to_end();
            return Ok(());
        }
        while let Some(record) = block.next_raw() {
            let record = if std::mem::take(&mut begins) { without_mark(record) } else { record };
            if !record.is_empty() {
                f(&self.read(record)?)?;
            }
        }
        Ok(())
    }

    /// Calls `f` with every JSON object of a block, and skips blank lines.
    fn objects<I: Input>(&mut self, block: &mut Block<'_, I>, mut f: impl FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
        let mut begins = block.is_at_beginning();
        while let Some(record) = block.next_raw() {
            let record = if std::mem::take(&mut begins) { without_mark(record) } else { record };
            if !record.trim_ascii().is_empty() {
                f(&self.read(record)?)?;
            }
        }
        Ok(())
    }

    /// Cuts one record into the fields wanted.
    ///
    /// # Errors
    ///
    /// If it is malformed or lacks a wanted column, which JSON objects may.
    pub(crate) fn read<'a>(&'a mut self, record: &'a [u8]) -> Result<Row<'a>> {
        self.unescaped.clear();
        if let Some(paths) = &self.table.json {
            json::read(record, paths, &mut self.places, &mut self.unescaped)
                .map_err(|reason| RecordError { reason })?;
            return Ok(Row { record, base: record, places: &self.places, unescaped: &self.unescaped });
        }
        let dialect = self.table.dialect;
        let mut at = Some(0);
        let mut column = 0;
        for (index, &wanted) in self.wanted.iter().enumerate() {
            loop {
                let start = at.ok_or_else(|| too_short(self.table, wanted, column))?;
                let (place, next) = dialect
                    .field(record, start, &mut self.unescaped)
                    .map_err(|error| RecordError { reason: error.to_string() })?;
                at = next;
                column += 1;
                if column > wanted {
                    self.places[index] = place;
                    break;
                }
            }
        }
        if self.exact && at.is_some() {
            return Err(too_long(self.table).into());
        }
        Ok(Row { record, base: record, places: &self.places, unescaped: &self.unescaped })
    }

    /// Reads the rows of a block that has no quotes and whose records end at LF; `begins` if the first
    /// may have a byte order mark.
    fn scan<I: Input>(
        &mut self,
        block: &Block<'_, I>,
        begins: bool,
        f: &mut impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let bytes = block.rest();
        let mark = if begins { bytes.len() - without_mark(bytes).len() } else { 0 };
        // The record that a line is begins with the mark, which is no part of the row.
        let point_at = |line: usize| block.point_at(if line == mark { 0 } else { line });
        let mut line = mark;
        while line < bytes.len() {
            let end = self.scan_line(bytes, line).inspect_err(|_| point_at(line))?;
            let content = if bytes[line..end].ends_with(b"\r") { end - 1 } else { end };
            if content > line {
                if let Some(Place::Record(last)) = self.places.last_mut() {
                    last.end = last.end.min(content);
                }
                let row = Row { record: &bytes[line..content], base: bytes, places: &self.places, unescaped: &[] };
                f(&row).inspect_err(|_| point_at(line))?;
            }
            line = end + 1;
        }
        Ok(())
    }

    /// Finds the wanted fields of the line that starts at `line`, and the line's end.
    #[inline]
    fn scan_line(&mut self, bytes: &[u8], line: usize) -> Result<usize> {
        let mut start = line;
        let mut column = 0;
        let mut index = 0;
        let separator = self.table.dialect.separator;
        let mut ends = memchr2_iter(separator, b'\n', &bytes[line..]);
        while index < self.wanted.len() {
            let end = ends.next().map_or(bytes.len(), |len| line + len);
            if column == self.wanted[index] {
                self.places[index] = Place::Record(start..end);
                index += 1;
            }
            column += 1;
            start = end + 1;
            if bytes.get(end) == Some(&separator) && index < self.wanted.len() {
                continue;
            }
            if bytes.get(end) == Some(&separator) {
                if self.exact {
                    return Err(too_long(self.table).into());
                }
                break;
            }
            let is_empty = matches!(&bytes[line..end], b"" | b"\r");
            if index < self.wanted.len() && !is_empty {
                return Err(too_short(self.table, self.wanted[index], column).into());
            }
            return Ok(end);
        }
        Ok(memchr(b'\n', &bytes[start.min(bytes.len())..]).map_or(bytes.len(), |len| start + len))
    }
}

/// The error of a row that goes on behind the last column.
#[cold]
fn too_long(table: &Table) -> RecordError {
    RecordError { reason: format!("the row has more than {} fields, one for each column", table.columns.len()) }
}

/// The error of a row without a wanted column.
fn too_short(table: &Table, wanted: usize, fields: usize) -> RecordError {
    let name = table.columns.get(wanted).map_or("", String::as_str);
    RecordError { reason: format!("the row ends after {fields} fields; column {name:?} is number {}", wanted + 1) }
}
