//! Changes as sinks receive them: operations on rows, with the names of tables and columns.

use std::fmt;

use serde::ser::{SerializeMap as _, SerializeStruct as _};
use serde::{Serialize, Serializer};
use turnmill_model::tables::Value;

use super::change::{ChangeValue, DEAD_LETTERS, Operation, Origin, Stored};
use super::encoding::VERSION;
use super::reader::Reader;

/// What a sink is given at once: the changes of one transaction, or a page of a snapshot.
///
/// A batch keeps its encoded form. Values are decoded when a sink reads them, so those that it does
/// not read cost little.
#[derive(Clone, PartialEq)]
pub struct ChangeBatch {
    /// Where the changes come from; its text form tells batches apart, also across restarts.
    pub origin: Origin,
    body: Vec<u8>,
    groups: Vec<Group>,
}

/// One operation of a batch: where its rows are in the body.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) operation: Operation,
    pub(super) table: Box<str>,
    pub(super) columns: Vec<Box<str>>,
    /// Where each row starts.
    pub(super) rows: Vec<usize>,
}

impl ChangeBatch {
    /// Creates a batch of operations in encoded form. Returns `None` if they cannot be read.
    pub(super) fn new(origin: Origin, body: Vec<u8>) -> Option<Self> {
        let mut reader = Reader::new(&body);
        let mut groups = Vec::new();
        while !reader.is_at_end() {
            groups.push(reader.group()?);
        }
        Some(Self { origin, body, groups })
    }

    /// The operations, in order.
    pub fn operations(&self) -> impl Iterator<Item = TableOperation<'_>> {
        self.groups.iter().map(|group| TableOperation { group, body: &self.body })
    }

    /// The rows, one by one, in order.
    pub fn rows(&self) -> impl Iterator<Item = RowChange<'_>> {
        self.operations().flat_map(TableOperation::rows)
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.rows.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Leaves out the row number `index` of [`rows`](Self::rows); says whether it was there.
    pub fn remove(&mut self, index: usize) -> bool {
        let mut index = index;
        for group in &mut self.groups {
            if index < group.rows.len() {
                group.rows.remove(index);
                return true;
            }
            index -= group.rows.len();
        }
        false
    }

    /// Keeps what a sink of this scope wants.
    pub fn restrict(&mut self, scope: super::Scope) {
        if scope == super::Scope::DeadLetters {
            self.groups.retain(|group| &*group.table == DEAD_LETTERS);
        }
    }
}

impl fmt::Debug for ChangeBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.origin)?;
        f.debug_list().entries(self.rows()).finish()
    }
}

/// One operation on rows of one table.
#[derive(Clone, Copy)]
pub struct TableOperation<'b> {
    group: &'b Group,
    body: &'b [u8],
}

impl<'b> TableOperation<'b> {
    /// What is done.
    #[must_use]
    pub fn operation(self) -> Operation {
        self.group.operation
    }

    /// The table: one of [`tables::PUBLIC`](turnmill_model::tables::PUBLIC) or [`DEAD_LETTERS`];
    /// empty for [`Operation::Reset`] and [`Operation::Clear`], which are about all tables.
    #[must_use]
    pub fn table(self) -> &'b str {
        &self.group.table
    }

    /// The rows. All have the same columns.
    pub fn rows(self) -> impl Iterator<Item = RowChange<'b>> {
        let Self { group, body } = self;
        group.rows.iter().map(move |start| RowChange {
            operation: group.operation,
            table: &group.table,
            columns: &group.columns,
            values: body.get(*start..).unwrap_or_default(),
        })
    }
}

impl fmt::Debug for TableOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.rows()).finish()
    }
}

/// One row of a [`ChangeBatch`] and what is done to it.
#[derive(Clone, Copy)]
pub struct RowChange<'b> {
    /// What is done.
    pub operation: Operation,
    /// The table; empty for [`Operation::Clear`] and [`Operation::Reset`].
    pub table: &'b str,
    columns: &'b [Box<str>],
    /// Encoded values, followed by those of other rows.
    values: &'b [u8],
}

impl<'b> RowChange<'b> {
    /// The primary key as text; of [`Operation::Clear`] the sender's id, of [`Operation::Reset`]
    /// empty.
    #[must_use]
    pub fn key(&self) -> String {
        match self.stored().next() {
            Some((_, Stored::Value(Value::Text(text)))) => text.to_owned(),
            Some((_, Stored::Value(Value::Id(id)))) => id.to_string(),
            Some((_, Stored::Value(Value::Integer(number)))) => number.to_string(),
            _ => String::new(),
        }
    }

    /// The value of a column, if the change has that column.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<ChangeValue<'b>> {
        self.stored().find(|(name, _)| *name == column).map(|(_, value)| value.into())
    }

    /// The columns with their values; the first is the key.
    pub fn fields(&self) -> impl Iterator<Item = (&'b str, ChangeValue<'b>)> + use<'b> {
        self.stored().map(|(name, value)| (name, value.into()))
    }

    fn stored(&self) -> impl Iterator<Item = (&'b str, Stored<'b>)> + use<'b> {
        let mut reader = Reader::new(self.values);
        // The batch was read to its end when it was created, so no value is missing.
        self.columns.iter().map_while(move |name| Some((&**name, reader.value()?)))
    }
}

impl fmt::Debug for RowChange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.operation.as_str(), self.table, self.key())
    }
}

impl PartialEq for RowChange<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.operation == other.operation && self.table == other.table && self.stored().eq(other.stored())
    }
}

/// The row as an object: columns and values.
impl Serialize for RowChange<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.columns.len()))?;
        for (name, value) in self.stored() {
            object.serialize_entry(name, &value)?;
        }
        object.end()
    }
}

/// An object: `version`, `id`, and `changes`, each with `op`, `table` and `rows` (objects).
impl Serialize for ChangeBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("ChangeBatch", 4)?;
        object.serialize_field("version", &VERSION)?;
        object.serialize_field("id", &self.origin.to_string())?;
        object.serialize_field("snapshot", &matches!(self.origin, Origin::Snapshot { .. }))?;
        object.serialize_field("changes", &Operations(self))?;
        object.end()
    }
}

struct Operations<'b>(&'b ChangeBatch);

impl Serialize for Operations<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.operations())
    }
}

impl Serialize for TableOperation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("TableOperation", 3)?;
        object.serialize_field("op", self.operation().as_str())?;
        object.serialize_field("table", self.table())?;
        object.serialize_field("rows", &Rows(*self))?;
        object.end()
    }
}

struct Rows<'b>(TableOperation<'b>);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.rows())
    }
}
