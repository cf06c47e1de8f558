//! Outputs typed by serde: what a job puts becomes a row of CSV, a line of JSON, or a row of a Parquet file.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::delimited::{Csv, Shape};
use super::fields::Dialect;
use super::json_lines::JsonLines;
use super::parquet::Parquet;
use super::probe::schema_of;
use super::row::Items;
use super::schema::{Schema, SchemaError};
use super::ser::{NoRow, write_row};
use super::text::write_fields_row;
use crate::output::Output;
use crate::spec::OutputFormat;

/// The columns of `T` are the fields by which it is written; a part begins with a header unless `S` has none.
///
/// # Panics
///
/// If the `Serialize` of a value fails, or `T` does not tell its columns.
impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, S: Shape> Output for Csv<T, S> {
    type Key = T;
    type Value = ();

    const FORMAT: Option<OutputFormat> = Some(OutputFormat::Csv);

    fn write(value: &T, (): &(), out: &mut Vec<u8>) {
        let (mut row, mut room) = (Vec::new(), Vec::new());
        write_row(value, &mut row).unwrap_or_else(|error| panic!("{error}"));
        let dialect = Dialect { separator: S::SEPARATOR, quotes: S::QUOTES };
        let items = Items::of_row(&row).expect("it was just written");
        write_fields_row(dialect, None, items, &mut room, out).expect("it was just written");
        out.push(b'\n');
    }

    fn begin_part(out: &mut Vec<u8>) {
        if S::HEADER {
            let schema = schema_of::<T>().unwrap_or_else(|error| panic!("{error}"));
            let dialect = Dialect { separator: S::SEPARATOR, quotes: S::QUOTES };
            dialect.write_fields(schema.names().map(str::as_bytes), out);
            out.push(b'\n');
        }
    }

    fn schema() -> Result<Schema, SchemaError> {
        schema_of::<T>()
    }

    fn write_row(value: &T, (): &(), out: &mut Vec<u8>) -> Result<(), NoRow> {
        write_row(value, out)
    }
}

/// # Panics
///
/// If the `Serialize` of a value fails.
impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Output for JsonLines<T> {
    type Key = T;
    type Value = ();

    const FORMAT: Option<OutputFormat> = Some(OutputFormat::Json);

    fn write(value: &T, (): &(), out: &mut Vec<u8>) {
        serde_json::to_writer(&mut *out, value).unwrap_or_else(|error| panic!("{error}"));
        out.push(b'\n');
    }

    fn schema() -> Result<Schema, SchemaError> {
        schema_of::<T>()
    }

    fn write_row(value: &T, (): &(), out: &mut Vec<u8>) -> Result<(), NoRow> {
        write_row(value, out)
    }
}

/// Written as rows, of which the engine makes files; where nothing else is asked for, [`Output::write`] gives the rows
/// themselves.
///
/// # Panics
///
/// If the `Serialize` of a value fails.
impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Output for Parquet<T> {
    type Key = T;
    type Value = ();

    const FORMAT: Option<OutputFormat> = Some(OutputFormat::Parquet);

    fn write(value: &T, (): &(), out: &mut Vec<u8>) {
        write_row(value, out).unwrap_or_else(|error| panic!("{error}"));
    }

    fn schema() -> Result<Schema, SchemaError> {
        schema_of::<T>()
    }

    fn write_row(value: &T, (): &(), out: &mut Vec<u8>) -> Result<(), NoRow> {
        write_row(value, out)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::types::{Date, Fixed};
    use super::super::{Tabs, from_row};
    use super::*;
    use crate::heading::Heading;
    use crate::input::{Input as _, Provenance};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Row {
        id: u64,
        text: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        tags: Vec<String>,
        price: Fixed<9, 2>,
        day: Option<Date>,
        ratio: f64,
    }

    fn rows() -> Vec<Row> {
        let row = |id: u64, text: Option<&str>, tags: &[&str]| Row {
            id,
            text: text.map(str::to_owned),
            tags: tags.iter().map(ToString::to_string).collect(),
            price: Fixed::new(-150).expect("few digits"),
            day: text.map(|_| Date { days: 30 }),
            ratio: 0.1,
        };
        vec![row(1, Some("a,\"b\""), &["x", "y"]), row(2, None, &[]), row(u64::MAX, Some(""), &["é"])]
    }

    fn part<O: Output<Key = Row, Value = ()>>() -> Vec<u8> {
        let mut out = vec![];
        O::begin_part(&mut out);
        rows().iter().for_each(|row| O::write(row, &(), &mut out));
        out
    }

    #[test]
    fn rows_come_back_from_every_format() {
        let csv = part::<Csv<Row>>();
        let expect = "id,text,tags,price,day,ratio\n\
                      1,\"a,\"\"b\"\"\",\"[\"\"x\"\",\"\"y\"\"]\",-1.50,1970-01-31,0.1\n\
                      2,,,-1.50,,0.1\n\
                      18446744073709551615,\"\",\"[\"\"é\"\"]\",-1.50,1970-01-31,0.1\n";
        assert_eq!(String::from_utf8_lossy(&csv), expect);
        let mut lines = std::str::from_utf8(&csv).expect("text").lines();
        let heading = Heading::new(lines.next().expect("a header").as_bytes().to_vec());
        let from = Provenance::new("a", 9, 0).under(Some(&heading));
        let read = |line: &str| Csv::<Row>::decode(line.as_bytes(), from).map_err(|error| error.to_string());
        assert_eq!(read(lines.next().expect("a row")).as_ref(), Ok(&rows()[0]));
        let json = part::<JsonLines<Row>>();
        let read = json.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let read: Vec<Row> = read.map(|line| JsonLines::<Row>::decode(line, from).expect("a row")).collect();
        assert_eq!(read, rows());
        let parquet = part::<Parquet<Row>>();
        let mut rest = parquet.as_slice();
        let mut read = vec![];
        while !rest.is_empty() {
            let (row, more) = rest.split_at(super::super::row::framed_len(rest));
            // A list that is left out is null, which `serde(default)` does not take.
            read.push(from_row::<Row>(row).map(|row| row.id).map_err(|error| error.to_string()));
            rest = more;
        }
        assert_eq!(read[0], Ok(1));
        assert_eq!(read[1], Err("column \"tags\": null is no list".to_owned()));
        assert!(part::<Csv<Row, Tabs>>().starts_with(b"id\ttext\ttags\t"));
    }
}
