//! Marker rows, evaluated as the language is described: each event of a session starts again at the
//! session's first event.

#![allow(clippy::unwrap_used, clippy::panic, reason = "used in tests only")]

use turnmill_model::{Body, Event, EventId, Micros, SenderId, SessionId};
use uuid::Uuid;

use crate::json::{Json, parse};
use crate::value::OwnedValue;

/// A pattern with the range of times for which it is valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// `rasa_patterns.id`.
    pub id: Uuid,
    /// Columns of the row in `rasa_patterns`: name, description, config as JSON text, whether it is
    /// active.
    pub name: String,
    /// See [`name`](Self::name).
    pub description: Option<String>,
    /// See [`name`](Self::name).
    pub config: String,
    /// See [`name`](Self::name).
    pub is_active: bool,
    /// The first event time for which it is valid.
    pub from: Option<Micros>,
    /// The first event time for which it is no longer valid.
    pub until: Option<Micros>,
}

impl Pattern {
    pub(crate) fn row(&self) -> Vec<OwnedValue> {
        let (created_at, updated_at) = (OwnedValue::Null, OwnedValue::Null);
        vec![
            self.id.into(),
            self.name.clone().into(),
            self.description.clone().into(),
            self.config.clone().into(),
            self.is_active.into(),
            created_at,
            updated_at,
        ]
    }
}

/// Returns the marker rows of one session's events.
pub(crate) fn rows(
    patterns: &[Pattern],
    sender: SenderId,
    session: SessionId,
    events: &[&Event<'_>],
) -> Vec<Vec<OwnedValue>> {
    let mut rows = Vec::new();
    for pattern in patterns {
        let config = parse(&pattern.config).unwrap();
        let first_only = ["at_least_once", "never"].iter().any(|tag| config.get(tag).is_some());
        let mut found = false;
        for (index, event) in events.iter().enumerate() {
            if !holds(&config, events, index) || (first_only && found) {
                continue;
            }
            found = true;
            let time = event.time.micros();
            let begun = pattern.from.is_none_or(|from| from.0 <= time);
            if begun && pattern.until.is_none_or(|until| time < until.0) {
                let turns =
                    events[..index].iter().filter(|event| matches!(event.body, Body::User(_))).count();
                rows.push(row(event.id, pattern.id, sender, session, turns as i64));
            }
        }
    }
    rows
}

fn row(event: EventId, pattern: Uuid, sender: SenderId, session: SessionId, turns: i64) -> Vec<OwnedValue> {
    let id = event.marker(pattern);
    vec![
        id.into(),
        pattern.into(),
        sender.into(),
        session.into(),
        event.into(),
        turns.into(),
        OwnedValue::Null,
    ]
}

/// Returns whether the marker is true at event number `at`.
fn holds(config: &Json, events: &[&Event<'_>], at: usize) -> bool {
    let Json::Object(fields) = config else { panic!("no configuration: {config:?}") };
    let (tag, value) = fields.iter().find(|(key, _)| key.as_str() != "description").unwrap();
    let text = || match value {
        Json::Text(text) => text.as_str(),
        other => panic!("no text: {other:?}"),
    };
    let subs = || match value {
        Json::List(subs) => subs,
        other => panic!("no list: {other:?}"),
    };
    match tag.as_str() {
        "action" => matches!(&events[at].body, Body::Action { name: Some(name), .. } if name == text()),
        "intent" => match &events[at].body {
            Body::User(message) => {
                let is = |intent: &Option<std::borrow::Cow<'_, str>>| intent.as_deref() == Some(text());
                is(&message.intent) || is(&message.retrieval_intent)
            }
            _ => false,
        },
        "slot_was_set" => {
            let set = |event: &&Event<'_>| match &event.body {
                Body::Slot { name: Some(name), is_set, .. } if name == text() => Some(*is_set),
                _ => None,
            };
            events[..=at].iter().rev().find_map(set).unwrap_or(false)
        }
        "not_action" => !holds(&renamed("action", value), events, at),
        "not_intent" => !holds(&renamed("intent", value), events, at),
        "slot_was_not_set" => !holds(&renamed("slot_was_set", value), events, at),
        "and" => subs().iter().all(|sub| holds(sub, events, at)),
        "at_least_one_not" => !subs().iter().all(|sub| holds(sub, events, at)),
        "or" => subs().iter().any(|sub| holds(sub, events, at)),
        "not" => !holds(&subs()[0], events, at),
        "at_least_once" => (0..=at).any(|earlier| holds(&subs()[0], events, earlier)),
        "never" => !(0..=at).any(|earlier| holds(&subs()[0], events, earlier)),
        "seq" => {
            let (mut progress, mut complete) = (0, false);
            for earlier in 0..=at {
                complete = false;
                if holds(&subs()[progress], events, earlier) {
                    progress += 1;
                }
                if progress == subs().len() {
                    (progress, complete) = (0, true);
                }
            }
            complete
        }
        other => panic!("no tag: {other}"),
    }
}

fn renamed(tag: &str, value: &Json) -> Json {
    Json::Object(vec![(tag.to_owned(), value.clone())])
}
