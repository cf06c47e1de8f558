//! Files that are written and read back: every kind of column, nested as it may be, over any cut.

use std::io;

use proptest::prelude::*;

use super::super::calendar::Timestamp;
use super::super::row::{Items, Open, Value, name};
use super::super::schema::{Column, Kind, Schema};
use super::*;
use crate::decimal::Decimal;
use crate::failure::Failure;
use crate::form::Codec;
use crate::objects::OpenObject;

/// A file in memory.
struct InMemory(Vec<u8>);

impl OpenObject for InMemory {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn will_read(&self, _offset: u64, _bytes: u64) {}

    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }
}

fn open(bytes: &[u8]) -> Result<ParquetFile, ParquetProblem> {
    open_within(bytes, u64::MAX)
}

fn open_within(bytes: &[u8], memory: u64) -> Result<ParquetFile, ParquetProblem> {
    ParquetFile::open(Box::new(InMemory(bytes.to_vec())), bytes.len() as u64, memory)
}

/// A file of these row groups, each of framed rows.
fn written(schema: &Schema, groups: &[Vec<u8>], codec: Option<Codec>) -> Vec<u8> {
    let mut writer = ParquetWriter::new(schema, codec).expect("columns");
    let mut file = vec![];
    groups.iter().for_each(|rows| writer.write_group(rows, &mut file).expect("rows"));
    writer.finish(&mut file).expect("a footer");
    file
}

/// All rows of the row groups that a stretch of the file owns.
fn rows_of(file: &ParquetFile, start: u64, end: u64, wanted: &Wanted, form: &RowForm) -> Vec<u8> {
    let mut out = vec![];
    for group in file.groups_in(start, end) {
        let mut rows = file.read_group(group, wanted, form.clone()).expect("a row group");
        loop {
            let most = out.len() + 100;
            if rows.fill(&mut out, most).expect("rows") == 0 {
                break;
            }
        }
    }
    out
}

fn all_names(schema: &Schema) -> Wanted {
    Wanted::Named(schema.names().map(str::to_owned).collect())
}

fn lines(file: &ParquetFile, size: usize, wanted: &Wanted) -> String {
    let text = RowForm::Text { end: b"\n".to_vec(), objects: false, quoted: false };
    String::from_utf8(rows_of(file, 0, size as u64, wanted, &text)).expect("text")
}

fn row(values: &[Value<'_>]) -> Vec<u8> {
    let mut out = vec![];
    let row = Open::row(&mut out);
    values.iter().for_each(|value| value.encode(&mut out));
    row.end(&mut out);
    out
}

#[test]
fn every_kind_of_column_comes_back() {
    let decimal = |precision: u8| Kind::Decimal { precision, scale: 2 };
    let timestamp = |digits: u8, utc: bool| Kind::Timestamp { digits, utc };
    let number = |mantissa: i128| Value::Decimal(Decimal { mantissa, scale: 2 });
    let time = |units: i64, digits: u8, utc: bool| Value::Timestamp(Timestamp { units, digits, utc });
    let cells = [
        (Kind::Bool, Value::Bool(true)),
        (Kind::Int(8), Value::Int(-128)),
        (Kind::Int(16), Value::Int(i16::MIN.into())),
        (Kind::Int(32), Value::Int(i32::MIN.into())),
        (Kind::Int(64), Value::Int(i64::MIN)),
        (Kind::Uint(8), Value::Int(255)),
        (Kind::Uint(32), Value::Int(u32::MAX.into())),
        (Kind::Uint(64), Value::Uint(u64::MAX)),
        (Kind::Float, Value::Float(0.1)),
        (Kind::Double, Value::Double(-1e300)),
        (decimal(5), number(-12_345)),
        (decimal(15), number(123_456_789_012_345)),
        (decimal(38), number(-99_999_999_999_999_999_999_999_999_999_999_999_999)),
        (Kind::Date, Value::Date(-1)),
        (Kind::Time, Value::Time(86_399_999_999_000)),
        (timestamp(3, true), time(-1, 3, true)),
        (timestamp(6, false), time(1, 6, false)),
        (timestamp(9, true), time(i64::MAX, 9, true)),
        (Kind::String, Value::Text("é\n")),
        (Kind::Binary, Value::Bytes(b"\xff\0")),
    ];
    let columns =
        cells.iter().enumerate().map(|(index, (kind, _))| Column::nullable(format!("c{index}"), kind.clone()));
    let schema = Schema::new(columns.collect()).expect("names");
    let values: Vec<Value<'_>> = cells.iter().map(|(_, value)| *value).collect();
    let nulls = vec![Value::Null; cells.len()];
    let rows = [row(&values), row(&nulls), row(&values)].concat();
    for codec in [None, Some(Codec::Zstd), Some(Codec::Gzip), Some(Codec::Lz4)] {
        let bytes = written(&schema, &[rows.clone(), rows.clone()], codec);
        assert_eq!(bytes, written(&schema, &[rows.clone(), rows.clone()], codec), "the same rows are the same bytes");
        let file = open(&bytes).expect("a file");
        assert_eq!(file.schema(), &schema);
        assert_eq!(file.rows_before(1), 3);
        let back = rows_of(&file, 0, bytes.len() as u64, &all_names(&schema), &RowForm::Rows);
        assert_eq!(back, [rows.clone(), rows.clone()].concat(), "{codec:?}");
    }
    assert!(matches!(ParquetWriter::new(&schema, Some(Codec::Xz)), Err(WriteProblem::File { .. })));
}

#[test]
fn only_the_columns_wanted_are_read_in_their_order() {
    let columns = ["a", "b", "c"].map(|name| Column::nullable(name, Kind::Int(64)));
    let schema = Schema::new(columns.to_vec()).expect("names");
    let rows = row(&[Value::Int(1), Value::Null, Value::Int(3)]);
    let bytes = written(&schema, &[rows], None);
    let file = open(&bytes).expect("a file");
    let named = |names: &[&str]| Wanted::Named(names.iter().map(ToString::to_string).collect());
    let read = rows_of(&file, 0, bytes.len() as u64, &named(&["c", "none", "b"]), &RowForm::Rows);
    assert_eq!(read, row(&[Value::Int(3), Value::Absent, Value::Null]));
    assert_eq!(lines(&file, bytes.len(), &named(&["c", "none", "b"])), "{\"c\":3,\"b\":null}\n");
    assert_eq!(lines(&file, bytes.len(), &Wanted::All), "{\"a\":1,\"b\":null,\"c\":3}\n");
    let all = rows_of(&file, 0, bytes.len() as u64, &Wanted::All, &RowForm::Rows);
    let map: std::collections::BTreeMap<String, Option<i64>> = super::super::from_row(&all).expect("a map");
    assert_eq!(map, [("a", Some(1)), ("b", None), ("c", Some(3))].map(|(name, value)| (name.to_owned(), value)).into());
}

#[test]
fn strings_alone_are_lines_as_they_are() {
    for kind in [Kind::String, Kind::Binary] {
        let schema = Schema::new(vec![Column::nullable("line", kind)]).expect("a name");
        let rows = [row(&[Value::Text("to \"be\"")]), row(&[Value::Null]), row(&[Value::Text("é")])].concat();
        let bytes = written(&schema, &[rows], None);
        assert_eq!(lines(&open(&bytes).expect("a file"), bytes.len(), &Wanted::All), "to \"be\"\n\né\n");
    }
}

#[test]
fn what_ends_records_may_not_be_in_a_row() {
    let schema = Schema::new(vec![Column::nullable("a", Kind::Int(64))]).expect("a name");
    let bytes = written(&schema, &[row(&[Value::Int(12)])], None);
    let file = open(&bytes).expect("a file");
    let mut rows = file
        .read_group(0, &Wanted::All, RowForm::Text { end: b"12".to_vec(), objects: false, quoted: false })
        .expect("a row group");
    let error = rows.fill(&mut vec![], 1).expect_err("12 is in it").to_string();
    assert_eq!(error, "row group 0: a row as JSON has what ends a record inside it (--delimiter)");
}

#[test]
fn values_that_do_not_fit_are_refused_with_their_column() {
    let check = |kind: Kind, value: Value<'_>, expect: &str| {
        let schema = Schema::new(vec![Column::required("price", kind)]).expect("a name");
        let mut writer = ParquetWriter::new(&schema, None).expect("columns");
        let error = writer.write_group(&row(&[value]), &mut vec![]).expect_err("it does not fit").to_string();
        assert_eq!(error, expect);
    };
    check(Kind::Int(8), Value::Int(128), "column \"price\": 128 is no int8");
    check(Kind::Uint(64), Value::Int(-1), "column \"price\": -1 is no uint64");
    check(
        Kind::Decimal { precision: 3, scale: 1 },
        Value::Text("1.25"),
        "column \"price\": \"1.25\" is no decimal(3,1)",
    );
    check(Kind::Date, Value::Text("today"), "column \"price\": \"today\" is no date");
    check(Kind::Date, Value::Null, "column \"price\": a value is missing, and date may not be");
}

#[test]
fn damaged_files_are_refused_with_the_place() {
    let schema = Schema::new(vec![Column::nullable("name", Kind::String)]).expect("a name");
    let rows: Vec<u8> = (0..100).flat_map(|n| row(&[Value::Text(&format!("value {n}"))])).collect();
    let bytes = written(&schema, &[rows], None);
    for cut in [0, 4, 11, bytes.len() / 2, bytes.len() - 1] {
        open(&bytes[..cut]).expect_err("it is cut short");
    }
    let mut damaged = bytes.clone();
    damaged[10..60].fill(0xff);
    let file = open(&damaged).expect("its footer is whole");
    let read = file.read_group(0, &Wanted::All, RowForm::Rows).and_then(|mut rows| rows.fill(&mut vec![], usize::MAX));
    let error = read.expect_err("its pages are not").to_string();
    assert!(error.starts_with("row group 0, column \"name\": "), "{error}");
}

#[test]
fn pages_beyond_the_memory_are_refused_before_they_are_there() {
    let columns = ["a", "b"].map(|name| Column::required(name, Kind::String));
    let schema = Schema::new(columns.to_vec()).expect("names");
    let long = "x".repeat(1 << 20);
    let bytes = written(&schema, &[row(&[Value::Text(&long), Value::Text("b")])], Some(Codec::Zstd));
    assert!(bytes.len() < 4096, "{} bytes", bytes.len());
    let read = |memory: u64| -> Result<u64, ParquetProblem> {
        let file = open_within(&bytes, memory)?;
        let mut rows = file.read_group(0, &Wanted::All, RowForm::Rows)?;
        rows.fill(&mut vec![], usize::MAX)?;
        let held = file.page_bytes();
        drop(rows);
        assert_eq!(file.page_bytes(), 0);
        Ok(held)
    };
    let held = read(2 << 20).expect("it fits");
    assert!(held > 1 << 20, "{held}");
    assert_eq!(read(held).expect("it just fits"), held);
    let error = read(1 << 20).expect_err("it does not").to_string();
    let expect = "row group 0, column \"a\": its pages, values and those of the columns before it take 1.00 MiB or more, \
                  which is beyond three quarters of an attempt's memory (raise --memory)";
    assert_eq!(error, expect);
    assert!(matches!(read(held - 1), Err(ParquetProblem::Memory { column: Some(column), .. }) if column == "b"));
}

/// A row `(list of lists of ints, struct with a list in it, map)`, any of it null.
type Nested =
    (Option<Vec<Option<Vec<Option<i64>>>>>, Option<(Option<String>, Vec<i64>)>, Option<Vec<(String, Option<i64>)>>);

fn nested_schema() -> Schema {
    let list = |name: &str, element: Column| Column::nullable(name, Kind::List(Box::new(element)));
    let fields = vec![
        Column::nullable("text", Kind::String),
        Column::required("numbers", Kind::List(Box::new(Column::required("element", Kind::Int(64))))),
    ];
    let inner = list("element", Column::nullable("element", Kind::Int(64)));
    let map = Kind::Map(Box::new(Kind::String), Box::new(Column::nullable("value", Kind::Int(64))));
    Schema::new(vec![
        list("lists", inner),
        Column::nullable("struct", Kind::Struct(fields)),
        Column::nullable("map", map),
    ])
    .expect("names")
}

fn nested_row((lists, structure, map): &Nested) -> Vec<u8> {
    fn list<T>(items: &[T], out: &mut Vec<u8>, each: impl Fn(&T, &mut Vec<u8>)) {
        let open = Open::list(out);
        items.iter().for_each(|item| each(item, out));
        open.end(out);
    }
    let int = |value: &Option<i64>, out: &mut Vec<u8>| value.map_or(Value::Null, Value::Int).encode(out);
    let mut out = vec![];
    let row = Open::row(&mut out);
    match lists {
        None => Value::Null.encode(&mut out),
        Some(lists) => list(lists, &mut out, |inner, out| match inner {
            None => Value::Null.encode(out),
            Some(inner) => list(inner, out, int),
        }),
    }
    match structure {
        None => Value::Null.encode(&mut out),
        Some((text, numbers)) => {
            let open = Open::structure(&mut out);
            name("text", &mut out);
            text.as_deref().map_or(Value::Null, Value::Text).encode(&mut out);
            name("numbers", &mut out);
            list(numbers, &mut out, |number, out| Value::Int(*number).encode(out));
            open.end(&mut out);
        }
    }
    match map {
        None => Value::Null.encode(&mut out),
        Some(entries) => {
            let open = Open::map(&mut out);
            for (key, value) in entries {
                Value::Text(key).encode(&mut out);
                int(value, &mut out);
            }
            open.end(&mut out);
        }
    }
    row.end(&mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nested_values_come_back_over_any_cut(
        rows in proptest::collection::vec(
            (
                proptest::option::of(proptest::collection::vec(
                    proptest::option::of(proptest::collection::vec(proptest::option::of(any::<i64>()), 0..4)), 0..4)),
                proptest::option::of((proptest::option::of("[a-c]{0,3}"), proptest::collection::vec(any::<i64>(), 0..3))),
                proptest::option::of(proptest::collection::vec(("[a-c]{1,2}", proptest::option::of(any::<i64>())), 0..3)),
            ),
            1..40,
        ),
        group in 1_usize..12, cut in 1_u64..400,
    ) {
        let schema = nested_schema();
        let groups: Vec<Vec<u8>> = rows.chunks(group).map(|rows| rows.iter().flat_map(nested_row).collect()).collect();
        let bytes = written(&schema, &groups, None);
        let file = open(&bytes).expect("a file");
        prop_assert_eq!(file.schema(), &schema);
        let size = bytes.len() as u64;
        let pieces = (0..size).step_by(cut as usize);
        let back: Vec<u8> = pieces
            .flat_map(|start| rows_of(&file, start, size.min(start + cut), &all_names(&schema), &RowForm::Rows))
            .collect();
        prop_assert_eq!(back, groups.concat());
        prop_assert!(Items::of_row(&groups[0]).is_ok());
    }
}
