//! The stages of a pipeline, their order, and what reads what, without their jobs. Says what is wrong
//! with a plan before anything of it runs.

use std::ops::Range;

use gristmill_common::pipeline::{Rounds, Source, Stage};

/// Stages in the order of their declaration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    /// All stages, those of rounds among them.
    pub(crate) stages: Vec<Stage>,
    /// What is done with them, one after the other.
    pub(crate) steps: Vec<Step>,
}

/// A part of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The stage of this index, once.
    Once(usize),
    /// These stages, at least one, in rounds.
    Rounds(Rounds, Range<usize>),
}

impl Step {
    /// The stages.
    pub(crate) fn stages(&self) -> Range<usize> {
        match self {
            Step::Once(stage) => *stage..stage + 1,
            Step::Rounds(_, body) => body.clone(),
        }
    }
}

/// A plan that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutlineError {
    /// There is nothing to do.
    #[error("the pipeline has no stages")]
    Empty,
    /// A name that no folder should have.
    #[error("a stage cannot be named {name:?} (lower-case letters, digits and - are meant)")]
    Name {
        /// The name.
        name: String,
    },
    /// Two stages would write to one place.
    #[error("two stages are named {name:?}, so both would write to one place")]
    Twice {
        /// Their name.
        name: String,
    },
    /// A stage has no input.
    #[error("the stage {stage:?} reads nothing")]
    ReadsNothing {
        /// The stage.
        stage: String,
    },
    /// There is no such stage.
    #[error("the stage {stage:?} reads {source_name:?}, and no stage is named so (there are {})", known.join(", "))]
    Unknown {
        /// The stage.
        stage: String,
        /// What it reads.
        source_name: String,
        /// The stages there are.
        known: Vec<String>,
    },
    /// Stages read each other's outputs.
    #[error("the stages read in a circle: {}", circle.join(" reads "))]
    Cycle {
        /// The stages, the first one again at the end.
        circle: Vec<String>,
    },
    /// A stage reads what is not there yet.
    #[error("the stage {stage:?} reads {source_name:?}, which runs after it")]
    Later {
        /// The stage.
        stage: String,
        /// What it reads.
        source_name: String,
    },
    /// Only what the last stage of a round writes is there when the rounds are over.
    #[error(
        "the stage {stage:?} reads {source_name:?} from outside its rounds; only {last:?}, their last stage, can be"
    )]
    InsideRounds {
        /// The stage.
        stage: String,
        /// What it reads.
        source_name: String,
        /// The stage that it could read.
        last: String,
    },
    /// There is no round before.
    #[error("the stage {stage:?} reads the round before, and is in no rounds")]
    NoRounds {
        /// The stage.
        stage: String,
    },
    /// Rounds begin with the round before.
    #[error("rounds cannot start with the round before")]
    StartsWithPrevious,
    /// Nothing is repeated.
    #[error("rounds without a stage")]
    EmptyRounds,
    /// Rounds within rounds.
    #[error("rounds within rounds")]
    Nested,
    /// Nobody knows which round is the last before it has run.
    #[error("the pipeline ends with rounds; a stage behind them has to write the output")]
    EndsWithRounds,
    /// What a stage writes is for nobody.
    #[error("nothing reads what the stage {stage:?} writes")]
    Unread {
        /// The stage.
        stage: String,
    },
}

impl Outline {
    /// The index of the stage of this name.
    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.stages.iter().position(|stage| stage.name == name)
    }

    /// The stage that writes the pipeline's output.
    pub(crate) fn last(&self) -> usize {
        self.stages.len() - 1
    }

    /// Checks that each stage can read what it says when its turn comes, and that all is for something.
    ///
    /// # Errors
    ///
    /// The first mistake.
    pub(crate) fn check(&self) -> Result<(), OutlineError> {
        self.check_names()?;
        for step in &self.steps {
            if let Step::Rounds(rounds, body) = step {
                if body.is_empty() {
                    return Err(OutlineError::EmptyRounds);
                }
                match &rounds.start {
                    Source::Previous => return Err(OutlineError::StartsWithPrevious),
                    start => self.check_source(start, body.start, step)?,
                }
            }
            for index in step.stages() {
                let stage = &self.stages[index];
                if stage.reads.is_empty() {
                    return Err(OutlineError::ReadsNothing { stage: stage.name.clone() });
                }
                stage.reads.iter().chain(&stage.sides).try_for_each(|source| self.check_source(source, index, step))?;
            }
        }
        match self.steps.last() {
            None => Err(OutlineError::Empty),
            Some(Step::Rounds(..)) => Err(OutlineError::EndsWithRounds),
            Some(Step::Once(_)) => self.check_readers(),
        }
    }

    fn check_names(&self) -> Result<(), OutlineError> {
        for (index, Stage { name, .. }) in self.stages.iter().enumerate() {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || !name.bytes().all(plain) {
                return Err(OutlineError::Name { name: name.clone() });
            }
            if self.index_of(name) != Some(index) {
                return Err(OutlineError::Twice { name: name.clone() });
            }
        }
        Ok(())
    }

    /// Whether stage `index`, which is part of `step`, may read a source.
    fn check_source(&self, source: &Source, index: usize, step: &Step) -> Result<(), OutlineError> {
        let stage = || self.stages[index].name.clone();
        let name = match (source, step) {
            (Source::Input, _) | (Source::Previous, Step::Rounds(..)) => return Ok(()),
            (Source::Previous, Step::Once(_)) => return Err(OutlineError::NoRounds { stage: stage() }),
            (Source::Stage(name), _) => name,
        };
        let Some(read) = self.index_of(name) else {
            let known = self.stages.iter().map(|stage| stage.name.clone()).collect();
            return Err(OutlineError::Unknown { stage: stage(), source_name: name.clone(), known });
        };
        if read >= index {
            return Err(match self.way(read, index) {
                Some(way) => {
                    let names = way.into_iter().map(|index| self.stages[index].name.clone());
                    OutlineError::Cycle { circle: std::iter::once(stage()).chain(names).collect() }
                }
                None => OutlineError::Later { stage: stage(), source_name: name.clone() },
            });
        }
        let rounds = self.steps.iter().find(|step| step.stages().contains(&read) && !step.stages().contains(&index));
        match rounds.map(Step::stages) {
            Some(body) if read + 1 != body.end => Err(OutlineError::InsideRounds {
                stage: stage(),
                source_name: name.clone(),
                last: self.stages[body.end - 1].name.clone(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// The stages by which `from` reads, by way of others, what `to` writes; both included.
    fn way(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let mut ways = vec![vec![from]];
        let mut seen = vec![from];
        while let Some(way) = ways.pop() {
            let at = *way.last().expect("a way has a stage");
            if at == to {
                return Some(way);
            }
            let read = self.stages[at].reads.iter().chain(&self.stages[at].sides);
            for next in read.filter_map(|source| match source {
                Source::Stage(name) => self.index_of(name),
                Source::Input | Source::Previous => None,
            }) {
                if !seen.contains(&next) {
                    seen.push(next);
                    ways.push(way.iter().copied().chain([next]).collect());
                }
            }
        }
        None
    }

    /// Checks that somebody reads what each stage but the last writes.
    fn check_readers(&self) -> Result<(), OutlineError> {
        let starts = self.steps.iter().filter_map(|step| match step {
            Step::Rounds(rounds, _) => Some(&rounds.start),
            Step::Once(_) => None,
        });
        let read: Vec<&Source> =
            self.stages.iter().flat_map(|stage| stage.reads.iter().chain(&stage.sides)).chain(starts).collect();
        let is_read = |index: usize, step: &Step| {
            // A round's last stage is read by the next round and by nobody behind the rounds: they were in vain.
            let by_name =
                read.iter().any(|source| matches!(source, Source::Stage(name) if *name == self.stages[index].name));
            by_name || step.stages().contains(&self.last())
        };
        for step in &self.steps {
            if let Some(unread) = step.stages().find(|&index| !is_read(index, step)) {
                return Err(OutlineError::Unread { stage: self.stages[unread].name.clone() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A stage of a name that reads: `in`, `before` or other stages.
    pub(crate) fn stage(name: &str, reads: &[&str]) -> Stage {
        reads.iter().fold(Stage::new(name), |stage, read| match *read {
            "in" => stage.reads(Source::Input),
            "before" => stage.reads(Source::Previous),
            other => stage.reads(other),
        })
    }

    /// An outline of steps: one stage, or rounds of several.
    pub(crate) fn outline(steps: Vec<(Option<Rounds>, Vec<Stage>)>) -> Outline {
        let mut outline = Outline::default();
        for (rounds, stages) in steps {
            let from = outline.stages.len();
            outline.stages.extend(stages);
            match rounds {
                Some(rounds) => outline.steps.push(Step::Rounds(rounds, from..outline.stages.len())),
                None => outline.steps.extend((from..outline.stages.len()).map(Step::Once)),
            }
        }
        outline
    }

    #[track_caller]
    fn check(steps: Vec<(Option<Rounds>, Vec<Stage>)>, expect: &str) {
        let seen = outline(steps).check().map_or_else(|error| error.to_string(), |()| String::new());
        assert_eq!(seen, expect);
    }

    #[test]
    fn what_cannot_be_carried_out_is_named() {
        let once =
            |stages: &[(&str, &[&str])]| vec![(None, stages.iter().map(|(name, reads)| stage(name, reads)).collect())];
        check(once(&[("a", &["in"]), ("b", &["a", "in"])]), "");
        check(once(&[]), "the pipeline has no stages");
        check(
            once(&[("A b", &["in"])]),
            "a stage cannot be named \"A b\" (lower-case letters, digits and - are meant)",
        );
        check(once(&[("a", &["in"]), ("a", &["a"])]), "two stages are named \"a\", so both would write to one place");
        check(once(&[("a", &[])]), "the stage \"a\" reads nothing");
        check(
            once(&[("a", &["in"]), ("b", &["aa"])]),
            "the stage \"b\" reads \"aa\", and no stage is named so (there are a, b)",
        );
        check(once(&[("a", &["a"])]), "the stages read in a circle: a reads a");
        check(
            once(&[("a", &["c"]), ("b", &["a"]), ("c", &["in", "b"])]),
            "the stages read in a circle: a reads c reads b reads a",
        );
        check(once(&[("a", &["b"]), ("b", &["in"])]), "the stage \"a\" reads \"b\", which runs after it");
        check(once(&[("a", &["before"])]), "the stage \"a\" reads the round before, and is in no rounds");
        check(once(&[("a", &["in"]), ("b", &["in"])]), "nothing reads what the stage \"a\" writes");
    }

    #[test]
    fn mistakes_about_rounds_are_named() {
        let with = |rounds: Rounds, body: &[Stage], end: &[Stage]| {
            vec![(None, vec![stage("a", &["in"])]), (Some(rounds), body.to_vec()), (None, end.to_vec())]
        };
        let body = [stage("b", &["before"]), stage("c", &["b"])];
        let end = |reads| [stage("d", &[reads])];
        check(with(Rounds::of("a", 3), &body, &end("c")), "");
        check(with(Rounds::of("a", 3), &[], &end("a")), "rounds without a stage");
        check(
            with(Rounds::of("a", 3), &body, &[]),
            "the pipeline ends with rounds; a stage behind them has to write the output",
        );
        check(with(Rounds::of(Source::Previous, 3), &body, &end("c")), "rounds cannot start with the round before");
        let inside = "the stage \"d\" reads \"b\" from outside its rounds; only \"c\", their last stage, can be";
        check(with(Rounds::of("a", 3), &body, &end("b")), inside);
        check(with(Rounds::of("a", 3), &body, &end("a")), "nothing reads what the stage \"c\" writes");
        check(with(Rounds::of("c", 3), &body, &end("c")), "the stages read in a circle: b reads c reads b");
    }
}
