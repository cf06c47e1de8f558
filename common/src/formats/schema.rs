//! What columns a format has that names them: their names and kinds, and how kinds are written as text
//! (`decimal(12,2)`). What values become of which kind is `coerce.rs`'s business.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most digits of a decimal number.
pub const MAX_PRECISION: u8 = 38;

/// The columns of a table, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Schema {
    /// The columns; no two of a name.
    pub columns: Vec<Column>,
}

/// A column, or a field of a struct.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    /// Whether a row may have no value in it.
    pub nullable: bool,
}

/// What the values of a column are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Truth values.
    Bool,
    /// Signed integers of 8, 16, 32 or 64 bits.
    Int(u8),
    /// Unsigned integers of 8, 16, 32 or 64 bits.
    Uint(u8),
    /// Floats of 32 bits.
    Float,
    /// Floats of 64 bits.
    Double,
    /// Exact decimal numbers.
    Decimal {
        /// Digits in all, 1 to [`MAX_PRECISION`].
        precision: u8,
        /// Digits behind the point, at most `precision`.
        scale: u8,
    },
    /// Days.
    Date,
    /// Times of day, to the microsecond.
    Time,
    /// Points in time if in UTC; dates and times of day of no zone if not.
    Timestamp {
        /// Digits of a fraction of a second: 3, 6 or 9.
        digits: u8,
        /// Whether in UTC.
        utc: bool,
    },
    /// Text in UTF-8.
    String,
    /// Bytes.
    Binary,
    /// Lists of values.
    List(Box<Column>),
    /// Values with names.
    Struct(Vec<Column>),
    /// Values with keys.
    Map(Box<Kind>, Box<Column>),
}

impl Column {
    /// A column that may have no value in a row.
    pub fn nullable(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), kind, nullable: true }
    }

    /// A column that has a value in every row.
    pub fn required(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), kind, nullable: false }
    }
}

impl Schema {
    /// A schema of these columns.
    ///
    /// # Errors
    ///
    /// If two have one name, or there is none.
    pub fn new(columns: Vec<Column>) -> Result<Self, SchemaError> {
        for (index, column) in columns.iter().enumerate() {
            if columns[..index].iter().any(|other| other.name == column.name) {
                return Err(SchemaError::Twice { name: column.name.clone() });
            }
        }
        if columns.is_empty() { Err(SchemaError::Empty) } else { Ok(Self { columns }) }
    }

    /// The place of a column.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }
}

/// Columns that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// There is none.
    #[error("there are no columns")]
    Empty,
    /// Two have one name.
    #[error("there are two columns named {name:?}")]
    Twice {
        /// The name.
        name: String,
    },
    /// Records are no rows.
    #[error("the job's records have no columns")]
    NoRows,
    /// A type does not tell its columns.
    #[error("cannot tell the columns of {type_name}: {reason}")]
    Untold {
        /// The Rust type.
        type_name: &'static str,
        /// Why not.
        reason: String,
    },
}

/// Not a kind of column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown type {given:?} (known: string, binary, bool, int8 to int64, uint8 to uint64, float, double, \
     decimal(PRECISION,SCALE), date, time, timestamp, timestamp_ms, timestamp_ns, timestamptz, and TYPE[] for lists)"
)]
pub struct UnknownKind {
    /// What was given.
    pub given: String,
}

/// Kinds with a plain name.
const NAMED: [(&str, Kind); 22] = [
    ("bool", Kind::Bool),
    ("int8", Kind::Int(8)),
    ("int16", Kind::Int(16)),
    ("int32", Kind::Int(32)),
    ("int64", Kind::Int(64)),
    ("uint8", Kind::Uint(8)),
    ("uint16", Kind::Uint(16)),
    ("uint32", Kind::Uint(32)),
    ("uint64", Kind::Uint(64)),
    ("float", Kind::Float),
    ("double", Kind::Double),
    ("date", Kind::Date),
    ("time", Kind::Time),
    ("timestamp_ms", Kind::Timestamp { digits: 3, utc: false }),
    ("timestamp", Kind::Timestamp { digits: 6, utc: false }),
    ("timestamp_ns", Kind::Timestamp { digits: 9, utc: false }),
    ("timestamptz_ms", Kind::Timestamp { digits: 3, utc: true }),
    ("timestamptz", Kind::Timestamp { digits: 6, utc: true }),
    ("timestamptz_ns", Kind::Timestamp { digits: 9, utc: true }),
    ("string", Kind::String),
    ("binary", Kind::Binary),
    ("text", Kind::String),
];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Kind::List(element) => write!(f, "{}[]", element.kind),
            Kind::Struct(fields) => {
                f.write_str("struct(")?;
                for (index, field) in fields.iter().enumerate() {
                    let before = if index > 0 { ", " } else { "" };
                    write!(f, "{before}{} {}", field.name, field.kind)?;
                }
                f.write_str(")")
            }
            Kind::Map(key, value) => write!(f, "map({key}, {})", value.kind),
            named => {
                let name = NAMED.iter().find(|(_, kind)| kind == named).map(|(name, _)| *name);
                f.write_str(name.unwrap_or("an integer of another size"))
            }
        }
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let unknown = || UnknownKind { given: text.to_owned() };
        if let Some(element) = text.strip_suffix("[]") {
            return Ok(Kind::List(Box::new(Column::nullable("element", element.parse()?))));
        }
        if let Some((_, kind)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(kind.clone());
        }
        let digits = text.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(unknown)?;
        let (precision, scale) = digits.split_once(',').unwrap_or((digits, "0"));
        let number = |text: &str| text.trim().parse::<u8>().map_err(|_| unknown());
        let (precision, scale) = (number(precision)?, number(scale)?);
        if !(1..=MAX_PRECISION).contains(&precision) || scale > precision {
            return Err(unknown());
        }
        Ok(Kind::Decimal { precision, scale })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_they_are_shown() {
        for text in ["string", "int8", "uint64", "double", "decimal(12,2)", "decimal(38,38)", "timestamptz", "date[][]"]
        {
            assert_eq!(text.parse::<Kind>().expect(text).to_string(), text);
        }
        assert_eq!("decimal(5)".parse(), Ok(Kind::Decimal { precision: 5, scale: 0 }));
        for text in ["", "int", "decimal", "decimal(0,0)", "decimal(39,1)", "decimal(2,3)", "[]", "decimal(1,2,3)"] {
            assert!(text.parse::<Kind>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_different() {
        let columns = |names: &[&str]| names.iter().map(|name| Column::nullable(*name, Kind::Date)).collect();
        assert_eq!(Schema::new(columns(&["a", "b", "a"])), Err(SchemaError::Twice { name: "a".to_owned() }));
        assert_eq!(Schema::new(vec![]), Err(SchemaError::Empty));
        assert_eq!(Schema::new(columns(&["a", "b"])).expect("two names").place("b"), Some(1));
    }
}
