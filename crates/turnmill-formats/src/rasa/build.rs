//! Makes an [`Event`] of the fields of a body.

use std::borrow::Cow;

use uuid::Uuid;

use super::details::details;
use super::nlu;
use super::wire::Wire;
use turnmill_model::json::{Limits, Node, Raw, Tree, canonical, clean};
use turnmill_model::text::{cut, sender_key};
use turnmill_model::{
    AgentStatus, AnonymisedAt, AssistantName, Body, Command, Event, EventId, EventIdentity, EventTime,
    FlowStatus, Reason, Record, Refused, SenderId, SessionId, SessionIdMode, SessionRule, Settings, TimeUnit,
    UserMessage, WrittenTime,
};

/// Adds the event of `wire` and its record to `out`. Adds nothing if it is refused.
pub(super) fn event<'a>(
    settings: &Settings,
    record: &Record<'a>,
    wire: &Wire<'a>,
    out: &mut Vec<Event<'a>>,
) -> Result<(), Refused> {
    let event_type = text(wire.event)
        .filter(|event_type| !event_type.is_empty())
        .ok_or_else(|| Refused::new(Reason::NoEventType, "`event` is missing, empty or not a text"))?;
    let sender_key = sender_key(sender(record, wire)?);
    let assistant = assistant(record, wire);
    // The events of one message come together, so the event before often has the same sender.
    // Taking its id saves a digest.
    let sender = match out.last() {
        Some(before) if before.sender_key == sender_key && before.assistant == assistant => before.sender,
        _ => SenderId::new(assistant.as_deref(), &sender_key),
    };
    let seconds = written_seconds(record, wire);
    let time = time(record, wire, seconds)?;
    let anonymised = mark(record, wire);
    let mut texts = Texts::of(wire);
    let id = texts.id(sender, &event_type, seconds, anonymised.as_ref(), wire);
    out.push(Event {
        id,
        sender,
        sender_key,
        assistant,
        time,
        tie: sequence(wire).or(record.row).map(i128::from),
        model_id: text(wire.metadata.model_id),
        environment: environment(record, wire),
        user_key: filled(wire.user_id).map(turnmill_model::text::sender_key),
        session: SessionRule::Rasa { session_id: session_id(settings.session_id, wire) },
        anonymised,
        identified_by_key: event_type == "user" && texts.message_id.is_some() && event_id(wire).is_none(),
        ordinal: 0,
        counted: true,
        details: details(&event_type, wire),
        body: body(settings, &event_type, &mut texts, wire),
        event_type,
    });
    Ok(())
}

/// The texts that both the identity and the body need.
struct Texts<'a> {
    name: Option<Cow<'a, str>>,
    message_id: Option<Cow<'a, str>>,
    flow_id: Option<Cow<'a, str>>,
    step_id: Option<Cow<'a, str>>,
    utter_action: Option<Cow<'a, str>>,
    intent: Option<Cow<'a, str>>,
    policy: Option<Cow<'a, str>>,
    update: Option<Cow<'a, str>>,
}

impl<'a> Texts<'a> {
    fn of(wire: &Wire<'a>) -> Self {
        Self {
            name: text(wire.name),
            message_id: text(wire.message_id).or_else(|| text(wire.parse_data.message_id)),
            flow_id: text(wire.flow_id),
            step_id: text(wire.step_id),
            utter_action: text(wire.metadata.utter_action),
            intent: text(wire.parse_data.intent.name),
            policy: text(wire.policy),
            update: text(wire.update),
        }
    }

    /// Derives the event's id. Of an anonymised copy only the key and the mark count, because
    /// anonymising changes the content.
    fn id(
        &self,
        sender: SenderId,
        event_type: &str,
        seconds: Option<f64>,
        mark: Option<&AnonymisedAt<'_>>,
        wire: &Wire<'_>,
    ) -> EventId {
        let other;
        let time = match seconds {
            Some(seconds) => WrittenTime::Number(seconds),
            None => {
                other = wire.timestamp.map_or(Cow::Borrowed("null"), canonical);
                WrittenTime::Other(&other)
            }
        };
        if let Some(event_id) = event_id(wire) {
            let identity = EventIdentity::with_id(sender, time, &event_id);
            return mark.map_or_else(|| identity.id(), |mark| identity.anonymised(mark));
        }
        let action_text = text(wire.action_text);
        let others = [
            wire.agent_id,
            wire.tool_name,
            wire.is_error,
            wire.error_code,
            wire.skill_id,
            wire.block_id,
            wire.key,
        ];
        let others = others.map(|value| value.filter(|value| !value.is_null()).map(canonical));
        let key = EventIdentity {
            name: self.name.as_deref(),
            message_id: self.message_id.as_deref(),
            flow_id: self.flow_id.as_deref(),
            step_id: self.step_id.as_deref(),
            utter_action: self.utter_action.as_deref(),
            action_text: action_text.as_deref(),
            policy: self.policy.as_deref(),
            update: self.update.as_deref(),
            others: others.each_ref().map(Option::as_deref),
            ..EventIdentity::new(sender, event_type, time)
        };
        if let Some(mark) = mark {
            return key.anonymised(mark);
        }
        let [text, value, data] = [wire.text, wire.value, wire.data].map(|value| value.map(canonical));
        let (text, value, data) = (text.as_deref(), value.as_deref(), data.as_deref());
        EventIdentity { text, value, data, intent: self.intent.as_deref(), ..key }.id()
    }
}

/// Makes the body for the event's type. Takes the texts that it needs out of `texts`.
fn body<'a>(settings: &Settings, event_type: &str, texts: &mut Texts<'a>, wire: &Wire<'a>) -> Body<'a> {
    let status = match event_type {
        "user" => return Body::User(Box::new(user(texts, wire))),
        "bot" => {
            let template_name = texts.utter_action.take().or_else(|| text(wire.metadata.template_name));
            return Body::Bot { text: text(wire.text), template_name };
        }
        "action" => {
            let confidence = finite(wire.confidence);
            return Body::Action { name: texts.name.take(), policy: texts.policy.take(), confidence };
        }
        "slot" => {
            let (value, is_set) = slot_value(settings, wire.value);
            return Body::Slot { name: texts.name.take(), value, is_set };
        }
        "memory_set" => {
            let (value, is_set) = memory_value(settings, wire);
            return Body::Slot { name: text(wire.key), value, is_set };
        }
        "memory_cleared" => {
            return Body::Slot { name: text(wire.key), value: Cow::Borrowed("null"), is_set: false };
        }
        "stack" => return Body::Stack { update: texts.update.take() },
        "session_started" => return Body::SessionStarted,
        "session_ended" => return Body::SessionEnded,
        "restart" => return Body::Restart,
        "routing_session_ended" => return Body::RoutingSessionEnded,
        "active_loop" | "form" => return Body::Form { name: texts.name.take() },
        "action_execution_rejected" => return Body::Rejected { name: texts.name.take() },
        "pause" => return Body::Pause,
        "resume" => return Body::Resume,
        "inactive" => return Body::Inactive,
        "unsupported_request_classified" => return Body::Unsupported,
        "agent_started" | "agent_resumed" => return agent(AgentStatus::Called, texts, wire),
        "agent_completed" => return agent(AgentStatus::Completed, texts, wire),
        "agent_cancelled" => return agent(AgentStatus::Cancelled, texts, wire),
        "mcp_tool_executed" => return tool(Some(Cow::Borrowed("mcp")), wire),
        "tool_executed" => return tool(text(wire.source), wire),
        "skill_activated" => return skill(FlowStatus::Started, texts, wire),
        "skill_completed" => return skill(FlowStatus::Completed, texts, wire),
        "skill_interrupted" => return skill(FlowStatus::Interrupted, texts, wire),
        "skill_resumed" => return skill(FlowStatus::Resumed, texts, wire),
        "skill_cancelled" => return skill(FlowStatus::Cancelled, texts, wire),
        "flow_started" => FlowStatus::Started,
        "flow_completed" => FlowStatus::Completed,
        "flow_interrupted" => FlowStatus::Interrupted,
        "flow_resumed" => FlowStatus::Resumed,
        "flow_cancelled" => FlowStatus::Cancelled,
        _ => return Body::Other,
    };
    Body::Flow { status, flow_id: texts.flow_id.take(), step_id: texts.step_id.take() }
}

fn skill<'a>(status: FlowStatus, texts: &mut Texts<'a>, wire: &Wire<'a>) -> Body<'a> {
    Body::Flow { status, flow_id: text(wire.skill_id), step_id: texts.step_id.take() }
}

fn agent<'a>(status: AgentStatus, texts: &mut Texts<'a>, wire: &Wire<'a>) -> Body<'a> {
    Body::Agent { status, agent_id: text(wire.agent_id), flow_id: texts.flow_id.take() }
}

fn tool<'a>(source: Option<Cow<'a, str>>, wire: &Wire<'a>) -> Body<'a> {
    let is_error = wire.is_error.and_then(|is_error| match is_error.as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    });
    Body::Tool { name: text(wire.tool_name), source, is_error }
}

fn user<'a>(texts: &mut Texts<'a>, wire: &Wire<'a>) -> UserMessage<'a> {
    let parsed = &wire.parse_data;
    UserMessage {
        text: text(wire.text),
        intent: texts.intent.take(),
        retrieval_intent: text(parsed.intent.full_retrieval_intent_name),
        confidence: finite(parsed.intent.confidence),
        input_channel: text(wire.input_channel),
        message_id: texts.message_id.take(),
        commands: parsed.commands.map(commands).unwrap_or_default(),
        intent_ranking: nlu::intent_ranking(parsed.intent_ranking).map(Cow::Owned),
        entities: nlu::entities(parsed.entities).map(Cow::Owned),
    }
}

/// Reads the commands of a list. Any other value has none.
pub(super) fn commands(list: Raw<'_>) -> Vec<Command<'_>> {
    if !list.is_list() || list.as_str() == "[]" {
        return Vec::new();
    }
    let Ok(tree) = Tree::parse(list.as_str(), &Limits::default()) else {
        // This is not reached: the text of a `Raw` is well-formed.
        return Vec::new();
    };
    let mut commands = Vec::new();
    for (index, item) in (0..).zip(tree.root().items()) {
        let field = |key| item.get(key).map(Node::raw);
        let Some(command) = text(field("command")) else { continue };
        let when = |name, key| if command == name { field(key) } else { None };
        commands.push(Command {
            index,
            flow: text(when("start flow", "flow")),
            slot: text(when("set slot", "name")),
            options: when("clarify", "options").filter(|options| options.is_list()).map(canonical),
            command,
        });
    }
    commands
}

/// Returns a slot's value as it is stored, and whether it sets the slot.
fn slot_value<'a>(settings: &Settings, value: Option<Raw<'a>>) -> (Cow<'a, str>, bool) {
    let Some(value) = value else { return (Cow::Borrowed("null"), false) };
    let bare = if settings.bare_slot_strings { value.as_text() } else { None };
    (bare.unwrap_or_else(|| canonical(value)), !value.is_null())
}

/// Returns the value of a `memory_set`, as [`slot_value`] does. Mantle writes it as JSON in a text.
fn memory_value<'a>(settings: &Settings, wire: &Wire<'a>) -> (Cow<'a, str>, bool) {
    let Some(json) = text(wire.value_json) else { return slot_value(settings, wire.value) };
    match Raw::parse(&json) {
        Ok(value) => {
            let (value, is_set) = slot_value(settings, Some(value));
            (Cow::Owned(value.into_owned()), is_set)
        }
        Err(_) => slot_value(settings, wire.value_json),
    }
}

/// Returns the id that Mantle gave the event.
fn event_id<'a>(wire: &Wire<'a>) -> Option<Cow<'a, str>> {
    filled(wire.event_id)
}

/// Returns the number that Mantle gave the event in its conversation.
fn sequence(wire: &Wire<'_>) -> Option<i64> {
    // Such floats are exact integers.
    let whole = |number: &f64| number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
    finite(wire.sequence).filter(whole).map(|number| number as i64)
}

/// Returns the sender's key: that of the body, else that of the envelope.
fn sender<'a>(record: &Record<'a>, wire: &Wire<'a>) -> Result<Cow<'a, str>, Refused> {
    // Some connectors write chat ids as numbers: 12 and "12" are one sender.
    let number = || wire.sender_id.and_then(|id| id.as_number().map(|_| Cow::Borrowed(id.as_str())));
    filled(wire.sender_id)
        .or_else(number)
        .or_else(|| record.sender.map(clean).filter(|sender| !sender.is_empty()))
        .ok_or_else(|| {
            Refused::new(
                Reason::NoSenderId,
                "`sender_id` is missing, empty or neither a text nor a number, and the record names no sender",
            )
        })
}

/// Returns the name of the assistant, cleaned and cut.
fn assistant<'a>(record: &Record<'a>, wire: &Wire<'a>) -> Option<Cow<'a, str>> {
    let name = match record.facts.assistant {
        AssistantName::None => None,
        AssistantName::Given(name) => Some(clean(name)).filter(|name| !name.is_empty()),
        AssistantName::FromMetadata => filled(wire.metadata.assistant_id),
    };
    name.map(sender_key)
}

/// The literal that Rasa sends if its environment variable is not set.
pub(super) const ENVIRONMENT_NOT_SET: &str = "RASA_ENVIRONMENT_NOT_SET";

/// Returns the producer's environment: that of the record's header, else that of the metadata.
pub(super) fn environment<'a>(record: &Record<'a>, wire: &Wire<'a>) -> Option<Cow<'a, str>> {
    let set = |environment: &Cow<'_, str>| *environment != ENVIRONMENT_NOT_SET;
    record.environment.map(clean).filter(set).or_else(|| text(wire.metadata.rasa_environment).filter(set))
}

/// Returns the mark of an anonymised copy, or `None` for a plain one.
fn mark<'a>(record: &Record<'a>, wire: &Wire<'a>) -> Option<AnonymisedAt<'a>> {
    let seconds = || finite(wire.anonymized_at).map(AnonymisedAt::Seconds);
    let own = text(wire.anonymized_at).map(AnonymisedAt::Text).or_else(seconds);
    own.or_else(|| record.facts.anonymised.then_some(AnonymisedAt::Unmarked))
}

/// Returns the timestamp in seconds, whether it is usable or not.
fn written_seconds(record: &Record<'_>, wire: &Wire<'_>) -> Option<f64> {
    written_number(wire.timestamp?).map(|number| record.facts.time_unit.to_seconds(number) + 0.0)
}

/// Returns a finite number, also of a text that is exactly one. Stores that keep decimals as text
/// give such timestamps.
pub(super) fn written_number(written: Raw<'_>) -> Option<f64> {
    let in_text = || {
        let text = written.as_text()?;
        Raw::parse(&text).ok().filter(|raw| raw.as_str() == text)?.as_number()
    };
    written.as_number().or_else(in_text).filter(|number| number.is_finite())
}

/// Returns the event's time: that of the body if it is usable, else that of the record.
fn time(record: &Record<'_>, wire: &Wire<'_>, seconds: Option<f64>) -> Result<EventTime, Refused> {
    seconds
        .and_then(EventTime::from_seconds)
        .or_else(|| record.time.and_then(EventTime::from_seconds))
        .ok_or_else(|| Refused::new(Reason::NoUsableTimestamp, why_unusable(record, wire, seconds)))
}

/// Tells why an event has no time, and what to do if it seems to have another unit.
fn why_unusable(record: &Record<'_>, wire: &Wire<'_>, seconds: Option<f64>) -> String {
    let written = wire.timestamp.map_or("missing", Raw::as_str);
    let own = record.time.map_or_else(|| "none".to_owned(), |seconds| seconds.to_string());
    let mut detail = format!("`timestamp` is {}, the record's own time is {own}", cut(written, 40));
    let unit = seconds.filter(|_| record.facts.time_unit == TimeUnit::Seconds).and_then(TimeUnit::guess);
    if let Some(unit) = unit {
        let name = match unit {
            TimeUnit::Milliseconds => "milliseconds",
            TimeUnit::Microseconds => "microseconds",
            TimeUnit::Seconds => "seconds",
        };
        detail.push_str(&format!(
            "; it looks like {name}: read the source with `--time-unit {unit}` (`TURNMILL_TIME_UNIT={unit}`)"
        ));
    } else if seconds.is_some_and(|seconds| EventTime::from_seconds(seconds / 1e9).is_some()) {
        detail.push_str("; it looks like nanoseconds: leave out its last three digits, and read the source with `--time-unit us`");
    } else if seconds.is_none() && wire.timestamp.is_some_and(|written| written.as_text().is_some()) {
        detail.push_str("; it is a text that is no number: write it as seconds since 1970");
    }
    detail
}

/// Returns the session id of the metadata, if it counts in this mode.
fn session_id(mode: SessionIdMode, wire: &Wire<'_>) -> Option<Uuid> {
    if mode == SessionIdMode::Off {
        return None;
    }
    let session = filled(wire.metadata.session_id)?;
    match (canonical_uuid(&session), mode) {
        (None, SessionIdMode::Any) => Some(SessionId::from_text(&session).0),
        (uuid, _) => uuid,
    }
}

/// Returns the UUID of which `text` is the canonical spelling: lower-case hex, 8-4-4-4-12.
fn canonical_uuid(text: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse(text).ok()?;
    (*uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == *text).then_some(uuid)
}

/// Returns the cleaned text of a field that is a string.
pub(super) fn text(field: Option<Raw<'_>>) -> Option<Cow<'_, str>> {
    field.and_then(Raw::as_text)
}

/// Returns the cleaned text of a field that is a string, unless it is empty.
pub(super) fn filled(field: Option<Raw<'_>>) -> Option<Cow<'_, str>> {
    text(field).filter(|text| !text.is_empty())
}

/// Returns the number of a field that is a finite one.
pub(super) fn finite(field: Option<Raw<'_>>) -> Option<f64> {
    // Adding zero turns -0.0 into 0.0. Not every store keeps them apart.
    field.and_then(Raw::as_number).filter(|number| number.is_finite()).map(|number| number + 0.0)
}
