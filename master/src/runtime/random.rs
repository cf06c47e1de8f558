//! Random numbers where nothing depends on their quality: job ids and waits.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A number that nobody can foresee: the standard library seeds each hasher differently.
pub(crate) fn random_u64() -> u64 {
    RandomState::new().build_hasher().finish()
}
