//! A sequential, in-memory MapReduce: the oracle against which every test compares the engine. It
//! uses the job API and the record rule, and none of the engine. Whole jobs, or a task at a time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::counters::Counters;
use crate::datum::{Datum, Value};
use crate::ids::{AttemptId, TaskId};
use crate::input::{Block, Heading, Input, Provenance};
use crate::job::{
    Emit, JobError, MapOnly, MapReduce, PartOrder, Result, Sink, ValueSource, Values, ValuesFailure, grouped_key,
};
use crate::key::{Key, KeyArena};
use crate::output::Output;
use crate::output_name::OutputName;
use crate::program::JobVisitor;
use crate::setup::{ShippedPaths, TaskContext};
use crate::text::LineRule;

/// What to run: whole objects in canonical order.
#[derive(Debug, Clone, Copy)]
pub struct ReferenceInput<'a> {
    /// Names and contents.
    pub objects: &'a [(&'a str, &'a [u8])],
    /// What ends a record.
    pub rule: &'a LineRule,
    /// Reduce tasks.
    pub partitions: u32,
}

/// What to run, with objects of side inputs, which come before the others, as in a plan, and with files.
#[derive(Debug, Clone, Copy)]
pub struct SidedInput<'a> {
    /// The job's input.
    pub input: ReferenceInput<'a>,
    /// Role, name and content of each object of a side input, in order.
    pub side: &'a [(u32, &'a str, &'a [u8])],
    /// Where the files lie that the job asks for by name.
    pub files: &'a ShippedPaths,
}

impl<'a> SidedInput<'a> {
    fn stretches(&self) -> Vec<Stretch<'a>> {
        let own = self.input.objects.iter().map(|&(name, bytes)| (0, name, bytes));
        self.side.iter().copied().chain(own).map(|(role, object, bytes)| Stretch::whole(role, object, bytes)).collect()
    }
}

/// Consecutive whole records of one object, which `map` is handed as one block.
#[derive(Debug, Clone)]
pub struct Stretch<'a> {
    /// Which input the object belongs to.
    pub role: u32,
    /// The object's name.
    pub object: &'a str,
    /// All of the object.
    pub bytes: &'a [u8],
    /// The records; 0 is where the object begins, before anything that is no record.
    pub range: Range<usize>,
}

impl<'a> Stretch<'a> {
    /// All records of an object.
    pub fn whole(role: u32, object: &'a str, bytes: &'a [u8]) -> Self {
        Self { role, object, bytes, range: 0..bytes.len() }
    }

    /// The heading of the object, if the records are of a type that has one.
    fn heading<I: Input>(&self, rule: &LineRule) -> Option<Heading> {
        let framing = I::framing(rule, self.role);
        let start = framing.preamble(self.bytes);
        let has_one = I::reading(self.role).heading && start < self.bytes.len();
        has_one.then(|| Heading::new(self.bytes[start..framing.record_at(self.bytes, start).end].to_vec()))
    }

    /// The records as a block, whose position `position` follows.
    fn block<I: Input>(
        &self,
        rule: &'a LineRule,
        heading: Option<&'a Heading>,
        position: &'a AtomicU64,
    ) -> Block<'a, I> {
        let begins = self.range.start == 0;
        let start = if begins { I::framing(rule, self.role).preamble(self.bytes) } else { self.range.start };
        let from = Provenance::new(self.object, start as u64, self.role).under(heading);
        let block = Block::new(&self.bytes[start..self.range.end], rule, from, position);
        if begins { block.beginning_object() } else { block }
    }
}

/// Encoded keys in order, and the encoded values of each in canonical order.
pub type KeyGroups = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

/// Runs the visited job over the inputs.
impl JobVisitor for SidedInput<'_> {
    type Output = Result<ReferenceOutput>;

    fn map_reduce<J: MapReduce>(self, job: J) -> Result<ReferenceOutput> {
        run_sided(&job, &self)
    }

    fn map_only<J: MapOnly>(self, job: J) -> Result<ReferenceOutput> {
        run_sided_map_only(&job, &self)
    }
}

/// What a job must give.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReferenceOutput {
    /// The bytes of each part, in order; a single one for map-only jobs.
    pub parts: Vec<Vec<u8>>,
    /// The bytes of each part of each named output that something was put to, by name and number.
    pub named: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    /// What user code counted.
    pub counters: Counters,
}

impl ReferenceOutput {
    /// Takes in what the task that writes part `index` wrote.
    fn add(&mut self, index: u32, written: Written) {
        self.parts.push(written.part);
        for (name, bytes) in written.named {
            self.named.entry(name).or_default().insert(index, bytes);
        }
    }
}

/// What one task writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// The bytes of its part.
    pub part: Vec<u8>,
    /// The bytes of its parts of named outputs, by name.
    pub named: BTreeMap<String, Vec<u8>>,
}

impl Written {
    /// Puts what every part begins with before each.
    fn begin_with(&mut self, header: &[u8]) {
        for part in [&mut self.part].into_iter().chain(self.named.values_mut()) {
            part.splice(0..0, header.iter().copied());
        }
    }
}

/// Runs the visited job over the input.
impl JobVisitor for ReferenceInput<'_> {
    type Output = Result<ReferenceOutput>;

    fn map_reduce<J: MapReduce>(self, job: J) -> Result<ReferenceOutput> {
        run_map_reduce(&job, &self)
    }

    fn map_only<J: MapOnly>(self, job: J) -> Result<ReferenceOutput> {
        run_map_only(&job, &self)
    }
}

/// Runs a job with a reduce.
///
/// # Errors
///
/// The first error of user code.
pub fn run_map_reduce<J: MapReduce>(job: &J, input: &ReferenceInput<'_>) -> Result<ReferenceOutput> {
    run_sided(job, &SidedInput { input: *input, side: &[], files: &ShippedPaths::new() })
}

/// Runs a job without a reduce; all output is in one part.
///
/// # Errors
///
/// The first error of user code.
pub fn run_map_only<J: MapOnly>(job: &J, input: &ReferenceInput<'_>) -> Result<ReferenceOutput> {
    run_sided_map_only(job, &SidedInput { input: *input, side: &[], files: &ShippedPaths::new() })
}

/// Runs a job with a reduce over side inputs too.
///
/// # Errors
///
/// The first error of user code.
pub fn run_sided<J: MapReduce>(job: &J, sided: &SidedInput<'_>) -> Result<ReferenceOutput> {
    let input = &sided.input;
    let mut groups = Groups { values: BTreeMap::new(), counters: Counters::default() };
    let task = task_context(TaskId::map(0), input.partitions, sided.files);
    map_task(job, &task, input.rule, &sided.stretches(), &mut groups)?;
    let mut output = ReferenceOutput { counters: groups.counters, ..ReferenceOutput::default() };
    let mut partitions = vec![KeyGroups::new(); input.partitions as usize];
    for (key, values) in groups.values {
        let partition = match J::ORDER {
            PartOrder::ByHash => job.partition(grouped_key::<J>(&key)?, input.partitions),
            // Where parts end depends on how the engine samples, so all of it is one.
            PartOrder::Total => 0,
        };
        partitions[partition as usize].insert(key, values);
    }
    for (index, groups) in (0_u32..).zip(&partitions) {
        let task = task_context(TaskId::reduce(index), input.partitions, sided.files);
        let written = reduce_task(job, &task, groups, &mut output.counters)?;
        output.add(index, written);
    }
    Ok(output)
}

/// Runs a job without a reduce, with files; side inputs are read by jobs with a reduce alone.
///
/// # Errors
///
/// The first error of user code.
pub fn run_sided_map_only<J: MapOnly>(job: &J, sided: &SidedInput<'_>) -> Result<ReferenceOutput> {
    let input = &sided.input;
    let task = task_context(TaskId::map(0), 0, sided.files);
    let (mut output, mut written, mut header) = (ReferenceOutput::default(), Written::default(), Vec::new());
    let stretches: Vec<Stretch<'_>> =
        input.objects.iter().map(|&(name, bytes)| Stretch::whole(0, name, bytes)).collect();
    map_only_task(job, &task, input.rule, &stretches, &mut written, &mut output.counters)?;
    job.begin_part(&mut header);
    written.begin_with(&header);
    output.add(0, written);
    Ok(output)
}

/// Runs one attempt of a map task over these records.
///
/// # Errors
///
/// The first error of user code.
pub fn map_task<J: MapReduce>(
    job: &J,
    task: &TaskContext<'_>,
    rule: &LineRule,
    stretches: &[Stretch<'_>],
    out: &mut impl Emit<J::Key, J::Value>,
) -> Result<()> {
    let own = job.setup(task)?;
    let job = own.as_ref().unwrap_or(job);
    for stretch in stretches {
        let heading = stretch.heading::<J::Input>(rule);
        job.map_block(&mut stretch.block(rule, heading.as_ref(), &AtomicU64::new(0)), out)?;
    }
    job.finish_map(out)
}

/// Runs one attempt of a task of a job without a reduce, and appends what it writes to `written`, without
/// what a part begins with.
///
/// # Errors
///
/// The first error of user code.
pub fn map_only_task<J: MapOnly>(
    job: &J,
    task: &TaskContext<'_>,
    rule: &LineRule,
    stretches: &[Stretch<'_>],
    written: &mut Written,
    counters: &mut Counters,
) -> Result<()> {
    let own = job.setup(task)?;
    let job = own.as_ref().unwrap_or(job);
    let mut sink = PartSink::<J::Output> { written, counters, output: std::marker::PhantomData };
    for stretch in stretches {
        let heading = stretch.heading::<J::Input>(rule);
        job.map_block(&mut stretch.block(rule, heading.as_ref(), &AtomicU64::new(0)), &mut sink)?;
    }
    job.finish_map(&mut sink)
}

/// Runs one attempt of a reduce task over the keys of its partition.
///
/// # Errors
///
/// The first error of user code.
pub fn reduce_task<J: MapReduce>(
    job: &J,
    task: &TaskContext<'_>,
    groups: &KeyGroups,
    counters: &mut Counters,
) -> Result<Written> {
    let own = job.setup(task)?;
    let job = own.as_ref().unwrap_or(job);
    let (mut written, mut header) = (Written::default(), Vec::new());
    job.begin_part(&mut header);
    let arena = KeyArena::new();
    let mut sink = PartSink::<J::Output> { written: &mut written, counters, output: std::marker::PhantomData };
    let mut rest = groups.iter().peekable();
    while let Some((key, values)) = rest.next() {
        let grouped = grouped_key::<J>(key)?;
        let mut values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        while let Some((other, more)) = rest.peek() {
            if grouped_key::<J>(other)?.grouped() != grouped.grouped() {
                break;
            }
            values.extend(more.iter().map(Vec::as_slice));
            rest.next();
        }
        let mut source = Listed { values: values.iter(), current: &[], failure: RefCell::new(None) };
        let decoded = <J::Key as Key>::decode(key, &arena)?;
        job.reduce(decoded, Values::new(&mut source), &mut sink)?;
        if let Some(failure) = source.failure.into_inner() {
            return Err(failure.into());
        }
    }
    job.finish_reduce(&mut sink)?;
    written.begin_with(&header);
    Ok(written)
}

/// The context of a first attempt, which has no folder but in the system's own for such.
fn task_context(task: TaskId, reducers: u32, files: &ShippedPaths) -> TaskContext<'_> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let attempt = AttemptId { task, number: 0 };
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("gristmill-reference-{}-{run}-{attempt}", std::process::id()));
    TaskContext::new(attempt, reducers, files, folder)
}

struct Groups {
    values: KeyGroups,
    counters: Counters,
}

impl<K: Key + ?Sized, V: Value + ?Sized> Emit<K, V> for Groups {
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<()> {
        let (mut key_bytes, mut value_bytes) = (vec![], vec![]);
        K::encode(&key, &mut key_bytes);
        V::encode(&value, &mut value_bytes)?;
        self.values.entry(key_bytes).or_default().push(value_bytes);
        Ok(())
    }

    fn count(&mut self, name: &str, by: u64) {
        self.counters.count(name, by);
    }
}

struct PartSink<'a, O> {
    written: &'a mut Written,
    counters: &'a mut Counters,
    output: std::marker::PhantomData<O>,
}

impl<O: Output> Sink<O::Key, O::Value> for PartSink<'_, O> {
    fn put(&mut self, key: <O::Key as Datum>::Ref<'_>, value: <O::Value as Datum>::Ref<'_>) -> Result<()> {
        O::write(&key, &value, &mut self.written.part);
        Ok(())
    }

    fn put_to(
        &mut self,
        output: &str,
        key: <O::Key as Datum>::Ref<'_>,
        value: <O::Value as Datum>::Ref<'_>,
    ) -> Result<()> {
        let name: OutputName = output.parse()?;
        O::write(&key, &value, self.written.named.entry(name.into()).or_default());
        Ok(())
    }

    fn count(&mut self, name: &str, by: u64) {
        self.counters.count(name, by);
    }
}

struct Listed<'a> {
    values: std::slice::Iter<'a, &'a [u8]>,
    current: &'a [u8],
    failure: RefCell<Option<ValuesFailure>>,
}

impl ValueSource for Listed<'_> {
    fn advance(&mut self) -> bool {
        let next = if self.failure.borrow().is_some() { None } else { self.values.next() };
        self.current = next.map_or(&[], |value| *value);
        next.is_some()
    }

    fn value(&self) -> &[u8] {
        self.current
    }

    fn fail(&self, failure: ValuesFailure) {
        self.failure.borrow_mut().get_or_insert(failure);
    }
}

impl From<JobError> for String {
    fn from(error: JobError) -> String {
        error.to_string()
    }
}

#[cfg(test)]
mod tests;
