//! Defines events, as a decoder hands them to the engine: typed and cleaned. They borrow from their
//! record where they can.

use std::borrow::Cow;
use std::cmp::Ordering;

use uuid::Uuid;

use crate::details::owned;
use crate::{Details, EventId, EventTime, Exchange, SenderId};

/// Holds one event of one sender. A [`Decoder`](crate::Decoder) builds it.
///
/// Texts are cleaned (no NUL, no lone surrogates) but not cut. Writing a row cuts them to the width
/// of their column.
///
/// Decoders fill in the fields that they know and take the others from [`Event::new`], so that they
/// still compile when later versions add fields:
///
/// ```
/// use turnmill_model::{Body, Event, EventId, EventTime, IdentityDigest, SenderId, SessionId, SessionRule};
/// let time = EventTime::from_seconds(1656382549.5).unwrap();
/// let id = EventId::of(Some(time), &IdentityDigest::new("chat").text("message 17"), None);
/// let session = SessionRule::Key(SessionId::from_text("chat 3").0);
/// let event = Event::new(id, SenderId::of_format("chat", None, "u1"), "u1", time, "bot", session);
/// let event = Event { body: Body::Bot { text: Some("hi".into()), template_name: None }, ..event };
/// assert!(event.counted && event.tie.is_none());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// The event's id, derived from what the event is. Copies with equal content have equal ids.
    pub id: EventId,
    /// The sender's id.
    pub sender: SenderId,
    /// The sender's key, cleaned and cut, as in `rasa_sender.sender_key`.
    pub sender_key: Cow<'a, str>,
    /// The assistant that the conversation is with, cleaned and cut like a sender key. It is part
    /// of the sender's identity.
    pub assistant: Option<Cow<'a, str>>,
    /// The event's time, by which a sender's events are ordered.
    pub time: EventTime,
    /// The order of events of exactly the same time, those without it first: see
    /// [`order`](Self::order).
    pub tie: Option<i128>,
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
    /// The mark of an anonymised copy. Such a copy replaces all plain copies with its
    /// [key](crate::EventKey). Of several copies the one with the greatest mark stays.
    pub anonymised: Option<AnonymisedAt<'a>>,
    /// Whether the key alone identifies the event. If so, a plain copy with the same key and other
    /// content is a changed copy, not another event.
    pub identified_by_key: bool,
    /// The index of the event among those of its record, from 0.
    pub ordinal: u32,
    /// Whether the event counts in the ledger. If the unit of a format is the record, only the
    /// first event of each record counts, so a record counts once however many events it gives.
    pub counted: bool,
    /// The fields that are particular to its type.
    pub body: Body<'a>,
    /// What assistants with flows, skills and agents say beside these. Most events have none.
    pub details: Option<Box<Details<'a>>>,
}

/// How an event takes part in cutting its sender's events into sessions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SessionRule {
    /// Rasa's boundary events, and the session id of the metadata where there is one that counts.
    Rasa {
        /// `metadata.session_id` as far as the configured mode accepts it.
        session_id: Option<Uuid>,
    },
    /// The format has session keys of its own. Events with the same key belong together.
    Key(Uuid),
    /// The format has no session marks. A silence longer than `seconds` ends a session.
    Gap {
        /// Longest silence inside a session, seconds.
        seconds: f64,
    },
    /// A sender has several conversations at a time, and their sessions may overlap.
    ///
    /// An event with a key is in the session of that key. One without a key is in the session of
    /// the event before it of the same conversation, unless the silence between them is longer
    /// than `gap`. Else a session begins with it.
    Conversation {
        /// The conversation: what the sender's events have in common that belong together.
        conversation: Uuid,
        /// The session's key, if the event has one.
        key: Option<Uuid>,
        /// Longest silence before an event without a key, seconds.
        gap: f64,
    },
}

/// The fields that are particular to an event's type. Every type without effects of its own is
/// [`Body::Other`].
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
        /// The action's name; `None` for an end-to-end action.
        name: Option<Cow<'a, str>>,
        /// The policy that chose it.
        policy: Option<Cow<'a, str>>,
        /// The policy's confidence, finite.
        confidence: Option<f64>,
    },
    /// `slot`, or `memory_set` and `memory_cleared` of Mantle: a slot was set.
    Slot {
        /// The slot's name; without one the event has no slot row.
        name: Option<Cow<'a, str>>,
        /// The value as canonical JSON text (`null` unsets), or bare text if so configured.
        value: Cow<'a, str>,
        /// Whether the value is anything but `null`. A bare NaN counts as set, though its text is
        /// `null`.
        is_set: bool,
    },
    /// `stack`: the dialogue stack changed.
    Stack {
        /// The JSON Patch, as text; `None` if `update` is no text, which never applies.
        update: Option<Cow<'a, str>>,
    },
    /// `flow_started`, `flow_completed`, `flow_interrupted`, `flow_resumed`, `flow_cancelled`, and
    /// the same of Mantle's skills: `skill_activated`, `skill_completed` and so on.
    Flow {
        /// Which of the five.
        status: FlowStatus,
        /// The flow or skill; without one the event has no status row.
        flow_id: Option<Cow<'a, str>>,
        /// The step the flow was at.
        step_id: Option<Cow<'a, str>>,
    },
    /// `agent_started` and other events of sub agents.
    Agent {
        /// Which of them.
        status: AgentStatus,
        /// The agent.
        agent_id: Option<Cow<'a, str>>,
        /// The flow that called it.
        flow_id: Option<Cow<'a, str>>,
    },
    /// `mcp_tool_executed`, `tool_executed`: a tool was called.
    Tool {
        /// The tool's name.
        name: Option<Cow<'a, str>>,
        /// Where the tool comes from: `mcp` or `local`.
        source: Option<Cow<'a, str>>,
        /// Whether the call failed.
        is_error: Option<bool>,
    },
    /// `unsupported_request_classified`: the assistant cannot do what the message asks for.
    Unsupported,
    /// `session_started`.
    SessionStarted,
    /// `session_ended`: the last event of its session.
    SessionEnded,
    /// `restart`.
    Restart,
    /// `routing_session_ended`: a coexistence assistant resets its routing, and its dialogue stack
    /// is empty.
    RoutingSessionEnded,
    /// `active_loop`, `form`: a form becomes active, or the active one ends.
    Form {
        /// The form; `None` ends the active one.
        name: Option<Cow<'a, str>>,
    },
    /// `action_execution_rejected`: an action did not execute.
    Rejected {
        /// The action's name.
        name: Option<Cow<'a, str>>,
    },
    /// `pause`: the assistant hands the conversation over.
    Pause,
    /// `resume`: the assistant takes the conversation back.
    Resume,
    /// `inactive`: the user has been silent for the time after which a session expires.
    Inactive,
    /// A record that holds both sides of an exchange. The engine makes several rows of it.
    Exchange(Box<Exchange<'a>>),
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
    /// The first five objects of `parse_data.intent_ranking`, as in `ext_message.intent_ranking`.
    pub intent_ranking: Option<Cow<'a, str>>,
    /// The objects of `parse_data.entities`, as in `ext_message.entities`.
    pub entities: Option<Cow<'a, str>>,
}

/// One element of `parse_data.commands`.
#[derive(Clone, Debug, PartialEq)]
pub struct Command<'a> {
    /// Its index in the list, from 0. Elements without a text `command` count.
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

/// The state of a flow that a flow event reports.
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

/// What an event reports of a sub agent. Other events of agents are [`Body::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentStatus {
    /// `agent_started` or `agent_resumed`: the agent is called, once for each message that it
    /// answers.
    Called,
    /// `agent_completed`
    Completed,
    /// `agent_cancelled`
    Cancelled,
}

impl FlowStatus {
    /// Returns the status as `rasa_flow_status.flow_status` spells it.
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

impl<'a> Event<'a> {
    /// Makes a plain event without any of the optional parts. It counts in the ledger, it is the
    /// first one of its record, and it has no fields of its type: [`Body::Other`].
    #[must_use]
    pub fn new(
        id: EventId,
        sender: SenderId,
        sender_key: impl Into<Cow<'a, str>>,
        time: EventTime,
        event_type: impl Into<Cow<'a, str>>,
        session: SessionRule,
    ) -> Self {
        Self {
            id,
            sender,
            sender_key: sender_key.into(),
            assistant: None,
            time,
            tie: None,
            event_type: event_type.into(),
            model_id: None,
            environment: None,
            user_key: None,
            session,
            anonymised: None,
            identified_by_key: false,
            ordinal: 0,
            counted: true,
            body: Body::Other,
            details: None,
        }
    }

    /// Copies what is borrowed, for decoders that have to read a record from a copy of it.
    #[must_use]
    pub fn into_owned(self) -> Event<'static> {
        Event {
            id: self.id,
            sender: self.sender,
            sender_key: Cow::Owned(self.sender_key.into_owned()),
            assistant: owned(self.assistant),
            time: self.time,
            tie: self.tie,
            event_type: Cow::Owned(self.event_type.into_owned()),
            model_id: owned(self.model_id),
            environment: owned(self.environment),
            user_key: owned(self.user_key),
            session: self.session,
            anonymised: self.anonymised.map(AnonymisedAt::into_owned),
            identified_by_key: self.identified_by_key,
            ordinal: self.ordinal,
            counted: self.counted,
            body: self.body.into_owned(),
            details: self.details.map(|details| Box::new(details.into_owned())),
        }
    }
}

impl Body<'_> {
    fn into_owned(self) -> Body<'static> {
        match self {
            Self::User(message) => Body::User(Box::new(message.into_owned())),
            Self::Bot { text, template_name } => {
                Body::Bot { text: owned(text), template_name: owned(template_name) }
            }
            Self::Action { name, policy, confidence } => {
                Body::Action { name: owned(name), policy: owned(policy), confidence }
            }
            Self::Slot { name, value, is_set } => {
                Body::Slot { name: owned(name), value: Cow::Owned(value.into_owned()), is_set }
            }
            Self::Stack { update } => Body::Stack { update: owned(update) },
            Self::Flow { status, flow_id, step_id } => {
                Body::Flow { status, flow_id: owned(flow_id), step_id: owned(step_id) }
            }
            Self::Agent { status, agent_id, flow_id } => {
                Body::Agent { status, agent_id: owned(agent_id), flow_id: owned(flow_id) }
            }
            Self::Tool { name, source, is_error } => {
                Body::Tool { name: owned(name), source: owned(source), is_error }
            }
            Self::Form { name } => Body::Form { name: owned(name) },
            Self::Rejected { name } => Body::Rejected { name: owned(name) },
            Self::SessionStarted => Body::SessionStarted,
            Self::SessionEnded => Body::SessionEnded,
            Self::Restart => Body::Restart,
            Self::RoutingSessionEnded => Body::RoutingSessionEnded,
            Self::Unsupported => Body::Unsupported,
            Self::Pause => Body::Pause,
            Self::Resume => Body::Resume,
            Self::Inactive => Body::Inactive,
            Self::Exchange(exchange) => Body::Exchange(Box::new(exchange.into_owned())),
            Self::Other => Body::Other,
        }
    }
}

impl UserMessage<'_> {
    pub(crate) fn into_owned(self) -> UserMessage<'static> {
        UserMessage {
            text: owned(self.text),
            intent: owned(self.intent),
            retrieval_intent: owned(self.retrieval_intent),
            confidence: self.confidence,
            input_channel: owned(self.input_channel),
            message_id: owned(self.message_id),
            commands: self.commands.into_iter().map(Command::into_owned).collect(),
            intent_ranking: owned(self.intent_ranking),
            entities: owned(self.entities),
        }
    }
}

impl Command<'_> {
    fn into_owned(self) -> Command<'static> {
        Command {
            index: self.index,
            command: Cow::Owned(self.command.into_owned()),
            flow: owned(self.flow),
            slot: owned(self.slot),
            options: owned(self.options),
        }
    }
}

impl AnonymisedAt<'_> {
    fn into_owned(self) -> AnonymisedAt<'static> {
        match self {
            Self::Unmarked => AnonymisedAt::Unmarked,
            Self::Seconds(seconds) => AnonymisedAt::Seconds(seconds),
            Self::Text(text) => AnonymisedAt::Text(Cow::Owned(text.into_owned())),
        }
    }
}

impl Event<'_> {
    /// Returns the key that orders a sender's events: exact time, then tie key. Events with equal
    /// keys are in the order of their arrival.
    #[must_use]
    pub fn order(&self) -> (EventTime, Option<i128>) {
        (self.time, self.tie)
    }

    /// Returns whether this plain copy has facts that an anonymised copy of it may lack, see
    /// [`Decoder::kept`](crate::Decoder::kept).
    #[must_use]
    pub fn has_facts(&self) -> bool {
        let spoken = |message: &UserMessage<'_>| {
            message.intent.is_some()
                || message.retrieval_intent.is_some()
                || message.confidence.is_some()
                || !message.commands.is_empty()
                || message.intent_ranking.is_some()
        };
        self.user_key.is_some()
            || self.environment.is_some()
            || matches!(&self.body, Body::User(message) if spoken(message))
    }
}

impl<'a> Event<'a> {
    /// Fills in the facts that this anonymised copy lacks and `plain` has: those that are no
    /// personal data. `plain` is a plain copy of the same event.
    ///
    /// Decoding does the same with the bytes that [`Decoder::kept`](crate::Decoder::kept) gave.
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
            fill(&mut mine.intent_ranking, &plain.intent_ranking);
            if mine.commands.is_empty() {
                mine.commands.clone_from(&plain.commands);
            }
        }
    }
}

/// The time at which an event was anonymised, as its producer wrote it.
///
/// The greater mark is the later one. Numbers compare by their value, texts as texts, and every
/// number is less than every text.
///
/// ```
/// use turnmill_model::AnonymisedAt;
/// let (seconds, text) = (AnonymisedAt::Seconds(1717589977.9), AnonymisedAt::Text("2024-06-05".into()));
/// assert!([AnonymisedAt::Unmarked, seconds, text].is_sorted());
/// ```
#[derive(Clone, Debug)]
pub enum AnonymisedAt<'a> {
    /// The event has no mark of its own, but its source declares all of its events anonymised.
    Unmarked,
    /// Unix seconds, finite, as Rasa Pro writes them.
    Seconds(f64),
    /// A text, as the documents of Rasa Pro describe it.
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
