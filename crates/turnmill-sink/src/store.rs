//! The traits of a store, which holds the truth.

use std::future::Future;

use turnmill_engine::Checkpoint;
use turnmill_model::{EventId, EventTime, Micros, PartitionId, SenderId, SessionId, Settings};

use crate::digest::Digests;
use crate::{Batch, Chunk, Claim, Counts, DeadLetter, EventLookup, Locked, PatternSet, StoreError};

/// A place that holds the truth: rows, history, positions, ledger and dead letters, changed together or not at all.
///
/// An implementation passes the conformance suite `turnmill_ingest::testkit`.
pub trait Store: Send {
    /// A transaction under way.
    type Tx<'s>: Transaction
    where
        Self: 's;

    /// Brings the schema up to date and says where each source stands. Called once, before anything else.
    ///
    /// # Errors
    ///
    /// Fatal if the store was written by a newer turnmill, is read-only, or was filled with settings that give other rows.
    fn open(&mut self, settings: &Settings) -> impl Future<Output = Result<Opened, StoreError>> + Send;

    /// The patterns that markers are evaluated with.
    fn patterns(&mut self) -> impl Future<Output = Result<PatternSet, StoreError>> + Send;

    /// Begins a transaction that holds the claimed positions and senders until it ends.
    ///
    /// # Errors
    ///
    /// Fenced if a position is not as claimed; retryable if a lock cannot be had.
    fn begin<'s>(
        &'s mut self,
        claim: &'s Claim,
    ) -> impl Future<Output = Result<Self::Tx<'s>, StoreError>> + Send;
}

/// One transaction. Dropped without [`commit`](Self::commit) it has changed nothing.
pub trait Transaction: Send {
    /// Revision of the store's patterns. They stay as they are until the transaction ends.
    fn patterns_revision(&self) -> u64;

    /// The claimed senders' states, in the claim's order.
    fn timelines(&mut self) -> impl Future<Output = Result<Vec<Locked>, StoreError>> + Send;

    /// Returns the ids of the stored events that have the key, one list for each of `events` and in their order: a look-up by
    /// range in the index of `rasa_event.id`, from [`EventKey::first`] to [`EventKey::last`].
    ///
    /// [`EventKey::first`]: turnmill_model::EventKey::first
    /// [`EventKey::last`]: turnmill_model::EventKey::last
    fn known(
        &mut self,
        events: &[EventLookup],
    ) -> impl Future<Output = Result<Vec<Vec<EventId>>, StoreError>> + Send;

    /// Whose sessions have the ids `ids`, in the same order.
    fn session_owners(
        &mut self,
        ids: &[SessionId],
    ) -> impl Future<Output = Result<Vec<Option<SenderId>>, StoreError>> + Send;

    /// A page of the history of each request's sender, see [`HistoryRequest`], in the requests' order.
    fn histories(
        &mut self,
        requests: &[HistoryRequest],
    ) -> impl Future<Output = Result<Vec<HistoryPage>, StoreError>> + Send;

    /// The same for one request.
    ///
    /// # Errors
    ///
    /// As for [`histories`](Self::histories); damaged if that gave no page.
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

    /// Writes a batch; nothing is visible to others before [`commit`](Self::commit).
    ///
    /// # Errors
    ///
    /// Poison if a row can never be written. After any error the transaction can only be dropped.
    fn write(&mut self, batch: &Batch) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes everything written durable and visible, together with the claimed positions' `to`.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write); if the connection was lost it may have happened or not, and positions and ids make
    /// it safe to do it again.
    fn commit(self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// What a store said on opening.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Where each source stands, in the source's own notation.
    pub positions: Vec<(PartitionId, String)>,
}

impl Opened {
    /// Where `key` stands.
    #[must_use]
    pub fn position(&self, key: &PartitionId) -> Option<&str> {
        self.positions.iter().find(|(stored, _)| stored == key).map(|(_, position)| position.as_str())
    }
}

/// Asks for the history of a sender from the latest checkpoint at or before `since` on, a page at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistoryRequest {
    /// The sender.
    pub sender: SenderId,
    /// The event time of interest; none asks for everything, without a checkpoint.
    pub since: Option<EventTime>,
    /// Number of chunks that earlier pages of the same request have brought.
    pub skip: usize,
    /// How many chunks to bring at most, at least 1.
    pub limit: usize,
}

/// A page of history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryPage {
    /// The checkpoint from which on the events are; none: from the first event on. The same on every page.
    pub start: Option<Checkpoint>,
    /// The checkpoints after that one, in order. Only on the first page.
    pub checkpoints: Vec<Checkpoint>,
    /// The chunks that hold events at or after the start, ordered by their least time, then number.
    pub chunks: Vec<Chunk>,
    /// Least time of the first chunk not yet brought; events before it are all there. None on the last page.
    pub next: Option<EventTime>,
}

/// What tools ask of a store, apart from the pipeline's own path.
pub trait Inspect: Send {
    /// Row count and digest of each public table.
    fn digests(&mut self) -> impl Future<Output = Result<Digests, StoreError>> + Send;

    /// The ledger, per source.
    fn ledger(&mut self) -> impl Future<Output = Result<Vec<(String, Counts)>, StoreError>> + Send;

    /// Dead letters in the order of their ids, after `after`, at most `limit`.
    fn dead_letters(
        &mut self,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, StoreError>> + Send;

    /// Where each source stands.
    fn positions(&mut self) -> impl Future<Output = Result<Vec<(PartitionId, String)>, StoreError>> + Send;
}

/// What the store's own upkeep asks of it: the tools that go through all senders.
pub trait Upkeep: Store {
    /// The senders with an id above `after`, in ascending order, at most `limit`.
    fn senders(
        &mut self,
        after: Option<SenderId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<SenderId>, StoreError>> + Send;

    /// Those of [`senders`](Self::senders) that have an event at `since` or later, and perhaps others.
    fn senders_seen(
        &mut self,
        since: Micros,
        after: Option<SenderId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<SenderId>, StoreError>> + Send {
        let _ = since;
        self.senders(after, limit)
    }

    /// The revision of the patterns with which the marker rows of all senders were last known to be made; 0 if that was
    /// never noted, which is always right.
    fn swept_patterns(&mut self) -> impl Future<Output = Result<u64, StoreError>> + Send {
        std::future::ready(Ok(0))
    }

    /// Notes that the marker rows of all senders were made with the patterns of `revision`, or of a later one.
    fn note_swept_patterns(&mut self, revision: u64) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = revision;
        std::future::ready(Ok(()))
    }

    /// Puts `set` in the place of the patterns, of which `from` must be the revision. Waits for transactions under way.
    ///
    /// # Errors
    ///
    /// Fenced if somebody else has changed them.
    fn write_patterns(
        &mut self,
        from: u64,
        set: &PatternSet,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Opens the store for making all rows again from the history, with settings that may be others than those it was filled
    /// with. If they are, or if the engine is another one, nobody can write to the store until
    /// [`end_rebuild`](Self::end_rebuild).
    ///
    /// # Errors
    ///
    /// As for [`open`](Store::open), but for the settings and the engine's version.
    fn begin_rebuild(
        &mut self,
        settings: &Settings,
    ) -> impl Future<Output = Result<RebuildState, StoreError>> + Send;

    /// Notes that all rows are made with `settings` and the present engine.
    fn end_rebuild(&mut self, settings: &Settings) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Where a rebuild stands.
#[derive(Clone, Debug, PartialEq)]
pub struct RebuildState {
    /// The settings that the store was filled with.
    pub stored: Settings,
    /// The assistant of all senders, if the store was filled by an engine that kept it beside them.
    pub assistant: Option<String>,
    /// The last sender that an interrupted rebuild with the same settings has done.
    pub after: Option<SenderId>,
}
