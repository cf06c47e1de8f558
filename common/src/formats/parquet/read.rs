//! Parquet files and their row groups: which a piece of a file owns, and rows put together of the columns that are
//! wanted, a batch at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;

use super::super::row::{Items, Open, Value, name};
use super::super::schema::{Kind, Schema};
use super::super::text::write_json_row;
use super::column::{BATCH_ROWS, LeafReader};
use super::pages::PagesTooLarge;
use super::source::Source;
use super::tree::{self, Node, Shape};
use super::{ParquetProblem, RowForm, Wanted};
use crate::failure::Failure;
use crate::objects::OpenObject;
use crate::size::ByteSize;

/// Bytes of rows that are decoded at once, about. As many as are given at once, several times over.
const BATCH_BYTES: u64 = 2 << 20;

/// The part of the memory for pages that one row may take: a few bytes of a list may refer to a long text each.
const ROW_SHARE: u64 = 1;

/// The most bytes of a row, whatever the memory: rows tell their size in 32 bits.
const MAX_ROW_BYTES: usize = 1 << 31;

/// An open file.
pub struct ParquetFile {
    source: Source,
    metadata: ParquetMetaData,
    nodes: Arc<[Node]>,
    schema: Schema,
}

impl std::fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetFile").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl ParquetFile {
    /// Reads the footer of an object of this size, whose pages may take `memory` bytes of memory while they are read.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is no Parquet file that can be read here.
    pub fn open(object: Box<dyn OpenObject>, size: u64, memory: u64) -> Result<Self, ParquetProblem> {
        let source = Source::new(object, size, memory);
        let metadata =
            ParquetMetaDataReader::new().parse_and_finish(&source).map_err(|error| problem(error, None, None))?;
        let nodes: Arc<[Node]> = tree::of_schema(metadata.file_metadata().schema())?.into();
        let columns = nodes.iter().map(|node| node.column.clone()).collect();
        let schema = Schema::new(columns).map_err(|error| damaged(None, error.to_string()))?;
        Ok(Self { source, metadata, nodes, schema })
    }

    /// The columns.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Does something with the object: whoever read it to the end checks it.
    pub fn with_object<T>(&self, f: impl FnOnce(&dyn OpenObject) -> T) -> T {
        self.source.with(f)
    }

    /// The row groups that the bytes from `start` to `end` own: those whose middle lies there. Of pieces that together
    /// are the file, each row group belongs to one.
    pub fn groups_in(&self, start: u64, end: u64) -> Vec<usize> {
        let size = parquet::file::reader::Length::len(&self.source);
        let groups = self.metadata.row_groups().iter().enumerate();
        let owned = groups.filter(|(_, group)| {
            // One without a place belongs to whoever has the beginning.
            let middle = middle(group).unwrap_or(0).min(size.saturating_sub(1));
            (start..end).contains(&middle)
        });
        owned.map(|(index, _)| index).collect()
    }

    /// Rows before a row group.
    pub fn rows_before(&self, group: usize) -> u64 {
        self.metadata.row_groups()[..group].iter().map(|group| group.num_rows().max(0) as u64).sum()
    }

    /// Rows of a row group.
    pub fn rows_of(&self, group: usize) -> u64 {
        self.metadata.row_group(group).num_rows().max(0) as u64
    }

    /// Where a row group lies in the file: its first byte, and how many there are.
    pub fn stored_place(&self, group: usize) -> (u64, u64) {
        let metadata = self.metadata.row_group(group);
        let bytes = metadata.compressed_size().max(0) as u64;
        (middle(metadata).unwrap_or(0).saturating_sub(bytes / 2), bytes)
    }

    /// Bytes of memory that pages take now.
    pub fn page_bytes(&self) -> u64 {
        self.source.page_bytes()
    }

    /// Begins a row group.
    ///
    /// # Errors
    ///
    /// If it is damaged, or its columns are stored in a way that is not known here.
    pub fn read_group(&self, group: usize, wanted: &Wanted, form: RowForm) -> Result<GroupRows, ParquetProblem> {
        let metadata = self.metadata.row_group(group);
        let places: Vec<Option<usize>> = match wanted {
            Wanted::All => (0..self.nodes.len()).map(Some).collect(),
            Wanted::Named(names) => names.iter().map(|name| self.schema.place(name)).collect(),
        };
        let mut leaves: Vec<Option<LeafReader>> = (0..metadata.num_columns()).map(|_| None).collect();
        for place in places.iter().flatten() {
            self.open_leaves(group, &self.nodes[*place], &mut leaves)?;
        }
        let rows =
            u64::try_from(metadata.num_rows()).map_err(|_| damaged(Some(group), "it has a negative number of rows"))?;
        let batch = self.batch_rows(metadata, &places);
        Ok(GroupRows {
            group,
            nodes: Arc::clone(&self.nodes),
            batch,
            columns: places,
            named: *wanted == Wanted::All,
            leaves,
            form,
            most_row: usize::try_from(self.source.most_bytes() / ROW_SHARE).unwrap_or(usize::MAX).min(MAX_ROW_BYTES),
            left: rows,
            loaded: 0,
            row: Vec::new(),
        })
    }

    /// How many rows of a row group are decoded at once: fewer of long ones, whose values are in memory together.
    fn batch_rows(&self, group: &RowGroupMetaData, columns: &[Option<usize>]) -> usize {
        let leaves = columns.iter().flatten().flat_map(|column| self.nodes[*column].leaves.clone());
        let chunks = leaves.filter_map(|leaf| group.columns().get(leaf));
        let bytes: u64 = chunks.map(|chunk| chunk.uncompressed_size().max(0) as u64).sum();
        let row = bytes / u64::try_from(group.num_rows()).unwrap_or(0).max(1);
        (BATCH_BYTES / row.max(1)).clamp(1, BATCH_ROWS as u64) as usize
    }

    /// Opens the physical columns below a node.
    fn open_leaves(&self, group: usize, node: &Node, leaves: &mut [Option<LeafReader>]) -> Result<(), ParquetProblem> {
        match &node.shape {
            Shape::Struct(fields) => fields.iter().try_for_each(|field| self.open_leaves(group, field, leaves)),
            Shape::List { element, .. } => self.open_leaves(group, element, leaves),
            Shape::Map { key, value, .. } => {
                self.open_leaves(group, key, leaves)?;
                self.open_leaves(group, value, leaves)
            }
            Shape::Leaf(leaf) => {
                let index = node.leaves.start;
                let of_column = |error| problem(error, Some(group), Some(node.column.name.clone()));
                let metadata = self.metadata.row_group(group);
                let chunk = metadata.columns().get(index).filter(|chunk| {
                    let offsets = [
                        chunk.data_page_offset(),
                        chunk.dictionary_page_offset().unwrap_or(0),
                        chunk.compressed_size(),
                    ];
                    offsets.iter().all(|offset| *offset >= 0)
                });
                let Some(chunk) = chunk else {
                    return Err(of_column(ParquetError::General("it has no place in the file".to_owned())));
                };
                let (start, bytes) = chunk.byte_range();
                self.source.will_read(start, bytes);
                let rows = usize::try_from(metadata.num_rows()).unwrap_or(0);
                let (source, looked_at) = self.source.of_column();
                let pages = SerializedPageReader::new(Arc::new(source), chunk, rows, None).map_err(of_column)?;
                leaves[index] = Some(LeafReader::new(chunk.column_descr_ptr(), *leaf, pages, looked_at));
                Ok(())
            }
        }
    }
}

/// The middle of the bytes of a row group.
fn middle(group: &RowGroupMetaData) -> Option<u64> {
    let chunk = group.columns().first()?;
    let start =
        chunk.dictionary_page_offset().map_or(chunk.data_page_offset(), |offset| offset.min(chunk.data_page_offset()));
    u64::try_from(start.checked_add(group.compressed_size() / 2)?).ok()
}

/// The rows of one row group.
pub struct GroupRows {
    group: usize,
    /// All columns of the file.
    nodes: Arc<[Node]>,
    /// Which of them are wanted, each in its place; nothing for one that the file has not.
    columns: Vec<Option<usize>>,
    /// Whether a row is one struct of all columns.
    named: bool,
    leaves: Vec<Option<LeafReader>>,
    form: RowForm,
    /// Bytes that a row may have.
    most_row: usize,
    /// Rows that are loaded at once.
    batch: usize,
    /// Rows not loaded yet.
    left: u64,
    /// Rows loaded and not given yet.
    loaded: usize,
    /// A row on its way to JSON.
    row: Vec<u8>,
}

impl std::fmt::Debug for GroupRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupRows").field("group", &self.group).finish_non_exhaustive()
    }
}

impl GroupRows {
    /// Appends rows until `out` has `most` bytes, or at least one; gives how many, 0 at the end of the row group.
    ///
    /// # Errors
    ///
    /// If the row group is damaged.
    pub fn fill(&mut self, out: &mut Vec<u8>, most: usize) -> Result<usize, ParquetProblem> {
        let mut rows = 0;
        while rows == 0 || out.len() < most {
            if self.loaded == 0 && !self.load()? {
                break;
            }
            self.loaded -= 1;
            self.write_row(out)?;
            rows += 1;
        }
        Ok(rows)
    }

    fn load(&mut self) -> Result<bool, ParquetProblem> {
        let rows = self.left.min(self.batch as u64) as usize;
        self.left -= rows as u64;
        self.loaded = rows;
        for column in self.columns.iter().flatten().map(|column| &self.nodes[*column]) {
            for leaf in column.leaves.clone() {
                let Some(reader) = &mut self.leaves[leaf] else { continue };
                let of_column = |error| problem(error, Some(self.group), Some(column.column.name.clone()));
                // Decoders of damaged values may panic.
                let found = catch_unwind(AssertUnwindSafe(|| reader.load(rows)))
                    .unwrap_or_else(|_| Err(ParquetError::General("its values are damaged".to_owned())));
                let found = found.map_err(of_column)?;
                if found != rows {
                    let reason = ParquetError::General("it has fewer values than its row group has rows".to_owned());
                    return Err(of_column(reason));
                }
            }
        }
        Ok(rows > 0)
    }

    fn write_row(&mut self, out: &mut Vec<u8>) -> Result<(), ParquetProblem> {
        let from = out.len();
        self.append_row(out)?;
        // As text, a line end inside quotes would be a part of the row.
        let is_odd = |quoted: bool| quoted && memchr::memchr_iter(b'"', &out[from..]).count() % 2 == 1;
        match self.form {
            RowForm::Text { quoted, .. } if is_odd(quoted) => {
                let reason = "a row as text has a quote that is not closed (--line-endings quoted)";
                Err(damaged(Some(self.group), reason))
            }
            _ => Ok(()),
        }
    }

    fn append_row(&mut self, out: &mut Vec<u8>) -> Result<(), ParquetProblem> {
        let Self { group, nodes, columns, named, leaves, form, row, most_row, .. } = self;
        let (nodes, most_row) = (&**nodes, *most_row);
        let RowForm::Text { end, objects, .. } = form else {
            return write_values(*group, (nodes, columns), *named, leaves, most_row, out);
        };
        if !*objects
            && let [Some(only)] = columns[..]
            && let Node { leaves: only, shape: Shape::Leaf(_), column, .. } = &nodes[only]
            && matches!(column.kind, Kind::String | Kind::Binary)
            && let Some(reader) = &mut leaves[only.start]
        {
            // The values lie in their page as they are wanted, unless they are shown as something else.
            match column.kind {
                Kind::Binary => out.extend_from_slice(reader.take_bytes()),
                _ => {
                    let text = reader.take(|value| super::super::text::write_plain(&value, out));
                    text.map_err(|_| too_large(*group, &column.name))?;
                }
            }
            out.extend_from_slice(end);
            return Ok(());
        }
        row.clear();
        write_values(*group, (nodes, columns), false, leaves, most_row, row)?;
        let shown = columns.iter().map(|column| column.map_or("", |column| nodes[column].column.name.as_str()));
        let items = Items::of_row(row).expect("it was just written");
        let from = out.len();
        write_json_row(shown, items, out).expect("it was just written");
        let json = &out[from..];
        // Text of JSON has no line ends, but other rules may end records at what it has.
        if end != b"\n" && memchr::memmem::find(json, end).is_some() {
            return Err(damaged(Some(*group), "a row as JSON has what ends a record inside it (--delimiter)"));
        }
        out.extend_from_slice(end);
        Ok(())
    }
}

/// Appends the next row of the columns.
fn write_values(
    group: usize,
    (nodes, columns): (&[Node], &[Option<usize>]),
    named: bool,
    leaves: &mut [Option<LeafReader>],
    most_row: usize,
    out: &mut Vec<u8>,
) -> Result<(), ParquetProblem> {
    let most = out.len().saturating_add(most_row);
    let row = Open::row(out);
    let whole = named.then(|| Open::structure(out));
    for column in columns.iter().map(|column| column.map(|column| &nodes[column])) {
        match column {
            None => Value::Absent.encode(out),
            Some(node) => {
                if named {
                    name(&node.column.name, out);
                }
                write_node(node, leaves, most, out).map_err(|unwritten| match unwritten {
                    Unwritten::Value => too_large(group, &node.column.name),
                    Unwritten::Row => ParquetProblem::Memory {
                        row_group: group,
                        column: Some(node.column.name.clone()),
                        bytes: ByteSize(most_row as u64 * ROW_SHARE),
                    },
                })?;
            }
        }
    }
    if let Some(whole) = whole {
        whole.end(out);
    }
    row.end(out);
    Ok(())
}

/// Why a value is not appended.
#[derive(Debug, Clone, Copy)]
enum Unwritten {
    /// It is too large for what values become.
    Value,
    /// Its row is too long.
    Row,
}

/// Appends the next value of a node, as long as there are at most so many bytes.
fn write_node(node: &Node, leaves: &mut [Option<LeafReader>], most: usize, out: &mut Vec<u8>) -> Result<(), Unwritten> {
    if let Shape::Leaf(_) = node.shape {
        let Some(reader) = &mut leaves[node.leaves.start] else { return Ok(()) };
        reader.take(|value| value.encode(out)).map_err(|_| Unwritten::Value)?;
        return if out.len() > most { Err(Unwritten::Row) } else { Ok(()) };
    }
    let def = first(node, leaves).map_or(0, |reader| reader.def());
    if def < node.def {
        Value::Null.encode(out);
        pass(node, leaves);
        return Ok(());
    }
    match &node.shape {
        Shape::Leaf(_) => {}
        Shape::Struct(fields) => {
            let open = Open::structure(out);
            for field in fields {
                name(&field.column.name, out);
                write_node(field, leaves, most, out)?;
            }
            open.end(out);
        }
        Shape::List { rep, element } => {
            let open = Open::list(out);
            write_repeated(node, *rep, def, leaves, |leaves| write_node(element, leaves, most, out))?;
            open.end(out);
        }
        Shape::Map { rep, key, value } => {
            let open = Open::map(out);
            write_repeated(node, *rep, def, leaves, |leaves| {
                write_node(key, leaves, most, out)?;
                write_node(value, leaves, most, out)
            })?;
            open.end(out);
        }
    }
    Ok(())
}

/// Calls `write` for each element of what is in hand.
fn write_repeated(
    node: &Node,
    rep: i16,
    def: i16,
    leaves: &mut [Option<LeafReader>],
    mut write: impl FnMut(&mut [Option<LeafReader>]) -> Result<(), Unwritten>,
) -> Result<(), Unwritten> {
    if def == node.def {
        // There, and empty.
        pass(node, leaves);
        return Ok(());
    }
    loop {
        write(leaves)?;
        if first(node, leaves).is_none_or(|reader| reader.is_at_end() || reader.rep() < rep) {
            return Ok(());
        }
    }
}

fn first<'l>(node: &Node, leaves: &'l [Option<LeafReader>]) -> Option<&'l LeafReader> {
    leaves[node.leaves.start].as_ref()
}

/// Passes one level of all that lies below a node.
fn pass(node: &Node, leaves: &mut [Option<LeafReader>]) {
    leaves[node.leaves.clone()].iter_mut().flatten().for_each(LeafReader::pass);
}

fn damaged(row_group: Option<usize>, reason: impl Into<String>) -> ParquetProblem {
    ParquetProblem::Damaged { row_group, column: None, reason: reason.into() }
}

#[cold]
fn too_large(group: usize, column: &str) -> ParquetProblem {
    let reason = "a decimal number has more than 128 bits, or a time is too far away".to_owned();
    ParquetProblem::Damaged { row_group: Some(group), column: Some(column.to_owned()), reason }
}

/// What the `parquet` crate met: trouble of the object, or of what is in it.
pub(super) fn problem(error: ParquetError, row_group: Option<usize>, column: Option<String>) -> ParquetProblem {
    let reason = match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            // Out of a read that had less to read than was asked for.
            Ok(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "it is cut short".to_owned(),
            Ok(error) if error.get_ref().is_none_or(|inner| inner.is::<Failure>()) => {
                return ParquetProblem::Object(*error);
            }
            Ok(error) if error.raw_os_error().is_some() => return ParquetProblem::Object(*error),
            Ok(error) => error.to_string(),
            Err(inner) => match (inner.downcast_ref::<PagesTooLarge>(), row_group) {
                (Some(PagesTooLarge { bytes }), Some(row_group)) => {
                    return ParquetProblem::Memory { row_group, column, bytes: ByteSize(*bytes) };
                }
                _ => inner.to_string(),
            },
        },
        ParquetError::General(reason) | ParquetError::EOF(reason) => reason,
        ParquetError::NYI(reason) => format!("this cannot be read yet: {reason}"),
        other => other.to_string(),
    };
    ParquetProblem::Damaged { row_group, column, reason }
}
