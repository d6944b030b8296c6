//! Generates SQL text for turnmill's stores: the tables, the statements that write them, and
//! migrations.
//!
//! What is absent here: this crate holds no driver, opens no connection and executes nothing. It
//! only makes strings.
//!
//! All statements are generated from [`turnmill_model::tables::PUBLIC`] and [`internal::ALL`], so a
//! column is named once.
//!
//! - [`Schema`] gives the DDL, [`migrations`] the order in which it is applied.
//! - [`indexes`] says which indexes the public tables have, and why.
//! - [`statements`] gives inserts, updates, deletes and upserts of any table.
//! - [`patterns`] says how those of markers are kept.
//! - [`upkeep`] gives the statements that remove all of a sender.
//! - [`views`] describes the views for people.
//! - [`outbox`] gives the statements about sinks.
//! - [`examine`] gives the queries that check a store's consistency.
//! - [`meta`] and [`headers`] say how settings and dead letters' headers are written down.
//!
//! ```
//! use turnmill_sql::{Dialect, Schema};
//! let ddl = Schema::new(Dialect::Sqlite).statements();
//! assert!(ddl.iter().any(|sql| sql.starts_with("CREATE TABLE rasa_event")));
//! ```

mod dialect;
mod schema;

pub mod examine;
pub mod facts;
pub mod headers;
pub mod indexes;
pub mod internal;
pub mod meta;
pub mod migrations;
pub mod outbox;
pub mod patterns;
pub mod statements;
pub mod upkeep;
pub mod views;

pub use dialect::{Dialect, SqlType};
pub use schema::{References, Schema};
