//! Makes the rows of senders again from their history.

use turnmill_engine::{SenderName, Timeline};
use turnmill_model::SenderId;
use turnmill_sink::{
    Batch, CheckpointWrite, Claim, Counts, HistoryRequest, HistoryStretch, HistoryWrite, Locked, Store,
    StoreError, TimelineWrite, Transaction,
};

use crate::copies::EventCounts;
use crate::history::{Entries, unpack};
use crate::ingest::Ingest;
use crate::late::Replayer;
use crate::pieces::Pieces;
use crate::reader::{SenderRef, Stored};
use crate::replaced::rewrite;
use crate::setback::{Setback, check_opened, check_patterns};
use crate::whole_history::{Rewritten, WholeHistory};

/// Chunks of history that are copied at a time.
const PAGE: usize = 256;

/// Reports a rebuild of some senders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Senders.
    pub senders: u64,
    /// Their events.
    pub events: u64,
    /// Events of the history that are copies of others by the present rules. They became
    /// duplicates.
    pub duplicates: u64,
}

/// Counts what was made again of a sender.
struct MadeAgain {
    events: u64,
    /// Events that became duplicates.
    copies: EventCounts,
    /// Rows of `rasa_event` beyond one an event.
    extra_rows: i64,
}

/// The source under which the ledger counts events that a rebuild found to be duplicates.
const LEDGER_SOURCE: &str = "rebuild";

impl Ingest {
    /// Makes all rows of `senders` (ascending, each once) again from their history, in one
    /// transaction. If `assistant` is given, senders without an assistant get it, and with it
    /// another id.
    ///
    /// # Errors
    ///
    /// Returns the errors of the store. After an error nothing has changed.
    pub async fn rebuild<S: Store>(
        &mut self,
        store: &mut S,
        senders: &[SenderId],
        assistant: Option<&str>,
    ) -> Result<Rebuilt, StoreError> {
        self.cache.clear();
        loop {
            match self.try_rebuild(store, senders, assistant).await {
                Ok(rebuilt) => return Ok(rebuilt),
                Err(setback) => self.overcome(setback, store).await?,
            }
        }
    }

    async fn try_rebuild<S: Store>(
        &mut self,
        store: &mut S,
        senders: &[SenderId],
        assistant: Option<&str>,
    ) -> Result<Rebuilt, Setback> {
        let named = self.with_names(store, senders, assistant).await?;
        let mut claims: Vec<SenderId> =
            named.iter().flat_map(|(old, sender_ref)| [*old, sender_ref.sender]).collect();
        claims.sort_unstable();
        claims.dedup();
        let claim = Claim::of_senders(&claims);
        let mut tx = store.begin(&claim).await?;
        check_opened(self.rules().settings(), &tx)?;
        check_patterns(&self.engine, &tx)?;
        let locked = tx.timelines().await?;
        let mut batch = Batch { rebuilt: senders.last().copied(), ..Batch::default() };
        let (mut rebuilt, mut copies, mut extra_rows) = (Rebuilt::default(), EventCounts::default(), 0);
        for (old, sender_ref) in named {
            let state = |sender| claims.binary_search(&sender).ok().and_then(|index| locked.get(index));
            let Some(Locked::Loaded { version, state: before }) = state(old) else { continue };
            if old != sender_ref.sender && matches!(state(sender_ref.sender), Some(Locked::Loaded { .. })) {
                return Err(StoreError::Unusable {
                    detail: format!(
                        "sender `{}` is there with and without the assistant `{}`, and a rebuild cannot join \
                         them; read the source again into a store of its own",
                        sender_ref.name.key,
                        sender_ref.name.assistant.as_deref().unwrap_or_default()
                    ),
                    source: None,
                }
                .into());
            }
            let made = self.make_again(&mut tx, old, &sender_ref, *version, &mut batch).await?;
            rebuilt.senders += 1;
            rebuilt.events += made.events;
            copies += made.copies;
            // Versions that cannot be read had no rows beyond one an event.
            extra_rows +=
                made.extra_rows - Timeline::from_bytes(before).map_or(0, |before| before.extra_rows());
        }
        if copies != EventCounts::default() || extra_rows != 0 {
            let EventCounts { events: moved, parts } = copies;
            let parts = extra_rows - parts;
            let counts = Counts { events: -moved, duplicates: moved, parts, ..Counts::default() };
            batch.ledger.insert(LEDGER_SOURCE.into(), counts);
        }
        rebuilt.duplicates = u64::try_from(copies.events).unwrap_or_default();
        tx.write(&batch).await?;
        tx.commit().await?;
        Ok(rebuilt)
    }

    /// Writes marker rows of `senders` (ascending, each once) that are missing because they were
    /// made with older patterns. Uses one transaction. Returns the number of senders that had rows
    /// missing.
    ///
    /// # Errors
    ///
    /// Returns the errors of the store. After an error nothing has changed.
    pub async fn catch_up<S: Store>(
        &mut self,
        store: &mut S,
        senders: &[SenderId],
    ) -> Result<u64, StoreError> {
        self.cache.clear();
        loop {
            match self.try_catch_up(store, senders).await {
                Ok(senders) => return Ok(senders),
                Err(setback) => self.overcome(setback, store).await?,
            }
        }
    }

    async fn try_catch_up<S: Store>(&mut self, store: &mut S, senders: &[SenderId]) -> Result<u64, Setback> {
        let claim = Claim::of_senders(senders);
        let mut tx = store.begin(&claim).await?;
        check_opened(self.rules().settings(), &tx)?;
        check_patterns(&self.engine, &tx)?;
        let locked = tx.timelines().await?;
        let (mut batch, mut caught_up) = (Batch::default(), 0);
        for (sender, locked) in senders.iter().zip(locked) {
            let Locked::Loaded { version, state } = locked else { continue };
            let timeline = Timeline::from_bytes(&state).map_err(StoreError::from)?;
            let Some(since) = timeline.markers_missing_since(self.engine.patterns()) else { continue };
            let mut replayer = Replayer {
                tx: &mut tx,
                engine: &self.engine,
                decoders: self.decoders(),
                ahead: None,
                pieces: &mut Pieces::new(false),
            };
            let outcome = replayer.make_up(&timeline, since, &mut batch.changes).await?;
            let (sender, version, state) = (*sender, version + 1, outcome.timeline.to_bytes());
            batch.timelines.push(TimelineWrite { sender, version, state });
            batch.checkpoints.extend(outcome.checkpoints);
            caught_up += 1;
        }
        if caught_up > 0 {
            tx.write(&batch).await?;
            tx.commit().await?;
        }
        Ok(caught_up)
    }

    /// Returns the senders that have a state, with their names and ids after the rebuild.
    async fn with_names<S: Store>(
        &self,
        store: &mut S,
        senders: &[SenderId],
        assistant: Option<&str>,
    ) -> Result<Vec<(SenderId, SenderRef)>, StoreError> {
        let claim = Claim::of_senders(senders);
        let mut tx = store.begin(&claim).await?;
        let mut named = Vec::with_capacity(senders.len());
        for (old, locked) in senders.iter().zip(tx.timelines().await?) {
            let Locked::Loaded { state, .. } = locked else { continue };
            let SenderName { key, assistant: stored } = Timeline::name_of(&state)?;
            let assistant = stored.or_else(|| assistant.map(Into::into));
            let mut sender_ref = SenderRef { sender: *old, name: SenderName { key, assistant } };
            sender_ref.sender = self.sender_of(&mut tx, &sender_ref).await?;
            named.push((*old, sender_ref));
        }
        Ok(named)
    }

    /// Returns the id that the decoder gives the stored sender `sender_ref` under its name. The
    /// engine does not know how a format makes ids of its senders, so this decodes one of the
    /// sender's events.
    async fn sender_of<T: Transaction>(
        &self,
        tx: &mut T,
        sender_ref: &SenderRef,
    ) -> Result<SenderId, StoreError> {
        let request = HistoryRequest { sender: sender_ref.sender, since: None, skip: 0, limit: 1 };
        for chunk in tx.history(&request).await?.chunks {
            let bytes = unpack(&chunk.bytes)?;
            if let Some(entry) = Entries::read(&bytes)?.0.first() {
                let stored = Stored::new(entry, (chunk.number, 0), self.decoders())?;
                return Ok(stored.event(self.decoders(), sender_ref)?.sender);
            }
        }
        Ok(sender_ref.sender)
    }

    /// Adds to `batch` the rows and state of the sender `old`, under the name and id of
    /// `sender_ref`.
    async fn make_again<T: Transaction>(
        &self,
        tx: &mut T,
        old: SenderId,
        sender_ref: &SenderRef,
        version: u64,
        batch: &mut Batch,
    ) -> Result<MadeAgain, StoreError> {
        let sender = sender_ref.sender;
        let timeline = Timeline::new(sender, &sender_ref.name.key, sender_ref.name.assistant.as_deref());
        let history = WholeHistory { engine: &self.engine, decoders: self.decoders() };
        let before = batch.changes.events.inserts.len();
        let mut made = history.run(tx, old, timeline, &mut batch.changes).await?;
        let rows = batch.changes.events.inserts.len() - before;
        let extra_rows = if made.timeline.has_exchanges() { rows as i64 - made.events as i64 } else { 0 };
        made.timeline.note_extra_rows(extra_rows);
        if old == sender {
            batch.cleared.push(old);
        } else {
            batch.forgotten.push(old);
        }
        if old != sender || !made.rewritten.is_empty() {
            self.copy_history(tx, old, sender, &made.rewritten, batch).await?;
        }
        batch.timelines.push(TimelineWrite { sender, version: version + 1, state: made.timeline.to_bytes() });
        let (stretch, checkpoints) = (HistoryStretch::default(), made.checkpoints);
        batch.checkpoints.push(CheckpointWrite { sender, stretch, checkpoints });
        Ok(MadeAgain { events: made.events, copies: made.copies, extra_rows })
    }

    /// Adds to `batch` the history of `old` as that of `sender`, with the changes of `rewritten`.
    /// If the sender keeps its id, only changed chunks are written.
    async fn copy_history<T: Transaction>(
        &self,
        tx: &mut T,
        old: SenderId,
        sender: SenderId,
        rewritten: &Rewritten,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let mut skip = 0;
        loop {
            let request = HistoryRequest { sender: old, since: None, skip, limit: PAGE };
            let page = tx.history(&request).await?;
            skip += page.chunks.len();
            for chunk in page.chunks {
                let (first, last) = ((chunk.number, 0), (chunk.number, usize::MAX));
                let touched = rewritten.range(first..=last).next().is_some();
                if old == sender && !touched {
                    continue;
                }
                let change = |stored: Stored| {
                    Ok(match rewritten.get(&stored.chunk) {
                        Some(changed) => changed.clone(),
                        None => Some(stored),
                    })
                };
                let chunk = if touched { rewrite(self.decoders(), &chunk, change)? } else { chunk };
                batch.history.push(HistoryWrite { sender, chunk, replaces: old == sender });
            }
            if page.next.is_none() {
                return Ok(());
            }
        }
    }
}
