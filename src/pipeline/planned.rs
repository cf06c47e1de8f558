//! The stages of a pipeline with their jobs: what [`Pipeline::plan`] declares, gathered and checked.

use std::fmt;

use gristmill_common::pipeline::{Pipeline, Plan, Rounds, SoFar, Stage};
use gristmill_common::program::{OptionError, Program};
use serde_json::Value;

use super::outline::{Outline, OutlineError, Step};
use crate::entry::{JobEntry, job_with_options};

/// A pipeline that can be run.
pub(crate) struct Planned {
    /// Its stages.
    pub(crate) outline: Outline,
    /// The job of each.
    jobs: Vec<StageJob>,
}

struct StageJob {
    entry: JobEntry,
    options: Box<OptionsAfter>,
}

/// The options of a stage, given what those before it counted.
type OptionsAfter = dyn Fn(&SoFar) -> Result<Value, OptionError> + Send + Sync;

impl Planned {
    /// Plans the pipeline of this name.
    ///
    /// # Errors
    ///
    /// If an option has a value that cannot be, or the plan cannot be carried out.
    pub(crate) fn of<P: Pipeline>(name: &str, pipeline: &P) -> Result<Self, OptionError> {
        let mut gathered = Gathered { pipeline: name, planned: Self::nothing(), rounds_begun: false, nested: false };
        pipeline.plan(&mut gathered)?;
        let Gathered { planned, nested, .. } = gathered;
        let checked = if nested { Err(OutlineError::Nested) } else { planned.outline.check() };
        checked.map_err(|error| OptionError::new(format!("{name} cannot be run: {error}")))?;
        Ok(planned)
    }

    fn nothing() -> Self {
        Self { outline: Outline::default(), jobs: Vec::new() }
    }

    /// The job of the stage of this index, named `PIPELINE/STAGE`.
    pub(crate) fn job(&self, stage: usize) -> &JobEntry {
        &self.jobs[stage].entry
    }

    /// The options of a stage after what the stages before it counted.
    ///
    /// # Errors
    ///
    /// If they cannot be.
    pub(crate) fn options(&self, stage: usize, so_far: &SoFar) -> Result<Value, OptionError> {
        (self.jobs[stage].options)(so_far)
    }
}

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planned").field("outline", &self.outline).finish_non_exhaustive()
    }
}

/// Takes declarations.
struct Gathered<'a> {
    pipeline: &'a str,
    planned: Planned,
    rounds_begun: bool,
    nested: bool,
}

impl Plan for Gathered<'_> {
    fn stage_with<P: Program>(
        &mut self,
        stage: Stage,
        program: impl Fn(&SoFar) -> Result<P, OptionError> + Send + Sync + 'static,
    ) {
        let Planned { outline, jobs } = &mut self.planned;
        if !self.rounds_begun {
            outline.steps.push(Step::Once(outline.stages.len()));
        }
        let options = move |so_far: &SoFar| {
            serde_json::to_value(program(so_far)?).map_err(|error| OptionError::new(error.to_string()))
        };
        jobs.push(StageJob {
            entry: job_with_options::<P>(format!("{}/{}", self.pipeline, stage.name)),
            options: Box::new(options),
        });
        outline.stages.push(stage);
    }

    fn repeat(&mut self, rounds: Rounds, body: impl FnOnce(&mut Self)) {
        self.nested |= self.rounds_begun;
        self.rounds_begun = true;
        let from = self.planned.outline.stages.len();
        body(self);
        self.rounds_begun = false;
        let outline = &mut self.planned.outline;
        outline.steps.push(Step::Rounds(rounds, from..outline.stages.len()));
    }
}

#[cfg(test)]
mod tests {
    use clap::Args;
    use gristmill_common::pipeline::Source;
    use gristmill_jobs::{Distinct, PageRank};
    use serde::{Deserialize, Serialize};

    use super::*;

    /// Rounds within rounds
    #[derive(Debug, Clone, Args, Serialize, Deserialize)]
    struct Nested {}

    impl Pipeline for Nested {
        fn plan(&self, plan: &mut impl Plan) -> Result<(), OptionError> {
            plan.repeat(Rounds::of(Source::Input, 2), |outer| {
                outer.repeat(Rounds::of(Source::Input, 2), |inner| {
                    inner.stage(Stage::new("a").reads(Source::Previous), Distinct {});
                });
            });
            Ok(())
        }
    }

    #[test]
    fn stages_are_gathered_with_their_jobs() {
        let options = serde_json::json!({ "iterations": 3, "damping": 0.85, "tolerance": null, "separator": "\\t" });
        let pipeline: PageRank = serde_json::from_value(options).expect("its options");
        let planned = Planned::of("page-rank", &pipeline).expect("a plan");
        let names = (0..=planned.outline.last()).map(|stage| planned.job(stage).name().to_owned());
        assert_eq!(names.collect::<Vec<_>>(), ["page-rank/links", "page-rank/round", "page-rank/ranks"]);
        assert!(matches!(planned.outline.steps[1], Step::Rounds(Rounds { most: 3, .. }, ref body) if *body == (1..2)));
        let options = planned.options(0, &SoFar::new(0)).expect("options");
        assert!(planned.job(0).build(&options).is_ok(), "{options}");
    }

    #[test]
    fn a_plan_that_cannot_be_is_named() {
        let error = Planned::of("twice", &Nested {}).expect_err("no such thing");
        assert_eq!(error.message, "twice cannot be run: rounds within rounds");
    }
}
