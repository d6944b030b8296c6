//! The transaction of any store.

use turnmill_model::{SenderId, SessionId, Settings};
use turnmill_sink::{
    Batch, EventLookup, HistoryPage, HistoryRequest, Locked, StoreError, StoredCopies, Transaction,
};
#[cfg(feature = "postgres")]
use turnmill_sink_postgres::PostgresTransaction;
use turnmill_sink_sqlite::SqliteTransaction;

/// A transaction of an [`AnyStore`](crate::AnyStore).
#[derive(Debug)]
pub enum AnyTransaction<'s> {
    /// In a SQLite file.
    Sqlite(SqliteTransaction<'s>),
    /// In PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresTransaction<'s>>),
}

#[cfg(feature = "postgres")]
impl<'s> From<PostgresTransaction<'s>> for AnyTransaction<'s> {
    fn from(transaction: PostgresTransaction<'s>) -> Self {
        Self::Postgres(Box::new(transaction))
    }
}

/// Forwards a call.
macro_rules! each {
    ($transaction:expr, $name:ident => $do:expr) => {
        match $transaction {
            AnyTransaction::Sqlite($name) => $do,
            #[cfg(feature = "postgres")]
            AnyTransaction::Postgres($name) => $do,
        }
    };
}

impl Transaction for AnyTransaction<'_> {
    fn patterns_revision(&self) -> u64 {
        each!(self, tx => tx.patterns_revision())
    }

    async fn timelines(&mut self) -> Result<Vec<Locked>, StoreError> {
        each!(self, tx => tx.timelines().await)
    }

    fn settings(&self) -> &Settings {
        each!(self, tx => tx.settings())
    }

    async fn known(&mut self, events: &[EventLookup]) -> Result<Vec<StoredCopies>, StoreError> {
        each!(self, tx => tx.known(events).await)
    }

    async fn session_owners(&mut self, ids: &[SessionId]) -> Result<Vec<Option<SenderId>>, StoreError> {
        each!(self, tx => tx.session_owners(ids).await)
    }

    async fn histories(&mut self, requests: &[HistoryRequest]) -> Result<Vec<HistoryPage>, StoreError> {
        each!(self, tx => tx.histories(requests).await)
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        each!(self, tx => tx.write(batch).await)
    }

    async fn commit(self) -> Result<(), StoreError> {
        each!(self, tx => tx.commit().await)
    }
}
