//! Decoding of one record of Rasa's event stream to one event.

use std::borrow::Cow;

use turnmill_model::{
    AgentStatus, AnonymisedAt, AssistantName, Body, Command, Details, Event, EventIdentity, EventTime,
    FlowStatus, Processing, Reason, Record, SenderId, SessionId, SessionIdMode, SessionRule, Settings,
    TimeUnit, UserMessage, WrittenTime, text,
};
use uuid::Uuid;

use crate::json::{self, Json, clean};
use crate::mantle::{self, Flat};

/// Size of the largest record that is read, in bytes.
pub const MAX_RECORD_BYTES: usize = 16 * 1024 * 1024;

/// Decodes one record. Returns its event, or `None` if it is to be skipped because it is blank or
/// `null`.
///
/// # Errors
///
/// The reason why the record is a dead letter.
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
    let body = json::parse(payload).ok_or(Reason::NotJson)?;
    if body.too_deep() {
        return Err(Reason::TooDeep);
    }
    if !matches!(body, Json::Object(_)) {
        return Err(Reason::NotAnObject);
    }
    let Flat { body, event_id, sequence } = mantle::flat(body)?;
    let event_type = body.text("event").filter(|name| !name.is_empty()).ok_or(Reason::NoEventType)?;
    let sender_key = body
        .text("sender_id")
        .filter(|key| !key.is_empty())
        .or_else(|| body.get("sender_id").and_then(number_as_written))
        .or_else(|| record.sender.map(clean).filter(|key| !key.is_empty()))
        .ok_or(Reason::NoSenderId)?;
    let sender_key = text::sender_key(sender_key.into()).into_owned();
    let metadata = body.get("metadata").unwrap_or(&Json::Null);
    let assistant = match record.facts.assistant {
        AssistantName::None => None,
        AssistantName::Given(name) => Some(clean(name)),
        AssistantName::FromMetadata => metadata.text("assistant_id"),
    };
    let assistant =
        assistant.filter(|name| !name.is_empty()).map(|name| text::sender_key(name.into()).into_owned());
    let sender = SenderId::new(assistant.as_deref(), &sender_key);

    let written = body.get("timestamp").unwrap_or(&Json::Null);
    let seconds = seconds(written, record.facts.time_unit);
    let time = seconds
        .and_then(EventTime::from_seconds)
        .or_else(|| record.time.and_then(EventTime::from_seconds))
        .ok_or(Reason::NoUsableTimestamp)?;

    let anonymised = match body.get("anonymized_at") {
        Some(Json::Text(at)) => Some(AnonymisedAt::Text(clean(at).into())),
        Some(other) if other.as_finite().is_some() => other.as_finite().map(AnonymisedAt::Seconds),
        _ if record.facts.anonymised => Some(AnonymisedAt::Unmarked),
        _ => None,
    };
    let message_id = body
        .text("message_id")
        .or_else(|| body.get("parse_data").and_then(|parse_data| parse_data.text("message_id")));
    let identified_by_key = event_type == "user" && message_id.is_some() && event_id.is_none();
    let set = |environment: &String| environment != "RASA_ENVIRONMENT_NOT_SET";
    let environment = record.environment.map(clean).filter(set);
    Ok(Some(Event {
        id: match &event_id {
            Some(id) => {
                let written = written.canonical();
                let time = seconds.map_or(WrittenTime::Other(&written), WrittenTime::Number);
                let identity = EventIdentity::with_id(sender, time, id);
                anonymised.as_ref().map_or_else(|| identity.id(), |mark| identity.anonymised(mark))
            }
            None => identity(
                sender,
                &event_type,
                (seconds, written),
                message_id.as_deref(),
                &body,
                anonymised.as_ref(),
            ),
        },
        sender,
        sender_key: sender_key.into(),
        assistant: owned(assistant),
        time,
        tie: sequence.or(record.row).map(i128::from),
        model_id: owned(metadata.text("model_id")),
        environment: owned(environment.or_else(|| metadata.text("rasa_environment").filter(set))),
        user_key: body
            .text("user_id")
            .filter(|key| !key.is_empty())
            .map(|key| text::sender_key(key.into()).into_owned().into()),
        session: SessionRule::Rasa { session_id: session_id(settings.session_id, metadata) },
        anonymised,
        identified_by_key,
        ordinal: 0,
        counted: true,
        details: details(&event_type, &body, metadata).map(Box::new),
        body: event_body(settings, &event_type, &body, metadata),
        event_type: event_type.into(),
    }))
}

fn owned(text: Option<String>) -> Option<Cow<'static, str>> {
    text.map(Cow::Owned)
}

/// Returns a number as it was written.
fn number_as_written(json: &Json) -> Option<String> {
    match json {
        Json::Number(written) => Some(written.clone()),
        _ => None,
    }
}

/// Returns the timestamp in seconds, if it is a finite number or a text of one.
fn seconds(written: &Json, unit: TimeUnit) -> Option<f64> {
    let number = match written {
        Json::Text(text) => match json::parse(text) {
            Some(number @ Json::Number(_)) if !text.contains([' ', '\t', '\n', '\r']) => number.as_finite(),
            _ => None,
        },
        other => other.as_finite(),
    };
    number.map(|number| match unit {
        TimeUnit::Seconds => number,
        TimeUnit::Milliseconds => number / 1_000.0,
        TimeUnit::Microseconds => number / 1_000_000.0,
    })
}

fn identity(
    sender: SenderId,
    event_type: &str,
    (seconds, written): (Option<f64>, &Json),
    message_id: Option<&str>,
    body: &Json,
    anonymised: Option<&AnonymisedAt<'_>>,
) -> turnmill_model::EventId {
    let canonical_time = written.canonical();
    let time = match seconds {
        Some(seconds) => WrittenTime::Number(seconds),
        None => WrittenTime::Other(&canonical_time),
    };
    let parts = ["name", "flow_id", "step_id", "action_text", "policy", "update"].map(|key| body.text(key));
    let [name, flow_id, step_id, action_text, policy, update] = parts.each_ref().map(Option::as_deref);
    let utter_action = body.get("metadata").and_then(|metadata| metadata.text("utter_action"));
    let intent =
        body.get("parse_data").and_then(|data| data.get("intent")).and_then(|intent| intent.text("name"));
    let present = |key: &str| body.get(key).filter(|json| **json != Json::Null).map(Json::canonical);
    let others =
        ["agent_id", "tool_name", "is_error", "error_code", "skill_id", "block_id", "key"].map(present);
    let [text, value, data] = ["text", "value", "data"].map(|key| body.get(key).map(Json::canonical));
    let identity = EventIdentity {
        sender,
        event_type,
        time,
        name,
        message_id,
        flow_id,
        step_id,
        utter_action: utter_action.as_deref(),
        action_text,
        policy,
        update,
        others: others.each_ref().map(Option::as_deref),
        text: text.as_deref(),
        value: value.as_deref(),
        data: data.as_deref(),
        intent: intent.as_deref(),
    };
    match anonymised {
        Some(mark) => identity.anonymised(mark),
        None => identity.id(),
    }
}

/// Returns the session id in the metadata, if the mode lets it count.
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
    let run = |status, id: &str| Body::Flow {
        status,
        flow_id: owned(body.text(id)),
        step_id: owned(body.text("step_id")),
    };
    let flow = |status| run(status, "flow_id");
    let skill = |status| run(status, "skill_id");
    let slot = |name: &str, value: &Json| {
        let written = match value {
            Json::Text(text) if settings.bare_slot_strings => clean(text),
            other => other.canonical(),
        };
        Body::Slot { name: owned(body.text(name)), value: written.into(), is_set: *value != Json::Null }
    };
    let agent = |status| Body::Agent {
        status,
        agent_id: owned(body.text("agent_id")),
        flow_id: owned(body.text("flow_id")),
    };
    let tool = |source: Option<String>| Body::Tool {
        name: owned(body.text("tool_name")),
        source: owned(source),
        is_error: match body.get("is_error") {
            Some(Json::Bool(is_error)) => Some(*is_error),
            _ => None,
        },
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
        "slot" => slot("name", body.get("value").unwrap_or(&Json::Null)),
        "memory_set" => match body.text("value_json") {
            Some(text) => {
                let parsed = json::parse(&text).filter(|parsed| !parsed.too_deep());
                slot("key", &parsed.unwrap_or(Json::Text(text)))
            }
            None => slot("key", body.get("value").unwrap_or(&Json::Null)),
        },
        "memory_cleared" => slot("key", &Json::Null),
        "skill_activated" => skill(FlowStatus::Started),
        "skill_completed" => skill(FlowStatus::Completed),
        "skill_interrupted" => skill(FlowStatus::Interrupted),
        "skill_resumed" => skill(FlowStatus::Resumed),
        "skill_cancelled" => skill(FlowStatus::Cancelled),
        "agent_started" | "agent_resumed" => agent(AgentStatus::Called),
        "agent_completed" => agent(AgentStatus::Completed),
        "agent_cancelled" => agent(AgentStatus::Cancelled),
        "mcp_tool_executed" => tool(Some("mcp".to_owned())),
        "tool_executed" => tool(body.text("source")),
        "unsupported_request_classified" => Body::Unsupported,
        "stack" => Body::Stack { update: owned(body.text("update")) },
        "flow_started" => flow(FlowStatus::Started),
        "flow_completed" => flow(FlowStatus::Completed),
        "flow_interrupted" => flow(FlowStatus::Interrupted),
        "flow_resumed" => flow(FlowStatus::Resumed),
        "flow_cancelled" => flow(FlowStatus::Cancelled),
        "session_started" => Body::SessionStarted,
        "session_ended" => Body::SessionEnded,
        "restart" => Body::Restart,
        "routing_session_ended" => Body::RoutingSessionEnded,
        "active_loop" | "form" => Body::Form { name: owned(body.text("name")) },
        "action_execution_rejected" => Body::Rejected { name: owned(body.text("name")) },
        "pause" => Body::Pause,
        "resume" => Body::Resume,
        "inactive" => Body::Inactive,
        _ => Body::Other,
    }
}

/// Returns what an event of an assistant with flows says beside its body, if it says something.
fn details(event_type: &str, body: &Json, metadata: &Json) -> Option<Details<'static>> {
    let mut details = Details::default();
    match event_type {
        "slot" => details.filled_by = owned(body.text("filled_by")),
        "bot" => {
            let source = metadata.text("utter_source").or_else(|| metadata.text("mantle_response_source"));
            details.generated_by = owned(source);
        }
        "agent_completed" => {
            details.reason = owned(body.text("status").filter(|status| status != "completed"));
        }
        "agent_cancelled" => details.reason = owned(body.text("reason")),
        "session_ended" => details.reason = owned(metadata.text("_reason")),
        _ => {}
    }
    if event_type == "action" {
        details.has_failed = metadata.get("execution_success") == Some(&Json::Bool(false));
    }
    if event_type == "action" || event_type == "bot_turn_ended" {
        details.processing = metadata.get("execution_times").and_then(processing);
    }
    if event_type == "flow_started" || event_type == "skill_activated" {
        details.frame_id = owned(metadata.text("frame_id"));
        details.frame_type = owned(metadata.text("frame_type"));
        details.reason = owned(metadata.text("reason").or_else(|| metadata.text("error_type")));
    }
    let skills = ["activated", "completed", "cancelled", "interrupted", "resumed"];
    details.is_skill = skills.iter().any(|skill| event_type == format!("skill_{skill}"));
    (!details.is_empty()).then_some(details)
}

/// Returns the processing time in an object of milliseconds.
fn processing(times: &Json) -> Option<Processing<'static>> {
    let Json::Object(members) = times else { return None };
    let total = times.finite("rasa_processing_ms").filter(|ms| *ms >= 0.0 && *ms <= 1e9)?;
    let mut numbers: Vec<(String, String)> = Vec::new();
    for (name, value) in members {
        let name = clean(name);
        numbers.retain(|(other, _)| *other != name);
        if let Json::Number(_) = value {
            numbers.push((name, value.canonical()));
        }
    }
    numbers.retain(|(name, _)| name != "rasa_processing_ms");
    numbers.sort();
    let mut members: Vec<String> = numbers
        .into_iter()
        .map(|(name, number)| format!("{}: {number}", Json::Text(name).canonical()))
        .collect();
    let whole = |members: &[String]| format!("{{{}}}", members.join(", "));
    while whole(&members).chars().count() > text::LONG {
        members.pop();
    }
    let parts = (!members.is_empty()).then(|| whole(&members).into());
    // Half goes to the even one.
    let micros = total * 1_000.0;
    let (below, rest) = (micros.floor(), micros - micros.floor());
    let up = rest > 0.5 || (rest == 0.5 && below % 2.0 == 1.0);
    Some(Processing { total_us: below as i64 + i64::from(up), parts })
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
        intent_ranking: owned(objects(parse_data, "intent_ranking", 5, &|ranked| {
            let null = || "null".to_owned();
            let name = ranked.text("name").map(|name| Json::Text(name).canonical());
            let confidence = ranked.get("confidence").filter(|json| matches!(json, Json::Number(_)));
            let confidence = confidence.map(Json::canonical);
            vec![("name", name.unwrap_or_else(null)), ("confidence", confidence.unwrap_or_else(null))]
        })),
        entities: owned(objects(parse_data, "entities", usize::MAX, &|entity| {
            let keys = ["entity", "value", "start", "end", "role", "group", "extractor", "confidence_entity"];
            keys.into_iter().filter_map(|key| Some((key, entity.get(key)?.canonical()))).collect()
        })),
    }
}

/// Writes the first objects of a list as JSON, each with the members that `members` gives, as many
/// whole ones as the column holds. Returns `None` if that is none.
fn objects(
    parent: &Json,
    key: &str,
    limit: usize,
    members: &dyn Fn(&Json) -> Vec<(&'static str, String)>,
) -> Option<String> {
    let Some(Json::List(elements)) = parent.get(key) else { return None };
    let mut written: Vec<String> = Vec::new();
    for element in elements.iter().filter(|element| matches!(element, Json::Object(_))).take(limit) {
        let members: Vec<String> =
            members(element).iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        written.push(format!("{{{}}}", members.join(", ")));
    }
    let whole = |written: &[String]| format!("[{}]", written.join(", "));
    while whole(&written).chars().count() > text::LONG {
        written.pop();
    }
    (!written.is_empty()).then(|| whole(&written))
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
