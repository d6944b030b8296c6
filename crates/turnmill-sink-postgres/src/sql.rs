//! The statements of this store, made once.

use std::collections::BTreeMap;

use turnmill_model::tables::{EVENT_ERROR, PUBLIC, Table};
use turnmill_sql::internal::{self, InternalTable};
use turnmill_sql::outbox::{self, OutboxSql};
use turnmill_sql::statements::{Input, OnConflict, Target};
use turnmill_sql::upkeep::{self, Removal};
use turnmill_sql::{Dialect, SqlType};

use crate::patterns::REVISION;

/// The statements of one table, public or internal.
#[derive(Debug)]
pub(crate) struct TableSql {
    pub(crate) name: &'static str,
    pub(crate) types: Vec<SqlType>,
    pub(crate) insert: String,
    pub(crate) copy_in: String,
    /// Whether a row of the same key is no conflict, which COPY cannot say.
    pub(crate) by_key: bool,
    pub(crate) update: String,
    pub(crate) update_end: String,
    pub(crate) delete: String,
    pub(crate) copy_out: String,
}

/// All statements.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) tables: BTreeMap<&'static str, TableSql>,
    pub(crate) timeline: TableSql,
    pub(crate) history: TableSql,
    pub(crate) checkpoint: TableSql,
    pub(crate) dead_letter: TableSql,
    /// With numbers that were taken before.
    pub(crate) numbered_dead_letter: String,
    pub(crate) ledger: TableSql,
    pub(crate) position: TableSql,
    pub(crate) new_positions: String,
    pub(crate) clear: Vec<Removal>,
    pub(crate) forget: Vec<Removal>,
    pub(crate) outbox: OutboxSql,
    /// Reads the patterns' revision and the facts about sinks in one statement, so that a store
    /// without sinks needs no extra statement.
    pub(crate) revision_and_sinks: String,
}

/// Locks positions in order and returns them.
pub(crate) const LOCK_POSITIONS: &str = "SELECT p.\"source\", p.\"partition\", p.\"position\" FROM _turnmill_position AS p \
     JOIN unnest($1::text[], $2::text[]) AS claimed (\"source\", \"partition\") \
     ON p.\"source\" = claimed.\"source\" AND p.\"partition\" = claimed.\"partition\" \
     ORDER BY p.\"source\", p.\"partition\" FOR UPDATE OF p";
pub(crate) const POSITIONS: &str = "SELECT \"source\", \"partition\", \"position\" FROM _turnmill_position \
     ORDER BY \"source\", \"partition\"";
/// Inserts a row for each sender that has none, so that there is a row to lock. Version 0 stands
/// for no state.
pub(crate) const NEW_TIMELINES: &str = "INSERT INTO _turnmill_timeline (\"sender_id\", \"version\", \"state\") \
     SELECT id, 0, '' FROM unnest($1::uuid[]) AS claimed (id) ORDER BY id ON CONFLICT DO NOTHING";
/// Locks senders in order. Returns a state only if its version is not the cached one.
pub(crate) const LOCK_TIMELINES: &str = "SELECT t.\"sender_id\", t.\"version\", \
     CASE WHEN t.\"version\" = claimed.cached THEN NULL ELSE t.\"state\" END \
     FROM _turnmill_timeline AS t JOIN unnest($1::uuid[], $2::bigint[]) AS claimed (id, cached) \
     ON t.\"sender_id\" = claimed.id ORDER BY t.\"sender_id\" FOR UPDATE OF t";
/// The same as [`LOCK_TIMELINES`] without locks, for transactions that only read.
pub(crate) const READ_TIMELINES: &str = "SELECT t.\"sender_id\", t.\"version\", \
     CASE WHEN t.\"version\" = claimed.cached THEN NULL ELSE t.\"state\" END \
     FROM _turnmill_timeline AS t JOIN unnest($1::uuid[], $2::bigint[]) AS claimed (id, cached) \
     ON t.\"sender_id\" = claimed.id";
/// Finds events by key. All ids of one key are neighbours in the index, between `least` and
/// `greatest`. The first parameter numbers the keys. Texts compare as bytes, whatever the
/// database's collation.
pub(crate) const KNOWN: &str = "SELECT wanted.number, event.id \
     FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS wanted (number, least, greatest, sender_id) \
     CROSS JOIN LATERAL (SELECT id FROM rasa_event WHERE id >= wanted.least COLLATE \"C\" \
     AND id <= wanted.greatest COLLATE \"C\" AND sender_id = wanted.sender_id OFFSET 0) AS event";
pub(crate) const SESSION_OWNERS: &str = "SELECT id, sender_id FROM rasa_session WHERE id = ANY ($1::text[])";
pub(crate) const DELETE_CHECKPOINTS: &str = "DELETE FROM _turnmill_checkpoint AS c \
     USING unnest($1::uuid[], $2::double precision[], $3::double precision[]) AS stretch (id, \"after\", \"before\") \
     WHERE c.\"sender_id\" = stretch.id AND c.\"time\" > stretch.\"after\" AND c.\"time\" < stretch.\"before\"";
pub(crate) const LEDGER: &str = "SELECT \"source\", records, events, duplicates, anonymised, dead_letters, skipped, changed, parts \
     FROM _turnmill_ledger ORDER BY \"source\"";
pub(crate) const DEAD_LETTERS: &str = "SELECT id, \"source\", \"partition\", place, reason, detail, payload, sender, \"time\", \
     environment, record_key, headers, record_row, facts FROM _turnmill_dead_letter WHERE id > $1 ORDER BY id LIMIT $2";
pub(crate) const DELETE_DEAD_LETTERS: &str =
    "DELETE FROM _turnmill_dead_letter WHERE id = ANY ($1::bigint[])";
/// Takes numbers for dead letters that sinks receive too, so that the table and the outbox
/// have the same ones.
pub(crate) const LETTER_NUMBERS: &str = "SELECT nextval(pg_get_serial_sequence('_turnmill_dead_letter', 'id')) FROM generate_series(1, $1::bigint)";
/// Checks deferred constraints now, while the record at fault can still be found. turnmill declares
/// none; an operator can make a constraint deferrable.
pub(crate) const CHECK_NOW: &str = "SET CONSTRAINTS ALL IMMEDIATE";

impl Sql {
    pub(crate) fn new() -> Self {
        let tables =
            PUBLIC.into_iter().chain([&EVENT_ERROR]).map(|table| (table.name, TableSql::public(table)));
        let position = TableSql::internal(&internal::POSITION, OnConflict::Replace);
        Self {
            tables: tables.collect(),
            timeline: TableSql::internal(&internal::TIMELINE, OnConflict::Replace),
            history: TableSql::internal(&internal::HISTORY, OnConflict::Fail),
            checkpoint: TableSql::internal(&internal::CHECKPOINT, OnConflict::Replace),
            dead_letter: TableSql::internal(&internal::DEAD_LETTER, OnConflict::Fail),
            numbered_dead_letter: Target::numbered(&internal::DEAD_LETTER).insert(
                Dialect::Postgres,
                Input::Arrays,
                OnConflict::Fail,
            ),
            ledger: TableSql::internal(&internal::LEDGER, OnConflict::Add),
            // Of two writers that insert the same position, the second waits for the first. Then it
            // has inserted nothing, which the caller detects by the number of rows.
            new_positions: "INSERT INTO _turnmill_position (\"source\", \"partition\", \"position\") \
                 SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) AS new (\"source\", \"partition\", \"position\") \
                 ORDER BY \"source\", \"partition\" ON CONFLICT DO NOTHING"
                .into(),
            position,
            clear: upkeep::clear(Dialect::Postgres),
            forget: upkeep::forget(Dialect::Postgres),
            outbox: OutboxSql::new(Dialect::Postgres),
            revision_and_sinks: outbox::FACTS.replacen("SELECT ", &format!("SELECT ({REVISION}), "), 1),
        }
    }
}

impl TableSql {
    fn public(table: &'static Table) -> Self {
        let conflict = match table.name {
            "rasa_user" => OnConflict::Widen,
            "rasa_session_slot_state" => OnConflict::Replace,
            _ => OnConflict::Fail,
        };
        Self::new(&Target::from(table), conflict)
    }

    fn internal(table: &'static InternalTable, conflict: OnConflict) -> Self {
        Self::new(&Target::from(table), conflict)
    }

    fn new(target: &Target, conflict: OnConflict) -> Self {
        let dialect = Dialect::Postgres;
        let columns: Vec<String> = target.columns().iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let (name, columns) = (target.name(), columns.join(", "));
        Self {
            name,
            types: target.columns().iter().map(|(_, ty)| *ty).collect(),
            insert: target.insert(dialect, Input::Arrays, conflict),
            copy_in: format!("COPY {name} ({columns}) FROM STDIN (FORMAT binary)"),
            by_key: conflict != OnConflict::Fail,
            update: target.update(dialect, Input::Arrays),
            update_end: target.update_columns(dialect, Input::Arrays, &["end_sequence_number"]),
            delete: target.delete(dialect, Input::Arrays),
            copy_out: format!("COPY (SELECT {columns} FROM {name}) TO STDOUT (FORMAT binary)"),
        }
    }
}
