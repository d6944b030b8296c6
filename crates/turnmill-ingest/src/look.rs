//! Reads senders' history through the engine, without writing.

use std::ops::ControlFlow;
use std::sync::Arc;

use turnmill_engine::{Patterns, Timeline};
use turnmill_model::{Changes, Event, SenderId, SessionId};

use crate::ingest::Ingest;
use crate::reader::{Reader, SenderRef};
use crate::whole_history::WholeHistory;
use turnmill_sink::{Claim, Locked, Store, StoreError, Transaction};

/// Holds the rows of one sender, made from its history.
#[derive(Clone, Copy, Debug)]
pub struct RemadeSender<'l> {
    /// The sender.
    pub sender: SenderId,
    /// Its key: the conversation id of the assistant.
    pub sender_key: &'l str,
    /// Number of its events.
    pub events: u64,
    /// All of its rows, as inserts, with the marker rows of the given patterns.
    pub rows: &'l Changes,
}

impl Ingest {
    /// Makes all rows of `senders` (ascending, each once) from their history in memory, and calls
    /// `show` for each sender. The marker rows are those of `patterns`, whatever patterns the store
    /// has. Nothing is written. The senders are locked meanwhile, so pass few at a time.
    ///
    /// # Errors
    ///
    /// Returns the errors of the store.
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
            let history = WholeHistory { engine: &engine, decoders: self.decoders() };
            let made = history.run(&mut tx, *sender, timeline, &mut rows).await?;
            show(RemadeSender { sender: *sender, sender_key: &name.key, events: made.events, rows: &rows });
        }
        Ok(())
    }

    /// Calls `show` for each event of a sender, in order, with its bytes in the history: what the
    /// source sent, but for secrets. It ends early if `show` breaks. Nothing is written. Returns
    /// whether the store has that sender.
    ///
    /// # Errors
    ///
    /// Returns the errors of the store.
    pub async fn show_events<S: Store>(
        &self,
        store: &mut S,
        sender: SenderId,
        show: &mut (dyn FnMut(&Event<'_>, &[u8]) -> ControlFlow<()> + Send),
    ) -> Result<bool, StoreError> {
        let claim = Claim::of_senders(&[sender]);
        let mut tx = store.begin(&claim).await?;
        let Some(Locked::Loaded { state, .. }) = tx.timelines().await?.into_iter().next() else {
            return Ok(false);
        };
        let sender_ref = SenderRef { sender, name: Timeline::name_of(&state)? };
        let mut reader = Reader::open(&mut tx, sender, None, self.decoders(), None).await?;
        loop {
            reader.fill(&mut tx).await?;
            let Some(stored) = reader.next() else { return Ok(true) };
            if show(&stored.event(self.decoders(), &sender_ref)?, stored.payload()).is_break() {
                return Ok(true);
            }
        }
    }

    /// Returns the sender that owns `session`, or `None` if the store has no such session.
    ///
    /// # Errors
    ///
    /// Returns the errors of the store.
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
