//! Looking at senders' history through the engine, without writing.

use std::sync::Arc;

use turnmill_engine::{Patterns, Timeline};
use turnmill_model::{Changes, Event, SenderId, SessionId};

use crate::ingest::Ingest;
use crate::reader::{Reader, SenderRef};
use crate::whole_history::WholeHistory;
use turnmill_sink::{Claim, Locked, Store, StoreError, Transaction};

/// A sender, as its history makes it.
#[derive(Clone, Copy, Debug)]
pub struct RemadeSender<'l> {
    /// The sender.
    pub sender: SenderId,
    /// Its key: the conversation id of the assistant.
    pub sender_key: &'l str,
    /// Number of its events.
    pub events: u64,
    /// All of its rows, as inserts, with the marker rows of the patterns that were asked for.
    pub rows: &'l Changes,
}

impl Ingest {
    /// Makes all rows of `senders` (ascending, each once) from their history in memory, with the marker rows of `patterns`
    /// whatever patterns the store has, and shows them sender by sender. Nothing is written; the senders are locked
    /// meanwhile, so it should be few at a time.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn remake_rows<S: Store>(
        &self,
        store: &mut S,
        senders: &[SenderId],
        patterns: Arc<Patterns>,
        show: &mut (dyn FnMut(RemadeSender<'_>) + Send),
    ) -> Result<(), StoreError> {
        let engine = self.engine.clone().with_patterns(patterns);
        let claim = Claim::of_senders(senders);
        let mut tx = store.begin(&claim).await?;
        let mut rows = Changes::default();
        for (sender, locked) in senders.iter().zip(tx.timelines().await?) {
            let Locked::Loaded { state, .. } = locked else { continue };
            let name = Timeline::name_of(&state)?;
            let timeline = Timeline::new(*sender, &name.key, name.assistant.as_deref());
            rows.clear();
            let history = WholeHistory { engine: &engine, decoder: self.decoder() };
            let made = history.run(&mut tx, *sender, timeline, &mut rows).await?;
            show(RemadeSender { sender: *sender, sender_key: &name.key, events: made.events, rows: &rows });
        }
        Ok(())
    }

    /// Shows the events of a sender in their order. Nothing is written. Says whether the store has that sender.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn show_events<S: Store>(
        &self,
        store: &mut S,
        sender: SenderId,
        show: &mut (dyn FnMut(&Event<'_>) + Send),
    ) -> Result<bool, StoreError> {
        let claim = Claim::of_senders(&[sender]);
        let mut tx = store.begin(&claim).await?;
        let Some(Locked::Loaded { state, .. }) = tx.timelines().await?.into_iter().next() else {
            return Ok(false);
        };
        let whose = SenderRef { sender, name: Timeline::name_of(&state)? };
        let mut reader = Reader::open(&mut tx, sender, None, self.decoder().name(), None).await?;
        loop {
            reader.fill(&mut tx).await?;
            let Some(stored) = reader.next() else { return Ok(true) };
            show(&stored.event(self.decoder(), &whose)?);
        }
    }

    /// Returns the sender that owns `session`, or `None` if the store has no such session.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn session_owner<S: Store>(
        &self,
        store: &mut S,
        session: SessionId,
    ) -> Result<Option<SenderId>, StoreError> {
        let claim = Claim::default();
        let mut tx = store.begin(&claim).await?;
        Ok(tx.session_owners(&[session]).await?.into_iter().next().flatten())
    }
}
