//! The loop between a source and a store: records are read and decoded ahead on a thread of their own, applied, and committed
//! with the source's position.
//!
//! What is absent here: formats, databases and files; this crate knows only the traits. It reads no configuration and prints
//! nothing. It needs no runtime; it starts one thread for each source, which reads and decodes.
//!
//! [`Pipeline::drain`] reads a source to its end (or follows it until stopped), [`Pipeline::serve`]
//! what a consumer group hands out. [`OutboxRunner`] writes committed changes to a sink.
//! [`PatternTools`] changes the patterns of markers and makes up for what follows. Whatever fails
//! in between is dealt with by its class: retryable errors are tried again with growing pauses
//! while reading waits; a record that the store refuses becomes a dead letter; another writer's
//! progress makes the source start again at the stored position; fatal errors end the loop with
//! nothing half done.

mod backoff;
mod drain;
mod event;
mod explain;
mod fences;
mod limits;
mod parts;
mod patterns;
mod pipeline;
mod prepare;
mod retry;
mod serve;
mod sinks;
mod stop;
mod words;

pub use backoff::{Attempts, Backoff};
pub use drain::OpenSource;
pub use event::{Drained, Event, Observer, PipelineError};
pub use explain::explain;
pub use limits::{DeadLetterLimits, Share, TooManyDeadLetters};
pub use patterns::{
    ExplainedEvent, ExplainedSession, MarkerPreview, PatternChange, PatternEvent, PatternTools, Preview,
    Sample, Swept,
};
pub use pipeline::Pipeline;
pub use prepare::Rewrite;
pub use retry::{Retried, retry_dead_letter};
pub use sinks::{OnRefusal, OutboxError, OutboxRunner, SinkEvent};
pub use stop::Stop;
pub use words::{counted, rounded};

#[cfg(doctest)]
#[doc = include_str!("../../../docs/sinks.md")]
struct Sinks;
