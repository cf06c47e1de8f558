//! The only unsafe code of Gristmill, in small modules with safe faces: memory that two
//! processes share, what is printed when a fatal signal ends one, hints about memory, and the
//! allocator's one setting. Everything else forbids
//! `unsafe`; each use here says why it is sound.
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]
#![warn(missing_docs)]

#[cfg(feature = "allocator")]
pub mod allocator;
pub mod fatal;
pub mod memory;
pub mod positions;
