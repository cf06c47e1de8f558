//! Types for the columns that serde has no types for: dates, timestamps, exact decimal numbers. Each is text in
//! formats of text (`"2026-01-31"`), and a column of its kind in Parquet.

use std::fmt;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::calendar::{self, Timestamp};
use super::coerce::rescaled;
use crate::decimal::Decimal;

/// The names under which row formats recognise these types.
pub(super) const DATE: &str = "gristmill::Date";
pub(super) const INSTANT: &str = "gristmill::Instant";
const FIXED: &str = "gristmill::Fixed(";

/// A day.
///
/// # Examples
///
/// ```
/// use gristmill_common::formats::Date;
///
/// let day: Date = "1970-01-31".parse()?;
/// assert_eq!((day.days, day.to_string()), (30, "1970-01-31".to_owned()));
/// # Ok::<(), gristmill_common::formats::NoSuchValue>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Date {
    /// Days since 1970.
    pub days: i32,
}

/// A point in time, to the microsecond. Text of it that tells no zone is taken as in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant {
    /// Microseconds since 1970 in UTC.
    pub micros: i64,
}

/// An exact decimal number of at most `PRECISION` digits, of which `SCALE` are behind the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fixed<const PRECISION: u8, const SCALE: u8> {
    /// The digits as an integer, with sign.
    pub digits: i128,
}

/// Text of no such value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no {what}")]
pub struct NoSuchValue {
    /// What was given, or how it begins.
    pub given: String,
    /// What it should be.
    pub what: &'static str,
}

fn no_such(given: &str, what: &'static str) -> NoSuchValue {
    NoSuchValue { given: given.chars().take(60).collect(), what }
}

impl FromStr for Date {
    type Err = NoSuchValue;

    fn from_str(text: &str) -> Result<Self, NoSuchValue> {
        let days = calendar::parse_date(text).ok_or_else(|| no_such(text, "date"))?;
        Ok(Self { days })
    }
}

impl FromStr for Instant {
    type Err = NoSuchValue;

    fn from_str(text: &str) -> Result<Self, NoSuchValue> {
        let micros = Timestamp::parse(text).and_then(|timestamp| timestamp.with_digits(6));
        Ok(Self { micros: micros.ok_or_else(|| no_such(text, "timestamp"))? })
    }
}

impl<const PRECISION: u8, const SCALE: u8> Fixed<PRECISION, SCALE> {
    /// The number that has these digits; `None` if they are too many.
    pub fn new(digits: i128) -> Option<Self> {
        const { assert!(0 < PRECISION && PRECISION <= 38 && SCALE <= PRECISION, "at most 38 digits") };
        let limit = 10_i128.pow(PRECISION.into());
        (-limit < digits && digits < limit).then_some(Self { digits })
    }

    fn of(number: Decimal) -> Option<Self> {
        Self::new(rescaled(number, SCALE)?)
    }
}

impl<const PRECISION: u8, const SCALE: u8> FromStr for Fixed<PRECISION, SCALE> {
    type Err = NoSuchValue;

    fn from_str(text: &str) -> Result<Self, NoSuchValue> {
        let number = Decimal::parse(text.as_bytes()).and_then(Self::of);
        number.ok_or_else(|| no_such(text, "decimal number of so many digits"))
    }
}

fn shown(f: &mut fmt::Formatter<'_>, write: impl FnOnce(&mut Vec<u8>)) -> fmt::Result {
    let mut text = Vec::new();
    write(&mut text);
    f.pad(&String::from_utf8_lossy(&text))
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(f, |out| calendar::write_date(self.days, out))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(f, |out| Timestamp { units: self.micros, digits: 6, utc: true }.write(out))
    }
}

impl<const PRECISION: u8, const SCALE: u8> fmt::Display for Fixed<PRECISION, SCALE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(f, |out| Decimal { mantissa: self.digits, scale: SCALE }.write(out))
    }
}

/// Serialises as the text that it is shown as.
struct Shown<'a, T>(&'a T);

impl<T: fmt::Display> Serialize for Shown<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

impl<const PRECISION: u8, const SCALE: u8> Fixed<PRECISION, SCALE> {
    const NAME_BYTES: &'static [u8] = &name_of(PRECISION, SCALE);

    /// The name under which row formats recognise it, as `gristmill::Fixed(12,02)`.
    const NAME: &'static str = match std::str::from_utf8(Self::NAME_BYTES) {
        Ok(name) => name,
        Err(_) => panic!("digits are ASCII"),
    };
}

/// Bytes of the name of a decimal type.
const NAME_LEN: usize = FIXED.len() + 6;

const fn name_of(precision: u8, scale: u8) -> [u8; NAME_LEN] {
    let end = [b'0' + precision / 10, b'0' + precision % 10, b',', b'0' + scale / 10, b'0' + scale % 10, b')'];
    let (mut name, mut at) = ([0; NAME_LEN], 0);
    while at < NAME_LEN {
        name[at] = if at < FIXED.len() { FIXED.as_bytes()[at] } else { end[at - FIXED.len()] };
        at += 1;
    }
    name
}

/// Digits in all and behind the point, if this is the name of a decimal type.
pub(super) fn digits_of_name(name: &str) -> Option<(u8, u8)> {
    let (precision, scale) = name.strip_prefix(FIXED)?.strip_suffix(')')?.split_once(',')?;
    Some((precision.parse().ok()?, scale.parse().ok()?))
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_newtype_struct(DATE, &Shown(self));
        }
        serializer.serialize_newtype_struct(DATE, &self.days)
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_newtype_struct(INSTANT, &Shown(self));
        }
        serializer.serialize_newtype_struct(INSTANT, &self.micros)
    }
}

impl<const PRECISION: u8, const SCALE: u8> Serialize for Fixed<PRECISION, SCALE> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_newtype_struct(Self::NAME, &Shown(self));
        }
        serializer.serialize_newtype_struct(Self::NAME, &self.digits)
    }
}

/// Takes what stands for a value: its text; its count or digits, which rows and files that nobody reads have; or a
/// number, where a decimal one is asked for.
struct Taker<T> {
    what: &'static str,
    human: bool,
    of_text: fn(&str) -> Option<T>,
    of_count: fn(i128) -> Option<T>,
    of_number: fn(Decimal) -> Option<T>,
}

impl<T> Taker<T> {
    fn of_number<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        let number = Decimal::parse(text.as_bytes()).and_then(self.of_number);
        number.ok_or_else(|| E::custom(no_such(text, self.what)))
    }
}

impl<'de, T> Visitor<'de> for Taker<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}", self.what)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.of_text)(text).ok_or_else(|| E::custom(no_such(text, self.what)))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<T, E> {
        self.of_number(&value.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<T, E> {
        self.of_number(&value.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<T, E> {
        self.of_number(&value.to_string())
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<T, E> {
        (self.of_count)(value).ok_or_else(|| E::custom(no_such(&value.to_string(), self.what)))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<T, D::Error> {
        if self.human {
            return inner.deserialize_any(self);
        }
        inner.deserialize_i128(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return deserializer.deserialize_newtype_struct(DATE, Plain(|days: i32| Date { days }));
        }
        let taker = Taker {
            what: "date",
            human: true,
            of_text: |text| text.parse().ok(),
            of_count: |days| Some(Date { days: days.try_into().ok()? }),
            of_number: |_| None,
        };
        deserializer.deserialize_newtype_struct(DATE, taker)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return deserializer.deserialize_newtype_struct(INSTANT, Plain(|micros: i64| Instant { micros }));
        }
        let taker = Taker {
            what: "timestamp",
            human: true,
            of_text: |text| text.parse().ok(),
            of_count: |micros| Some(Instant { micros: micros.try_into().ok()? }),
            of_number: |_| None,
        };
        deserializer.deserialize_newtype_struct(INSTANT, taker)
    }
}

impl<'de, const PRECISION: u8, const SCALE: u8> Deserialize<'de> for Fixed<PRECISION, SCALE> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let taker = Taker {
            what: "decimal number of so many digits",
            human: deserializer.is_human_readable(),
            of_text: |text| text.parse().ok(),
            of_count: Self::new,
            of_number: Self::of,
        };
        deserializer.deserialize_newtype_struct(Self::NAME, taker)
    }
}

/// Takes a count as it was written where nobody reads.
struct Plain<C, T>(fn(C) -> T);

impl<'de, C: Deserialize<'de>, T> Visitor<'de> for Plain<C, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<T, D::Error> {
        C::deserialize(inner).map(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn values_are_text_in_json_and_short_where_nobody_reads() {
        fn check<T: Serialize + serde::de::DeserializeOwned + PartialEq + fmt::Debug + 'static>(
            value: &T,
            json: &str,
            most: usize,
        ) {
            assert_eq!(serde_json::to_string(value).expect("text"), json);
            assert_eq!(&serde_json::from_str::<T>(json).expect(json), value);
            let mut bytes = vec![];
            codec::encode(value, &mut bytes).expect("encodes");
            assert!(bytes.len() <= most, "{bytes:?}");
            assert_eq!(&codec::decode::<T>(&bytes).expect("decodes"), value);
        }
        check(&Date { days: -1 }, "\"1969-12-31\"", 5);
        check(&Instant { micros: 1_500_000 }, "\"1970-01-01T00:00:01.500Z\"", 9);
        check(&Fixed::<6, 2> { digits: -1250 }, "\"-12.50\"", 17);
        assert_eq!(serde_json::from_str::<Fixed<6, 2>>("12.5").expect("a number").digits, 1250);
        assert_eq!(serde_json::from_str::<Fixed<6, 2>>("12").expect("a number").digits, 1200);
        let refused = serde_json::from_str::<Fixed<3, 2>>("\"12.50\"").expect_err("four digits").to_string();
        assert!(refused.starts_with("\"12.50\" is no decimal number"), "{refused}");
    }
}
