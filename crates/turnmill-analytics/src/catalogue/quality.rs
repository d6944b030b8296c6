//! Quality of the data: gaps, freshness, what is left out.

use turnmill_model::Micros;

use crate::answer::Table;
use crate::catalogue::ends::{ending_counts, endings};
use crate::catalogue::response::SECOND;
use crate::draft::{IS_EMULATED, IS_TEST, Rows};
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, count, no_tables, no_values};
use crate::question::Filters;
use crate::scope::Scope;
use crate::value::{Query, Row, Value};

pub(crate) static QUALITY: Metric = Metric {
    id: "X38_quality",
    title: "Data quality",
    definition: "Sessions without a user message, without a bot message, and with turns of which \
                 none is answered; bot messages in no turn; `error` events, each a message that the \
                 event broker refused and that is therefore missing. Then, whatever the range and the \
                 filters, the ledger of the store's records, if the reader may see it: duplicates, \
                 records that could not become rows with their reasons, and skipped ones, and all of \
                 them by source. Lag and late events are metrics of the service.",
    unit: Unit::Count,
    charts: &[Chart::Table, Chart::Line],
    counted: Counted::Mixed,
    sources: Source::ALL,
    figures: &[
        count("sessions_without_answer", "sessions with turns of which none is answered"),
        count("sessions_without_user", "sessions without a user message"),
        count("sessions_without_bot", "sessions without a bot message"),
        count("bot_messages_in_no_turn", "bot messages in no turn"),
        count("error_events", "events of the type error"),
        count("events", "events"),
        count("records", "records of the store's sources"),
        count("duplicates", "records that are duplicates"),
        count("anonymised", "of these, replacements by anonymised copies"),
        count("changed", "of these, messages whose text or intent changed"),
        count("dead_letters", "records that could not become rows"),
        count("skipped", "records that hold no event"),
    ],
    split: None,
    plan: |scope| {
        let mut queries = vec![gaps(scope), outside_turns(scope), events(scope)];
        if scope.has_ledger {
            queries.extend(ledger(scope));
        }
        queries
    },
    values: |scope, view| {
        let mut values: Vec<Measure> =
            (1..=3).map(|column| Measure::Count(view.integer("sessions", column))).collect();
        values.push(Measure::Count(view.integer("outside_turns", 1)));
        values.push(Measure::Count(view.integer("events", 1)));
        values.push(Measure::Count(view.integer("events", 2)));
        // The ledger is of the whole store, so it has no series.
        if view.range().is_none() {
            let count = |column: usize| match scope.has_ledger {
                true => Measure::Count(view.integer("ledger", column)),
                false => Measure::Number(None),
            };
            values.extend((1..=6).map(count));
        }
        values
    },
    tables: |_, view| {
        let groups = view.groups("dead_letters").into_iter();
        let mut sources: Vec<Row> =
            view.all("sources").iter().map(|row| row.iter().skip(1).cloned().collect()).collect();
        let name = |row: &Row| row.first().and_then(Value::text).unwrap_or_default().to_owned();
        sources.sort_by_key(|row| (std::cmp::Reverse(row.get(1).map_or(0, Value::integer)), name(row)));
        vec![
            Table {
                name: "dead_letters",
                columns: vec!["reason", "records"],
                rows: groups.map(|(reason, count)| vec![reason, count.into()]).collect(),
            },
            Table {
                name: "sources",
                columns: vec!["source", "records", "events", "duplicates", "dead_letters", "skipped"],
                rows: sources,
            },
        ]
    },
};

/// Returns what became of the records of all sources.
fn ledger(scope: &Scope) -> [Query; 3] {
    let sum = |column: &str| format!("CAST(coalesce(sum({column}), 0) AS bigint)");
    let columns = ["records", "duplicates", "anonymised", "changed", "dead_letters", "skipped"].map(sum);
    [
        scope.draft().once("ledger", &format!("SELECT 0, {}\nFROM _turnmill_ledger", columns.join(", "))),
        scope
            .draft()
            .once("dead_letters", "SELECT 0, reason, count(*)\nFROM _turnmill_dead_letter\nGROUP BY 1, 2"),
        scope.draft().once(
            "sources",
            "SELECT 0, source, records, events, duplicates, dead_letters, skipped\nFROM _turnmill_ledger",
        ),
    ]
}

fn gaps(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.sessions();
    draft.per_slice("sessions", &format!(
            "SELECT {slice}, count(CASE WHEN s.turns > 0 AND s.answered_turns = 0 THEN 1 END),\n\
             count(CASE WHEN s.user_messages = 0 THEN 1 END), count(CASE WHEN s.bot_messages = 0 THEN 1 END)\n\
             FROM {from}\nWHERE {kept}\nGROUP BY 1"
        ),
    )
}

fn outside_turns(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.rows("rasa_bot_message", "r.timestamp");
    // The last turn that begins before the message, found through the index of turns.
    draft.per_slice(
        "outside_turns",
        &format!(
            "SELECT {slice}, count(*)\nFROM {from}\nWHERE {kept}\n  AND coalesce((\n\
             SELECT t.end_sequence_number FROM rasa_turn t WHERE t.session_id = r.session_id\n\
             AND t.start_sequence_number <= r.sequence_number\n\
             ORDER BY t.start_sequence_number DESC LIMIT 1), -1) < r.sequence_number\nGROUP BY 1"
        ),
    )
}

fn events(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.rows("rasa_event", "r.timestamp");
    draft.per_slice(
        "events",
        &format!(
            "SELECT {slice}, count(CASE WHEN r.event_type = 'error' THEN 1 END), count(*)\n\
             FROM {from}\nWHERE {kept}\nGROUP BY 1"
        ),
    )
}

pub(crate) static FRESHNESS: Metric = Metric {
    id: "X55_freshness",
    title: "Freshness",
    definition: "For each source and assistant, whatever the range: its newest event, the age of that \
                 as of the time by which sessions are over, and its events of the hour that ends with the store's \
                 newest, beside the same hour a week before.",
    unit: Unit::Seconds,
    charts: &[Chart::Table],
    counted: Counted::Rows,
    sources: Source::ALL,
    figures: &[],
    split: None,
    plan: |scope| {
        let mut draft = scope.draft();
        let newest = scope.extent.map(|extent| extent.newest).unwrap_or_default();
        let hours_before = |hours: i64| Micros(newest.0.saturating_sub(hours.saturating_mul(3_600_000_000)));
        let (from, to) = (draft.bind_time(hours_before(1)), draft.bind_time(newest));
        let (week_from, week_to) =
            (draft.bind_time(hours_before(7 * 24 + 1)), draft.bind_time(hours_before(7 * 24)));
        vec![draft.once("sources", &format!(
                "SELECT a.source_system, a.assistant, a.newest, coalesce(h.events, 0), coalesce(h.before, 0)\n\
                 FROM (SELECT s.source_system, s.assistant, max(r.last_seen) AS newest FROM ext_session s\n\
                 JOIN rasa_sender r ON r.id = s.sender_id GROUP BY 1, 2) a\n\
                 LEFT JOIN (SELECT s.source_system, s.assistant,\n\
                 count(CASE WHEN e.timestamp > {from} AND e.timestamp <= {to} THEN 1 END) AS events,\n\
                 count(CASE WHEN e.timestamp > {week_from} AND e.timestamp <= {week_to} THEN 1 END) AS before\n\
                 FROM rasa_event e JOIN ext_session s ON s.session_id = e.session_id\n\
                 WHERE e.timestamp > {from} AND e.timestamp <= {to}\n\
                 OR e.timestamp > {week_from} AND e.timestamp <= {week_to} GROUP BY 1, 2) h\n\
                 ON h.source_system = a.source_system\n\
                 AND coalesce(h.assistant, '') = coalesce(a.assistant, '')"
            ),
        )]
    },
    values: no_values,
    tables: |scope, view| {
        let row = |row: &Row| {
            let time = row.get(2).and_then(Value::time);
            let age = time.map(|time| (scope.as_of.0 - time.0) as f64 / SECOND);
            let mut shown: Row = row.iter().take(2).cloned().collect();
            shown.extend([time.into(), age.into()]);
            shown.extend(row.iter().skip(3).cloned());
            shown
        };
        // The databases do not sort NULL alike.
        let mut sources: Vec<&Row> = view.all("sources").iter().collect();
        sources.sort_by(|one, other| {
            let name = |row: &Row, column: usize| {
                let (null, name) = row.get(column).map(Value::name_order).unwrap_or_default();
                (null, name.to_owned())
            };
            (name(one, 0), name(one, 1)).cmp(&(name(other, 0), name(other, 1)))
        });
        vec![Table {
            name: "sources",
            columns: vec!["source", "assistant", "newest", "age_seconds", "events", "week_before"],
            rows: sources.into_iter().map(row).collect(),
        }]
    },
};

pub(crate) static LEFT_OUT: Metric = Metric {
    id: "X56_left_out",
    title: "Left out",
    definition: "Sessions that the three ways to end leave out: those without a turn and those that \
                 are not over. Then those that the filter of tests leaves out, if it is set: tests, \
                 and other sessions of an emulator.",
    unit: Unit::Count,
    charts: &[Chart::Number],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[
        count("unused", "sessions without a turn"),
        count("open", "sessions that are not over"),
        count("tests", "sessions that are tests and left out"),
        count("emulated", "other sessions of an emulator that are left out"),
    ],
    split: None,
    plan: |scope| {
        let mut queries = vec![endings(scope)];
        if scope.filters.exclude_tests {
            let filters = Filters { exclude_tests: false, ..scope.filters.clone() };
            let with_tests = Scope { filters, ..scope.clone() };
            let mut draft = with_tests.draft();
            let Rows { slice, from, kept } = draft.sessions();
            queries.push(draft.per_slice(
                "tests",
                &format!(
                    "SELECT {slice}, count(CASE WHEN {IS_TEST} THEN 1 END),\n\
                     count(CASE WHEN {IS_EMULATED} AND NOT {IS_TEST} THEN 1 END)\n\
                     FROM {from}\nWHERE {kept}\nGROUP BY 1"
                ),
            ));
        }
        queries
    },
    values: |_, view| {
        let [.., open, unused] = ending_counts(view);
        let left_out = [1, 2].map(|column| Measure::Count(view.integer("tests", column)));
        [Measure::Count(unused), Measure::Count(open)].into_iter().chain(left_out).collect()
    },
    tables: no_tables,
};
