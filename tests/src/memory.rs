//! How much memory a command takes.

use std::fs;
use std::process::{Command, Output};

use crate::waiting::run_to_end_watched;

/// Runs a command to its end; gives what it printed and the most bytes of memory that it had, as the system tells
/// while it runs (`VmHWM`, which only grows). What it takes in its last few milliseconds is missed.
///
/// # Panics
///
/// If it cannot be started, does not end in time, or was over before anybody could look.
pub fn run_and_measure(command: Command) -> (Output, u64) {
    let mut peak = 0;
    let output = run_to_end_watched(command, |process| peak = resident_bytes(process).unwrap_or(peak));
    assert!(peak > 0, "it was over at once: {output:?}");
    (output, peak)
}

/// The most bytes of memory that a process had so far; none once it has ended.
fn resident_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}
