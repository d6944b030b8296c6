//! Requests of tools that process all senders.

use turnmill_model::{Micros, SenderId, Settings};
use turnmill_sink::{PatternSet, RebuildState, StoreError, Upkeep};
use turnmill_sql::meta::{self, Rebuild};

use crate::SqliteStore;
use crate::connect::{self, Purpose, read_meta};
use crate::store::{Versions, roll_back};

const SENDERS: &str =
    "SELECT sender_id FROM _turnmill_timeline WHERE sender_id > ?1 ORDER BY sender_id LIMIT ?2";
const SENDERS_SEEN: &str =
    "SELECT id FROM rasa_sender WHERE id > ?1 AND last_seen >= ?2 ORDER BY id LIMIT ?3";
const DELETE_META: &str = "DELETE FROM _turnmill_meta WHERE name = ?1";

impl Upkeep for SqliteStore {
    async fn senders(&mut self, after: Option<SenderId>, limit: usize) -> Result<Vec<SenderId>, StoreError> {
        // No id is empty, so all ids come after the empty one.
        let after = after.map_or_else(Vec::new, |after| after.0.as_bytes().to_vec());
        let fail = |error| self.error(error, "listing senders");
        let mut query = self.connection()?.prepare_cached(SENDERS).map_err(fail)?;
        let id = |row: &rusqlite::Row<'_>| Ok(SenderId(uuid::Uuid::from_bytes(row.get(0)?)));
        let rows = query.query_map((after, limit), id).and_then(Iterator::collect);
        rows.map_err(fail)
    }

    async fn senders_seen(
        &mut self,
        since: Micros,
        after: Option<SenderId>,
        limit: usize,
    ) -> Result<Vec<SenderId>, StoreError> {
        let after = after.map_or_else(String::new, |after| after.0.to_string());
        let fail = |error| self.error(error, "listing senders");
        let mut query = self.connection()?.prepare_cached(SENDERS_SEEN).map_err(fail)?;
        let ids: Vec<String> = query
            .query_map((after, since.to_string(), limit), |row| row.get(0))
            .and_then(Iterator::collect)
            .map_err(fail)?;
        let damaged =
            |id: &String| StoreError::Damaged { detail: format!("the sender id `{id}` is no UUID") };
        ids.iter().map(|id| id.parse().map(SenderId).map_err(|_| damaged(id))).collect()
    }

    async fn swept_patterns(&mut self) -> Result<u64, StoreError> {
        let meta = read_meta(self, self.connection()?)?;
        meta.get(meta::SWEPT_PATTERNS).map_or(Ok(0), |text| meta::patterns_revision(text))
    }

    async fn note_swept_patterns(&mut self, revision: u64) -> Result<(), StoreError> {
        self.connection()?
            .execute(&self.sql.put_meta, [meta::SWEPT_PATTERNS, &revision.to_string()])
            .map(drop)
            .map_err(|error| self.error(error, "recording that marker rows are complete"))
    }

    async fn write_patterns(&mut self, from: u64, set: &PatternSet) -> Result<(), StoreError> {
        self.replace_patterns(from, set)
    }

    async fn begin_rebuild(&mut self, settings: &Settings) -> Result<RebuildState, StoreError> {
        self.connection = None;
        self.versions = Versions::default();
        let connection = connect::open(self, settings, Purpose::Rebuild)?;
        let meta = read_meta(self, &connection)?;
        let (stored, rebuild) = (meta::settings(&meta)?, Rebuild::resume(&meta, settings)?);
        connection
            .execute(&self.sql.put_meta, [meta::REBUILD, &rebuild.to_json()])
            .map_err(|error| self.error(error, "recording a rebuild"))?;
        self.connection = Some(connection);
        self.opened = self.file_id();
        self.row_settings = settings.clone();
        Ok(RebuildState { stored, assistant: meta::assistant(&meta), after: rebuild.after })
    }

    async fn end_rebuild(&mut self, settings: &Settings) -> Result<(), StoreError> {
        let connection = self.connection()?;
        let fail = |error| self.error(error, "recording the end of a rebuild");
        connection.execute_batch("BEGIN IMMEDIATE").map_err(fail)?;
        let noted = meta::initial(settings)
            .iter()
            .try_for_each(|(name, value)| {
                connection.execute(&self.sql.put_meta, [*name, value.as_str()]).map(drop)
            })
            .and_then(|()| connection.execute(DELETE_META, [meta::REBUILD]))
            .and_then(|_| connection.execute_batch("COMMIT"));
        if noted.is_err() {
            roll_back(self.connection.as_ref());
        }
        noted.map_err(fail)
    }
}

/// Records, in the current transaction, that the rebuild has reached `sender`.
pub(crate) fn note_progress(store: &SqliteStore, sender: SenderId) -> Result<(), StoreError> {
    let connection = store.connection()?;
    let meta = read_meta(store, connection)?;
    let Some(rebuild) = Rebuild::read(&meta)? else {
        return Err(StoreError::Fenced { detail: "another process has ended the rebuild".into() });
    };
    let rebuild = Rebuild { after: Some(sender), ..rebuild };
    connection
        .execute(&store.sql.put_meta, [meta::REBUILD, &rebuild.to_json()])
        .map(drop)
        .map_err(|error| store.error(error, "recording the progress of a rebuild"))
}
