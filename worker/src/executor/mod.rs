//! The executor: the process in which user code runs, and how worker and executor talk.
//!
//! One executor serves one job on one worker. It is the worker's own binary, started with
//! [`EXECUTOR_VERB`], and has no network, no credentials and no say: it runs the attempts it is
//! given on a pool with one thread a slot and answers each. When its socket closes, it ends.
//!
//! | module | side |
//! |---|---|
//! | `child` | the executor's: from taking over the process to the last attempt |
//! | `attempt` | the executor's: one attempt on one pool thread |
//! | `ranges` | the executor's: what it reads from object stores, by way of its worker |
//! | `message` | both: what is said, and its wire form |
//! | `frame` | both: one message on a byte stream |

mod attempt;
mod child;
pub(crate) mod frame;
pub(crate) mod message;
mod ranges;

pub use attempt::run_in_hand;
pub use child::run_child;

/// The hidden verb of the command line under which a worker starts its own binary as an executor.
pub const EXECUTOR_VERB: &str = "__executor";
