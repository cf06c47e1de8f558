//! The worker: everything that happens where the records are.
//!
//! | module | what | waits? |
//! |---|---|---|
//! | [`engine`] | records in, records out | no: synchronous |
//! | [`executor`] | the process that runs user code, and how the worker talks to it | no: threads |
//! | [`agent`] | the worker process: the session with the master, slots, supervision | on tokio |
//! | `ranges` | what executors read from object stores, fetched for them | on the stores' threads |
//! | [`replay`] | one task of a job, run again without a master | for its executor |
//! | [`upload`] | parts on their way to an object store | on the network |
//! | `serve`, `fetch`, `rpc` | segments between workers | on the network |
//! | `scratch` | the worker's folder | no |
//! | [`memory`] | how much attempts may take together | no |
pub mod agent;
pub mod engine;
pub mod executor;
mod fetch;
pub mod memory;
mod random;
mod ranges;
pub mod replay;
mod rpc;
mod scratch;
mod serve;
#[cfg(test)]
mod testing;
pub mod upload;
