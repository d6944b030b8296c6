//! What users say before and after an intent.

use std::collections::{BTreeMap, BTreeSet};

use turnmill_sql::Dialect;

use crate::answer::Table;
use crate::draft::Rows;
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, count};
use crate::value::{Row, Value};
use crate::view::View;

/// Steps shown before and after the anchor.
const COLUMNS: i64 = 3;
/// Intents shown in each column; the rest is `Others`.
const SHOWN: usize = 4;
const STARTED: &str = "Session Started";
const ENDED: &str = "Session Ended";
const OTHERS: &str = "Others";

pub(crate) static USER_FLOW: Metric = Metric {
    id: "A13_user_flow",
    title: "User Flow",
    definition: "Intents before and after the first message of a session with the anchor intent, \
                 which is the most frequent one unless named: three columns each way, the four most \
                 frequent intents of each column, the rest Others. Equal neighbours are one, and \
                 messages without an intent, or with an excluded one, are left out. The same for each \
                 channel, model, environment or assistant, if asked for.",
    unit: Unit::Count,
    charts: &[Chart::Sankey, Chart::Table],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[count("sessions", "sessions with the anchor intent")],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { from, kept, .. } = draft.sessions();
        let excluded = match scope.exclude.is_empty() {
            true => String::new(),
            false => format!(" AND t.intent NOT IN {}", draft.list(&scope.exclude)),
        };
        let anchor = match &scope.anchor {
            Some(intent) => draft.bind(intent.as_str()),
            None => format!(
                "(SELECT t.intent FROM ext_turn t WHERE t.intent IS NOT NULL{excluded} GROUP BY t.intent \
                 ORDER BY count(*) DESC, t.intent{} LIMIT 1)",
                collate(scope.dialect)
            ),
        };
        let property = scope.breakdown.map_or("NULL".to_owned(), |by| format!("s.{}", by.column()));
        vec![draft.once(
            "intents",
            &format!(
                "SELECT t.session_id, t.intent, t.intent = {anchor}, {property}\nFROM {from}\n\
                 JOIN ext_turn t ON t.session_id = s.session_id\nWHERE {kept}\n\
                 AND t.intent IS NOT NULL{excluded} AND EXISTS (\n\
                 SELECT 1 FROM ext_turn a WHERE a.session_id = s.session_id AND a.intent = {anchor})\n\
                 ORDER BY t.session_id, t.asked_at, t.turn_id"
            ),
        )]
    },
    values: |_, view| {
        // The paths are of the whole range.
        if view.range().is_some() {
            return Vec::new();
        }
        vec![Measure::Count(i64::try_from(paths(view).len()).unwrap_or(i64::MAX))]
    },
    tables: |scope, view| {
        let paths = paths(view);
        let all: Vec<Path<'_>> = paths.iter().map(|(_, path)| path.clone()).collect();
        let mut tables = vec![links(&all)];
        if let Some(property) = scope.breakdown {
            let mut groups: BTreeMap<(bool, Option<&str>), Vec<Path<'_>>> = BTreeMap::new();
            for (name, path) in paths {
                groups.entry((name.is_none(), name)).or_default().push(path);
            }
            let mut rows = Vec::new();
            for ((_, name), paths) in groups {
                let own = links(&paths).rows.into_iter();
                rows.extend(own.map(|row| std::iter::once(Value::from(name)).chain(row).collect()));
            }
            let columns = vec![property.name(), "column", "from", "to", "sessions"];
            tables.push(Table { name: "breakdown", columns, rows });
        }
        tables
    },
};

/// Returns what makes a database sort names by their bytes. SQLite does so by itself.
fn collate(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => " COLLATE \"C\"",
    }
}

/// The nodes of one session by column, 0 for the anchor.
type Path<'r> = BTreeMap<i64, &'r str>;

/// Returns the path of each session, with the property by which they are broken down.
fn paths<'r>(view: &View<'r>) -> Vec<(Option<&'r str>, Path<'r>)> {
    let by_session = view.all("intents").chunk_by(|one, other| one.first() == other.first());
    let read = |rows: &'r [Row]| {
        let first = rows.first()?;
        first.first().and_then(Value::text)?;
        Some((first.get(3).and_then(Value::text), path(rows)?))
    };
    by_session.filter_map(read).collect()
}

/// Returns the path of a session, or `None` without the anchor.
fn path(rows: &[Row]) -> Option<Path<'_>> {
    let mut intents: Vec<(&str, bool)> =
        rows.iter().filter_map(|row| Some((row.get(1)?.text()?, row.get(2)?.is_true()))).collect();
    intents.dedup();
    let anchor = intents.iter().position(|(_, is_anchor)| *is_anchor)?;
    let anchor = i64::try_from(anchor).ok()?;
    let mut path = Path::new();
    for column in -COLUMNS..=COLUMNS {
        let node = usize::try_from(anchor + column).ok().and_then(|at| intents.get(at));
        let edge = if column < 0 { STARTED } else { ENDED };
        path.insert(column, node.map_or(edge, |(intent, _)| *intent));
    }
    Some(path)
}

/// Returns the links between neighbouring columns. A session begins and ends once.
fn links(paths: &[Path<'_>]) -> Table {
    let shown: BTreeMap<i64, BTreeSet<&str>> =
        (-COLUMNS..=COLUMNS).map(|column| (column, most_frequent(paths, column))).collect();
    let mut links: BTreeMap<(i64, &str, &str), i64> = BTreeMap::new();
    for path in paths {
        for column in -COLUMNS..COLUMNS {
            let node = |column: i64| {
                let node = path.get(&column).copied().unwrap_or(OTHERS);
                let is_shown = shown.get(&column).is_some_and(|shown| shown.contains(node));
                if is_shown || node == STARTED || node == ENDED { node } else { OTHERS }
            };
            let (from, to) = (node(column), node(column + 1));
            if from != ENDED && to != STARTED {
                *links.entry((column, from, to)).or_default() += 1;
            }
        }
    }
    let row = |((column, from, to), count): ((i64, &str, &str), i64)| {
        vec![column.into(), from.into(), to.into(), count.into()]
    };
    Table {
        name: "links",
        columns: vec!["column", "from", "to", "sessions"],
        rows: links.into_iter().map(row).collect(),
    }
}

fn most_frequent<'r>(paths: &[Path<'r>], column: i64) -> BTreeSet<&'r str> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for node in paths.iter().filter_map(|path| path.get(&column)) {
        if *node != STARTED && *node != ENDED {
            *counts.entry(node).or_default() += 1;
        }
    }
    let mut counts: Vec<(&str, i64)> = counts.into_iter().collect();
    // Stable: intents of equal counts stay in the order of their names.
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.into_iter().take(SHOWN).map(|(intent, _)| intent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_an_edge_on_either_side() {
        let row = |intent: &str| vec!["s".into(), Value::from(intent), Value::Boolean(intent == "buy")];
        let rows: Vec<Row> = ["greet", "ask", "ask", "buy", "buy", "pay", "buy", "bye"].map(row).to_vec();
        let found = path(&rows).unwrap();
        assert_eq!(
            found.into_values().collect::<Vec<_>>(),
            [STARTED, "greet", "ask", "buy", "pay", "buy", "bye"]
        );
        let short = path(&rows[3..4]).unwrap();
        let links = links(&[short]).rows;
        let expected: Vec<Row> = vec![
            vec![Value::from(-1), STARTED.into(), "buy".into(), Value::from(1)],
            vec![Value::from(0), "buy".into(), ENDED.into(), Value::from(1)],
        ];
        assert_eq!(links, expected);
        assert!(path(&rows[..3]).is_none());
    }
}
