//! What a value becomes in a column of a certain kind. Nothing is rounded or cut off: what does not fit is
//! refused, except that a decimal number becomes the nearest float where floats are asked for.

use std::io::Write as _;

use super::calendar::{self, Timestamp};
use super::row::Value;
use super::schema::Kind;
use super::text;
use crate::decimal::Decimal;

/// A value that is none of a column's kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown} is no {kind}")]
pub struct Misfit {
    /// The value, or how it begins.
    pub shown: String,
    /// What it should be.
    pub kind: String,
}

/// The error of a value in a column of this kind.
#[cold]
pub fn misfit(value: &Value<'_>, kind: &Kind) -> Misfit {
    let mut json = Vec::new();
    text::write_json(value, &mut json);
    let shown: String = String::from_utf8_lossy(&json).chars().take(60).collect();
    Misfit { shown, kind: kind.to_string() }
}

/// The value as one of this kind, if it is one; lists and the like are taken as they are. Text of other values is
/// what they are shown as, in `room`.
pub fn fit<'v>(value: Value<'v>, kind: &Kind, room: &'v mut Vec<u8>) -> Option<Value<'v>> {
    let integer = |least: i128, most: i128| to_integer(&value).filter(|number| (least..=most).contains(number));
    Some(match *kind {
        _ if value.is_null() => value,
        Kind::Bool => Value::Bool(to_bool(&value)?),
        Kind::Int(bits) => Value::Int(integer(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)? as i64),
        Kind::Uint(bits) => Value::Uint(integer(0, (1 << bits) - 1)? as u64),
        Kind::Float => {
            Value::Double(to_double(&value).filter(|number| !number.is_finite() || (*number as f32).is_finite())?)
        }
        Kind::Double => Value::Double(to_double(&value)?),
        Kind::Decimal { precision, scale } => {
            Value::Decimal(Decimal { mantissa: to_decimal(&value, precision, scale)?, scale })
        }
        Kind::Date => Value::Date(to_date(&value)?),
        // Columns have microseconds.
        Kind::Time => Value::Time(to_time(&value).filter(|nanos| nanos % 1000 == 0)?),
        Kind::Timestamp { digits, utc } => {
            Value::Timestamp(Timestamp { units: to_timestamp(&value, digits)?, digits, utc })
        }
        Kind::String => match value {
            Value::Text(_) => value,
            Value::Bytes(bytes) => Value::Text(std::str::from_utf8(bytes).ok()?),
            value => {
                room.clear();
                text::write_plain(&value, room);
                Value::Text(std::str::from_utf8(room).ok()?)
            }
        },
        Kind::Binary | Kind::List(_) | Kind::Struct(_) | Kind::Map(..) => value,
    })
}

/// A truth value: also of `true`, `false`, `t`, `f`, `1` and `0` as text.
pub fn to_bool(value: &Value<'_>) -> Option<bool> {
    match *value {
        Value::Bool(value) => Some(value),
        Value::Int(0) | Value::Uint(0) => Some(false),
        Value::Int(1) | Value::Uint(1) => Some(true),
        Value::Text(text) => parse_bool(text),
        _ => None,
    }
}

/// Reads a truth value.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "t" | "1" => Some(true),
        "false" | "False" | "FALSE" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// An integer. Of decimal numbers, those without a fraction are.
#[inline]
pub fn to_integer(value: &Value<'_>) -> Option<i128> {
    match *value {
        Value::Int(value) => Some(value.into()),
        Value::Uint(value) => Some(value.into()),
        Value::Decimal(number) => whole(number),
        Value::Double(number) => integer_of(number),
        Value::Float(number) => integer_of(number.into()),
        Value::Text(text) => match text.parse() {
            Ok(value) => Some(value),
            Err(_) => whole(Decimal::parse(text.as_bytes())?),
        },
        _ => None,
    }
}

fn whole(number: Decimal) -> Option<i128> {
    rescaled(number, 0)
}

/// The integer that a float is, if it is one of those that floats tell apart.
fn integer_of(number: f64) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i128)
}

/// A float: of other numbers the nearest.
pub fn to_double(value: &Value<'_>) -> Option<f64> {
    match *value {
        Value::Double(value) => Some(value),
        Value::Float(value) => Some(value.into()),
        Value::Int(value) => Some(value as f64),
        Value::Uint(value) => Some(value as f64),
        Value::Decimal(number) => {
            let mut text = Vec::new();
            number.write(&mut text);
            std::str::from_utf8(&text).ok()?.parse().ok()
        }
        Value::Text(text) => {
            let number: f64 = text.trim_ascii().parse().ok()?;
            // Digits that are beyond all floats are not infinity.
            (number.is_finite() || !text.bytes().any(|byte| byte.is_ascii_digit())).then_some(number)
        }
        _ => None,
    }
}

/// The digits of a decimal number with this many behind the point.
#[inline]
pub fn to_decimal(value: &Value<'_>, precision: u8, scale: u8) -> Option<i128> {
    let number = match *value {
        Value::Decimal(number) => number,
        Value::Int(value) => Decimal { mantissa: value.into(), scale: 0 },
        Value::Uint(value) => Decimal { mantissa: value.into(), scale: 0 },
        // The shortest text that means the float, which is what people see of it.
        Value::Double(value) if value.is_finite() => Decimal::parse(value.to_string().as_bytes())?,
        Value::Float(value) if value.is_finite() => Decimal::parse(value.to_string().as_bytes())?,
        Value::Text(text) => Decimal::parse(text.as_bytes())?,
        _ => return None,
    };
    let digits = rescaled(number, scale)?;
    let limit = 10_i128.checked_pow(precision.into())?;
    (-limit < digits && digits < limit).then_some(digits)
}

/// The digits of a number with `scale` behind the point, if it has no others.
pub fn rescaled(number: Decimal, scale: u8) -> Option<i128> {
    if scale >= number.scale {
        return number.mantissa.checked_mul(10_i128.checked_pow((scale - number.scale).into())?);
    }
    let power = 10_i128.checked_pow((number.scale - scale).into())?;
    (number.mantissa % power == 0).then_some(number.mantissa / power)
}

/// Days since 1970.
pub fn to_date(value: &Value<'_>) -> Option<i32> {
    match *value {
        Value::Date(days) => Some(days),
        Value::Text(text) => calendar::parse_date(text),
        Value::Timestamp(timestamp) => {
            let day = 86_400_i64.checked_mul(10_i64.pow(timestamp.digits.into()))?;
            let (days, rest) = (timestamp.units.div_euclid(day), timestamp.units.rem_euclid(day));
            if rest == 0 { i32::try_from(days).ok() } else { None }
        }
        _ => None,
    }
}

/// Nanoseconds since midnight.
pub fn to_time(value: &Value<'_>) -> Option<u64> {
    match *value {
        Value::Time(nanos) => Some(nanos),
        Value::Text(text) => calendar::parse_time(text),
        _ => None,
    }
}

/// Units since 1970 of so many digits of a fraction of a second. What tells no zone is taken as in UTC; of what
/// does, a column of no zone gets the time in UTC.
pub fn to_timestamp(value: &Value<'_>, digits: u8) -> Option<i64> {
    let timestamp = match *value {
        Value::Timestamp(timestamp) => timestamp,
        Value::Text(text) => Timestamp::parse(text)?,
        Value::Date(days) => Timestamp { units: i64::from(days) * 86_400, digits: 0, utc: false },
        _ => return None,
    };
    timestamp.with_digits(digits)
}

/// Text or bytes, as they are if they are, else as the text in which the value would stand in a CSV file.
#[inline]
pub fn to_text<'v>(value: &Value<'v>, room: &'v mut Vec<u8>) -> &'v [u8] {
    match *value {
        Value::Text(text) => text.as_bytes(),
        Value::Bytes(bytes) => bytes,
        ref other => {
            room.clear();
            text::write_plain(other, room);
            room
        }
    }
}

/// Appends a float as the shortest text that means it; not a number, and the infinities, by the names that other
/// programs know.
pub fn write_float(number: f64, shortest: impl std::fmt::Display, out: &mut Vec<u8>) {
    let text = match number {
        _ if number.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => return write!(out, "{shortest}").expect("a Vec takes all bytes"),
    };
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_only_as_what_they_are() {
        let decimal = |text: &str| Value::Decimal(Decimal::parse(text.as_bytes()).expect("a number"));
        assert_eq!(to_integer(&Value::Text("-7")), Some(-7));
        assert_eq!(to_integer(&Value::Text("7.00")), Some(7));
        assert_eq!(to_integer(&decimal("7.5")), None);
        assert_eq!(to_integer(&Value::Double(1e15)), Some(1_000_000_000_000_000));
        assert_eq!(to_integer(&Value::Double(1e19)), None);
        assert_eq!(to_decimal(&Value::Text("12.5"), 4, 2), Some(1250));
        assert_eq!(to_decimal(&Value::Text("12.505"), 6, 2), None);
        assert_eq!(to_decimal(&Value::Text("100.00"), 4, 2), None);
        assert_eq!(to_decimal(&Value::Double(0.1), 4, 2), Some(10));
        assert_eq!(to_double(&decimal("0.1")), Some(0.1));
        assert_eq!(to_double(&Value::Text("-Infinity")), Some(f64::NEG_INFINITY));
        assert_eq!(to_double(&Value::Text("1e400")), None);
        assert_eq!(fit(Value::Double(1e39), &Kind::Float, &mut Vec::new()), None);
        assert_eq!(fit(Value::Bytes(b"a\xff"), &Kind::String, &mut Vec::new()), None);
        assert_eq!(fit(Value::Time(1), &Kind::Time, &mut Vec::new()), None);
        assert_eq!(to_bool(&Value::Text("yes")), None);
    }

    #[test]
    fn a_misfit_is_shown_with_the_kind() {
        let error = misfit(&Value::Text("NA"), &Kind::Decimal { precision: 5, scale: 1 });
        assert_eq!(error.to_string(), "\"NA\" is no decimal(5,1)");
    }

    #[test]
    fn midnights_are_dates() {
        let midnight = Value::Timestamp(Timestamp { units: -86_400_000, digits: 3, utc: true });
        assert_eq!(to_date(&midnight), Some(-1));
        assert_eq!(to_timestamp(&Value::Date(1), 6), Some(86_400_000_000));
        assert_eq!(to_timestamp(&Value::Text("1970-01-01T00:00:00.001"), 0), None);
    }
}
