//! A sample through the real engine: planned, split, shuffled and merged as any embedded run, in several
//! ways, and compared with the sequential reference.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gristmill_common::job::PartOrder;
use gristmill_common::naming::{Uri, is_hidden};
use gristmill_common::objects::LocalObjects;
use gristmill_common::reference::{KeyGroups, Written};
use gristmill_common::size::ByteSize;
use gristmill_common::spec::{JobShape, JobSpec, MIN_ATTEMPT_BYTES, SideInput};
use gristmill_common::storage::Stores;
use gristmill_common::time::Clock;
use gristmill_master::runtime::{PreparedJob, fresh_job_id, list_and_plan, prepare};
use gristmill_master::scheduler::JobState;
use gristmill_worker::engine::{Reads, range_partitioning};

use super::bench::{Bench, Cut, Trouble, grouped};
use super::sample::{Object, Sample};
use super::subject::Subject;
use super::written::{append, listed, without_header};
use crate::local::{self, LocalOptions};

/// Memory of an attempt that is soon full, but takes a record of 256 KiB.
const LITTLE_MEMORY: ByteSize = ByteSize::mib(1);

/// One way to run a job.
struct Way {
    /// Splits of the input, about.
    splits: u64,
    reducers: u32,
    threads: usize,
    memory: ByteSize,
}

const WAYS: [Way; 3] = [
    Way { splits: 1, reducers: 1, threads: 1, memory: MIN_ATTEMPT_BYTES },
    Way { splits: 16, reducers: 3, threads: 4, memory: MIN_ATTEMPT_BYTES },
    Way { splits: 5, reducers: 2, threads: 2, memory: LITTLE_MEMORY },
];

/// How the job was run, what the reference gives, and what came out instead.
type Disagreement = (String, Vec<u8>, Vec<u8>);

/// Looks for a way to run the job whose output is not the reference's.
///
/// # Errors
///
/// If user code fails, or the engine does.
pub(super) fn disagreement(bench: &Bench<'_>, sample: &Sample) -> Result<Option<Disagreement>, Trouble> {
    static ROUNDS: AtomicU64 = AtomicU64::new(0);
    let job = bench.job();
    if !job.traits().exact {
        return Ok(None);
    }
    let folder = bench.placed().folder().join(format!("engine-{}", ROUNDS.fetch_add(1, Ordering::Relaxed)));
    let lying = Lying::of(sample, &folder).map_err(|error| trouble(&error))?;
    for (index, way) in WAYS.iter().enumerate() {
        let reducers = bench.reducers().unwrap_or(way.reducers);
        // Parts that are in one order are compared as a whole: where they end depends on a sample.
        let parts = if job.traits().order == PartOrder::Total { 1 } else { reducers };
        let expect = expected(bench, &*job, &lying.sample, parts)?;
        let output = folder.join(format!("out-{index}"));
        let seen = run(bench, &lying, way, reducers, &output)?;
        let header = job.header();
        let whole = |tasks: Vec<Written>| {
            let mut whole = Written::default();
            tasks.into_iter().for_each(|written| append(&mut whole, without_header(written, &header)));
            listed(&whole)
        };
        let (expect, seen) = (whole(expect), whole(seen));
        if expect != seen {
            let how = format!("the engine with {} splits and {reducers} reduce tasks", way.splits);
            return Ok(Some((how, expect, seen)));
        }
    }
    Ok(None)
}

fn trouble(error: &dyn std::fmt::Display) -> Trouble {
    Trouble(error.to_string())
}

/// A sample whose objects are files.
struct Lying {
    /// The sample, its objects named as the engine names them.
    sample: Sample,
    /// Role and place of each.
    objects: Vec<(u32, Uri)>,
}

impl Lying {
    fn of(sample: &Sample, folder: &Path) -> io::Result<Self> {
        let (mut objects, mut named) = (Vec::new(), Vec::new());
        for (index, object) in sample.in_order().enumerate() {
            let own = folder.join(format!("in-{index}"));
            fs::create_dir_all(&own)?;
            let name = object.name().rsplit('/').next().filter(|name| !name.is_empty());
            let path = own.join(name.unwrap_or("input"));
            fs::write(&path, object.bytes())?;
            let uri = Uri::from_path(&path);
            named.push(Object::new(object.role(), uri.to_string(), object.bytes().to_vec()));
            objects.push((object.role(), uri));
        }
        Ok(Self { sample: sample.with_objects(named), objects })
    }

    fn bytes(&self) -> u64 {
        self.sample.in_order().map(|object| object.bytes().len() as u64).sum()
    }
}

/// What the reference's tasks write.
fn expected(bench: &Bench<'_>, job: &dyn Subject, sample: &Sample, parts: u32) -> Result<Vec<Written>, Trouble> {
    let mapped = bench.map(job, sample, Cut::Whole, 0)?;
    if job.traits().map_only {
        return Ok(vec![mapped.written]);
    }
    let mut partitions = vec![KeyGroups::new(); parts as usize];
    for (key, values) in grouped(mapped.pairs) {
        let owner = if parts == 1 { 0 } else { job.partition(&key, parts).map_err(|error| trouble(&error))? };
        partitions[owner as usize].insert(key, values);
    }
    partitions.iter().map(|groups| bench.reduce_of(job, groups, parts)).collect()
}

/// Runs a new job embedded; gives what its tasks wrote.
fn run(bench: &Bench<'_>, lying: &Lying, way: &Way, reducers: u32, output: &Path) -> Result<Vec<Written>, Trouble> {
    let subject = bench.job();
    let shape = if subject.traits().map_only { JobShape::MapOnly } else { JobShape::MapReduce };
    let job = subject.into_any();
    let of = |own: bool| lying.objects.iter().filter(move |(role, _)| (*role == 0) == own);
    let inputs: Vec<Uri> = of(true).map(|(_, uri)| uri.clone()).collect();
    if inputs.is_empty() {
        return Err(Trouble("the sample has no records of the job's own input".to_owned()));
    }
    let mut spec = JobSpec::new("sample", shape, inputs, Uri::from_path(output));
    spec.side_inputs = of(false).map(|(role, uri)| SideInput { role: *role, uri: uri.clone(), mapped: true }).collect();
    spec.reducers = (shape == JobShape::MapReduce).then_some(reducers);
    spec.split_size = ByteSize((lying.bytes() / way.splits).max(1));
    spec.line_rule = bench.rule().clone();
    spec.max_attempts = 1;
    let files = bench.placed().paths();
    if job.order() == PartOrder::Total {
        let plan = list_and_plan(&spec, &Stores::without_environment()).map_err(|error| trouble(&error))?;
        let reads = Reads { files, objects: &LocalObjects::shared() };
        spec.partitioning = range_partitioning(&*job, &spec, &plan, &reads).map_err(|error| trouble(&error))?;
    }
    let clock = Clock::start();
    let prepared =
        prepare(spec, fresh_job_id(&clock), &Stores::without_environment()).map_err(|error| trouble(&error))?;
    // Less than a user may give: a sample is small too.
    let spec = Arc::new(JobSpec { attempt_bytes: way.memory, ..(*prepared.spec).clone() });
    let options = LocalOptions {
        threads: way.threads,
        memory: None,
        scratch: bench.placed().folder(),
        files,
        objects: &LocalObjects::shared(),
        clock,
        submitted: clock.wall(),
    };
    let ended = local::run(&*job, PreparedJob { spec, ..prepared }, &options, &|| false, &mut |_| {});
    let view = ended.map_err(|error| trouble(&error))?.view;
    if view.state != JobState::Succeeded {
        let why = view.failure.as_ref().map_or_else(|| "it was cancelled".to_owned(), ToString::to_string);
        return Err(Trouble(why));
    }
    let mut tasks = BTreeMap::new();
    read_parts(output, "", &mut tasks).map_err(|error| trouble(&error))?;
    Ok(tasks.into_values().collect())
}

/// Reads the parts in a folder of an output and those below it into what each task wrote, by the name that
/// the parts of one task share; `name` is that of the named output, if it is one.
fn read_parts(folder: &Path, name: &str, tasks: &mut BTreeMap<String, Written>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        if is_hidden(&file) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            let below = if name.is_empty() { file } else { format!("{name}/{file}") };
            read_parts(&entry.path(), &below, tasks)?;
            continue;
        }
        let bytes = fs::read(entry.path())?;
        let written = tasks.entry(file).or_default();
        if name.is_empty() {
            written.part = bytes;
        } else {
            written.named.insert(name.to_owned(), bytes);
        }
    }
    Ok(())
}
