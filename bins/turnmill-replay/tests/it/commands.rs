//! What the commands promise: resuming, following, interrupting, exit codes, dead letters.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};
use turnmill_formats::rasa::shift_timestamp;
use turnmill_model::TimeUnit;

use crate::support::{capture, expected, json, lines, replay, replayed, run, turnmill, url, verified};

fn inmemory() -> Vec<String> {
    lines("inmemory/file-broker.jsonl.gz")
}

fn write(path: &Path, lines: &[String]) {
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

#[test]
fn a_second_run_finds_nothing_new_and_a_grown_file_only_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let (input, store) = (folder.path().join("events.jsonl"), folder.path().join("store.sqlite"));
    let lines = inmemory();
    write(&input, &lines[..1000]);
    assert_eq!(replayed(&[&input], &store, &[])["events"], 1000);
    let again = replayed(&[&input], &store, &[]);
    assert_eq!((&again["records"], &again["events"]), (&json!(0), &json!(0)));
    write(&input, &lines);
    assert_eq!(replayed(&[&input], &store, &[])["records"], lines.len() - 1000);
    assert_eq!(verified(&store)["digest"], expected(lines.iter().map(String::as_str)));
    assert_eq!(verified(&store)["ledger"][0]["duplicates"], 0);

    // Another file at the same path is read from its start.
    let other = self::lines("moodbot/sql-broker.jsonl.gz");
    write(&input, &other);
    assert_eq!(replayed(&[&input], &store, &[])["events"], other.len());
}

#[test]
fn another_source_name_counts_duplicates() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let input = capture("inmemory/file-broker.jsonl.gz");
    let first = replayed(&[&input], &store, &["--source", "first"]);
    let before = verified(&store);
    let second = replayed(&[&input], &store, &["--source", "second"]);
    assert_eq!((&second["events"], &second["duplicates"]), (&json!(0), &first["events"]));
    let after = verified(&store);
    assert_eq!(after["digest"], before["digest"]);
    assert_eq!(after["ledger"][1]["source"], "second");
    assert_eq!(after["ledger"][1]["duplicates"], first["events"]);
}

#[test]
fn a_shift_undoes_that_of_an_export() {
    let folder = tempfile::tempdir().unwrap();
    let (input, store) = (folder.path().join("shifted.jsonl"), folder.path().join("store.sqlite"));
    let lines = inmemory();
    let shifted: Vec<String> = lines
        .iter()
        .map(|line| {
            String::from_utf8(shift_timestamp(line.as_bytes(), 3600, TimeUnit::Seconds).unwrap()).unwrap()
        })
        .collect();
    write(&input, &shifted);
    replayed(&[&input], &store, &["--shift", "-3600"]);
    let bodies = lines.iter().map(String::as_str);
    assert_eq!(verified(&store)["digest"], expected(bodies));
    // Late events replay the history, which must have the shifted ones, too.
    let said = replayed(&[&capture("inmemory/file-broker.jsonl.gz")], &store, &[]);
    assert_eq!(said["events"], 0, "the plain file is the same events");
}

#[test]
fn standard_input_relies_on_identity() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let lines = inmemory();
    let url = url(&store);
    for (events, duplicates) in [(lines.len(), 0), (0, lines.len())] {
        let mut command = replay(&["-", "--to", &url, "--json"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
        let said: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!((&said["events"], &said["duplicates"]), (&json!(events), &json!(duplicates)));
    }
    assert_eq!(verified(&store)["digest"], expected(lines.iter().map(String::as_str)));
}

#[test]
fn a_dry_run_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = capture("hostile/file-broker.jsonl.gz");
    let mut command =
        replay(&[hostile.to_str().unwrap(), "--dry-run", "--json", "--to", "sqlite:none.sqlite"]);
    command.current_dir(folder.path());
    let said = json(command, 0);
    assert_eq!(
        (&said["records"], &said["events"], &said["dead_letters"]),
        (&json!(332), &json!(329), &json!(3))
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn failures_are_told_with_their_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let url = url(&store);
    let input = capture("inmemory/file-broker.jsonl.gz");
    let input = input.to_str().unwrap();
    let complaint = |command: Command, code| String::from_utf8(run(command, code).stderr).unwrap();

    assert!(complaint(replay(&["no-such-file", "--to", &url]), 1).contains("no-such-file"));
    assert!(!store.exists(), "a mistyped input is noticed before a store is made");
    assert!(complaint(replay(&[input]), 2).contains("--to"));
    assert!(complaint(replay(&[input, "--to", "oracle:x"]), 1).contains("unknown store `oracle:***`"));
    assert!(complaint(replay(&[input, "--to", "sqlite:/no/such/folder/x"]), 1).contains("/no/such/folder"));
    assert!(complaint(turnmill(&["verify", &url]), 1).contains("store.sqlite"));

    // A database that is not ours is left alone.
    let foreign = folder.path().join("tracker.db");
    Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE events (id INTEGER PRIMARY KEY)")
        .unwrap();
    let before = std::fs::read(&foreign).unwrap();
    complaint(replay(&[input, "--to", &format!("sqlite:{}", foreign.display())]), 1);
    assert_eq!(std::fs::read(&foreign).unwrap(), before);

    replayed(&[Path::new(input)], &store, &[]);
    let error = complaint(replay(&[input, "--to", &url, "--session-id", "off"]), 1);
    assert!(error.contains("session_id"), "{error}");
}

#[test]
fn verify_fails_when_the_ledger_does_not_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    replayed(&[&capture("inmemory/file-broker.jsonl.gz")], &store, &[]);
    Connection::open(&store)
        .unwrap()
        .execute("UPDATE _turnmill_ledger SET records = records + 1", [])
        .unwrap();
    let said = json(turnmill(&["verify", &url(&store), "--json"]), 1);
    assert_eq!(said["ledger"][0]["records"], said["ledger"][0]["events"].as_u64().unwrap() + 1);
}

#[test]
fn dead_letters_are_listed_shown_and_retried() {
    let folder = tempfile::tempdir().unwrap();
    let (input, store) = (folder.path().join("events.jsonl"), folder.path().join("store.sqlite"));
    let mut lines = inmemory();
    let total = lines.len();
    lines.insert(3, "not JSON".into());
    lines.insert(9, r#"{"sender_id": "u", "event": "restart", "timestamp": "noon"}"#.into());
    lines.insert(12, String::new());
    write(&input, &lines);
    let said = replayed(&[&input], &store, &[]);
    assert_eq!(
        (&said["events"], &said["dead_letters"], &said["skipped"]),
        (&json!(total), &json!(2), &json!(1))
    );

    let url = url(&store);
    let listed = run(turnmill(&["dead-letters", "list", &url, "--json"]), 0).stdout;
    let listed: Vec<Value> = listed
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let reasons: Vec<&Value> = listed.iter().map(|letter| &letter["reason"]).collect();
    assert_eq!(reasons, ["not_json", "no_usable_timestamp"]);
    let shown = run(turnmill(&["dead-letters", "show", &url, "1"]), 0).stdout;
    assert!(String::from_utf8(shown).unwrap().contains("not JSON"), "with the original bytes");
    run(turnmill(&["dead-letters", "show", &url, "99"]), 1);

    let retry = |more: &[&str]| {
        let mut arguments = vec!["dead-letters", "retry", &url, "--json"];
        arguments.extend(more);
        json(turnmill(&arguments), 0)
    };
    assert_eq!(retry(&[]), json!({"landed": 0, "refused": 2}));
    assert_eq!(
        retry(&["--timestamp", "1700000000.5", "--reason", "no_usable_timestamp"]),
        json!({"landed": 1, "refused": 0})
    );
    let ledger = &verified(&store)["ledger"][0];
    assert_eq!((&ledger["events"], &ledger["dead_letters"]), (&json!(total + 1), &json!(1)));
}

/// Waits until `done`, at most a minute.
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn interrupt(child: &std::process::Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn following_takes_what_is_appended_until_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.jsonl"), folder.path().join("two.jsonl"));
    let store = folder.path().join("store.sqlite");
    let (lines, others) = (inmemory(), lines("parcel/file-broker.jsonl.gz"));
    write(&one, &lines[..10]);
    write(&two, &others[..10]);
    let url = url(&store);
    let arguments = [one.to_str().unwrap(), two.to_str().unwrap(), "--to", &url, "--follow", "--quiet"];
    let mut child = replay(&arguments).spawn().unwrap();
    let events = || {
        let open = Connection::open_with_flags(&store, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
        open.and_then(|store| store.query_row("SELECT count(*) FROM rasa_event", [], |row| row.get(0)))
            .unwrap_or(0)
    };
    wait("the first lines", || events() == 20);
    let append = |path: &Path, text: &str| {
        std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    };
    let (front, back) = lines[10].split_at(40);
    append(&one, front);
    append(&two, &format!("{}\n", others[10]));
    wait("a line of the second file, not half a line of the first", || events() == 21);
    append(&one, &format!("{back}\n{}\n", lines[11]));
    wait("the completed line", || events() == 23);
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let all = lines[..12].iter().chain(&others[..11]);
    assert_eq!(verified(&store)["digest"], expected(all.map(String::as_str)));
}

#[test]
fn an_interrupted_run_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let (input, url) = (capture("parcel/file-broker.jsonl.gz"), url(&store));
    let arguments = [input.to_str().unwrap(), "--to", &url, "--batch", "20", "--quiet"];
    let mut child = replay(&arguments).spawn().unwrap();
    wait("the first batch", || verified_events(&store) > 0);
    interrupt(&child);
    let code = child.wait().unwrap().code();
    assert!(code == Some(130) || code == Some(0), "{code:?}");
    run(replay(&arguments), 0);
    let lines = lines("parcel/file-broker.jsonl.gz");
    assert_eq!(verified(&store)["digest"], expected(lines.iter().map(String::as_str)));
    assert_eq!(
        verified(&store)["ledger"][0]["duplicates"],
        0,
        "positions, not identity, are what it goes on by"
    );
}

fn verified_events(store: &Path) -> i64 {
    let open = Connection::open_with_flags(store, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
    open.and_then(|store| store.query_row("SELECT count(*) FROM rasa_event", [], |row| row.get(0)))
        .unwrap_or(0)
}
