//! Mapping for jobs that allow bad records: one record at a time, so that an error or a panic of `map`
//! costs that record and nothing else. What failed goes to the dead letters.

use gristmill_common::failure::{Failure, FailureCode, InputPosition};
use gristmill_common::input::{Block, Framing, Input, Provenance};
use gristmill_common::job::Result as JobResult;
use gristmill_common::task::AttemptStats;

use super::held::HoldBack;
use super::{MapInput, RawRecords, Reading, for_each_block, map_failed};
use crate::engine::dead_letters::{DeadLetters, Letter};
use crate::engine::{AttemptContext, failures, panics};

/// Why `map` gave nothing for a record.
enum Trouble {
    /// The record is bad: others go on.
    OfRecord(Failure),
    /// Something else is wrong, which the next record would meet as well.
    OfAttempt(Failure),
}

/// Hands each record of the split to `map`, as a block of its own, and takes what it gives to `sink`
/// only if it returns without an error; what is skipped goes to `letters`.
///
/// # Errors
///
/// If more records are bad than the job allows, by the failure of the one too many; and whatever is
/// no record's fault, such as input that cannot be read.
pub(super) fn map_forgiving<I: Input, S: HoldBack>(
    (input, how): (MapInput<'_>, &Reading<'_>),
    context: &AttemptContext<'_>,
    stats: &mut AttemptStats,
    (letters, sink): (&mut DeadLetters, &mut S),
    map: impl Fn(&mut Block<'_, I>, &mut S) -> JobResult<()>,
) -> Result<(), Failure> {
    for_each_block(input.split, how, context, (stats, letters), |raw, letters| {
        let framing = how.framing_of(raw.from.is_row);
        let mut records = 0;
        for (record, content) in one_by_one(raw, framing) {
            records += 1;
            let trouble = match skipped(input.skip, &record) {
                Some(failure) => Err(Trouble::OfRecord(failure)),
                None => map_one(&record, context, sink, &map),
            };
            match trouble {
                Ok(()) => {}
                Err(Trouble::OfAttempt(failure)) => return Err(failure),
                Err(Trouble::OfRecord(failure)) => {
                    let Provenance { object, offset, .. } = record.from;
                    if letters.records() == context.spec.max_bad_records {
                        return Err(failure.at(InputPosition { object: object.to_owned(), offset }));
                    }
                    letters.add(&Letter { object, offset, failure: &failure, content })?;
                }
            }
        }
        sink.end_block(raw.buffer_bytes)?;
        Ok(records)
    })
}

/// Each record as a block of one, and its bytes without what ends it.
fn one_by_one<'r>(raw: &RawRecords<'r>, framing: Framing<'r>) -> impl Iterator<Item = (RawRecords<'r>, &'r [u8])> {
    let raw = *raw;
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= raw.bytes.len() {
            return None;
        }
        let start = at;
        let span = framing.record_at(raw.bytes, start);
        at = span.next;
        let mut from = raw.from;
        from.offset += start as u64;
        let beginning = raw.beginning && start == 0;
        let record = RawRecords { bytes: &raw.bytes[start..span.next], from, beginning, ..raw };
        Some((record, &raw.bytes[start..span.end]))
    })
}

/// Why a record is passed over without being mapped, if it is.
fn skipped(skip: &[InputPosition], record: &RawRecords<'_>) -> Option<Failure> {
    let is_it = |at: &InputPosition| at.offset == record.from.offset && at.object == record.from.object;
    let message = "passed over: user code ended its process, or came to no end, on this record before";
    skip.iter().any(is_it).then(|| Failure::new(FailureCode::ExecutorCrash, message))
}

fn map_one<I: Input, S: HoldBack>(
    record: &RawRecords<'_>,
    context: &AttemptContext<'_>,
    sink: &mut S,
    map: &impl Fn(&mut Block<'_, I>, &mut S) -> JobResult<()>,
) -> Result<(), Trouble> {
    let mut block = record.records::<I>(context);
    let result = panics::catch(|| {
        let _turn = context.position.user_turn();
        map(&mut block, sink)
    });
    // A failure of the engine is the cause whatever user code made of it.
    if let Some(failure) = sink.take_failure() {
        return Err(Trouble::OfAttempt(failure));
    }
    let trouble = match result {
        Ok(Ok(())) => return sink.take_held().map_err(Trouble::OfAttempt),
        // Said by a job that knows better than the engine what failed: not the record.
        Ok(Err(error)) if error.downcast_ref::<Failure>().is_some() => Trouble::OfAttempt(map_failed(&error)),
        Ok(Err(error)) => Trouble::OfRecord(map_failed(&error)),
        Err(message) => Trouble::OfRecord(failures::user_panic(&message)),
    };
    sink.drop_held();
    Err(trouble)
}
