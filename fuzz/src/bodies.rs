//! What each fuzz target checks. `turnmill-model` includes this file in its tests, so that the corpus and its generated
//! inputs go through the same functions.

use turnmill_formats::rasa::RasaDecoder;
use turnmill_model::json::{Limits, Raw, canonical, to_value};
use turnmill_model::{Body, Decoder, EARLIEST_SECONDS, Event, LATEST_SECONDS, Record, Settings};

/// Any payload is an event, skipped or refused, always in the same way, and its texts are clean.
pub(crate) fn rasa_decoder(payload: &[u8]) {
    let decoder = RasaDecoder::new(&Settings::default());
    for (sender, time) in [(None, None), (Some("envelope"), Some(1.7e9))] {
        let record = Record { payload, sender, time, environment: sender, ..Record::default() };
        let (mut events, mut again) = (Vec::new(), Vec::new());
        let outcome = decoder.decode(&record, &mut events);
        assert_eq!(outcome, decoder.decode(&record, &mut again));
        assert_eq!(events, again);
        match outcome {
            Ok(()) if events.is_empty() => {
                let trimmed = payload.trim_ascii();
                assert!(trimmed.is_empty() || trimmed == b"null", "only these are skipped");
            }
            Ok(()) => {
                assert_eq!(events.len(), 1);
                assert_clean(&events[0]);
                assert_same_in_second_pass(&decoder, &record, &events[0]);
            }
            Err(_) => assert!(events.is_empty(), "a refused record gives no event"),
        }
    }
}

fn assert_clean(event: &Event<'_>) {
    assert!((EARLIEST_SECONDS..=LATEST_SECONDS).contains(&event.time.seconds()));
    assert!(!event.sender_key.is_empty());
    assert!(event.sender_key.chars().count() <= 255);
    // A NUL is printed as `\0`, a backslash doubled.
    assert!(!format!("{event:?}").replace("\\\\", "").contains("\\0"));
    match &event.body {
        Body::Slot { value, .. } => assert_eq!(canonical(Raw::parse(value).unwrap()), *value),
        Body::User(message) => assert!(message.confidence.is_none_or(f64::is_finite)),
        Body::Action { confidence, .. } => assert!(confidence.is_none_or(f64::is_finite)),
        _ => {}
    }
}

/// An unknown key in front, whose value only the second pass reads, changes nothing.
fn assert_same_in_second_pass(decoder: &RasaDecoder, record: &Record<'_>, event: &Event<'_>) {
    let rest = record.payload.trim_ascii_start().strip_prefix(b"{").unwrap();
    let payload = [br#"{"unknown": NaN,"#, rest].concat();
    let mut events = Vec::new();
    decoder.decode(&Record { payload: &payload, ..*record }, &mut events).unwrap();
    assert_eq!(events, std::slice::from_ref(event));
}

/// The canonical spelling of a value is its own, stands for the same value, and holds nothing that a store refuses.
pub(crate) fn json_canonical(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(raw) = Raw::parse(text) else {
        assert!(to_value(text, &Limits::default()).is_none());
        return;
    };
    let spelled = canonical(raw);
    assert_eq!(canonical(Raw::parse(&spelled).unwrap()), spelled);
    assert_eq!(to_value(&spelled, &Limits::default()), to_value(text, &Limits::default()));
    assert!(spelled.bytes().all(|byte| byte >= b' '));
    assert!(!spelled.replace("\\\\", "").contains("\\u0000"), "{spelled}");
    let strict: Result<serde::de::IgnoredAny, _> = serde_json::from_str(&spelled);
    assert!(strict.is_ok(), "standard JSON: {spelled}");
}
