//! turnmill in your own program: conversation events in, Rasa's documented analytics tables out.
//!
//! What is absent here: any rule. This crate names the crates that an embedder needs, at versions
//! that fit each other, and runs the pipeline without async code of yours. It reads no environment
//! and prints nothing.
//!
//! # From a file to a SQLite store
//!
//! ```
//! # #[cfg(feature = "sqlite")] {
//! use turnmill_embed::{Inspect, Loader, sqlite::SqliteStore};
//!
//! # let folder = tempfile::tempdir()?;
//! # let (log, database) = (folder.path().join("rasa_event.log"), folder.path().join("rasa.sqlite"));
//! # std::fs::write(&log, r#"{"sender_id": "u1", "event": "user", "timestamp": 1656382549.9, "text": "hi"}"#)?;
//! let mut loader = Loader::new(SqliteStore::file(database));
//! let loaded = loader.load_file(&log)?;
//! assert_eq!(loaded.report.counts.events, 1);
//!
//! // The same file again: it continues at the stored position, where nothing is new.
//! assert_eq!(loader.load_file(&log)?.report.counts.records, 0);
//! loader.into_store().finish()?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Loader::load_records`] takes an iterator of your own instead, and [`Loader::load`] any
//! [`Source`]. Events that the store knows are duplicates and change no row. Late events end where
//! they belong. Broken records become dead letters. Each batch commits together with the position.
//!
//! # The engine alone
//!
//! The [`engine`] is a function from events to row changes, and its state is a [`Timeline`] per
//! sender. It is what `default-features = false` leaves: no async, no I/O, no database, no clock,
//! no C compiler.
//!
//! ```
//! use turnmill_embed::{Changes, Decoder, Engine, RasaDecoder, Record, Settings, Step, Timeline};
//!
//! let settings = Settings::default();
//! let (decoder, engine) = (RasaDecoder::new(&settings), Engine::new(&settings));
//! let payload = br#"{"sender_id": "u1", "event": "user", "timestamp": 1656382549.9, "text": "hi"}"#;
//! let mut events = Vec::new();
//! decoder.decode(&Record { payload, ..Record::default() }, &mut events)?;
//!
//! let mut timeline = Timeline::new(events[0].sender, &events[0].sender_key, None);
//! let mut changes = Changes::default();
//! let mut run = engine.run(&mut timeline, &mut changes);
//! assert_eq!(run.apply(&events[0]), Step::Applied);
//! run.finish();
//! assert_eq!((changes.sessions.inserts.len(), changes.turns.inserts.len()), (1, 1));
//! # Ok::<(), turnmill_embed::Refused>(())
//! ```
//!
//! # Where to go on
//!
//! | you want to | look at | example |
//! | --- | --- | --- |
//! | load a file or an iterator | [`Loader`] | `file_to_sqlite` |
//! | read from somewhere else | [`Source`] | `own_source` |
//! | read another format of events | [`Decoder`] | `own_decoder` |
//! | write to somewhere else | [`Store`] and [`Transaction`] | `custom_store` |
//! | keep the state yourself | [`Engine`], [`Timeline`], [`Replay`] | `engine_only` |
//! | run inside your own async code | [`Pipeline`] | |
//!
//! The examples are in the folder
//! [`examples`](https://github.com/turnmill/turnmill/tree/main/examples) of the repository.
//!
//! # Features
//!
//! | feature | gives | builds |
//! | --- | --- | --- |
//! | none | [`model`], [`formats`], [`markers`], [`engine`] | pure Rust, no async, no I/O |
//! | `pipeline` | [`sink`], [`ingest`], [`source`], [`pipeline`], [`Loader`] | pure Rust |
//! | `sqlite` (default) | [`sqlite`], and `pipeline` | SQLite, in C |
//! | `postgres` | [`postgres`](https://docs.rs/turnmill-sink-postgres), and `pipeline` | tokio, rustls |
//! | `kafka` | [`kafka`](https://docs.rs/turnmill-source-kafka), and `pipeline` | librdkafka and OpenSSL, in C |
//! | `chrono` | event times to and from `chrono::DateTime<Utc>` | chrono |

#![cfg_attr(not(feature = "sqlite"), allow(rustdoc::broken_intra_doc_links))]

#[cfg(feature = "pipeline")]
mod loader;
#[cfg(feature = "pipeline")]
mod records;

pub use turnmill_engine as engine;
pub use turnmill_formats as formats;
#[cfg(feature = "pipeline")]
pub use turnmill_ingest as ingest;
pub use turnmill_markers as markers;
pub use turnmill_model as model;
#[cfg(feature = "pipeline")]
pub use turnmill_pipeline as pipeline;
#[cfg(feature = "pipeline")]
pub use turnmill_sink as sink;
#[cfg(feature = "postgres")]
pub use turnmill_sink_postgres as postgres;
#[cfg(feature = "sqlite")]
pub use turnmill_sink_sqlite as sqlite;
#[cfg(feature = "pipeline")]
pub use turnmill_source as source;
#[cfg(feature = "kafka")]
pub use turnmill_source_kafka as kafka;

#[cfg(feature = "pipeline")]
pub use loader::{LoadError, Loader};
pub use turnmill_engine::{Engine, Replay, ReplayOutcome, Step, Timeline};
pub use turnmill_formats::rasa::RasaDecoder;
#[cfg(feature = "pipeline")]
pub use turnmill_ingest::RowRules;
pub use turnmill_model::{
    Body, Changes, Decoder, Decoders, Event, EventId, EventTime, IdentityDigest, Micros, PartitionId, Reason,
    Record, Refused, SenderId, SessionId, SessionIdMode, SessionRule, Settings, UserMessage,
};
#[cfg(feature = "pipeline")]
pub use turnmill_pipeline::{Drained, Pipeline, Stop};
#[cfg(feature = "pipeline")]
pub use turnmill_sink::{Counts, Inspect, MemoryStore, Store, StoreError, Transaction};
#[cfg(feature = "pipeline")]
pub use turnmill_source::{BatchLimits, NewRecord, Position, Progress, RecordBatch, Source, SourceError};
