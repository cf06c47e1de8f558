//! Rows on their way into the format that a job is asked for: collected as the job puts them, and encoded many at
//! once. Knows nothing of files.

use std::mem;

use gristmill_common::failure::{Disposition, Failure};
use gristmill_common::form::Codec;
use gristmill_common::formats::parquet::ParquetWriter;
use gristmill_common::formats::row::{Items, framed_len};
use gristmill_common::formats::schema::{Schema, SchemaError};
use gristmill_common::formats::text::{write_fields_row, write_json_row};
use gristmill_common::formats::{Dialect, NoRow};
use gristmill_common::output::Output;
use gristmill_common::spec::{JobSpec, OutputFormat};

use super::coding::WRITE_BYTES;
use crate::engine::failures;

/// The part of an attempt's memory that the rows of one row group may take; apart by columns and encoded they take
/// as much again. More makes files that are read faster.
const GROUP_SHARE: usize = 32;

/// The most bytes of rows in one row group, and the least that are worth one.
const GROUP_BYTES: (usize, usize) = (256 << 10, 32 << 20);

/// Memory of a file that is being written besides its rows: for the file, and for each column.
const FILE_BYTES: (usize, usize) = (4 << 10, 2 << 10);

/// How CSV is written.
const CSV: Dialect = Dialect { separator: b',', quotes: true };

/// The format of all parts of an attempt.
#[derive(Debug, Clone)]
pub(in crate::engine) struct RowFormat {
    schema: Schema,
    format: OutputFormat,
    codec: Option<Codec>,
    batch_bytes: usize,
}

/// Rows become one file.
#[derive(Debug)]
pub(super) enum RowEncoder {
    Csv { columns: usize, room: Vec<u8> },
    Json { names: Vec<String> },
    Parquet(Box<ParquetWriter>),
}

impl RowFormat {
    /// The format in which rows are to be written, if the records of this output are to be written as rows: because
    /// the job is asked for a format that is not their own, or their own is one that is made of many rows at once.
    ///
    /// # Errors
    ///
    /// If the records are no rows, or have columns that the format has not.
    pub(in crate::engine) fn of<O: Output>(
        spec: &JobSpec,
        schema: impl FnOnce() -> Result<Schema, SchemaError>,
    ) -> Result<Option<Self>, Failure> {
        let Some(format) = spec.output_format.or(O::FORMAT) else { return Ok(None) };
        if O::FORMAT == Some(format) && format != OutputFormat::Parquet {
            return Ok(None);
        }
        let schema = schema().map_err(|error| refused(format!("cannot write {}: {error}", format.name())))?;
        let batch_bytes = match format {
            OutputFormat::Csv | OutputFormat::Json => WRITE_BYTES,
            OutputFormat::Parquet => (spec.attempt_bytes.as_usize() / GROUP_SHARE).clamp(GROUP_BYTES.0, GROUP_BYTES.1),
        };
        let format = Self { schema, format, codec: spec.output_compression, batch_bytes };
        // Whether there can be such a file is known before there is one.
        format.begin(&mut Vec::new())?;
        Ok(Some(format))
    }

    /// Whether it compresses what it holds.
    pub(super) fn compresses(&self) -> bool {
        self.format == OutputFormat::Parquet
    }

    /// Bytes of rows that are encoded at once.
    pub(super) fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    /// Memory that a file takes while it is written, besides its rows.
    pub(super) fn file_bytes(&self) -> usize {
        match self.format {
            OutputFormat::Csv | OutputFormat::Json => 0,
            OutputFormat::Parquet => FILE_BYTES.0 + FILE_BYTES.1 * self.schema.columns.len(),
        }
    }

    /// Begins a file, and appends what it begins with.
    pub(super) fn begin(&self, out: &mut Vec<u8>) -> Result<RowEncoder, Failure> {
        Ok(match self.format {
            OutputFormat::Csv => {
                CSV.write_fields(self.schema.names().map(str::as_bytes), out);
                out.push(b'\n');
                RowEncoder::Csv { columns: self.schema.columns.len(), room: Vec::new() }
            }
            OutputFormat::Json => RowEncoder::Json { names: self.schema.names().map(str::to_owned).collect() },
            OutputFormat::Parquet => {
                let writer = ParquetWriter::new(&self.schema, self.codec);
                RowEncoder::Parquet(Box::new(writer.map_err(|error| refused(error.to_string()))?))
            }
        })
    }
}

impl RowEncoder {
    /// Encodes whole rows and appends them; takes the memory of `rows` again and again.
    pub(super) fn encode(&mut self, rows: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), Failure> {
        let mut taken = mem::take(rows);
        let encoded = self.encode_all(&taken, out);
        taken.clear();
        *rows = taken;
        encoded
    }

    fn encode_all(&mut self, mut rows: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        if let RowEncoder::Parquet(writer) = self {
            return writer.write_group(rows, out).map_err(|error| refused(format!("cannot write a row: {error}")));
        }
        while !rows.is_empty() {
            let (row, rest) = rows.split_at(framed_len(rows));
            rows = rest;
            let written = Items::of_row(row).and_then(|items| match self {
                RowEncoder::Csv { columns, room } => write_fields_row(CSV, Some(*columns), items, room, out),
                RowEncoder::Json { names } => write_json_row(names.iter().map(String::as_str), items, out),
                RowEncoder::Parquet(_) => Ok(()),
            });
            written.map_err(|error| refused(format!("cannot write a row: {error}")))?;
            out.push(b'\n');
        }
        Ok(())
    }

    /// Appends what a file ends with.
    pub(super) fn finish(self, out: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            RowEncoder::Csv { .. } | RowEncoder::Json { .. } => Ok(()),
            RowEncoder::Parquet(writer) => writer.finish(out).map_err(|error| refused(error.to_string())),
        }
    }
}

/// A record that is no row. Other attempts would meet it too.
#[cold]
pub(super) fn no_row(error: &NoRow) -> Failure {
    refused(format!("cannot write a row: {error}"))
}

fn refused(message: String) -> Failure {
    let mut failure = failures::user_error(message);
    failure.disposition = Disposition::Abort;
    failure
}
