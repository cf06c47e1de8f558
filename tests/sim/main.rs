//! Many simulated clusters, one seed each, and mistakes made on purpose that they must find. A failure
//! prints the seed; `cargo sim --first SEED --seeds 1` runs it again and shrinks its faults, and more
//! seeds give a longer trial.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use gristmill_master::scheduler::{JobState, StaleReason};
use gristmill_tests::docs::sh_commands;
use gristmill_tests::sim::{Fate, Planted, SimOptions, Summary, campaign, simulate};

const DEFAULT_SEEDS: u64 = 1000;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn run(seed: u64) -> Summary {
    let options = SimOptions::from_seed(seed);
    let again = format!("cargo sim --first {seed} --seeds 1");
    simulate(&options).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}\n{options:#?}\nrun it again: {again}"))
}

#[test]
fn every_seed_keeps_the_invariants_and_ends_as_it_must() {
    let (first, seeds) = (setting("GRISTMILL_SIM_FIRST", 0), setting("GRISTMILL_SIM_SEEDS", DEFAULT_SEEDS));
    let tally = campaign(first, seeds, None, 1);
    if let Some(violation) = tally.violations.first() {
        panic!("seed {0}: {1}\nrun it again: cargo sim --first {0} --seeds 1", violation.seed, violation.wrong);
    }
    let mut ends: BTreeMap<JobState, u64> = BTreeMap::new();
    tally.total.states.iter().for_each(|state| *ends.entry(*state).or_default() += 1);
    let total = Summary { states: Vec::new(), ..tally.total };
    println!("{seeds} seeds: {total:?}, {ends:?}");
    if seeds < DEFAULT_SEEDS {
        return;
    }
    // A simulation in which nothing goes wrong would prove nothing.
    let counts = [total.faults, total.sessions_ended, total.masters_died, total.adopted, total.twins];
    assert!(counts.into_iter().all(|count| count > 500) && total.outputs_lost > 300, "{total:?}");
    for state in [JobState::Succeeded, JobState::Failed, JobState::Cancelled] {
        assert!(ends.get(&state).is_some_and(|times| *times > 20), "{ends:?}");
    }
    for reason in [StaleReason::Epoch, StaleReason::Session, StaleReason::Attempt, StaleReason::Job] {
        assert!(total.refused.get(&reason).is_some_and(|times| *times > 20), "{total:?}");
    }
}

/// The rare ones take more seeds than fit in here: `cargo sim --planted all` finds every one.
#[test]
fn planted_mistakes_are_found() {
    let rare = ["adopt-superseded", "forget-cleanup", "cancel-decided"];
    let all = Planted::all();
    assert!(all.len() >= 25, "{}", all.len());
    for (name, planted) in all.into_iter().filter(|(name, _)| !rare.contains(&name.as_str())) {
        let tally = campaign(0, DEFAULT_SEEDS, Some(planted), 1);
        assert!(!tally.violations.is_empty(), "{name} is not found in {DEFAULT_SEEDS} seeds");
    }
}

/// The commands of the page on reliability, with fewer seeds.
#[test]
fn every_simulation_of_the_documents_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let page = std::fs::read_to_string(root.join("docs/reliability.md")).expect("there is a page");
    let commands = sh_commands(&page);
    let commands: Vec<&str> = commands.iter().filter_map(|command| command.strip_prefix("cargo sim ")).collect();
    assert!(commands.len() >= 3, "only {commands:?}");
    for command in commands {
        let fewer = command.replace("--planted all", "--planted forget-rest").replace("--seeds 10000", "--seeds 20");
        let run = Command::new(env!("CARGO_BIN_EXE_sim")).args(fewer.split_whitespace()).output().expect("it starts");
        assert!(run.status.success(), "{fewer}: {}", String::from_utf8_lossy(&run.stdout));
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
        let calm = SimOptions { fault_ms: 0, failures: 0, die_writing: 0, ..SimOptions::from_seed(seed) };
        let mut options = calm;
        options.jobs.iter_mut().for_each(|job| job.fate = Fate::Succeeds);
        let summary = simulate(&options).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}\n{options:#?}"));
        assert!(summary.states.iter().all(|state| *state == JobState::Succeeded), "{options:#?}");
        assert_eq!((summary.faults, summary.sessions_ended, summary.outputs_lost), (0, 0, 0), "{options:#?}");
    }
}
