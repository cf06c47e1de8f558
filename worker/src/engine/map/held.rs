//! What one record gives, held back until it is known to be good: pairs of a job with a reduce, output
//! records of one without.

use std::marker::PhantomData;

use gristmill_common::counters::Counters;
use gristmill_common::datum::{Datum, Value};
use gristmill_common::failure::Failure;
use gristmill_common::job::{Emit, JobError, MapReduce, Result as JobResult, Sink};
use gristmill_common::key::Key;
use gristmill_common::output::Output;
use gristmill_common::output_name::OutputName;
use gristmill_common::size::ByteSize;

use super::emitter::Emitter;
use crate::engine::output::{PartWriter, write_record};
use crate::engine::shuffle::RecordRef;
use crate::engine::{AttemptContext, failures};

/// Takes what `map` gives for one record, for good only once told so.
pub(super) trait HoldBack {
    /// Lets go of what is held.
    fn drop_held(&mut self);

    /// Takes in what is held.
    ///
    /// # Errors
    ///
    /// If the engine cannot take it.
    fn take_held(&mut self) -> Result<(), Failure>;

    /// Finishes a block of records; `read_buffer` bytes held it.
    ///
    /// # Errors
    ///
    /// If the engine cannot take what the block gave.
    fn end_block(&mut self, read_buffer: usize) -> Result<(), Failure>;

    /// The engine's own failure, if one interrupted user code.
    fn take_failure(&mut self) -> Option<Failure>;
}

/// Bytes of one record's results, and what user code counted with them.
#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    counters: Counters,
    most: ByteSize,
    failure: Option<Failure>,
}

impl Held {
    fn new(context: &AttemptContext<'_>) -> Self {
        let most = context.spec.max_record_bytes();
        Self { bytes: Vec::new(), counters: Counters::default(), most, failure: None }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.counters = Counters::default();
    }

    /// Interrupts user code if it gave more than is held back; `aside` bytes of it lie elsewhere.
    #[inline]
    fn check(&mut self, aside: usize) -> JobResult<()> {
        let bytes = self.bytes.len() + aside;
        if bytes <= self.most.as_usize() {
            return Ok(());
        }
        let what = "what one record gives, which is held back since bad records are allowed,";
        self.interrupt(failures::record_too_large(what, bytes, self.most))
    }

    #[cold]
    fn interrupt(&mut self, failure: Failure) -> JobResult<()> {
        self.failure.get_or_insert(failure);
        Err(JobError::interrupted())
    }
}

/// The pairs that `map` emits for one record.
pub(super) struct HeldPairs<'e, 'a, J: MapReduce> {
    emitter: &'e mut Emitter<'a, J>,
    held: Held,
    /// Where the key and the value of each pair end.
    ends: Vec<(usize, usize)>,
}

impl<'e, 'a, J: MapReduce> HeldPairs<'e, 'a, J> {
    pub(super) fn new(emitter: &'e mut Emitter<'a, J>, context: &AttemptContext<'_>) -> Self {
        Self { emitter, held: Held::new(context), ends: Vec::new() }
    }
}

impl<J: MapReduce> Emit<J::Key, J::Value> for HeldPairs<'_, '_, J> {
    fn emit(&mut self, key: <J::Key as Datum>::Ref<'_>, value: <J::Value as Datum>::Ref<'_>) -> JobResult<()> {
        let bytes = &mut self.held.bytes;
        <J::Key as Key>::encode(&key, bytes);
        let key_end = bytes.len();
        if let Err(error) = <J::Value as Value>::encode(&value, bytes) {
            return self.held.interrupt(failures::undecodable(error.to_string()));
        }
        self.ends.push((key_end, bytes.len()));
        self.held.check(0)
    }

    fn count(&mut self, name: &str, by: u64) {
        self.held.counters.count(name, by);
    }
}

impl<J: MapReduce> HoldBack for HeldPairs<'_, '_, J> {
    fn drop_held(&mut self) {
        self.held.clear();
        self.ends.clear();
    }

    fn take_held(&mut self) -> Result<(), Failure> {
        let mut start = 0;
        let bytes = &self.held.bytes;
        let pairs = self.ends.iter().map(|&(key_end, end)| {
            let pair = RecordRef { key: &bytes[start..key_end], value: &bytes[key_end..end] };
            start = end;
            pair
        });
        self.emitter.take_in(pairs, &self.held.counters)?;
        self.drop_held();
        Ok(())
    }

    fn end_block(&mut self, read_buffer: usize) -> Result<(), Failure> {
        let ends = self.ends.capacity() * size_of::<(usize, usize)>();
        self.emitter.end_block(read_buffer + self.held.bytes.capacity() + ends)
    }

    fn take_failure(&mut self) -> Option<Failure> {
        self.held.failure.take()
    }
}

/// The output records that a map-only `map` puts for one record.
pub(super) struct HeldRecords<'p, O> {
    part: &'p mut PartWriter,
    counters: &'p mut Counters,
    held: Held,
    records: u64,
    /// What goes to named outputs, one record after the other.
    aside: Vec<u8>,
    /// Where each of those goes, and where it ends.
    named: Vec<(OutputName, usize)>,
    output: PhantomData<O>,
}

impl<'p, O: Output> HeldRecords<'p, O> {
    pub(super) fn new(part: &'p mut PartWriter, counters: &'p mut Counters, context: &AttemptContext<'_>) -> Self {
        let (held, aside, named) = (Held::new(context), Vec::new(), Vec::new());
        Self { part, counters, held, records: 0, aside, named, output: PhantomData }
    }
}

impl<O: Output> Sink<O::Key, O::Value> for HeldRecords<'_, O> {
    fn put(&mut self, key: <O::Key as Datum>::Ref<'_>, value: <O::Value as Datum>::Ref<'_>) -> JobResult<()> {
        if let Err(failure) = write_record::<O>(self.part.takes_rows(), &key, &value, &mut self.held.bytes) {
            return self.held.interrupt(failure);
        }
        self.records += 1;
        self.held.check(self.aside.len())
    }

    fn put_to(
        &mut self,
        output: &str,
        key: <O::Key as Datum>::Ref<'_>,
        value: <O::Value as Datum>::Ref<'_>,
    ) -> JobResult<()> {
        let name: OutputName = output.parse()?;
        if let Err(failure) = write_record::<O>(self.part.takes_rows(), &key, &value, &mut self.aside) {
            return self.held.interrupt(failure);
        }
        self.named.push((name, self.aside.len()));
        self.held.check(self.aside.len())
    }

    fn count(&mut self, name: &str, by: u64) {
        self.held.counters.count(name, by);
    }
}

impl<O: Output> HoldBack for HeldRecords<'_, O> {
    fn drop_held(&mut self) {
        self.held.clear();
        self.records = 0;
        self.aside.clear();
        self.named.clear();
    }

    fn take_held(&mut self) -> Result<(), Failure> {
        self.counters.merge(&self.held.counters);
        self.part.append(&self.held.bytes, self.records)?;
        let mut start = 0;
        for (name, end) in &self.named {
            self.part.named().append(name, &self.aside[start..*end])?;
            start = *end;
        }
        self.drop_held();
        Ok(())
    }

    fn end_block(&mut self, _read_buffer: usize) -> Result<(), Failure> {
        Ok(())
    }

    fn take_failure(&mut self) -> Option<Failure> {
        self.held.failure.take()
    }
}
