//! Random numbers that spread things: waits, names. Not for secrets.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A number that differs in each call.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
