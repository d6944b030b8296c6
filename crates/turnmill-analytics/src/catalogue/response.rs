//! Response times and turns without an answer.

use crate::answer::Table;
use crate::catalogue::sessions::BOUNDS as GOAL_BOUNDS;
use crate::draft::{Draft, Rows};
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, count, ratio, seconds, share};
use crate::scope::Scope;
use crate::value::{Query, Row, Value};
use crate::view::{Distribution, View, largest_first};

/// Microseconds of a second.
pub(crate) const SECOND: f64 = 1e6;

/// Bounds of the histogram in microseconds: 1, 2 and 5 times powers of ten, 1 ms to 100 s.
const BOUNDS: [i64; 16] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
];

pub(crate) static RESPONSE_TIME: Metric = Metric {
    id: "R7_response_time",
    title: "Avg response time",
    definition: "Time from a user message to the first answer of its turn, over the turns that have \
                 an answer: mean and percentiles.",
    unit: Unit::Seconds,
    charts: &[Chart::Line, Chart::Number, Chart::Histogram],
    counted: Counted::Messages,
    sources: &[Source::Rasa, Source::BotFramework],
    figures: &[
        seconds("mean", "response times of answered turns"),
        seconds("p50", "response times of answered turns"),
        seconds("p90", "response times of answered turns"),
        seconds("p95", "response times of answered turns"),
        seconds("p99", "response times of answered turns"),
        count("answered", "turns with an answer"),
        count("turns", "turns"),
    ],
    split: None,
    plan: |scope| {
        let mut queries = vec![turns(scope)];
        let mut draft = scope.draft();
        let rows = draft.turns();
        queries.push(draft.distribution("time", &rows, &[], "t.response_us", "t.response_us IS NOT NULL"));
        if scope.is_sampled {
            queries.push(weighed(scope, "weighed", None));
        }
        for (name, weighed_name, group) in [
            ("by_intent", "weighed_by_intent", "t.intent"),
            ("by_channel", "weighed_by_channel", "t.channel"),
            ("by_model", "weighed_by_model", "t.model_id"),
        ] {
            if scope.is_sampled {
                queries.push(weighed(scope, weighed_name, Some(group)));
            }
            let mut draft = scope.draft();
            let rows = draft.turns();
            let query =
                draft.distribution(name, &rows, &[group], "t.response_us", "t.response_us IS NOT NULL");
            queries.push(query.for_list(name));
        }
        let mut draft = scope.draft();
        let rows = draft.turns();
        let weight = draft.weight_of_turn();
        let query = draft.histogram("histogram", &rows, "t.response_us", weight, "TRUE", &BOUNDS);
        queries.push(query.for_list("histogram"));
        queries.push(slowest(scope).for_list("slowest"));
        queries
    },
    values: |_, view| {
        let time = view.distribution("time");
        let (mean, answered) = weighed_mean(view.rows("weighed").first(), 1, &time);
        let mut values = vec![mean];
        values.extend((0..4).map(|which| time.percentile(which, SECOND)));
        values.push(Measure::Count(answered));
        values.push(Measure::Count(view.integer("turns", 1)));
        values
    },
    tables: |_, view| {
        let mut tables = vec![histogram(view, "histogram", "turns", &BOUNDS)];
        for (name, weighed, column) in [
            ("by_intent", "weighed_by_intent", "intent"),
            ("by_channel", "weighed_by_channel", "channel"),
            ("by_model", "weighed_by_model", "model"),
        ] {
            tables.push(by_group(view, name, weighed, column));
        }
        tables.push(Table {
            name: "slowest",
            columns: vec!["seconds", "asked_at", "session_id", "intent", "first_template"],
            rows: view.all("slowest").iter().map(slow).collect(),
        });
        tables
    },
};

pub(crate) static NO_ANSWER: Metric = Metric {
    id: "X46_noanswer",
    title: "Turns without an answer",
    definition: "Share of turns without a bot message, by intent, and by the form or flow that was \
                 active when the message came.",
    unit: Unit::Percent,
    charts: &[Chart::Line, Chart::Table],
    counted: Counted::Messages,
    sources: &[Source::Rasa, Source::BotFramework],
    figures: &[share("without_answer", "turns without a bot message", "turns")],
    split: None,
    plan: |scope| {
        vec![
            without_answer(scope, "all", None),
            without_answer(scope, "by_intent", Some("t.intent")),
            without_answer(scope, "by_form", Some("t.form")),
        ]
    },
    values: |_, view| vec![Measure::share(view.integer("all", 1), view.integer("all", 2))],
    tables: |_, view| vec![unanswered(view, "by_intent", "intent"), unanswered(view, "by_form", "form")],
};

fn turns(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let rows = draft.turns();
    let count = draft.count_turns(None);
    draft.totals("turns", &rows, &[&count]).summed(0)
}

/// Returns the answered turns and the sums that make their mean, of a sampled source.
fn weighed(scope: &Scope, name: &'static str, group: Option<&str>) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    let count = draft.count_turns(None);
    let (column, by) = group.map_or((String::new(), ""), |group| (format!(", {group}"), ", 2"));
    let query = draft.per_slice(
        name,
        &format!(
            "SELECT {slice}{column}, {count}, sum(t.weight * t.response_us), sum(t.weight)\n\
             FROM {from}\nWHERE {kept}\n  AND t.response_us IS NOT NULL\nGROUP BY 1{by}"
        ),
    );
    Query { per_slice: group.is_none(), ..query }
}

/// Returns the mean and the number of answered turns: those of a row of [`weighed`], whose count is
/// in column `first`, or else of the distribution.
fn weighed_mean(row: Option<&Row>, first: usize, time: &Distribution) -> (Measure, i64) {
    let number = |column: usize| row.and_then(|row| row.get(column)).and_then(Value::float);
    match (number(first), number(first + 1), number(first + 2)) {
        (Some(count), Some(sum), Some(weight)) if weight > 0.0 => {
            let count = count as i64;
            (Measure::Mean { value: Some(sum / weight / SECOND), count }, count)
        }
        _ => (time.mean(SECOND), time.count),
    }
}

fn slowest(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    let top = scope.top;
    draft.once(
        "slowest",
        &format!(
            "SELECT {slice}, t.response_us, t.asked_at, t.session_id, t.intent, t.first_template\n\
             FROM {from}\nWHERE {kept}\n  AND t.response_us IS NOT NULL\n\
             ORDER BY t.response_us DESC, t.asked_at, t.turn_id LIMIT {top}"
        ),
    )
}

fn slow(row: &Row) -> Row {
    let time = row.get(1).and_then(Value::float).map(|micros| micros / SECOND);
    let mut shown = vec![time.into(), row.get(2).and_then(Value::time).into()];
    shown.extend(row.iter().skip(3).cloned());
    shown
}

fn without_answer(scope: &Scope, name: &'static str, group: Option<&str>) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.turns();
    let (column, by) = group.map_or((String::new(), ""), |group| (format!(", {group}"), ", 2"));
    let (without, all) = (draft.count_turns(Some("t.response_us IS NULL")), draft.count_turns(None));
    let query = draft.per_slice(
        name,
        &format!(
            "SELECT {slice}{column}, {without}, {all}\n\
             FROM {from}\nWHERE {kept}\nGROUP BY 1{by}"
        ),
    );
    if group.is_some() { query.for_list(name) } else { query }
}

fn unanswered(view: &View<'_>, name: &'static str, column: &'static str) -> Table {
    Table { name, columns: vec![column, "without_answer", "turns", "share"], rows: rates(view.all(name)) }
}

/// Returns (group, n, d, share in percent) of rows of slice, group, n, d: those with an n, the
/// largest n first.
pub(crate) fn rates(rows: &[Row]) -> Vec<Row> {
    let read = |row: &Row| Some((row.get(1)?.clone(), row.get(2)?.integer(), row.get(3)?.integer()));
    let mut rows: Vec<(Value, i64, i64)> = rows.iter().filter_map(read).filter(|row| row.1 > 0).collect();
    largest_first(&mut rows, |row| row.1, |row| &row.0);
    rows.into_iter()
        .map(|(group, n, d)| vec![group, n.into(), d.into(), Measure::share(n, d).value().into()])
        .collect()
}

/// Returns the table of a histogram: the lower bound of each bin in seconds, NULL of the first.
pub(crate) fn histogram(view: &View<'_>, query: &'static str, what: &'static str, bounds: &[i64]) -> Table {
    let rows = view.all(query);
    let count = |bin: usize| {
        let bin = i64::try_from(bin).unwrap_or(i64::MAX);
        let row = rows.iter().find(|row| row.get(1).map(Value::integer) == Some(bin));
        row.and_then(|row| row.get(2)).map_or(0, Value::integer)
    };
    let lower = std::iter::once(None).chain(bounds.iter().map(|bound| Some(*bound as f64 / SECOND)));
    Table {
        name: query,
        columns: vec!["from_seconds", what],
        rows: lower.enumerate().map(|(bin, lower)| vec![lower.into(), count(bin).into()]).collect(),
    }
}

/// Returns the distributions of groups: the largest first.
fn by_group(view: &View<'_>, name: &'static str, weighed: &str, column: &'static str) -> Table {
    let mut groups: Vec<(Value, Distribution, (Measure, i64))> = view
        .distributions(name)
        .into_iter()
        .map(|(group, time)| {
            let row = view.all(weighed).iter().find(|row| row.get(1) == Some(&group));
            (group, time, weighed_mean(row, 2, &time))
        })
        .collect();
    largest_first(&mut groups, |group| group.2.1, |group| &group.0);
    let seconds = |measure: Measure| -> Value { measure.value().into() };
    let rows = groups.into_iter().map(|(group, time, (mean, answered))| {
        vec![
            group,
            answered.into(),
            seconds(mean),
            seconds(time.percentile(0, SECOND)),
            seconds(time.percentile(1, SECOND)),
            seconds(time.percentile(2, SECOND)),
        ]
    });
    Table { name, columns: vec![column, "answered", "mean", "p50", "p90", "p95"], rows: rows.collect() }
}

pub(crate) static FIRST_RESPONSE: Metric = Metric {
    id: "X40_time_first",
    title: "Time to first response",
    definition: "Response time of the first turn of each session, if it is answered. Beside it the time \
                 from the start of a session to its first event with a goal marker, if goals are named.",
    unit: Unit::Seconds,
    charts: &[Chart::Line, Chart::Histogram],
    counted: Counted::Sessions,
    sources: &[Source::Rasa, Source::BotFramework],
    figures: &[
        seconds("mean", "response times of first turns"),
        seconds("p50", "response times of first turns"),
        seconds("p90", "response times of first turns"),
        seconds("p95", "response times of first turns"),
        seconds("p99", "response times of first turns"),
        count("answered", "sessions whose first turn is answered"),
        seconds("goal_mean", "times to the goal"),
        seconds("goal_p50", "times to the goal"),
        seconds("goal_p90", "times to the goal"),
        count("goals", "sessions that reach the goal"),
    ],
    split: None,
    plan: |scope| {
        let (draft, rows) = first_turns(scope);
        let time = draft.distribution("time", &rows, &[], "f.response_us", "TRUE");
        let (draft, rows) = first_turns(scope);
        let bins = draft.histogram("histogram", &rows, "f.response_us", "1", "TRUE", &BOUNDS);
        let mut queries = vec![time, Query { per_slice: false, ..bins }];
        if !scope.definitions.goal_markers.is_empty() {
            let (draft, rows, time) = to_goal(scope);
            queries.push(draft.distribution("goal", &rows, &[], &time, "TRUE"));
            let (draft, rows, time) = to_goal(scope);
            let bins = draft.histogram("goal_histogram", &rows, &time, "1", "TRUE", &GOAL_BOUNDS);
            queries.push(Query { per_slice: false, ..bins });
        }
        queries
    },
    values: |_, view| {
        let time = view.distribution("time");
        let mut values = vec![time.mean(SECOND)];
        values.extend((0..4).map(|which| time.percentile(which, SECOND)));
        values.push(Measure::Count(time.count));
        let goal = view.distribution("goal");
        values.extend([
            goal.mean(SECOND),
            goal.percentile(0, SECOND),
            goal.percentile(1, SECOND),
            Measure::Count(goal.count),
        ]);
        values
    },
    tables: |_, view| {
        vec![
            histogram(view, "histogram", "sessions", &BOUNDS),
            histogram(view, "goal_histogram", "sessions", &GOAL_BOUNDS),
        ]
    },
};

/// Returns the sessions with their first turn, as `f`.
fn first_turns(scope: &Scope) -> (Draft<'_>, Rows) {
    let mut draft = scope.draft();
    let mut rows = draft.sessions();
    rows.from.push_str(
        "\nJOIN (SELECT session_id, response_us, row_number() OVER (PARTITION BY session_id \
         ORDER BY asked_at, turn_id) AS place FROM ext_turn) f\n\
         ON f.session_id = s.session_id AND f.place = 1",
    );
    (draft, rows)
}

/// Returns the sessions that reach a goal, and the microseconds to it.
fn to_goal(scope: &Scope) -> (Draft<'_>, Rows, String) {
    let mut draft = scope.draft();
    let mut rows = draft.sessions();
    let markers = draft.list(&scope.definitions.goal_markers);
    rows.from.push_str(&format!(
        "\nJOIN (SELECT m.session_id, min(e.timestamp) AS at FROM rasa_markers m \
         JOIN rasa_patterns p ON p.id = m.pattern_id JOIN rasa_event e ON e.id = m.event_id \
         WHERE p.name IN {markers} GROUP BY m.session_id) g\nON g.session_id = s.session_id"
    ));
    let time = draft.micros_between("s.started_at", "g.at");
    (draft, rows, time)
}

pub(crate) static TURN_STATISTICS: Metric = Metric {
    id: "A18_turn_stats",
    title: "Turns",
    definition: "Turns for each session, bot messages for each turn, and the share of turns without \
                 an answer; turns by their number of bot messages.",
    unit: Unit::Ratio,
    charts: &[Chart::Number, Chart::Histogram],
    counted: Counted::Mixed,
    sources: Source::ALL,
    figures: &[
        ratio("turns_per_session", "turns of sessions", "sessions"),
        ratio("bot_messages_per_turn", "bot messages in turns", "turns"),
        share("without_answer", "turns without a bot message", "turns"),
    ],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let sessions = draft.per_slice("sessions", &format!(
                "SELECT {slice}, CAST(sum(s.turns) AS bigint), count(*)\nFROM {from}\nWHERE {kept}\nGROUP BY 1"
            ),
        );
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.turns();
        let (all, without) = (draft.count_turns(None), draft.count_turns(Some("t.response_us IS NULL")));
        let bots = draft.sum_of_turns("t.bot_messages");
        let turns = draft.per_slice(
            "turns",
            &format!("SELECT {slice}, {all}, {bots}, {without}\nFROM {from}\nWHERE {kept}\nGROUP BY 1"),
        );
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.turns();
        let all = draft.count_turns(None);
        let bins = draft.once(
            "histogram",
            &format!(
                "SELECT {slice}, t.bot_messages, {all}\nFROM {from}\nWHERE {kept}\nGROUP BY 1, 2\nORDER BY 2"
            ),
        );
        vec![sessions, turns, bins]
    },
    values: |_, view| {
        let [turns, bots, without] = [1, 2, 3].map(|column| view.integer("turns", column));
        vec![
            Measure::ratio(view.integer("sessions", 1), view.integer("sessions", 2)),
            Measure::ratio(bots, turns),
            Measure::share(without, turns),
        ]
    },
    tables: |_, view| {
        let rows = view.all("histogram").iter().map(|row| row.iter().skip(1).cloned().collect());
        vec![Table { name: "histogram", columns: vec!["bot_messages", "turns"], rows: rows.collect() }]
    },
};
