//! Why a store cannot be opened. Every text names the location, none a secret.

use std::io;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// This build has no client for the scheme.
    #[error("cannot open {object}: nothing here reaches {scheme}:// stores")]
    NotBuiltIn {
        /// The scheme.
        scheme: String,
        /// The location.
        object: String,
    },
    /// The location names no bucket, or a key that stores refuse.
    #[error("{object} is no location in a store: {reason}")]
    BadLocation {
        /// The location.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There are no credentials.
    #[error("no credentials for {object}: looked for {}", looked_for.join("; "))]
    NoCredentials {
        /// The location.
        object: String,
        /// All places that were looked at, in order, and what was missing there.
        looked_for: Vec<String>,
    },
    /// Credentials are there and cannot be used.
    #[error("cannot use {origin} for {object}: {reason}")]
    BadCredentials {
        /// The location.
        object: String,
        /// Where they come from.
        origin: String,
        /// What is wrong with them.
        reason: String,
    },
    /// Whoever issues credentials does not.
    #[error("no credentials for {object}: {origin} did not give any ({reason})")]
    CredentialsRefused {
        /// The location.
        object: String,
        /// Who should have given some.
        origin: String,
        /// What it did instead.
        reason: String,
    },
    /// Something in the options or the environment makes no client.
    #[error("cannot reach {object}: {reason}")]
    Misconfigured {
        /// The location.
        object: String,
        /// What is wrong.
        reason: String,
    },
    /// The operating system gives no threads for the requests.
    #[error("cannot start the threads for store requests: {source}")]
    Runtime {
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    /// What to try, where there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            StoreError::NoCredentials { .. } => Some("--anonymous reaches buckets that are open to everybody"),
            StoreError::NotBuiltIn { .. } => Some("build with the feature \"cloud\", or copy it to a local folder"),
            StoreError::CredentialsRefused { .. } => {
                Some("give credentials in the environment, or --anonymous for buckets that are open to everybody")
            }
            StoreError::BadLocation { .. }
            | StoreError::BadCredentials { .. }
            | StoreError::Misconfigured { .. }
            | StoreError::Runtime { .. } => None,
        }
    }
}
