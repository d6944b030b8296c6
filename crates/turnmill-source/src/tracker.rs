//! Tracker dumps: values with many records each, found without building a tree.

use memchr::{memchr, memmem};
use turnmill_model::{Reason, Refused};

use crate::Format;
use crate::batch::{Envelope, Meta, Outcome, RecordBatch};
use crate::envelope::{Scratch, refusal};
use crate::format::{byte_order_mark, key_name};
use crate::scan::{Fault, Kind, Scanner, Span, Value, unescape};

/// Reads what stands at `at`: separators, or one value with all its records. `base` is the offset of the buffer in the
/// file. Returns where to go on, or `None` if the bytes end inside the value (never at the `end` of the file).
///
/// Brackets and commas between values are passed over, so values of an array and concatenated ones are the same, and
/// reading can begin behind any of them. An object that cannot be read reaches to the next line that begins with `{`,
/// anything else to the end of its line.
pub(crate) fn read_value(
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
    if bytes[start] != b'{' {
        return other_value(start, offset, end, batch);
    }
    match tracker(bytes, start, scratch) {
        Ok(found) => {
            found.records(base, scratch, batch);
            Some(found.span.end)
        }
        Err(Fault::Incomplete) if !end => None,
        Err(fault) => {
            let next = match memmem::find(&bytes[start..], b"\n{") {
                Some(found) => start + found + 1,
                None if end => length,
                None => return None,
            };
            let fault = match fault {
                Fault::Invalid { at, what } => Fault::Invalid { at: at - start, what },
                Fault::Incomplete | Fault::TooDeep => fault,
            };
            batch.refuse(trimmed(bytes, start, next), offset, refusal(Format::Tracker, fault));
            Some(next)
        }
    }
}

/// A value that is no object.
fn other_value(start: usize, offset: u64, end: bool, batch: &mut RecordBatch) -> Option<usize> {
    let bytes = &batch.bytes;
    let mut scanner = Scanner::new(bytes, start);
    match scanner.value() {
        // A token may go on behind the bytes at hand.
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

/// An object: a tracker, or an event on its own.
struct Found {
    span: Span,
    sender: Option<Value>,
    events: Events,
}

enum Events {
    /// There is no such key.
    Missing,
    /// `null`, as the API answers if events were not asked for.
    Null,
    /// The elements are in the scratch.
    List,
    /// Something else, kept whole.
    Other,
}

fn tracker(bytes: &[u8], start: usize, scratch: &mut Scratch) -> Result<Found, Fault> {
    let mut scanner = Scanner::new(bytes, start);
    let mut sender = None;
    let mut events = Events::Missing;
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
                    if value.is_null() { Events::Null } else { Events::Other }
                };
            }
            b"sender_id" => sender = Some(scanner.value()?),
            _ => {
                scanner.value()?;
            }
        }
        Ok(())
    })?;
    Ok(Found { span: Span::new(start, scanner.at), sender, events })
}

impl Found {
    fn records(&self, base: u64, scratch: &Scratch, batch: &mut RecordBatch) {
        let span = self.span;
        let offset = base + span.start as u64;
        match &self.events {
            Events::Missing => {
                batch.metas.push(Meta { payload: span, offset, outcome: Outcome::Body, envelope: None });
            }
            Events::List if !scratch.elements.is_empty() => {
                let envelope = self.envelope(batch);
                for element in &scratch.elements {
                    let outcome = if element.is_null() { Outcome::Skipped } else { Outcome::Body };
                    let payload = match element.kind {
                        // With its quotes, so that it is seen for what it is.
                        Kind::Text { .. } => Span::new(element.span.start - 1, element.span.end + 1),
                        Kind::Null | Kind::Token | Kind::Object | Kind::Array => element.span,
                    };
                    let offset = base + payload.start as u64;
                    batch.metas.push(Meta { payload, offset, outcome, envelope });
                }
            }
            // A tracker without events is a record that yields none.
            Events::List | Events::Null => {
                batch.metas.push(Meta { payload: span, offset, outcome: Outcome::Skipped, envelope: None });
            }
            Events::Other => {
                batch.refuse(
                    span,
                    offset,
                    Refused::new(Reason::NotJson, "`events` of the tracker is not a list"),
                );
            }
        }
    }

    fn envelope(&self, batch: &mut RecordBatch) -> Option<usize> {
        let sender = self.sender.and_then(|sender| match sender.kind {
            Kind::Text { escaped: true } => Some(unescape(&mut batch.bytes, sender.span)),
            Kind::Text { escaped: false } => Some(sender.span),
            Kind::Null | Kind::Token | Kind::Object | Kind::Array => None,
        });
        let sender = sender.filter(|sender| std::str::from_utf8(sender.of(&batch.bytes)).is_ok())?;
        batch.envelopes.push(Envelope { sender: Some(sender), ..Envelope::default() });
        Some(batch.envelopes.len() - 1)
    }
}

/// The span without the white space at its end.
fn trimmed(bytes: &[u8], start: usize, end: usize) -> Span {
    Span::new(start, start + bytes[start..end].trim_ascii_end().len())
}
