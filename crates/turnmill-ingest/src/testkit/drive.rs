//! Delivers records to stores in any order, by any number of writers, with failures.

use turnmill_model::{PartitionId, Record, Refused};

use super::{Fixture, OwnedRecord};
use crate::{Accounting, Arrivals, Ingest, MakeDeadLetter, Report, RowRules};
use turnmill_sink::digest::Digests;
use turnmill_sink::{Advance, Class, DeadLetter, Inspect, LedgerEntry, Store, StoreError};

/// Holds one batch of a test.
#[derive(Clone, Debug, Default)]
pub struct Delivery<'r> {
    /// Which writer delivers it, from 0.
    pub writer: usize,
    /// The records.
    pub records: Vec<&'r OwnedRecord>,
    /// Number of statements after which the first attempt fails; it is then retried.
    pub fail_after: Option<u64>,
}

/// Runs several writers on one store, each with its own connection, cache and source.
#[derive(Debug)]
pub struct Driver<'d, F: Fixture> {
    fixture: &'d mut F,
    writers: Vec<Writer<F::Store>>,
}

#[derive(Debug)]
struct Writer<S> {
    store: S,
    ingest: Ingest,
    key: PartitionId,
    position: Option<String>,
    delivered: u64,
}

impl<'d, F: Fixture> Driver<'d, F>
where
    F::Store: std::fmt::Debug,
{
    /// Creates a store with `writers` writers under `rules`. `cache_bytes` is the budget of each
    /// writer's cache.
    ///
    /// # Panics
    ///
    /// If the store cannot be opened.
    pub async fn new(fixture: &'d mut F, rules: &RowRules, writers: usize, cache_bytes: usize) -> Self {
        // Few changes, so that the short conversations of tests take the path of a long replay.
        let rules = &rules.clone().with_gathered_changes(8);
        let mut stores = vec![fixture.create()];
        stores[0].open(rules.settings()).await.unwrap();
        for _ in 1..writers {
            let mut store = fixture.connect(&stores[0]);
            store.open(rules.settings()).await.unwrap();
            stores.push(store);
        }
        let writer = |(number, store)| Writer {
            store,
            ingest: Ingest::new(rules, cache_bytes),
            key: PartitionId { source: "test".into(), partition: format!("{number}") },
            position: None,
            delivered: 0,
        };
        Self { writers: stores.into_iter().enumerate().map(writer).collect(), fixture }
    }

    /// Delivers one batch. Retryable failures are retried, without further failures.
    ///
    /// # Panics
    ///
    /// If the store fails for good.
    pub async fn deliver(&mut self, delivery: &Delivery<'_>) -> Report {
        let count = self.writers.len();
        let writer = &mut self.writers[delivery.writer % count];
        let records = delivery.records.iter().map(|given| given.as_record());
        if delivery.fail_after.is_some() {
            self.fixture.fail_after(&mut writer.store, delivery.fail_after);
            let attempt = writer.deliver(records.clone()).await;
            self.fixture.fail_after(&mut writer.store, None);
            match attempt {
                Ok(report) => return report,
                Err(error) => assert!(matches!(error.class(), Class::Retryable { .. }), "{error}"),
            }
        }
        writer.deliver(records).await.unwrap_or_else(|error| panic!("delivery failed: {error}"))
    }

    /// Returns the store of the first writer.
    pub fn store(&mut self) -> &mut F::Store {
        &mut self.writers[0].store
    }

    /// Returns the tables' digests, after checking that the ledger adds up.
    ///
    /// # Panics
    ///
    /// If the ledger does not add up, or the store cannot be read.
    pub async fn digests(&mut self) -> Digests {
        for LedgerEntry { source, counts } in self.store().ledger().await.unwrap() {
            assert!(counts.adds_up(), "ledger of {source} does not add up: {counts:?}");
        }
        self.store().digests().await.unwrap()
    }
}

impl<S: Store> Writer<S> {
    async fn deliver<'a>(&mut self, records: impl Iterator<Item = Record<'a>>) -> Result<Report, StoreError> {
        let mut arrivals = Arrivals::default();
        for record in records {
            arrivals.push(self.ingest.decoders(), record);
        }
        // Packing ahead must give the same as packing inside the transaction.
        if self.delivered.is_multiple_of(2) {
            arrivals.pack(self.ingest.decoders());
        }
        let to = (self.delivered + arrivals.len() as u64).to_string();
        let advance = Advance { key: self.key.clone(), from: self.position.clone(), to: to.clone() };
        let letters = PlainLetters { arrivals: &arrivals, key: &self.key };
        let accounting = Accounting::Source(&self.key.source);
        let report =
            self.ingest.ingest(&mut self.store, &arrivals, &[advance], &accounting, &letters).await?;
        self.position = Some(to);
        self.delivered += arrivals.len() as u64;
        Ok(report)
    }
}

/// Makes dead letters without a payload, for tests whose records are all accepted.
#[derive(Clone, Copy, Debug)]
pub struct NoLetters;

impl MakeDeadLetter for NoLetters {
    fn dead_letter(&self, record: usize, refused: &Refused) -> DeadLetter {
        let key = PartitionId::new("test", "0");
        DeadLetter::new(&key, &record.to_string(), &Record::default(), refused)
    }
}

/// Makes dead letters of records without an envelope.
pub(crate) struct PlainLetters<'l, 'a> {
    pub(crate) arrivals: &'l Arrivals<'a>,
    pub(crate) key: &'l PartitionId,
}

impl MakeDeadLetter for PlainLetters<'_, '_> {
    fn dead_letter(&self, record: usize, refused: &Refused) -> DeadLetter {
        DeadLetter::new(self.key, &record.to_string(), &self.arrivals.records[record], refused)
    }
}
