//! Sessions: messages, duration, turns, concurrency, days and hours.

use std::collections::BTreeMap;

use turnmill_model::Micros;

use crate::answer::Table;
use crate::bucket::{Bucket, DayBlock};
use crate::catalogue::response::{SECOND, histogram};
use crate::draft::{MESSAGE_OF_TURN, Rows};
use crate::measure::Measure;
use crate::metric::{
    Chart, Counted, Figure, Metric, Source, Unit, count, no_tables, no_values, ratio, seconds,
};
use crate::range::Range;
use crate::scope::{Scope, Slices};
use crate::value::{Query, Row, Value};
use crate::view::{Distribution, View};

/// Bounds of durations in microseconds: 1, 2 and 5 times powers of ten, 1 s to 10,000 s.
pub(crate) const BOUNDS: [i64; 13] = [
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

pub(crate) static MESSAGES: Metric = Metric {
    id: "X2_messages",
    title: "Messages sent",
    definition: "User messages, bot messages, also those in no turn, and bot messages for each user \
                 message.",
    unit: Unit::Count,
    charts: &[Chart::Line],
    counted: Counted::Mixed,
    sources: Source::ALL,
    figures: &[
        count("user", "user messages"),
        count("bot", "bot messages"),
        ratio("bot_per_user", "bot messages", "user messages"),
    ],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.turns();
        let count = draft.count_turns(None);
        let user = draft
            .per_slice("user", &format!("SELECT {slice}, {count}\nFROM {from}\nWHERE {kept}\nGROUP BY 1"));
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.rows("rasa_bot_message", "r.timestamp");
        let (count, weights) = (draft.count_messages(), draft.weights_of_messages());
        let bot = draft.per_slice(
            "bot",
            &format!("SELECT {slice}, {count}\nFROM {from}{weights}\nWHERE {kept}\nGROUP BY 1"),
        );
        vec![user, bot]
    },
    values: |_, view| {
        let (user, bot) = (view.integer("user", 1), view.integer("bot", 1));
        vec![Measure::Count(user), Measure::Count(bot), Measure::ratio(bot, user)]
    },
    tables: no_tables,
};

pub(crate) static TIME_PER_SESSION: Metric = Metric {
    id: "X1_time_per_session",
    title: "Time per session",
    definition: "Time from the first to the last event of sessions with a turn: mean, median and \
                 90th percentile, by ending.",
    unit: Unit::Seconds,
    charts: &[Chart::Number, Chart::Histogram],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[
        seconds("mean", "durations of sessions with a turn"),
        seconds("p50", "durations of sessions with a turn"),
        seconds("p90", "durations of sessions with a turn"),
        count("sessions", "sessions with a turn"),
    ],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let rows = draft.sessions();
        let time = draft.micros_between("s.started_at", "s.last_event_at");
        let all = draft.distribution("time", &rows, &[], &time, "s.turns > 0");
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let ending = draft.ending();
        // The ending has a name, so that the distribution can be grouped by it.
        let from =
            format!("(SELECT s.*, {ending} AS ending\nFROM {from}\nWHERE {kept}\n  AND s.turns > 0) s");
        let rows = Rows { slice, from, kept: "TRUE".into() };
        let by_ending = draft.distribution("by_ending", &rows, &["s.ending"], &time, "TRUE");
        let mut draft = scope.draft();
        let rows = draft.sessions();
        let bins = draft.histogram("histogram", &rows, &time, "1", "s.turns > 0", &BOUNDS);
        vec![all, by_ending.for_list("by_ending"), bins.for_list("histogram")]
    },
    values: |_, view| {
        let time = view.distribution("time");
        vec![
            time.mean(SECOND),
            time.percentile(0, SECOND),
            time.percentile(1, SECOND),
            Measure::Count(time.count),
        ]
    },
    tables: |_, view| {
        let groups = view.distributions("by_ending");
        let endings = ["escalated", "abandoned", "finished", "open"];
        let row = |ending: &str| {
            let time = groups.iter().find(|(name, _)| name.text() == Some(ending));
            let time: Distribution = time.map(|(_, time)| *time).unwrap_or_default();
            let number = |measure: Measure| -> Value { measure.value().into() };
            vec![
                ending.into(),
                time.count.into(),
                number(time.mean(SECOND)),
                number(time.percentile(0, SECOND)),
                number(time.percentile(1, SECOND)),
            ]
        };
        vec![
            histogram(view, "histogram", "sessions", &BOUNDS),
            Table {
                name: "by_ending",
                columns: vec!["ending", "sessions", "mean", "p50", "p90"],
                rows: endings.into_iter().map(row).collect(),
            },
        ]
    },
};

pub(crate) static TURNS: Metric = Metric {
    id: "LN5_turns",
    title: "Turns per conversation",
    definition: "Turns for each session, the most turns of one session, and the sessions by their \
                 number of turns.",
    unit: Unit::Ratio,
    charts: &[Chart::Number, Chart::Histogram],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[ratio("turns", "turns of sessions", "sessions"), count("most", "turns of one session")],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        vec![draft.per_slice(
            "sessions",
            &format!("SELECT {slice}, s.turns, count(*)\nFROM {from}\nWHERE {kept}\nGROUP BY 1, 2"),
        )]
    },
    values: |_, view| {
        let (mut turns, mut sessions, mut most) = (0, 0, 0);
        for row in view.rows("sessions") {
            let [number, count] = [1, 2].map(|column| row.get(column).map_or(0, Value::integer));
            turns += number * count;
            sessions += count;
            most = most.max(number);
        }
        let most = if sessions == 0 { Measure::Number(None) } else { Measure::Count(most) };
        vec![Measure::ratio(turns, sessions), most]
    },
    tables: |_, view| {
        let mut rows: Vec<Row> =
            view.rows("sessions").iter().map(|row| row.iter().skip(1).cloned().collect()).collect();
        rows.sort_by_key(|row: &Row| row.first().map_or(0, Value::integer));
        vec![Table { name: "histogram", columns: vec!["turns", "sessions"], rows }]
    },
};

pub(crate) static CONCURRENCY: Metric = Metric {
    id: "LN6_concurrency",
    title: "Concurrent sessions",
    definition: "Most sessions active at one moment, whenever they began. A session is active from \
                 its first to its last event, both included.",
    unit: Unit::Count,
    charts: &[Chart::Line],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[count("most", "sessions active at one moment")],
    split: None,
    plan: |scope| {
        // Whenever a session began, so the sessions of the range are no matter.
        let scope = scope.by_start();
        vec![starting(&scope), carried(&scope)]
    },
    values: |scope, view| {
        let range = view.range().unwrap_or(Range {
            from: scope.span.from.unwrap_or(Micros(i64::MIN)),
            to: scope.span.to.unwrap_or(Micros(i64::MAX)),
        });
        // Sessions of the slice, and those that began before it and go on in it.
        let own = view.rows("starting").iter().filter_map(interval);
        let earlier = view.every("carried").iter().filter_map(interval);
        let earlier = earlier.filter(|(start, end)| *start < range.from && *end >= range.from);
        // A start counts before an end of the same time: both moments belong to the session.
        let mut changes: Vec<(Micros, bool)> = Vec::new();
        for (start, end) in own.chain(earlier) {
            changes.push((start.max(range.from), false));
            changes.push((end, true));
        }
        changes.sort_unstable();
        let (mut active, mut most) = (0_i64, 0);
        for (at, ends) in changes {
            if at >= range.to {
                break;
            }
            active += if ends { -1 } else { 1 };
            most = most.max(active);
        }
        vec![Measure::Count(most)]
    },
    tables: no_tables,
};

/// Returns the first and the last moment of sessions that start in the slice.
fn starting(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.sessions();
    draft.per_slice(
        "starting",
        &format!("SELECT {slice}, s.started_at, s.last_event_at\nFROM {from}\nWHERE {kept}"),
    )
}

/// Returns the same of sessions that are active after the slice in which they start, and of those
/// that start before the first. They are few, so each bucket looks at all of them.
fn carried(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let mut parts = Vec::new();
    if let Some(start) = scope.start() {
        let Rows { slice, from, kept } = draft.sessions_across(start);
        parts.push(format!("SELECT {slice}, s.started_at, s.last_event_at\nFROM {from}\nWHERE {kept}"));
    }
    if matches!(scope.slices, Slices::Buckets(_)) {
        let Rows { slice, from, kept } = draft.sessions();
        parts.push(format!(
            "SELECT {slice}, s.started_at, s.last_event_at\nFROM {from}\nWHERE {kept}\n  AND s.last_event_at >= b.hi"
        ));
    }
    if parts.is_empty() {
        // Nothing begins before an open range.
        parts.push("SELECT -1, s.started_at, s.last_event_at FROM ext_session s WHERE FALSE".into());
    }
    draft.per_slice("carried", &parts.join("\nUNION ALL "))
}

fn interval(row: &Row) -> Option<(Micros, Micros)> {
    Some((row.get(1)?.time()?, row.get(2)?.time()?))
}

pub(crate) static CALENDAR: Metric = Metric {
    id: "X42_day_part",
    title: "Activity calendar",
    definition: "Sessions for each local day, by their start; or on each day on which they are active, \
                 if the question is about active sessions.",
    unit: Unit::Count,
    charts: &[Chart::Calendar],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[],
    split: None,
    plan: |scope| by_own_buckets(scope, Bucket::Day),
    values: no_values,
    tables: |scope, view| {
        let day = |(at, count): (Micros, i64)| {
            vec![Value::Text(scope.zone.local(at).date().to_string()), count.into()]
        };
        vec![Table {
            name: "days",
            columns: vec!["day", "sessions"],
            rows: own_buckets(view, "buckets").into_iter().map(day).collect(),
        }]
    },
};

pub(crate) static HEAT_MAP: Metric = Metric {
    id: "L17_heat_sessions",
    title: "Session count heat map",
    definition: "Sessions by weekday and block of two hours of the local clock, by their start. Beside \
                 it the published form, which counts messages by their time.",
    unit: Unit::Count,
    charts: &[Chart::HeatMap],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[],
    split: None,
    plan: |scope| {
        let mut queries = by_own_buckets(&scope.by_start(), Bucket::Hour);
        let mut draft = scope.draft();
        if let Some(Rows { slice, from, kept }) = draft.turns_by(Bucket::Hour) {
            let count = draft.count_turns(None);
            queries.push(draft.once(
                "messages",
                &format!(
                    "SELECT {slice}, b.lo, {count}\nFROM {from}\nWHERE {kept}\nGROUP BY 1, 2\nORDER BY 1"
                ),
            ));
        }
        queries
    },
    values: no_values,
    tables: |scope, view| {
        vec![
            cells(scope, view, "buckets", "cells", "sessions"),
            cells(scope, view, "messages", "messages", "messages"),
        ]
    },
};

/// Returns the counts of a query by weekday and block of two hours.
fn cells(scope: &Scope, view: &View<'_>, query: &str, name: &'static str, what: &'static str) -> Table {
    let mut cells: BTreeMap<(u32, u32), i64> = BTreeMap::new();
    for (at, count) in own_buckets(view, query) {
        let DayBlock { weekday, hour } = DayBlock::of(at, scope.zone);
        *cells.entry((weekday, hour / 2)).or_default() += count;
    }
    let names = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let mut rows = Vec::new();
    for (weekday, name) in (0..).zip(names) {
        for block in 0..12 {
            let count = cells.get(&(weekday, block)).copied().unwrap_or(0);
            rows.push(vec![Value::from(name), i64::from(block * 2).into(), count.into()]);
        }
    }
    Table { name, columns: vec!["weekday", "hour", what], rows }
}

/// Counts sessions in buckets of a width that the metric chooses.
fn by_own_buckets(scope: &Scope, bucket: Bucket) -> Vec<Query> {
    let mut draft = scope.draft();
    let Some(rows) = draft.sessions_by(bucket) else { return Vec::new() };
    let Rows { slice, from, kept } = rows;
    vec![draft.once(
        "buckets",
        &format!("SELECT {slice}, b.lo, count(*)\nFROM {from}\nWHERE {kept}\nGROUP BY 1, 2\nORDER BY 1"),
    )]
}

/// Reads the buckets that have sessions: their start and the number of sessions.
fn own_buckets(view: &View<'_>, query: &str) -> Vec<(Micros, i64)> {
    let read = |row: &Row| Some((row.get(1)?.time()?, row.get(2)?.integer()));
    view.all(query).iter().filter_map(read).collect()
}

pub(crate) static ACTIVE_SESSIONS: Metric = Metric {
    id: "L2_sessions",
    title: "Sessions",
    definition: "Sessions with at least one user or bot message in the range, by the time of the \
                 message. A session counts in each bucket in which it has one.",
    unit: Unit::Count,
    charts: &[Chart::Line],
    counted: Counted::Mixed,
    sources: Source::ALL,
    figures: &[count("sessions", "sessions with a message")],
    split: None,
    plan: |scope| vec![with_a_message(scope)],
    values: |_, view| vec![Measure::Count(view.integer("sessions", 1))],
    tables: no_tables,
};

/// Counts the sessions with a user or bot message in the slice.
fn with_a_message(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let turns = draft.turns();
    let bots = draft.rows("rasa_bot_message", "r.timestamp");
    draft.per_slice(
        "sessions",
        &format!(
            "SELECT slice, count(*) FROM (\n\
             SELECT {} AS slice, t.session_id FROM {}\nWHERE {}\n\
             UNION SELECT {}, r.session_id FROM {}\nWHERE {}) q\nGROUP BY 1",
            turns.slice, turns.from, turns.kept, bots.slice, bots.from, bots.kept
        ),
    )
}

pub(crate) static HUMAN_MESSAGES: Metric = Metric {
    id: "L3_messages",
    title: "Messages",
    definition: "Messages of humans: with a text or an intent, whose intent is not `session_start` \
                 and whose text does not begin with `EXTERNAL: `.",
    unit: Unit::Count,
    charts: &[Chart::Line],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[count("messages", "messages of humans")],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.turns();
        let count = draft.count_turns(None);
        vec![draft.per_slice(
            "messages",
            &format!(
                "SELECT {slice}, {count}\nFROM {from}{MESSAGE_OF_TURN}\nWHERE {kept}\n\
                 AND (m.text IS NOT NULL OR t.intent IS NOT NULL)\n\
                 AND coalesce(t.intent, '') <> 'session_start'\n\
                 AND substr(coalesce(m.text, ''), 1, 10) <> 'EXTERNAL: '\nGROUP BY 1"
            ),
        )]
    },
    values: |_, view| vec![Measure::Count(view.integer("messages", 1))],
    tables: no_tables,
};

pub(crate) static DURATION: Metric = Metric {
    id: "L12_avg_duration",
    title: "Average Session Duration",
    definition: "Mean time from the first to the last event of all sessions. Beside it the published \
                 form: the length of the bucket for each session with a message in it.",
    unit: Unit::Seconds,
    charts: &[Chart::Line],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[
        seconds("mean", "durations of sessions"),
        Figure {
            name: "compatible",
            unit: Unit::Seconds,
            numerator: "length of the range or bucket",
            denominator: Some("sessions with a message in it"),
        },
    ],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let time = draft.micros_between("s.started_at", "s.last_event_at");
        let time = draft.per_slice(
            "time",
            &format!(
                "SELECT {slice}, count(*), CAST(sum({time}) AS bigint)\nFROM {from}\nWHERE {kept}\nGROUP BY 1"
            ),
        );
        vec![time, with_a_message(scope)]
    },
    values: |scope, view| {
        let length = view.range().or_else(|| scope.covered()).map_or(0, |range| range.to.0 - range.from.0);
        vec![
            Measure::mean(view.integer("time", 2) as f64 / SECOND, view.integer("time", 1)),
            Measure::mean(length as f64 / SECOND, view.integer("sessions", 1)),
        ]
    },
    tables: no_tables,
};

pub(crate) static MESSAGES_PER_SESSION: Metric = Metric {
    id: "L14_msgs_per_session",
    title: "Average Messages Per Sessions",
    definition: "Messages for each session that has one in the range. Beside it the published form, \
                 which is 0 where there is no such session.",
    unit: Unit::Ratio,
    charts: &[Chart::Line],
    counted: Counted::Messages,
    sources: Source::ALL,
    figures: &[
        ratio("messages", "messages", "sessions with a message"),
        ratio("compatible", "messages", "sessions with a message, 0 without one"),
    ],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.turns();
        let count = draft.count_turns(None);
        vec![draft.per_slice(
            "messages",
            &format!(
                "SELECT {slice}, {count}, count(DISTINCT t.session_id)\n\
                 FROM {from}\nWHERE {kept}\nGROUP BY 1"
            ),
        )]
    },
    values: |_, view| {
        let ratio = Measure::ratio(view.integer("messages", 1), view.integer("messages", 2));
        let compatible = if ratio.value().is_none() { Measure::Number(Some(0.0)) } else { ratio };
        vec![ratio, compatible]
    },
    tables: no_tables,
};
