//! The simulated job: a word count over words that follow from job and map task. Small enough that
//! a wrong, missing or doubled map output always changes a part.

use std::collections::BTreeMap;

use gristmill_common::ids::JobId;

use crate::random::Random;

/// A word and how often it occurs.
pub(super) type Count = (u8, u64);

/// What one map task emits: one segment for each reduce task. Attempts of a job that is not
/// deterministic emit different records, told apart by `variant`.
pub(super) fn segments(job: JobId, map: u32, reduces: u32, variant: u64) -> Vec<Vec<Count>> {
    let mut random = Random::new(job.0 << 32 | u64::from(map) | variant << 48);
    let mut segments = vec![Vec::new(); reduces as usize];
    for word in 0..12_u8 {
        // The high bits keep maps apart, so that no two of them can stand in for each other.
        let count = random.within(1, 1 << 40);
        if let Some(segment) = segments.get_mut(usize::from(word) % (reduces as usize).max(1)) {
            segment.push((word, count));
        }
    }
    segments
}

/// The part that a map task of a map-only job writes.
pub(super) fn map_part(job: JobId, map: u32) -> String {
    reduce(&segments(job, map, 1, 0))
}

/// The part that a reduce task makes of its segments.
pub(super) fn reduce<'a>(segments: impl IntoIterator<Item = &'a Vec<Count>>) -> String {
    let mut sums = BTreeMap::new();
    for (word, count) in segments.into_iter().flatten() {
        *sums.entry(*word).or_insert(0_u64) += count;
    }
    sums.iter().map(|(word, sum)| format!("{word}\t{sum}\n")).collect()
}

/// The part that a reduce task must make.
pub(super) fn expected_part(job: JobId, maps: u32, reduces: u32, partition: u32) -> String {
    let all: Vec<_> = (0..maps).map(|map| segments(job, map, reduces, 0).swap_remove(partition as usize)).collect();
    reduce(&all)
}

/// What tells the records of a map output from others.
pub(super) fn content_hash(segments: &[Vec<Count>]) -> u64 {
    let words = segments.iter().flatten().map(|(word, count)| Random::new(count ^ u64::from(*word)).next_u64());
    words.fold(1, |hash: u64, word| hash.rotate_left(7) ^ word)
}
