//! What can be wrong with a message that was decoded: the one error of all conversions. It names
//! the field, so that whoever reads a log finds it in the `.proto` files.

/// A message that has no meaning in the domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field that must be there is absent.
    #[error("field {field} is missing")]
    Missing {
        /// The field, as `Message.field`.
        field: &'static str,
    },
    /// An enum value or name that this build does not know.
    #[error("field {field} has the unknown value {value:?}")]
    Unknown {
        /// The field, as `Message.field`.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// A value that cannot be.
    #[error("field {field} is not valid: {reason}")]
    Invalid {
        /// The field, as `Message.field`.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// Unwraps a field that must be there.
///
/// # Errors
///
/// [`WireError::Missing`] if it is absent.
pub fn required<T>(field: &'static str, value: Option<T>) -> Result<T, WireError> {
    value.ok_or(WireError::Missing { field })
}

/// Wraps the reason why a field's value cannot be; for `map_err`.
pub fn invalid<E: std::fmt::Display>(field: &'static str) -> impl FnOnce(E) -> WireError {
    move |error| WireError::Invalid { field, reason: error.to_string() }
}
