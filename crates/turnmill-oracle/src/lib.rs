//! The naive reference with which turnmill's tests compare everything: it turns all records into
//! the public tables. Also a [generator](generate) of conversations for the laws.
//!
//! What is absent here: clever code. There are no timelines, no batches, no state between two
//! calls, and no speed. Nothing is shared with the decoder, the engine and the markers except for
//! the types, ids and text widths of `turnmill-model`. JSON, JSON Patch and every rule are written
//! a second time, as plainly as possible.
//!
//! [`laws`] drives a store and compares it with the reference.
//!
//! All records are decoded, copies of an event become one, and each sender's events are sorted.
//! Then one loop per sender writes the rows. The crate is never published, and never used outside
//! of tests.
//!
//! [`laws`] drives a store and compares it with the reference.
//!
//! ```
//! use turnmill_model::{Record, Settings};
//!
//! let payload = br#"{"sender_id": "u1", "event": "user", "timestamp": 1656382549.326936, "text": "hi"}"#;
//! let records = [Record { payload, ..Record::default() }; 2];
//! let oracle = turnmill_oracle::tables(&Settings::default(), &records);
//! assert_eq!(oracle.tables["rasa_turn"].len(), 1);
//! assert_eq!(oracle.ledger.events, 1);
//! assert_eq!(oracle.ledger.duplicates.reexported, 1);
//! ```

mod decode;
mod dialogs;
mod facts;
mod json;
mod mantle;
mod markers;
mod patch;
mod rows;
mod sessions;
mod value;

pub mod generate;
pub mod laws;
pub mod lex;
pub mod store_laws;
pub mod uploads;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use turnmill_model::{
    Body, Event, EventId, EventKey, Micros, Reason, Record, SenderId, Settings, UserId, tables::PUBLIC,
};
use uuid::Uuid;

pub use decode::{MAX_RECORD_BYTES, decode};
pub use markers::Pattern;
pub use value::{OwnedValue, Tables, diff};

/// The tables and counts that result from a set of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oracle {
    /// All public tables. Wall-clock columns are NULL.
    pub tables: Tables,
    /// The `stack` events whose patch did not apply.
    pub event_errors: BTreeSet<EventId>,
    /// How the records ended.
    pub ledger: Ledger,
}

/// Number of records by their end: `records = events + duplicates + dead letters + skipped`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// All records.
    pub records: u64,
    /// First copies of events.
    pub events: u64,
    /// Further copies.
    pub duplicates: Duplicates,
    /// Records that cannot become events.
    pub dead_letters: BTreeMap<Reason, u64>,
    /// Blank and null records.
    pub skipped: u64,
}

/// Further copies of events by their effect. The kinds depend on the order of arrival, their sum
/// does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duplicates {
    /// Copies that changed nothing.
    pub reexported: u64,
    /// Anonymised copies that replaced the previous copy.
    pub anonymised: u64,
    /// Plain copies with another content, of events with a key.
    pub changed: u64,
}

impl Duplicates {
    /// Returns the duplicates of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.reexported + self.anonymised + self.changed
    }
}

impl Ledger {
    /// Returns whether every record is counted once.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.records
            == self.events + self.duplicates.total() + self.dead_letters.values().sum::<u64>() + self.skipped
    }
}

/// Returns the tables for `records`, which are in the order of arrival.
#[must_use]
pub fn tables(settings: &Settings, records: &[Record<'_>]) -> Oracle {
    tables_with(settings, &[], records)
}

/// Like [`tables`], with patterns of markers.
#[must_use]
pub fn tables_with(settings: &Settings, patterns: &[Pattern], records: &[Record<'_>]) -> Oracle {
    let (mut events, mut skipped, mut dead_letters) = (Vec::new(), 0, BTreeMap::new());
    for record in records {
        match decode(settings, record) {
            Ok(Some(event)) => events.push(event),
            Ok(None) => skipped += 1,
            Err(reason) => *dead_letters.entry(reason).or_default() += 1,
        }
    }
    let mut oracle = of_events(settings, patterns, &events);
    oracle.ledger.records = records.len() as u64;
    oracle.ledger.skipped = skipped;
    oracle.ledger.dead_letters = dead_letters;
    oracle
}

/// Returns the tables for `events`, which are in the order of arrival. For formats other than
/// Rasa's, whose events carry another [session rule](turnmill_model::SessionRule). In the ledger
/// each event counts as a record.
#[must_use]
pub fn tables_of_events(settings: &Settings, events: &[Event<'_>]) -> Oracle {
    of_events(settings, &[], events)
}

fn of_events(settings: &Settings, patterns: &[Pattern], events: &[Event<'_>]) -> Oracle {
    let mut oracle = Oracle::default();
    let merged = without_copies(events, &mut oracle.ledger);
    oracle.tables.extend(PUBLIC.iter().map(|table| (table.name, Vec::new())));
    user_rows(&merged, &mut oracle.tables);

    // Each sender's events in order, with their index in the order of arrival.
    let mut senders: BTreeMap<SenderId, Vec<(usize, Event<'_>)>> = BTreeMap::new();
    for (arrival, event) in merged {
        senders.entry(event.sender).or_default().push((arrival, event));
    }
    let mut placed = Vec::new();
    for (sender, mut events) in senders {
        events.sort_by(|(arrival, event), (other_arrival, other)| {
            let by_time = event.time.cmp(&other.time);
            by_time.then(event.tie.cmp(&other.tie)).then(arrival.cmp(other_arrival))
        });
        let (arrivals, events): (Vec<usize>, Vec<Event<'_>>) = events.into_iter().unzip();
        let placement = sessions::assign(&events);
        placed.push((sender, arrivals, events, placement));
    }

    // Events may give the same id to sessions of two senders. The sender of the first event to
    // arrive owns the id.
    let mut owners: HashMap<Uuid, (usize, SenderId)> = HashMap::new();
    for (sender, arrivals, _, placement) in &placed {
        for (position, id) in placement.by_id.iter().enumerate() {
            let Some(id) = *id else { continue };
            if placement.sessions[placement.session_of[position]].given == Some(id) {
                let claim = (arrivals[position], *sender);
                owners.entry(id).and_modify(|owner| *owner = claim.min(*owner)).or_insert(claim);
            }
        }
    }

    for (sender, _, events, placement) in &placed {
        let owner = |id| owners.get(&id).map(|(_, sender)| *sender);
        let ids: Vec<_> =
            placement.sessions.iter().map(|session| session.id(*sender, events, owner)).collect();
        let errors = rows::write(settings, *sender, events, placement, &ids, &mut oracle.tables);
        oracle.event_errors.extend(errors);
        facts::write(*sender, events, placement, &ids, &mut oracle.tables);
        dialogs::write(events, placement, &ids, &mut oracle.tables);
        for (session, id) in placement.sessions.iter().zip(&ids) {
            let of_session: Vec<&Event<'_>> =
                session.events.iter().map(|position| &events[*position]).collect();
            let rows = markers::rows(patterns, *sender, *id, &of_session);
            oracle.tables.entry("rasa_markers").or_default().extend(rows);
        }
    }
    let rows = patterns.iter().map(Pattern::row);
    oracle.tables.entry("rasa_patterns").or_default().extend(rows);
    for rows in oracle.tables.values_mut() {
        rows.sort();
    }
    oracle
}

/// The copies with one key.
#[derive(Default)]
struct KeyCopies<'a> {
    /// The events among the plain copies, each with its index in the order of arrival.
    plain: Vec<(usize, Event<'a>)>,
    /// The anonymised copy with the greatest mark.
    anonymised: Option<Event<'a>>,
    /// The first copy to arrive. The anonymised copy takes its index.
    first: Option<(usize, Event<'a>)>,
    /// The first plain copy. The anonymised copy takes missing fields from it.
    first_plain: Option<Event<'a>>,
}

/// Returns the copies that are events, each with its index in the order of arrival.
///
/// These are the plain copies with different contents, or one anonymised copy that replaces all of
/// them. Example: `hi`, `hi`, `hi` (anonymised) of one message yield the anonymised event and two
/// duplicates.
fn without_copies<'a>(events: &[Event<'a>], ledger: &mut Ledger) -> Vec<(usize, Event<'a>)> {
    let mut keys: BTreeMap<(SenderId, EventKey), KeyCopies<'a>> = BTreeMap::new();
    for (arrival, event) in events.iter().enumerate() {
        ledger.records += 1;
        let key = keys.entry((event.sender, event.id.key())).or_default();
        key.first.get_or_insert_with(|| (arrival, event.clone()));
        if let Some(mark) = &event.anonymised {
            let before = key.anonymised.as_ref().and_then(|before| before.anonymised.clone());
            if before.as_ref().is_none_or(|before| mark > before) {
                ledger.duplicates.anonymised += u64::from(before.is_some() || !key.plain.is_empty());
                key.anonymised = Some(event.clone());
            }
            continue;
        }
        key.first_plain.get_or_insert_with(|| event.clone());
        let same = key.plain.iter().any(|(_, plain)| plain.id == event.id);
        if key.anonymised.is_some() || same {
            continue;
        }
        if event.identified_by_key && !key.plain.is_empty() {
            ledger.duplicates.changed += 1;
        } else {
            key.plain.push((arrival, event.clone()));
        }
    }
    let mut kept = Vec::new();
    for key in keys.into_values() {
        match (key.anonymised, key.first) {
            (Some(copy), Some((arrival, first))) => {
                let mut event = Event { time: first.time, tie: first.tie, ..copy };
                if let Some(plain) = key.first_plain {
                    keep_what_is_not_personal(&mut event, plain);
                }
                kept.push((arrival, event));
            }
            _ => kept.extend(key.plain),
        }
    }
    ledger.events = kept.len() as u64;
    let others = ledger.events + ledger.duplicates.anonymised + ledger.duplicates.changed;
    ledger.duplicates.reexported = ledger.records - others;
    kept
}

/// Fills fields that an anonymised copy lacks from the plain one: user, environment, intent with
/// its ranking, and commands.
fn keep_what_is_not_personal<'a>(event: &mut Event<'a>, plain: Event<'a>) {
    event.user_key = event.user_key.take().or(plain.user_key);
    event.environment = event.environment.take().or(plain.environment);
    if let (Body::User(message), Body::User(plain)) = (&mut event.body, plain.body) {
        message.intent = message.intent.take().or(plain.intent);
        message.retrieval_intent = message.retrieval_intent.take().or(plain.retrieval_intent);
        message.confidence = message.confidence.or(plain.confidence);
        message.intent_ranking = message.intent_ranking.take().or(plain.intent_ranking);
        if message.commands.is_empty() {
            message.commands = plain.commands;
        }
    }
}

/// Writes the rows of `rasa_user`.
fn user_rows(events: &[(usize, Event<'_>)], tables: &mut Tables) {
    let mut users: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for (_, event) in events {
        if let Some(key) = &event.user_key {
            let time = event.time.micros();
            let seen = users.entry(key).or_insert((time, time));
            *seen = (seen.0.min(time), seen.1.max(time));
        }
    }
    for (key, (first, last)) in users {
        let row = vec![UserId::new(key).into(), key.into(), Micros(first).into(), Micros(last).into()];
        tables.entry("rasa_user").or_default().push(row);
    }
}
