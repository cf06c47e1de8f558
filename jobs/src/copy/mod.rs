//! `copy`: writes every record, in input order, as a line or in the format that is asked for. Nothing is sorted or
//! shuffled.
//!
//! | file | responsibility |
//! |---|---|
//! | `lines.rs` | records as lines |
//! | `rows.rs` | rows of tables, from any format to any other |

mod lines;
mod rows;

use clap::{Args, ValueEnum};
use gristmill_common::form::Form;
use gristmill_common::formats::schema::{Kind, Schema};
use gristmill_common::prelude::*;
use gristmill_common::spec::JobSpec;
use serde::{Deserialize, Serialize};

use self::lines::CopyLines;
use self::rows::{CopyRows, CopyTable, Source};
use crate::table::{Folders, TableOptions, Types, columns_of_objects, is_json_input};

/// Writes every record in input order: as a line, or with --output-format as a row
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// What the input is, if its rows are to be converted: lines of text, delimited text, or lines with a JSON object
    /// each [default: what the name of the first file says (*.csv, *.tsv, *.jsonl, …), json if it begins with {, else
    /// lines]
    #[arg(long, value_enum, value_name = "FORMAT")]
    #[serde(default)]
    from: Option<From>,

    /// The types of columns, as a=int64,b=decimal(12,2),c=timestamp [default: those of the input; text of delimited
    /// text]
    #[arg(long, value_name = "LIST")]
    #[serde(default)]
    types: Option<Types>,

    /// Write rows to folders that are named by the values of these columns, as country=DE/year=2026, and leave the
    /// columns out of them (Hive's way); needs --output-format
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    #[serde(default)]
    partition_by: Vec<String>,

    #[command(flatten)]
    table: TableOptions,

    #[arg(skip)]
    #[serde(default)]
    plan: Plan,
}

/// What the rows of an input are.
// Plain comments, because documented values get a page of help each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum From {
    // A column named `line`.
    Lines,
    // Fields between separators.
    Delimited,
    // A JSON object on each line.
    Json,
}

/// What is done; settled by the input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Plan {
    /// Records become lines.
    #[default]
    Lines,
    /// Rows of text become rows.
    Table {
        /// What they are.
        from: From,
        /// The columns that are written.
        schema: Schema,
    },
    /// Rows of a file of columns become rows.
    Rows {
        /// The columns.
        schema: Schema,
    },
}

impl Program for Copy {
    fn looks_if_formatted(&self) -> bool {
        true
    }

    fn look(&mut self, spec: &JobSpec, inputs: &[InputSample]) -> Result<(), OptionError> {
        let Some(input) = inputs.first().filter(|_| spec.output_format.is_some()) else { return Ok(()) };
        let types = self.types.clone().unwrap_or_default();
        if let Some(schema) = &input.schema {
            let columns = schema.columns.iter().map(|column| (column.name.clone(), column.kind.clone()));
            self.plan = Plan::Rows { schema: types.schema(columns)? };
            return Ok(());
        }
        let from = *self.from.get_or_insert_with(|| From::of(input));
        let schema = match from {
            From::Lines => types.schema([("line".to_owned(), Kind::String)])?,
            From::Delimited => {
                if input.first_record.as_ref().is_some_and(|(_, object)| is_tabbed(object)) {
                    self.table.separate_by_tabs();
                }
                self.table.look(input)?;
                let columns = self.table.table()?.columns;
                if columns.is_empty() {
                    return Err(OptionError::new("the input is empty, so it names no columns (--columns does)"));
                }
                types.schema(columns.into_iter().map(|name| (name, Kind::String)))?
            }
            From::Json => types.schema_of_objects(columns_of_objects(&input.first_records))?,
        };
        self.plan = Plan::Table { from, schema };
        Ok(())
    }

    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        match self.plan {
            Plan::Lines if !self.partition_by.is_empty() => {
                Err(OptionError::new("--partition-by divides rows, which copy writes with --output-format alone"))
            }
            Plan::Lines => Ok(visitor.map_only(CopyLines)),
            Plan::Rows { schema } => {
                let (folders, left) = Folders::of(&self.partition_by, schema.clone())?;
                Ok(visitor.map_only(CopyRows::new(schema, folders, left)))
            }
            Plan::Table { from, schema } => {
                let source = match from {
                    From::Lines => Source::Lines,
                    From::Delimited => Source::delimited(self.table.table()?),
                    From::Json => Source::Json,
                };
                let (folders, left) = Folders::of(&self.partition_by, schema.clone())?;
                Ok(visitor.map_only(CopyTable::new(source, schema, folders, left)))
            }
        }
    }
}

impl From {
    /// What an input is, by its name and first byte.
    fn of(sample: &InputSample) -> Self {
        let Some((_, object)) = &sample.first_record else { return From::Lines };
        if is_json_input(sample) {
            return From::Json;
        }
        let name = uncompressed(object);
        if name.ends_with(".csv") || is_tabbed(object) { From::Delimited } else { From::Lines }
    }
}

/// Whether a name tells of TABs between fields.
fn is_tabbed(object: &str) -> bool {
    let name = uncompressed(object);
    name.ends_with(".tsv") || name.ends_with(".tab")
}

/// A name without the ending of its compression, in small letters.
fn uncompressed(object: &str) -> String {
    Form::content_name(object).to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
