//! A store by its URL.
//!
//! What is absent here: any rule and any statement. This crate chooses between the stores that there are, and hands every call
//! on; whatever differs between databases is in their own crates. It makes no runtime: a store in PostgreSQL has to be used
//! inside one of tokio's, with time and input/output enabled; a store in SQLite needs none.
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
//! - `postgres` (on by default): the store in PostgreSQL. Without it its URLs are named as left out of the build.

mod any;
mod outbox;
mod transaction;
mod unknown;
mod upkeep;

pub use any::AnyStore;
pub use transaction::AnyTransaction;
pub use unknown::UnknownStore;
