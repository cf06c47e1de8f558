//! The time, as certificates tell it: seconds since 1970. Reads no clock: it is handed one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::time::{Clock, WallTime};

/// Where the time comes from: a process's clock, or what a test says.
#[derive(Clone)]
pub struct WallSource(Arc<dyn Fn() -> WallTime + Send + Sync>);

impl WallSource {
    /// Asks `source` each time.
    pub fn new(source: impl Fn() -> WallTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// Reads a process's clock.
    pub fn of_clock(clock: Clock) -> Self {
        Self::new(move || clock.wall())
    }

    /// The time now.
    pub fn now(&self) -> WallTime {
        (self.0)()
    }
}

impl fmt::Debug for WallSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WallSource({})", self.now())
    }
}

impl TimeProvider for WallSource {
    fn current_time(&self) -> Option<UnixTime> {
        Some(to_unix(self.now()))
    }
}

/// The second that `wall` is in.
pub(super) fn to_unix(wall: WallTime) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(wall.unix_millis))
}

/// That second; before 1970 counts as 1970.
pub(super) fn from_seconds(seconds: i64) -> WallTime {
    WallTime { unix_millis: u64::try_from(seconds).unwrap_or(0).saturating_mul(1000) }
}

/// The time `life` later.
pub(super) fn later(wall: WallTime, life: Duration) -> WallTime {
    let millis = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
    WallTime { unix_millis: wall.unix_millis.saturating_add(millis) }
}
