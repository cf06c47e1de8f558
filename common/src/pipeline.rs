//! Several jobs in one submission: a [`Pipeline`] declares its stages, each a job, and what each reads.
//! Declares only; whoever implements [`Plan`] checks and runs it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::counters::Counters;
use crate::program::{OptionError, Program};

/// Options of a pipeline, and the stages they make.
///
/// As with a [`Program`], the struct is its own `clap::Args` and serde type. The stages run one after the
/// other, in the order in which they are declared; the last one writes the output of the pipeline, and
/// what the others write is removed as soon as no stage reads it any more.
///
/// # Examples
///
/// ```
/// use gristmill_common::prelude::*;
/// use serde::{Deserialize, Serialize};
///
/// /// Words that occur more than once
/// #[derive(Clone, clap::Args, Serialize, Deserialize)]
/// struct Often {}
///
/// impl Pipeline for Often {
///     fn plan(&self, plan: &mut impl Plan) -> Result<(), OptionError> {
///         plan.stage(Stage::new("count").reads(Source::Input), Count {});
///         plan.stage(Stage::new("often").reads("count"), Pick {});
///         Ok(())
///     }
/// }
/// # #[derive(Clone, clap::Args, Serialize, Deserialize)]
/// # struct Count {}
/// # impl Program for Count {
/// #     fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
/// #         Ok(visitor.map_reduce(self))
/// #     }
/// # }
/// # impl MapReduce for Count {
/// #     type Input = Lines;
/// #     type Key = [u8];
/// #     type Value = u64;
/// #     type Combine = Sum;
/// #     type Output = KeyValues<[u8], u64>;
/// #     fn map(&self, line: &[u8], out: &mut impl Emit<[u8], u64>) -> Result<()> {
/// #         words(line).try_for_each(|word| out.emit(word, 1))
/// #     }
/// #     fn reduce(&self, word: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
/// #         out.put(word, counts.sum())
/// #     }
/// # }
/// # #[derive(Clone, clap::Args, Serialize, Deserialize)]
/// # struct Pick {}
/// # impl Program for Pick {
/// #     fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
/// #         Ok(visitor.map_only(self))
/// #     }
/// # }
/// # impl MapOnly for Pick {
/// #     type Input = KeyValues<[u8], u64>;
/// #     type Output = Text<[u8], u64>;
/// #     fn map(&self, word: KeyValue<'_, [u8], u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
/// #         let (word, count) = word.get()?;
/// #         if count > 1 { out.put(word, count) } else { Ok(()) }
/// #     }
/// # }
/// ```
pub trait Pipeline: clap::Args + Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Declares the stages. The same for the same options: whoever runs a stage asks for them again.
    ///
    /// # Errors
    ///
    /// If an option has a value that cannot be.
    fn plan(&self, plan: &mut impl Plan) -> Result<(), OptionError>;
}

/// Takes the stages of a pipeline.
pub trait Plan {
    /// Declares a stage whose options are known beforehand.
    fn stage<P: Program>(&mut self, stage: Stage, program: P) {
        self.stage_with(stage, move |_| Ok(program.clone()));
    }

    /// Declares a stage whose options follow from what the stages before it counted. `program` is called
    /// when the stage is about to run, and must give the same for the same counts.
    fn stage_with<P: Program>(
        &mut self,
        stage: Stage,
        program: impl Fn(&SoFar) -> Result<P, OptionError> + Send + Sync + 'static,
    );

    /// Declares stages that run again and again. Rounds hold no rounds.
    fn repeat(&mut self, rounds: Rounds, body: impl FnOnce(&mut Self));
}

/// What a stage is called and what it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its name among the stages: lower-case letters, digits and `-`.
    pub name: String,
    /// What its map tasks read, in this order.
    pub reads: Vec<Source>,
    /// What they read besides: the first has the role after those that the program's own options name.
    pub sides: Vec<Source>,
    /// Its reduce tasks, whatever the command line says.
    pub reducers: Option<u32>,
}

impl Stage {
    /// A stage that reads nothing yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), reads: Vec::new(), sides: Vec::new(), reducers: None }
    }

    /// The same, reading this too: [`Source::Input`], or an earlier stage by its name.
    #[must_use]
    pub fn reads(mut self, source: impl Into<Source>) -> Self {
        self.reads.push(source.into());
        self
    }

    /// The same with this as a side input: its records are [`OneOf::Side`](crate::input::OneOf::Side).
    #[must_use]
    pub fn side(mut self, source: impl Into<Source>) -> Self {
        self.sides.push(source.into());
        self
    }

    /// The same with so many reduce tasks, whatever the command line says.
    #[must_use]
    pub fn reducers(mut self, reducers: u32) -> Self {
        self.reducers = Some(reducers);
        self
    }
}

/// What a stage may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// What the pipeline was given with `-i`.
    Input,
    /// What the stage of this name wrote last.
    Stage(String),
    /// Within rounds: what the last stage of the round before wrote; in the first round, what the rounds
    /// start with.
    Previous,
}

impl From<&str> for Source {
    fn from(stage: &str) -> Self {
        Source::Stage(stage.to_owned())
    }
}

/// How often stages are repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rounds {
    /// What the first round reads as the round before.
    pub start: Source,
    /// The most rounds; with none, what is read by the name of the last repeated stage is `start`.
    pub most: u32,
    /// A counter of the last stage of a round, and the value at or below which that round is the last.
    pub until: Option<(String, u64)>,
}

impl Rounds {
    /// At most so many rounds, the first one of what `start` wrote.
    pub fn of(start: impl Into<Source>, most: u32) -> Self {
        Self { start: start.into(), most, until: None }
    }

    /// The same, ending with the first round whose last stage counts no more than `at_most`.
    #[must_use]
    pub fn until(mut self, counter: impl Into<String>, at_most: u64) -> Self {
        self.until = Some((counter.into(), at_most));
        self
    }
}

/// What the stages before one counted.
#[derive(Debug, Clone, Default)]
pub struct SoFar {
    round: u32,
    counters: BTreeMap<String, Counters>,
}

impl SoFar {
    /// Before a stage in this round, counted from 1; 0 outside of rounds.
    pub fn new(round: u32) -> Self {
        Self { round, counters: BTreeMap::new() }
    }

    /// Adds what a stage counted when it ran last.
    pub fn add(&mut self, stage: &str, counters: Counters) {
        self.counters.insert(stage.to_owned(), counters);
    }

    /// The round, from 1; 0 outside of rounds.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// What a stage counted when it ran last; 0 if it did not run.
    pub fn counter(&self, stage: &str, name: &str) -> u64 {
        self.counters.get(stage).map_or(0, |counters| counters.get(name))
    }
}
