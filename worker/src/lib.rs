//! The worker: everything that happens where the records are.
//!
//! | module | what | waits? |
//! |---|---|---|
//! | [`engine`] | records in, records out | no: synchronous |
pub mod engine;
