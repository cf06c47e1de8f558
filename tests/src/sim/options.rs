//! What a run is made of. Everything is drawn from the seed, and printed when a run fails.

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
        }
    }
}

impl JobShape {
    fn random(random: &mut Random, latest_ms: u64) -> Self {
        let maps = random.within(0, 13) as u32;
        let fate = match random.within(0, 10) {
            0 if maps > 0 => Fate::Poisoned { map: random.within(0, u64::from(maps)) as u32 },
            1 => Fate::Cancelled { at_ms: random.within(0, 4000) },
            2 => Fate::Unpublishable,
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
