//! Defines exchanges: records that hold what the user said and what the assistant did about it.
//!
//! A decoder sees one record. What depends on the record before is worked out by the engine: which
//! slots have changed, which answer is new, where a run of an intent ends.

use std::borrow::Cow;

use crate::UserMessage;
use crate::details::owned;

/// One record of a format that logs both sides of an exchange.
///
/// The engine makes several events of it, in this order: the start of the session, the user's
/// message, changed slots, actions, a changed loop, the assistant's messages, a hand-over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exchange<'a> {
    /// The kind of source, as in `source_system`.
    pub source_system: &'static str,
    /// The policy of all its actions.
    pub policy: &'static str,
    /// The assistant, which is not part of the sender's identity.
    pub assistant: Option<Cow<'a, str>>,
    /// The locale, e.g. `en-US`.
    pub locale: Option<Cow<'a, str>>,
    /// Whether the session is a test.
    pub is_test: bool,
    /// Whether the record says that it is the first of its session.
    pub begins_session: bool,
    /// What the user said, if the record has user input.
    pub message: Option<UserMessage<'a>>,
    /// The intent that is active after the exchange.
    pub intent: Option<Cow<'a, str>>,
    /// Whether that intent is the one that stands in when no other fits.
    pub is_fallback: bool,
    /// All slots of the intent, by name; `None` if the record does not tell.
    pub slots: Option<Vec<StateValue<'a>>>,
    /// All session attributes, by name; `None` if the record does not tell.
    pub attributes: Option<Vec<StateValue<'a>>>,
    /// Names of the actions before the response.
    pub actions: Vec<Cow<'a, str>>,
    /// Name of the response, which is an action too.
    pub response: Cow<'a, str>,
    /// What the assistant does next.
    pub next_step: NextStep,
    /// The slot that it asks for.
    pub slot_asked: Option<Cow<'a, str>>,
    /// Texts of the assistant's messages.
    pub messages: Vec<Option<Cow<'a, str>>>,
    /// Generated answers, by key.
    pub answers: Vec<Answer<'a>>,
    /// Whether the record tells the session's attributes, and so its answers too.
    pub tells_session: bool,
    /// Further facts.
    pub facts: ExchangeFacts<'a>,
}

impl Exchange<'_> {
    /// Copies what is borrowed.
    #[must_use]
    pub fn into_owned(self) -> Exchange<'static> {
        let state = |values: Vec<StateValue<'_>>| values.into_iter().map(StateValue::into_owned).collect();
        Exchange {
            source_system: self.source_system,
            policy: self.policy,
            assistant: owned(self.assistant),
            locale: owned(self.locale),
            is_test: self.is_test,
            begins_session: self.begins_session,
            message: self.message.map(UserMessage::into_owned),
            intent: owned(self.intent),
            is_fallback: self.is_fallback,
            slots: self.slots.map(state),
            attributes: self.attributes.map(state),
            actions: self.actions.into_iter().map(|name| Cow::Owned(name.into_owned())).collect(),
            response: Cow::Owned(self.response.into_owned()),
            next_step: self.next_step,
            slot_asked: owned(self.slot_asked),
            messages: self.messages.into_iter().map(owned).collect(),
            answers: self.answers.into_iter().map(Answer::into_owned).collect(),
            tells_session: self.tells_session,
            facts: self.facts.into_owned(),
        }
    }
}

/// Facts of an exchange that go to `ext_message` unchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExchangeFacts<'a> {
    /// How the user spoke, e.g. `Text`.
    pub input_mode: Option<Cow<'a, str>>,
    /// Whether the message was not understood.
    pub is_missed: Option<bool>,
    /// The first intent of the ranking.
    pub nlu_intent: Option<Cow<'a, str>>,
    /// The first five intents with their confidence, as JSON.
    pub intent_ranking: Option<Cow<'a, str>>,
    /// Label of the sentiment.
    pub sentiment_label: Option<Cow<'a, str>>,
    /// Scores of the sentiment: positive, negative, neutral, mixed.
    pub sentiment: [Option<f64>; 4],
    /// State of the intent.
    pub intent_state: Option<Cow<'a, str>>,
    /// Whether the user confirmed the intent.
    pub confirmation_state: Option<Cow<'a, str>>,
    /// Type of the next step, as written.
    pub dialog_action: Option<Cow<'a, str>>,
    /// Why there is a response.
    pub response_reason: Option<Cow<'a, str>>,
    /// The operation of the runtime API.
    pub operation: Option<Cow<'a, str>>,
    /// What recognised the intent.
    pub interpretation_source: Option<Cow<'a, str>>,
    /// Confidence of the first transcription.
    pub transcription_confidence: Option<f64>,
    /// The message before text processing, where it differs.
    pub raw_text: Option<Cow<'a, str>>,
}

impl ExchangeFacts<'_> {
    /// Copies what is borrowed.
    #[must_use]
    pub fn into_owned(self) -> ExchangeFacts<'static> {
        ExchangeFacts {
            input_mode: owned(self.input_mode),
            is_missed: self.is_missed,
            nlu_intent: owned(self.nlu_intent),
            intent_ranking: owned(self.intent_ranking),
            sentiment_label: owned(self.sentiment_label),
            sentiment: self.sentiment,
            intent_state: owned(self.intent_state),
            confirmation_state: owned(self.confirmation_state),
            dialog_action: owned(self.dialog_action),
            response_reason: owned(self.response_reason),
            operation: owned(self.operation),
            interpretation_source: owned(self.interpretation_source),
            transcription_confidence: self.transcription_confidence,
            raw_text: owned(self.raw_text),
        }
    }
}

/// One value of a state that a record tells: a slot, or a session attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct StateValue<'a> {
    /// The name of its slot events.
    pub name: Cow<'a, str>,
    /// The value as JSON text, `null` if there is none.
    pub value: Cow<'a, str>,
    /// The value as the user said it.
    pub original: Option<Cow<'a, str>>,
    /// Whether setting it hands the conversation over.
    pub hands_over: bool,
}

impl StateValue<'_> {
    fn into_owned(self) -> StateValue<'static> {
        StateValue {
            name: Cow::Owned(self.name.into_owned()),
            value: Cow::Owned(self.value.into_owned()),
            original: owned(self.original),
            hands_over: self.hands_over,
        }
    }

    /// Returns whether there is a value.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.value != "null"
    }
}

/// A generated answer, which may be in two places.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<'a> {
    /// Its key.
    pub key: Cow<'a, str>,
    /// Its value among what came with this request alone.
    pub request: Option<Cow<'a, str>>,
    /// Its value among what the session keeps.
    pub session: Option<Cow<'a, str>>,
}

impl Answer<'_> {
    fn into_owned(self) -> Answer<'static> {
        Answer {
            key: Cow::Owned(self.key.into_owned()),
            request: owned(self.request),
            session: owned(self.session),
        }
    }
}

/// What the assistant does after an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NextStep {
    /// The record does not tell.
    #[default]
    Unsaid,
    /// It asks for a slot.
    AskSlot,
    /// It asks for a confirmation.
    Confirm,
    /// It ends the intent.
    Close,
    /// Anything else.
    Other,
}
