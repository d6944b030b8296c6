//! turnmill's store in PostgreSQL.
//!
//! What is absent here: this crate makes no runtime and no thread, decides no back-off (an error says whether to try again,
//! the pipeline says when), and links no C library but the assembly of `ring`. Nothing of the schema is touched but turnmill's
//! own tables.
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
//! - One transaction per batch (`READ COMMITTED`). It begins with one round trip that locks the positions and the senders of
//!   the batch, each in order, so that writers wait for each other instead of failing; a sender that is new gets an empty row to
//!   be locked by. Statements that do not depend on each other's answers are sent without waiting.
//! - New rows go by binary `COPY`, few of them as arrays, since under the lock their ids are known to be new. Updates are one
//!   `UPDATE ... FROM unnest` per table. Only slot states, users, checkpoints and the ledger are upserts.
//! - A unique key of ours that is taken means that another writer was faster: the batch is made again from what is stored. A
//!   constraint or trigger that somebody has added refuses a record, which becomes a dead letter; its neighbours land.
//! - A lost connection, a full disk, a lock that is held too long, a server that became a standby: the error may pass, and the
//!   next transaction connects again. If the answer to a commit is lost, positions and ids make it safe to write the batch
//!   again.
//! - Statements are prepared once per connection and planned once, so a pooler in front must keep the session.

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
mod settings;
mod sql;
mod steps;
mod store;
mod survey;
mod transaction;
mod upkeep;
mod value;
mod write;

pub use settings::{ForeignKeys, PostgresSettings, SettingsError};
pub use store::PostgresStore;
pub use survey::{SchemaFound, Survey};
pub use transaction::PostgresTransaction;
pub use turnmill_postgres::{AddressError, Passwords, PostgresAddress, RootCert, SslMode};
