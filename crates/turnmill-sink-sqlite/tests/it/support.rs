//! Stores in a folder of their own.

use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;
use turnmill_ingest::testkit::Fixture;
use turnmill_sink_sqlite::SqliteStore;

/// Makes stores in a folder that goes with it.
#[derive(Debug)]
pub(crate) struct Files {
    folder: TempDir,
    made: usize,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), made: 0 }
    }

    /// A path without a file.
    pub(crate) fn path(&mut self) -> PathBuf {
        self.made += 1;
        self.folder.path().join(format!("{}.sqlite", self.made))
    }

    /// The stores made so far.
    pub(crate) fn paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        (1..=self.made).map(|number| self.folder.path().join(format!("{number}.sqlite")))
    }
}

impl Fixture for Files {
    type Store = SqliteStore;

    fn create(&mut self) -> SqliteStore {
        SqliteStore::file(self.path())
    }

    fn connect(&mut self, store: &SqliteStore) -> SqliteStore {
        SqliteStore::file(store.path().unwrap())
    }

    fn fail_after(&mut self, store: &mut SqliteStore, statements: Option<u64>) {
        store.fail_after(statements);
    }

    fn refuse_text(&mut self, store: &mut SqliteStore, text: Option<&str>) {
        let other = Connection::open(store.path().unwrap()).unwrap();
        other.execute_batch("DROP TRIGGER IF EXISTS refuse").unwrap();
        if let Some(text) = text {
            assert!(!text.contains('\''));
            let trigger = format!(
                "CREATE TRIGGER refuse BEFORE INSERT ON rasa_user_message WHEN NEW.text = '{text}' \
                 BEGIN SELECT RAISE(ABORT, 'this text is not wanted'); END"
            );
            other.execute_batch(&trigger).unwrap();
        }
    }
}

/// The one value that a query gives.
pub(crate) fn one<T: rusqlite::types::FromSql>(connection: &Connection, sql: &str) -> T {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}
