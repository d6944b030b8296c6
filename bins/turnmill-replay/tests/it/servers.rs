//! Tests with PostgreSQL and Kafka, as inputs and as outputs.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use turnmill_testbed::{kafka, postgres};

use crate::support::{capture, json, lines, replay, replayed, run, turnmill, url, verified};

const PARCEL: &str = "parcel/file-broker.jsonl.gz";

/// Returns `turnmill-replay` with the broker in its environment.
fn with_broker(bootstrap: &str, arguments: &[&str]) -> Command {
    let mut command = replay(arguments);
    command.env("KAFKA_BROKER_ADDRESS", bootstrap);
    command
}

fn digest(store: &Path) -> Value {
    verified(store)["digest"].clone()
}

/// Returns the digest of `inputs` in a store of their own.
fn digest_of(folder: &Path, inputs: &[&Path], more: &[&str]) -> Value {
    let store = folder.join("expected.sqlite");
    let _ = std::fs::remove_file(&store);
    replayed(inputs, &store, more);
    digest(&store)
}

#[test]
fn postgres_holds_the_same_rows_as_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    for name in [PARCEL, "hostile/tracker-store.jsonl.gz", "kafka/partition-by-sender-false.jsonl.gz"] {
        let Some(database) = postgres::database() else { return };
        let input = capture(name);
        let expected = digest_of(folder.path(), &[&input], &[]);
        let arguments = [
            input.to_str().unwrap(),
            "--to",
            &database,
            "--json",
            "--foreign-keys",
            "none",
            "--schema",
            "mill",
        ];
        let first = json(replay(&arguments), 0);
        assert!(!first["store"].as_str().unwrap().contains("secret"), "{}", first["store"]);
        let again = json(replay(&[&arguments[..], &["--totals"]].concat()), 0);
        assert_eq!((&again["records"], &again["tables"]), (&json!(0), &first["tables"]));
        let said = json(turnmill(&["verify", &database, "--schema", "mill", "--json"]), 0);
        assert_eq!(said["digest"], expected, "{name}");
    }
}

#[test]
fn a_tracker_store_in_postgres_is_read_and_read_on() {
    let Some(database) = postgres::database() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut lines = lines("parcel/tracker-store.jsonl.gz");
    lines.truncate(1500);
    let input = folder.path().join("rows.jsonl");
    std::fs::write(&input, lines.join("\n")).unwrap();
    let rows: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut client = ::postgres::Client::connect(&database, ::postgres::NoTls).unwrap();
    client
        .batch_execute(
            "CREATE TABLE events (id SERIAL PRIMARY KEY, sender_id TEXT, type_name VARCHAR(255), timestamp FLOAT8, data TEXT)",
        )
        .unwrap();
    let mut fill = |rows: &[Value]| {
        for row in rows {
            let (sender, kind, data) =
                (row["sender_id"].as_str(), row["type_name"].as_str(), row["data"].as_str());
            let insert = "INSERT INTO events (sender_id, type_name, timestamp, data) VALUES ($1, $2, $3, $4)";
            client.execute(insert, &[&sender, &kind, &row["timestamp"].as_f64(), &data]).unwrap();
        }
    };
    let store = folder.path().join("store.sqlite");
    let (first, rest) = rows.split_at(700);
    fill(first);
    let database = Path::new(&database);
    assert_eq!(replayed(&[database], &store, &[])["records"], first.len());
    fill(rest);
    assert_eq!(replayed(&[database], &store, &[])["records"], rest.len());
    assert_eq!(replayed(&[database], &store, &[])["records"], 0);
    assert_eq!(digest(&store), digest_of(folder.path(), &[&input], &[]));
    assert_eq!(verified(&store)["ledger"][0]["duplicates"], 0);
}

#[test]
fn a_topic_carries_the_same_rows_keyed_or_not() {
    let folder = tempfile::tempdir().unwrap();
    // One input has senders only in its envelopes, one has none, one comes from Kafka with its own
    // keys and headers.
    for (name, flags) in [
        ("hostile/tracker-store.jsonl.gz", &["--keyed"][..]),
        ("parcel/file-broker.jsonl.gz", &[]),
        ("kafka/partition-by-sender-true.jsonl.gz", &[]),
    ] {
        let Some((bootstrap, topic)) = kafka::topic(3) else { return };
        let (input, target) = (capture(name), format!("kafka:{topic}"));
        let mut arguments = vec![input.to_str().unwrap(), "--to", &target, "--environment", "test", "--json"];
        arguments.extend(flags);
        let said = json(with_broker(&bootstrap, &arguments), 0);
        assert_eq!(said["delivered"], said["records"], "{name}");

        let dump = folder.path().join("dump.jsonl");
        let _ = std::fs::remove_file(&dump);
        run(with_broker(&bootstrap, &["--from", &target, "--dump", dump.to_str().unwrap(), "--quiet"]), 0);
        let lines = std::fs::read_to_string(&dump).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(json!(lines.len()), said["delivered"]);
        let keyed = lines.iter().filter(|line| !line["key"].is_null()).count();
        let partitions: std::collections::BTreeSet<_> =
            lines.iter().filter_map(|line| line["partition"].as_i64()).collect();
        // Records without keys stay on one partition for some milliseconds, which may be the whole
        // run.
        assert!(keyed == 0 || partitions.len() == 3, "{name} is spread");
        if name.contains("file-broker") {
            assert_eq!(keyed, 0, "not keyed unless asked for");
        } else {
            // Three of the hostile rows name no sender that could be a key.
            assert_eq!(lines.len() - keyed, if name.contains("hostile") { 3 } else { 0 }, "{name}");
            // The keys of odd senders are cleaned and truncated as the senders are.
            for line in lines.iter().filter(|_| !name.contains("hostile")) {
                let body: Value = serde_json::from_str(line["value"].as_str().unwrap()).unwrap_or_default();
                assert!(body["sender_id"].is_null() || body["sender_id"] == line["key"], "{line}");
            }
        }
        let environments: std::collections::BTreeSet<_> =
            lines.iter().map(|line| line["headers"].to_string()).collect();
        let own = name.starts_with("kafka/");
        let expected = json!([["RASA_ENVIRONMENT", if own { "production" } else { "test" }]]);
        assert_eq!(environments.into_iter().collect::<Vec<_>>(), [expected.to_string()]);

        // The dump and the topic are the same to a store, and a topic continues at its position.
        let store = folder.path().join("store.sqlite");
        let _ = std::fs::remove_file(&store);
        let (to, arguments) = (url(&store), ["--from", target.as_str(), "--json", "--to"]);
        let loaded = json(with_broker(&bootstrap, &[&arguments[..], &[&to]].concat()), 0);
        assert_eq!(loaded["records"], said["delivered"]);
        assert_eq!(json(with_broker(&bootstrap, &[&arguments[..], &[&to]].concat()), 0)["records"], 0);
        assert_eq!(digest(&store), digest_of(folder.path(), &[&dump], &[]), "{name}");
        // The rows are those of the input itself, except for the environment.
        if own {
            assert_eq!(digest(&store), digest_of(folder.path(), &[&input], &[]));
        } else if !name.contains("hostile") {
            // Events without a usable time get that of their record, and a published record has a
            // time.
            let (topic, file) = (verified(&store), folder.path().join("file.sqlite"));
            let _ = std::fs::remove_file(&file);
            replayed(&[&input], &file, &[]);
            let file = verified(&file);
            for table in ["rasa_session", "rasa_turn", "rasa_slot", "rasa_session_slot_state", "rasa_action"]
            {
                assert_eq!(topic["tables"][table]["rows"], file["tables"][table]["rows"], "{name}: {table}");
            }
            assert_eq!(
                topic["tables"]["rasa_session_slot_state"], file["tables"]["rasa_session_slot_state"],
                "{name}"
            );
        }
    }
}

#[test]
fn ranges_of_a_topic_are_read_by_offset_and_by_time() {
    let Some((bootstrap, topic)) = kafka::topic(2) else { return };
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("dump.jsonl");
    let lines: Vec<String> = (0..100)
        .map(|number| {
            let time = 1_795_225_520 + number;
            let body = json!({"sender_id": format!("u{}", number % 5), "event": "restart", "timestamp": f64::from(time) + 0.5});
            json!({"topic": "old", "partition": 0, "offset": number, "ts_type": 1, "ts_ms": i64::from(time) * 1000,
                "key": format!("u{}", number % 5), "headers": [], "value": body.to_string()})
            .to_string()
        })
        .collect();
    std::fs::write(&input, lines.join("\n")).unwrap();
    let target = format!("kafka:{topic}");
    run(with_broker(&bootstrap, &[input.to_str().unwrap(), "--to", &target, "--quiet"]), 0);
    let count = |from: &str, more: &[&str]| -> Value {
        json(with_broker(&bootstrap, &[&["--from", from, "--dry-run", "--json"][..], more].concat()), 0)["records"].clone()
    };
    assert_eq!(count(&target, &[]), 100);
    assert_eq!(count(&target, &["--since", "1795225540", "--until", "1795225550"]), 10);
    assert_eq!(count(&target, &["--since", "2026-11-21T01:45:30Z"]), 90);
    assert_eq!(count(&target, &["--from-offset", "3", "--to-offset", "5"]), 4);
    let (zero, one) = (count(&format!("{target}/0"), &[]), count(&format!("{target}/1"), &[]));
    assert_eq!(zero.as_i64().unwrap() + one.as_i64().unwrap(), 100);
    // An explicit range stores no position, so records after it are not skipped later.
    let store = folder.path().join("store.sqlite");
    let to = url(&store);
    let load = |more: &[&str]| {
        json(
            with_broker(
                &bootstrap,
                &[&["--from", target.as_str(), "--to", &to, "--json"][..], more].concat(),
            ),
            0,
        )
    };
    assert_eq!(load(&["--since", "1795225600"])["events"], 20);
    let whole = load(&[]);
    assert_eq!((&whole["events"], &whole["duplicates"]), (&json!(80), &json!(20)));
    assert_eq!(load(&[])["records"], 0);
}

#[test]
fn mistakes_about_topics_are_told() {
    let Some((bootstrap, topic)) = kafka::topic(1) else { return };
    let folder = tempfile::tempdir().unwrap();
    let input = capture("inmemory/file-broker.jsonl.gz");
    let input = input.to_str().unwrap();
    let target = format!("kafka:{topic}");
    let complaint = |command: Command, code| String::from_utf8(run(command, code).stderr).unwrap();
    let ask = |arguments: &[&str], code| complaint(with_broker(&bootstrap, arguments), code);
    assert!(ask(&[input, "--to", "kafka:nowhere"], 1).contains("`nowhere` does not exist"));
    assert!(ask(&["kafka:nowhere", "--dry-run"], 1).contains("`nowhere` does not exist"));
    assert!(ask(&[&format!("{target}/1"), "--dry-run"], 2).contains("1 partitions"));
    assert!(ask(&[input, "--dry-run", "--since", "0"], 2).contains("no input is a topic"));
    assert!(ask(&[&target, "--dry-run", "--follow"], 2).contains("turnmill run"));
    assert!(ask(&[&target, "--dry-run", "--since", "soon"], 2).contains("2026-11-21"));
    assert!(complaint(replay(&[&target, "--dry-run"]), 2).contains("KAFKA_BROKER_ADDRESS"));
    let dump = folder.path().join("dump.jsonl");
    assert!(ask(&[input, "--dump", dump.to_str().unwrap()], 1).contains("does not come from Kafka"));
    assert!(
        ask(&[&target, "--dump", dump.to_str().unwrap()], 1).contains("exists"),
        "nothing is overwritten"
    );
}

#[test]
fn what_is_no_text_is_left_out_of_a_dump_and_said() {
    let Some((bootstrap, topic)) = kafka::topic(1) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (input, dump) = (folder.path().join("input.jsonl"), folder.path().join("dump.jsonl"));
    std::fs::write(
        &input,
        b"{\"sender_id\": \"u\", \"event\": \"restart\", \"timestamp\": 1795225520.5}\n\xff\xfe\n",
    )
    .unwrap();
    let target = format!("kafka:{topic}");
    let said = json(
        with_broker(&bootstrap, &[input.to_str().unwrap(), "--to", &target, "--json", "--rate", "100"]),
        0,
    );
    assert_eq!(said["delivered"], 2);
    let output = run(with_broker(&bootstrap, &[&target, "--dump", dump.to_str().unwrap()]), 1);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("1 records left out") && told.contains("at offset 1"), "{told}");
    assert_eq!(std::fs::read_to_string(&dump).unwrap().lines().count(), 1);
    let store = folder.path().join("store.sqlite");
    let loaded = json(with_broker(&bootstrap, &[&target, "--to", &url(&store), "--json"]), 0);
    assert_eq!((&loaded["events"], &loaded["dead_letters"]), (&json!(1), &json!(1)));
}
