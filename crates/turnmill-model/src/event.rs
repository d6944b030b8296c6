//! Events, as a decoder hands them to the engine: typed, cleaned, borrowing from their record where they can.

use std::borrow::Cow;
use std::cmp::Ordering;

use uuid::Uuid;

use crate::{EventId, EventTime, SenderId};

/// One event of one sender.
///
/// Texts are cleaned (no NUL, no lone surrogates) but not cut; cutting to a column's width happens when rows are
/// written. Built by a [`Decoder`](crate::Decoder).
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// What the event is, as an id; equal for every copy of it.
    pub id: EventId,
    /// The sender's id.
    pub sender: SenderId,
    /// The sender's key, cleaned and cut: what `rasa_sender.sender_key` holds.
    pub sender_key: Cow<'a, str>,
    /// The assistant that the conversation is with, cleaned and cut like a sender key; part of the sender's identity.
    pub assistant: Option<Cow<'a, str>>,
    /// Its place in the sender's order.
    pub time: EventTime,
    /// Its place among events of exactly the same time, those without one first: see [`order`](Self::order).
    pub tie: Option<i64>,
    /// The type's name as written, e.g. `user`; any name is accepted.
    pub event_type: Cow<'a, str>,
    /// `metadata.model_id`.
    pub model_id: Option<Cow<'a, str>>,
    /// The producer's environment, from the record.
    pub environment: Option<Cow<'a, str>>,
    /// The end user (`user_id`, Rasa 3.16 and newer), cleaned and cut like a sender key.
    pub user_key: Option<Cow<'a, str>>,
    /// How the event takes part in cutting sessions.
    pub session: SessionRule,
    /// The mark of an anonymised copy: it replaces all plain copies with its [key](crate::EventKey), and of several
    /// copies the one with the greatest mark stays.
    pub anonymised: Option<AnonymisedAt<'a>>,
    /// Whether the key alone says which event this is: a plain copy with the same key and another content is a changed
    /// copy, not another event.
    pub told_by_key: bool,
    /// Which of its record's events this is, from 0.
    pub ordinal: u32,
    /// What is particular to its type.
    pub body: Body<'a>,
}

/// How an event takes part in cutting its sender's events into sessions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SessionRule {
    /// Rasa's boundary events, and the session id of the metadata where there is one that counts.
    Rasa {
        /// `metadata.session_id` as far as the configured mode accepts it.
        session_id: Option<Uuid>,
    },
    /// The format has session keys of its own: events with the same key belong together.
    Key(Uuid),
    /// The format has no session marks: more than so many seconds of silence end a session.
    Gap {
        /// Longest silence inside a session, seconds.
        seconds: f64,
    },
}

/// What is particular to an event's type. Every type without effects of its own is [`Body::Other`].
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// `user`: the user sent a message.
    User(Box<UserMessage<'a>>),
    /// `bot`: the assistant sent a message.
    Bot {
        /// The message's text.
        text: Option<Cow<'a, str>>,
        /// `metadata.utter_action`, else `metadata.template_name`.
        template_name: Option<Cow<'a, str>>,
    },
    /// `action`: an action was executed.
    Action {
        /// The action's name; none for an end-to-end action.
        name: Option<Cow<'a, str>>,
        /// The policy that chose it.
        policy: Option<Cow<'a, str>>,
        /// The policy's confidence, finite.
        confidence: Option<f64>,
    },
    /// `slot`: a slot was set.
    Slot {
        /// The slot's name; without one the event has no slot row.
        name: Option<Cow<'a, str>>,
        /// The value as canonical JSON text (`null` unsets), or bare text if so configured.
        value: Cow<'a, str>,
        /// Whether the value was anything but `null` (a bare NaN counts as set, though its text is `null`).
        is_set: bool,
    },
    /// `stack`: the dialogue stack changed.
    Stack {
        /// The JSON Patch, as text; none if `update` is no text, which never applies.
        update: Option<Cow<'a, str>>,
    },
    /// `flow_started`, `flow_completed`, `flow_interrupted`, `flow_resumed`, `flow_cancelled`.
    Flow {
        /// Which of the five.
        status: FlowStatus,
        /// The flow; without one the event has no status row.
        flow_id: Option<Cow<'a, str>>,
        /// The step the flow was at.
        step_id: Option<Cow<'a, str>>,
    },
    /// `session_started`.
    SessionStarted,
    /// `session_ended`: the last event of its session.
    SessionEnded,
    /// `restart`.
    Restart,
    /// `routing_session_ended`: a coexistence assistant went back to choosing who answers, with an empty dialogue stack.
    RoutingSessionEnded,
    /// Any other type: one `rasa_event` row.
    Other,
}

/// The `user` event's own fields.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct UserMessage<'a> {
    /// The message's text.
    pub text: Option<Cow<'a, str>>,
    /// `parse_data.intent.name`.
    pub intent: Option<Cow<'a, str>>,
    /// `parse_data.intent.full_retrieval_intent_name`.
    pub retrieval_intent: Option<Cow<'a, str>>,
    /// `parse_data.intent.confidence`, finite.
    pub confidence: Option<f64>,
    /// The channel's name.
    pub input_channel: Option<Cow<'a, str>>,
    /// `message_id`, else `parse_data.message_id`.
    pub message_id: Option<Cow<'a, str>>,
    /// `parse_data.commands`, those with a text `command`.
    pub commands: Vec<Command<'a>>,
}

/// One element of `parse_data.commands`.
#[derive(Clone, Debug, PartialEq)]
pub struct Command<'a> {
    /// Its place in the list, from 0 (elements without a text `command` count).
    pub index: u32,
    /// The command's name, e.g. `start flow`.
    pub command: Cow<'a, str>,
    /// `flow`, of `start flow` only.
    pub flow: Option<Cow<'a, str>>,
    /// `name`, of `set slot` only.
    pub slot: Option<Cow<'a, str>>,
    /// `options`, of `clarify` only and if a list: canonical JSON text.
    pub options: Option<Cow<'a, str>>,
}

/// What a flow event says of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowStatus {
    /// `flow_started`
    Started,
    /// `flow_completed`
    Completed,
    /// `flow_interrupted`
    Interrupted,
    /// `flow_resumed`
    Resumed,
    /// `flow_cancelled`
    Cancelled,
}

impl FlowStatus {
    /// The status as `rasa_flow_status.flow_status` spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::Resumed => "resumed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Event<'_> {
    /// The place in the sender's order: exact time, then tie key. Events that are equal in both stand in the order of their
    /// arrival.
    #[must_use]
    pub fn order(&self) -> (EventTime, Option<i64>) {
        (self.time, self.tie)
    }

    /// Whether this plain copy says something that an anonymised copy of it may lack, see
    /// [`Decoder::kept`](crate::Decoder::kept).
    #[must_use]
    pub fn has_facts(&self) -> bool {
        let spoken = |message: &UserMessage<'_>| {
            message.intent.is_some()
                || message.retrieval_intent.is_some()
                || message.confidence.is_some()
                || !message.commands.is_empty()
        };
        self.user_key.is_some()
            || self.environment.is_some()
            || matches!(&self.body, Body::User(message) if spoken(message))
    }
}

impl<'a> Event<'a> {
    /// Fills in what this anonymised copy lacks and `plain`, a plain copy of the same event, says: what is no personal data.
    /// Decoding does the same with what [`Decoder::kept`](crate::Decoder::kept) gave.
    pub fn keep_facts_of(&mut self, plain: &Self) {
        let fill = |mine: &mut Option<Cow<'a, str>>, plain: &Option<Cow<'a, str>>| {
            if mine.is_none() {
                mine.clone_from(plain);
            }
        };
        fill(&mut self.user_key, &plain.user_key);
        fill(&mut self.environment, &plain.environment);
        if let (Body::User(mine), Body::User(plain)) = (&mut self.body, &plain.body) {
            fill(&mut mine.intent, &plain.intent);
            fill(&mut mine.retrieval_intent, &plain.retrieval_intent);
            mine.confidence = mine.confidence.or(plain.confidence);
            if mine.commands.is_empty() {
                mine.commands.clone_from(&plain.commands);
            }
        }
    }
}

/// When an event was anonymised, as its producer wrote it. The greater mark is the later one: numbers by their value, texts as
/// texts, every number before every text.
///
/// ```
/// use turnmill_model::AnonymisedAt;
/// let marks = [AnonymisedAt::Unmarked, AnonymisedAt::Seconds(1717589977.9), AnonymisedAt::Text("2024-06-05".into())];
/// assert!(marks.is_sorted());
/// ```
#[derive(Clone, Debug)]
pub enum AnonymisedAt<'a> {
    /// The event has no mark of its own, but its source declares all of its events anonymised.
    Unmarked,
    /// Unix seconds, finite: what Rasa Pro writes.
    Seconds(f64),
    /// Text: what its documents say.
    Text(Cow<'a, str>),
}

impl PartialEq for AnonymisedAt<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for AnonymisedAt<'_> {}

impl PartialOrd for AnonymisedAt<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for AnonymisedAt<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let kind = |mark: &Self| match mark {
            Self::Unmarked => 0,
            Self::Seconds(_) => 1,
            Self::Text(_) => 2,
        };
        match (self, other) {
            (Self::Seconds(one), Self::Seconds(other)) => one.total_cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (one, other) => kind(one).cmp(&kind(other)),
        }
    }
}
