//! Compares the metrics with numbers counted by hand.

use turnmill_analytics::metrics::{self, Measured, Options};
use turnmill_ingest::testkit::{SHAPES, Shape};
use turnmill_model::tables::PUBLIC;
use turnmill_sql::Dialect;

use crate::support::{Schemas, block_on, opened};

/// Four sessions of three senders, two of which belong to one user. Three sessions have a
/// hand-over, each of another kind.
const ROWS: &str = "
SET session_replication_role = replica;
INSERT INTO rasa_user VALUES ('p', 'person', now(), now());
INSERT INTO rasa_sender VALUES ('a', 'A', 'rest', now(), now(), 'p'), ('b', 'B', 'rest', now(), now(), 'p'), ('c', 'C', NULL, now(), now(), NULL);
INSERT INTO rasa_session VALUES ('s1', 'a', now(), 1, 9), ('s2', 'a', now(), 11, 19), ('s3', 'b', now(), 1, 9), ('s4', 'c', now(), 1, 1);
INSERT INTO rasa_turn VALUES ('t1', 'a', 's1', 1, 4), ('t2', 'a', 's1', 5, 9), ('t3', 'a', 's2', 11, 19), ('t4', 'b', 's3', 1, 9);
INSERT INTO rasa_event VALUES
  ('e1', 'a', 's1', '2022-06-28 23:59:59.999500', 'user', NULL, NULL, 1),
  ('e2', 'a', 's1', '2022-06-29 10:00:00.000000', 'user', NULL, NULL, 5),
  ('e3', 'a', 's2', '2022-06-29 11:00:00.000001', 'user', NULL, NULL, 11),
  ('e4', 'b', 's3', '2022-06-29 11:00:00.000001', 'user', NULL, NULL, 1),
  ('e5', 'a', 's2', '2022-06-29 11:00:09.000001', 'pause', NULL, NULL, 19),
  ('e6', 'c', 's4', '2022-06-29 11:00:09.000001', 'slot', NULL, NULL, 1);
INSERT INTO rasa_user_message (id, event_id, sender_id, session_id, intent, timestamp, sequence_number) VALUES
  ('e1', 'e1', 'a', 's1', 'greet', '2022-06-28 23:59:59.999500', 1),
  ('e2', 'e2', 'a', 's1', 'talk_to_human', '2022-06-29 10:00:00.000000', 5),
  ('e3', 'e3', 'a', 's2', 'greet', '2022-06-29 11:00:00.000001', 11),
  ('e4', 'e4', 'b', 's3', NULL, '2022-06-29 11:00:00.000001', 1);
INSERT INTO rasa_bot_message (id, event_id, sender_id, session_id, timestamp, template_name, sequence_number) VALUES
  ('b1', 'b1', 'a', 's1', '2022-06-29 00:00:00.000500', 'utter_ask_name', 2),
  ('b2', 'b2', 'a', 's1', '2022-06-29 00:00:07.000000', 'utter_ask_name', 3),
  ('b3', 'b3', 'a', 's1', '2022-06-29 10:00:03.000000', 'utter_bye', 6),
  ('b4', 'b4', 'b', 's3', '2022-06-29 11:00:02.999001', 'utter_ask_name', 4);
INSERT INTO rasa_llm_command (id, sender_id, session_id, command, inserted_at) VALUES
  ('c1', 'b', 's3', 'human handoff', now()), ('c2', 'b', 's3', 'human handoff', now());
";

fn summary(rows: &str) -> Option<Vec<(&'static str, Measured)>> {
    let mut schemas = Schemas::new()?;
    block_on(async {
        let mut store = opened(&mut schemas).await;
        schemas.execute("Schema 1", rows);
        let summary = store.summary(&Options::default()).await.unwrap();
        let counts = store.row_counts().await.unwrap();
        let events = counts.iter().find(|(table, _)| *table == "rasa_event").unwrap();
        assert_eq!((counts.len(), events.1), (PUBLIC.len(), if rows.is_empty() { 0 } else { 6 }));
        Some(summary.metrics.into_iter().map(|(metric, measured)| (metric.name, measured)).collect())
    })
}

#[test]
fn the_metrics_are_those_counted_by_hand() {
    let groups = |groups: &[(Option<&str>, i64)]| {
        Measured::Groups(groups.iter().map(|(name, count)| (name.map(Into::into), *count)).collect())
    };
    let Some(mut summary) = summary(ROWS) else { return };
    // PostgreSQL calculates seconds with decimals, this test with floats.
    if let Measured::Number(Some(seconds)) = &mut summary[6].1 {
        assert!((*seconds - (0.001 + 3.0 + 2.999) / 3.0).abs() < 1e-12, "{seconds}");
        *seconds = 2.0;
    }
    assert_eq!(
        summary,
        [
            ("number of conversations", Measured::Count(3)),
            ("number of users", Measured::Count(2)),
            ("number of sessions", Measured::Count(4)),
            ("channels used", groups(&[(Some("rest"), 3), (None, 1)])),
            ("user session count", Measured::Number(Some(4.0 / 3.0))),
            ("top intents", groups(&[(Some("greet"), 2), (Some("talk_to_human"), 1), (None, 1)])),
            ("average response time", Measured::Number(Some(2.0))),
            ("containment rate", Measured::Number(Some(25.0))),
            ("abandonment rate", Measured::Number(Some(50.0))),
            ("escalation rate", Measured::Number(Some(75.0))),
        ]
    );
}

#[test]
fn an_empty_store_has_no_rates() {
    let Some(summary) = summary("") else { return };
    for (name, measured) in summary {
        let nothing = match &measured {
            Measured::Count(count) => *count == 0,
            Measured::Number(number) => number.is_none(),
            Measured::Groups(groups) => groups.is_empty(),
        };
        assert!(nothing, "{name}: {measured:?}");
    }
}

/// Returns `sessions` sessions of one sender, with `events` events a second apart. Each user
/// message gets `answers` bot messages.
fn rows(events: u32, sessions: u32, answers: u32) -> String {
    let each = events / sessions;
    let kind = answers + 1;
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
         SELECT 'e' || i, {event}, {time}, 'utter_ask_name', i {number} WHERE i % {kind} <> 0;"
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

/// Returns the number of rows that each metric's plan passes, before and after ANALYZE.
fn work(schemas: &mut Schemas, rows: &str) -> Vec<(&'static str, f64)> {
    let schema = schemas.next().schema().to_owned();
    let mut store = turnmill_sink_postgres::PostgresStore::new(schemas.settings(&schema));
    block_on(async { crate::support::open(&mut store).await.unwrap() });
    schemas.execute(&schema, rows);
    let mut work = Vec::new();
    for statistics in ["SELECT 1", "ANALYZE"] {
        schemas.execute(&schema, statistics);
        for metric in metrics::all(Dialect::Postgres, &Options::default()) {
            let mut sql = metric.sql.clone();
            for (number, text) in metric.parameters.iter().enumerate().rev() {
                sql = sql.replace(&format!("${}", number + 1), &format!("'{text}'"));
            }
            let explain = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {sql}");
            work.push((metric.name, passed(&schemas.execute(&schema, &explain))));
        }
    }
    work
}

#[test]
fn no_metric_passes_more_than_twice_the_rows_for_twice_the_events() {
    let Some(mut schemas) = Schemas::new() else { return };
    for Shape { name: shape, sessions, answers } in SHAPES {
        let rows = |events| rows(events, sessions(events), answers(events));
        let [one, two, four] = [1000, 2000, 4000].map(|events| work(&mut schemas, &rows(events)));
        for ((one, two), four) in one.iter().zip(&two).zip(&four) {
            assert!(one.1 > 0.0 && four.1 <= 4.4 * one.1.max(10.0), "{shape}: {one:?}, {two:?}, {four:?}");
        }
    }
}
