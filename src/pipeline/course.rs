//! The course of a pipeline: a function of its outline and of what is done, so that whoever comes after a
//! crash goes on like whoever was there before.

use std::collections::BTreeSet;

use gristmill_common::counters::Counters;
use gristmill_common::pipeline::{SoFar, Source, Stage};
use serde::{Deserialize, Serialize};

use super::{Outline, Step};

/// A run of a stage that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// The stage.
    pub(crate) stage: String,
    /// The round, from 1; 0 outside of rounds.
    pub(crate) round: u32,
    /// The job that it was.
    pub(crate) job: String,
    /// What it counted.
    pub(crate) counters: Counters,
    /// Records that it wrote.
    pub(crate) records: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// How long it took.
    pub(crate) wall_ms: u64,
}

/// Records that a run reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Data {
    /// What the pipeline was given.
    Input,
    /// What the run of this number wrote.
    Run(usize),
}

/// A run of a stage that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NextRun {
    /// Its number among all runs, from 0.
    pub(crate) number: usize,
    /// The index of its stage.
    pub(crate) stage: usize,
    /// The round, from 1; 0 outside of rounds.
    pub(crate) round: u32,
    /// What it reads, in order.
    pub(crate) reads: Vec<Data>,
    /// What it reads besides, in order.
    pub(crate) sides: Vec<Data>,
}

/// Where a pipeline is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Course {
    /// What is to be done next; `None` if all is done.
    pub(crate) next: Option<NextRun>,
    /// The runs whose outputs the next run or a later one may read.
    pub(crate) needed: BTreeSet<usize>,
    /// The run that each stage's output is of, where there is one.
    latest: Vec<Option<Data>>,
}

impl Course {
    /// Where the pipeline of this outline, which was checked, is when these runs are over, in order.
    pub(crate) fn of(outline: &Outline, finished: &[Finished]) -> Self {
        let latest = vec![None; outline.stages.len()];
        let mut walk = Walk { outline, finished, number: 0, latest };
        for (index, step) in outline.steps.iter().enumerate() {
            let later = outline.steps[index + 1..].iter().flat_map(Step::stages);
            match step {
                Step::Once(stage) => {
                    if !walk.pass(*stage) {
                        return walk.stop(*stage, 0, None, later.collect());
                    }
                }
                Step::Rounds(rounds, body) => {
                    let mut previous = walk.data(&rounds.start, None);
                    for round in 1..=rounds.most {
                        for stage in body.clone() {
                            if !walk.pass(stage) {
                                return walk.stop(stage, round, Some(previous), body.clone().chain(later).collect());
                            }
                        }
                        previous = Data::Run(walk.number - 1);
                        let counters = &finished[walk.number - 1].counters;
                        if rounds.until.as_ref().is_some_and(|(counter, at_most)| counters.get(counter) <= *at_most) {
                            break;
                        }
                    }
                    walk.latest[body.end - 1] = Some(previous);
                }
            }
        }
        Self { next: None, needed: BTreeSet::new(), latest: walk.latest }
    }

    /// What stages counted when they ran last, for a stage in this round.
    pub(crate) fn so_far(&self, outline: &Outline, finished: &[Finished], round: u32) -> SoFar {
        let mut so_far = SoFar::new(round);
        for (stage, latest) in outline.stages.iter().zip(&self.latest) {
            // Rounds that did not run stand for what they would have started with.
            if let Some(Data::Run(number)) = latest
                && finished[*number].stage == stage.name
            {
                so_far.add(&stage.name, finished[*number].counters.clone());
            }
        }
        so_far
    }
}

struct Walk<'a> {
    outline: &'a Outline,
    finished: &'a [Finished],
    /// Runs that were passed.
    number: usize,
    latest: Vec<Option<Data>>,
}

impl Walk<'_> {
    /// Passes a run of a stage, if it is over.
    fn pass(&mut self, stage: usize) -> bool {
        let over = self.number < self.finished.len();
        if over {
            self.latest[stage] = Some(Data::Run(self.number));
            self.number += 1;
        }
        over
    }

    /// What a source stands for now.
    fn data(&self, source: &Source, previous: Option<Data>) -> Data {
        match source {
            Source::Input => Data::Input,
            Source::Previous => previous.expect("checked: the stage is in rounds"),
            Source::Stage(name) => {
                let stage = self.outline.index_of(name).expect("checked: there is such a stage");
                self.latest[stage].expect("checked: it runs before whoever reads it")
            }
        }
    }

    /// Stops before a run; `ahead` are the stages that may run afterwards, itself perhaps among them.
    fn stop(self, stage: usize, round: u32, previous: Option<Data>, ahead: Vec<usize>) -> Course {
        let Stage { reads, sides, .. } = &self.outline.stages[stage];
        let resolve = |sources: &[Source]| sources.iter().map(|source| self.data(source, previous)).collect();
        let next = NextRun { number: self.number, stage, round, reads: resolve(reads), sides: resolve(sides) };
        let starts = self.outline.steps.iter().filter_map(|step| match step {
            Step::Rounds(rounds, body) if ahead.contains(&body.start) && !body.contains(&stage) => Some(&rounds.start),
            Step::Rounds(..) | Step::Once(_) => None,
        });
        let read = ahead.iter().flat_map(|&stage| {
            let stage = &self.outline.stages[stage];
            stage.reads.iter().chain(&stage.sides)
        });
        // What this stage and those after it wrote in the round before, they write again before it is read.
        let before = |index: &usize| *index < stage;
        let named = read.chain(starts).filter_map(|source| match source {
            Source::Stage(name) => self.latest[self.outline.index_of(name).filter(before)?],
            Source::Input | Source::Previous => None,
        });
        let all = named.chain(previous).chain(next.reads.iter().chain(&next.sides).copied());
        let needed = all.filter_map(|data| match data {
            Data::Run(number) => Some(number),
            Data::Input => None,
        });
        Course { needed: needed.collect(), next: Some(next), latest: self.latest.clone() }
    }
}

#[cfg(test)]
mod tests {
    use gristmill_common::pipeline::Rounds;

    use super::super::outline::tests::{outline, stage};
    use super::*;

    /// `number stage.round <- reads; needed`.
    fn shown(outline: &Outline, finished: &[Finished]) -> String {
        let course = Course::of(outline, finished);
        let data = |data: &Data| match data {
            Data::Input => "in".to_owned(),
            Data::Run(number) => number.to_string(),
        };
        let Some(next) = course.next else { return "done".to_owned() };
        let reads: Vec<String> = next.reads.iter().chain(&next.sides).map(data).collect();
        let name = &outline.stages[next.stage].name;
        format!("{} {name}.{} <- {}; {:?}", next.number, next.round, reads.join(" "), course.needed)
    }

    fn finish(outline: &Outline, finished: &mut Vec<Finished>, changed: u64) {
        let next = Course::of(outline, finished).next.expect("there is more to do");
        finished.push(Finished {
            stage: outline.stages[next.stage].name.clone(),
            round: next.round,
            job: format!("j-{}", next.number),
            counters: [("changed", changed)].into_iter().collect(),
            records: 0,
            bytes: 0,
            wall_ms: 0,
        });
    }

    /// The whole course, the stages counting these changes one after the other.
    fn course(outline: &Outline, changes: &[u64]) -> Vec<String> {
        outline.check().expect("a plan that can be");
        let mut finished = vec![];
        let mut seen = vec![shown(outline, &finished)];
        for &changed in changes {
            finish(outline, &mut finished, changed);
            seen.push(shown(outline, &finished));
        }
        seen
    }

    #[test]
    fn stages_run_in_order_and_what_nobody_reads_is_not_needed() {
        let stages =
            vec![stage("a", &["in"]), stage("b", &["a"]), stage("c", &["b"]).side("a"), stage("d", &["c", "in"])];
        let expect = ["0 a.0 <- in; {}", "1 b.0 <- 0; {0}", "2 c.0 <- 1 0; {0, 1}", "3 d.0 <- 2 in; {2}", "done"];
        assert_eq!(course(&outline(vec![(None, stages)]), &[0; 4]), expect);
    }

    fn rounds(rounds: Rounds) -> Outline {
        let body = vec![stage("b", &["before"]), stage("c", &["b", "before"])];
        outline(vec![(None, vec![stage("a", &["in"])]), (Some(rounds), body), (None, vec![stage("d", &["c"])])])
    }

    #[test]
    fn a_round_reads_the_one_before_and_keeps_no_other() {
        let expect = [
            "0 a.0 <- in; {}",
            "1 b.1 <- 0; {0}",
            "2 c.1 <- 1 0; {0, 1}",
            "3 b.2 <- 2; {2}",
            "4 c.2 <- 3 2; {2, 3}",
            "5 d.0 <- 4; {4}",
            "done",
        ];
        assert_eq!(course(&rounds(Rounds::of("a", 2)), &[9; 6]), expect);
    }

    #[test]
    fn rounds_end_when_a_counter_is_low_enough() {
        let until = |at_most| rounds(Rounds::of("a", 100).until("changed", at_most));
        let seen = course(&until(0), &[0, 0, 5, 0, 0]);
        assert_eq!(seen[3], "3 b.2 <- 2; {2}");
        assert_eq!(seen[5], "5 d.0 <- 4; {4}");
        assert_eq!(course(&until(5), &[0, 0, 5])[3], "3 d.0 <- 2; {2}");
    }

    #[test]
    fn without_rounds_their_start_stands_for_their_end() {
        let outline = rounds(Rounds::of("a", 0));
        assert_eq!(course(&outline, &[7, 0]), ["0 a.0 <- in; {}", "1 d.0 <- 0; {0}", "done"]);
        let mut finished = vec![];
        finish(&outline, &mut finished, 7);
        let so_far = Course::of(&outline, &finished).so_far(&outline, &finished, 0);
        assert_eq!((so_far.counter("a", "changed"), so_far.counter("c", "changed")), (7, 0));
    }

    #[test]
    fn stages_know_what_those_before_counted_last() {
        let outline = rounds(Rounds::of("a", 2));
        let mut finished = vec![];
        (1..=5).for_each(|changed| finish(&outline, &mut finished, changed));
        let so_far = Course::of(&outline, &finished).so_far(&outline, &finished, 3);
        assert_eq!(["a", "b", "c", "d"].map(|stage| so_far.counter(stage, "changed")), [1, 4, 5, 0]);
        assert_eq!(so_far.round(), 3);
    }
}
