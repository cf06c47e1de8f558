//! Rows of tables on their way from one format to another: taken as text, as JSON, or as rows of a file of columns,
//! and put as rows, of which the engine makes the format that is asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;

use gristmill_common::formats::NoRow;
use gristmill_common::formats::coerce::{fit, misfit};
use gristmill_common::formats::row::{Items, Open, Value};
use gristmill_common::formats::schema::{Kind, Schema, SchemaError};
use gristmill_common::input::{Columns, Reading};
use gristmill_common::prelude::*;
use serde_json::value::RawValue;

use crate::table::{Decimal, FolderName, Folders, Rows, Table, json_values, without_mark, write_json};

/// Rows as they travel, put as they are.
#[derive(Debug)]
pub(crate) enum RowsAsTheyAre {}

impl Output for RowsAsTheyAre {
    type Key = [u8];
    type Value = ();

    fn write(row: &&[u8], (): &(), out: &mut Vec<u8>) {
        out.extend_from_slice(row);
    }

    fn write_row(row: &&[u8], (): &(), out: &mut Vec<u8>) -> std::result::Result<(), NoRow> {
        out.extend_from_slice(row);
        Ok(())
    }
}

/// Rows as they travel, taken as they are.
#[derive(Debug)]
pub(crate) enum RowBytes {}

impl Input for RowBytes {
    type Record<'a> = &'a [u8];

    fn decode<'a>(bytes: &'a [u8], from: Provenance<'a>) -> std::result::Result<&'a [u8], RecordError> {
        if from.is_row {
            Ok(bytes)
        } else {
            Err(RecordError::new("the first file is a Parquet file, and this is none"))
        }
    }

    fn reading(_role: u32) -> Reading {
        Reading { heading: false, columns: Columns::All }
    }
}

/// Where rows go: into the main output, or into folders that some of their columns name.
#[derive(Debug)]
struct Places {
    folders: Option<Folders>,
    /// The columns of the rows as they are written.
    written: Schema,
}

/// What is used again for every row.
#[derive(Debug, Default)]
struct Room {
    /// Of a value that is shown as text.
    text: Vec<u8>,
    row: Vec<u8>,
    folder: FolderName,
    /// What of a row is written in its folder.
    rest: Vec<u8>,
}

impl Places {
    /// Puts the row that is in `room`.
    fn put(&self, room: &mut Room, out: &mut impl Sink<[u8]>) -> Result<()> {
        let Some(folders) = &self.folders else { return out.put(&room.row, ()) };
        folders.divide(&room.row, &mut room.folder, &mut room.rest).map_err(bad_row)?;
        out.put_to(room.folder.as_str(), &room.rest, ())
    }
}

/// Copies rows of files of columns.
#[derive(Debug)]
pub(super) struct CopyRows {
    schema: Schema,
    places: Places,
}

impl CopyRows {
    pub(super) fn new(schema: Schema, folders: Option<Folders>, written: Schema) -> Self {
        Self { schema, places: Places { folders, written } }
    }
}

impl MapOnly for CopyRows {
    type Input = RowBytes;
    type Output = RowsAsTheyAre;

    fn map(&self, row: &[u8], out: &mut impl Sink<[u8]>) -> Result<()> {
        let (mut items, mut room) = (Items::of_row(row).map_err(bad_row)?, Room::default());
        let open = Open::row(&mut room.row);
        for column in &self.schema.columns {
            let value = items.next_value().map_err(bad_row)?.unwrap_or(Value::Absent);
            put(value, &column.name, &column.kind, &mut room.text, &mut room.row)?;
        }
        open.end(&mut room.row);
        self.places.put(&mut room, out)
    }

    fn has_main_output(&self) -> bool {
        self.places.folders.is_none()
    }

    fn schema(&self) -> std::result::Result<Schema, SchemaError> {
        Ok(self.places.written.clone())
    }

    fn columns(&self, _role: u32) -> Option<Vec<String>> {
        Some(self.schema.names().map(str::to_owned).collect())
    }
}

fn bad_row(error: gristmill_common::formats::row::BadRow) -> RecordError {
    RecordError::new(error.to_string())
}

/// Appends a value as one of its column's kind.
fn put(value: Value<'_>, name: &str, kind: &Kind, room: &mut Vec<u8>, row: &mut Vec<u8>) -> Result<()> {
    let Some(fitted) = fit(value, kind, room) else {
        let error = misfit(&value, kind);
        return Err(RecordError::new(format!("column {name:?}: {error}")).into());
    };
    fitted.encode(row);
    Ok(())
}

/// What rows of text are.
#[derive(Debug)]
pub(super) enum Source {
    /// One column each.
    Lines,
    /// Fields between separators, and the places of all columns.
    Delimited(Box<Table>, Vec<usize>),
    /// JSON objects.
    Json,
}

impl Source {
    pub(super) fn delimited(table: Table) -> Self {
        let places = (0..table.columns.len()).collect();
        Source::Delimited(Box::new(table), places)
    }
}

/// Makes rows of text.
#[derive(Debug)]
pub(super) struct CopyTable {
    source: Source,
    schema: Schema,
    places: Places,
}

impl CopyTable {
    pub(super) fn new(source: Source, schema: Schema, folders: Option<Folders>, written: Schema) -> Self {
        Self { source, schema, places: Places { folders, written } }
    }

    /// Puts a row of these texts, none of which is a value.
    fn put_fields<'f>(
        &self,
        fields: impl Iterator<Item = Option<&'f [u8]>>,
        room: &mut Room,
        out: &mut impl Sink<[u8]>,
    ) -> Result<()> {
        room.row.clear();
        let open = Open::row(&mut room.row);
        for (field, column) in fields.zip(&self.schema.columns) {
            let value = match field {
                None => Value::Null,
                Some(field) => std::str::from_utf8(field).map_or(Value::Bytes(field), Value::Text),
            };
            put(value, &column.name, &column.kind, &mut room.text, &mut room.row)?;
        }
        open.end(&mut room.row);
        self.places.put(room, out)
    }

    /// Puts the row that a JSON object is.
    fn put_object(&self, record: &[u8], room: &mut Room, out: &mut impl Sink<[u8]>) -> Result<()> {
        let object: BTreeMap<String, &RawValue> = serde_json::from_slice(record).map_err(|error| {
            let shown = error.to_string().replace(" at line 1 column ", " at byte ");
            RecordError::new(format!("not a JSON object: {shown}"))
        })?;
        if let Some(name) = object.keys().find(|name| self.schema.place(name).is_none()) {
            let reason =
                format!("field {name:?} is none of the columns, which the first records show (--types adds it)");
            return Err(RecordError::new(reason).into());
        }
        let Room { text, row, .. } = room;
        row.clear();
        let open = Open::row(row);
        for column in &self.schema.columns {
            let json = object.get(&column.name).map_or("null", |value| value.get());
            put_json(json, &column.name, &column.kind, text, row)?;
        }
        open.end(row);
        self.places.put(room, out)
    }
}

/// Appends a JSON value, as it is written, as one of its column's kind. Objects and lists in columns of text stay as
/// they are written.
fn put_json(json: &str, name: &str, kind: &Kind, room: &mut Vec<u8>, row: &mut Vec<u8>) -> Result<()> {
    let mut written = Vec::new();
    let string: Cow<'_, str>;
    let value = match (json.as_bytes(), kind) {
        ([b'[', ..], Kind::List(element)) => {
            let open = Open::list(row);
            for item in json_values(json.as_bytes()) {
                put_json(item, name, &element.kind, room, row)?;
            }
            open.end(row);
            return Ok(());
        }
        ([b'n', ..], _) => Value::Null,
        ([b't', ..], _) => Value::Bool(true),
        ([b'f', ..], _) => Value::Bool(false),
        ([b'"', ..], _) => {
            string =
                serde_json::from_str(json).map_err(|error| RecordError::new(format!("column {name:?}: {error}")))?;
            Value::Text(&string)
        }
        ([b'[' | b'{', ..], _) => {
            write_json(json.as_bytes(), &mut written);
            Value::Text(std::str::from_utf8(&written).unwrap_or_default())
        }
        (_, Kind::String) => Value::Text(json),
        (_, Kind::Float | Kind::Double) => match json.parse() {
            Ok(number) if f64::is_finite(number) => Value::Double(number),
            _ => return Err(RecordError::new(format!("column {name:?}: {json} is no {kind}")).into()),
        },
        // Digit by digit: as a float, a number would lose all but some sixteen.
        (number, _) => Decimal::parse(number).map_or(Value::Text(json), Value::Decimal),
    };
    put(value, name, kind, room, row)
}

impl MapOnly for CopyTable {
    type Input = Lines;
    type Output = RowsAsTheyAre;

    fn map(&self, record: &[u8], out: &mut impl Sink<[u8]>) -> Result<()> {
        let mut room = Room::default();
        match &self.source {
            Source::Lines => self.put_fields([Some(record)].into_iter(), &mut room, out),
            Source::Json => self.put_object(record, &mut room, out),
            Source::Delimited(table, places) => {
                let mut rows = Rows::new(table, places).exact();
                let cut = rows.read(record)?;
                let fields = places.iter().map(|place| Some(cut.field(*place)).filter(|field| !table.is_null(field)));
                self.put_fields(fields, &mut room, out)
            }
        }
    }

    fn map_block(&self, block: &mut Block<'_, Lines>, out: &mut impl Sink<[u8]>) -> Result<()> {
        let mut room = Room::default();
        match &self.source {
            Source::Delimited(table, places) => Rows::new(table, places).exact().for_each(block, |cut| {
                let fields = places.iter().map(|place| Some(cut.field(*place)).filter(|field| !table.is_null(field)));
                self.put_fields(fields, &mut room, out)
            }),
            Source::Json | Source::Lines => {
                let mut begins = block.is_at_beginning();
                while let Some(record) = block.next_record() {
                    let record = record?;
                    let begins = std::mem::take(&mut begins);
                    if matches!(self.source, Source::Lines) {
                        self.put_fields([Some(record)].into_iter(), &mut room, out)?;
                        continue;
                    }
                    let object = if begins { without_mark(record) } else { record };
                    if !object.trim_ascii().is_empty() {
                        self.put_object(object, &mut room, out)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn has_main_output(&self) -> bool {
        self.places.folders.is_none()
    }

    fn schema(&self) -> std::result::Result<Schema, SchemaError> {
        Ok(self.places.written.clone())
    }
}
