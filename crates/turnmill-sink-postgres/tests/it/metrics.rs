//! The metrics of the summary of a run grow with the events, and not faster.

use turnmill_analytics::{METRICS, Plan, Question, StoreNames, Value};
use turnmill_ingest::testkit::{SHAPES, Shape};
use turnmill_sql::Dialect;

use crate::support::{Schemas, block_on};

/// Number of the metrics that a run ends with: the first ones.
const OF_A_RUN: usize = 10;

/// Returns `sessions` sessions of one sender, with `events` events a second apart. Each user
/// message gets `answers` bot messages.
fn rows(events: u32, sessions: u32, answers: u32) -> String {
    let each = events / sessions;
    let kind = answers + 1;
    let turns = each.div_ceil(kind);
    let time = "timestamp '2023-11-14' + i * interval '1 second'";
    let event = format!("'e' || i, 'a', 's' || (i / {each})");
    let number = format!("FROM generate_series(0, {events} - 1) i");
    format!(
        "SET session_replication_role = replica;
         INSERT INTO rasa_sender VALUES ('a', 'A', 'rest', now(), now(), NULL);
         INSERT INTO rasa_session SELECT 's' || i, 'a', now(), i * {each}, (i + 1) * {each} - 1 FROM generate_series(0, {sessions} - 1) i;
         INSERT INTO rasa_event SELECT {event}, {time}, CASE WHEN i % {kind} = 0 THEN 'user' ELSE 'bot' END, NULL, NULL, i {number};
         INSERT INTO rasa_turn SELECT 't' || i, 'a', 's' || (i / {each}), i, i + {answers} {number} WHERE i % {kind} = 0;
         INSERT INTO rasa_user_message (id, event_id, sender_id, session_id, intent, timestamp, sequence_number)
         SELECT 'e' || i, {event}, 'i' || (i % 7), {time}, i {number} WHERE i % {kind} = 0;
         INSERT INTO rasa_bot_message (id, event_id, sender_id, session_id, timestamp, template_name, sequence_number)
         SELECT 'e' || i, {event}, {time}, 'utter_ask_name', i {number} WHERE i % {kind} <> 0;
         INSERT INTO ext_session (session_id, sender_id, started_at, last_event_at, channel, source_system, user_messages,
         bot_messages, turns, answered_turns, last_template, is_handed_over, is_test, ended_by, intent_path)
         SELECT 's' || i, 'a', '2023-11-14 22:13:20', '2023-11-14 22:14:00', 'c' || (i % 5), 'rasa', {turns}, {each} - {turns},
         {turns}, {turns}, 'utter_ask_name', i % 9 = 0, FALSE, 'next_session', '[]' FROM generate_series(0, {sessions} - 1) i;
         INSERT INTO ext_turn (turn_id, session_id, sender_id, asked_at, intent, channel, response_us, bot_messages, default_fallback, weight)
         SELECT 't' || i, 's' || (i / {each}), 'a', {time}, 'i' || (i % 7), 'rest', i * 1000, {answers}, FALSE, 1 {number}
         WHERE i % {kind} = 0;"
    )
}

/// Returns the number of rows that a plan passed from one step to the next, or read and filtered
/// out.
fn passed(plan: &[String]) -> f64 {
    let (mut sum, mut loops) = (0.0, 1.0);
    let number = |text: &str, name: &str| -> Option<f64> {
        let rest = text.split_once(name)?.1;
        rest.split([' ', ')']).find(|word| !word.is_empty())?.parse().ok()
    };
    for line in plan {
        if let (Some(rows), Some(times)) = (number(line, "actual rows="), number(line, "loops=")) {
            loops = times;
            sum += rows * loops;
        } else if let Some(removed) = line.trim_start().strip_prefix("Rows Removed by ") {
            sum += number(removed, ": ").unwrap() * loops;
        }
    }
    sum
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Text(text) => format!("'{text}'"),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Time(time) => format!("timestamp '{time}'"),
    }
}

/// Returns the number of rows that the plan of each query passes, before and after ANALYZE.
fn work(schemas: &mut Schemas, rows: &str) -> Vec<(String, f64)> {
    let schema = schemas.next().schema().to_owned();
    let mut store = turnmill_sink_postgres::PostgresStore::new(schemas.settings(&schema));
    block_on(async { crate::support::open(&mut store).await.unwrap() });
    schemas.execute(&schema, rows);
    let names = StoreNames { intents: vec!["i1".into()], ..StoreNames::default() };
    let mut work = Vec::new();
    for statistics in ["SELECT 1", "ANALYZE"] {
        schemas.execute(&schema, statistics);
        for metric in &METRICS[..OF_A_RUN] {
            let plan = Plan::new(metric, &Question::default(), &names, Dialect::Postgres).unwrap();
            for query in &plan.queries {
                let mut sql = query.sql.clone();
                for (number, value) in query.values.iter().enumerate().rev() {
                    sql = sql.replace(&format!("${}", number + 1), &literal(value));
                }
                let explain = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {sql}");
                let name = format!("{} {}", metric.id, query.name);
                work.push((name, passed(&schemas.execute(&schema, &explain))));
            }
        }
    }
    work
}

#[test]
fn no_metric_of_a_run_passes_more_than_twice_the_rows_for_twice_the_events() {
    let Some(mut schemas) = Schemas::new() else { return };
    for Shape { name: shape, sessions, answers } in SHAPES {
        let rows = |events| rows(events, sessions(events), answers(events));
        let [one, two, four] = [1000, 2000, 4000].map(|events| work(&mut schemas, &rows(events)));
        for ((one, _), four) in one.iter().zip(&two).zip(&four) {
            // The plan of more rows may have a step more. The square would be sixteen times as
            // many.
            assert!(one.1 > 0.0 && four.1 <= 8.0 * one.1.max(10.0), "{shape}: {one:?}, {four:?}");
        }
    }
}
