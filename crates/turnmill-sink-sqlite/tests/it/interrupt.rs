//! A question without a caller, and one that takes too long.

use std::time::Duration;

use turnmill_analytics::{Query, ReadQueries as _};
use turnmill_model::Settings;
use turnmill_sink::Store as _;
use turnmill_sink_sqlite::{SqliteReader, SqliteStore};

use crate::support::Files;

/// A query that never ends by itself.
const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

fn reader(files: &mut Files, limit: Duration) -> SqliteReader {
    let path = files.path();
    let mut store = SqliteStore::file(&path);
    pollster::block_on(store.open(&Settings::default())).unwrap();
    store.reader(limit).unwrap()
}

fn read(reader: &mut SqliteReader, sql: &str) -> Result<i64, String> {
    let rows = pollster::block_on(reader.read(&[Query::new("test", sql.into())]));
    rows.map(|rows| rows[0][0][0].integer()).map_err(|error| error.to_string())
}

#[test]
fn an_interrupted_query_ends_and_no_other_begins() {
    let mut files = Files::new();
    let mut reader = reader(&mut files, Duration::from_secs(100_000));
    assert_eq!(read(&mut reader, "SELECT 7"), Ok(7));
    let interrupt = reader.interrupt_handle();
    let other = std::thread::spawn(move || {
        // The query has begun or will begin: both are ended.
        std::thread::sleep(Duration::from_millis(20));
        interrupt.interrupt();
    });
    let error = read(&mut reader, ENDLESS).unwrap_err();
    assert!(error.contains("was interrupted"), "{error}");
    other.join().unwrap();
    let error = read(&mut reader, "SELECT 7").unwrap_err();
    assert!(error.contains("was interrupted"), "{error}");
}

#[test]
fn a_query_that_takes_too_long_ends_and_the_reader_goes_on() {
    let mut files = Files::new();
    let mut reader = reader(&mut files, Duration::from_millis(100));
    let error = read(&mut reader, ENDLESS).unwrap_err();
    assert!(error.contains("took longer than 0.1 s"), "{error}");
    assert_eq!(read(&mut reader, "SELECT 7"), Ok(7));
}

#[test]
fn the_reader_may_be_gone() {
    let mut files = Files::new();
    let reader = reader(&mut files, Duration::from_secs(1));
    let interrupt = reader.interrupt_handle();
    drop(reader);
    interrupt.interrupt();
}
