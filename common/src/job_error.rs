//! Why a job's function gave up: an error of its own, or one of the engine that it passes on.

use std::fmt;

/// What user code returns: its own error of any type, by `?`, or the engine's, passed on.
pub type Result<T, E = JobError> = std::result::Result<T, E>;

/// Why a job's function gave up.
///
/// Not an [`std::error::Error`] itself, so that `?` turns every error into one.
#[derive(Debug)]
pub struct JobError(Reason);

#[derive(Debug)]
enum Reason {
    User(Box<dyn std::error::Error + Send + Sync>),
    Interrupted,
}

impl JobError {
    /// An error with this message.
    ///
    /// # Examples
    ///
    /// ```
    /// use gristmill_common::job::{JobError, Result};
    ///
    /// fn port(text: &str) -> Result<u16> {
    ///     text.parse().map_err(|_| JobError::new(format!("{text:?} is not a port")))
    /// }
    /// assert_eq!(port("x").unwrap_err().to_string(), "\"x\" is not a port");
    /// ```
    pub fn new(message: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Reason::User(message.into()))
    }

    /// For engines: the real reason is kept elsewhere and user code only has to return.
    pub fn interrupted() -> Self {
        Self(Reason::Interrupted)
    }

    /// The error of user code, if it is an `E`.
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        match &self.0 {
            Reason::User(error) => error.downcast_ref(),
            Reason::Interrupted => None,
        }
    }

    /// Whether this is [`interrupted`](Self::interrupted), not an error of user code.
    pub fn is_interruption(&self) -> bool {
        matches!(self.0, Reason::Interrupted)
    }
}

impl fmt::Display for JobError {
    /// The error and its sources, separated by `: `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Interrupted => f.write_str("interrupted"),
            Reason::User(error) => {
                write!(f, "{error}")?;
                let mut source = error.source();
                while let Some(error) = source {
                    write!(f, ": {error}")?;
                    source = error.source();
                }
                Ok(())
            }
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for JobError {
    fn from(error: E) -> Self {
        Self(Reason::User(Box::new(error)))
    }
}
