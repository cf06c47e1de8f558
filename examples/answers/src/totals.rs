//! Jobs whose answer is about everything at once: they have one reduce task.

use gristmill::prelude::*;

/// Refuses to run with several reduce tasks, each of which would write an answer about its own keys.
pub(crate) fn in_one_task(task: &TaskContext<'_>) -> Result<()> {
    match task.reducers() {
        0 | 1 => Ok(()),
        many => Err(JobError::new(format!("the totals need one reduce task, not {many} (--reducers 1)"))),
    }
}
