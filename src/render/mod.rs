//! What people and programs see. Data goes to stdout, talk to stderr; nothing here decides anything.
//!
//! | module | what |
//! |---|---|
//! | [`console`] | the two streams, and whether they are terminals |
//! | [`error`] | errors with causes and hints |
//! | [`json`] | the documented objects of `--json` |
//! | [`progress`] | bars and lines of a running job |
//! | [`stages`] | how a pipeline went, and what one would do |
//! | [`summary`] | how a job ended, in a few lines |
//! | [`table`] | columns of text |

pub(crate) mod console;
pub(crate) mod error;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod stages;
pub(crate) mod summary;
pub(crate) mod table;

/// A job of which nothing is known but that it was submitted.
#[cfg(test)]
fn queued_view() -> gristmill_master::scheduler::JobView {
    use gristmill_master::scheduler::{JobState, JobView};

    JobView {
        job: gristmill_common::ids::JobId(1),
        state: JobState::Queued,
        map: Default::default(),
        reduce: Default::default(),
        counters: Default::default(),
        map_stats: Default::default(),
        reduce_stats: Default::default(),
        differed: Vec::new(),
        failure: None,
        waiting: None,
    }
}
