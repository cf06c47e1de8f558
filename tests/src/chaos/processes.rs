//! Process trees and signals, by way of `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// A process and all that it started, and what those started, itself first.
pub(super) fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in all() {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut tree = vec![root];
    let mut at = 0;
    while at < tree.len() {
        tree.extend(children.remove(&tree[at]).unwrap_or_default());
        at += 1;
    }
    tree
}

/// Sends a signal to each process; one that is gone is passed over.
pub(super) fn signal(pids: &[u32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
        // It may have ended since it was found, which is no fault of anybody's.
        let _ = kill_process(pid, signal);
    }
}

/// The processes other than this one whose folder for temporary files is `dir`, with their command
/// lines: everything that a cluster in `dir` started, executors too.
pub(super) fn of_cluster(dir: &Path) -> Vec<String> {
    let mark = [b"TMPDIR=", dir.as_os_str().as_encoded_bytes()].concat();
    let marked = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == mark)
    };
    all().into_iter().filter(|pid| *pid != std::process::id()).filter(marked).map(describe).collect()
}

fn describe(pid: u32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("{pid}: {}", String::from_utf8_lossy(&words).replace('\0', " "))
}

fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it is in parentheses and may hold anything: `pid (name) state parent …`.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn trees_hold_grandchildren_and_clusters_are_known_by_their_folder() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut shell = Command::new("sh")
            .args(["-c", "sh -c 'read line; exit 0'; exit 0"])
            .env("TMPDIR", dir.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell is a standard tool");
        let both = || tree(shell.id()).len() == 2 && of_cluster(dir.path()).len() == 2;
        let seen = crate::cluster::eventually(both);
        shell.kill().expect("a child can be killed");
        drop(shell.stdin.take());
        shell.wait().expect("a child can be waited for");
        assert!(seen, "a shell and the shell in it");
        assert!(crate::cluster::eventually(|| of_cluster(dir.path()).is_empty()));
    }
}
