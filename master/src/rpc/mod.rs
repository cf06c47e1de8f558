//! The master's port: the gRPC services, and the life of the process behind them. Converts messages
//! and asks the driver; decides nothing.
//!
//! | file | responsibility |
//! |---|---|
//! | `control.rs` | `Control`: one stream per worker |
//! | `jobs.rs` | `Jobs`: what clients ask for |
//! | `members.rs` | `Members`: certificates for workers |
//! | `convert.rs` | messages to domain types and back |
//! | `refusal.rs` | errors to gRPC statuses, and what a client reads out of them |
//! | `rules.rs` | which role a call needs |
//! | `serve.rs` | from a configuration to a master that serves, and its orderly end |

mod control;
pub(crate) mod convert;
mod files;
mod jobs;
mod members;
pub(crate) mod refusal;
mod rules;
mod serve;
#[cfg(test)]
mod tests;

pub(crate) use files::PIECE_BYTES;
pub use serve::{MasterConfig, MasterError, MasterReady, run_master};
