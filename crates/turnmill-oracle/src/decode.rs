//! From one record of Rasa's event stream to one event.

use std::borrow::Cow;

use turnmill_model::{
    Body, Command, Event, EventIdentity, EventTime, FlowStatus, Reason, Record, SenderId, SessionId,
    SessionIdMode, SessionRule, Settings, UserMessage, WrittenTime, text,
};
use uuid::Uuid;

use crate::json::{self, Json, clean};

/// Largest record that is read, bytes.
pub const MAX_RECORD_BYTES: usize = 16 * 1024 * 1024;

/// Reads one record: its event, or `None` where it is to be skipped (blank or `null`).
///
/// # Errors
///
/// The reason for which the record is a dead letter.
///
/// ```
/// use turnmill_model::{Reason, Record, Settings};
/// let record = Record { payload: br#"{"event": "restart"}"#, ..Record::default() };
/// assert_eq!(turnmill_oracle::decode(&Settings::default(), &record), Err(Reason::NoSenderId));
/// ```
pub fn decode(settings: &Settings, record: &Record<'_>) -> Result<Option<Event<'static>>, Reason> {
    if record.payload.len() > MAX_RECORD_BYTES {
        return Err(Reason::TooLarge);
    }
    let payload = std::str::from_utf8(record.payload).map_err(|_| Reason::NotUtf8)?;
    let content = payload.trim_matches([' ', '\t', '\n', '\r']);
    if content.is_empty() || content == "null" {
        return Ok(None);
    }
    if json::too_deep(payload) {
        return Err(Reason::TooDeep);
    }
    let body = json::parse(payload).ok_or(Reason::NotJson)?;
    if !matches!(body, Json::Object(_)) {
        return Err(Reason::NotAnObject);
    }
    let event_type = body.text("event").ok_or(Reason::NoEventType)?;
    let sender_key = body
        .text("sender_id")
        .filter(|key| !key.is_empty())
        .or_else(|| record.sender.map(clean).filter(|key| !key.is_empty()))
        .ok_or(Reason::NoSenderId)?;
    let sender_key = text::sender_key(sender_key.into()).into_owned();
    let sender = SenderId::new(settings.assistant.as_deref(), &sender_key);

    let written = body.get("timestamp").unwrap_or(&Json::Null);
    let time = written
        .as_finite()
        .and_then(EventTime::from_seconds)
        .or_else(|| record.time.and_then(EventTime::from_seconds))
        .ok_or(Reason::NoUsableTimestamp)?;

    let metadata = body.get("metadata").unwrap_or(&Json::Null);
    Ok(Some(Event {
        id: identity(sender, &event_type, written, &body),
        sender,
        sender_key: sender_key.into(),
        time,
        model_id: owned(metadata.text("model_id")),
        environment: owned(record.environment.map(clean)),
        user_key: body
            .text("user_id")
            .filter(|key| !key.is_empty())
            .map(|key| text::sender_key(key.into()).into_owned().into()),
        session: SessionRule::Rasa { session_id: session_id(settings.session_id, metadata) },
        anonymized_at: owned(body.text("anonymized_at")),
        ordinal: 0,
        body: event_body(settings, &event_type, &body, metadata),
        event_type: event_type.into(),
    }))
}

fn owned(text: Option<String>) -> Option<Cow<'static, str>> {
    text.map(Cow::Owned)
}

fn identity(sender: SenderId, event_type: &str, written: &Json, body: &Json) -> turnmill_model::EventId {
    let canonical_time = written.canonical();
    let time = match written.as_finite() {
        Some(seconds) => WrittenTime::Number(seconds),
        None => WrittenTime::Other(&canonical_time),
    };
    let parts = ["name", "message_id", "flow_id", "step_id", "policy", "update"].map(|key| body.text(key));
    let [name, message_id, flow_id, step_id, policy, update] = parts.each_ref().map(Option::as_deref);
    let utter_action = body.get("metadata").and_then(|metadata| metadata.text("utter_action"));
    let intent =
        body.get("parse_data").and_then(|data| data.get("intent")).and_then(|intent| intent.text("name"));
    let values = ["text", "value", "data"].map(|key| body.get(key).map(Json::canonical));
    let identity = EventIdentity {
        sender,
        event_type,
        time,
        name,
        message_id,
        flow_id,
        step_id,
        utter_action: utter_action.as_deref(),
        intent: intent.as_deref(),
        policy,
        update,
        values: values.each_ref().map(Option::as_deref),
    };
    identity.id()
}

/// The session id that the metadata gives, if the mode lets it count.
fn session_id(mode: SessionIdMode, metadata: &Json) -> Option<Uuid> {
    let written = metadata.text("session_id").filter(|id| !id.is_empty())?;
    let canonical = Uuid::parse_str(&written).ok().filter(|uuid| uuid.hyphenated().to_string() == written);
    match mode {
        SessionIdMode::Uuid => canonical,
        SessionIdMode::Any => Some(canonical.unwrap_or_else(|| SessionId::from_text(&written).0)),
        SessionIdMode::Off => None,
    }
}

fn event_body(settings: &Settings, event_type: &str, body: &Json, metadata: &Json) -> Body<'static> {
    let flow = |status| Body::Flow {
        status,
        flow_id: owned(body.text("flow_id")),
        step_id: owned(body.text("step_id")),
    };
    match event_type {
        "user" => Body::User(Box::new(user_message(body))),
        "bot" => Body::Bot {
            text: owned(body.text("text")),
            template_name: owned(metadata.text("utter_action").or_else(|| metadata.text("template_name"))),
        },
        "action" => Body::Action {
            name: owned(body.text("name")),
            policy: owned(body.text("policy")),
            confidence: body.finite("confidence"),
        },
        "slot" => {
            let value = body.get("value").unwrap_or(&Json::Null);
            let written = match value {
                Json::Text(text) if settings.bare_slot_strings => clean(text),
                other => other.canonical(),
            };
            Body::Slot { name: owned(body.text("name")), value: written.into(), is_set: *value != Json::Null }
        }
        "stack" => Body::Stack { update: owned(body.text("update")) },
        "flow_started" => flow(FlowStatus::Started),
        "flow_completed" => flow(FlowStatus::Completed),
        "flow_interrupted" => flow(FlowStatus::Interrupted),
        "flow_resumed" => flow(FlowStatus::Resumed),
        "flow_cancelled" => flow(FlowStatus::Cancelled),
        "session_started" => Body::SessionStarted,
        "session_ended" => Body::SessionEnded,
        "restart" => Body::Restart,
        _ => Body::Other,
    }
}

fn user_message(body: &Json) -> UserMessage<'static> {
    let parse_data = body.get("parse_data").unwrap_or(&Json::Null);
    let intent = parse_data.get("intent").unwrap_or(&Json::Null);
    UserMessage {
        text: owned(body.text("text")),
        intent: owned(intent.text("name")),
        retrieval_intent: owned(intent.text("full_retrieval_intent_name")),
        confidence: intent.finite("confidence"),
        input_channel: owned(body.text("input_channel")),
        message_id: owned(body.text("message_id").or_else(|| parse_data.text("message_id"))),
        commands: match parse_data.get("commands") {
            Some(Json::List(elements)) => {
                (0..).zip(elements).filter_map(|(index, element)| command(index, element)).collect()
            }
            _ => Vec::new(),
        },
    }
}

fn command(index: u32, element: &Json) -> Option<Command<'static>> {
    let command = element.text("command")?;
    let only_of = |kind: &str, key: &str| if command == kind { owned(element.text(key)) } else { None };
    Some(Command {
        index,
        flow: only_of("start flow", "flow"),
        slot: only_of("set slot", "name"),
        options: match element.get("options") {
            Some(options @ Json::List(_)) if command == "clarify" => Some(options.canonical().into()),
            _ => None,
        },
        command: command.into(),
    })
}
