//! Many simulated clusters, one seed each. A failure prints the seed and what the run is made of:
//! `GRISTMILL_SIM_FIRST=SEED GRISTMILL_SIM_SEEDS=1 cargo test -p gristmill-tests --test sim` runs
//! it again, and more seeds give a longer trial.

use std::collections::BTreeMap;

use gristmill_master::scheduler::{JobState, StaleReason};
use gristmill_tests::sim::{Fate, SimOptions, Summary, simulate};

const DEFAULT_SEEDS: u64 = 1000;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn run(seed: u64) -> Summary {
    let options = SimOptions::from_seed(seed);
    let outcome = std::panic::catch_unwind(|| simulate(&options));
    let again = format!("GRISTMILL_SIM_FIRST={seed} GRISTMILL_SIM_SEEDS=1 cargo test -p gristmill-tests --test sim");
    match outcome {
        Ok(Ok(summary)) => summary,
        Ok(Err(wrong)) => panic!("seed {seed}: {wrong}\n{options:#?}\nrun it again: {again}"),
        Err(_) => panic!("seed {seed} panicked\n{options:#?}\nrun it again: {again}"),
    }
}

#[test]
fn every_seed_keeps_the_invariants_and_ends_as_it_must() {
    let (first, seeds) = (setting("GRISTMILL_SIM_FIRST", 0), setting("GRISTMILL_SIM_SEEDS", DEFAULT_SEEDS));
    let (mut total, mut ends, mut refused) = (Summary::default(), BTreeMap::new(), BTreeMap::new());
    for seed in first..first + seeds {
        let summary = run(seed);
        total.events += summary.events;
        total.faults += summary.faults;
        total.sessions_ended += summary.sessions_ended;
        total.outputs_lost += summary.outputs_lost;
        summary.refused.iter().for_each(|(reason, times)| *refused.entry(*reason).or_insert(0) += times);
        summary.states.iter().for_each(|state| *ends.entry(*state).or_insert(0_u64) += 1);
    }
    println!("{seeds} seeds: {total:?}, {ends:?}, {refused:?}");
    if seeds < DEFAULT_SEEDS {
        return;
    }
    // A simulation in which nothing goes wrong would prove nothing.
    assert!(total.faults > 1000 && total.sessions_ended > 1000 && total.outputs_lost > 300, "{total:?}");
    for state in [JobState::Succeeded, JobState::Failed, JobState::Cancelled] {
        assert!(ends.get(&state).is_some_and(|times| *times > 20), "{ends:?}");
    }
    for reason in [StaleReason::Epoch, StaleReason::Session, StaleReason::Attempt, StaleReason::Job] {
        assert!(refused.get(&reason).is_some_and(|times| *times > 20), "{refused:?}");
    }
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

#[test]
fn jobs_succeed_without_faults() {
    for seed in 0..50 {
        let mut options = SimOptions { fault_ms: 0, failures: 0, ..SimOptions::from_seed(seed) };
        options.jobs.iter_mut().for_each(|job| job.fate = Fate::Succeeds);
        let summary = simulate(&options).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}\n{options:#?}"));
        assert!(summary.states.iter().all(|state| *state == JobState::Succeeded), "{options:#?}");
        assert_eq!((summary.faults, summary.sessions_ended, summary.outputs_lost), (0, 0, 0), "{options:#?}");
    }
}
