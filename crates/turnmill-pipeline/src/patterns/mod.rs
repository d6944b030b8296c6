//! Changing a store's patterns, making up for the rows that follow from a change, and looking at what patterns would do.

mod explain;
mod preview;

use std::time::Duration;

use turnmill_ingest::Ingest;
use turnmill_markers::MarkerSet;
use turnmill_model::{Micros, SenderId};
use turnmill_sink::{PatternSet, StoreError, Upkeep};
use uuid::Uuid;

pub use self::explain::{ExplainedEvent, ExplainedSession};
pub use self::preview::{MarkerPreview, Preview, Sample};
use crate::backoff::Attempts;
use crate::stop::Stop;

/// Senders of a transaction that makes up for marker rows.
const STEP: usize = 100;

/// What is told while patterns are dealt with.
#[derive(Debug)]
#[non_exhaustive]
pub enum PatternEvent<'e> {
    /// Something failed and is tried again after a pause.
    Retrying {
        /// Why.
        error: &'e StoreError,
        /// How long the pause is.
        pause: Duration,
    },
    /// All senders up to this one are done.
    Reached {
        /// The last of them. Ids are spread evenly, so its first bits tell how much is done.
        sender: SenderId,
        /// How many there were.
        senders: u64,
    },
}

/// The patterns after a change, or after none.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternChange {
    /// The patterns as they are now.
    pub set: PatternSet,
    /// Whether they were others before.
    pub changed: bool,
}

/// What making up for marker rows came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Senders that were looked at.
    pub senders: u64,
    /// Those among them that owed rows.
    pub caught_up: u64,
    /// Whether all are done; false if stopping was asked for before.
    pub complete: bool,
}

/// The patterns of an open store.
///
/// A change of the patterns is one short transaction: [`upload`](Self::upload), [`remove`](Self::remove),
/// [`backfill`](Self::backfill). Whoever writes to the store notices it at the next transaction, and makes up for the rows of a
/// sender at that sender's next event. [`sweep`](Self::sweep) does so for the senders without one, and has to follow each
/// change. It can be interrupted at any moment, done by several at once, and repeated: what is done is not done again.
pub struct PatternTools<'t, S> {
    store: &'t mut S,
    stop: Stop,
    tell: &'t mut (dyn FnMut(PatternEvent<'_>) + Send),
    attempts: Attempts,
    step: usize,
}

impl<S: std::fmt::Debug> std::fmt::Debug for PatternTools<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PatternTools").field("store", &self.store).finish_non_exhaustive()
    }
}

/// The value of a call to the store, tried until it is there or will never be.
macro_rules! tried {
    ($tools:expr, $call:expr) => {
        loop {
            match $call {
                Ok(value) => {
                    $tools.attempts.succeeded();
                    break value;
                }
                Err(error) => $tools.pause_or_fail(error).await?,
            }
        }
    };
}
use tried;

impl<'t, S: Upkeep> PatternTools<'t, S> {
    /// The patterns of `store`, which is open. `tell` hears what happens meanwhile; `stop` ends pauses and
    /// [`sweep`](Self::sweep).
    pub fn new(store: &'t mut S, stop: Stop, tell: &'t mut (dyn FnMut(PatternEvent<'_>) + Send)) -> Self {
        Self { store, stop, tell, attempts: Attempts::default(), step: STEP }
    }

    /// Sets how many senders a transaction of [`sweep`](Self::sweep) makes up for, at least 1.
    #[must_use]
    pub fn with_step(mut self, senders: usize) -> Self {
        self.step = senders.max(1);
        self
    }

    /// Gives up a store that stays away for longer than this; by default it is waited for without end.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.attempts = Attempts::giving_up_after(patience);
        self
    }

    /// The patterns as they are.
    ///
    /// # Errors
    ///
    /// The store's, those that do not pass.
    pub async fn list(&mut self) -> Result<PatternSet, StoreError> {
        Ok(tried!(self, self.store.patterns().await))
    }

    /// Makes `markers` all that is active. New and changed ones hold for events from `now` on, in a store without events for
    /// all.
    ///
    /// # Errors
    ///
    /// The store's, those that do not pass.
    pub async fn upload(&mut self, markers: &MarkerSet, now: Micros) -> Result<PatternChange, StoreError> {
        let has_events = !tried!(self, self.store.senders(None, 1).await).is_empty();
        self.change(|set| set.upload(markers, now, has_events)).await
    }

    /// Ends the active pattern `id`: it does not hold for events from `now` on.
    ///
    /// # Errors
    ///
    /// The store's, those that do not pass.
    pub async fn remove(&mut self, id: Uuid, now: Micros) -> Result<PatternChange, StoreError> {
        self.change(|set| set.remove(id, now)).await
    }

    /// Makes the active patterns `ids` hold for all history.
    ///
    /// # Errors
    ///
    /// The store's, those that do not pass.
    pub async fn backfill(&mut self, ids: &[Uuid]) -> Result<PatternChange, StoreError> {
        self.change(|set| set.backfill(ids)).await
    }

    async fn change(
        &mut self,
        next: impl Fn(&PatternSet) -> Option<PatternSet>,
    ) -> Result<PatternChange, StoreError> {
        loop {
            let present = tried!(self, self.store.patterns().await);
            let Some(next) = next(&present) else {
                return Ok(PatternChange { set: present, changed: false });
            };
            match self.store.write_patterns(present.revision, &next).await {
                Ok(()) => {
                    self.attempts.succeeded();
                    return Ok(PatternChange { set: next, changed: true });
                }
                // Whether somebody else has changed them, or our answer got lost: it is looked again.
                Err(error) => self.pause_or_fail(error).await?,
            }
        }
    }

    /// Makes up for all marker rows that were made with older patterns. Cheap if there is nothing to make up for.
    ///
    /// # Errors
    ///
    /// The store's, those that do not pass.
    pub async fn sweep(&mut self, ingest: &mut Ingest) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        loop {
            let set = tried!(self, self.store.patterns().await);
            let done = tried!(self, self.store.swept_patterns().await);
            if done >= set.revision {
                swept.complete = true;
                return Ok(swept);
            }
            if let Some(since) = set.compile()?.differ_since(done)
                && !self.sweep_since(ingest, since, &mut swept).await?
            {
                return Ok(swept);
            }
            tried!(self, self.store.note_swept_patterns(set.revision).await);
        }
    }

    /// The same for senders with an event at `since` or later; false if stopping was asked for.
    async fn sweep_since(
        &mut self,
        ingest: &mut Ingest,
        since: Micros,
        swept: &mut Swept,
    ) -> Result<bool, StoreError> {
        let mut after = None;
        while !self.stop.is_set() {
            let senders = if since.0 == i64::MIN {
                tried!(self, self.store.senders(after, self.step).await)
            } else {
                tried!(self, self.store.senders_seen(since, after, self.step).await)
            };
            let Some(last) = senders.last() else { return Ok(true) };
            swept.caught_up += tried!(self, ingest.catch_up(self.store, &senders).await);
            swept.senders += senders.len() as u64;
            (self.tell)(PatternEvent::Reached { sender: *last, senders: swept.senders });
            after = Some(*last);
        }
        Ok(false)
    }

    /// Waits before the next attempt if the error may pass, else gives it back.
    async fn pause_or_fail(&mut self, error: StoreError) -> Result<(), StoreError> {
        let Some(pause) = self.attempts.failed(&error) else { return Err(error) };
        (self.tell)(PatternEvent::Retrying { error: &error, pause });
        if self.stop.pause(pause).await { Err(error) } else { Ok(()) }
    }
}
