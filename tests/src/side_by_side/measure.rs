//! What a command took, from start to exit.

use std::io;
use std::process::Command;

use gristmill_common::time::Clock;

/// What a command took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// Seconds from start to exit.
    pub(super) wall: f64,
    /// Seconds of processors, of it and its children.
    pub(super) processor: f64,
}

/// Runs a command to its end.
///
/// # Errors
///
/// If it cannot be started or fails.
pub(super) fn measured(clock: &Clock, command: &mut Command) -> io::Result<Usage> {
    let (begin, before) = (clock.now(), processor_seconds()?);
    let status = command.status()?;
    if !status.success() {
        return Err(io::Error::other(format!("{command:?} ended with {status}")));
    }
    let wall = clock.now().since(begin).as_secs_f64();
    Ok(Usage { wall, processor: processor_seconds()? - before })
}

/// Seconds of processors that ended children of this process took.
#[cfg(target_os = "linux")]
fn processor_seconds() -> io::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which may hold anything: fields 3 and on; 16 and 17 are those of children (proc(5)).
    let fields: Vec<&str> = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or_default();
    Ok((ticks(16) + ticks(17)) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Not told.
#[cfg(not(target_os = "linux"))]
fn processor_seconds() -> io::Result<f64> {
    Ok(f64::NAN)
}
