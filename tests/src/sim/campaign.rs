//! Many seeds at once, what they add up to, and the shrinking of one that fails.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::cluster::{Summary, simulate};
use super::options::{FaultKind, Planted, SimOptions};

/// A seed that broke a rule.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// Which rule, and when.
    pub wrong: String,
}

/// What many runs came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Runs.
    pub seeds: u64,
    /// What happened in those that broke no rule.
    pub total: Summary,
    /// Those that did, in the order of their seeds.
    pub violations: Vec<Violation>,
}

/// Runs the seeds from `first` on with this mistake, on as many threads as there are cores. Ends early
/// when `most` of them broke a rule.
pub fn campaign(first: u64, seeds: u64, planted: Option<Planted>, most: usize) -> Tally {
    let next = AtomicU64::new(first);
    let broken = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds || broken.load(Ordering::Relaxed) >= most as u64 {
                return tally;
            }
            tally.seeds += 1;
            match run(&SimOptions { planted, ..SimOptions::from_seed(seed) }) {
                Ok(summary) => tally.total.add(&summary),
                Err(wrong) => {
                    broken.fetch_add(1, Ordering::Relaxed);
                    tally.violations.push(Violation { seed, wrong });
                }
            }
        }
    };
    let mut all = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().fold(Tally::default(), |mut all, worker| {
            let tally = worker.join().expect("a run's panic is caught");
            all.seeds += tally.seeds;
            all.total.add(&tally.total);
            all.violations.extend(tally.violations);
            all
        })
    });
    all.violations.sort_by_key(|violation| violation.seed);
    all
}

/// Runs one simulation; a panic in it is a rule broken.
///
/// # Errors
///
/// The first rule that is broken, and when.
pub fn run(options: &SimOptions) -> Result<Summary, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| simulate(options)));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

/// The same run with as few faults as still break a rule, and which one they break.
pub fn shrink(seed: u64, planted: Option<Planted>) -> (SimOptions, String) {
    let mut best = SimOptions { planted, ..SimOptions::from_seed(seed) };
    let mut wrong = run(&best).err().unwrap_or_default();
    for kind in FaultKind::ALL {
        let faults: Vec<FaultKind> = best.faults.iter().copied().filter(|other| *other != kind).collect();
        try_less(SimOptions { faults, ..best.clone() }, &mut best, &mut wrong);
    }
    let faults = 1 + best.faults_until_ms / best.fault_ms.max(1) * 4;
    let mut width = faults.next_power_of_two();
    while width > 0 {
        for start in (0..faults).step_by(usize::try_from(width).unwrap_or(usize::MAX)) {
            let skipped: BTreeSet<u64> = best.skipped.iter().copied().chain(start..start + width).collect();
            if skipped != best.skipped {
                try_less(SimOptions { skipped, ..best.clone() }, &mut best, &mut wrong);
            }
        }
        width /= 2;
    }
    (best, wrong)
}

fn try_less(options: SimOptions, best: &mut SimOptions, wrong: &mut String) {
    if options.faults.is_empty() {
        return;
    }
    if let Err(still) = run(&options) {
        *best = options;
        *wrong = still;
    }
}
