//! Generates the statements that remove all that a store has of senders.
//!
//! Each statement has one parameter: in SQLite the id of one sender, in PostgreSQL an array of any
//! number of ids.
//!
//! Only `rasa_session` has an index of its senders, so all rows are found from there. Sessions are
//! found by their sender, and from them the tables that have an index of their session. Actions,
//! slots, flow statuses and facts of messages have their event's id. The cost grows with the
//! senders' rows, not with the rest of the store. Tables are joined only by arrays of known keys:
//! with statistics the planner could turn a real join round and read a whole table.

use turnmill_model::tables::{EVENT_ERROR, Owner, PUBLIC, Table};

use crate::indexes::{self, IndexKind};
use crate::{Dialect, References, SqlType, internal};

/// A statement with the type of its parameter, the sender's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The statement.
    pub sql: String,
    /// Type of the parameter: [`SqlType::IdText`] or [`SqlType::Uuid`].
    pub ty: SqlType,
}

/// Returns the statements that remove the senders' rows and checkpoints, in an order that foreign
/// keys allow. The cost grows with the senders' rows.
///
/// ```
/// use turnmill_sql::{Dialect, upkeep};
/// let removals = upkeep::clear(Dialect::Sqlite);
/// assert!(removals.iter().any(|removal| removal.sql == "DELETE FROM rasa_sender WHERE \"id\" = ?1"));
/// ```
#[must_use]
pub fn clear(dialect: Dialect) -> Vec<Removal> {
    // Errors go first: they are found by their events.
    let errors = by_keys(dialect, &EVENT_ERROR, &own_type(dialect, &of_events(dialect)));
    let public = PUBLIC.iter().rev().filter_map(|table| removal(dialect, table));
    [Removal { sql: errors, ty: SqlType::IdText }]
        .into_iter()
        .chain(public)
        .chain([of_internal(dialect, internal::CHECKPOINT.name)])
        .collect()
}

/// Returns the statements that remove the senders' history and state, once [`clear`] has removed
/// the rest.
#[must_use]
pub fn forget(dialect: Dialect) -> Vec<Removal> {
    [internal::HISTORY.name, internal::TIMELINE.name].map(|table| of_internal(dialect, table)).into()
}

fn of_internal(dialect: Dialect, table: &str) -> Removal {
    let sql = format!("DELETE FROM {table} WHERE {}", is_one_of(dialect, "\"sender_id\"", SqlType::Uuid));
    Removal { sql, ty: SqlType::Uuid }
}

/// Returns the statement for one table, or `None` if the table has no rows of a single sender.
fn removal(dialect: Dialect, table: &Table) -> Option<Removal> {
    let name = table.name;
    let sender =
        |column: &str| format!("DELETE FROM {name} WHERE {}", is_one_of(dialect, column, SqlType::IdText));
    let sql = match name {
        "rasa_sender" => sender("\"id\""),
        "rasa_session" => sender("\"sender_id\""),
        "rasa_session_slot_state" => by_keys(dialect, table, &slot_states(dialect)),
        "rasa_llm_command" => by_keys(dialect, table, &commands(dialect)),
        _ if table.owner().is_none() => return None,
        _ if table.owner() == Some(Owner::Event(0)) => by_keys(dialect, table, &of_events(dialect)),
        _ if has_index_of_session(table) => {
            let sessions = sessions(dialect);
            match dialect {
                Dialect::Sqlite => format!("DELETE FROM {name} WHERE \"session_id\" IN ({sessions})"),
                Dialect::Postgres => {
                    format!("DELETE FROM {name} WHERE \"session_id\" = ANY (ARRAY({sessions}))")
                }
            }
        }
        _ => by_keys(dialect, table, &of_events(dialect)),
    };
    Some(Removal { sql, ty: SqlType::IdText })
}

fn has_index_of_session(table: &Table) -> bool {
    let mut indexes = indexes::all(Dialect::Postgres, References::None).into_iter();
    let is_key = table.column("session_id") == Some(0);
    is_key
        || indexes.any(|index| {
            index.table == table.name
                && index.kind != IndexKind::BlockRange
                && index.columns.first() == Some(&"session_id")
        })
}

/// Returns the statement that removes rows by their primary key.
fn by_keys(dialect: Dialect, table: &Table, keys: &str) -> String {
    let (name, key) = (table.name, table.columns.first().map_or("id", |column| column.name));
    match dialect {
        Dialect::Sqlite => format!("DELETE FROM {name} WHERE \"{key}\" IN ({keys})"),
        Dialect::Postgres => format!("DELETE FROM {name} WHERE \"{key}\" = ANY (ARRAY({keys}))"),
    }
}

/// Returns the query for the ids of the senders' sessions.
fn sessions(dialect: Dialect) -> String {
    format!("SELECT \"id\" FROM rasa_session WHERE {}", is_one_of(dialect, "\"sender_id\"", SqlType::IdText))
}

/// Returns the query for the ids of the senders' events.
fn of_events(dialect: Dialect) -> String {
    let sessions = sessions(dialect);
    match dialect {
        Dialect::Sqlite => format!("SELECT \"id\" FROM rasa_event WHERE \"session_id\" IN ({sessions})"),
        Dialect::Postgres => {
            format!("SELECT \"id\" FROM rasa_event WHERE \"session_id\" = ANY (ARRAY({sessions}))")
        }
    }
}

/// Converts a query for ids of public tables, which are texts, to one for ids of internal tables.
fn own_type(dialect: Dialect, ids: &str) -> String {
    match dialect {
        // The text is hexadecimal digits of the bytes.
        Dialect::Sqlite => ids.replacen("SELECT \"id\"", "SELECT unhex(replace(\"id\", '-', ''))", 1),
        Dialect::Postgres => ids.replacen("SELECT \"id\"", "SELECT \"id\"::uuid", 1),
    }
}

/// Returns the query for the ids of the senders' slot states, which begin with sender and session.
/// Ids compare as bytes, and `0` is the byte after `/`. So the slot states of the session `t` of
/// `s` lie between `s/t/` and `s/t0`.
fn slot_states(dialect: Dialect) -> String {
    of_each(dialect, "rasa_session", "rasa_session_slot_state", &sessions(dialect), |row| {
        let path = format!("{row}.\"sender_id\" || '/' || {row}.\"id\" ||");
        (format!("{path} '/'"), format!("{path} '0'"))
    })
}

/// Returns the query for the ids of the senders' commands. They begin with the milliseconds of the
/// `user` event that they are derived from, as the event's own id does.
fn commands(dialect: Dialect) -> String {
    let messages = of_events(dialect).replacen("rasa_event", "rasa_user_message", 1);
    of_each(dialect, "rasa_user_message", "rasa_llm_command", &messages, |row| {
        let milliseconds = format!("substr({row}.\"id\", 1, 13)");
        (milliseconds.clone(), format!("{milliseconds} || '~'"))
    })
}

/// Returns the query for ids in `table` between two bounds, of the sender of each row that `rows`
/// finds in `from`.
fn of_each(
    dialect: Dialect,
    from: &str,
    table: &str,
    rows: &str,
    bounds: impl Fn(&str) -> (String, String),
) -> String {
    let condition = rows.split_once(" WHERE ").map_or("", |(_, condition)| condition);
    let (least, end) = bounds("found");
    let inner =
        format!("own.\"id\" >= {least} AND own.\"id\" < {end} AND own.\"sender_id\" = found.\"sender_id\"");
    match dialect {
        // SQLite executes a cross join in the order in which it is written.
        Dialect::Sqlite => format!(
            "SELECT own.\"id\" FROM {from} AS found CROSS JOIN {table} AS own WHERE {} AND {inner}",
            condition.replacen('"', "found.\"", 1)
        ),
        // PostgreSQL executes a subquery that gives an array once per row, and never turns it into
        // a join.
        Dialect::Postgres => format!(
            "SELECT unnest(ARRAY(SELECT own.\"id\" FROM {table} AS own WHERE {inner})) FROM {from} AS found WHERE {}",
            condition.replacen('"', "found.\"", 1)
        ),
    }
}

fn is_one_of(dialect: Dialect, column: &str, ty: SqlType) -> String {
    let sender = dialect.placeholder(1);
    match dialect {
        Dialect::Sqlite => format!("{column} = {sender}"),
        Dialect::Postgres => format!("{column} = ANY ({sender}::{})", Dialect::array_type(ty)),
    }
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
            let of_senders = !["rasa_user", "rasa_patterns", "ext_span"].contains(&table.name);
            assert_eq!(names.iter().any(|name| name == table.name), of_senders, "{}", table.name);
        }
        let place = |name: &str| names.iter().position(|other| other == name);
        for found_by_events in [
            "_turnmill_event_error",
            "rasa_markers",
            "rasa_action",
            "rasa_slot",
            "rasa_flow_status",
            "ext_message",
        ] {
            assert!(place(found_by_events) < place("rasa_event"), "{found_by_events}");
        }
        assert!(place("rasa_llm_command") < place("rasa_user_message"));
        assert!(place("rasa_session_slot_state") < place("rasa_session"));
        assert!(place("rasa_event") < place("rasa_session"));
        assert!(place("rasa_session") < place("rasa_sender"));
    }
}
