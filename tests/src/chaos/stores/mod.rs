//! Jobs from store to store on every S3 server that is here: equal to local ones, whoever dies at which
//! step of a commit and whatever the store does now and then; and claims that several want at once. Needs a
//! program with the feature `failpoints`.
//!
//! | file | responsibility |
//! |---|---|
//! | `equal.rs` | jobs that nothing disturbs, and what a listing shows meanwhile |
//! | `deaths.rs` | processes that die at a request of a commit |
//! | `ground.rs` | outputs in a store, for masters that die at failpoints |
//! | `faults.rs` | a store that fails now and then, and what it costs |
//! | `contests.rs` | claims that several want at once |

mod contests;
mod deaths;
mod equal;
mod faults;
mod ground;

use std::path::PathBuf;

use serde::Serialize;

pub use self::contests::{Contests, contests};
pub use self::deaths::{Deaths, WrongDeath};
pub use self::equal::{Equal, equal};
pub use self::faults::{FaultTimes, faults};
use self::ground::master_deaths;
use super::places::PlacesVerdict;
use crate::stores::{ServerKind, StoreTrial};

/// Workers of a cluster.
const WORKERS: usize = 3;

/// Reduce tasks where a job is to be over soon.
const FEW_PARTS: usize = 3;

/// Reduce tasks where there are to be many requests.
const MANY_PARTS: usize = 16;

/// Input, in megabytes, where a job is to be over soon.
const LITTLE: u32 = 2;

/// What is done, and how often.
#[derive(Debug, Clone)]
pub struct StoresOptions {
    /// The program.
    pub binary: PathBuf,
    /// Where randomness comes from.
    pub seed: u64,
    /// How often a process dies at each step: at the first time that it comes by, the second, and so on.
    pub deaths: usize,
    /// How often a job is timed with faults and without.
    pub repeat: u32,
    /// Claims that several want.
    pub contests: u64,
    /// Input of the jobs that are timed.
    pub megabytes: u32,
}

/// What came of it on one server.
#[derive(Debug, Serialize)]
pub struct ServerVerdict {
    /// The server.
    pub server: ServerKind,
    /// Jobs that nothing disturbed.
    pub equal: Equal,
    /// Masters that died at failpoints.
    pub masters: PlacesVerdict,
    /// Processes that died at requests.
    pub deaths: Deaths,
    /// Jobs while the store failed now and then.
    pub faults: FaultTimes,
    /// Claims that several wanted.
    pub contests: Contests,
}

impl ServerVerdict {
    fn is_clean(&self) -> bool {
        self.equal.is_clean()
            && self.masters.is_clean()
            && self.deaths.is_clean()
            && self.faults.is_clean()
            && self.contests.is_clean()
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct StoresVerdict {
    /// On each server that is here.
    pub servers: Vec<ServerVerdict>,
    /// Servers that are not.
    pub skipped: Vec<ServerKind>,
}

impl StoresVerdict {
    /// Whether everything was as it must be, on one server at least.
    pub fn is_clean(&self) -> bool {
        !self.servers.is_empty() && self.servers.iter().all(ServerVerdict::is_clean)
    }
}

/// Does all of it on each server.
///
/// # Panics
///
/// If a process cannot be started.
pub fn stores(options: &StoresOptions) -> StoresVerdict {
    let mut verdict = StoresVerdict { servers: vec![], skipped: vec![] };
    for kind in [ServerKind::Moto, ServerKind::S3sFs] {
        match on_server(options, kind) {
            Some(seen) => verdict.servers.push(seen),
            None => verdict.skipped.push(kind),
        }
    }
    verdict
}

fn on_server(options: &StoresOptions, kind: ServerKind) -> Option<ServerVerdict> {
    let trial = |megabytes, parts| StoreTrial::start(&options.binary, kind, megabytes, parts);
    let large = trial(options.megabytes, MANY_PARTS)?;
    let equal = equal(&large, WORKERS);
    let faults = faults(&large, WORKERS, options.repeat, options.seed);
    drop(large);
    // Each on a server of its own, so that what is left can be told.
    let masters = master_deaths(&trial(LITTLE, FEW_PARTS)?, options.deaths);
    let deaths = deaths::deaths(&trial(LITTLE, FEW_PARTS)?, options.deaths as u64);
    let contests = contests(trial(LITTLE, 1)?.server(), options.contests, options.seed);
    Some(ServerVerdict { server: kind, equal, masters, deaths, faults, contests })
}
