//! Laws about the combiner: it may run on any grouping of the values of a key, in any order, as often as
//! the engine likes, and nobody is to see whether it did.

use gristmill_common::reference::KeyGroups;

use super::super::bench::{Bench, Cut, Trouble, grouped};
use super::super::sample::Sample;
use super::super::subject::{Fold, Subject};
use super::{difference, shown};

/// Values of a key that are folded in several ways; more tell hardly more.
const MOST_VALUES: usize = 64;

/// A job and what it emits.
type Combining = (Box<dyn Subject>, KeyGroups);

/// The job and what it emits, if it combines and says that any grouping gives the same bits.
fn combining(bench: &Bench<'_>, sample: &Sample) -> Result<Option<Combining>, Trouble> {
    let job = bench.job();
    let traits = job.traits();
    if !traits.combines || !traits.exact {
        return Ok(None);
    }
    let groups = grouped(bench.map(&*job, sample, Cut::Whole, 0)?.pairs);
    Ok(Some((job, groups)))
}

fn folded(job: &dyn Subject, values: &[&[u8]], fold: Fold) -> Result<Vec<u8>, Trouble> {
    job.fold(values, fold).map_err(|error| Trouble(error.to_string()))
}

/// Whether a key's values may be folded to either: the same, or what `reduce` makes the same of.
fn equal(bench: &Bench<'_>, job: &dyn Subject, key: &[u8], one: &[u8], other: &[u8]) -> Result<bool, Trouble> {
    let of = |state: &[u8]| bench.reduce(job, &KeyGroups::from([(key.to_vec(), vec![state.to_vec()])]));
    Ok(one == other || of(one)? == of(other)?)
}

/// Values of a key as they are handed to the combiner.
fn some(values: &[Vec<u8>]) -> Vec<&[u8]> {
    values.iter().take(MOST_VALUES).map(Vec::as_slice).collect()
}

/// Says which values of which key give what.
fn differ(key: &[u8], values: &[&[u8]], one: (&str, &[u8]), other: (&str, &[u8])) -> String {
    let list: Vec<String> = values.iter().take(6).map(|value| shown(value)).collect();
    let more = if values.len() > list.len() { ", …" } else { "" };
    let ((how, one), (other_how, other)) = (one, other);
    format!(
        "the {} values {}{more} of the key {} fold to {} {how}, and to {} {other_how}",
        values.len(),
        list.join(", "),
        shown(key),
        shown(one),
        shown(other)
    )
}

pub(super) fn combine_commutes(bench: &Bench<'_>, sample: &Sample) -> Result<Option<String>, Trouble> {
    let Some((job, groups)) = combining(bench, sample)? else { return Ok(None) };
    for (key, values) in &groups {
        let values = some(values);
        let in_turn = folded(&*job, &values, Fold::InTurn)?;
        for turned in orders(&values) {
            let other = folded(&*job, &turned, Fold::InTurn)?;
            if !equal(bench, &*job, key, &in_turn, &other)? {
                return Ok(Some(differ(key, &values, ("in turn", &in_turn), ("in another order", &other))));
            }
        }
    }
    Ok(None)
}

/// The values backwards, and halves exchanged.
pub(super) fn orders<T: Copy>(values: &[T]) -> [Vec<T>; 3] {
    let backwards: Vec<T> = values.iter().rev().copied().collect();
    let (a, b) = values.split_at(values.len() / 2);
    // Every second one first.
    let combed = values.iter().step_by(2).chain(values.iter().skip(1).step_by(2)).copied().collect();
    [backwards, [b, a].concat(), combed]
}

pub(super) fn combine_associates(bench: &Bench<'_>, sample: &Sample) -> Result<Option<String>, Trouble> {
    let Some((job, groups)) = combining(bench, sample)? else { return Ok(None) };
    for (key, values) in &groups {
        let values = some(values);
        let in_turn = folded(&*job, &values, Fold::InTurn)?;
        for (fold, how) in [(Fold::Again, "if each is folded alone before"), (Fold::Merged, "if two halves are merged")]
        {
            let other = folded(&*job, &values, fold)?;
            if !equal(bench, &*job, key, &in_turn, &other)? {
                return Ok(Some(differ(key, &values, ("in turn", &in_turn), (how, &other))));
            }
        }
        for at in [1, values.len() / 2, values.len() - 1].into_iter().filter(|at| (1..values.len()).contains(at)) {
            let (before, behind) = values.split_at(at);
            let tail = folded(&*job, behind, Fold::InTurn)?;
            let regrouped = [before, &[tail.as_slice()]].concat();
            let other = folded(&*job, &regrouped, Fold::InTurn)?;
            if !equal(bench, &*job, key, &in_turn, &other)? {
                let how = format!("if the last {} are folded before", behind.len());
                return Ok(Some(differ(key, &values, ("in turn", &in_turn), (&how, &other))));
            }
        }
    }
    Ok(None)
}

pub(super) fn combine_changes_nothing(bench: &Bench<'_>, sample: &Sample) -> Result<Option<String>, Trouble> {
    let Some((job, groups)) = combining(bench, sample)? else { return Ok(None) };
    let without = bench.reduce(&*job, &groups)?;
    let chunks = |size: usize| -> Result<KeyGroups, Trouble> {
        let combined = groups.iter().map(|(key, values)| {
            let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            let fewer = values.chunks(size).map(|some| folded(&*job, some, Fold::InTurn));
            Ok((key.clone(), fewer.collect::<Result<_, Trouble>>()?))
        });
        combined.collect()
    };
    for size in [1, 2, usize::MAX] {
        let with = bench.reduce(&*job, &chunks(size)?)?;
        if with != without {
            return Ok(Some(difference("without the combiner reduce", &without, "with it", &with)));
        }
    }
    Ok(None)
}
