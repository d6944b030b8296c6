//! What the API asks, and who answers.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde_json::Value;

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// The store: its name, range of events, counts and freshness.
    Store,
    /// The descriptions of all metrics.
    Metrics,
    /// The metric with this id.
    Metric(String),
    /// The values that the filter of this name can have, with their counts.
    Values(String),
    /// Conversations that match the filters.
    Conversations,
    /// The conversation with this session id, with everything in it.
    Conversation(String),
}

/// A question to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What it is about.
    pub subject: Subject,
    /// Filters and options in the order of the address, decoded. A name may occur several times.
    pub parameters: Vec<(String, String)>,
}

/// Why there is no answer. Becomes the status code and body of the response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no metric, filter or conversation of this name. Status 404.
    #[error("there is no {name}")]
    NotFound {
        /// What was asked for, for example "metric R99".
        name: String,
    },
    /// A parameter is unknown or has a value that cannot be used. Status 400.
    #[error("{parameter}: {message}")]
    Invalid {
        /// Name of the parameter.
        parameter: String,
        /// What is wrong with it, and what is expected.
        message: String,
    },
    /// The store did not answer in time. Status 504.
    #[error("the store did not answer within {} s", limit.as_secs_f64())]
    TimedOut {
        /// The time limit.
        limit: Duration,
    },
    /// Too many questions are being answered. Status 503.
    #[error("too many questions at once; try again")]
    Busy,
    /// The store cannot be read. Status 503.
    #[error("{message}")]
    Unavailable {
        /// Why, without secrets.
        message: String,
    },
    /// The metric needs something that is not set up, for example a marker. Status 200.
    #[error("{message}")]
    NotSetUp {
        /// What is missing.
        message: String,
        /// A command that sets it up, if one does.
        command: Option<String>,
    },
    /// No source of the store can feed the metric. Status 200.
    #[error("{message}")]
    NotGiven {
        /// What is missing, and which sources have it.
        message: String,
    },
}

/// The future of an answer.
pub type AnswerFuture<'a> = Pin<Box<dyn Future<Output = Result<Value, Refusal>> + Send + 'a>>;

/// Answers the questions of the API for one store.
///
/// Called concurrently, from the server's runtime. An implementation must not block it. It limits
/// the time of a question in the store itself. If the browser closes the connection, the future is
/// dropped; then the work in progress should end.
pub trait Answers: Send + Sync + 'static {
    /// Answers one question with the JSON of the response's body.
    ///
    /// # Errors
    ///
    /// The future returns a [`Refusal`] if there is no answer.
    fn answer(&self, question: Question) -> AnswerFuture<'_>;
}
