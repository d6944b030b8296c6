//! One log object, field by field.

use std::collections::BTreeMap;

use turnmill_model::{EventId, EventTime, IdentityDigest, Reason, Record, SenderId};
use uuid::Uuid;

use super::{key, refusal, sender_of};
use crate::json::{Json, clean, parse};

/// A value of a slot or attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    /// As JSON.
    pub(crate) value: String,
    /// Without quotes if it is a text.
    pub(crate) bare: String,
    pub(crate) original: Option<String>,
}

impl Held {
    fn null() -> Self {
        Self { value: "null".into(), bare: "null".into(), original: None }
    }

    fn text(text: &str, original: Option<String>) -> Self {
        Self { value: Json::Text(text.into()).canonical(), bare: text.into(), original }
    }
}

/// Returns the values of `told` that differ from those of `held`, and the names that are gone.
pub(crate) fn differences(
    held: &BTreeMap<String, Held>,
    told: &BTreeMap<String, Held>,
) -> Vec<(String, Held)> {
    let names: std::collections::BTreeSet<&String> = held.keys().chain(told.keys()).collect();
    let get = |map: &BTreeMap<String, Held>, name: &String| map.get(name).cloned().unwrap_or_else(Held::null);
    let pairs = names.into_iter().map(|name| (name, get(held, name), get(told, name)));
    pairs.filter(|(_, before, now)| before != now).map(|(name, _, now)| (name.clone(), now)).collect()
}

#[derive(Clone, Debug)]
pub(crate) struct LogObject {
    pub(crate) json: Json,
    pub(crate) session_id: String,
    pub(crate) time: EventTime,
    hash: [u8; 32],
}

impl LogObject {
    pub(crate) fn read(record: &Record<'_>) -> Result<Self, Reason> {
        let text = std::str::from_utf8(record.payload).map_err(|_| Reason::NotUtf8)?;
        let json = parse(text).ok_or(Reason::NotJson)?;
        if let Some(reason) = refusal(&json) {
            return Err(reason);
        }
        let session_id = scalar(json.get("sessionId")).ok_or(Reason::NoSessionId)?;
        let time =
            written_time(json.get("timestamp")).or_else(|| record.time.and_then(EventTime::from_seconds));
        let time = time.ok_or(Reason::NoUsableTimestamp)?;
        let mut content = Vec::new();
        spell(&json, &mut content);
        Ok(Self { session_id, time, hash: sha256(&content), json })
    }

    /// Returns the time, the rank of the reason, the request id and the content, which order the
    /// objects of a sender.
    pub(crate) fn order(&self) -> (EventTime, u8, String, [u8; 32]) {
        let rank = match self.text("responseReason").as_deref() {
            Some("FulfillmentInitiated") => 1,
            Some("FulfillmentStartedResponse") => 2,
            Some("FulfillmentUpdateResponse" | "StillWaitingResponse") => 3,
            Some("FulfillmentCompletedResponse") => 4,
            _ => 0,
        };
        (self.time, rank, self.text("requestId").unwrap_or_default(), self.hash)
    }

    pub(crate) fn id(&self) -> EventId {
        let micros = self.time.micros() as u64;
        let id =
            IdentityDigest::new("lex").bytes(self.sender().0.as_bytes()).number(micros).bytes(&self.hash);
        EventId::of(Some(self.time), &id, Some(&IdentityDigest::new("lex content").bytes(&self.hash)))
    }

    pub(crate) fn sender(&self) -> SenderId {
        sender_of(&self.session_id)
    }

    fn bot(&self) -> Option<String> {
        self.text("bot.id").or_else(|| self.text("bot.name"))
    }

    pub(crate) fn session_key(&self) -> Option<Uuid> {
        let first = self.text("sessionState.originatingRequestId")?;
        Some(key("lex session", &[self.bot()], &[&self.session_id, &first]))
    }

    pub(crate) fn conversation(&self) -> [Option<String>; 3] {
        let alias = self.text("bot.aliasId").or_else(|| self.text("bot.aliasName"));
        [self.bot(), alias, self.text("bot.localeId")]
    }

    pub(crate) fn assistant(&self) -> Option<String> {
        self.text("bot.name").or_else(|| self.text("bot.id"))
    }

    pub(crate) fn model_id(&self) -> Option<String> {
        let bot = self.bot()?;
        Some(self.text("bot.version").map_or(bot.clone(), |version| format!("{bot}:{version}")))
    }

    pub(crate) fn environment(&self) -> Option<String> {
        self.text("bot.aliasName").or_else(|| self.text("bot.aliasId"))
    }

    /// Returns the value at a path of keys with points between them.
    pub(crate) fn at(&self, path: &str) -> Option<&Json> {
        path.split('.').try_fold(&self.json, |json, key| json.get(key))
    }

    pub(crate) fn text(&self, path: &str) -> Option<String> {
        scalar(self.at(path))
    }

    fn is_utterance(&self) -> bool {
        self.text("responseReason").is_none_or(|reason| reason == "UtteranceResponse")
    }

    pub(crate) fn is_first(&self) -> bool {
        let first = self.text("sessionState.originatingRequestId");
        first.is_some() && first == self.text("requestId") && self.is_utterance()
    }

    pub(crate) fn missed(&self) -> Option<bool> {
        match self.at("missedUtterance")? {
            Json::Bool(missed) => Some(*missed),
            other => match value_text(other)?.as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
        }
    }

    pub(crate) fn is_user(&self) -> bool {
        let said = self.text("inputTranscript").is_some() || self.missed() == Some(true);
        self.is_utterance() && said && self.text("operationName").as_deref() != Some("PutSession")
    }

    pub(crate) fn intent(&self) -> Option<String> {
        self.text("sessionState.intent.name")
    }

    pub(crate) fn interpretations(&self) -> Vec<&Json> {
        match self.at("interpretations") {
            Some(Json::List(items)) => items.iter().collect(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn user_intent(&self) -> Option<String> {
        self.intent().or_else(|| intent_of(self.interpretations().first()?))
    }

    pub(crate) fn user_confidence(&self) -> Option<f64> {
        let intent = self.user_intent()?;
        let of_it =
            self.interpretations().into_iter().find(|item| intent_of(item).as_ref() == Some(&intent))?;
        confidence(of_it)
    }

    pub(crate) fn action(&self) -> Option<String> {
        self.text("sessionState.dialogAction.type")
    }

    pub(crate) fn slot_asked(&self) -> Option<String> {
        let mut name = self.text("sessionState.dialogAction.slotToElicit")?;
        let mut part = self.at("sessionState.dialogAction.subSlotToElicit");
        while let Some(sub) = part.and_then(|part| scalar(part.get("name"))) {
            name = format!("{name}.{sub}");
            part = part.and_then(|part| part.get("subSlotToElicit"));
        }
        Some(name)
    }

    /// Returns what the object asks for: a slot or a confirmation of an intent.
    pub(crate) fn asks(&self) -> Option<(Option<String>, Option<String>)> {
        match self.action().as_deref() {
            Some("ElicitSlot") => self.slot_asked().map(|slot| (self.intent(), Some(slot))),
            Some("ConfirmIntent") => Some((self.intent(), None)),
            _ => None,
        }
    }

    pub(crate) fn channel(&self) -> String {
        let members = |path: &str| self.at(path).cloned();
        let platform =
            members("requestAttributes").and_then(|map| scalar(map.get("x-amz-lex:channels:platform")));
        let attribute =
            || members("sessionState.sessionAttributes").and_then(|map| scalar(map.get("Channel")));
        let streams = self.text("operationName").as_deref() == Some("StartConversation");
        platform.or_else(attribute).unwrap_or_else(|| if streams { "streaming" } else { "lex" }.into())
    }

    pub(crate) fn slots(&self) -> Option<BTreeMap<String, Held>> {
        self.intent()?;
        let Some(Json::Object(slots)) = self.at("sessionState.intent.slots") else { return None };
        let mut values = BTreeMap::new();
        add_slots(slots, "", &mut values);
        Some(values)
    }

    pub(crate) fn attributes(&self) -> Option<BTreeMap<String, Held>> {
        let Some(Json::Object(map)) = self.at("sessionState.sessionAttributes") else { return None };
        let own = map.iter().filter(|(key, _)| !key.to_ascii_lowercase().starts_with("x-amz-lex:"));
        let held = own.filter_map(|(key, value)| {
            let text = value_text(value)?;
            Some((format!("session_attribute.{}", clean(key)), Held::text(&text, Some(text.clone()))))
        });
        Some(held.collect())
    }

    pub(crate) fn steps(&self) -> Vec<String> {
        let Some(Json::List(steps)) = self.at("dialogEventLogs") else { return Vec::new() };
        let mut names = Vec::new();
        for step in steps {
            names.extend(scalar(step.get("dialogStepLabel")).map(|label| format!("lex_step/{label}")));
            names.extend(
                scalar(step.get("dialogCodeHookInvocationLabel")).map(|label| format!("lex_hook/{label}")),
            );
        }
        names
    }

    pub(crate) fn response(&self) -> String {
        let join = |parts: &[Option<String>]| -> String {
            parts.iter().flatten().cloned().collect::<Vec<_>>().join("/")
        };
        match self.action().as_deref() {
            None | Some("None") => "lex_none".into(),
            Some("ElicitSlot") => join(&[Some("lex_elicit_slot".into()), self.intent(), self.slot_asked()]),
            Some("ConfirmIntent") => join(&[Some("lex_confirm_intent".into()), self.intent()]),
            Some("Close") => join(&[Some("lex_close".into()), self.intent()]),
            Some("ElicitIntent") => "lex_elicit_intent".into(),
            Some("Delegate") => "lex_delegate".into(),
            Some(other) => format!("lex_{}", other.to_lowercase()),
        }
    }

    pub(crate) fn messages(&self) -> Vec<Option<String>> {
        let Some(Json::List(messages)) = self.at("messages") else { return Vec::new() };
        let objects = messages.iter().filter(|message| matches!(message, Json::Object(_)));
        objects.map(|message| scalar(message.get("content"))).collect()
    }

    /// Returns the value of an answer key among the request's attributes, and the session's.
    fn answer(&self, wanted: &str) -> [Option<String>; 2] {
        ["requestAttributes", "sessionState.sessionAttributes"].map(|path| match self.at(path) {
            Some(Json::Object(map)) => {
                let found = map.iter().rfind(|(key, _)| key.eq_ignore_ascii_case(wanted));
                found.and_then(|(_, value)| value_text(value))
            }
            _ => None,
        })
    }

    /// Returns the session's value of an answer key as of the last of these objects that tells it.
    fn told(objects: &[&LogObject], wanted: &str) -> Option<String> {
        let tells = |object: &&&LogObject| {
            matches!(object.at("sessionState.sessionAttributes"), Some(Json::Object(_)))
        };
        objects.iter().rev().find(tells).and_then(|object| object.answer(wanted)[1].clone())
    }

    /// Returns whether `value` is new in this object, which follows `before`.
    fn is_new(wanted: &str, value: &str, before: &[&LogObject]) -> bool {
        let request = before.last().and_then(|last| last.answer(wanted)[0].clone());
        let session = Self::told(before, wanted);
        ![request, session].into_iter().flatten().any(|known| known == value)
    }

    /// Returns the text of a new generated answer, and whether an answer was found.
    pub(crate) fn answered(&self, before: &[&LogObject]) -> (Option<String>, Option<bool>) {
        let (mut text, mut found) = (None, None);
        for wanted in [
            "x-amz-lex:bedrock-agent-search-response",
            "x-amz-lex:q-in-connect-response",
            "x-amz-lex:qna-search-response",
        ] {
            for (place, value) in self.answer(wanted).into_iter().enumerate() {
                let Some(value) = value else { continue };
                let new = Self::is_new(wanted, &value, before);
                let trimmed = value.trim();
                let nothing = trimmed.is_empty() || trimmed.eq_ignore_ascii_case("CANNOTANSWER");
                if trimmed == "..." {
                    continue;
                }
                if new && !nothing {
                    text = text.or_else(|| Some(value.clone()));
                }
                let had = Self::told(before, wanted).is_some_and(|had| !had.trim().is_empty());
                let cleared = trimmed.is_empty() && place == 1 && had;
                if !cleared && (new || self.stands(wanted, &value, before)) {
                    found = found.or(Some(!nothing));
                }
            }
        }
        (text, found)
    }

    /// Returns whether the value is the last one that was new, and came under this intent.
    fn stands(&self, wanted: &str, value: &str, before: &[&LogObject]) -> bool {
        let mut shown = None;
        for (at, object) in before.iter().enumerate() {
            for told in object.answer(wanted).into_iter().flatten() {
                if Self::is_new(wanted, &told, &before[..at]) {
                    shown = Some((told, object.intent()));
                }
            }
        }
        self.is_user() && shown == Some((value.to_owned(), self.intent()))
    }
}

/// Returns a text that is not empty, or a number or boolean as its text.
pub(crate) fn scalar(json: Option<&Json>) -> Option<String> {
    value_text(json?).filter(|text| !text.is_empty())
}

fn value_text(json: &Json) -> Option<String> {
    match json {
        Json::Text(text) => Some(clean(text)),
        Json::Number(number) => Some(number.clone()),
        Json::Bool(boolean) => Some(boolean.to_string()),
        _ => None,
    }
}

pub(crate) fn number(json: Option<&Json>) -> Option<f64> {
    let number: f64 = value_text(json?)?.trim().parse().ok()?;
    number.is_finite().then_some(if number == 0.0 { 0.0 } else { number })
}

pub(crate) fn intent_of(interpretation: &Json) -> Option<String> {
    scalar(interpretation.get("intent")?.get("name"))
}

pub(crate) fn confidence(interpretation: &Json) -> Option<f64> {
    let written = interpretation.get("nluConfidence")?;
    number(Some(written)).or_else(|| number(written.get("score")))
}

fn add_slots(slots: &[(String, Json)], outer: &str, out: &mut BTreeMap<String, Held>) {
    for (name, slot) in slots {
        let name = if outer.is_empty() { clean(name) } else { format!("{outer}.{}", clean(name)) };
        if let Some(Json::Object(parts)) = slot.get("subSlots") {
            add_slots(parts, &name, out);
        }
        let of = |slot: &Json, key: &str| value_text(slot.get("value")?.get(key)?);
        let single = |slot: &Json| of(slot, "interpretedValue").or_else(|| of(slot, "originalValue"));
        let is_list = scalar(slot.get("shape")).as_deref() == Some("List");
        let held = match (slot.get("values"), single(slot)) {
            (Some(Json::List(values)), _) if is_list => {
                let texts = values.iter().map(|value| single(value).map_or(Json::Null, Json::Text));
                let value = Json::List(texts.collect()).canonical();
                Held { bare: value.clone(), value, original: of(slot, "originalValue") }
            }
            (_, Some(text)) => Held::text(&text, of(slot, "originalValue")),
            (_, None) => Held::null(),
        };
        out.insert(name, held);
    }
}

/// Returns the time of `2024-03-04T13:49:26.014Z`. The generator writes no other spelling.
fn written_time(json: Option<&Json>) -> Option<EventTime> {
    let text = value_text(json?)?;
    let text = text.strip_suffix('Z')?;
    let (day, clock) = text.split_once('T')?;
    let micros = turnmill_model::Micros::parse(&format!("{day} {clock:0<15}"))?;
    EventTime::from_seconds(micros.0 as f64 / 1e6)
}

/// Appends the spelling that identifies an object.
fn spell(json: &Json, out: &mut Vec<u8>) {
    let text = |text: &str, out: &mut Vec<u8>| {
        out.push(b'"');
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    };
    match json {
        Json::Text(content) => text(&clean(content), out),
        Json::List(items) => {
            out.push(b'[');
            for item in items {
                spell(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Json::Object(members) => {
            out.push(b'{');
            let sorted: BTreeMap<String, &Json> =
                members.iter().map(|(key, value)| (clean(key), value)).collect();
            for (key, value) in sorted {
                text(&key, out);
                spell(value, out);
            }
            out.push(b'}');
        }
        other => {
            out.extend(other.canonical().as_bytes());
            out.push(b' ');
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}
