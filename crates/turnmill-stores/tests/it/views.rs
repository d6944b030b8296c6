//! The views for people, on both kinds of store.

use std::collections::BTreeSet;

use turnmill_model::Settings;
use turnmill_model::tables::PUBLIC;
use turnmill_sink::Store;
use turnmill_sql::{Dialect, views};
use turnmill_stores::AnyStore;
use turnmill_testbed::postgres;

/// Nine sessions, one for each way to end, and what their views show besides.
const ROWS: &str = r#"
INSERT INTO rasa_sender (id, sender_key, first_seen, last_seen) VALUES
  ('a', 'Ada', '2024-05-01 08:00:00.000000', '2024-05-01 12:00:00.000001');
INSERT INTO rasa_session VALUES
  ('s1', 'a', '2024-05-01 08:00:00.000000', 1, 9);
INSERT INTO rasa_turn VALUES ('t1', 'a', 's1', 1, 4);
INSERT INTO rasa_event (id, sender_id, session_id, timestamp, event_type, sequence_number) VALUES
  ('e1', 'a', 's1', '2024-05-01 08:00:00.000000', 'user', 1),
  ('e2', 'a', 's1', '2024-05-01 08:00:01.500000', 'bot', 2);
INSERT INTO rasa_user_message (id, event_id, sender_id, session_id, intent, text, timestamp, sequence_number) VALUES
  ('e1', 'e1', 'a', 's1', 'greet', 'hi', '2024-05-01 08:00:00.000000', 1);
INSERT INTO rasa_bot_message (id, event_id, sender_id, session_id, template_name, text, timestamp, sequence_number) VALUES
  ('e2', 'e2', 'a', 's1', 'utter_greet', 'hello', '2024-05-01 08:00:01.500000', 2);
INSERT INTO ext_session (session_id, sender_id, started_at, last_event_at, channel, source_system, user_messages,
  bot_messages, turns, answered_turns, last_template, open_loop, is_handed_over, outcome, is_test, ended_by, intent_path)
VALUES
  ('s1', 'a', '2024-05-01 08:00:00.000000', '2024-05-01 09:00:01.250000', 'rest', 'rasa', 1, 1, 1, 1, NULL, NULL, FALSE, NULL, FALSE, 'next_session', '[]'),
  ('s2', 'a', '2024-05-01 08:00:00.000000', '2024-05-01 09:00:00.000000', NULL, 'rasa', 1, 1, 1, 1, 'utter_ask_name', NULL, TRUE, NULL, FALSE, 'handoff', '[]'),
  ('s3', 'a', '2024-05-01 08:00:00.000000', '2024-05-01 09:00:00.000000', NULL, 'rasa', 1, 1, 1, 1, NULL, NULL, FALSE, NULL, FALSE, 'next_session', '[]'),
  ('s4', 'a', '2024-05-01 08:00:00.000000', '2024-05-01 09:00:00.000000', NULL, 'rasa', 1, 1, 1, 1, 'utter_ask_name', NULL, FALSE, NULL, FALSE, 'next_session', '[]'),
  ('s5', 'a', '2024-05-01 08:00:00.000000', '2024-05-01 11:00:00.000001', NULL, 'rasa', 1, 1, 1, 1, NULL, 'order_form', FALSE, NULL, FALSE, 'open', '[]'),
  ('s6', 'a', '2024-05-01 08:00:00.000000', '2024-05-01 11:00:00.000002', NULL, 'rasa', 1, 1, 1, 1, NULL, 'order_form', FALSE, NULL, FALSE, 'open', '[]'),
  ('s7', 'a', '2024-05-01 08:00:00.000000', '2024-05-01 12:00:00.000001', NULL, 'rasa', 0, 0, 0, 0, NULL, NULL, FALSE, NULL, FALSE, 'open', '[]'),
  ('s8', 'a', '2024-05-01 08:00:00.000000', '2024-05-01 09:00:00.000000', NULL, 'rasa', 1, 1, 1, 1, 'utter_ask_name', NULL, FALSE, NULL, FALSE, 'explicit', '[]'),
  ('s9', 'a', '2024-05-01 08:00:00.000000', '2024-05-01 09:00:00.000000', NULL, 'rasa', 1, 1, 1, 1, NULL, NULL, FALSE, NULL, FALSE, 'next_session', '[]');
INSERT INTO ext_turn (turn_id, session_id, sender_id, asked_at, intent, channel, response_us, bot_messages, first_template, default_fallback, weight) VALUES
  ('t1', 's1', 'a', '2024-05-01 08:00:00.000000', 'greet', 'rest', 1500000, 1, 'utter_greet', FALSE, 1),
  ('t3', 's3', 'a', '2024-05-01 08:00:00.000000', 'Talk-to_human', 'rest', NULL, 0, NULL, FALSE, 1),
  ('t5', 's5', 'a', '2024-05-01 08:00:00.000000', NULL, 'rest', 10, 1, 'utter_please_rephrase', FALSE, 1),
  ('t6', 's6', 'a', '2024-05-01 08:00:00.000000', NULL, 'rest', 10, 1, 'ask_rephrase', FALSE, 1),
  ('t8', 's8', 'a', '2024-05-01 08:00:00.000000', NULL, 'rest', 10, 1, 'utter_default', FALSE, 1),
  ('t9', 's9', 'a', '2024-05-01 08:00:00.000000', NULL, 'rest', NULL, 0, NULL, TRUE, 1);
INSERT INTO rasa_flow_status (id, sender_id, session_id, flow_identifier, flow_status, inserted_at) VALUES
  ('f', 'a', 's9', 'pattern_human_handoff', 'started', '2024-05-01 08:00:00.000000');
INSERT INTO rasa_slot (id, event_id, sender_id, session_id, slot_path, name, value, timestamp, sequence_number) VALUES
  ('v1', 'v1', 'a', 's1', 'n', 'n', '"say \"hi\"\n\u0001 \\u0000 é"', '2024-05-01 08:00:00.000000', 1),
  ('v2', 'v2', 'a', 's1', 'n', 'n', 'null', '2024-05-01 08:00:00.000000', 1),
  ('v3', 'v3', 'a', 's1', 'n', 'n', '"null"', '2024-05-01 08:00:00.000000', 1),
  ('v4', 'v4', 'a', 's1', 'n', 'n', '["a", 1]', '2024-05-01 08:00:00.000000', 1),
  ('v5', 'v5', 'a', 's1', 'n', 'n', '"cut off', '2024-05-01 08:00:00.000000', 1),
  ('v6', 'v6', 'a', 's1', 'n', 'n', '"quoted" and more', '2024-05-01 08:00:00.000000', 1),
  ('v7', 'v7', 'a', 's1', 'n', 'n', NULL, '2024-05-01 08:00:00.000000', 1),
  ('v8', 'v8', 'a', 's1', 'n', 'n', '12345678901234567890123', '2024-05-01 08:00:00.000000', 1);
INSERT INTO rasa_patterns (id, name, config, is_active) VALUES ('p', 'greeted', '{}', TRUE);
INSERT INTO rasa_markers (id, pattern_id, sender_id, session_id, event_id, num_preceding_user_turns) VALUES
  ('m', 'p', 'a', 's1', 'e2', 1);
"#;

/// Questions with one line of text as the answer of each row, the same on both kinds of store.
const ANSWERS: [(&str, &str); 7] = [
    (
        "SELECT session_id || ' ' || ending FROM turnmill_session ORDER BY 1",
        "s1 finished, s2 escalated, s3 escalated, s4 abandoned, s5 abandoned, s6 open, s7 unused, s8 finished, \
         s9 escalated",
    ),
    (
        "SELECT sender_key || ' ' || channel || ' ' || CAST(duration_seconds * 1000 AS bigint) \
         FROM turnmill_session WHERE channel IS NOT NULL",
        "Ada rest 3601250",
    ),
    (
        "SELECT turn_id || ' ' || coalesce(CAST(response_seconds * 100000 AS bigint), -1) || \
         CASE WHEN is_missed THEN ' missed' ELSE '' END FROM turnmill_turn ORDER BY 1",
        "t1 150000, t3 -1, t5 1 missed, t6 1, t8 1 missed, t9 -1 missed",
    ),
    (
        "SELECT 'user ' || turn_id || ' ' || channel || ' ' || text FROM turnmill_user_message \
         UNION ALL SELECT 'bot ' || template || ' ' || channel || ' ' || text FROM turnmill_bot_message",
        "user t1 rest hi, bot utter_greet rest hello",
    ),
    (
        "SELECT event_id || ' ' || coalesce(value, 'NULL') FROM turnmill_slot ORDER BY 1",
        "v1 say \"hi\"\n\u{1} \\u0000 é, v2 NULL, v3 null, v4 [\"a\", 1], v5 \"cut off, v6 \"quoted\" and more, \
         v7 NULL, v8 12345678901234567890123",
    ),
    ("SELECT name || ' ' || turn_number || ' ' || session_id FROM turnmill_marker", "greeted 1 s1"),
    (
        "SELECT 'at ' || b.text FROM turnmill_marker k JOIN turnmill_bot_message b ON b.event_id = k.event_id \
         WHERE b.sent_at = k.met_at",
        "at hello",
    ),
];

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn open(url: &str) {
    block_on(async {
        let mut store = AnyStore::from_url(url).unwrap();
        store.open(&Settings::default()).await.unwrap();
    });
}

#[test]
fn sqlite_shows_sessions_turns_messages_slots_and_markers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rasa.sqlite");
    open(&format!("sqlite:{}", file.display()));
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute_batch(&format!("PRAGMA foreign_keys = OFF; {ROWS}")).unwrap();
    for (question, answer) in ANSWERS {
        let mut statement = connection.prepare(question).unwrap();
        let rows: Vec<String> =
            statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(rows.join(", "), answer, "{question}");
    }
    // Tools that open the file see what each column is.
    let sql: String = connection
        .query_row("SELECT sql FROM sqlite_master WHERE name = 'turnmill_turn'", [], |row| row.get(0))
        .unwrap();
    assert!(sql.contains("-- Seconds from the user message"), "{sql}");
}

#[test]
fn postgres_shows_sessions_turns_messages_slots_and_markers() {
    let Some(url) = postgres::database() else { return };
    open(&url);
    let server = postgres::shared().unwrap();
    server.execute(&url, &format!("SET session_replication_role = replica; {ROWS}"));
    for (question, answer) in ANSWERS {
        let rows = server.execute(&url, &format!("SELECT string_agg(q.t, ', ') FROM ({question}) AS q(t)"));
        assert_eq!(rows.trim_end(), answer, "{question}");
    }
    let described = "SELECT string_agg(c.relname || '.' || coalesce(a.attname, '*'), ' ') FROM pg_class c \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum >= 0 \
         WHERE c.relkind IN ('r', 'v') AND c.relname ~ '^(rasa|ext|turnmill)_' AND (\
         obj_description(c.oid, 'pg_class') IS NULL OR NOT a.attisdropped \
         AND a.attnum > 0 AND col_description(c.oid, a.attnum) IS NULL)";
    assert_eq!(server.execute(&url, described).trim(), "", "every table and column has a comment");
    let zone = "SELECT count(*) FROM information_schema.columns WHERE table_name LIKE 'turnmill%' \
         AND column_name LIKE '%\\_at' AND data_type <> 'timestamp with time zone'";
    assert_eq!(server.execute(&url, zone).trim(), "0");
}

/// Names that the script of grants mentions, and those of all tables and views.
#[test]
fn a_reading_role_sees_tables_and_views_and_no_history() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/postgresql/grants.sql");
    let text = std::fs::read_to_string(script).unwrap();
    let (_, list) = text.split_once("GRANT SELECT ON").unwrap();
    let (list, _) = list.split_once("TO :").unwrap();
    let granted: BTreeSet<&str> = list.split(',').map(str::trim).collect();
    let tables = PUBLIC.iter().flat_map(|table| [Some(table.name), table.view]).flatten();
    let all: BTreeSet<&str> = tables.chain(views::ALL.iter().map(|view| view.name)).collect();
    assert_eq!(granted, all);
    assert!(views::ALL.iter().all(|view| !view.create(Dialect::Postgres).contains("_turnmill_")));

    let Some(url) = postgres::database() else { return };
    open(&url);
    let server = postgres::shared().unwrap();
    let role = format!("reader_{}", std::process::id());
    server.execute(&url, &format!("CREATE ROLE {role}"));
    server.run_file(&url, script, &[("reader", &role)]);
    for name in &all {
        server.execute(&url, &format!("SET ROLE {role}; SELECT count(*) FROM {name}"));
    }
    let sees = format!(
        "SELECT string_agg(relname, ' ') FROM pg_class WHERE relnamespace = 'public'::regnamespace \
         AND relkind IN ('r', 'v') AND relname LIKE '\\_turnmill%' AND has_table_privilege('{role}', oid, 'SELECT')"
    );
    assert_eq!(server.execute(&url, &sees).trim(), "");
    server.execute(&url, &format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
