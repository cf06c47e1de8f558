//! Pipelines of a user's own crate: three stages with a side input, plans that cannot be, and stages that
//! fail.

use std::path::{Path, PathBuf};

use clap::Args;
use gristmill::prelude::*;
use gristmill_tests::data::sha256;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Check, assert_says, call, sandbox, with_cluster};

pub(super) fn jobs() -> [JobEntry; 1] {
    [pipeline::<Shared>("shared")]
}

pub(super) const CHECKS: [Check; 4] = [
    (
        "a_pipeline_runs_here_and_on_a_cluster_and_leaves_its_output",
        a_pipeline_runs_here_and_on_a_cluster_and_leaves_its_output,
    ),
    ("plans_that_cannot_be_are_named_before_the_first_record", plans_that_cannot_be_are_named_before_the_first_record),
    ("flags_that_do_not_apply_to_pipelines_are_refused", flags_that_do_not_apply_to_pipelines_are_refused),
    ("a_stage_that_failed_is_the_first_one_next_time", a_stage_that_failed_is_the_first_one_next_time),
];

/// Counts words, and marks those that occur more than once
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
struct Shared {
    /// What is wrong with the plan
    #[arg(long)]
    mistake: Option<String>,

    /// The second stage fails while this file is there
    #[arg(long)]
    fail_if: Option<PathBuf>,
}

impl Pipeline for Shared {
    fn plan(&self, plan: &mut impl Plan) -> Result<(), OptionError> {
        let count = Stage::new("count").reads(Source::Input);
        let count = match self.mistake.as_deref() {
            Some("circle") => count.reads("often"),
            Some("unknown") => count.reads("oftn"),
            _ => count,
        };
        let twice = self.mistake.as_deref() == Some("twice");
        plan.stage(count, Count {});
        let often = Stage::new(if twice { "count" } else { "often" }).reads("count");
        plan.stage(often, Often { fail_if: self.fail_if.clone() });
        plan.stage(Stage::new("mark").reads("count").side("often"), Mark {});
        Ok(())
    }
}

type Counted = KeyValues<[u8], u64>;

/// Counts words
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
struct Count {}

impl Program for Count {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(self))
    }
}

impl MapReduce for Count {
    type Input = Lines;
    type Key = [u8];
    type Value = u64;
    type Combine = Sum;
    type Output = Counted;

    fn map(&self, line: &[u8], out: &mut impl Emit<[u8], u64>) -> Result<()> {
        words(line).try_for_each(|word| out.emit(word, 1))
    }

    fn reduce(&self, word: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
        out.put(word, counts.sum())
    }
}

/// Picks the words that occur more than once
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
struct Often {
    /// Fails while this file is there
    #[arg(long)]
    fail_if: Option<PathBuf>,
}

impl Program for Often {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_only(self))
    }
}

impl MapOnly for Often {
    type Input = Counted;
    type Output = Counted;

    fn map(&self, word: KeyValue<'_, [u8], u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
        if self.fail_if.as_ref().is_some_and(|path| path.exists()) {
            return Err(JobError::new("told to fail"));
        }
        match word.get()? {
            (_, 0..=1) => Ok(()),
            (word, times) => out.put(word, times),
        }
    }
}

/// Joins both
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
struct Mark {}

impl Program for Mark {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(self))
    }
}

impl MapReduce for Mark {
    type Input = OneOf<Counted, Counted>;
    type Key = [u8];
    type Value = (u64, bool);
    type Combine = NoCombine;
    type Output = Text<[u8], Pair<u64, bool>>;

    fn map(
        &self,
        word: OneOf<KeyValue<'_, [u8], u64>, KeyValue<'_, [u8], u64>>,
        out: &mut impl Emit<[u8], (u64, bool)>,
    ) -> Result<()> {
        match word {
            OneOf::Main(counted) => {
                let (word, times) = counted.get()?;
                out.emit(word, (times, false))
            }
            OneOf::Side(often) => out.emit(often.get()?.0, (0, true)),
        }
    }

    fn reduce(
        &self,
        word: &[u8],
        marks: Values<(u64, bool)>,
        out: &mut impl Sink<[u8], Pair<u64, bool>>,
    ) -> Result<()> {
        out.put(word, marks.fold((0, false), |(times, often), mark| (times + mark.0, often | mark.1)))
    }
}

const MARKED: &str = "deep\t1\tfalse\none\t1\tfalse\ntrouble\t1\tfalse\ntwo\t3\ttrue\n";

/// What is there when a pipeline into `out` has succeeded.
const LEFT: [&str; 6] = ["in", "in/a.txt", "in/b.txt", "out", "out/_SUCCESS", "out/part-00000"];

fn a_pipeline_runs_here_and_on_a_cluster_and_leaves_its_output() {
    let here = sandbox();
    call(&here, "run shared -i in -o out --reducers 1").expect_code(0);
    assert_eq!(here.parts("out"), MARKED);
    assert_eq!((here.tree(), here.scratch()), (LEFT.map(str::to_owned).to_vec(), vec![]));
    let there = sandbox();
    with_cluster(&there, |url| {
        let called = call(&there, &format!("submit shared -i in -o out --reducers 1 --json --master {url}"));
        let end = called.expect_code(0).json();
        assert_eq!(end["stages"].as_array().expect("stages").len(), 3, "{end}");
        assert_eq!(there.parts("out"), MARKED);
        let called = call(&there, &format!("submit shared -i in -o out2 --detach --master {url}")).expect_code(2);
        assert_says(&called, &["shared is a pipeline", "leave out --detach"]);
    });
    assert_eq!(there.tree(), LEFT);
}

fn plans_that_cannot_be_are_named_before_the_first_record() {
    let explained = call(&sandbox(), "explain shared -i in -o out").expect_code(0).stdout;
    let expected = "shared\n  count reads the input\n  often reads count\n  mark reads count, often\n  output   ";
    assert!(explained.starts_with(expected) && explained.ends_with("out: can be written\n"), "{explained}");
    for (mistake, expected) in [
        ("circle", "the stages read in a circle: count reads often reads count"),
        ("twice", "two stages are named \"count\", so both would write to one place"),
        ("unknown", "the stage \"count\" reads \"oftn\", and no stage is named so (there are count, often, mark)"),
    ] {
        let sandbox = sandbox();
        let before = sandbox.tree();
        let called = call(&sandbox, &format!("run shared -i in -o out --mistake {mistake}")).expect_code(2);
        assert_says(&called, &[&format!("error: shared cannot be run: {expected}")]);
        assert_eq!((sandbox.tree(), sandbox.scratch()), (before, vec![]));
    }
}

fn flags_that_do_not_apply_to_pipelines_are_refused() {
    let sandbox = sandbox();
    let before = sandbox.tree();
    let called = call(&sandbox, "run shared -i in -o out --max-bad-records 3").expect_code(2);
    assert_says(&called, &["--max-bad-records does not apply"]);
    sandbox.file("old/part-00000", "x");
    let called = call(&sandbox, "run shared -i in -o old").expect_code(3);
    assert_says(&called, &["old"]);
    std::fs::remove_dir_all(sandbox.path("old")).expect("removed");
    call(&sandbox, "run shared -i missing -o new/deep/out").expect_code(3);
    assert_eq!(sandbox.tree(), before);
}

fn a_stage_that_failed_is_the_first_one_next_time() {
    let sandbox = sandbox();
    sandbox.file("stop", "");
    let fail_if = format!("--fail-if {}", sandbox.path("stop").display());
    let run = |more: &str| call(&sandbox, &format!("run shared -i in -o out --reducers 1 --json {fail_if} {more}"));
    let called = run("").expect_code(1);
    let text = "error: the stage often failed: ";
    assert_says(&called, &[text, "told to fail", "the same command goes on after 1 finished stage"]);
    assert!(!sandbox.path("out").exists());

    std::fs::remove_file(sandbox.path("stop")).expect("removed");
    let job = forget_the_last_stage(&sandbox.path(".out.pipeline/state"));
    let called = run("").expect_code(0);
    assert_says(&called, &["going on after 1 finished stage", "1 of them earlier"]);
    let end = called.json();
    let stages = end["stages"].as_array().expect("stages");
    assert_eq!(stages.iter().map(|stage| stage["earlier"] == true).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(stages[0]["job"], job, "what was published counts, noted or not");
    assert_eq!((sandbox.parts("out").as_str(), sandbox.tree()), (MARKED, LEFT.map(str::to_owned).to_vec()));

    sandbox.file("stop", "");
    run("--overwrite").expect_code(1);
    sandbox.file("in/b.txt", "two two\ndeep trouble\ndeep\n");
    std::fs::remove_file(sandbox.path("stop")).expect("removed");
    let called = run("--overwrite").expect_code(0);
    assert_says(&called, &["beginning anew: the input changed since"]);
    assert!(sandbox.parts("out").starts_with("deep\t2\ttrue\n"), "{}", sandbox.parts("out"));
}

/// Makes a state that of a process that died before it had noted its last stage; gives that one's job.
fn forget_the_last_stage(state: &Path) -> Value {
    let text = std::fs::read_to_string(state).expect("a state");
    let mut object: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    let last = object["finished"].as_array_mut().expect("a list").pop().expect("a stage");
    let line = object.to_string();
    std::fs::write(state, format!("{line}\n{}\n", sha256(line.as_bytes()))).expect("written");
    last["job"].clone()
}
