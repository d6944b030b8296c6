//! Stores in a database of their own, each in its own schema.

use std::future::Future;

use tokio_postgres::NoTls;
use turnmill_ingest::testkit::Fixture;
use turnmill_model::Settings;
use turnmill_sink::{Class, Store, StoreError};
use turnmill_sink_postgres::{ForeignKeys, PostgresSettings, PostgresStore};
use turnmill_testbed::postgres;

/// Runs a future with threads for the connections' traffic.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(future)
}

/// A runtime, to be entered by what blocks by other means.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A fresh database, in which every store that is made has a new schema.
#[derive(Debug)]
pub(crate) struct Schemas {
    pub(crate) url: String,
    foreign_keys: ForeignKeys,
    made: usize,
}

impl Schemas {
    /// None if there is no server; then the test is noted as skipped.
    pub(crate) fn new() -> Option<Self> {
        Some(Self::of(postgres::database()?))
    }

    /// The same, in a database whose texts compare by the rules of a language.
    pub(crate) fn english() -> Option<Self> {
        Some(Self::of(postgres::english_database()?))
    }

    fn of(url: String) -> Self {
        Self { url, foreign_keys: ForeignKeys::default(), made: 0 }
    }

    /// With references that are kept so.
    pub(crate) fn with_foreign_keys(self, foreign_keys: ForeignKeys) -> Self {
        Self { foreign_keys, ..self }
    }

    pub(crate) fn settings(&self, schema: &str) -> PostgresSettings {
        let settings: PostgresSettings = self.url.parse().unwrap();
        settings.with_schema(schema).with_foreign_keys(self.foreign_keys)
    }

    /// Settings for a schema that is not there yet.
    pub(crate) fn next(&mut self) -> PostgresSettings {
        self.made += 1;
        self.settings(&format!("Schema {}", self.made))
    }

    /// The schemas of the stores made so far.
    pub(crate) fn made(&self) -> impl Iterator<Item = String> {
        (1..=self.made).map(|number| format!("Schema {number}"))
    }

    /// Executes statements in a schema, by a connection of its own.
    pub(crate) fn execute(&self, schema: &str, sql: &str) -> Vec<String> {
        execute(&self.url, &format!("SET search_path TO \"{schema}\"; {sql}")).unwrap()
    }
}

/// Executes statements and returns the first column of all rows.
pub(crate) fn execute(url: &str, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let (url, sql) = (url.to_owned(), sql.to_owned());
    // On a thread of its own, because it may be called by what runs in a runtime.
    let run = move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let (client, traffic) = tokio_postgres::connect(&url, NoTls).await?;
            let traffic = tokio::spawn(traffic);
            let answers = client.simple_query(&sql).await?;
            drop(client);
            let _ = traffic.await;
            let first = |answer: tokio_postgres::SimpleQueryMessage| match answer {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(Into::into),
                _ => None,
            };
            Ok(answers.into_iter().filter_map(first).collect())
        })
    };
    std::thread::spawn(run).join().unwrap()
}

pub(crate) async fn open(store: &mut PostgresStore) -> Result<(), StoreError> {
    store.open(&Settings::default()).await.map(drop)
}

/// An open store in a new schema.
pub(crate) async fn opened(schemas: &mut Schemas) -> PostgresStore {
    let mut store = PostgresStore::new(schemas.next());
    open(&mut store).await.unwrap();
    store
}

/// The message of an error that has to be fatal.
#[track_caller]
pub(crate) fn fatal<T>(result: Result<T, StoreError>) -> String {
    let Err(error) = result else { panic!("there is no error") };
    assert_eq!(error.class(), Class::Fatal, "{error}");
    error.to_string()
}

/// The message of an error that has to be retryable.
#[track_caller]
pub(crate) fn retryable<T>(result: Result<T, StoreError>) -> String {
    let Err(error) = result else { panic!("there is no error") };
    assert!(matches!(error.class(), Class::Retryable { .. }), "{error}");
    error.to_string()
}

impl Fixture for Schemas {
    type Store = PostgresStore;

    fn create(&mut self) -> PostgresStore {
        PostgresStore::new(self.next())
    }

    fn connect(&mut self, store: &PostgresStore) -> PostgresStore {
        PostgresStore::new(store.settings().clone())
    }

    fn fail_after(&mut self, store: &mut PostgresStore, statements: Option<u64>) {
        store.fail_after(statements);
    }

    fn refuse_text(&mut self, store: &mut PostgresStore, text: Option<&str>) {
        let schema = store.settings().schema().to_owned();
        self.execute(&schema, "ALTER TABLE rasa_user_message DROP CONSTRAINT IF EXISTS refuse");
        if let Some(text) = text {
            assert!(!text.contains('\''));
            self.execute(
                &schema,
                &format!(
                    "ALTER TABLE rasa_user_message ADD CONSTRAINT refuse CHECK (text <> '{text}') NOT VALID"
                ),
            );
        }
    }
}
