//! Values that go into a query and come out of it, without a driver.

use serde::{Serialize, Serializer};
use turnmill_model::Micros;

/// A value of a query: bound to it or in one of its rows.
///
/// A driver returns what its database has. SQLite has no type for truth and none for times, so
/// truths come as integers and times as texts. The accessors understand both.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL
    Null,
    /// A text.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A truth value.
    Boolean(bool),
    /// A time in UTC.
    Time(Micros),
}

/// A row of a result.
pub type Row = Vec<Value>;

impl Value {
    /// Returns the integer. NULL, and a value that is none, is 0.
    #[must_use]
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            Self::Boolean(truth) => i64::from(*truth),
            Self::Float(number) => *number as i64,
            Self::Null | Self::Text(_) | Self::Time(_) => 0,
        }
    }

    /// Returns the number, or `None` for NULL and for what is no number.
    #[must_use]
    pub fn float(&self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            Self::Null | Self::Text(_) | Self::Time(_) | Self::Boolean(_) => None,
        }
    }

    /// Returns the truth. NULL is false.
    #[must_use]
    pub fn is_true(&self) -> bool {
        matches!(self, Self::Boolean(true)) || matches!(self, Self::Integer(number) if *number != 0)
    }

    /// Returns the text, or `None` for NULL and for what is no text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Integer(_) | Self::Float(_) | Self::Boolean(_) | Self::Time(_) => None,
        }
    }

    /// Returns the time, or `None` for NULL and for what is no time.
    #[must_use]
    pub fn time(&self) -> Option<Micros> {
        match self {
            Self::Time(time) => Some(*time),
            Self::Text(text) => Micros::parse(text),
            Self::Null | Self::Integer(_) | Self::Float(_) | Self::Boolean(_) => None,
        }
    }

    /// Returns whether it is NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns a key that sorts as lists of names do: by bytes, NULL last.
    pub(crate) fn name_order(&self) -> (bool, &str) {
        (self.is_null(), self.text().unwrap_or_default())
    }
}

impl From<Option<f64>> for Value {
    fn from(number: Option<f64>) -> Self {
        number.map_or(Self::Null, Self::Float)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::Null, Self::from)
    }
}

impl From<Micros> for Value {
    fn from(time: Micros) -> Self {
        Self::Time(time)
    }
}

impl From<Option<Micros>> for Value {
    fn from(time: Option<Micros>) -> Self {
        time.map_or(Self::Null, Self::Time)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Boolean(truth) => serializer.serialize_bool(*truth),
            Self::Time(time) => serializer.serialize_str(&time.to_string()),
        }
    }
}

/// How rows of the whole range follow from those of its buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    /// Counts of equal groups are added.
    Counts {
        /// Number of the columns that name a group.
        groups: usize,
    },
    /// Lists of values are put together.
    Values,
}

/// One query with its bound values.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Its name inside the metric.
    pub name: &'static str,
    /// The text. Placeholders are `?1` in SQLite and `$1` in PostgreSQL.
    pub sql: String,
    /// The values, that of placeholder 1 first.
    pub values: Vec<Value>,
    /// Whether the first column of its rows is the number of a bucket.
    pub(crate) per_slice: bool,
    /// The numbers and lists that it is for, if nothing else needs it.
    pub(crate) parts: Vec<&'static str>,
    /// How the rows of the whole range follow from those of all buckets, if they do.
    pub(crate) sum: Option<Sum>,
}

impl Query {
    /// Makes a query without bound values.
    #[must_use]
    pub fn new(name: &'static str, sql: String) -> Self {
        Self { name, sql, values: Vec::new(), per_slice: false, parts: Vec::new(), sum: None }
    }

    /// Says that only this list needs the query. It runs once over the whole range.
    pub(crate) fn for_list(self, list: &'static str) -> Self {
        self.for_lists([list])
    }

    /// Says that only these lists need the query. It runs once over the whole range.
    pub(crate) fn for_lists<const N: usize>(self, lists: [&'static str; N]) -> Self {
        Self { per_slice: false, parts: lists.into(), ..self }
    }

    /// Says that only this number needs the query.
    pub(crate) fn for_number(self, number: &'static str) -> Self {
        Self { parts: vec![number], ..self }
    }

    /// Says that the rows of the whole range are the sums of those of all buckets. The columns
    /// after the number of the bucket are `groups` names, then counts. Distinct counts have no such
    /// sum.
    pub(crate) fn summed(self, groups: usize) -> Self {
        Self { sum: Some(Sum::Counts { groups }), ..self }
    }
}

/// The rows of a question in SQL, up to a bound.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct QueryResult {
    /// Names of its columns.
    pub columns: Vec<String>,
    /// Its rows.
    pub rows: Vec<Row>,
    /// Whether there are more rows than the bound.
    pub is_cut: bool,
}
