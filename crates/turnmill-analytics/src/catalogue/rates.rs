//! Rates by a property of sessions and messages, one after the other.

use std::collections::BTreeMap;

use crate::answer::Table;
use crate::catalogue::intents::changed;
use crate::draft::Rows;
use crate::measure::Measure;
use crate::scope::Scope;
use crate::value::{Query, Row, Value};
use crate::view::View;

/// The rates with the columns of numerator and denominator in the queries of sessions and turns.
const RATES: [(&str, &str, usize, usize); 6] = [
    ("escalation", "rates_of_sessions", 3, 2),
    ("abandonment", "rates_of_sessions", 4, 5),
    ("engagement", "rates_of_sessions", 6, 2),
    ("resolution", "rates_of_sessions", 7, 8),
    ("missed", "rates_of_turns", 3, 2),
    ("without_answer", "rates_of_turns", 4, 2),
];

/// Returns the queries of the rates, by a column of sessions and one of turns.
pub(crate) fn queries(scope: &Scope, session: &str, turn: &str) -> [Query; 2] {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.sessions();
    let (escalated, engaged, completed) = (draft.escalated(), draft.engaged(), draft.completed());
    let ending = draft.ending();
    let sessions = draft.once(
        "rates_of_sessions",
        &format!(
            "SELECT slice, name, count(*), count(CASE WHEN escalated THEN 1 END),\n\
             count(CASE WHEN ending = 'abandoned' THEN 1 END), count(CASE WHEN is_over THEN 1 END),\n\
             count(CASE WHEN engaged THEN 1 END),\n\
             count(CASE WHEN engaged AND is_over AND completed AND NOT escalated THEN 1 END),\n\
             count(CASE WHEN engaged AND is_over THEN 1 END), min(started_at) FROM (\n\
             SELECT q.*, ending IN ('escalated', 'abandoned', 'finished') AS is_over FROM (\n\
             SELECT {slice} AS slice, {session} AS name, s.started_at, {escalated} AS escalated,\n\
             {engaged} AS engaged, {completed} AS completed, {ending} AS ending\n\
             FROM {from}\nWHERE {kept}) q) o\nGROUP BY 1, 2"
        ),
    );
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    let missed = draft.missed();
    let (all, missed) = (draft.count_turns(None), draft.count_turns(Some(&missed)));
    let without = draft.count_turns(Some("t.response_us IS NULL"));
    let turns = draft.once(
        "rates_of_turns",
        &format!(
            "SELECT {slice}, {turn}, {all}, {missed}, {without}\nFROM {from}\nWHERE {kept}\nGROUP BY 1, 2"
        ),
    );
    [sessions, turns]
}

/// Returns the rates of each group with the change from the group before, in the order of the first
/// sessions of the groups. Groups without a session come last.
pub(crate) fn table(view: &View<'_>, column: &'static str) -> Table {
    let mut groups: BTreeMap<(bool, String, bool, String), Value> = BTreeMap::new();
    for (query, start) in [("rates_of_sessions", Some(9)), ("rates_of_turns", None)] {
        for row in view.all(query) {
            let Some(name) = row.get(1) else { continue };
            let (null, text) = name.name_order();
            let first = start.and_then(|start| row.get(start)).and_then(Value::time);
            if start.is_some() || !groups.values().any(|known| known == name) {
                let first = (first.is_none(), first.unwrap_or_default().to_string());
                groups.insert((first.0, first.1, null, text.to_owned()), name.clone());
            }
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    for (rate, query, numerator, denominator) in RATES {
        let mut before: Option<Measure> = None;
        for group in groups.values() {
            let row = view.all(query).iter().find(|row| row.get(1) == Some(group));
            let number = |column: usize| row.and_then(|row| row.get(column)).map_or(0, Value::integer);
            let (n, d) = (number(numerator), number(denominator));
            let now = Measure::share(n, d);
            let mut row: Row = vec![rate.into(), group.clone(), n.into(), d.into(), now.value().into()];
            row.extend(changed(before.as_ref(), &now));
            rows.push(row);
            before = Some(now);
        }
    }
    Table {
        name: "rates",
        columns: vec!["rate", column, "n", "d", "value", "was", "change", "low", "high"],
        rows,
    }
}
