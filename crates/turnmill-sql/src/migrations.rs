//! The numbered steps that bring a store's schema up to date.
//!
//! A store applies the [`pending`] steps under a lock that keeps other processes out. It records
//! each step in `_turnmill_migrations` and the last number in `_turnmill_meta`.

use turnmill_sink::StoreError;

#[cfg(doc)]
use crate::Schema;

/// One step of the schema's history.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number; the schema has this version afterwards.
    pub number: u32,
    /// What it does, in a few words.
    pub name: &'static str,
    /// How a store of the previous version is changed.
    pub change: Change,
}

/// What a migration does to a store.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Change {
    /// Creates everything. A new store gets the whole current version this way, and needs no other
    /// step.
    Create,
    /// Adds the columns of later versions: see [`Schema::new_columns`].
    Widen,
    /// Makes ids compare as bytes, and indexes and references those of [`Schema`]. Keeps what fits.
    /// In PostgreSQL this does not block queries, goes step by step, and can be repeated after an
    /// interruption.
    Rearrange,
    /// The tables of sinks and their outbox are made: see [`Schema::tables_of_sinks`].
    Sinks,
    /// Senders of several formats may have one key, and the ledger counts events beside those that
    /// count: see [`Schema::for_formats`].
    Formats,
    /// The tables of facts are made, empty, and comments on all public tables: see
    /// [`Schema::tables_of_facts`]. A rebuild fills the tables.
    Facts,
    /// History is found by time through its primary key alone. In SQLite the rows of history and of
    /// senders' states are copied for that: see [`Schema::copied_by_sender`]. PostgreSQL builds the
    /// key beside running queries.
    Keys,
}

/// All steps, in order.
pub static MIGRATIONS: [Migration; 7] = [
    Migration { number: 1, name: "tables, indexes and views", change: Change::Create },
    Migration { number: 2, name: "columns for assistants and sources", change: Change::Widen },
    Migration { number: 3, name: "indexes and foreign keys", change: Change::Rearrange },
    Migration { number: 4, name: "tables for sinks", change: Change::Sinks },
    Migration { number: 5, name: "senders of several formats", change: Change::Formats },
    Migration { number: 6, name: "tables of facts", change: Change::Facts },
    Migration { number: 7, name: "keys of history and states", change: Change::Keys },
];

/// The version of the schema that this turnmill knows.
pub const SCHEMA_VERSION: u32 = 7;

/// Returns the steps that a store of schema version `stored` lacks. An empty database (version 0)
/// gets only the first step, which creates the tables that all steps together would.
///
/// # Errors
///
/// [`StoreError::Newer`] if the store has a version that is not known here.
///
/// ```
/// use turnmill_sql::migrations::pending;
/// assert_eq!(pending(5)?.len(), 2);
/// assert!(pending(99).is_err());
/// # Ok::<(), turnmill_sink::StoreError>(())
/// ```
pub fn pending(stored: u32) -> Result<&'static [Migration], StoreError> {
    if stored > SCHEMA_VERSION {
        return Err(StoreError::Newer { found: stored, known: SCHEMA_VERSION });
    }
    let first = MIGRATIONS.partition_point(|migration| migration.number <= stored);
    Ok(MIGRATIONS.get(first..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_without_gaps_to_the_present_version() {
        let numbers: Vec<u32> = MIGRATIONS.iter().map(|migration| migration.number).collect();
        assert_eq!(numbers, (1..=SCHEMA_VERSION).collect::<Vec<_>>());
    }

    #[test]
    fn only_what_is_missing_is_pending() {
        assert_eq!(pending(SCHEMA_VERSION).unwrap().len(), 0);
        assert!(matches!(
            pending(SCHEMA_VERSION + 1),
            Err(StoreError::Newer { found, known: SCHEMA_VERSION }) if found == SCHEMA_VERSION + 1
        ));
    }
}
