//! The conformance suite through the enum, on both kinds of store.

use std::future::Future;

use tempfile::TempDir;
use turnmill_ingest::testkit::{Fixture, suite};
use turnmill_stores::AnyStore;
use turnmill_testbed::postgres;

/// Makes stores by URLs.
struct Urls {
    made: usize,
    place: Place,
}

enum Place {
    Folder(TempDir),
    Database(String),
}

impl Urls {
    fn store(&self, number: usize) -> AnyStore {
        match &self.place {
            Place::Folder(folder) => {
                let path = folder.path().join(format!("{number}.sqlite"));
                AnyStore::from_url(&format!("sqlite:{}", path.display())).unwrap()
            }
            Place::Database(url) => {
                AnyStore::from_url(url).unwrap().with_schema(Some(&format!("schema {number}")))
            }
        }
    }
}

impl Fixture for Urls {
    type Store = AnyStore;

    fn create(&mut self) -> AnyStore {
        self.made += 1;
        self.store(self.made)
    }

    fn connect(&mut self, store: &AnyStore) -> AnyStore {
        let number = (1..=self.made).find(|number| self.store(*number).to_string() == store.to_string());
        self.store(number.unwrap())
    }

    fn fail_after(&mut self, store: &mut AnyStore, statements: Option<u64>) {
        match store {
            AnyStore::Sqlite(store) => store.fail_after(statements),
            AnyStore::Postgres(store) => store.fail_after(statements),
        }
    }

    fn refuse_text(&mut self, store: &mut AnyStore, text: Option<&str>) {
        assert!(text.is_none_or(|text| !text.contains('\'')));
        match (store, &self.place) {
            (AnyStore::Sqlite(store), _) => {
                let mut sql = "DROP TRIGGER IF EXISTS refuse;".to_owned();
                if let Some(text) = text {
                    sql.push_str(&format!(
                        "CREATE TRIGGER refuse BEFORE INSERT ON rasa_user_message WHEN NEW.text = '{text}' \
                         BEGIN SELECT RAISE(ABORT, 'not wanted'); END"
                    ));
                }
                rusqlite::Connection::open(store.path().unwrap()).unwrap().execute_batch(&sql).unwrap();
            }
            (AnyStore::Postgres(store), Place::Database(url)) => {
                let schema = store.settings().schema();
                let mut sql = format!(
                    "SET search_path TO \"{schema}\"; \
                     ALTER TABLE rasa_user_message DROP CONSTRAINT IF EXISTS refuse;"
                );
                if let Some(text) = text {
                    sql.push_str(&format!(
                        "ALTER TABLE rasa_user_message ADD CONSTRAINT refuse CHECK (text <> '{text}') NOT VALID"
                    ));
                }
                execute(url.clone(), sql);
            }
            _ => unreachable!("a store in PostgreSQL has a database"),
        }
    }
}

/// Executes statements in PostgreSQL, on a thread of its own because this one is in a runtime.
fn execute(url: String, sql: String) {
    let run = move || {
        block_on(async {
            let (client, traffic) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            let traffic = tokio::spawn(traffic);
            client.batch_execute(&sql).await.unwrap();
            drop(client);
            traffic.await.unwrap().unwrap();
        });
    };
    std::thread::spawn(run).join().unwrap();
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

#[test]
fn sqlite_conforms() {
    let place = Place::Folder(tempfile::tempdir().unwrap());
    block_on(suite(&mut Urls { made: 0, place }));
}

#[test]
fn postgres_conforms() {
    let Some(url) = postgres::database() else { return };
    block_on(suite(&mut Urls { made: 0, place: Place::Database(url) }));
}
