//! Runs subjects on samples: cuts the sample's records into map tasks, hands what they emit to reduce
//! tasks, each attempt on a thread of its own. Judges nothing.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use gristmill_common::ids::{AttemptId, TaskId};
use gristmill_common::job::Result;
use gristmill_common::reference::{KeyGroups, Stretch, Written};
use gristmill_common::setup::TaskContext;
use gristmill_common::text::LineRule;

use super::sample::{Object, Placed, Sample};
use super::subject::{Mapped, Subject};
use super::written::{append, listed, without_header};

/// How the records of a sample become map tasks and blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// One task, a block for each object.
    Whole,
    /// One task, a block for each record.
    Blocks,
    /// Two tasks.
    Halves,
    /// A task for each record.
    Records,
}

/// User code that failed: what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble(pub(super) String);

/// What jobs are made and run with.
pub(super) struct Bench<'a> {
    make: &'a (dyn Fn() -> Box<dyn Subject> + 'a),
    placed: Placed,
    reducers: Option<u32>,
    pub(super) any_order: bool,
}

impl<'a> Bench<'a> {
    pub(super) fn new(
        make: &'a (dyn Fn() -> Box<dyn Subject> + 'a),
        placed: Placed,
        reducers: Option<u32>,
        any_order: bool,
    ) -> Self {
        Self { make, placed, reducers, any_order }
    }

    /// What ends records.
    pub(super) fn rule(&self) -> &'static LineRule {
        &LineRule::Lf
    }

    /// The sample's files, and room for more.
    pub(super) fn placed(&self) -> &Placed {
        &self.placed
    }

    /// How many reduce tasks the job must have, if it may not have any number.
    pub(super) fn reducers(&self) -> Option<u32> {
        self.reducers
    }

    /// A new job.
    pub(super) fn job(&self) -> Box<dyn Subject> {
        (self.make)()
    }

    /// The records of a sample: index of the object in the order of map tasks, and place there.
    pub(super) fn records(&self, job: &dyn Subject, sample: &Sample) -> Vec<(usize, Range<usize>)> {
        let mut records = Vec::new();
        for (index, object) in sample.in_order().enumerate() {
            let starts = job.record_starts(object.bytes(), self.rule());
            for (at, start) in starts.iter().enumerate() {
                // What comes before the first record of an object belongs to it.
                let start = if at == 0 { 0 } else { *start };
                records.push((index, start..starts.get(at + 1).copied().unwrap_or(object.bytes().len())));
            }
        }
        records
    }

    /// Runs the map tasks, in order; attempts have this number.
    pub(super) fn map(&self, job: &dyn Subject, sample: &Sample, cut: Cut, attempt: u32) -> Result<Mapped, Trouble> {
        let objects: Vec<&Object> = sample.in_order().collect();
        let (mut all, rule) = (Mapped::default(), self.rule());
        for (index, stretches) in (0..).zip(self.tasks(job, sample, &objects, cut)) {
            let id = AttemptId { task: TaskId::map(index), number: attempt };
            let reducers = if job.traits().map_only { 0 } else { self.reducers.unwrap_or(1) };
            let mapped = self.attempt(id, reducers, |context| job.map(context, rule, &stretches))?;
            all.pairs.extend(mapped.pairs);
            append(&mut all.written, mapped.written);
            all.lost = all.lost.or(mapped.lost);
        }
        Ok(all)
    }

    fn tasks<'s>(&self, job: &dyn Subject, sample: &Sample, objects: &[&'s Object], cut: Cut) -> Vec<Vec<Stretch<'s>>> {
        let records = self.records(job, sample);
        let stretch = |index: usize, range: Range<usize>| {
            let object = objects[index];
            Stretch { role: object.role(), object: object.name(), bytes: object.bytes(), range }
        };
        let joined = |records: &[(usize, Range<usize>)]| -> Vec<Stretch<'s>> {
            let of_object = records.chunk_by(|a, b| a.0 == b.0);
            of_object.map(|some| stretch(some[0].0, some[0].1.start..some[some.len() - 1].1.end)).collect()
        };
        match cut {
            Cut::Whole => vec![joined(&records)],
            Cut::Blocks => vec![records.into_iter().map(|(index, range)| stretch(index, range)).collect()],
            Cut::Halves => {
                let (a, b) = records.split_at(records.len() / 2);
                vec![joined(a), joined(b)]
            }
            Cut::Records => records.into_iter().map(|(index, range)| vec![stretch(index, range)]).collect(),
        }
    }

    /// Runs one reduce task over all keys; lists what it writes.
    pub(super) fn reduce(&self, job: &dyn Subject, groups: &KeyGroups) -> Result<Vec<u8>, Trouble> {
        Ok(listed(&self.reduce_of(job, groups, self.reducers.unwrap_or(1))?))
    }

    /// Runs the first of so many reduce tasks.
    pub(super) fn reduce_of(&self, job: &dyn Subject, groups: &KeyGroups, reducers: u32) -> Result<Written, Trouble> {
        let id = AttemptId { task: TaskId::reduce(0), number: 0 };
        self.attempt(id, reducers, |context| job.reduce(context, groups))
    }

    /// Runs a whole job: lists its outputs without what parts begin with.
    pub(super) fn run(&self, job: &dyn Subject, sample: &Sample, cut: Cut) -> Result<Vec<u8>, Trouble> {
        let mapped = self.map(job, sample, cut, 0)?;
        if job.traits().map_only {
            return Ok(listed(&mapped.written));
        }
        let written = self.reduce_of(job, &grouped(mapped.pairs), self.reducers.unwrap_or(1))?;
        Ok(listed(&without_header(written, &job.header())))
    }

    /// Runs an attempt on a thread of its own: what a thread has for itself is not carried over.
    fn attempt<T: Send>(
        &self,
        id: AttemptId,
        reducers: u32,
        attempt: impl FnOnce(&TaskContext<'_>) -> Result<T> + Send,
    ) -> Result<T, Trouble> {
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        let folder = self.placed.folder().join(format!("attempt-{}", FOLDERS.fetch_add(1, Ordering::Relaxed)));
        let files = self.placed.paths();
        let run = || attempt(&TaskContext::new(id, reducers, files, folder));
        match thread::scope(|scope| scope.spawn(run).join()) {
            Ok(result) => result.map_err(|error| Trouble(error.to_string())),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                Err(Trouble(format!("panicked: {}", text.unwrap_or_default())))
            }
        }
    }
}

/// What was emitted, by key; values stay in order.
pub(super) fn grouped(pairs: Vec<(Vec<u8>, Vec<u8>)>) -> KeyGroups {
    let mut groups = KeyGroups::new();
    for (key, value) in pairs {
        groups.entry(key).or_default().push(value);
    }
    groups
}
