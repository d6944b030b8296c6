//! Takes batches of records through transactions of a store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use turnmill_engine::Engine;
use turnmill_model::{Decoder, Decoders, Reason, Refused, Settings};
use turnmill_sink::{Advance, Class, Opened, Store, StoreError};

use crate::accounting::Accounting;
use crate::arrivals::{Arrivals, MakeDeadLetter};
use crate::attempt::Attempt;
use crate::batch_task::{BatchTask, Purpose};
use crate::cache::{Cache, CacheUsage};
use crate::report::Report;
use crate::rules::RowRules;
use crate::setback::Setback;

/// Takes batches of records through transactions of a store. Keeps senders' timelines in memory
/// between them, so that a sender whose events follow each other is not loaded again.
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
    /// Creates an ingest under `rules`. Timelines are cached up to `cache_bytes` bytes.
    #[must_use]
    pub fn new(rules: &RowRules, cache_bytes: usize) -> Self {
        Self { rules: rules.clone(), engine: rules.engine().clone(), cache: Cache::new(cache_bytes) }
    }

    /// Opens `store` with the settings of the rules, which the store remembers. Returns the stored
    /// position of each source. Batches for a store that was opened with other settings are
    /// refused.
    ///
    /// # Errors
    ///
    /// Returns the errors of the store; fatal if it was filled under other settings.
    pub async fn open<S: Store>(&self, store: &mut S) -> Result<Opened, StoreError> {
        store.open(self.rules.settings()).await
    }

    /// Returns the rules.
    #[must_use]
    pub fn rules(&self) -> &RowRules {
        &self.rules
    }

    /// Adds a decoder to the rules, see [`RowRules::with_decoder`].
    #[must_use]
    pub fn with_decoder<D: Decoder + 'static>(mut self, decoder: impl FnOnce(&Settings) -> D) -> Self {
        self.rules = self.rules.with_decoder(decoder);
        self
    }

    /// Returns the decoders of the rules, with which records are pushed into [`Arrivals`].
    #[must_use]
    pub fn decoders(&self) -> &Decoders {
        self.rules.decoders()
    }

    /// Returns how many timelines are in memory, and their bytes.
    #[must_use]
    pub fn cache_usage(&self) -> CacheUsage {
        self.cache.usage()
    }

    /// Drops the timelines in memory. Call it after a fence, or when another writer may have
    /// changed the store.
    pub fn clear_cache(&mut self) {
        self.cache.clear();
    }

    /// Writes the changes of `arrivals` and moves the positions of `advances`, in one transaction.
    ///
    /// # Errors
    ///
    /// Returns the errors of the store, except poison: a record of which the store refuses a row
    /// becomes a dead letter, which `letters` makes. Fatal if the store was opened with other
    /// settings than those of the rules. After an error nothing has changed. If the
    /// class of the error allows it, the same call may be repeated.
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
            // The timelines in memory belong to rows that were not committed.
            self.cache.clear();
        }
        result
    }

    /// Finds the records of which the store refuses a row, by halving.
    ///
    /// A probe is an attempt that is written but never committed, so it sees the refusal and leaves
    /// nothing. Invariant: every record at fault is in `suspects` or in `poison`.
    ///
    /// ```text
    /// probe 1 2 3 4   refused     suspects: 1 2 | 3 4
    /// probe 1 2       refused     suspects: 1 | 2 | 3 4
    /// probe 1         accepted    suspects: 2 | 3 4
    /// probe 2         refused     poison: 2
    /// probe 3 4       accepted    done: 2 becomes a dead letter, the others are committed
    /// ```
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
        // No record is refused on its own, so none can be named. Dropping all of them would lose
        // events, so the batch fails.
        if poison.is_empty() {
            let detail = format!(
                "{whole}; it accepts each record of the batch alone, so none can become a dead letter: look at the \
                 constraints and triggers of its tables"
            );
            return Err(StoreError::Unusable { detail, source: None });
        }
        Ok(poison)
    }

    /// Repeats an attempt until it runs with the patterns that the store has now.
    async fn retried<S: Store>(
        &mut self,
        store: &mut S,
        task: &BatchTask<'_, '_>,
        purpose: Purpose<'_>,
    ) -> Result<Report, StoreError> {
        loop {
            let Self { rules, engine, cache } = self;
            let mut attempt =
                Attempt { settings: rules.settings(), engine, decoders: rules.decoders(), cache };
            match attempt.run(store, task, purpose).await {
                Ok(report) => return Ok(report),
                Err(setback) => self.overcome(setback, store).await?,
            }
        }
    }

    /// Removes the cause of a setback, so that the next attempt can succeed. Returns the error if
    /// the cause cannot be removed here.
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
