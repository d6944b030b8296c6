//! Generates the queries that check a store's consistency.

use turnmill_sink::CountCheck;

use crate::dialect::quoted;
use crate::indexes;

/// A reference between tables, and the query that counts the rows whose reference has no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dangling {
    /// The table.
    pub table: &'static str,
    /// The referring column.
    pub column: &'static str,
    /// The table that the column refers to.
    pub parent: &'static str,
    /// The query.
    pub sql: String,
}

impl Dangling {
    /// Returns the finding for the number of `rows` that the query gave, or `None` if there are
    /// none.
    #[must_use]
    pub fn finding(&self, rows: i64) -> Option<String> {
        let Self { table, column, parent, .. } = self;
        (rows > 0).then(|| format!("{rows} rows of {table} have a {column} that {parent} lacks"))
    }
}

/// Returns every reference between the public tables, whether the database declares it or not.
///
/// ```
/// let queries = turnmill_sql::examine::dangling();
/// assert!(queries.iter().any(|query| (query.table, query.column) == ("rasa_markers", "event_id")));
/// ```
#[must_use]
pub fn dangling() -> Vec<Dangling> {
    let declared = indexes::references().map(|(table, column, parent)| (table.name, column.name, parent));
    // Rasa's documents call this one a reference and not a foreign key.
    let all = declared.chain([("rasa_markers", "event_id", "rasa_event")]);
    all.map(|(table, column, parent)| Dangling {
        table,
        column,
        parent,
        sql: format!(
            "SELECT count(*) FROM {table} AS own WHERE own.{column} IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM {parent} AS other WHERE other.\"id\" = own.{column})",
            column = quoted(column)
        ),
    })
    .collect()
}

/// Two numbers that have to be equal, with their descriptions and expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EqualNumbers {
    /// Description of the first number, with its verb.
    pub expected: &'static str,
    /// Description of the second number, with its verb.
    pub found: &'static str,
    /// Whether the second number may be less. A `slot` event whose name is no text has no row of
    /// `rasa_slot`.
    pub may_be_less: bool,
    expected_sql: &'static str,
    found_sql: &'static str,
}

impl EqualNumbers {
    /// Returns the pair with the two numbers that the database gave.
    #[must_use]
    pub fn counted(&self, expected_count: i64, found_count: i64) -> CountCheck {
        CountCheck {
            expected: self.expected.into(),
            expected_count,
            found: self.found.into(),
            found_count,
            may_be_less: self.may_be_less,
        }
    }
}

/// All pairs of numbers that have to be equal.
pub const EQUAL: [EqualNumbers; 7] = [
    EqualNumbers {
        expected: "events in the ledger:",
        found: "rows of rasa_event:",
        may_be_less: false,
        expected_sql: "SELECT sum(events + parts) FROM _turnmill_ledger",
        found_sql: "SELECT count(*) FROM rasa_event",
    },
    of_events(
        "`user` events:",
        "rows of rasa_user_message:",
        "user",
        "SELECT count(*) FROM rasa_user_message",
    ),
    of_events("`bot` events:", "rows of rasa_bot_message:", "bot", "SELECT count(*) FROM rasa_bot_message"),
    of_events("`action` events:", "rows of rasa_action:", "action", "SELECT count(*) FROM rasa_action"),
    of_events("`slot` events:", "rows of rasa_slot:", "slot", "SELECT count(*) FROM rasa_slot"),
    EqualNumbers {
        expected: "rows of rasa_session:",
        found: "rows of ext_session:",
        may_be_less: false,
        expected_sql: "SELECT count(*) FROM rasa_session",
        found_sql: "SELECT count(*) FROM ext_session",
    },
    EqualNumbers {
        expected: "rows of rasa_turn:",
        found: "rows of ext_turn:",
        may_be_less: false,
        expected_sql: "SELECT count(*) FROM rasa_turn",
        found_sql: "SELECT count(*) FROM ext_turn",
    },
];

const fn of_events(
    expected: &'static str,
    found: &'static str,
    event_type: &'static str,
    found_sql: &'static str,
) -> EqualNumbers {
    let expected_sql = match event_type.as_bytes() {
        b"user" => "SELECT count(*) FROM rasa_event WHERE event_type = 'user'",
        b"bot" => "SELECT count(*) FROM rasa_event WHERE event_type = 'bot'",
        b"action" => "SELECT count(*) FROM rasa_event WHERE event_type = 'action'",
        // What Mantle's memory keeps are slots.
        _ => "SELECT count(*) FROM rasa_event WHERE event_type IN ('slot', 'memory_set', 'memory_cleared')",
    };
    let may_be_less = matches!(event_type.as_bytes(), b"slot");
    EqualNumbers { expected, found, may_be_less, expected_sql, found_sql }
}

/// Returns the query for all numbers of [`EQUAL`] at one moment, pair after pair.
#[must_use]
pub fn equal_numbers() -> String {
    let pairs = EQUAL.iter().flat_map(|pair| [pair.expected_sql, pair.found_sql]);
    let columns: Vec<String> = pairs.map(|sql| format!("CAST(coalesce(({sql}), 0) AS bigint)")).collect();
    format!("SELECT {}", columns.join(", "))
}
