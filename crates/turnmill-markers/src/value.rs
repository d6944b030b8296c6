//! A parsed YAML or JSON text, with the place of each part.

use std::rc::Rc;

use crate::diagnostic::{ErrorKind, Place};

/// Collections inside each other, at most: two for each level of markers, and those around them.
pub(crate) const MAX_LEVELS: usize = 2 * crate::MAX_DEPTH + 8;

/// Why a text could not be read as a whole.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    pub(crate) place: Place,
}

impl Unreadable {
    pub(crate) fn invalid(message: impl Into<String>, place: Place) -> Self {
        Unreadable { kind: ErrorKind::InvalidYaml, message: message.into(), place }
    }

    pub(crate) fn too_deep(place: Place) -> Self {
        let message = format!("lists and mappings are nested more than {MAX_LEVELS} levels deep");
        Unreadable { kind: ErrorKind::TooDeep, message, place }
    }

    pub(crate) fn too_large(place: Place) -> Self {
        let message =
            format!("more than {} values, aliases counted as what they stand for", crate::MAX_VALUES);
        Unreadable { kind: ErrorKind::TooLarge, message, place }
    }
}

/// A value and where it begins. What an alias stands for is shared.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) place: Place,
    pub(crate) data: Data,
    /// Values in it, itself included, aliases expanded.
    pub(crate) size: usize,
    /// Collections in each other from here on.
    pub(crate) height: usize,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Null,
    Text(Rc<str>),
    /// A number or truth value, in words.
    Other(&'static str),
    List(Rc<[Value]>),
    Mapping(Rc<[(Key, Value)]>),
}

/// A key as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) text: Rc<str>,
}

impl Value {
    pub(crate) fn scalar(place: Place, data: Data) -> Self {
        Value { place, data, size: 1, height: 0 }
    }

    pub(crate) fn list(place: Place, values: Vec<Value>) -> Self {
        let size = values.iter().fold(1, |size: usize, value| size.saturating_add(value.size));
        let height = values.iter().map(|value| value.height).max().unwrap_or(0) + 1;
        Value { place, data: Data::List(values.into()), size, height }
    }

    pub(crate) fn mapping(place: Place, entries: Vec<(Key, Value)>) -> Self {
        let size = entries.iter().fold(1, |size: usize, (_, value)| size.saturating_add(value.size));
        let height = entries.iter().map(|(_, value)| value.height).max().unwrap_or(0) + 1;
        Value { place, data: Data::Mapping(entries.into()), size, height }
    }

    /// What it is, in words.
    pub(crate) fn what(&self) -> &'static str {
        match &self.data {
            Data::Null => "null",
            Data::Text(_) => "a text",
            Data::Other(what) => what,
            Data::List(_) => "a list",
            Data::Mapping(_) => "a mapping",
        }
    }
}
