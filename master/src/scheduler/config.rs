//! The scheduler's constants, each with its trade-off. Nothing here is read from anywhere: the
//! caller decides.

use std::time::Duration;

use gristmill_common::ids::MasterEpoch;

#[cfg(feature = "planted")]
use super::planted::Bug;
use super::policy::Placement;

/// How the scheduler behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// The epoch of this master; reports made under any other are refused.
    pub epoch: MasterEpoch,
    /// How long a session keeps its attempts without being heard. Raised, a frozen worker delays its
    /// jobs for longer; lowered, a short pause of a healthy one costs the work in its hands.
    /// `Duration::MAX` means for ever.
    pub lease: Duration,
    /// How long a session whose stream broke may take to resume. Raised, a killed worker is noticed
    /// later; lowered, a dropped connection costs the work in the worker's hands.
    pub resume_grace: Duration,
    /// Assignments always sent ahead for each slot. Raised, a slot never waits for the master but work
    /// sits behind slow attempts while other workers are idle; at 0 each attempt waits for a round
    /// trip.
    pub queue_per_slot: u32,
    /// How much work is sent ahead for each slot, by the mean time of the stage's attempts so far.
    /// Raised, short attempts ride out a busy master, but what waits behind one slow attempt is as
    /// much.
    pub queue_ahead: Duration,
    /// The same while another job is open. Raised, each stage of a short job waits for as long behind what
    /// was sent ahead of a long one; lowered, short attempts of the one wait for a busy master as long as
    /// the other lasts.
    pub queue_ahead_shared: Duration,
    /// The most assignments sent ahead for each slot, however short. Costs memory on both sides.
    pub max_queue_per_slot: u32,
    /// How long a task rests after its first hand-back; doubles with each further one.
    pub hand_back_delay: Duration,
    /// The longest rest. Raised, a task whose cause of hand-back is gone starts later; lowered, a
    /// lasting cause makes master and workers busier.
    pub hand_back_delay_cap: Duration,
    /// How long a restarted master waits for the workers that hold committed outputs or run attempts
    /// before it has them made again. Raised, a worker that is gone delays its jobs for longer after a
    /// restart; lowered, a slow one's work is done twice.
    pub adoption_wait: Duration,
    /// How often attempts are compared with their peers; zero: never.
    pub speculation_interval: Duration,
    /// An attempt is a straggler when it takes so many times as long as its peers did, in per cent.
    pub straggler_percent: u32,
    /// No attempt is a straggler before this. Lowered, short tasks are run twice for nothing.
    pub straggler_floor: Duration,
    /// How long it counts, at least, how slow a worker was. Raised, one that is well again gets less to do for longer;
    /// lowered, one that is not holds up more stages.
    pub pace_kept: Duration,
    /// Failures in a row that were the worker's own before it is excluded; and as many, whoever's they
    /// were, before the job in which they happened gives it no more.
    pub strikes: u32,
    /// How long a worker is excluded the first time; doubles with each further time.
    pub exclusion: Duration,
    /// The longest exclusion.
    pub exclusion_cap: Duration,
    /// The longest exclusion for want of room on the worker's disk. Raised, a worker that has room again
    /// idles for longer; lowered, one that has not begins more attempts in vain.
    pub exclusion_cap_scratch: Duration,
    /// Whether attempts that find no room in scratch are handed back until there is some; if not, that
    /// counts as any failure.
    pub waits_for_scratch: bool,
    /// Which of the workers with room gets an attempt.
    pub placement: Placement,
    /// Whether facts that must outlive the master are said.
    pub records: bool,
    /// A mistake that the simulator is to find.
    #[cfg(feature = "planted")]
    pub planted: Option<Bug>,
    /// Jobs remembered after their end. Costs memory for each; lowered, `status` forgets sooner.
    pub ended_jobs_kept: usize,
    /// Sessions remembered after their end, for display only.
    pub ended_sessions_kept: usize,
    /// Failures remembered for each job; the newest are kept.
    pub failures_kept: usize,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            epoch: MasterEpoch(1),
            lease: Duration::from_secs(5),
            resume_grace: Duration::from_millis(500),
            queue_per_slot: 1,
            queue_ahead: Duration::from_millis(20),
            queue_ahead_shared: Duration::from_millis(4),
            max_queue_per_slot: 64,
            hand_back_delay: Duration::from_millis(10),
            hand_back_delay_cap: Duration::from_millis(250),
            adoption_wait: Duration::from_secs(2),
            speculation_interval: Duration::from_millis(200),
            straggler_percent: 150,
            straggler_floor: Duration::from_secs(1),
            pace_kept: Duration::from_secs(60),
            strikes: 3,
            exclusion: Duration::from_secs(10),
            exclusion_cap: Duration::from_secs(300),
            exclusion_cap_scratch: Duration::from_secs(30),
            waits_for_scratch: true,
            placement: Placement::default(),
            records: true,
            #[cfg(feature = "planted")]
            planted: None,
            ended_jobs_kept: 1000,
            ended_sessions_kept: 100,
            failures_kept: 100,
        }
    }
}

impl SchedulerConfig {
    /// For an embedded run: one worker in the same process, which cannot be lost and to which an
    /// assignment costs nothing, so that none is sent ahead. Whoever waits for it would wait in vain for
    /// a disk to become less full.
    pub fn embedded() -> Self {
        Self {
            lease: Duration::MAX,
            queue_per_slot: 0,
            max_queue_per_slot: 0,
            speculation_interval: Duration::ZERO,
            waits_for_scratch: false,
            records: false,
            ..Self::default()
        }
    }
}
