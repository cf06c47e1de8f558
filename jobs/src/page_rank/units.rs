//! Fractions as whole numbers of units of 2^-62. Sums of fractions that add up to 1 or little more fit
//! into 64 bits, and do not depend on the order in which they are made.

use gristmill_common::prelude::*;

/// The units of 1.
pub(super) const WHOLE: u64 = 1 << 62;

/// The units of an option's value, rounded.
///
/// # Errors
///
/// If it is no number from 0 to 1.
pub(super) fn fraction(option: &str, value: f64) -> Result<u64, OptionError> {
    if !(0.0..=1.0).contains(&value) {
        return Err(OptionError::new(format!("{option} cannot be {value}: a number from 0 to 1 is meant")));
    }
    Ok((value * WHOLE as f64).round() as u64)
}

/// The product of two fractions, rounded down.
pub(super) fn product(a: u64, b: u64) -> u64 {
    (u128::from(a) * u128::from(b) / u128::from(WHOLE)) as u64
}

/// The share number `index` when `all` is divided by `count`: even, and together nothing less than all.
pub(super) fn share(all: u64, count: u64, index: u64) -> u64 {
    all / count + u64::from(index < all % count)
}

/// The fraction as a number.
pub(super) fn to_number(units: u64) -> f64 {
    units as f64 / WHOLE as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_lose_nothing_and_products_are_rounded_down() {
        for (all, count) in [(0, 3), (10, 3), (WHOLE, 7), (2, 5)] {
            assert_eq!((0..count).map(|index| share(all, count, index)).sum::<u64>(), all, "{all} among {count}");
        }
        assert_eq!((share(10, 3, 0), share(10, 3, 1)), (4, 3));
        assert_eq!((product(WHOLE, WHOLE), product(WHOLE / 2, 5)), (WHOLE, 2));
        assert!((to_number(fraction("--x", 0.3).expect("a fraction")) - 0.3).abs() < 1e-16);
        for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let error = fraction("--damping", bad).expect_err("no fraction");
            assert!(error.message.starts_with("--damping cannot be "), "{error}");
        }
    }
}
