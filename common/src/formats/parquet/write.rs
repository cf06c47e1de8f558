//! Rows taken apart into columns, and written as row groups of a Parquet file. The same rows give the same bytes.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, GzipLevel, Type as Physical, ZstdLevel};
use parquet::column::writer::{ColumnWriter, ColumnWriterImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::super::coerce::{self, misfit};
use super::super::row::{self, BadRow, Items, Value};
use super::super::schema::{Kind, Schema};
use super::tree::{self, Node, Shape, decimal_bytes};
use super::{ParquetProblem, WriteProblem};
use crate::form::Codec;

/// Bytes of a page before it is ended. Larger pages compress better, smaller ones take less memory where they are read.
const PAGE_BYTES: usize = 1 << 20;

/// What readers are told of who wrote a file. Without a version, so that a newer one writes the same bytes.
const CREATED_BY: &str = "gristmill";

/// Writes a file, a row group at a time.
pub struct ParquetWriter {
    /// Writes into memory, which is emptied after each row group.
    file: SerializedFileWriter<Vec<u8>>,
    nodes: Vec<Node>,
    columns: Vec<ColumnBuffer>,
}

impl std::fmt::Debug for ParquetWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetWriter").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Whether files can be compressed so: pages are, in one of the ways that all readers know.
pub fn compresses_with(codec: Codec) -> bool {
    compression(Some(codec)).is_some()
}

/// How pages are compressed; Snappy unless something else is asked for, as it is nearly free and known to all.
fn compression(codec: Option<Codec>) -> Option<Compression> {
    match codec {
        None | Some(Codec::Snappy) => Some(Compression::SNAPPY),
        Some(Codec::Gzip) => Some(Compression::GZIP(GzipLevel::default())),
        Some(Codec::Zstd) => Some(Compression::ZSTD(ZstdLevel::default())),
        Some(Codec::Lz4) => Some(Compression::LZ4_RAW),
        Some(Codec::Bzip2 | Codec::Xz | Codec::Deflate) => None,
    }
}

impl ParquetWriter {
    /// A file with these columns.
    ///
    /// # Errors
    ///
    /// If no file has such columns, or such compression.
    pub fn new(schema: &Schema, codec: Option<Codec>) -> Result<Self, WriteProblem> {
        let compression = compression(codec).ok_or_else(|| WriteProblem::File {
            reason: "pages are compressed with gzip, zstd, lz4 or snappy".to_owned(),
        })?;
        let (root, nodes) = tree::to_schema(&schema.columns)?;
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_created_by(CREATED_BY.to_owned())
            .set_data_page_size_limit(PAGE_BYTES)
            .build();
        let file = SerializedFileWriter::new(Vec::new(), root, Arc::new(properties))?;
        let columns = file.schema_descr().columns().iter();
        let columns = columns
            .map(|descr| ColumnBuffer::new(descr.physical_type(), descr.max_def_level(), descr.max_rep_level()))
            .collect();
        Ok(Self { file, nodes, columns })
    }

    /// Writes whole rows as one row group, and appends the bytes of the file that are known then.
    ///
    /// # Errors
    ///
    /// If a value is none of its column's kind; names the column.
    pub fn write_group(&mut self, mut rows: &[u8], out: &mut Vec<u8>) -> Result<(), WriteProblem> {
        let mut any = false;
        while !rows.is_empty() {
            let (row, rest) = rows.split_at(row::framed_len(rows));
            self.take_apart(Items::of_row(row)?)?;
            (rows, any) = (rest, true);
        }
        if any {
            let mut group = self.file.next_row_group()?;
            for column in &mut self.columns {
                let mut writer = group
                    .next_column()?
                    .ok_or_else(|| WriteProblem::File { reason: "it has fewer columns than its schema".to_owned() })?;
                column.write(writer.untyped())?;
                writer.close()?;
            }
            group.close()?;
        }
        self.take_bytes(out);
        Ok(())
    }

    /// Writes the footer, and appends it.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), WriteProblem> {
        self.file.finish()?;
        self.take_bytes(out);
        Ok(())
    }

    /// Moves what was written to `out`; where in the file that is, the writer keeps count of.
    fn take_bytes(&mut self, out: &mut Vec<u8>) {
        let written = self.file.inner_mut();
        out.append(written);
        written.shrink_to(PAGE_BYTES);
    }

    fn take_apart(&mut self, mut row: Items<'_>) -> Result<(), WriteProblem> {
        for node in &self.nodes {
            let value = row.next_value()?.unwrap_or(Value::Absent);
            let misfit = |reason: Reason| match reason {
                Reason::Value(reason) => WriteProblem::Value { column: node.column.name.clone(), reason },
                Reason::Row(error) => error.into(),
            };
            shred(node, &value, 0, &mut self.columns).map_err(misfit)?;
        }
        Ok(())
    }
}

impl From<ParquetError> for WriteProblem {
    fn from(error: ParquetError) -> Self {
        let reason = match error {
            ParquetError::General(reason) => reason,
            other => other.to_string(),
        };
        WriteProblem::File { reason }
    }
}

impl From<ParquetProblem> for WriteProblem {
    fn from(problem: ParquetProblem) -> Self {
        WriteProblem::File { reason: problem.to_string() }
    }
}

/// Why a value does not go into its column.
enum Reason {
    Value(String),
    Row(BadRow),
}

impl From<BadRow> for Reason {
    fn from(error: BadRow) -> Self {
        Reason::Row(error)
    }
}

/// Puts a value into the columns below a node, at a repetition level.
fn shred(node: &Node, value: &Value<'_>, rep: i16, columns: &mut [ColumnBuffer]) -> Result<(), Reason> {
    if value.is_null() {
        if !node.column.nullable {
            return Err(Reason::Value(format!("a value is missing, and {} may not be", node.column.kind)));
        }
        put_nothing(node, node.def - 1, rep, columns);
        return Ok(());
    }
    match (&node.shape, *value) {
        (Shape::Leaf(_), ref value) => {
            let column = &mut columns[node.leaves.start];
            column.levels(node.def, rep);
            column.push(value, &node.column.kind)
        }
        (Shape::Struct(fields), Value::Struct(items)) => shred_struct(fields, items, rep, columns),
        (Shape::Struct(fields), Value::List(mut items)) => fields.iter().try_for_each(|field| {
            let value = items.next_value()?.unwrap_or(Value::Absent);
            shred(field, &value, rep, columns)
        }),
        (Shape::List { rep: inner, element }, Value::List(mut items)) => {
            let mut rep = rep;
            if items.is_empty() {
                put_nothing(node, node.def, rep, columns);
            }
            while let Some(value) = items.next_value()? {
                shred(element, &value, rep, columns)?;
                rep = *inner;
            }
            Ok(())
        }
        (Shape::Map { rep: inner, key, value }, Value::Map(mut items)) => {
            let mut rep = rep;
            if items.is_empty() {
                put_nothing(node, node.def, rep, columns);
            }
            while let Some(name) = items.next_value()? {
                shred(key, &name, rep, columns)?;
                shred(value, &items.next_value()?.unwrap_or(Value::Absent), rep, columns)?;
                rep = *inner;
            }
            Ok(())
        }
        (Shape::Struct(_) | Shape::List { .. } | Shape::Map { .. }, ref value) => {
            Err(Reason::Value(misfit(value, &node.column.kind).to_string()))
        }
    }
}

/// Fields come in the order of the columns, some of them left out.
fn shred_struct(fields: &[Node], mut items: Items<'_>, rep: i16, columns: &mut [ColumnBuffer]) -> Result<(), Reason> {
    let mut next = items.next_name()?;
    for field in fields {
        let value = match next {
            Some(name) if name == field.column.name => {
                let value = items.next_value()?.unwrap_or(Value::Absent);
                next = items.next_name()?;
                value
            }
            _ => Value::Absent,
        };
        shred(field, &value, rep, columns)?;
    }
    match next {
        Some(name) => Err(Reason::Value(format!("there is no field {name:?} in its place"))),
        None => Ok(()),
    }
}

/// Says in all columns below a node that there is no value.
fn put_nothing(node: &Node, def: i16, rep: i16, columns: &mut [ColumnBuffer]) {
    columns[node.leaves.clone()].iter_mut().for_each(|column| column.levels(def, rep));
}

/// The values of a physical column of one row group.
struct ColumnBuffer {
    max_def: i16,
    max_rep: i16,
    defs: Vec<i16>,
    reps: Vec<i16>,
    values: Values,
}

enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    /// One after the other, and where each ends.
    Bytes {
        bytes: Vec<u8>,
        ends: Vec<usize>,
        fixed: bool,
    },
}

impl ColumnBuffer {
    fn new(physical: Physical, max_def: i16, max_rep: i16) -> Self {
        let bytes = |fixed: bool| Values::Bytes { bytes: Vec::new(), ends: Vec::new(), fixed };
        let values = match physical {
            Physical::BOOLEAN => Values::Bool(Vec::new()),
            Physical::INT32 => Values::Int32(Vec::new()),
            Physical::INT64 => Values::Int64(Vec::new()),
            Physical::FLOAT => Values::Float(Vec::new()),
            Physical::DOUBLE => Values::Double(Vec::new()),
            Physical::FIXED_LEN_BYTE_ARRAY => bytes(true),
            Physical::BYTE_ARRAY | Physical::INT96 => bytes(false),
        };
        Self { max_def, max_rep, defs: Vec::new(), reps: Vec::new(), values }
    }

    #[inline]
    fn levels(&mut self, def: i16, rep: i16) {
        if self.max_def > 0 {
            self.defs.push(def);
        }
        if self.max_rep > 0 {
            self.reps.push(rep);
        }
    }

    /// Takes a value as one of this kind.
    fn push(&mut self, value: &Value<'_>, kind: &Kind) -> Result<(), Reason> {
        let pushed = match &mut self.values {
            Values::Bool(values) => coerce::to_bool(value).map(|value| values.push(value)),
            Values::Int32(values) => integer(value, kind).and_then(|value| {
                let value = match kind {
                    // Unsigned ones of 32 bits are stored as signed.
                    Kind::Uint(32) => u32::try_from(value).ok()? as i32,
                    _ => i32::try_from(value).ok()?,
                };
                values.push(value);
                Some(())
            }),
            Values::Int64(values) => integer(value, kind).and_then(|value| {
                let value = match kind {
                    Kind::Uint(64) => u64::try_from(value).ok()? as i64,
                    _ => i64::try_from(value).ok()?,
                };
                values.push(value);
                Some(())
            }),
            Values::Float(values) => match *value {
                Value::Float(value) => {
                    values.push(value);
                    Some(())
                }
                ref value => coerce::to_double(value).map(|value| values.push(value as f32)),
            },
            Values::Double(values) => coerce::to_double(value).map(|value| values.push(value)),
            Values::Bytes { bytes, ends, .. } => match *kind {
                Kind::Decimal { precision, scale } => coerce::to_decimal(value, precision, scale).map(|digits| {
                    let whole = digits.to_be_bytes();
                    bytes.extend_from_slice(&whole[whole.len() - decimal_bytes(precision)..]);
                    ends.push(bytes.len());
                }),
                Kind::String => {
                    super::super::text::write_plain(value, bytes);
                    ends.push(bytes.len());
                    Some(())
                }
                _ => {
                    bytes.extend_from_slice(coerce::to_text(value, &mut Vec::new()));
                    ends.push(bytes.len());
                    Some(())
                }
            },
        };
        pushed.ok_or_else(|| Reason::Value(misfit(value, kind).to_string()))
    }

    /// Writes all values and forgets them.
    fn write(&mut self, writer: &mut ColumnWriter<'_>) -> Result<(), WriteProblem> {
        let defs = (self.max_def > 0).then_some(self.defs.as_slice());
        let reps = (self.max_rep > 0).then_some(self.reps.as_slice());
        match (&mut self.values, writer) {
            (Values::Bool(values), ColumnWriter::BoolColumnWriter(writer)) => write(writer, values, defs, reps)?,
            (Values::Int32(values), ColumnWriter::Int32ColumnWriter(writer)) => write(writer, values, defs, reps)?,
            (Values::Int64(values), ColumnWriter::Int64ColumnWriter(writer)) => write(writer, values, defs, reps)?,
            (Values::Float(values), ColumnWriter::FloatColumnWriter(writer)) => write(writer, values, defs, reps)?,
            (Values::Double(values), ColumnWriter::DoubleColumnWriter(writer)) => write(writer, values, defs, reps)?,
            (Values::Bytes { bytes, ends, fixed }, writer) => {
                let all = Bytes::from(std::mem::take(bytes));
                let mut start = 0;
                let slices = ends.drain(..).map(|end| {
                    let slice = ByteArray::from(all.slice(start..end));
                    start = end;
                    slice
                });
                match (writer, fixed) {
                    (ColumnWriter::FixedLenByteArrayColumnWriter(writer), true) => {
                        write(writer, &mut slices.map(FixedLenByteArray::from).collect(), defs, reps)?;
                    }
                    (ColumnWriter::ByteArrayColumnWriter(writer), false) => {
                        write(writer, &mut slices.collect(), defs, reps)?;
                    }
                    _ => return Err(other_type()),
                }
            }
            _ => return Err(other_type()),
        }
        self.defs.clear();
        self.reps.clear();
        Ok(())
    }
}

fn write<T: DataType>(
    writer: &mut ColumnWriterImpl<'_, T>,
    values: &mut Vec<T::T>,
    defs: Option<&[i16]>,
    reps: Option<&[i16]>,
) -> Result<(), ParquetError> {
    writer.write_batch(values, defs, reps)?;
    values.clear();
    Ok(())
}

fn other_type() -> WriteProblem {
    WriteProblem::File { reason: "a column is of another type than its schema says".to_owned() }
}

/// What an integer column of this kind has for a value.
fn integer(value: &Value<'_>, kind: &Kind) -> Option<i128> {
    match *kind {
        Kind::Int(bits) => {
            let limit = 1_i128 << (bits - 1);
            coerce::to_integer(value).filter(|value| (-limit..limit).contains(value))
        }
        Kind::Uint(bits) => coerce::to_integer(value).filter(|value| (0..1_i128 << bits).contains(value)),
        Kind::Decimal { precision, scale } => coerce::to_decimal(value, precision, scale),
        Kind::Date => coerce::to_date(value).map(i128::from),
        // Whole microseconds.
        Kind::Time => coerce::to_time(value).filter(|nanos| nanos % 1000 == 0).map(|nanos| i128::from(nanos / 1000)),
        Kind::Timestamp { digits, .. } => coerce::to_timestamp(value, digits).map(i128::from),
        _ => None,
    }
}
