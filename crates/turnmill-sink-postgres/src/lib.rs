//! Implements turnmill's store in PostgreSQL.
//!
//! What is absent here: this crate starts no runtime and no thread. It decides no back-off: an
//! error says whether a retry can help, the pipeline says when. It links no C library except the
//! assembly of `ring`. It touches only turnmill's own tables in the schema.
//!
//! ```no_run
//! use turnmill_model::Settings;
//! use turnmill_sink::{Inspect, Store};
//! use turnmill_sink_postgres::{PostgresSettings, PostgresStore};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The connection's traffic is a task of this runtime.
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! runtime.block_on(async {
//!     let settings: PostgresSettings = "postgresql://rasa:secret@localhost:5432/analytics".parse()?;
//!     let mut store = PostgresStore::new(settings.with_schema("turnmill"));
//!     let opened = store.open(&Settings::default()).await?;
//!     println!("{} positions, {} events", opened.positions.len(), store.digests().await?.tables["rasa_event"].rows);
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # How it writes
//!
//! - Each batch is one transaction (`READ COMMITTED`). Its first round trip locks the positions and
//!   the senders of the batch, each in order, so writers wait for each other and do not deadlock. A
//!   new sender gets an empty row that can be locked. Statements that do not depend on each other's
//!   answers are sent without waiting.
//! - New rows are written by binary `COPY`, small numbers of them as arrays: under the lock their
//!   ids are known to be new. Updates are one `UPDATE ... FROM unnest` per table. Only slot states,
//!   users, checkpoints and the ledger are upserts.
//! - A conflict on one of turnmill's own unique keys means that another writer was faster: the
//!   batch is computed again from what is stored. A constraint or trigger that the operator has
//!   added can refuse a record. That record becomes a dead letter, and the other records of the
//!   batch are written.
//! - Some errors may pass: a lost connection, a full disk, a lock that is held too long, a server
//!   that became a standby. The next transaction connects again. If the answer to a commit is lost,
//!   positions and ids make it safe to write the batch again.
//! - Statements are prepared and planned once per connection, so a pooler must keep the session.

mod arrange;
mod connect;
mod error;
mod examine;
mod failure;
mod history;
mod inspect;
mod migrate;
mod notices;
mod outbox;
mod patterns;
mod reader;
mod settings;
mod sql;
mod steps;
mod store;
mod survey;
mod transaction;
mod upkeep;
mod value;
mod write;

pub use reader::{PostgresInterrupt, PostgresReader};
pub use settings::{ForeignKeys, PostgresSettings, SettingsError};
pub use store::PostgresStore;
pub use survey::{SchemaFound, Survey};
pub use transaction::PostgresTransaction;
pub use turnmill_postgres::{AddressError, Passwords, PostgresAddress, RootCert, SslMode};
