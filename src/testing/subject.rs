//! A job of any type, a task at a time, on encoded records: what the laws are about. Knows no law, and
//! runs user code on the calling thread.

use std::cmp::Ordering;
use std::sync::Arc;

use gristmill_common::combine::Combine;
use gristmill_common::counters::Counters;
use gristmill_common::datum::{Datum, Value};
use gristmill_common::input::Input;
use gristmill_common::job::{Emit, JobError, MapOnly, MapReduce, PartOrder, Result, grouped_key};
use gristmill_common::key::{Key, KeyArena};
use gristmill_common::program::JobVisitor;
use gristmill_common::reference::{self, KeyGroups, Stretch, Written};
use gristmill_common::setup::TaskContext;
use gristmill_common::text::LineRule;
use gristmill_worker::engine::{AnyJob, IntoAnyJob};

use super::hooks::{ComesBack, KeyOrder};

/// What a map task gives.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    /// Encoded keys and values, as they were emitted.
    pub(super) pairs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What a job without a reduce writes.
    pub(super) written: Written,
    /// The first pair whose value is not what its encoding decodes to.
    pub(super) lost: Option<(Vec<u8>, Vec<u8>)>,
}

/// What a job is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits {
    /// Whether there is no reduce.
    pub(super) map_only: bool,
    /// Whether values are folded.
    pub(super) combines: bool,
    /// Whether they may be folded in any grouping with the same result, bit for bit.
    pub(super) exact: bool,
    /// Whether parts are in order.
    pub(super) order: PartOrder,
}

/// How values are folded to one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fold {
    /// One after the other.
    InTurn,
    /// Each by itself, encoded, and then as a value.
    Again,
    /// Two halves, whose states are merged.
    Merged,
}

/// A job.
pub(super) trait Subject: Send + Sync {
    fn traits(&self) -> Traits;

    /// Where the records of an object begin.
    fn record_starts(&self, object: &[u8], rule: &LineRule) -> Vec<usize>;

    /// Runs an attempt of a map task.
    fn map(&self, task: &TaskContext<'_>, rule: &LineRule, stretches: &[Stretch<'_>]) -> Result<Mapped>;

    /// Runs an attempt of a reduce task.
    fn reduce(&self, task: &TaskContext<'_>, groups: &KeyGroups) -> Result<Written>;

    /// What parts begin with.
    fn header(&self) -> Vec<u8>;

    /// The reduce task that owns an encoded key.
    fn partition(&self, key: &[u8], partitions: u32) -> Result<u32>;

    /// The beginning of an encoded key by which it is grouped.
    fn grouped<'k>(&self, key: &'k [u8]) -> Result<&'k [u8]>;

    /// How two keys compare as their type has it, if it has an order.
    fn compare(&self, a: &[u8], b: &[u8]) -> Option<Ordering>;

    /// Decodes and encodes again.
    fn key_again(&self, key: &[u8]) -> Result<Vec<u8>>;

    /// Decodes and encodes again.
    fn value_again(&self, value: &[u8]) -> Result<Vec<u8>>;

    /// Folds encoded values, at least one, to one.
    fn fold(&self, values: &[&[u8]], fold: Fold) -> Result<Vec<u8>>;

    /// For the engine.
    fn into_any(self: Box<Self>) -> Arc<dyn AnyJob>;
}

/// Makes a subject of the visited job.
pub(super) struct IntoSubject;

impl JobVisitor for IntoSubject {
    type Output = Box<dyn Subject>;

    fn map_reduce<J: MapReduce>(self, job: J) -> Box<dyn Subject> {
        Box::new(Reducing { job, comes_back: None, key_order: None })
    }

    fn map_only<J: MapOnly>(self, job: J) -> Box<dyn Subject> {
        Box::new(Mapping(job))
    }
}

/// A job with a reduce.
pub(super) struct Reducing<J: MapReduce> {
    pub(super) job: J,
    pub(super) comes_back: Option<ComesBack<J::Value>>,
    pub(super) key_order: Option<KeyOrder>,
}

impl<J: MapReduce> Subject for Reducing<J> {
    fn traits(&self) -> Traits {
        Traits { map_only: false, combines: J::Combine::ACTIVE, exact: J::Combine::EXACT, order: J::ORDER }
    }

    fn record_starts(&self, object: &[u8], rule: &LineRule) -> Vec<usize> {
        record_starts::<J::Input>(object, rule)
    }

    fn map(&self, task: &TaskContext<'_>, rule: &LineRule, stretches: &[Stretch<'_>]) -> Result<Mapped> {
        let mut taken = Taken::<J::Value> { mapped: Mapped::default(), comes_back: self.comes_back };
        reference::map_task(&self.job, task, rule, stretches, &mut taken)?;
        Ok(taken.mapped)
    }

    fn reduce(&self, task: &TaskContext<'_>, groups: &KeyGroups) -> Result<Written> {
        reference::reduce_task(&self.job, task, groups, &mut Counters::default())
    }

    fn header(&self) -> Vec<u8> {
        let mut header = Vec::new();
        self.job.begin_part(&mut header);
        header
    }

    fn partition(&self, key: &[u8], partitions: u32) -> Result<u32> {
        Ok(self.job.partition(grouped_key::<J>(key)?, partitions))
    }

    fn grouped<'k>(&self, key: &'k [u8]) -> Result<&'k [u8]> {
        Ok(grouped_key::<J>(key)?.grouped())
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Option<Ordering> {
        self.key_order?(a, b)
    }

    fn key_again(&self, key: &[u8]) -> Result<Vec<u8>> {
        let (arena, mut again) = (KeyArena::new(), Vec::new());
        J::Key::encode(&<J::Key as Key>::decode(key, &arena)?, &mut again);
        Ok(again)
    }

    fn value_again(&self, value: &[u8]) -> Result<Vec<u8>> {
        let mut again = Vec::new();
        J::Value::encode(&<J::Value as Value>::decode(value)?, &mut again)?;
        Ok(again)
    }

    fn fold(&self, values: &[&[u8]], fold: Fold) -> Result<Vec<u8>> {
        match fold {
            Fold::InTurn => encoded::<J>(&folded::<J>(values)?),
            Fold::Again => {
                let alone = values.iter().map(|&value| encoded::<J>(&folded::<J>(&[value])?));
                let alone: Vec<Vec<u8>> = alone.collect::<Result<_>>()?;
                let alone: Vec<&[u8]> = alone.iter().map(Vec::as_slice).collect();
                encoded::<J>(&folded::<J>(&alone)?)
            }
            Fold::Merged if values.len() < 2 => encoded::<J>(&folded::<J>(values)?),
            Fold::Merged => {
                let (a, b) = values.split_at(values.len() / 2);
                let mut acc = folded::<J>(a)?;
                J::Combine::merge(&mut acc, folded::<J>(b)?)?;
                encoded::<J>(&acc)
            }
        }
    }

    fn into_any(self: Box<Self>) -> Arc<dyn AnyJob> {
        IntoAnyJob.map_reduce(self.job)
    }
}

type Acc<J> = <<J as MapReduce>::Combine as Combine<<J as MapReduce>::Value>>::Acc;

fn folded<J: MapReduce>(values: &[&[u8]]) -> Result<Acc<J>> {
    let (first, rest) = values.split_first().ok_or_else(|| JobError::new("there are no values to fold"))?;
    let mut acc = J::Combine::start(J::Value::decode(first)?);
    for value in rest {
        J::Combine::fold(&mut acc, J::Value::decode(value)?)?;
    }
    Ok(acc)
}

fn encoded<J: MapReduce>(acc: &Acc<J>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    J::Combine::encode(acc, &mut bytes)?;
    Ok(bytes)
}

/// A job without a reduce.
struct Mapping<J>(J);

impl<J: MapOnly> Mapping<J> {
    fn has_none<T>() -> Result<T> {
        Err(JobError::new("a job without a reduce has no keys"))
    }
}

impl<J: MapOnly> Subject for Mapping<J> {
    fn traits(&self) -> Traits {
        Traits { map_only: true, combines: false, exact: true, order: PartOrder::ByHash }
    }

    fn record_starts(&self, object: &[u8], rule: &LineRule) -> Vec<usize> {
        record_starts::<J::Input>(object, rule)
    }

    fn map(&self, task: &TaskContext<'_>, rule: &LineRule, stretches: &[Stretch<'_>]) -> Result<Mapped> {
        let mut mapped = Mapped::default();
        let counters = &mut Counters::default();
        reference::map_only_task(&self.0, task, rule, stretches, &mut mapped.written, counters)?;
        Ok(mapped)
    }

    fn reduce(&self, _task: &TaskContext<'_>, _groups: &KeyGroups) -> Result<Written> {
        Self::has_none()
    }

    fn header(&self) -> Vec<u8> {
        let mut header = Vec::new();
        self.0.begin_part(&mut header);
        header
    }

    fn partition(&self, _key: &[u8], _partitions: u32) -> Result<u32> {
        Self::has_none()
    }

    fn grouped<'k>(&self, _key: &'k [u8]) -> Result<&'k [u8]> {
        Self::has_none()
    }

    fn compare(&self, _a: &[u8], _b: &[u8]) -> Option<Ordering> {
        None
    }

    fn key_again(&self, _key: &[u8]) -> Result<Vec<u8>> {
        Self::has_none()
    }

    fn value_again(&self, _value: &[u8]) -> Result<Vec<u8>> {
        Self::has_none()
    }

    fn fold(&self, _values: &[&[u8]], _fold: Fold) -> Result<Vec<u8>> {
        Self::has_none()
    }

    fn into_any(self: Box<Self>) -> Arc<dyn AnyJob> {
        IntoAnyJob.map_only(self.0)
    }
}

fn record_starts<I: Input>(object: &[u8], rule: &LineRule) -> Vec<usize> {
    let framing = I::framing(rule, 0);
    let (mut starts, mut at) = (Vec::new(), framing.preamble(object));
    while at < object.len() {
        starts.push(at);
        at = framing.record_at(object, at).next;
    }
    starts
}

/// Takes what `map` emits.
struct Taken<V: Value + ?Sized> {
    mapped: Mapped,
    comes_back: Option<ComesBack<V>>,
}

impl<K: Key + ?Sized, V: Value + ?Sized> Emit<K, V> for Taken<V> {
    fn emit(&mut self, key: <K as Datum>::Ref<'_>, value: <V as Datum>::Ref<'_>) -> Result<()> {
        let (mut key_bytes, mut value_bytes) = (vec![], vec![]);
        K::encode(&key, &mut key_bytes);
        V::encode(&value, &mut value_bytes)?;
        if self.mapped.lost.is_none()
            && self.comes_back.is_some_and(|comparison| !comparison.comes_back(&value, &value_bytes))
        {
            self.mapped.lost = Some((key_bytes.clone(), value_bytes.clone()));
        }
        self.mapped.pairs.push((key_bytes, value_bytes));
        Ok(())
    }

    fn count(&mut self, _name: &str, _by: u64) {}
}
