//! What sessions came to: resolution, engagement, drivers, exit points, hand-over, errors.

use std::collections::BTreeMap;

use crate::answer::Table;
use crate::catalogue::ends::{Handover, handovers, moments};
use crate::catalogue::response::rates;
use crate::draft::{Draft, Rows, flow_of_assistant};
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Figure, Metric, Source, Unit, count, no_tables, ratio, seconds, share};
use crate::scope::Scope;
use crate::set_up::{can_complete, can_fail};
use crate::value::{Row, Value};
use crate::view::largest_first;

/// Sessions that a driver needs with and without its intent.
const ENOUGH: i64 = 10;

pub(crate) static RESOLUTION: Metric = Metric {
    id: "X8_resolution",
    title: "Resolution rate",
    definition: "Share of engaged sessions that are completed and not escalated, of those that are \
                 over and have a turn. A session is completed by a goal marker, an explicit end, \
                 success that the source reports, or its last flow that is done.",
    unit: Unit::Percent,
    charts: &[Chart::Line],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[share("resolution", "completed sessions not escalated", "engaged sessions that are over")],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let (over, completed) = (draft.over(), draft.completed());
        let (escalated, engaged) = (draft.escalated(), draft.engaged());
        let sessions = draft.per_slice(
            "sessions",
            &format!(
                "SELECT {slice}, count(CASE WHEN {completed} AND NOT {escalated} THEN 1 END), count(*)\n\
                 FROM {from}\nWHERE {kept}\n  AND s.turns > 0 AND {over} AND {engaged}\nGROUP BY 1"
            ),
        );
        vec![sessions, can_complete(scope)]
    },
    values: |_, view| vec![Measure::share(view.integer("sessions", 1), view.integer("sessions", 2))],
    tables: no_tables,
};

pub(crate) static ENGAGEMENT: Metric = Metric {
    id: "X9_engagement",
    title: "Engagement rate",
    definition: "Share of sessions that are engaged: escalated, or with a message whose intent is no \
                 greeting, or with a flow of the assistant.",
    unit: Unit::Percent,
    charts: &[Chart::Line],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[share("engagement", "engaged sessions", "sessions")],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let engaged = draft.engaged();
        vec![draft.per_slice(
            "sessions",
            &format!(
                "SELECT {slice}, count(CASE WHEN {engaged} THEN 1 END), count(*)\n\
                 FROM {from}\nWHERE {kept}\nGROUP BY 1"
            ),
        )]
    },
    values: |_, view| vec![Measure::share(view.integer("sessions", 1), view.integer("sessions", 2))],
    tables: no_tables,
};

pub(crate) static ABANDON_DEPTH: Metric = Metric {
    id: "X3_abandon_depth",
    title: "Abandonment depth",
    definition: "Turns of abandoned sessions: mean and distribution, and their last response.",
    unit: Unit::Ratio,
    charts: &[Chart::Histogram, Chart::Table],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[ratio("turns", "turns of abandoned sessions", "abandoned sessions")],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let ending = draft.ending();
        vec![draft.per_slice(
            "sessions",
            &format!(
                "SELECT {slice}, s.turns, s.last_template, count(*)\nFROM {from}\nWHERE {kept}\n\
                 AND {ending} = 'abandoned'\nGROUP BY 1, 2, 3"
            ),
        )]
    },
    values: |_, view| {
        let (mut turns, mut sessions) = (0, 0);
        for row in view.rows("sessions") {
            let [number, count] = [1, 3].map(|column| row.get(column).map_or(0, Value::integer));
            turns += number * count;
            sessions += count;
        }
        vec![Measure::ratio(turns, sessions)]
    },
    tables: |_, view| {
        let mut by_turns: BTreeMap<i64, i64> = BTreeMap::new();
        let mut by_response: BTreeMap<Option<&str>, i64> = BTreeMap::new();
        for row in view.rows("sessions") {
            let count = row.get(3).map_or(0, Value::integer);
            *by_turns.entry(row.get(1).map_or(0, Value::integer)).or_default() += count;
            *by_response.entry(row.get(2).and_then(Value::text)).or_default() += count;
        }
        let mut responses: Vec<(Value, i64)> =
            by_response.into_iter().map(|(name, count)| (name.into(), count)).collect();
        largest_first(&mut responses, |row| row.1, |row| &row.0);
        vec![
            Table {
                name: "histogram",
                columns: vec!["turns", "sessions"],
                rows: by_turns.into_iter().map(|(turns, count)| vec![turns.into(), count.into()]).collect(),
            },
            Table {
                name: "by_last_template",
                columns: vec!["last_template", "sessions"],
                rows: responses.into_iter().map(|(name, count)| vec![name, count.into()]).collect(),
            },
        ]
    },
};

pub(crate) static TOPICS: Metric = Metric {
    id: "X4_topics",
    title: "Topics introduced by user",
    definition: "Distinct intents of a session with a turn, fallback intents left out: mean and \
                 distribution. Beside it the mean of distinct flows that started, patterns left out.",
    unit: Unit::Ratio,
    charts: &[Chart::Number, Chart::Histogram],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[
        ratio("intents", "distinct intents of sessions with a turn", "sessions with a turn"),
        ratio("flows", "distinct flows started in sessions with a turn", "sessions with a turn"),
    ],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let fallback = draft.list(&scope.definitions.fallback_intents);
        let intents = draft.per_slice(
            "intents",
            &format!(
                "SELECT slice, topics, count(*) FROM (\n\
                 SELECT {slice} AS slice, s.session_id, count(DISTINCT t.intent) AS topics\nFROM {from}\n\
                 LEFT JOIN ext_turn t ON t.session_id = s.session_id AND t.intent NOT IN {fallback}\n\
                 WHERE {kept}\n  AND s.turns > 0\nGROUP BY 1, 2) q\nGROUP BY 1, 2"
            ),
        );
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let flow = flow_of_assistant("f.flow_identifier");
        let flows = draft.per_slice(
            "flows",
            &format!(
                "SELECT slice, CAST(sum(flows) AS bigint) FROM (\n\
                 SELECT {slice} AS slice, s.session_id, count(DISTINCT f.flow_identifier) AS flows\n\
                 FROM {from}\nJOIN rasa_flow_status f ON f.session_id = s.session_id\n\
                 WHERE {kept}\n  AND s.turns > 0 AND f.flow_status = 'started' AND {flow}\n\
                 GROUP BY 1, 2) q\nGROUP BY 1"
            ),
        );
        vec![intents, flows]
    },
    values: |_, view| {
        let (mut topics, mut sessions) = (0, 0);
        for row in view.rows("intents") {
            let [number, count] = [1, 2].map(|column| row.get(column).map_or(0, Value::integer));
            topics += number * count;
            sessions += count;
        }
        vec![Measure::ratio(topics, sessions), Measure::ratio(view.integer("flows", 1), sessions)]
    },
    tables: |_, view| {
        let mut rows: Vec<Row> =
            view.rows("intents").iter().map(|row| row.iter().skip(1).cloned().collect()).collect();
        rows.sort_by_key(|row: &Row| row.first().map_or(0, Value::integer));
        vec![Table { name: "histogram", columns: vec!["intents", "sessions"], rows }]
    },
};

pub(crate) static ERRORS: Metric = Metric {
    id: "X5_error_rate",
    title: "Error rate",
    definition: "Share of sessions with an error: a span that failed, a started \
                 `pattern_internal_error`, or an error response that is named. Beside it these \
                 sessions for 1000 turns, and the sessions by the name of the span, flow or response. \
                 A form that declines a message is no error.",
    unit: Unit::Percent,
    charts: &[Chart::Line, Chart::Table],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[
        share("errors", "sessions with an error", "sessions"),
        Figure {
            name: "per_1000_turns",
            unit: Unit::Ratio,
            numerator: "sessions with an error, times 1000",
            denominator: Some("turns of the sessions"),
        },
    ],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let errors = errors(&mut draft, scope);
        let sessions = draft.per_slice(
            "sessions",
            &format!(
                "SELECT {slice}, count(CASE WHEN s.session_id IN (SELECT session_id FROM (\n{errors}\n) e\n\
                 ) THEN 1 END), count(*), CAST(sum(s.turns) AS bigint)\nFROM {from}\nWHERE {kept}\nGROUP BY 1"
            ),
        );
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let errors = self::errors(&mut draft, scope);
        let by_name = draft.once(
            "by_name",
            &format!(
                "SELECT {slice}, e.kind, e.name, count(DISTINCT s.session_id)\nFROM {from}\n\
                 JOIN (\n{errors}\n) e ON e.session_id = s.session_id\nWHERE {kept}\nGROUP BY 1, 2, 3"
            ),
        );
        vec![sessions, by_name, can_fail(scope)]
    },
    values: |_, view| {
        let [errors, sessions, turns] = [1, 2, 3].map(|column| view.integer("sessions", column));
        vec![Measure::share(errors, sessions), Measure::ratio(1000 * errors, turns)]
    },
    tables: |_, view| {
        let mut rows: Vec<Row> =
            view.all("by_name").iter().map(|row| row.iter().skip(1).cloned().collect()).collect();
        let key = |row: &Row| {
            let text = |column: usize| row.get(column).and_then(Value::text).unwrap_or_default().to_owned();
            (std::cmp::Reverse(row.get(2).map_or(0, Value::integer)), text(0), text(1))
        };
        rows.sort_by_key(key);
        vec![Table { name: "by_name", columns: vec!["kind", "name", "sessions"], rows }]
    },
};

/// Returns the rows of all errors: session, kind and name.
fn errors(draft: &mut Draft<'_>, scope: &Scope) -> String {
    let responses = draft.list(&scope.definitions.error_responses);
    format!(
        "SELECT session_id, 'flow' AS kind, flow_identifier AS name FROM rasa_flow_status\n\
         WHERE flow_identifier = 'pattern_internal_error' AND flow_status = 'started'\n\
         UNION SELECT session_id, 'span', name FROM ext_span WHERE NOT success AND session_id IS NOT NULL\n\
         UNION SELECT session_id, 'response', template_name FROM rasa_bot_message\n\
         WHERE template_name IN {responses}"
    )
}

pub(crate) static DRIVERS: Metric = Metric {
    id: "X11_topic_impact",
    title: "Drivers of endings",
    definition: "Over the sessions of the three ways to end, for each intent with at least 10 \
                 sessions with it and 10 without: the share of each ending with it minus that \
                 without, in points, with its 95 % interval.",
    unit: Unit::Points,
    charts: &[Chart::Bar],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let ending = draft.ending();
        let all = draft.once(
            "endings",
            &format!(
                "SELECT {slice}, {ending} AS ending, count(*)\nFROM {from}\nWHERE {kept}\nGROUP BY 1, 2"
            ),
        );
        let mut draft = scope.draft();
        let Rows { from, kept, .. } = draft.sessions();
        let ending = draft.ending();
        let by_intent = draft.once(
            "by_intent",
            &format!(
                "SELECT t.intent, q.ending, count(DISTINCT q.session_id) FROM (\n\
                 SELECT s.session_id, {ending} AS ending\nFROM {from}\nWHERE {kept}) q\n\
                 JOIN ext_turn t ON t.session_id = q.session_id\n\
                 WHERE t.intent IS NOT NULL AND q.ending IN ('escalated', 'abandoned', 'finished')\n\
                 GROUP BY 1, 2"
            ),
        );
        vec![all, by_intent]
    },
    values: crate::metric::no_values,
    tables: |_, view| {
        let all = crate::catalogue::ends::ending_counts(view);
        let [escalated, abandoned, finished, ..] = all;
        let mut intents: BTreeMap<&str, [i64; 3]> = BTreeMap::new();
        for row in view.all("by_intent") {
            let (Some(intent), Some(ending)) =
                (row.first().and_then(Value::text), row.get(1).and_then(Value::text))
            else {
                continue;
            };
            let place = match ending {
                "escalated" => 0,
                "abandoned" => 1,
                _ => 2,
            };
            if let Some(count) = intents.entry(intent).or_default().get_mut(place) {
                *count += row.get(2).map_or(0, Value::integer);
            }
        }
        let sessions = escalated + abandoned + finished;
        let mut rows = Vec::new();
        for (intent, with) in intents {
            let (d_with, d_without) = (with.iter().sum::<i64>(), sessions - with.iter().sum::<i64>());
            if d_with < ENOUGH || d_without < ENOUGH {
                continue;
            }
            let mut row: Row = vec![intent.into(), d_with.into()];
            let mut intervals = Vec::new();
            for (with, all) in with.into_iter().zip([escalated, abandoned, finished]) {
                let (with, without) = (Measure::share(with, d_with), Measure::share(all - with, d_without));
                let change = with.change_from(&without);
                row.push(change.value.into());
                let (low, high) = change.interval.unzip();
                intervals.extend([Value::from(low), high.into()]);
            }
            row.extend(intervals);
            rows.push(row);
        }
        vec![Table {
            name: "drivers",
            columns: vec![
                "intent",
                "sessions",
                "escalated",
                "abandoned",
                "finished",
                "escalated_low",
                "escalated_high",
                "abandoned_low",
                "abandoned_high",
                "finished_low",
                "finished_high",
            ],
            rows,
        }]
    },
};

pub(crate) static SESSION_END: Metric = Metric {
    id: "X13_session_end",
    title: "Explicit end rate",
    definition: "Share of sessions that ended by a `session_ended`, of those that are over; and all \
                 sessions by what ended them.",
    unit: Unit::Percent,
    charts: &[Chart::Line, Chart::Table],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[share("explicit", "sessions ended explicitly", "sessions that are over")],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let over = draft.over();
        vec![draft.per_slice(
            "ended_by",
            &format!(
                "SELECT {slice}, s.ended_by, count(*), count(CASE WHEN {over} THEN 1 END)\n\
                 FROM {from}\nWHERE {kept}\nGROUP BY 1, 2"
            ),
        )]
    },
    values: |_, view| {
        let rows = view.rows("ended_by");
        let over = |row: &Row| row.get(3).map_or(0, Value::integer);
        let explicit = rows.iter().filter(|row| row.get(1).and_then(Value::text) == Some("explicit"));
        vec![Measure::share(explicit.map(over).sum(), rows.iter().map(over).sum())]
    },
    tables: |_, view| {
        let groups = view.groups("ended_by").into_iter();
        vec![Table {
            name: "ended_by",
            columns: vec!["ended_by", "sessions"],
            rows: groups.map(|(name, count)| vec![name, count.into()]).collect(),
        }]
    },
};

pub(crate) static EXIT_POINTS: Metric = Metric {
    id: "X14_exit_intent",
    title: "Exit points",
    definition: "Sessions by their last intent, with their share of the sessions that have that \
                 intent.",
    unit: Unit::Percent,
    charts: &[Chart::Table],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        vec![draft.once(
            "intents",
            &format!(
                "SELECT {slice}, t.intent,\n\
                 count(DISTINCT CASE WHEN s.last_intent = t.intent THEN s.session_id END),\n\
                 count(DISTINCT s.session_id)\nFROM {from}\n\
                 JOIN ext_turn t ON t.session_id = s.session_id\nWHERE {kept}\n\
                 AND t.intent IS NOT NULL\nGROUP BY 1, 2"
            ),
        )]
    },
    values: crate::metric::no_values,
    tables: |_, view| {
        vec![Table {
            name: "intents",
            columns: vec!["last_intent", "exits", "sessions", "share"],
            rows: rates(view.all("intents")),
        }]
    },
};

pub(crate) static HANDOFF_DETAIL: Metric = Metric {
    id: "X41_handoff_detail",
    title: "Hand-over detail",
    definition: "At the moment of the hand-over, the first event that escalates the session: the \
                 preceding intent, the turns begun, the time since the start, and why. Asked: the \
                 event is an intent or command of hand-over. Gave up: its turn or the one before is \
                 missed. Rule: anything else.",
    unit: Unit::Count,
    charts: &[Chart::Table, Chart::Sankey],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[
        count("handovers", "escalated sessions"),
        ratio("turns", "turns begun at the moment", "escalated sessions"),
        seconds("seconds", "time from the start to the moment, mean"),
    ],
    split: None,
    plan: moments,
    values: |scope, view| {
        let handovers = handovers(scope, view);
        let count = i64::try_from(handovers.len()).unwrap_or(i64::MAX);
        let sum: f64 = handovers.iter().map(|handover| handover.seconds).sum();
        vec![
            Measure::Count(count),
            Measure::ratio(handovers.iter().map(|handover| handover.turns).sum(), count),
            Measure::mean(sum, count),
        ]
    },
    tables: |scope, view| {
        let handovers = handovers(scope, view);
        vec![
            grouped("by_trigger", "trigger", &handovers, |handover| Some(handover.trigger)),
            grouped("by_preceding_intent", "intent", &handovers, |handover| handover.preceding.as_deref()),
        ]
    },
};

/// Counts hand-overs by a text, the largest group first.
fn grouped<'h>(
    name: &'static str,
    column: &'static str,
    handovers: &'h [Handover],
    text: impl Fn(&'h Handover) -> Option<&'h str>,
) -> Table {
    let mut groups: BTreeMap<Option<&str>, i64> = BTreeMap::new();
    for handover in handovers {
        *groups.entry(text(handover)).or_default() += 1;
    }
    let mut rows: Vec<(Value, i64)> = groups.into_iter().map(|(name, count)| (name.into(), count)).collect();
    largest_first(&mut rows, |row| row.1, |row| &row.0);
    Table {
        name,
        columns: vec![column, "sessions"],
        rows: rows.into_iter().map(|(name, count)| vec![name, count.into()]).collect(),
    }
}
