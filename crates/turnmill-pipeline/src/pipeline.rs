//! A store with all that is needed to fill it. `drain` and `serve` share the commit of a batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use turnmill_ingest::{Accounting, Ingest, Report, RowRules};
use turnmill_model::{Decoder, Settings, SourceFactsBuf};
use turnmill_sink::{Advance, Class, Opened, Store, StoreError};
use turnmill_source::{BatchLimits, Part, Position};

use crate::backoff::{Backoff, TooSlow};
use crate::event::{Drained, Event, Observer, PipelineError};
use crate::fences::{Fences, contradiction};
use crate::limits::{DeadLetterLimits, RecentRefusals};
use crate::parts::BatchParts;
use crate::prepare::{DeadLettersFrom, Preparation, Prepared, ReadOptions, Rewrite};
use crate::stop::Stop;

/// Bytes of cached timelines, unless set.
const CACHE_BYTES: usize = 64 << 20;

/// A store with all that is needed to fill it. It is made from the store and the [`RowRules`],
/// which also decide the settings that the store is opened with.
///
/// ```
/// use turnmill_formats::rasa::RasaDecoder;
/// use turnmill_ingest::RowRules;
/// use turnmill_model::{PartitionId, Settings};
/// use turnmill_pipeline::{Event, Pipeline, Stop};
/// use turnmill_sink::MemoryStore;
/// use turnmill_source::{FileOptions, FileSource, Position, Source};
///
/// let rules = RowRules::new(&Settings::default(), RasaDecoder::new);
/// let mut pipeline = Pipeline::new(MemoryStore::default(), &rules, Stop::default());
///
/// let line = br#"{"sender_id": "u1", "event": "user", "timestamp": 1656382549.3, "text": "hi"}"#;
/// let mut open = |_: Option<&Position>| {
///     let stream = Box::new(std::io::Cursor::new(line.to_vec()));
///     let source = FileSource::stream(PartitionId::new("example", "-"), stream, FileOptions::default())?;
///     Ok(Box::new(source) as Box<dyn Source>)
/// };
/// let drained = pollster::block_on(pipeline.drain(None, &mut open, &mut |_: &Event<'_>| {}))?;
/// assert_eq!(drained.report.counts.events, 1);
/// assert_eq!(pipeline.into_store().rows("rasa_turn").len(), 1);
/// # Ok::<(), turnmill_pipeline::PipelineError>(())
/// ```
pub struct Pipeline<S> {
    store: S,
    pub(crate) ingest: Ingest,
    pub(crate) reading: ReadOptions,
    backoff: Backoff,
    patience: Option<Duration>,
    limits: DeadLetterLimits,
    seen: RecentRefusals,
    /// Fences since the last commit.
    fences: Fences,
    /// Most records of a transaction, after the store has cancelled a statement that took too long.
    part: usize,
    pub(crate) stop: Stop,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    since: Option<Instant>,
    too_slow: TooSlow,
}

/// The result of committing a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    Committed,
    /// Another writer has committed meanwhile.
    Fenced,
    /// The batch is no longer wanted.
    Dropped,
}

impl<S: std::fmt::Debug> std::fmt::Debug for Pipeline<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("store", &self.store)
            .field("limits", &self.reading.limits)
            .finish_non_exhaustive()
    }
}

impl<S: Store> Pipeline<S> {
    /// Creates a pipeline into `store`, which need not be open, with rows by `rules`. It ends when
    /// `stop` is set.
    pub fn new(store: S, rules: &RowRules, stop: Stop) -> Self {
        Self {
            store,
            ingest: Ingest::new(rules, CACHE_BYTES),
            reading: ReadOptions {
                limits: BatchLimits::default(),
                preparation: Preparation::default(),
                leave_idle: false,
            },
            backoff: Backoff::default(),
            patience: None,
            limits: DeadLetterLimits::default(),
            seen: RecentRefusals::default(),
            fences: Fences::default(),
            part: usize::MAX,
            stop,
        }
    }

    /// Adds the decoder that `decoder` makes from the settings. It reads the records of sources
    /// that name it, see [`SourceFacts::decoder`](turnmill_model::SourceFacts::decoder) and
    /// [`Source::decoder`](turnmill_source::Source::decoder).
    #[must_use]
    pub fn with_decoder<D: Decoder + 'static>(mut self, decoder: impl FnOnce(&Settings) -> D) -> Self {
        self.ingest = self.ingest.with_decoder(decoder);
        self
    }

    /// Sets the bytes that cached timelines may take (64 MiB unless set).
    #[must_use]
    pub fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.ingest = Ingest::new(self.ingest.rules(), bytes);
        self
    }

    /// Sets the limits of batches.
    #[must_use]
    pub fn with_limits(mut self, limits: BatchLimits) -> Self {
        self.reading.limits = limits;
        self
    }

    /// Sets the limits of dead letters; there are none unless set.
    #[must_use]
    pub fn with_dead_letter_limits(mut self, limits: DeadLetterLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the pauses between attempts.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets how long to wait for an unavailable store. By default it waits without end.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Replaces the body of each record for which `rewrite` returns one. Dead letters keep the
    /// original.
    #[must_use]
    pub fn with_rewrite(mut self, rewrite: Arc<Rewrite>) -> Self {
        self.reading.preparation.rewrite = Some(rewrite);
        self
    }

    /// Sets facts of all records of the sources: the assistant, the unit of time, whether they are
    /// anonymised, and the decoder of the sources that name none.
    #[must_use]
    pub fn with_source_facts(mut self, facts: SourceFactsBuf) -> Self {
        self.reading.preparation.facts = Arc::new(facts);
        self
    }

    /// Leaves a followed source when it has no more records for now, so that several can be
    /// followed in turn.
    #[must_use]
    pub fn leaving_idle_sources(mut self) -> Self {
        self.reading.leave_idle = true;
        self
    }

    /// Returns the rules of the rows.
    #[must_use]
    pub fn rules(&self) -> &RowRules {
        self.ingest.rules()
    }

    /// Returns the store.
    pub fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Ends the pipeline and returns the store.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Opens the store. Retries until that succeeds or fails for good.
    pub(crate) async fn open(&mut self, observer: &mut dyn Observer) -> Result<Opened, StoreError> {
        let mut failed = Failures::default();
        loop {
            match self.ingest.open(&mut self.store).await {
                Ok(opened) => return Ok(opened),
                Err(error) => self.pause_or_fail(error, &mut failed, observer).await?,
            }
        }
    }

    /// Commits one batch, unless `wanted` returns false meanwhile.
    ///
    /// The batch is written whole, or in parts after a statement took too long. Invariant of the
    /// loop: the parts before `range` are committed, without a step of the position.
    pub(crate) async fn commit(
        &mut self,
        prepared: &Prepared,
        wanted: &dyn Fn() -> bool,
        drained: &mut Drained,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, PipelineError> {
        let batch = prepared.batch();
        for part in batch.parts() {
            if let Some(opened) = part.opened.filter(|opened| opened.moved()) {
                observer.observe(&Event::Opened { partition: &part.partition, opened });
            }
        }
        let arrivals = prepared.arrivals();
        let seen = self.seen.with(arrivals.len(), arrivals.refused().iter().map(|refused| refused.record));
        self.limits.check(&seen)?;
        let advances: Vec<Advance> = batch.parts().iter().filter_map(advance).collect();
        let accounting = Accounting::Source(&batch.partition().source);
        let started = Instant::now();
        let mut parts = BatchParts::new(arrivals.len(), self.part);
        let mut whole = Report::default();
        let mut failed = Failures::default();
        while let Some(range) = parts.next() {
            if !wanted() {
                return Ok(Outcome::Dropped);
            }
            // The position moves with the last part. If the pipeline stops earlier, the parts
            // before are read again, and their events are duplicates.
            let advances = if parts.is_last(&range) { advances.as_slice() } else { &[] };
            let result = if range == (0..arrivals.len()) {
                self.ingest.ingest(&mut self.store, arrivals, advances, &accounting, prepared).await
            } else {
                let part = prepared.part(range.clone(), self.ingest.decoders());
                let letters = DeadLettersFrom { prepared, first: range.start };
                self.ingest.ingest(&mut self.store, &part, advances, &accounting, &letters).await
            };
            match result {
                Ok(report) => {
                    drained.report += &report;
                    whole += &report;
                    parts.done(&range);
                    failed = Failures::default();
                    self.fences = Fences::default();
                }
                Err(error) if error.class() == Class::Fenced => {
                    if self.fences.is_contradiction(&error) {
                        return Err(contradiction(&error).into());
                    }
                    observer.observe(&Event::Fenced { error: &error });
                    return Ok(Outcome::Fenced);
                }
                Err(error) => {
                    let is_halved = matches!(error, StoreError::TimeLimit { .. }) && parts.halve(&range);
                    // Another attempt would take as long, and a single record cannot be split.
                    if !is_halved && failed.too_slow.is_hopeless_after(&error) {
                        return Err(error.into());
                    }
                    self.pause_or_fail(error, &mut failed, observer).await?;
                }
            }
        }
        self.part = parts.next_size();
        self.seen = seen;
        drained.bytes += batch.bytes() as u64;
        let (took, cached) = (started.elapsed(), self.ingest.cache_usage());
        let refused = arrivals.refused();
        observer.observe(&Event::Committed { batch, report: &whole, refused, took, cached });
        Ok(Outcome::Committed)
    }

    /// Waits before the next attempt if the error may pass. Returns the error otherwise.
    async fn pause_or_fail(
        &self,
        error: StoreError,
        failed: &mut Failures,
        observer: &mut dyn Observer,
    ) -> Result<(), StoreError> {
        let Class::Retryable { after } = error.class() else { return Err(error) };
        let pause = self.backoff.pause(failed.count).max(after.unwrap_or_default());
        failed.count = failed.count.saturating_add(1);
        let since = *failed.since.get_or_insert_with(Instant::now);
        if self.patience.is_some_and(|patience| since.elapsed() + pause > patience) {
            return Err(error);
        }
        observer.observe(&Event::Retrying { error: &error, pause });
        if self.stop.pause(pause).await { Err(error) } else { Ok(()) }
    }
}

/// Returns the step of a part's position, or `None` if the source has no positions.
fn advance(part: &Part) -> Option<Advance> {
    let to = part.to.as_ref()?;
    let from = part.from.as_ref().map(ToString::to_string);
    Some(Advance { key: part.partition.clone(), from, to: to.to_string() })
}

/// Parses a stored position.
pub(crate) fn parse_position(stored: &str) -> Result<Position, StoreError> {
    let damaged =
        |_| StoreError::Damaged { detail: format!("the stored position `{stored}` cannot be read") };
    stored.parse().map_err(damaged)
}
