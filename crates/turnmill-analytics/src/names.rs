//! What is asked of a store before any metric: the times of its events and the names in it.

use turnmill_model::Micros;
use turnmill_sql::Dialect;

use crate::definitions::Definitions;
use crate::range::Extent;
use crate::value::{Query, Row, Value};

/// The times of a store's events and the names that patterns are looked up among.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreNames {
    /// Whether the store has sessions and no facts of them: it was filled by an older version.
    pub lacks_facts: bool,
    /// First and newest event. `None` of an empty store.
    pub extent: Option<Extent>,
    /// Intents of messages.
    pub intents: Vec<String>,
    /// First responses of turns.
    pub first_responses: Vec<String>,
    /// Names of markers.
    pub markers: Vec<String>,
    /// Names of actions, if the definitions have a pattern of them.
    pub actions: Vec<String>,
    /// Responses of bot messages, if the definitions have a pattern of them.
    pub responses: Vec<String>,
    /// Whether rows of messages or turns stand for more than one of the source, which was sampled.
    pub is_sampled: bool,
    /// Whether the reader may see the ledger of records. A role that only reads the public tables
    /// may not.
    pub has_ledger: bool,
}

/// Number of the first query whose result is not a list of names.
const FACTS: usize = 6;

impl StoreNames {
    /// Returns the queries for questions with the default definitions.
    #[must_use]
    pub fn queries(dialect: Dialect) -> Vec<Query> {
        Self::queries_for(dialect, &Definitions::default())
    }

    /// Returns the queries, whose results [`read`](Self::read) takes. Names of actions and of
    /// responses are asked for only where `definitions` has a pattern of them.
    #[must_use]
    pub fn queries_for(dialect: Dialect, definitions: &Definitions) -> Vec<Query> {
        let if_pattern = |list: &[String], table: &str, column: &str| {
            let limit = if list.iter().any(|name| name.contains('*')) { "" } else { " AND FALSE" };
            format!("SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL{limit}")
        };
        let ledger = match dialect {
            Dialect::Sqlite => "EXISTS (SELECT 1 FROM sqlite_master WHERE name = '_turnmill_ledger')",
            Dialect::Postgres => {
                "coalesce(has_table_privilege(to_regclass('_turnmill_ledger'), 'SELECT') \
                 AND has_table_privilege(to_regclass('_turnmill_dead_letter'), 'SELECT'), FALSE)"
            }
        };
        vec![
            Query::new("extent", "SELECT min(first_seen), max(last_seen) FROM rasa_sender".into()),
            Query::new("intents", distinct(dialect, "ext_turn", "intent")),
            Query::new("first_responses", distinct(dialect, "ext_turn", "first_template")),
            Query::new("markers", "SELECT DISTINCT name FROM rasa_patterns".into()),
            Query::new("actions", if_pattern(&definitions.handover_actions, "rasa_action", "name")),
            Query::new(
                "responses",
                if_pattern(&definitions.error_responses, "rasa_bot_message", "template_name"),
            ),
            Query::new(
                "facts",
                format!(
                    "SELECT EXISTS (SELECT 1 FROM rasa_session), EXISTS (SELECT 1 FROM ext_session),\n\
                     EXISTS (SELECT 1 FROM ext_turn WHERE weight <> 1)\n\
                     OR EXISTS (SELECT 1 FROM ext_message WHERE weight <> 1),\n{ledger}"
                ),
            ),
        ]
    }

    /// Reads the rows of [`queries_for`](Self::queries_for), in their order.
    #[must_use]
    pub fn read(results: &[Vec<Row>]) -> Self {
        let cell = |query: usize, column: usize| -> Option<Micros> {
            results.get(query)?.first()?.get(column)?.time()
        };
        let names = |query: usize| -> Vec<String> {
            let rows = results.get(query).into_iter().flatten();
            let text = |row: &Row| row.first().and_then(Value::text).map(ToOwned::to_owned);
            let mut names: Vec<String> = rows.filter_map(text).collect();
            names.sort_unstable();
            names
        };
        let is_true = |column: usize| {
            let row = results.get(FACTS).and_then(|rows| rows.first());
            row.and_then(|row| row.get(column)).is_some_and(Value::is_true)
        };
        Self {
            lacks_facts: is_true(0) && !is_true(1),
            extent: cell(0, 0).zip(cell(0, 1)).map(|(first, newest)| Extent { first, newest }),
            intents: names(1),
            first_responses: names(2),
            markers: names(3),
            actions: names(4),
            responses: names(5),
            is_sampled: is_true(2),
            has_ledger: is_true(3),
        }
    }
}
/// Returns a query for the values of a column with an index that begins with it. It goes from one
/// value to the next through the index, and so does not read the table.
fn distinct(dialect: Dialect, table: &str, column: &str) -> String {
    // PostgreSQL needs the recursive part's type to be that of the first part.
    let text = |value: String| match dialect {
        Dialect::Postgres => format!("CAST({value} AS text)"),
        Dialect::Sqlite => value,
    };
    let first = text(format!("(SELECT min({column}) FROM {table})"));
    let next = text(format!("(SELECT min({column}) FROM {table} WHERE {column} > n.name)"));
    format!(
        "WITH RECURSIVE n(name) AS (SELECT {first} UNION ALL SELECT {next} FROM n WHERE n.name IS NOT NULL)\n\
         SELECT name FROM n WHERE name IS NOT NULL"
    )
}
