//! Describes the indexes of the public tables besides their primary keys.
//!
//! They serve the queries of people and of turnmill's own statements: a session's events in order,
//! the rows of a time window, the sessions of a sender. Columns that refer to other tables are
//! indexed only where the database checks the references ([`References::Checked`]), because then
//! every delete searches for rows that refer to the deleted one.
//!
//! [`PUBLISHED`] are indexes of earlier versions, with the names that the closed product publishes.
//! No statement uses them.

use turnmill_model::tables::{Column, PUBLIC, Table};

use crate::Dialect;
use crate::dialect::quoted;
use crate::schema::References;

/// Kind of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// A B-tree.
    Plain,
    /// A B-tree in which no two rows have the same values.
    Unique,
    /// PostgreSQL's block ranges: a thousandth of a B-tree's size, for windows of a column that
    /// grows with the table. SQLite has none.
    BlockRange,
}

/// An index of a public table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableIndex {
    /// Its name, unique in the schema.
    pub name: String,
    /// The table.
    pub table: &'static str,
    /// Its columns, as SQL writes them (`timestamp DESC`), and expressions.
    pub columns: Vec<&'static str>,
    /// Its kind.
    pub kind: IndexKind,
}

use IndexKind::{BlockRange, Plain, Unique};

/// Name, table, columns, kind.
type Described = (&'static str, &'static str, &'static [&'static str], IndexKind);

/// Name of the index of sender keys. It was unique up to schema version 4.
pub(crate) const SENDER_KEY: &str = "idx_rasa_sender_assistant_sender_key";

/// Name of the index of the senders of sessions' facts, which only PostgreSQL has. In SQLite each
/// index of senders costs a new sender a page, and `idx_rasa_session_sender_seq` answers the same.
pub(crate) const FACTS_SENDER: &str = "idx_ext_session_sender";

/// Indexes that exist whether or not references are checked.
const ALWAYS: [Described; 27] = [
    // Assistants and formats may have senders of the same key.
    (SENDER_KEY, "rasa_sender", &["coalesce(\"assistant\", '')", "sender_key"], Plain),
    ("idx_rasa_user_user_key", "rasa_user", &["user_key"], Unique),
    ("idx_rasa_session_sender_seq", "rasa_session", &["sender_id", "start_sequence_number DESC"], Plain),
    ("idx_rasa_session_timestamp", "rasa_session", &["timestamp"], Plain),
    ("idx_rasa_turn_session_seq", "rasa_turn", &["session_id", "start_sequence_number"], Plain),
    ("idx_rasa_event_session_seq", "rasa_event", &["session_id", "sequence_number"], Plain),
    ("idx_rasa_event_timestamp", "rasa_event", &["timestamp"], BlockRange),
    ("idx_rasa_bot_message_session_seq", "rasa_bot_message", &["session_id", "sequence_number"], Plain),
    ("idx_rasa_bot_message_timestamp", "rasa_bot_message", &["timestamp"], BlockRange),
    ("idx_rasa_user_message_session_seq", "rasa_user_message", &["session_id", "sequence_number"], Plain),
    ("idx_rasa_user_message_timestamp", "rasa_user_message", &["timestamp"], BlockRange),
    ("idx_rasa_action_timestamp", "rasa_action", &["timestamp"], BlockRange),
    ("idx_rasa_slot_timestamp", "rasa_slot", &["timestamp"], BlockRange),
    (
        "idx_rasa_dialogue_stack_frame_session_seq",
        "rasa_dialogue_stack_frame",
        &["session_id", "start_sequence_number"],
        Plain,
    ),
    ("idx_rasa_markers_session", "rasa_markers", &["session_id"], Plain),
    ("idx_rasa_markers_pattern_session", "rasa_markers", &["pattern_id", "session_id"], Plain),
    ("_turnmill_patterns_active_name", "rasa_patterns", &["name"], Unique),
    // The columns after the first one answer the most frequent questions from the index alone.
    ("idx_ext_session_started", "ext_session", &["started_at", "channel", "is_handed_over", "turns"], Plain),
    (FACTS_SENDER, "ext_session", &["sender_id"], Plain),
    ("idx_ext_turn_intent_asked", "ext_turn", &["intent", "asked_at"], Plain),
    ("idx_ext_turn_asked_channel", "ext_turn", &["asked_at", "channel", "response_us"], Plain),
    ("idx_ext_turn_session", "ext_turn", &["session_id"], Plain),
    ("idx_ext_turn_template_asked", "ext_turn", &["first_template", "asked_at"], Plain),
    // Empty unless a source is sampled: they tell so without a look at the tables.
    ("idx_ext_turn_sampled", "ext_turn", &["weight"], Plain),
    ("idx_ext_message_sampled", "ext_message", &["weight"], Plain),
    ("idx_ext_dialog_run_session", "ext_dialog_run", &["session_id"], Plain),
    ("idx_ext_feedback_session", "ext_feedback", &["session_id"], Plain),
];

/// Indexes that earlier versions made and that [`all`] no longer has.
pub const PUBLISHED: [&str; 6] = [
    "idx_rasa_sender_sender_key",
    "idx_rasa_turn_sender_session_seq",
    "idx_rasa_event_pattern_query",
    "idx_rasa_event_stack_query",
    "idx_rasa_event_was_processed",
    "idx_rasa_dialogue_stack_frame_sender_session_seq",
];

/// Returns the indexes of a database whose references are kept as `references` says.
///
/// ```
/// use turnmill_sql::indexes::all;
/// use turnmill_sql::{Dialect, References};
/// let names = |references| all(Dialect::Postgres, references).len();
/// assert!(names(References::Checked) > names(References::Declared));
/// ```
#[must_use]
pub fn all(dialect: Dialect, references: References) -> Vec<TableIndex> {
    let always = ALWAYS.into_iter().map(|(name, table, columns, kind)| TableIndex {
        name: name.into(),
        table,
        columns: columns.to_vec(),
        kind,
    });
    let wanted = |index: &TableIndex| {
        dialect == Dialect::Postgres || (index.kind != BlockRange && index.name != FACTS_SENDER)
    };
    let mut indexes: Vec<TableIndex> = always.filter(wanted).collect();
    if references == References::Checked {
        let led: Vec<(&str, &str)> = indexes.iter().filter_map(leads).collect();
        indexes.extend(referring().filter(|index| !leads(index).is_some_and(|first| led.contains(&first))));
    }
    indexes
}

/// Returns the table and the first column of an index that finds rows by it.
fn leads(index: &TableIndex) -> Option<(&'static str, &'static str)> {
    let first = index.columns.first()?.split(' ').next()?;
    (index.kind != BlockRange).then_some((index.table, first))
}

/// Returns an index of each column that refers to another table. Primary keys have one already.
pub fn referring() -> impl Iterator<Item = TableIndex> {
    let needed = |(table, column, _): &(&Table, &Column, &str)| table.columns.first() != Some(*column);
    references().filter(needed).map(|(table, column, _)| TableIndex {
        name: format!("_turnmill_ref_{}_{}", table.name, column.name),
        table: table.name,
        columns: vec![column.name],
        kind: Plain,
    })
}

/// Returns the columns that refer to another table, with that table.
pub fn references() -> impl Iterator<Item = (&'static Table, &'static Column, &'static str)> {
    let columns = |table: &'static Table| table.columns.iter().map(move |column| (table, column));
    PUBLIC
        .into_iter()
        .flat_map(columns)
        .filter_map(|(table, column)| Some((table, column, column.references?)))
}

impl TableIndex {
    /// Returns the statement that creates the index.
    #[must_use]
    pub fn create(&self) -> String {
        self.statement("")
    }

    /// Returns the statement that creates the index without blocking writers. It must run outside a
    /// transaction; PostgreSQL only.
    #[must_use]
    pub fn create_concurrently(&self) -> String {
        self.statement("CONCURRENTLY ")
    }

    fn statement(&self, how: &str) -> String {
        let column = |column: &&str| match column.split_once(' ') {
            // An expression, not a column.
            _ if column.contains('(') => (*column).to_owned(),
            Some((name, order)) => format!("{} {order}", quoted(name)),
            None => quoted(column),
        };
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        let (unique, method, options) = match self.kind {
            Plain => ("", "", ""),
            Unique => ("UNIQUE ", "", ""),
            BlockRange => ("", "USING brin ", " WITH (autosummarize = on)"),
        };
        let only = match self.columns.as_slice() {
            // Any number of inactive patterns may have the same name.
            ["name"] if self.table == "rasa_patterns" => " WHERE \"is_active\"",
            ["weight"] => " WHERE \"weight\" <> 1",
            _ => "",
        };
        format!(
            "CREATE {unique}INDEX {how}{} ON {} {method}({}){options}{only}",
            self.name,
            self.table,
            columns.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_index_is_of_columns_that_there_are_and_has_a_name_of_its_own() {
        let mut names = BTreeSet::new();
        for index in all(Dialect::Postgres, References::Checked) {
            let table = PUBLIC.into_iter().find(|table| table.name == index.table).unwrap();
            for column in index.columns.iter().filter(|column| !column.contains('(')) {
                assert!(table.column(column.split(' ').next().unwrap()).is_some(), "{index:?}");
            }
            assert!(index.name.len() < 64, "PostgreSQL would cut {}", index.name);
            assert!(!PUBLISHED.contains(&index.name.as_str()), "{}", index.name);
            assert!(names.insert(index.name.clone()), "{} is there twice", index.name);
        }
    }

    #[test]
    fn checked_references_are_found_by_an_index() {
        let indexes = all(Dialect::Postgres, References::Checked);
        for (table, column, _) in references() {
            let key = table.columns.first() == Some(column);
            let found = indexes.iter().any(|index| leads(index) == Some((table.name, column.name)));
            assert!(key || found, "{}.{}", table.name, column.name);
        }
        let without = all(Dialect::Postgres, References::Declared);
        assert_eq!(without.len(), ALWAYS.len());
        assert!(all(Dialect::Sqlite, References::Declared).iter().all(|index| index.kind != BlockRange));
    }
}
