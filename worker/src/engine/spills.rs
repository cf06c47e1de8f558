//! The spills of an attempt, oldest first. Many small ones are merged into fewer long ones as they
//! come, so that their number and their indexes stay bounded however long the split is.

use gristmill_common::failure::Failure;
use gristmill_common::job::MapReduce;
use gristmill_common::task::AttemptStats;

use super::AttemptContext;
use super::merge::fan_in;
use super::runs::{CURSOR_BYTES, Run, SpillFile, merge_to_run};
use super::shuffle::SegmentWriter;

/// Runs of one level that are merged into one of the next. Larger merges less often, smaller holds
/// fewer indexes in memory.
const RUNS_PER_LEVEL: usize = 64;

/// The part of an attempt's memory in which runs of one level are merged: what the buffer or table that is
/// being filled meanwhile leaves.
const MERGE_SHARE: u64 = 4;

/// Spills by level: those of level 0 come from memory, and [`RUNS_PER_LEVEL`] consecutive ones of level `n`
/// become one of level `n + 1`, or a few where memory is too small to merge all of them at once.
#[derive(Debug, Default)]
pub(super) struct Spills {
    levels: Vec<Level>,
    stats: AttemptStats,
}

#[derive(Debug, Default)]
struct Level {
    runs: Vec<Run>,
    file: Option<SpillFile>,
}

impl Spills {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Makes the runs that were to be a map output the first spills.
    pub(super) fn from_output(output: SegmentWriter, context: &AttemptContext<'_>) -> Result<Self, Failure> {
        let (file, runs) = SpillFile::take_over(output, context)?;
        let (spills, spilled_bytes) = (runs.len() as u64, runs.iter().map(Run::bytes).sum());
        let stats = AttemptStats { spills, spilled_bytes, ..AttemptStats::default() };
        Ok(Self { levels: vec![Level { runs, file: Some(file) }], stats })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Adds the run that `write` fills.
    pub(super) fn add<J: MapReduce>(
        &mut self,
        partitions: u32,
        context: &AttemptContext<'_>,
        write: impl FnOnce(&mut SegmentWriter) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let level = self.level(0);
        let (run, bytes) = level.file(context)?.append(partitions, context, write)?;
        level.runs.push(run);
        self.stats.spills += 1;
        self.stats.spilled_bytes += bytes;
        let mut at = 0;
        while self.levels[at].runs.len() >= RUNS_PER_LEVEL {
            let mut full = std::mem::take(&mut self.levels[at]).runs;
            let mut stats = self.stats;
            let next = self.level(at + 1);
            let budget = context.spec.attempt_bytes.bytes() / MERGE_SHARE;
            while !full.is_empty() {
                let fit = fan_in(full.iter().map(Run::largest), CURSOR_BYTES, budget).min(full.len());
                let rest = full.split_off(fit);
                if full.len() > 1 {
                    full = vec![merge_to_run::<J>(&full, next.file(context)?, context, &mut stats)?];
                }
                next.runs.append(&mut full);
                full = rest;
            }
            self.stats = stats;
            at += 1;
        }
        Ok(())
    }

    fn level(&mut self, at: usize) -> &mut Level {
        if self.levels.len() <= at {
            self.levels.resize_with(at + 1, Level::default);
        }
        &mut self.levels[at]
    }

    /// All runs, oldest first; adds what spilling cost to `stats`.
    pub(super) fn into_runs(self, stats: &mut AttemptStats) -> Vec<Run> {
        stats.merge(&self.stats);
        self.levels.into_iter().rev().flat_map(|level| level.runs).collect()
    }
}

impl Level {
    fn file(&mut self, context: &AttemptContext<'_>) -> Result<&mut SpillFile, Failure> {
        let file = match self.file.take() {
            Some(file) => file,
            None => SpillFile::create(context)?,
        };
        Ok(self.file.insert(file))
    }
}
