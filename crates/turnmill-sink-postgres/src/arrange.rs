//! Arranges indexes and foreign keys of tables that are in use: builds what is missing without
//! blocking queries, and drops what is no longer wanted.
//!
//! Every statement is a transaction of its own, so the next attempt finds and finishes what an
//! interruption left.

use std::collections::BTreeMap;

use tokio_postgres::Row;
use turnmill_model::tables::PUBLIC;
use turnmill_sink::StoreError;
use turnmill_sql::indexes::{self, PUBLISHED, TableIndex};
use turnmill_sql::{References, Schema};

use crate::connect::Connection;
use crate::failure::Failure;
use crate::notices::Notices;

/// Reads the indexes of the schema, with their tables and whether they were finished.
const INDEXES: &str = "SELECT i.relname::text, t.relname::text, x.indisvalid FROM pg_catalog.pg_index AS x \
     JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid JOIN pg_catalog.pg_class AS t ON t.oid = x.indrelid \
     WHERE i.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())";
/// Reads the foreign keys between tables of the schema: table, name, column, whether they are
/// enforced, and whether they are known to hold. Versions before 18 enforce all.
const FOREIGN_KEYS: &str = "SELECT t.relname::text, c.conname::text, a.attname::text, \
     COALESCE((to_jsonb(c) ->> 'conenforced')::boolean, true), c.convalidated FROM pg_catalog.pg_constraint AS c \
     JOIN pg_catalog.pg_class AS t ON t.oid = c.conrelid JOIN pg_catalog.pg_class AS f ON f.oid = c.confrelid \
     JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] \
     WHERE c.contype = 'f' AND t.relnamespace = f.relnamespace AND t.relname = ANY ($1::text[]) AND \
     f.relname = ANY ($1::text[]) \
     AND t.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema()) ORDER BY 1, 2";
/// Reads whether the key of slot states compares by the rules of a language, as version 1 had it.
const SLOT_STATES: &str = "SELECT l.collname <> 'C' FROM pg_catalog.pg_attribute AS a \
     JOIN pg_catalog.pg_class AS t ON t.oid = a.attrelid JOIN pg_catalog.pg_collation AS l ON l.oid = a.attcollation \
     WHERE t.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema()) \
     AND t.relname = 'rasa_session_slot_state' AND a.attname = 'id'";

/// The differences between the indexes and foreign keys that exist and those that are wanted.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Set if the key of slot states has to be changed to compare as bytes.
    slot_states: bool,
    /// Indexes that an interrupted attempt left unfinished.
    broken: Vec<String>,
    missing: Vec<TableIndex>,
    needless: Vec<String>,
    /// Declared foreign keys by table and column.
    keys: BTreeMap<(String, String), Key>,
    references: References,
}

/// A declared foreign key.
#[derive(Debug)]
struct Key {
    name: String,
    references: References,
    valid: bool,
}

impl Plan {
    /// Compares the session's schema with `schema` and `references`. Changes nothing.
    pub(crate) async fn new(
        connection: &Connection,
        schema: &Schema,
        references: References,
    ) -> Result<Self, StoreError> {
        let fail = |error: Failure| connection.fail(error, "reading its indexes");
        let mut there: BTreeMap<String, (String, bool)> = BTreeMap::new();
        for row in connection.query(INDEXES, &[]).await.map_err(fail)? {
            let index =
                || -> Result<_, Failure> { Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?))) };
            there.extend([index().map_err(fail)?]);
        }
        let wanted: Vec<TableIndex> = schema.references(references).indexes().collect();
        let found = |index: &TableIndex| {
            there.get(&index.name).is_some_and(|(table, valid)| table == index.table && *valid)
        };
        let broken = wanted.iter().filter(|index| there.get(&index.name).is_some_and(|(_, valid)| !valid));
        let broken = broken.map(|index| index.name.clone()).collect();
        let referring = indexes::referring().map(|index| index.name);
        let ours = PUBLISHED.into_iter().map(ToOwned::to_owned).chain(referring);
        let needless =
            ours.filter(|name| there.contains_key(name) && !wanted.iter().any(|index| index.name == *name));
        let tables: Vec<&str> = PUBLIC.iter().map(|table| table.name).collect();
        let rows = connection.query(FOREIGN_KEYS, &[&tables]).await.map_err(fail)?;
        let keys = rows.iter().map(key).collect::<Result<_, _>>().map_err(fail)?;
        let slot_states = connection.query(SLOT_STATES, &[]).await.map_err(fail)?;
        let slot_states = slot_states.first().map(|row| row.try_get(0)).transpose();
        Ok(Self {
            slot_states: slot_states.map_err(|error| fail(error.into()))?.unwrap_or_default(),
            broken,
            needless: needless.collect(),
            missing: wanted.iter().filter(|index| !found(index)).cloned().collect(),
            keys,
            references,
        })
    }

    /// Describes each change for people. Empty if nothing is to be done.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut said = Vec::new();
        if self.slot_states {
            said.push(
                "makes the key of rasa_session_slot_state compare as bytes (the table is locked for a \
                 moment)"
                    .into(),
            );
        }
        let names = |names: &mut dyn Iterator<Item = &str>| names.collect::<Vec<_>>().join(", ");
        if !self.missing.is_empty() {
            let list = names(&mut self.missing.iter().map(|index| index.name.as_str()));
            said.push(format!(
                "builds {}, beside running queries: {list}",
                count(self.missing.len(), "index", "indexes")
            ));
        }
        if !self.needless.is_empty() {
            let list = names(&mut self.needless.iter().map(String::as_str));
            said.push(format!("drops {}: {list}", count(self.needless.len(), "index", "indexes")));
        }
        let (wrong, lacking) = (self.wrong().count(), self.lacking().count());
        if wrong > 0 {
            said.push(format!("drops {}", count(wrong, "foreign key", "foreign keys")));
        }
        if lacking > 0 {
            let how = if self.references == References::Checked { "checked" } else { "not enforced" };
            said.push(format!("declares {}, {how}", count(lacking, "foreign key", "foreign keys")));
        }
        said
    }

    /// Returns foreign keys that exist and are not as wanted.
    fn wrong(&self) -> impl Iterator<Item = (&str, &Key)> {
        let fits = |key: &Key| key.references == self.references && key.valid;
        self.keys.iter().filter(move |(_, key)| !fits(key)).map(|((table, _), key)| (table.as_str(), key))
    }

    /// Returns foreign keys that have to be declared.
    fn lacking(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        let none = self.references == References::None;
        let references =
            indexes::references().map(|(table, column, parent)| (table.name, column.name, parent));
        references.filter(move |(table, column, _)| {
            let key = self.keys.get(&((*table).to_owned(), (*column).to_owned()));
            !none && !key.is_some_and(|key| key.references == self.references && key.valid)
        })
    }

    /// Carries the plan out.
    ///
    /// Checked keys need their indexes: an index is built before the key that needs it is declared,
    /// and dropped only after that key is gone.
    pub(crate) async fn carry_out(
        &self,
        connection: &Connection,
        notices: &Notices,
    ) -> Result<(), StoreError> {
        if self.slot_states {
            notices.say("making the key of rasa_session_slot_state compare as bytes");
            let alter =
                "ALTER TABLE rasa_session_slot_state ALTER COLUMN \"id\" TYPE varchar(255) COLLATE \"C\"";
            execute(connection, alter, "changing the key of rasa_session_slot_state")
                .await
                .map_err(in_the_way)?;
        }
        for name in &self.broken {
            notices.say(&format!("dropping {name}, which an interrupted attempt has left unfinished"));
            concurrently(connection, &format!("DROP INDEX CONCURRENTLY {name}"), name).await?;
        }
        for index in &self.missing {
            notices.say(&format!("building {} on {}", index.name, index.table));
            concurrently(connection, &index.create_concurrently(), &index.name).await?;
        }
        if self.wrong().next().is_some() {
            notices.say(&format!("dropping {}", count(self.wrong().count(), "foreign key", "foreign keys")));
        }
        for (table, key) in self.wrong() {
            let drop = format!("ALTER TABLE {table} DROP CONSTRAINT {}", crate::connect::quoted(&key.name));
            execute(connection, &drop, "dropping a foreign key").await?;
        }
        for (table, column, parent) in self.lacking() {
            let name = format!("{table}_{column}_fkey");
            let add = format!(
                "ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (\"{column}\") REFERENCES {parent} (\"id\")"
            );
            let doing = format!("declaring the foreign key {name}");
            notices.say(&doing);
            if self.references == References::Checked {
                // `NOT VALID` and then `VALIDATE` checks the existing rows without blocking
                // writers.
                execute(connection, &format!("{add} NOT VALID"), &doing).await?;
                let validate = format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name}");
                without_lock_limit(connection, &validate, &doing).await.map_err(|error| match error {
                    StoreError::Refused { detail } => StoreError::Unusable {
                        detail: format!(
                            "{detail}: rows refer to others that are not there, which `turnmill verify` lists and \
                             `turnmill rebuild` mends; until then take another value of `TURNMILL_DB_FOREIGN_KEYS`"
                        ),
                        source: None,
                    },
                    error => error,
                })?;
            } else {
                execute(connection, &format!("{add} NOT ENFORCED"), &doing).await?;
            }
        }
        for name in &self.needless {
            notices.say(&format!("dropping {name}"));
            concurrently(connection, &format!("DROP INDEX CONCURRENTLY {name}"), name).await?;
        }
        Ok(())
    }
}

/// Reads how many columns the key of history has, and whether an attempt to build another was
/// interrupted.
const KEY_OF_HISTORY: &str = "SELECT \
     (SELECT indnkeyatts FROM pg_catalog.pg_index WHERE indisprimary \
     AND indrelid = '_turnmill_history'::regclass)::bigint, \
     to_regclass('_turnmill_history_key') IS NOT NULL";

/// Gives history a key that begins with sender and time, in place of one of sender and number
/// beside an index of times. Builds it without blocking queries, and locks the table for a moment.
pub(crate) async fn history_by_time(connection: &Connection, notices: &Notices) -> Result<(), StoreError> {
    let doing = "changing the key of _turnmill_history";
    let row = connection.query_one(KEY_OF_HISTORY, &[]).await;
    let (columns, unfinished): (Option<i64>, bool) = row
        .and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .map_err(|error| connection.fail(error, doing))?;
    if columns != Some(4) {
        if unfinished {
            let drop = "DROP INDEX CONCURRENTLY _turnmill_history_key";
            concurrently(connection, drop, "_turnmill_history_key").await?;
        }
        notices.say("building the new key of _turnmill_history");
        let build = "CREATE UNIQUE INDEX CONCURRENTLY _turnmill_history_key ON _turnmill_history \
                     (\"sender_id\", \"greatest\", \"least\", \"number\")";
        concurrently(connection, build, "_turnmill_history_key").await?;
        let replace = "ALTER TABLE _turnmill_history DROP CONSTRAINT _turnmill_history_pkey, \
                       ADD CONSTRAINT _turnmill_history_pkey PRIMARY KEY USING INDEX _turnmill_history_key";
        execute(connection, replace, doing).await?;
    }
    notices.say("dropping _turnmill_history_time");
    let drop = "DROP INDEX CONCURRENTLY IF EXISTS _turnmill_history_time";
    concurrently(connection, drop, "_turnmill_history_time").await
}

/// Adds the remedy to the error of a view or rule that keeps a column from being changed.
fn in_the_way(error: StoreError) -> StoreError {
    match error {
        StoreError::Unusable { detail, source } if detail.contains("0A000") => {
            let remedy = "drop that view or rule, start once, and create it again";
            StoreError::Unusable { detail: format!("{detail}: {remedy}"), source }
        }
        error => error,
    }
}

fn key(row: &Row) -> Result<((String, String), Key), Failure> {
    let references = if row.try_get(3)? { References::Checked } else { References::Declared };
    // A key that is not enforced is never marked as valid.
    let valid: bool = row.try_get(4)?;
    let valid = valid || references == References::Declared;
    Ok(((row.try_get(0)?, row.try_get(2)?), Key { name: row.try_get(1)?, references, valid }))
}

fn count(number: usize, one: &str, several: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {several}") }
}

/// Executes a statement that locks a table for a moment. It waits for running queries at most for
/// the session's lock limit, because queries that come after it wait for it.
async fn execute(connection: &Connection, sql: &str, doing: &str) -> Result<(), StoreError> {
    connection.batch_execute(sql).await.map_err(|error| connection.fail(error, doing))
}

/// Executes a statement that waits for all running transactions and blocks none.
async fn concurrently(connection: &Connection, sql: &str, index: &str) -> Result<(), StoreError> {
    without_lock_limit(connection, sql, &format!("arranging the index {index}")).await
}

async fn without_lock_limit(connection: &Connection, sql: &str, doing: &str) -> Result<(), StoreError> {
    connection.set_session("lock_timeout", "0").await?;
    execute(connection, sql, doing).await?;
    connection.limit_locks().await
}
