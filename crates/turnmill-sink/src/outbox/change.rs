//! The parts of a change: operations, values, names of columns, origins.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};
use turnmill_model::Micros;
use turnmill_model::tables::{Column, PUBLIC, RASA_PATTERNS, Table, Value};
use uuid::Uuid;

/// Name of the table of dead letters in changes. It has the columns of [`DEAD_LETTER_COLUMNS`].
pub const DEAD_LETTERS: &str = "turnmill_dead_letter";

/// The columns of [`DEAD_LETTERS`]: the invalid record, and the reason.
///
/// `payload` and `record_key` are bytes. `headers` is a JSON list of pairs, name and value; a value
/// is hexadecimal, or null.
pub const DEAD_LETTER_COLUMNS: [&str; 13] = [
    "id",
    "source",
    "partition",
    "place",
    "reason",
    "detail",
    "payload",
    "sender",
    "time",
    "environment",
    "record_row",
    "record_key",
    "headers",
];

/// Returns the columns of `table` that changes have: all except those that the store fills with the
/// time of writing.
pub fn columns(table: &'static Table) -> impl Iterator<Item = (usize, &'static Column)> {
    let keep_stamps = *table == RASA_PATTERNS;
    table.columns.iter().enumerate().filter(move |(_, column)| keep_stamps || !column.wall_clock)
}

/// What is done to rows. Every operation is idempotent: applied twice in a row, it changes nothing
/// the second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Deletes all rows of all tables. A snapshot begins with it.
    Reset,
    /// Deletes all rows of a sender from every table: those with its `sender_id`, its row in
    /// `rasa_sender`, and those without a `sender_id` that refer to one of its events or sessions:
    /// see [`Table::owner`]. The only column is `sender_id`. A rebuild begins with it.
    Clear,
    /// Inserts a complete row, or replaces the row with the same key.
    Put,
    /// Inserts a complete row, or widens the row with the same key: least `first_seen`, greatest
    /// `last_seen`. Only for `rasa_user`, because several senders share a user.
    Merge,
    /// Updates the named columns of the row with the key. Does nothing if there is no such row.
    Set,
    /// Deletes the row with the key, if it exists.
    Delete,
}

impl Operation {
    /// Returns the name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Clear => "clear",
            Self::Put => "put",
            Self::Merge => "merge",
            Self::Set => "set",
            Self::Delete => "delete",
        }
    }
}

/// One value of a change. It borrows from the batch where it can.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeValue<'b> {
    /// NULL
    Null,
    /// A text, or an id as text of 36 characters.
    Text(Cow<'b, str>),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A time in UTC, microseconds.
    DateTime(Micros),
    /// A truth value.
    Boolean(bool),
    /// Bytes; only of dead letters.
    Bytes(Cow<'b, [u8]>),
}

impl ChangeValue<'_> {
    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, if it is bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The integer, if it is one.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The value of a public table; none for bytes, which no public table has.
    #[must_use]
    pub fn as_value(&self) -> Option<Value<'_>> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Text(text) => Value::Text(text),
            Self::Integer(number) => Value::Integer(*number),
            Self::Float(number) => Value::Float(*number),
            Self::DateTime(time) => Value::DateTime(*time),
            Self::Boolean(truth) => Value::Boolean(*truth),
            Self::Bytes(_) => return None,
        })
    }

    /// Returns the value with a text or bytes of its own.
    #[must_use]
    pub fn into_owned(self) -> ChangeValue<'static> {
        match self {
            Self::Null => ChangeValue::Null,
            Self::Text(text) => ChangeValue::Text(text.into_owned().into()),
            Self::Integer(number) => ChangeValue::Integer(number),
            Self::Float(number) => ChangeValue::Float(number),
            Self::DateTime(time) => ChangeValue::DateTime(time),
            Self::Boolean(truth) => ChangeValue::Boolean(truth),
            Self::Bytes(bytes) => ChangeValue::Bytes(bytes.into_owned().into()),
        }
    }
}

impl<'b> From<Value<'b>> for ChangeValue<'b> {
    fn from(value: Value<'b>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Id(id) => Self::Text(id.to_string().into()),
            Value::Text(text) => Self::Text(text.into()),
            Value::Integer(number) => Self::Integer(number),
            Value::Float(number) => Self::Float(number),
            Value::DateTime(time) => Self::DateTime(time),
            Value::Boolean(truth) => Self::Boolean(truth),
        }
    }
}

/// The stored form of a value, whose id is no text yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stored<'b> {
    Value(Value<'b>),
    Bytes(&'b [u8]),
}

impl<'b> From<Stored<'b>> for ChangeValue<'b> {
    fn from(stored: Stored<'b>) -> Self {
        match stored {
            Stored::Value(value) => value.into(),
            Stored::Bytes(bytes) => Self::Bytes(bytes.into()),
        }
    }
}

impl Serialize for ChangeValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stored = match self {
            Self::Bytes(bytes) => Stored::Bytes(bytes),
            other => Stored::Value(other.as_value().unwrap_or(Value::Null)),
        };
        stored.serialize(serializer)
    }
}

impl Serialize for Stored<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(Value::Null) => serializer.serialize_unit(),
            Self::Value(Value::Id(id)) => {
                serializer.serialize_str(id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
            Self::Value(Value::Text(text)) => serializer.serialize_str(text),
            Self::Value(Value::Integer(number)) => serializer.serialize_i64(*number),
            Self::Value(Value::Float(number)) => serializer.serialize_f64(*number),
            Self::Value(Value::DateTime(time)) => serializer.collect_str(time),
            Self::Value(Value::Boolean(truth)) => serializer.serialize_bool(*truth),
            Self::Bytes(bytes) => serializer.collect_str(&Base64(bytes)),
        }
    }
}

/// Bytes, displayed in base64 with padding.
struct Base64<'b>(&'b [u8]);

impl fmt::Display for Base64<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for chunk in self.0.chunks(3) {
            let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for digit in 0..4 {
                // A chunk of n bytes fills n + 1 digits.
                let index = (bits >> (18 - 6 * digit) & 63) as usize;
                let filled = digit <= chunk.len();
                f.write_char(if filled {
                    DIGITS.get(index).map_or('=', |digit| char::from(*digit))
                } else {
                    '='
                })?;
            }
        }
        Ok(())
    }
}

/// Where a [`ChangeBatch`](super::ChangeBatch) comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// From one committed transaction. Repeated with the same content.
    Commit {
        /// The transaction's number: commits are numbered without gaps, in their order.
        number: u64,
    },
    /// A page of the rows that the store had when the page was read. A repeated page may have newer
    /// rows.
    Snapshot {
        /// Number of the last transaction before the snapshot was asked for. What follows the
        /// snapshot comes after it.
        after: u64,
        /// Which page.
        page: Box<str>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit { number } => write!(f, "{number}"),
            Self::Snapshot { after, page } => write!(f, "snapshot-{after}-{page}"),
        }
    }
}

/// The public table called `name`, and what changes call its columns.
pub(crate) fn public(name: &str) -> Option<&'static Table> {
    PUBLIC.iter().copied().find(|table| table.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ] {
            assert_eq!(Base64(bytes.as_bytes()).to_string(), expected);
        }
        assert_eq!(Base64(&[0xfb, 0xff, 0xfe]).to_string(), "+//+");
    }
}
