//! What dividing a decimal number by a count gives: the whole and the digits behind the point apart, so
//! that no quotient is too large for it. Does not calculate with them any further.

use gristmill_common::decimal::Decimal;
use std::cmp::Ordering;
use std::io::Write as _;
use std::num::NonZeroU64;

/// The most digits behind the point of a quotient.
pub(crate) const MAX_QUOTIENT_SCALE: u8 = 18;

/// A rounded quotient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quotient {
    negative: bool,
    whole: u128,
    /// The digits behind the point as an integer.
    fraction: u128,
    /// How many they are.
    scale: u8,
}

impl Quotient {
    /// Divides `sum` by `count`, to `scale` digits behind the point but at most [`MAX_QUOTIENT_SCALE`].
    /// The quotient is exact and rounded once; a tie goes to the side on which the nearest IEEE double
    /// lies, so that the result is what printing that double gives as long as it has enough digits, and
    /// to the even digit if the double is the tie.
    pub(crate) fn of(sum: Decimal, count: NonZeroU64, scale: u8) -> Self {
        let scale = scale.min(MAX_QUOTIENT_SCALE);
        let count = u128::from(count.get());
        let power = |digits: u8| 10_u128.pow(digits.into());
        // Digits that the sum has and the quotient does not are cut off before the division: the power
        // of ten times the count may have more than 128 bits.
        let cut = power(sum.scale.saturating_sub(scale));
        let (kept, tail) = (sum.mantissa.unsigned_abs() / cut, sum.mantissa.unsigned_abs() % cut);
        let point = power(sum.scale.min(scale));
        let units = kept / count;
        // Digits that the quotient has and the sum does not come of the rest, which is below 64 bits,
        // as this power of ten is.
        let more = power(scale.saturating_sub(sum.scale));
        let rest = kept % count * more;
        let fraction = units % point * more + rest / count;
        let down = Self { negative: sum.mantissa < 0, whole: units / point, fraction, scale };
        // What is left, in units of the last digit, is (rest + tail / cut) / count: compared with a half.
        let order = match count.checked_sub(2 * (rest % count)) {
            None => Ordering::Greater,
            Some(0) => tail.cmp(&0),
            Some(1) => (2 * tail).cmp(&cut),
            Some(_) => Ordering::Less,
        };
        let up = match order {
            Ordering::Greater => true,
            Ordering::Equal => down.tie_goes_up(),
            Ordering::Less => false,
        };
        if up { down.away_from_zero() } else { down }
    }

    /// The number whose last digit is one greater in size.
    fn away_from_zero(self) -> Self {
        let fraction = self.fraction + 1;
        if fraction == 10_u128.pow(self.scale.into()) {
            return Self { whole: self.whole + 1, fraction: 0, ..self };
        }
        Self { fraction, ..self }
    }

    /// Whether the number half a digit further from zero is rounded away from zero.
    fn tie_goes_up(self) -> bool {
        // Nearer to a tie than this many more digits tell, no double is unless it is the tie itself.
        const MORE: usize = 30;
        let last = if self.scale == 0 { self.whole } else { self.fraction };
        let odd = last % 2 != 0;
        let mut tie = Vec::new();
        Self { negative: false, ..self }.write(&mut tie);
        tie.extend_from_slice(if self.scale == 0 { b".5" } else { b"5" });
        let tie = String::from_utf8_lossy(&tie);
        let Ok(double) = tie.parse::<f64>() else { return odd };
        let digits = usize::from(self.scale) + 1 + MORE;
        let (double, tie) = (format!("{double:.digits$}"), format!("{tie}{:0<MORE$}", ""));
        match double.len().cmp(&tie.len()).then_with(|| double.cmp(&tie)) {
            Ordering::Greater => true,
            Ordering::Equal => odd,
            Ordering::Less => false,
        }
    }

    /// Appends the number with all its digits behind the point.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let sign = if self.negative && (self.whole, self.fraction) != (0, 0) { "-" } else { "" };
        let written = if self.scale == 0 {
            write!(out, "{sign}{}", self.whole)
        } else {
            write!(out, "{sign}{}.{:0width$}", self.whole, self.fraction, width = usize::from(self.scale))
        };
        written.expect("a Vec takes all bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn divided(sum: Decimal, count: u64, scale: u8) -> String {
        let mut out = vec![];
        Quotient::of(sum, NonZeroU64::new(count).expect("rows"), scale).write(&mut out);
        String::from_utf8(out).expect("digits")
    }

    #[test]
    fn ties_are_rounded_as_doubles_are() {
        let rows = [
            ("1", 3, 4, "0.3333"),
            ("2", 3, 4, "0.6667"),
            ("1", 8, 2, "0.12"),
            ("3", 8, 2, "0.38"),
            ("-1", 8, 2, "-0.12"),
            ("-2", 3, 2, "-0.67"),
            ("-1", 300, 2, "0.00"),
            ("0.00005", 1, 4, "0.0001"),
            ("0.00015", 1, 4, "0.0001"),
            ("73.26725", 1, 4, "73.2673"),
            ("67.91125", 1, 4, "67.9112"),
            ("12345678901234567890.5", 1, 0, "12345678901234567890"),
            ("10", 2, 0, "5"),
            ("1999.99", 2, 1, "1000.0"),
            ("0.5", 1, 0, "0"),
            ("1.5", 1, 0, "2"),
        ];
        for (sum, count, scale, expect) in rows {
            let sum = Decimal::parse(sum.as_bytes()).expect("a number");
            assert_eq!(divided(sum, count, scale), expect, "{sum:?} / {count}");
        }
    }

    #[test]
    fn the_largest_numbers_can_be_divided() {
        let least = Decimal { mantissa: i128::MIN, scale: 0 };
        assert_eq!(divided(least, 1, 18), format!("{}.{}", i128::MIN, "0".repeat(18)));
        assert_eq!(divided(least, u64::MAX, 18), "-9223372036854775808.500000000000000000");
        let small = Decimal { mantissa: i128::MAX, scale: 38 };
        assert_eq!(divided(small, u64::MAX, 18), "0.000000000000000000");
        assert_eq!(divided(small, 1, 0), "2");
        assert_eq!(divided(small, 3, 18), "0.567137278201564106");
    }

    proptest! {
        #[test]
        fn quotients_are_within_half_a_digit(
            mantissa in -1_000_000_000_000_i64..1_000_000_000_000, from in 0_u8..8, count in 1_u64..10_000, scale in 0_u8..8,
        ) {
            let text = divided(Decimal { mantissa: mantissa.into(), scale: from }, count, scale);
            let quotient = Decimal::parse(text.as_bytes()).expect("a number");
            prop_assert_eq!(quotient.scale, scale);
            // Both sides times the count and both powers of ten.
            let exact = i128::from(mantissa) * 10_i128.pow(scale.into());
            let unit = i128::from(count) * 10_i128.pow(from.into());
            prop_assert!(2 * (quotient.mantissa * unit - exact).abs() <= unit);
        }
    }
}
