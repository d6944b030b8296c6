//! The metrics, against numbers counted by hand.

use rusqlite::{Connection, StatementStatus};
use turnmill_analytics::metrics::{self, Measured, Options};
use turnmill_ingest::testkit::{SHAPES, Shape};
use turnmill_model::Settings;
use turnmill_sink::Store;
use turnmill_sink_sqlite::SqliteStore;
use turnmill_sql::Dialect;

use crate::support::Files;

/// Four sessions of three senders, two of which are the same person's; hand-overs in three
/// sessions, of each kind one.
const ROWS: &str = "
INSERT INTO rasa_user VALUES ('p', 'person', '', '');
INSERT INTO rasa_sender VALUES ('a', 'A', 'rest', '', '', 'p', NULL), ('b', 'B', 'rest', '', '', 'p', NULL), ('c', 'C', NULL, '', '', NULL, NULL);
INSERT INTO rasa_session VALUES ('s1', 'a', '', 1, 9), ('s2', 'a', '', 11, 19), ('s3', 'b', '', 1, 9), ('s4', 'c', '', 1, 1);
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
  ('c1', 'b', 's3', 'human handoff', ''), ('c2', 'b', 's3', 'human handoff', '');
";

fn summary(rows: &str, options: &Options) -> Vec<(&'static str, Measured)> {
    let mut files = Files::new();
    let path = files.path();
    let mut store = SqliteStore::file(&path);
    pollster::block_on(store.open(&Settings::default())).unwrap();
    let file = Connection::open(&path).unwrap();
    // The tables have only rows that the metrics read, without those that they refer to.
    file.pragma_update(None, "foreign_keys", false).unwrap();
    file.execute_batch(rows).unwrap();
    let summary = store.summary(options).unwrap();
    summary.metrics.into_iter().map(|(metric, measured)| (metric.name, measured)).collect()
}

#[test]
fn the_metrics_are_those_counted_by_hand() {
    let groups = |groups: &[(Option<&str>, i64)]| {
        Measured::Groups(groups.iter().map(|(name, count)| (name.map(Into::into), *count)).collect())
    };
    assert_eq!(
        summary(ROWS, &Options::default()),
        [
            ("number of conversations", Measured::Count(3)),
            ("number of users", Measured::Count(2)),
            ("number of sessions", Measured::Count(4)),
            ("channels used", groups(&[(Some("rest"), 3), (None, 1)])),
            ("user session count", Measured::Number(Some(4.0 / 3.0))),
            ("top intents", groups(&[(Some("greet"), 2), (Some("talk_to_human"), 1), (None, 1)])),
            ("average response time", Measured::Number(Some((0.001 + 3.0 + 2.999) / 3.0))),
            ("containment rate", Measured::Number(Some(25.0))),
            ("abandonment rate", Measured::Number(Some(50.0))),
            ("escalation rate", Measured::Number(Some(75.0))),
        ]
    );
}

#[test]
fn hand_over_is_what_the_options_say() {
    let options = Options {
        handover_intents: Vec::new(),
        handover_commands: Vec::new(),
        abandonment_template: "utter_bye".into(),
        intents: 1,
    };
    let summary = summary(ROWS, &options);
    assert_eq!(summary[5].1, Measured::Groups(vec![(Some("greet".into()), 2)]));
    assert_eq!(summary[7].1, Measured::Number(Some(75.0)), "a pause event alone");
    assert_eq!(summary[8].1, Measured::Number(Some(50.0)));
}

#[test]
fn an_empty_store_has_no_rates() {
    for (name, measured) in summary("", &Options::default()) {
        let nothing = match &measured {
            Measured::Count(count) => *count == 0,
            Measured::Number(number) => number.is_none(),
            Measured::Groups(groups) => groups.is_empty(),
        };
        assert!(nothing, "{name}: {measured:?}");
    }
}

/// Returns statements that insert `events` events, a second apart, in `sessions` sessions of one
/// sender. The assistant answers each message of the user with `answers` messages.
fn rows(events: u32, sessions: u32, answers: u32) -> String {
    let each = events / sessions;
    let kind = answers + 1;
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
         {number} < {events}) SELECT 'e' || i, {event}, {time}, 'utter_ask_name', i FROM n WHERE i % {kind};"
    )
}

/// Returns the number of virtual-machine steps that each metric takes for these rows, before and
/// after ANALYZE.
fn steps(rows: &str) -> Vec<(&'static str, i32)> {
    let mut files = Files::new();
    let path = files.path();
    pollster::block_on(SqliteStore::file(&path).open(&Settings::default())).unwrap();
    let file = Connection::open(&path).unwrap();
    file.pragma_update(None, "foreign_keys", false).unwrap();
    file.execute_batch(rows).unwrap();
    let mut steps = Vec::new();
    for statistics in ["", "ANALYZE"] {
        file.execute_batch(statistics).unwrap();
        for metric in metrics::all(Dialect::Sqlite, &Options::default()) {
            let mut query = file.prepare(&metric.sql).unwrap();
            let mut rows = query.query(rusqlite::params_from_iter(&metric.parameters)).unwrap();
            while rows.next().unwrap().is_some() {}
            drop(rows);
            steps.push((metric.name, query.get_status(StatementStatus::VmStep)));
        }
    }
    steps
}

#[test]
fn no_metric_takes_more_than_twice_the_steps_for_twice_the_events() {
    for Shape { name: shape, sessions, answers } in SHAPES {
        let rows = |events| rows(events, sessions(events), answers(events));
        let [one, two, four] = [600, 1200, 2400].map(|events| steps(&rows(events)));
        for ((one, two), four) in one.iter().zip(&two).zip(&four) {
            // Some of the work does not grow with the rows.
            let more = |less: i32, more: i32| f64::from(more) < 2.2 * f64::from(less);
            assert!(more(one.1, two.1) && more(two.1, four.1), "{shape}: {one:?}, {two:?}, {four:?}");
        }
    }
}
