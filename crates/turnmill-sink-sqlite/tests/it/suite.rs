//! The conformance suite, and the state of the files after it.

use rusqlite::Connection;
use turnmill_ingest::testkit::{outbox_suite, suite, upkeep_suite};

use crate::support::{Files, one};

#[test]
fn the_store_conforms_and_its_files_are_sound() {
    let mut files = Files::new();
    pollster::block_on(suite(&mut files));
    pollster::block_on(upkeep_suite(&mut files));
    pollster::block_on(outbox_suite(&mut files));
    let mut rows = 0;
    for path in files.paths().filter(|path| path.exists()) {
        let file = Connection::open(&path).unwrap();
        assert_eq!(one::<String>(&file, "PRAGMA integrity_check"), "ok");
        let broken = file.query_row("PRAGMA foreign_key_check", [], |row| row.get::<_, String>(0));
        assert!(matches!(broken, Err(rusqlite::Error::QueryReturnedNoRows)), "{path:?}: {broken:?}");
        let unowned =
            "SELECT count(*) FROM _turnmill_event_error WHERE length(id) <> 16 OR typeof(id) <> 'blob'";
        assert_eq!(one::<i64>(&file, unowned), 0);
        rows += one::<i64>(&file, "SELECT count(*) FROM rasa_event");
    }
    assert!(rows > 1000, "the suite has written something: {rows}");
}
