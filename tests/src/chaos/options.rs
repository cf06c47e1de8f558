//! What a campaign is made of.

use std::path::PathBuf;

use serde::Serialize;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// A worker is killed and started at once on its folder.
    Kill,
    /// A worker's process stands still for a while, its executors go on.
    Stop,
    /// A worker with all its executors stands still for a while.
    Freeze,
    /// The master is killed and started at once on its folder and port.
    Master,
    /// A link passes everything on late for a while.
    Delay,
    /// A link passes nothing on for a while, and nobody is told.
    Stall,
    /// A link's connections are reset.
    Reset,
    /// A link's connections are closed in the middle of what they carry.
    Truncate,
    /// One bit is flipped on the way to or from a worker's segments.
    Flip,
    /// A worker's disk is full for a while, one worker's at a time. Only where this process may mount: each worker then has a
    /// small disk of its own.
    Full,
    /// One bit of a file in a worker's scratch is flipped.
    Rot,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Kill,
        Self::Stop,
        Self::Freeze,
        Self::Master,
        Self::Delay,
        Self::Stall,
        Self::Reset,
        Self::Truncate,
        Self::Flip,
        Self::Full,
        Self::Rot,
    ];

    /// The name in `--mix` and in verdicts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Freeze => "freeze",
            Self::Master => "master",
            Self::Delay => "delay",
            Self::Stall => "stall",
            Self::Reset => "reset",
            Self::Truncate => "truncate",
            Self::Flip => "flip",
            Self::Full => "full",
            Self::Rot => "rot",
        }
    }

    /// The kinds of a list such as `kill,master`.
    ///
    /// # Errors
    ///
    /// If it names something else, or nothing.
    pub fn parse_mix(mix: &str) -> Result<Vec<Self>, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        mix.split(',')
            .map(|name| Self::ALL.into_iter().find(|kind| kind.name() == name))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| format!("{mix:?} is not a list of {}", known()))
    }
}

/// A campaign.
#[derive(Debug, Clone)]
pub struct ChaosOptions {
    /// The program.
    pub binary: PathBuf,
    /// Fixes the faults and their order.
    pub seed: u64,
    /// For how long faults come; the last job may end later.
    pub seconds: u64,
    /// Worker processes, of one slot each.
    pub workers: usize,
    /// What may go wrong.
    pub mix: Vec<FaultKind>,
    /// Input of each job, in megabytes (10^6 bytes).
    pub megabytes: u32,
}
