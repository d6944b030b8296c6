//! Usage: conversations, users, sessions, channels.

use crate::answer::Table;
use crate::draft::Rows;
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, count, no_tables, ratio};
use crate::scope::Scope;
use crate::value::{Query, Value};
use crate::view::View;

pub(crate) static CONVERSATIONS: Metric = Metric {
    id: "R1_conversations",
    title: "Number of conversations",
    definition: "Sessions that have at least one turn; beside it the senders of these sessions.",
    unit: Unit::Count,
    charts: &[Chart::Number, Chart::Line],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[count("conversations", "sessions with a turn"), count("senders", "senders of these sessions")],
    split: None,
    plan: |scope| {
        let query = |name, column| {
            let mut draft = scope.draft();
            let rows = draft.sessions().and("s.turns > 0");
            draft.totals(name, &rows, &[column])
        };
        vec![
            query("conversations", "count(*)").summed(0),
            query("senders", "count(DISTINCT s.sender_id)").for_number("senders"),
        ]
    },
    values: |_, view| {
        ["conversations", "senders"].map(|query| Measure::Count(view.integer(query, 1))).to_vec()
    },
    tables: no_tables,
};

pub(crate) static USERS: Metric = Metric {
    id: "R2_users",
    title: "Number of users",
    definition: "Users with at least one session. A user is the end user whose id the events carry, \
                 or the sender where they carry none. New users are those first seen in the range.",
    unit: Unit::Count,
    charts: &[Chart::Number, Chart::Line],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[
        count("users", "users with a session"),
        count("new", "of these, users first seen in the range"),
    ],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let rows = draft
            .sessions()
            .joined("JOIN rasa_sender r ON r.id = s.sender_id\nLEFT JOIN rasa_user u ON u.id = r.user_id");
        let new = draft.in_slice("coalesce(u.first_seen, r.first_seen)");
        let user = "coalesce(r.user_id, s.sender_id)";
        let columns =
            [format!("count(DISTINCT {user})"), format!("count(DISTINCT CASE WHEN {new} THEN {user} END)")];
        vec![draft.totals("users", &rows, &columns.each_ref().map(String::as_str))]
    },
    values: |_, view| counts(view, "users", 2),
    tables: no_tables,
};

pub(crate) static SESSIONS: Metric = Metric {
    id: "R3_sessions",
    title: "Number of sessions",
    definition: "All sessions, also those without a turn.",
    unit: Unit::Count,
    charts: &[Chart::StackedBar, Chart::Line],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[count("sessions", "sessions")],
    split: Some("by_channel"),
    plan: |scope| vec![sessions(scope), by_channel(scope, "s.channel", "")],
    values: |_, view| counts(view, "sessions", 1),
    tables: |_, view| vec![shares("by_channel", &["channel", "sessions", "share"], view, "by_channel")],
};

pub(crate) static CHANNELS: Metric = Metric {
    id: "R4_channels",
    title: "Channels used",
    definition: "Sessions by channel: that of the session's first message that names one. Beside it \
                 two published forms: sessions by the channel of their sender, and senders by \
                 channel, by the time at which they were first seen.",
    unit: Unit::Count,
    charts: &[Chart::Bar, Chart::StackedBar, Chart::StackedArea, Chart::Pie],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[count("sessions", "sessions")],
    split: Some("by_channel"),
    plan: |scope| {
        let sender = "JOIN rasa_sender c ON c.id = s.sender_id";
        let mut queries = vec![sessions(scope), by_channel(scope, "s.channel", "")];
        let published = by_channel(scope, "c.channel", sender);
        let published = Query { name: "by_sender_channel", ..published };
        queries.push(published.for_list("by_sender_channel"));
        queries.push(senders_by_channel(scope).for_list("senders"));
        queries
    },
    values: |_, view| counts(view, "sessions", 1),
    tables: |_, view| {
        let columns = ["channel", "sessions", "share"];
        vec![
            shares("by_channel", &columns, view, "by_channel"),
            shares("by_sender_channel", &columns, view, "by_sender_channel"),
            shares("senders", &["channel", "senders", "share"], view, "senders"),
        ]
    },
};

pub(crate) static USER_SESSIONS: Metric = Metric {
    id: "R5_user_sessions",
    title: "User session count",
    definition: "Sessions for each sender that has one, and the senders by their number of sessions, \
                 where 10 is 10 or more.",
    unit: Unit::Ratio,
    charts: &[Chart::Number, Chart::Histogram],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[ratio("per_sender", "sessions", "senders of these sessions"), count("sessions", "sessions")],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        vec![draft.per_slice(
            "senders",
            &format!(
                "SELECT slice, CASE WHEN sessions < 10 THEN sessions ELSE 10 END, count(*),\n\
                 CAST(sum(sessions) AS bigint) FROM (\n\
                 SELECT {slice} AS slice, count(*) AS sessions\nFROM {from}\nWHERE {kept}\n\
                 GROUP BY 1, s.sender_id) q\nGROUP BY 1, 2"
            ),
        )]
    },
    values: |_, view| {
        let rows = view.rows("senders");
        let sum = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(Value::integer).sum();
        vec![Measure::ratio(sum(3), sum(2)), Measure::Count(sum(3))]
    },
    tables: |_, view| {
        let rows = view.rows("senders");
        let count = |sessions: i64| {
            let row = rows.iter().find(|row| row.get(1).map(Value::integer) == Some(sessions));
            row.and_then(|row| row.get(2)).map_or(0, Value::integer)
        };
        let rows = (1..=10).map(|sessions| vec![sessions.into(), count(sessions).into()]).collect();
        vec![Table { name: "histogram", columns: vec!["sessions", "senders"], rows }]
    },
};

pub(crate) fn sessions(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let rows = draft.sessions();
    draft.totals("sessions", &rows, &["count(*)"]).summed(0)
}

pub(crate) fn by_channel(scope: &Scope, channel: &str, join: &str) -> Query {
    let mut draft = scope.draft();
    let rows = draft.sessions().joined(join);
    draft.totals_by("by_channel", &rows, channel, &["count(*)"]).summed(1)
}

/// Counts senders as the published query does: by the time at which each was first seen.
fn senders_by_channel(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.senders();
    draft.per_slice("senders", &format!(
            "SELECT {slice}, r.channel, count(DISTINCT r.sender_key)\nFROM {from}\nWHERE {kept}\nGROUP BY 1, 2"
        ),
    )
}

/// Returns the numbers of the slice's only row.
pub(crate) fn counts(view: &View<'_>, query: &str, columns: usize) -> Vec<Measure> {
    (1..=columns).map(|column| Measure::Count(view.integer(query, column))).collect()
}

/// Returns a list of groups with their counts and shares of the sum, all of them.
pub(crate) fn shares(name: &'static str, columns: &[&'static str], view: &View<'_>, query: &str) -> Table {
    let groups = view.groups(query);
    let sum: i64 = groups.iter().map(|(_, count)| count).sum();
    let rows = groups
        .into_iter()
        .map(|(group, count)| vec![group, count.into(), Measure::share(count, sum).value().into()])
        .collect();
    Table { name, columns: columns.to_vec(), rows }
}
