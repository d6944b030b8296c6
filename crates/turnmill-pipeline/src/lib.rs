//! The loop between a source and a store. Records are read and decoded ahead on a thread of their
//! own, applied, and committed with the source's position.
//!
//! What is absent here: formats, databases and files; this crate knows only the traits. It reads no
//! configuration and prints nothing. It needs no runtime. It starts one thread for each source,
//! which reads and decodes, and one for each [`SinkThread`].
//!
//! - [`Pipeline::drain`] reads one source to its end, or follows it until it is stopped.
//! - [`Pipeline::serve`] reads the partitions that a consumer group assigns.
//! - [`OutboxRunner`] writes committed changes to a sink, [`SinkThread`] on a thread beside a
//!   pipeline.
//! - [`PatternTools`] changes the patterns of markers and brings the marker rows up to date.
//!
//! The class of an error decides how the loop goes on. Retryable errors are retried with growing
//! pauses, while reading waits. A record that the store refuses becomes a dead letter. After a
//! fence by another writer the source starts again at the stored position. Fatal errors end the
//! loop; no batch is written in part.

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
pub use sinks::{OnRefusal, OutboxError, OutboxRunner, SinkEvent, SinkThread, SinkWork};
pub use stop::Stop;
pub use words::{counted, rounded};

#[cfg(doctest)]
#[doc = include_str!("../../../docs/sinks.md")]
struct Sinks;
