//! Laws about the output as a whole: however the input is cut, however the engine runs the job, and
//! whenever.

use std::thread;
use std::time::Duration;

use gristmill_common::time::Clock;

use super::super::bench::{Bench, Cut, Trouble};
use super::super::engine;
use super::super::sample::Sample;
use super::difference;

/// How often the clock is looked at while a second passes.
const LOOK: Duration = Duration::from_millis(20);

/// The most records that get a map task each.
const MOST_TASKS: usize = 2000;

pub(super) fn splits_do_not_show(bench: &Bench<'_>, sample: &Sample) -> Result<Option<String>, Trouble> {
    let job = bench.job();
    if !job.traits().exact {
        return Ok(None);
    }
    let whole = bench.run(&*job, sample, Cut::Whole)?;
    let few = bench.records(&*job, sample).len() <= MOST_TASKS;
    let cuts = [(Cut::Blocks, "blocks of one record"), (Cut::Halves, "two splits"), (Cut::Records, "a split for each")];
    for (cut, what) in cuts.into_iter().filter(|(cut, _)| few || *cut != Cut::Records) {
        let other = bench.run(&*bench.job(), sample, cut)?;
        if other != whole {
            return Ok(Some(difference("one split", &whole, what, &other)));
        }
    }
    Ok(None)
}

pub(super) fn engine_agrees(bench: &Bench<'_>, sample: &Sample) -> Result<Option<String>, Trouble> {
    engine::disagreement(bench, sample)
        .map(|found| found.map(|(how, expect, seen)| difference("the sequential reference", &expect, &how, &seen)))
}

/// Runs the job again once the wall clock shows another second.
pub(super) fn time_does_not_show(bench: &Bench<'_>, sample: &Sample) -> Result<Option<String>, Trouble> {
    let second = || Clock::start().wall().unix_millis / 1000;
    let now = second();
    let before = bench.run(&*bench.job(), sample, Cut::Whole)?;
    while second() == now {
        thread::park_timeout(LOOK);
    }
    let after = bench.run(&*bench.job(), sample, Cut::Whole)?;
    Ok((before != after).then(|| difference("one run", &before, "one a second later", &after)))
}
