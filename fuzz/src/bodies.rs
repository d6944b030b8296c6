//! What each fuzz target checks. `turnmill-model` includes this file in its tests, so that the
//! corpus and its generated inputs go through the same functions.

use turnmill_formats::lex::LexDecoder;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_model::json::{Limits, Raw, canonical, to_value};
use turnmill_model::{Body, Decoder, EARLIEST_SECONDS, Event, LATEST_SECONDS, Record, Settings};

/// Checks that any payload is an event, skipped or refused, deterministically, and that its texts
/// are clean.
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

/// Checks that any file is taken apart to its end, the same way every time, and that its records
/// are events, skipped or refused without a secret left.
pub(crate) fn lex_log(file: &[u8]) {
    let decoder = LexDecoder::new(&Settings::default());
    let (Some(unwrapper), Some(filter)) = (decoder.unwrapper(), decoder.secret_filter()) else { return };
    unwrapper.claims(file);
    let (mut records, mut again) = (Vec::new(), Vec::new());
    unwrapper.unwrap(file, &mut records);
    unwrapper.unwrap(file, &mut again);
    assert_eq!(records, again);
    let (mut pieces, mut taken) = (unwrapper.begin(), 0);
    while taken < file.len() {
        let piece = pieces.next(&file[taken..], true, &mut again).unwrap();
        assert!(piece > 0, "no progress at byte {taken}");
        taken += piece;
    }
    for record in records {
        let blank = filter.without_secrets(&record.payload);
        let payload = blank.as_deref().unwrap_or(&record.payload);
        assert_eq!(filter.without_secrets(payload), None, "nothing is left to blank");
        let record = Record { payload, time: record.time, ..Record::default() };
        let (mut events, mut again) = (Vec::new(), Vec::new());
        let outcome = decoder.decode(&record, &mut events);
        assert_eq!(outcome, decoder.decode(&record, &mut again));
        assert_eq!(events, again);
        assert!(events.len() <= usize::from(outcome.is_ok()));
        events.iter().for_each(assert_clean);
    }
}

fn assert_clean(event: &Event<'_>) {
    assert!((EARLIEST_SECONDS..=LATEST_SECONDS).contains(&event.time.seconds()));
    assert!(!event.sender_key.is_empty());
    assert!(event.sender_key.chars().count() <= 255);
    // `Debug` prints a NUL as `\0`, and doubles backslashes.
    assert!(!format!("{event:?}").replace("\\\\", "").contains("\\0"));
    match &event.body {
        Body::Slot { value, .. } => assert_eq!(canonical(Raw::parse(value).unwrap()), *value),
        Body::User(message) => assert!(message.confidence.is_none_or(f64::is_finite)),
        Body::Action { confidence, .. } => assert!(confidence.is_none_or(f64::is_finite)),
        _ => {}
    }
}

/// Checks that an unknown key in front, whose value only the second pass can parse, changes
/// nothing.
fn assert_same_in_second_pass(decoder: &RasaDecoder, record: &Record<'_>, event: &Event<'_>) {
    let rest = record.payload.trim_ascii_start().strip_prefix(b"{").unwrap();
    let payload = [br#"{"unknown": NaN,"#, rest].concat();
    let mut events = Vec::new();
    decoder.decode(&Record { payload: &payload, ..*record }, &mut events).unwrap();
    assert_eq!(events, std::slice::from_ref(event));
}

/// Checks that the canonical spelling of a value is stable, means the same value, and contains
/// nothing a store refuses.
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
