//! A seeded simulation of a cluster around the pure scheduler: workers, streams and time are
//! simulated in one thread, so that one number replays a whole run. No sockets, no real time.
//!
//! | module | for |
//! |---|---|
//! | `options` | what a run is made of, drawn from its seed |
//! | `calendar` | the only time; the only randomness is [`crate::random`] |
//! | `data` | the tiny job whose output is checked, and its reference |
//! | `worker` | one simulated worker process |
//! | `network` | streams that delay, repeat, reorder and lose messages, and break |
//! | `cluster` | the loop: master, workers and streams |
//! | `master` | the master's process and its journal |
//! | `agent` | what workers do: their side of the protocol, their attempts |
//! | `campaign` | many seeds at once, and the shrinking of one that fails |
//! | `faults` | crashes, pauses, partitions and broken streams |
//! | `makespan` | how long jobs take, with killed workers, stragglers and each placement policy |
//! | `oracle` | what must hold after each step, kept apart from the scheduler |

mod agent;
mod calendar;
mod campaign;
mod cluster;
mod data;
mod faults;
mod makespan;
mod master;
mod network;
mod options;
mod oracle;
mod worker;

pub use campaign::{Tally, Violation, campaign, run, shrink};
pub use cluster::{Summary, simulate};
pub use makespan::{Trial, makespan};
pub use options::{Fate, FaultKind, JobShape, Planted, SimOptions};
