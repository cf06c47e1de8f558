//! Exact decimal numbers: an integer of 128 bits and the number of its digits behind the point.

use std::cmp::Ordering;
use std::io::Write as _;

use serde::{Deserialize, Serialize};

/// The most digits behind the point.
pub const MAX_SCALE: u8 = 38;

/// Digits that fit into 64 bits whatever they are.
const SAFE_DIGITS: usize = 18;

/// A decimal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Decimal {
    /// The digits as an integer, with sign.
    pub mantissa: i128,
    /// How many of the digits are behind the point.
    pub scale: u8,
}

impl Decimal {
    /// Reads `[+-]digits[.digits][e[+-]digits]`; `None` for anything else, and for numbers of more
    /// than 38 digits.
    #[inline]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() <= SAFE_DIGITS && !text.is_empty() {
            let mut mantissa: u64 = 0;
            let digits = text.iter().all(|byte| {
                let digit = byte.wrapping_sub(b'0');
                mantissa = mantissa * 10 + u64::from(digit);
                digit < 10
            });
            if digits {
                return Some(Self { mantissa: mantissa.into(), scale: 0 });
            }
        }
        Self::parse_any(text)
    }

    fn parse_any(text: &[u8]) -> Option<Self> {
        let (negative, unsigned) = unsigned(text);
        let (digits, exponent) = match unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&unsigned[..at], exponent(&unsigned[at + 1..])?),
            None => (unsigned, 0),
        };
        let mut mantissa: i128 = 0;
        let mut point = None;
        let mut count = 0_i32;
        for &byte in digits {
            match byte {
                b'0'..=b'9' => {
                    mantissa = mantissa.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                    count += 1;
                }
                b'.' if point.is_none() => point = Some(count),
                _ => return None,
            }
        }
        if count == 0 {
            return None;
        }
        if negative {
            mantissa = -mantissa;
        }
        let scale = point.map_or(0, |before| count - before).saturating_sub(exponent);
        match u8::try_from(scale) {
            // Zero is zero whatever its exponent, and needs no digits to be it.
            _ if mantissa == 0 && !(0..=MAX_SCALE.into()).contains(&scale) => Some(Self { mantissa, scale: 0 }),
            Ok(scale) => (scale <= MAX_SCALE).then_some(Self { mantissa, scale }),
            Err(_) if scale > 0 => None,
            Err(_) => {
                let power = 10_i128.checked_pow(scale.unsigned_abs())?;
                Some(Self { mantissa: mantissa.checked_mul(power)?, scale: 0 })
            }
        }
    }

    /// The exact sum, with the larger of both scales; `None` beyond 128 bits.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let mantissa = self.rescaled(scale)?.checked_add(other.rescaled(scale)?)?;
        Some(Self { mantissa, scale })
    }

    /// The mantissa at a scale that is not smaller.
    fn rescaled(self, scale: u8) -> Option<i128> {
        self.mantissa.checked_mul(10_i128.checked_pow(u32::from(scale - self.scale))?)
    }

    /// Appends the number with all its digits behind the point.
    pub fn write(self, out: &mut Vec<u8>) {
        if self.scale == 0 {
            match u64::try_from(self.mantissa) {
                Ok(small) => <u64 as crate::output::TextField>::write_text(&small, out),
                Err(_) => write!(out, "{}", self.mantissa).expect("a Vec takes all bytes"),
            }
            return;
        }
        let power = 10_u128.pow(self.scale.into());
        let digits = self.mantissa.unsigned_abs();
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let width = usize::from(self.scale);
        write!(out, "{sign}{}.{:0width$}", digits / power, digits % power).expect("a Vec takes all bytes");
    }
}

impl Decimal {
    /// Compares the numbers, whatever their scales.
    pub fn cmp_value(self, other: Self) -> Ordering {
        if self.scale == other.scale {
            return self.mantissa.cmp(&other.mantissa);
        }
        let scale = self.scale.max(other.scale);
        match (self.rescaled(scale), other.rescaled(scale)) {
            (Some(a), Some(b)) => a.cmp(&b),
            // Whichever leaves 128 bits is the larger one in size, and the other one fits.
            (None, _) => self.mantissa.cmp(&0),
            (_, None) => 0.cmp(&other.mantissa),
        }
    }
}

/// Whether a number has a minus, and what follows its sign.
fn unsigned(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    }
}

/// Reads `[+-]digits`; an exponent beyond 32 bits is the last within, as no number has either.
fn exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = unsigned(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let more = |size: i32, digit: &u8| size.saturating_mul(10).saturating_add(i32::from(digit - b'0'));
    let size = digits.iter().fold(0, more);
    Some(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Decimal {
        Decimal::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} is a number"))
    }

    fn shown(decimal: Decimal) -> String {
        let mut out = vec![];
        decimal.write(&mut out);
        String::from_utf8(out).expect("digits")
    }

    #[test]
    fn numbers_keep_their_digits() {
        for text in
            ["0", "-1", "12.50", "0.001", "-0.5", "340282366920938463463374607431768211", "99999999999999999999"]
        {
            assert_eq!(shown(number(text)), text);
        }
        let same = [
            ("+7", "7"),
            ("007", "7"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e3", "1000"),
            ("1.25E-1", "0.125"),
            ("1.5e1", "15"),
            ("0.00", "0.00"),
            ("0e99", "0"),
            ("0e-99", "0"),
            ("-0.0E+99999999999", "0"),
        ];
        for (text, expect) in same {
            assert_eq!(shown(number(text)), expect, "{text}");
        }
        let digits = "9".repeat(40);
        let none = ["", "-", ".", "1.2.3", "1e", "e5", "0x10", " 1", "NA", "1e99", "1e-99", &digits];
        for text in none.into_iter().chain(["0e", "0e+", "0e9.", "0e99999999999x", "1e99999999999"]) {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn sums_are_exact() {
        assert_eq!(shown(number("0.1").checked_add(number("0.22")).expect("fits")), "0.32");
        assert_eq!(shown(number("-1").checked_add(number("0.50")).expect("fits")), "-0.50");
        let max = Decimal { mantissa: i128::MAX, scale: 0 };
        assert_eq!(max.checked_add(number("1")), None);
    }

    #[test]
    fn numbers_compare_by_value() {
        let sorted = ["-1e37", "-2", "-0.5", "0", "0.00000000000000000000000000000000001", "0.5", "3", "1e37"];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(number(a).cmp_value(number(b)), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(number("1.0").cmp_value(number("1")), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn sums_are_those_of_integers(values in proptest::collection::vec(-1_000_000_i64..1_000_000, 1..20)) {
            let sum = values.iter().map(|v| Decimal { mantissa: (*v).into(), scale: 3 }).reduce(|a, b| a.checked_add(b).expect("fits"));
            prop_assert_eq!(sum.expect("some").mantissa, values.iter().map(|v| i128::from(*v)).sum::<i128>());
        }
    }
}
