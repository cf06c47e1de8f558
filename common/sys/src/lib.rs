//! The only unsafe code of Gristmill, in two small modules with safe faces: memory that two
//! processes share, and what is printed when a fatal signal ends one. Everything else forbids
//! `unsafe`; each use here says why it is sound.
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]
#![warn(missing_docs)]

pub mod fatal;
pub mod memory;
pub mod positions;
