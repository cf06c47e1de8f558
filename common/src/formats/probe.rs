//! What columns a type has, asked of the type itself: its `Deserialize` is handed values made up for the purpose,
//! and what it asks for is noted. No row is read.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};

use super::row::MAX_DEPTH;
use super::schema::{Column, Kind, MAX_PRECISION, Schema, SchemaError};
use super::types::{DATE, INSTANT, digits_of_name};

/// Text that is handed to a type that asks for some, until it takes one.
const TEXTS: [&str; 7] = [
    "",
    "0",
    "127.0.0.1",
    "1970-01-01",
    "1970-01-01T00:00:00Z",
    "00000000-0000-0000-0000-000000000000",
    "http://localhost/",
];

/// The most times that a type is asked again because it did not take what it was handed.
const MAX_TRIES: usize = 64;

/// The names of a type's fields, if it is a struct: also those by which `serde(alias)` lets them be known.
pub fn fields_of<T: DeserializeOwned>() -> Option<&'static [&'static str]> {
    let mut fields = None;
    // It comes to no value, which says nothing.
    let _ = T::deserialize(Fields(&mut fields));
    fields
}

/// The columns of a type: the fields of a struct or a tuple, or one named `value`.
///
/// # Errors
///
/// If the type does not tell: because it is made of whatever is there (`serde_json::Value`, `serde(flatten)`), holds
/// enums with values, or takes no value that was made up for it.
pub fn schema_of<T: DeserializeOwned>() -> Result<Schema, SchemaError> {
    let untold = |reason: String| SchemaError::Untold { type_name: std::any::type_name::<T>(), reason };
    let mut notes = Notes::default();
    for _ in 0..MAX_TRIES {
        notes.begin();
        let mut column = Noted::default();
        let probe = Probe { notes: &mut notes, column: &mut column, depth: 0 };
        match T::deserialize(probe) {
            Ok(_) => {
                let columns = match column.kind {
                    Some(Kind::Struct(columns)) if !column.nullable => columns,
                    Some(kind) => vec![Column { name: "value".to_owned(), kind, nullable: column.nullable }],
                    None => return Err(untold("it has no values".to_owned())),
                };
                return Schema::new(columns);
            }
            Err(Trouble::Duplicate(field)) if notes.drop_alias(field) => {}
            Err(error) if matches!(error, Trouble::Untold(_)) || !notes.try_another_text() => {
                return Err(untold(error.to_string()));
            }
            Err(_) => {}
        }
    }
    Err(untold("it takes no value that was made up for it".to_owned()))
}

/// Why a type came to no value.
#[derive(Debug)]
enum Trouble {
    /// It can never tell.
    Untold(String),
    /// It says that a field is there twice: once by an alias.
    Duplicate(&'static str),
    /// It did not take what it was handed.
    Refused(String),
}

impl Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Untold(reason) | Trouble::Refused(reason) => f.write_str(reason),
            Trouble::Duplicate(field) => write!(f, "the field {field:?} is there twice"),
        }
    }
}

impl std::error::Error for Trouble {}

impl de::Error for Trouble {
    fn custom<T: Display>(message: T) -> Self {
        Trouble::Refused(message.to_string())
    }

    fn duplicate_field(field: &'static str) -> Self {
        Trouble::Duplicate(field)
    }
}

fn untold(reason: impl Into<String>) -> Trouble {
    Trouble::Untold(reason.into())
}

/// What was learned from earlier tries.
#[derive(Debug, Default)]
struct Notes {
    /// Which text the nth field that asks for one is handed.
    texts: Vec<usize>,
    /// Fields that asked for text in this try.
    asked: usize,
    /// Names that are only aliases.
    aliases: BTreeSet<&'static str>,
    /// The last two names that were handed out.
    last: [&'static str; 2],
}

impl Notes {
    fn begin(&mut self) {
        self.asked = 0;
        self.last = [""; 2];
    }

    fn text(&mut self) -> &'static str {
        if self.texts.len() == self.asked {
            self.texts.push(0);
        }
        self.asked += 1;
        TEXTS[self.texts[self.asked - 1]]
    }

    /// Hands the last field that asked for text another one, if there is one.
    fn try_another_text(&mut self) -> bool {
        let Some(last) = self.asked.checked_sub(1).and_then(|last| self.texts.get_mut(last)) else { return false };
        *last += 1;
        *last < TEXTS.len()
    }

    /// Of the last two names, which stand for one field, drops the one that is not its name.
    fn drop_alias(&mut self, field: &'static str) -> bool {
        let alias = self.last.into_iter().find(|name| *name != field && !name.is_empty());
        alias.is_some_and(|alias| self.aliases.insert(alias))
    }
}

/// What a value was asked for as.
#[derive(Debug, Default)]
struct Noted {
    kind: Option<Kind>,
    nullable: bool,
}

impl Noted {
    fn column(self, name: &str) -> Result<Column, Trouble> {
        let Noted { kind, nullable } = self;
        let kind = kind.ok_or_else(|| untold(format!("the field {name:?} has no values")))?;
        Ok(Column { name: name.to_owned(), kind, nullable })
    }
}

/// Hands out values that are made up, and notes what is asked for.
struct Probe<'n> {
    notes: &'n mut Notes,
    column: &'n mut Noted,
    depth: usize,
}

impl Probe<'_> {
    fn note(&mut self, kind: Kind) {
        self.column.kind = Some(kind);
    }

    fn check_depth(&self) -> Result<(), Trouble> {
        let fits = self.depth < MAX_DEPTH;
        if fits { Ok(()) } else { Err(untold(format!("it has more than {MAX_DEPTH} values inside one another"))) }
    }
}

macro_rules! scalars {
    ($($method:ident $visit:ident $value:expr, $kind:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Trouble> {
            self.note($kind);
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Trouble;

    scalars! {
        deserialize_bool visit_bool false, Kind::Bool;
        // Not zero, which some integers cannot be.
        deserialize_i8 visit_i8 1, Kind::Int(8);
        deserialize_i16 visit_i16 1, Kind::Int(16);
        deserialize_i32 visit_i32 1, Kind::Int(32);
        deserialize_i64 visit_i64 1, Kind::Int(64);
        deserialize_i128 visit_i128 1, Kind::Decimal { precision: MAX_PRECISION, scale: 0 };
        deserialize_u8 visit_u8 1, Kind::Uint(8);
        deserialize_u16 visit_u16 1, Kind::Uint(16);
        deserialize_u32 visit_u32 1, Kind::Uint(32);
        deserialize_u64 visit_u64 1, Kind::Uint(64);
        deserialize_u128 visit_u128 1, Kind::Decimal { precision: MAX_PRECISION, scale: 0 };
        deserialize_f32 visit_f32 1.0, Kind::Float;
        deserialize_f64 visit_f64 1.0, Kind::Double;
        deserialize_char visit_char 'a', Kind::String;
        deserialize_bytes visit_borrowed_bytes b"", Kind::Binary;
        deserialize_byte_buf visit_borrowed_bytes b"", Kind::Binary;
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Trouble> {
        Err(untold("it takes whatever is there"))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        self.deserialize_any(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Trouble> {
        self.note(Kind::String);
        visitor.visit_borrowed_str(self.notes.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        self.column.nullable = true;
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Trouble> {
        Err(untold("a field has no values"))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Trouble> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Trouble> {
        let kind = match (name, digits_of_name(name)) {
            (DATE, _) => Kind::Date,
            (INSTANT, _) => Kind::Timestamp { digits: 6, utc: true },
            (_, Some((precision, scale))) => Kind::Decimal { precision, scale },
            _ => return visitor.visit_newtype_struct(self),
        };
        self.note(kind);
        visitor.visit_newtype_struct(de::value::I128Deserializer::new(0))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        self.check_depth()?;
        let mut element = Noted::default();
        let list = Elements { notes: self.notes, into: &mut element, depth: self.depth + 1, left: 1 };
        let value = visitor.visit_seq(list)?;
        self.column.kind = Some(Kind::List(Box::new(element.column("element")?)));
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Trouble> {
        self.check_depth()?;
        let (mut columns, top) = (Vec::new(), self.depth == 0);
        let members = Members { notes: self.notes, columns: &mut columns, depth: self.depth + 1, left: len };
        let value = visitor.visit_seq(members)?;
        self.column.kind = Some(match (top, columns.first()) {
            (true, _) => Kind::Struct(columns),
            (false, Some(first))
                if columns.iter().all(|other| (&other.kind, other.nullable) == (&first.kind, first.nullable)) =>
            {
                Kind::List(Box::new(Column { name: "element".to_owned(), ..first.clone() }))
            }
            (false, _) => return Err(untold("a tuple in a field has values of several types")),
        });
        Ok(value)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Trouble> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        self.check_depth()?;
        let (mut key, mut value) = (Noted::default(), Noted::default());
        let entries = Entries { notes: self.notes, key: &mut key, value: &mut value, depth: self.depth + 1, left: 1 };
        let map = visitor.visit_map(entries)?;
        let key = key.column("key")?;
        self.column.kind = Some(Kind::Map(Box::new(key.kind), Box::new(value.column("value")?)));
        Ok(map)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Trouble> {
        self.check_depth()?;
        let mut columns = Vec::new();
        let map = Fielded { notes: self.notes, fields: fields.iter(), columns: &mut columns, depth: self.depth + 1 };
        let value = visitor.visit_map(map)?;
        self.column.kind = Some(Kind::Struct(columns));
        Ok(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Trouble> {
        self.note(Kind::String);
        let first = variants.first().ok_or_else(|| untold(format!("{name} has no variants")))?;
        visitor.visit_enum(FirstVariant(first))
    }
}

/// The first variant of an enum, which must hold nothing.
struct FirstVariant(&'static str);

impl<'de> EnumAccess<'de> for FirstVariant {
    type Error = Trouble;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Trouble> {
        let variant = seed.deserialize(de::value::BorrowedStrDeserializer::<Trouble>::new(self.0))?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for FirstVariant {
    type Error = Trouble;

    fn unit_variant(self) -> Result<(), Trouble> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value, Trouble> {
        Err(untold(format!("the variant {} holds values, and no column has such", self.0)))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, Trouble> {
        Err(untold(format!("the variant {} holds values, and no column has such", self.0)))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _visitor: V) -> Result<V::Value, Trouble> {
        Err(untold(format!("the variant {} holds values, and no column has such", self.0)))
    }
}

/// A list of one element.
struct Elements<'n> {
    notes: &'n mut Notes,
    into: &'n mut Noted,
    depth: usize,
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Trouble;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Trouble> {
        if std::mem::take(&mut self.left) == 0 {
            return Ok(None);
        }
        seed.deserialize(Probe { notes: self.notes, column: self.into, depth: self.depth }).map(Some)
    }
}

/// The members of a tuple.
struct Members<'n> {
    notes: &'n mut Notes,
    columns: &'n mut Vec<Column>,
    depth: usize,
    left: usize,
}

impl<'de> SeqAccess<'de> for Members<'_> {
    type Error = Trouble;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Trouble> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let mut column = Noted::default();
        let value = seed.deserialize(Probe { notes: self.notes, column: &mut column, depth: self.depth })?;
        let name = format!("value_{}", self.columns.len() + 1);
        self.columns.push(column.column(&name)?);
        Ok(Some(value))
    }
}

/// A map of one entry.
struct Entries<'n> {
    notes: &'n mut Notes,
    key: &'n mut Noted,
    value: &'n mut Noted,
    depth: usize,
    left: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Trouble;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Trouble> {
        if std::mem::take(&mut self.left) == 0 {
            return Ok(None);
        }
        seed.deserialize(Probe { notes: self.notes, column: self.key, depth: self.depth }).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Trouble> {
        seed.deserialize(Probe { notes: self.notes, column: self.value, depth: self.depth })
    }
}

/// The fields of a struct.
struct Fielded<'n> {
    notes: &'n mut Notes,
    fields: std::slice::Iter<'static, &'static str>,
    columns: &'n mut Vec<Column>,
    depth: usize,
}

impl<'de> MapAccess<'de> for Fielded<'_> {
    type Error = Trouble;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Trouble> {
        let aliases = &self.notes.aliases;
        let Some(name) = self.fields.find(|name| !aliases.contains(**name)) else { return Ok(None) };
        self.notes.last = [self.notes.last[1], name];
        seed.deserialize(de::value::BorrowedStrDeserializer::<Trouble>::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Trouble> {
        let name = self.notes.last[1];
        let mut column = Noted::default();
        let value = seed.deserialize(Probe { notes: self.notes, column: &mut column, depth: self.depth })?;
        self.columns.push(column.column(name)?);
        self.notes.last[1] = name;
        Ok(value)
    }
}

/// Notes the names of a struct's fields, and comes to nothing.
struct Fields<'n>(&'n mut Option<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Trouble;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Trouble> {
        Err(untold("it is no struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Trouble> {
        *self.0 = Some(fields);
        Err(untold("its fields are known"))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Trouble> {
        match name {
            DATE | INSTANT => Err(untold("it is no struct")),
            _ if digits_of_name(name).is_some() => Err(untold("it is no struct")),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU32;

    use serde::{Deserialize, Serialize};

    use super::super::types::{Date, Fixed, Instant};
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
        Blue,
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Inner {
        x: f32,
        y: Option<Vec<i16>>,
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct All {
        #[serde(alias = "aaa", alias = "number")]
        id: NonZeroU32,
        #[serde(rename = "the name")]
        name: Option<String>,
        price: Fixed<12, 2>,
        day: Date,
        at: Option<Instant>,
        colour: Colour,
        address: std::net::IpAddr,
        tags: Vec<String>,
        inner: Inner,
        pair: (i64, i64),
        map: BTreeMap<String, Option<bool>>,
    }

    #[test]
    fn a_type_tells_its_columns() {
        let schema = schema_of::<All>().expect("told");
        let shown: Vec<String> = schema
            .columns
            .iter()
            .map(|column| format!("{} {}{}", column.name, column.kind, if column.nullable { "?" } else { "" }))
            .collect();
        let expect = [
            "id uint32",
            "the name string?",
            "price decimal(12,2)",
            "day date",
            "at timestamptz?",
            "colour string",
            "address string",
            "tags string[]",
            "inner struct(x float, y int16[])",
            "pair int64[]",
            "map map(string, bool)",
        ];
        assert_eq!(shown, expect);
        assert_eq!(fields_of::<All>().map(<[_]>::len), Some(13));
    }

    #[test]
    fn other_types_have_one_column_or_one_for_each_member() {
        let names =
            |schema: Schema| schema.columns.iter().map(|c| format!("{} {}", c.name, c.kind)).collect::<Vec<_>>();
        assert_eq!(names(schema_of::<u64>().expect("told")), ["value uint64"]);
        assert_eq!(names(schema_of::<(String, f64)>().expect("told")), ["value_1 string", "value_2 double"]);
        assert_eq!(fields_of::<(String, f64)>(), None);
    }

    #[test]
    fn types_that_cannot_tell_say_why() {
        #[derive(Debug, Serialize, Deserialize)]
        enum Shape {
            Circle(f64),
        }
        #[derive(Debug, Serialize, Deserialize)]
        struct Tree {
            children: Vec<Tree>,
        }
        let check = |error: SchemaError, expect: &str| assert!(error.to_string().contains(expect), "{error}");
        check(schema_of::<serde_json::Value>().expect_err("any"), "it takes whatever is there");
        check(schema_of::<Vec<Shape>>().expect_err("a value in it"), "the variant Circle holds values");
        check(schema_of::<Tree>().expect_err("no end"), "more than 64 values inside one another");
    }
}
