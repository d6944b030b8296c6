//! Every example runs, and does what its page says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure of a test is a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use turnmill_embed::{Inspect, Loader, sqlite::SqliteStore};

/// Runs an example and returns what it prints.
fn run(program: &str, arguments: &[&Path]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The first lines of a capture that a real Rasa server wrote.
fn events(most: usize) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/rasa-oss-3.6/inmemory/file-broker.jsonl.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let lines: Vec<String> = text.lines().take(most).map(str::to_owned).collect();
    assert_eq!(lines.len(), most);
    lines
}

/// How many rows the store has of each table.
fn rows_of_sqlite(path: &Path) -> BTreeMap<String, u64> {
    let mut loader = Loader::new(SqliteStore::file(path));
    loader.load_records("test", Vec::<String>::new()).unwrap();
    let digests = loader.with_store(async |store| store.digests().await).unwrap().unwrap();
    digests
        .tables
        .iter()
        .map(|(name, table)| ((*name).to_owned(), table.rows))
        .filter(|(_, rows)| *rows > 0)
        .collect()
}

#[test]
fn file_to_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let (log, store) = (folder.path().join("rasa_event.log"), folder.path().join("rasa.sqlite"));
    std::fs::write(&log, events(200).join("\n")).unwrap();
    let program = env!("CARGO_BIN_EXE_file_to_sqlite");
    assert_eq!(run(program, &[&log, &store]), "200 new events, 0 duplicates\n");
    assert_eq!(run(program, &[&log, &store]), "0 new events, 0 duplicates\n");
    assert_eq!(rows_of_sqlite(&store)["rasa_event"], 200);
}

/// Lines of an example without blank ones and comments.
fn lines_of_code(text: &str) -> usize {
    let code =
        |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//") && !line.starts_with("#!");
    text.lines().filter(code).count()
}

#[test]
fn examples_are_short() {
    assert!(lines_of_code(include_str!("../../file_to_sqlite.rs")) <= 15);
    assert!(lines_of_code(include_str!("../../custom_store.rs")) < 170);
    assert!(include_str!("../../own_decoder.rs").lines().count() < 100);
}

#[test]
fn engine_only() {
    let printed = run(env!("CARGO_BIN_EXE_engine_only"), &[]);
    let (_, late) = printed.split_once("2022-06-28 02:15:49.100000 action\n").unwrap();
    let (late, after) = late.split_once("2022-06-28 02:16:00.000000 user\n").unwrap();
    let expected = [
        "  late: 2 of 2 stored events come after it",
        "  rasa_sender: 0 new, 1 changed, 0 deleted",
        // Its id is that of the event with which it began.
        "  rasa_session: 1 new, 0 changed, 1 deleted",
        "  rasa_turn: 0 new, 1 changed, 0 deleted",
        "  rasa_event: 1 new, 2 changed, 0 deleted",
        "  rasa_bot_message: 0 new, 1 changed, 0 deleted",
        "  rasa_user_message: 0 new, 1 changed, 0 deleted",
        "  rasa_action: 1 new, 0 changed, 0 deleted",
        "  ext_session: 1 new, 0 changed, 1 deleted",
        "  ext_turn: 0 new, 1 changed, 0 deleted",
    ];
    assert_eq!(late.lines().collect::<Vec<_>>(), expected);
    assert!(
        after.starts_with("  rasa_sender: 0 new, 1 changed, 0 deleted\n  rasa_session: 0 new, 1 changed"),
        "{after}"
    );
    assert_eq!(printed.matches("  a duplicate\n").count(), 1);
}

#[test]
fn own_source() {
    let printed = run(env!("CARGO_BIN_EXE_own_source"), &[]);
    let expected = [
        "open after 0",
        "  10 records, 10 new events",
        "open after 10",
        "  0 records, 0 new events",
        "open after 10",
        "  6 records, 6 new events",
        "8 turns",
    ];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn own_decoder() {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |name: &str| folder.path().join(name);
    let (chat, rasa, store) = (in_folder("chat.log"), in_folder("rasa.jsonl"), in_folder("both.sqlite"));
    // The room has the name of one of Rasa's senders.
    let events = events(200);
    let event: Value = serde_json::from_str(&events[0]).unwrap();
    let room = event["sender_id"].as_str().unwrap();
    let line = |time, number, author, text| format!("{time}\t{room}\t{number}\t{author}\t{text}\n");
    let lines = [
        "# opened\n".to_owned(),
        line(1_700_000_000, 2, "bot", "hello"),
        line(1_700_000_000, 1, "ann", "hi"),
        line(1_700_009_000, 3, "ann", "still there?"),
        "no fields\n".to_owned(),
    ];
    std::fs::write(&chat, lines.concat()).unwrap();
    std::fs::write(&rasa, events.join("\n")).unwrap();
    let program = env!("CARGO_BIN_EXE_own_decoder");
    let arguments: [&Path; 3] = [&chat, &rasa, &store];
    assert_eq!(run(program, &arguments), "chat: 3 new lines, 1 skipped\nrasa: 200 new events\n");
    assert_eq!(run(program, &arguments), "chat: 0 new lines, 0 skipped\nrasa: 0 new events\n");

    let connection = rusqlite::Connection::open(&store).unwrap();
    let texts = |sql: &str| -> Vec<String> {
        let mut query = connection.prepare(sql).unwrap();
        query.query_map([room], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let senders = texts("SELECT id FROM rasa_sender WHERE sender_key = ?1");
    assert_eq!(senders.len(), 2, "one of each format");
    let of_room = "FROM rasa_event e JOIN rasa_sender s ON s.id = e.sender_id WHERE s.sender_key = ?1 \
                   AND e.timestamp BETWEEN '2023-11-14' AND '2023-11-15 23'";
    let order = texts(&format!("SELECT e.event_type {of_room} ORDER BY e.sequence_number"));
    assert_eq!(order, ["user", "bot", "user"], "the numbers order lines of one second");
    assert_eq!(texts(&format!("SELECT DISTINCT e.session_id {of_room}")).len(), 2, "cut by silence");
    assert_eq!(texts("SELECT reason FROM _turnmill_dead_letter WHERE ?1 <> ''"), ["malformed"]);
}

#[test]
fn custom_store() {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |name: &str| folder.path().join(name);
    let (log, json, sqlite) = (in_folder("rasa_event.log"), in_folder("rasa.json"), in_folder("rasa.sqlite"));
    // The second half first, then all of it: the first half is late, the second known.
    let events = events(400);
    std::fs::write(&log, events[200..].join("\n")).unwrap();
    let program = env!("CARGO_BIN_EXE_custom_store");
    assert_eq!(run(program, &[&log, &json]), "200 new events, 0 duplicates, 0 late\n");
    std::fs::write(&log, events.join("\n") + "\nnot JSON\n").unwrap();
    let printed = run(program, &[&log, &json]);
    assert!(printed.starts_with("200 new events, 200 duplicates, "), "{printed}");
    assert!(!printed.ends_with(" 0 late\n"), "{printed}");

    run(env!("CARGO_BIN_EXE_file_to_sqlite"), &[&log, &sqlite]);
    let stored: BTreeMap<String, Value> = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let mut rows: BTreeMap<String, u64> = BTreeMap::new();
    for key in stored.keys().filter_map(|key| key.strip_prefix("row/")) {
        *rows.entry(key.split('/').next().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(rows, rows_of_sqlite(&sqlite));
    assert_eq!(stored["records/file"], 601);
    assert_eq!(stored["letter/0"], serde_json::json!(["not_json", b"not JSON"]));
    // The rows of sessions, value by value.
    let connection = rusqlite::Connection::open(&sqlite).unwrap();
    let mut query = connection
        .prepare("SELECT id, start_sequence_number, end_sequence_number FROM rasa_session")
        .unwrap();
    let of_sqlite = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let of_sqlite: BTreeSet<(String, i64, i64)> = of_sqlite.map(Result::unwrap).collect();
    let of_json = stored.iter().filter(|(key, _)| key.starts_with("row/rasa_session/")).map(|(_, row)| {
        (row[0].as_str().unwrap().to_owned(), row[3].as_i64().unwrap(), row[4].as_i64().unwrap())
    });
    assert_eq!(of_json.collect::<BTreeSet<_>>(), of_sqlite);
}
