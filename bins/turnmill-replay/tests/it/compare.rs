//! Checks COMPARE.md's column about turnmill against the programs.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use turnmill_stores::AnyStore;

use crate::support::{capture, json, lines, replay, replayed, run, turnmill, url, verified};

const COMPARE: &str = include_str!("../../../../COMPARE.md");
const README: &str = include_str!("../../../../README.md");
const MANIFEST: &str = include_str!("../../../../Cargo.toml");

/// A row of the table, and the check of its cell about turnmill.
type Claim = (&'static str, fn(&Path) -> String);

/// Every row of the table.
const CLAIMS: &[Claim] = &[
    ("licence", |_| {
        let licence = MANIFEST.lines().find_map(|line| line.strip_prefix("license = "));
        licence.unwrap().trim_matches('"').to_owned()
    }),
    ("input today", |_| inputs().join(", ")),
    ("output today", |_| outputs().join(", ")),
    ("the documented `rasa_*` tables", |folder| {
        let store = rusqlite::Connection::open(parcel(folder)).unwrap();
        let tables = turnmill_model::tables::PUBLIC.iter().filter(|table| !table.is_extension());
        let exists = |name: &str| store.table_exists(None, name).unwrap();
        yes(tables.clone().count() == 15 && tables.clone().all(|table| exists(table.name)))
    }),
    ("sessions and turns", |folder| {
        let store = parcel(folder);
        yes(rows(&store, "rasa_session") > 0 && rows(&store, "rasa_turn") > rows(&store, "rasa_session"))
    }),
    ("markers", |folder| {
        let (store, markers) = (parcel(folder), capture("parcel/markers.yml"));
        let on = url(&store);
        run(turnmill(&["markers", "upload", markers.to_str().unwrap(), "--on", &on]), 0);
        run(turnmill(&["markers", "backfill", "--on", &on]), 0);
        yes(rows(&store, "rasa_markers") > 0)
    }),
    ("an event delivered twice", |folder| {
        let (event, store) =
            (lines("inmemory/file-broker.jsonl.gz").swap_remove(0), folder.join("store.sqlite"));
        load(folder, &[event.clone(), event], &store);
        one_row(rows(&store, "rasa_event") == 1)
    }),
    ("an event exported again", |folder| {
        let store = parcel(folder);
        let before = rows(&store, "rasa_event");
        let again = replayed(&[&capture("parcel/rasa-export.jsonl.gz")], &store, &[]);
        one_row(rows(&store, "rasa_event") == before && again["duplicates"].as_u64() == Some(before))
    }),
    ("an event that comes late", |folder| {
        let mut events = lines("inmemory/file-broker.jsonl.gz");
        events.truncate(300);
        let (in_order, late) = (folder.join("in-order.sqlite"), folder.join("late.sqlite"));
        load(folder, &events, &in_order);
        events.reverse();
        load(folder, &events, &late);
        let right = verified(&in_order)["digest"] == verified(&late)["digest"];
        if right { "sessions and turns as if on time".into() } else { "its digest differs".into() }
    }),
    ("broken records", |folder| {
        let store = folder.join("store.sqlite");
        let whole = lines("inmemory/file-broker.jsonl.gz").swap_remove(0);
        let untimed = r#"{"sender_id": "u1", "event": "restart", "timestamp": 1}"#;
        load(folder, &[whole, untimed.to_owned()], &store);
        let on = url(&store);
        let letter = json(turnmill(&["dead-letters", "list", &on, "--json"]), 0);
        assert_eq!(letter["reason"], "no_usable_timestamp");
        let reason = ["--reason", "no_usable_timestamp", "--timestamp", "1795225520"];
        run(turnmill(&[&["dead-letters", "retry", &on], &reason[..]].concat()), 0);
        if rows(&store, "rasa_event") == 2 { "stored, with reason, can be retried".into() } else { no() }
    }),
    ("runs as a service", |_| {
        let help = run(turnmill(&["run", "--help"]), 0).stdout;
        yes(String::from_utf8(help).unwrap().starts_with("Run the service"))
    }),
];

/// Returns the inputs of this build.
fn inputs() -> Vec<&'static str> {
    let postgres = if cfg!(feature = "postgres") { "tracker stores (SQLite, PostgreSQL)" } else { "SQLite" };
    let mut inputs = vec!["files", "dumps", postgres];
    inputs.extend(cfg!(feature = "kafka").then_some("Kafka"));
    inputs
}

/// Returns the stores of this build.
fn outputs() -> Vec<&'static str> {
    let known = [
        ("SQLite", "sqlite:rasa.sqlite"),
        ("PostgreSQL", "postgresql://rasa@localhost/rasa"),
        ("Redshift", "redshift://rasa@localhost/rasa"),
    ];
    known.into_iter().filter(|(_, url)| AnyStore::from_url(url).is_ok()).map(|(name, _)| name).collect()
}

fn yes(is_so: bool) -> String {
    if is_so { "yes".into() } else { no() }
}

fn one_row(is_so: bool) -> String {
    if is_so { "one row".into() } else { "more".into() }
}

fn no() -> String {
    "**no**".into()
}

/// Returns a store with the capture `parcel`, a copy of the one that is loaded first.
fn parcel(folder: &Path) -> PathBuf {
    static LOADED: OnceLock<Vec<u8>> = OnceLock::new();
    let store = folder.join("parcel.sqlite");
    let bytes = LOADED.get_or_init(|| {
        replayed(&[&capture("parcel/file-broker.jsonl.gz")], &store, &[]);
        std::fs::read(&store).unwrap()
    });
    std::fs::write(&store, bytes).unwrap();
    store
}

/// Loads events in small batches: of reversed ones all but the first batch are late.
fn load(folder: &Path, events: &[String], store: &Path) {
    let input = folder.join("events.jsonl");
    std::fs::write(&input, events.join("\n")).unwrap();
    let (input, to) = (input.to_str().unwrap(), url(store));
    run(replay(&[input, "--to", &to, "--batch", "50", "--quiet"]), 0);
}

fn rows(store: &Path, table: &str) -> u64 {
    let connection = rusqlite::Connection::open(store).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// Returns the first and the second cell of each row below the heading.
fn table() -> Vec<(&'static str, &'static str)> {
    let rows = COMPARE.lines().filter(|line| line.starts_with('|')).map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        (cells.next().unwrap(), cells.next().unwrap())
    });
    let mut rows = rows.collect::<Vec<_>>();
    assert_eq!(rows[..2], [("", "turnmill"), ("---", "---")], "the column about turnmill is the first");
    rows.split_off(2)
}

#[test]
fn the_column_about_turnmill_is_true() {
    let claimed: Vec<&str> = table().into_iter().map(|(row, _)| row).collect();
    let known: Vec<&str> = CLAIMS.iter().map(|(row, _)| *row).collect();
    assert_eq!(claimed, known, "every row has a proof");
    for ((row, cell), (_, find_out)) in table().into_iter().zip(CLAIMS) {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(cell, find_out(folder.path()), "COMPARE.md, {row}");
    }
}

#[test]
fn the_picture_of_the_readme_has_every_input_and_output() {
    let is_picture = |text: &&str| text.starts_with("text\n") && text.contains("rasa_session");
    let picture = README.split("```").find(is_picture).unwrap();
    for (kind, list) in [("input", inputs()), ("output", outputs())] {
        for name in
            list.iter().flat_map(|item| item.split([' ', '(', ')', ','])).filter(|word| !word.is_empty())
        {
            assert!(picture.contains(name), "README.md: the picture lacks the {kind} {name}");
        }
    }
}
