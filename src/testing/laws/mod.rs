//! The laws of jobs, and the search for one that a job breaks: each is tried on the whole sample, and
//! where it does not hold, on ever smaller ones.
//!
//! | file | laws about |
//! |---|---|
//! | `pairs.rs` | what `map` emits, its encodings, and which task owns it |
//! | `folds.rs` | the combiner |
//! | `reduces.rs` | `reduce` |
//! | `whole.rs` | the output as a whole |

mod folds;
mod pairs;
mod reduces;
mod whole;

use std::fmt;

use gristmill_common::job::{MapOnly, MapReduce};
use gristmill_common::naming::Uri;
use gristmill_common::program::{InputSample, OptionError, Program};
use gristmill_common::spec::{JobShape, JobSpec};
use gristmill_common::text::LineRule;

use super::bench::{Bench, Trouble};
use super::hooks::{ComesBack, KeyOrder};
use super::sample::Sample;
use super::shrink;
use super::subject::{IntoSubject, Reducing, Subject};

/// What every job promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// It runs on the sample: no call of user code fails or panics.
    Runs,
    /// Values are what their encoding decodes to.
    ValuesComeBack,
    /// Keys are what their encoding decodes to, and compare as it does.
    KeysKeepTheirOrder,
    /// `map` emits the same for the same records, whenever it is run: no random numbers, no clock, not
    /// the order of a `HashMap`, not the number of the attempt.
    MapRepeats,
    /// An attempt of a map task finds nothing that an earlier one left in the job.
    MapKeepsNothing,
    /// `partition` gives a task below the number of tasks, always the same for a key, and one for all
    /// keys that are grouped together.
    PartitionIsAFunction,
    /// The combiner may fold values in any order.
    CombineCommutes,
    /// The combiner may fold values in any grouping, and what it has folded again.
    CombineAssociates,
    /// `reduce` gives the same for values that were combined and for those that were not.
    CombineChangesNothing,
    /// `reduce` gives the same for the same values, whenever it is run.
    ReduceRepeats,
    /// An attempt of a reduce task finds nothing that an earlier one left in the job.
    ReduceKeepsNothing,
    /// `reduce` gives the same for the values of a key in any order, if it is claimed to.
    ReduceTakesAnyOrder,
    /// The output does not depend on where splits and blocks of the input end.
    SplitsDoNotShow,
    /// The engine gives the same as the sequential reference, for any number of tasks.
    EngineAgrees,
    /// The output does not depend on when the job runs.
    TimeDoesNotShow,
}

impl fmt::Display for Law {
    /// How it is broken.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Law::Runs => "it does not run on the sample",
            Law::ValuesComeBack => "a value does not come back as it was emitted",
            Law::KeysKeepTheirOrder => "the encoding of a key does not stand for it",
            Law::MapRepeats => "map emits something else when it is run again",
            Law::MapKeepsNothing => "map depends on what an earlier attempt left in the job",
            Law::PartitionIsAFunction => "partition is no function of the grouped key",
            Law::CombineCommutes => "the combiner depends on the order of the values",
            Law::CombineAssociates => "the combiner depends on how the values are grouped",
            Law::CombineChangesNothing => "the combiner changes the result",
            Law::ReduceRepeats => "reduce gives something else when it is run again",
            Law::ReduceKeepsNothing => "reduce depends on what an earlier attempt left in the job",
            Law::ReduceTakesAnyOrder => "reduce depends on the order of the values, which it claims not to",
            Law::SplitsDoNotShow => "the output depends on where splits or blocks end",
            Law::EngineAgrees => "the output depends on how the job is run",
            Law::TimeDoesNotShow => "the output depends on when the job runs",
        })
    }
}

/// A law that a job breaks.
#[derive(Debug, Clone)]
pub struct BrokenLaw {
    /// The law.
    pub law: Law,
    /// The job's type or name.
    pub job: String,
    /// What was seen.
    pub detail: String,
    /// The smallest sample found on which it is broken.
    pub sample: Sample,
}

impl fmt::Display for BrokenLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} breaks a law of jobs: {}", self.job, self.law)?;
        writeln!(f, "  {}", self.detail)?;
        write!(f, "on the sample")?;
        for object in self.sample.in_order() {
            write!(f, "\n  {}: {}", object.name(), shown(object.bytes()))?;
        }
        Ok(())
    }
}

impl std::error::Error for BrokenLaw {}

/// Looks for laws that a job breaks. [`check_job!`](crate::check_job) is a shorter way to do so, and
/// knows more of the job's types.
///
/// # Examples
///
/// ```
/// use gristmill::prelude::*;
/// use gristmill::testing::{Law, Laws, Sample};
///
/// struct Numbered(std::sync::atomic::AtomicU64);
///
/// impl MapOnly for Numbered {
///     type Input = Utf8Lines;
///     type Output = Text<u64, str>;
///
///     fn map(&self, line: &str, out: &mut impl Sink<u64, str>) -> Result<()> {
///         out.put(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed), line)
///     }
/// }
///
/// let laws = Laws::of_map_only(|| Numbered(Default::default()));
/// let broken = laws.check("a\nb\nc\n").expect_err("it counts on when it is run again");
/// assert_eq!(broken.law, Law::MapKeepsNothing);
/// ```
pub struct Laws<'a> {
    name: String,
    make: Box<dyn Fn() -> Box<dyn Subject> + 'a>,
    reducers: Option<u32>,
    any_order: bool,
}

impl<'a> Laws<'a> {
    /// Those of the jobs that `make` makes, which are all the same.
    pub fn of_job<J: MapReduce>(make: impl Fn() -> J + 'a) -> Self {
        Self::of_job_with_hooks(make, None, None)
    }

    /// For [`check_job!`](crate::check_job).
    #[doc(hidden)]
    pub fn of_job_with_hooks<J: MapReduce>(
        make: impl Fn() -> J + 'a,
        comes_back: Option<ComesBack<J::Value>>,
        key_order: Option<KeyOrder>,
    ) -> Self {
        let make = move || -> Box<dyn Subject> { Box::new(Reducing { job: make(), comes_back, key_order }) };
        Self::new(std::any::type_name::<J>(), make)
    }

    /// Those of jobs without a reduce.
    pub fn of_map_only<J: MapOnly>(make: impl Fn() -> J + 'a) -> Self {
        use gristmill_common::program::JobVisitor as _;
        Self::new(std::any::type_name::<J>(), move || IntoSubject.map_only(make()))
    }

    /// Those of a job with options, once it has looked at the sample, if it does.
    ///
    /// # Errors
    ///
    /// If the options cannot be with this sample.
    pub fn of_program<P: Program>(mut program: P, sample: impl Into<Sample>) -> Result<Self, OptionError> {
        let reducers = program.reducers();
        if program.looks_at_inputs() {
            let nowhere = Uri::parse("/sample", std::path::Path::new("/"));
            let nowhere = nowhere.map_err(|error| OptionError::new(error.to_string()))?;
            let mut spec = JobSpec::new("sample", JobShape::MapReduce, vec![nowhere.clone()], nowhere);
            // A job that would read a small side input by itself finds no such object in a sample.
            spec.reducers = Some(reducers.unwrap_or(1));
            program.look(&spec, &input_samples(&program, &sample.into()))?;
        }
        program.clone().visit(IntoSubject)?;
        let make = move || program.clone().visit(IntoSubject).expect("it could be made before");
        Ok(Self { reducers, ..Self::new(std::any::type_name::<P>(), make) })
    }

    fn new(name: &str, make: impl Fn() -> Box<dyn Subject> + 'a) -> Self {
        let name = name.rsplit("::").next().unwrap_or(name).to_owned();
        Self { name, make: Box::new(make), reducers: None, any_order: false }
    }

    /// Claims that `reduce` gives the same for the values of a key in any order.
    #[must_use]
    pub fn in_any_order(mut self) -> Self {
        self.any_order = true;
        self
    }

    /// Says that the job must have so many reduce tasks, such as one that writes totals.
    #[must_use]
    pub fn with_reducers(mut self, reducers: u32) -> Self {
        self.reducers = Some(reducers);
        self
    }

    /// Looks for a law that the job breaks on the sample.
    ///
    /// # Errors
    ///
    /// The first such law, and the smallest sample found.
    ///
    /// # Panics
    ///
    /// If the system's folder for temporary files cannot be written.
    pub fn check(&self, sample: impl Into<Sample>) -> Result<(), BrokenLaw> {
        let sample = sample.into();
        let placed = sample.place_files().expect("the system's temporary folder takes the sample's files");
        let bench = Bench::new(&*self.make, placed, self.reducers, self.any_order);
        for trial in TRIALS {
            let Some(detail) = self.broken(trial, &bench, &sample)? else { continue };
            let broken = |smaller: &Sample| (trial.check)(&bench, smaller).ok().flatten();
            let (sample, detail) = shrink::shrink(&bench, sample, detail, trial.shrinking, &broken);
            return Err(BrokenLaw { law: trial.law, job: self.name.clone(), detail, sample });
        }
        Ok(())
    }

    /// What shows that the law is broken.
    fn broken(&self, trial: &Trial, bench: &Bench<'_>, sample: &Sample) -> Result<Option<String>, BrokenLaw> {
        (trial.check)(bench, sample).map_err(|Trouble(said)| {
            let fails = |smaller: &Sample| (trial.check)(bench, smaller).err().map(|Trouble(said)| said);
            let (sample, detail) = shrink::shrink(bench, sample.clone(), said, trial.shrinking, &fails);
            BrokenLaw { law: Law::Runs, job: self.name.clone(), detail, sample }
        })
    }
}

impl fmt::Debug for Laws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Laws").field("job", &self.name).finish_non_exhaustive()
    }
}

/// What each input of a job begins with.
fn input_samples<P: Program>(program: &P, sample: &Sample) -> Vec<InputSample> {
    let of_role = |role: u32| {
        let first = sample.of_role(role).find(|object| !object.bytes().is_empty());
        let first_record = first.map(|object| {
            let record = LineRule::Lf.records(object.bytes()).next().unwrap_or_default();
            (record.to_vec(), object.name().to_owned())
        });
        let first_records = first_record.iter().map(|(record, _)| record.clone()).collect();
        InputSample { role, objects: vec![], first_record, first_records, schema: None }
    };
    (0..).take(program.side_inputs().len() + 1).map(of_role).collect()
}

/// How a law is tried: what shows that it is broken, or why user code failed.
type Check = fn(&Bench<'_>, &Sample) -> Result<Option<String>, Trouble>;

struct Trial {
    law: Law,
    check: Check,
    /// How many smaller samples may be tried.
    shrinking: usize,
}

/// The laws in the order in which they are tried: those come first whose breach explains others.
const TRIALS: &[Trial] = &[
    Trial { law: Law::ValuesComeBack, check: pairs::values_come_back, shrinking: 300 },
    Trial { law: Law::MapRepeats, check: pairs::map_repeats, shrinking: 300 },
    Trial { law: Law::MapKeepsNothing, check: pairs::map_keeps_nothing, shrinking: 300 },
    Trial { law: Law::KeysKeepTheirOrder, check: pairs::keys_keep_their_order, shrinking: 300 },
    Trial { law: Law::PartitionIsAFunction, check: pairs::partition_is_a_function, shrinking: 300 },
    Trial { law: Law::CombineCommutes, check: folds::combine_commutes, shrinking: 300 },
    Trial { law: Law::CombineAssociates, check: folds::combine_associates, shrinking: 300 },
    Trial { law: Law::ReduceRepeats, check: reduces::reduce_repeats, shrinking: 300 },
    Trial { law: Law::ReduceKeepsNothing, check: reduces::reduce_keeps_nothing, shrinking: 300 },
    Trial { law: Law::CombineChangesNothing, check: folds::combine_changes_nothing, shrinking: 300 },
    Trial { law: Law::ReduceTakesAnyOrder, check: reduces::reduce_takes_any_order, shrinking: 300 },
    Trial { law: Law::SplitsDoNotShow, check: whole::splits_do_not_show, shrinking: 100 },
    Trial { law: Law::EngineAgrees, check: whole::engine_agrees, shrinking: 20 },
    // Each look takes up to a second.
    Trial { law: Law::TimeDoesNotShow, check: whole::time_does_not_show, shrinking: 0 },
];

/// Bytes for people: as text where they are, no more than a few lines.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    let text = bytes[..bytes.len().min(MOST)].escape_ascii();
    let more = if bytes.len() > MOST { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    format!("\"{text}\"{more}")
}

/// Says how two outputs differ: the first lines in which they do.
fn difference(what: &str, one: &[u8], other_what: &str, other: &[u8]) -> String {
    let lines = |bytes: &[u8]| -> Vec<Vec<u8>> { bytes.split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec).collect() };
    let (one, other) = (lines(one), lines(other));
    let at = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let line = |lines: &[Vec<u8>]| lines.get(at).map_or("nothing".to_owned(), |line| shown(line));
    let (mut a, mut b) = (one.clone(), other.clone());
    a.sort_unstable();
    b.sort_unstable();
    let hint = if a == b { "; it is the same in another order: a HashMap's?" } else { "" };
    format!("{what} gives {}, {other_what} {}{hint}", line(&one), line(&other))
}
