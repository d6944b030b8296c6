//! Tests that the tables are the documented ones.

use std::collections::BTreeSet;

use rusqlite::Connection;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::{Delivery, Driver, NoLetters, OwnedRecord, conversation};
use turnmill_ingest::{Accounting, Arrivals, Ingest, RowRules};
use turnmill_model::Settings;
use turnmill_model::tables::{ColumnType, PUBLIC};
use turnmill_sink::{Inspect, Store, Upkeep};
use turnmill_sink_sqlite::SqliteStore;
use turnmill_sql::migrations::SCHEMA_VERSION;
use turnmill_sql::{Dialect, References, indexes, internal};

use crate::support::{Files, one};

fn created(settings: &Settings) -> (Files, Connection) {
    let mut files = Files::new();
    let path = files.path();
    let mut store = SqliteStore::file(&path);
    pollster::block_on(store.open(settings)).unwrap();
    store.finish().unwrap();
    (files, Connection::open(path).unwrap())
}

type ColumnInfo = (String, String, bool, i64);

fn columns(file: &Connection, table: &str) -> Vec<ColumnInfo> {
    let mut query =
        file.prepare("SELECT name, type, \"notnull\", pk FROM pragma_table_info(?1) ORDER BY cid").unwrap();
    let rows =
        query.query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn index_columns(file: &Connection, index: &str) -> Vec<String> {
    let mut query =
        file.prepare("SELECT name, \"desc\" FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno").unwrap();
    let rows = query.query_map([index], |row| {
        Ok(format!(
            "{}{}",
            row.get::<_, Option<String>>(0)?.unwrap_or_default(),
            if row.get(1)? { " DESC" } else { "" }
        ))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// Indexes except those of keys.
fn index_names(file: &Connection) -> BTreeSet<String> {
    let names = "SELECT name FROM sqlite_master WHERE type = 'index' AND name NOT GLOB 'sqlite_*'";
    let mut query = file.prepare(names).unwrap();
    query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_store_of_version_1_gets_the_indexes_of_now_and_keeps_its_rows() {
    let mut files = Files::new();
    let settings = Settings::default();
    let rules = RowRules::new(&settings, RasaDecoder::new).with_checkpoint_every(8);
    let given: Vec<OwnedRecord> =
        conversation("u1", 30, 1_656_382_549.5).into_iter().map(OwnedRecord::body).collect();
    pollster::block_on(async {
        let mut driver = Driver::new(&mut files, &rules, 1, 4096).await;
        driver.deliver(&Delivery { records: given.iter().collect(), ..Delivery::default() }).await;
    });
    let mut present = SqliteStore::file(files.paths().last().unwrap());
    pollster::block_on(present.open(&settings)).unwrap();
    let path = files.path();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../data/version-1.sql")).unwrap();
    old.execute("ATTACH ?1 AS present", [present.path().unwrap().to_str().unwrap()]).unwrap();
    // Version 5 added the tables of facts.
    let public = PUBLIC
        .iter()
        .filter(|table| !table.is_extension())
        .map(|table| (table.name, table.columns.iter().map(|column| column.name).collect::<Vec<_>>()));
    // Version 4 added these.
    let of_version_1 = |table: &&&internal::InternalTable| {
        !table.name.starts_with("_turnmill_outbox") && table.name != "_turnmill_sink"
    };
    let own = internal::ALL
        .iter()
        .filter(of_version_1)
        .map(|table| (table.name, table.columns.iter().map(|column| column.name).collect()));
    for (table, mut columns) in public.chain(own) {
        // Versions 2 and 5 added these.
        columns.retain(|column| !["assistant", "changed", "record_row", "facts", "parts"].contains(column));
        let columns = columns.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
        old.execute_batch(&format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM present.{table}"))
            .unwrap();
    }
    old.execute_batch(
        "UPDATE _turnmill_meta SET value = '1' WHERE name = 'schema_version'; \
         DELETE FROM _turnmill_migrations WHERE number > 1; DETACH present",
    )
    .unwrap();
    // A user's view of a table that is gone must not stop the migration.
    old.execute_batch("CREATE VIEW of_a_user AS SELECT * FROM gone").unwrap();
    let mut store = SqliteStore::file(&path);
    let survey = store.survey().unwrap();
    assert_eq!((survey.pending.len(), survey.problem), (6, None), "{:?}", survey.pending);
    assert!(survey.pending[5].contains("7 (keys of history and states): copies"), "{:?}", survey.pending);
    pollster::block_on(store.open(&settings)).unwrap();
    assert_eq!(store.survey().unwrap().pending, [""; 0]);
    let fresh = Connection::open(present.path().unwrap()).unwrap();
    assert_eq!(index_names(&old), index_names(&fresh));
    for table in [&internal::HISTORY, &internal::TIMELINE] {
        let name = table.name;
        let ddl = format!("SELECT sql FROM sqlite_master WHERE name = '{name}'");
        assert_eq!(one::<String>(&old, &ddl).replace('"', ""), one::<String>(&fresh, &ddl).replace('"', ""));
        old.execute("ATTACH ?1 AS present", [present.path().unwrap().to_str().unwrap()]).unwrap();
        let columns = table.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        let differ = format!(
            "SELECT count(*) FROM (SELECT {columns} FROM present.{name} EXCEPT SELECT {columns} FROM main.{name})"
        );
        let rows = |schema: &str| one::<i64>(&old, &format!("SELECT count(*) FROM {schema}.{name}"));
        assert!(rows("main") > 0, "{name}");
        assert_eq!((rows("main"), one::<i64>(&old, &differ)), (rows("present"), 0), "{name}");
        old.execute_batch("DETACH present").unwrap();
    }
    assert_eq!(one::<i64>(&old, "SELECT count(*) FROM _turnmill_migrations"), i64::from(SCHEMA_VERSION));
    let digests = pollster::block_on(store.digests()).unwrap();
    let expected = pollster::block_on(present.digests()).unwrap();
    for table in PUBLIC {
        if table.is_extension() {
            assert_eq!(digests.tables[table.name].rows, 0, "{}: a rebuild fills it", table.name);
        } else {
            assert_eq!(digests.tables[table.name], expected.tables[table.name], "{}", table.name);
        }
    }
    pollster::block_on(store.open(&settings)).unwrap();
}

/// Senders' ids come in no order, so a new sender belongs to another page of each tree that is
/// ordered by them. All other pages are the newest ones of their trees, which new senders share.
#[test]
fn a_new_sender_writes_few_pages_of_a_large_store() {
    let mut files = Files::new();
    let settings = Settings::default();
    let rules = RowRules::new(&settings, RasaDecoder::new);
    let hello = |sender: usize| {
        OwnedRecord::body(format!(
            r#"{{"sender_id": "u{sender}", "event": "user", "text": "hi", "timestamp": {}, "metadata": {{}}}}"#,
            1_656_382_549.0 + sender as f64 * 0.25
        ))
    };
    pollster::block_on(async {
        let mut driver = Driver::new(&mut files, &rules, 1, 1 << 20).await;
        for batch in 0..12 {
            let given: Vec<OwnedRecord> = (0..1000).map(|sender| hello(batch * 1000 + sender)).collect();
            driver.deliver(&Delivery { records: given.iter().collect(), ..Delivery::default() }).await;
        }
    });
    let path = files.paths().last().unwrap();
    let mut store = SqliteStore::file(&path);
    pollster::block_on(store.open(&settings)).unwrap();
    store.finish().unwrap();
    // A reader keeps the log, so that its pages can be counted.
    let reader = Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM _turnmill_meta").unwrap();
    let new = 100;
    pollster::block_on(async {
        let mut store = SqliteStore::file(&path);
        store.open(&settings).await.unwrap();
        let given: Vec<OwnedRecord> = (0..new).map(|sender| hello(50_000 + sender)).collect();
        let mut arrivals = Arrivals::default();
        given.iter().for_each(|record| arrivals.push(rules.decoders(), record.as_record()));
        let ledger = Accounting::Source("more");
        Ingest::new(&rules, 0).ingest(&mut store, &arrivals, &[], &ledger, &NoLetters).await.unwrap();
    });
    let log = std::fs::metadata(path.with_extension("sqlite-wal")).unwrap().len();
    let pages = log / (4096 + 24);
    // Four trees have ids of senders: senders, sessions by sender, history, states.
    assert!(pages < 4 * new as u64 + 60, "{pages} pages for {new} senders");
    assert!(pages > 2 * new as u64, "{pages} pages: the store is too small for this test");
}

/// A store that the last version without tables of facts has filled.
#[test]
fn a_store_without_facts_is_refused_until_a_rebuild_has_filled_them() {
    let mut files = Files::new();
    let settings = Settings::default();
    let rules = RowRules::new(&settings, RasaDecoder::new).with_checkpoint_every(8);
    let given: Vec<OwnedRecord> =
        conversation("u1", 30, 1_656_382_549.5).into_iter().map(OwnedRecord::body).collect();
    pollster::block_on(async {
        let mut driver = Driver::new(&mut files, &rules, 1, 4096).await;
        driver.deliver(&Delivery { records: given.iter().collect(), ..Delivery::default() }).await;
    });
    let path = files.paths().last().unwrap();
    let mut store = SqliteStore::file(&path);
    pollster::block_on(store.open(&settings)).unwrap();
    let expected = pollster::block_on(store.digests()).unwrap();
    assert!(expected.tables["ext_session"].rows > 0 && expected.tables["ext_turn"].rows > 10);
    drop(store);
    let file = Connection::open(&path).unwrap();
    for view in turnmill_sql::views::ALL {
        file.execute_batch(&format!("DROP VIEW {}", view.name)).unwrap();
    }
    for table in PUBLIC.iter().rev().filter(|table| table.is_extension()) {
        file.execute_batch(&format!("DROP TABLE {}", table.name)).unwrap();
    }
    file.execute_batch(
        "UPDATE _turnmill_meta SET value = '5' WHERE name = 'schema_version'; \
         UPDATE _turnmill_meta SET value = '2' WHERE name = 'engine_version'; \
         DELETE FROM _turnmill_migrations WHERE number > 5",
    )
    .unwrap();
    for mut old in [SqliteStore::file(&path), SqliteStore::file(&path).read_only()] {
        let error = pollster::block_on(old.open(&settings)).map(drop).unwrap_err().to_string();
        assert!(error.contains("turnmill rebuild"), "{error}");
    }
    let mut store = SqliteStore::file(&path);
    pollster::block_on(async {
        let mut ingest = Ingest::new(&rules, 0);
        store.begin_rebuild(&settings).await.unwrap();
        let senders = store.senders(None, 100).await.unwrap();
        ingest.rebuild(&mut store, &senders, None).await.unwrap();
        store.end_rebuild(&settings).await.unwrap();
    });
    let mut store = SqliteStore::file(&path);
    pollster::block_on(store.open(&settings)).unwrap();
    assert_eq!(pollster::block_on(store.digests()).unwrap(), expected);
}

#[test]
fn every_table_and_column_is_there_and_nothing_else() {
    let (_files, file) = created(&Settings::default());
    for table in PUBLIC {
        let expected: Vec<ColumnInfo> = table
            .columns
            .iter()
            .enumerate()
            .map(|(number, column)| {
                let ty = match column.ty {
                    ColumnType::Id | ColumnType::Varchar(_) | ColumnType::Text | ColumnType::DateTime => {
                        "TEXT"
                    }
                    ColumnType::Integer | ColumnType::Boolean => "INTEGER",
                    ColumnType::Float => "REAL",
                };
                (column.name.to_owned(), ty.to_owned(), !column.nullable, i64::from(number == 0))
            })
            .collect();
        assert_eq!(columns(&file, table.name), expected, "{}", table.name);
        if let Some(view) = table.view {
            assert_eq!(
                columns(&file, view).into_iter().map(|column| column.0).collect::<Vec<_>>(),
                table.columns.iter().map(|column| column.name).collect::<Vec<_>>()
            );
        }
        let mut query = file.prepare("SELECT \"from\", \"table\" FROM pragma_foreign_key_list(?1)").unwrap();
        let found: BTreeSet<(String, String)> = query
            .query_map([table.name], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let references =
            table.columns.iter().filter_map(|column| Some((column.name.into(), column.references?.into())));
        assert_eq!(found, references.collect(), "{}", table.name);
    }
    for index in indexes::all(Dialect::Sqlite, References::Declared) {
        // An expression has no name.
        let named = |column: &str| if column.contains('(') { String::new() } else { column.to_owned() };
        let expected: Vec<String> = index.columns.iter().map(|column| named(column)).collect();
        assert_eq!(index_columns(&file, &index.name), expected, "{}", index.name);
    }
    assert_eq!(index_names(&file).len(), indexes::all(Dialect::Sqlite, References::Declared).len());
    let mut names = file
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*'")
        .unwrap();
    let found: BTreeSet<String> =
        names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let known = PUBLIC.iter().map(|table| table.name).chain(internal::ALL.map(|table| table.name));
    assert_eq!(found, known.chain(["_turnmill_event_error"]).map(Into::into).collect());
}

#[test]
fn senders_of_several_formats_and_assistants_may_have_one_key() {
    let insert = "INSERT INTO rasa_sender (id, sender_key, first_seen, last_seen, assistant) VALUES ";
    let (_files, file) = created(&Settings::default());
    file.execute_batch(&format!("{insert} ('1', 'same', '', '', NULL), ('2', 'same', '', '', NULL)"))
        .unwrap();
    file.execute_batch(&format!("{insert} ('3', 'same', '', '', 'bank'), ('4', 'same', '', '', 'bank')"))
        .unwrap();
    file.execute_batch(&format!("{insert} ('1', 'other', '', '', NULL)")).unwrap_err();
}

#[test]
fn foreign_keys_can_be_left_out() {
    let mut files = Files::new();
    let path = files.path();
    let mut store = SqliteStore::file(&path).foreign_keys(false);
    pollster::block_on(store.open(&Settings::default())).unwrap();
    drop(store);
    let file = Connection::open(path).unwrap();
    assert_eq!(one::<i64>(&file, "SELECT count(*) FROM pragma_foreign_key_list('rasa_event')"), 0);
}

#[test]
fn a_finished_file_stands_alone_and_takes_a_search_of_history_from_the_index() {
    let (mut files, file) = created(&Settings::default());
    let path = files.paths().next().unwrap();
    drop(file);
    let copy = files.path();
    std::fs::copy(&path, &copy).unwrap();
    assert!(!path.with_extension("sqlite-wal").exists());
    let file = Connection::open(copy).unwrap();
    assert_eq!(one::<String>(&file, "PRAGMA journal_mode"), "wal");
    assert_eq!(one::<i64>(&file, "SELECT max(number) FROM _turnmill_migrations"), i64::from(SCHEMA_VERSION));
    let plan: String = file
        .query_row(
            "EXPLAIN QUERY PLAN SELECT rowid, number, least FROM _turnmill_history \
             WHERE sender_id = x'00' AND greatest >= 1.0 ORDER BY least, number",
            [],
            |row| row.get(3),
        )
        .unwrap();
    let by_key = "COVERING INDEX sqlite_autoindex__turnmill_history_1 (sender_id=? AND greatest>?)";
    assert!(plan.contains(by_key), "{plan}");
}
