//! How a pipeline went, stage by stage, and what one would do.
//!
//! `--json` gives an object:
//!
//! | field | value |
//! |---|---|
//! | `pipeline`, `state`, `output` | its name, `succeeded`, location |
//! | `records`, `bytes`, `counters` | of its last stage |
//! | `started`, `wall_ms` | of this command: when, in UTC, and how long |
//! | `stages` | `[{stage, round, job, records, bytes, counters, wall_ms, earlier}]` in the order in which they ran; `round` is 0 outside of rounds, `earlier` says that an earlier command ran it |

use gristmill_common::naming::Uri;
use gristmill_common::pipeline::{Source, Stage};
use gristmill_common::size::ByteSize;
use gristmill_common::time::WallTime;
use serde_json::{Value, json};

use super::console::Console;
use super::summary::{grouped, plural, seconds};
use crate::pipeline::course::Finished;
use crate::pipeline::{Outline, Step};

/// A pipeline that succeeded.
#[derive(Debug)]
pub(crate) struct PipelineEnd<'a> {
    /// What it is called.
    pub(crate) name: &'a str,
    /// What it wrote.
    pub(crate) output: &'a Uri,
    /// Its runs, in order.
    pub(crate) finished: Vec<Finished>,
    /// How many of them an earlier command ran.
    pub(crate) resumed: usize,
    /// When this command began.
    pub(crate) started: WallTime,
    /// Now.
    pub(crate) now: WallTime,
}

/// Shows a pipeline that succeeded.
pub(crate) fn show(console: Console, end: &PipelineEnd<'_>) {
    if console.json {
        console.data(object(end));
    }
    console.talk(summary(end));
}

fn object(end: &PipelineEnd<'_>) -> Value {
    let stage = |(index, run): (usize, &Finished)| {
        let mut object = serde_json::to_value(run).expect("plain data");
        object["earlier"] = (index < end.resumed).into();
        object
    };
    let last = end.finished.last();
    json!({
        "pipeline": end.name,
        "state": "succeeded",
        "output": end.output.to_string(),
        "records": last.map(|run| run.records),
        "bytes": last.map(|run| run.bytes),
        "counters": last.map(|run| &run.counters),
        "started": end.started.to_string(),
        "wall_ms": took_millis(end),
        "stages": end.finished.iter().enumerate().map(stage).collect::<Vec<_>>(),
    })
}

fn took_millis(end: &PipelineEnd<'_>) -> u64 {
    end.now.unix_millis.saturating_sub(end.started.unix_millis)
}

fn summary(end: &PipelineEnd<'_>) -> String {
    let (records, bytes) = end.finished.last().map_or((0, 0), |run| (run.records, run.bytes));
    let earlier = match end.resumed {
        0 => String::new(),
        resumed => format!(", {} of them earlier", grouped(resumed as u64)),
    };
    format!(
        "{} succeeded in {}: {} records, {} at {}, by {}{earlier}",
        end.name,
        seconds(took_millis(end)),
        grouped(records),
        ByteSize(bytes),
        end.output,
        plural(end.finished.len() as u64, "job"),
    )
}

/// `1 finished stage`, `3 finished stages`; each round of one counts.
pub(crate) fn finished_stages(count: usize) -> String {
    plural(count as u64, "finished stage")
}

/// A run that has just succeeded.
pub(crate) fn line(run: &Finished) -> String {
    let round = if run.round > 0 { format!(", round {}", run.round) } else { String::new() };
    let (records, bytes) = (grouped(run.records), ByteSize(run.bytes));
    format!("  {}{round}: {records} records, {bytes} in {} ({})", run.stage, seconds(run.wall_ms), run.job)
}

/// What a pipeline would do: a line for each stage.
pub(crate) fn plan(outline: &Outline) -> Vec<String> {
    let mut lines = Vec::new();
    for step in &outline.steps {
        let rounds = match step {
            Step::Once(_) => None,
            Step::Rounds(rounds, _) => Some(rounds),
        };
        if let Some(rounds) = rounds {
            let until = rounds.until.as_ref();
            let until = until.map(|(counter, at_most)| format!(", until {counter} is at most {}", grouped(*at_most)));
            let until = until.unwrap_or_default();
            lines.push(format!(
                "at most {}, the first after {}{until}:",
                plural(rounds.most.into(), "round"),
                source(&rounds.start)
            ));
        }
        for Stage { name, reads, sides, .. } in &outline.stages[step.stages()] {
            let reads: Vec<String> = reads.iter().chain(sides).map(source).collect();
            let indent = if rounds.is_some() { "  " } else { "" };
            lines.push(format!("{indent}{name} reads {}", reads.join(", ")));
        }
    }
    lines
}

fn source(source: &Source) -> String {
    match source {
        Source::Input => "the input".to_owned(),
        Source::Stage(name) => name.clone(),
        Source::Previous => "the round before".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use gristmill_common::pipeline::Rounds;

    use super::*;

    fn run(stage: &str, round: u32) -> Finished {
        Finished {
            stage: stage.to_owned(),
            round,
            job: "j-000000000001".to_owned(),
            counters: [("changed", 7)].into_iter().collect(),
            records: 1234,
            bytes: 2048,
            wall_ms: 1500,
        }
    }

    #[test]
    fn a_pipeline_is_summed_up_stage_by_stage() {
        let wall = |unix_millis| WallTime { unix_millis };
        let output = "/out".parse().expect("a path");
        let finished = vec![run("links", 0), run("round", 1)];
        let end =
            PipelineEnd { name: "rank", output: &output, finished, resumed: 1, started: wall(1000), now: wall(3500) };
        assert_eq!(
            summary(&end),
            "rank succeeded in 2.50 s: 1,234 records, 2.00 KiB at /out, by 2 jobs, 1 of them earlier"
        );
        assert_eq!(line(&end.finished[1]), "  round, round 1: 1,234 records, 2.00 KiB in 1.50 s (j-000000000001)");
        let object = object(&end);
        assert_eq!((&object["wall_ms"], &object["counters"]["changed"]), (&json!(2500), &json!(7)));
        assert_eq!(object["stages"][0]["earlier"], json!(true));
        assert_eq!((&object["stages"][1]["earlier"], &object["stages"][1]["round"]), (&json!(false), &json!(1)));
    }

    #[test]
    fn a_plan_has_a_line_for_each_stage() {
        let rounds = Rounds::of("a", 1000).until("changed", 0);
        let outline = Outline {
            stages: vec![
                Stage::new("a").reads(Source::Input),
                Stage::new("b").reads(Source::Previous),
                Stage::new("c").reads("b").side("a"),
            ],
            steps: vec![Step::Once(0), Step::Rounds(rounds, 1..2), Step::Once(2)],
        };
        let expect = [
            "a reads the input",
            "at most 1,000 rounds, the first after a, until changed is at most 0:",
            "  b reads the round before",
            "c reads b, a",
        ];
        assert_eq!(plan(&outline), expect);
    }
}
