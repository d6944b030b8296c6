//! Why an address cannot be used.

/// Why the address of a database cannot be used. No message holds a password, nor any part of an address that may be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It is no PostgreSQL URL.
    #[error("the database URL must begin with `postgresql://` or `postgres://`; found `{address}`")]
    Scheme {
        /// The address as it may be shown.
        address: String,
    },
    /// A part of the URL cannot be read.
    #[error("the database URL has {problem}: write user and password with %XX for special characters")]
    Malformed {
        /// What is wrong.
        problem: String,
    },
    /// A parameter that is not known.
    #[error("the database URL has the unknown parameter `{name}`{hint}; known are {known}")]
    UnknownParameter {
        /// Its name.
        name: String,
        /// What to use instead, if that is known.
        hint: &'static str,
        /// All that there are.
        known: String,
    },
    /// A value that a parameter cannot have.
    #[error("`{name}` cannot be `{value}`: {expected}")]
    Value {
        /// The parameter.
        name: String,
        /// Its value as it may be shown.
        value: String,
        /// What it may be.
        expected: String,
    },
}

impl AddressError {
    /// A value that is none of those that are `expected`.
    #[must_use]
    pub fn value(name: &str, value: &str, expected: &str) -> Self {
        Self::Value {
            name: name.into(),
            value: shown(value),
            expected: format!("expected one of {expected}"),
        }
    }
}

/// A value that was written where another one belongs.
pub(crate) fn shown(value: &str) -> String {
    turnmill_text::escaped(&turnmill_text::redact(value)).to_string()
}
