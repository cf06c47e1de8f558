//! Exponential backoff with full jitter (Brooker, "Exponential Backoff and Jitter"). Pure: the
//! caller brings the random number and does the waiting.

use std::time::Duration;

/// How long to wait between tries of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The bound of the first wait.
    pub base: Duration,
    /// The bound of every wait.
    pub cap: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row, uniformly between zero and the bound;
    /// `random` is any number.
    pub fn delay(&self, failures: u32, random: u64) -> Duration {
        let bound = self.base.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(self.cap);
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(((u128::from(random) * u128::from(nanos)) >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_spread() {
        let backoff = Backoff { base: Duration::from_millis(10), cap: Duration::from_millis(250) };
        let longest = |failures| backoff.delay(failures, u64::MAX).as_micros();
        assert_eq!(
            [longest(0), longest(1), longest(4), longest(5), longest(90)],
            [9_999, 19_999, 159_999, 249_999, 249_999]
        );
        assert_eq!(backoff.delay(3, 0), Duration::ZERO);
        assert_eq!(backoff.delay(0, u64::MAX / 2).as_millis(), 4);
    }
}
