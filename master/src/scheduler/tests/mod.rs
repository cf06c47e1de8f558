//! Table tests: each is a script of events, with the exact commands that must follow each of them.

mod failures;
mod health;
mod jobs;
mod placement;
mod recovery;
mod reports;
mod script;
mod sessions;
mod speculation;
mod superseded;
mod waiting;

use script::{check, check_with};
