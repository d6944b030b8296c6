//! Rules for several copies of one event.
//!
//! A source may deliver an event more than once, and an assistant may publish a second, anonymised
//! copy of it. All copies of an event have one key.
//!
//! - Plain copies with the same content are one event. Plain copies with different contents are
//!   several events, unless the key alone identifies the event (it has an id of its own).
//! - An anonymised copy stands for all copies of its key. Of several anonymised copies, the one
//!   with the greatest mark stands.
//! - The anonymised copy keeps those facts of the earliest plain copy that are not personal data,
//!   such as the intent.
//!
//! ```text
//! plain "hi", plain "hi"                     one event, one duplicate
//! plain "hi", plain "bye"                    two events
//! plain "hi", plain "bye", anonymised        one event, two duplicates
//! anonymised, plain "hi"                     one event, one duplicate; the event gets the intent of "hi"
//! ```

use std::ops::AddAssign;

use smallvec::SmallVec;
use turnmill_model::{AnonymisedAt, Event, EventId};

/// Tells what the store has of a key before the copies arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KnownCopies<'b> {
    /// No copy. The arriving ones are the first.
    Nothing,
    /// Plain events with these ids.
    Plain(&'b [EventId]),
    /// An anonymised copy.
    Anonymised {
        /// Its mark.
        mark: &'b AnonymisedAt<'b>,
        /// Whether it already keeps the facts of a plain copy.
        has_facts: bool,
    },
}

/// Names a copy: the stored one, or one that has arrived, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopySource {
    Known,
    Arrived(usize),
}

/// Holds what is stored of a key after the copies have arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoldedCopies {
    /// The arrived plain copies that are events of their own. Empty if an anonymised copy stands.
    pub(crate) plain: SmallVec<[usize; 2]>,
    /// The anonymised copy that stands for the key.
    pub(crate) stands: Option<CopySource>,
    /// The earliest plain copy, whose facts the anonymised one keeps.
    pub(crate) facts: Option<CopySource>,
    /// How many anonymised copies took the place of another copy, one after the other.
    pub(crate) anonymised: i64,
    /// How many plain copies differ in content from the one that stands, though their key
    /// identifies the event.
    pub(crate) changed: i64,
}

/// Counts events: those that count in the ledger, and the further ones of their records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventCounts {
    pub(crate) events: i64,
    pub(crate) parts: i64,
}

impl EventCounts {
    pub(crate) fn add(&mut self, event: &Event<'_>) {
        *(if event.counted { &mut self.events } else { &mut self.parts }) += 1;
    }
}

impl AddAssign for EventCounts {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.parts += other.parts;
    }
}

/// Folds the `copies` of one key, each with its number, in the order of arrival, into what is
/// stored `before`.
///
/// Invariant of the loop: `mark` is the mark of the anonymised copy that stands, if any. `plain`
/// are the ids of the plain copies so far that are events of their own.
///
/// ```text
/// before: "hi"     copies: "hi", "bye", anonymised (mark 1), anonymised (mark 2)
///
/// "hi"         same id: duplicate
/// "bye"        another id: an event of its own, so far
/// mark 1       stands for all of them; replaced a copy, anonymised = 1
/// mark 2       greater: stands instead, anonymised = 2
/// result       no plain events, `stands` = mark 2, `facts` from the stored "hi"
/// ```
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
        // All copies of an event have the same place in their records, so all of them count or
        // none.
        let counted = i64::from(event.counted);
        match (mark, &event.anonymised) {
            (Some(standing), Some(new)) if new <= standing => {}
            (_, Some(new)) => {
                // The very first copy of a key replaces nothing.
                verdict.anonymised += if mark.is_some() || !plain.is_empty() { counted } else { 0 };
                verdict.stands = Some(CopySource::Arrived(arrival));
                mark = Some(new);
            }
            (standing, None) => {
                verdict.facts = verdict.facts.or(Some(CopySource::Arrived(arrival)));
                if standing.is_some() || plain.contains(&event.id) {
                    continue;
                }
                if event.told_by_key && !plain.is_empty() {
                    verdict.changed += counted;
                    continue;
                }
                plain.push(event.id);
                verdict.plain.push(arrival);
            }
        }
    }
    // An anonymised copy stands for the plain ones, also for those that came after it.
    if verdict.stands.is_some() {
        verdict.plain.clear();
    }
    verdict
}
