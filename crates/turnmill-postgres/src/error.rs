//! Errors of addresses.

/// Why the address of a database cannot be used. No message contains a password, nor a part of an
/// address that may be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The address is not a PostgreSQL URL.
    #[error("the database URL must begin with `postgresql://` or `postgres://`; found `{address}`")]
    Scheme {
        /// The address without secrets.
        address: String,
    },
    /// A part of the URL cannot be read.
    #[error("the database URL has {problem}: write user and password with %XX for special characters")]
    Malformed {
        /// The problem.
        problem: String,
    },
    /// The URL has an unknown parameter.
    #[error("the database URL has the unknown parameter `{name}`{hint}; known are {known}")]
    UnknownParameter {
        /// Its name.
        name: String,
        /// A hint at the right parameter, if there is one.
        hint: &'static str,
        /// All known parameters.
        known: String,
    },
    /// A parameter has an invalid value.
    #[error("`{name}` cannot be `{value}`: {expected}")]
    Value {
        /// The parameter.
        name: String,
        /// The value without secrets.
        value: String,
        /// The expected values.
        expected: String,
    },
}

impl AddressError {
    /// Returns the error of a value that is not one of `expected`.
    #[must_use]
    pub fn value(name: &str, value: &str, expected: &str) -> Self {
        Self::Value {
            name: name.into(),
            value: shown(value),
            expected: format!("expected one of {expected}"),
        }
    }
}

/// Returns a value without secrets: it may be another one in the wrong parameter.
pub(crate) fn shown(value: &str) -> String {
    turnmill_text::escaped(&turnmill_text::redact(value)).to_string()
}
