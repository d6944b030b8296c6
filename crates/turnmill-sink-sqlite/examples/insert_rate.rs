//! Measures how fast the store writes, compared with plain prepared statements that insert the same
//! rows into the same tables.
//!
//! `cargo run --release -p turnmill-sink-sqlite --example insert_rate -- [senders] [events per
//! batch]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for the console")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::types::Value as Owned;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::{OwnedRecord, conversation};
use turnmill_ingest::{Accounting, Arrivals, Ingest, MakeDeadLetter, RowRules};
use turnmill_model::tables::Value;
use turnmill_model::{Changes, Key, SenderId, SessionId, Settings};
use turnmill_sink::{
    Batch, Claim, DeadLetter, EventLookup, HistoryPage, HistoryRequest, Locked, Opened, PatternSet, Store,
    StoreError, StoredCopies, Transaction,
};
use turnmill_sink_sqlite::{SqliteStore, SqliteTransaction};
use turnmill_sql::statements::{Input, OnConflict, Target};
use turnmill_sql::{Dialect, Schema};

#[derive(Default)]
struct Log {
    times: BTreeMap<&'static str, Duration>,
    changes: Vec<Changes>,
    internal: usize,
}

/// The store, with a clock.
struct Timed(SqliteStore, Arc<Mutex<Log>>);

struct TimedTransaction<'s>(SqliteTransaction<'s>, Arc<Mutex<Log>>);

async fn timed<T>(log: &Mutex<Log>, what: &'static str, work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let result = work.await;
    *log.lock().unwrap().times.entry(what).or_default() += start.elapsed();
    result
}

impl Store for Timed {
    type Tx<'s> = TimedTransaction<'s>;

    async fn open(&mut self, settings: &Settings) -> Result<Opened, StoreError> {
        self.0.open(settings).await
    }

    async fn patterns(&mut self) -> Result<PatternSet, StoreError> {
        self.0.patterns().await
    }

    async fn begin<'s>(&'s mut self, claim: &'s Claim) -> Result<Self::Tx<'s>, StoreError> {
        let log = self.1.clone();
        Ok(TimedTransaction(timed(&self.1, "begin", self.0.begin(claim)).await?, log))
    }
}

impl Transaction for TimedTransaction<'_> {
    fn settings(&self) -> &Settings {
        self.0.settings()
    }

    fn patterns_revision(&self) -> u64 {
        self.0.patterns_revision()
    }

    async fn timelines(&mut self) -> Result<Vec<Locked>, StoreError> {
        timed(&self.1, "timelines", self.0.timelines()).await
    }

    async fn known(&mut self, events: &[EventLookup]) -> Result<Vec<StoredCopies>, StoreError> {
        timed(&self.1, "known", self.0.known(events)).await
    }

    async fn session_owners(&mut self, ids: &[SessionId]) -> Result<Vec<Option<SenderId>>, StoreError> {
        timed(&self.1, "session owners", self.0.session_owners(ids)).await
    }

    async fn histories(&mut self, requests: &[HistoryRequest]) -> Result<Vec<HistoryPage>, StoreError> {
        timed(&self.1, "history", self.0.histories(requests)).await
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        {
            let mut log = self.1.lock().unwrap();
            log.changes.push(batch.changes.clone());
            log.internal += batch.timelines.len() + batch.history.len() + batch.checkpoints.len();
        }
        timed(&self.1, "write", self.0.write(batch)).await
    }

    async fn commit(self) -> Result<(), StoreError> {
        timed(&self.1, "commit", self.0.commit()).await
    }
}

struct NoLetters;

impl MakeDeadLetter for NoLetters {
    fn dead_letter(&self, _: usize, refused: &turnmill_model::Refused) -> DeadLetter {
        unreachable!("{refused}")
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().unwrap());
    let senders = arguments.next().unwrap_or(2000);
    let batch = arguments.next().unwrap_or(5000);
    let mut lines: Vec<(String, String)> = (0..senders)
        .flat_map(|sender| conversation(&format!("u{sender}"), 7, 1_656_382_549.5 + sender as f64 * 0.05))
        .map(|line| {
            let at = line.find("\"timestamp\": ").unwrap() + 13;
            (line[at..].split(',').next().unwrap().to_owned(), line)
        })
        .collect();
    lines.sort();
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::default();
    let rules = RowRules::new(&settings, RasaDecoder::new);
    let log = Arc::new(Mutex::new(Log::default()));
    let mut store = Timed(SqliteStore::file(folder.path().join("store.sqlite")), log.clone());
    pollster::block_on(store.open(&settings)).unwrap();
    let mut ingest = Ingest::new(&rules, 64 << 20);
    let given: Vec<OwnedRecord> = lines.iter().map(|(_, line)| OwnedRecord::body(line.as_bytes())).collect();
    let start = Instant::now();
    for given in given.chunks(batch) {
        let mut arrivals = Arrivals::default();
        given.iter().for_each(|given| arrivals.push(rules.decoders(), given.as_record()));
        let done = ingest.ingest(&mut store, &arrivals, &[], &Accounting::Source("rate"), &NoLetters);
        pollster::block_on(done).unwrap();
    }
    let all = start.elapsed();
    let log = log.lock().unwrap();
    println!("{} events in batches of {batch}, {all:.2?} in all", given.len());
    println!("store: {:.2?}", log.times);
    println!("{} internal rows besides", log.internal);
    let written = plain(folder.path().join("batches.sqlite"), &log.changes, true);
    plain(folder.path().join("one.sqlite"), &log.changes, false);
    let per_second = written as f64 / (log.times["write"] + log.times["commit"]).as_secs_f64();
    println!("store: {written} rows of public tables, {per_second:.0} rows/s in write and commit");
    let start = Instant::now();
    store.0.finish().unwrap();
    println!("finish: {:.2?}", start.elapsed());
    for file in ["store", "batches"] {
        let size = std::fs::metadata(folder.path().join(format!("{file}.sqlite"))).unwrap().len();
        println!("{file}.sqlite: {:.1} MB", size as f64 / 1e6);
    }
}

/// Writes the rows of the public tables with one prepared statement each, from prepared values.
fn plain(path: std::path::PathBuf, changes: &[Changes], each_batch: bool) -> usize {
    let db = Connection::open(path).unwrap();
    db.execute_batch("PRAGMA journal_mode = wal; PRAGMA synchronous = normal; PRAGMA cache_size = -65536; PRAGMA foreign_keys = 0;").unwrap();
    db.execute_batch("PRAGMA wal_autocheckpoint = 65536").unwrap();
    for statement in Schema::new(Dialect::Sqlite).statements() {
        db.execute_batch(&statement).unwrap();
    }
    let mut batches: Vec<Vec<(String, Vec<Vec<Owned>>)>> = Vec::new();
    let mut count = 0;
    for changes in changes {
        let (mut statements, mut deletes) = (Vec::new(), Vec::new());
        changes.for_each_table(|table| {
            let target = Target::from(table.table);
            let owned = |rows: turnmill_model::RowView<'_>| -> Vec<Vec<Owned>> {
                let value = |row, column| owned(rows.value(row, column));
                (0..rows.len())
                    .map(|row| (0..table.table.columns.len()).map(|column| value(row, column)).collect())
                    .collect()
            };
            let conflict = match table.table.name {
                "rasa_user" => OnConflict::Widen,
                "rasa_session_slot_state" => OnConflict::Replace,
                _ => OnConflict::Fail,
            };
            let ends =
                table.ends.iter().map(|end| vec![owned_id(end.id), Owned::Integer(end.end_sequence_number)]);
            let one = Input::Rows(1);
            statements.push((target.insert(Dialect::Sqlite, one, conflict), owned(table.inserts)));
            statements.push((target.update(Dialect::Sqlite, one), owned(table.updates)));
            statements.push((
                target.update_columns(Dialect::Sqlite, one, &["end_sequence_number"]),
                ends.collect(),
            ));
            let key = |key: &Key| match key {
                Key::Id(id) => vec![owned_id(*id)],
                Key::Path(path) => vec![Owned::Text(table.texts.get(*path).into())],
            };
            deletes.push((
                target.delete(Dialect::Sqlite, one),
                table.deletes.iter().map(key).collect::<Vec<_>>(),
            ));
        });
        deletes.reverse();
        statements.extend(deletes);
        count += statements.iter().map(|(_, rows)| rows.len()).sum::<usize>();
        batches.push(statements);
    }
    let start = Instant::now();
    if !each_batch {
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
    }
    let mut insert_time = Duration::ZERO;
    for statements in &batches {
        if each_batch {
            db.execute_batch("BEGIN IMMEDIATE").unwrap();
        }
        let inserting = Instant::now();
        for (sql, rows) in statements.iter().filter(|(_, rows)| !rows.is_empty()) {
            let mut statement = db.prepare_cached(sql).unwrap();
            for row in rows {
                statement.execute(rusqlite::params_from_iter(row)).unwrap();
            }
        }
        insert_time += inserting.elapsed();
        if each_batch {
            db.execute_batch("COMMIT").unwrap();
        }
    }
    if !each_batch {
        db.execute_batch("COMMIT").unwrap();
    }
    let took = start.elapsed();
    let transactions = if each_batch { "a transaction per batch" } else { "one transaction" };
    println!(
        "plain, {transactions}: {count} rows in {took:.2?} ({insert_time:.2?} before the commits), {:.0} rows/s",
        count as f64 / took.as_secs_f64()
    );
    count
}

fn owned_id(id: uuid::Uuid) -> Owned {
    Owned::Text(id.to_string())
}

fn owned(value: Value<'_>) -> Owned {
    match value {
        Value::Null => Owned::Null,
        Value::Id(id) => owned_id(id),
        Value::Text(text) => Owned::Text(text.into()),
        Value::Integer(number) => Owned::Integer(number),
        Value::Float(number) => Owned::Real(number),
        Value::DateTime(time) => Owned::Text(time.to_string()),
        Value::Boolean(truth) => Owned::Integer(truth.into()),
    }
}
