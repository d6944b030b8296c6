//! PostgreSQL servers.
//!
//! ```
//! use turnmill_testbed::postgres;
//!
//! # fn main() {
//! // A new database on the server that all tests share; or the test is skipped.
//! let Some(url) = postgres::database() else { return };
//! assert!(url.starts_with("postgres://"));
//! # }
//! ```

mod server;
mod shared;
mod standby;
mod tools;

use crate::Unavailable;

pub use self::server::{Access, Options, Server};
pub use self::shared::{Shared, database, database_with, english_database, icu_database, shared};

/// The superuser.
pub const USER: &str = "postgres";
/// The superuser's password, for every connection without a certificate.
pub const PASSWORD: &str = "turnmill-secret";

fn failed(error: impl std::fmt::Display) -> Unavailable {
    Unavailable::failed("PostgreSQL", error)
}
