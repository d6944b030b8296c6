//! Messages that the assistant did not understand.

use crate::answer::Table;
use crate::draft::Rows;
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, count, share};
use crate::scope::Scope;
use crate::value::{Query, Row, Value};
use crate::view::View;

pub(crate) static FALLBACK: Metric = Metric {
    id: "X24_fallback",
    title: "Fallback rate",
    definition: "Share of missed turns: the assistant answered by falling back. The intent alone does \
                 not make a turn missed. Beside it messages with a fallback intent, the sessions \
                 with two missed turns in a row, and missed turns by the intent and the first \
                 response of the turn before.",
    unit: Unit::Percent,
    charts: &[Chart::Line, Chart::Table],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[
        share("missed", "missed turns", "turns"),
        share("fallback_intents", "messages with a fallback intent", "messages"),
        share("sessions_two_in_a_row", "sessions with two missed turns in a row", "sessions"),
        count("taken_by_form", "messages with the intent nlu_fallback that a form took"),
    ],
    split: None,
    plan: |scope| vec![turns(scope), in_a_row(scope), sessions(scope), by_preceding(scope)],
    values: |_, view| {
        let [turns, missed, intents, taken] = [1, 2, 3, 4].map(|column| view.integer("turns", column));
        vec![
            Measure::share(missed, turns),
            Measure::share(intents, turns),
            Measure::share(view.integer("in_a_row", 1), view.integer("sessions", 1)),
            Measure::Count(taken),
        ]
    },
    tables: |_, view| vec![preceding(view)],
};

fn turns(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    let missed = draft.missed();
    let fallback = draft.list(&scope.definitions.fallback_intents);
    draft.per_slice(
        "turns",
        format!(
            "SELECT {slice}, count(*), count(CASE WHEN {missed} THEN 1 END),\n\
             count(CASE WHEN t.intent IN {fallback} THEN 1 END),\n\
             count(CASE WHEN t.intent IN {fallback} AND t.form_took THEN 1 END)\n\
             FROM {from}\nWHERE {kept}\nGROUP BY 1"
        ),
    )
}

/// Counts the sessions with two missed turns next to each other.
fn in_a_row(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.sessions();
    let missed = draft.missed();
    draft.per_slice(
        "in_a_row",
        format!(
            "SELECT {slice}, count(*)\nFROM {from}\nWHERE {kept}\n  AND s.session_id IN (\n\
             SELECT session_id FROM (SELECT t.session_id, {missed} AS missed,\n\
             lag({missed}) OVER (PARTITION BY t.session_id ORDER BY t.asked_at, t.turn_id) AS before\n\
             FROM ext_turn t) q WHERE missed AND before)\nGROUP BY 1"
        ),
    )
}

fn sessions(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.sessions();
    draft.per_slice("sessions", format!("SELECT {slice}, count(*)\nFROM {from}\nWHERE {kept}\nGROUP BY 1"))
}

/// Counts missed turns by the turn before in their session.
fn by_preceding(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    let missed = draft.missed();
    let query = draft.per_slice(
        "by_preceding",
        format!(
            "SELECT {slice}, p.intent, p.response, count(*)\nFROM {from}\nJOIN (\n\
             SELECT turn_id, lag(intent) OVER session AS intent, lag(first_template) OVER session AS response\n\
             FROM ext_turn WINDOW session AS (PARTITION BY session_id ORDER BY asked_at, turn_id)\n\
             ) p ON p.turn_id = t.turn_id\nWHERE {kept}\n  AND {missed}\nGROUP BY 1, 2, 3"
        ),
    );
    Query { per_slice: false, ..query }
}

fn preceding(view: &View<'_>) -> Table {
    let mut rows: Vec<Row> =
        view.all("by_preceding").iter().map(|row| row.iter().skip(1).cloned().collect()).collect();
    rows.sort_by(|one: &Row, other: &Row| {
        let count = |row: &Row| row.get(2).map_or(0, Value::integer);
        let names = |row: &Row, column: usize| {
            let (null, name) = row.get(column).map(Value::name_order).unwrap_or_default();
            (null, name.to_owned())
        };
        count(other)
            .cmp(&count(one))
            .then_with(|| names(one, 0).cmp(&names(other, 0)))
            .then_with(|| names(one, 1).cmp(&names(other, 1)))
    });
    Table { name: "by_preceding", columns: vec!["intent_before", "response_before", "missed"], rows }
}
