//! The jobs and pipelines of a binary: their names, their options on the command line, and how each is
//! built. It runs none of them.

use std::fmt;
use std::sync::Arc;

use clap::ArgMatches;
use gristmill_common::job::{MapOnly, MapReduce};
use gristmill_common::pipeline::Pipeline;
use gristmill_common::program::{InputSample, JobVisitor as _, OptionError, Program};
use gristmill_common::spec::JobSpec;
use gristmill_jobs::{
    Distinct, Grep, GroupBy, InvertedIndex, Join, PageRank, SortLines, Streaming, TeraSort, Top, WordCount,
};
use gristmill_worker::engine::{AnyJob, IntoAnyJob, JobSource};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::pipeline::Planned;

/// A job under the name by which the command line and job specs call it.
#[derive(Clone)]
pub struct JobEntry {
    name: String,
    about: Option<String>,
    example: Option<String>,
    program: Arc<dyn AnyProgram>,
}

/// A job with a reduce and without options.
///
/// # Examples
///
/// See the [crate's first example](crate).
pub fn job<J: MapReduce>(name: impl Into<String>, job: J) -> JobEntry {
    JobEntry::new(name, Fixed(IntoAnyJob.map_reduce(job)))
}

/// A job without reduce and without options.
pub fn map_only_job<J: MapOnly>(name: impl Into<String>, job: J) -> JobEntry {
    JobEntry::new(name, Fixed(IntoAnyJob.map_only(job)))
}

/// A job with options of its own: the fields of `P` become flags of `run NAME` and `submit NAME`,
/// and the doc comment of `P` its description.
///
/// The flags must differ from those every job has (`run --help` lists them).
pub fn job_with_options<P: Program>(name: impl Into<String>) -> JobEntry {
    JobEntry::new(name, WithOptions::<P>(std::marker::PhantomData))
}

/// Several jobs that run one after the other, with options of their own: like a job to whoever calls it,
/// with the flags of every job and `--restart`, which must not be among its own.
pub fn pipeline<P: Pipeline>(name: impl Into<String>) -> JobEntry {
    JobEntry::new(name, Staged::<P>(std::marker::PhantomData))
}

/// The jobs that the shipped binary brings along.
pub fn ready_made_jobs() -> Vec<JobEntry> {
    vec![
        job_with_options::<WordCount>("word-count").example("-i 'books/*.txt' -o counts"),
        job_with_options::<Grep>("grep").example("-i 'logs/*.log' -o errors --pattern 'error|panic'"),
        job_with_options::<Distinct>("distinct").example("-i 'logs/*.log' -o lines"),
        job_with_options::<InvertedIndex>("inverted-index").example("-i 'books/*.txt' -o index"),
        job_with_options::<SortLines>("sort-lines").example("-i 'books/*.txt' -o sorted"),
        job_with_options::<TeraSort>("tera-sort").example("-i unsorted -o sorted"),
        job_with_options::<gristmill_jobs::Copy>("copy").example("-i 'logs/*.log' -o copied"),
        job_with_options::<GroupBy>("group-by")
            .example("-i 'logs/*.csv' -o hosts --by host,status --agg 'count,sum:bytes'"),
        job_with_options::<Join>("join").example("-i orders.csv -o joined --right users.csv --on user=id"),
        job_with_options::<Streaming>("streaming").example("-i 'books/*.txt' -o sorted --mapper cat --reducer uniq"),
        pipeline::<PageRank>("page-rank").example("-i links.tsv -o ranks --iterations 20"),
        job_with_options::<Top>("top").example("-i hosts -o busiest --columns host,status,n,bytes --by bytes -k 10"),
    ]
}

impl JobEntry {
    fn new(name: impl Into<String>, program: impl AnyProgram + 'static) -> Self {
        Self { name: name.into(), about: None, example: None, program: Arc::new(program) }
    }

    /// Sets the line that `run --help` shows beside the job's name.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = Some(about.into());
        self
    }

    /// Sets the arguments with which `run NAME --help` shows how the job is called.
    #[must_use]
    pub fn example(mut self, arguments: impl Into<String>) -> Self {
        self.example = Some(arguments.into());
        self
    }

    /// The job's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The job with arguments, as an example.
    pub(crate) fn call(&self) -> String {
        format!("{} {}", self.name, self.example.as_deref().unwrap_or("-i 'in/*.txt' -o out"))
    }

    /// The job as a subcommand: its name, description and options.
    pub(crate) fn command(&self) -> clap::Command {
        let heading = format!("Options of {}", self.name);
        let command = clap::Command::new(self.name.clone()).next_help_heading(heading);
        let command = self.program.augment(command);
        match &self.about {
            Some(about) => command.about(about.clone()),
            None => command,
        }
    }

    /// The options given on the command line, as the job spec carries them.
    pub(crate) fn options(&self, matches: &ArgMatches) -> Result<Value, ReadOptionsError> {
        self.program.options(matches)
    }

    /// What the options ask for before the job is planned.
    pub(crate) fn wishes(&self, options: &Value) -> Result<Wishes, OptionError> {
        self.program.wishes(options)
    }

    /// Shows the inputs to the job; gives its options as they are then, and which of its side inputs,
    /// by role, map tasks read.
    pub(crate) fn look(
        &self,
        options: &Value,
        spec: &JobSpec,
        inputs: &[InputSample],
    ) -> Result<(Value, Vec<u32>), OptionError> {
        self.program.look(options, spec, inputs)
    }

    /// The job with these options.
    pub(crate) fn build(&self, options: &Value) -> Result<Arc<dyn AnyJob>, OptionError> {
        self.program.build(options)
    }

    /// Whether it is a pipeline, of which [`plan`](Self::plan) gives the stages.
    pub(crate) fn is_pipeline(&self) -> bool {
        self.program.is_pipeline()
    }

    /// The stages of a pipeline with these options.
    ///
    /// # Errors
    ///
    /// If the options or the plan cannot be, or it is a job.
    pub(crate) fn plan(&self, options: &Value) -> Result<Planned, OptionError> {
        self.program.plan(&self.name, options)
    }

    /// The job of a stage of this pipeline.
    fn build_stage(&self, stage: &str, options: &Value) -> Result<Arc<dyn AnyJob>, OptionError> {
        let options = StageOptions::deserialize(options)
            .map_err(|error| OptionError::new(format!("these are no options of a stage: {error}")))?;
        let planned = self.plan(&options.pipeline)?;
        let stage = planned.outline.index_of(stage).ok_or_else(|| {
            OptionError::new(format!("the pipeline {} of this binary has no stage {stage:?}", self.name))
        })?;
        planned.job(stage).build(&options.stage)
    }
}

/// The options that the spec of a stage carries: whoever runs its tasks plans the pipeline to find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StageOptions {
    /// Those of the pipeline.
    pub(crate) pipeline: Value,
    /// Those of the stage.
    pub(crate) stage: Value,
}

impl fmt::Debug for JobEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a job's options ask for before the job is planned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wishes {
    /// The arguments that name each side input, from role 1 on.
    pub(crate) side_inputs: Vec<Vec<String>>,
    /// Whether the job wants to look at its inputs.
    pub(crate) looks: bool,
    /// Whether it does if it is asked for a format of its output.
    pub(crate) looks_if_formatted: bool,
    /// Reduce tasks unless others are asked for.
    pub(crate) reducers: Option<u32>,
}

/// Why options of a command line make no job spec.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadOptionsError {
    /// The command line does not parse.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The options do not serialise: the job's `Serialize` fails.
    #[error("cannot serialise the job's options")]
    Serialize(#[from] serde_json::Error),
}

/// All jobs of this binary.
#[derive(Debug, Clone)]
pub(crate) struct JobTable {
    entries: Vec<JobEntry>,
}

impl JobTable {
    /// A table of these jobs, in this order.
    ///
    /// # Panics
    ///
    /// If two have the same name.
    pub(crate) fn new(entries: impl IntoIterator<Item = JobEntry>) -> Self {
        let entries: Vec<JobEntry> = entries.into_iter().collect();
        for (index, entry) in entries.iter().enumerate() {
            let twice = entries[..index].iter().any(|other| other.name == entry.name);
            assert!(!twice, "two jobs are named {:?}", entry.name);
        }
        Self { entries }
    }

    /// The jobs in order.
    pub(crate) fn entries(&self) -> &[JobEntry] {
        &self.entries
    }

    /// The job of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&JobEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

impl JobSource for JobTable {
    fn build(&self, spec: &JobSpec) -> Result<Arc<dyn AnyJob>, OptionError> {
        if let Some(entry) = self.find(&spec.job) {
            return entry.build(&spec.options);
        }
        let stage = spec.job.split_once('/').and_then(|(pipeline, stage)| Some((self.find(pipeline)?, stage)));
        let unknown = || OptionError::new(format!("this binary has no job named {:?}", spec.job));
        let (pipeline, stage) = stage.ok_or_else(unknown)?;
        pipeline.build_stage(stage, &spec.options)
    }
}

trait AnyProgram: Send + Sync {
    fn augment(&self, command: clap::Command) -> clap::Command;
    fn options(&self, matches: &ArgMatches) -> Result<Value, ReadOptionsError>;
    fn wishes(&self, options: &Value) -> Result<Wishes, OptionError>;
    fn look(&self, options: &Value, spec: &JobSpec, inputs: &[InputSample]) -> Result<(Value, Vec<u32>), OptionError>;
    fn build(&self, options: &Value) -> Result<Arc<dyn AnyJob>, OptionError>;

    fn is_pipeline(&self) -> bool {
        false
    }

    fn plan(&self, name: &str, options: &Value) -> Result<Planned, OptionError> {
        let _ = options;
        Err(OptionError::new(format!("{name} is a job and has no stages")))
    }
}

struct Fixed(Arc<dyn AnyJob>);

impl AnyProgram for Fixed {
    fn augment(&self, command: clap::Command) -> clap::Command {
        command
    }

    fn options(&self, _matches: &ArgMatches) -> Result<Value, ReadOptionsError> {
        Ok(Value::Object(Map::new()))
    }

    fn wishes(&self, _options: &Value) -> Result<Wishes, OptionError> {
        Ok(Wishes::default())
    }

    fn look(
        &self,
        options: &Value,
        _spec: &JobSpec,
        _inputs: &[InputSample],
    ) -> Result<(Value, Vec<u32>), OptionError> {
        Ok((options.clone(), Vec::new()))
    }

    fn build(&self, _options: &Value) -> Result<Arc<dyn AnyJob>, OptionError> {
        Ok(Arc::clone(&self.0))
    }
}

struct WithOptions<P>(std::marker::PhantomData<fn() -> P>);

impl<P: Program> AnyProgram for WithOptions<P> {
    fn augment(&self, command: clap::Command) -> clap::Command {
        P::augment_args(command)
    }

    fn options(&self, matches: &ArgMatches) -> Result<Value, ReadOptionsError> {
        Ok(serde_json::to_value(P::from_arg_matches(matches)?)?)
    }

    fn wishes(&self, options: &Value) -> Result<Wishes, OptionError> {
        let program = program::<P>(options)?;
        Ok(Wishes {
            side_inputs: program.side_inputs(),
            looks: program.looks_at_inputs(),
            looks_if_formatted: program.looks_if_formatted(),
            reducers: program.reducers(),
        })
    }

    fn look(&self, options: &Value, spec: &JobSpec, inputs: &[InputSample]) -> Result<(Value, Vec<u32>), OptionError> {
        let mut program = program::<P>(options)?;
        program.look(spec, inputs)?;
        let mapped = (1..).take(program.side_inputs().len()).filter(|&role| program.maps_side_input(role)).collect();
        let options = serde_json::to_value(program).map_err(|error| OptionError::new(error.to_string()))?;
        Ok((options, mapped))
    }

    fn build(&self, options: &Value) -> Result<Arc<dyn AnyJob>, OptionError> {
        program::<P>(options)?.visit(IntoAnyJob)
    }
}

struct Staged<P>(std::marker::PhantomData<fn() -> P>);

impl<P: Pipeline> AnyProgram for Staged<P> {
    fn augment(&self, command: clap::Command) -> clap::Command {
        P::augment_args(command)
    }

    fn options(&self, matches: &ArgMatches) -> Result<Value, ReadOptionsError> {
        Ok(serde_json::to_value(P::from_arg_matches(matches)?)?)
    }

    fn wishes(&self, _options: &Value) -> Result<Wishes, OptionError> {
        Ok(Wishes::default())
    }

    fn look(
        &self,
        options: &Value,
        _spec: &JobSpec,
        _inputs: &[InputSample],
    ) -> Result<(Value, Vec<u32>), OptionError> {
        Ok((options.clone(), Vec::new()))
    }

    fn build(&self, _options: &Value) -> Result<Arc<dyn AnyJob>, OptionError> {
        Err(OptionError::new("it is a pipeline: its stages are run, not itself"))
    }

    fn is_pipeline(&self) -> bool {
        true
    }

    fn plan(&self, name: &str, options: &Value) -> Result<Planned, OptionError> {
        Planned::of(name, &program::<P>(options)?)
    }
}

/// Options of a job or a pipeline, as a spec carries them.
fn program<P: DeserializeOwned>(options: &Value) -> Result<P, OptionError> {
    P::deserialize(options)
        .map_err(|error| OptionError::new(format!("the options do not fit this build of the job: {error}")))
}
