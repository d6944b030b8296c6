//! Applies the whole history of a sender to an empty timeline.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use turnmill_engine::{Checkpoint, Engine, NamedSession, Step, Timeline};
use turnmill_model::{Changes, Decoders, Event, EventKey, SenderId, SessionId};
use turnmill_sink::{StoreError, Transaction};

use crate::copies::{CopySource, EventCounts, KnownCopies, fold};
use crate::reader::{Reader, SenderRef, Stored};

/// Holds what a sender's history is applied with.
pub(crate) struct WholeHistory<'h> {
    pub(crate) engine: &'h Engine,
    pub(crate) decoders: &'h Decoders,
}

/// Holds the result: a sender's state, and what of its history has to change. The rows go to `out`.
pub(crate) struct RemadeHistory {
    /// Number of events.
    pub(crate) events: u64,
    pub(crate) timeline: Timeline,
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// Changes of the history, by chunk and index in it.
    pub(crate) rewritten: Rewritten,
    /// Number of events that are copies of others by the present rules.
    pub(crate) copies: EventCounts,
}

/// Changes of stored events, by chunk and index in it: another event in their place, or `None` if
/// they go.
pub(crate) type Rewritten = BTreeMap<(u64, usize), Option<Stored>>;

impl WholeHistory<'_> {
    /// Applies the whole history of the sender `old` to the empty `timeline`.
    ///
    /// Session ids that another sender owns are marked as foreign, and everything is applied again.
    /// Each round marks at least one more id, so this ends.
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

    /// Applies the whole history of `old` to a copy of `timeline`. Returns the events that name
    /// sessions, too.
    async fn run_all<T: Transaction>(
        &self,
        tx: &mut T,
        old: SenderId,
        timeline: &Timeline,
        out: &mut Changes,
    ) -> Result<(RemadeHistory, Vec<NamedSession>), StoreError> {
        let sender_ref = SenderRef::of(timeline);
        let mut made = timeline.clone();
        let mut reader = Reader::open(tx, old, None, self.decoders, None).await?;
        let (mut events, mut rewritten, mut copies) = (0, Rewritten::new(), EventCounts::default());
        // Copies without a time of their own may be at different times.
        let mut timeless: HashSet<EventKey> = HashSet::new();
        let mut run = self.engine.run(&mut made, out);
        loop {
            // Take all events of one time together. All copies of an event that has a time of its
            // own are among them.
            let mut together = Vec::new();
            reader.fill(tx).await?;
            let Some((time, _)) = reader.peek() else { break };
            while reader.peek().is_some_and(|(next, _)| next == time)
                && let Some(stored) = reader.next()
            {
                together.push(stored);
                reader.fill(tx).await?;
            }
            self.blank_secrets(&sender_ref, &mut together, &mut rewritten)?;
            for stored in self.without_copies(&sender_ref, together, &mut rewritten, &mut copies)? {
                let event = stored.event(self.decoders, &sender_ref)?;
                if !event.id.has_time() && event.identified_by_key && !timeless.insert(event.id.key()) {
                    rewritten.insert(stored.chunk, None);
                    copies.add(&event);
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
        let made =
            RemadeHistory { events, timeline: made, checkpoints: finished.checkpoints, rewritten, copies };
        Ok((made, finished.named_sessions))
    }

    /// Blanks the secrets in stored events of one time that the present settings name. An event
    /// whose content changes gets another identity, and perhaps another place among the others.
    fn blank_secrets(
        &self,
        sender_ref: &SenderRef,
        together: &mut [Stored],
        rewritten: &mut Rewritten,
    ) -> Result<(), StoreError> {
        let mut changed = false;
        for stored in together.iter_mut() {
            if stored.blank_secrets(self.decoders, sender_ref)? {
                rewritten.insert(stored.chunk, Some(stored.clone()));
                changed = true;
            }
        }
        if changed {
            together.sort_by_key(Stored::place);
        }
        Ok(())
    }

    /// Returns those stored events of one time that are events by the present rules. The others are
    /// noted in `rewritten`. Earlier versions kept some anonymised copies beside the plain ones.
    fn without_copies(
        &self,
        sender_ref: &SenderRef,
        together: Vec<Stored>,
        rewritten: &mut Rewritten,
        copies_gone: &mut EventCounts,
    ) -> Result<Vec<Stored>, StoreError> {
        if together.len() < 2 {
            return Ok(together);
        }
        let events = together.iter().map(|stored| stored.event(self.decoders, sender_ref));
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
                // The copy that stands takes the place of the first to arrive.
                let kept = match verdict.facts {
                    Some(CopySource::Arrived(plain)) => {
                        Some(together[plain].facts(self.decoders, sender_ref))
                    }
                    _ => together[stands].kept.clone(),
                };
                changed.insert(first, together[first].replaced_by(&together[stands], kept));
                stays.push(first);
            }
            gone.extend(copies.iter().copied().filter(|number| !stays.contains(number)));
        }
        gone.iter().filter_map(|number| events.get(*number)).for_each(|event| copies_gone.add(event));
        let kept = together.iter().enumerate().filter(|(number, _)| !gone.contains(number));
        let kept = kept.map(|(number, stored)| changed.get(&number).unwrap_or(stored).clone()).collect();
        rewritten.extend(gone.iter().map(|number| (together[*number].chunk, None)));
        rewritten.extend(changed.into_values().map(|stored| (stored.chunk, Some(stored))));
        Ok(kept)
    }
}
