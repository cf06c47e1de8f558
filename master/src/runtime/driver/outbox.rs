//! What the driver has decided and may not do or say yet: it waits, in order, until the journal has
//! everything that was recorded before it. With nothing recorded, nothing waits.
//!
//! One batch of records is written at a time. What is recorded meanwhile joins the next one, so that a
//! busy master writes large batches and an idle one writes at once.

use std::collections::VecDeque;

use crate::runtime::journal::Change;

/// Effects that may wait. More only wait longer: beyond it the driver takes no new requests until the
/// journal has caught up.
const MAX_WAITING: usize = 1 << 16;

/// Effects behind the records that they follow from.
#[derive(Debug)]
pub(super) struct Outbox<E> {
    /// The changes of the next batch.
    changes: Vec<Change>,
    /// Effects, each with the number of the batch that must be durable before it.
    waiting: VecDeque<(u64, E)>,
    /// Batches handed to the journal; the next one is the one behind it.
    begun: u64,
    /// Batches that are durable.
    durable: u64,
}

impl<E> Default for Outbox<E> {
    fn default() -> Self {
        Self { changes: Vec::new(), waiting: VecDeque::new(), begun: 0, durable: 0 }
    }
}

impl<E> Outbox<E> {
    /// Records a change, before every effect that is pushed from now on.
    pub(super) fn record(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Puts an effect behind everything that was recorded and pushed before.
    pub(super) fn push(&mut self, effect: E) {
        let batch = if self.changes.is_empty() { self.begun } else { self.begun + 1 };
        self.waiting.push_back((batch, effect));
    }

    /// The next batch for the journal, if there is one and no other is under way.
    pub(super) fn next_batch(&mut self) -> Option<Vec<Change>> {
        if self.changes.is_empty() || self.begun > self.durable {
            return None;
        }
        self.begun += 1;
        Some(std::mem::take(&mut self.changes))
    }

    /// The batch under way is durable.
    pub(super) fn batch_is_durable(&mut self) {
        assert!(self.durable < self.begun, "a batch is under way");
        self.durable += 1;
    }

    /// The next effect, if nothing holds it back.
    pub(super) fn next_effect(&mut self) -> Option<E> {
        let (batch, _) = self.waiting.front()?;
        if *batch > self.durable {
            return None;
        }
        self.waiting.pop_front().map(|(_, effect)| effect)
    }

    /// Whether so much waits that nothing more should be asked for.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING
    }

    /// Whether everything is recorded and done.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.waiting.is_empty() && self.begun == self.durable
    }
}

#[cfg(test)]
mod tests {
    use gristmill_common::ids::JobId;

    use super::*;

    const CHANGE: Change = Change::Forget(JobId(1));

    fn effects(outbox: &mut Outbox<u32>) -> Vec<u32> {
        std::iter::from_fn(|| outbox.next_effect()).collect()
    }

    #[test]
    fn with_nothing_recorded_nothing_waits() {
        let mut outbox = Outbox::default();
        outbox.push(1);
        assert_eq!((outbox.next_batch(), effects(&mut outbox)), (None, vec![1]));
        assert!(outbox.is_empty());
    }

    #[test]
    fn effects_wait_in_order_for_what_was_recorded_before_them_and_for_nothing_else() {
        let mut outbox = Outbox::default();
        outbox.push(1);
        outbox.record(CHANGE);
        outbox.push(2);
        assert_eq!(effects(&mut outbox), [1]);
        assert_eq!(outbox.next_batch(), Some(vec![CHANGE]));
        outbox.push(3);
        assert_eq!(effects(&mut outbox), [0; 0]);
        outbox.record(CHANGE);
        outbox.record(CHANGE);
        outbox.push(4);
        assert_eq!(outbox.next_batch(), None, "one batch at a time");
        outbox.batch_is_durable();
        assert_eq!(effects(&mut outbox), [2, 3]);
        assert_eq!(outbox.next_batch(), Some(vec![CHANGE, CHANGE]), "what came meanwhile is one batch");
        assert!(!outbox.is_empty());
        outbox.batch_is_durable();
        assert_eq!(effects(&mut outbox), [4]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn too_much_that_waits_is_noticed() {
        let mut outbox = Outbox::default();
        outbox.record(CHANGE);
        (0..MAX_WAITING as u32).for_each(|effect| outbox.push(effect));
        assert!(outbox.is_full());
    }
}
