//! Job counters: exact sums that are part of the result. An attempt counts in its own [`Counters`];
//! only those of committed attempts are ever added up.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Named sums, in name order. Names of the engine's own counters begin with `gristmill.`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counters(BTreeMap<Cow<'static, str>, u64>);

impl Counters {
    /// Adds `by` to the counter `name`; saturates at the largest number.
    pub fn add(&mut self, name: impl Into<Cow<'static, str>>, by: u64) {
        let sum = self.0.entry(name.into()).or_default();
        *sum = sum.saturating_add(by);
    }

    /// Adds every counter of `other`.
    pub fn merge(&mut self, other: &Counters) {
        for (name, by) in &other.0 {
            self.add(name.clone(), *by);
        }
    }

    /// The value of `name`; 0 if it was never counted.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// All counters in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<Cow<'static, str>>> FromIterator<(N, u64)> for Counters {
    fn from_iter<I: IntoIterator<Item = (N, u64)>>(pairs: I) -> Self {
        let mut counters = Counters::default();
        for (name, value) in pairs {
            counters.add(name, value);
        }
        counters
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
