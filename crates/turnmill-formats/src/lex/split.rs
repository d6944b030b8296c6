//! Splits files into pieces: JSON values, lines of exports and command lines, rows of tables.

use std::collections::BTreeSet;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use memchr::memmem::find;
use memchr::{memchr, memchr2};
use turnmill_model::{Reason, Unwrapped, Unwrapping};

use super::csv::{self, Head};
use super::scan::{Extent, extent};
use super::{envelope, is_test_message, time};

/// Most words before a JSON object in a line.
const WORDS: usize = 4;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const GZIP: &[u8] = &[0x1f, 0x8b];
/// Most bytes that are unpacked to recognise a format.
const UNPACKED_HEAD: u64 = 64 << 10;

/// Splits one file.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// Whether the first line was seen.
    begun: bool,
    table: Option<Head>,
    /// Whether a value has ended in this line. The rest of it, if blank, is no line of its own.
    after_value: bool,
    /// Number of envelopes around the file.
    nested: u8,
}

impl Splitter {
    pub(super) fn nested(nested: u8) -> Self {
        Self { nested, ..Self::default() }
    }
}

impl Unwrapping for Splitter {
    fn next(&mut self, bytes: &[u8], all: bool, out: &mut Vec<Unwrapped>) -> Option<usize> {
        if !self.begun {
            if !all && bytes.len() < BYTE_ORDER_MARK.len() {
                return None;
            }
            if bytes.starts_with(BYTE_ORDER_MARK) {
                return Some(BYTE_ORDER_MARK.len());
            }
            if bytes.starts_with(GZIP) {
                return all.then(|| {
                    envelope::unpacked(bytes, self.nested + 1, out);
                    bytes.len()
                });
            }
        }
        match self.table {
            Some(Head::Log { message, time }) => return next_row(message, time, bytes, all, out),
            // The whole table is one dead letter.
            Some(Head::Fields) => {
                return all.then(|| {
                    envelope::no_message(bytes, out);
                    bytes.len()
                });
            }
            None => {}
        }
        let blank = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
        match bytes.get(blank) {
            None if all => return Some(blank),
            None => return None,
            Some(b'\n') => {
                if !std::mem::take(&mut self.after_value) {
                    envelope::skipped(b"", out);
                }
                return Some(blank + 1);
            }
            Some(_) => self.after_value = false,
        }
        let value = bytes.get(blank..).unwrap_or_default();
        if !self.begun && !value.starts_with(b"{") && !value.starts_with(b"[") {
            let line = line(value, all)?;
            self.begun = true;
            let cells = if memchr(b'{', line).is_none() { csv::row(line, true) } else { None };
            self.table = cells.and_then(|(cells, _)| csv::head(&cells));
            match self.table {
                Some(Head::Log { .. }) => return Some(blank + after_line(value, line)),
                // The head belongs to the letter, so it is not consumed here.
                Some(Head::Fields) => return self.next(bytes, all, out),
                None => {}
            }
        }
        self.begun = true;
        self.next_value(value, all, out).map(|taken| blank + taken)
    }
}

impl Splitter {
    /// Takes a JSON value, perhaps with words before it, or a line that is none.
    fn next_value(&mut self, bytes: &[u8], all: bool, out: &mut Vec<Unwrapped>) -> Option<usize> {
        let Some(Prefix { length, time }) = prefix(bytes, all)? else {
            let line = line(bytes, all)?;
            let text = String::from_utf8_lossy(line);
            if is_test_message(text.trim_ascii()) {
                envelope::skipped(line, out);
            } else {
                let detail = "a line that is neither JSON nor a time and JSON";
                envelope::refused(line, Reason::NotJson, detail, out);
            }
            return Some(after_line(bytes, line));
        };
        let value = bytes.get(length..).unwrap_or_default();
        match extent(value) {
            Extent::Ends(end) => {
                let found = value.get(..end).unwrap_or_default();
                match std::str::from_utf8(found) {
                    Ok(text) => envelope::of_text(text, time, self.nested, out),
                    Err(_) => envelope::body(found, time, out),
                }
                self.after_value = true;
                Some(length + end)
            }
            Extent::Open if !all => None,
            Extent::Open | Extent::Broken => {
                let end = broken_end(bytes, all)?;
                let broken = bytes.get(..end).unwrap_or_default();
                let detail = "JSON that is cut off or malformed";
                envelope::refused(broken.trim_ascii_end(), Reason::NotJson, detail, out);
                Some(end)
            }
        }
    }
}

/// The words before a JSON value.
struct Prefix {
    length: usize,
    time: Option<f64>,
}

/// Returns the words before the JSON value in the first line of `bytes`, or below a line of time
/// and stream. `Some(None)`: there is no value. `None`: more bytes are needed.
fn prefix(bytes: &[u8], all: bool) -> Option<Option<Prefix>> {
    if bytes.starts_with(b"{") || bytes.starts_with(b"[") {
        return Some(Some(Prefix { length: 0, time: None }));
    }
    let end = memchr2(b'{', b'\n', bytes).or(all.then_some(bytes.len()))?;
    let Ok(text) = std::str::from_utf8(bytes.get(..end).unwrap_or_default()) else { return Some(None) };
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let time = words.iter().find_map(|word| time::of_text(word)).map(turnmill_model::EventTime::seconds);
    let plain = !text.contains(['"', '}']);
    if bytes.get(end) == Some(&b'{') {
        let fits = plain && words.len() <= WORDS;
        return Some(fits.then_some(Prefix { length: end, time }));
    }
    // u1: 2024-03-04T13:49:26 stream
    //     {                             the object is below its time
    let stamped =
        plain && words.len() == 2 && words.first().is_some_and(|word| time::of_text(word).is_some());
    if !stamped {
        return Some(None);
    }
    let below = bytes.get(end..).unwrap_or_default();
    let space = below.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    match below.get(space) {
        None if !all => None,
        Some(b'{') => Some(Some(Prefix { length: end + space, time })),
        _ => Some(None),
    }
}

/// Returns where to go on after broken JSON: the next line that is not indented and closes nothing.
fn broken_end(bytes: &[u8], all: bool) -> Option<usize> {
    let mut at = 0;
    loop {
        match memchr(b'\n', bytes.get(at..).unwrap_or_default()) {
            None => return all.then_some(bytes.len()),
            Some(found) => at += found + 1,
        }
        match bytes.get(at) {
            None => return all.then_some(bytes.len()),
            Some(b' ' | b'\t' | b'\r' | b'\n' | b'}' | b']') => {}
            Some(_) => return Some(at),
        }
    }
}

/// Returns the first line without its line break. `None` if it goes on after the bytes.
fn line(bytes: &[u8], all: bool) -> Option<&[u8]> {
    match memchr(b'\n', bytes) {
        Some(end) => bytes.get(..end),
        None => all.then_some(bytes),
    }
}

/// Returns the length of the line `line` at the start of `bytes`, with its line break.
fn after_line(bytes: &[u8], line: &[u8]) -> usize {
    (line.len() + 1).min(bytes.len())
}

fn next_row(
    message: usize,
    time: Option<usize>,
    bytes: &[u8],
    all: bool,
    out: &mut Vec<Unwrapped>,
) -> Option<usize> {
    let (cells, length) = csv::row(bytes, all)?;
    let cell =
        |column: usize| cells.get(column).map(|cell| cell.trim_ascii()).filter(|cell| !cell.is_empty());
    let time = time.and_then(cell).and_then(|cell| time::of_text(&String::from_utf8_lossy(cell)));
    match cell(message) {
        Some(cell) => envelope::body(cell, time.map(turnmill_model::EventTime::seconds), out),
        None if cells.iter().all(|cell| cell.trim_ascii().is_empty()) => envelope::skipped(b"", out),
        None => envelope::no_message(bytes.get(..length).unwrap_or_default().trim_ascii_end(), out),
    }
    Some(length)
}

/// Returns whether `head`, the first bytes of a file or a whole payload, is certainly a log of Lex
/// or one of its envelopes.
pub(super) fn claims(head: &[u8]) -> bool {
    claims_nested(head, 0)
}

fn claims_nested(head: &[u8], nested: u8) -> bool {
    let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head).trim_ascii_start();
    if head.starts_with(GZIP) {
        // Any program may compress. Where nothing can be unpacked, there is nothing to know it by.
        let plain = unpacked_head(head);
        return nested < envelope::MAX_NESTED && !plain.is_empty() && claims_nested(&plain, nested + 1);
    }
    if head.starts_with(b"{") || head.starts_with(b"[") {
        return claims_json(head);
    }
    let first = line(head, true).unwrap_or_default();
    if std::str::from_utf8(first).is_ok_and(|line| is_test_message(line.trim_ascii())) {
        return true;
    }
    if let Some(Some(Prefix { length, .. })) = prefix(head, true) {
        return head.get(length..).is_some_and(claims_json);
    }
    let cells = if memchr(b'{', first).is_none() { csv::row(first, true) } else { None };
    match cells.and_then(|(cells, _)| csv::head(&cells)) {
        Some(Head::Fields) => true,
        Some(Head::Log { .. }) => {
            find(first, b"@message").is_some()
                || ["sessionState", "interpretations"].iter().any(|key| find(head, key.as_bytes()).is_some())
        }
        None => false,
    }
}

/// Returns the first bytes of what is compressed in `head`, as far as they can be unpacked.
fn unpacked_head(head: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    // What was unpacked before a fault, or before the head ends, stays in `plain`.
    let _ = MultiGzDecoder::new(head).take(UNPACKED_HEAD).read_to_end(&mut plain);
    plain
}

fn claims_json(json: &[u8]) -> bool {
    // Most records are Rasa's, and most of those begin so.
    let after_brace = json.get(1..).unwrap_or_default().trim_ascii_start();
    if after_brace.starts_with(b"\"event\"") || after_brace.starts_with(b"\"sender_id\"") {
        return false;
    }
    let (keys, first) = first_keys(json);
    let has = |key: &str| keys.contains(key);
    if has("event") || has("sender_id") {
        return false;
    }
    let lex =
        ["sessionState", "interpretations", "awslogs", "invocationSource", "logEvents", "searchedLogStreams"];
    if lex.iter().any(|key| has(key)) || keys.iter().any(|key| key.starts_with('@')) {
        return true;
    }
    let mark = |keys: &[&str]| keys.iter().any(|key| find(json, key.as_bytes()).is_some());
    let log_event = ["ingestionTime", "logStreamName", "eventId"];
    (has("bot") || has("botId") || has("botName") && has("botAlias")) && (has("sessionId") || has("userId"))
        || has("messageType") && has("logGroup")
        || has("Records") && mark(&["\"kinesis\""])
        || has("message") && log_event.iter().any(|key| has(key))
        || has("events") && first.contains("message") && log_event.iter().any(|key| first.contains(*key))
        || (has("results") || keys.is_empty()) && has_field(json, &first, &keys)
}

/// Returns whether `json` is a result of Insights: rows of fields with names and values.
fn has_field(json: &[u8], first: &BTreeSet<String>, keys: &BTreeSet<String>) -> bool {
    let rows = first.contains("field") && first.contains("value");
    rows && (keys.contains("statistics") || find(json, b"\"@").is_some())
}

/// Returns the keys of the first object in `json`, and those of the first object inside of it or
/// of its lists.
fn first_keys(json: &[u8]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut keys, mut inside) = (BTreeSet::new(), BTreeSet::new());
    let (mut at, mut open, mut objects, mut inner_done) = (0, Vec::new(), 0_usize, false);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => {
                let rest = json.get(at + 1..).unwrap_or_default();
                let mut end = 0;
                while let Some(byte) = rest.get(end).filter(|byte| **byte != b'"') {
                    end += if *byte == b'\\' { 2 } else { 1 };
                }
                let text = rest.get(..end.min(rest.len())).unwrap_or_default();
                at += end + 2;
                let is_key = json.get(at..).is_some_and(|rest| {
                    rest.trim_ascii_start().starts_with(b":") && open.last() == Some(&b'{')
                });
                if is_key && objects == 1 {
                    if matches!(text, b"event" | b"sender_id") {
                        return (BTreeSet::from(["event".to_owned()]), inside);
                    }
                    keys.insert(String::from_utf8_lossy(text).into_owned());
                } else if is_key && objects == 2 && !inner_done {
                    inside.insert(String::from_utf8_lossy(text).into_owned());
                }
                continue;
            }
            b'{' | b'[' => {
                open.push(*byte);
                objects += usize::from(*byte == b'{');
            }
            b'}' | b']' if open.pop() == Some(b'{') => {
                inner_done |= objects == 2;
                objects = objects.saturating_sub(1);
                if objects == 0 {
                    break;
                }
            }
            _ => {}
        }
        at += 1;
    }
    (keys, inside)
}
