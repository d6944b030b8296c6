//! What the API asks, and who answers.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use turnmill_analytics::{ListFilters, ListPage, Metric, Question};

/// What a request is about.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Subject {
    /// The store: its name, the range of its events, counts and freshness.
    Store,
    /// A question about one metric.
    Metric {
        /// The metric.
        metric: &'static Metric,
        /// Range, filters, buckets and comparison.
        question: Box<Question>,
    },
    /// The values that a filter can have, with their counts.
    Values {
        /// The filter.
        filter: Filter,
    },
    /// Conversations that match the filters, a part of them.
    Conversations {
        /// Range and filters.
        question: Box<Question>,
        /// The filters that only lists have.
        filters: Box<ListFilters>,
        /// Order and part of the list.
        page: ListPage,
    },
    /// One conversation with everything in it.
    Conversation {
        /// Id of its session.
        session: String,
    },
    /// The events of one conversation as the history has them.
    Events {
        /// Id of its session.
        session: String,
    },
    /// What markers would find in the stored history. Nothing is written.
    Preview {
        /// Their definitions, in YAML.
        markers: String,
    },
}

/// A filter whose values the pages offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Assistants.
    Assistant,
    /// Channels.
    Channel,
    /// Models.
    Model,
    /// Environments.
    Environment,
    /// Intents of messages.
    Intent,
    /// Endings of sessions.
    Ending,
    /// Names of markers.
    Marker,
    /// Languages and regions.
    Locale,
    /// Kinds of sources.
    SourceSystem,
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

/// The future of an answer: JSON, or why there is none.
pub type AnswerFuture<'a> = Pin<Box<dyn Future<Output = Result<String, Refusal>> + Send + 'a>>;

/// Answers the questions of the API for one store.
///
/// Called concurrently, from the server's runtime. An implementation must not block it. It limits
/// the time of a question in the store itself. If the browser closes the connection, the future is
/// dropped; then the work in progress should end.
pub trait Answers: Send + Sync + 'static {
    /// Answers one question with the JSON of the response's body, which is sent as it is.
    ///
    /// # Errors
    ///
    /// The future returns a [`Refusal`] if there is no answer.
    fn answer(&self, subject: Subject) -> AnswerFuture<'_>;
}
