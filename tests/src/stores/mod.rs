//! Object stores for tests: real servers that a test starts itself, and an HTTP proxy that misbehaves in
//! front of them.
//!
//! | module | for |
//! |---|---|
//! | [`servers`] | moto and s3s-fs for S3, Azurite for Azure; each skipped with the reason where it is not there |
//! | [`proxy`] | 500, 503, 409, stalls, truncated bodies, replies lost after the request was carried out |
//! | [`step`] | the steps of a commit, and the death of processes at one of them |
//! | [`trial`] | a job from a store to the same store, and what must be there afterwards |
//! | [`web`] | a web server with one object, with or without ranges and tags |
//! | [`message`] | HTTP/1.1 messages, as far as those need them |

pub mod message;
pub mod proxy;
pub mod servers;
pub mod step;
pub mod trial;
pub mod web;

pub use message::RequestHead;
pub use proxy::{Counters, Fault, FaultProxy, Rates};
pub use servers::{ServerKind, StoreServer};
pub use step::{Moment, Step};
pub use trial::StoreTrial;
pub use web::{Manners, WebServer};
