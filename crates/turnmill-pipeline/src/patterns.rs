//! Changes a store's patterns, brings the marker rows up to date, and previews patterns.

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

/// Senders of one transaction of a sweep.
const STEP: usize = 100;

/// An event of work on patterns.
#[derive(Debug)]
#[non_exhaustive]
pub enum PatternEvent<'e> {
    /// A call failed and is retried after a pause.
    Retrying {
        /// Why.
        error: &'e StoreError,
        /// How long the pause is.
        pause: Duration,
    },
    /// All senders up to this one are done.
    Reached {
        /// The last of them. Ids are spread evenly, so its first bits tell the share that is done.
        sender: SenderId,
        /// Number of senders that are done.
        senders: u64,
    },
}

/// The patterns after a call that may have changed them.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternChange {
    /// The patterns as they are now.
    pub set: PatternSet,
    /// Whether the call changed them.
    pub changed: bool,
}

/// The result of a sweep over marker rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Senders that were looked at.
    pub senders: u64,
    /// Number of senders that had marker rows missing.
    pub caught_up: u64,
    /// Whether all senders are done; false if it was stopped before.
    pub complete: bool,
}

/// The patterns of an open store.
///
/// A change of the patterns is one short transaction: [`upload`](Self::upload),
/// [`remove`](Self::remove), [`backfill`](Self::backfill). Each writer notices it in its next
/// transaction. It then writes the missing rows of a sender together with that sender's next event.
/// [`sweep`](Self::sweep) writes them for all other senders, and has to follow each change. It may
/// be interrupted, run in several processes at once, and be repeated. Work that is done is not done
/// again.
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

/// Returns the value of a call to the store. Retries until the call succeeds or fails for good.
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
    /// Works on the patterns of `store`, which has to be open. `tell` receives the events; `stop`
    /// ends pauses and [`sweep`](Self::sweep).
    pub fn new(store: &'t mut S, stop: Stop, tell: &'t mut (dyn FnMut(PatternEvent<'_>) + Send)) -> Self {
        Self { store, stop, tell, attempts: Attempts::default(), step: STEP }
    }

    /// Sets the number of senders of one transaction of [`sweep`](Self::sweep), at least 1.
    #[must_use]
    pub fn with_step(mut self, senders: usize) -> Self {
        self.step = senders.max(1);
        self
    }

    /// Sets how long to wait for an unavailable store. By default it waits without end.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.attempts = Attempts::giving_up_after(patience);
        self
    }

    /// Returns the present patterns.
    ///
    /// # Errors
    ///
    /// Returns errors of the store that do not pass.
    pub async fn list(&mut self) -> Result<PatternSet, StoreError> {
        Ok(tried!(self, self.store.patterns().await))
    }

    /// Makes `markers` the only active patterns. New and changed ones hold for events from `now`
    /// on; in a store without events they hold for all.
    ///
    /// # Errors
    ///
    /// Returns errors of the store that do not pass.
    pub async fn upload(&mut self, markers: &MarkerSet, now: Micros) -> Result<PatternChange, StoreError> {
        let has_events = !tried!(self, self.store.senders(None, 1).await).is_empty();
        self.change(|set| set.upload(markers, now, has_events)).await
    }

    /// Ends the active pattern `id`. It does not hold for events from `now` on.
    ///
    /// # Errors
    ///
    /// Returns errors of the store that do not pass.
    pub async fn remove(&mut self, id: Uuid, now: Micros) -> Result<PatternChange, StoreError> {
        self.change(|set| set.remove(id, now)).await
    }

    /// Makes the active patterns `ids` hold for all history.
    ///
    /// # Errors
    ///
    /// Returns errors of the store that do not pass.
    pub async fn backfill(&mut self, ids: &[Uuid]) -> Result<PatternChange, StoreError> {
        self.change(|set| set.backfill(ids)).await
    }

    async fn change(
        &mut self,
        next: impl Fn(&PatternSet) -> Option<PatternSet>,
    ) -> Result<PatternChange, StoreError> {
        // Another writer may have changed them, or the reply was lost, so each attempt reads them
        // again. Reading alone is no success: a standby would let it read for ever.
        Ok(tried!(self, self.attempt_change(&next).await))
    }

    async fn attempt_change(
        &mut self,
        next: impl Fn(&PatternSet) -> Option<PatternSet>,
    ) -> Result<PatternChange, StoreError> {
        let present = self.store.patterns().await?;
        let Some(next) = next(&present) else {
            return Ok(PatternChange { set: present, changed: false });
        };
        self.store.write_patterns(present.revision, &next).await?;
        Ok(PatternChange { set: next, changed: true })
    }

    /// Writes all marker rows that are missing because they were made with older patterns. Cheap if
    /// none are.
    ///
    /// # Errors
    ///
    /// Returns errors of the store that do not pass.
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

    /// Does so for senders with an event at `since` or later. Returns false if it was stopped.
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

    /// Waits before the next attempt if the error may pass. Returns the error otherwise.
    async fn pause_or_fail(&mut self, error: StoreError) -> Result<(), StoreError> {
        let Some(pause) = self.attempts.failed(&error) else { return Err(error) };
        (self.tell)(PatternEvent::Retrying { error: &error, pause });
        if self.stop.pause(pause).await { Err(error) } else { Ok(()) }
    }
}
