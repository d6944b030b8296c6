//! JSON values with any number of records each, found without building a tree.

use memchr::memchr;
use turnmill_model::{Reason, Refused};

use crate::Container;
use crate::batch::{Envelope, Meta, Outcome, RecordBatch};
use crate::container::{byte_order_mark, key_name};
use crate::detect::{Keys, wrapped};
use crate::envelope::{Scratch, is_name, read_line, refusal};
use crate::respell::{has_extended_numbers, is_typed_list, plain_item, plain_numbers};
use crate::scan::{Fault, Kind, Scanner, Span, Value, unescape};

/// Reads what is at `at`: separators, or one value with all its records.
///
/// `base` is the offset of the buffer in the file. Returns where to continue, or `None` if the
/// bytes end inside the value, which never happens at the `end` of the file.
///
/// Brackets and commas between values are skipped. So elements of an array and concatenated values
/// read alike, and a stored position may lie after any of them: `[{"event": "a"},` and `{"event":
/// "b"}]` are two calls.
///
/// An object with a fault extends to the next line that begins with `{` at the same indentation.
/// Any other value with a fault extends to the end of its line.
pub(crate) fn read_value(
    container: Container,
    at: usize,
    base: u64,
    end: bool,
    scratch: &mut Scratch,
    batch: &mut RecordBatch,
) -> Option<usize> {
    let bytes = &batch.bytes;
    let length = bytes.len();
    let mut start = at;
    if base == 0 && at == 0 {
        if !end && length < 3 && b"\xef\xbb\xbf".starts_with(bytes) {
            return None;
        }
        start = byte_order_mark(bytes);
    }
    while bytes
        .get(start)
        .is_some_and(|byte| byte.is_ascii_whitespace() || matches!(byte, b'[' | b']' | b','))
    {
        start += 1;
    }
    if start == length {
        return (start > at).then_some(start);
    }
    let offset = base + start as u64;
    if bytes[start] == b'"'
        && let Some(next) = unquote(start, b'{', batch)
    {
        // Read the content of the string in place of the string.
        let inside = read_value(container, start, base, true, scratch, batch)?;
        return Some(inside.max(next));
    }
    let bytes = &batch.bytes;
    if bytes[start] != b'{' {
        return other_value(start, offset, end, batch);
    }
    let outcome = if container == Container::Tracker {
        read_tracker(start, base, scratch, batch)
    } else {
        let mut scanner = Scanner::new(bytes, start);
        let value = scanner.value();
        value.map(|value| {
            if has_extended_numbers(value.span.of(&batch.bytes)) {
                plain_numbers(&mut batch.bytes, value.span);
            }
            let mut line = value.span;
            line.end -= line.of(&batch.bytes).len() - line.of(&batch.bytes).trim_ascii_end().len();
            read_line(container, line, offset, scratch, batch);
            value.span.end
        })
    };
    match outcome {
        Ok(next) => Some(next),
        Err(Fault::Incomplete) if !end => None,
        Err(fault) => {
            let next = match next_object(&batch.bytes, at, start) {
                Some(next) => next,
                None if end => length,
                None => return None,
            };
            let fault = match fault {
                Fault::Invalid { at, what } => Fault::Invalid { at: at - start, what },
                Fault::Incomplete | Fault::TooDeep => fault,
            };
            batch.refuse(trimmed(&batch.bytes, start, next), offset, refusal(container, fault));
            Some(next)
        }
    }
}

/// Returns the start of the next line that begins with `{` and is indented like the object at
/// `start`.
///
/// Bytes before `from` do not count, because reading may have begun there after a restart. Without
/// this rule the records of a file would depend on the positions at which it was opened.
fn next_object(bytes: &[u8], from: usize, start: usize) -> Option<usize> {
    let margin = bytes[from..start].iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let alone = bytes[from..start - margin].last() == Some(&b'\n');
    let margin = if alone { &bytes[start - margin..start] } else { &[] };
    let mut at = start;
    while let Some(found) = memchr(b'\n', bytes.get(at..)?) {
        at += found + 1;
        if bytes[at..].starts_with(margin) && bytes.get(at + margin.len()) == Some(&b'{') {
            return Some(at + margin.len());
        }
    }
    None
}

/// Replaces the string at `start` by its content, if that is one value that begins with `open`.
/// Escapes are resolved in place, and spaces replace the quotes. Returns the end of the string.
fn unquote(start: usize, open: u8, batch: &mut RecordBatch) -> Option<usize> {
    let text = Scanner::new(&batch.bytes, start).value().ok()?;
    let mut inside = text.span.of(&batch.bytes).to_vec();
    let whole = Span::new(0, inside.len());
    let end = unescape(&mut inside, whole).end;
    inside.truncate(end);
    let mut scanner = Scanner::new(&inside, 0);
    if scanner.peek() != Ok(open) || scanner.value().is_err() || scanner.peek().is_ok() {
        return None;
    }
    let plain = unescape(&mut batch.bytes, text.span);
    batch.bytes[start] = b' ';
    batch.bytes[plain.end..=text.span.end].fill(b' ');
    Some(text.span.end + 1)
}

/// Reads the object at `start` and returns its end. It is a tracker, wraps trackers, or is an event
/// itself.
///
/// Every rewrite in place keeps the length of the object, because `end` and later offsets are
/// already known. After each one the object is scanned again, because spans inside of it have
/// moved.
fn read_tracker(
    start: usize,
    base: u64,
    scratch: &mut Scratch,
    batch: &mut RecordBatch,
) -> Result<usize, Fault> {
    let mut found = tracker(&batch.bytes, start, scratch)?;
    let end = found.span.end;
    let typed = match found.events {
        // The list of events is a string, as in a column of a table.
        Events::Other(events) if matches!(events.kind, Kind::Text { .. }) => {
            if unquote(events.span.start - 1, b'[', batch).is_some() {
                found = tracker(&batch.bytes, start, scratch)?;
            }
            false
        }
        Events::Other(events) => is_typed_list(&batch.bytes, events),
        Events::Missing | Events::Null | Events::List => false,
    };
    if typed {
        plain_item(&mut batch.bytes, found.span);
        found = tracker(&batch.bytes, start, scratch)?;
    } else if has_extended_numbers(found.span.of(&batch.bytes)) {
        plain_numbers(&mut batch.bytes, found.span);
        found = tracker(&batch.bytes, start, scratch)?;
    }
    if matches!(found.events, Events::Missing) && !found.is_event {
        let mut inside = Vec::new();
        wrapped(&batch.bytes, found.span, 0, &mut inside);
        for (container, span) in &inside {
            if *container == Container::Tracker {
                read_tracker(span.start, base, scratch, batch)?;
            } else {
                read_line(*container, *span, base + span.start as u64, scratch, batch);
            }
        }
        if !inside.is_empty() {
            return Ok(end);
        }
        if found.is_head {
            let (payload, offset) = (Span::new(start, start), base + start as u64);
            batch.metas.push(Meta { payload, offset, outcome: Outcome::Skipped, envelope: None });
            return Ok(end);
        }
    }
    found.records(base, scratch, batch);
    Ok(end)
}

/// Reads a value that is not an object.
fn other_value(start: usize, offset: u64, end: bool, batch: &mut RecordBatch) -> Option<usize> {
    let bytes = &batch.bytes;
    let mut scanner = Scanner::new(bytes, start);
    match scanner.value() {
        // A token may continue after the bytes at hand.
        Ok(value) if end || scanner.at < bytes.len() || value.kind != Kind::Token && !value.is_null() => {
            let next = scanner.at;
            if value.is_null() {
                batch.metas.push(Meta {
                    payload: value.span,
                    offset,
                    outcome: Outcome::Skipped,
                    envelope: None,
                });
            } else {
                let refused = Refused::new(Reason::NotAnObject, "neither a tracker nor an event");
                batch.refuse(Span::new(start, next), offset, refused);
            }
            Some(next)
        }
        Ok(_) => None,
        Err(Fault::Incomplete) if !end => None,
        Err(_) => {
            let next = match memchr(b'\n', &bytes[start..]) {
                Some(found) => start + found + 1,
                None if end => bytes.len(),
                None => return None,
            };
            let refused = Refused::new(Reason::NotJson, "neither a tracker nor an event");
            batch.refuse(trimmed(bytes, start, next), offset, refused);
            Some(next)
        }
    }
}

/// A scanned object: a tracker, or an event on its own.
struct Found {
    span: Span,
    sender: Option<Value>,
    events: Events,
    /// It has a key `event`.
    is_event: bool,
    /// It is a header that phpMyAdmin writes before a table.
    is_head: bool,
}

#[derive(Clone, Copy)]
enum Events {
    /// There is no such key.
    Missing,
    /// `null`: the HTTP API was asked to leave events out.
    Null,
    /// A list. Its elements are in the scratch.
    List,
    /// Any other value, kept whole.
    Other(Value),
}

fn tracker(bytes: &[u8], start: usize, scratch: &mut Scratch) -> Result<Found, Fault> {
    let mut scanner = Scanner::new(bytes, start);
    let (mut sender, mut name) = (None, None);
    let mut events = Events::Missing;
    let (mut is_event, mut is_head) = (false, false);
    scanner.object(|scanner, key| {
        match &*key_name(bytes, key) {
            b"events" => {
                scratch.elements.clear();
                events = if scanner.peek()? == b'[' {
                    scanner.array(|scanner| {
                        scratch.elements.push(scanner.value()?);
                        Ok(())
                    })?;
                    Events::List
                } else {
                    let value = scanner.value()?;
                    if value.is_null() { Events::Null } else { Events::Other(value) }
                };
            }
            b"sender_id" => sender = Some(scanner.value()?),
            // A value of Rasa's RedisTrackerStore has this key.
            b"name" => name = Some(scanner.value()?),
            b"event" => is_event = matches!(scanner.value()?.kind, Kind::Text { .. }),
            b"type" => is_head = matches!(scanner.value()?.span.of(bytes), b"header" | b"database"),
            _ => {
                scanner.value()?;
            }
        }
        Ok(())
    })?;
    let sender = sender.filter(|sender: &Value| !sender.is_null()).or(name);
    Ok(Found { span: Span::new(start, scanner.at), sender, events, is_event, is_head })
}

impl Found {
    fn records(&self, base: u64, scratch: &mut Scratch, batch: &mut RecordBatch) {
        let span = self.span;
        let offset = base + span.start as u64;
        match &self.events {
            Events::Missing => {
                batch.metas.push(Meta { payload: span, offset, outcome: Outcome::Body, envelope: None });
            }
            Events::List if !scratch.elements.is_empty() => {
                if let Some(container) = self.container_of_rows(scratch, &batch.bytes) {
                    let rows = std::mem::take(&mut scratch.elements);
                    for row in &rows {
                        read_line(container, row.span, base + row.span.start as u64, scratch, batch);
                    }
                    scratch.elements = rows;
                    return;
                }
                let envelope = self.envelope(batch);
                for element in &scratch.elements {
                    let outcome = if element.is_null() { Outcome::Skipped } else { Outcome::Body };
                    let payload = match element.kind {
                        // Include the quotes, so that the decoder sees a string.
                        Kind::Text { .. } => Span::new(element.span.start - 1, element.span.end + 1),
                        Kind::Null | Kind::Token | Kind::Object | Kind::Array => element.span,
                    };
                    let offset = base + payload.start as u64;
                    batch.metas.push(Meta { payload, offset, outcome, envelope });
                }
            }
            // A tracker without events is one record that yields no event.
            Events::List | Events::Null => {
                batch.metas.push(Meta { payload: span, offset, outcome: Outcome::Skipped, envelope: None });
            }
            Events::Other(_) => {
                batch.refuse(
                    span,
                    offset,
                    Refused::new(Reason::NotJson, "`events` of the tracker is not a list"),
                );
            }
        }
    }

    /// Returns the container of the elements if they are not events. Some tools write the rows of the
    /// table `events` under that key.
    fn container_of_rows(&self, scratch: &Scratch, bytes: &[u8]) -> Option<Container> {
        let first = scratch.elements.first().filter(|first| first.kind == Kind::Object)?;
        let mut keys = Keys::default();
        Keys::read(&mut Scanner::new(bytes, first.span.start), &mut keys).ok()?;
        keys.container().filter(|container| !matches!(container, Container::Rasa | Container::Tracker))
    }

    fn envelope(&self, batch: &mut RecordBatch) -> Option<usize> {
        let sender = self.sender.filter(|sender| is_name(&batch.bytes, *sender))?;
        let sender = match sender.kind {
            Kind::Text { escaped: true } => unescape(&mut batch.bytes, sender.span),
            Kind::Text { escaped: false } | Kind::Token | Kind::Null | Kind::Object | Kind::Array => {
                sender.span
            }
        };
        std::str::from_utf8(sender.of(&batch.bytes)).ok()?;
        batch.envelopes.push(Envelope { sender: Some(sender), ..Envelope::default() });
        Some(batch.envelopes.len() - 1)
    }
}

/// Returns the span without the white space at its end.
fn trimmed(bytes: &[u8], start: usize, end: usize) -> Span {
    Span::new(start, start + bytes[start..end].trim_ascii_end().len())
}
