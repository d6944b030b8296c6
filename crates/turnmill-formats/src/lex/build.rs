//! Makes an [`Event`] of a log object.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use turnmill_model::json::{Node, Raw, canonical};
use turnmill_model::text::{cut, sender_key};
use turnmill_model::{
    Answer, AssistantName, Body, Event, EventId, EventTime, Exchange, ExchangeFacts, IdentityDigest,
    NextStep, Reason, Record, Refused, SenderId, SessionRule, StateValue, UserMessage,
};

use super::fields::{at, boolean, number, text, value_text};
use super::{LexDecoder, canonical as identity, time};

/// Keys with this prefix are the service's own.
const SERVICE: &str = "x-amz-lex:";
/// Keys, in lower case, under which generative intents give their answers.
const ANSWERS: [&str; 3] = [
    "x-amz-lex:bedrock-agent-search-response",
    "x-amz-lex:q-in-connect-response",
    "x-amz-lex:qna-search-response",
];
/// Longest text of an intent ranking.
const RANKED: usize = 5;

/// Returns the event of the log object `root`.
pub(super) fn event<'a>(
    decoder: &LexDecoder,
    record: &Record<'a>,
    root: Node<'_, 'a>,
) -> Result<Event<'a>, Refused> {
    let get = |path: &[&str]| text(at(root, path));
    let session_id = get(&["sessionId"])
        .ok_or_else(|| Refused::new(Reason::NoSessionId, "`sessionId` is missing or empty"))?;
    let time = usable_time(record, root)?;
    let bot = |key: &str, flat: &str| get(&["bot", key]).or_else(|| get(&[flat]));
    let (bot_id, bot_name) = (bot("id", "botId"), bot("name", "botName"));
    let (alias_id, alias_name) = (bot("aliasId", "botAliasId"), bot("aliasName", "botAliasName"));
    let (version, locale) = (bot("version", "botVersion"), bot("localeId", "localeId"));
    let request_id = get(&["requestId"]);
    let originating = get(&["sessionState", "originatingRequestId"]);
    let reason = get(&["responseReason"]);

    let assistant = match record.facts.assistant {
        AssistantName::Given(name) if !name.is_empty() => Some(sender_key(turnmill_model::json::clean(name))),
        AssistantName::Given(_) | AssistantName::None | AssistantName::FromMetadata => None,
    };
    let key = sender_key(session_id.clone());
    let sender = SenderId::of_format("lex", assistant.as_deref(), &key);
    let mut content = Vec::with_capacity(record.payload.len());
    identity::write(root, &mut content);
    let hash: [u8; 32] = Sha256::digest(&content).into();
    let bot_key = bot_id.as_deref().or(bot_name.as_deref());
    let session_key = originating.as_deref().map(|originating| {
        let digest = IdentityDigest::new("lex session").optional(bot_key).text(&session_id).text(originating);
        digest.uuid(None)
    });
    let alias_key = alias_id.as_deref().or(alias_name.as_deref());
    let conversation = IdentityDigest::new("lex conversation")
        .optional(bot_key)
        .optional(alias_key)
        .optional(locale.as_deref())
        .text(&session_id);
    let session = SessionRule::Conversation {
        conversation: conversation.uuid(None),
        key: session_key,
        gap: f64::from(decoder.settings.session_gap),
    };
    let model_id = match (bot_key, version.as_deref()) {
        (Some(bot), Some(version)) => Some(Cow::Owned(format!("{bot}:{version}"))),
        (Some(bot), None) => Some(Cow::Owned(bot.to_owned())),
        (None, _) => None,
    };
    let is_first = originating.is_some() && originating == request_id && is_utterance(reason.as_deref());
    let mut exchange = exchange(decoder, root, reason.as_deref(), is_first);
    if let Some(message) = &mut exchange.message {
        message.message_id.clone_from(&request_id);
    }
    exchange.assistant = assistant.clone().or_else(|| bot_name.clone()).or_else(|| bot_id.clone());
    exchange.locale = locale.map(|locale| Cow::Owned(locale.replace('_', "-")));
    exchange.is_test = version.as_deref() == Some("DRAFT")
        && (alias_name.as_deref() == Some("TestBotAlias") || alias_id.as_deref() == Some("TSTALIASID"));
    exchange.facts.operation = get(&["operationName"]);
    let tie = tie(reason.as_deref(), request_id.as_deref(), &hash);
    let id = event_id(sender, time, &hash);
    Ok(Event {
        assistant,
        tie: Some(tie),
        model_id,
        environment: alias_name.or(alias_id),
        user_key: user_key(decoder, root),
        body: Body::Exchange(Box::new(exchange)),
        ..Event::new(id, sender, key, time, "exchange", session)
    })
}

/// Returns the record's own time if it is usable, else that of its envelope.
fn usable_time(record: &Record<'_>, root: Node<'_, '_>) -> Result<EventTime, Refused> {
    let written = root.get("timestamp").map(Node::raw);
    let of_envelope = || record.time.and_then(EventTime::from_seconds);
    written.and_then(time::of_json).or_else(of_envelope).ok_or_else(|| {
        let written = written.map_or("missing", Raw::as_str);
        let detail = format!("`timestamp` is {}, and the envelope has no usable time", cut(written, 40));
        Refused::new(Reason::NoUsableTimestamp, detail)
    })
}

/// Returns the id of a record: sender, time and content identify it.
fn event_id(sender: SenderId, time: EventTime, hash: &[u8; 32]) -> EventId {
    let micros = u64::try_from(time.micros()).unwrap_or_default();
    let key = IdentityDigest::new("lex").bytes(sender.0.as_bytes()).number(micros).bytes(hash);
    EventId::of(Some(time), &key, Some(&IdentityDigest::new("lex content").bytes(hash)))
}

/// Orders records of one time: by rank of the reason, then request id, then content.
fn tie(reason: Option<&str>, request_id: Option<&str>, hash: &[u8; 32]) -> i128 {
    let rank: i128 = match reason {
        Some("FulfillmentInitiated") => 1,
        Some("FulfillmentStartedResponse") => 2,
        Some("FulfillmentUpdateResponse" | "StillWaitingResponse") => 3,
        Some("FulfillmentCompletedResponse") => 4,
        _ => 0,
    };
    let first_eight = |bytes: &[u8]| {
        (0..8).fold(0_u64, |number, index| {
            number << 8 | u64::from(bytes.get(index).copied().unwrap_or_default())
        })
    };
    // The digits of a UUID order as its bytes do, and half of them are enough.
    let request = request_id.unwrap_or_default();
    let of_uuid = uuid::Uuid::try_parse(request).ok().filter(|_| request.len() == 36);
    let request =
        of_uuid.map_or_else(|| first_eight(request.as_bytes()), |uuid| first_eight(uuid.as_bytes()));
    rank << 124 | i128::from(request) << 60 | i128::from(first_eight(hash) >> 4)
}

/// Returns the value of the attribute that names the end user.
fn user_key<'a>(decoder: &LexDecoder, root: Node<'_, 'a>) -> Option<Cow<'a, str>> {
    let name = decoder.settings.user_attribute.as_deref()?;
    let maps = [at(root, &["sessionState", "sessionAttributes"]), root.get("requestAttributes")];
    let mut values = maps.into_iter().flatten().filter_map(|map| text(map.get(name)));
    values.find(|value| value != "[secret]").map(sender_key)
}

fn is_utterance(reason: Option<&str>) -> bool {
    reason.is_none_or(|reason| reason == "UtteranceResponse")
}

fn exchange<'a>(
    decoder: &LexDecoder,
    root: Node<'_, 'a>,
    reason: Option<&str>,
    begins_session: bool,
) -> Exchange<'a> {
    let get = |path: &[&str]| text(at(root, path));
    let state = root.get("sessionState");
    let intent = state.and_then(|state| state.get("intent")).filter(|intent| intent.raw().is_object());
    let intent_name = text(intent.and_then(|intent| intent.get("name")));
    let action = at(root, &["sessionState", "dialogAction"]);
    let action_type = text(action.and_then(|action| action.get("type")));
    let slot_asked = action.and_then(slot_asked);
    let attributes =
        state.and_then(|state| state.get("sessionAttributes")).filter(|map| map.raw().is_object());
    let requests = root.get("requestAttributes").filter(|map| map.raw().is_object());
    let is_missed = boolean(root.get("missedUtterance"));
    let interpretations: Vec<Node<'_, 'a>> =
        root.get("interpretations").into_iter().flat_map(Node::items).collect();
    let transcript = get(&["inputTranscript"]);
    let has_input = transcript.is_some() || is_missed == Some(true);
    let is_user =
        is_utterance(reason) && get(&["operationName"]).as_deref() != Some("PutSession") && has_input;
    let next_step = match action_type.as_deref() {
        None | Some("Delegate") => NextStep::Unsaid,
        Some("ElicitSlot") => NextStep::AskSlot,
        Some("ConfirmIntent") => NextStep::Confirm,
        Some("Close") => NextStep::Close,
        Some(_) => NextStep::Other,
    };
    let message = is_user.then(|| {
        let first = interpretations.first().copied().and_then(interpreted);
        let intent = intent_name.clone().or(first);
        let of_intent = |node: &&Node<'_, 'a>| intent.is_some() && interpreted(**node) == intent;
        let confidence = interpretations.iter().find(of_intent).and_then(|node| confidence(*node));
        UserMessage {
            text: transcript.clone(),
            confidence,
            input_channel: Some(channel(decoder, root, attributes, requests)),
            intent,
            ..UserMessage::default()
        }
    });
    Exchange {
        source_system: "lex",
        policy: "lex_v2",
        begins_session,
        is_fallback: matches!(intent_name.as_deref(), Some("FallbackIntent" | "AMAZON.FallbackIntent")),
        slots: intent
            .and_then(|intent| intent.get("slots"))
            .filter(|slots| slots.raw().is_object() && intent_name.is_some())
            .map(|slots| slot_values(decoder, slots)),
        attributes: attributes.map(|map| attribute_values(decoder, map)),
        actions: steps(root),
        response: response(action_type.as_deref(), intent_name.as_deref(), slot_asked.as_deref()),
        messages: messages(root),
        answers: answers(attributes, requests),
        tells_session: attributes.is_some(),
        facts: facts(root, &interpretations, is_missed, transcript.as_deref(), action_type.clone()),
        message,
        next_step,
        slot_asked,
        intent: intent_name,
        ..Exchange::default()
    }
}

/// Returns the intent that an interpretation names.
fn interpreted<'a>(interpretation: Node<'_, 'a>) -> Option<Cow<'a, str>> {
    text(at(interpretation, &["intent", "name"]))
}

/// Returns the confidence of an interpretation: a text, a number, or an object with a score.
fn confidence(interpretation: Node<'_, '_>) -> Option<f64> {
    let written = interpretation.get("nluConfidence");
    number(written).or_else(|| number(written?.get("score")))
}

/// Returns the name of the slot that is asked for, with the names of its parts.
fn slot_asked<'a>(action: Node<'_, 'a>) -> Option<Cow<'a, str>> {
    let mut name = text(action.get("slotToElicit"))?;
    let mut part = action.get("subSlotToElicit");
    while let Some(node) = part {
        let Some(sub) = text(node.get("name")) else { break };
        let name = name.to_mut();
        name.push('.');
        name.push_str(&sub);
        part = node.get("subSlotToElicit");
    }
    Some(name)
}

fn channel<'a>(
    decoder: &LexDecoder,
    root: Node<'_, 'a>,
    attributes: Option<Node<'_, 'a>>,
    requests: Option<Node<'_, 'a>>,
) -> Cow<'a, str> {
    let platform = requests.and_then(|map| text(map.get("x-amz-lex:channels:platform")));
    let attribute = || attributes.and_then(|map| text(map.get("Channel")));
    let configured = || decoder.settings.channel.clone().filter(|name| !name.is_empty()).map(Cow::Owned);
    let streams = text(root.get("operationName")).as_deref() == Some("StartConversation");
    let default = if streams { "streaming" } else { "lex" };
    platform.or_else(attribute).or_else(configured).unwrap_or(Cow::Borrowed(default))
}

/// Returns the distinct entries of an object, of duplicate keys the last, by name.
fn distinct<'t, 'a>(object: Node<'t, 'a>) -> Vec<(Cow<'a, str>, Node<'t, 'a>)> {
    let mut entries: Vec<_> =
        object.entries().map(|(key, value)| (key.as_text().unwrap_or_default(), value)).collect();
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    // Keeps the last of equal names: later entries overwrite the one that is kept.
    entries.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 = later.1;
        }
        same
    });
    entries
}

/// Returns the values of a map of slots, those of their parts too, by name.
fn slot_values<'a>(decoder: &LexDecoder, slots: Node<'_, 'a>) -> Vec<StateValue<'a>> {
    let mut values = Vec::new();
    add_slots(decoder, slots, "", &mut values);
    values.sort_by(|one, other| one.name.cmp(&other.name));
    values
}

/// Recurses as deep as the tree.
fn add_slots<'a>(decoder: &LexDecoder, slots: Node<'_, 'a>, outer: &str, out: &mut Vec<StateValue<'a>>) {
    for (name, slot) in distinct(slots) {
        let name = if outer.is_empty() { name } else { Cow::Owned(format!("{outer}.{name}")) };
        if let Some(parts) = slot.get("subSlots") {
            add_slots(decoder, parts, &name, out);
        }
        let original = at(slot, &["value", "originalValue"]).and_then(value_text);
        let value = slot_value(decoder, slot);
        let original = original.filter(|_| value != "null");
        out.push(StateValue { name, value, original, hands_over: false });
    }
}

/// Returns a slot's value as JSON text.
fn slot_value<'a>(decoder: &LexDecoder, slot: Node<'_, 'a>) -> Cow<'a, str> {
    let is_list = text(slot.get("shape")).as_deref() == Some("List");
    if let Some(values) = slot.get("values").filter(|values| values.raw().is_list())
        && (is_list
            || (slot.get("value").is_none_or(|value| value.raw().is_null())
                && values.items().next().is_some()))
    {
        let values: Vec<String> = values
            .items()
            .map(|value| single_value(value).map_or_else(|| "null".to_owned(), |text| json_text(&text)))
            .collect();
        return Cow::Owned(format!("[{}]", values.join(", ")));
    }
    match single_value(slot) {
        Some(text) if decoder.bare_strings => text,
        Some(text) => Cow::Owned(json_text(&text)),
        None => Cow::Borrowed("null"),
    }
}

/// Returns the value of a slot: the one that Lex chose, else the one that the user said.
fn single_value<'a>(slot: Node<'_, 'a>) -> Option<Cow<'a, str>> {
    let value = slot.get("value")?;
    let field = |key: &str| value.get(key).and_then(value_text);
    field("interpretedValue").or_else(|| field("originalValue"))
}

/// Spells a text as JSON, as slot values are spelled.
fn json_text(text: &str) -> String {
    let plain = serde_json::Value::from(text).to_string();
    match Raw::parse(&plain) {
        Ok(raw) => canonical(raw).into_owned(),
        Err(_) => plain,
    }
}

/// Returns the session attributes by name, without the service's own.
fn attribute_values<'a>(decoder: &LexDecoder, map: Node<'_, 'a>) -> Vec<StateValue<'a>> {
    let rule = decoder.settings.handover_attribute.as_deref();
    let mut values = Vec::new();
    for (key, value) in distinct(map) {
        if key.to_ascii_lowercase().starts_with(SERVICE) {
            continue;
        }
        let Some(text) = value_text(value) else { continue };
        let hands_over = rule.is_some_and(|rule| hands_over(rule, &key, &text));
        let json = if decoder.bare_strings { text.clone() } else { Cow::Owned(json_text(&text)) };
        let name = Cow::Owned(format!("session_attribute.{key}"));
        values.push(StateValue { name, value: json, original: Some(text), hands_over });
    }
    values
}

/// Returns whether setting an attribute to `value` hands the conversation over.
fn hands_over(rule: &str, key: &str, value: &str) -> bool {
    match rule.split_once('=') {
        Some((name, wanted)) => name == key && wanted == value,
        None => rule == key && !matches!(value, "" | "false" | "0"),
    }
}

fn answers<'a>(attributes: Option<Node<'_, 'a>>, requests: Option<Node<'_, 'a>>) -> Vec<Answer<'a>> {
    let find = |map: Option<Node<'_, 'a>>, wanted: &str| {
        let map = map?;
        let entry = map.entries().filter(|(key, _)| key.as_key().eq_ignore_ascii_case(wanted)).last();
        entry.and_then(|(_, value)| value_text(value))
    };
    ANSWERS
        .into_iter()
        .map(|key| Answer {
            key: Cow::Borrowed(key),
            request: find(requests, key),
            session: find(attributes, key),
        })
        .filter(|answer| answer.request.is_some() || answer.session.is_some())
        .collect()
}

/// Returns the names of the steps and hooks of the dialog.
fn steps<'a>(root: Node<'_, 'a>) -> Vec<Cow<'a, str>> {
    let mut names = Vec::new();
    for step in root.get("dialogEventLogs").into_iter().flat_map(Node::items) {
        for (key, kind) in [("dialogStepLabel", "lex_step"), ("dialogCodeHookInvocationLabel", "lex_hook")] {
            if let Some(label) = text(step.get(key)) {
                names.push(Cow::Owned(format!("{kind}/{label}")));
            }
        }
    }
    names
}

/// Returns the name of the response action.
fn response<'a>(action: Option<&str>, intent: Option<&str>, slot: Option<&str>) -> Cow<'a, str> {
    let with = |name: &str, parts: [Option<&str>; 2]| {
        let parts = parts.into_iter().flatten();
        Cow::Owned(parts.fold(name.to_owned(), |name, part| name + "/" + part))
    };
    match action {
        None | Some("None") => Cow::Borrowed("lex_none"),
        Some("ElicitSlot") => with("lex_elicit_slot", [intent, slot]),
        Some("ConfirmIntent") => with("lex_confirm_intent", [intent, None]),
        Some("Close") => with("lex_close", [intent, None]),
        Some(other) => Cow::Owned(snake_case(other)),
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::from("lex");
    for character in name.chars() {
        if character.is_uppercase() || snake.len() == 3 {
            snake.push('_');
        }
        snake.extend(character.to_lowercase());
    }
    snake
}

/// Returns the texts of the bot's messages.
fn messages<'a>(root: Node<'_, 'a>) -> Vec<Option<Cow<'a, str>>> {
    let items = root.get("messages").into_iter().flat_map(Node::items);
    items.filter(|item| item.raw().is_object()).map(message).collect()
}

fn message<'a>(message: Node<'_, 'a>) -> Option<Cow<'a, str>> {
    let content = text(message.get("content"));
    match text(message.get("contentType")).as_deref() {
        Some("SSML") => content.map(|ssml| plain(&ssml)).filter(|text| !text.is_empty()).map(Cow::Owned),
        Some("ImageResponseCard") => {
            let card = message.get("imageResponseCard");
            let field = |key: &str| text(card.and_then(|card| card.get(key)));
            match (field("title"), field("subtitle")) {
                (Some(title), Some(subtitle)) => Some(Cow::Owned(format!("{title}\n{subtitle}"))),
                (title, subtitle) => title.or(subtitle).or(content),
            }
        }
        _ => content,
    }
}

/// Returns the text of SSML: tags become spaces, entities what they stand for, and white space one
/// space.
fn plain(ssml: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(ssml.len()), ssml);
    while let Some(at) = rest.find(['<', '&']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let end = from.find(if from.starts_with('<') { '>' } else { ';' });
        let taken = match end {
            Some(end) if from.starts_with('<') => {
                out.push(' ');
                end + 1
            }
            Some(end) => match from.get(1..end).and_then(entity) {
                Some(character) => {
                    out.push(character);
                    end + 1
                }
                None => {
                    out.push('&');
                    1
                }
            },
            None => {
                out.push_str(from);
                from.len()
            }
        };
        rest = from.get(taken..).unwrap_or_default();
    }
    out.push_str(rest);
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the character that an entity stands for.
fn entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code).filter(|character| *character != '\0')?
        }
    })
}

fn facts<'a>(
    root: Node<'_, 'a>,
    interpretations: &[Node<'_, 'a>],
    is_missed: Option<bool>,
    transcript: Option<&str>,
    dialog_action: Option<Cow<'a, str>>,
) -> ExchangeFacts<'a> {
    let get = |path: &[&str]| text(at(root, path));
    let first = interpretations.first().copied();
    let of_first = |path: &[&str]| first.and_then(|first| at(first, path));
    let score = |key: &str| number(of_first(&["sentimentResponse", "sentimentScore", key]));
    let transcription = root.get("transcriptions").and_then(|list| list.items().next());
    ExchangeFacts {
        input_mode: get(&["inputMode"]),
        is_missed,
        nlu_intent: first.and_then(interpreted),
        intent_ranking: ranking(interpretations).map(Cow::Owned),
        sentiment_label: text(of_first(&["sentimentResponse", "sentiment"])),
        sentiment: ["positive", "negative", "neutral", "mixed"].map(score),
        intent_state: get(&["sessionState", "intent", "state"]),
        confirmation_state: get(&["sessionState", "intent", "confirmationState"]),
        dialog_action,
        response_reason: get(&["responseReason"]),
        operation: None,
        interpretation_source: text(of_first(&["interpretationSource"]))
            .or_else(|| get(&["interpretationSource"])),
        transcription_confidence: number(
            transcription.and_then(|first| first.get("transcriptionConfidence")),
        ),
        raw_text: get(&["rawInputTranscript"]).filter(|raw| Some(&**raw) != transcript),
    }
}

/// Returns the first intents with their confidence as JSON.
fn ranking(interpretations: &[Node<'_, '_>]) -> Option<String> {
    let mut out = String::new();
    let named = interpretations.iter().filter_map(|node| Some((interpreted(*node)?, *node)));
    for (name, node) in named.take(RANKED) {
        out.push_str(if out.is_empty() { "[" } else { ", " });
        // Writing to a string cannot fail.
        let _ = write!(out, r#"{{"name": {}, "confidence": "#, json_text(&name));
        match confidence_text(node) {
            Some(number) => out.push_str(&number),
            None => out.push_str("null"),
        }
        out.push('}');
    }
    (!out.is_empty()).then(|| out + "]")
}

/// Returns the confidence as a JSON number.
fn confidence_text(node: Node<'_, '_>) -> Option<String> {
    serde_json::Number::from_f64(confidence(node)?).map(|number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssml_becomes_text() {
        for (ssml, text) in [
            ("<speak>Hi <break time=\"1s\"/>you &amp; me</speak>", "Hi you & me"),
            ("a &lt; b &#65;&#x42; &unknown; & c", "a < b AB &unknown; & c"),
            ("<speak></speak>", ""),
            ("open <tag", "open <tag"),
        ] {
            assert_eq!(plain(ssml), text, "{ssml}");
        }
    }

    #[test]
    fn texts_are_spelled_as_json() {
        for text in ["", "a\"b\\c\n\u{1}ü", "{x}"] {
            assert!(Raw::parse(&json_text(text)).is_ok(), "{text}");
        }
        assert_eq!(json_text("Køln\n"), "\"Køln\\n\"");
    }

    #[test]
    fn ties_order_by_reason_request_and_content() {
        let hash = |first: u8| [first; 32];
        let ties = [
            tie(None, None, &hash(9)),
            tie(Some("UtteranceResponse"), Some("1f283bf7-c81a-4d43-ad3f-2d1e2d026379"), &hash(1)),
            tie(Some("UtteranceResponse"), Some("1f283bf7-c81a-4d43-ad3f-2d1e2d026379"), &hash(2)),
            tie(None, Some("2f283bf7-c81a-4d43-ad3f-2d1e2d026379"), &hash(0)),
            tie(Some("FulfillmentInitiated"), None, &hash(0)),
            tie(Some("FulfillmentStartedResponse"), None, &hash(0)),
            tie(Some("StillWaitingResponse"), None, &hash(0)),
            tie(Some("FulfillmentUpdateResponse"), None, &hash(1)),
            tie(Some("FulfillmentCompletedResponse"), None, &hash(0)),
        ];
        assert!(ties.is_sorted(), "{ties:?}");
        assert!(ties.iter().all(|tie| *tie >= 0));
    }

    #[test]
    fn other_actions_are_named_in_snake_case() {
        assert_eq!(response(Some("ElicitIntent"), Some("a"), None), "lex_elicit_intent");
        assert_eq!(response(Some("Delegate"), None, None), "lex_delegate");
        assert_eq!(response(Some("ElicitSlot"), None, Some("city")), "lex_elicit_slot/city");
        assert_eq!(response(Some("ElicitSlot"), Some("Book"), Some("city")), "lex_elicit_slot/Book/city");
    }
}
