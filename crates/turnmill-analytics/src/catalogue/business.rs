//! Savings, agents' time and satisfaction: what needs more than the events.

use std::collections::BTreeMap;

use crate::answer::Table;
use crate::catalogue::response::SECOND;
use crate::draft::Rows;
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Figure, Metric, Source, Unit, count, no_tables, seconds, share};
use crate::scope::Scope;
use crate::set_up::can_rate;
use crate::value::{Query, Row, Value};
use crate::view::{View, largest_first};

pub(crate) static SAVINGS: Metric = Metric {
    id: "X6_roi",
    title: "Savings",
    definition: "Contained sessions, which are those not escalated, times the minutes that an agent \
                 would need and the cost of such a minute, minus the cost of a session times all \
                 sessions. By line of business: a session belongs to the line of its first message \
                 with an intent of a line. Minutes and costs are settings; without those of an agent \
                 there is no value.",
    unit: Unit::Money,
    charts: &[Chart::Number, Chart::Table],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[
        Figure {
            name: "savings",
            unit: Unit::Money,
            numerator: "cost of agents saved, minus the cost of the sessions",
            denominator: None,
        },
        count("contained", "sessions not escalated"),
        count("sessions", "sessions"),
    ],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let escalated = draft.escalated();
        let intents = draft.list(scope.business.lines.iter().flat_map(|line| &line.intents));
        vec![draft.per_slice(
            "sessions",
            &format!(
                "SELECT slice, intent, count(*), count(CASE WHEN NOT escalated THEN 1 END) FROM (\n\
                 SELECT {slice} AS slice, {escalated} AS escalated,\n\
                 (SELECT t.intent FROM ext_turn t WHERE t.session_id = s.session_id\n\
                 AND t.intent IN {intents} ORDER BY t.asked_at, t.turn_id LIMIT 1) AS intent\n\
                 FROM {from}\nWHERE {kept}) q\nGROUP BY 1, 2"
            ),
        )]
    },
    values: |scope, view| {
        let (mut contained, mut sessions) = (0, 0);
        for (own_contained, own_sessions) in by_line(scope, view).into_values() {
            contained += own_contained;
            sessions += own_sessions;
        }
        vec![
            Measure::Number(savings(scope, contained, sessions)),
            Measure::Count(contained),
            Measure::Count(sessions),
        ]
    },
    tables: |scope, view| {
        let lines = by_line(scope, view).into_iter();
        let mut lines: Vec<(Value, i64, i64)> =
            lines.map(|(line, (contained, sessions))| (line.into(), contained, sessions)).collect();
        largest_first(&mut lines, |line| line.2, |line| &line.0);
        let row = |(line, contained, sessions): (Value, i64, i64)| {
            vec![line, contained.into(), sessions.into(), savings(scope, contained, sessions).into()]
        };
        vec![Table {
            name: "lines",
            columns: vec!["line", "contained", "sessions", "savings"],
            rows: lines.into_iter().map(row).collect(),
        }]
    },
};

/// Returns the contained and all sessions of each line of business.
fn by_line<'s>(scope: &'s Scope, view: &View<'_>) -> BTreeMap<Option<&'s str>, (i64, i64)> {
    let mut lines: BTreeMap<Option<&str>, (i64, i64)> = BTreeMap::new();
    for row in view.rows("sessions") {
        let intent = row.get(1).and_then(Value::text);
        let line = intent.and_then(|intent| {
            let has = |known: &String| known == intent;
            scope.business.lines.iter().find(|line| line.intents.iter().any(has))
        });
        let number = |column: usize| row.get(column).map_or(0, Value::integer);
        let counts = lines.entry(line.map(|line| line.name.as_str())).or_default();
        counts.0 += number(3);
        counts.1 += number(2);
    }
    lines
}

/// Returns what sessions save. `None` where the time or the cost of an agent is not set.
fn savings(scope: &Scope, contained: i64, sessions: i64) -> Option<f64> {
    let business = &scope.business;
    let saved = contained as f64 * business.agent_minutes? * business.agent_minute_cost?;
    Some(saved - business.session_cost.unwrap_or(0.0) * sessions as f64)
}

pub(crate) static AGENT_TIME: Metric = Metric {
    id: "X7_time_vs_agent",
    title: "Assistant against agent time",
    definition: "Mean time from the first to the last event of contained sessions, which are those \
                 not escalated, beside the time that an agent needs for a conversation: as set, or \
                 else the mean time from the first pause of a session to its last event.",
    unit: Unit::Seconds,
    charts: &[Chart::Bar],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[
        seconds("assistant", "durations of sessions not escalated"),
        seconds("agent", "time of an agent, as set or as observed"),
        seconds("agent_observed", "times from the first pause to the last event"),
    ],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let escalated = draft.escalated();
        let all = draft.micros_between("s.started_at", "s.last_event_at");
        let agent = draft.micros_between("s.handed_over_at", "s.last_event_at");
        vec![draft.per_slice(
            "time",
            &format!(
                "SELECT slice, count(contained), CAST(sum(contained) AS bigint),\n\
                 count(agent), CAST(sum(agent) AS bigint) FROM (\n\
                 SELECT {slice} AS slice, CASE WHEN NOT {escalated} THEN {all} END AS contained,\n\
                 CASE WHEN s.is_handed_over THEN {agent} END AS agent\n\
                 FROM {from}\nWHERE {kept}) q\nGROUP BY 1"
            ),
        )]
    },
    values: |scope, view| {
        let mean = |count: usize| {
            Measure::mean(view.integer("time", count + 1) as f64 / SECOND, view.integer("time", count))
        };
        let observed = mean(3);
        let set = scope.business.agent_minutes.map(|minutes| Measure::Number(Some(60.0 * minutes)));
        vec![mean(1), set.unwrap_or(observed), observed]
    },
    tables: no_tables,
};

pub(crate) static SATISFACTION: Metric = Metric {
    id: "X10_csat",
    title: "Satisfaction",
    definition: "Mean and distribution of the ratings by users, and the share of sessions that have \
                 one. Ratings are those of the source; or the last value that a session gives a slot \
                 that is named for it, if that is a number.",
    unit: Unit::Ratio,
    charts: &[Chart::Number, Chart::Bar],
    counted: Counted::Mixed,
    sources: Source::ALL,
    figures: &[
        Figure {
            name: "mean",
            unit: Unit::Ratio,
            numerator: "ratings",
            denominator: Some("number of ratings"),
        },
        count("ratings", "ratings"),
        share("response_rate", "sessions with a rating", "sessions"),
    ],
    split: None,
    plan: |scope| {
        let mut queries = vec![scores(scope), rated(scope), can_rate(scope)];
        if scope.business.rating_slot.is_some() {
            queries.push(slot_values(scope));
        }
        queries
    },
    values: |_, view| {
        let ratings = ratings(view);
        let count = ratings.values().sum();
        let sum: f64 = ratings.iter().map(|(Rating(value), count)| value * *count as f64).sum();
        vec![Measure::mean(sum, count), Measure::Count(count), response_rate(view)]
    },
    tables: |_, view| {
        let row = |(Rating(value), count): (Rating, i64)| vec![Value::Float(value), count.into()];
        vec![Table {
            name: "distribution",
            columns: vec!["rating", "ratings"],
            rows: ratings(view).into_iter().map(row).collect(),
        }]
    },
};

/// A rating, ordered as numbers are.
#[derive(Clone, Copy, Debug)]
struct Rating(f64);

impl PartialEq for Rating {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Rating {}

impl PartialOrd for Rating {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rating {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Counts the source's ratings by their time.
fn scores(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.rows("ext_feedback", "r.created_at");
    draft.per_slice(
        "scores",
        &format!(
            "SELECT {slice}, r.score, count(*)\nFROM {from}\nWHERE {kept}\n  AND r.score IS NOT NULL\nGROUP BY 1, 2"
        ),
    )
}

/// Counts the last values of the slot in each session, by their time.
fn slot_values(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.rows("rasa_session_slot_state", "r.timestamp");
    let slot = draft.bind(scope.business.rating_slot.as_deref());
    draft.per_slice(
        "slot_values",
        &format!(
            "SELECT {slice}, r.value, count(*)\nFROM {from}\nWHERE {kept}\n  AND r.name = {slot}\nGROUP BY 1, 2"
        ),
    )
}

/// Counts the sessions by whether the source has a rating of them, and by the value of the slot.
fn rated(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.sessions();
    let (value, join) = match &scope.business.rating_slot {
        Some(slot) => (
            "v.value",
            format!(
                "\nLEFT JOIN rasa_session_slot_state v ON v.session_id = s.session_id AND v.name = {}",
                draft.bind(slot.as_str())
            ),
        ),
        None => ("NULL", String::new()),
    };
    draft.per_slice(
        "rated",
        &format!(
            "SELECT slice, value, rated, count(*) FROM (\nSELECT {slice} AS slice, {value} AS value,\n\
             s.session_id IN (SELECT session_id FROM ext_feedback WHERE score IS NOT NULL) AS rated\n\
             FROM {from}{join}\nWHERE {kept}) q\nGROUP BY 1, 2, 3"
        ),
    )
}

/// Returns how often each rating was given.
fn ratings(view: &View<'_>) -> BTreeMap<Rating, i64> {
    let mut ratings: BTreeMap<Rating, i64> = BTreeMap::new();
    let score = |row: &Row| row.get(1).and_then(Value::float);
    let scores = view.rows("scores").iter().map(|row| (score(row), row));
    let slots = view.rows("slot_values").iter().map(|row| (slot_rating(row), row));
    for (rating, row) in scores.chain(slots) {
        if let Some(rating) = rating {
            *ratings.entry(Rating(rating)).or_default() += row.get(2).map_or(0, Value::integer);
        }
    }
    ratings
}

/// Returns the number in a slot: `4`, `4.5` or `"4"`.
fn slot_rating(row: &Row) -> Option<f64> {
    let value: serde_json::Value = serde_json::from_str(row.get(1)?.text()?).ok()?;
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|rating: &f64| rating.is_finite())
}

/// Returns the share of sessions with a rating.
fn response_rate(view: &View<'_>) -> Measure {
    let (mut rated, mut sessions) = (0, 0);
    for row in view.rows("rated") {
        let count = row.get(3).map_or(0, Value::integer);
        sessions += count;
        if row.get(2).is_some_and(Value::is_true) || slot_rating(row).is_some() {
            rated += count;
        }
    }
    Measure::share(rated, sessions)
}
