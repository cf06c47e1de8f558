//! Claims on one output that several want at the same time: one has it, and all know who.
//!
//! The servers that tests start look whether an object is there and then write it, so that two writers at
//! once may both hear that theirs is the one. That is counted, and is no fault of ours. Behind a proxy that
//! hands such writes over one by one they keep what a store promises.

use std::sync::Barrier;
use std::thread;

use futures::future::join_all;
use gristmill_common::ids::JobId;
use gristmill_common::spec::{JobShape, JobSpec, StoreOptions};
use gristmill_common::storage::{OutputStore, Stores};
use gristmill_master::runtime::output::{OutputClaim, OutputError};
use serde::Serialize;

use super::faults::RATES;
use crate::stores::{FaultProxy, StoreServer};

/// Who want one output.
const CONTESTANTS: u64 = 4;

/// What came of them.
#[derive(Debug, Default, Serialize)]
pub struct Contests {
    /// How often several wanted one thing.
    pub rounds: u64,
    /// Rounds in which the server told several that they created the object.
    pub server_told_several: u64,
    /// Rounds in which several believed to hold the claim, though nothing kept the server's writes apart.
    pub several_held_unkept: u64,
    /// Rounds in which nobody or several held the claim, with writes on condition kept apart.
    pub not_one_holder: u64,
    /// Faults that the store had meanwhile.
    pub faults: u64,
    /// What else was wrong.
    pub wrong: Vec<String>,
}

impl Contests {
    /// Whether each had one winner.
    pub fn is_clean(&self) -> bool {
        self.rounds > 0 && self.not_one_holder == 0 && self.wrong.is_empty()
    }
}

/// Lets several want one object, then one output, so often.
///
/// # Panics
///
/// If the server does not answer.
pub fn contests(server: &StoreServer, rounds: u64, seed: u64) -> Contests {
    let mut seen = Contests { rounds, ..Contests::default() };
    let place = place(server, "creates");
    for round in 0..rounds {
        seen.server_told_several += u64::from(create_at_once(&place, &format!("object-{round}")) > 1);
    }
    server.remove("creates");
    // Each has a place of its own: s3s-fs keeps the folder, and is slow to tell that it is no object.
    let stores = server.stores_at(&server.url());
    for round in 0..rounds {
        let holders = claim_at_once(&spec(server, &server.url(), round), &stores, round, &mut seen.wrong);
        seen.several_held_unkept += u64::from(holders > 1);
    }
    // Those that lost without knowing it find nothing of theirs to give back.
    let proxy = FaultProxy::keeping_conditions(&server.url());
    proxy.at_rates(seed, RATES);
    for round in 0..rounds {
        let spec = spec(server, &proxy.url(), rounds + round);
        let holders = claim_at_once(&spec, &stores, rounds + round, &mut seen.wrong);
        seen.not_one_holder += u64::from(holders != 1);
    }
    seen.faults = proxy.counters().all_faults();
    let left = server.keys("claims");
    if !left.is_empty() {
        seen.wrong.push(format!("left: {left:?}"));
    }
    seen
}

fn place(server: &StoreServer, folder: &str) -> OutputStore {
    let uri = server.uri(folder).parse().expect("a location");
    let at = server.stores_at(&server.url()).at(&uri).expect("there are credentials");
    OutputStore::new(at, uri).expect("every server takes uploads")
}

/// Has an object created several times at once; how many are told that they did.
fn create_at_once(place: &OutputStore, name: &str) -> usize {
    let (store, name) = (place.clone(), name.to_owned());
    place.wait(async move {
        let creates = (0..CONTESTANTS).map(|who| store.create(&name, who.to_string().into()));
        join_all(creates).await.into_iter().filter(Result::is_ok).count()
    })
}

/// The request of a job whose output is reached at `endpoint`.
fn spec(server: &StoreServer, endpoint: &str, round: u64) -> JobSpec {
    let output = server.uri(&format!("claims/{round}")).parse().expect("a location");
    let store = StoreOptions { endpoint: Some(endpoint.to_owned()), ..StoreOptions::default() };
    JobSpec { store, ..JobSpec::new("contest", JobShape::MapReduce, vec![], output) }
}

/// Has an output claimed by several at once; how many hold it. All give it back.
fn claim_at_once(spec: &JobSpec, stores: &Stores, round: u64, wrong: &mut Vec<String>) -> usize {
    let barrier = Barrier::new(usize::try_from(CONTESTANTS).expect("a small constant"));
    let claims: Vec<Result<OutputClaim, OutputError>> = thread::scope(|scope| {
        let tries = (0..CONTESTANTS).map(|who| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                OutputClaim::acquire(spec, JobId(1 + round * CONTESTANTS + who), stores)
            })
        });
        let tries: Vec<_> = tries.collect();
        tries.into_iter().map(|tried| tried.join().expect("a claim does not panic")).collect()
    });
    let mut holders = 0;
    for claim in claims {
        match claim {
            Ok(claim) => {
                holders += 1;
                wrong.extend(claim.undo().err().map(|error| format!("round {round}: {error}")));
            }
            Err(OutputError::Held { .. }) => {}
            Err(error) => wrong.push(format!("round {round}: {error}: {:?}", std::error::Error::source(&error))),
        }
    }
    holders
}
