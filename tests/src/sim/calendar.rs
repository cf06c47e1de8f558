//! What happens next: things in the order of their time, and of their entry at equal times.

use std::collections::BTreeMap;

use gristmill_common::time::Timestamp;

/// Things to come.
#[derive(Debug)]
pub(super) struct Calendar<T> {
    entries: BTreeMap<(Timestamp, u64), T>,
    entered: u64,
}

impl<T> Calendar<T> {
    /// Nothing to come.
    pub(super) fn new() -> Self {
        Self { entries: BTreeMap::new(), entered: 0 }
    }

    /// Enters a thing.
    pub(super) fn enter(&mut self, at: Timestamp, thing: T) {
        self.entered += 1;
        self.entries.insert((at, self.entered), thing);
    }

    /// When the next thing happens.
    pub(super) fn next_time(&self) -> Option<Timestamp> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out the next thing.
    pub(super) fn pop(&mut self) -> Option<(Timestamp, T)> {
        self.entries.pop_first().map(|((at, _), thing)| (at, thing))
    }
}
