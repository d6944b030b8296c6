//! The pipeline for programs without async code.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::RowRules;
use turnmill_model::{Decoder, PartitionId, Settings};
use turnmill_pipeline::{
    Drained, Event, OpenSource, OutboxError, OutboxRunner, Pipeline, PipelineError, SinkThread, SinkWork,
    Stop,
};
use turnmill_sink::outbox::{Outbox, SinkSpec};
use turnmill_sink::{Sink, Store};
use turnmill_source::{FileOptions, FileSource, Source, SourceError};

use crate::records::Records;

/// Time that a store may be unavailable before loading gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Loads records into a store and returns when they are committed.
///
/// A loader reads ahead on a thread of its own and blocks the calling thread. It is made for
/// programs without async code: inside of an async runtime use a [`Pipeline`].
///
/// ```
/// use turnmill_embed::{Inspect, Loader, MemoryStore};
///
/// let mut loader = Loader::new(MemoryStore::default());
/// let event = r#"{"sender_id": "u1", "event": "user", "timestamp": 1656382549.9, "text": "hi"}"#;
/// let loaded = loader.load_records("example", [event, event, "not JSON"])?;
/// assert_eq!((loaded.report.counts.events, loaded.report.counts.duplicates), (1, 1));
/// assert_eq!(loaded.report.counts.dead_letters, 1);
///
/// assert_eq!(loader.store().rows("rasa_turn").len(), 1);
/// # Ok::<(), turnmill_embed::LoadError>(())
/// ```
#[derive(Debug)]
pub struct Loader<S> {
    pipeline: Pipeline<S>,
    executor: Executor,
    sinks: Vec<SinkThread>,
}

impl<S: Store> Loader<S> {
    /// Makes a loader of Rasa's events into `store`, under the default [`Settings`]. The store need
    /// not be open.
    pub fn new(store: S) -> Self {
        Self::with_rules(store, &RowRules::new(&Settings::default(), RasaDecoder::new))
    }

    /// Makes a loader with other settings or another decoder.
    ///
    /// ```
    /// use turnmill_embed::{Loader, MemoryStore, RasaDecoder, RowRules, SessionIdMode, Settings};
    /// let settings = Settings { session_id: SessionIdMode::Off, ..Settings::default() };
    /// let rules = RowRules::new(&settings, RasaDecoder::new);
    /// let loader = Loader::with_rules(MemoryStore::default(), &rules);
    /// # let _ = loader;
    /// ```
    pub fn with_rules(store: S, rules: &RowRules) -> Self {
        let pipeline = Pipeline::new(store, rules, Stop::default()).with_patience(PATIENCE);
        Self { pipeline, executor: Executor::default(), sinks: Vec::new() }
    }

    /// Adds a decoder of another format, so that one store holds senders of several.
    /// [`load_file_as`](Self::load_file_as) and [`load_records_as`](Self::load_records_as) name it.
    ///
    /// Every later loader into the same store needs the decoder too: late events and rebuilds read
    /// the stored history.
    ///
    /// ```
    /// use turnmill_embed::{Decoder, Event, Loader, MemoryStore, Record, Refused};
    ///
    /// /// Skips every record.
    /// struct Silent;
    ///
    /// impl Decoder for Silent {
    ///     fn name(&self) -> &'static str {
    ///         "silent"
    ///     }
    ///     fn decode<'a>(&self, _: &Record<'a>, _: &mut Vec<Event<'a>>) -> Result<(), Refused> {
    ///         Ok(())
    ///     }
    ///     fn kept(&self, _: &Record<'_>, _: u32) -> Option<Vec<u8>> {
    ///         None
    ///     }
    /// }
    ///
    /// let mut loader = Loader::new(MemoryStore::default()).with_decoder(|_| Silent);
    /// let loaded = loader.load_records_as("silent", "example", ["anything"])?;
    /// assert_eq!(loaded.report.counts.skipped, 1);
    /// # Ok::<(), turnmill_embed::LoadError>(())
    /// ```
    #[must_use]
    pub fn with_decoder<D: Decoder + 'static>(self, decoder: impl FnOnce(&Settings) -> D) -> Self {
        self.configure(|pipeline| pipeline.with_decoder(decoder))
    }

    /// Changes the pipeline: the size of batches, the memory, how long to wait for the store (30
    /// seconds unless changed).
    ///
    /// ```
    /// use turnmill_embed::{BatchLimits, Loader, MemoryStore};
    /// let limits = BatchLimits { records: 500, ..BatchLimits::default() };
    /// let loader = Loader::new(MemoryStore::default())
    ///     .configure(|pipeline| pipeline.with_limits(limits).with_cache_bytes(16 << 20));
    /// # let _ = loader;
    /// ```
    #[must_use]
    pub fn configure(self, change: impl FnOnce(Pipeline<S>) -> Pipeline<S>) -> Self {
        Self { pipeline: change(self.pipeline), ..self }
    }

    /// Adds a sink, which receives what is in the store and what is loaded from now on. It runs on a
    /// thread of its own and needs a store of its own: another connection to the same data. Loading
    /// does not wait for it; [`finish_sinks`](Self::finish_sinks) does.
    ///
    /// A refused change or a fatal error of the sink ends its thread. Loading goes on, and
    /// [`finish_sinks`](Self::finish_sinks) returns the error. For a sink that skips refused
    /// changes, or one that is observed, use a [`SinkThread`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use turnmill_embed::sink::outbox::{ChangeBatch, SinkSpec};
    /// use turnmill_embed::{Loader, MemoryStore};
    ///
    /// let store = MemoryStore::default();
    /// let print = |batch: &ChangeBatch| {
    ///     batch.rows().for_each(|row| println!("{row:?}"));
    ///     Ok(())
    /// };
    /// let mut loader = Loader::new(store.clone()).with_sink(store, SinkSpec::new("print"), print)?;
    /// let event = r#"{"sender_id": "u1", "event": "user", "timestamp": 1656382549.9, "text": "hi"}"#;
    /// loader.load_records("example", [event])?;
    /// assert!(loader.finish_sinks(Duration::from_secs(30))?, "the sink has everything");
    /// # Ok::<(), turnmill_embed::LoadError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`LoadError::Sink`] if `store` cannot be opened.
    pub fn with_sink<O: Outbox + 'static, K: Sink + 'static>(
        mut self,
        store: O,
        spec: SinkSpec,
        sink: K,
    ) -> Result<Self, LoadError> {
        let name = spec.name.clone();
        let block_on = |work: SinkWork<'_>| {
            let no_runtime = |error| OutboxError::Thread { sink: name, source: std::io::Error::other(error) };
            Executor::default().run(work).map_err(no_runtime)?
        };
        let settings = self.pipeline.rules().settings();
        let runner = OutboxRunner::new(store, settings, spec, sink, Stop::default());
        self.sinks.push(SinkThread::start(runner, block_on, |_| {})?);
        Ok(self)
    }

    /// Waits until all sinks have everything that is loaded, for at most `within` each, and ends
    /// their threads. Returns whether all have everything. What a sink does not have stays in the
    /// outbox, and it continues there when it is added again.
    ///
    /// A loader that is dropped ends the threads without waiting.
    ///
    /// # Errors
    ///
    /// [`LoadError::Sink`] with the first error that ended a thread; the other sinks are finished
    /// all the same.
    pub fn finish_sinks(&mut self, within: Duration) -> Result<bool, LoadError> {
        let finished: Vec<_> = self.sinks.drain(..).map(|sink| sink.finish(within)).collect();
        finished.into_iter().try_fold(true, |all, one| Ok(all && one?))
    }

    /// Loads a file of events: plain, gzip or Zstandard, in any format that turnmill reads. Starts
    /// at the position that the store has of the file, so loading it again reads only what is new.
    ///
    /// # Errors
    ///
    /// [`LoadError`]. Batches committed before stay, and the same call continues after them.
    pub fn load_file(&mut self, path: impl AsRef<Path>) -> Result<Drained, LoadError> {
        self.load_file_with(path.as_ref(), &FileOptions::default())
    }

    /// Does the same with a file whose records need the decoder with the name `decoder`.
    ///
    /// # Errors
    ///
    /// [`LoadError`]. Nothing is read if there is no such decoder.
    pub fn load_file_as(&mut self, decoder: &str, path: impl AsRef<Path>) -> Result<Drained, LoadError> {
        let options = FileOptions { decoder: Some(decoder.to_owned()), ..FileOptions::default() };
        self.load_file_with(path.as_ref(), &options)
    }

    fn load_file_with(&mut self, path: &Path, options: &FileOptions) -> Result<Drained, LoadError> {
        let open = |position: Option<&_>| FileSource::open(path, options.clone(), position);
        let key = open(None).map_err(PipelineError::from)?.partition().clone();
        self.load(Some(&key), &mut |position| Ok(Box::new(open(position)?)))
    }

    /// Loads bodies of events from an iterator. `name` is the source in the store's ledger.
    ///
    /// An iterator has no position. Events that the store knows are counted as duplicates, so
    /// loading them again is safe; what cannot be decoded becomes a dead letter again.
    ///
    /// # Errors
    ///
    /// [`LoadError`]. Batches committed before stay.
    pub fn load_records<I>(&mut self, name: &str, bodies: I) -> Result<Drained, LoadError>
    where
        I: IntoIterator<Item: AsRef<[u8]>, IntoIter: Send + 'static>,
    {
        self.load_bodies(None, name, bodies)
    }

    /// Does the same with records that need the decoder with the name `decoder`.
    ///
    /// # Errors
    ///
    /// [`LoadError`]. Nothing is read if there is no such decoder.
    pub fn load_records_as<I>(&mut self, decoder: &str, name: &str, bodies: I) -> Result<Drained, LoadError>
    where
        I: IntoIterator<Item: AsRef<[u8]>, IntoIter: Send + 'static>,
    {
        self.load_bodies(Some(decoder), name, bodies)
    }

    fn load_bodies<I>(&mut self, decoder: Option<&str>, name: &str, bodies: I) -> Result<Drained, LoadError>
    where
        I: IntoIterator<Item: AsRef<[u8]>, IntoIter: Send + 'static>,
    {
        let partition = PartitionId::new(name, "records");
        let mut bodies = Some(bodies.into_iter());
        let mut open = |_: Option<&_>| match bodies.take() {
            Some(bodies) => {
                let decoder = decoder.map(str::to_owned);
                Ok(Box::new(Records::new(partition.clone(), decoder, bodies)) as Box<dyn Source>)
            }
            None => Err(SourceError::Other {
                partition: partition.clone(),
                source: "another writer has committed, and an iterator cannot be read again".into(),
            }),
        };
        self.load(None, &mut open)
    }

    /// Loads the source that `open` opens at the stored position of `key`; without a key at its
    /// start. Calls `open` again if another writer of the store has moved the position.
    ///
    /// # Errors
    ///
    /// [`LoadError`]. Batches committed before stay.
    pub fn load(
        &mut self,
        key: Option<&PartitionId>,
        open: &mut OpenSource<'_>,
    ) -> Result<Drained, LoadError> {
        let Self { pipeline, executor, .. } = self;
        Ok(executor.run(pipeline.drain(key, open, &mut |_: &Event<'_>| {}))??)
    }

    /// Runs a future of the store, such as those of [`Inspect`](turnmill_sink::Inspect).
    ///
    /// ```
    /// use turnmill_embed::{Inspect, Loader, MemoryStore};
    /// let mut loader = Loader::new(MemoryStore::default());
    /// loader.load_records("example", ["not JSON"])?;
    /// let letters = loader.with_store(async |store| store.dead_letters(0, 10).await)??;
    /// assert_eq!(letters[0].payload, b"not JSON");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`LoadError::InsideRuntime`] and [`LoadError::Runtime`].
    pub fn with_store<T>(&mut self, ask: impl AsyncFnOnce(&mut S) -> T) -> Result<T, LoadError> {
        let Self { pipeline, executor, .. } = self;
        executor.run(ask(pipeline.store()))
    }

    /// Returns the store.
    pub fn store(&mut self) -> &mut S {
        self.pipeline.store()
    }

    /// Ends the loader and returns the store.
    pub fn into_store(self) -> S {
        self.pipeline.into_store()
    }
}

/// Why loading ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The source or the store failed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A sink could not be added, or it ended with an error.
    #[error(transparent)]
    Sink(#[from] OutboxError),
    /// Blocking here would stall an async runtime, whose thread this is.
    #[error("a loader cannot run inside of an async runtime: use a pipeline there")]
    InsideRuntime,
    /// The runtime that stores in PostgreSQL need could not be made.
    #[error("cannot make an async runtime")]
    Runtime(#[source] std::io::Error),
}

/// Runs futures on the calling thread.
#[derive(Debug, Default)]
struct Executor {
    /// Created at the first use and kept: connections to PostgreSQL live on it.
    #[cfg(feature = "postgres")]
    runtime: Option<tokio::runtime::Runtime>,
}

impl Executor {
    #[cfg(feature = "postgres")]
    fn run<F: Future>(&mut self, future: F) -> Result<F::Output, LoadError> {
        if tokio::runtime::Handle::try_current().is_ok() {
            return Err(LoadError::InsideRuntime);
        }
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(LoadError::Runtime)?,
        };
        Ok(self.runtime.insert(runtime).block_on(future))
    }

    #[cfg(not(feature = "postgres"))]
    #[allow(clippy::unnecessary_wraps, reason = "it can fail with a runtime")]
    fn run<F: Future>(&mut self, future: F) -> Result<F::Output, LoadError> {
        Ok(pollster::block_on(future))
    }
}
