//! Feeding a sink from a store's outbox.

mod event;
mod thread;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use turnmill_model::Settings;
use turnmill_sink::outbox::{
    ChangeBatch, Outbox, SinkPosition, SinkSpec, SinkState, SinkStep, snapshot_page,
};
use turnmill_sink::{Class, Sink, SinkError, StoreError};

pub use self::event::{OnRefusal, OutboxError, SinkEvent};
pub use self::thread::{SinkThread, SinkWork};
use crate::backoff::{Attempts, Backoff};
use crate::stop::Stop;

/// Receives the events of a runner.
type Observe<'o> = &'o mut (dyn FnMut(&SinkEvent<'_>) + Send);

/// Writes the changes of a store to one sink. It runs in the process of the writer, or in any other
/// that can connect to the store.
///
/// The runner adds the sink to the store. A new sink gets a snapshot first, then the changes of
/// every transaction in commit order. The sink's position moves after each page of entries. If
/// several runners have the same sink, in any processes, one works and the others stand by.
///
/// ```
/// use turnmill_model::Settings;
/// use turnmill_pipeline::{OutboxRunner, Stop};
/// use turnmill_sink::MemoryStore;
/// use turnmill_sink::outbox::{ChangeBatch, SinkSpec};
///
/// # pollster::block_on(async {
/// let print = |batch: &ChangeBatch| {
///     batch.rows().for_each(|row| println!("{row:?}"));
///     Ok(())
/// };
/// let (store, settings) = (MemoryStore::default(), Settings::default());
/// let spec = SinkSpec::new("print");
/// let mut runner = OutboxRunner::new(store, &settings, spec, print, Stop::default());
/// runner.drain(&mut |_| {}).await?;
/// # Ok::<(), turnmill_pipeline::OutboxError>(())
/// # })?;
/// # Ok::<(), turnmill_pipeline::OutboxError>(())
/// ```
pub struct OutboxRunner<S, K> {
    store: S,
    settings: Settings,
    spec: SinkSpec,
    sink: K,
    stop: Stop,
    /// Ends the runner once the sink has everything.
    last: Stop,
    owner: String,
    lease: Duration,
    poll: Duration,
    entries: usize,
    bytes: usize,
    rows: usize,
    on_refusal: OnRefusal,
    opened: bool,
    /// Time at which the lease was obtained, with the state of the sink.
    leased: Option<(Instant, SinkState)>,
    /// Time of the last progress event.
    reported: Option<Instant>,
}

impl<S: std::fmt::Debug, K> std::fmt::Debug for OutboxRunner<S, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboxRunner")
            .field("store", &self.store)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

/// Outcome of a round.
enum Round {
    /// The sink received a batch.
    Fed,
    /// It has everything.
    Idle,
    /// Another process has the lease.
    Standby,
}

/// Why a round failed.
enum RoundError {
    Store(StoreError),
    End(OutboxError),
}

impl From<StoreError> for RoundError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Outcome of a batch.
enum Delivery {
    /// The sink has the batch, except for the skipped changes.
    Done { skipped: u64 },
    /// A stop was requested.
    Stopped,
}

impl<S: Outbox, K: Sink> OutboxRunner<S, K> {
    /// Creates a runner that writes to `sink` under the definition `spec`. The store is opened with
    /// `settings` when the runner starts.
    pub fn new(store: S, settings: &Settings, spec: SinkSpec, sink: K, stop: Stop) -> Self {
        Self {
            store,
            settings: settings.clone(),
            spec,
            sink,
            stop,
            last: Stop::default(),
            owner: unique(&std::process::id().to_string()),
            lease: Duration::from_secs(30),
            poll: Duration::from_millis(500),
            entries: 100,
            bytes: 8 << 20,
            rows: 500,
            on_refusal: OnRefusal::default(),
            opened: false,
            leased: None,
            reported: None,
        }
    }

    /// Sets what happens to a refused change; by default the runner stops.
    #[must_use]
    pub fn with_refusals(mut self, on_refusal: OnRefusal) -> Self {
        self.on_refusal = on_refusal;
        self
    }

    /// Sets the name of the process that operators see as the owner of the lease; the process id by
    /// default. Random digits follow it, so it need not be unique.
    #[must_use]
    pub fn with_owner(mut self, name: &str) -> Self {
        self.owner = unique(name);
        self
    }

    /// Sets the duration of the lease; 30 seconds by default. If a process is killed, another one
    /// takes over after that time. If a batch takes longer, two processes may write to the sink at
    /// once.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets the interval between polls of an empty outbox; half a second by default.
    #[must_use]
    pub fn with_poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Sets how many entries are written before the sink's position moves (100 by default), and how
    /// many rows a page of a snapshot has (500 by default). Both are at least 1.
    #[must_use]
    pub fn with_page(mut self, entries: usize, rows: usize) -> Self {
        (self.entries, self.rows) = (entries.max(1), rows.max(1));
        self
    }

    /// Returns the sink.
    pub fn sink(&self) -> &K {
        &self.sink
    }

    /// Opens the store and adds the sink, unless that was done before. What is committed later
    /// reaches the sink, however it starts. [`run`](Self::run) and [`drain`](Self::drain) begin with
    /// it.
    ///
    /// # Errors
    ///
    /// Returns the error of the store.
    pub async fn add(&mut self) -> Result<(), StoreError> {
        if !self.opened {
            self.store.open(&self.settings).await?;
            self.store.put_sink(&self.spec).await?;
            self.opened = true;
        }
        Ok(())
    }

    /// Writes to the sink until a stop is requested.
    ///
    /// # Errors
    ///
    /// Returns [`OutboxError`]. Batches after the sink's position are repeated in the next run.
    pub async fn run(&mut self, observe: Observe<'_>) -> Result<(), OutboxError> {
        self.feed(false, observe).await.map(drop)
    }

    /// Writes to the sink until it has all committed changes, or until a stop is requested.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`run`](Self::run).
    pub async fn drain(&mut self, observe: Observe<'_>) -> Result<(), OutboxError> {
        self.feed(true, observe).await.map(drop)
    }

    /// Returns whether the sink has everything; it has not if a stop was requested.
    async fn feed(&mut self, to_the_end: bool, observe: Observe<'_>) -> Result<bool, OutboxError> {
        let mut attempts = Attempts::default();
        let outcome = loop {
            if self.stop.is_set() {
                break Ok(false);
            }
            // Before the round, so that it reads what was committed before the request.
            let is_last = to_the_end || self.last.is_set();
            let pause = match self.round(observe).await {
                Ok(Round::Idle) if is_last => break Ok(true),
                Ok(round) => {
                    attempts.succeeded();
                    match round {
                        Round::Fed => continue,
                        Round::Idle => self.poll,
                        Round::Standby => self.poll.max(self.lease / 10),
                    }
                }
                Err(RoundError::End(error)) => break Err(error),
                Err(RoundError::Store(error)) => {
                    // The known position of the sink may be out of date.
                    self.leased = None;
                    let Some(pause) = attempts.failed(&error) else { break Err(error.into()) };
                    observe(&SinkEvent::StoreRetrying { error: &error, pause });
                    pause
                }
            };
            pause_or_request(pause, &self.stop, &self.last).await;
        };
        if self.leased.take().is_some() {
            // If that fails, the lease expires.
            let _ = self.store.release_sink(&self.spec.name, &self.owner).await;
        }
        outcome
    }

    async fn round(&mut self, observe: Observe<'_>) -> Result<Round, RoundError> {
        self.add().await?;
        let Some(state) = self.lease().await? else {
            if self.store.sinks().await?.iter().all(|sink| sink.name != self.spec.name) {
                return Err(RoundError::End(OutboxError::Removed { sink: self.spec.name.clone() }));
            }
            observe(&SinkEvent::Standby);
            return Ok(Round::Standby);
        };
        let round = match state.position.snapshot {
            Some(_) => self.page_of_snapshot(&state, observe).await?,
            None => self.page_of_entries(&state, observe).await?,
        };
        self.tell_progress(observe).await?;
        Ok(round)
    }

    /// Returns the state of the sink under the lease. Renews the lease after a third of its
    /// duration.
    async fn lease(&mut self) -> Result<Option<SinkState>, StoreError> {
        if let Some((since, state)) = &self.leased
            && since.elapsed() < self.lease / 3
        {
            return Ok(Some(state.clone()));
        }
        let now = Instant::now();
        let state = self.store.lease_sink(&self.spec.name, &self.owner, self.lease).await?;
        self.leased = state.clone().map(|state| (now, state));
        Ok(state)
    }

    async fn page_of_snapshot(
        &mut self,
        state: &SinkState,
        observe: Observe<'_>,
    ) -> Result<Round, RoundError> {
        let position = &state.position;
        let cursor = position.snapshot.clone().unwrap_or_default();
        let (batch, to) =
            snapshot_page(&mut self.store, state.scope, position.number, &cursor, self.rows).await?;
        let skipped = match self.deliver(batch, position, observe).await? {
            Delivery::Done { skipped } => skipped,
            Delivery::Stopped => return Ok(Round::Fed),
        };
        self.advance(position, to, skipped).await?;
        Ok(Round::Fed)
    }

    async fn page_of_entries(
        &mut self,
        state: &SinkState,
        observe: Observe<'_>,
    ) -> Result<Round, RoundError> {
        let position = &state.position;
        let entries = self.store.outbox(position.number, self.entries, self.bytes).await?;
        let Some(first) = entries.first() else { return Ok(Round::Idle) };
        if first.number != position.number + 1 {
            // Entries that the sink did not have were deleted: it exceeded its bound and lost its
            // position.
            return Err(StoreError::sink_moved(&self.spec.name).into());
        }
        let (mut reached, mut skipped) = (position.number, 0);
        for entry in &entries {
            let mut batch = ChangeBatch::from_bytes(entry.number, &entry.bytes)?;
            batch.restrict(state.scope);
            match self.deliver(batch, position, observe).await? {
                Delivery::Done { skipped: more } => skipped += more,
                Delivery::Stopped => break,
            }
            reached = entry.number;
            if self.stop.is_set() {
                break;
            }
        }
        if reached > position.number {
            self.advance(position, SinkPosition { number: reached, snapshot: None }, skipped).await?;
        }
        Ok(Round::Fed)
    }

    /// Writes a batch to the sink, retrying until it succeeds. `position` is that of the sink
    /// meanwhile.
    async fn deliver(
        &mut self,
        mut batch: ChangeBatch,
        position: &SinkPosition,
        observe: Observe<'_>,
    ) -> Result<Delivery, RoundError> {
        let (mut failed, mut skipped) = (0, 0);
        while !batch.is_empty() {
            // A slow sink may have used up the lease.
            if self.lease().await?.is_none_or(|state| state.position != *position) {
                return Err(StoreError::sink_moved(&self.spec.name).into());
            }
            let started = Instant::now();
            let Err(error) = self.sink.write(&batch).await else {
                observe(&SinkEvent::Delivered { batch: &batch, took: started.elapsed() });
                break;
            };
            match error.class {
                Class::Retryable { .. } | Class::Fenced => {
                    let least = match error.class {
                        Class::Retryable { after } => after.unwrap_or_default(),
                        _ => Duration::ZERO,
                    };
                    let pause = Backoff::default().pause(failed).max(least);
                    if failed == 0 {
                        self.note(position, &error.detail).await?;
                    }
                    failed = failed.saturating_add(1);
                    observe(&SinkEvent::Retrying { batch: &batch, error: &error, pause });
                    if self.stop.pause(pause).await {
                        return Ok(Delivery::Stopped);
                    }
                }
                Class::Poison => {
                    let refused = self.refused(&batch, &error);
                    if self.on_refusal == OnRefusal::Stop {
                        self.note(position, &refused.to_string()).await?;
                        return Err(RoundError::End(refused));
                    }
                    observe(&SinkEvent::Skipped { refused: &refused });
                    let removed = error.change.is_some_and(|index| batch.remove(index));
                    skipped += if removed { 1 } else { batch.len() as u64 };
                    if !removed {
                        break;
                    }
                }
                Class::Fatal => {
                    self.note(position, &error.detail).await?;
                    let (sink, batch) = (self.spec.name.clone(), batch.origin.to_string());
                    return Err(RoundError::End(OutboxError::Sink { sink, batch, detail: error.detail }));
                }
            }
        }
        Ok(Delivery::Done { skipped })
    }

    fn refused(&self, batch: &ChangeBatch, error: &SinkError) -> OutboxError {
        let change = error.change.and_then(|index| batch.rows().nth(index));
        OutboxError::Refused {
            sink: self.spec.name.clone(),
            batch: batch.origin.to_string(),
            change: change.map(|change| format!("{change:?}")),
            detail: error.detail.clone(),
        }
    }

    /// Stores the error of the sink for operators.
    async fn note(&mut self, position: &SinkPosition, error: &str) -> Result<(), StoreError> {
        self.step(position, position, 0, Some(error)).await
    }

    async fn advance(
        &mut self,
        from: &SinkPosition,
        to: SinkPosition,
        skipped: u64,
    ) -> Result<(), StoreError> {
        self.step(from, &to, skipped, None).await?;
        if let Some((_, state)) = &mut self.leased {
            state.position = to;
        }
        Ok(())
    }

    async fn step(
        &mut self,
        from: &SinkPosition,
        to: &SinkPosition,
        skipped: u64,
        error: Option<&str>,
    ) -> Result<(), StoreError> {
        let step = SinkStep { name: &self.spec.name, owner: &self.owner, from, to, skipped, error };
        self.store.advance_sink(&step).await
    }

    /// Reports the position of the sink, at most once a second.
    async fn tell_progress(&mut self, observe: Observe<'_>) -> Result<(), StoreError> {
        if self.reported.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
            return Ok(());
        }
        self.reported = Some(Instant::now());
        let states = self.store.sinks().await?;
        if let Some(state) = states.iter().find(|state| state.name == self.spec.name) {
            observe(&SinkEvent::Progress { state });
        }
        Ok(())
    }
}

fn unique(name: &str) -> String {
    format!("{name}-{:016x}", RandomState::new().hash_one(name))
}

/// Waits for `pause`, until a stop is requested, or until `last` is.
async fn pause_or_request(pause: Duration, stop: &Stop, last: &Stop) {
    let was_last = last.is_set();
    let until = Instant::now() + pause;
    while Instant::now() < until && last.is_set() == was_last {
        let left = until.saturating_duration_since(Instant::now());
        if stop.pause(left.min(Duration::from_millis(100))).await {
            break;
        }
    }
}
