//! Which process holds a claim, and whether it is gone. Looks at this machine alone: of any other, and of
//! processes in other containers, nothing can be told.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process, as a claim names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// The name of its host, for people; empty if the system does not tell.
    pub(super) host: String,
    /// This start of the host's system.
    pub(super) boot: String,
    /// The space in which its number is one: containers have their own.
    pub(super) space: String,
    /// Its number.
    pub(super) pid: u32,
    /// When it started, in ticks of the system's clock: numbers are used again.
    pub(super) started: u64,
}

/// What is known of the process behind a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It runs.
    Lives,
    /// It ran on this machine, and does not any more.
    Gone,
    /// Nobody here can tell.
    Unknown,
}

impl Process {
    /// This process.
    pub(super) fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let space = fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default();
        let pid = std::process::id();
        Self {
            host: read("/proc/sys/kernel/hostname"),
            boot: read("/proc/sys/kernel/random/boot_id"),
            space,
            pid,
            started: started(pid).unwrap_or_default(),
        }
    }

    /// What became of another one; `started` tells when the process of a number started, if there is one.
    pub(super) fn fate_of(&self, other: &Process, started: impl Fn(u32) -> Option<u64>) -> Fate {
        let known = |text: &str| !text.is_empty();
        let here = (&self.host, &self.boot, &self.space) == (&other.host, &other.boot, &other.space);
        if !here || !known(&self.boot) || !known(&self.space) {
            return Fate::Unknown;
        }
        if started(other.pid) == Some(other.started) { Fate::Lives } else { Fate::Gone }
    }
}

/// When the process of a number started, if it runs.
pub(super) fn started(pid: u32) -> Option<u64> {
    ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The start in a line of `/proc/PID/stat`: the 22nd field; the second is a name in brackets that may hold
/// anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_machine_and_space_is_known_to_be_gone() {
        let text = |text: &str| text.to_owned();
        let this = Process { host: text("a"), boot: text("b"), space: text("s"), pid: 1, started: 10 };
        let check = |change: fn(&mut Process), fate: Fate| {
            let mut other = Process { pid: 7, started: 70, ..this.clone() };
            change(&mut other);
            let running = |pid: u32| (pid == 7).then_some(70);
            assert_eq!(this.fate_of(&other, running), fate, "{other:?}");
        };
        check(|_| {}, Fate::Lives);
        check(|other| other.pid = 8, Fate::Gone);
        check(|other| other.started = 71, Fate::Gone);
        check(|other| other.host.push('x'), Fate::Unknown);
        check(|other| other.boot.push('x'), Fate::Unknown);
        check(|other| other.space.push('x'), Fate::Unknown);
        let blind = Process { boot: String::new(), ..this };
        assert_eq!(blind.fate_of(&blind, |_| None), Fate::Unknown);
    }

    #[test]
    fn this_process_lives() {
        let this = Process::this();
        assert_eq!(this.fate_of(&this, started), Fate::Lives, "{this:?}");
    }

    #[test]
    fn the_start_is_found_behind_any_name() {
        let fields = (3..=30).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(ticks(&format!("12 (a) b (c)) {fields}")), Some(22));
        assert_eq!(ticks("12 (a) S 1"), None);
    }
}
