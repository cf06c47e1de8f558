//! One attempt on the calling thread: with its record position reported if a fatal signal comes, and
//! with its name in the message of a panic.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::io::Write as _;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::JobAttempt;
use gristmill_common::task::AttemptReport;
use gristmill_sys::fatal::{InHand, with_in_hand};

use crate::engine::{self, AnyJob, AttemptContext, EngineTask};

thread_local! {
    static ATTEMPT: Cell<Option<JobAttempt>> = const { Cell::new(None) };
}

/// Runs an attempt to its end; a fatal signal meanwhile names the job, the task and the record in
/// hand, if [`gristmill_sys::fatal::install`] was called.
///
/// # Errors
///
/// Why the attempt failed. A panic outside user code is a failure too: it ends the attempt and
/// nothing else.
pub fn run_in_hand(
    job: &dyn AnyJob,
    task: &EngineTask<'_>,
    context: &AttemptContext<'_>,
) -> Result<AttemptReport, Failure> {
    let objects: Vec<String> = match task {
        EngineTask::Map { split, .. } => split.pieces.iter().map(|piece| piece.object.uri.to_string()).collect(),
        EngineTask::Reduce { .. } => Vec::new(),
    };
    let text = format!("job {}, task {}", context.spec.job, context.id.attempt.task);
    context.position.leave();
    ATTEMPT.set(Some(context.id));
    let in_hand = InHand { task: &text, objects: &objects, position: context.position };
    let result = with_in_hand(&in_hand, || panic::catch_unwind(AssertUnwindSafe(|| job.run(task, context))));
    ATTEMPT.set(None);
    context.position.leave();
    result.unwrap_or_else(|payload| {
        let message = format!("the engine panicked: {}", panic_text(payload.as_ref()));
        Err(Failure::new(FailureCode::ExecutorCrash, message))
    })
}

/// Makes panics say, on standard error, in which attempt they happened; the engine's hook, below
/// this one, keeps the place for the failure.
pub(super) fn install_panic_hook() {
    engine::install_panic_hook();
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if let Some(id) = ATTEMPT.get() {
            let location = info.location().map(|location| format!(" at {location}")).unwrap_or_default();
            let mut report = format!("gristmill: panic in {}{location}: {}\n", id.attempt, panic_text(info.payload()));
            let backtrace = Backtrace::capture();
            if backtrace.status() == BacktraceStatus::Captured {
                report.push_str(&backtrace.to_string());
            }
            // Nobody is left to hear that standard error is closed.
            let _ = std::io::stderr().write_all(report.as_bytes());
        }
        before(info);
    }));
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "(no message)",
    }
}
