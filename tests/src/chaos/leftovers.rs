//! What is left when the jobs, and then the processes, have ended. Nothing should be.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::processes::of_cluster;
use crate::cluster::{Cluster, eventually_within};

/// How long workers may take to hear that a job is over and to remove what it had.
const SWEEP_PATIENCE: Duration = Duration::from_secs(30);

/// What is left, each by name.
#[derive(Debug, Default, Serialize)]
pub struct Leftovers {
    /// Processes of the cluster, executors too.
    pub processes: Vec<String>,
    /// Files and folders of jobs in workers' scratch.
    pub scratch: Vec<String>,
    /// Staging folders, claims and parts in the folder of outputs.
    pub staged: Vec<String>,
    /// Locks that somebody holds.
    pub locks: Vec<String>,
    /// Anything else that was not there, such as sockets and temporary files.
    pub strays: Vec<String>,
    /// Processes that did not end when they were asked to, or ended with an error.
    pub unwilling: Vec<String>,
}

impl Leftovers {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        let Self { processes, scratch, staged, locks, strays, unwilling } = self;
        [processes, scratch, staged, locks, strays, unwilling].iter().all(|kind| kind.is_empty())
    }

    /// What is left, in words, if anything is.
    pub(super) fn found(&self) -> Option<String> {
        (!self.is_empty()).then(|| format!("{self:?}"))
    }

    /// What is left when the jobs of a cluster are over and its processes were asked to end, which is done
    /// here. All outputs were removed from the folder `outputs`, or lie in the cluster's own; `known` are the
    /// names of what else lies there.
    pub(super) fn at_the_end(cluster: &mut Cluster, outputs: Option<&Path>, known: &[&str]) -> Self {
        let mut leftovers = Self::default();
        leftovers.of_jobs(cluster, outputs);
        leftovers.unwilling = cluster.end();
        leftovers.of_processes(cluster, known);
        leftovers
    }

    /// Waits until nothing is left of jobs that are over; looks while the processes run.
    pub(super) fn of_jobs(&mut self, cluster: &Cluster, outputs: Option<&Path>) {
        let workers = cluster.workers();
        eventually_within(SWEEP_PATIENCE, || {
            self.scratch =
                (0..workers).flat_map(|worker| entries(&cluster.worker_dir(worker).join("scratch"))).collect();
            self.staged = outputs.map(entries).unwrap_or_default();
            self.scratch.is_empty() && self.staged.is_empty()
        });
    }

    /// Looks for what is left of processes that were asked to end; `known` are the names of what else
    /// lies in the cluster's folder.
    fn of_processes(&mut self, cluster: &Cluster, known: &[&str]) {
        let (dir, workers) = (cluster.dir(), cluster.workers());
        // A killed executor is gone a moment after its worker.
        eventually_within(SWEEP_PATIENCE, || {
            self.processes = of_cluster(dir);
            self.processes.is_empty()
        });
        let folders: Vec<_> =
            (0..workers).map(|worker| cluster.worker_dir(worker)).chain([dir.join("state")]).collect();
        let held = folders.iter().map(|folder| folder.join("lock")).filter(|lock| is_locked(lock));
        self.locks = held.map(|lock| lock.display().to_string()).collect();
        let expected = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            folders.iter().any(|folder| folder == path) || known.contains(&name) || name.ends_with(".log")
        };
        self.strays = entries(dir).into_iter().filter(|path| !expected(Path::new(path))).collect();
    }
}

/// What lies in a folder, hidden or not; nothing if there is no such folder.
fn entries(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path().display().to_string()).collect()
}

fn is_locked(lock: &Path) -> bool {
    File::open(lock).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_locks_and_entries_are_seen() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("lock");
        let file = File::create(&path).expect("a scratch file");
        assert!(!is_locked(&path));
        file.lock().expect("nobody holds it");
        assert!(is_locked(&path));
        assert_eq!(entries(dir.path()), [path.display().to_string()]);
        assert_eq!(entries(&path), [""; 0]);
        let left = Leftovers { locks: entries(dir.path()), ..Leftovers::default() };
        assert!(!left.is_empty() && Leftovers::default().is_empty());
    }
}
