//! Tests that damage is found.

use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::{Delivery, Driver, OwnedRecord, conversation};
use turnmill_ingest::{RowRules, examine};
use turnmill_model::Settings;
use turnmill_sink::{Claim, Inspect, Store};
use turnmill_sink_sqlite::SqliteStore;

use crate::support::Files;

fn filled(files: &mut Files) -> PathBuf {
    let settings = Settings::default();
    let rules = RowRules::new(&settings, RasaDecoder::new).with_checkpoint_every(8);
    let conversations = (0..40).map(|n| conversation(&format!("u{n}"), 4, 1_656_382_549.5 + f64::from(n)));
    let given: Vec<OwnedRecord> = conversations.flatten().map(OwnedRecord::body).collect();
    pollster::block_on(async {
        let mut driver = Driver::new(files, &rules, 1, 1 << 20).await;
        driver.deliver(&Delivery { records: given.iter().collect(), ..Delivery::default() }).await;
    });
    let path = files.paths().last().unwrap();
    let mut store = SqliteStore::file(&path);
    pollster::block_on(store.open(&settings)).unwrap();
    store.finish().unwrap();
    path
}

/// Copies the last page of one tree over that of another, like a lost write. Returns the page's
/// number.
fn misplace(path: &PathBuf, from: &str, over: &str) {
    let file = Connection::open(path).unwrap();
    let page = |name: &str| {
        let sql =
            "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' ORDER BY path DESC LIMIT 1";
        file.query_row(sql, [name], |row| row.get::<_, usize>(0)).unwrap()
    };
    let (from, over) = (page(from), page(over));
    let size: usize = file.query_row("PRAGMA page_size", [], |row| row.get(0)).unwrap();
    drop(file);
    let mut bytes = fs::read(path).unwrap();
    bytes.copy_within((from - 1) * size..from * size, (over - 1) * size);
    fs::write(path, bytes).unwrap();
}

fn findings(path: &PathBuf) -> Vec<String> {
    let mut store = SqliteStore::file(path).read_only();
    store.open_as_it_is().unwrap();
    pollster::block_on(examine(&mut store, true)).unwrap().findings
}

#[test]
fn a_sound_file_is_sound_and_misplaced_pages_are_found() {
    let mut files = Files::new();
    let path = filled(&mut files);
    assert_eq!(findings(&path), Vec::<String>::new());
    for (from, over) in [
        ("sqlite_autoindex_rasa_turn_1", "sqlite_autoindex_rasa_event_1"),
        ("idx_rasa_turn_session_seq", "idx_rasa_event_session_seq"),
        ("_turnmill_checkpoint", "_turnmill_timeline"),
        ("_turnmill_timeline", "_turnmill_history"),
        ("rasa_slot", "rasa_action"),
    ] {
        let copy = files.path();
        fs::copy(&path, &copy).unwrap();
        misplace(&copy, from, over);
        let found = findings(&copy);
        assert!(!found.is_empty(), "{over} under {from}");
    }
}

#[test]
fn a_file_that_is_deleted_or_replaced_is_missed() {
    let mut files = Files::new();
    let path = filled(&mut files);
    let claim = Claim::default();
    let mut store = SqliteStore::file(&path);
    pollster::block_on(store.open(&Settings::default())).unwrap();
    drop(pollster::block_on(store.begin(&claim)).unwrap());
    let aside = files.path();
    fs::rename(&path, &aside).unwrap();
    let error = pollster::block_on(store.begin(&claim)).map(drop).unwrap_err();
    assert!(error.to_string().contains("deleted or replaced"), "{error}");
    assert_eq!(error.class(), turnmill_sink::Class::Fatal);
    fs::copy(&aside, &path).unwrap();
    assert!(pollster::block_on(store.begin(&claim)).is_err(), "another file of the same name");
    fs::rename(&aside, &path).unwrap();
    drop(pollster::block_on(store.begin(&claim)).unwrap());
    pollster::block_on(store.digests()).unwrap();
}
