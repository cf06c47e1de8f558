//! Memory that the attempts of one job hand on to each other: fresh memory is slower than all that is
//! done with it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gristmill_common::job::MapReduce;

use super::fold::{Acc, Tables};
use super::map::SortBuffer;

/// Empty pieces of memory of one kind, for whoever needs one next.
#[derive(Debug)]
pub(super) struct Pool<T>(Mutex<Vec<T>>);

impl<T: Default> Pool<T> {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Gives all of it back to the system.
    pub(super) fn clear(&self) {
        self.pieces().clear();
    }

    /// The piece given last, or a fresh one.
    pub(super) fn take(&self) -> T {
        self.pieces().pop().unwrap_or_default()
    }

    /// Keeps an empty piece.
    pub(super) fn give(&self, piece: T) {
        self.pieces().push(piece);
    }

    /// Pieces are whole whatever interrupted their last user.
    fn pieces(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a job keeps between its attempts: never more than they had at once.
pub(super) struct Kept<J: MapReduce> {
    pub(super) tables: Tables<Acc<J>>,
    pub(super) buffers: Pool<SortBuffer>,
}

impl<J: MapReduce> Kept<J> {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { tables: Tables::new(), buffers: Pool::new() }
    }

    /// Gives all of it back to the system.
    pub(super) fn clear(&self) {
        self.tables.clear();
        self.buffers.clear();
    }
}
