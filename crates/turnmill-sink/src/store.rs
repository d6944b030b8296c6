//! The traits of a store, which holds the truth.

use std::fmt::Display;
use std::future::Future;

use turnmill_engine::Checkpoint;
use turnmill_model::{Changes, EventTime, Micros, PartitionId, SenderId, SessionId, Settings};

use crate::digest::Digests;
use crate::{
    Batch, Chunk, Claim, DeadLetter, EventLookup, LedgerEntry, Locked, PatternSet, StoreError, StoredCopies,
    StoredPosition,
};

/// Holds the truth: rows, history, positions, ledger and dead letters, changed together or not at
/// all.
///
/// # Protocol
///
/// 1. [`open`](Self::open), once and before anything else. It is called again after an error or a
///    fence.
/// 2. [`patterns`](Self::patterns), after opening, and when a transaction has another revision.
/// 3. [`begin`](Self::begin) for each batch. The transaction borrows the store, so a store value
///    has at most one. Several writers have a store value each, with a connection of its own.
///
/// Every call may be repeated after an error. The error's [class](StoreError::class) tells whether
/// that makes sense. Retryable errors pass. After a fence the caller opens the store again and
/// starts at the stored positions. Fatal errors need an operator. A store never retries by itself.
/// A call may block in its first poll (SQLite) or wait for a server (PostgreSQL).
///
/// An implementation passes the conformance suite `turnmill_ingest::testkit`.
///
/// ```
/// use turnmill_model::{PartitionId, Settings};
/// use turnmill_sink::{Advance, Batch, Claim, MemoryStore, Store, StoreError, Transaction};
///
/// # pollster::block_on(async {
/// let mut store = MemoryStore::default();
/// let partition = PartitionId::new("file", "/var/log/rasa.log");
/// let opened = store.open(&Settings::default()).await?;
/// assert_eq!(opened.position(&partition), None);
///
/// // A batch that writes no rows but moves the position from the start to line 10.
/// let advance = Advance { key: partition.clone(), from: None, to: "10".into() };
/// let claim = Claim { advances: vec![advance], ..Claim::default() };
/// let mut transaction = store.begin(&claim).await?;
/// transaction.write(&Batch::default()).await?;
/// transaction.commit().await?;
///
/// assert_eq!(store.open(&Settings::default()).await?.position(&partition), Some("10"));
/// // A writer that still has the old position is fenced.
/// assert!(matches!(store.begin(&claim).await, Err(StoreError::PositionMoved { .. })));
/// # Ok::<(), StoreError>(())
/// # }).unwrap();
/// ```
pub trait Store: Send {
    /// The type of a transaction.
    type Tx<'s>: Transaction
    where
        Self: 's;

    /// Brings the schema up to date, compares `settings` with those that the store was filled with,
    /// and returns the stored positions. An empty store takes the settings.
    ///
    /// # Errors
    ///
    /// Fatal if the store was written by a newer turnmill, is read-only, or was filled with
    /// settings that give other rows.
    fn open(&mut self, settings: &Settings) -> impl Future<Output = Result<Opened, StoreError>> + Send;

    /// Returns the patterns that markers are evaluated with.
    ///
    /// # Errors
    ///
    /// Returns the errors of reading.
    fn patterns(&mut self) -> impl Future<Output = Result<PatternSet, StoreError>> + Send;

    /// Begins a transaction that locks the claimed positions and senders until it ends. Another
    /// transaction that claims one of them waits in its own `begin`. Locks are taken in the claim's
    /// order, which is ascending, so two writers cannot deadlock.
    ///
    /// # Errors
    ///
    /// Fenced if a position is not as claimed; retryable if a lock cannot be had.
    fn begin<'s>(
        &'s mut self,
        claim: &'s Claim,
    ) -> impl Future<Output = Result<Self::Tx<'s>, StoreError>> + Send;
}

/// A transaction. If it is dropped without [`commit`](Self::commit), nothing has changed.
///
/// # Protocol
///
/// 1. [`settings`](Self::settings), [`patterns_revision`](Self::patterns_revision) and
///    [`timelines`](Self::timelines), once each, right after [`Store::begin`].
/// 2. The look-ups [`known`](Self::known), [`session_owners`](Self::session_owners) and
///    [`histories`](Self::histories), any number of times and in any order. They see what was
///    stored before this transaction. Only claimed senders are looked up, so the answers hold until
///    the end.
/// 3. [`write_rows`](Self::write_rows), any number of times, between look-ups as well. From then on
///    [`known`](Self::known) and [`session_owners`](Self::session_owners) may see these rows.
/// 4. [`write`](Self::write), at most once.
/// 5. [`commit`](Self::commit), which also moves the claimed positions; or drop, which rolls back.
///
/// After an error of a look-up or of a write the transaction can only be dropped. The caller may
/// begin another one. [`Store`] has an example.
pub trait Transaction: Send {
    /// Returns the settings that the store was opened with, or that its rows are
    /// [rebuilt](Upkeep::begin_rebuild) with. Rows made with other settings must not be written.
    fn settings(&self) -> &Settings;

    /// Returns the revision of the store's patterns, which cannot change until the transaction
    /// ends.
    fn patterns_revision(&self) -> u64;

    /// Returns the claimed senders' states, in the claim's order.
    fn timelines(&mut self) -> impl Future<Output = Result<Vec<Locked>, StoreError>> + Send;

    /// Returns the stored events that have the key, for each of `events`, in their order. This is
    /// a range look-up in the index of `rasa_event.id`, from [`EventKey::first`] to
    /// [`EventKey::last`].
    ///
    /// [`EventKey::first`]: turnmill_model::EventKey::first
    /// [`EventKey::last`]: turnmill_model::EventKey::last
    fn known(
        &mut self,
        events: &[EventLookup],
    ) -> impl Future<Output = Result<Vec<StoredCopies>, StoreError>> + Send;

    /// Returns the sender that owns each session of `ids`, in their order; `None` if the store has
    /// no such session.
    fn session_owners(
        &mut self,
        ids: &[SessionId],
    ) -> impl Future<Output = Result<Vec<Option<SenderId>>, StoreError>> + Send;

    /// Returns one page of history for each request, in their order, see [`HistoryRequest`].
    fn histories(
        &mut self,
        requests: &[HistoryRequest],
    ) -> impl Future<Output = Result<Vec<HistoryPage>, StoreError>> + Send;

    /// Returns the page of one request.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`histories`](Self::histories), and damaged if that returns no page.
    fn history(
        &mut self,
        request: &HistoryRequest,
    ) -> impl Future<Output = Result<HistoryPage, StoreError>> + Send {
        async move {
            let mut pages = self.histories(std::slice::from_ref(request)).await?;
            let detail = || format!("no page of the history of the sender {}", request.sender.0);
            pages.pop().ok_or_else(|| StoreError::Damaged { detail: detail() })
        }
    }

    /// Writes a part of the batch's row changes before the batch itself, so that a batch that
    /// changes very many rows need not be held in memory. `changes` are applied as those of a
    /// batch. A later part, and the batch, may update a row of an earlier part. The batch must not
    /// clear or forget senders.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`write`](Self::write).
    fn write_rows(&mut self, changes: &Changes) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Writes a batch. Nothing is visible to others before [`commit`](Self::commit).
    ///
    /// # Errors
    ///
    /// Poison if a row can never be written. After any error the transaction can only be dropped.
    fn write(&mut self, batch: &Batch) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes everything written durable and visible, together with the claimed positions' `to`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`write`](Self::write). If the connection was lost, the commit may
    /// have happened or not. Positions and ids make it safe to repeat the batch.
    fn commit(self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// What a store returns on opening.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The stored position of each partition.
    pub positions: Vec<StoredPosition>,
}

impl Opened {
    /// Returns the stored position of `key`.
    #[must_use]
    pub fn position(&self, key: &PartitionId) -> Option<&str> {
        StoredPosition::find(&self.positions, key)
    }
}

/// Compares the settings that a store was filled with to the present ones.
///
/// # Errors
///
/// Returns [`StoreError::Settings`] for the first setting that differs.
pub fn check_settings(stored: &Settings, configured: &Settings) -> Result<(), StoreError> {
    let differ = |setting, stored: &dyn Display, configured: &dyn Display| {
        let (stored, configured) = (stored.to_string(), configured.to_string());
        if stored == configured { Ok(()) } else { Err(StoreError::Settings { setting, stored, configured }) }
    };
    differ("session_id", &stored.session_id, &configured.session_id)?;
    differ("bare_slot_strings", &stored.bare_slot_strings, &configured.bare_slot_strings)?;
    differ("stack_events", &stored.stack_events, &configured.stack_events)?;
    let (stored, configured) = (&stored.lex, &configured.lex);
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    differ("lex_session_gap", &stored.session_gap, &configured.session_gap)?;
    differ("lex_user_attribute", &text(&stored.user_attribute), &text(&configured.user_attribute))?;
    differ(
        "lex_handover_attribute",
        &text(&stored.handover_attribute),
        &text(&configured.handover_attribute),
    )?;
    differ("lex_channel", &text(&stored.channel), &text(&configured.channel))?;
    differ("lex_blanked_keys", &stored.secret_keys.join(","), &configured.secret_keys.join(","))
}

/// Requests the history of a sender from the latest checkpoint at or before `since` on, a page at a
/// time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistoryRequest {
    /// The sender.
    pub sender: SenderId,
    /// The event time from which on history is needed; `None`: everything, without a checkpoint.
    pub since: Option<EventTime>,
    /// Number of chunks that earlier pages of the same request have returned.
    pub skip: usize,
    /// Most chunks of the page, at least 1.
    pub limit: usize,
}

/// A page of history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryPage {
    /// The checkpoint at which the events begin; `None`: with the first event. It is the same on
    /// every page.
    pub start: Option<Checkpoint>,
    /// The checkpoints after `since` that lie in this page, in order: at or after the least time of
    /// its first chunk (of the first page: all), and before `next`.
    pub checkpoints: Vec<Checkpoint>,
    /// The chunks that hold events at or after the start, ordered by their least time, then number.
    pub chunks: Vec<Chunk>,
    /// Least event time of the first chunk that is not returned yet. All events before it are
    /// returned. `None` on the last page.
    pub next: Option<EventTime>,
}

/// What tools read from a store, apart from the pipeline.
///
/// Called on an opened store, between transactions, in any order and any number of times. Nothing
/// is written, and no lock is held for longer than the call. A call sees what was committed before
/// it. All errors are errors of reading.
///
/// ```
/// use turnmill_model::Settings;
/// use turnmill_sink::{Inspect, MemoryStore, Store, StoreError};
///
/// # pollster::block_on(async {
/// let mut store = MemoryStore::default();
/// store.open(&Settings::default()).await?;
/// assert!(store.digests().await?.tables.values().all(|table| table.rows == 0));
/// assert!(store.ledger().await?.is_empty() && store.positions().await?.is_empty());
/// # Ok::<(), StoreError>(())
/// # }).unwrap();
/// ```
pub trait Inspect: Send {
    /// Returns row count and digest of each public table.
    fn digests(&mut self) -> impl Future<Output = Result<Digests, StoreError>> + Send;

    /// Returns the ledger: one entry for each source that records were read from.
    fn ledger(&mut self) -> impl Future<Output = Result<Vec<LedgerEntry>, StoreError>> + Send;

    /// Returns dead letters with an id above `after`, ascending, at most `limit`.
    fn dead_letters(
        &mut self,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, StoreError>> + Send;

    /// Returns the stored position of each partition.
    fn positions(&mut self) -> impl Future<Output = Result<Vec<StoredPosition>, StoreError>> + Send;
}

/// What the tools that go through all senders need of a store.
///
/// # Protocol
///
/// - A sweep over marker rows calls [`swept_patterns`](Self::swept_patterns), goes through
///   [`senders_seen`](Self::senders_seen) page by page, and ends with
///   [`note_swept_patterns`](Self::note_swept_patterns). `after` is the last sender of the page
///   before. A sweep may stop anywhere and start over.
/// - A rebuild calls [`begin_rebuild`](Self::begin_rebuild) *instead of* [`Store::open`]. It goes
///   through [`senders`](Self::senders) from the state's `after` on, and writes each page in one
///   transaction with [`Batch::rebuilt`]. At last it calls [`end_rebuild`](Self::end_rebuild).
///   Until then other writers are refused if settings or engine differ. It may be interrupted and
///   begun again.
///
/// Senders that are added meanwhile may be listed or not.
///
/// ```
/// use turnmill_model::Settings;
/// use turnmill_sink::{MemoryStore, StoreError, Upkeep};
///
/// # pollster::block_on(async {
/// let mut store = MemoryStore::default();
/// let settings = Settings::default();
/// let mut after = store.begin_rebuild(&settings).await?.after;
/// loop {
///     let senders = store.senders(after, 100).await?;
///     let Some(last) = senders.last() else { break };
///     after = Some(*last);
///     // `turnmill_ingest::Ingest::rebuild` makes the rows of `senders` again.
/// }
/// store.end_rebuild(&settings).await?;
/// # Ok::<(), StoreError>(())
/// # }).unwrap();
/// ```
pub trait Upkeep: Store {
    /// Returns the senders with an id above `after`, in ascending order, at most `limit`.
    fn senders(
        &mut self,
        after: Option<SenderId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<SenderId>, StoreError>> + Send;

    /// Returns those of [`senders`](Self::senders) that have an event at `since` or later, and
    /// perhaps others.
    fn senders_seen(
        &mut self,
        since: Micros,
        after: Option<SenderId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<SenderId>, StoreError>> + Send {
        let _ = since;
        self.senders(after, limit)
    }

    /// Returns the revision of the patterns with which the marker rows of all senders were last
    /// known to be made. Returns 0 if none was noted, which is always correct.
    fn swept_patterns(&mut self) -> impl Future<Output = Result<u64, StoreError>> + Send {
        std::future::ready(Ok(0))
    }

    /// Notes that the marker rows of all senders were made with the patterns of `revision`, or of a
    /// later one.
    fn note_swept_patterns(&mut self, revision: u64) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = revision;
        std::future::ready(Ok(()))
    }

    /// Replaces the patterns, which must have the revision `from`, by `set`. Waits for transactions
    /// under way.
    ///
    /// # Errors
    ///
    /// Fenced if another writer has changed the patterns.
    fn write_patterns(
        &mut self,
        from: u64,
        set: &PatternSet,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Opens the store for a rebuild of all rows from the history. `settings` may differ from those
    /// that the store was filled with. If they do, or if the engine has another version, other
    /// writers are refused until [`end_rebuild`](Self::end_rebuild).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`open`](Store::open), except those about settings and the engine's
    /// version.
    fn begin_rebuild(
        &mut self,
        settings: &Settings,
    ) -> impl Future<Output = Result<RebuildState, StoreError>> + Send;

    /// Notes that all rows are those of `settings` and the present engine.
    fn end_rebuild(&mut self, settings: &Settings) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The state of a rebuild.
#[derive(Clone, Debug, PartialEq)]
pub struct RebuildState {
    /// The settings that the store was filled with.
    pub stored: Settings,
    /// The assistant of all senders, if an older engine kept it for the whole store.
    pub assistant: Option<String>,
    /// The last sender that was done by an interrupted rebuild with the same settings.
    pub after: Option<SenderId>,
}
