//! A connection to a store of any kind that answers queries and changes nothing.

use std::ops::ControlFlow;
use std::time::Duration;

use turnmill_analytics::{Query, QueryResult, ReadQueries, Row};
use turnmill_sink::StoreError;
#[cfg(feature = "postgres")]
use turnmill_sink_postgres::{PostgresInterrupt, PostgresReader};
use turnmill_sink_sqlite::{SqliteInterrupt, SqliteReader};
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

/// Ends what an [`AnyReader`] is asked, from any thread.
#[derive(Clone, Debug)]
pub enum AnyInterrupt {
    /// Of a SQLite file.
    Sqlite(SqliteInterrupt),
    /// Of PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(PostgresInterrupt),
}

impl AnyInterrupt {
    /// Ends the query that runs in the database, and refuses all later ones of the reader.
    pub fn interrupt(&self) {
        match self {
            Self::Sqlite(interrupt) => interrupt.interrupt(),
            #[cfg(feature = "postgres")]
            Self::Postgres(interrupt) => interrupt.interrupt(),
        }
    }
}

impl AnyReader {
    /// Connects to the store and checks that it has the schema of this version. A role that reads
    /// the public tables alone is enough.
    ///
    /// # Errors
    ///
    /// Fatal if there is no store of this version. Retryable if the server cannot be reached.
    pub async fn connect(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Self::Postgres(reader) => reader.connect().await,
        }
    }

    /// Hands the rows of a query to `each` as they are read, with the names of the columns, until
    /// it breaks. Returns these names. Rows are not kept, so the result may be larger than the
    /// memory.
    ///
    /// # Errors
    ///
    /// As [`read`](ReadQueries::read).
    pub async fn each_row(
        &mut self,
        query: &Query,
        each: &mut (dyn FnMut(&[String], Row) -> ControlFlow<()> + Send),
    ) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.each_row(query, each),
            #[cfg(feature = "postgres")]
            Self::Postgres(reader) => reader.each_row(query, each).await,
        }
    }

    /// Runs one statement that a person wrote, and returns its first `most` rows.
    ///
    /// The database refuses to write, and ends the statement at the time limit.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unusable`] with the database's own words if it refuses the statement.
    pub async fn ask(&mut self, sql: &str, most: usize) -> Result<QueryResult, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.ask(sql, most),
            #[cfg(feature = "postgres")]
            Self::Postgres(reader) => reader.ask(sql, most).await,
        }
    }

    /// Returns a handle that ends what this reader is asked.
    #[must_use]
    pub fn interrupt_handle(&self) -> AnyInterrupt {
        match self {
            Self::Sqlite(reader) => AnyInterrupt::Sqlite(reader.interrupt_handle()),
            #[cfg(feature = "postgres")]
            Self::Postgres(reader) => AnyInterrupt::Postgres(reader.interrupt_handle()),
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
