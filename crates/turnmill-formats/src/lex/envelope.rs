//! Takes log objects out of what CloudWatch, Kinesis and command lines put around them.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use turnmill_model::json::{Limits, Node, Tree};
use turnmill_model::{Reason, Refused, Unwrapped, UnwrappedOutcome, Unwrapping};

use super::split::Splitter;
use super::{QUERY, base64, time};

/// Most bytes that compressed data may have when it is unpacked.
const MAX_UNPACKED: u64 = 256 << 20;
/// Most envelopes around each other: gzip in gzip in base64 is three.
pub(super) const MAX_NESTED: u8 = 6;

/// Appends a record to be decoded.
pub(super) fn body(payload: &[u8], time: Option<f64>, out: &mut Vec<Unwrapped>) {
    out.push(Unwrapped { payload: payload.to_vec(), time, outcome: UnwrappedOutcome::Body });
}

/// Appends a record that holds nothing.
pub(super) fn skipped(payload: &[u8], out: &mut Vec<Unwrapped>) {
    out.push(Unwrapped { payload: payload.to_vec(), time: None, outcome: UnwrappedOutcome::Skipped });
}

/// Appends what cannot be read.
pub(super) fn refused(payload: &[u8], reason: Reason, detail: impl Into<String>, out: &mut Vec<Unwrapped>) {
    let outcome = UnwrappedOutcome::Refused(Refused::new(reason, detail));
    out.push(Unwrapped { payload: payload.to_vec(), time: None, outcome });
}

/// Appends what cannot be read and may hide secrets, so only its length is kept.
pub(super) fn omitted(length: usize, reason: Reason, detail: &str, out: &mut Vec<Unwrapped>) {
    refused(format!("{length} bytes").as_bytes(), reason, detail, out);
}

/// Takes the records out of a JSON text that is one value, at `time` unless it names its own.
/// `nested` counts the envelopes around it.
pub(super) fn of_text(text: &str, time: Option<f64>, nested: u8, out: &mut Vec<Unwrapped>) {
    match Tree::parse(text, &Limits::default()) {
        Ok(tree) if tree.root().raw().is_list() => {
            for item in tree.root().items() {
                of_item(item, time, nested, out);
            }
        }
        Ok(tree) => of_object(tree.root(), time, nested, out),
        // The decoder tells what is wrong.
        Err(_) => body(text.as_bytes(), time, out),
    }
}

/// Takes the records out of an element of a list: an envelope, a log object, or a row of Insights.
fn of_item(item: Node<'_, '_>, time: Option<f64>, nested: u8, out: &mut Vec<Unwrapped>) {
    if item.raw().is_list() {
        of_row(item, out);
    } else {
        of_object(item, time, nested, out);
    }
}

fn of_object(object: Node<'_, '_>, time: Option<f64>, nested: u8, out: &mut Vec<Unwrapped>) {
    let get = |key: &str| object.get(key);
    if let Some(data) = get("awslogs").and_then(|awslogs| awslogs.get("data")) {
        return packed(data, nested, out);
    }
    match get("messageType").and_then(|kind| kind.raw().as_text()).as_deref() {
        Some("CONTROL_MESSAGE") => return skipped(object.raw().as_str().as_bytes(), out),
        Some("DATA_MESSAGE") => {
            return get("logEvents").into_iter().flat_map(Node::items).for_each(|event| of_event(event, out));
        }
        _ => {}
    }
    if let Some(records) = get("Records").or_else(|| get("records")).filter(|records| records.raw().is_list())
    {
        let data = |record: Node<'_, '_>| record.get("kinesis").unwrap_or(record).get("data").is_some();
        if records.items().all(data) {
            for record in records.items() {
                if let Some(data) = record.get("kinesis").unwrap_or(record).get("data") {
                    packed(data, nested, out);
                }
            }
            return;
        }
    }
    if is_log_object(object) {
        return body(object.raw().as_str().as_bytes(), time, out);
    }
    let is_event = |event: Node<'_, '_>| event.get("message").is_some() && event.get("timestamp").is_some();
    if let Some(events) =
        get("events").filter(|events| events.raw().is_list() && events.items().all(is_event))
    {
        return events.items().for_each(|event| of_event(event, out));
    }
    if let Some(results) = get("results").filter(|results| results.raw().is_list()) {
        return results.items().for_each(|row| of_row(row, out));
    }
    if is_event(object)
        && ["eventId", "ingestionTime", "logStreamName", "id"].iter().any(|key| get(key).is_some())
    {
        return of_event(object, out);
    }
    if object.entries().any(|(key, _)| key.as_key().starts_with('@')) {
        let written = get("@timestamp").and_then(|written| time::of_json(written.raw()));
        return of_message(object, get("@message"), written.map(turnmill_model::EventTime::seconds), out);
    }
    body(object.raw().as_str().as_bytes(), time, out);
}

/// Returns whether the object itself is a record, which the decoder accepts or refuses by name.
fn is_log_object(object: Node<'_, '_>) -> bool {
    ["sessionState", "interpretations", "bot", "invocationSource"].iter().any(|key| object.get(key).is_some())
}

/// Takes the message out of a log event.
fn of_event(event: Node<'_, '_>, out: &mut Vec<Unwrapped>) {
    let written = event.get("timestamp").and_then(|written| time::of_json(written.raw()));
    of_message(event, event.get("message"), written.map(turnmill_model::EventTime::seconds), out);
}

/// Takes the message out of a row of Insights: a list of fields with names and values.
fn of_row(row: Node<'_, '_>, out: &mut Vec<Unwrapped>) {
    let field = |name: &str| {
        let named = |field: &Node<'_, '_>| {
            field.get("field").and_then(|field| field.raw().as_text()).as_deref() == Some(name)
        };
        row.items().find(named).and_then(|field| field.get("value"))
    };
    let written = field("@timestamp").and_then(|written| time::of_json(written.raw()));
    of_message(row, field("@message"), written.map(turnmill_model::EventTime::seconds), out);
}

/// Appends the message of `whole`: an object, or a JSON text.
fn of_message(
    whole: Node<'_, '_>,
    message: Option<Node<'_, '_>>,
    time: Option<f64>,
    out: &mut Vec<Unwrapped>,
) {
    match message.map(Node::raw) {
        Some(message) if message.is_object() => body(message.as_str().as_bytes(), time, out),
        Some(message) => match message.as_text() {
            Some(text) if text.trim_ascii().is_empty() => skipped(b"", out),
            Some(text) => body(text.as_bytes(), time, out),
            None => no_message(whole.raw().as_str().as_bytes(), out),
        },
        None => no_message(whole.raw().as_str().as_bytes(), out),
    }
}

/// Appends what has no log message.
pub(super) fn no_message(payload: &[u8], out: &mut Vec<Unwrapped>) {
    let detail =
        format!("`@message` is missing, and only it holds the whole record; this query gives it: {QUERY}");
    refused(payload, Reason::NoMessage, detail, out);
}

/// Takes the records out of a base64 text of compressed data.
fn packed(data: Node<'_, '_>, nested: u8, out: &mut Vec<Unwrapped>) {
    let text = data.raw().as_text().unwrap_or_default();
    match base64::decode(&text) {
        Some(bytes) if nested < MAX_NESTED => unpacked(&bytes, nested + 1, out),
        _ => omitted(text.len(), Reason::NotBase64, "the data of the envelope is not base64", out),
    }
}

/// Takes the records out of `bytes`, which may be compressed.
pub(super) fn unpacked(bytes: &[u8], nested: u8, out: &mut Vec<Unwrapped>) {
    if !bytes.starts_with(&[0x1f, 0x8b]) || nested > MAX_NESTED {
        return split(bytes, true, nested, out);
    }
    let (mut plain, mut broken) = (Vec::new(), false);
    let mut reader = MultiGzDecoder::new(bytes).take(MAX_UNPACKED);
    // What was unpacked before a fault stays in `plain`.
    if reader.read_to_end(&mut plain).is_err() || reader.limit() == 0 {
        broken = true;
    }
    if plain.starts_with(&[0x1f, 0x8b]) && !broken {
        return unpacked(&plain, nested + 1, out);
    }
    split(&plain, !broken, nested, out);
    if broken {
        omitted(bytes.len(), Reason::TruncatedGzip, "compressed data ends early, or is damaged", out);
    }
}

/// Takes the records out of the pieces of `bytes`. If these are not `all`, an incomplete piece at
/// the end is left out.
fn split(bytes: &[u8], all: bool, nested: u8, out: &mut Vec<Unwrapped>) {
    let (mut splitter, mut at) = (Splitter::nested(nested), 0);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match splitter.next(rest, all, out) {
            Some(taken) if taken > 0 => at += taken,
            _ => return,
        }
    }
}
