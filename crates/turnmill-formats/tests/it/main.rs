//! Tests the Rasa decoder, and the JSON reader on generated bodies.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod captures;
mod corpus;
mod hazards;
mod laws;
mod lex;
mod mantle;

use turnmill_formats::rasa::RasaDecoder;
use turnmill_model::{Decoder, Event, Reason, Record, Refused, Settings};

/// Decodes `record` under `settings` with the quick reader and with the lenient one, and checks
/// that both agree. An event's record stays in memory.
fn decode_as(settings: &Settings, record: Record<'static>) -> Result<Option<Event<'static>>, Refused> {
    let outcome = decode_once(settings, record);
    let body = std::str::from_utf8(record.payload).ok();
    if let Some(lenient) = body.and_then(forced_lenient) {
        let second = decode_once(settings, Record { payload: leak(&lenient).as_bytes(), ..record });
        match (&outcome, &second) {
            (Err(first), Err(second)) => assert_eq!(first.reason, second.reason, "{lenient}"),
            _ => assert_eq!(outcome, second, "{lenient}"),
        }
    }
    outcome
}

fn decode_once(settings: &Settings, record: Record<'static>) -> Result<Option<Event<'static>>, Refused> {
    let mut events = Vec::new();
    let outcome = RasaDecoder::new(settings).decode(&record, &mut events);
    match outcome {
        Ok(()) => {
            assert!(events.len() <= 1, "a Rasa record is at most one event");
            Ok(events.pop())
        }
        Err(refused) => {
            assert!(events.is_empty(), "a refused record gives no event");
            Err(refused)
        }
    }
}

/// Decodes a body without an envelope.
fn decode(body: &str) -> Result<Option<Event<'static>>, Refused> {
    decode_as(&Settings::default(), Record { payload: leak(body).as_bytes(), ..Record::default() })
}

/// Decodes `body`, which must be an event.
fn event(body: &str) -> Event<'static> {
    match decode(body) {
        Ok(Some(event)) => event,
        other => panic!("{body}: {other:?}"),
    }
}

/// Returns the reason why `body` is refused.
fn refusal(body: &str) -> Reason {
    match decode(body) {
        Err(refused) => refused.reason,
        other => panic!("{body}: {other:?}"),
    }
}

/// Returns the same object with an unknown key before all others, whose value only the lenient
/// reader can read.
fn forced_lenient(body: &str) -> Option<String> {
    let rest = body.trim_ascii_start().strip_prefix('{')?;
    let comma = if rest.trim_ascii_start().starts_with('}') { "" } else { "," };
    Some(format!("{{\"\\u0000 unknown\": NaN{comma}{rest}"))
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}
