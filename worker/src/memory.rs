//! How much memory a worker's attempts may take together: permits, and the budget a machine or a
//! container gives by default. What an attempt does within its permit is the engine's business.

use std::fs;
use std::path::{Path, PathBuf};

use gristmill_common::size::ByteSize;

/// The budget if the machine does not say how much memory it has.
const UNKNOWN_BUDGET: ByteSize = ByteSize::mib(512);

/// Bytes that attempts hold, never more than the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPermits {
    budget: ByteSize,
    held: ByteSize,
}

impl MemoryPermits {
    /// Permits for `budget` bytes, none held.
    pub fn new(budget: ByteSize) -> Self {
        Self { budget, held: ByteSize(0) }
    }

    /// The budget.
    pub fn budget(&self) -> ByteSize {
        self.budget
    }

    /// Takes `bytes` if so many are free.
    pub fn try_take(&mut self, bytes: ByteSize) -> bool {
        let fits = bytes.bytes() <= self.budget.bytes() - self.held.bytes();
        if fits {
            self.held = ByteSize(self.held.bytes() + bytes.bytes());
        }
        fits
    }

    /// Gives back what was taken.
    ///
    /// # Panics
    ///
    /// If less was taken.
    pub fn give_back(&mut self, bytes: ByteSize) {
        let held = self.held.bytes().checked_sub(bytes.bytes());
        self.held = ByteSize(held.expect("only what was taken is given back"));
    }
}

/// Half of the machine's memory or, if that is less, of the limit of this process's cgroup.
pub fn default_budget() -> ByteSize {
    budget_under(Path::new("/"))
}

/// [`default_budget`] of the machine whose `/proc` and `/sys` lie under `root`.
fn budget_under(root: &Path) -> ByteSize {
    let limits = [machine_bytes(root), cgroup_v2_bytes(root), cgroup_v1_bytes(root)];
    limits.into_iter().flatten().min().map_or(UNKNOWN_BUDGET, |bytes| ByteSize(bytes / 2))
}

fn machine_bytes(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The least `memory.max` of the process's cgroup and the ones above it.
fn cgroup_v2_bytes(root: &Path) -> Option<u64> {
    let group = own_cgroup(root, "")?;
    limits_up(&root.join("sys/fs/cgroup"), &group, "memory.max")
}

/// The least `memory.limit_in_bytes` of the process's cgroup and the ones above it. "No limit" is a
/// number near the largest, which the least of all limits leaves out by itself.
fn cgroup_v1_bytes(root: &Path) -> Option<u64> {
    let group = own_cgroup(root, "memory")?;
    limits_up(&root.join("sys/fs/cgroup/memory"), &group, "memory.limit_in_bytes")
}

/// The path of the process's group in the hierarchy with this controller; `""` is version 2.
fn own_cgroup(root: &Path, controller: &str) -> Option<PathBuf> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        controllers.split(',').any(|name| name == controller).then(|| PathBuf::from(path.trim_start_matches('/')))
    })
}

/// The least limit on the way from `group` to the top. In a container the group's path may be the
/// host's and lead nowhere; the top is the container's own group then.
fn limits_up(top: &Path, group: &Path, file: &str) -> Option<u64> {
    let limit = |dir: &Path| fs::read_to_string(dir.join(file)).ok()?.trim().parse::<u64>().ok();
    group.ancestors().filter_map(|above| limit(&top.join(above))).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_never_exceed_the_budget() {
        let mut permits = MemoryPermits::new(ByteSize(100));
        assert_eq!([60, 50, 40, 1].map(|bytes| permits.try_take(ByteSize(bytes))), [true, false, true, false]);
        permits.give_back(ByteSize(60));
        assert_eq!([u64::MAX, 61, 60].map(|bytes| permits.try_take(ByteSize(bytes))), [false, false, true]);
    }

    #[test]
    #[should_panic(expected = "only what was taken")]
    fn giving_back_too_much_is_a_bug() {
        MemoryPermits::new(ByteSize(100)).give_back(ByteSize(1));
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], budget: ByteSize) {
        let root = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, text).expect("a file");
        }
        assert_eq!(budget_under(root.path()), budget);
    }

    #[test]
    fn the_budget_is_half_of_the_least_limit() {
        let meminfo = ("proc/meminfo", "MemFree: 5 kB\nMemTotal:       16384 kB\n");
        let v1 = ("proc/self/cgroup", "4:cpu,memory:/job\n0::/\n");
        check(&[], UNKNOWN_BUDGET);
        check(&[meminfo], ByteSize::mib(8));
        check(
            &[meminfo, ("proc/self/cgroup", "0::/a/b\n"), ("sys/fs/cgroup/a/memory.max", "1048576\n")],
            ByteSize(524_288),
        );
        check(&[meminfo, ("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "max\n")], ByteSize::mib(8));
        check(&[meminfo, v1, ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "4194304\n")], ByteSize::mib(2));
        check(
            &[meminfo, v1, ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n")],
            ByteSize::mib(8),
        );
        check(&[meminfo, v1, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2097152\n")], ByteSize::mib(1));
    }
}
