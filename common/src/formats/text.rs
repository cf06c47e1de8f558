//! Values as text: as JSON, and as the fields of delimited text.

use std::io::Write as _;

use super::calendar;
use super::coerce::write_float;
use super::fields::Dialect;
use super::row::{BadRow, Items, Value};

/// Appends a row as a JSON object of the columns of these names, without a line end. What is not there is left out.
///
/// # Errors
///
/// If it is no row.
pub fn write_json_row<'n>(
    names: impl Iterator<Item = &'n str>,
    mut row: Items<'_>,
    out: &mut Vec<u8>,
) -> Result<(), BadRow> {
    let mut before = b'{';
    for name in names {
        let value = row.next_value()?.unwrap_or(Value::Absent);
        if !matches!(value, Value::Absent) {
            out.push(std::mem::replace(&mut before, b','));
            write_json_string(name, out);
            out.push(b':');
            write_json(&value, out);
        }
    }
    if before == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(())
}

/// Appends a row as fields with separators between them, without a line end. A field without a value is empty;
/// one that is empty text is quoted, where fields are. Without a number of columns, all values of the row are.
///
/// # Errors
///
/// If it is no row.
pub fn write_fields_row(
    dialect: Dialect,
    columns: Option<usize>,
    mut row: Items<'_>,
    room: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), BadRow> {
    let begin = out.len();
    for column in 0.. {
        let value = row.next_value()?;
        if columns.map_or(value.is_none(), |columns| column == columns) {
            break;
        }
        if column > 0 {
            out.push(dialect.separator);
        }
        match value.unwrap_or(Value::Absent) {
            Value::Absent | Value::Null => {}
            Value::Text("") if dialect.quotes => out.extend_from_slice(b"\"\""),
            Value::Text(text) => dialect.write_field(text.as_bytes(), out),
            value => {
                room.clear();
                write_plain(&value, room);
                dialect.write_field(room, out);
            }
        }
    }
    // A line of nothing is no row to most readers.
    if dialect.quotes && out.len() == begin {
        out.extend_from_slice(b"\"\"");
    }
    Ok(())
}

/// Appends a value as plain text: strings without quotes, lists and the like as JSON.
pub fn write_plain(value: &Value<'_>, out: &mut Vec<u8>) {
    match *value {
        Value::Absent | Value::Null => {}
        Value::Text(text) => out.extend_from_slice(text.as_bytes()),
        Value::Bytes(bytes) => write_bytes(bytes, out),
        Value::Float(number) => write_float(number.into(), number, out),
        Value::Double(number) => write_float(number, number, out),
        Value::Date(_) | Value::Time(_) | Value::Timestamp(_) => write_calendar(value, out),
        _ => write_json(value, out),
    }
}

/// Appends a value as JSON. Dates and times are strings (ISO 8601), and so are floats that are not finite;
/// decimal numbers have all their digits.
pub fn write_json(value: &Value<'_>, out: &mut Vec<u8>) {
    match *value {
        Value::Absent | Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Value::Int(value) => write!(out, "{value}").expect("a Vec takes all bytes"),
        Value::Uint(value) => write!(out, "{value}").expect("a Vec takes all bytes"),
        Value::Float(number) if number.is_finite() => write_float(number.into(), number, out),
        Value::Double(number) if number.is_finite() => write_json_double(number, out),
        Value::Decimal(number) => number.write(out),
        Value::Text(text) => write_json_string(text, out),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => write_json_string(text, out),
            Err(_) => {
                let mut text = Vec::with_capacity(bytes.len() * 2);
                write_bytes(bytes, &mut text);
                write_json_string(&String::from_utf8_lossy(&text), out);
            }
        },
        Value::Float(_) | Value::Double(_) => quoted(out, |out| write_plain(value, out)),
        Value::Date(_) | Value::Time(_) | Value::Timestamp(_) => quoted(out, |out| write_calendar(value, out)),
        Value::List(items) => write_list(items, out),
        Value::Struct(items) => write_struct(items, out),
        Value::Map(items) => write_map(items, out),
    }
}

/// The shortest text that means the number, with an exponent where that is far from the point, as JSON has it.
fn write_json_double(number: f64, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &number).expect("a finite number is JSON, and a Vec takes all bytes");
}

fn write_calendar(value: &Value<'_>, out: &mut Vec<u8>) {
    match *value {
        Value::Date(days) => calendar::write_date(days, out),
        Value::Time(nanos) => calendar::write_time(nanos, out),
        Value::Timestamp(timestamp) => timestamp.write(out),
        _ => {}
    }
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// Appends bytes as text: what is UTF-8 as it is, and every other byte as `\xHH`.
fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02X}").expect("a Vec takes all bytes");
        }
    }
}

/// Appends a JSON string.
pub fn write_json_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string is JSON, and a Vec takes all bytes");
}

fn write_list(mut items: Items<'_>, out: &mut Vec<u8>) {
    let mut before = b'[';
    while let Ok(Some(value)) = items.next_value() {
        out.push(std::mem::replace(&mut before, b','));
        write_json(&value, out);
    }
    out.extend_from_slice(if before == b'[' { b"[]" } else { b"]" });
}

fn write_struct(mut items: Items<'_>, out: &mut Vec<u8>) {
    let mut before = b'{';
    while let (Ok(Some(name)), Ok(Some(value))) = (items.next_name(), items.next_value()) {
        out.push(std::mem::replace(&mut before, b','));
        write_json_string(name, out);
        out.push(b':');
        write_json(&value, out);
    }
    out.extend_from_slice(if before == b'{' { b"{}" } else { b"}" });
}

fn write_map(mut items: Items<'_>, out: &mut Vec<u8>) {
    let (mut before, mut key) = (b'{', Vec::new());
    while let (Ok(Some(name)), Ok(Some(value))) = (items.next_value(), items.next_value()) {
        out.push(std::mem::replace(&mut before, b','));
        key.clear();
        write_plain(&name, &mut key);
        write_json_string(&String::from_utf8_lossy(&key), out);
        out.push(b':');
        write_json(&value, out);
    }
    out.extend_from_slice(if before == b'{' { b"{}" } else { b"}" });
}

#[cfg(test)]
mod tests {
    use super::super::calendar::Timestamp;
    use super::super::row::Open;
    use super::*;
    use crate::decimal::Decimal;

    fn json(value: &Value<'_>) -> String {
        let mut out = vec![];
        write_json(value, &mut out);
        String::from_utf8(out).expect("JSON")
    }

    #[test]
    fn values_are_json() {
        let check = |value: Value<'_>, expect: &str| assert_eq!(json(&value), expect);
        check(Value::Null, "null");
        check(Value::Uint(u64::MAX), "18446744073709551615");
        check(Value::Float(0.1), "0.1");
        check(Value::Double(1e300), "1e+300");
        check(Value::Double(2.0), "2.0");
        check(Value::Double(f64::NAN), "\"NaN\"");
        check(Value::Float(f32::NEG_INFINITY), "\"-Infinity\"");
        check(Value::Decimal(Decimal { mantissa: -150, scale: 2 }), "-1.50");
        check(Value::Date(0), "\"1970-01-01\"");
        check(Value::Time(1_500_000_000), "\"00:00:01.500\"");
        check(Value::Timestamp(Timestamp { units: 0, digits: 6, utc: true }), "\"1970-01-01T00:00:00Z\"");
        check(Value::Text("a\"\n"), "\"a\\\"\\n\"");
        check(Value::Bytes("é".as_bytes()), "\"é\"");
        check(Value::Bytes(b"a\xff\0"), "\"a\\\\xFF\\u0000\"");
    }

    #[test]
    fn rows_are_objects_and_fields() {
        let mut row = vec![];
        let open = Open::row(&mut row);
        for value in [Value::Text(""), Value::Null, Value::Text("x,\"y\""), Value::Absent] {
            value.encode(&mut row);
        }
        open.end(&mut row);
        let items = || Items::of_row(&row).expect("a row");
        let mut out = vec![];
        write_json_row(["a", "b", "c", "d"].into_iter(), items(), &mut out).expect("a row");
        assert_eq!(String::from_utf8_lossy(&out), r#"{"a":"","b":null,"c":"x,\"y\""}"#);
        out.clear();
        let csv = Dialect { separator: b',', quotes: true };
        write_fields_row(csv, Some(4), items(), &mut vec![], &mut out).expect("a row");
        assert_eq!(String::from_utf8_lossy(&out), r#""",,"x,""y""","#);
    }
}
