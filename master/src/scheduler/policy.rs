//! Which of the workers with room gets an attempt, and where what is worth finding again belongs.

use gristmill_common::ids::{JobAttempt, SessionId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A way to choose among workers with room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    /// The least loaded one; among equals the one that has most of what the task reads.
    #[default]
    LeastLoaded,
    /// One after the other.
    RoundRobin,
    /// Any, evenly.
    Random,
    /// Any, in proportion to free slots.
    Weighted,
    /// The less loaded one of two taken at random.
    TwoChoices,
}

/// A worker with room, as a policy sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its session.
    pub session: SessionId,
    /// Attempts for each slot, in any unit.
    pub load: u64,
    /// How many more attempts it takes.
    pub room: u64,
}

/// Chooses among candidates that suit equally well otherwise, which come in the order of their load.
/// A policy has no state but `turn`, the number of attempts placed so far, and draws no random
/// numbers: what looks like chance is a hash of the attempt, so that the same events give the same
/// choice.
pub trait Choose {
    /// The chosen one; `None` if there is none.
    fn choose(&self, attempt: JobAttempt, turn: u64, candidates: &[Candidate]) -> Option<SessionId>;
}

impl Choose for Placement {
    fn choose(&self, attempt: JobAttempt, turn: u64, candidates: &[Candidate]) -> Option<SessionId> {
        let count = candidates.len() as u64;
        if count == 0 {
            return None;
        }
        let pick = |draw: u64| candidates[(draw % count) as usize];
        let chosen = match self {
            Placement::LeastLoaded => candidates[0],
            Placement::RoundRobin => in_turn(turn, candidates),
            Placement::Random => pick(draw(attempt, 0)),
            Placement::Weighted => weighted(draw(attempt, 0), candidates),
            Placement::TwoChoices => {
                let two = [pick(draw(attempt, 0)), pick(draw(attempt, 1))];
                if two[1].load < two[0].load { two[1] } else { two[0] }
            }
        };
        Some(chosen.session)
    }
}

/// The candidate whose turn it is, in session order, whatever the load.
fn in_turn(turn: u64, candidates: &[Candidate]) -> Candidate {
    let mut by_session: Vec<Candidate> = candidates.to_vec();
    by_session.sort_by_key(|candidate| candidate.session);
    by_session[(turn % by_session.len() as u64) as usize]
}

fn weighted(draw: u64, candidates: &[Candidate]) -> Candidate {
    let total: u64 = candidates.iter().map(|candidate| candidate.room).sum();
    let mut left = draw % total.max(1);
    for candidate in candidates {
        if left < candidate.room {
            return *candidate;
        }
        left -= candidate.room;
    }
    candidates[0]
}

fn draw(attempt: JobAttempt, nth: u64) -> u64 {
    let task = attempt.attempt.task;
    let words = [attempt.job.0, task.stage as u64, u64::from(task.index), u64::from(attempt.attempt.number)];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    xxh3_64_with_seed(&bytes, nth)
}

/// The node to which a key belongs: the one with the highest hash of both (rendezvous hashing, Thaler
/// and Ravishankar 1998). When a node comes, only the keys that belong to it move; when one goes, only
/// its own.
pub fn rendezvous<N: Copy + Into<u64>>(key: u64, nodes: impl IntoIterator<Item = N>) -> Option<N> {
    nodes.into_iter().max_by_key(|node| affinity(key, (*node).into()))
}

/// How much a key belongs to a node, compared with other nodes.
pub fn affinity(key: u64, node: u64) -> u64 {
    xxh3_64_with_seed(&key.to_le_bytes(), node)
}

#[cfg(test)]
mod tests {
    use gristmill_common::ids::JobId;

    use super::*;

    const WORKERS: u64 = 20;

    fn attempt(index: u64) -> JobAttempt {
        JobAttempt { job: JobId(1), attempt: format!("m-{index}.0").parse().expect("an attempt") }
    }

    /// How often each of four workers is chosen, of which the last one has three times the room.
    fn chosen(policy: Placement) -> [u32; 4] {
        let candidate = |nth: u64| Candidate { session: SessionId(nth), load: nth, room: 1 + 2 * (nth / 3) };
        let candidates: Vec<Candidate> = (0..4).map(candidate).collect();
        let mut times = [0; 4];
        for turn in 0..6000 {
            let session = policy.choose(attempt(turn), turn, &candidates).expect("there are some");
            times[session.0 as usize] += 1;
        }
        times
    }

    #[test]
    fn policies_spread_as_they_say() {
        let near = |times: [u32; 4], expect: [u32; 4]| {
            let close = times.iter().zip(expect).all(|(time, expect)| time.abs_diff(expect) <= 150);
            assert!(close, "{times:?} is not about {expect:?}");
        };
        assert_eq!(chosen(Placement::LeastLoaded), [6000, 0, 0, 0]);
        assert_eq!(chosen(Placement::RoundRobin), [1500; 4]);
        near(chosen(Placement::Random), [1500; 4]);
        near(chosen(Placement::Weighted), [1000, 1000, 1000, 3000]);
        // Of two draws out of four, the least loaded one wins if it is among them.
        near(chosen(Placement::TwoChoices), [2625, 1875, 1125, 375]);
    }

    #[test]
    fn nobody_is_chosen_from_nobody() {
        for policy in [Placement::LeastLoaded, Placement::Random, Placement::TwoChoices] {
            assert_eq!(policy.choose(attempt(0), 0, &[]), None);
        }
    }

    #[test]
    fn a_new_node_takes_its_share_of_the_keys_and_moves_no_other() {
        let keys = 20_000;
        let belongs = |key: u64, nodes: u64| rendezvous(key, 0..nodes).expect("there are nodes");
        let moved: Vec<u64> = (0..keys).filter(|key| belongs(*key, WORKERS) != belongs(*key, WORKERS - 1)).collect();
        assert!(moved.iter().all(|key| belongs(*key, WORKERS) == WORKERS - 1), "a key moved between old nodes");
        let share = moved.len() as f64 / keys as f64;
        assert!(share <= 1.0 / WORKERS as f64 + 0.02, "{share}");
        assert!(share >= 0.5 / WORKERS as f64, "{share}");
    }
}
