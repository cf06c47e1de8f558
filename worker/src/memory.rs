//! How much memory a worker's attempts may take together: permits, and the budget a machine or a
//! container gives by default; how much an executor may have; whether the kernel killed for want of it.
//! What an attempt does within its permit is the engine's business.

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

/// The least that an executor may have beyond its worker's budget, by default.
const LEAST_HEADROOM: ByteSize = ByteSize::mib(1024);

/// What one executor may have for its data if nobody says: the worker's budget, which the engine keeps
/// to, and for user code's own half as much again, at least a gibibyte. With the default budget that is
/// three quarters of the machine: user code that takes too much fails before the machine does.
pub fn default_executor_memory(budget: ByteSize) -> ByteSize {
    ByteSize(budget.bytes().saturating_add((budget.bytes() / 2).max(LEAST_HEADROOM.bytes())))
}

/// How many processes the kernel has killed for want of memory, in this process's control group or
/// else on this machine; 0 if neither tells.
pub(crate) fn oom_kills() -> u64 {
    oom_kills_under(Path::new("/"))
}

/// [`oom_kills`] of the machine whose `/proc` and `/sys` lie under `root`.
fn oom_kills_under(root: &Path) -> u64 {
    let count = |path: PathBuf| {
        let text = fs::read_to_string(path).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok())
    };
    // As with limits, a container's own group may lie at the top.
    let count_up = |controller: &str, top: &str, file: &str| {
        let group = own_cgroup(root, controller)?;
        group.ancestors().find_map(|above| count(root.join(top).join(above).join(file)))
    };
    count_up("", "sys/fs/cgroup", "memory.events")
        .or_else(|| count_up("memory", "sys/fs/cgroup/memory", "memory.oom_control"))
        .or_else(|| count(root.join("proc/vmstat")))
        .unwrap_or(0)
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

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, text).expect("a file");
        }
        root
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], budget: ByteSize) {
        assert_eq!(budget_under(machine(files).path()), budget);
    }

    #[test]
    fn an_executor_gets_half_as_much_again_as_its_worker_and_at_least_a_gibibyte() {
        assert_eq!(default_executor_memory(ByteSize::mib(64)), ByteSize::mib(1088));
        assert_eq!(default_executor_memory(ByteSize::mib(8192)), ByteSize::mib(12288));
    }

    #[test]
    fn oom_kills_are_counted_by_the_nearest_group_that_tells() {
        let vmstat = ("proc/vmstat", "nr_free 7\noom_kill 9\n");
        let group = ("proc/self/cgroup", "4:cpu,memory:/job\n0::/a\n");
        let v1 = ("sys/fs/cgroup/memory/job/memory.oom_control", "under_oom 0\noom_kill 3\n");
        let v2 = ("sys/fs/cgroup/a/memory.events", "oom 5\noom_kill 4\noom_group_kill 0\n");
        for (files, kills) in
            [(vec![], 0), (vec![vmstat], 9), (vec![vmstat, group, v1], 3), (vec![vmstat, group, v1, v2], 4)]
        {
            assert_eq!(oom_kills_under(machine(&files).path()), kills, "{files:?}");
        }
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
