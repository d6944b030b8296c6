//! Which files are opened, and the errors of the others.

use rusqlite::Connection;
use turnmill_ingest::testkit::Fixture as _;
use turnmill_model::{SessionIdMode, Settings};
use turnmill_sink::{Batch, Claim, Class, Inspect, Store, StoreError, Transaction};
use turnmill_sink_sqlite::SqliteStore;
use turnmill_sql::migrations::SCHEMA_VERSION;

use crate::support::{Files, one};

fn open(store: &mut SqliteStore) -> Result<(), StoreError> {
    pollster::block_on(store.open(&Settings::default())).map(drop)
}

fn fatal(result: Result<(), StoreError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.class(), Class::Fatal, "{error}");
    error.to_string()
}

fn created(files: &mut Files) -> (SqliteStore, Connection) {
    let mut store = files.create();
    open(&mut store).unwrap();
    let file = Connection::open(store.path().unwrap()).unwrap();
    (store, file)
}

#[test]
fn making_a_store_touches_nothing() {
    let mut files = Files::new();
    let store = files.create();
    assert!(!store.path().unwrap().exists());
    drop(store);
    let mut closed = files.create();
    assert!(fatal(pollster::block_on(closed.digests()).map(drop)).contains("is not open"));
}

#[test]
fn opening_again_changes_nothing() {
    let mut files = Files::new();
    let (mut store, file) = created(&mut files);
    let before: Vec<i64> =
        ["schema_version", "user_version"].map(|name| one(&file, &format!("PRAGMA {name}"))).into();
    open(&mut store).unwrap();
    open(&mut files.connect(&store)).unwrap();
    let after: Vec<i64> =
        ["schema_version", "user_version"].map(|name| one(&file, &format!("PRAGMA {name}"))).into();
    assert_eq!(before, after);
    assert_eq!(one::<i64>(&file, "SELECT count(*) FROM _turnmill_migrations"), i64::from(SCHEMA_VERSION));
    let applied: String = one(&file, "SELECT applied_at FROM _turnmill_migrations");
    assert!(turnmill_model::Micros::parse(&applied).is_some(), "{applied}");
}

#[test]
fn a_newer_store_is_refused_and_left_alone() {
    let mut files = Files::new();
    let (store, file) = created(&mut files);
    file.execute_batch(&format!(
        "UPDATE _turnmill_meta SET value = '{}' WHERE name = 'schema_version'",
        SCHEMA_VERSION + 1
    ))
    .unwrap();
    let before: i64 = one(&file, "PRAGMA data_version");
    for mut again in [files.connect(&store), files.connect(&store).read_only()] {
        let error = pollster::block_on(again.open(&Settings::default())).unwrap_err();
        let newer = |found: u32| found == SCHEMA_VERSION + 1;
        assert!(
            matches!(error, StoreError::Newer { found, known: SCHEMA_VERSION } if newer(found)),
            "{error}"
        );
        assert!(error.to_string().contains("use a newer turnmill"), "{error}");
    }
    assert_eq!(one::<i64>(&file, "PRAGMA data_version"), before);
}

#[test]
fn a_failed_migration_leaves_nothing() {
    let mut files = Files::new();
    let path = files.path();
    let file = Connection::open(&path).unwrap();
    // A store before the first migration, but with a table that its last steps create.
    file.execute_batch("CREATE TABLE _turnmill_meta (name, value); INSERT INTO _turnmill_meta VALUES ('schema_version', '0')")
        .unwrap();
    for fact in turnmill_sql::meta::initial(&Settings::default()) {
        file.execute("INSERT INTO _turnmill_meta VALUES (?1, ?2)", [fact.0, &fact.1]).unwrap();
    }
    let message = fatal(open(&mut SqliteStore::file(&path)));
    assert!(message.contains("applying migration 1"), "{message}");
    assert_eq!(one::<String>(&file, "SELECT group_concat(name) FROM sqlite_master"), "_turnmill_meta");
}

#[test]
fn settings_and_engine_must_be_those_that_filled_it() {
    let mut files = Files::new();
    let (store, file) = created(&mut files);
    let other = Settings { session_id: SessionIdMode::Any, ..Settings::default() };
    for mut again in [files.connect(&store), files.connect(&store).read_only()] {
        assert!(fatal(pollster::block_on(again.open(&other)).map(drop)).contains("session_id"));
    }
    file.execute_batch("UPDATE _turnmill_meta SET value = '0' WHERE name = 'engine_version'").unwrap();
    assert!(fatal(open(&mut files.connect(&store))).contains("turnmill rebuild"));
}

#[test]
fn files_of_others_are_left_alone() {
    let mut files = Files::new();
    for (ddl, remedy) in [
        ("CREATE TABLE events (id INTEGER, sender_id TEXT)", "this one as the source"),
        ("CREATE TABLE rasa_event (id TEXT)", "replaying the events"),
        ("CREATE TABLE notes (text)", "it has `notes`"),
        ("CREATE VIEW something AS SELECT 1", "it has `something`"),
    ] {
        let path = files.path();
        Connection::open(&path).unwrap().execute_batch(ddl).unwrap();
        let before = std::fs::read(&path).unwrap();
        for mut store in [SqliteStore::file(&path), SqliteStore::file(&path).read_only()] {
            let message = fatal(open(&mut store));
            assert!(message.contains(remedy) && message.contains("new file"), "{message}");
            assert!(message.contains(&*path.to_string_lossy()), "{message}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), before, "not a byte has changed");
    }
}

#[test]
fn what_is_no_database_says_so() {
    let mut files = Files::new();
    let text = files.path();
    std::fs::write(&text, "no database, but long enough to have a header of a hundred bytes".repeat(4))
        .unwrap();
    assert!(fatal(open(&mut SqliteStore::file(&text))).contains("is not a SQLite database"));
    let folder = files.path();
    std::fs::create_dir(&folder).unwrap();
    assert!(fatal(open(&mut SqliteStore::file(&folder))).contains("cannot be opened"));
    assert!(
        fatal(open(&mut SqliteStore::file(folder.join("missing/x.sqlite"))))
            .contains("its folder must exist")
    );
    assert!(fatal(open(&mut SqliteStore::file(""))).contains("cannot be the path"));
    let missing = files.path();
    assert!(fatal(open(&mut SqliteStore::file(&missing).read_only())).contains("does not exist"));
    assert!(!missing.exists());
}

#[test]
fn a_read_only_file_names_the_remedy() {
    let mut files = Files::new();
    let (store, _) = created(&mut files);
    let path = store.path().unwrap().to_owned();
    store.finish().unwrap();
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&path, permissions).unwrap();
    // A privileged user may write all the same.
    if std::fs::OpenOptions::new().append(true).open(&path).is_err() {
        let message = fatal(open(&mut SqliteStore::file(&path)));
        assert!(message.contains("read-only") && message.contains("writable"), "{message}");
    }
    // Reading is allowed, writing is not.
    let mut looking = SqliteStore::file(&path).read_only();
    open(&mut looking).unwrap();
    pollster::block_on(looking.digests()).unwrap();
    let claim = Claim::default();
    let mut tx = pollster::block_on(looking.begin(&claim)).unwrap();
    assert!(fatal(pollster::block_on(tx.write(&Batch::default()))).contains("for reading only"));
    drop(tx);
}

#[test]
fn an_unmarked_store_is_damaged() {
    let mut files = Files::new();
    let (store, file) = created(&mut files);
    file.execute_batch("DELETE FROM _turnmill_meta WHERE name = 'schema_version'").unwrap();
    assert!(fatal(open(&mut files.connect(&store))).contains("schema version"));
    file.execute_batch(
        &format!("DROP TABLE _turnmill_position; INSERT INTO _turnmill_meta VALUES ('schema_version', '{SCHEMA_VERSION}')"),
    )
    .unwrap();
    assert!(fatal(open(&mut files.connect(&store))).contains("not as turnmill made them"));
}

#[test]
fn a_store_can_be_looked_at_without_knowing_its_settings() {
    let mut files = Files::new();
    let settings = Settings { bare_slot_strings: true, ..Settings::default() };
    let mut store = files.create();
    pollster::block_on(store.open(&settings)).unwrap();
    let mut looking = files.connect(&store).read_only();
    assert_eq!(looking.open_as_it_is().unwrap(), settings);
    assert!(pollster::block_on(looking.positions()).unwrap().is_empty());
    let mut empty = files.create();
    assert!(fatal(empty.open_as_it_is().map(drop)).contains("does not exist"));
    std::fs::write(empty.path().unwrap(), "").unwrap();
    assert!(fatal(empty.open_as_it_is().map(drop)).contains("is empty"));
}

/// Names of the files beside a store.
fn beside(path: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn reading_leaves_no_other_files() {
    let mut files = Files::new();
    let (store, file) = created(&mut files);
    let path = store.path().unwrap().to_owned();
    drop(file);
    store.finish().unwrap();
    let (before, bytes) = (beside(&path), std::fs::read(&path).unwrap());
    let mut looking = SqliteStore::file(&path).read_only();
    open(&mut looking).unwrap();
    pollster::block_on(looking.digests()).unwrap();
    looking.finish().unwrap();
    // Also without `finish`, and with a failed `open`.
    let mut dropped = SqliteStore::file(&path).read_only();
    dropped.open_as_it_is().unwrap();
    drop(dropped);
    assert_eq!(beside(&path), before);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);

    // While another process writes, its log is read and stays.
    let mut writing = SqliteStore::file(&path);
    open(&mut writing).unwrap();
    let mut looking = SqliteStore::file(&path).read_only();
    open(&mut looking).unwrap();
    pollster::block_on(looking.digests()).unwrap();
    looking.finish().unwrap();
    writing.finish().unwrap();
    assert_eq!(beside(&path), before);
}

#[test]
fn a_log_that_a_killed_writer_left_is_read_and_kept() {
    let mut files = Files::new();
    let (store, file) = created(&mut files);
    let path = store.path().unwrap().to_owned();
    file.execute_batch("INSERT INTO _turnmill_meta VALUES ('left', 'over')").unwrap();
    // As after a kill: a copy of the file and its log, taken while the log is in use.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.sqlite");
    let log = |path: &std::path::Path| std::path::PathBuf::from(format!("{}-wal", path.display()));
    std::fs::copy(&path, &copy).unwrap();
    std::fs::copy(log(&path), log(&copy)).unwrap();
    let kept = std::fs::read(log(&copy)).unwrap();
    assert!(!kept.is_empty());
    let mut looking = SqliteStore::file(&copy).read_only();
    open(&mut looking).unwrap();
    looking.finish().unwrap();
    assert_eq!(std::fs::read(log(&copy)).unwrap(), kept);
    let connection = rusqlite::Connection::open(&copy).unwrap();
    let found: i64 = connection
        .query_row("SELECT count(*) FROM _turnmill_meta WHERE name = 'left'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(found, 1);
}
