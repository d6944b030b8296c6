//! How sessions end: escalated, abandoned, finished, again within a day.

use std::collections::BTreeMap;

use turnmill_model::Micros;

use crate::answer::Table;
use crate::catalogue::releases::{compared, endings_by};
use crate::catalogue::response::SECOND;
use crate::definitions::{HANDOVER_COMMAND, HANDOVER_FLOW};
use crate::draft::Rows;
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Figure, Metric, Source, Unit, count, no_tables, share};
use crate::question::During;
use crate::scope::Scope;
use crate::value::{Query, Row, Value};
use crate::view::{View, largest_first};

pub(crate) static CONTAINMENT: Metric = Metric {
    id: "R8_containment",
    title: "Containment rate",
    definition: "Share of sessions that are not escalated, so with the abandoned ones; beside it the \
                 same of engaged sessions. A session is escalated by a pause, a message with an \
                 intent of hand-over, the command `human handoff` or the flow \
                 `pattern_human_handoff`.",
    unit: Unit::Percent,
    charts: &[Chart::Line, Chart::Gauge, Chart::Number],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[
        share("containment", "sessions not escalated", "sessions"),
        share("containment_engaged", "engaged sessions not escalated", "engaged sessions"),
    ],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let rows = draft.sessions();
        let escalated = draft.escalated();
        let engaged = draft.engaged();
        let columns = [
            "count(*)",
            &format!("count(CASE WHEN {escalated} THEN 1 END)"),
            &format!("count(CASE WHEN {engaged} THEN 1 END)"),
        ];
        vec![draft.totals("sessions", &rows, &columns).summed(0)]
    },
    values: |_, view| {
        // Every escalated session is engaged.
        let [sessions, escalated, engaged] = [1, 2, 3].map(|column| view.integer("sessions", column));
        vec![Measure::share(sessions - escalated, sessions), Measure::share(engaged - escalated, engaged)]
    },
    tables: no_tables,
};

pub(crate) static ESCALATION: Metric = Metric {
    id: "R10_escalation",
    title: "Escalation rate",
    definition: "Share of sessions that are escalated; 100 minus the containment rate. By the intent \
                 of the last message up to the moment of the hand-over that has one and not an \
                 intent of hand-over. Beside it two published forms for each month in UTC: messages \
                 of one hand-over intent for each session and month with messages, and commands \
                 `human handoff` for 100 sessions and months with commands.",
    unit: Unit::Percent,
    charts: &[Chart::Line, Chart::Gauge, Chart::Number, Chart::Table],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[share("escalation", "escalated sessions", "sessions")],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let rows = draft.sessions();
        let escalated = draft.escalated();
        let columns = ["count(*)", &format!("count(CASE WHEN {escalated} THEN 1 END)")];
        let mut queries = vec![draft.totals("sessions", &rows, &columns).summed(0)];
        queries.extend(moments(scope).into_iter().map(|query| query.for_list("by_preceding_intent")));
        queries.push(published_nlu(scope).for_list("published_nlu"));
        queries.push(published_calm(scope).for_list("published_calm"));
        queries
    },
    values: |_, view| vec![Measure::share(view.integer("sessions", 2), view.integer("sessions", 1))],
    tables: |scope, view| {
        let mut intents: BTreeMap<Option<String>, i64> = BTreeMap::new();
        for handover in handovers(scope, view) {
            *intents.entry(handover.preceding).or_default() += 1;
        }
        let mut rows: Vec<(Value, i64)> =
            intents.into_iter().map(|(intent, count)| (Value::from(intent.as_deref()), count)).collect();
        largest_first(&mut rows, |row| row.1, |row| &row.0);
        let month = |row: &Row| {
            let n = row.get(2).map_or(0, Value::integer);
            let d = row.get(3).map_or(0, Value::integer);
            (row.get(1).cloned().unwrap_or(Value::Null), Measure::ratio(n, d).value())
        };
        let months = |name: &'static str, unit: &'static str, scale: f64| Table {
            name,
            columns: vec!["month", unit],
            rows: view
                .all(name)
                .iter()
                .map(month)
                .map(|(month, value)| vec![month, value.map(|value| scale * value).into()])
                .collect(),
        };
        vec![
            Table {
                name: "by_preceding_intent",
                columns: vec!["intent", "sessions"],
                rows: rows.into_iter().map(|(intent, count)| vec![intent, count.into()]).collect(),
            },
            months("published_nlu", "messages_per_session", 1.0),
            months("published_calm", "percent", 100.0),
        ]
    },
};

pub(crate) static ABANDONMENT: Metric = Metric {
    id: "R9_abandonment",
    title: "Abandonment rate",
    definition: "Share of abandoned sessions among those that are over and have a turn. A session is \
                 abandoned if it is neither escalated nor completed, and the assistant asked and was \
                 not answered, or a form or flow is active at its end, or the source says that it \
                 was dropped. Beside it the published form, a fraction: of the sessions with a bot \
                 message, by the time of the last one, those whose last one is the response \
                 `utter_ask_name` or others that are named.",
    unit: Unit::Percent,
    charts: &[Chart::Line, Chart::Gauge, Chart::Number, Chart::Table],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[
        share("abandonment", "abandoned sessions", "sessions that are over and have a turn"),
        Figure {
            name: "published",
            unit: Unit::Fraction,
            numerator: "sessions whose last bot message is the response",
            denominator: Some("sessions with a bot message"),
        },
    ],
    split: None,
    plan: |scope| {
        let by_response = abandoned_by_response(scope).for_list("by_last_template");
        vec![endings(scope), published_abandonment(scope).for_number("published"), by_response]
    },
    values: |_, view| {
        let [escalated, abandoned, finished, ..] = ending_counts(view);
        let (n, d) = (view.integer("published", 1), view.integer("published", 2));
        vec![Measure::share(abandoned, escalated + abandoned + finished), Measure::ratio(n, d)]
    },
    tables: |_, view| {
        let read = |row: &Row| Some((row.get(1)?.clone(), row.get(2)?.integer(), row.get(3)?.integer()));
        let rows = view.all("by_last_template").iter().filter_map(read);
        let mut rows: Vec<(Value, i64, i64)> = rows.filter(|row| row.1 > 0).collect();
        largest_first(&mut rows, |row| row.2, |row| &row.0);
        let row = |(response, n, d): (Value, i64, i64)| {
            vec![response, n.into(), d.into(), Measure::share(n, d).value().into()]
        };
        vec![Table {
            name: "by_last_template",
            columns: vec!["last_template", "abandoned", "sessions", "share"],
            rows: rows.into_iter().map(row).collect(),
        }]
    },
};

pub(crate) static THREE_WAYS: Metric = Metric {
    id: "three_ways_to_end",
    title: "Three ways to end",
    definition: "Sessions that are over and have a turn: escalated, else abandoned, else finished. \
                 Beside them the sessions that are open and those without a turn. The five add up to \
                 all sessions.",
    unit: Unit::Count,
    charts: &[Chart::Bar, Chart::StackedBar],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[
        count("escalated", "sessions handed over to a human"),
        count("abandoned", "sessions given up by the user"),
        count("finished", "other sessions that are over and have a turn"),
        count("open", "sessions that are not over"),
        count("unused", "sessions without a turn"),
    ],
    split: None,
    plan: |scope| vec![endings(scope), endings_by(scope, "s.channel").for_list("by_channel")],
    values: |_, view| ending_counts(view).into_iter().map(Measure::Count).collect(),
    tables: |_, view| vec![compared(view, "by_channel", "channel")],
};

pub(crate) static REPEAT_CONTACT: Metric = Metric {
    id: "X12_callback",
    title: "Repeat contact rate",
    definition: "Share of sessions whose sender's next session starts at most 24 hours after their \
                 last event, of those whose last event is at least 24 hours ago; beside it the share \
                 of these that are neither escalated nor followed so.",
    unit: Unit::Percent,
    charts: &[Chart::Line],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[
        share("repeat", "sessions with a next one within 24 hours", "sessions that ended 24 hours ago"),
        share(
            "contained_without",
            "of these, neither escalated nor with a next one",
            "sessions that ended 24 hours ago",
        ),
    ],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let day_ago = draft.bind_time(Micros(scope.as_of.0 - 86_400_000_000));
        let escalated = draft.escalated();
        let limit = draft.days_later("s.last_event_at", 1);
        let again = format!(
            "EXISTS (SELECT 1 FROM ext_session n WHERE n.sender_id = s.sender_id \
             AND n.started_at > s.started_at AND n.started_at <= {limit})"
        );
        vec![draft.per_slice(
            "sessions",
            &format!(
                "SELECT slice, count(*), count(CASE WHEN again THEN 1 END),\n\
                 count(CASE WHEN NOT again AND NOT escalated THEN 1 END) FROM (\n\
                 SELECT {slice} AS slice, {again} AS again, {escalated} AS escalated\n\
                 FROM {from}\nWHERE {kept}\n  AND s.last_event_at <= {day_ago}) q\nGROUP BY slice"
            ),
        )]
    },
    values: |_, view| {
        let [sessions, again, contained] = [1, 2, 3].map(|column| view.integer("sessions", column));
        vec![Measure::share(again, sessions), Measure::share(contained, sessions)]
    },
    tables: no_tables,
};

/// Counts sessions by their ending.
pub(crate) fn endings(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let rows = draft.sessions();
    let ending = draft.ending();
    draft.totals_by("endings", &rows, &ending, &["count(*)"]).summed(1)
}

/// Returns the counts of [`endings`]: escalated, abandoned, finished, open, unused.
pub(crate) fn ending_counts(view: &View<'_>) -> [i64; 5] {
    let groups = view.groups("endings");
    ["escalated", "abandoned", "finished", "open", "unused"].map(|ending| {
        groups.iter().find(|(name, _)| name.text() == Some(ending)).map_or(0, |(_, count)| *count)
    })
}

pub(crate) fn abandoned_by_response(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.sessions();
    let ending = draft.ending();
    draft.once(
        "by_last_template",
        &format!(
            "SELECT slice, last_template, count(CASE WHEN ending = 'abandoned' THEN 1 END), count(*) FROM (\n\
             SELECT {slice} AS slice, s.last_template, {ending} AS ending\nFROM {from}\nWHERE {kept}) q\n\
             WHERE ending IN ('escalated', 'abandoned', 'finished') GROUP BY 1, 2"
        ),
    )
}

/// Returns the published abandonment query: by the time of each session's last bot message.
fn published_abandonment(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let responses = draft.list(&scope.definitions.published_abandon_responses);
    draft.with_last_messages();
    let Rows { slice, from, kept } = draft.rows_before_buckets("last_message", "r.timestamp");
    let query = draft.per_slice(
        "published",
        &format!(
            "SELECT {slice}, count(CASE WHEN r.template_name IN {responses} THEN 1 END), count(*)\n\
             FROM {from}\nWHERE {kept}\nGROUP BY 1"
        ),
    );
    query.summed(0)
}

fn published_nlu(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let intent = draft.bind(scope.definitions.published_handover_intent.as_str());
    let Rows { slice, from, kept } = draft.turns();
    let handovers = draft.count_turns(Some(&format!("t.intent = {intent}")));
    let month = draft.month("t.asked_at");
    draft.once(
        "published_nlu",
        &format!(
            "SELECT 0, month, CAST(sum(handovers) AS bigint), count(*) FROM (\n\
             SELECT {slice} AS slice, {month} AS month, t.session_id,\n\
             {handovers} AS handovers\nFROM {from}\nWHERE {kept}\n\
             GROUP BY 1, 2, 3) q\nGROUP BY 2 ORDER BY 2"
        ),
    )
}

fn published_calm(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.rows("rasa_llm_command", "r.inserted_at");
    let month = draft.month("r.inserted_at");
    draft.once(
        "published_calm",
        &format!(
            "SELECT 0, month, CAST(sum(handovers) AS bigint), count(*) FROM (\n\
             SELECT {slice} AS slice, {month} AS month, r.session_id,\n\
             count(CASE WHEN r.command = '{HANDOVER_COMMAND}' THEN 1 END) AS handovers\n\
             FROM {from}\nWHERE {kept}\nGROUP BY 1, 2, 3) q\nGROUP BY 2 ORDER BY 2"
        ),
    )
}

/// The hand-over of one session.
#[derive(Clone, Debug)]
pub(crate) struct Handover {
    /// Intent of the last message up to the moment that has one and not one of hand-over.
    pub(crate) preceding: Option<String>,
    /// Turns begun up to the moment.
    pub(crate) turns: i64,
    /// Seconds from the session's start to the moment.
    pub(crate) seconds: f64,
    /// Why: `asked`, `gave up` or `rule`.
    pub(crate) trigger: &'static str,
}

/// Returns the queries of the moments at which sessions are handed over, and of the turns up to
/// them.
pub(crate) fn moments(scope: &Scope) -> Vec<Query> {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.sessions();
    let escalated = draft.escalated();
    let intents = draft.handover_intents();
    // Actions and markers are read only where some hand over: the tables are large.
    let mut others = String::new();
    if !scope.definitions.handover_actions.is_empty() {
        let actions = draft.list(&scope.definitions.handover_actions);
        others.push_str(&format!(
            "UNION ALL SELECT session_id, timestamp, 0 FROM rasa_action WHERE name IN {actions}\n"
        ));
    }
    if !scope.definitions.escalation_markers.is_empty() {
        let markers = draft.list(&scope.definitions.escalation_markers);
        others.push_str(&format!(
            "UNION ALL SELECT k.session_id, e.timestamp, 0 FROM rasa_markers k\n\
             JOIN rasa_patterns p ON p.id = k.pattern_id JOIN rasa_event e ON e.id = k.event_id\n\
             WHERE p.name IN {markers}\n"
        ));
    }
    // An event that is a request of the user comes before another one of the same time.
    let moments = draft.once("moments", &format!(
            "SELECT {slice}, s.session_id, s.started_at, m.at, m.asked, s.last_event_at\nFROM {from}\nJOIN (\n\
             SELECT session_id, handed_over_at AS at, 1 AS asked FROM ext_session WHERE FALSE\n\
             UNION ALL SELECT session_id, handed_over_at, 0 FROM ext_session WHERE is_handed_over\n\
             UNION ALL SELECT session_id, asked_at, 1 FROM ext_turn WHERE intent IN {intents}\n\
             UNION ALL SELECT session_id, inserted_at, 1 FROM rasa_llm_command WHERE command = '{HANDOVER_COMMAND}'\n\
             UNION ALL SELECT session_id, inserted_at, 0 FROM rasa_flow_status\n\
             WHERE flow_identifier = '{HANDOVER_FLOW}' AND flow_status = 'started'\n\
             {others}) m ON m.session_id = s.session_id\nWHERE {kept}\n  AND {escalated}\n\
             ORDER BY s.session_id, m.at, m.asked DESC"
        ),
    );
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.sessions();
    let escalated = draft.escalated();
    let missed = draft.missed();
    let turns = draft.once(
        "turns_of_escalated",
        &format!(
            "SELECT {slice}, t.session_id, t.asked_at, t.intent, {missed}\nFROM {from}\n\
             JOIN ext_turn t ON t.session_id = s.session_id\nWHERE {kept}\n  AND {escalated}\n\
             ORDER BY t.session_id, t.asked_at, t.turn_id"
        ),
    );
    vec![moments, turns]
}

/// Reads the rows of [`moments`].
pub(crate) fn handovers(scope: &Scope, view: &View<'_>) -> Vec<Handover> {
    /// Time, intent, and whether it is missed.
    type Turn<'r> = (Micros, Option<&'r str>, bool);
    let mut turns: BTreeMap<&str, Vec<Turn<'_>>> = BTreeMap::new();
    for row in view.all("turns_of_escalated") {
        let (Some(session), Some(at)) = (row.get(1).and_then(Value::text), row.get(2).and_then(Value::time))
        else {
            continue;
        };
        let intent = row.get(3).and_then(Value::text);
        let missed = row.get(4).is_some_and(Value::is_true);
        turns.entry(session).or_default().push((at, intent, missed));
    }
    let mut handovers = Vec::new();
    let mut seen = None;
    for row in view.all("moments") {
        let time = |column: usize| row.get(column).and_then(Value::time);
        let (Some(session), Some(start), Some(at)) = (row.get(1).and_then(Value::text), time(2), time(3))
        else {
            continue;
        };
        // The first row of a session is its first moment.
        if seen.replace(session) == Some(session) {
            continue;
        }
        let first = match scope.filters.during {
            During::Started => start,
            During::Active => time(5).unwrap_or(start),
        };
        if view.range().is_some_and(|range| first < range.from || start >= range.to) {
            continue;
        }
        let turns = turns.get(session).map(Vec::as_slice).unwrap_or_default();
        let begun = turns.iter().take_while(|turn| turn.0 <= at).count();
        let begun = turns.get(..begun).unwrap_or_default();
        let own = |intent: &&str| !scope.handover_intents.iter().any(|name| name == intent);
        let preceding = begun.iter().rev().filter_map(|turn| turn.1).find(own);
        let asked = row.get(4).map_or(0, Value::integer) == 1;
        let gave_up = begun.iter().rev().take(2).any(|turn| turn.2);
        handovers.push(Handover {
            preceding: preceding.map(ToOwned::to_owned),
            turns: i64::try_from(begun.len()).unwrap_or(i64::MAX),
            seconds: (at.0 - start.0) as f64 / SECOND,
            trigger: if asked {
                "asked"
            } else if gave_up {
                "gave up"
            } else {
                "rule"
            },
        });
    }
    handovers
}
