//! The statements that remove all that a store has of a sender.
//!
//! Each takes the sender's id, in the type it is said to take, for every parameter.

use turnmill_model::tables::{EVENT_ERROR, PUBLIC, Table};

use crate::{Dialect, SqlType, internal};

/// A statement with the type of its parameter, the sender's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The statement.
    pub sql: String,
    /// [`SqlType::IdText`] or [`SqlType::Uuid`].
    pub ty: SqlType,
}

/// Removes the sender's rows and checkpoints, in an order that foreign keys allow. The cost is that of the sender's rows.
///
/// ```
/// use turnmill_sql::{Dialect, upkeep};
/// let removals = upkeep::clear(Dialect::Sqlite);
/// assert!(removals.iter().any(|removal| removal.sql == "DELETE FROM rasa_sender WHERE \"id\" = ?1"));
/// ```
#[must_use]
pub fn clear(dialect: Dialect) -> Vec<Removal> {
    let public = PUBLIC.iter().rev().filter_map(|table| removal(dialect, table));
    let own = [EVENT_ERROR.name, internal::CHECKPOINT.name].map(|table| of_internal(dialect, table));
    public.chain(own).collect()
}

/// Removes the sender's history and state, once [`clear`] has removed the rest.
#[must_use]
pub fn forget(dialect: Dialect) -> Vec<Removal> {
    [internal::HISTORY.name, internal::TIMELINE.name].map(|table| of_internal(dialect, table)).into()
}

fn of_internal(dialect: Dialect, table: &str) -> Removal {
    let sql = format!("DELETE FROM {table} WHERE \"sender_id\" = {}", dialect.placeholder(1));
    Removal { sql, ty: SqlType::Uuid }
}

/// None for tables without a sender's rows of its own.
fn removal(dialect: Dialect, table: &Table) -> Option<Removal> {
    let (name, sender) = (table.name, dialect.placeholder(1));
    let sql = if name == "rasa_sender" {
        format!("DELETE FROM {name} WHERE \"id\" = {sender}")
    } else if name == "rasa_session_slot_state" {
        // Its keys begin with the sender and a slash.
        format!("DELETE FROM {name} WHERE \"id\" >= {sender} || '/' AND \"id\" < {sender} || '0'")
    } else if table.column("sender_id").is_none() {
        return None;
    } else if table.indexes.iter().any(|index| index.columns.first() == Some(&"sender_id")) {
        format!("DELETE FROM {name} WHERE \"sender_id\" = {sender}")
    } else {
        // No index leads to the sender, but ids begin with the milliseconds of the event that they are derived of.
        format!(
            "DELETE FROM {name} WHERE \"id\" IN (SELECT own.\"id\" FROM rasa_event AS event CROSS JOIN {name} AS own \
             WHERE event.\"sender_id\" = {sender} AND own.\"sender_id\" = {sender} \
             AND own.\"id\" >= substr(event.\"id\", 1, 13) AND own.\"id\" < substr(event.\"id\", 1, 13) || '~')"
        )
    };
    Some(Removal { sql, ty: SqlType::IdText })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_of_senders_is_cleared_and_events_after_what_is_found_by_them() {
        let names: Vec<String> = clear(Dialect::Postgres)
            .iter()
            .map(|removal| removal.sql.split(' ').nth(2).unwrap_or_default().to_owned())
            .collect();
        for table in PUBLIC {
            let of_senders = table.name == "rasa_sender" || table.column("sender_id").is_some();
            assert_eq!(names.iter().any(|name| name == table.name), of_senders, "{}", table.name);
        }
        let place = |name: &str| names.iter().position(|other| other == name);
        assert!(place("rasa_markers") < place("rasa_event"));
        assert!(place("rasa_llm_command") < place("rasa_event"));
        assert!(place("rasa_event") < place("rasa_session"));
        assert!(place("rasa_session") < place("rasa_sender"));
    }
}
