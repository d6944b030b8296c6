//! Changes as sinks receive them: operations on rows, with the names of tables and columns.

use std::fmt;

use serde::ser::{SerializeMap as _, SerializeSeq as _, SerializeStruct as _};
use serde::{Serialize, Serializer};
use turnmill_model::Micros;
use turnmill_model::tables::{Column, PUBLIC, RASA_PATTERNS, Table, Value};

use super::encoding::VERSION;

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

/// One value of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeValue {
    /// NULL
    Null,
    /// A text, or an id as text of 36 characters.
    Text(Box<str>),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A time in UTC, microseconds.
    DateTime(Micros),
    /// A truth value.
    Boolean(bool),
    /// Bytes; only of dead letters.
    Bytes(Box<[u8]>),
}

impl ChangeValue {
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
}

impl From<Value<'_>> for ChangeValue {
    fn from(value: Value<'_>) -> Self {
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

impl Serialize for ChangeValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::DateTime(time) => serializer.collect_str(time),
            Self::Boolean(truth) => serializer.serialize_bool(*truth),
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

/// One operation on rows of one table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableOperation {
    /// What is done.
    pub operation: Operation,
    /// The table: one of [`tables::PUBLIC`](turnmill_model::tables::PUBLIC) or [`DEAD_LETTERS`];
    /// empty for [`Operation::Reset`] and [`Operation::Clear`], which are about all tables.
    pub table: Box<str>,
    /// Names of the columns that the rows have; the first is the key.
    pub columns: Vec<Box<str>>,
    /// The rows' values, in the order of the columns.
    pub rows: Vec<Vec<ChangeValue>>,
}

/// One row of a [`ChangeBatch`] and what is done to it.
#[derive(Clone, Copy, PartialEq)]
pub struct RowChange<'b> {
    /// What is done.
    pub operation: Operation,
    /// The table; empty for [`Operation::Clear`] and [`Operation::Reset`].
    pub table: &'b str,
    columns: &'b [Box<str>],
    values: &'b [ChangeValue],
}

impl<'b> RowChange<'b> {
    /// The primary key as text; of [`Operation::Clear`] the sender's id, of [`Operation::Reset`]
    /// empty.
    #[must_use]
    pub fn key(&self) -> String {
        match self.values.first() {
            Some(ChangeValue::Text(text)) => text.to_string(),
            Some(ChangeValue::Integer(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    /// The value of a column, if the change has that column.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&'b ChangeValue> {
        self.fields().find(|(name, _)| *name == column).map(|(_, value)| value)
    }

    /// The columns with their values; the first is the key.
    pub fn fields(&self) -> impl Iterator<Item = (&'b str, &'b ChangeValue)> + use<'b> {
        self.columns.iter().map(|name| &**name).zip(self.values)
    }
}

impl fmt::Debug for RowChange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.operation.as_str(), self.table, self.key())
    }
}

/// The row as an object: columns and values.
impl Serialize for RowChange<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.columns.len()))?;
        for (name, value) in self.fields() {
            object.serialize_entry(name, value)?;
        }
        object.end()
    }
}

/// Where a [`ChangeBatch`] comes from.
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

/// What a sink is given at once: the changes of one transaction, or a page of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeBatch {
    /// Where the changes come from; its text form tells batches apart, also across restarts.
    pub origin: Origin,
    /// The changes, to be made in this order.
    pub operations: Vec<TableOperation>,
}

impl ChangeBatch {
    /// The rows, one by one, in order.
    pub fn rows(&self) -> impl Iterator<Item = RowChange<'_>> {
        self.operations.iter().flat_map(|group| {
            let TableOperation { operation, table, columns, rows } = group;
            rows.iter().map(move |values| RowChange { operation: *operation, table, columns, values })
        })
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.iter().map(|group| group.rows.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Leaves out the row number `index` of [`rows`](Self::rows); says whether it was there.
    pub fn remove(&mut self, index: usize) -> bool {
        let mut before = 0;
        for group in &mut self.operations {
            if index - before < group.rows.len() {
                group.rows.remove(index - before);
                return true;
            }
            before += group.rows.len();
        }
        false
    }

    /// Keeps what a sink of this scope wants.
    pub fn restrict(&mut self, scope: super::Scope) {
        if scope == super::Scope::DeadLetters {
            self.operations.retain(|group| &*group.table == DEAD_LETTERS);
        }
    }
}

/// An object: `version`, `id`, and `changes`, each with `op`, `table` and `rows` (objects).
impl Serialize for ChangeBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("ChangeBatch", 4)?;
        object.serialize_field("version", &VERSION)?;
        object.serialize_field("id", &self.origin.to_string())?;
        object.serialize_field("snapshot", &matches!(self.origin, Origin::Snapshot { .. }))?;
        object.serialize_field("changes", &Operations(&self.operations))?;
        object.end()
    }
}

struct Operations<'o>(&'o [TableOperation]);

impl Serialize for Operations<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0)
    }
}

impl Serialize for TableOperation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("TableOperation", 3)?;
        object.serialize_field("op", self.operation.as_str())?;
        object.serialize_field("table", &self.table)?;
        object.serialize_field("rows", &ObjectRows(self))?;
        object.end()
    }
}

struct ObjectRows<'o>(&'o TableOperation);

impl Serialize for ObjectRows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let TableOperation { operation, table, columns, rows } = self.0;
        let mut list = serializer.serialize_seq(Some(rows.len()))?;
        for values in rows {
            list.serialize_element(&RowChange { operation: *operation, table, columns, values })?;
        }
        list.end()
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
