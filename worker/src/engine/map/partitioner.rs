//! Which partition a map attempt's pair belongs to: the job's function, or the ranges of its spec.

use gristmill_common::failure::Failure;
use gristmill_common::job::{Grouping, MapReduce, PartOrder, grouped_key};
use gristmill_common::partition::{EncodedKey, Partitioning, RangePartitioner};

use crate::engine::fold::Placement;
use crate::engine::{AttemptContext, failures};

/// Divides the keys of one attempt.
pub(super) struct Partitioner<'a, J> {
    job: &'a J,
    partitions: u32,
    ranges: Option<RangePartitioner<'a>>,
}

impl<'a, J: MapReduce> Partitioner<'a, J> {
    /// The partitioner that job and spec agree on.
    ///
    /// # Errors
    ///
    /// If the spec divides the keys in another way than the job asks for, or into another number of
    /// partitions.
    pub(super) fn new(job: &'a J, partitions: u32, context: &AttemptContext<'a>) -> Result<Self, Failure> {
        let ranges = match (J::ORDER, &context.spec.partitioning) {
            (PartOrder::ByHash, Partitioning::Hash { .. }) => None,
            (PartOrder::Total, Partitioning::Range { splitters })
                if splitters.len() as u64 + 1 == u64::from(partitions) =>
            {
                Some(RangePartitioner::new(splitters))
            }
            // One part is in order however it is chosen.
            (PartOrder::Total, _) if partitions == 1 => Some(RangePartitioner::new(&[])),
            (order, _) => return Err(failures::misdirected(order, partitions)),
        };
        Ok(Self { job, partitions, ranges })
    }
}

impl<J: MapReduce> Placement for Partitioner<'_, J> {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    #[inline]
    fn of(&self, key: &[u8]) -> u32 {
        let key = match J::GROUPING {
            Grouping::Key => EncodedKey::new(key),
            Grouping::Leading(_) => grouped_key::<J>(key).expect("an encoded key has its members"),
        };
        let partition = match &self.ranges {
            Some(ranges) => ranges.partition(key.grouped()),
            None => self.job.partition(key, self.partitions),
        };
        assert!(partition < self.partitions, "the job's partitioner gave {partition} of {}", self.partitions);
        partition
    }
}
