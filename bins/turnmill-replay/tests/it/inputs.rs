//! Tests of inputs in every shape: they give the same rows, or are refused with a message before
//! anything is written.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{expected, json as run_json, lines, replay, replayed, run, url, verified};

/// Runs the command and returns its exit code and its output.
fn said(arguments: &[&str], folder: &Path) -> (i32, String) {
    let mut command = replay(arguments);
    let output = command.current_dir(folder).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
}

/// Replays `input`, and checks that it is refused with these words and that no store is created.
fn refused(input: &str, folder: &Path, words: &[&str]) -> String {
    let (code, text) = said(&[input, "--to", "sqlite:store.sqlite"], folder);
    assert!(code == 1 || code == 2, "{input}: exit code {code}: {text}");
    for word in words {
        assert!(text.contains(word), "{input}: `{word}` is not in: {text}");
    }
    assert!(!folder.join("store.sqlite").exists(), "{input}: a store was made");
    text
}

const EVENT: &str = r#"{"sender_id": "u1", "event": "user", "timestamp": 1700000000.5, "text": "hi", "parse_data": {"intent": {"name": "greet", "confidence": 0.9}}}"#;

/// Returns the events of a capture as rows of a tracker store.
fn rows() -> Vec<Value> {
    let row = |(index, line): (usize, &String)| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        row["id"] = (index + 1).into();
        row
    };
    lines("parcel/tracker-store.jsonl.gz").iter().take(2000).enumerate().map(row).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn every_shape_of_one_store_comes_to_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let columns = ["id", "sender_id", "type_name", "timestamp", "intent_name", "action_name", "data"];
    let table = |between: &str, null: &str, field: &dyn Fn(&Value) -> String| -> String {
        let field = |value: &Value| if value.is_null() { null.to_owned() } else { field(value) };
        let row = |row: &Value| columns.map(|name| field(&row[name])).join(between) + "\n";
        rows.iter().map(row).collect()
    };
    let copied = |value: &Value| text(value).replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t");
    let csv = table(",", "", &|value| format!("\"{}\"", text(value).replace('"', "\"\"")));
    let plain: String = rows.iter().map(|row| format!("{row}\n")).collect();
    // Parsed and written again, the keys of a slot's value would change their order.
    let object = |row: &Value| {
        let (id, sender, data) = (&row["id"], &row["sender_id"], text(&row["data"]));
        format!(
            r#"{{"id": {id}, "sender_id": {sender}, "type_name": "x", "timestamp": {}, "data": {data}}}"#,
            row["timestamp"]
        )
    };
    let objects = format!("[{}]", rows.iter().map(object).collect::<Vec<_>>().join(","));
    let utf16: Vec<u8> = format!("\u{feff}{plain}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let shapes: Vec<(&str, Vec<u8>)> = vec![
        ("rows.jsonl", plain.clone().into()),
        ("rows.json", serde_json::to_string_pretty(&rows).unwrap().into()),
        ("objects.json", objects.into()),
        ("wrapped.json", json!({"events": rows}).to_string().into()),
        ("copied.jsonl", plain.replace('\\', "\\\\").into()),
        ("powershell.log", utf16),
        ("events.csv", format!("\u{feff}{}\n{csv}", columns.join(",")).into()),
        ("events.tsv", format!("{}\n{}", columns.join("\t"), table("\t", "NULL", &copied)).into()),
        (
            "dump.sql",
            format!(
                "--\n-- PostgreSQL database dump\n--\n\nCOPY public.events ({}) FROM stdin;\n{}\\.\n",
                columns.join(", "),
                table("\t", "\\N", &copied)
            )
            .into(),
        ),
    ];
    let mut digest = None;
    for (name, content) in shapes {
        let (input, store) = (folder.path().join(name), folder.path().join(format!("{name}.sqlite")));
        std::fs::write(&input, content).unwrap();
        let said = replayed(&[&input], &store, &["--batch", "300"]);
        assert_eq!((&said["events"], &said["dead_letters"]), (&json!(rows.len()), &json!(0)), "{name}");
        assert_eq!(replayed(&[&input], &store, &[])["records"], 0, "{name} is read once");
        let found = verified(&store)["digest"].clone();
        assert_eq!(*digest.get_or_insert(found.clone()), found, "{name}");
    }
}

#[test]
fn a_grown_table_is_read_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let row = |id: usize, second: usize| {
        let body = format!(r#"{{""event"": ""restart"", ""timestamp"": 17000000{second:02}}}"#);
        format!("{id},u1,\"{body}\"\n")
    };
    let head = "id,sender_id,data\n".to_owned();
    let input = folder.path().join("events.csv");
    std::fs::write(&input, format!("{head}{}{}", row(1, 1), row(2, 2))).unwrap();
    assert_eq!(replayed(&[&input], &store, &[])["events"], 2);
    std::fs::write(&input, format!("{head}{}{}{}", row(1, 1), row(2, 2), row(3, 3))).unwrap();
    let said = replayed(&[&input], &store, &[]);
    assert_eq!((&said["records"], &said["events"]), (&json!(1), &json!(1)));
}

#[test]
fn inputs_without_events_are_refused_before_a_store_is_made() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content, words) in [
        ("empty.json", "", &["empty"][..]),
        ("blank.json", "\n \n", &["empty"]),
        ("list.json", "[]", &["empty"]),
        ("null.json", "null\n", &["no records"]),
        ("archive.zip", "PK\u{3}\u{4}\u{14}\0", &["zip archive", "unpack"]),
        ("dump.pgdmp", "PGDMP\u{1}\u{e}", &["pg_dump", "pg_restore"]),
        ("shell.txt", "{ \"_id\": ObjectId(\"64\"), \"n\": NumberInt(1) }", &["mongo shell", "mongoexport"]),
        ("repr.txt", "{'sender_id': 'u', 'events': []}", &["Python", "json.dumps"]),
        ("people.csv", "name,age\nAnn,5\n", &["CSV", "sender_id"]),
        ("dump.sql", "-- MySQL dump\nINSERT INTO `events` VALUES (1);\n", &["SQL dump", "mysql --batch"]),
        ("lex.jsonl", "{\"messageVersion\": \"2.0\", \"inputTranscript\": \"hi\"}\n", &["Amazon Lex"]),
        ("bot.json", "[{\"name\": \"BotMessageSend\", \"customDimensions\": {}}]", &["Bot Framework"]),
        (
            "nginx.log",
            "127.0.0.1 - - [20/Mar/2023:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n",
            &["web server"],
        ),
        ("page.json", "<!DOCTYPE html><html></html>", &["HTML page"]),
        (
            "events.json",
            "[{\"event\": \"restart\", \"timestamp\": 1700000000.5}]",
            &["name no sender", "tracker"],
        ),
        ("other.json", "{\"apples\": 5}", &["with the keys apples", "--no-dead-letter-limits"]),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
        refused(name, folder.path(), words);
    }
    refused("missing.json", folder.path(), &["missing.json"]);
    // One good input does not make up for another one.
    std::fs::write(folder.path().join("good.json"), EVENT).unwrap();
    let (code, text) = said(&["good.json", "other.json", "--to", "store.sqlite"], folder.path());
    assert_eq!((code, folder.path().join("store.sqlite").exists()), (1, false), "{text}");
}

#[test]
fn standard_input_is_looked_at_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    for (content, code) in [("hello\n".to_owned(), 1), (format!("{EVENT}\n"), 0)] {
        let mut command = replay(&["-", "--to", &url(&store), "--json"]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), store.exists()), (Some(code), code == 0));
        if code == 0 {
            assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["events"], 1);
        }
    }
}

#[test]
fn a_run_of_dead_letters_ends_the_command_unless_it_is_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let (input, store) = (folder.path().join("events.jsonl"), folder.path().join("store.sqlite"));
    std::fs::write(&input, format!("{EVENT}\n{}", "x\n".repeat(1500))).unwrap();
    let text = refused("events.jsonl", folder.path(), &["1500 records in a row", "--no-dead-letter-limits"]);
    assert!(!text.contains("records from"), "{text}");
    // Earlier commits stay.
    let small = ["events.jsonl", "--to", "store.sqlite", "--batch", "400"];
    assert_eq!(said(&small, folder.path()).0, 1);
    assert_eq!(verified(&store)["ledger"][0]["records"], 800);
    let all = replayed(&[&input], &store, &["--no-dead-letter-limits"]);
    assert_eq!(all["dead_letters"], 701);
    // A few among good ones are no reason to stop.
    let mixed = folder.path().join("mixed.jsonl");
    std::fs::write(&mixed, format!("{}{EVENT}\n{}", "x\n".repeat(99), "y\n".repeat(900))).unwrap();
    let said = replayed(&[&mixed], &folder.path().join("mixed.sqlite"), &[]);
    assert_eq!((&said["events"], &said["dead_letters"]), (&json!(1), &json!(999)));
}

#[test]
fn the_summary_begins_with_what_went_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.jsonl");
    std::fs::write(&good, format!("{EVENT}\n")).unwrap();
    let (code, text) = said(&["good.jsonl", "--to", "good.sqlite"], folder.path());
    assert_eq!(code, 0);
    assert!(text.starts_with("1 record from 1 input into sqlite:good.sqlite\n"), "{text}");
    for absent in ["rasa_markers", "rasa_user ", "abandonment rate                    0.0 %", "late"] {
        assert!(!text.contains(absent), "`{absent}` is in: {text}");
    }
    assert!(text.contains("abandonment rate             not configured"), "{text}");

    let tracker = r#"{"sender_id": "u2", "slots": {}, "latest_message": {}, "events": null}"#;
    std::fs::write(&good, format!("{EVENT}\nx\n")).unwrap();
    std::fs::write(folder.path().join("tracker.json"), tracker).unwrap();
    let (code, text) = said(&["good.jsonl", "tracker.json", "--to", "more.sqlite"], folder.path());
    assert_eq!(code, 0);
    let head: Vec<&str> = text.lines().take(3).collect();
    assert!(head[0].starts_with("1 tracker has no events"), "{text}");
    assert_eq!(head[1], "1 record became a dead letter:");
    assert!(head[2].contains("not_json"), "{text}");

    let only = run_json(replay(&[good.to_str().unwrap(), "--dry-run", "--json"]), 0);
    assert_eq!((&only["dead_letters"], &only["trackers_without_events"]), (&json!(1), &json!(0)));
    let (_, text) = said(&["good.jsonl", "tracker.json", "--dry-run"], folder.path());
    assert!(text.starts_with("1 tracker has no events"), "{text}");
    assert!(text.contains("1 record would be a dead letter"), "{text}");
}

#[test]
fn a_folder_is_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let trackers = folder.path().join("trackers");
    std::fs::create_dir_all(trackers.join("more")).unwrap();
    refused("trackers", folder.path(), &["contains no files"]);
    std::fs::write(trackers.join("README.md"), "# What this is\n").unwrap();
    refused("trackers", folder.path(), &["only file in directory"]);
    let tracker = |sender: &str| {
        let event: Value = serde_json::from_str(EVENT).unwrap();
        json!({"sender_id": sender, "events": [{"event": "restart", "timestamp": event["timestamp"]}]})
            .to_string()
    };
    std::fs::write(trackers.join("a.json"), tracker("a")).unwrap();
    std::fs::write(trackers.join("more/b.json"), tracker("b")).unwrap();
    std::fs::write(trackers.join(".hidden"), "PK\u{3}\u{4}").unwrap();
    let (code, text) = said(&["trackers", "--to", "store.sqlite"], folder.path());
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("1 file was refused:\n  `trackers/README.md`"), "{text}");
    assert!(text.contains("2 records from 2 inputs"), "{text}");
    let again = replayed(&[&trackers], &folder.path().join("store.sqlite"), &[]);
    assert_eq!(again["records"], 0);
    assert_eq!(again["refused_files"].as_array().map(Vec::len), Some(1));
}

#[test]
fn databases_that_are_not_read_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (input, words) in [
        ("mysql+pymysql://rasa:hush@127.0.0.1:3306/rasa", ["mysql is not supported", "events.tsv"]),
        ("mongodb://rasa:hush@127.0.0.1/rasa", ["mongodb is not supported", "mongoexport"]),
        ("redis://:hush@127.0.0.1/0", ["redis is not supported", "redis-cli"]),
        ("dynamodb://hush", ["dynamodb is not supported", "aws dynamodb"]),
        ("postgresql://rasa:hu@sh@127.0.0.1:1/rasa", ["127.0.0.1:1/rasa", "refused"]),
        ("sqlite:///tracker.db", ["without a scheme", "`tracker.db`"]),
    ] {
        let text = refused(input, folder.path(), &words);
        assert!(!text.contains("hush") && !text.contains("hu@") && !text.contains("sh@"), "{text}");
    }
}

#[test]
fn stores_are_spelled_in_one_way() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("e.jsonl"), format!("{EVENT}\n")).unwrap();
    for (to, right) in [
        ("sqlite://x", "sqlite:x"),
        (":memory:", "name a file"),
        ("sqlite::memory:", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("x.txt", "sqlite:PATH"),
    ] {
        let (code, text) = said(&["e.jsonl", "--to", to], folder.path());
        assert!(code == 1 && text.contains(right), "{to}: {text}");
    }
    for (to, file) in
        [("p.sqlite", "p.sqlite"), ("p.sqlite3", "p.sqlite3"), ("P.DB", "P.DB"), ("sqlite:///q.db", "q.db")]
    {
        let (code, text) = said(&["e.jsonl", "--to", to], folder.path());
        assert!(code == 0 && text.contains("into sqlite:"), "{to}: {text}");
        assert!(folder.path().join(file).exists());
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5, "nothing else was made");
}

/// Creates a SQLite tracker store with one event.
fn tracker_store(path: &Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(
            r#"CREATE TABLE events (id INTEGER PRIMARY KEY, sender_id VARCHAR(255), type_name VARCHAR(255), timestamp FLOAT, data TEXT);
               INSERT INTO events VALUES (1, 'u1', 'restart', 1700000000.5, '{"event": "restart", "timestamp": 1700000000.5}');"#,
        )
        .unwrap();
}

#[test]
fn the_tracker_store_of_endpoints_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let endpoints = folder.path().join("assistant/endpoints.yml");
    std::fs::create_dir(folder.path().join("assistant")).unwrap();
    let write = |section: &str| {
        std::fs::write(
            &endpoints,
            format!("action_endpoint:\n  url: ${{NOT_SET}}\ntracker_store:\n{section}"),
        )
        .unwrap();
    };
    let arguments = ["--endpoints", "assistant/endpoints.yml", "--to", "store.sqlite"];
    let attempt = |words: &[&str]| {
        let (code, text) = said(&arguments, folder.path());
        assert_eq!(code, 1, "{text}");
        assert!(words.iter().all(|word| text.contains(word)) && !text.contains("hush"), "{text}");
        assert!(!folder.path().join("store.sqlite").exists());
    };
    attempt(&["assistant/endpoints.yml"]);
    write("  type: SQL\n  dialect: mysql+pymysql\n  url: db\n  password: hush\n");
    attempt(&["mysql is not supported", "--batch"]);
    write("  type: mongod\n  url: mongodb://rasa:hush@db\n");
    attempt(&["mongodb is not supported", "mongoexport"]);
    write("  type: addons.MyStore\n  url: hush\n");
    attempt(&["`addons.mystore` is not supported"]);
    write(
        "  type: SQL\n  dialect: postgresql\n  url: 127.0.0.1\n  port: 1\n  username: rasa\n  password: hush@hush\n  db: rasa\n",
    );
    attempt(&["postgresql://127.0.0.1:1/rasa"]);
    write("  type: SQL\n  db: ${TRACKER_DB}\n");
    attempt(&["tracker_store.db: variable TRACKER_DB is not set"]);
    std::fs::write(&endpoints, "models: {}\n").unwrap();
    attempt(&["no `tracker_store` found"]);
    write("  type: sql\n  dialect: sqlite\n  db: none.db\n");
    attempt(&["none.db"]);

    // Rasa runs in the folder of its endpoints.
    tracker_store(&folder.path().join("assistant/tracker.db"));
    write("  type: SQL\n  dialect: sqlite\n  db: ${TRACKER_DB}\n");
    let mut command = replay(&arguments);
    run(
        {
            command.current_dir(folder.path()).env("TRACKER_DB", "tracker.db");
            command
        },
        0,
    );
    assert_eq!(verified(&folder.path().join("store.sqlite"))["tables"]["rasa_event"]["rows"], 1);
}

#[test]
fn databases_of_something_else_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, sql: &str| -> PathBuf {
        let path = folder.path().join(name);
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        path
    };
    make("a.db", "CREATE TABLE people (id INTEGER)");
    refused("a.db", folder.path(), &["no table `events`", "people"]);
    make("b.db", "CREATE TABLE events (id INTEGER PRIMARY KEY, name TEXT)");
    refused("b.db", folder.path(), &["no column `sender_id`"]);
    make(
        "c.db",
        "CREATE TABLE events (id INTEGER PRIMARY KEY, sender_id TEXT, data TEXT); INSERT INTO events VALUES (1, 'u', 'hello')",
    );
    refused("c.db", folder.path(), &["its only record is not an event"]);
}

#[test]
fn a_conversation_in_canonical_json_is_the_one_of_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    let (input, store) = (folder.path().join("conversations.json"), folder.path().join("store.sqlite"));
    let bodies = lines("inmemory/file-broker.jsonl.gz");
    let document = |body: &String| {
        let event: Value = serde_json::from_str(body).unwrap();
        format!(
            r#"{{"_id": {{"$oid": "64"}}, "sender_id": {}, "events": [{}]}}"#,
            event["sender_id"],
            canonical(body)
        ) + "\n"
    };
    let canonical: String = bodies.iter().map(document).collect();
    std::fs::write(&input, canonical).unwrap();
    let said = replayed(&[&input], &store, &[]);
    assert_eq!((&said["events"], &said["dead_letters"]), (&json!(bodies.len()), &json!(0)));
    assert_eq!(verified(&store)["digest"], expected(bodies.iter().map(String::as_str)));
}

/// Converts a JSON text to MongoDB's canonical Extended JSON.
fn canonical(text: &str) -> String {
    let (mut out, mut in_text, mut escaped) = (String::new(), false, false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if !in_text && (c.is_ascii_digit() || c == '-') {
            let mut number = c.to_string();
            while let Some(more) =
                rest.next_if(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
            {
                number.push(more);
            }
            out.push_str(&format!(r#"{{"$numberDouble": "{number}"}}"#));
            continue;
        }
        in_text ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        out.push(c);
    }
    out
}
