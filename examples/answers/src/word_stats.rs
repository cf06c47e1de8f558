//! Statistics of all words of a text: how many, their total length and its squares, mean, lower median
//! and standard deviation of their lengths.

use std::collections::BTreeMap;
use std::sync::Mutex;

use clap::Args;
use gristmill::prelude::*;
use serde::{Deserialize, Serialize};

use crate::totals;

/// Statistics of the lengths of words
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct WordStats {}

impl Program for WordStats {
    fn reducers(&self) -> Option<u32> {
        Some(1)
    }

    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(Lengths::default()))
    }
}

/// Counts words by length. The reduce task keeps the few counts and writes the statistics at its end.
#[derive(Default)]
struct Lengths(Mutex<BTreeMap<u32, u64>>);

impl MapReduce for Lengths {
    type Input = Lines;
    type Key = u32;
    type Value = u64;
    type Combine = Sum;
    type Output = Text<str, String>;

    /// Each attempt has counts of its own: an attempt that failed leaves none behind.
    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        totals::in_one_task(task)?;
        Ok(Some(Self::default()))
    }

    fn map(&self, line: &[u8], out: &mut impl Emit<u32, u64>) -> Result<()> {
        words(line).try_for_each(|word| out.emit(u32::try_from(word.len())?, 1))
    }

    fn reduce(&self, length: u32, words: Values<u64>, _out: &mut impl Sink<str, String>) -> Result<()> {
        self.0.lock().expect("no holder panics").insert(length, words.sum());
        Ok(())
    }

    fn finish_reduce(&self, out: &mut impl Sink<str, String>) -> Result<()> {
        let counts = self.0.lock().expect("no holder panics");
        let sum = |of: fn(u64) -> u64| -> u64 { counts.iter().map(|(&length, &n)| of(length.into()) * n).sum() };
        let (count, length, square) = (sum(|_| 1), sum(|length| length), sum(|length| length * length));
        if count == 0 {
            return Ok(());
        }
        let mut before = 0;
        let median = counts.iter().find(|&(_, &words)| {
            before += words;
            before > (count - 1) / 2
        });
        let mean = length as f64 / count as f64;
        out.put("count", count.to_string())?;
        out.put("length", length.to_string())?;
        out.put("square", square.to_string())?;
        out.put("mean", format!("{mean:.9}"))?;
        out.put("lower_median", median.map_or(0, |(&length, _)| length).to_string())?;
        out.put("stddev", format!("{:.9}", (square as f64 / count as f64 - mean.powi(2)).sqrt()))
    }
}
