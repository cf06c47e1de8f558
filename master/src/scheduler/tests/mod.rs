//! Table tests: each is a script of events, with the exact commands that must follow each of them.

mod failures;
mod jobs;
mod placement;
mod reports;
mod script;
mod sessions;
mod waiting;

use script::{check, check_with};
