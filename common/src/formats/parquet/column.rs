//! The values of one physical column of a row group, a batch at a time: levels and values as they are stored, and a
//! cursor over them.

use std::sync::Arc;

use parquet::basic::Type;
use parquet::column::page::PageReader;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray, Int96};
use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use super::super::calendar::Timestamp;
use super::super::row::Value;
use super::pages::{BoundedPages, PagesOfColumn};
use super::tree::Leaf;
use crate::decimal::Decimal;

/// Rows that are decoded at once. More save calls, fewer keep less of long values in memory.
pub(super) const BATCH_ROWS: usize = 1024;

/// A column being read.
pub(super) struct LeafReader {
    reader: ColumnReader,
    leaf: Leaf,
    max_def: i16,
    max_rep: i16,
    defs: Vec<i16>,
    reps: Vec<i16>,
    values: Values,
    /// Levels in hand, and which is next.
    levels: usize,
    level: usize,
    /// The next value.
    value: usize,
    pages: Arc<PagesOfColumn>,
}

/// Decoded values of a physical type. Bytes refer to the page that they are in.
enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

/// A value that is too large for what values become: a decimal number of more than 128 bits, or a point in time that
/// 64 bits do not tell.
#[derive(Debug)]
pub(super) struct TooLarge;

impl LeafReader {
    /// A reader of the column's pages, which it takes note of in `held`.
    pub(super) fn new(
        descr: ColumnDescPtr,
        leaf: Leaf,
        pages: impl PageReader + 'static,
        held: Arc<PagesOfColumn>,
    ) -> Self {
        let (max_def, max_rep) = (descr.max_def_level(), descr.max_rep_level());
        // A row has one level of other columns.
        let level_bytes = if max_rep > 0 { level_bytes(descr.physical_type()) } else { 0 };
        let reader = get_column_reader(descr, Box::new(BoundedPages::new(pages, Arc::clone(&held), level_bytes)));
        let values = match &reader {
            ColumnReader::BoolColumnReader(_) => Values::Bool(Vec::new()),
            ColumnReader::Int32ColumnReader(_) => Values::Int32(Vec::new()),
            ColumnReader::Int64ColumnReader(_) => Values::Int64(Vec::new()),
            ColumnReader::Int96ColumnReader(_) => Values::Int96(Vec::new()),
            ColumnReader::FloatColumnReader(_) => Values::Float(Vec::new()),
            ColumnReader::DoubleColumnReader(_) => Values::Double(Vec::new()),
            ColumnReader::ByteArrayColumnReader(_) => Values::Bytes(Vec::new()),
            ColumnReader::FixedLenByteArrayColumnReader(_) => Values::Fixed(Vec::new()),
        };
        Self {
            reader,
            leaf,
            max_def,
            max_rep,
            defs: Vec::new(),
            reps: Vec::new(),
            values,
            levels: 0,
            level: 0,
            value: 0,
            pages: held,
        }
    }

    /// Reads the next `rows` rows; gives how many there were.
    pub(super) fn load(&mut self, rows: usize) -> Result<usize> {
        self.pages.begin_batch();
        self.defs.clear();
        self.reps.clear();
        (self.level, self.value) = (0, 0);
        let (defs, reps) = (&mut self.defs, &mut self.reps);
        let (found, levels) = match (&mut self.reader, &mut self.values) {
            (ColumnReader::BoolColumnReader(reader), Values::Bool(values)) => read(reader, rows, defs, reps, values)?,
            (ColumnReader::Int32ColumnReader(reader), Values::Int32(values)) => read(reader, rows, defs, reps, values)?,
            (ColumnReader::Int64ColumnReader(reader), Values::Int64(values)) => read(reader, rows, defs, reps, values)?,
            (ColumnReader::Int96ColumnReader(reader), Values::Int96(values)) => read(reader, rows, defs, reps, values)?,
            (ColumnReader::FloatColumnReader(reader), Values::Float(values)) => read(reader, rows, defs, reps, values)?,
            (ColumnReader::DoubleColumnReader(reader), Values::Double(values)) => {
                read(reader, rows, defs, reps, values)?
            }
            (ColumnReader::ByteArrayColumnReader(reader), Values::Bytes(values)) => {
                read(reader, rows, defs, reps, values)?
            }
            (ColumnReader::FixedLenByteArrayColumnReader(reader), Values::Fixed(values)) => {
                read(reader, rows, defs, reps, values)?
            }
            _ => unreachable!("values are of their reader's type"),
        };
        self.levels = levels;
        Ok(found)
    }

    /// The definition level in hand: how much of what leads to a value is there.
    #[inline]
    pub(super) fn def(&self) -> i16 {
        if self.max_def == 0 { 0 } else { self.defs.get(self.level).copied().unwrap_or(0) }
    }

    /// The repetition level in hand, that of a new row at the end.
    #[inline]
    pub(super) fn rep(&self) -> i16 {
        if self.max_rep == 0 { 0 } else { self.reps.get(self.level).copied().unwrap_or(0) }
    }

    /// Whether all of the batch was passed.
    pub(super) fn is_at_end(&self) -> bool {
        self.level >= self.levels
    }

    /// Passes the level in hand, and its value if there is one.
    #[inline]
    pub(super) fn pass(&mut self) {
        if self.def() == self.max_def {
            self.value += 1;
        }
        self.level += 1;
    }

    /// Hands the value in hand to `take`, null if there is none, and passes it.
    #[inline]
    pub(super) fn take<R>(&mut self, take: impl FnOnce(Value<'_>) -> R) -> std::result::Result<R, TooLarge> {
        if self.def() < self.max_def {
            self.level += 1;
            return Ok(take(Value::Null));
        }
        let index = self.value;
        self.value += 1;
        self.level += 1;
        let number = |value: i64, leaf: Leaf| of_integer(value, leaf);
        Ok(match &self.values {
            Values::Bool(values) => take(Value::Bool(values[index])),
            // Unsigned ones of 32 bits are stored as signed.
            Values::Int32(values) if self.leaf == Leaf::Uint => take(Value::Int((values[index] as u32).into())),
            Values::Int32(values) => take(number(values[index].into(), self.leaf)),
            Values::Int64(values) => take(number(values[index], self.leaf)),
            Values::Int96(values) => take(Value::Timestamp(of_int96(values[index].data()).ok_or(TooLarge)?)),
            Values::Float(values) => take(Value::Float(values[index])),
            Values::Double(values) => take(Value::Double(values[index])),
            Values::Bytes(values) => return of_bytes(values[index].data(), self.leaf, take),
            Values::Fixed(values) => return of_bytes(values[index].data(), self.leaf, take),
        })
    }

    /// The bytes in hand of a column of bytes, none if there is no value; passes them.
    #[inline]
    pub(super) fn take_bytes(&mut self) -> &[u8] {
        let has_value = self.def() == self.max_def;
        let index = self.value;
        self.value += usize::from(has_value);
        self.level += 1;
        match &self.values {
            Values::Bytes(values) if has_value => values[index].data(),
            Values::Fixed(values) if has_value => values[index].data(),
            _ => &[],
        }
    }
}

fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    defs: &mut Vec<i16>,
    reps: &mut Vec<i16>,
    values: &mut Vec<T::T>,
) -> Result<(usize, usize)> {
    values.clear();
    let (rows, _, levels) = reader.read_records(rows, Some(defs), Some(reps), values)?;
    Ok((rows, levels))
}

/// Bytes that a level and its value take in memory.
fn level_bytes(physical: Type) -> u64 {
    let value = match physical {
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => size_of::<Int96>(),
        Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY => size_of::<ByteArray>(),
    };
    (2 * size_of::<i16>() + value) as u64
}

/// The point in time that 96 bits are: nanoseconds of a Julian day, and that day. In larger units, if it is too far
/// away for nanoseconds.
fn of_int96(words: &[u32]) -> Option<Timestamp> {
    /// The Julian day on which 1970 began, and the nanoseconds of a day.
    const EPOCH: i128 = 2_440_588;
    const DAY: i128 = 86_400_000_000_000;
    let &[low, high, day] = words else { return None };
    let of_day = i128::from(u64::from(high) << 32 | u64::from(low));
    let nanos = (i128::from(day) - EPOCH) * DAY + of_day;
    [(9, 1), (6, 1_000), (3, 1_000_000)].into_iter().find_map(|(digits, unit)| {
        let units = i64::try_from(nanos / unit).ok().filter(|_| nanos % unit == 0)?;
        Some(Timestamp { units, digits, utc: false })
    })
}

#[inline]
fn of_integer(value: i64, leaf: Leaf) -> Value<'static> {
    match leaf {
        Leaf::Uint => i64::try_from(value as u64).map_or(Value::Uint(value as u64), Value::Int),
        Leaf::Decimal(scale) => Value::Decimal(Decimal { mantissa: value.into(), scale }),
        Leaf::Date => i32::try_from(value).map_or(Value::Int(value), Value::Date),
        // A time before midnight, which there is none of, is what it is.
        Leaf::Time(nanos) => {
            u64::try_from(value).map_or(Value::Int(value), |units| Value::Time(units.wrapping_mul(nanos)))
        }
        Leaf::Timestamp { digits, utc } => Value::Timestamp(Timestamp { units: value, digits, utc }),
        _ => Value::Int(value),
    }
}

fn of_bytes<R>(bytes: &[u8], leaf: Leaf, take: impl FnOnce(Value<'_>) -> R) -> std::result::Result<R, TooLarge> {
    Ok(match leaf {
        Leaf::String => take(std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text)),
        Leaf::Decimal(scale) => take(Value::Decimal(Decimal { mantissa: big_endian(bytes).ok_or(TooLarge)?, scale })),
        Leaf::Uuid => {
            let mut text = String::with_capacity(36);
            for (index, byte) in bytes.iter().enumerate() {
                if matches!(index, 4 | 6 | 8 | 10) {
                    text.push('-');
                }
                text.push_str(&format!("{byte:02x}"));
            }
            take(Value::Text(&text))
        }
        Leaf::Float16 => take(Value::Float(half(u16::from_le_bytes(bytes.try_into().unwrap_or_default())))),
        _ => take(Value::Bytes(bytes)),
    })
}

/// The number that bytes are in two's complement, the highest first.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let (extra, low) = bytes.split_at(bytes.len().saturating_sub(16));
    if extra.iter().any(|byte| *byte != fill) {
        return None;
    }
    let mut whole = [fill; 16];
    whole[16 - low.len()..].copy_from_slice(low);
    let number = i128::from_be_bytes(whole);
    ((number < 0) == negative).then_some(number)
}

/// The number that 16 bits are (IEEE 754).
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2_f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2_f32.powi(exponent - 15),
    };
    if sign == 1 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_of_96_bits_are_read_however_far_away() {
        let at =
            |day: u32, nanos: u64| of_int96(&[nanos as u32, (nanos >> 32) as u32, day]).map(|at| (at.units, at.digits));
        assert_eq!(at(2_440_588, 1), Some((1, 9)));
        assert_eq!(at(2_440_587, 86_399_999_999_999), Some((-1, 9)));
        // The last day of 9999, and the first of the year 1.
        assert_eq!(at(5_373_484, 1_000), Some((253_402_214_400_000_001, 6)));
        assert_eq!(at(1_721_426, 0), Some((-62_135_596_800_000_000, 6)));
        assert_eq!(at(5_373_484, 1), None, "nanoseconds of it are beyond 64 bits");
    }

    #[test]
    fn numbers_of_any_width_are_read() {
        assert_eq!(big_endian(&[0xff, 0x85]), Some(-123));
        assert_eq!(big_endian(&[]), Some(0));
        assert_eq!(big_endian(&[&[0xff; 4][..], &i128::MIN.to_be_bytes()].concat()), Some(i128::MIN));
        assert_eq!(big_endian(&[&[0; 1][..], &i128::MIN.to_be_bytes()].concat()), None);
        assert_eq!([half(0x3c00), half(0xc500), half(1), half(0x7c00)], [1.0, -5.0, 2_f32.powi(-24), f32::INFINITY]);
    }
}
