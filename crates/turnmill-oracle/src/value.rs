//! Rows with owned values, and the differences of two sets of tables.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use turnmill_model::tables::{self, Value};
use turnmill_model::{EventId, Micros, SenderId, SessionId, UserId};
use uuid::Uuid;

/// The public tables by name. Rows are in order of their primary key, columns as in
/// [`turnmill_model::tables`].
pub type Tables = BTreeMap<&'static str, Vec<Vec<OwnedValue>>>;

/// A value of one column of one row. Floats are equal if their bits are.
///
/// ```
/// use turnmill_oracle::OwnedValue;
/// assert_eq!(OwnedValue::from(0.5).to_string(), "0.5");
/// assert_eq!(OwnedValue::from("a\nb").to_string(), r#""a\nb""#);
/// assert_ne!(OwnedValue::Float(0.0), OwnedValue::Float(-0.0));
/// ```
#[derive(Clone, Debug)]
pub enum OwnedValue {
    /// NULL
    Null,
    /// A UUID.
    Id(Uuid),
    /// A text.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A time.
    DateTime(Micros),
    /// A truth value.
    Boolean(bool),
}

impl OwnedValue {
    /// Returns the value in the form of table descriptions.
    #[must_use]
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Id(id) => Value::Id(*id),
            Self::Text(text) => Value::Text(text),
            Self::Integer(integer) => Value::Integer(*integer),
            Self::Float(float) => Value::Float(*float),
            Self::DateTime(micros) => Value::DateTime(*micros),
            Self::Boolean(boolean) => Value::Boolean(*boolean),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Id(_) => 1,
            Self::Text(_) => 2,
            Self::Integer(_) => 3,
            Self::Float(_) => 4,
            Self::DateTime(_) => 5,
            Self::Boolean(_) => 6,
        }
    }
}

impl Ord for OwnedValue {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Id(a), Self::Id(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::DateTime(a), Self::DateTime(b)) => a.cmp(b),
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

impl PartialOrd for OwnedValue {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for OwnedValue {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for OwnedValue {}

impl fmt::Display for OwnedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Id(id) => id.fmt(f),
            Self::Text(text) if text.chars().count() > 60 => {
                write!(f, "{:?}... ({} chars)", turnmill_model::text::cut(text, 50), text.chars().count())
            }
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(integer) => integer.fmt(f),
            Self::Float(float) => write!(f, "{float:?}"),
            Self::DateTime(micros) => micros.fmt(f),
            Self::Boolean(boolean) => boolean.fmt(f),
        }
    }
}

impl From<Value<'_>> for OwnedValue {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Id(id) => Self::Id(id),
            Value::Text(text) => Self::Text(text.to_owned()),
            Value::Integer(integer) => Self::Integer(integer),
            Value::Float(float) => Self::Float(float),
            Value::DateTime(micros) => Self::DateTime(micros),
            Value::Boolean(boolean) => Self::Boolean(boolean),
        }
    }
}

macro_rules! from {
    ($($ty:ty: $from:ident => $value:expr;)*) => {
        $(impl From<$ty> for OwnedValue {
            fn from($from: $ty) -> Self { $value }
        })*
    };
}

from! {
    Uuid: id => Self::Id(id);
    EventId: id => Self::Id(id.0);
    SenderId: id => Self::Id(id.0);
    SessionId: id => Self::Id(id.0);
    UserId: id => Self::Id(id.0);
    &str: text => Self::Text(text.to_owned());
    String: text => Self::Text(text);
    i64: integer => Self::Integer(integer);
    f64: float => Self::Float(float);
    Micros: micros => Self::DateTime(micros);
    bool: boolean => Self::Boolean(boolean);
}

impl<T: Into<OwnedValue>> From<Option<T>> for OwnedValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Maximum number of rows of one table that [`diff`] shows.
const SHOWN: usize = 10;

/// Describes how `actual` differs from `expected`; `None` if it does not. A missing table counts as
/// empty, and the order of rows does not matter.
///
/// ```
/// use turnmill_oracle::{OwnedValue, Tables, diff};
/// let one = Tables::from([("rasa_user", vec![vec![OwnedValue::from("u"), OwnedValue::from(1)]])]);
/// assert_eq!(diff(&one, &one), None);
/// assert!(diff(&one, &Tables::new()).unwrap().contains("missing"));
/// ```
#[must_use]
pub fn diff(expected: &Tables, actual: &Tables) -> Option<String> {
    let mut out = String::new();
    let mut names: Vec<&str> = expected.keys().chain(actual.keys()).copied().collect();
    names.sort_by_key(|name| tables::PUBLIC.iter().position(|table| table.name == *name));
    names.dedup();
    for name in names {
        let empty = Vec::new();
        let (wanted, found) = (expected.get(name).unwrap_or(&empty), actual.get(name).unwrap_or(&empty));
        let lines = table_diff(name, wanted, found);
        if lines.is_empty() {
            continue;
        }
        out.push_str(&format!(
            "{name}: {} rows expected, {} found, {} differences\n",
            wanted.len(),
            found.len(),
            lines.len()
        ));
        for line in lines.iter().take(SHOWN) {
            out.push_str(line);
        }
        if lines.len() > SHOWN {
            out.push_str(&format!("  ... and {} more\n", lines.len() - SHOWN));
        }
    }
    (!out.is_empty()).then_some(out)
}

type Rows = [Vec<OwnedValue>];

fn table_diff(name: &str, wanted: &Rows, found: &Rows) -> Vec<String> {
    let mut by_key: BTreeMap<Option<&OwnedValue>, [Vec<&Vec<OwnedValue>>; 2]> = BTreeMap::new();
    for (side, rows) in [wanted, found].into_iter().enumerate() {
        for row in rows {
            by_key.entry(row.first()).or_default()[side].push(row);
        }
    }
    let column = |index: usize| {
        tables::public(name).and_then(|table| table.columns.get(index)).map_or("?", |column| column.name)
    };
    let whole = |row: &[OwnedValue]| {
        row.iter()
            .enumerate()
            .map(|(index, value)| format!("{}={value}", column(index)))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut lines = Vec::new();
    for (_, [wanted, found]) in by_key {
        match (wanted.as_slice(), found.as_slice()) {
            (wanted, found) if wanted == found => {}
            ([wanted], [found]) if wanted.len() == found.len() => {
                let mut line = format!("  differs {}\n", whole(wanted));
                for (index, (wanted, found)) in wanted.iter().zip(found.iter()).enumerate() {
                    if wanted != found {
                        line.push_str(&format!("    {}: expected {wanted}, found {found}\n", column(index)));
                    }
                }
                lines.push(line);
            }
            (wanted, found) => {
                lines.extend(wanted.iter().map(|row| format!("  missing {}\n", whole(row))));
                lines.extend(found.iter().map(|row| format!("  unexpected {}\n", whole(row))));
            }
        }
    }
    lines
}
