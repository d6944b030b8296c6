//! A marker's configuration as a tree, and its canonical text.

use std::fmt::{self, Write as _};

use crate::diagnostic::{ErrorKind, Location};
use crate::literal::{read_json, read_python};
use crate::load::Checker;
use crate::tag::Tag;
use crate::value::Data;

/// A marker's configuration: a tag with a text or a list of configurations.
///
/// [`Display`](fmt::Display) writes compact JSON without descriptions. It is the same for every
/// spelling of one configuration. [`Node::parse`] reads it back.
///
/// ```
/// use turnmill_markers::{Node, Tag};
///
/// let node = Node::parse("{'seq': [{'slot_was_set': 'size'}, {'intent': 'confirm'}]}")?;
/// assert_eq!(node.tag(), Tag::Seq);
/// assert_eq!(node.to_string(), r#"{"seq":[{"slot_was_set":"size"},{"intent":"confirm"}]}"#);
/// # Ok::<(), turnmill_markers::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    tag: Tag,
    args: Args,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Args {
    Text(Box<str>),
    Subs(Vec<Node>),
}

/// A node that the language does not have, or an invalid stored configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("marker configuration: {message}")]
pub struct ConfigError {
    /// The kind of error.
    pub kind: ErrorKind,
    /// The error in words.
    pub message: String,
}

impl Node {
    /// Returns a condition: a tag with a text.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the tag is an operator.
    pub fn condition(tag: Tag, text: impl Into<Box<str>>) -> Result<Self, ConfigError> {
        if tag.is_condition() {
            return Ok(Node { tag, args: Args::Text(text.into()) });
        }
        Err(ConfigError { kind: ErrorKind::OperatorNeedsList, message: format!("`{tag}` needs a list") })
    }

    /// Returns an operator: a tag with sub-markers.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the tag is a condition, has another number of sub-markers, or if the tree
    /// is deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    pub fn operator(tag: Tag, sub_markers: Vec<Node>) -> Result<Self, ConfigError> {
        let error = |kind, message| Err(ConfigError { kind, message });
        if tag.is_condition() {
            return error(ErrorKind::ConditionNeedsText, format!("`{tag}` needs a text"));
        }
        if let Some(message) = wrong_number(tag, sub_markers.len()) {
            return error(ErrorKind::WrongNumberOfSubMarkers, message);
        }
        let node = Node { tag, args: Args::Subs(sub_markers) };
        if node.depth() > crate::MAX_DEPTH {
            return error(ErrorKind::TooDeep, too_deep());
        }
        Ok(node)
    }

    /// Reads a stored configuration (`rasa_patterns.config`): JSON, a dictionary as Python prints
    /// it, or either inside of a JSON string.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the text is none of these, or not a configuration of a marker.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let value = match read_json(text) {
            Ok(value) => match &value.data {
                Data::Text(inner) => read_json(inner).or_else(|_| read_python(inner)),
                Data::Null | Data::Other(_) | Data::List(_) | Data::Mapping(_) => Ok(value),
            },
            Err(_) => read_python(text),
        };
        let value = value.map_err(|error| ConfigError { kind: error.kind, message: error.message })?;
        let mut checker = Checker::new("");
        match checker.config(&value, Location::START) {
            Some((node, _)) if checker.errors.is_empty() => Ok(node),
            _ => {
                let first = checker.errors.into_iter().next();
                let (kind, message) = first.map_or_else(
                    || (ErrorKind::MarkerConfigNotAMapping, "not a marker".to_owned()),
                    |error| (error.kind, error.message),
                );
                Err(ConfigError { kind, message })
            }
        }
    }

    /// Returns the tag.
    #[must_use]
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// Returns the text of a condition.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.args {
            Args::Text(text) => Some(text),
            Args::Subs(_) => None,
        }
    }

    /// Returns the sub-markers of an operator, in order. A condition has none.
    #[must_use]
    pub fn sub_markers(&self) -> &[Node] {
        match &self.args {
            Args::Text(_) => &[],
            Args::Subs(subs) => subs,
        }
    }

    /// Returns the number of nodes in the tree.
    #[must_use]
    pub fn size(&self) -> usize {
        1 + self.sub_markers().iter().map(Node::size).sum::<usize>()
    }

    /// Returns the number of levels in the tree.
    #[must_use]
    pub fn depth(&self) -> usize {
        1 + self.sub_markers().iter().map(Node::depth).max().unwrap_or(0)
    }
}

/// Returns the error message if the operator cannot have this number of sub-markers.
pub(crate) fn wrong_number(tag: Tag, number: usize) -> Option<String> {
    match number {
        0 if !tag.takes_one() => Some(format!("`{tag}` needs at least one sub-marker")),
        1 => None,
        _ if tag.takes_one() => Some(format!("`{tag}` needs exactly one sub-marker, not {number}")),
        _ => None,
    }
}

pub(crate) fn too_deep() -> String {
    format!("markers are nested more than {} levels deep", crate::MAX_DEPTH)
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"{}\":", self.tag)?;
        match &self.args {
            Args::Text(text) => f.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)?,
            Args::Subs(subs) => {
                f.write_char('[')?;
                for (index, sub) in subs.iter().enumerate() {
                    if index > 0 {
                        f.write_char(',')?;
                    }
                    sub.fmt(f)?;
                }
                f.write_char(']')?;
            }
        }
        f.write_char('}')
    }
}
