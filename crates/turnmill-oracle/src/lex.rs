//! The reference for conversation logs of Amazon Lex V2.
//!
//! Each log object becomes the events that the mapping says, with all of the session's earlier
//! objects at hand. The rows of the documented tables then come from these events, as for any
//! format. The rows of the extension tables that Lex fills are made here.
//!
//! Records are plain log objects, without envelopes, and without secrets.

mod object;
mod rows;

pub mod generate;

use std::collections::{BTreeMap, BTreeSet};

use turnmill_model::{
    Body, Event, EventId, IdentityDigest, Reason, Record, SenderId, SessionRule, Settings, UserMessage,
};
use uuid::Uuid;

use self::object::LogObject;
use crate::{Oracle, tables_of_events};

/// Longest silence inside a session whose objects name no first request, in seconds.
const GAP: f64 = 300.0;

/// Returns the tables for `records`, which are log objects in the order of arrival.
#[must_use]
pub fn tables(settings: &Settings, records: &[Record<'_>]) -> Oracle {
    let (mut objects, mut letters, mut duplicates) = (Vec::new(), BTreeMap::new(), 0);
    let mut known = BTreeSet::new();
    for record in records {
        match LogObject::read(record) {
            Ok(object) if known.insert(object.id()) => objects.push(object),
            Ok(_) => duplicates += 1,
            Err(reason) => *letters.entry(reason).or_insert(0_u64) += 1,
        }
    }
    let mut senders: BTreeMap<String, Vec<LogObject>> = BTreeMap::new();
    for object in objects {
        senders.entry(object.session_id.clone()).or_default().push(object);
    }
    let mut written: Vec<Written> = Vec::new();
    for objects in senders.values_mut() {
        objects.sort_by_key(LogObject::order);
        let keys = session_keys(objects);
        for (at, object) in objects.iter().enumerate() {
            let before: Vec<&LogObject> =
                (0..at).filter(|before| keys[*before] == keys[at]).map(|before| &objects[before]).collect();
            written.push(Written::new(settings, object, &before, keys[at]));
        }
    }
    let mut events: Vec<Event<'_>> = Vec::new();
    for (place, object) in written.iter().enumerate() {
        for (part, event) in object.events.iter().enumerate() {
            // Tie keys keep the order that was found above.
            events.push(Event { tie: Some((place * 10_000 + part) as i128), ..event.clone() });
        }
    }
    let count = written.len() as u64;
    let mut oracle = tables_of_events(settings, &events);
    rows::write(&written, &mut oracle.tables);
    oracle.ledger.records = records.len() as u64;
    oracle.ledger.events = count;
    oracle.ledger.duplicates.reexported = duplicates;
    oracle.ledger.dead_letters = letters;
    oracle
}

/// Returns the session key of each object of a sender.
fn session_keys(objects: &[LogObject]) -> Vec<Uuid> {
    let mut keys: Vec<Uuid> = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        let before = (0..at).rev().find(|before| objects[*before].conversation() == object.conversation());
        let near = before.filter(|before| object.time.seconds() - objects[*before].time.seconds() <= GAP);
        let key = match (object.session_key(), near) {
            (Some(key), _) => key,
            (None, Some(before)) => keys[before],
            (None, None) => object.id().session().0,
        };
        keys.push(key);
    }
    keys
}

/// A log object with its events.
pub(crate) struct Written {
    pub(crate) object: LogObject,
    pub(crate) session: Uuid,
    pub(crate) events: Vec<Event<'static>>,
    /// The intent that was active before it, and after it.
    pub(crate) active: [Option<String>; 2],
    /// Whether the active intent took the message.
    pub(crate) took: Option<bool>,
    /// Slot events: kind, original value and intent.
    pub(crate) slots: Vec<(EventId, &'static str, Option<String>, Option<String>)>,
    pub(crate) qna_found: Option<bool>,
    /// The value in force of the slot that each earlier object may have asked for, by name.
    pub(crate) in_force: BTreeMap<String, object::Held>,
}

impl Written {
    fn new(settings: &Settings, object: &LogObject, before: &[&LogObject], session: Uuid) -> Self {
        let mut written = Self {
            object: object.clone(),
            session,
            events: Vec::new(),
            active: [active(before), None],
            took: None,
            slots: Vec::new(),
            qna_found: None,
            in_force: BTreeMap::new(),
        };
        let all: Vec<&LogObject> = before.iter().copied().chain([object]).collect();
        written.active[1] = active(&all);
        if object.is_first() {
            written.action("action_session_start", part(object, "action", "action_session_start"));
            written.event("session_started", part(object, "session_started", ""), Body::SessionStarted);
        }
        if object.is_user() {
            let message = UserMessage {
                text: object.text("inputTranscript").map(Into::into),
                intent: object.user_intent().map(Into::into),
                confidence: object.user_confidence(),
                input_channel: Some(object.channel().into()),
                message_id: object.text("requestId").map(Into::into),
                ..UserMessage::default()
            };
            written.took = written.active[0].as_ref().map(|active| {
                let asks_again =
                    object.asks().is_some() && before.last().is_some_and(|last| last.asks() == object.asks());
                let other = object.intent().is_some_and(|intent| intent != *active);
                object.missed() != Some(true) && !other && !asks_again
            });
            written.event("user", part(object, "user", ""), Body::User(Box::new(message)));
        }
        written.slots(settings, before);
        for (place, name) in object.steps().into_iter().enumerate() {
            written.action(&name, part(object, "action", &place.to_string()));
        }
        written.action(&object.response(), object.id());
        if written.active[0] != written.active[1] {
            let name = written.active[1].clone().map(Into::into);
            written.event("active_loop", part(object, "active_loop", ""), Body::Form { name });
        }
        let answered = object.answered(before);
        written.qna_found = answered.1;
        let messages = object.messages();
        for (place, text) in messages.iter().enumerate() {
            written.bot(text.clone(), &place.to_string());
        }
        if let (true, Some(text)) = (messages.is_empty(), answered.0) {
            written.bot(Some(text), "answer");
        }
        written
    }

    /// Adds the slots and attributes that differ from what the objects before told.
    fn slots(&mut self, settings: &Settings, before: &[&LogObject]) {
        let object = self.object.clone();
        if let (Some(intent), Some(told)) = (object.intent(), object.slots()) {
            let held = before.iter().rev().find_map(|before| {
                if before.intent().as_ref() == Some(&intent) { before.slots() } else { None }
            });
            for (name, value) in object::differences(&held.unwrap_or_default(), &told) {
                let id = part(&object, "slot", &format!("{intent}\u{0}{name}"));
                self.slot(settings, id, "slot", &name, &value, Some(intent.clone()));
            }
        }
        if let Some(told) = object.attributes() {
            let held = before.iter().rev().find_map(|before| before.attributes()).unwrap_or_default();
            for (name, value) in object::differences(&held, &told) {
                let id = part(&object, "attribute", &name);
                self.slot(settings, id, "session_attribute", &name, &value, None);
            }
        }
        let all = before.iter().copied().chain([&object]);
        let same = all.filter(|other| other.intent() == object.intent());
        self.in_force = same.rev().find_map(LogObject::slots).unwrap_or_default();
    }

    fn slot(
        &mut self,
        settings: &Settings,
        id: EventId,
        kind: &'static str,
        name: &str,
        held: &object::Held,
        intent: Option<String>,
    ) {
        let value = if settings.bare_slot_strings { held.bare.clone() } else { held.value.clone() };
        let is_set = held.value != "null";
        self.event(
            "slot",
            id,
            Body::Slot { name: Some(name.to_owned().into()), value: value.into(), is_set },
        );
        self.slots.push((id, kind, held.original.clone(), intent));
    }

    fn bot(&mut self, text: Option<String>, place: &str) {
        let id = part(&self.object, "bot", place);
        self.event("bot", id, Body::Bot { text: text.map(Into::into), template_name: None });
    }

    fn action(&mut self, name: &str, id: EventId) {
        let (name, policy) = (Some(name.to_owned().into()), Some("lex_v2".into()));
        self.event("action", id, Body::Action { name, policy, confidence: None });
    }

    fn event(&mut self, event_type: &'static str, id: EventId, body: Body<'static>) {
        let object = &self.object;
        let (sender, key) = (object.sender(), object.session_id.clone());
        let event = Event::new(id, sender, key, object.time, event_type, SessionRule::Key(self.session));
        self.events.push(Event {
            model_id: object.model_id().map(Into::into),
            environment: object.environment().map(Into::into),
            body,
            ..event
        });
    }
}

/// Returns the intent that is active after `objects`, the first ones of a session.
fn active(objects: &[&LogObject]) -> Option<String> {
    let decides =
        objects.iter().rev().find(|object| !matches!(object.action().as_deref(), None | Some("Delegate")))?;
    match decides.action().as_deref() {
        Some("ElicitSlot" | "ConfirmIntent") => decides.intent(),
        _ => None,
    }
}

/// Derives the id of an event of an object.
fn part(object: &LogObject, what: &str, name: &str) -> EventId {
    object.id().part(what, name)
}

/// Returns the id of the sender with this session id.
fn sender_of(session_id: &str) -> SenderId {
    SenderId::of_format("lex", None, session_id)
}

/// Derives a key from parts of which the first ones may be missing.
fn key(what: &str, optional: &[Option<String>], texts: &[&str]) -> Uuid {
    let digest =
        optional.iter().fold(IdentityDigest::new(what), |digest, part| digest.optional(part.as_deref()));
    texts.iter().fold(digest, |digest, text| digest.text(text)).uuid(None)
}

/// Reasons are those of the decoder, in the order in which it finds them.
fn refusal(json: &crate::json::Json) -> Option<Reason> {
    let has = |key: &str| json.get(key).is_some();
    if has("invocationSource") {
        return Some(Reason::LambdaEvent);
    }
    if has("botName") && !has("bot") && !has("sessionState") && !has("interpretations") {
        return Some(Reason::LexV1);
    }
    let known =
        has("sessionState") || has("interpretations") || has("bot") || has("botId") && has("sessionId");
    (!known).then_some(Reason::NotLex)
}
