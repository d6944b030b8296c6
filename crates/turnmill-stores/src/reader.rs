//! A connection to a store of any kind that answers queries and changes nothing.

use std::time::Duration;

use turnmill_analytics::{Query, ReadQueries, Row};
use turnmill_sink::StoreError;
#[cfg(feature = "postgres")]
use turnmill_sink_postgres::PostgresReader;
use turnmill_sink_sqlite::SqliteReader;
use turnmill_sql::Dialect;

use crate::AnyStore;

/// Answers queries of metrics from a store of any kind, beside its writers. The database itself
/// refuses to change anything and ends what takes too long.
#[derive(Debug)]
pub enum AnyReader {
    /// A SQLite file.
    Sqlite(Box<SqliteReader>),
    /// PostgreSQL. It must be used inside a tokio runtime with time and I/O enabled.
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresReader>),
}

impl AnyStore {
    /// Returns a reader of this store, which ends queries after `limit`.
    ///
    /// # Errors
    ///
    /// Fatal if a SQLite file is missing, not turnmill's, or of another schema version. PostgreSQL
    /// is connected at the first query.
    pub fn reader(&self, limit: Duration) -> Result<AnyReader, StoreError> {
        match self {
            Self::Sqlite(store) => Ok(AnyReader::Sqlite(Box::new(store.reader(limit)?))),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => Ok(AnyReader::Postgres(Box::new(store.reader(limit)))),
        }
    }
}

impl ReadQueries for AnyReader {
    type Error = StoreError;

    fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(reader) => reader.dialect(),
            #[cfg(feature = "postgres")]
            Self::Postgres(reader) => reader.dialect(),
        }
    }

    async fn read(&mut self, queries: &[Query]) -> Result<Vec<Vec<Row>>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.read(queries).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(reader) => reader.read(queries).await,
        }
    }
}
