//! How far a job is: a bar on a terminal, otherwise a line every few seconds. A job that ends within
//! a second shows nothing.

use std::time::Duration;

use gristmill_common::size::ByteSize;
use gristmill_common::time::{Clock, Timestamp};
use gristmill_master::scheduler::{JobState, JobView, StageView};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::console::Console;

/// How long a job runs before its progress is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a line is written where no bar can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Steps of the bar.
const STEPS: u64 = 1000;

/// The progress of one job, shown as it goes.
pub(crate) struct Progress {
    console: Console,
    clock: Clock,
    started: Timestamp,
    bar: Option<ProgressBar>,
    next_line: Timestamp,
    waiting: Option<String>,
}

impl Progress {
    /// Progress of a job that starts now.
    pub(crate) fn new(console: Console, clock: Clock) -> Self {
        let started = clock.now();
        Self { console, clock, started, bar: None, next_line: started + LINE_EVERY, waiting: None }
    }

    /// Takes in how far the job is, and shows it if it is time.
    pub(crate) fn update(&mut self, view: &JobView) {
        let now = self.clock.now();
        if self.console.quiet || now - self.started < PATIENCE {
            return;
        }
        if self.console.draws() {
            let bar = self.bar.get_or_insert_with(new_bar);
            bar.set_position((fraction(view) * STEPS as f64) as u64);
            bar.set_message(describe(view));
            bar.tick();
        } else if now >= self.next_line || self.waits_anew(view) {
            self.next_line = now + LINE_EVERY;
            self.console.talk(format_args!("{} ({} s)", describe(view), (now - self.started).as_secs()));
        }
    }

    /// Whether the job has just begun to wait for something: worth a line of its own.
    fn waits_anew(&mut self, view: &JobView) -> bool {
        let waiting = view.waiting.as_ref().filter(|_| view.state != JobState::Committing);
        if self.waiting.as_ref() == waiting {
            return false;
        }
        self.waiting = waiting.cloned();
        self.waiting.is_some()
    }

    /// Takes the bar away.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn new_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24} {msg} ({elapsed})").expect("the template is valid");
    ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr()).with_style(style)
}

/// `map 3/12 tasks, 192 MiB of 768 MiB; reduce 0/4`, or what the job waits for.
pub(super) fn describe(view: &JobView) -> String {
    let stage = |name: &str, stage: &StageView| format!("{name} {}/{} tasks", stage.done, stage.tasks);
    let mut text = stage("map", &view.map);
    if view.map.done < view.map.tasks {
        let (done, all) = (ByteSize(view.map.done_bytes), ByteSize(view.map.input_bytes));
        text.push_str(&format!(", {done} of {all}"));
    }
    if view.reduce.tasks > 0 {
        text.push_str("; ");
        text.push_str(&stage("reduce", &view.reduce));
    }
    let lost = view.map.lost_attempts + view.reduce.lost_attempts;
    let failed = view.map.failed_attempts + view.reduce.failed_attempts;
    for (count, what) in [(failed, "failed"), (lost, "lost")] {
        if count > 0 {
            text.push_str(&format!("; {count} attempts {what}"));
        }
    }
    if let Some(waiting) = &view.waiting {
        text.push_str(&format!("; waiting: {waiting}"));
    }
    text
}

/// How much of the work is done; reading the input counts for most of it.
fn fraction(view: &JobView) -> f64 {
    let part = |done: u64, all: u64| if all == 0 { 0.0 } else { done as f64 / all as f64 };
    let map = part(view.map.done_bytes, view.map.input_bytes);
    let reduce = part(view.reduce.done.into(), view.reduce.tasks.into());
    if view.reduce.tasks == 0 { map } else { 0.8 * map + 0.2 * reduce }
}

#[cfg(test)]
mod tests {
    use super::super::queued_view;
    use super::*;

    #[test]
    fn progress_names_what_matters() {
        let mut view = queued_view();
        view.map = StageView { tasks: 12, done: 3, done_bytes: 3 << 20, input_bytes: 12 << 20, ..Default::default() };
        assert_eq!(describe(&view), "map 3/12 tasks, 3.00 MiB of 12.0 MiB");
        assert!((fraction(&view) - 0.25).abs() < 1e-9);
        view.map = StageView { tasks: 12, done: 12, lost_attempts: 2, ..view.map };
        view.reduce = StageView { tasks: 4, done: 1, ..Default::default() };
        view.waiting = Some("no worker is connected".into());
        let text = "map 12/12 tasks; reduce 1/4 tasks; 2 attempts lost; waiting: no worker is connected";
        assert_eq!(describe(&view), text);
    }
}
