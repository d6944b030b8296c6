//! Describes the public tables once, as data, and defines the typed rows of those that events
//! write.
//!
//! Fifteen of them are the `rasa_*` tables. Names, order, types and meaning of their columns are
//! the documented ones of Rasa's analytics data structure. Queries written for it run unchanged.
//! The eight `ext_*` tables extend them. Writers, migrations, digests and documentation all use
//! [`PUBLIC`].
//!
//! ```
//! use turnmill_model::tables::{PUBLIC, RASA_EVENT};
//! assert_eq!(PUBLIC.iter().filter(|table| table.name.starts_with("rasa_")).count(), 15);
//! assert_eq!(PUBLIC.iter().filter(|table| table.is_extension()).count(), 8);
//! assert_eq!(RASA_EVENT.columns[3].name, "timestamp");
//! ```

#[macro_use]
mod describe;
mod facts;
mod rows;

use uuid::Uuid;

pub use self::facts::*;
pub use self::rows::*;
use crate::{EventId, Micros, SenderId, SessionId, UserId};

/// Describes one table.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name, lower case.
    pub name: &'static str,
    /// What one row stands for.
    pub doc: &'static str,
    /// Its columns, in documented order; the first is the primary key.
    pub columns: &'static [Column],
    /// The indexes besides the primary key that the closed product publishes. Those of the stores
    /// are in `turnmill-sql`.
    pub indexes: &'static [Index],
    /// Name of a view over the whole table, if documents use another name for it.
    pub view: Option<&'static str>,
}

impl Table {
    /// Returns whether it is one of the `ext_*` tables, which extend the documented ones.
    #[must_use]
    pub fn is_extension(&self) -> bool {
        self.name.starts_with("ext_")
    }

    /// Returns how its rows lead to their sender, or `None` if a row is not of a single sender.
    ///
    /// ```
    /// use turnmill_model::tables::{EXT_MESSAGE, Owner, RASA_EVENT, RASA_USER};
    /// assert_eq!(RASA_EVENT.owner(), Some(Owner::Sender(1)));
    /// assert_eq!(EXT_MESSAGE.owner(), Some(Owner::Event(0)));
    /// assert_eq!(RASA_USER.owner(), None);
    /// ```
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        if self.name == RASA_SENDER.name {
            return Some(Owner::Sender(0));
        }
        let refers = |to: &str| self.columns.iter().position(|column| column.references == Some(to));
        let sender = self.column("sender_id").map(Owner::Sender);
        let session = || refers("rasa_session").map(Owner::Session);
        sender.or_else(session).or_else(|| refers("rasa_event").map(Owner::Event))
    }

    /// Returns the index of the column `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// How a row leads to its sender: number of the column to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The column holds the sender's id.
    Sender(usize),
    /// The column holds the id of a session.
    Session(usize),
    /// The column holds the id of an event.
    Event(usize),
}

/// Describes one column.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What its values stand for, in one sentence. It may begin with a space.
    pub doc: &'static str,
    /// Its type.
    pub ty: ColumnType,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// The table whose primary key it refers to.
    pub references: Option<&'static str>,
    /// Whether it holds wall-clock time, which digests leave out.
    pub wall_clock: bool,
}

/// Type of a column. Each SQL dialect has its own spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// UUID text of 36 characters.
    Id,
    /// Text of at most this many code points.
    Varchar(usize),
    /// Text without limit.
    Text,
    /// 64-bit integer.
    Integer,
    /// 64-bit float.
    Float,
    /// Time in UTC without zone, microseconds.
    DateTime,
    /// Truth value.
    Boolean,
}

/// Describes one index.
#[derive(Debug, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: &'static str,
    /// Its columns, as SQL writes them (`timestamp ASC`).
    pub columns: &'static [&'static str],
}

/// A value of one column of one row, borrowed from the row and its [`Texts`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'t> {
    /// NULL
    Null,
    /// A UUID.
    Id(Uuid),
    /// A text.
    Text(&'t str),
    /// An integer.
    Integer(i64),
    /// A finite float.
    Float(f64),
    /// A time.
    DateTime(Micros),
    /// A truth value.
    Boolean(bool),
}

/// Holds the texts of rows. Rows hold [`Text`] spans into it, so a batch of rows costs one
/// allocation.
#[derive(Clone, Debug, Default)]
pub struct Texts(String);

/// A span of [`Texts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    start: u32,
    len: u32,
}

impl Texts {
    /// Adds `text` and returns its span.
    ///
    /// At most 4 GiB fit; a batch is far smaller. Texts past that limit read as empty.
    pub fn add(&mut self, text: &str) -> Text {
        let start = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.0.push_str(text);
        Text { start, len }
    }

    /// Returns the text of `span`, or an empty one if it is not a span of these texts.
    #[must_use]
    pub fn get(&self, span: Text) -> &str {
        let start = span.start as usize;
        self.0.get(start..start + span.len as usize).unwrap_or_default()
    }

    /// Returns the number of bytes in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// A typed row of one of the [tables](self). The row types of this module implement it.
///
/// Code that treats all tables alike reads rows by column number:
///
/// ```
/// use turnmill_model::tables::{Row, Texts, UserRow, Value};
/// use turnmill_model::{Micros, UserId};
///
/// let mut texts = Texts::default();
/// let user_key = texts.add("ann");
/// let (first_seen, last_seen) = (Micros(0), Micros(5));
/// let row = UserRow { id: UserId::new("ann"), user_key, first_seen, last_seen };
/// assert_eq!(UserRow::TABLE.name, "rasa_user");
/// assert_eq!(row.value(1, &texts), Value::Text("ann"));
///
/// // A row that moves to other changes takes its texts with it.
/// let mut others = Texts::default();
/// let moved = row.rebase(&texts, &mut others);
/// assert_eq!(moved.value(1, &others), Value::Text("ann"));
/// ```
pub trait Row: Copy + std::fmt::Debug {
    /// The table that the row belongs to.
    const TABLE: &'static Table;

    /// Returns the value of column number `column` (0 is the primary key), or NULL past the last
    /// one. `texts` must be those with which the row was made.
    fn value<'t>(&self, column: usize, texts: &'t Texts) -> Value<'t>;

    /// Copies the row's texts from `from` to `to`, and returns the row with spans of `to`.
    #[must_use]
    fn rebase(&self, from: &Texts, to: &mut Texts) -> Self;
}

trait Field: Copy {
    fn field<'t>(&self, texts: &'t Texts) -> Value<'t>;

    fn rebase(&self, _from: &Texts, _to: &mut Texts) -> Self {
        *self
    }
}

macro_rules! field {
    ($($ty:ty: $self:ident => $value:expr;)*) => {
        $(impl Field for $ty {
            fn field<'t>(&$self, _texts: &'t Texts) -> Value<'t> { $value }
        })*
    };
}

impl Field for Text {
    fn field<'t>(&self, texts: &'t Texts) -> Value<'t> {
        Value::Text(texts.get(*self))
    }

    fn rebase(&self, from: &Texts, to: &mut Texts) -> Self {
        to.add(from.get(*self))
    }
}

field! {
    Uuid: self => Value::Id(*self);
    EventId: self => Value::Id(self.0);
    SenderId: self => Value::Id(self.0);
    SessionId: self => Value::Id(self.0);
    UserId: self => Value::Id(self.0);
    i64: self => Value::Integer(*self);
    f64: self => Value::Float(*self);
    Micros: self => Value::DateTime(*self);
    bool: self => Value::Boolean(*self);
}

impl<F: Field> Field for Option<F> {
    fn field<'t>(&self, texts: &'t Texts) -> Value<'t> {
        match self {
            Some(field) => field.field(texts),
            None => Value::Null,
        }
    }

    fn rebase(&self, from: &Texts, to: &mut Texts) -> Self {
        self.map(|field| field.rebase(from, to))
    }
}

const SHORT: ColumnType = ColumnType::Varchar(crate::text::SHORT);
const LONG: ColumnType = ColumnType::Varchar(crate::text::LONG);

/// The public tables, each after those it refers to.
pub static PUBLIC: [&Table; 23] = [
    &RASA_USER,
    &RASA_SENDER,
    &RASA_SESSION,
    &RASA_TURN,
    &RASA_EVENT,
    &RASA_BOT_MESSAGE,
    &RASA_USER_MESSAGE,
    &RASA_ACTION,
    &RASA_SLOT,
    &RASA_SESSION_SLOT_STATE,
    &RASA_PATTERNS,
    &RASA_MARKERS,
    &RASA_DIALOGUE_STACK_FRAME,
    &RASA_LLM_COMMAND,
    &RASA_FLOW_STATUS,
    &EXT_SESSION,
    &EXT_TURN,
    &EXT_MESSAGE,
    &EXT_DIALOG_RUN,
    &EXT_SLOT,
    &EXT_CALL,
    &EXT_SPAN,
    &EXT_FEEDBACK,
];

/// Returns the public table called `name`.
#[must_use]
pub fn public(name: &str) -> Option<&'static Table> {
    PUBLIC.iter().copied().find(|table| table.name == name)
}
