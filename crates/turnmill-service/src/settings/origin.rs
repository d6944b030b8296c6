//! Where a value came from.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from, in ascending order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The assistant's `endpoints.yml`.
    Endpoints {
        /// Its path.
        path: PathBuf,
        /// Line of the key, from 1.
        line: usize,
    },
    /// Rasa's own default, where the `endpoints.yml` says nothing.
    EndpointsDefault {
        /// Its path.
        path: PathBuf,
        /// Line of the `event_broker`, from 1.
        line: usize,
        /// The key that is missing.
        key: &'static str,
    },
    /// `turnmill.toml`.
    File {
        /// Its path.
        path: PathBuf,
        /// Line of the key, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(&'static str),
    /// A flag of the command line, with its dashes.
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
                write!(f, "{}:{line} has no `{key}`, and this is Rasa's default", path.display())
            }
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}
