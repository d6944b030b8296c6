//! Lines of Kafka's console consumer: the printed properties and the value, usually separated by
//! tabs.

use memchr::{memchr, memrchr};

use crate::batch::{ENVIRONMENT_HEADER, Envelope, Meta, Outcome, RecordBatch, is_blank};
use crate::detect::Keys;
use crate::scan::{Scanner, Span};

/// What the consumer prints for a record without headers.
const NO_HEADERS: &[u8] = b"NO_HEADERS";

/// Returns whether `line` looks like a record whose value is an event.
pub(crate) fn is_line(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some((_, value)) = parts(line) else { return false };
    let mut keys = Keys::default();
    let outcome = Keys::read(&mut Scanner::new(&line[value..], 0), &mut keys);
    outcome.is_ok() && keys.is_event_with_sender()
}

/// Returns the end of the text before the value, and the start of the value.
///
/// JSON as Rasa writes it has no tabs, so the value follows the last tab. A line without tabs ends
/// with an object after any other separator, or after a prefix that a program added.
fn parts(line: &[u8]) -> Option<(usize, usize)> {
    if let Some(tab) = memrchr(b'\t', line) {
        return Some((tab, tab + 1));
    }
    let brace = memchr(b'{', line)?;
    let mut scanner = Scanner::new(line, brace);
    (scanner.value().is_ok() && scanner.peek().is_err()).then_some((0, brace))
}

/// Reads the line at `line`, which makes exactly one record.
///
/// ```text
/// CreateTime:1656382549500⇥Partition:2⇥Offset:78⇥RASA_ENVIRONMENT:production⇥u1⇥{"event": "restart"}
/// ```
///
/// Fields without a mark: the last one is the key, the one before it the headers.
pub(crate) fn read_line(line: Span, offset: u64, batch: &mut RecordBatch) {
    let text = line.of(&batch.bytes);
    let skip = is_blank(text) || text.starts_with(b"Processed a total of ");
    let found = if skip || std::str::from_utf8(text).is_err() { None } else { parts(text) };
    let Some((front, value)) = found else {
        let outcome = if skip { Outcome::Skipped } else { Outcome::Body };
        batch.metas.push(Meta { payload: line, offset, outcome, envelope: None });
        return;
    };
    let payload = Span::new(line.start + value, line.end);
    let first = batch.headers.len();
    let (mut envelope, headers) = fields(&batch.bytes, Span::new(line.start, line.start + front));
    if let Some(headers) = headers {
        collect_headers(&batch.bytes, headers, &mut batch.headers);
    }
    envelope.headers = (first, batch.headers.len());
    envelope.environment = batch.environment_since(first);
    batch.envelopes.push(envelope);
    let value = payload.of(&batch.bytes);
    let outcome = if is_blank(value) || value == b"null" { Outcome::Skipped } else { Outcome::Body };
    let envelope = Some(batch.envelopes.len() - 1);
    batch.metas.push(Meta { payload, offset, outcome, envelope });
}

/// Splits the text before the value into the envelope's fields and the span of the headers.
fn fields(bytes: &[u8], span: Span) -> (Envelope, Option<Span>) {
    let mut envelope = Envelope::default();
    if span.start == span.end {
        return (envelope, None);
    }
    let mut unmarked = Vec::new();
    let mut at = span.start;
    for field in span.of(bytes).split(|byte| *byte == b'\t') {
        let whole = Span::new(at, at + field.len());
        at = whole.end + 1;
        let after = |mark: &[u8]| {
            let digits = field.strip_prefix(mark)?;
            std::str::from_utf8(digits).ok()?.parse::<i64>().ok()
        };
        if let Some(time) = after(b"CreateTime:").or_else(|| after(b"LogAppendTime:")) {
            // Kafka writes -1 for a missing time.
            #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
            let seconds = time as f64 / 1000.0;
            envelope.time = (time >= 0).then_some(seconds);
        } else if after(b"Partition:").is_none()
            && after(b"Offset:").is_none()
            && !field.starts_with(b"NO_TIMESTAMP")
        {
            unmarked.push(whole);
        }
    }
    let is_headers = |span: &Span| {
        let field = span.of(bytes);
        field == NO_HEADERS || field.starts_with(ENVIRONMENT_HEADER.as_bytes())
    };
    let (headers, key) = match unmarked.as_slice() {
        [.., headers, key] => (Some(*headers), Some(*key)),
        [one] if is_headers(one) => (Some(*one), None),
        [one] => (None, Some(*one)),
        [] => (None, None),
    };
    envelope.key = key.filter(|key| key.of(bytes) != b"null");
    (envelope, headers.filter(|headers| headers.of(bytes) != NO_HEADERS))
}

/// Collects headers from `name:value,name:value`.
fn collect_headers(bytes: &[u8], span: Span, headers: &mut Vec<(Span, Option<Span>)>) {
    let mut at = span.start;
    for pair in span.of(bytes).split(|byte| *byte == b',') {
        let end = at + pair.len();
        let colon = memchr(b':', pair).map_or(end, |colon| at + colon);
        let value = Span::new((colon + 1).min(end), end);
        headers.push((Span::new(at, colon), (value.of(bytes) != b"null").then_some(value)));
        at = end + 1;
    }
}
