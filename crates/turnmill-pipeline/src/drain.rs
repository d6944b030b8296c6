//! Reading a source to its end, whatever happens on the way.

use std::sync::Arc;
use std::time::Duration;

use turnmill_model::{Decoder, Settings};
use turnmill_sink::ingest::{Accounting, Ingest, Report};
use turnmill_sink::{Advance, Class, Counts, PositionKey, Store, StoreError};
use turnmill_source::{BatchLimits, Opened, Position, Source, SourceError};

use crate::backoff::Backoff;
use crate::prepare::{Prepared, Read, ReadOptions, Reading, Rewrite, position_key};
use crate::stop::Stop;

/// How long a pause goes on before it is looked whether stopping was asked for.
const LONGEST_DEAF: Duration = Duration::from_millis(100);

/// Something worth telling an operator.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A batch was committed.
    Committed {
        /// Where it came from.
        key: &'e PositionKey,
        /// What became of it.
        report: &'e Report,
        /// Uncompressed bytes of the batch.
        bytes: usize,
        /// Where the source stands now.
        position: Option<&'e Position>,
    },
    /// The source is another one than the stored position is of; it is read from its start.
    Replaced {
        /// Which source.
        key: &'e PositionKey,
    },
    /// A transaction failed and is tried again.
    Retrying {
        /// Why.
        error: &'e StoreError,
        /// After how long.
        pause: Duration,
    },
    /// Another writer has moved on; the source starts again at the stored position.
    Fenced {
        /// What differed.
        error: &'e StoreError,
    },
}

/// Gets told what happens.
pub trait Observer {
    /// Something happened. Called between transactions, on the pipeline's thread.
    fn observe(&mut self, event: &Event<'_>);
}

impl<F: FnMut(&Event<'_>)> Observer for F {
    fn observe(&mut self, event: &Event<'_>) {
        self(event);
    }
}

/// Why a pipeline ended before its source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The store cannot go on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The source cannot go on.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The thread that reads could not be started.
    #[error("cannot start the reading thread")]
    Thread(#[source] std::io::Error),
}

/// What a [`Pipeline::drain`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// What became of the records read in it.
    pub counts: Counts,
    /// Events that came late.
    pub late: u64,
    /// Stretches of history replayed for them.
    pub replays: u64,
    /// Uncompressed bytes read.
    pub bytes: u64,
    /// Whether it ended because stopping was asked for.
    pub stopped: bool,
}

impl Drained {
    /// Adds another source's.
    pub fn add(&mut self, other: &Self) {
        self.counts += other.counts;
        self.late += other.late;
        self.replays += other.replays;
        self.bytes += other.bytes;
        self.stopped |= other.stopped;
    }
}

/// Opens a source behind a position.
pub type OpenSource<'o> = dyn FnMut(Option<&Position>) -> Result<Box<dyn Source>, SourceError> + 'o;

/// A store with the means to fill it.
pub struct Pipeline<'d, S> {
    store: S,
    settings: Settings,
    ingest: Ingest<'d>,
    decoder: Arc<dyn Decoder>,
    reading: ReadOptions,
    backoff: Backoff,
    stop: Stop,
}

impl<S: std::fmt::Debug> std::fmt::Debug for Pipeline<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("store", &self.store)
            .field("limits", &self.reading.limits)
            .finish_non_exhaustive()
    }
}

impl<'d, S: Store> Pipeline<'d, S> {
    /// A pipeline into `store`, which need not be open yet. `decoder` and `ingest` must have the same settings.
    pub fn new(
        store: S,
        settings: &Settings,
        decoder: Arc<dyn Decoder>,
        ingest: Ingest<'d>,
        stop: Stop,
    ) -> Self {
        Self {
            store,
            settings: settings.clone(),
            ingest,
            decoder,
            reading: ReadOptions { limits: BatchLimits::default(), rewrite: None, leave_idle: false },
            backoff: Backoff::default(),
            stop,
        }
    }

    /// Sets how large batches get.
    #[must_use]
    pub fn with_limits(mut self, limits: BatchLimits) -> Self {
        self.reading.limits = limits;
        self
    }

    /// Takes other bodies in place of the records' own, where `rewrite` gives one; dead letters keep the original.
    #[must_use]
    pub fn with_rewrite(mut self, rewrite: Arc<Rewrite>) -> Self {
        self.reading.rewrite = Some(rewrite);
        self
    }

    /// Leaves a followed source when it has nothing more for now, so that several can be followed in turn.
    #[must_use]
    pub fn leaving_idle_sources(mut self) -> Self {
        self.reading.leave_idle = true;
        self
    }

    /// The store.
    pub fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Ends the pipeline and gives the store back.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Reads the source called `key` from its stored position to its end, or until stopping is asked for. `key` is none for a
    /// source without positions. `open` is called again when another writer has moved on.
    ///
    /// # Errors
    ///
    /// Fatal errors of the store and any of the source; everything committed before stays.
    pub async fn drain(
        &mut self,
        key: Option<&PositionKey>,
        open: &mut OpenSource<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Drained, PipelineError> {
        let mut drained = Drained::default();
        loop {
            let position = self.position(key, observer).await?;
            let source = open(position.as_ref())?;
            if self.read(source, position, &mut drained, observer).await? {
                drained.stopped |= self.stop.is_set();
                return Ok(drained);
            }
            self.ingest.forget();
        }
    }

    /// The stored position of `key`.
    async fn position(
        &mut self,
        key: Option<&PositionKey>,
        observer: &mut dyn Observer,
    ) -> Result<Option<Position>, PipelineError> {
        let mut attempt = 0;
        let opened = loop {
            match self.store.open(&self.settings).await {
                Ok(opened) => break opened,
                Err(error) => self.pause_or_fail(error, &mut attempt, observer).await?,
            }
        };
        let Some(stored) = key.and_then(|key| opened.position(key)) else { return Ok(None) };
        let damaged =
            |_| StoreError::Damaged { detail: format!("the stored position `{stored}` cannot be read") };
        Ok(Some(stored.parse().map_err(damaged)?))
    }

    /// Reads `source` until it ends (true) or another writer turns out to have moved on (false).
    async fn read(
        &mut self,
        source: Box<dyn Source>,
        mut position: Option<Position>,
        drained: &mut Drained,
        observer: &mut dyn Observer,
    ) -> Result<bool, PipelineError> {
        let reading =
            Reading::start(source, Arc::clone(&self.decoder), self.reading.clone(), self.stop.clone())
                .map_err(PipelineError::Thread)?;
        while let Ok(read) = reading.incoming.recv().await {
            match read {
                Read::Batch(prepared) => {
                    if self.stop.is_set() {
                        return Ok(true);
                    }
                    if !self.commit(&prepared, &mut position, drained, observer).await? {
                        return Ok(false);
                    }
                    reading.recycle(*prepared);
                }
                Read::Idle => {}
                Read::End => return Ok(true),
                Read::Failed(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Commits one batch; false if another writer has moved on.
    async fn commit(
        &mut self,
        prepared: &Prepared,
        position: &mut Option<Position>,
        drained: &mut Drained,
        observer: &mut dyn Observer,
    ) -> Result<bool, PipelineError> {
        let batch = prepared.batch();
        let key = position_key(batch.partition());
        if batch.opened() == Some(Opened::Replaced) {
            observer.observe(&Event::Replaced { key: &key });
        }
        let advances: Vec<Advance> = batch
            .to()
            .map(|to| Advance {
                key: key.clone(),
                from: position.as_ref().map(ToString::to_string),
                to: to.to_string(),
            })
            .into_iter()
            .collect();
        let accounting = Accounting::Source(&key.source);
        let mut attempt = 0;
        let report = loop {
            let result = self
                .ingest
                .ingest(&mut self.store, prepared.arrivals(), &advances, &accounting, prepared)
                .await;
            match result {
                Ok(report) => break report,
                Err(error) if error.class() == Class::Fenced => {
                    observer.observe(&Event::Fenced { error: &error });
                    return Ok(false);
                }
                Err(error) => self.pause_or_fail(error, &mut attempt, observer).await?,
            }
            if self.stop.is_set() {
                return Ok(true);
            }
        };
        if let Some(to) = batch.to() {
            *position = Some(to.clone());
        }
        drained.counts += report.counts;
        drained.late += report.late;
        drained.replays += report.replays;
        drained.bytes += batch.bytes() as u64;
        let bytes = batch.bytes();
        observer.observe(&Event::Committed {
            key: &key,
            report: &report,
            bytes,
            position: position.as_ref(),
        });
        Ok(true)
    }

    /// Waits before the next attempt if the error may pass, else gives it back.
    async fn pause_or_fail(
        &self,
        error: StoreError,
        attempt: &mut u32,
        observer: &mut dyn Observer,
    ) -> Result<(), StoreError> {
        let Class::Retryable { after } = error.class() else { return Err(error) };
        let pause = self.backoff.pause(*attempt).max(after.unwrap_or_default());
        *attempt = attempt.saturating_add(1);
        observer.observe(&Event::Retrying { error: &error, pause });
        let mut left = pause;
        while !left.is_zero() && !self.stop.is_set() {
            let step = left.min(LONGEST_DEAF);
            futures_timer::Delay::new(step).await;
            left -= step;
        }
        if self.stop.is_set() { Err(error) } else { Ok(()) }
    }
}
