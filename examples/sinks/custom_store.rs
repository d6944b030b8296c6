//! Keeps a copy of all rows in a custom store, exactly once. The store is one table of JSON in
//! SQLite.
//!
//! The number of the last transaction is written together with its rows, so a repeated transaction
//! is skipped.
//!
//! ```text
//! cargo run -p turnmill --example sink_custom_store -- sqlite:rasa.sqlite copy.sqlite
//! ```

#![allow(clippy::print_stderr, reason = "it is a program that prints")]

use std::error::Error;

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use turnmill_pipeline::{OutboxRunner, Stop};
use turnmill_sink::outbox::{ChangeBatch, Operation, Origin, RowChange, SinkSpec};
use turnmill_sink::{Sink, SinkError};
use turnmill_stores::AnyStore;

/// A copy of all rows.
pub(crate) struct CustomStore(pub(crate) Connection);

impl CustomStore {
    pub(crate) fn open(path: &std::path::Path) -> rusqlite::Result<Self> {
        let file = Connection::open(path)?;
        file.execute_batch(
            "CREATE TABLE IF NOT EXISTS done (number INTEGER NOT NULL);
             CREATE TABLE IF NOT EXISTS copy (\"table\" TEXT, key TEXT, row TEXT, PRIMARY KEY (\"table\", key))",
        )?;
        Ok(Self(file))
    }

    fn apply(&mut self, batch: &ChangeBatch) -> rusqlite::Result<()> {
        let tx = self.0.transaction()?;
        if let Origin::Commit { number } = batch.origin {
            let done: Option<u64> =
                tx.query_row("SELECT number FROM done", [], |row| row.get(0)).optional()?;
            if done.is_some_and(|done| done >= number) {
                return Ok(());
            }
            tx.execute("DELETE FROM done", [])?;
            tx.execute("INSERT INTO done VALUES (?1)", [number])?;
        }
        batch.rows().try_for_each(|change| apply(&tx, &change))?;
        tx.commit()
    }
}

fn apply(tx: &Transaction<'_>, change: &RowChange<'_>) -> rusqlite::Result<()> {
    let (table, key) = (change.table, change.key());
    let row = serde_json::to_string(change).unwrap_or_default();
    match change.operation {
        Operation::Reset => tx.execute("DELETE FROM copy", []),
        Operation::Clear => tx.execute(
            "DELETE FROM copy WHERE row ->> 'sender_id' = ?1 OR (\"table\" = 'rasa_sender' AND key = ?1)",
            [key],
        ),
        Operation::Put => tx.execute("REPLACE INTO copy VALUES (?1, ?2, ?3)", [table, &key, &row]),
        Operation::Merge => tx.execute(
            "INSERT INTO copy VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET row = json_set(row,
             '$.first_seen', min(row ->> 'first_seen', excluded.row ->> 'first_seen'),
             '$.last_seen', max(row ->> 'last_seen', excluded.row ->> 'last_seen'))",
            [table, &key, &row],
        ),
        Operation::Set => tx.execute(
            "UPDATE copy SET row = json_patch(row, ?3) WHERE \"table\" = ?1 AND key = ?2",
            [table, &key, &row],
        ),
        Operation::Delete => tx.execute("DELETE FROM copy WHERE \"table\" = ?1 AND key = ?2", [table, &key]),
    }
    .map(drop)
}

impl Sink for CustomStore {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<(), SinkError> {
        self.apply(batch).map_err(|error| SinkError::retryable(error.to_string()))
    }
}

#[allow(dead_code, reason = "the tests have a main of their own")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, path] = arguments.as_slice() else { return Err("usage: sink_custom_store STORE FILE".into()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let store = AnyStore::from_url(url)?.with_password_of_process();
        let settings = store.stored_settings().await?;
        let copy = CustomStore::open(path.as_ref())?;
        let mut runner = OutboxRunner::new(store, &settings, SinkSpec::new("copy"), copy, Stop::default());
        Ok(runner.run(&mut |event| eprintln!("{event:?}")).await?)
    })
}
