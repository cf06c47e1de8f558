//! The kinds of columns: as `--types` asks for them, or as the first records of an input show them.

use std::str::FromStr;

use gristmill_common::decimal::Decimal;
use gristmill_common::formats::NoRow;
use gristmill_common::formats::coerce::{fit, misfit};
use gristmill_common::formats::row::{Open, Value};
use gristmill_common::formats::schema::{Column, Kind, Schema, SchemaError};
use gristmill_common::input::{Columns, Reading};
use gristmill_common::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::options::without_mark;

/// Columns with the kinds that were asked for, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Types(Vec<(String, Kind)>);

impl FromStr for Types {
    type Err = String;

    /// Reads `a=int64,b=decimal(12,2)`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (mut types, mut depth, mut start) = (Vec::new(), 0_i32, 0);
        for (at, byte) in text.bytes().chain([b',']).enumerate() {
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b',' if depth == 0 || at == text.len() => {
                    let one = &text[start..at];
                    let (name, kind) = one.rsplit_once('=').ok_or_else(|| format!("{one:?} is not NAME=TYPE"))?;
                    types.push((name.to_owned(), kind.parse::<Kind>().map_err(|error| error.to_string())?));
                    start = at + 1;
                }
                _ => {}
            }
        }
        Ok(Self(types))
    }
}

impl Types {
    /// The kind that was asked for.
    pub(crate) fn of(&self, name: &str) -> Option<&Kind> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, kind)| kind)
    }

    /// A schema of columns, each of the kind that was asked for, or else its own.
    ///
    /// # Errors
    ///
    /// If a kind was asked for a column that there is not.
    pub(crate) fn schema(
        &self,
        columns: impl IntoIterator<Item = (String, Kind)>,
    ) -> std::result::Result<Schema, OptionError> {
        let typed = |(name, own): (String, Kind)| {
            let kind = self.of(&name).cloned().unwrap_or(own);
            Column::nullable(name, kind)
        };
        let columns: Vec<Column> = columns.into_iter().map(typed).collect();
        if let Some((name, _)) = self.0.iter().find(|(name, _)| !columns.iter().any(|column| column.name == *name)) {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            return Err(OptionError::new(format!(
                "--types: there is no column {name:?} (there are {})",
                names.join(", ")
            )));
        }
        Schema::new(columns).map_err(|error: SchemaError| OptionError::new(error.to_string()))
    }

    /// A schema of the columns that the first of many objects show, and behind them those that a kind was asked for:
    /// later objects may have them.
    ///
    /// # Errors
    ///
    /// If two columns have one name.
    pub(crate) fn schema_of_objects(&self, shown: Vec<(String, Kind)>) -> std::result::Result<Schema, OptionError> {
        let is_shown = |name: &str| shown.iter().any(|(other, _)| other == name);
        let asked: Vec<_> = self.0.iter().filter(|(name, _)| !is_shown(name)).cloned().collect();
        self.schema(shown.into_iter().chain(asked))
    }
}

/// Lines of tables: of files of columns, a JSON object for each row.
#[derive(Debug)]
pub(crate) enum TableLines {}

impl Input for TableLines {
    type Record<'a> = &'a [u8];

    #[inline]
    fn decode<'a>(bytes: &'a [u8], _from: Provenance<'a>) -> std::result::Result<&'a [u8], RecordError> {
        Ok(bytes)
    }

    fn reading(_role: u32) -> Reading {
        Reading { heading: false, columns: Columns::AsObjects }
    }
}

/// The columns of a file of columns in which these are found: `a.b` may be one, or lie in `a`.
pub(crate) fn top_columns<'n>(names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        let inside = name.split_once('.').map(|(top, _)| top);
        for one in inside.into_iter().chain([name]) {
            if !all.iter().any(|other| other == one) {
                all.push(one.to_owned());
            }
        }
    }
    all
}

/// Appends values, each as JSON, as a row of these columns.
pub(crate) fn write_values(schema: &Schema, values: &[Vec<u8>], out: &mut Vec<u8>) -> std::result::Result<(), NoRow> {
    let (row, mut room) = (Open::row(out), Vec::new());
    for (json, column) in values.iter().zip(&schema.columns) {
        let no_value = |reason: String| NoRow::new(format!("column {:?}: {reason}", column.name));
        let text: String;
        let value = match json.first() {
            None | Some(b'n') => Value::Null,
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'"') => {
                text = serde_json::from_slice(json).map_err(|error| no_value(error.to_string()))?;
                Value::Text(&text)
            }
            // Digit by digit, unless they are too many.
            Some(_) => match (Decimal::parse(json), std::str::from_utf8(json)) {
                (Some(number), _) if !matches!(column.kind, Kind::String) => Value::Decimal(number),
                (_, text) => Value::Text(text.unwrap_or_default()),
            },
        };
        let fitted =
            fit(value, &column.kind, &mut room).ok_or_else(|| no_value(misfit(&value, &column.kind).to_string()))?;
        fitted.encode(out);
    }
    row.end(out);
    Ok(())
}

/// The fields of JSON objects, in the order in which they are first seen, and kinds that all of their values have.
pub(crate) fn columns_of_objects(records: &[Vec<u8>]) -> Vec<(String, Kind)> {
    let mut columns: Vec<(String, Option<Kind>)> = Vec::new();
    for record in records {
        let Ok(Json::Object(fields)) = serde_json::from_slice(without_mark(record)) else { continue };
        for (name, value) in &fields {
            let kind = kind_of(value);
            match columns.iter_mut().find(|(other, _)| other == name) {
                Some((_, known)) => *known = common(known.take(), kind),
                None => columns.push((name.clone(), kind)),
            }
        }
    }
    columns.into_iter().map(|(name, kind)| (name, kind.unwrap_or(Kind::String))).collect()
}

/// The kind of a JSON value; none of null. Objects are kept as their text.
fn kind_of(value: &Json) -> Option<Kind> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(_) => Kind::Bool,
        Json::Number(number) if number.is_i64() => Kind::Int(64),
        Json::Number(number) if number.is_u64() => Kind::Uint(64),
        Json::Number(_) => Kind::Double,
        Json::String(_) | Json::Object(_) => Kind::String,
        Json::Array(items) => {
            let element = items.iter().map(kind_of).fold(None, common).unwrap_or(Kind::String);
            Kind::List(Box::new(Column::nullable("element", element)))
        }
    })
}

/// Integers of 64 bits, some of which have a sign and some need all bits.
const ALL_INTEGERS: Kind = Kind::Decimal { precision: 20, scale: 0 };

/// The kind that takes values of both.
fn common(a: Option<Kind>, b: Option<Kind>) -> Option<Kind> {
    let (a, b) = match (a, b) {
        (None, kind) | (kind, None) => return kind,
        (Some(a), Some(b)) if a == b => return Some(a),
        (Some(a), Some(b)) => (a, b),
    };
    let whole = |kind: &Kind| matches!(kind, Kind::Int(_) | Kind::Uint(_)) || *kind == ALL_INTEGERS;
    let number = |kind: &Kind| whole(kind) || *kind == Kind::Double;
    Some(match (a, b) {
        (Kind::List(a), Kind::List(b)) => {
            let element = common(Some(a.kind), Some(b.kind)).unwrap_or(Kind::String);
            Kind::List(Box::new(Column::nullable("element", element)))
        }
        // One that takes all integers of 64 bits, with a sign and without.
        (a, b) if whole(&a) && whole(&b) => ALL_INTEGERS,
        (a, b) if number(&a) && number(&b) => Kind::Double,
        _ => Kind::String,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_asked_for_by_name() {
        let types: Types = "a=int64,b=decimal(12,2),x=y=timestamp".parse().expect("types");
        assert_eq!(types.of("b").map(Kind::to_string).as_deref(), Some("decimal(12,2)"));
        assert_eq!(types.of("x=y").map(Kind::to_string).as_deref(), Some("timestamp"));
        let columns = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), Kind::String)).collect::<Vec<_>>();
        let error = types.schema(columns(&["a", "b"])).expect_err("no x=y").message;
        assert_eq!(error, "--types: there is no column \"x=y\" (there are a, b)");
        let schema = types.schema_of_objects(columns(&["x=y", "c"])).expect("a schema");
        assert_eq!(schema.names().collect::<Vec<_>>(), ["x=y", "c", "a", "b"], "later objects may have a and b");
        for bad in ["", "a", "a=", "a=integer", "a=decimal(12"] {
            assert!(bad.parse::<Types>().is_err(), "{bad}");
        }
    }

    #[test]
    fn objects_show_their_columns() {
        let records = [
            r#"{"a":1,"b":null,"c":"x","d":[1,null]}"#,
            r#"{"a":2.5,"e":true,"d":[],"f":{"g":1}}"#,
            r#"{"b":18446744073709551615,"c":1,"d":["x"]}"#,
            "no object",
        ];
        let records = records.map(|record| record.as_bytes().to_vec());
        let columns = columns_of_objects(&records);
        let shown: Vec<String> = columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        assert_eq!(shown, ["a double", "b uint64", "c string", "d string[]", "e bool", "f string"]);
    }
}
