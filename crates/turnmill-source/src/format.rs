//! The formats of files, and how one is told from the content.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::scan::{Fault, Kind, Scanner, Span, Value, unescape};

/// How many bytes of a file are looked at to tell its format.
pub(crate) const DETECTION_BYTES: usize = 1 << 20;

/// What a file holds.
///
/// Without being told, a file's format is detected from its first value, that is its first line which is not blank, or
/// the JSON value that begins there. What follows never changes it. The first row that fits decides:
///
/// | first value | its keys | format |
/// | --- | --- | --- |
/// | object, on one line | `event` | `rasa` |
/// | object | `events` | `tracker` |
/// | object | `topic` and `payload` | `kcat` |
/// | object | `topic` and `value` | `kafka` |
/// | object | `type_name` and `data` | `tracker-store` |
/// | object | `sender_id` and `data` | `sql-broker` |
/// | object | `slots` and `latest_message` | `tracker` |
/// | object over several lines | any other | `tracker` |
/// | array that begins with an object | | `tracker` |
/// | anything else, broken JSON, nothing at all | | `rasa` |
///
/// Of broken JSON the keys before the fault count, and of a value larger than 1 MiB those in its first MiB.
///
/// ```
/// use turnmill_source::Format;
/// assert_eq!("tracker-store".parse(), Ok(Format::TrackerStore));
/// assert_eq!(Format::detect(br#"{"sender_id": "u1", "data": "{}"}"#), Format::SqlBroker);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Lines of event bodies: Rasa's file broker, `rasa export` into one.
    Rasa,
    /// Lines with `topic`, `partition`, `offset`, `ts_type`, `ts_ms`, `key`, `headers` (list of pairs) and `value`.
    Kafka,
    /// Lines as `kcat -J` prints them: `topic`, `partition`, `offset`, `tstype`, `ts`, `headers` (flat list), `key`,
    /// `payload`.
    Kcat,
    /// Lines of rows of a SQLTrackerStore: `sender_id`, `timestamp`, `data` and columns that are not needed.
    TrackerStore,
    /// Lines of rows of a SQLEventBroker: `sender_id`, `data`.
    SqlBroker,
    /// Trackers as the HTTP API gives them, `{"sender_id": …, "events": […]}`: one or several, on lines or over many
    /// lines, also as an array. Each event is a record; an object without `events` is one itself. Nothing nests more
    /// than 1024 levels.
    Tracker,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] =
        [Self::Rasa, Self::Kafka, Self::Kcat, Self::TrackerStore, Self::SqlBroker, Self::Tracker];

    /// The name, as `--format` takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rasa => "rasa",
            Self::Kafka => "kafka",
            Self::Kcat => "kcat",
            Self::TrackerStore => "tracker-store",
            Self::SqlBroker => "sql-broker",
            Self::Tracker => "tracker",
        }
    }

    /// The format of a file with the (uncompressed) content `bytes`; the first MiB is enough.
    #[must_use]
    pub fn detect(bytes: &[u8]) -> Self {
        detect(bytes, true).unwrap_or(Self::Rasa)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or_else(|| UnknownFormat(text.into()))
    }
}

/// A text that names no [`Format`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown format `{0}`: expected rasa, kafka, kcat, tracker-store, sql-broker or tracker")]
pub struct UnknownFormat(pub String);

/// The text of a key, escapes resolved.
pub(crate) fn key_name(bytes: &[u8], key: Value) -> Cow<'_, [u8]> {
    let raw = key.span.of(bytes);
    if key.kind == (Kind::Text { escaped: true }) {
        let mut copy = raw.to_vec();
        let plain = unescape(&mut copy, Span::new(0, raw.len()));
        copy.truncate(plain.end);
        return Cow::Owned(copy);
    }
    Cow::Borrowed(raw)
}

/// Number of bytes of a byte order mark at the start of `bytes`.
pub(crate) fn byte_order_mark(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

#[derive(Default)]
struct Keys {
    data: bool,
    event: bool,
    events: bool,
    latest_message: bool,
    payload: bool,
    sender_id: bool,
    slots: bool,
    topic: bool,
    type_name: bool,
    value: bool,
}

/// `None` if more bytes have to be seen; never if these are `all` there are.
pub(crate) fn detect(bytes: &[u8], all: bool) -> Option<Format> {
    let all = all || bytes.len() >= DETECTION_BYTES;
    let bytes = &bytes[..bytes.len().min(DETECTION_BYTES)];
    let mut scanner = Scanner::new(bytes, byte_order_mark(bytes));
    let undecided = if all { Some(Format::Rasa) } else { None };
    match scanner.peek() {
        Err(_) => return undecided,
        Ok(b'{') => {}
        Ok(b'[') => {
            scanner.at += 1;
            return match scanner.peek() {
                Err(_) => undecided,
                Ok(b'{') => Some(Format::Tracker),
                Ok(_) => Some(Format::Rasa),
            };
        }
        // Possibly the first bytes of a byte order mark.
        Ok(0xef) if scanner.at + 3 > bytes.len() => return undecided,
        Ok(_) => return Some(Format::Rasa),
    }
    let start = scanner.at;
    let mut keys = Keys::default();
    let outcome = scanner.object(|scanner, key| {
        match &*key_name(bytes, key) {
            b"data" => keys.data = true,
            b"event" => keys.event = true,
            b"events" => keys.events = true,
            b"latest_message" => keys.latest_message = true,
            b"payload" => keys.payload = true,
            b"sender_id" => keys.sender_id = true,
            b"slots" => keys.slots = true,
            b"topic" => keys.topic = true,
            b"type_name" => keys.type_name = true,
            b"value" => keys.value = true,
            _ => {}
        }
        scanner.value().map(drop)
    });
    if outcome == Err(Fault::Incomplete) && !all {
        return None;
    }
    let lines = outcome.is_ok() && memchr::memchr(b'\n', &bytes[start..scanner.at]).is_some();
    Some(match keys {
        Keys { event: true, .. } if !lines => Format::Rasa,
        Keys { events: true, .. } => Format::Tracker,
        Keys { topic: true, payload: true, .. } => Format::Kcat,
        Keys { topic: true, value: true, .. } => Format::Kafka,
        Keys { type_name: true, data: true, .. } => Format::TrackerStore,
        Keys { sender_id: true, data: true, event: false, .. } => Format::SqlBroker,
        Keys { slots: true, latest_message: true, .. } => Format::Tracker,
        _ if lines => Format::Tracker,
        _ => Format::Rasa,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_truth_table_holds() {
        for (text, format) in [
            (r#"{"sender_id": "u", "event": "bot", "data": {}}"#, Format::Rasa),
            (r#"{"topic": 1, "value": 1, "payload": 1, "events": [], "event": "x"}"#, Format::Rasa),
            (r#"{"sender_id": "u", "slots": {"topic": 1}, "events": []}"#, Format::Tracker),
            (r#"{"topic": "t", "partition": 0, "payload": null}"#, Format::Kcat),
            (r#"{"topic": "t", "partition": 0, "value": null}"#, Format::Kafka),
            (r#"{"id": 1, "sender_id": "u", "type_name": "bot", "data": "{}"}"#, Format::TrackerStore),
            (r#"{"id": 1, "sender_id": "u", "data": "{}"}"#, Format::SqlBroker),
            (r#"{"id": 1, "sender\u005fid": "u", "d\u0061ta": "{}"}"#, Format::SqlBroker),
            (r#"{"sender_id": "u", "slots": {}, "latest_message": {}, "paused": false"#, Format::Tracker),
            ("{\n  \"event\": \"bot\"\n}", Format::Tracker),
            ("{\n  \"sender_id\": \"u\",\n \"data\": {},\n \"event\": \"bot\"\n}", Format::Tracker),
            ("\u{feff}\n\n [ {\"events\"", Format::Tracker),
            ("[]", Format::Rasa),
            ("[1, {\"events\": []}]", Format::Rasa),
            ("null", Format::Rasa),
            ("", Format::Rasa),
            ("\u{feff}", Format::Rasa),
            ("{\"events\": NaN}", Format::Tracker),
            ("{\"event\": \"x\n{\"events\": []}", Format::Rasa),
            ("garbage\n{\"events\": []}", Format::Rasa),
            ("{\"a\"", Format::Rasa),
        ] {
            assert_eq!(Format::detect(text.as_bytes()), format, "{text}");
        }
    }

    #[test]
    fn names_round_trip() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("Rasa".parse::<Format>().is_err());
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_a_decision(text in r#"(\u{feff})?[ \n]?[\[{]{0,2}("event"|"events"|"topic"|"data"|[:,\]}{1]|\n|"){0,12}"#) {
            let whole = detect(text.as_bytes(), true);
            for cut in 0..text.len() {
                if let Some(early) = detect(&text.as_bytes()[..cut], false) {
                    prop_assert_eq!(Some(early), whole);
                }
            }
        }
    }
}
