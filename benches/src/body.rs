//! Bodies of generated events: the fields of each event type.

use std::fmt::Write as _;

use fastrand::Rng;

use crate::stream::Fields;

/// Size class of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mix {
    /// 340 bytes per event: `user` events without the intent ranking.
    Lean,
    /// 556 bytes per event, as in a real assistant with response selectors: `user` events are half
    /// of the bytes.
    Capture,
}

pub(crate) const PAGES: [&str; 4] = ["/home", r"/preis-\u00fcbersicht", "/help/delivery", "/track"];

const INTENTS: [&str; 11] = [
    "track_parcel",
    "report_issue",
    "greet",
    "goodbye",
    "talk_to_human",
    "affirm",
    "inform",
    "deny",
    "thank",
    "out_of_scope",
    "call_me_later",
];

const TEXTS: [&str; 8] = [
    "where is my parcel",
    "it is PX-494899",
    "hello",
    r"gr\u00fc\u00df dich",
    "the box was open and wet when it came",
    "yes please",
    "can i speak to an agent",
    "when are you open on saturdays",
];

/// Actions, each with the response of the assistant.
pub(crate) const ANSWERS: [[&str; 2]; 6] = [
    [
        "utter_greet",
        "Hello! I am the parcel helper. I can track a parcel, take a complaint, or find an agent to talk to. What can I do for you?",
    ],
    ["utter_ask_parcel_id", "What is the parcel number? (like PX-123456)"],
    ["utter_opening_hours", r"We are open 08:00\u201316:00, Monday to Friday."],
    ["action_track", "Your parcel is in Bergen and will be delivered tomorrow."],
    [
        "utter_ask_issue_text",
        "Please describe what went wrong, in your own words, and as exactly as you can, so that we know whom to ask about it.",
    ],
    [
        "utter_anything_else",
        "Is there anything else that I can do for you today? If not, just close this window.",
    ],
];

pub(crate) fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

/// User messages with their effects.
pub(crate) struct Said {
    text: &'static str,
    intent: usize,
    confidence: f64,
    pub(crate) sets_slot: bool,
    pub(crate) in_form: bool,
    /// JSON value of a slot.
    pub(crate) value: String,
}

impl Said {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self {
            text: pick(rng, &TEXTS),
            intent: rng.usize(..INTENTS.len()),
            confidence: 1.0 - rng.f64() * rng.f64() * 0.6,
            sets_slot: rng.f64() < 0.3,
            in_form: rng.f64() < 0.27,
            value: format!(r#""PX-{:06}, Bryggen 17, 5003 Bergen""#, rng.u32(..1_000_000)),
        }
    }
}

/// Fields of `user`.
pub(crate) fn user(fields: &mut Fields<'_>, mix: Mix, said: &Said) {
    let Fields { text, rng } = fields;
    let id = format!("{:032x}", rng.u128(..));
    let Said { text: words, intent, confidence, value, .. } = said;
    let name = INTENTS[*intent];
    let _ = write!(
        text,
        r#", "text": "{words}", "parse_data": {{"intent": {{"name": "{name}", "confidence": {confidence}}}, "entities": ["#
    );
    if said.sets_slot && mix == Mix::Capture {
        let sure = 1.0 - rng.f64() * 0.1;
        let _ = write!(
            text,
            r#"{{"entity": "parcel_id", "start": 6, "end": 15, "confidence_entity": {sure}, "value": {value}, "extractor": "DIETClassifier", "processors": ["EntitySynonymMapper"]}}"#
        );
    }
    let _ = write!(text, r#"], "text": "{words}", "message_id": "{id}", "metadata": {{"#);
    if mix == Mix::Capture {
        let page = pick(rng, &PAGES);
        let _ = write!(
            text,
            r#""page": "{page}", "ab": "A", "locale": "en-GB", "referrer": "https://parcels.example.org/start""#
        );
    }
    text.push('}');
    if mix == Mix::Capture {
        ranked(text, rng, *intent, *confidence, words);
    }
    let _ = write!(text, r#"}}, "input_channel": "rest", "message_id": "{id}""#);
}

/// Fields that a pipeline with response selectors adds.
fn ranked(text: &mut String, rng: &mut Rng, chosen: usize, confidence: f64, words: &str) {
    text.push_str(r#", "text_tokens": ["#);
    let mut start = 0;
    for (index, word) in words.split(' ').enumerate() {
        let end = start + word.len();
        let _ = write!(text, "{}[{start}, {end}]", if index > 0 { ", " } else { "" });
        start = end + 1;
    }
    text.push_str(r#"], "intent_ranking": ["#);
    let mut rest = (1.0 - confidence) * 0.6;
    for place in 0..10 {
        let name = INTENTS[(chosen + place) % INTENTS.len()];
        let score = if place == 0 { confidence } else { rest };
        let _ = write!(
            text,
            r#"{}{{"name": "{name}", "confidence": {score}}}"#,
            if place > 0 { ", " } else { "" }
        );
        rest *= if place > 0 { 0.4 + rng.f64() * 0.4 } else { 1.0 };
    }
    text.push_str(r#"], "response_selector": {"all_retrieval_intents": ["faq", "chitchat"]"#);
    for (intent, answer, keys) in [
        ("faq", "Prices start at 5.90.", &["prices", "insurance", "opening_hours"][..]),
        ("chitchat", "Why did the parcel cross the road? It was mis-sorted.", &["joke", "ask_name"][..]),
    ] {
        let sure = 1.0 - rng.f64() * 0.2;
        let key = keys[0];
        let _ = write!(
            text,
            r#", "{intent}": {{"response": {{"responses": [{{"text": "{answer}"}}], "confidence": {sure}, "intent_response_key": "{intent}/{key}", "utter_action": "utter_{intent}/{key}"}}, "ranking": ["#
        );
        let mut score = sure;
        for (place, key) in keys.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            let _ =
                write!(text, r#"{comma}{{"confidence": {score}, "intent_response_key": "{intent}/{key}"}}"#);
            score = (1.0 - sure) * 0.7 * rng.f64();
        }
        text.push_str("]}");
    }
    text.push('}');
}

/// Fields of `bot`.
pub(crate) fn bot(fields: &mut Fields<'_>, action: &str, answer: &str) {
    // The metadata was written before, including what a templated response adds to it.
    let Fields { text, .. } = fields;
    if action.starts_with("utter_")
        && let Some(at) = text.rfind(r#""model_id""#)
    {
        text.insert_str(at, &format!(r#""utter_action": "{action}", "#));
    }
    let _ = write!(
        text,
        r#", "text": "{answer}", "data": {{"elements": null, "quick_replies": null, "buttons": null, "attachment": null, "image": null, "custom": null}}"#
    );
}

/// Fields of an `action` of the policy for unexpected messages, with its reasons.
pub(crate) fn unlikely_intent(fields: &mut Fields<'_>) {
    let Fields { text, rng } = fields;
    text.push_str(r#", "name": "action_unlikely_intent", "policy": "UnexpecTEDIntentPolicy", "confidence": 1.0, "action_text": null, "hide_rule_turn": false, "action_metadata": ["#);
    for (place, intent) in INTENTS.iter().enumerate() {
        let comma = if place > 0 { ", " } else { "" };
        let (score, threshold) = (rng.f64() - 0.5, rng.f64() * 0.1);
        let _ = write!(text, r#"{comma}{{"name": "{intent}", "score": {score}, "threshold": {threshold}}}"#);
    }
    text.push(']');
}

/// Fields of `agent`.
pub(crate) fn agent(fields: &mut Fields<'_>) {
    fields.text.push_str(r#", "text": "One moment", "data": {"agent": {"name": "Kari", "id": 4}}"#);
}
