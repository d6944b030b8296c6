//! Models, environments and markers.

use turnmill_model::Micros;

use crate::answer::Table;
use crate::catalogue::rates;
use crate::catalogue::response::SECOND;
use crate::draft::Rows;
use crate::measure::{Change, Measure};
use crate::metric::{Chart, Counted, Metric, Source, Unit, count, no_values};
use crate::scope::Scope;
use crate::value::{Query, Row, Value};
use crate::view::View;

pub(crate) static MODELS: Metric = Metric {
    id: "X30_model_compare",
    title: "Model comparison",
    definition: "Escalation and abandonment by model, in the order of each model's first session, \
                 with the difference to the model before and its 95 % interval; the same of engagement, \
                 resolution, missed turns and turns without an answer. A release is the first session \
                 of each model but the earliest.",
    unit: Unit::Percent,
    charts: &[Chart::Table, Chart::Line],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[],
    split: None,
    plan: |scope| {
        let mut queries = vec![endings_by(scope, "s.model_id")];
        queries.extend(rates::queries(scope, "s.model_id", "t.model_id"));
        queries
    },
    values: no_values,
    tables: |_, view| vec![compared(view, "models", "model"), rates::table(view, "model")],
};

pub(crate) static ENVIRONMENTS: Metric = Metric {
    id: "X31_env",
    title: "Environment comparison",
    definition: "Escalation and abandonment by environment, in the order of each environment's first \
                 session, with the difference to the one before and its 95 % interval; the same of \
                 engagement, resolution, missed turns and turns without an answer.",
    unit: Unit::Percent,
    charts: &[Chart::Table],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[],
    split: None,
    plan: |scope| {
        let mut queries = vec![endings_by(scope, "s.environment")];
        queries.extend(rates::queries(scope, "s.environment", "t.environment"));
        queries
    },
    values: no_values,
    tables: |_, view| vec![compared(view, "environments", "environment"), rates::table(view, "environment")],
};

pub(crate) static MARKERS: Metric = Metric {
    id: "X29_markers",
    title: "Marker rate",
    definition: "For each marker the share of sessions that have a row of it; of each session's \
                 first row the mean number of user turns before it, and the mean time from the start \
                 of the session.",
    unit: Unit::Percent,
    charts: &[Chart::Table, Chart::Line],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[count("sessions", "sessions")],
    split: Some("markers"),
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let sessions = draft.per_slice(
            "sessions",
            &format!("SELECT {slice}, count(*)\nFROM {from}\nWHERE {kept}\nGROUP BY 1"),
        );
        vec![sessions, markers(scope)]
    },
    values: |_, view| vec![Measure::Count(view.integer("sessions", 1))],
    tables: |_, view| {
        let sessions = view.integer("sessions", 1);
        let mut rows: Vec<&Row> = view.rows("markers").iter().collect();
        let number = |row: &Row, column: usize| row.get(column).map_or(0, Value::integer);
        rows.sort_by(|one, other| {
            let name = |row: &Row| row.get(1).and_then(Value::text).unwrap_or_default().to_owned();
            number(other, 2).cmp(&number(one, 2)).then_with(|| name(one).cmp(&name(other)))
        });
        let row = |row: &&Row| {
            let with = number(row, 2);
            vec![
                row.get(1).cloned().unwrap_or(Value::Null),
                with.into(),
                Measure::share(with, sessions).value().into(),
                Measure::ratio(number(row, 3), with).value().into(),
                Measure::mean(number(row, 4) as f64 / SECOND, with).value().into(),
            ]
        };
        vec![Table {
            name: "markers",
            columns: vec!["marker", "sessions", "share", "mean_turns_before", "mean_seconds"],
            rows: rows.iter().map(row).collect(),
        }]
    },
};

/// Counts the sessions of each marker, with the turns before its first row and the time to it.
pub(crate) fn markers(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.sessions();
    let time = draft.micros_between("started_at", "at");
    draft.per_slice("markers", &format!(
            "SELECT slice, name, count(*), CAST(sum(turns) AS bigint), CAST(sum({time}) AS bigint) FROM (\n\
             SELECT {slice} AS slice, p.name, s.started_at, e.timestamp AS at,\n\
             m.num_preceding_user_turns AS turns,\n\
             row_number() OVER (PARTITION BY s.session_id, p.name ORDER BY e.sequence_number, m.id) AS place\n\
             FROM {from}\nJOIN rasa_markers m ON m.session_id = s.session_id\n\
             JOIN rasa_patterns p ON p.id = m.pattern_id\nJOIN rasa_event e ON e.id = m.event_id\n\
             WHERE {kept}) q\nWHERE place = 1 GROUP BY 1, 2"
        ),
    )
}

/// Counts sessions by a column and their ending, with the first and the last start.
pub(crate) fn endings_by(scope: &Scope, column: &str) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.sessions();
    let ending = draft.ending();
    let escalated = draft.escalated();
    draft.once(
        "endings_by",
        &format!(
            "SELECT slice, name, count(*), count(CASE WHEN escalated THEN 1 END),\n\
             count(CASE WHEN ending = 'abandoned' THEN 1 END),\n\
             count(CASE WHEN ending IN ('escalated', 'abandoned', 'finished') THEN 1 END),\n\
             min(started_at), max(started_at) FROM (\n\
             SELECT {slice} AS slice, {column} AS name, s.started_at, {escalated} AS escalated,\n\
             {ending} AS ending\nFROM {from}\nWHERE {kept}) q\nGROUP BY 1, 2"
        ),
    )
}

/// Returns the groups of [`endings_by`] in the order of their first session, each with the
/// difference to the one before.
pub(crate) fn compared(view: &View<'_>, name: &'static str, column: &'static str) -> Table {
    let mut groups: Vec<&Row> = view.all("endings_by").iter().collect();
    let first = |row: &Row| row.get(6).and_then(Value::time).unwrap_or(Micros(0));
    groups.sort_by(|one, other| {
        let name = |row: &Row| {
            let (null, name) = row.get(1).map(Value::name_order).unwrap_or_default();
            (null, name.to_owned())
        };
        first(one).cmp(&first(other)).then_with(|| name(one).cmp(&name(other)))
    });
    let mut before: Option<[Measure; 2]> = None;
    let mut rows = Vec::new();
    for group in groups {
        let number = |column: usize| group.get(column).map_or(0, Value::integer);
        let time = |column: usize| group.get(column).and_then(Value::time);
        let rates = [Measure::share(number(3), number(2)), Measure::share(number(4), number(5))];
        let mut row: Row = vec![
            group.get(1).cloned().unwrap_or(Value::Null),
            number(2).into(),
            time(6).into(),
            time(7).into(),
        ];
        row.extend([number(3).into(), rates[0].value().into()]);
        row.extend([number(4).into(), number(5).into(), rates[1].value().into()]);
        for (number, rate) in rates.iter().enumerate() {
            let change = before.and_then(|before| Some(rate.change_from(before.get(number)?)));
            let Change { value, interval } = change.unwrap_or(Change { value: None, interval: None });
            let interval = if value.is_some() { interval } else { None };
            row.extend([
                value.into(),
                interval.map(|interval| interval.0).into(),
                interval.map(|interval| interval.1).into(),
            ]);
        }
        before = Some(rates);
        rows.push(row);
    }
    Table {
        name,
        columns: vec![
            column,
            "sessions",
            "first",
            "last",
            "escalated",
            "escalation",
            "abandoned",
            "over",
            "abandonment",
            "escalation_change",
            "escalation_low",
            "escalation_high",
            "abandonment_change",
            "abandonment_low",
            "abandonment_high",
        ],
        rows,
    }
}
