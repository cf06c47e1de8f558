//! What a run is made of. Everything is drawn from the seed, and printed when a run fails.

use std::collections::BTreeSet;

use gristmill_master::scheduler::Bug;

use crate::random::Random;

/// One simulated run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimOptions {
    /// The seed of this run.
    pub seed: u64,
    /// Slots of each worker.
    pub worker_slots: Vec<u32>,
    /// The jobs, in the order of submission.
    pub jobs: Vec<JobShape>,
    /// Assignments sent ahead for each slot.
    pub queue_per_slot: u32,
    /// The longest an attempt computes, in milliseconds.
    pub attempt_ms: u64,
    /// The longest delay of a message, in milliseconds.
    pub delay_ms: u64,
    /// Whether messages of one stream keep their order.
    pub ordered: bool,
    /// Per cent of messages that arrive twice.
    pub repeats: u64,
    /// Per cent of attempts that fail although nothing is wrong with their worker.
    pub failures: u64,
    /// The longest time between two faults, in milliseconds; no faults if 0.
    pub fault_ms: u64,
    /// When the last fault happens, in milliseconds.
    pub faults_until_ms: u64,
    /// Which faults happen: each run has a mix of its own.
    pub faults: Vec<FaultKind>,
    /// The longest a journal commit takes, in microseconds.
    pub journal_us: u64,
    /// Per cent of journal commits in the middle of which the master dies, if it dies at all.
    pub die_writing: u64,
    /// Per cent of workers at a tenth of the others' speed.
    pub slow: u64,
    /// Per cent of map outputs that are damaged on disk when their worker's process dies.
    pub damage: u64,
    /// A mistake made on purpose, which the run is to find.
    pub planted: Option<Planted>,
    /// Faults, counted from 0, that do not happen after all.
    pub skipped: BTreeSet<u64>,
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A worker's process dies and starts again.
    WorkerDies,
    /// A worker stands still, perhaps for longer than its lease.
    WorkerPauses,
    /// A worker reaches nothing for a while.
    WorkerCutOff,
    /// Two workers do not reach each other for a while.
    PairCutOff,
    /// A stream breaks.
    StreamBreaks,
    /// A worker says that it stops, and stops.
    WorkerLeaves,
    /// All workers die at once.
    AllDie,
    /// The master's process dies and starts again on its journal.
    MasterDies,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [FaultKind; 8] = [
        FaultKind::WorkerDies,
        FaultKind::WorkerPauses,
        FaultKind::WorkerCutOff,
        FaultKind::PairCutOff,
        FaultKind::StreamBreaks,
        FaultKind::WorkerLeaves,
        FaultKind::AllDie,
        FaultKind::MasterDies,
    ];
}

/// A mistake made on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// In the scheduler.
    Scheduler(Bug),
    /// A submission is acknowledged before it is in the journal.
    AckBeforeJournal,
    /// Commands are carried out before the records that they follow from are in the journal.
    ActBeforeJournal,
    /// Segments are not checked when they are read.
    TrustSegments,
    /// A restarted master does not undo what its predecessor left undone.
    ForgetCleanup,
}

/// One simulated job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobShape {
    /// Map tasks.
    pub maps: u32,
    /// Reduce tasks; 0 if map-only.
    pub reduces: u32,
    /// Attempts a task may fail.
    pub max_attempts: u32,
    /// When it is submitted, in milliseconds.
    pub submitted_ms: u64,
    /// What happens to it.
    pub fate: Fate,
}

/// What happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: it must succeed, whatever happens around it.
    Succeeds,
    /// A map task fails whenever it runs: the job must fail.
    Poisoned {
        /// The task's index.
        map: u32,
    },
    /// Somebody cancels it: it must be cancelled, or have succeeded before.
    Cancelled {
        /// When, in milliseconds.
        at_ms: u64,
    },
    /// Its output cannot be put in place: it must fail.
    Unpublishable,
    /// Its map outputs differ from attempt to attempt: it must fail, or succeed with an output made of
    /// one set of attempts.
    Nondeterministic,
}

impl Planted {
    /// Every mistake, by its name on the command line.
    pub fn all() -> Vec<(String, Planted)> {
        let own =
            [Planted::AckBeforeJournal, Planted::ActBeforeJournal, Planted::TrustSegments, Planted::ForgetCleanup];
        let scheduler = Bug::ALL.into_iter().map(|bug| (kebab(&format!("{bug:?}")), Planted::Scheduler(bug)));
        scheduler.chain(own.into_iter().map(|planted| (kebab(&format!("{planted:?}")), planted))).collect()
    }
}

/// `LikeThis` as `like-this`.
fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.extend(letter.to_lowercase());
    }
    kebab
}

impl SimOptions {
    /// The run of a seed.
    pub fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let workers = random.within(1, 6);
        let jobs = random.within(1, 5);
        let faults_until_ms = random.within(1000, 12_000);
        // A third of the runs are nearly calm, so that what fails in them is easy to follow.
        let calm = random.chance(30);
        let mut faults: Vec<FaultKind> = FaultKind::ALL.into_iter().filter(|_| random.chance(60)).collect();
        if faults.is_empty() {
            faults.push(FaultKind::MasterDies);
        }
        Self {
            seed,
            worker_slots: (0..workers).map(|_| random.within(1, 4) as u32).collect(),
            jobs: (0..jobs).map(|_| JobShape::random(&mut random, faults_until_ms)).collect(),
            queue_per_slot: random.within(0, 3) as u32,
            attempt_ms: *random.pick(&[50, 500, 3000]),
            delay_ms: *random.pick(&[1, 10, 100, 600]),
            ordered: random.chance(50),
            repeats: *random.pick(&[0, 0, 5, 30]),
            failures: *random.pick(&[0, 0, 5, 20]),
            fault_ms: if calm { 0 } else { *random.pick(&[150, 600, 2500]) },
            faults_until_ms,
            faults,
            journal_us: *random.pick(&[1, 300, 20_000, 300_000]),
            die_writing: *random.pick(&[0, 0, 3]),
            slow: *random.pick(&[0, 0, 30]),
            damage: *random.pick(&[0, 0, 20]),
            planted: None,
            skipped: BTreeSet::new(),
        }
    }
}

impl JobShape {
    fn random(random: &mut Random, latest_ms: u64) -> Self {
        let maps = random.within(0, 13) as u32;
        let fate = match random.within(0, 14) {
            0 if maps > 0 => Fate::Poisoned { map: random.within(0, u64::from(maps)) as u32 },
            1 => Fate::Cancelled { at_ms: random.within(0, 4000) },
            2 => Fate::Unpublishable,
            3..6 => Fate::Nondeterministic,
            _ => Fate::Succeeds,
        };
        Self {
            maps,
            reduces: random.within(0, 6) as u32,
            max_attempts: random.within(1, 5) as u32,
            submitted_ms: random.within(0, latest_ms),
            fate,
        }
    }
}
