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
//! | `agent` | what workers do: their side of the protocol, their attempts |
//! | `faults` | crashes, pauses, partitions and broken streams |
//! | `oracle` | what must hold after each step, kept apart from the scheduler |

mod agent;
mod calendar;
mod cluster;
mod data;
mod faults;
mod network;
mod options;
mod oracle;
mod worker;

pub use cluster::{Summary, simulate};
pub use options::{Fate, JobShape, SimOptions};
