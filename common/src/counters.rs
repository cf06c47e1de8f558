//! Job counters: exact sums that are part of the result. An attempt counts in its own [`Counters`];
//! only those of committed attempts are ever added up.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The engine's count of records that were skipped because the job allows some to be bad.
pub const BAD_RECORDS: &str = "gristmill.bad_records";

/// The engine's count of input objects, or pieces of them, that were left out because they are damaged.
pub const BAD_FILES: &str = "gristmill.bad_files";

/// The engine's count of parts beside the first one of each task: of named outputs, and further ones. None if there are
/// none.
pub const NAMED_PARTS: &str = "gristmill.named_parts";

/// The engine's count of first parts that jobs without a main output leave out, if there are any.
pub const LEFT_OUT_PARTS: &str = "gristmill.left_out_parts";

/// Named sums, in name order. Names of the engine's own counters begin with `gristmill.`.
///
/// A master keeps those of every task, so they take little memory: few names, one allocation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Cow<'static, str>, u64>", into = "BTreeMap<Cow<'static, str>, u64>")]
pub struct Counters(Vec<(Cow<'static, str>, u64)>);

impl Counters {
    /// Adds `by` to the counter `name`; saturates at the largest number.
    pub fn add(&mut self, name: impl Into<Cow<'static, str>>, by: u64) {
        let name = name.into();
        match self.place(&name) {
            Ok(place) => self.0[place].1 = self.0[place].1.saturating_add(by),
            Err(place) => self.0.insert(place, (name, by)),
        }
    }

    /// Adds `by` to the counter `name`, whose name may not live long; saturates at the largest number.
    pub fn count(&mut self, name: &str, by: u64) {
        match self.place(name) {
            Ok(place) => self.0[place].1 = self.0[place].1.saturating_add(by),
            Err(place) => self.0.insert(place, (Cow::Owned(name.to_owned()), by)),
        }
    }

    /// Adds every counter of `other`.
    pub fn merge(&mut self, other: &Counters) {
        for (name, by) in &other.0 {
            match self.place(name) {
                Ok(place) => self.0[place].1 = self.0[place].1.saturating_add(*by),
                Err(place) => self.0.insert(place, (name.clone(), *by)),
            }
        }
    }

    /// The value of `name`; 0 if it was never counted.
    pub fn get(&self, name: &str) -> u64 {
        self.place(name).map_or(0, |place| self.0[place].1)
    }

    /// All counters in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the counter is, or would be.
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.as_ref().cmp(name))
    }
}

impl<N: Into<Cow<'static, str>>> FromIterator<(N, u64)> for Counters {
    fn from_iter<I: IntoIterator<Item = (N, u64)>>(pairs: I) -> Self {
        let mut counters = Counters::default();
        for (name, value) in pairs {
            counters.add(name, value);
        }
        counters.0.shrink_to_fit();
        counters
    }
}

impl From<BTreeMap<Cow<'static, str>, u64>> for Counters {
    fn from(counters: BTreeMap<Cow<'static, str>, u64>) -> Self {
        Self(counters.into_iter().collect())
    }
}

impl From<Counters> for BTreeMap<Cow<'static, str>, u64> {
    fn from(counters: Counters) -> Self {
        counters.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_saturate() {
        let mut sum: Counters = [("b", 1), ("a", 2)].into_iter().collect();
        sum.merge(&[("b", u64::MAX), ("c", 3)].into_iter().collect());
        assert_eq!(sum.iter().collect::<Vec<_>>(), [("a", 2), ("b", u64::MAX), ("c", 3)]);
        assert_eq!((sum.get("c"), sum.get("d")), (3, 0));
    }
}
