//! The containers of records: the formats of files.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::detect::detect;
use crate::scan::{Kind, Span, Value, unescape};

/// The format of a file: how records lie in it. What a record means is decided by a
/// [decoder](turnmill_model::Decoder).
///
/// Unless the user names it, the container is detected from the first value: the first line that is
/// not blank, or the JSON value that begins there. Later content never changes the decision. The
/// first matching row decides:
///
/// | first value | its keys | container |
/// | --- | --- | --- |
/// | object | `event`, not an object | `rasa` |
/// | object | `events` | `tracker` |
/// | object | `payload` and `exchange`, `routing_key` or `payload_encoding` | `rabbitmq` |
/// | object | `payload` and `topic`, `partition`, `offset` or `headers` | `kcat` |
/// | object | `value` and `topic`, `partition`, `offset` or `headers` | `kafka` |
/// | object | `type_name` and `data` | `tracker-store` |
/// | object | `sender_id` and `data` | `sql-broker` |
/// | object | `slots` and `latest_message` | `tracker` |
/// | object that contains one of these at some depth | any other | `tracker` |
/// | array that begins with an object | those of that object | that object's |
/// | object, or array of objects, on several lines | any other | `tracker` |
/// | line of columns with a column `data` and between `,`, `;`, tab or a bar | | `csv` |
/// | line that ends with an object after other text | `event` and `sender_id` | `console` |
/// | SQL with a `COPY` block | | `pg-dump` |
/// | anything else, broken JSON, nothing at all | | `rasa` |
///
/// If the JSON is broken, the keys before the fault count. If the value is larger than 1 MiB, the
/// keys in its first MiB count.
///
/// The objects of any JSON container may also be elements of one array, or span several lines each.
///
/// ```
/// use turnmill_source::Container;
/// assert_eq!("tracker-store".parse(), Ok(Container::TrackerStore));
/// assert_eq!(Container::detect(br#"{"sender_id": "u1", "data": "{}"}"#), Container::SqlBroker);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// Event bodies: Rasa's file broker, `rasa export` into one.
    Rasa,
    /// Records with `topic`, `partition`, `offset`, `ts_type`, `ts_ms` or `timestamp`, `key`,
    /// `headers` and `value`, as `turnmill-replay --dump` and `rpk topic consume` write them.
    Kafka,
    /// Records as `kcat -J` prints them: `topic`, `partition`, `offset`, `tstype`, `ts`, `headers`,
    /// `key`, `payload`.
    Kcat,
    /// Rows of a SQLTrackerStore: `id`, `sender_id`, `timestamp`, `data` and columns that are
    /// ignored.
    TrackerStore,
    /// Rows of a SQLEventBroker: `id`, `sender_id`, `data`.
    SqlBroker,
    /// Trackers as the HTTP API returns them: `{"sender_id": …, "events": […]}`.
    ///
    /// `name` may replace `sender_id`, values may have DynamoDB's types, and trackers may be nested
    /// in other objects. Each event is a record. An object without `events` is one event. Nesting
    /// ends at 1024 levels.
    Tracker,
    /// Messages as RabbitMQ's management API returns them: `payload`, and `properties` with
    /// `app_id`.
    Rabbitmq,
    /// Lines of Kafka's console consumer: the printed properties and the value, between tabs. The
    /// properties are time, partition, offset, headers and key. Also any other lines that end with
    /// an event.
    Console,
    /// The table `events` of either SQL store as text. The first line names the columns, separated
    /// by commas, semicolons, tabs or bars.
    Csv,
    /// The same table in a plain `pg_dump`: rows of its `COPY` block. The rest of the dump has no
    /// records.
    PgDump,
}

/// How a file separates its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Each line is a record.
    Lines,
    /// JSON values, on one line or many, in an array or one after the other. Separators are not
    /// records.
    Values,
    /// Rows of a table under a line of column names. That line is not a record.
    Rows,
}

impl Container {
    /// Every container.
    pub const ALL: [Self; 10] = [
        Self::Rasa,
        Self::Kafka,
        Self::Kcat,
        Self::TrackerStore,
        Self::SqlBroker,
        Self::Tracker,
        Self::Rabbitmq,
        Self::Console,
        Self::Csv,
        Self::PgDump,
    ];

    /// Returns the name, as `--format` takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rasa => "rasa",
            Self::Kafka => "kafka",
            Self::Kcat => "kcat",
            Self::TrackerStore => "tracker-store",
            Self::SqlBroker => "sql-broker",
            Self::Tracker => "tracker",
            Self::Rabbitmq => "rabbitmq",
            Self::Console => "console",
            Self::Csv => "csv",
            Self::PgDump => "pg-dump",
        }
    }

    /// Detects the container of a file with the uncompressed content `bytes`; the first MiB is enough.
    #[must_use]
    pub fn detect(bytes: &[u8]) -> Self {
        detect(bytes, true).map_or(Self::Rasa, |shape| shape.container)
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Container {
    type Err = UnknownContainer;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|container| container.as_str() == text)
            .ok_or_else(|| UnknownContainer(text.into()))
    }
}

/// A text that is not the name of a [`Container`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown format `{0}`: expected rasa, kafka, kcat, tracker-store, sql-broker, tracker, rabbitmq, console, csv or pg-dump"
)]
pub struct UnknownContainer(pub String);

/// Returns the text of a key, with its escapes resolved.
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

/// Returns the length of the byte order mark at the start of `bytes`, or 0.
pub(crate) fn byte_order_mark(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for container in Container::ALL {
            assert_eq!(container.to_string().parse(), Ok(container));
        }
        let error = "Rasa".parse::<Container>().unwrap_err().to_string();
        for container in Container::ALL {
            assert!(error.contains(container.as_str()));
        }
    }
}
