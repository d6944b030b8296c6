//! Makes the rows of an [`Exchange`]: a record that holds both sides of a conversation.
//!
//! A record tells the whole state of its session, not what has changed. So the session keeps what
//! the records before told, and each record is compared with it:
//!
//! ```text
//! u1: city null           user, action                        nothing was known of `city`
//! u1: city "Rome"         user, slot city "Rome", action
//! u1: city "Rome"         user, action                        the same value again
//! u1: (no city)           user, slot city null, action        it is gone
//! ```
//!
//! A late record changes what the ones after it are compared with, so their rows change too. A
//! replay finds that out, as for any late event.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use turnmill_model::tables::{MessageFactsRow, SlotFactsRow};
use turnmill_model::text::{LONG, SHORT, cut};
use turnmill_model::{Body, Event, EventId, Exchange, NextStep, StateValue, UserMessage};

use crate::mark::MarkedEvent;
use crate::run::Run;
use crate::runs::IntentRuns;

/// What the records of a session told so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExchangeState {
    pub(crate) source_system: Box<str>,
    pub(crate) assistant: Option<Box<str>>,
    pub(crate) locale: Option<Box<str>>,
    pub(crate) is_test: bool,
    /// Values of slots, by intent and name.
    slots: BTreeMap<Box<str>, BTreeMap<Box<str>, Held>>,
    /// Values of session attributes, by name.
    attributes: BTreeMap<Box<str>, Held>,
    /// The intent that asks for slots or a confirmation.
    active: Option<Box<str>>,
    /// What the record before asked for.
    asked: Asked,
    /// Generated answers, by key.
    answers: BTreeMap<Box<str>, HeldAnswer>,
    pub(crate) runs: IntentRuns,
}

/// A value that is in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Held {
    value: Box<str>,
    original: Option<Box<str>>,
}

impl Held {
    fn is(&self, told: &StateValue<'_>) -> bool {
        *self.value == *told.value && self.original.as_deref() == told.original.as_deref()
    }
}

/// What a record asked the user for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Asked {
    #[default]
    Nothing,
    Slot(Option<Box<str>>, Box<str>),
    Confirmation(Option<Box<str>>),
}

/// An answer as the record before had it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct HeldAnswer {
    request: Option<Box<str>>,
    session: Option<Box<str>>,
    /// The last value that was new, with the intent under which it came.
    shown: Option<(Box<str>, Option<Box<str>>)>,
}

impl HeldAnswer {
    /// Returns whether the record before had this value in one of the two places.
    fn has(&self, value: &str) -> bool {
        [&self.request, &self.session].into_iter().flatten().any(|held| **held == *value)
    }
}

/// What a record says of generated answers.
#[derive(Default)]
struct Answered<'x> {
    /// The text that stands in for the bot's message.
    text: Option<&'x str>,
    /// Whether there was an answer.
    found: Option<bool>,
}

/// A change of a value, in the order of names.
struct Change<'x> {
    name: &'x str,
    /// The new value; `None` if the name is gone.
    told: Option<&'x StateValue<'x>>,
}

impl ExchangeState {
    fn new(exchange: &Exchange<'_>) -> Self {
        Self { source_system: exchange.source_system.into(), ..Self::default() }
    }

    /// Takes in the facts that the first record which has them gives the session.
    fn learn(&mut self, exchange: &Exchange<'_>) {
        let fill = |mine: &mut Option<Box<str>>, told: Option<&str>| {
            if mine.is_none() {
                *mine = told.map(|told| cut(told, SHORT).into());
            }
        };
        fill(&mut self.assistant, exchange.assistant.as_deref());
        fill(&mut self.locale, exchange.locale.as_deref());
        self.is_test |= exchange.is_test;
    }

    /// Returns whether the slot of the intent has a value.
    fn is_filled(&self, intent: &str, slot: &str) -> bool {
        self.slots.get(intent).and_then(|slots| slots.get(slot)).is_some_and(|held| *held.value != *"null")
    }

    /// Returns whether the active intent took the user's message, if there is one.
    fn takes(&self, exchange: &Exchange<'_>) -> Option<bool> {
        let active = self.active.as_deref()?;
        let other = exchange.intent.as_deref().is_some_and(|intent| intent != active);
        let again = asked(exchange);
        let same = again != Asked::Nothing && again == self.asked;
        Some(exchange.facts.is_missed != Some(true) && !other && !same)
    }

    /// Compares the generated answers of a record with those of the record before, and keeps them.
    fn answers<'x>(&mut self, exchange: &'x Exchange<'_>) -> Answered<'x> {
        let mut answered = Answered::default();
        let intent = exchange.intent.as_deref();
        for answer in &exchange.answers {
            let held = self.answers.get(&*answer.key);
            for (value, in_session) in [(&answer.request, false), (&answer.session, true)] {
                let Some(value) = value.as_deref() else { continue };
                let is_new = held.is_none_or(|held| !held.has(value));
                let shown = held.and_then(|held| held.shown.as_ref());
                let stands = exchange.message.is_some()
                    && shown.is_some_and(|(shown, of)| **shown == *value && of.as_deref() == intent);
                let text = value.trim();
                let is_empty = text.is_empty();
                let nothing = is_empty || text.eq_ignore_ascii_case("CANNOTANSWER");
                if is_new && !nothing && text != "..." {
                    answered.text = answered.text.or(Some(value));
                }
                // An empty text after another one says that the session forgot the answer.
                let cleared = is_empty
                    && in_session
                    && held
                        .and_then(|held| held.session.as_deref())
                        .is_some_and(|held| !held.trim().is_empty());
                if (is_new || stands) && text != "..." && !cleared {
                    answered.found = answered.found.or(Some(!nothing));
                }
            }
        }
        self.keep_answers(exchange);
        answered
    }

    /// Keeps the answers of a record. One that does not tell the session's attributes says nothing
    /// of their answers.
    fn keep_answers(&mut self, exchange: &Exchange<'_>) {
        let intent: Option<Box<str>> = exchange.intent.as_deref().map(Into::into);
        for answer in &exchange.answers {
            let held = self.answers.entry((&*answer.key).into()).or_default();
            for value in [&answer.request, &answer.session].into_iter().flatten() {
                if !held.has(value) {
                    held.shown = Some(((&**value).into(), intent.clone()));
                }
            }
        }
        for (key, held) in &mut self.answers {
            let told = exchange.answers.iter().find(|answer| *answer.key == **key);
            held.request = told.and_then(|told| told.request.as_deref()).map(Into::into);
            if exchange.tells_session {
                held.session = told.and_then(|told| told.session.as_deref()).map(Into::into);
            }
        }
    }

    pub(crate) fn memory(&self) -> usize {
        let of = |held: &BTreeMap<Box<str>, Held>| {
            held.iter()
                .map(|(name, held)| {
                    64 + name.len() + held.value.len() + held.original.as_ref().map_or(0, |text| text.len())
                })
                .sum::<usize>()
        };
        let answers = self.answers.values().map(|held| {
            let texts = [&held.request, &held.session].into_iter().flatten().map(|text| text.len());
            128 + texts.sum::<usize>() + held.shown.as_ref().map_or(0, |(text, _)| text.len())
        });
        size_of::<Self>()
            + self.slots.values().map(of).sum::<usize>()
            + of(&self.attributes)
            + answers.sum::<usize>()
    }
}

/// Returns what a record asks for.
fn asked(exchange: &Exchange<'_>) -> Asked {
    let intent = || exchange.intent.as_deref().map(Into::into);
    match (exchange.next_step, &exchange.slot_asked) {
        (NextStep::AskSlot, Some(slot)) => Asked::Slot(intent(), (&**slot).into()),
        (NextStep::Confirm, _) => Asked::Confirmation(intent()),
        _ => Asked::Nothing,
    }
}

/// Compares what a record tells of a state with what is `held`. Both are in the order of names.
fn changes<'x>(held: &'x BTreeMap<Box<str>, Held>, told: &'x [StateValue<'x>]) -> Vec<Change<'x>> {
    let mut all: BTreeMap<&str, Option<&StateValue<'_>>> = held.keys().map(|name| (&**name, None)).collect();
    all.extend(told.iter().map(|value| (&*value.name, Some(value))));
    let differs = |(name, told): &(&str, Option<&StateValue<'_>>)| match (held.get(*name), told) {
        // A value that is null from the start is no change.
        (None, told) => told.is_some_and(|told| told.is_set() || told.original.is_some()),
        (Some(held), Some(told)) => !held.is(told),
        (Some(held), None) => *held.value != *"null" || held.original.is_some(),
    };
    all.into_iter().filter(differs).map(|(name, told)| Change { name, told }).collect()
}

/// Returns the state that a record tells, to be held.
fn held(told: &[StateValue<'_>]) -> BTreeMap<Box<str>, Held> {
    let held = |value: &StateValue<'_>| {
        let original = value.original.as_deref().map(Into::into);
        ((&*value.name).into(), Held { value: (&*value.value).into(), original })
    };
    told.iter().filter(|value| value.is_set() || value.original.is_some()).map(held).collect()
}

/// What is written of one record, in the order of its events.
struct Writer<'w, 'r, 'e> {
    run: &'w mut Run<'r>,
    record: &'w Event<'e>,
    exchange: &'w Exchange<'e>,
    /// Sequence number of the next event.
    next: i64,
}

impl Run<'_> {
    /// Writes all events of a record, the first of which has the number `first`. Returns the number
    /// of the last one.
    pub(crate) fn write_exchange(&mut self, record: &Event<'_>, exchange: &Exchange<'_>, first: i64) -> i64 {
        let state = self.timeline.cursor.session.as_mut().and_then(|session| session.exchange.take());
        let mut state = state.unwrap_or_else(|| Box::new(ExchangeState::new(exchange)));
        state.learn(exchange);
        let mut writer = Writer { run: self, record, exchange, next: first };
        writer.all(&mut state);
        let last = writer.next - 1;
        if let Some(session) = self.timeline.cursor.session.as_mut() {
            session.exchange = Some(state);
        }
        self.progress.live.session_facts.touch();
        last
    }
}

impl<'e> Writer<'_, '_, 'e> {
    fn all(&mut self, state: &mut ExchangeState) {
        let (exchange, record) = (self.exchange, self.record);
        let part = |what: &str, name: &str| record.id.part(what, name);
        if exchange.begins_session {
            self.action(part("action", "action_session_start"), "action_session_start");
            self.event(part("session_started", ""), "session_started", Body::SessionStarted);
        }
        let message_id = exchange.message.as_ref().map(|message| {
            let id = part("user", "");
            self.message(state, id, message);
            id
        });
        let hands_over = self.slots(state);
        for (place, name) in exchange.actions.iter().enumerate() {
            self.action(part("action", &place.to_string()), name);
        }
        // The response has the id of the record, by which a repeated record is recognised.
        self.action(record.id, &exchange.response);
        self.active_loop(state);
        let answered = state.answers(exchange);
        for (place, text) in exchange.messages.iter().enumerate() {
            let body = Body::Bot { text: text.as_deref().map(Into::into), template_name: None };
            self.event(part("bot", &place.to_string()), "bot", body);
        }
        if exchange.messages.is_empty()
            && let Some(text) = answered.text
        {
            let body = Body::Bot { text: Some(text.into()), template_name: None };
            self.event(part("bot", "answer"), "bot", body);
        }
        if hands_over {
            self.action(part("action", "action_handoff"), "action_handoff");
            self.event(part("pause", ""), "pause", Body::Pause);
        }
        state.asked = asked(exchange);
        self.facts(message_id.unwrap_or(record.id), answered.found);
        self.runs(state);
    }

    /// Writes the user's message, and whether the active intent took it.
    fn message(&mut self, state: &ExchangeState, id: EventId, message: &UserMessage<'e>) {
        self.run.timeline.cursor.loops.set_form(state.active.as_deref());
        self.event(id, "user", Body::User(Box::new(message.clone())));
        let turn = self.run.timeline.cursor.session.as_mut().and_then(|session| session.turn.as_mut());
        if let Some(turn) = turn {
            turn.facts.of_exchange(state.takes(self.exchange));
        }
    }

    /// Writes the slots and attributes that differ from what is held. Returns whether one of them
    /// hands the conversation over.
    fn slots(&mut self, state: &mut ExchangeState) -> bool {
        let (exchange, record) = (self.exchange, self.record);
        if let (Some(intent), Some(told)) = (exchange.intent.as_deref(), &exchange.slots) {
            let before = state.slots.remove(intent).unwrap_or_default();
            for change in changes(&before, told) {
                let id = record.id.part("slot", &format!("{intent}\u{0}{}", change.name));
                self.slot(id, &change, "slot", Some(intent));
            }
            state.slots.insert(intent.into(), held(told));
        }
        let mut hands_over = false;
        if let Some(told) = &exchange.attributes {
            let before = std::mem::take(&mut state.attributes);
            for change in changes(&before, told) {
                let id = record.id.part("attribute", change.name);
                self.slot(id, &change, "session_attribute", None);
                hands_over |= change.told.is_some_and(|told| told.hands_over);
            }
            state.attributes = held(told);
        }
        hands_over
    }

    fn slot(&mut self, id: EventId, change: &Change<'_>, kind: &str, intent: Option<&str>) {
        let value = change.told.map_or("null", |told| &told.value);
        let is_set = change.told.is_some_and(StateValue::is_set);
        let body = Body::Slot { name: Some(change.name.into()), value: value.into(), is_set };
        self.event(id, "slot", body);
        let out = &mut *self.run.out;
        let original = change.told.and_then(|told| told.original.as_deref());
        out.slot_facts.inserts.push(SlotFactsRow {
            event_id: id,
            kind: out.texts.add(kind),
            original_value: original.map(|text| out.texts.add(cut(text, LONG))),
            intent: intent.map(|intent| out.texts.add(cut(intent, SHORT))),
            filled_by: None,
        });
    }

    /// Writes the change of the active intent, if the record changes it.
    fn active_loop(&mut self, state: &mut ExchangeState) {
        let exchange = self.exchange;
        let next = match exchange.next_step {
            NextStep::Unsaid => None,
            NextStep::AskSlot | NextStep::Confirm => Some(exchange.intent.as_deref()),
            NextStep::Close | NextStep::Other => Some(None),
        };
        if let Some(next) = next.filter(|next| *next != state.active.as_deref()) {
            let body = Body::Form { name: next.map(Into::into) };
            self.event(self.record.id.part("active_loop", ""), "active_loop", body);
            state.active = next.map(Into::into);
        }
        self.run.timeline.cursor.loops.set_form(state.active.as_deref());
    }

    fn action(&mut self, id: EventId, name: &str) {
        let policy = Some(self.exchange.policy.into());
        self.event(id, "action", Body::Action { name: Some(name.into()), policy, confidence: None });
    }

    /// Writes one event of the record and evaluates the patterns at it.
    fn event(&mut self, id: EventId, event_type: &str, body: Body<'_>) {
        let record = self.record;
        let event = Event {
            id,
            sender: record.sender,
            sender_key: (&*record.sender_key).into(),
            assistant: None,
            time: record.time,
            tie: None,
            event_type: event_type.into(),
            model_id: record.model_id.as_deref().map(Into::into),
            environment: record.environment.as_deref().map(Into::into),
            user_key: None,
            session: record.session,
            anonymised: None,
            identified_by_key: false,
            ordinal: 0,
            counted: false,
            body,
            details: None,
        };
        self.run.write(&event, self.next);
        self.run.mark(&MarkedEvent::of(&event));
        self.next += 1;
    }

    /// Writes the row of `ext_message`, which each record has, at the event `at`.
    fn facts(&mut self, at: EventId, qna_found: Option<bool>) {
        let (exchange, out) = (self.exchange, &mut *self.run.out);
        let facts = &exchange.facts;
        let texts = &mut out.texts;
        let row = MessageFactsRow::new(at, texts.add(exchange.source_system));
        let mut short =
            |text: &Option<std::borrow::Cow<'_, str>>| text.as_ref().map(|text| texts.add(cut(text, SHORT)));
        let [positive, negative, neutral, mixed] = facts.sentiment;
        let row = MessageFactsRow {
            locale: short(&exchange.locale),
            input_mode: short(&facts.input_mode),
            is_missed: facts.is_missed,
            nlu_intent: short(&facts.nlu_intent),
            sentiment_label: short(&facts.sentiment_label),
            sentiment_score: positive.zip(negative).map(|(positive, negative)| positive - negative),
            sentiment_positive: positive,
            sentiment_negative: negative,
            sentiment_neutral: neutral,
            sentiment_mixed: mixed,
            qna_found,
            intent: short(&exchange.intent),
            intent_state: short(&facts.intent_state),
            confirmation_state: short(&facts.confirmation_state),
            dialog_action: short(&facts.dialog_action),
            slot_to_elicit: short(&exchange.slot_asked),
            response_reason: short(&facts.response_reason),
            operation: short(&facts.operation),
            interpretation_source: short(&facts.interpretation_source),
            transcription_confidence: facts.transcription_confidence,
            end_sequence_number: Some(self.next - 1),
            ..row
        };
        let mut long =
            |text: &Option<std::borrow::Cow<'_, str>>| text.as_ref().map(|text| texts.add(cut(text, LONG)));
        let (intent_ranking, raw_text) = (long(&facts.intent_ranking), long(&facts.raw_text));
        out.message_facts.inserts.push(MessageFactsRow { intent_ranking, raw_text, ..row });
    }

    /// Follows the runs of intents and slots.
    fn runs(&mut self, state: &mut ExchangeState) {
        let exchange = self.exchange;
        let Some(intent) = exchange.intent.as_deref() else { return };
        let filled = state.runs.slot_asked().is_some_and(|slot| state.is_filled(intent, slot));
        let session = self.run.timeline.cursor.session.as_ref().map(|session| session.id);
        let Some(session) = session else { return };
        let live = &mut self.run.progress.live;
        let mut rows = crate::runs::RunRows {
            out: self.run.out,
            session,
            source: exchange.source_system,
            intent: &mut live.intent_run,
            slot: &mut live.slot_run,
        };
        state.runs.follow(self.record, exchange, intent, filled, &mut rows);
    }
}
