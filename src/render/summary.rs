//! How a job ended, in a few lines for people.

use std::time::Duration;

use gristmill_common::counters::{BAD_FILES, BAD_RECORDS, LEFT_OUT_PARTS, NAMED_PARTS};
use gristmill_common::ids::TaskId;
use gristmill_common::naming::BAD_DIR;
use gristmill_common::size::ByteSize;
use gristmill_common::task::{AttemptReport, AttemptStats};
use gristmill_common::time::WallTime;
use gristmill_master::runtime::JobStatus;
use gristmill_master::scheduler::StageView;

use super::console::Console;
use super::json::{self, wall_millis};
use super::progress::describe;
use super::table::Table;

/// Shows a job that succeeded; `peak_rss` is the memory of an embedded run.
pub(crate) fn show(console: Console, status: &JobStatus, now: WallTime, peak_rss: Option<ByteSize>) {
    for line in lines(status, now, peak_rss) {
        console.talk(line);
    }
}

fn lines(status: &JobStatus, now: WallTime, peak_rss: Option<ByteSize>) -> Vec<String> {
    let view = &status.view;
    let (stage, stats) = json::written(view);
    let mut lines = vec![format!(
        "{} succeeded in {}: {} records, {} in {} at {}",
        status.name,
        seconds(wall_millis(status, now)),
        grouped(stats.output_records),
        ByteSize(stats.output_bytes),
        plural(json::parts(view, stage), "part"),
        status.output
    )];
    lines.push(stage_line("map   ", &view.map, &view.map_stats));
    if view.reduce.tasks > 0 {
        lines.push(stage_line("reduce", &view.reduce, &view.reduce_stats));
    }
    let bad = view.counters.get(BAD_RECORDS);
    if bad > 0 {
        lines.push(format!("  {} skipped, kept in {}", plural(bad, "bad record"), status.output.join(BAD_DIR)));
    }
    let damaged = view.counters.get(BAD_FILES);
    if damaged > 0 {
        let left_out = plural(damaged, "damaged file");
        lines.push(format!("  {left_out} left out from where the damage is, named in {}", status.output.join(BAD_DIR)));
    }
    if !view.differed.is_empty() {
        let tasks: Vec<String> = view.differed.iter().take(5).map(ToString::to_string).collect();
        let more = if view.differed.len() > 5 { ", …" } else { "" };
        lines.push(format!("  not deterministic: attempts of {}{more} made different records", tasks.join(", ")));
    }
    let shown_above = [BAD_FILES, BAD_RECORDS, LEFT_OUT_PARTS, NAMED_PARTS];
    for (name, value) in view.counters.iter().filter(|(name, _)| !shown_above.contains(name)) {
        lines.push(format!("  counter {name}: {}", grouped(value)));
    }
    if let Some(peak) = peak_rss {
        lines.push(format!("  peak memory {peak}"));
    }
    lines
}

fn stage_line(name: &str, stage: &StageView, stats: &AttemptStats) -> String {
    let mut line = format!(
        "  {name} {}: {} and {} records in, {} and {} records out",
        plural(stage.tasks.into(), "task"),
        ByteSize(stats.input_bytes),
        grouped(stats.input_records),
        ByteSize(stats.output_bytes),
        grouped(stats.output_records),
    );
    if stats.spills > 0 || stats.merge_passes > 0 {
        let (spills, passes) = (plural(stats.spills, "spill"), plural(stats.merge_passes, "merge pass"));
        line.push_str(&format!("; {spills}, {passes}, {} spilled", ByteSize(stats.spilled_bytes)));
    }
    for (count, what) in [(stage.failed_attempts, "failed"), (stage.lost_attempts, "lost")] {
        if count > 0 {
            line.push_str(&format!("; {} {what}", plural(count.into(), "attempt")));
        }
    }
    line
}

/// `1 part`, `3 parts`.
pub(crate) fn plural(count: u64, what: &str) -> String {
    let ending = match count {
        1 => "",
        _ if what.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {what}{ending}", grouped(count))
}

/// What one task did, for people.
pub(crate) fn task_lines(task: TaskId, report: &AttemptReport) -> Vec<String> {
    let stats = &report.stats;
    let mut lines = vec![format!(
        "{task} succeeded in {}: {} and {} in, {} and {} out",
        seconds(stats.wall_micros / 1000),
        ByteSize(stats.input_bytes),
        plural(stats.input_records, "record"),
        ByteSize(stats.output_bytes),
        plural(stats.output_records, "record"),
    )];
    if let Some(bad) = &report.bad {
        let counts = [(bad.records, "bad record", "skipped"), (bad.objects, "damaged file", "left out")];
        let counts = counts.into_iter().filter(|(count, ..)| *count > 0);
        lines.extend(counts.map(|(count, what, done)| format!("  {} {done}", plural(count, what))));
    }
    lines.extend(report.counters.iter().map(|(name, value)| format!("  counter {name}: {}", grouped(value))));
    lines
}

/// One job, a line for each thing worth knowing.
/// `replay` is the command that runs again what failed.
pub(crate) fn status_table(status: &JobStatus, now: WallTime, replay: Option<String>) -> Table<2> {
    let view = &status.view;
    let mut table = Table::new(["JOB", ""]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("id", view.job.to_string());
    row("name", status.name.clone());
    row("state", json::state(view.state).to_owned());
    row("output", status.output.to_string());
    row("submitted", status.submitted.to_string());
    row("took", seconds(wall_millis(status, now)));
    row("map", stage_line("", &view.map, &view.map_stats).trim().to_owned());
    if view.reduce.tasks > 0 {
        row("reduce", stage_line("", &view.reduce, &view.reduce_stats).trim().to_owned());
    }
    if !view.state.is_terminal() {
        row("progress", describe(view));
    }
    for (name, value) in view.counters.iter() {
        row("counter", format!("{name}: {}", grouped(value)));
    }
    for warning in &status.warnings {
        row("warning", warning.clone());
    }
    if let Some(failure) = &view.failure {
        row("failure", format!("{} {failure}", failure.code));
    }
    if let Some(command) = replay {
        row("replay it", command);
    }
    table
}

/// Many jobs, a line for each.
pub(crate) fn jobs_table(jobs: &[JobStatus], now: WallTime) -> Table<6> {
    let mut table = Table::new(["JOB", "NAME", "STATE", "TASKS", "TOOK", "OUTPUT"]);
    for status in jobs {
        let view = &status.view;
        table.row([
            view.job.to_string(),
            status.name.clone(),
            json::state(view.state).to_owned(),
            format!("{}/{}", view.map.done + view.reduce.done, view.map.tasks + view.reduce.tasks),
            seconds(wall_millis(status, now)),
            status.output.to_string(),
        ]);
    }
    table
}

/// `1.50 s`.
pub(super) fn seconds(millis: u64) -> String {
    format!("{:.2} s", Duration::from_millis(millis).as_secs_f64())
}

/// Digits in groups of three: `12,345,678`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The most memory this process ever had resident, where the system tells.
pub(crate) fn peak_rss() -> Option<ByteSize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(ByteSize::kib(kib))
}

#[cfg(test)]
mod tests {
    use super::super::queued_view;
    use super::*;

    #[test]
    fn digits_are_grouped() {
        let check = |number: u64, text: &str| assert_eq!(grouped(number), text);
        check(0, "0");
        check(999, "999");
        check(1000, "1,000");
        check(12_345_678, "12,345,678");
    }

    #[test]
    fn a_summary_names_parts_spills_and_losses() {
        let mut view = queued_view();
        view.map = StageView { tasks: 2, done: 2, lost_attempts: 1, ..Default::default() };
        view.map_stats = AttemptStats { input_bytes: 2048, input_records: 10, spills: 3, ..Default::default() };
        view.reduce = StageView { tasks: 1, done: 1, ..Default::default() };
        view.reduce_stats = AttemptStats { output_records: 1234, output_bytes: 2048, ..Default::default() };
        view.counters.add(BAD_RECORDS, 3);
        view.counters.add(NAMED_PARTS, 2);
        let output = "/out".parse().expect("a path");
        let wall = |unix_millis| WallTime { unix_millis };
        let (submitted, finished) = (wall(1000), Some(wall(2500)));
        let (name, warnings, recipe) = ("word-count".to_owned(), vec![], None);
        let status = JobStatus { view, name, output, submitted, finished, warnings, recipe };
        let expected = [
            "word-count succeeded in 1.50 s: 1,234 records, 2.00 KiB in 3 parts at /out",
            "  map    2 tasks: 2.00 KiB and 10 records in, 0 B and 0 records out; 3 spills, 0 merge passes, 0 B spilled; \
             1 attempt lost",
            "  reduce 1 task: 0 B and 0 records in, 2.00 KiB and 1,234 records out",
            "  3 bad records skipped, kept in /out/_bad",
            "  peak memory 1.00 MiB",
        ];
        assert_eq!(lines(&status, wall(9000), Some(ByteSize::mib(1))), expected);
        assert!(peak_rss().is_some_and(|peak| peak > ByteSize::kib(100)));
    }
}
