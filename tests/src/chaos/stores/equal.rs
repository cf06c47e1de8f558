//! Jobs from store to store that nothing disturbs: here and on a cluster they give what they give on disk,
//! and whoever lists the output while they run sees no part before the decision.

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::cluster::Cluster;
use crate::stores::{FaultProxy, Step, StoreTrial};
use crate::waiting::eventually;

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Equal {
    /// Jobs.
    pub jobs: usize,
    /// Listings of outputs while they ran.
    pub looks: usize,
    /// Those while which parts were on their way, where the server tells.
    pub uploads_seen: usize,
    /// Those in which a part was to be seen.
    pub parts_seen: usize,
    /// What was wrong.
    pub wrong: Vec<String>,
}

impl Equal {
    /// Whether all was as it must be.
    pub fn is_clean(&self) -> bool {
        self.jobs > 0 && self.looks > self.jobs && self.wrong.is_empty()
    }
}

/// Runs the job in one process, and on so many workers.
///
/// # Panics
///
/// If a process cannot be started.
pub fn equal(trial: &StoreTrial, workers: usize) -> Equal {
    let mut equal = Equal::default();
    let proxy = FaultProxy::to(&trial.server().url());
    let mut command = trial.command("run", &trial.job("here", &proxy.url()));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    equal.watch(trial, "here", &proxy, command.spawn().expect("the program starts"), None);
    let cluster = trial.cluster(workers);
    let submit = trial.submit(&cluster, &trial.job("there", &proxy.url()));
    equal.watch(trial, "there", &proxy, submit, Some(&cluster));
    equal
}

impl Equal {
    /// Lists the output until the job is over, then compares it.
    fn watch(
        &mut self,
        trial: &StoreTrial,
        folder: &str,
        proxy: &FaultProxy,
        mut job: Child,
        cluster: Option<&Cluster>,
    ) {
        let completing = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&completing);
        proxy.deciding(move |head| {
            if Step::Complete.is(head) {
                seen.store(true, Ordering::Release);
            }
            None
        });
        let in_time = eventually(|| {
            let ended = job.try_wait().expect("a child can be asked").is_some();
            let keys = trial.server().keys(folder);
            self.looks += 1;
            let uploads = trial.server().unfinished_uploads(folder).unwrap_or_default();
            self.uploads_seen += usize::from(uploads > 0);
            if keys.iter().any(|key| key.contains("/part-")) {
                self.parts_seen += 1;
                // Asked after the listing: what was to be seen then had been decided before.
                let state = cluster.map(|cluster| cluster.json(&["jobs"])["jobs"][0]["state"].clone());
                let decided =
                    state.as_ref().is_none_or(|state| ["committing", "succeeded"].iter().any(|known| state == known));
                if !decided || !completing.load(Ordering::Acquire) {
                    self.wrong.push(format!("{folder}: {keys:?} while the job was {state:?}"));
                }
            }
            ended
        });
        if !in_time {
            self.wrong.push(format!("{folder}: the job did not end"));
            // It may just have.
            let _ = job.kill();
        }
        self.jobs += 1;
        let output = job.wait_with_output().expect("it has ended");
        if !output.status.success() {
            self.wrong.push(format!("{folder}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        self.wrong.extend(trial.wrong_with(folder).map(|wrong| format!("{folder}: {wrong}")));
    }
}
