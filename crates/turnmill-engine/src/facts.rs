//! Keeps what the rows of facts need of a session, of its turn and of the sender, and makes these
//! rows.
//!
//! The facts are part of the sender's state, so a row can be written again as a whole whenever an
//! event changes it. What an event does to them depends on them, on the sender's open form and
//! flows, and on whether the first action of the turn was seen. So each event costs constant work,
//! and equal states at one point of the history give equal rows from there on.
//!
//! ```text
//! u1: start, hi, bot, hi, bot      | batch ends: the session's row says 2 messages, 2 answers
//! u1: bot, pause                   | the same row, written again: 3 answers, handed over
//! ```

use serde::{Deserialize, Serialize};
use turnmill_model::tables::{MessageFactsRow, SessionFactsRow, Text, Texts, TurnFactsRow};
use turnmill_model::text::{LONG, SHORT, cut};
use turnmill_model::{
    Body, Changes, Event, EventId, FlowStatus, Micros, Rows, SenderId, SessionId, UserMessage,
};
use uuid::Uuid;

use crate::dialogs::is_set_apart;
use crate::exchange::ExchangeState;

/// Number of intents in a session's path.
const PATH: usize = 8;

/// Number of flows that a sender has open at most. Beyond it the lowest one is forgotten.
const FLOWS: usize = 100;

/// The kind of source that all events come from.
pub(crate) const SOURCE: &str = "rasa";

/// Actions by which the assistant says that it did not understand.
const FALLBACK_ACTIONS: [&str; 3] =
    ["action_default_fallback", "action_two_stage_fallback", "action_default_ask_rephrase"];

/// Flow by which an assistant with flows says it.
const FALLBACK_FLOW: &str = "pattern_cannot_handle";

/// Action that is no answer to a message: it notes that the message was unlikely.
const UNLIKELY_INTENT: &str = "action_unlikely_intent";

/// The active form and the open flows of a sender.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Loops {
    form: Option<Box<str>>,
    /// The topmost flow is the last one. A flow is in the list once.
    flows: Vec<Box<str>>,
}

/// A form or flow that was active when a message came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Loop {
    Form(Box<str>),
    Flow(Box<str>),
}

impl Loop {
    fn name(&self) -> &str {
        match self {
            Self::Form(name) | Self::Flow(name) => name,
        }
    }
}

/// Facts of a session so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionFacts {
    /// Time of its last event other than `inactive`.
    last_event_at: i64,
    channel: Option<Box<str>>,
    environment: Option<Box<str>>,
    model_id: Option<Box<str>>,
    user_messages: u32,
    bot_messages: u32,
    answered_turns: u32,
    /// The first intents, equal neighbours merged.
    intent_path: Vec<Box<str>>,
    /// The last intent, if it is not the last one of the path.
    last_intent: Option<Box<str>>,
    last_template: Option<Box<str>>,
    handed_over_at: Option<i64>,
    ended: Ended,
    /// Why it ended, as its last `session_ended` says it.
    ended_reason: Option<Box<str>>,
}

/// How the events so far ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Ended {
    Not,
    Explicit,
    Restart,
    Handoff,
    Inactive,
}

/// Facts of a turn so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TurnFacts {
    asked_at: i64,
    intent: Option<Box<str>>,
    confidence: Option<f64>,
    channel: Option<Box<str>>,
    environment: Option<Box<str>>,
    model_id: Option<Box<str>>,
    response_us: Option<i64>,
    /// Whether the times of its events say how long the answer took.
    is_timed: bool,
    bot_messages: u32,
    first_template: Option<Box<str>>,
    default_fallback: bool,
    form: Option<Loop>,
    /// `None` until the turn's first action, which decides.
    form_took: Option<Option<bool>>,
    /// Most assistants do not say how long they took, so it is one pointer.
    processing: Option<Box<Took>>,
    /// The `user` event that began it.
    message: EventId,
    /// Whether that message has a row of facts.
    has_message_row: bool,
    is_missed: bool,
}

/// How long a turn was processed, in microseconds, and the parts of that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Took {
    total_us: i64,
    parts: Option<Box<str>>,
}

/// Tells where a row of facts stands: in the store, in the changes, or in neither.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum FactsRow {
    /// The stored row is still right.
    #[default]
    Stored,
    /// The stored row has changed.
    Changed,
    /// No row has been written yet.
    New,
    /// The row is this insert.
    Insert(usize),
    /// The row is this update.
    Update(usize),
}

impl FactsRow {
    /// Notes that the facts have changed, and are not written yet.
    pub(crate) fn touch(&mut self) {
        if matches!(self, Self::Stored) {
            *self = Self::Changed;
        }
    }

    /// Writes the row that `row` makes, over the one that this run has written before.
    pub(crate) fn flush<R>(&mut self, rows: &mut Rows<R>, row: impl FnOnce() -> R) {
        match *self {
            Self::Stored => {}
            Self::Changed => {
                *self = Self::Update(rows.updates.len());
                rows.updates.push(row());
            }
            Self::New => {
                *self = Self::Insert(rows.inserts.len());
                rows.inserts.push(row());
            }
            Self::Insert(index) => {
                if let Some(written) = rows.inserts.get_mut(index) {
                    *written = row();
                }
            }
            Self::Update(index) => {
                if let Some(written) = rows.updates.get_mut(index) {
                    *written = row();
                }
            }
        }
    }
}

fn short(text: &str) -> Box<str> {
    cut(text, SHORT).into()
}

fn shortened(text: &Option<impl AsRef<str>>) -> Option<Box<str>> {
    text.as_ref().map(|text| short(text.as_ref()))
}

impl Loops {
    /// Ends the form and all flows, as an empty dialogue stack does.
    pub(crate) fn reset(&mut self) {
        self.form = None;
        self.flows.clear();
    }

    /// Makes `form` the active form, or ends it.
    pub(crate) fn set_form(&mut self, form: Option<&str>) {
        self.form = form.map(short);
    }

    /// Follows the events that begin and end forms and flows.
    pub(crate) fn follow(&mut self, body: &Body<'_>) {
        match body {
            Body::Form { name } => self.form = shortened(name),
            Body::Flow { status, flow_id: Some(flow), .. } if !is_set_apart(flow) => {
                let flow = short(flow);
                match status {
                    FlowStatus::Started | FlowStatus::Resumed => {
                        self.flows.retain(|open| *open != flow);
                        self.flows.push(flow);
                        if self.flows.len() > FLOWS {
                            self.flows.remove(0);
                        }
                    }
                    FlowStatus::Completed | FlowStatus::Cancelled => self.flows.retain(|open| *open != flow),
                    FlowStatus::Interrupted => {}
                }
            }
            _ => {}
        }
    }

    fn active(&self) -> Option<Loop> {
        let flow = || self.flows.last().cloned().map(Loop::Flow);
        self.form.clone().map(Loop::Form).or_else(flow)
    }

    fn active_name(&self) -> Option<&str> {
        self.form.as_deref().or_else(|| self.flows.last().map(|flow| &**flow))
    }

    pub(crate) fn memory(&self) -> usize {
        self.form.as_ref().map_or(0, |form| form.len())
            + self.flows.iter().map(|flow| flow.len() + size_of::<Box<str>>()).sum::<usize>()
    }
}

impl SessionFacts {
    /// Returns the facts of a session whose first event is at `started_at`.
    pub(crate) fn new(started_at: Micros) -> Self {
        Self {
            last_event_at: started_at.0,
            channel: None,
            environment: None,
            model_id: None,
            user_messages: 0,
            bot_messages: 0,
            answered_turns: 0,
            intent_path: Vec::new(),
            last_intent: None,
            last_template: None,
            handed_over_at: None,
            ended: Ended::Not,
            ended_reason: None,
        }
    }

    /// Adds the session's next event. A `slot` event changes the time alone, because it may yet
    /// move to the next session, and because a slot that is carried over keeps its old metadata.
    pub(crate) fn follow(&mut self, event: &Event<'_>) {
        let time = event.time.micros();
        if event.body != Body::Inactive {
            self.last_event_at = time;
        }
        if matches!(event.body, Body::Slot { .. }) {
            return;
        }
        if self.environment.is_none() {
            self.environment = shortened(&event.environment);
        }
        if self.model_id.is_none() {
            self.model_id = shortened(&event.model_id);
        }
        match &event.body {
            Body::User(message) => self.ask(message),
            Body::Bot { template_name, .. } => {
                self.bot_messages += 1;
                self.last_template = shortened(template_name);
            }
            Body::SessionEnded => {
                self.ended = Ended::Explicit;
                self.ended_reason = shortened(&event.details.as_ref().and_then(|of| of.reason.as_deref()));
            }
            Body::Restart => self.ended = Ended::Restart,
            Body::Pause => {
                self.ended = Ended::Handoff;
                self.handed_over_at.get_or_insert(time);
            }
            Body::Resume if self.ended == Ended::Handoff => self.ended = Ended::Not,
            Body::Inactive if self.ended == Ended::Not => self.ended = Ended::Inactive,
            _ => {}
        }
    }

    fn ask(&mut self, message: &UserMessage<'_>) {
        self.user_messages += 1;
        self.last_template = None;
        if self.channel.is_none() {
            self.channel = shortened(&message.input_channel);
        }
        if self.ended != Ended::Handoff {
            self.ended = Ended::Not;
        }
        let Some(intent) = shortened(&message.intent) else { return };
        if self.last_intent() == Some(&*intent) {
            return;
        }
        if self.intent_path.len() < PATH {
            self.intent_path.push(intent);
        } else {
            let in_path = self.intent_path.last() == Some(&intent);
            self.last_intent = (!in_path).then_some(intent);
        }
    }

    /// Counts the first answer of one of its turns.
    pub(crate) fn count_answer(&mut self) {
        self.answered_turns += 1;
    }

    fn last_intent(&self) -> Option<&str> {
        self.last_intent.as_ref().or(self.intent_path.last()).map(|intent| &**intent)
    }

    pub(crate) fn memory(&self) -> usize {
        let texts = [
            &self.channel,
            &self.environment,
            &self.model_id,
            &self.last_intent,
            &self.last_template,
            &self.ended_reason,
        ];
        let path = self.intent_path.iter().map(|intent| intent.len() + size_of::<Box<str>>());
        texts.into_iter().flatten().map(|text| text.len()).sum::<usize>() + path.sum::<usize>()
    }
}

impl TurnFacts {
    /// Returns the facts of the turn that the `user` event `event` begins while `loops` are open.
    pub(crate) fn new(event: &Event<'_>, message: &UserMessage<'_>, loops: &Loops) -> Self {
        Self {
            asked_at: event.time.micros(),
            intent: shortened(&message.intent),
            confidence: message.confidence,
            channel: shortened(&message.input_channel),
            environment: shortened(&event.environment),
            model_id: shortened(&event.model_id),
            response_us: None,
            is_timed: true,
            bot_messages: 0,
            first_template: None,
            default_fallback: false,
            form: loops.active(),
            form_took: None,
            processing: None,
            message: event.id,
            has_message_row: has_row(message),
            is_missed: false,
        }
    }

    /// Returns the turn's message and whether it has a row of facts, if the next event of its kind
    /// is the first to say that the assistant cannot do what the message asks for.
    pub(crate) fn not_missed(&self) -> Option<(EventId, bool)> {
        (!self.is_missed).then_some((self.message, self.has_message_row))
    }

    /// Notes that the row of the turn's message says so.
    pub(crate) fn set_missed(&mut self) {
        (self.has_message_row, self.is_missed) = (true, true);
    }

    /// Time of the turn's message, in microseconds.
    pub(crate) fn asked_at(&self) -> i64 {
        self.asked_at
    }

    /// Adds an event after the turn's `user` event. Returns whether the facts have changed, and
    /// whether the event is the turn's first answer.
    pub(crate) fn follow(&mut self, event: &Event<'_>) -> TurnStep {
        let step = self.follow_body(event);
        let processing = event.details.as_ref().and_then(|details| details.processing.as_ref());
        let Some(processing) = processing else { return step };
        let parts = processing.parts.as_ref().map(|parts| cut(parts, LONG).into());
        self.processing = Some(Box::new(Took { total_us: processing.total_us, parts }));
        if step == TurnStep::Nothing { TurnStep::Changed } else { step }
    }

    fn follow_body(&mut self, event: &Event<'_>) -> TurnStep {
        match &event.body {
            Body::Bot { template_name, .. } => {
                self.bot_messages += 1;
                if self.response_us.is_some() {
                    return TurnStep::Changed;
                }
                self.response_us = Some((event.time.micros() - self.asked_at).max(0));
                self.first_template = shortened(template_name);
                TurnStep::Answered
            }
            Body::Action { name, .. } => {
                let falls_back = name.as_deref().is_some_and(|name| FALLBACK_ACTIONS.contains(&name));
                let changed = self.decide(name.as_deref(), true) | (falls_back && !self.default_fallback);
                self.default_fallback |= falls_back;
                if changed { TurnStep::Changed } else { TurnStep::Nothing }
            }
            Body::Rejected { name } => {
                if self.decide(name.as_deref(), false) {
                    TurnStep::Changed
                } else {
                    TurnStep::Nothing
                }
            }
            Body::Flow { status: FlowStatus::Started, flow_id: Some(flow), .. } if flow == FALLBACK_FLOW => {
                self.default_fallback = true;
                TurnStep::Changed
            }
            _ => TurnStep::Nothing,
        }
    }

    /// Notes that the turn is part of an exchange, whose events share one time, and whether the
    /// form took the message. No action decides that.
    pub(crate) fn of_exchange(&mut self, took: Option<bool>) {
        (self.is_timed, self.form_took) = (false, Some(took));
    }

    /// Lets the turn's first action decide whether the form took the message. Returns whether it
    /// was the first.
    fn decide(&mut self, action: Option<&str>, took: bool) -> bool {
        let Some(Loop::Form(form)) = &self.form else { return false };
        if self.form_took.is_some() || action == Some(UNLIKELY_INTENT) {
            return false;
        }
        let is_form = action.is_some_and(|action| cut(action, SHORT) == &**form);
        self.form_took = Some(is_form.then_some(took));
        true
    }

    pub(crate) fn memory(&self) -> usize {
        let texts = [&self.intent, &self.channel, &self.environment, &self.model_id, &self.first_template];
        let took = self
            .processing
            .as_ref()
            .map_or(0, |took| size_of::<Took>() + took.parts.as_ref().map_or(0, |parts| parts.len()));
        size_of::<Self>() + took + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
    }
}

/// What an event did to the facts of its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnStep {
    Nothing,
    Changed,
    /// It is the turn's first bot message.
    Answered,
}

/// The row of a session, besides its facts.
pub(crate) struct SessionContext<'c> {
    pub(crate) id: SessionId,
    pub(crate) sender: SenderId,
    pub(crate) assistant: Option<&'c str>,
    pub(crate) started_at: Micros,
    /// Forms and flows that are open after its last event.
    pub(crate) loops: &'c Loops,
    /// Whether it holds the sender's latest event.
    pub(crate) is_latest: bool,
    /// What its exchanges told, if it has such.
    pub(crate) exchange: Option<&'c ExchangeState>,
}

/// Writes the row of `ext_session`, if it is not written as it is.
pub(crate) fn write_session(
    out: &mut Changes,
    row: &mut FactsRow,
    facts: &SessionFacts,
    context: &SessionContext<'_>,
) {
    let Changes { texts, session_facts, .. } = out;
    let exchange = context.exchange;
    let told = |text: fn(&ExchangeState) -> Option<&str>| exchange.and_then(text);
    row.flush(session_facts, || SessionFactsRow {
        session_id: context.id,
        sender_id: context.sender,
        assistant: told(|exchange| exchange.assistant.as_deref())
            .or(context.assistant)
            .map(|assistant| texts.add(assistant)),
        started_at: context.started_at,
        last_event_at: Micros(facts.last_event_at),
        channel: add(texts, &facts.channel),
        environment: add(texts, &facts.environment),
        model_id: add(texts, &facts.model_id),
        locale: told(|exchange| exchange.locale.as_deref()).map(|locale| texts.add(locale)),
        source_system: texts.add(exchange.map_or(SOURCE, |exchange| &exchange.source_system)),
        user_messages: i64::from(facts.user_messages),
        bot_messages: i64::from(facts.bot_messages),
        turns: i64::from(facts.user_messages),
        answered_turns: i64::from(facts.answered_turns),
        first_intent: facts.intent_path.first().map(|intent| texts.add(intent)),
        last_intent: facts.last_intent().map(|intent| texts.add(intent)),
        last_template: add(texts, &facts.last_template),
        open_loop: context.loops.active_name().map(|name| texts.add(name)),
        is_handed_over: facts.handed_over_at.is_some(),
        handed_over_at: facts.handed_over_at.map(Micros),
        outcome: exchange.and_then(|exchange| exchange.runs.outcome()).map(|outcome| texts.add(outcome)),
        is_test: exchange.is_some_and(|exchange| exchange.is_test),
        ended_reason: add(texts, &facts.ended_reason),
        ended_by: texts.add(match facts.ended {
            Ended::Explicit => "explicit",
            Ended::Restart => "restart",
            Ended::Handoff => "handoff",
            Ended::Inactive => "inactive",
            Ended::Not if context.is_latest => "open",
            Ended::Not => "next_session",
        }),
        intent_path: texts.add(&list(&facts.intent_path)),
    });
}

/// Writes the row of `ext_turn`, if it is not written as it is.
pub(crate) fn write_turn(
    out: &mut Changes,
    row: &mut FactsRow,
    facts: &TurnFacts,
    (turn_id, session_id, sender_id): (Uuid, SessionId, SenderId),
) {
    let Changes { texts, turn_facts, .. } = out;
    row.flush(turn_facts, || TurnFactsRow {
        turn_id,
        session_id,
        sender_id,
        asked_at: Micros(facts.asked_at),
        intent: add(texts, &facts.intent),
        confidence: facts.confidence,
        channel: add(texts, &facts.channel),
        environment: add(texts, &facts.environment),
        model_id: add(texts, &facts.model_id),
        response_us: facts.response_us.filter(|_| facts.is_timed),
        bot_messages: i64::from(facts.bot_messages),
        first_template: add(texts, &facts.first_template),
        default_fallback: facts.default_fallback,
        form: facts.form.as_ref().map(|form| texts.add(form.name())),
        form_took: facts.form_took.flatten(),
        processing_us: facts.processing.as_ref().map(|took| took.total_us),
        processing_parts: facts.processing.as_ref().and_then(|took| add(texts, &took.parts)),
        weight: 1.0,
    });
}

fn has_row(message: &UserMessage<'_>) -> bool {
    message.intent_ranking.is_some() || message.entities.is_some()
}

/// Writes the row of `ext_message` of a `user` event, if there is something for it. Returns whether
/// there is.
pub(crate) fn write_message(out: &mut Changes, event: &Event<'_>, message: &UserMessage<'_>) -> bool {
    if !has_row(message) {
        return false;
    }
    let texts = &mut out.texts;
    let mut long =
        |text: &Option<_>| text.as_ref().map(|text: &std::borrow::Cow<'_, str>| texts.add(cut(text, LONG)));
    let (intent_ranking, entities) = (long(&message.intent_ranking), long(&message.entities));
    let row = MessageFactsRow::new(event.id, texts.add(SOURCE));
    out.message_facts.inserts.push(MessageFactsRow { intent_ranking, entities, ..row });
    true
}

fn add(texts: &mut Texts, text: &Option<Box<str>>) -> Option<Text> {
    text.as_ref().map(|text| texts.add(text))
}

/// Returns a list of texts as JSON, spelled as slot values are.
fn list(texts: &[Box<str>]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| serde_json::Value::from(&**text).to_string()).collect();
    format!("[{}]", texts.join(", "))
}
