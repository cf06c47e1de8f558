//! Laws about `reduce`: it gives the same whenever it is run, and in any order of the values if that is
//! claimed.

use gristmill_common::reference::KeyGroups;

use super::super::bench::{Bench, Cut, Trouble, grouped};
use super::super::sample::Sample;
use super::difference;
use super::folds::orders;

/// What the job emits, if it has a reduce.
fn groups(bench: &Bench<'_>, sample: &Sample) -> Result<Option<KeyGroups>, Trouble> {
    let job = bench.job();
    if job.traits().map_only {
        return Ok(None);
    }
    Ok(Some(grouped(bench.map(&*job, sample, Cut::Whole, 0)?.pairs)))
}

pub(super) fn reduce_repeats(bench: &Bench<'_>, sample: &Sample) -> Result<Option<String>, Trouble> {
    let Some(groups) = groups(bench, sample)? else { return Ok(None) };
    let first = bench.reduce(&*bench.job(), &groups)?;
    for _ in 0..3 {
        let again = bench.reduce(&*bench.job(), &groups)?;
        if again != first {
            return Ok(Some(difference("one attempt", &first, "another one", &again)));
        }
    }
    Ok(None)
}

pub(super) fn reduce_keeps_nothing(bench: &Bench<'_>, sample: &Sample) -> Result<Option<String>, Trouble> {
    let Some(groups) = groups(bench, sample)? else { return Ok(None) };
    let job = bench.job();
    let (first, again) = (bench.reduce(&*job, &groups)?, bench.reduce(&*job, &groups)?);
    let hint = "; state of an attempt belongs into the job that setup gives";
    let detail = || difference("the first attempt", &first, "the next one of the same job", &again) + hint;
    Ok((first != again).then(detail))
}

pub(super) fn reduce_takes_any_order(bench: &Bench<'_>, sample: &Sample) -> Result<Option<String>, Trouble> {
    let Some(groups) = groups(bench, sample)?.filter(|_| bench.any_order) else { return Ok(None) };
    let in_turn = bench.reduce(&*bench.job(), &groups)?;
    for way in 0..3 {
        let turned = |(key, values): (&Vec<u8>, &Vec<Vec<u8>>)| {
            let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            (key.clone(), orders(&values)[way].iter().map(|value| value.to_vec()).collect())
        };
        let other = bench.reduce(&*bench.job(), &groups.iter().map(turned).collect())?;
        if other != in_turn {
            return Ok(Some(difference("the canonical order", &in_turn, "another one", &other)));
        }
    }
    Ok(None)
}
