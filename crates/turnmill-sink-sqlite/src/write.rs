//! Writing of a batch.

use rusqlite::{CachedStatement, Connection, Params};
use turnmill_model::tables::{EVENT_ERROR, PUBLIC, Texts, Value};
use turnmill_model::{Changes, EventTime, Key, RowView, SenderId, TableChanges};
use turnmill_sink::outbox;
use turnmill_sink::{Advance, Batch, CheckpointWrite, DeadLetter, HistoryStretch, HistoryWrite, StoreError};
use turnmill_sql::upkeep::Removal;
use turnmill_sql::{facts, headers};

use crate::SqliteStore;
use crate::error::is_taken_key;
use crate::outbox::SinkFacts;
use crate::sql::{DELETE_CHECKPOINTS, TableSql};
use crate::upkeep;
use crate::value::{TimeText, bind};

/// Executes the statements of one transaction.
pub(crate) struct Writer<'w> {
    store: &'w SqliteStore,
    connection: &'w Connection,
    /// Whether the batch was made from states that were all read in this transaction.
    fresh: bool,
    times: TimeText,
}

impl<'w> Writer<'w> {
    pub(crate) fn new(store: &'w SqliteStore, connection: &'w Connection, fresh: bool) -> Self {
        Self { store, connection, fresh, times: TimeText::default() }
    }

    pub(crate) fn batch(&mut self, batch: &Batch, sinks: SinkFacts) -> Result<(), StoreError> {
        let sql = &self.store.sql;
        for sender in batch.cleared.iter().chain(&batch.forgotten) {
            self.remove(&sql.clear, *sender)?;
        }
        batch.forgotten.iter().try_for_each(|sender| self.remove(&sql.forget, *sender))?;
        self.changes(&batch.changes)?;
        let mut timelines = self.prepare(&sql.put_timeline, "writing timelines")?;
        for timeline in &batch.timelines {
            let row = (timeline.sender.0.as_bytes(), timeline.version, timeline.state.as_slice());
            self.execute(&mut timelines, row, "writing timelines")?;
        }
        batch.history.iter().try_for_each(|write| self.history(write))?;
        batch.checkpoints.iter().try_for_each(|write| self.checkpoints(write))?;
        batch.retried.iter().try_for_each(|id| self.retried(*id))?;
        let mut letters = Vec::with_capacity(batch.dead_letters.len());
        for letter in &batch.dead_letters {
            self.dead_letter(letter)?;
            letters.push(u64::try_from(self.connection.last_insert_rowid()).unwrap_or_default());
        }
        for (source, counts) in &batch.ledger {
            let doing = "writing the ledger";
            let row = (
                source,
                counts.records,
                counts.events,
                counts.duplicates,
                counts.anonymised,
                counts.dead_letters,
                counts.skipped,
                counts.changed,
                counts.parts,
            );
            self.execute(&mut self.prepare(&sql.add_ledger, doing)?, row, doing)?;
        }
        if let Some(sender) = batch.rebuilt {
            upkeep::note_progress(self.store, sender)?;
        }
        if let Some(entry) = outbox::encode(batch, sinks.wanted, &letters) {
            self.store.gate.pass()?;
            self.store.put_entry(self.connection, &entry, sinks)?;
        }
        Ok(())
    }

    fn remove(&mut self, removals: &[Removal], sender: SenderId) -> Result<(), StoreError> {
        let doing = "deleting rows of a sender";
        for Removal { sql, ty } in removals {
            self.store.gate.pass()?;
            let mut delete = self.prepare(sql, doing)?;
            bind(&mut delete, 1, Value::Id(sender.0), *ty, &mut self.times)
                .and_then(|()| delete.raw_execute())
                .map_err(|error| self.fail(error, doing))?;
        }
        Ok(())
    }

    pub(crate) fn positions(&self, advances: &[Advance]) -> Result<(), StoreError> {
        let doing = "moving a position";
        for Advance { key, to, .. } in advances {
            let mut put = self.prepare(&self.store.sql.put_position, doing)?;
            self.execute(&mut put, (&key.source, &key.partition, to), doing)?;
        }
        Ok(())
    }

    /// Writes rows: inserts and updates table by table, then deletes in the opposite order.
    fn changes(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let mut result = Ok(());
        let mut with_deletes = Vec::new();
        changes.for_each_table(|table| {
            if result.is_ok() {
                result = self.table(&table);
            }
            if !table.deletes.is_empty() {
                with_deletes.push((table.table.name, table.deletes.to_vec()));
            }
        });
        result?;
        with_deletes.iter().rev().try_for_each(|(table, keys)| self.deletes(table, keys, &changes.texts))
    }

    fn table_sql(&self, name: &str) -> Result<&'w TableSql, StoreError> {
        let unknown = || StoreError::Unusable {
            detail: format!("bug in turnmill: rows of an unknown table {name}"),
            source: None,
        };
        self.store.sql.tables.get(name).ok_or_else(unknown)
    }

    fn table(&mut self, changes: &TableChanges<'_>) -> Result<(), StoreError> {
        let name = changes.table.name;
        let sql = self.table_sql(name)?;
        self.inserts(sql, name, changes.inserts)?;
        if !changes.updates.is_empty() {
            let mut update = self.prepare(&sql.update, name)?;
            for row in 0..changes.updates.len() {
                self.bind_row(&mut update, sql, changes.updates, row)
                    .map_err(|error| self.fail(error, name))?;
                self.touch_one(&mut update, name, changes.updates.value(row, 0))?;
            }
        }
        if !changes.ends.is_empty() {
            let id = sql.types.first().copied().unwrap_or(turnmill_sql::SqlType::IdText);
            let mut update = self.prepare(&sql.update_end, name)?;
            for end in changes.ends {
                bind(&mut update, 1, Value::Id(end.id), id, &mut self.times)
                    .and_then(|()| update.raw_bind_parameter(2, end.end_sequence_number))
                    .map_err(|error| self.fail(error, name))?;
                self.touch_one(&mut update, name, Value::Id(end.id))?;
            }
        }
        Ok(())
    }

    /// Inserts one row at a time. With prepared statements, several rows per statement were not
    /// faster.
    fn inserts(&mut self, sql: &TableSql, name: &str, rows: RowView<'_>) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut insert = self.prepare(&sql.insert, name)?;
        for row in 0..rows.len() {
            self.store.gate.pass()?;
            self.bind_row(&mut insert, sql, rows, row)
                .and_then(|()| insert.raw_execute())
                .map_err(|error| self.fail(error, name))?;
        }
        Ok(())
    }

    fn deletes(&mut self, name: &str, keys: &[Key], texts: &Texts) -> Result<(), StoreError> {
        let sql = self.table_sql(name)?;
        let ty = sql.types.first().copied().unwrap_or(turnmill_sql::SqlType::IdText);
        let mut delete = self.prepare(&sql.delete, name)?;
        for key in keys.iter().rev() {
            let key = match key {
                Key::Id(id) => Value::Id(*id),
                Key::Path(path) => Value::Text(texts.get(*path)),
            };
            bind(&mut delete, 1, key, ty, &mut self.times).map_err(|error| self.fail(error, name))?;
            self.touch_one(&mut delete, name, key)?;
        }
        Ok(())
    }

    fn bind_row(
        &mut self,
        statement: &mut CachedStatement<'_>,
        sql: &TableSql,
        rows: RowView<'_>,
        row: usize,
    ) -> rusqlite::Result<()> {
        for (column, ty) in sql.types.iter().enumerate() {
            bind(statement, column + 1, rows.value(row, column), *ty, &mut self.times)?;
        }
        Ok(())
    }

    /// Executes a statement that must change exactly one row.
    fn touch_one(
        &self,
        statement: &mut CachedStatement<'_>,
        table: &str,
        key: Value<'_>,
    ) -> Result<(), StoreError> {
        self.store.gate.pass()?;
        match statement.raw_execute().map_err(|error| self.fail(error, table))? {
            1 => Ok(()),
            _ => Err(StoreError::Damaged { detail: format!("{table} has no row {}", shown(key)) }),
        }
    }

    fn history(&self, write: &HistoryWrite) -> Result<(), StoreError> {
        let HistoryWrite { sender, chunk, replaces } = write;
        let doing = "writing history";
        let sql = if *replaces { &self.store.sql.replace_history } else { &self.store.sql.insert_history };
        let row = (
            sender.0.as_bytes(),
            chunk.number,
            chunk.least.seconds(),
            chunk.greatest.seconds(),
            chunk.bytes.as_slice(),
        );
        match self.execute(&mut self.prepare(sql, doing)?, row, doing)? {
            1 => Ok(()),
            _ => Err(StoreError::Damaged {
                detail: format!("chunk {} of sender {sender} is missing", chunk.number),
            }),
        }
    }

    fn checkpoints(&self, write: &CheckpointWrite) -> Result<(), StoreError> {
        let doing = "writing checkpoints";
        let sender = write.sender.0.as_bytes();
        let HistoryStretch { after, before } = write.stretch;
        let after = after.map_or(f64::NEG_INFINITY, EventTime::seconds);
        let before = before.map_or(f64::INFINITY, EventTime::seconds);
        self.execute(&mut self.prepare(DELETE_CHECKPOINTS, doing)?, (sender, after, before), doing)?;
        let mut put = self.prepare(&self.store.sql.put_checkpoint, doing)?;
        for checkpoint in &write.checkpoints {
            self.execute(&mut put, (sender, checkpoint.time.seconds(), checkpoint.state.as_slice()), doing)?;
        }
        Ok(())
    }

    /// Deletes a dead letter that was retried with success. If it is gone, another process has
    /// counted it.
    fn retried(&self, id: u64) -> Result<(), StoreError> {
        let doing = "deleting a dead letter";
        match self.execute(&mut self.prepare(&self.store.sql.delete_dead_letter, doing)?, [id], doing)? {
            1 => Ok(()),
            _ => {
                Err(StoreError::Fenced { detail: format!("dead letter {id} was retried by another process") })
            }
        }
    }

    fn dead_letter(&self, letter: &DeadLetter) -> Result<(), StoreError> {
        let doing = "writing a dead letter";
        let row = (
            &letter.key.source,
            &letter.key.partition,
            &letter.place,
            letter.reason.as_str(),
            &letter.detail,
            letter.payload.as_slice(),
            &letter.sender,
            letter.time,
            &letter.environment,
            letter.record_key.as_deref(),
            headers::write(&letter.headers),
            letter.row,
            facts::write(&letter.facts),
        );
        self.execute(&mut self.prepare(&self.store.sql.insert_dead_letter, doing)?, row, doing)?;
        Ok(())
    }

    fn prepare(&self, sql: &str, doing: &str) -> Result<CachedStatement<'w>, StoreError> {
        self.connection.prepare_cached(sql).map_err(|error| self.fail(error, doing))
    }

    fn execute(
        &self,
        statement: &mut CachedStatement<'_>,
        row: impl Params,
        doing: &str,
    ) -> Result<usize, StoreError> {
        self.store.gate.pass()?;
        statement.execute(row).map_err(|error| self.fail(error, doing))
    }

    fn fail(&self, error: rusqlite::Error, doing: &str) -> StoreError {
        let is_table = PUBLIC.into_iter().chain([&EVENT_ERROR]).any(|table| table.name == doing);
        let doing = if is_table { format!("writing {doing}") } else { doing.into() };
        if self.fresh && is_taken_key(&error) {
            // No other connection can write before this transaction ends, so no race was lost.
            let detail = format!(
                "`{}`, {doing}: {error}; the row exists, but the state of its sender does not know it",
                self.store.name()
            );
            return StoreError::Damaged { detail };
        }
        self.store.error(error, &doing)
    }
}

/// Formats the key of a row, for messages.
fn shown(key: Value<'_>) -> String {
    match key {
        Value::Id(id) => format!("`{id}`"),
        Value::Text(text) => format!("`{text}`"),
        Value::Integer(number) => number.to_string(),
        _ => "of this key".into(),
    }
}
