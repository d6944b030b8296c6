//! Making senders' rows again from their history.

use turnmill_engine::{Checkpoint, Engine, Step, Timeline};
use turnmill_model::{Changes, EventTime, SenderId};

use super::late::Means;
use super::reader::Reader;
use super::{Ingest, Setback};
use crate::{
    Batch, CheckpointWrite, Claim, HistoryRequest, HistoryWrite, Locked, Store, StoreError, TimelineWrite,
    Transaction,
};

/// Chunks of history to copy at a time.
const PAGE: usize = 256;

/// What a rebuild of some senders came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Senders.
    pub senders: u64,
    /// Their events.
    pub events: u64,
}

impl Ingest<'_> {
    /// Makes all rows of `senders` (ascending, each once) again from their history, in one transaction. Their ids may become
    /// others, if `assistant` was set or changed.
    ///
    /// # Errors
    ///
    /// The store's. After an error nothing has changed.
    pub async fn rebuild<S: Store>(
        &mut self,
        store: &mut S,
        senders: &[SenderId],
    ) -> Result<Rebuilt, StoreError> {
        self.cache.clear();
        loop {
            match self.try_rebuild(store, senders).await {
                Ok(rebuilt) => return Ok(rebuilt),
                Err(setback) => self.overcome(setback, store).await?,
            }
        }
    }

    async fn try_rebuild<S: Store>(
        &mut self,
        store: &mut S,
        senders: &[SenderId],
    ) -> Result<Rebuilt, Setback> {
        let claimed = self.with_new_ids(store, senders).await?;
        let mut claims: Vec<SenderId> = claimed.iter().flat_map(|(old, new)| [*old, *new]).collect();
        claims.sort_unstable();
        claims.dedup();
        let claim = Claim::of_senders(&claims);
        let mut tx = store.begin(&claim).await?;
        self.knows_patterns(&tx)?;
        let locked = tx.timelines().await?;
        let mut batch = Batch { rebuilt: senders.last().copied(), ..Batch::default() };
        let mut rebuilt = Rebuilt::default();
        for (old, new) in claimed {
            let state = |sender| claims.binary_search(&sender).ok().and_then(|index| locked.get(index));
            let Some(Locked::Loaded { version, state: bytes }) = state(old) else { continue };
            let key = Timeline::key_of(bytes).map_err(StoreError::from)?;
            rebuilt.senders += 1;
            rebuilt.events +=
                self.make_again(&mut tx, old, Timeline::new(new, &key), *version, &mut batch).await?;
        }
        tx.write(&batch).await?;
        tx.commit().await?;
        Ok(rebuilt)
    }

    /// Makes up for marker rows of `senders` (ascending, each once) that were made with older patterns, in one transaction. Says
    /// how many senders owed any.
    ///
    /// # Errors
    ///
    /// The store's. After an error nothing has changed.
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
        self.knows_patterns(&tx)?;
        let locked = tx.timelines().await?;
        let (mut batch, mut caught_up) = (Batch::default(), 0);
        for (sender, locked) in senders.iter().zip(locked) {
            let Locked::Loaded { version, state } = locked else { continue };
            let timeline = Timeline::from_bytes(&state).map_err(StoreError::from)?;
            let Some(since) = timeline.owes(self.engine.patterns()) else { continue };
            let mut means = Means { tx: &mut tx, engine: &self.engine, decoder: self.decoder, ahead: None };
            let outcome = means.make_up(&timeline, since, &mut batch.changes).await?;
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

    /// The senders with the ids that they have under the present settings.
    async fn with_new_ids<S: Store>(
        &self,
        store: &mut S,
        senders: &[SenderId],
    ) -> Result<Vec<(SenderId, SenderId)>, StoreError> {
        let claim = Claim::of_senders(senders);
        let mut tx = store.begin(&claim).await?;
        let mut ids = Vec::with_capacity(senders.len());
        for (sender, locked) in senders.iter().zip(tx.timelines().await?) {
            let Locked::Loaded { state, .. } = locked else { continue };
            let key = Timeline::key_of(&state)?;
            let mut reader = Reader::open(&mut tx, *sender, None, self.decoder.name(), None).await?;
            let Some(first) = reader.next() else { continue };
            ids.push((*sender, first.event(self.decoder, &key)?.sender));
        }
        Ok(ids)
    }

    /// Adds to `batch` what makes the sender `old` the one that `timeline` begins; says how many events there are.
    async fn make_again<T: Transaction>(
        &self,
        tx: &mut T,
        old: SenderId,
        mut timeline: Timeline,
        version: u64,
        batch: &mut Batch,
    ) -> Result<u64, StoreError> {
        let sender = timeline.sender();
        let (events, made, checkpoints) =
            self.run_history(&self.engine, tx, old, &mut timeline, &mut batch.changes).await?;
        if old == sender {
            batch.cleared.push(old);
        } else {
            batch.forgotten.push(old);
            self.copy_history(tx, old, sender, batch).await?;
        }
        batch.timelines.push(TimelineWrite { sender, version: version + 1, state: made.to_bytes() });
        let stretch: (Option<EventTime>, Option<EventTime>) = (None, None);
        batch.checkpoints.push(CheckpointWrite { sender, stretch, checkpoints });
        Ok(events)
    }

    /// Applies the whole history of `old` to `timeline`, where its session ids are its own.
    pub(super) async fn run_history<T: Transaction>(
        &self,
        engine: &Engine,
        tx: &mut T,
        old: SenderId,
        timeline: &mut Timeline,
        out: &mut Changes,
    ) -> Result<(u64, Timeline, Vec<Checkpoint>), StoreError> {
        let sender = timeline.sender();
        let mark = out.mark();
        loop {
            let (events, made, finished) = self.run_all(engine, tx, old, timeline, out).await?;
            let mut foreign = false;
            for (_, key) in &finished.claims {
                let session = turnmill_model::SessionId(*key);
                let owner = tx.session_owners(&[session]).await?.into_iter().next().flatten();
                if owner.is_some_and(|owner| owner != sender && owner != old) {
                    foreign |= timeline.mark_foreign(*key);
                }
            }
            if !foreign {
                return Ok((events, made, finished.checkpoints));
            }
            out.rollback(mark);
        }
    }

    /// Applies the whole history of `old` to `timeline`.
    async fn run_all<T: Transaction>(
        &self,
        engine: &Engine,
        tx: &mut T,
        old: SenderId,
        timeline: &Timeline,
        out: &mut Changes,
    ) -> Result<(u64, Timeline, turnmill_engine::Finished), StoreError> {
        let mut made = timeline.clone();
        let key = made.sender_key().to_owned();
        let mut reader = Reader::open(tx, old, None, self.decoder.name(), None).await?;
        let mut events = 0;
        let mut run = engine.run(&mut made, out);
        loop {
            reader.fill(tx).await?;
            let Some(stored) = reader.next() else { break };
            let event = stored.event(self.decoder, &key)?;
            if let Step::Behind { .. } = run.apply(&event) {
                return Err(StoreError::Damaged {
                    detail: format!("the history of sender {old} has event {} twice", event.id),
                });
            }
            events += 1;
        }
        let finished = run.finish();
        Ok((events, made, finished))
    }

    async fn copy_history<T: Transaction>(
        &self,
        tx: &mut T,
        old: SenderId,
        sender: SenderId,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let mut skip = 0;
        loop {
            let request = HistoryRequest { sender: old, since: None, skip, limit: PAGE };
            let page = tx.history(&request).await?;
            skip += page.chunks.len();
            let writes = page.chunks.into_iter();
            batch.history.extend(writes.map(|chunk| HistoryWrite { sender, chunk, replaces: false }));
            if page.next.is_none() {
                return Ok(());
            }
        }
    }
}
