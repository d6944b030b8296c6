//! Stores by their URLs.
//!
//! What is absent here: rules and statements. This crate selects a store and forwards every call;
//! whatever differs between databases is in their own crates. It creates no runtime. A store in
//! PostgreSQL must be used inside a tokio runtime with time and I/O enabled; a store in SQLite
//! needs none.
//!
//! ```
//! use turnmill_model::Settings;
//! use turnmill_sink::{Inspect, Store};
//! use turnmill_stores::AnyStore;
//! # let folder = tempfile::tempdir()?;
//! # let url = format!("sqlite:{}", folder.path().join("rasa.sqlite").display());
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let mut store = AnyStore::from_url(&url)?;
//! store.open(&Settings::default()).await?;
//! assert_eq!(store.digests().await?.tables["rasa_event"].rows, 0);
//! store.finish()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! - `postgres` (on by default): the store in PostgreSQL. Without it, its URLs are refused with the
//!   feature's name.

mod any;
mod outbox;
mod reader;
mod transaction;
mod unknown;
mod upkeep;

pub use any::AnyStore;
pub use reader::{AnyInterrupt, AnyReader};
pub use transaction::AnyTransaction;
pub use unknown::UnknownStore;
