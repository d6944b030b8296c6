//! Batches of records, through transactions of a store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use turnmill_engine::Engine;
use turnmill_model::{Decoder, Reason, Refused};
use turnmill_sink::{Advance, Class, Opened, Store, StoreError};

use crate::accounting::Accounting;
use crate::arrivals::{Arrivals, MakeDeadLetter};
use crate::attempt::Attempt;
use crate::batch_task::{BatchTask, Purpose};
use crate::cache::{Cache, CacheUsage};
use crate::report::Report;
use crate::rules::RowRules;
use crate::setback::Setback;

/// Takes batches of records through transactions of a store, and keeps senders' timelines in memory between them.
pub struct Ingest {
    rules: RowRules,
    /// The engine of the rules, with the store's patterns as of the last transaction.
    pub(crate) engine: Engine,
    pub(crate) cache: Cache,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Ingest {
    /// Ingests under `rules`; timelines are cached up to `cache_bytes`.
    #[must_use]
    pub fn new(rules: &RowRules, cache_bytes: usize) -> Self {
        Self { rules: rules.clone(), engine: rules.engine().clone(), cache: Cache::new(cache_bytes) }
    }

    /// Opens `store` under the settings of the rules, which it remembers, and says where each source stands.
    ///
    /// # Errors
    ///
    /// The store's: fatal if it was filled under other settings.
    pub async fn open<S: Store>(&self, store: &mut S) -> Result<Opened, StoreError> {
        store.open(self.rules.settings()).await
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &RowRules {
        &self.rules
    }

    /// The decoder of the rules, with which records are pushed into [`Arrivals`].
    #[must_use]
    pub fn decoder(&self) -> &dyn Decoder {
        self.rules.decoder()
    }

    /// Returns how many timelines are in memory.
    #[must_use]
    pub fn cache_usage(&self) -> CacheUsage {
        self.cache.usage()
    }

    /// Drops the timelines in memory: after a fence, or whenever another writer may have changed the store.
    pub fn clear_cache(&mut self) {
        self.cache.clear();
    }

    /// Writes what `arrivals` change and moves the positions of `advances`, in one transaction.
    ///
    /// # Errors
    ///
    /// The store's, other than poison: a record of which the store refuses a row becomes a dead letter made by `letters`.
    /// After an error nothing has changed, and the same call may be tried again if its class says so.
    pub async fn ingest<S: Store>(
        &mut self,
        store: &mut S,
        arrivals: &Arrivals<'_>,
        advances: &[Advance],
        accounting: &Accounting<'_>,
        letters: &dyn MakeDeadLetter,
    ) -> Result<Report, StoreError> {
        let mut task = BatchTask { arrivals, advances, accounting, letters, excluded: BTreeMap::new() };
        let result = self.retried(store, &task, Purpose::Commit).await;
        let result = match result {
            Err(error) if error.class() == Class::Poison => {
                task.excluded = self.find_poison(store, &task, error).await?;
                self.retried(store, &task, Purpose::Commit).await
            }
            result => result,
        };
        if result.is_err() {
            // What is in memory was made for rows that are not there.
            self.cache.clear();
        }
        result
    }

    /// Finds the records of which the store refuses a row, by halving.
    async fn find_poison<S: Store>(
        &mut self,
        store: &mut S,
        task: &BatchTask<'_, '_>,
        whole: StoreError,
    ) -> Result<BTreeMap<usize, Refused>, StoreError> {
        let records: BTreeSet<usize> = task.arrivals.record_of.iter().copied().collect();
        let mut suspects = vec![records.into_iter().collect::<Vec<_>>()];
        let mut poison = BTreeMap::new();
        while let Some(part) = suspects.pop() {
            self.cache.clear();
            match self.retried(store, task, Purpose::Probe(&part)).await {
                Ok(_) => {}
                Err(error) if error.class() != Class::Poison => return Err(error),
                Err(error) => match part.as_slice() {
                    [record] => {
                        poison.insert(*record, Refused::new(Reason::RefusedByStore, error.to_string()));
                    }
                    _ => {
                        let (front, back) = part.split_at(part.len() / 2);
                        suspects.extend([back.to_vec(), front.to_vec()]);
                    }
                },
            }
        }
        self.cache.clear();
        // Nothing is refused on its own: then no record can be named, and none may be lost.
        if poison.is_empty() { Err(StoreError::Damaged { detail: whole.to_string() }) } else { Ok(poison) }
    }

    /// Attempts with the store's present patterns.
    async fn retried<S: Store>(
        &mut self,
        store: &mut S,
        task: &BatchTask<'_, '_>,
        purpose: Purpose<'_>,
    ) -> Result<Report, StoreError> {
        loop {
            let Self { rules, engine, cache } = self;
            let mut attempt = Attempt { engine, decoder: rules.decoder(), cache };
            match attempt.run(store, task, purpose).await {
                Ok(report) => return Ok(report),
                Err(setback) => self.overcome(setback, store).await?,
            }
        }
    }

    /// Sees to it that the next attempt may come further, if that can be.
    pub(crate) async fn overcome<S: Store>(
        &mut self,
        setback: Setback,
        store: &mut S,
    ) -> Result<(), StoreError> {
        match setback {
            Setback::OtherPatterns => self.learn_patterns(store).await,
            Setback::Store(error) => Err(error),
        }
    }

    async fn learn_patterns<S: Store>(&mut self, store: &mut S) -> Result<(), StoreError> {
        let patterns = store.patterns().await?.compile()?;
        self.engine = self.engine.clone().with_patterns(Arc::new(patterns));
        Ok(())
    }
}
