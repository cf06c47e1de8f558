//! One JSON object as a row: the fields that are wanted of it, and values written again. The syntax is
//! [`serde_json`]'s business; what is not wanted is skipped and not kept.
//!
//! A value lies in a row as its *marked text*: a string's characters behind one quote (`"` alone is the
//! empty string), nothing for null and for a field that is not there, and everything else as it was
//! read, digit by digit. So most values are ranges of the record, and no number becomes a float.

use std::fmt;
use std::ops::Range;

use gristmill_common::formats::Place;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What stands before a string's characters.
pub(super) const STRING_MARK: &[u8] = b"\"";

/// The columns wanted of objects, by name. `a.b` is the field `b` of the object in the field `a`, or
/// the field that is itself named `a.b`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Paths {
    /// Names in byte order, each with the place of its column: names that begin alike are neighbours.
    sorted: Vec<(String, usize)>,
}

impl Paths {
    /// The place of a column: the next one if the name is new.
    pub(super) fn column(&mut self, name: &str) -> usize {
        match self.sorted.binary_search_by(|(other, _)| other.as_str().cmp(name)) {
            Ok(at) => self.sorted[at].1,
            Err(at) => {
                let column = self.sorted.len();
                self.sorted.insert(at, (name.to_owned(), column));
                column
            }
        }
    }

    fn all(&self) -> Level<'_> {
        Level { paths: self, names: 0..self.sorted.len(), depth: 0 }
    }
}

/// Which columns lie in an object: those of a range of names, of which the first bytes led here.
#[derive(Debug, Clone)]
struct Level<'p> {
    paths: &'p Paths,
    names: Range<usize>,
    depth: usize,
}

/// What a field's name stands for.
#[derive(Debug)]
struct Found<'p> {
    column: Option<usize>,
    /// The columns that lie in the field's own fields.
    below: Level<'p>,
}

impl<'p> Level<'p> {
    fn find(&self, key: &str) -> Found<'p> {
        let mut column = None;
        let mut names = 0..0;
        for at in self.names.clone() {
            let (name, place) = &self.paths.sorted[at];
            match name[self.depth..].strip_prefix(key) {
                Some("") => column = Some(*place),
                Some(rest) if rest.starts_with('.') => {
                    names.start = if names.is_empty() { at } else { names.start };
                    names.end = at + 1;
                }
                _ => {}
            }
        }
        Found { column, below: Level { paths: self.paths, names, depth: self.depth + key.len() + 1 } }
    }
}

impl<'de, 'p> DeserializeSeed<'de> for &Level<'p> {
    type Value = Found<'p>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Found<'p>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for &Level<'p> {
    type Value = Found<'p>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Found<'p>, E> {
        Ok(self.find(key))
    }
}

/// Finds the values of an object's columns. Of several fields that stand for one column the last one
/// counts.
#[derive(Debug)]
struct Object<'a, 'p> {
    level: Level<'p>,
    record: &'a [u8],
    places: &'a mut [Place],
    unescaped: &'a mut Vec<u8>,
}

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(found) = map.next_key_seed(&self.level)? {
            if found.column.is_none() && found.below.names.is_empty() {
                map.next_value::<IgnoredAny>()?;
            } else {
                self.take(found, map.next_value()?).map_err(A::Error::custom)?;
            }
        }
        Ok(())
    }
}

impl Object<'_, '_> {
    fn take(&mut self, found: Found<'_>, value: &RawValue) -> Result<(), serde_json::Error> {
        let text = value.get();
        if let Some(column) = found.column {
            self.places[column] = self.place(text)?;
        }
        for (_, column) in &found.below.paths.sorted[found.below.names.clone()] {
            self.places[*column] = Place::default();
        }
        if found.below.names.is_empty() || !text.starts_with('{') {
            return Ok(());
        }
        let inner = Object { level: found.below, record: self.record, places: self.places, unescaped: self.unescaped };
        serde_json::Deserializer::from_str(text).deserialize_map(inner)
    }

    /// The place of a value's marked text; `text` lies in the record.
    fn place(&mut self, text: &str) -> Result<Place, serde_json::Error> {
        let start = text.as_ptr().addr() - self.record.as_ptr().addr();
        let end = start + text.len();
        match text.as_bytes() {
            b"null" => Ok(Place::default()),
            [b'"', inner @ .., b'"'] if inner.contains(&b'\\') => {
                let string: String = serde_json::from_str(text)?;
                let begin = self.unescaped.len();
                self.unescaped.extend_from_slice(STRING_MARK);
                self.unescaped.extend_from_slice(string.as_bytes());
                Ok(Place::Unescaped(begin..self.unescaped.len()))
            }
            [b'"', ..] => Ok(Place::Record(start..end - 1)),
            _ => Ok(Place::Record(start..end)),
        }
    }
}

/// Finds the marked texts of all columns in a record.
///
/// # Errors
///
/// What is wrong, and at which byte of the record, if it is no JSON object.
pub(super) fn read(record: &[u8], paths: &Paths, places: &mut [Place], unescaped: &mut Vec<u8>) -> Result<(), String> {
    places.fill(Place::default());
    let mut json = serde_json::Deserializer::from_slice(record);
    let read = json.deserialize_map(Object { level: paths.all(), record, places, unescaped });
    read.and_then(|()| json.end()).map_err(|error| {
        // The record is the parser's only line; people look for lines in the file.
        format!("not a JSON object: {}", error.to_string().replace(" at line 1 column ", " at byte "))
    })
}

/// Appends the value of a marked text as JSON, on one line.
pub(crate) fn write_json(marked: &[u8], out: &mut Vec<u8>) {
    match marked {
        [] => out.extend_from_slice(b"null"),
        [b'"', text @ ..] => write_string(&String::from_utf8_lossy(text), out),
        // Between their tokens, and nowhere else, may be line ends.
        [b'{' | b'[', ..] => {
            out.extend(marked.iter().map(|byte| if byte.is_ascii_whitespace() { b' ' } else { *byte }))
        }
        _ => out.extend_from_slice(marked),
    }
}

/// Appends a JSON string.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string is JSON, and a Vec takes all bytes");
}

/// The values of a JSON array that [`write_json`] wrote, each as it stands there.
pub(crate) fn values(array: &[u8]) -> Vec<&str> {
    let values: Vec<&RawValue> = serde_json::from_slice(array).expect("an array of written values");
    values.into_iter().map(RawValue::get).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The marked texts of these columns, or the error.
    fn fields(columns: &[&str], record: &str) -> Result<Vec<String>, String> {
        let mut paths = Paths::default();
        let places: Vec<usize> = columns.iter().map(|name| paths.column(name)).collect();
        let (mut found, mut unescaped) = (vec![Place::default(); paths.sorted.len()], vec![]);
        read(record.as_bytes(), &paths, &mut found, &mut unescaped)?;
        let text = |place: &usize| match &found[*place] {
            Place::Record(range) => record[range.clone()].to_owned(),
            Place::Unescaped(range) => String::from_utf8(unescaped[range.clone()].to_vec()).expect("UTF-8"),
        };
        Ok(places.iter().map(text).collect())
    }

    #[test]
    fn values_keep_their_digits_and_kinds() {
        let check = |record: &str, expect: &[&str]| {
            let expect = expect.iter().map(ToString::to_string).collect();
            assert_eq!(fields(&["a", "b.c", "b"], record), Ok(expect), "{record}");
        };
        check("{}", &["", "", ""]);
        check(r#"{"a":1,"b":{"c":-0.50}}"#, &["1", "-0.50", "{\"c\":-0.50}"]);
        check(r#" { "b" : 1E+400 , "a" : "x" } "#, &["\"x", "", "1E+400"]);
        check(r#"{"a":"","b":true,"z":[{"a":7}]}"#, &["\"", "", "true"]);
        check(r#"{"a":null,"b":null}"#, &["", "", ""]);
        check(r#"{"a":123456789012345678901234567890.0000001}"#, &["123456789012345678901234567890.0000001", "", ""]);
        check(r#"{"a":"\u00e9\ud83d\ude00\"\\\n","b":"é"}"#, &["\"é😀\"\\\n", "", "\"é"]);
        check(r#"{"\u0061":"escaped name","z":"\ud800"}"#, &["\"escaped name", "", ""]);
        check(r#"{"a":[1, {"x":"]"}],"b":[]}"#, &["[1, {\"x\":\"]\"}]", "", "[]"]);
    }

    #[test]
    fn the_last_field_of_a_name_counts() {
        let check = |record: &str, expect: &str| assert_eq!(fields(&["a.b"], record), Ok(vec![expect.to_owned()]));
        check(r#"{"a":{"b":1},"a":{"b":2}}"#, "2");
        check(r#"{"a":{"b":1,"b":3}}"#, "3");
        check(r#"{"a":{"b":1},"a":{}}"#, "");
        check(r#"{"a":{"b":1},"a":5}"#, "");
        check(r#"{"a.b":1}"#, "1");
        check(r#"{"a":{"b":1},"a.b":4}"#, "4");
    }

    #[test]
    fn names_that_begin_alike_are_told_apart() {
        let names = ["a", "a.b", "a-b", "ab", "a.b.c", "a.bc", "", "a."];
        let record = r#"{"a":{"b":{"c":1},"bc":2,"":3},"a-b":4,"ab":5,"":6}"#;
        let expect = [r#"{"b":{"c":1},"bc":2,"":3}"#, r#"{"c":1}"#, "4", "5", "1", "2", "6", "3"];
        assert_eq!(fields(&names, record), Ok(expect.map(str::to_owned).to_vec()));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let check = |record: &str, expect: &str| assert_eq!(fields(&["a"], record), Err(expect.to_owned()), "{record}");
        check("7", "not a JSON object: invalid type: integer `7`, expected an object at byte 1");
        check("[{\"a\":1}]", "not a JSON object: invalid type: sequence, expected an object at byte 0");
        check("{\"a\":1", "not a JSON object: EOF while parsing an object at byte 6");
        check("{\"a\":01}", "not a JSON object: invalid number at byte 7");
        check("{\"z\":tru}", "not a JSON object: expected ident at byte 9");
        check("{\"a\":1}{", "not a JSON object: trailing characters at byte 8");
        let error = fields(&["a"], r#"{"a":"\ud800"}"#).expect_err("half a character");
        assert!(error.starts_with("not a JSON object: unexpected end of hex escape"), "{error}");
    }

    proptest! {
        #[test]
        fn written_values_are_read_back(texts in proptest::collection::vec("\"[a\"\\\\,\n\u{1}é\\]]{0,6}|-?[1-9][0-9]{0,30}|true||\\[1,\\{\\}\\]", 1..5)) {
            let mut array = b"[".to_vec();
            for (index, marked) in texts.iter().enumerate() {
                if index > 0 {
                    array.push(b',');
                }
                write_json(marked.as_bytes(), &mut array);
            }
            array.push(b']');
            let values = values(&array);
            prop_assert_eq!(values.len(), texts.len());
            for (value, marked) in values.iter().zip(&texts) {
                let record = format!("{{\"a\":{value}}}");
                prop_assert_eq!(&fields(&["a"], &record).expect("an object")[0], marked);
            }
        }
    }
}
