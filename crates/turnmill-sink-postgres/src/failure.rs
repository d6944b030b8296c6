//! Why a request to the server failed.

use std::fmt;
use std::time::Duration;

use tokio_postgres::Error;

/// The driver's error, or the lack of an answer.
#[derive(Debug)]
pub(crate) enum Failure {
    Driver(Error),
    /// Nothing came for this time, and the connection was given up.
    Silent(Duration),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Driver(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => error.fmt(f),
            Self::Silent(waited) => write!(
                f,
                "no answer for {} s on an open connection, which was given up: check whether the server hangs, or a pooler \
                 or load balancer in front of it",
                waited.as_secs_f64().ceil()
            ),
        }
    }
}
