//! A sequential, in-memory MapReduce: the oracle against which every test compares the engine. It
//! uses the job API and the record rule, and none of the engine.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::counters::Counters;
use crate::datum::{Datum, Value};
use crate::ids::{AttemptId, TaskId};
use crate::input::{Block, Input as _, Provenance};
use crate::job::{
    Emit, JobError, MapOnly, MapReduce, PartOrder, Result, Sink, ValueSource, Values, ValuesFailure, grouped_key,
};
use crate::key::{Key, KeyArena};
use crate::output::Output;
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

/// What to run, with objects of side inputs: they come before the others, as in a plan.
#[derive(Debug, Clone, Copy)]
pub struct SidedInput<'a> {
    /// The job's input.
    pub input: ReferenceInput<'a>,
    /// Role, name and content of each object of a side input, in order.
    pub side: &'a [(u32, &'a str, &'a [u8])],
}

impl<'a> SidedInput<'a> {
    fn objects(&self) -> impl Iterator<Item = (u32, &'a str, &'a [u8])> {
        self.side.iter().copied().chain(self.input.objects.iter().map(|&(name, bytes)| (0, name, bytes)))
    }
}

/// Runs the visited job over the inputs.
impl JobVisitor for SidedInput<'_> {
    type Output = Result<ReferenceOutput>;

    fn map_reduce<J: MapReduce>(self, job: J) -> Result<ReferenceOutput> {
        run_sided(&job, &self)
    }

    fn map_only<J: MapOnly>(self, job: J) -> Result<ReferenceOutput> {
        run_map_only(&job, &self.input)
    }
}

/// What a job must give.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReferenceOutput {
    /// The bytes of each part, in order; a single one for map-only jobs.
    pub parts: Vec<Vec<u8>>,
    /// What user code counted.
    pub counters: Counters,
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
    run_sided(job, &SidedInput { input: *input, side: &[] })
}

fn run_sided<J: MapReduce>(job: &J, sided: &SidedInput<'_>) -> Result<ReferenceOutput> {
    let input = &sided.input;
    let files = ShippedPaths::new();
    let mut groups =
        Groups::<J> { values: BTreeMap::new(), counters: Counters::default(), job: std::marker::PhantomData };
    {
        let task = task_context(TaskId::map(0), input.partitions, &files);
        let own = job.setup(&task)?;
        let job = own.as_ref().unwrap_or(job);
        for (role, object, bytes) in sided.objects() {
            let position = AtomicU64::new(0);
            let start = J::Input::framing(input.rule).preamble(bytes);
            let from = Provenance { object, offset: start as u64, role };
            let mut block = Block::new(&bytes[start..], input.rule, from, &position).beginning_object();
            job.map_block(&mut block, &mut groups)?;
        }
        job.finish_map(&mut groups)?;
    }
    let mut output = ReferenceOutput { parts: vec![vec![]; input.partitions as usize], counters: groups.counters };
    let mut partitions: Vec<Vec<KeyValues<'_>>> = vec![vec![]; input.partitions as usize];
    for (key, values) in &groups.values {
        let partition = match J::ORDER {
            PartOrder::ByHash => job.partition(grouped_key::<J>(key)?, input.partitions),
            // Where parts end depends on how the engine samples, so all of it is one.
            PartOrder::Total => 0,
        };
        partitions[partition as usize].push((key, values));
    }
    for (index, pairs) in (0_u32..).zip(&partitions) {
        let task = task_context(TaskId::reduce(index), input.partitions, &files);
        let own = job.setup(&task)?;
        let part = &mut output.parts[index as usize];
        reduce_part(own.as_ref().unwrap_or(job), pairs, part, &mut output.counters)?;
    }
    Ok(output)
}

/// An encoded key and its encoded values.
type KeyValues<'a> = (&'a [u8], &'a [Vec<u8>]);

/// Reduces the sorted keys of one partition with their values.
fn reduce_part<J: MapReduce>(
    job: &J,
    pairs: &[KeyValues<'_>],
    part: &mut Vec<u8>,
    counters: &mut Counters,
) -> Result<()> {
    job.begin_part(part);
    let arena = KeyArena::new();
    let mut sink = PartSink::<J::Output> { part, counters, output: std::marker::PhantomData };
    let mut rest = pairs;
    while let Some(&(key, _)) = rest.first() {
        let grouped = grouped_key::<J>(key)?.grouped();
        let mut size = 0;
        for (other, _) in rest {
            if grouped_key::<J>(other)?.grouped() != grouped {
                break;
            }
            size += 1;
        }
        let values: Vec<&[u8]> = rest[..size].iter().flat_map(|(_, values)| values.iter().map(Vec::as_slice)).collect();
        rest = &rest[size..];
        let mut source = Listed { values: values.iter(), current: &[], failure: RefCell::new(None) };
        let decoded = <J::Key as Key>::decode(key, &arena)?;
        job.reduce(decoded, Values::new(&mut source), &mut sink)?;
        if let Some(failure) = source.failure.into_inner() {
            return Err(failure.into());
        }
    }
    job.finish_reduce(&mut sink)
}

/// The context of a first attempt, which has no folder but in the system's own for such.
fn task_context(task: TaskId, reducers: u32, files: &ShippedPaths) -> TaskContext<'_> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let attempt = AttemptId { task, number: 0 };
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("gristmill-reference-{}-{run}-{attempt}", std::process::id()));
    TaskContext::new(attempt, reducers, files, folder)
}

/// Runs a map-only job; all output is in one part.
///
/// # Errors
///
/// The first error of user code.
pub fn run_map_only<J: MapOnly>(job: &J, input: &ReferenceInput<'_>) -> Result<ReferenceOutput> {
    let files = ShippedPaths::new();
    let task = task_context(TaskId::map(0), 0, &files);
    let own = job.setup(&task)?;
    let job = own.as_ref().unwrap_or(job);
    let mut output = ReferenceOutput { parts: vec![vec![]], counters: Counters::default() };
    job.begin_part(&mut output.parts[0]);
    for (object, bytes) in input.objects {
        let position = AtomicU64::new(0);
        let start = J::Input::framing(input.rule).preamble(bytes);
        let from = Provenance { object, offset: start as u64, role: 0 };
        let mut block = Block::new(&bytes[start..], input.rule, from, &position).beginning_object();
        job.map_block(&mut block, &mut output.sink::<J::Output>())?;
    }
    job.finish_map(&mut output.sink::<J::Output>())?;
    Ok(output)
}

impl ReferenceOutput {
    /// Takes records into the only part.
    fn sink<O: Output>(&mut self) -> PartSink<'_, O> {
        PartSink { part: &mut self.parts[0], counters: &mut self.counters, output: std::marker::PhantomData }
    }
}

struct Groups<J> {
    values: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    counters: Counters,
    job: std::marker::PhantomData<J>,
}

impl<J: MapReduce> Emit<J::Key, J::Value> for Groups<J> {
    fn emit(&mut self, key: <J::Key as Datum>::Ref<'_>, value: <J::Value as Datum>::Ref<'_>) -> Result<()> {
        let (mut key_bytes, mut value_bytes) = (vec![], vec![]);
        <J::Key as Key>::encode(&key, &mut key_bytes);
        <J::Value as Value>::encode(&value, &mut value_bytes)?;
        self.values.entry(key_bytes).or_default().push(value_bytes);
        Ok(())
    }

    fn count(&mut self, name: &str, by: u64) {
        self.counters.count(name, by);
    }
}

struct PartSink<'a, O> {
    part: &'a mut Vec<u8>,
    counters: &'a mut Counters,
    output: std::marker::PhantomData<O>,
}

impl<O: Output> Sink<O::Key, O::Value> for PartSink<'_, O> {
    fn put(&mut self, key: <O::Key as Datum>::Ref<'_>, value: <O::Value as Datum>::Ref<'_>) -> Result<()> {
        O::write(&key, &value, self.part);
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
mod tests {
    use super::*;
    use crate::prelude::*;

    struct WordCount;

    impl MapReduce for WordCount {
        type Input = Lines;
        type Key = [u8];
        type Value = u64;
        type Combine = Sum;
        type Output = Text<[u8], u64>;

        fn map(&self, line: &[u8], out: &mut impl Emit<[u8], u64>) -> Result<()> {
            for word in words(line) {
                out.emit(word, 1)?;
                out.count("words", 1);
            }
            Ok(())
        }

        fn reduce(&self, word: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
            out.put(word, counts.sum())
        }
    }

    /// Groups composite keys, and fails on a line that is no pair.
    struct Visits;

    impl MapReduce for Visits {
        type Input = Utf8Lines;
        type Key = Pair<str, u32>;
        type Value = str;
        type Combine = NoCombine;
        type Output = Text<Pair<str, u32>, String>;

        fn map(&self, line: &str, out: &mut impl Emit<Pair<str, u32>, str>) -> Result<()> {
            let mut fields = line.split(' ');
            let (Some(host), Some(hour), Some(page)) = (fields.next(), fields.next(), fields.next()) else {
                return Err(JobError::new("not a visit"));
            };
            out.emit((host, hour.parse()?), page)
        }

        fn reduce(
            &self,
            key: (&str, u32),
            mut pages: Values<str>,
            out: &mut impl Sink<Pair<str, u32>, String>,
        ) -> Result<()> {
            let mut all = String::new();
            while let Some(page) = pages.next_ref() {
                all.push_str(page);
            }
            out.put(key, all)
        }
    }

    fn input<'a>(objects: &'a [(&'a str, &'a [u8])], partitions: u32) -> ReferenceInput<'a> {
        ReferenceInput { objects, rule: &LineRule::Lf, partitions }
    }

    #[test]
    fn words_are_counted_in_key_order() {
        let objects: [(&str, &[u8]); 2] = [("a", b"to be or\x0cnot"), ("b", b"to\tbe\r\n")];
        let output = run_map_reduce(&WordCount, &input(&objects, 1)).expect("no user error");
        assert_eq!(output.parts, [b"be\t2\nnot\t1\nor\t1\nto\t2\n".to_vec()]);
        assert_eq!(output.counters.get("words"), 6);
        let split = run_map_reduce(&WordCount, &input(&objects, 3)).expect("no user error");
        let mut lines: Vec<&[u8]> = split.parts.iter().flat_map(|p| p.split_inclusive(|&b| b == b'\n')).collect();
        lines.sort_unstable();
        assert_eq!(lines.concat(), output.parts[0]);
    }

    #[test]
    fn composite_keys_group_and_values_keep_their_order() {
        let objects: [(&str, &[u8]); 1] = [("a", b"x 2 /b\nx 10 /c\nx 2 /a\n")];
        let output = run_map_reduce(&Visits, &input(&objects, 1)).expect("no user error");
        assert_eq!(output.parts, [b"x\t2\t/b/a\nx\t10\t/c\n".to_vec()]);
        let broken: [(&str, &[u8]); 1] = [("a", b"x two /b")];
        let error = run_map_reduce(&Visits, &input(&broken, 1)).expect_err("not a number");
        assert_eq!(error.to_string(), "invalid digit found in string");
    }
}
