//! How a group is written: the text of its key, which map makes and reduce writes, and its line. Knows
//! formats, and nothing of what the results mean.

use gristmill_common::formats::NoRow;
use gristmill_common::prelude::*;

use super::packed_key::KeyText;
use crate::table::{Dialect, Format, FormatOptions, Table, json_values, write_json, write_json_string};

/// Writes groups.
#[derive(Debug)]
pub(super) struct Writer {
    style: Style,
    /// How the fields of a key's text are told apart.
    dialect: Dialect,
    key_text: KeyText,
}

#[derive(Debug)]
enum Style {
    Delimited {
        null: Vec<u8>,
        header: Vec<u8>,
    },
    /// What stands before each value of a line.
    Json {
        names: Vec<Vec<u8>>,
    },
}

/// A field as text, which rows have.
fn text_of(field: &[u8]) -> Result<&str, NoRow> {
    std::str::from_utf8(field).map_err(|_| NoRow::new("a value is not UTF-8".to_owned()))
}

impl Writer {
    /// A writer of lines with these columns.
    ///
    /// # Errors
    ///
    /// If the format cannot be had of this input, or has no header and one is asked for.
    pub(super) fn new<'n>(
        options: &FormatOptions,
        format: Format,
        table: &Table,
        columns: impl Iterator<Item = &'n String>,
    ) -> Result<Self, OptionError> {
        let with_header = options.writes_header(format)?;
        let (style, dialect) = match (format, options.format()) {
            (Format::Json, Format::Json) => {
                let names = columns.zip("{".chars().chain(std::iter::repeat(','))).map(|(column, before)| {
                    let mut name = vec![before as u8];
                    write_json_string(column, &mut name);
                    name.push(b':');
                    name
                });
                (Style::Json { names: names.collect() }, Dialect { separator: b',', quotes: false })
            }
            (Format::Json, Format::Delimited) => {
                unreachable!("only a table of JSON lines is written as such")
            }
            (Format::Delimited, _) => {
                let mut header = Vec::new();
                if with_header {
                    table.dialect.write_fields(columns.map(String::as_bytes), &mut header);
                    header.push(b'\n');
                }
                (Style::Delimited { null: options.null().to_vec(), header }, table.dialect)
            }
        };
        Ok(Self { style, dialect, key_text: KeyText::new(dialect.separator) })
    }

    /// What every part begins with.
    pub(super) fn header(&self) -> &[u8] {
        match &self.style {
            Style::Delimited { header, .. } => header,
            Style::Json { .. } => &[],
        }
    }

    /// Makes the key of a group: its fields as the output shows them, made short.
    #[inline]
    pub(super) fn key<'f>(
        &self,
        fields: impl Iterator<Item = &'f [u8]>,
        table: &Table,
        text: &mut Vec<u8>,
        key: &mut Vec<u8>,
    ) {
        text.clear();
        for (index, field) in fields.enumerate() {
            if index > 0 {
                text.push(self.dialect.separator);
            }
            // An empty field of delimited text stays what it is.
            if !field.is_empty() || table.is_json() {
                self.write_text(field, table, text);
            }
        }
        key.clear();
        self.key_text.pack(text, key);
    }

    /// Appends a field of the input; an empty one is no value.
    #[inline]
    pub(super) fn write_text(&self, field: &[u8], table: &Table, out: &mut Vec<u8>) {
        match &self.style {
            Style::Json { .. } => write_json(field, out),
            Style::Delimited { null, .. } if field.is_empty() => self.dialect.write_field(null, out),
            Style::Delimited { .. } => self.dialect.write_field(table.text(field), out),
        }
    }

    /// The fields of a key, each as JSON.
    ///
    /// # Errors
    ///
    /// If it is no key.
    pub(super) fn key_values(&self, key: &[u8]) -> Result<Vec<Vec<u8>>, NoRow> {
        let mut text = Vec::new();
        match &self.style {
            Style::Json { .. } => {
                text.push(b'[');
                self.key_text.unpack(key, &mut text);
                text.push(b']');
                Ok(json_values(&text).into_iter().map(|value| value.as_bytes().to_vec()).collect())
            }
            Style::Delimited { null, .. } => {
                self.key_text.unpack(key, &mut text);
                let fields = self.dialect.all(&text).map_err(|error| NoRow::new(error.to_string()))?;
                let value = |field: Vec<u8>| {
                    let mut json = Vec::new();
                    match field.is_empty() || field == *null {
                        true => json.extend_from_slice(b"null"),
                        false => write_json_string(text_of(&field)?, &mut json),
                    }
                    Ok(json)
                };
                fields.into_iter().map(value).collect()
            }
        }
    }

    /// Appends a field of the input as JSON; an empty one is no value.
    ///
    /// # Errors
    ///
    /// If it is no text.
    pub(super) fn write_value(&self, field: &[u8], table: &Table, out: &mut Vec<u8>) -> Result<(), NoRow> {
        match field {
            [] => out.extend_from_slice(b"null"),
            field if table.is_json() => write_json(field, out),
            field => write_json_string(text_of(field)?, out),
        }
        Ok(())
    }

    /// Appends the line of a group: its key, and each result as `result` appends it.
    #[inline]
    pub(super) fn write_line<R>(
        &self,
        key: &[u8],
        results: impl Iterator<Item = R>,
        result: impl Fn(R, &mut Vec<u8>),
        out: &mut Vec<u8>,
    ) {
        match &self.style {
            Style::Delimited { .. } => {
                self.key_text.unpack(key, out);
                for each in results {
                    out.push(self.dialect.separator);
                    result(each, out);
                }
            }
            Style::Json { names } => {
                let mut fields = b"[".to_vec();
                self.key_text.unpack(key, &mut fields);
                fields.push(b']');
                let mut names = names.iter();
                for (value, name) in json_values(&fields).into_iter().zip(&mut names) {
                    out.extend_from_slice(name);
                    out.extend_from_slice(value.as_bytes());
                }
                for (each, name) in results.zip(names) {
                    out.extend_from_slice(name);
                    result(each, out);
                }
                out.push(b'}');
            }
        }
        out.push(b'\n');
    }
}
