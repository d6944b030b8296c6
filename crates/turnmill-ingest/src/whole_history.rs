//! Applying the whole history of a sender to an empty timeline.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use turnmill_engine::{Checkpoint, Engine, NamedSession, Step, Timeline};
use turnmill_model::{Changes, Decoder, Event, EventKey, SenderId, SessionId};
use turnmill_sink::{StoreError, Transaction};

use crate::copies::{CopySource, KnownCopies, fold};
use crate::reader::{Reader, SenderRef, Stored};

/// What a sender's history is applied with.
pub(crate) struct WholeHistory<'h> {
    pub(crate) engine: &'h Engine,
    pub(crate) decoder: &'h dyn Decoder,
}

/// A sender's rows, made from its history.
pub(crate) struct RemadeHistory {
    /// Number of events.
    pub(crate) events: u64,
    pub(crate) timeline: Timeline,
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// What of the history has to change, by chunk and place in it.
    pub(crate) rewritten: Rewritten,
}

/// Stored events, by chunk and place in it, that others take the place of, or that go.
pub(crate) type Rewritten = BTreeMap<(u64, usize), Option<Stored>>;

impl WholeHistory<'_> {
    /// Applies the whole history of `old` to `timeline`, which is empty, where its session ids are its own.
    pub(crate) async fn run<T: Transaction>(
        &self,
        tx: &mut T,
        old: SenderId,
        mut timeline: Timeline,
        out: &mut Changes,
    ) -> Result<RemadeHistory, StoreError> {
        let sender = timeline.sender();
        let mark = out.mark();
        loop {
            let (made, named) = self.run_all(tx, old, &timeline, out).await?;
            let mut foreign = false;
            for NamedSession { session: key, .. } in &named {
                let owner = tx.session_owners(&[SessionId(*key)]).await?.into_iter().next().flatten();
                if owner.is_some_and(|owner| owner != sender && owner != old) {
                    foreign |= timeline.mark_foreign(*key);
                }
            }
            if !foreign {
                return Ok(made);
            }
            out.rollback(mark);
        }
    }

    /// Applies the whole history of `old` to `timeline`.
    async fn run_all<T: Transaction>(
        &self,
        tx: &mut T,
        old: SenderId,
        timeline: &Timeline,
        out: &mut Changes,
    ) -> Result<(RemadeHistory, Vec<NamedSession>), StoreError> {
        let whose = SenderRef::of(timeline);
        let mut made = timeline.clone();
        let mut reader = Reader::open(tx, old, None, self.decoder.name(), None).await?;
        let (mut events, mut rewritten) = (0, Rewritten::new());
        // Copies without a time of their own need not be at the same time.
        let mut timeless: HashSet<EventKey> = HashSet::new();
        let mut run = self.engine.run(&mut made, out);
        loop {
            // All events of one time: there all copies of an event are.
            let mut together = Vec::new();
            reader.fill(tx).await?;
            let Some((time, _)) = reader.peek() else { break };
            while reader.peek().is_some_and(|(next, _)| next == time)
                && let Some(stored) = reader.next()
            {
                together.push(stored);
                reader.fill(tx).await?;
            }
            for stored in self.without_copies(&whose, together, &mut rewritten)? {
                let event = stored.event(self.decoder, &whose)?;
                if !event.id.has_time() && event.told_by_key && !timeless.insert(event.id.key()) {
                    rewritten.insert(stored.chunk, None);
                    continue;
                }
                if let Step::NeedsReplay { .. } = run.apply(&event) {
                    return Err(StoreError::Damaged {
                        detail: format!("the history of sender {old} has event {} twice", event.id),
                    });
                }
                events += 1;
            }
        }
        let finished = run.finish();
        let made = RemadeHistory { events, timeline: made, checkpoints: finished.checkpoints, rewritten };
        Ok((made, finished.named_sessions))
    }

    /// Of stored events of one time those that are events by the present rules; what becomes of the others goes to
    /// `rewritten`. Rules of earlier versions told events apart in other ways: they kept some anonymised copies beside the plain
    /// ones.
    fn without_copies(
        &self,
        whose: &SenderRef,
        together: Vec<Stored>,
        rewritten: &mut Rewritten,
    ) -> Result<Vec<Stored>, StoreError> {
        if together.len() < 2 {
            return Ok(together);
        }
        let events = together.iter().map(|stored| stored.event(self.decoder, whose));
        let events: Vec<Event<'_>> = events.collect::<Result<_, _>>()?;
        let mut keys: BTreeMap<EventKey, Vec<usize>> = BTreeMap::new();
        for (number, event) in events.iter().enumerate() {
            keys.entry(event.id.key()).or_default().push(number);
        }
        let mut gone: BTreeSet<usize> = BTreeSet::new();
        let mut changed: BTreeMap<usize, Stored> = BTreeMap::new();
        for copies in keys.values_mut().filter(|copies| copies.len() > 1) {
            copies.sort_by_key(|number| together[*number].chunk);
            let verdict =
                fold(&KnownCopies::Nothing, copies.iter().map(|number| (*number, &events[*number])));
            let mut stays: Vec<usize> = verdict.plain.to_vec();
            if let (Some(CopySource::Arrived(stands)), Some(&first)) = (verdict.stands, copies.first()) {
                // It takes the place of the first to arrive.
                let kept = match verdict.facts {
                    Some(CopySource::Arrived(plain)) => Some(together[plain].facts(self.decoder, whose)),
                    _ => together[stands].kept.clone(),
                };
                changed.insert(first, together[first].replaced_by(&together[stands], kept));
                stays.push(first);
            }
            gone.extend(copies.iter().copied().filter(|number| !stays.contains(number)));
        }
        let kept = together.iter().enumerate().filter(|(number, _)| !gone.contains(number));
        let kept = kept.map(|(number, stored)| changed.get(&number).unwrap_or(stored).clone()).collect();
        rewritten.extend(gone.iter().map(|number| (together[*number].chunk, None)));
        rewritten.extend(changed.into_values().map(|stored| (stored.chunk, Some(stored))));
        Ok(kept)
    }
}
