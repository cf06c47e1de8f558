//! Laws about what `map` emits: that it always does, that its encodings stand for it, and that one task
//! owns it.

use std::cmp::Ordering;

use gristmill_common::job::PartOrder;
use gristmill_common::reference::KeyGroups;

use super::super::bench::{Bench, Cut, Trouble, grouped};
use super::super::sample::Sample;
use super::super::subject::{Mapped, Subject};
use super::super::written::listed;
use super::{difference, shown};

/// Numbers of reduce tasks for which the owner of each key is asked.
const PARTITIONS: [u32; 5] = [1, 2, 3, 7, 16];

fn said(error: &dyn std::fmt::Display) -> Trouble {
    Trouble(error.to_string())
}

pub(super) fn values_come_back(bench: &Bench<'_>, sample: &Sample) -> Result<Option<String>, Trouble> {
    let job = bench.job();
    let mapped = bench.map(&*job, sample, Cut::Whole, 0)?;
    if let Some((key, value)) = mapped.lost {
        return Ok(Some(format!(
            "the value emitted under the key {} is encoded as {}, which decodes to another value; are fields skipped?",
            shown(&key),
            shown(&value)
        )));
    }
    for (key, value) in &mapped.pairs {
        let again = job.value_again(value);
        if again.as_ref().is_ok_and(|again| again == value) {
            continue;
        }
        let instead = again.map_or_else(|error| error.to_string(), |again| format!("comes back as {}", shown(&again)));
        return Ok(Some(format!("under the key {} the value {}: {instead}", shown(key), shown(value))));
    }
    Ok(None)
}

pub(super) fn keys_keep_their_order(bench: &Bench<'_>, sample: &Sample) -> Result<Option<String>, Trouble> {
    let job = bench.job();
    let groups = grouped(bench.map(&*job, sample, Cut::Whole, 0)?.pairs);
    for key in groups.keys() {
        let again = job.key_again(key);
        if !again.as_ref().is_ok_and(|again| again == key) {
            let instead =
                again.map_or_else(|error| error.to_string(), |again| format!("comes back as {}", shown(&again)));
            return Ok(Some(format!("the key {}: {instead}", shown(key))));
        }
    }
    let keys: Vec<&Vec<u8>> = groups.keys().collect();
    // Keys that are next to each other are in order if all are, and a few others cost little.
    let pairs = keys.windows(2).map(|pair| (pair[0], pair[1])).chain(keys.first().copied().zip(keys.last().copied()));
    for (a, b) in pairs {
        let (bytes, values) = (a.cmp(b), job.compare(a, b));
        if let Some(values) = values.filter(|values| *values != bytes) {
            return Ok(Some(format!(
                "the key encoded as {} is {} the one encoded as {}, and its bytes are {} the other's",
                shown(a),
                compared(values),
                shown(b),
                compared(bytes)
            )));
        }
    }
    Ok(None)
}

fn compared(ordering: Ordering) -> &'static str {
    match ordering {
        Ordering::Less => "less than",
        Ordering::Equal => "equal to",
        Ordering::Greater => "greater than",
    }
}

pub(super) fn map_repeats(bench: &Bench<'_>, sample: &Sample) -> Result<Option<String>, Trouble> {
    let first = bench.map(&*bench.job(), sample, Cut::Whole, 0)?;
    for attempt in [0, 0, 3] {
        let again = bench.map(&*bench.job(), sample, Cut::Whole, attempt)?;
        let which = if attempt == 0 { "another one".to_owned() } else { format!("attempt {attempt}") };
        if let Some(detail) = unequal("one attempt", &first, &which, &again) {
            return Ok(Some(detail));
        }
    }
    Ok(None)
}

pub(super) fn map_keeps_nothing(bench: &Bench<'_>, sample: &Sample) -> Result<Option<String>, Trouble> {
    let job = bench.job();
    let first = bench.map(&*job, sample, Cut::Whole, 0)?;
    let again = bench.map(&*job, sample, Cut::Whole, 0)?;
    let hint = "; state of an attempt belongs into the job that setup gives";
    Ok(unequal("the first attempt", &first, "the next one of the same job", &again).map(|detail| detail + hint))
}

/// How what map tasks gave differs. The order matters among values of one key alone.
fn unequal(what: &str, one: &Mapped, other_what: &str, other: &Mapped) -> Option<String> {
    if one.written != other.written {
        return Some(difference(what, &listed(&one.written), other_what, &listed(&other.written)));
    }
    let (one, other) = (grouped(one.pairs.clone()), grouped(other.pairs.clone()));
    if one == other {
        return None;
    }
    let values = |groups: &KeyGroups, key: &[u8]| {
        let values = groups.get(key).map(Vec::as_slice).unwrap_or_default();
        let some: Vec<String> = values.iter().take(3).map(|value| shown(value)).collect();
        format!("{} values ({})", values.len(), some.join(", "))
    };
    let key = one.keys().chain(other.keys()).find(|key| one.get(*key) != other.get(*key))?;
    let (a, b) = (values(&one, key), values(&other, key));
    Some(format!("under the key {} {what} emits {a}, {other_what} {b}", shown(key)))
}

pub(super) fn partition_is_a_function(bench: &Bench<'_>, sample: &Sample) -> Result<Option<String>, Trouble> {
    let job = bench.job();
    if job.traits().map_only || job.traits().order == PartOrder::Total {
        return Ok(None);
    }
    let groups = grouped(bench.map(&*job, sample, Cut::Whole, 0)?.pairs);
    for partitions in PARTITIONS {
        let (one, other) = (owners(&*job, &groups, partitions)?, owners(&*bench.job(), &groups, partitions)?);
        let again = owners(&*job, &groups, partitions)?;
        let mut last: Option<(&[u8], &[u8], u32)> = None;
        for (index, key) in groups.keys().enumerate() {
            let (owner, others) = (one[index], [again[index], other[index]]);
            let name = shown(key);
            if owner >= partitions {
                return Ok(Some(format!("of {partitions} tasks, number {owner} is to own the key {name}")));
            }
            if let Some(second) = others.into_iter().find(|other| *other != owner) {
                return Ok(Some(format!(
                    "of {partitions} tasks, number {owner} is to own the key {name}, and when asked again {second}"
                )));
            }
            let group = job.grouped(key).map_err(|error| said(&error))?;
            if let Some((group_before, before, owner_before)) = last
                && group_before == group
                && owner_before != owner
            {
                return Ok(Some(format!(
                    "of {partitions} tasks, number {owner_before} is to own the key {}, and {owner} the key {name} of \
                     the same group",
                    shown(before)
                )));
            }
            last = Some((group, key.as_slice(), owner));
        }
    }
    Ok(None)
}

fn owners(job: &dyn Subject, groups: &KeyGroups, partitions: u32) -> Result<Vec<u32>, Trouble> {
    groups.keys().map(|key| job.partition(key, partitions).map_err(|error| said(&error))).collect()
}
