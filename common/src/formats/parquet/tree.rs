//! The columns of a file as a tree: made of a file's own schema, in any of the forms in which lists and maps were
//! ever written, and made into one for files written here. Levels are those of the Dremel encoding ("Dremel:
//! Interactive Analysis of Web-Scale Datasets", Melnik et al., 2010).

use std::ops::Range;
use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::schema::types::{Type, TypePtr};

use super::super::row::MAX_DEPTH;
use super::super::schema::{Column, Kind, MAX_PRECISION};
use super::ParquetProblem;

/// A column, or what lies inside one.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// The column as it is shown to others.
    pub(super) column: Column,
    /// The physical columns below.
    pub(super) leaves: Range<usize>,
    /// The definition level of a value that is there, be it an empty list.
    pub(super) def: i16,
    pub(super) shape: Shape,
}

/// What a node has below.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// A physical column.
    Leaf(Leaf),
    /// Fields.
    Struct(Vec<Node>),
    /// Elements, each of which has this repetition level unless it is the first.
    List { rep: i16, element: Box<Node> },
    /// Entries, the same.
    Map { rep: i16, key: Box<Node>, value: Box<Node> },
}

/// How the values of a physical column are to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    Bool,
    Int,
    Uint,
    Float,
    Double,
    Float16,
    /// Whatever the physical type, digits behind the point.
    Decimal(u8),
    Date,
    /// Nanoseconds of a unit.
    Time(u64),
    Timestamp {
        digits: u8,
        utc: bool,
    },
    /// Twelve bytes of nanoseconds and days.
    Int96,
    String,
    Binary,
    Uuid,
}

/// A place in the tree while it is made.
#[derive(Debug, Clone, Copy, Default)]
struct Levels {
    def: i16,
    rep: i16,
    depth: usize,
}

impl Levels {
    /// Inside a node of this repetition.
    fn inside(self, repetition: Repetition) -> Self {
        let (def, rep) = match repetition {
            Repetition::REQUIRED => (0, 0),
            Repetition::OPTIONAL => (1, 0),
            Repetition::REPEATED => (1, 1),
        };
        Self { def: self.def + def, rep: self.rep + rep, depth: self.depth + 1 }
    }
}

/// The columns of a file.
///
/// # Errors
///
/// If there is one of a kind that is not known.
pub(super) fn of_schema(root: &Type) -> Result<Vec<Node>, ParquetProblem> {
    let mut leaves = 0;
    root.get_fields().iter().map(|field| of_type(field, Levels::default(), &mut leaves)).collect()
}

fn unknown(name: &str, reason: impl Into<String>) -> ParquetProblem {
    ParquetProblem::Damaged { row_group: None, column: Some(name.to_owned()), reason: reason.into() }
}

fn of_type(field: &Type, outside: Levels, leaves: &mut usize) -> Result<Node, ParquetProblem> {
    let info = field.get_basic_info();
    if outside.depth > MAX_DEPTH {
        return Err(unknown(field.name(), format!("it has more than {MAX_DEPTH} values inside one another")));
    }
    if info.repetition() == Repetition::REPEATED {
        // A repeated field that is in no list is one by itself.
        let first = *leaves;
        let element = of_repeated(field, outside.inside(Repetition::REPEATED), leaves)?;
        return Ok(list(field.name(), false, outside, element, first..*leaves));
    }
    let nullable = info.repetition() == Repetition::OPTIONAL;
    let inside = outside.inside(info.repetition());
    let first = *leaves;
    if field.is_primitive() {
        return of_primitive(field, nullable, inside, leaves);
    }
    let logical = info.logical_type_ref();
    let converted = info.converted_type();
    if matches!(logical, Some(LogicalType::List)) || converted == ConvertedType::LIST {
        let [repeated] = field.get_fields() else { return Err(unknown(field.name(), "it is not a list as lists are")) };
        let element = of_list_element(field.name(), repeated, inside, leaves)?;
        let node = list(field.name(), nullable, inside, element, first..*leaves);
        return Ok(node);
    }
    let is_map = matches!(converted, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE);
    if (matches!(logical, Some(LogicalType::Map)) || is_map)
        && let [entries] = field.get_fields()
        && entries.is_group()
        && let [key, value] = entries.get_fields()
    {
        let level = inside.inside(Repetition::REPEATED);
        let key = Box::new(of_type(key, level, leaves)?);
        let value = Box::new(of_type(value, level, leaves)?);
        let kind = Kind::Map(Box::new(key.column.kind.clone()), Box::new(value.column.clone()));
        let column = Column { name: field.name().to_owned(), kind, nullable };
        return Ok(Node {
            column,
            leaves: first..*leaves,
            def: inside.def,
            shape: Shape::Map { rep: level.rep, key, value },
        });
    }
    let fields =
        field.get_fields().iter().map(|field| of_type(field, inside, leaves)).collect::<Result<Vec<_>, _>>()?;
    Ok(structure(field.name(), nullable, inside, fields, first..*leaves))
}

fn structure(name: &str, nullable: bool, inside: Levels, fields: Vec<Node>, leaves: Range<usize>) -> Node {
    let kind = Kind::Struct(fields.iter().map(|field| field.column.clone()).collect());
    let column = Column { name: name.to_owned(), kind, nullable };
    Node { column, leaves, def: inside.def, shape: Shape::Struct(fields) }
}

/// A list whose elements lie one repetition deeper than `inside`.
fn list(name: &str, nullable: bool, inside: Levels, element: Node, leaves: Range<usize>) -> Node {
    let column = Column { name: name.to_owned(), kind: Kind::List(Box::new(element.column.clone())), nullable };
    let shape = Shape::List { rep: inside.rep + 1, element: Box::new(element) };
    Node { column, leaves, def: inside.def, shape }
}

/// The element of a list, by the rules for lists that were written before there were rules.
fn of_list_element(list: &str, repeated: &Type, outside: Levels, leaves: &mut usize) -> Result<Node, ParquetProblem> {
    let inside = outside.inside(Repetition::REPEATED);
    if repeated.get_basic_info().repetition() != Repetition::REPEATED {
        return Err(unknown(list, "it is not a list as lists are"));
    }
    let is_element = repeated.is_primitive()
        || repeated.get_fields().len() != 1
        || repeated.name() == "array"
        || repeated.name() == format!("{list}_tuple");
    if is_element { of_repeated(repeated, inside, leaves) } else { of_type(&repeated.get_fields()[0], inside, leaves) }
}

/// One of the values of a repeated field.
fn of_repeated(field: &Type, inside: Levels, leaves: &mut usize) -> Result<Node, ParquetProblem> {
    if field.is_primitive() {
        return of_primitive(field, false, inside, leaves);
    }
    let first = *leaves;
    let fields =
        field.get_fields().iter().map(|field| of_type(field, inside, leaves)).collect::<Result<Vec<_>, _>>()?;
    Ok(structure(field.name(), false, inside, fields, first..*leaves))
}

fn of_primitive(field: &Type, nullable: bool, inside: Levels, leaves: &mut usize) -> Result<Node, ParquetProblem> {
    let (leaf, kind) = leaf_of(field)?;
    let column = Column { name: field.name().to_owned(), kind, nullable };
    let first = *leaves;
    *leaves += 1;
    Ok(Node { column, leaves: first..first + 1, def: inside.def, shape: Shape::Leaf(leaf) })
}

/// How a physical column is taken.
fn leaf_of(field: &Type) -> Result<(Leaf, Kind), ParquetProblem> {
    let info = field.get_basic_info();
    let physical = field.get_physical_type();
    if let Some(found) = annotated(field, physical)? {
        return Ok(found);
    }
    Ok(match physical {
        Physical::BOOLEAN => (Leaf::Bool, Kind::Bool),
        Physical::INT32 => integer(info.converted_type(), 32),
        Physical::INT64 => integer(info.converted_type(), 64),
        Physical::INT96 => (Leaf::Int96, Kind::Timestamp { digits: 9, utc: false }),
        Physical::FLOAT => (Leaf::Float, Kind::Float),
        Physical::DOUBLE => (Leaf::Double, Kind::Double),
        Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY => (Leaf::Binary, Kind::Binary),
    })
}

/// An integer by its older annotation.
fn integer(converted: ConvertedType, physical: u8) -> (Leaf, Kind) {
    match converted {
        ConvertedType::INT_8 => (Leaf::Int, Kind::Int(8)),
        ConvertedType::INT_16 => (Leaf::Int, Kind::Int(16)),
        ConvertedType::UINT_8 => (Leaf::Uint, Kind::Uint(8)),
        ConvertedType::UINT_16 => (Leaf::Uint, Kind::Uint(16)),
        ConvertedType::UINT_32 => (Leaf::Uint, Kind::Uint(32)),
        ConvertedType::UINT_64 => (Leaf::Uint, Kind::Uint(64)),
        _ => (Leaf::Int, Kind::Int(physical)),
    }
}

/// How a physical column is taken if it says more than its physical type, in either way of saying it.
fn annotated(field: &Type, physical: Physical) -> Result<Option<(Leaf, Kind)>, ParquetProblem> {
    let info = field.get_basic_info();
    let timestamp = |digits: u8, utc: bool| (Leaf::Timestamp { digits, utc }, Kind::Timestamp { digits, utc });
    let found = match (info.logical_type_ref(), info.converted_type()) {
        (Some(LogicalType::Decimal(_)), _) | (None, ConvertedType::DECIMAL) => {
            let (precision, scale) = (field.get_precision(), field.get_scale());
            let digits = u8::try_from(precision).ok().zip(u8::try_from(scale).ok());
            let fits =
                digits.filter(|(precision, scale)| (1..=MAX_PRECISION).contains(precision) && scale <= precision);
            let Some((precision, scale)) = fits else {
                let reason = format!("decimal({precision},{scale}) has more than {MAX_PRECISION} digits");
                return Err(unknown(field.name(), reason));
            };
            (Leaf::Decimal(scale), Kind::Decimal { precision, scale })
        }
        (Some(LogicalType::String | LogicalType::Enum | LogicalType::Json), _)
        | (None, ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON)
            if physical == Physical::BYTE_ARRAY =>
        {
            (Leaf::String, Kind::String)
        }
        (Some(LogicalType::Uuid), _) if physical == Physical::FIXED_LEN_BYTE_ARRAY => (Leaf::Uuid, Kind::String),
        (Some(LogicalType::Float16), _) if physical == Physical::FIXED_LEN_BYTE_ARRAY => (Leaf::Float16, Kind::Float),
        (Some(LogicalType::Date), _) | (None, ConvertedType::DATE) if physical == Physical::INT32 => {
            (Leaf::Date, Kind::Date)
        }
        (Some(LogicalType::Time(time)), _) => {
            let nanos = match time.unit {
                TimeUnit::MILLIS => 1_000_000,
                TimeUnit::MICROS => 1000,
                TimeUnit::NANOS => 1,
            };
            (Leaf::Time(nanos), Kind::Time)
        }
        (None, ConvertedType::TIME_MILLIS) => (Leaf::Time(1_000_000), Kind::Time),
        (None, ConvertedType::TIME_MICROS) => (Leaf::Time(1000), Kind::Time),
        (Some(LogicalType::Timestamp(time)), _) if physical == Physical::INT64 => {
            let digits = match time.unit {
                TimeUnit::MILLIS => 3,
                TimeUnit::MICROS => 6,
                TimeUnit::NANOS => 9,
            };
            timestamp(digits, time.is_adjusted_to_u_t_c)
        }
        (None, ConvertedType::TIMESTAMP_MILLIS) => timestamp(3, true),
        (None, ConvertedType::TIMESTAMP_MICROS) => timestamp(6, true),
        (Some(LogicalType::Integer(kind)), _) => {
            let bits = u8::try_from(kind.bit_width).unwrap_or(64);
            if kind.is_signed { (Leaf::Int, Kind::Int(bits)) } else { (Leaf::Uint, Kind::Uint(bits)) }
        }
        _ => return Ok(None),
    };
    Ok(Some(found))
}

/// The schema of a file with these columns, and the tree of it.
///
/// # Errors
///
/// If a column has a kind that no file has.
pub(super) fn to_schema(columns: &[Column]) -> Result<(TypePtr, Vec<Node>), ParquetProblem> {
    let fields = columns.iter().map(|column| type_of(column, 0)).collect::<Result<Vec<_>, _>>()?;
    let root = Type::group_type_builder("schema")
        .with_fields(fields)
        .build()
        .map_err(|error| unknown("", error.to_string()))?;
    let nodes = of_schema(&root)?;
    Ok((Arc::new(root), nodes))
}

fn type_of(column: &Column, depth: usize) -> Result<TypePtr, ParquetProblem> {
    let name = column.name.as_str();
    if depth > MAX_DEPTH {
        return Err(unknown(name, format!("it has more than {MAX_DEPTH} values inside one another")));
    }
    let repetition = if column.nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let group = |name: &str, repetition: Repetition, logical: Option<LogicalType>, fields: Vec<TypePtr>| {
        let group = Type::group_type_builder(name).with_repetition(repetition).with_logical_type(logical);
        group.with_fields(fields).build().map(Arc::new).map_err(|error| unknown(name, error.to_string()))
    };
    match &column.kind {
        Kind::List(element) => {
            let element = Column { name: "element".to_owned(), ..(**element).clone() };
            let list = group("list", Repetition::REPEATED, None, vec![type_of(&element, depth + 1)?])?;
            group(name, repetition, Some(LogicalType::List), vec![list])
        }
        Kind::Map(key, value) => {
            let key = Column::required("key", (**key).clone());
            let value = Column { name: "value".to_owned(), ..(**value).clone() };
            let fields = vec![type_of(&key, depth + 1)?, type_of(&value, depth + 1)?];
            let entries = group("key_value", Repetition::REPEATED, None, fields)?;
            group(name, repetition, Some(LogicalType::Map), vec![entries])
        }
        Kind::Struct(fields) if fields.is_empty() => Err(unknown(name, "it has no fields")),
        Kind::Struct(fields) => {
            let fields = fields.iter().map(|field| type_of(field, depth + 1)).collect::<Result<Vec<_>, _>>()?;
            group(name, repetition, None, fields)
        }
        scalar => {
            let (physical, logical) = physical_of(scalar);
            let mut builder =
                Type::primitive_type_builder(name, physical).with_repetition(repetition).with_logical_type(logical);
            if let Kind::Decimal { precision, scale } = *scalar {
                builder = builder.with_precision(precision.into()).with_scale(scale.into());
                if physical == Physical::FIXED_LEN_BYTE_ARRAY {
                    builder = builder.with_length(decimal_bytes(precision) as i32);
                }
            }
            builder.build().map(Arc::new).map_err(|error| unknown(name, error.to_string()))
        }
    }
}

/// The physical type of a kind that holds no others, and what is said of it.
fn physical_of(kind: &Kind) -> (Physical, Option<LogicalType>) {
    match *kind {
        Kind::Bool => (Physical::BOOLEAN, None),
        Kind::Int(32) => (Physical::INT32, None),
        Kind::Int(64) => (Physical::INT64, None),
        Kind::Int(bits) => (Physical::INT32, Some(LogicalType::integer(bits as i8, true))),
        Kind::Uint(64) => (Physical::INT64, Some(LogicalType::integer(64, false))),
        Kind::Uint(bits) => (Physical::INT32, Some(LogicalType::integer(bits as i8, false))),
        Kind::Float => (Physical::FLOAT, None),
        Kind::Double => (Physical::DOUBLE, None),
        Kind::Decimal { precision, scale } => {
            let logical = Some(LogicalType::decimal(scale.into(), precision.into()));
            match precision {
                0..=9 => (Physical::INT32, logical),
                10..=18 => (Physical::INT64, logical),
                _ => (Physical::FIXED_LEN_BYTE_ARRAY, logical),
            }
        }
        Kind::Date => (Physical::INT32, Some(LogicalType::Date)),
        Kind::Time => (Physical::INT64, Some(LogicalType::time(false, TimeUnit::MICROS))),
        Kind::Timestamp { digits, utc } => {
            let unit = match digits {
                0..=3 => TimeUnit::MILLIS,
                4..=6 => TimeUnit::MICROS,
                _ => TimeUnit::NANOS,
            };
            (Physical::INT64, Some(LogicalType::timestamp(utc, unit)))
        }
        Kind::String => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Binary | Kind::List(_) | Kind::Struct(_) | Kind::Map(..) => (Physical::BYTE_ARRAY, None),
    }
}

/// Bytes that hold any number of so many digits, with its sign.
pub(super) fn decimal_bytes(precision: u8) -> usize {
    // A digit takes log2(10) bits.
    (f64::from(precision) * std::f64::consts::LOG2_10 + 1.0).div_euclid(8.0) as usize + 1
}
