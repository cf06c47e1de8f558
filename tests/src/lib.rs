//! What the cross-crate tests share.
//!
//! | module | for |
//! |---|---|
//! | [`chaos`] | real processes under faults, from a seed |
//! | [`cluster`] | real processes: a master and workers to kill |
//! | [`data`] | the trial data and its expected answers |
//! | [`docs`] | running what documents tell readers to type |
//! | [`installed`] | what some tests use beyond Rust, as far as it is there |
//! | [`memory`] | how much memory a command takes |
//! | [`random`] | randomness that can be repeated |
//! | [`side_by_side`] | our commands for the runner that compares engines |
//! | [`sim`] | a simulated cluster around the pure scheduler |
//! | [`stores`] | object stores to start, and faults in front of them |
//! | [`waiting`] | waiting with a deadline |

pub mod chaos;
pub mod cluster;
pub mod data;
pub mod docs;
pub mod installed;
pub mod memory;
pub mod random;
pub mod side_by_side;
pub mod sim;
pub mod stores;
pub mod waiting;
