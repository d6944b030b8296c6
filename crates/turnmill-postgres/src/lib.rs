//! The address of a PostgreSQL database.
//!
//! What is absent here: statements, connections, and a runtime. Without the feature `driver` there
//! is no network code at all; a service needs no more to check its settings.
//!
//! Every address of a database is read as a [`PostgresAddress`]. So a URL has one meaning in
//! `--to`, as an input, and in the service's settings. A missing password comes from [`Passwords`].
//!
//! ```
//! use turnmill_postgres::{PostgresAddress, SslMode};
//! let address: PostgresAddress = "postgresql+psycopg2://rasa:p@ss@db:5433/analytics?sslmode=require".parse()?;
//! assert_eq!((address.user(), address.database()), (Some("rasa"), Some("analytics")));
//! assert_eq!(address.ssl_mode(), SslMode::Require);
//! assert_eq!(address.to_string(), "postgresql://rasa:***@db:5433/analytics");
//! # Ok::<(), turnmill_postgres::AddressError>(())
//! ```
//!
//! # Features
//!
//! - `driver` (off by default): the settings of `tokio-postgres` (and `postgres`), and TLS by
//!   rustls for it.

mod address;
#[cfg(feature = "driver")]
mod driver;
mod error;
mod parse;
mod password;
#[cfg(feature = "driver")]
mod tls;

pub use address::{PostgresAddress, RootCert, SslMode};
#[cfg(feature = "driver")]
pub use driver::Attempt;
pub use error::AddressError;
pub use password::{Passwords, password_file};
#[cfg(feature = "driver")]
pub use tls::{Connect, Stream, Tls, TlsError};
