//! What several copies of one event amount to.
//!
//! All copies of an event have one key. Plain copies with the same content are one event, with different contents several
//! (unless the key alone tells the event). An anonymised copy stands for all of them; of several that with the
//! greatest mark. It keeps those facts of the earliest plain copy that are no personal data.
//!
//! ```text
//! plain "hi", plain "hi"                     one event, one duplicate
//! plain "hi", plain "bye"                    two events
//! plain "hi", plain "bye", anonymised        one event, two duplicates
//! anonymised, plain "hi"                     one event, one duplicate; the event gets the intent of "hi"
//! ```

use smallvec::SmallVec;
use turnmill_model::{AnonymisedAt, Event, EventId};

/// What is known of a key before the copies arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KnownCopies<'b> {
    /// Nothing: they are the first.
    Nothing,
    /// Plain events with these ids.
    Plain(&'b [EventId]),
    /// An anonymised copy.
    Anonymised {
        /// Its mark.
        mark: &'b AnonymisedAt<'b>,
        /// Whether it has the facts of a plain copy already.
        has_facts: bool,
    },
}

/// A copy: what was there before, or one that has arrived, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopySource {
    Known,
    Arrived(usize),
}

/// What is right after the copies have arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoldedCopies {
    /// The arrived plain copies that are events of their own. Empty if an anonymised copy stands for them.
    pub(crate) plain: SmallVec<[usize; 2]>,
    /// The anonymised copy that stands for the key.
    pub(crate) stands: Option<CopySource>,
    /// The earliest plain copy, whose facts the anonymised one keeps.
    pub(crate) facts: Option<CopySource>,
    /// How many anonymised copies took the place of another copy, one after the other.
    pub(crate) anonymised: i64,
    /// How many plain copies have another content than the one that stands, though the key alone tells the event.
    pub(crate) changed: i64,
}

/// Takes the `copies` of one key, each with its number, in the order of their arrival.
pub(crate) fn fold<'c>(
    before: &'c KnownCopies<'_>,
    copies: impl IntoIterator<Item = (usize, &'c Event<'c>)>,
) -> FoldedCopies {
    let mut verdict = FoldedCopies::default();
    let mut mark: Option<&AnonymisedAt<'_>> = None;
    let mut plain: SmallVec<[EventId; 2]> = SmallVec::new();
    match before {
        KnownCopies::Nothing => {}
        KnownCopies::Plain(ids) => {
            plain.extend_from_slice(ids);
            verdict.facts = Some(CopySource::Known);
        }
        KnownCopies::Anonymised { mark: stored, has_facts } => {
            mark = Some(stored);
            verdict.stands = Some(CopySource::Known);
            verdict.facts = has_facts.then_some(CopySource::Known);
        }
    }
    for (arrival, event) in copies {
        match (mark, &event.anonymised) {
            (Some(standing), Some(new)) if new <= standing => {}
            (_, Some(new)) => {
                // The first copy of all replaces nothing.
                verdict.anonymised += i64::from(mark.is_some() || !plain.is_empty());
                verdict.stands = Some(CopySource::Arrived(arrival));
                mark = Some(new);
            }
            (standing, None) => {
                verdict.facts = verdict.facts.or(Some(CopySource::Arrived(arrival)));
                if standing.is_some() || plain.contains(&event.id) {
                    continue;
                }
                if event.told_by_key && !plain.is_empty() {
                    verdict.changed += 1;
                    continue;
                }
                plain.push(event.id);
                verdict.plain.push(arrival);
            }
        }
    }
    if verdict.stands.is_some() {
        verdict.plain.clear();
    }
    verdict
}
