//! The flags of jobs over delimited text, and the [`Table`] they describe once the header of the input
//! was seen; or a table of JSON lines, whose columns are those asked for. Reads no input itself.

use clap::Args;
use gristmill_common::decimal::Decimal;
use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::formats::Dialect;
use gristmill_common::prelude::*;
use gristmill_common::text::BYTE_ORDER_MARK;
use serde::{Deserialize, Serialize};

use super::json::{Paths, STRING_MARK};

/// Flags that say what the rows of a table look like.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableOptions {
    /// What separates the fields of a row: one ASCII character, \t for TAB
    #[arg(long, value_name = "CHAR", default_value = ",", value_parser = separator)]
    separator: u8,

    /// Fields are never quoted: a quote is a character like any other
    #[arg(long)]
    #[serde(default)]
    no_quotes: bool,

    /// The columns of input without a header line, as a,b,c
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    #[serde(default)]
    columns: Vec<String>,

    /// Text of a field that has no value; an empty field never has one. May be repeated
    #[arg(long = "null", value_name = "TEXT")]
    #[serde(default)]
    nulls: Vec<String>,

    /// Begin every part with a line that names the columns
    #[arg(long)]
    #[serde(default)]
    header: bool,

    #[arg(skip)]
    #[serde(default)]
    found: Option<Header>,
}

/// The header line that the first object of an input has, and that all others must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// The line, without a byte order mark.
    pub(crate) line: String,
    /// The object it was seen in.
    pub(crate) object: String,
}

/// What the rows of an input look like.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// How its fields are told apart; of JSON lines, how they are written if not as JSON.
    pub(crate) dialect: Dialect,
    /// The columns in order; none at all if the input is empty.
    pub(crate) columns: Vec<String>,
    /// The header line of every object, if there is one.
    pub(crate) header: Option<Header>,
    /// What is wanted of each row, if rows are JSON objects.
    pub(super) json: Option<Paths>,
    /// All columns that there are, of rows that are JSON objects because a file of columns is read so.
    pub(super) known: Option<Vec<String>>,
    nulls: Vec<Vec<u8>>,
}

impl TableOptions {
    /// Whether the input has a header that must be seen first.
    pub(crate) fn wants_header(&self) -> bool {
        self.columns.is_empty()
    }

    /// Takes the header from the input's first record.
    pub(crate) fn look(&mut self, sample: &InputSample) -> Result<(), OptionError> {
        if self.wants_header() {
            self.found = Header::of(sample)?;
        }
        Ok(())
    }

    /// Takes TABs for separators unless others were asked for.
    pub(crate) fn separate_by_tabs(&mut self) {
        if self.separator == b',' {
            self.separator = b'\t';
        }
    }

    /// The table of the job's own input.
    pub(crate) fn table(&self) -> Result<Table, OptionError> {
        self.table_with(&self.columns, self.found.as_ref())
    }

    /// A table of the same kind with other columns.
    pub(crate) fn table_with(&self, columns: &[String], header: Option<&Header>) -> Result<Table, OptionError> {
        let columns = match header {
            Some(header) if columns.is_empty() => self
                .dialect()
                .all(header.line.as_bytes())
                .map_err(|error| OptionError::new(format!("the header of {}: {error}", header.object)))?
                .into_iter()
                .map(|field| String::from_utf8(field).expect("cut from text at ASCII bytes"))
                .collect(),
            _ => columns.to_vec(),
        };
        let nulls = self.nulls.iter().map(|text| text.as_bytes().to_vec()).collect();
        let header = header.filter(|_| self.wants_header() || !columns.is_empty()).cloned();
        Ok(Table { dialect: self.dialect(), columns, header, json: None, known: None, nulls })
    }

    /// A table of JSON lines, with all columns that it has if these are known.
    pub(super) fn json_table(&self, known: Option<Vec<String>>) -> Result<Table, OptionError> {
        if !self.columns.is_empty() {
            return Err(OptionError::new("--columns is for delimited text: JSON lines name their fields"));
        }
        if self.no_quotes {
            return Err(OptionError::new("--no-quotes is for delimited text: what JSON strings hold may need quotes"));
        }
        let marked = self.nulls.iter().map(|text| [STRING_MARK, text.as_bytes()].concat());
        let nulls = self.nulls.iter().map(|text| text.as_bytes().to_vec()).chain(marked).collect();
        let json = Some(Paths::default());
        Ok(Table { dialect: self.dialect(), columns: Vec::new(), header: None, json, known, nulls })
    }

    fn dialect(&self) -> Dialect {
        Dialect { separator: self.separator, quotes: !self.no_quotes }
    }

    /// Whether parts begin with a header.
    pub(crate) fn writes_header(&self) -> bool {
        self.header
    }

    /// What is written where there is no value.
    pub(crate) fn null(&self) -> &[u8] {
        self.nulls.first().map_or(b"", |text| text.as_bytes())
    }
}

impl Header {
    /// The header that the sample shows; none if the input is empty.
    pub(crate) fn of(sample: &InputSample) -> Result<Option<Self>, OptionError> {
        let Some((record, object)) = &sample.first_record else { return Ok(None) };
        let line = without_mark(record).to_vec();
        let line = String::from_utf8(line).map_err(|_| {
            OptionError::new(format!(
                "the first line of {object} is not UTF-8 text, so it names no columns (--columns does)"
            ))
        })?;
        Ok(Some(Self { line, object: object.clone() }))
    }

    /// Checks that a first record is this header. If it is not, that is a failure of the input and not
    /// of one record: without it the rows that follow would be misread.
    pub(crate) fn check(&self, record: &[u8]) -> Result<()> {
        if without_mark(record) == self.line.as_bytes() {
            return Ok(());
        }
        let shown: String = String::from_utf8_lossy(record).chars().take(200).collect();
        let reason = format!("the header {shown:?} is not that of {}, {:?}", self.object, self.line);
        Err(Failure::new(FailureCode::BadRecord, format!("cannot read a record: {reason}")).into())
    }
}

impl Table {
    /// The place of a column. JSON lines have every column, since not every row must; those of files of columns
    /// have what these have, and what may lie in it.
    ///
    /// # Errors
    ///
    /// If there is no such column, or there are two of that name.
    pub(crate) fn column(&mut self, name: &str) -> Result<usize, OptionError> {
        if let Some(paths) = &mut self.json {
            let is_in = |column: &String| {
                name.strip_prefix(column).is_some_and(|rest| matches!(rest.chars().next(), None | Some('.')))
            };
            return match &self.known {
                Some(known) if !known.iter().any(is_in) => Err(no_column(name, known)),
                _ => Ok(paths.column(name)),
            };
        }
        if self.columns.is_empty() {
            // An empty input has no rows in which the column could be missing.
            return Ok(0);
        }
        let mut places = (0..).zip(&self.columns).filter(|(_, column)| *column == name).map(|(place, _)| place);
        match (places.next(), places.next()) {
            (Some(place), None) => Ok(place),
            (Some(_), Some(_)) => Err(OptionError::new(format!("there are two columns named {name:?}"))),
            (None, _) => Err(no_column(name, &self.columns)),
        }
    }

    /// Whether rows are JSON objects.
    #[inline]
    pub(crate) fn is_json(&self) -> bool {
        self.json.is_some()
    }

    /// Whether a field has no value.
    #[inline]
    pub(crate) fn is_null(&self, field: &[u8]) -> bool {
        field.is_empty() || self.nulls.iter().any(|null| null == field)
    }

    /// The characters of a field: without the mark that JSON strings have.
    #[inline]
    pub(crate) fn text<'f>(&self, field: &'f [u8]) -> &'f [u8] {
        if self.is_json() { field.strip_prefix(STRING_MARK).unwrap_or(field) } else { field }
    }

    /// The number that a field of the column `name` has.
    ///
    /// # Errors
    ///
    /// If it is none, or too large for a [`Decimal`].
    #[inline]
    pub(crate) fn number(&self, field: &[u8], name: &str) -> Result<Decimal> {
        Decimal::parse(self.text(field)).ok_or_else(|| self.no_number(field, name))
    }

    #[cold]
    fn no_number(&self, field: &[u8], name: &str) -> JobError {
        let text = self.text(field);
        let shown = text[..text.len().min(60)].escape_ascii();
        let reason = format!(
            "column {name:?} has \"{shown}\", which is no number of up to 38 digits (--null names text without a value)"
        );
        RecordError { reason }.into()
    }
}

fn no_column(name: &str, columns: &[String]) -> OptionError {
    OptionError::new(format!("there is no column {name:?} (there are {})", columns.join(", ")))
}

/// A record without the byte order mark that a line rule may have left on it.
pub(crate) fn without_mark(record: &[u8]) -> &[u8] {
    record.strip_prefix(BYTE_ORDER_MARK).unwrap_or(record)
}

fn separator(text: &str) -> Result<u8, String> {
    match text {
        "\\t" => Ok(b'\t'),
        _ => match text.as_bytes() {
            [byte @ (b'\t' | b' '..=b'~')] if *byte != b'"' => Ok(*byte),
            _ => Err("not one ASCII character other than a quote (\\t is TAB)".to_owned()),
        },
    }
}
