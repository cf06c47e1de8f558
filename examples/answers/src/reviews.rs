//! How often each rating was given, by how many people, and how many reviews there are.

use std::sync::Mutex;

use clap::Args;
use gristmill::prelude::*;
use serde::{Deserialize, Serialize};

use crate::columns::{Fields, Headed};
use crate::totals;

/// Counts ratings, reviewers and reviews
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Reviews {}

impl Program for Reviews {
    fn reducers(&self) -> Option<u32> {
        Some(1)
    }

    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(Ratings::default()))
    }
}

/// A review: who, and which rating.
enum Rows {}

impl Input for Rows {
    type Record<'a> = (u64, u32);

    fn decode<'a>(line: &'a [u8], _from: Provenance<'a>) -> Result<(u64, u32), RecordError> {
        let mut row = Fields::of(line, ',')?;
        Ok((row.parsed("reviewerId")?, row.pass(1).parsed("rating")?))
    }
}

/// What a review is counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Key)]
enum Group {
    Rating(u32),
    Reviewer(u64),
}

/// Counts every review under its rating and under its reviewer; what is asked of reviewers is only how
/// many groups they are.
#[derive(Default)]
struct Ratings(Mutex<Totals>);

#[derive(Default)]
struct Totals {
    rows: u64,
    reviewers: u64,
}

impl MapReduce for Ratings {
    type Input = Headed<Rows>;
    type Key = Group;
    type Value = u64;
    type Combine = Sum;
    type Output = Text<String, u64>;

    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        totals::in_one_task(task)?;
        Ok(Some(Self::default()))
    }

    fn map(&self, review: Option<(u64, u32)>, out: &mut impl Emit<Group, u64>) -> Result<()> {
        let Some((reviewer, rating)) = review else { return Ok(()) };
        out.emit(Group::Rating(rating), 1)?;
        out.emit(Group::Reviewer(reviewer), 1)
    }

    fn reduce(&self, group: Group, reviews: Values<u64>, out: &mut impl Sink<String, u64>) -> Result<()> {
        let mut totals = self.0.lock().expect("no holder panics");
        match group {
            Group::Rating(rating) => {
                let reviews = reviews.sum();
                totals.rows += reviews;
                out.put(rating.to_string(), reviews)
            }
            Group::Reviewer(_) => {
                totals.reviewers += 1;
                Ok(())
            }
        }
    }

    fn finish_reduce(&self, out: &mut impl Sink<String, u64>) -> Result<()> {
        let totals = self.0.lock().expect("no holder panics");
        out.put("distinct_reviewers".to_owned(), totals.reviewers)?;
        out.put("rows".to_owned(), totals.rows)
    }
}
