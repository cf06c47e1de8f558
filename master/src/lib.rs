//! The master: plans jobs, schedules their attempts and commits their outputs. Moves metadata only;
//! records never pass through it.

pub mod client;
pub mod failpoint;
pub mod plan;
pub mod rpc;
pub mod runtime;
pub mod scheduler;
