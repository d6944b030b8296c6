//! A parsed YAML or JSON text, with the location of each value.

use std::rc::Rc;

use crate::diagnostic::{ErrorKind, Location};

/// Maximum nesting of collections: two for each level of markers, and those around them.
pub(crate) const MAX_LEVELS: usize = 2 * crate::MAX_DEPTH + 8;

/// Why a text could not be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    pub(crate) location: Location,
}

impl Unreadable {
    pub(crate) fn invalid(message: impl Into<String>, location: Location) -> Self {
        Unreadable { kind: ErrorKind::InvalidYaml, message: message.into(), location }
    }

    pub(crate) fn too_deep(location: Location) -> Self {
        let message = format!("lists and mappings are nested more than {MAX_LEVELS} levels deep");
        Unreadable { kind: ErrorKind::TooDeep, message, location }
    }

    pub(crate) fn too_large(location: Location) -> Self {
        let message =
            format!("more than {} values, aliases counted as what they stand for", crate::MAX_VALUES);
        Unreadable { kind: ErrorKind::TooLarge, message, location }
    }
}

/// A value and its location. Values that aliases refer to are shared.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) location: Location,
    pub(crate) data: Data,
    /// Number of values in it, including itself, with aliases expanded.
    pub(crate) size: usize,
    /// Number of nested collections from here on.
    pub(crate) height: usize,
}

/// The content of a value.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Null,
    Text(Rc<str>),
    /// A number or truth value, by its name.
    Other(&'static str),
    List(Rc<[Value]>),
    Mapping(Rc<[(Key, Value)]>),
}

/// A key as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) location: Location,
    pub(crate) text: Rc<str>,
}

impl Value {
    pub(crate) fn scalar(location: Location, data: Data) -> Self {
        Value { location, data, size: 1, height: 0 }
    }

    pub(crate) fn list(location: Location, values: Vec<Value>) -> Self {
        let size = values.iter().fold(1, |size: usize, value| size.saturating_add(value.size));
        let height = values.iter().map(|value| value.height).max().unwrap_or(0) + 1;
        Value { location, data: Data::List(values.into()), size, height }
    }

    pub(crate) fn mapping(location: Location, entries: Vec<(Key, Value)>) -> Self {
        let size = entries.iter().fold(1, |size: usize, (_, value)| size.saturating_add(value.size));
        let height = entries.iter().map(|(_, value)| value.height).max().unwrap_or(0) + 1;
        Value { location, data: Data::Mapping(entries.into()), size, height }
    }

    /// Returns the kind of value, for messages.
    pub(crate) fn kind_name(&self) -> &'static str {
        match &self.data {
            Data::Null => "null",
            Data::Text(_) => "a text",
            Data::Other(what) => what,
            Data::List(_) => "a list",
            Data::Mapping(_) => "a mapping",
        }
    }
}
