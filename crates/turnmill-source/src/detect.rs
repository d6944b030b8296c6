//! Detection of a file's container from its content.

use memchr::{memchr, memmem};

use crate::container::{Container, Layout, byte_order_mark, key_name};
use crate::respell::{all_doubled, copy_text, has_extended_numbers};
use crate::scan::{Fault, Kind, Scanner, Span, Value, unescape};
use crate::table::{Columns, Delimiter};

/// How many bytes of a file are examined to detect its container.
pub(crate) const DETECTION_BYTES: usize = 1 << 20;

/// Maximum number of lines with a tool's own messages before the content.
const MAX_MESSAGE_LINES: usize = 10;

/// Maximum nesting at which a tracker is searched inside of other objects.
pub(crate) const WRAPPED: usize = 6;

/// The properties of a file that decide how its records are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) container: Container,
    pub(crate) layout: Layout,
    /// Every backslash of a line is doubled, as in PostgreSQL's COPY text.
    pub(crate) doubled: bool,
    /// Numbers are objects, as in MongoDB's canonical Extended JSON.
    pub(crate) extended: bool,
    /// The columns of a table whose first line names them.
    pub(crate) columns: Option<Columns>,
}

impl Shape {
    fn new(container: Container, layout: Layout) -> Self {
        Self { container, layout, doubled: false, extended: false, columns: None }
    }

    /// Returns the shape of the same file if the user chose `container`.
    pub(crate) fn with_container(mut self, container: Container) -> Self {
        let lines = match container {
            Container::Tracker => Layout::Values,
            Container::Csv | Container::PgDump => Layout::Rows,
            Container::Console => Layout::Lines,
            _ if self.layout == Layout::Values => Layout::Values,
            _ => Layout::Lines,
        };
        self.layout = lines;
        self.container = container;
        self
    }
}

/// The keys of an object that decide its container.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keys {
    data: bool,
    event: bool,
    events: bool,
    exchange: bool,
    latest_message: bool,
    payload: bool,
    /// One of the keys that a record of a log has.
    record: bool,
    sender_id: bool,
    slots: bool,
    topic: bool,
    type_name: bool,
    value: bool,
}

impl Keys {
    /// Adds the keys of the next object to `found`. If it has a fault, the keys before it count.
    pub(crate) fn read(scanner: &mut Scanner<'_>, found: &mut Self) -> Result<(), Fault> {
        let bytes = scanner.bytes;
        scanner.object(|scanner, key| {
            match &*key_name(bytes, key) {
                b"data" => found.data = true,
                // An object under this key is an envelope of another container.
                b"event" => found.event |= !matches!(scanner.peek(), Ok(b'{' | b'[')),
                // Events of Rasa's engine Mantle have no `event`, and name their sender so.
                b"conversation_id" if !matches!(scanner.peek(), Ok(b'{' | b'[')) => {
                    (found.event, found.sender_id) = (true, true);
                }
                b"events" => found.events = true,
                b"exchange" | b"routing_key" | b"payload_encoding" => found.exchange = true,
                b"latest_message" => found.latest_message = true,
                b"payload" => found.payload = true,
                b"offset" | b"partition" | b"headers" => found.record = true,
                b"sender_id" => found.sender_id = true,
                b"slots" => found.slots = true,
                b"topic" => found.topic = true,
                b"type_name" => found.type_name = true,
                b"value" => found.value = true,
                _ => {}
            }
            scanner.value().map(drop)
        })
    }

    /// Returns whether the object is an event that names its sender.
    pub(crate) fn is_event_with_sender(self) -> bool {
        self.event && self.sender_id
    }

    /// Returns the container of a record with these keys.
    pub(crate) fn container(self) -> Option<Container> {
        Some(match self {
            Self { event: true, .. } => Container::Rasa,
            Self { events: true, .. } => Container::Tracker,
            Self { payload: true, exchange: true, .. } => Container::Rabbitmq,
            Self { topic: true, payload: true, .. } | Self { record: true, payload: true, .. } => {
                Container::Kcat
            }
            Self { topic: true, value: true, .. } | Self { record: true, value: true, .. } => {
                Container::Kafka
            }
            Self { type_name: true, data: true, .. } => Container::TrackerStore,
            Self { sender_id: true, data: true, .. } => Container::SqlBroker,
            Self { slots: true, latest_message: true, .. } => Container::Tracker,
            _ => return None,
        })
    }
}

/// Collects the records inside of the object at `span`, which is not a record itself. Examples are
/// a tracker under the key `tracker`, items of DynamoDB, and rows in a list.
///
/// If there is a key `tracker`, only its value is searched. A domain beside it has keys of any
/// name: `{"tracker": {"events": []}, "domain": {"slots": {"event": "x"}}}` has one record.
pub(crate) fn wrapped(bytes: &[u8], span: Span, depth: usize, found: &mut Vec<(Container, Span)>) {
    let mut members: Vec<Value> = Vec::new();
    let mut tracker = None;
    let mut scanner = Scanner::new(bytes, span.start);
    let _ = scanner.object(|scanner, key| {
        let is_tracker = &*key_name(bytes, key) == b"tracker";
        let value = scanner.value()?;
        if matches!(value.kind, Kind::Object | Kind::Array) {
            members.push(value);
            if is_tracker {
                tracker = Some(value);
            }
        }
        Ok(())
    });
    if let Some(tracker) = tracker {
        members = vec![tracker];
    }
    for member in members {
        collect_records(bytes, member, depth, found);
    }
}

/// Adds `value` to `found` if it is a record, or else the records inside of it.
fn collect_records(bytes: &[u8], value: Value, depth: usize, found: &mut Vec<(Container, Span)>) {
    if depth == WRAPPED {
        return;
    }
    let mut scanner = Scanner::new(bytes, value.span.start);
    match value.kind {
        Kind::Object => {
            let mut keys = Keys::default();
            let _ = Keys::read(&mut scanner, &mut keys);
            match keys.container() {
                Some(container) => found.push((container, value.span)),
                None => wrapped(bytes, value.span, depth + 1, found),
            }
        }
        Kind::Array => {
            let _ = scanner.array(|scanner| {
                let element = scanner.value()?;
                collect_records(bytes, element, depth + 1, found);
                Ok(())
            });
        }
        Kind::Null | Kind::Text { .. } | Kind::Token => {}
    }
}

/// Detects the shape of a file that begins with `bytes`. Returns `None` if more bytes are needed,
/// which never happens if these are `all` of the file.
///
/// More bytes never change a decision. Each case below therefore either sees enough to decide, or
/// returns `None`: `{"sender_id": "u1", "da` may become any container.
pub(crate) fn detect(bytes: &[u8], all: bool) -> Option<Shape> {
    let all = all || bytes.len() >= DETECTION_BYTES;
    let bytes = &bytes[..bytes.len().min(DETECTION_BYTES)];
    let lines = || Some(Shape::new(Container::Rasa, Layout::Lines));
    let undecided = || if all { lines() } else { None };
    let mut scanner = Scanner::new(bytes, byte_order_mark(bytes));
    let mut array = false;
    loop {
        return match scanner.peek() {
            Err(_) => undecided(),
            Ok(b'{') => object(bytes, scanner.at, array, all),
            Ok(b'[') => {
                array = true;
                scanner.at += 1;
                continue;
            }
            // Possibly the start of a byte order mark.
            Ok(0xef) if scanner.at + 3 > bytes.len() => undecided(),
            Ok(_) if array => lines(),
            Ok(b'"') => text(bytes, scanner.at, all),
            Ok(_) => columns(bytes, scanner.at, all),
        };
    }
}

/// Detects a file whose first value is the object at `start`, in an array or not.
fn object(bytes: &[u8], start: usize, array: bool, all: bool) -> Option<Shape> {
    let mut scanner = Scanner::new(bytes, start);
    let mut keys = Keys::default();
    let outcome = Keys::read(&mut scanner, &mut keys);
    if outcome == Err(Fault::Incomplete) && !all {
        return None;
    }
    let end = scanner.at.min(bytes.len());
    let whole = Span::new(start, end);
    let broken = matches!(outcome, Err(Fault::Invalid { .. } | Fault::TooDeep));
    let several = !broken && memchr(b'\n', whole.of(bytes)).is_some();
    let mut layout = if array || several { Layout::Values } else { Layout::Lines };
    if outcome.is_ok() && !array && !several {
        // Data streams deliver objects one after the other, without a line break between them.
        let rest = &bytes[end..];
        let blank = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
        match rest.get(blank) {
            None if !all => return None,
            Some(b'{' | b',') => layout = Layout::Values,
            _ => {}
        }
    }
    let mut container = keys.container();
    if container.is_none() && outcome.is_ok() {
        let mut found = Vec::new();
        wrapped(bytes, whole, 0, &mut found);
        container = (!found.is_empty()).then_some(Container::Tracker);
    }
    let container =
        container.unwrap_or(if layout == Layout::Values { Container::Tracker } else { Container::Rasa });
    if container == Container::Tracker {
        layout = Layout::Values;
    }
    let mut shape = Shape::new(container, layout);
    shape.extended = outcome.is_ok() && has_extended_numbers(whole.of(bytes));
    if !array
        && !several
        && let Some(plain) = undoubled(bytes, start)
    {
        shape.doubled = true;
        let mut keys = Keys::default();
        let _ = Keys::read(&mut Scanner::new(&plain, 0), &mut keys);
        shape.container = keys.container().unwrap_or(shape.container);
        shape.layout = Layout::Lines;
    }
    Some(shape)
}

/// Returns the first line that is JSON only after its backslashes are halved, in that form.
fn undoubled(bytes: &[u8], start: usize) -> Option<Vec<u8>> {
    let readable = |line: &[u8]| {
        let mut scanner = Scanner::new(line, 0);
        scanner.peek() == Ok(b'{') && scanner.value().is_ok() && scanner.peek().is_err()
    };
    bytes[start..].split(|byte| *byte == b'\n').filter(|line| all_doubled(line)).find_map(|line| {
        let mut plain = line.to_vec();
        let whole = Span::new(0, plain.len());
        let end = copy_text(&mut plain, whole).end;
        plain.truncate(end);
        (!readable(line) && readable(&plain)).then_some(plain)
    })
}

/// Detects a file whose first value is a JSON string: it holds an object, or is a table's first
/// column.
fn text(bytes: &[u8], start: usize, all: bool) -> Option<Shape> {
    let value = Scanner::new(bytes, start).value();
    match value {
        Ok(value) if matches!(value.span.of(bytes).trim_ascii_start().first(), Some(b'{')) => {
            let mut inner = value.span.of(bytes).to_vec();
            let whole = Span::new(0, inner.len());
            let plain = unescape(&mut inner, whole);
            inner.truncate(plain.end);
            let at = inner.len() - inner.trim_ascii_start().len();
            object(&inner, at, false, true).map(|shape| Shape::new(shape.container, Layout::Values))
        }
        Err(Fault::Incomplete) if !all => None,
        _ => columns(bytes, start, all),
    }
}

/// Detects a file that does not begin with JSON: a table, a dump, lines with columns, or other
/// text.
fn columns(bytes: &[u8], start: usize, all: bool) -> Option<Shape> {
    let rest = &bytes[start..];
    if is_sql(rest) {
        // The `COPY` block may be anywhere in the dump.
        if !all {
            return None;
        }
        let has_copy = memmem::find(rest, b" FROM stdin;").is_some();
        let of_tool = memmem::find(rest, b"PostgreSQL database").is_some();
        let inserts = memmem::find(rest, b"INSERT INTO").is_some();
        let container = if has_copy || of_tool && !inserts { Container::PgDump } else { Container::Rasa };
        let layout = if container == Container::PgDump { Layout::Rows } else { Layout::Lines };
        return Some(Shape::new(container, layout));
    }
    let end = match memchr(b'\n', rest) {
        Some(end) => end,
        None if all => rest.len(),
        None => return None,
    };
    let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
    if let Some(columns) = Columns::head(line) {
        let mut shape = Shape::new(Container::Csv, Layout::Rows);
        shape.columns = Some(columns);
        return Some(shape);
    }
    if let Some(columns) = Columns::implied(line) {
        let mut shape = Shape::new(Container::Csv, Layout::Rows);
        shape.columns = Some(columns);
        return Some(shape);
    }
    if crate::console::is_line(&rest[..end]) {
        return Some(Shape::new(Container::Console, Layout::Lines));
    }
    after_tool_messages(bytes, start + end, all).unwrap_or(Some(Shape::new(Container::Rasa, Layout::Lines)))
}

/// Detects content that follows a few lines of a tool's messages, such as a warning about a
/// password that was redirected with the output. Returns an outer `None` if no known shape follows.
/// `at` is the end of the first line.
///
/// ```text
/// 2023-03-20T09:57:08.481+0000  connected to: mongodb://localhost/
/// {"_id": {"$oid": "64"}, "sender_id": "u1", "events": []}
/// ```
fn after_tool_messages(bytes: &[u8], mut at: usize, all: bool) -> Option<Option<Shape>> {
    for _ in 0..MAX_MESSAGE_LINES {
        at += 1;
        let rest = bytes.get(at..).unwrap_or_default();
        let end = match memchr(b'\n', rest) {
            Some(end) => end,
            // `object` handles an object that continues after these bytes.
            None if all || rest.first() == Some(&b'{') => rest.len(),
            None => return Some(None),
        };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        match line.first() {
            Some(b'{') => return Some(object(bytes, at, false, all)),
            // Lines of logs may begin with a bracket too.
            Some(b'[') => {
                let mut scanner = Scanner::new(bytes, at + 1);
                match scanner.peek() {
                    Ok(b'{') => return Some(object(bytes, scanner.at, true, all)),
                    Err(_) if !all => return Some(None),
                    _ => {}
                }
            }
            Some(b'-') if is_sql(rest) && !all => return Some(None),
            Some(b'-') if is_sql(rest) && memmem::find(rest, b" FROM stdin;").is_some() => {
                return Some(Some(Shape::new(Container::PgDump, Layout::Rows)));
            }
            None if rest.is_empty() => return None,
            _ => {}
        }
        if let Some(columns) = Columns::head(line) {
            let mut shape = Shape::new(Container::Csv, Layout::Rows);
            shape.columns = Some(columns);
            return Some(Some(shape));
        }
        at += end;
    }
    None
}

/// Returns whether the text begins as SQL dumps do.
fn is_sql(text: &[u8]) -> bool {
    [
        &b"--"[..],
        b"SET ",
        b"COPY ",
        b"\\restrict",
        b"BEGIN;",
        b"BEGIN TRANSACTION;",
        b"PRAGMA ",
        b"/*",
        b"CREATE ",
        b"INSERT INTO",
    ]
    .iter()
    .any(|begin| text.starts_with(begin))
}

/// Returns the columns of a table that the user declared and whose head is not recognised.
pub(crate) fn any_columns() -> Columns {
    Columns::none(Delimiter::Comma)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_truth_table_holds() {
        use Layout::{Lines, Rows, Values};
        for (text, container, layout) in [
            (r#"{"sender_id": "u", "event": "bot", "data": {}}"#, Container::Rasa, Lines),
            (r#"{"topic": 1, "value": 1, "payload": 1, "events": [], "event": "x"}"#, Container::Rasa, Lines),
            (r#"{"conversation_id": "u", "user": {"event": "x", "events": []}}"#, Container::Rasa, Lines),
            (r#"{"sender_id": "u", "slots": {"topic": 1}, "events": []}"#, Container::Tracker, Values),
            (r#"{"topic": "t", "partition": 0, "payload": null}"#, Container::Kcat, Lines),
            (r#"{"topic": "t", "partition": 0, "value": null}"#, Container::Kafka, Lines),
            (r#"{"key": "k", "offset": 0, "value": "{}"}"#, Container::Kafka, Lines),
            (r#"{"exchange": "e", "routing_key": "", "payload": "{}"}"#, Container::Rabbitmq, Lines),
            (r#"[{"payload_encoding": "string", "payload": "{}"}]"#, Container::Rabbitmq, Values),
            (
                r#"{"id": 1, "sender_id": "u", "type_name": "bot", "data": "{}"}"#,
                Container::TrackerStore,
                Lines,
            ),
            (r#"{"id": 1, "sender_id": "u", "data": "{}"}"#, Container::SqlBroker, Lines),
            (r#"[{"id": 1, "sender_id": "u", "data": "{}"}]"#, Container::SqlBroker, Values),
            (r#"{"id": 1, "sender\u005fid": "u", "d\u0061ta": "{}"}"#, Container::SqlBroker, Lines),
            (
                r#"{"sender_id": "u", "slots": {}, "latest_message": {}, "paused": false"#,
                Container::Tracker,
                Values,
            ),
            (r#"{"Item": {"sender_id": {"S": "u"}, "events": {"L": []}}}"#, Container::Tracker, Values),
            (
                r#"{"next_action": "a", "tracker": {"events": []}, "domain": {"slots": {"event": "x"}}}"#,
                Container::Tracker,
                Values,
            ),
            (r#"{"_source": {"event": "bot"}}"#, Container::Tracker, Values),
            (r#"{"a": {"b": [1, {"c": 1}]}}"#, Container::Rasa, Lines),
            ("{\n  \"event\": \"bot\"\n}", Container::Rasa, Values),
            ("{\n  \"sender_id\": \"u\",\n \"data\": {},\n \"event\": \"bot\"\n}", Container::Rasa, Values),
            (r#"{"event": "bot"}{"event": "bot"}"#, Container::Rasa, Values),
            (r#"{"event": {"event": "bot"}}"#, Container::Tracker, Values),
            ("\u{feff}\n\n [ {\"events\"", Container::Tracker, Values),
            (r#""{\"events\": []}""#, Container::Tracker, Values),
            ("[]", Container::Rasa, Lines),
            ("[1, {\"events\": []}]", Container::Rasa, Lines),
            ("null", Container::Rasa, Lines),
            ("", Container::Rasa, Lines),
            ("\u{feff}", Container::Rasa, Lines),
            ("{\"events\": NaN}", Container::Tracker, Values),
            ("{\"event\": \"x\n{\"events\": []}", Container::Rasa, Lines),
            ("garbage\n{\"events\": []}", Container::Tracker, Values),
            ("garbage\n{\"event\": 1}", Container::Rasa, Lines),
            ("[2023-03-20] {\"events\": []}\ngarbage", Container::Rasa, Lines),
            ("{\"a\"", Container::Rasa, Lines),
            ("id,sender_id,data\n1,u,\"{}\"", Container::Csv, Rows),
            ("\"id\";\"sender_id\";\"data\"\r\n", Container::Csv, Rows),
            ("1\tu\tbot\t1.5\t\\N\t\\N\t{\"event\": \"bot\"}", Container::Csv, Rows),
            ("CreateTime:5\tk\t{\"event\": \"bot\", \"sender_id\": 1}", Container::Console, Lines),
            ("u1:{\"event\": \"bot\", \"sender_id\": 1}", Container::Console, Lines),
            ("INFO {\"event\": \"bot\"}", Container::Rasa, Lines),
            ("--\n-- PostgreSQL database dump\n--\n", Container::PgDump, Rows),
            ("-- MySQL dump\nINSERT INTO `events` VALUES", Container::Rasa, Lines),
        ] {
            let shape = detect(text.as_bytes(), true).unwrap();
            assert_eq!((shape.container, shape.layout), (container, layout), "{text}");
        }
        let doubled = detect(br#"{"id": 1, "sender_id": "u", "data": "{\\"event\\": 1}"}"#, true).unwrap();
        assert_eq!((doubled.container, doubled.layout, doubled.doubled), (Container::SqlBroker, Lines, true));
        let extended = detect(br#"{"event": "bot", "timestamp": {"$numberInt": "1"}}"#, true).unwrap();
        assert!(extended.extended && extended.container == Container::Rasa);
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_a_decision(text in r#"(\u{feff})?[ \n]?[\[{]{0,2}("event"|"events"|"topic"|"data"|[:,\]}{1]|\n|"|\t){0,12}"#) {
            let whole = detect(text.as_bytes(), true).map(|shape| (shape.container, shape.layout));
            for cut in 0..text.len() {
                if let Some(early) = detect(&text.as_bytes()[..cut], false) {
                    prop_assert_eq!(Some((early.container, early.layout)), whole);
                }
            }
        }
    }
}
