//! The statements of this store, built once.

use std::collections::BTreeMap;

use turnmill_model::tables::{EVENT_ERROR, PUBLIC, RASA_PATTERNS, Table};
use turnmill_sink::outbox;
use turnmill_sql::outbox::OutboxSql;
use turnmill_sql::statements::{Input, OnConflict, Target};
use turnmill_sql::upkeep::Removal;
use turnmill_sql::{Dialect, SqlType, internal, upkeep};

/// The statements of one table.
#[derive(Debug)]
pub(crate) struct TableSql {
    pub(crate) types: Vec<SqlType>,
    pub(crate) insert: String,
    pub(crate) update: String,
    pub(crate) update_end: String,
    pub(crate) delete: String,
    pub(crate) select: String,
    /// Selects rows after a key, with the columns that sinks receive.
    pub(crate) select_after: String,
    pub(crate) types_after: Vec<SqlType>,
}

/// All statements.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) tables: BTreeMap<&'static str, TableSql>,
    pub(crate) put_timeline: String,
    pub(crate) insert_history: String,
    pub(crate) replace_history: String,
    pub(crate) put_checkpoint: String,
    pub(crate) insert_dead_letter: String,
    pub(crate) delete_dead_letter: String,
    pub(crate) add_ledger: String,
    pub(crate) put_position: String,
    pub(crate) put_meta: String,
    pub(crate) put_pattern: String,
    pub(crate) put_own_pattern: String,
    pub(crate) clear: Vec<Removal>,
    pub(crate) forget: Vec<Removal>,
    pub(crate) outbox: OutboxSql,
}

/// Events of a sender with one key: their ids are adjacent.
pub(crate) const KNOWN: &str = "SELECT id FROM rasa_event WHERE id BETWEEN ?1 AND ?2 AND sender_id = ?3";
pub(crate) const SESSION_OWNER: &str = "SELECT sender_id FROM rasa_session WHERE id = ?1";
pub(crate) const POSITION: &str =
    "SELECT position FROM _turnmill_position WHERE source = ?1 AND partition = ?2";
pub(crate) const POSITIONS: &str =
    "SELECT source, partition, position FROM _turnmill_position ORDER BY source, partition";
/// The state, only if its version differs from the one in memory.
pub(crate) const TIMELINE: &str = "SELECT version, CASE WHEN version IS ?2 THEN NULL ELSE state END \
     FROM _turnmill_timeline WHERE sender_id = ?1";
pub(crate) const CHECKPOINT_BEFORE: &str = "SELECT time, state FROM _turnmill_checkpoint \
     WHERE sender_id = ?1 AND time <= ?2 ORDER BY time DESC LIMIT 1";
pub(crate) const CHECKPOINTS_OF_PAGE: &str = "SELECT time, state FROM _turnmill_checkpoint \
     WHERE sender_id = ?1 AND time > ?2 AND time >= ?3 AND time < ?4 ORDER BY time";
pub(crate) const DELETE_CHECKPOINTS: &str =
    "DELETE FROM _turnmill_checkpoint WHERE sender_id = ?1 AND time > ?2 AND time < ?3";
/// The key's tree alone yields the chunks to read.
pub(crate) const HISTORY: &str = "SELECT chunk.number, chunk.least, chunk.greatest, chunk.bytes FROM (\
     SELECT rowid AS row, number, least FROM _turnmill_history WHERE sender_id = ?1 AND greatest >= ?2 \
     ORDER BY least, number LIMIT ?3 OFFSET ?4) AS found \
     CROSS JOIN _turnmill_history AS chunk ON chunk.rowid = found.row \
     ORDER BY found.least, found.number";
pub(crate) const LEDGER: &str = "SELECT source, records, events, duplicates, anonymised, dead_letters, \
                                 skipped, changed, parts \
     FROM _turnmill_ledger ORDER BY source";
pub(crate) const DEAD_LETTERS: &str = "SELECT id, source, partition, place, reason, detail, payload, sender, time, \
     environment, record_key, headers, record_row, facts FROM _turnmill_dead_letter WHERE id > ?1 ORDER BY id LIMIT ?2";

impl Sql {
    pub(crate) fn new() -> Self {
        let dialect = Dialect::Sqlite;
        let tables = PUBLIC.into_iter().chain([&EVENT_ERROR]).map(|table| (table.name, TableSql::new(table)));
        let one = |target: &Target, conflict| target.insert(dialect, Input::Rows(1), conflict);
        let history = Target::from(&internal::HISTORY);
        let letters = Target::from(&internal::DEAD_LETTER);
        Self {
            tables: tables.collect(),
            put_timeline: one(&Target::from(&internal::TIMELINE), OnConflict::Replace),
            insert_history: one(&history, OnConflict::Fail),
            replace_history: history.update(dialect, Input::Rows(1)),
            put_checkpoint: one(&Target::from(&internal::CHECKPOINT), OnConflict::Replace),
            insert_dead_letter: one(&letters, OnConflict::Fail),
            delete_dead_letter: letters.delete(dialect, Input::Rows(1)),
            add_ledger: one(&Target::from(&internal::LEDGER), OnConflict::Add),
            put_position: one(&Target::from(&internal::POSITION), OnConflict::Replace),
            put_meta: one(&Target::from(&internal::META), OnConflict::Replace),
            put_pattern: one(&Target::with_stamps(&RASA_PATTERNS), OnConflict::Replace),
            put_own_pattern: one(&Target::from(&internal::PATTERN), OnConflict::Replace),
            clear: upkeep::clear(dialect),
            forget: upkeep::forget(dialect),
            outbox: OutboxSql::new(dialect),
        }
    }
}

impl TableSql {
    fn new(table: &'static Table) -> Self {
        let dialect = Dialect::Sqlite;
        let target = Target::from(table);
        let conflict = match table.name {
            "rasa_user" => OnConflict::Widen,
            "rasa_session_slot_state" => OnConflict::Replace,
            _ => OnConflict::Fail,
        };
        let columns: Vec<String> = target.columns().iter().map(|(name, _)| format!("\"{name}\"")).collect();
        Self {
            types: target.columns().iter().map(|(_, ty)| *ty).collect(),
            insert: target.insert(dialect, Input::Rows(1), conflict),
            update: target.update(dialect, Input::Rows(1)),
            update_end: target.update_columns(dialect, Input::Rows(1), &["end_sequence_number"]),
            delete: target.delete(dialect, Input::Rows(1)),
            select_after: select_after(table),
            types_after: outbox::columns(table).map(|(_, column)| SqlType::of(table, column)).collect(),
            select: format!("SELECT {} FROM {}", columns.join(", "), table.name),
        }
    }
}

fn select_after(table: &'static Table) -> String {
    let columns: Vec<String> =
        outbox::columns(table).map(|(_, column)| format!("\"{}\"", column.name)).collect();
    let key = columns.first().map_or("", String::as_str);
    format!("SELECT {} FROM {} WHERE {key} > ?1 ORDER BY {key} LIMIT ?2", columns.join(", "), table.name)
}
