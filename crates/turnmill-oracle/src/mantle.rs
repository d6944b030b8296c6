//! The shape in which Rasa's engine Mantle publishes events, turned into the flat shape.

use turnmill_model::Reason;

use crate::json::{self, Json};

/// An event in the flat shape, and what only Mantle's shape has.
pub(crate) struct Flat {
    pub(crate) body: Json,
    /// The event's own id.
    pub(crate) event_id: Option<String>,
    /// Its number in the conversation.
    pub(crate) sequence: Option<i64>,
}

/// Returns the event in the flat shape. A body in that shape stays as it is.
pub(crate) fn flat(body: Json) -> Result<Flat, Reason> {
    if body.get("event").is_some() || body.get("conversation_id").is_none() {
        return Ok(Flat { body, event_id: None, sequence: None });
    }
    let Json::Object(members) = &body else { return Err(Reason::NoEventType) };
    let of_envelope = |name: &str| {
        ["conversation_id", "timestamp", "event_id", "sequence", "user_id", "session_id", "metadata"]
            .contains(&name)
            || name == "deployment_environment"
    };
    let mut payloads = members
        .iter()
        .filter(|(name, value)| !of_envelope(name) && matches!(value, Json::Object(_)))
        .map(|(name, value)| (name.clone(), value.clone()));
    let (Some((name, Json::Object(payload))), None) = (payloads.next(), payloads.next()) else {
        return Err(Reason::NoEventType);
    };

    let mut metadata = match body.text("metadata").and_then(|text| json::parse(&text)) {
        Some(Json::Object(metadata)) if !Json::Object(metadata.clone()).too_deep() => metadata,
        _ => Vec::new(),
    };
    if let Some(id) = body.get("session_id").filter(|id| **id != Json::Null) {
        set(&mut metadata, "session_id", id.clone());
    }
    let environment = body.text("deployment_environment").filter(|name| name != "RASA_ENVIRONMENT_NOT_SET");
    if let Some(environment) = environment {
        set(&mut metadata, "rasa_environment", Json::Text(environment));
    }

    let mut flat = payload;
    set(&mut flat, "event", Json::Text(name));
    set(&mut flat, "metadata", Json::Object(metadata));
    for (key, from) in [("sender_id", "conversation_id"), ("timestamp", "timestamp"), ("user_id", "user_id")]
    {
        set(&mut flat, key, body.get(from).cloned().unwrap_or(Json::Null));
    }
    let sequence = body
        .finite("sequence")
        .filter(|number| number.trunc() == *number && number.abs() < 9_007_199_254_740_992.0);
    Ok(Flat {
        body: Json::Object(flat),
        event_id: body.text("event_id").filter(|id| !id.is_empty()),
        sequence: sequence.map(|number| number as i64),
    })
}

fn set(members: &mut Vec<(String, Json)>, key: &str, value: Json) {
    members.retain(|(name, _)| name != key);
    members.push((key.to_owned(), value));
}
