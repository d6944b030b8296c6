//! The address of a PostgreSQL database.
//!
//! What is absent here: no statement, no connection, no runtime. Without the feature `driver` there is no network code at all; the
//! settings of a service read addresses with it, and need no more.
//!
//! Everything that takes the address of a database reads it with [`PostgresAddress`], so that one URL means one thing: in `--to`,
//! as an input, and in the settings of the service. A password that it lacks comes from [`Passwords`].
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
//! - `driver`: the settings of `tokio-postgres` (and so of `postgres`), and TLS by rustls for it. Off by default.

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
