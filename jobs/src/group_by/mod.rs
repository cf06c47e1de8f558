//! `group-by`: aggregates over the rows of each group of a table. Counts and sums are exact,
//! means are exact divisions rounded once, so the result does not depend on how rows were grouped on
//! the way.
//!
//! | file | responsibility |
//! |---|---|
//! | `aggregate.rs` | what `--agg` asks for: which fields count, and how results are written |
//! | `cells.rs` | the running state of the aggregates of one group, and its encoding |
//! | `packed_key.rs` | short keys of numbers, dates and addresses at half their size |
//! | `writer.rs` | keys and lines in the format of the output |

mod aggregate;
mod cells;
mod packed_key;
mod writer;

use std::cell::Cell;

use clap::Args;
use gristmill_common::formats::NoRow;
use gristmill_common::formats::schema::{Kind, Schema, SchemaError};
use gristmill_common::prelude::*;
use gristmill_common::spec::JobSpec;
use serde::{Deserialize, Serialize};

use self::aggregate::Aggregate;
use self::cells::{Cells, FoldCells, State};
use self::writer::Writer;
use crate::table::{
    FolderName, Folders, Format, FormatOptions, MAX_QUOTIENT_SCALE, Row, Rows, Table, TableLines, Types, top_columns,
    write_values,
};

/// Aggregates the rows of each group of a table (delimited text or JSON lines)
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupBy {
    /// Columns whose values make a group, as a,b,c
    #[arg(long, value_name = "NAMES", value_delimiter = ',', required = true)]
    by: Vec<String>,

    /// What to write for each group, in this order: count (rows), count:COL (rows in which COL has a
    /// value), count:COL>0 (also >= < <= = !=), sum:COL, mean:COL, min:COL, max:COL
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "count")]
    agg: Vec<String>,

    /// Digits behind the point of a mean; a tie is rounded as the nearest double would be
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u8).range(0..=i64::from(MAX_QUOTIENT_SCALE)))]
    scale: u8,

    /// Write delimited text although the input is JSON lines or Parquet (--output-format writes other formats)
    #[arg(long)]
    #[serde(default)]
    delimited: bool,

    /// The types of columns in --output-format parquet and json, as a=int64,b=decimal(12,2) [default: those of a
    /// Parquet file; int64 for counts, decimal(38,SCALE) for sums and means, else string]
    #[arg(long, value_name = "LIST")]
    #[serde(default)]
    types: Option<Types>,

    /// Write rows to folders that are named by the values of these columns, as country=DE/year=2026, and leave the
    /// columns out of them (Hive's way); needs --output-format
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    #[serde(default)]
    partition_by: Vec<String>,

    #[command(flatten)]
    table: FormatOptions,
}

/// Sizes of a group's state. Each is code of its own; a group of more aggregates than the first two
/// hold is rare, and copying its larger state costs little beside reading the rows.
const FEW: usize = 2;
const SOME: usize = 6;
const MANY: usize = 32;

impl Program for GroupBy {
    fn looks_at_inputs(&self) -> bool {
        self.table.looks() || !self.partition_by.is_empty()
    }

    fn look(&mut self, spec: &JobSpec, inputs: &[InputSample]) -> Result<(), OptionError> {
        if !self.partition_by.is_empty() && spec.output_format.is_none() {
            return Err(OptionError::new(
                "--partition-by divides rows, which group-by writes with --output-format alone",
            ));
        }
        if self.table.looks() { self.table.look(inputs) } else { Ok(()) }
    }

    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        let mut table = self.table.table()?;
        let aggregates: Vec<Aggregate> =
            self.agg.iter().map(|text| Aggregate::parse(text, &mut table)).collect::<Result<_, _>>()?;
        let by: Vec<usize> = self.by.iter().map(|name| table.column(name)).collect::<Result<_, _>>()?;
        let cells: usize = aggregates.iter().map(Aggregate::cells).sum();
        let group = Group::new(&self, table, by, aggregates)?;
        if cells <= FEW {
            Ok(visitor.map_reduce(GroupRows::<FEW>(group)))
        } else if cells <= SOME {
            Ok(visitor.map_reduce(GroupRows::<SOME>(group)))
        } else if cells <= MANY {
            Ok(visitor.map_reduce(GroupRows::<MANY>(group)))
        } else {
            Err(OptionError::new(format!("--agg asks for too much: at most {MANY} results (a mean counts twice)")))
        }
    }
}

/// What the job knows of its table.
#[derive(Debug)]
pub(super) struct Group {
    table: Table,
    /// The columns read, ascending; all other places refer to this list.
    wanted: Vec<usize>,
    by: Vec<usize>,
    aggregates: Vec<Aggregate>,
    scale: u8,
    writer: Writer,
    /// The columns of a group in formats with types.
    schema: Schema,
    /// The folders that groups are divided among, and the columns that are left of each.
    folders: Option<Folders>,
    written: Schema,
    /// The columns of a file of columns that are read.
    columns: Option<Vec<String>>,
}

impl Group {
    fn new(
        options: &GroupBy,
        table: Table,
        by: Vec<usize>,
        mut aggregates: Vec<Aggregate>,
    ) -> Result<Self, OptionError> {
        let mut wanted: Vec<usize> =
            by.iter().copied().chain(aggregates.iter().filter_map(Aggregate::column)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let place = |column: usize| wanted.binary_search(&column).expect("every column asked for is wanted");
        let by = by.into_iter().map(place).collect();
        aggregates.iter_mut().for_each(|aggregate| aggregate.read_from(place));
        let format = if options.delimited { Format::Delimited } else { options.table.format() };
        let names = options.by.iter().chain(&options.agg);
        let kinds = options.by.iter().map(|name| options.table.kind(name).cloned().unwrap_or(Kind::String));
        let kinds = kinds.chain(aggregates.iter().map(|aggregate| aggregate.kind(&options.table, options.scale)));
        let schema = options.types.clone().unwrap_or_default().schema(names.cloned().zip(kinds))?;
        let (folders, written) = Folders::of(&options.partition_by, schema.clone())?;
        let columns = table.is_json().then(|| {
            let read = options.by.iter().map(String::as_str).chain(aggregates.iter().filter_map(Aggregate::name));
            top_columns(read)
        });
        let writer = Writer::new(&options.table, format, &table, options.by.iter().chain(&options.agg))?;
        Ok(Self { table, wanted, by, aggregates, scale: options.scale, writer, schema, folders, written, columns })
    }

    #[inline]
    fn key(&self, row: &Row<'_>, text: &mut Vec<u8>, key: &mut Vec<u8>) {
        self.writer.key(self.by.iter().map(|&place| row.field(place)), &self.table, text, key);
    }

    #[inline]
    fn cells<const N: usize>(&self, row: &Row<'_>) -> Result<[State; N]> {
        let mut cells = [const { State::Nothing }; N];
        let mut at = 0;
        for aggregate in &self.aggregates {
            let count = aggregate.cells();
            aggregate.take(row, &self.table, &mut cells[at..at + count])?;
            at += count;
        }
        Ok(cells)
    }

    fn write(&self, key: &[u8], mut cells: &[State], out: &mut Vec<u8>) {
        let results = self.aggregates.iter().map(|aggregate| {
            let (own, rest) = cells.split_at(aggregate.cells());
            cells = rest;
            (aggregate, own)
        });
        let text = |field: &[u8], out: &mut Vec<u8>| self.writer.write_text(field, &self.table, out);
        self.writer.write_line(key, results, |(aggregate, own), out| aggregate.write(own, self.scale, text, out), out);
    }

    /// Appends a group as a row of all its columns.
    fn write_whole_row(&self, key: &[u8], mut cells: &[State], out: &mut Vec<u8>) -> std::result::Result<(), NoRow> {
        let mut values: Vec<Vec<u8>> = self.writer.key_values(key)?;
        for aggregate in &self.aggregates {
            let (own, rest) = cells.split_at(aggregate.cells());
            cells = rest;
            // As JSON, in which numbers differ from text.
            let mut value = Vec::new();
            let refused = Cell::new(None);
            let text = |field: &[u8], out: &mut Vec<u8>| {
                if let Err(error) = self.writer.write_value(field, &self.table, out) {
                    refused.set(Some(error));
                }
            };
            aggregate.write(own, self.scale, text, &mut value);
            if let Some(error) = refused.take() {
                return Err(error);
            }
            values.push(value);
        }
        write_values(&self.schema, &values, out)
    }

    /// Appends a group as a row, without what names its folder.
    fn write_row(&self, key: &[u8], cells: &[State], out: &mut Vec<u8>) -> std::result::Result<(), NoRow> {
        let Some(folders) = &self.folders else { return self.write_whole_row(key, cells, out) };
        let (_, rest) = self.divided(folders, key, cells)?;
        out.extend_from_slice(&rest);
        Ok(())
    }

    /// The folder of a group, and what is left of its row.
    fn divided(
        &self,
        folders: &Folders,
        key: &[u8],
        cells: &[State],
    ) -> std::result::Result<(FolderName, Vec<u8>), NoRow> {
        let (mut row, mut folder, mut rest) = (Vec::new(), FolderName::default(), Vec::new());
        self.write_whole_row(key, cells, &mut row)?;
        folders.divide(&row, &mut folder, &mut rest).map_err(|error| NoRow::new(error.to_string()))?;
        Ok((folder, rest))
    }
}

/// The job, for groups whose state has at most `N` cells.
#[derive(Debug)]
struct GroupRows<const N: usize>(Group);

impl<const N: usize> MapReduce for GroupRows<N> {
    type Input = TableLines;
    type Key = [u8];
    type Value = Cells<N>;
    type Combine = FoldCells;
    type Output = GroupLines<N>;

    fn map(&self, record: &[u8], out: &mut impl Emit<[u8], Cells<N>>) -> Result<()> {
        let (mut text, mut key) = (Vec::new(), Vec::new());
        let mut rows = Rows::new(&self.0.table, &self.0.wanted);
        let row = rows.read(record)?;
        self.0.key(&row, &mut text, &mut key);
        out.emit(&key, self.0.cells(&row)?)
    }

    fn map_block(&self, block: &mut Block<'_, TableLines>, out: &mut impl Emit<[u8], Cells<N>>) -> Result<()> {
        let (mut text, mut key) = (Vec::new(), Vec::new());
        Rows::new(&self.0.table, &self.0.wanted).for_each(block, |row| {
            self.0.key(row, &mut text, &mut key);
            out.emit(&key, self.0.cells(row)?)
        })
    }

    fn reduce(
        &self,
        key: &[u8],
        mut values: Values<Cells<N>>,
        out: &mut impl Sink<[u8], GroupResult<N>>,
    ) -> Result<()> {
        let mut cells = [const { State::Nothing }; N];
        while let Some(more) = values.next_ref() {
            <FoldCells as Combine<Cells<N>>>::fold(&mut cells, more)?;
        }
        let Some(folders) = &self.0.folders else { return out.put(key, (&self.0, &cells)) };
        let (folder, _) = self.0.divided(folders, key, &cells).map_err(|error| RecordError::new(error.to_string()))?;
        out.put_to(folder.as_str(), key, (&self.0, &cells))
    }

    fn begin_part(&self, part: &mut Vec<u8>) {
        part.extend_from_slice(self.0.writer.header());
    }

    fn has_main_output(&self) -> bool {
        self.0.folders.is_none()
    }

    fn schema(&self) -> std::result::Result<Schema, SchemaError> {
        Ok(self.0.written.clone())
    }

    fn columns(&self, _role: u32) -> Option<Vec<String>> {
        self.0.columns.clone()
    }
}

/// A group's state, with what is needed to write it.
#[derive(Debug)]
enum GroupResult<const N: usize> {}

impl<const N: usize> Datum for GroupResult<N> {
    type Ref<'a> = (&'a Group, &'a [State; N]);
}

/// A line for each group.
#[derive(Debug)]
enum GroupLines<const N: usize> {}

impl<const N: usize> Output for GroupLines<N> {
    type Key = [u8];
    type Value = GroupResult<N>;

    #[inline]
    fn write(key: &&[u8], value: &(&Group, &[State; N]), out: &mut Vec<u8>) {
        value.0.write(key, value.1, out);
    }

    fn write_row(key: &&[u8], value: &(&Group, &[State; N]), out: &mut Vec<u8>) -> std::result::Result<(), NoRow> {
        value.0.write_row(key, value.1, out)
    }
}

#[cfg(test)]
mod tests;
