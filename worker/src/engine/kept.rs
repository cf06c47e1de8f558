//! Memory that the attempts of one job hand on to each other: fresh memory is slower than all that is
//! done with it.

use gristmill_common::job::MapReduce;

use super::fold::{Acc, Tables};
use super::map::Buffers;

/// What a job keeps between its attempts: never more than they had at once.
pub(super) struct Kept<J: MapReduce> {
    pub(super) tables: Tables<Acc<J>>,
    pub(super) buffers: Buffers,
}

impl<J: MapReduce> Kept<J> {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { tables: Tables::new(), buffers: Buffers::new() }
    }

    /// Gives all of it back to the system.
    pub(super) fn clear(&self) {
        self.tables.clear();
        self.buffers.clear();
    }
}
