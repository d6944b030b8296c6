//! The metrics of the summary of a run grow with the events, and not faster.

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, StatementStatus};
use turnmill_analytics::{METRICS, Plan, Question, StoreNames, Value};
use turnmill_ingest::testkit::{SHAPES, Shape};
use turnmill_model::Settings;
use turnmill_sink::Store;
use turnmill_sink_sqlite::SqliteStore;
use turnmill_sql::Dialect;

use crate::support::Files;

/// Number of the metrics that a run ends with: the first ones.
const OF_A_RUN: usize = 10;

/// Returns statements that insert `events` events, a second apart, in `sessions` sessions of one
/// sender. The assistant answers each message of the user with `answers` messages.
fn rows(events: u32, sessions: u32, answers: u32) -> String {
    let each = events / sessions;
    let kind = answers + 1;
    let turns = each.div_ceil(kind);
    let number = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1";
    let time = "strftime('%Y-%m-%d %H:%M:%S', 1700000000 + i, 'unixepoch') || '.000000'";
    let event = format!("'e' || i, 'a', 's' || (i / {each})");
    format!(
        "INSERT INTO rasa_sender VALUES ('a', 'A', 'rest', '', '', NULL, NULL);
         INSERT INTO rasa_session {number} < {sessions}) SELECT 's' || i, 'a', '', i * {each}, (i + 1) * {each} - 1 FROM n;
         INSERT INTO rasa_event {number} < {events}) SELECT {event}, {time}, iif(i % {kind}, 'bot', 'user'), NULL, NULL, i FROM n;
         INSERT INTO rasa_turn {number} < {events}) SELECT 't' || i, 'a', 's' || (i / {each}), i, i + {answers} FROM n WHERE i % {kind} = 0;
         INSERT INTO rasa_user_message (id, event_id, sender_id, session_id, intent, timestamp, sequence_number)
         {number} < {events}) SELECT 'e' || i, {event}, 'i' || (i % 7), {time}, i FROM n WHERE i % {kind} = 0;
         INSERT INTO rasa_bot_message (id, event_id, sender_id, session_id, timestamp, template_name, sequence_number)
         {number} < {events}) SELECT 'e' || i, {event}, {time}, 'utter_ask_name', i FROM n WHERE i % {kind};
         INSERT INTO ext_session (session_id, sender_id, started_at, last_event_at, channel, source_system, user_messages,
         bot_messages, turns, answered_turns, last_template, is_handed_over, is_test, ended_by, intent_path)
         {number} < {sessions}) SELECT 's' || i, 'a', '2023-11-14 22:13:20.000000', '2023-11-14 22:14:00.000000', 'c' || (i % 5),
         'rasa', {turns}, {each} - {turns}, {turns}, {turns}, 'utter_ask_name', i % 9 = 0, 0, 'next_session', '[]' FROM n;
         INSERT INTO ext_turn (turn_id, session_id, sender_id, asked_at, intent, channel, response_us, bot_messages, default_fallback, weight)
         {number} < {events}) SELECT 't' || i, 's' || (i / {each}), 'a', {time}, 'i' || (i % 7), 'rest', i * 1000, {answers}, 0, 1
         FROM n WHERE i % {kind} = 0;"
    )
}

fn bound(value: &Value) -> SqlValue {
    match value {
        Value::Null => SqlValue::Null,
        Value::Text(text) => SqlValue::Text(text.clone()),
        Value::Integer(number) => SqlValue::Integer(*number),
        Value::Float(number) => SqlValue::Real(*number),
        Value::Boolean(truth) => SqlValue::Integer((*truth).into()),
        Value::Time(time) => SqlValue::Text(time.to_string()),
    }
}

/// Returns the number of virtual-machine steps that each query takes for these rows, before and
/// after ANALYZE.
fn steps(rows: &str) -> Vec<(String, i32)> {
    let mut files = Files::new();
    let path = files.path();
    pollster::block_on(SqliteStore::file(&path).open(&Settings::default())).unwrap();
    let file = Connection::open(&path).unwrap();
    file.pragma_update(None, "foreign_keys", false).unwrap();
    file.execute_batch(rows).unwrap();
    let names = StoreNames { intents: vec!["i1".into()], ..StoreNames::default() };
    let mut steps = Vec::new();
    for statistics in ["", "ANALYZE"] {
        file.execute_batch(statistics).unwrap();
        for metric in &METRICS[..OF_A_RUN] {
            let plan = Plan::new(metric, &Question::default(), &names, Dialect::Sqlite).unwrap();
            for own in &plan.queries {
                let mut query = file.prepare(&own.sql).unwrap();
                let mut rows = query.query(rusqlite::params_from_iter(own.values.iter().map(bound))).unwrap();
                while rows.next().unwrap().is_some() {}
                drop(rows);
                let name = format!("{} {}", metric.id, own.name);
                steps.push((name, query.get_status(StatementStatus::VmStep)));
            }
        }
    }
    steps
}

#[test]
fn no_metric_of_a_run_takes_more_than_twice_the_steps_for_twice_the_events() {
    for Shape { name: shape, sessions, answers } in SHAPES {
        let rows = |events| rows(events, sessions(events), answers(events));
        let [one, two, four] = [600, 1200, 2400].map(|events| steps(&rows(events)));
        for ((one, two), four) in one.iter().zip(&two).zip(&four) {
            // Some of the work does not grow with the rows, and a plan may gain a step. The square
            // would be four times the work.
            let more = |less: i32, more: i32| f64::from(more) < 2.8 * f64::from(less.max(500));
            assert!(more(one.1, two.1) && more(two.1, four.1), "{shape}: {one:?}, {two:?}, {four:?}");
        }
    }
}
