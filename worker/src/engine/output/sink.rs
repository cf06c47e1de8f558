//! What user code puts records into: straight into the part's format.

use std::marker::PhantomData;

use gristmill_common::counters::Counters;
use gristmill_common::datum::Datum;
use gristmill_common::failure::Failure;
use gristmill_common::job::{JobError, Result as JobResult, Sink};
use gristmill_common::output::Output;

use super::named::Unnameable;
use super::part::PartWriter;
use super::rows::no_row;

/// Hands what user code puts to the part's format.
pub(in crate::engine) struct PartSink<'a, O> {
    part: &'a mut PartWriter,
    counters: &'a mut Counters,
    /// The first failure to write; user code only sees that it is interrupted.
    pub(in crate::engine) failure: Option<Failure>,
    output: PhantomData<O>,
}

/// Appends one record, as a row or as its type writes it.
#[inline]
pub(in crate::engine) fn write_record<O: Output>(
    as_row: bool,
    key: &<O::Key as Datum>::Ref<'_>,
    value: &<O::Value as Datum>::Ref<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    if as_row {
        return O::write_row(key, value, out).map_err(|error| no_row(&error));
    }
    O::write(key, value, out);
    Ok(())
}

impl<'a, O: Output> PartSink<'a, O> {
    pub(in crate::engine) fn new(part: &'a mut PartWriter, counters: &'a mut Counters) -> Self {
        Self { part, counters, failure: None, output: PhantomData }
    }

    #[cold]
    fn interrupt(&mut self, failure: Failure) -> JobResult<()> {
        self.failure.get_or_insert(failure);
        Err(JobError::interrupted())
    }
}

impl<O: Output> Sink<O::Key, O::Value> for PartSink<'_, O> {
    #[inline]
    fn put(&mut self, key: <O::Key as Datum>::Ref<'_>, value: <O::Value as Datum>::Ref<'_>) -> JobResult<()> {
        let as_row = self.part.takes_rows();
        if let Err(failure) = write_record::<O>(as_row, &key, &value, &mut self.part.pending) {
            return self.interrupt(failure);
        }
        self.part.records += 1;
        if self.part.pending.len() >= self.part.batch_bytes
            && let Err(failure) = self.part.write_pieces()
        {
            self.failure = Some(failure);
            return Err(JobError::interrupted());
        }
        Ok(())
    }

    fn put_to(
        &mut self,
        output: &str,
        key: <O::Key as Datum>::Ref<'_>,
        value: <O::Value as Datum>::Ref<'_>,
    ) -> JobResult<()> {
        let as_row = self.part.takes_rows();
        let named = self.part.named();
        let put = match named.number(output) {
            Ok(number) => named.put(number, |bytes| write_record::<O>(as_row, &key, &value, bytes)),
            // The record's fault, and for user code to answer.
            Err(Unnameable::Wrong(error)) => return Err(error.into()),
            Err(Unnameable::TooMany(failure)) => Err(failure),
        };
        put.or_else(|failure| self.interrupt(failure))
    }

    fn count(&mut self, name: &str, by: u64) {
        self.counters.count(name, by);
    }
}
