//! The layer that a value came from.

use std::fmt;
use std::path::PathBuf;

/// The layer that a value came from, in ascending order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Origin {
    /// The default.
    Default,
    /// The assistant's `endpoints.yml`.
    Endpoints {
        /// Path of the file.
        path: PathBuf,
        /// Line of the key, from 1.
        line: usize,
    },
    /// Rasa's default for a key that the `endpoints.yml` lacks.
    EndpointsDefault {
        /// Path of the file.
        path: PathBuf,
        /// Line of the `event_broker`, from 1.
        line: usize,
        /// The missing key.
        key: &'static str,
    },
    /// `turnmill.toml`.
    File {
        /// Path of the file.
        path: PathBuf,
        /// Line of the key, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(&'static str),
    /// A command line flag, with its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Endpoints { path, line } | Self::File { path, line } => {
                write!(f, "{}:{line}", path.display())
            }
            Self::EndpointsDefault { path, line, key } => {
                write!(f, "{}:{line}, Rasa's default for a missing `{key}`", path.display())
            }
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}
