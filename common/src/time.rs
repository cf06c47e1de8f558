//! Time as a value. [`Timestamp`] is a point on one process's monotonic clock; no two processes
//! ever compare theirs. [`Clock`] is the only thing in Gristmill that reads a clock: everything
//! else is handed the time.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Microseconds since this process's clock started. Monotonic; meaningless in another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The instant the clock started.
    pub const ZERO: Timestamp = Timestamp(0);

    /// The point `micros` microseconds after the start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The point `millis` milliseconds after the start.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1000)
    }

    /// Microseconds since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, after: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(after.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Timestamp> for Timestamp {
    type Output = Duration;

    fn sub(self, earlier: Timestamp) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Seconds and milliseconds since 1970 in UTC: for display and reports, never for decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct WallTime {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub unix_millis: u64,
}

impl fmt::Display for WallTime {
    /// ISO 8601 in UTC, to the second: `2026-11-21T03:45:12Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.unix_millis / 1000;
        let (days, day) = (secs / 86_400, secs % 86_400);
        // Civil date from day number: Howard Hinnant, "chrono-compatible low-level date algorithms".
        let z = days + 719_468;
        let era = z / 146_097;
        let doe = z % 146_097;
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + u64::from(month <= 2);
        let dom = doy - (153 * mp + 2) / 5 + 1;
        write!(f, "{year:04}-{month:02}-{dom:02}T{:02}:{:02}:{:02}Z", day / 3600, day / 60 % 60, day % 60)
    }
}

/// The process's clock: a monotonic one for decisions and a wall clock for display.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts the clock at [`Timestamp::ZERO`].
    #[expect(clippy::disallowed_methods, reason = "the one file that reads the clock")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The monotonic time since the start.
    pub fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The wall clock; before 1970 counts as 1970.
    #[expect(clippy::disallowed_methods, reason = "the one file that reads the clock")]
    pub fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime { unix_millis: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_prints_iso_8601() {
        let check = |unix_secs: u64, text: &str| {
            assert_eq!(WallTime { unix_millis: unix_secs * 1000 }.to_string(), text);
        };
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(1_795_232_712, "2026-11-21T03:45:12Z");
        check(4_107_542_399, "2100-02-28T23:59:59Z");
    }

    #[test]
    fn timestamps_never_go_below_zero() {
        let (early, late) = (Timestamp::from_millis(1), Timestamp::from_millis(4));
        assert_eq!(late - early, Duration::from_millis(3));
        assert_eq!(early - late, Duration::ZERO);
        assert_eq!(late.to_string(), "+0.004000s");
    }
}
