//! The flags of jobs over tables that may be JSON lines, and which of both formats an input has.

use clap::{Args, ValueEnum};
use gristmill_common::form::Form;
use gristmill_common::formats::schema::{Kind, Schema};
use gristmill_common::prelude::*;
use serde::{Deserialize, Serialize};

use super::options::{Table, TableOptions, without_mark};

/// How rows are written down.
// Plain comments, because documented values get a page of help each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    // Fields between separators.
    Delimited,
    // A JSON object on each line.
    Json,
}

/// Endings of the names of files that hold JSON lines.
const JSON_ENDINGS: [&str; 3] = [".jsonl", ".ndjson", ".json"];

/// Flags that say what the rows of a table look like, JSON lines included.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FormatOptions {
    /// What the input is: delimited text, or lines with a JSON object each, of which a.b is the field b
    /// in the field a [default: json if the first file is named *.jsonl, *.ndjson or *.json or begins
    /// with {, else delimited]
    #[arg(long, value_enum, value_name = "FORMAT")]
    #[serde(default)]
    format: Option<Format>,

    #[command(flatten)]
    delimited: TableOptions,

    /// The columns of a file of columns.
    #[arg(skip)]
    #[serde(default)]
    schema: Option<Schema>,
}

impl Format {
    /// The format of an input, by name and first byte.
    fn of(sample: &InputSample) -> Self {
        if is_json_input(sample) { Format::Json } else { Format::Delimited }
    }
}

/// Whether the records of an input are JSON objects, by name and first byte; those of a file of columns are.
pub(crate) fn is_json_input(sample: &InputSample) -> bool {
    let by_name = |object: &str| {
        let name = Form::content_name(object);
        JSON_ENDINGS.iter().any(|ending| name.ends_with(ending))
    };
    let first = sample.first_record.as_ref();
    let looks_like = first.is_some_and(|(record, object)| by_name(object) || without_mark(record).starts_with(b"{"));
    sample.schema.is_some() || looks_like
}

impl FormatOptions {
    /// Whether the input must be seen first.
    pub(crate) fn looks(&self) -> bool {
        self.format != Some(Format::Json) && self.delimited.wants_header()
    }

    /// Takes what is not given from the input's first record.
    pub(crate) fn look(&mut self, inputs: &[InputSample]) -> Result<(), OptionError> {
        let Some(input) = inputs.first() else { return Ok(()) };
        self.schema.clone_from(&input.schema);
        let format = *self.format.get_or_insert_with(|| Format::of(input));
        if format == Format::Delimited { self.delimited.look(input) } else { Ok(()) }
    }

    /// What the values of a column are, if the input tells.
    pub(crate) fn kind(&self, name: &str) -> Option<&Kind> {
        let schema = self.schema.as_ref()?;
        schema.place(name).map(|place| &schema.columns[place].kind)
    }

    /// The table of the job's input.
    pub(crate) fn table(&self) -> Result<Table, OptionError> {
        match self.format() {
            Format::Delimited => self.delimited.table(),
            Format::Json => {
                let known = self.schema.as_ref().map(|schema| schema.names().map(str::to_owned).collect());
                self.delimited.json_table(known)
            }
        }
    }

    /// What the input is. Input that need not be seen has its columns given, so it is delimited.
    pub(crate) fn format(&self) -> Format {
        self.format.unwrap_or(Format::Delimited)
    }

    /// Whether parts in this format begin with a header.
    ///
    /// # Errors
    ///
    /// If one is asked for and the format has none.
    pub(crate) fn writes_header(&self, format: Format) -> Result<bool, OptionError> {
        match (self.delimited.writes_header(), format) {
            (true, Format::Json) => {
                Err(OptionError::new("--header is for delimited output: JSON lines name their fields"))
            }
            (header, _) => Ok(header),
        }
    }

    /// What delimited output has where there is no value.
    pub(crate) fn null(&self) -> &[u8] {
        self.delimited.null()
    }
}
