//! Queries of tools that go through all senders.

use tokio_postgres::Error;
use turnmill_model::{Micros, SenderId, Settings};
use turnmill_sink::{PatternSet, RebuildState, StoreError, Upkeep};
use turnmill_sql::meta::{self, Rebuild};
use uuid::Uuid;

use crate::PostgresStore;
use crate::connect::{Connection, RollBack};
use crate::failure::Failure;
use crate::migrate::{self, Purpose, put_meta};
use crate::patterns;

/// Lists senders. Those of version 0 have no state: their rows exist only to be locked.
const SENDERS: &str = "SELECT sender_id FROM _turnmill_timeline WHERE sender_id > $1 AND version > 0 \
     ORDER BY sender_id LIMIT $2";
/// Lists senders with an event at `$2` or later.
const SENDERS_SEEN: &str = "SELECT id FROM rasa_sender WHERE id > $1 AND last_seen >= $2::text::timestamp \
     ORDER BY id LIMIT $3";
const SWEPT: &str = "SELECT value FROM _turnmill_meta WHERE name = 'swept_patterns'";
/// Stores, in the current transaction, the last sender that the rebuild has finished.
pub(crate) const NOTE_PROGRESS: &str = "UPDATE _turnmill_meta \
     SET value = jsonb_set(value::jsonb, '{after}', to_jsonb(($1::text[])[1]))::text WHERE name = 'rebuild'";

impl Upkeep for PostgresStore {
    async fn senders(&mut self, after: Option<SenderId>, limit: usize) -> Result<Vec<SenderId>, StoreError> {
        let after = after.map_or(Uuid::nil(), |after| after.0);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let connection = self.connected().await?;
        let rows = connection.query(SENDERS, &[&after, &limit]).await;
        let ids: Result<Vec<Uuid>, Failure> =
            rows.and_then(|rows| Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, Error>>()?));
        let ids = ids.map_err(|error| connection.fail(error, "listing senders"))?;
        Ok(ids.into_iter().map(SenderId).collect())
    }

    async fn senders_seen(
        &mut self,
        since: Micros,
        after: Option<SenderId>,
        limit: usize,
    ) -> Result<Vec<SenderId>, StoreError> {
        let after = after.map_or_else(String::new, |after| after.0.to_string());
        let (since, limit) = (since.to_string(), i64::try_from(limit).unwrap_or(i64::MAX));
        let connection = self.connected().await?;
        let rows = connection.query(SENDERS_SEEN, &[&after, &since, &limit]).await;
        let ids: Result<Vec<String>, Failure> =
            rows.and_then(|rows| Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, Error>>()?));
        let ids = ids.map_err(|error| connection.fail(error, "listing senders"))?;
        let damaged =
            |id: &String| StoreError::Damaged { detail: format!("the sender id `{id}` is no UUID") };
        ids.iter().map(|id| id.parse().map(SenderId).map_err(|_| damaged(id))).collect()
    }

    async fn swept_patterns(&mut self) -> Result<u64, StoreError> {
        let connection = self.connected().await?;
        let rows = connection.query(SWEPT, &[]).await;
        let rows = rows.map_err(|error| {
            connection.fail(error, "reading up to which patterns marker rows are complete")
        })?;
        patterns::revision(connection, &rows)
    }

    async fn note_swept_patterns(&mut self, revision: u64) -> Result<(), StoreError> {
        let connection = self.connected().await?;
        put_meta(connection, meta::SWEPT_PATTERNS, &revision.to_string()).await
    }

    async fn write_patterns(&mut self, from: u64, set: &PatternSet) -> Result<(), StoreError> {
        self.replace_patterns(from, set).await
    }

    async fn begin_rebuild(&mut self, settings: &Settings) -> Result<RebuildState, StoreError> {
        (self.connection, self.opened) = (None, false);
        let connection = Connection::open(&self.settings).await?;
        migrate::open(&connection, &self.settings, settings, Purpose::Rebuild, &self.notices).await?;
        let meta = migrate::up_to_date(&connection, &self.settings).await?;
        let (stored, rebuild) = (meta::settings(&meta)?, Rebuild::resume(&meta, settings)?);
        put_meta(&connection, meta::REBUILD, &rebuild.to_json()).await?;
        (self.connection, self.opened) = (Some(connection), true);
        self.row_settings = settings.clone();
        Ok(RebuildState { stored, assistant: meta::assistant(&meta), after: rebuild.after })
    }

    async fn end_rebuild(&mut self, settings: &Settings) -> Result<(), StoreError> {
        let connection = &*self.connected().await?;
        let fail = |error| connection.fail(error, "recording the end of a rebuild");
        let mut guard = RollBack::new(connection);
        connection.batch_execute("BEGIN").await.map_err(fail)?;
        for (name, value) in meta::initial(settings) {
            put_meta(connection, name, &value).await?;
        }
        let end = format!("DELETE FROM _turnmill_meta WHERE name = '{}'; COMMIT", meta::REBUILD);
        connection.batch_execute(&end).await.map_err(fail)?;
        guard.ended();
        Ok(())
    }
}
