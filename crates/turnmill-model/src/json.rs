//! JSON as assistants write it: Python's `json.dumps`, with bare `NaN`, lone surrogates and numbers of any length.
//!
//! What is absent here: nothing is converted before it is asked for. A [`Raw`] is the text of one value, a [`Tree`]
//! knows only where its values begin and end; numbers stay as they were written. [`canonical`] gives a value the one
//! spelling that slot values and identities have.
//!
//! ```
//! use turnmill_model::json::{Raw, canonical};
//! let value = Raw::parse(r#"{"city":"K\u00f8ln", "seats":1e999,"score":NaN}"#)?;
//! assert_eq!(canonical(value), r#"{"city": "Køln", "seats": 1e999, "score": null}"#);
//! # Ok::<(), turnmill_model::json::ParseError>(())
//! ```

mod canonical;
mod string;
mod tree;
mod value;

use std::borrow::Cow;

pub use canonical::canonical;
pub use string::clean;
pub use tree::{Entries, Fault, Items, Limits, Node, ParseError, Tree};
pub use value::to_value;

/// The deepest nesting that is read, in levels; the outermost list or object is level 1.
pub const MAX_DEPTH: usize = 512;

/// The text of one JSON value, without surrounding white space; known to be well-formed and not too deep.
///
/// It may use what Python writes beyond the standard: the numbers `NaN`, `Infinity` and `-Infinity`, and escapes of
/// lone surrogates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

/// The type of a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// A number, `NaN` and the infinities included.
    Number,
    /// A string.
    Text,
    /// A list.
    List,
    /// An object.
    Object,
}

impl<'a> Raw<'a> {
    /// The one value that `text` consists of; white space around it is left out.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where Python's `json.loads` would fail, and for more than [`MAX_DEPTH`] levels.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        Ok(Tree::parse(text, &Limits::default())?.root().raw())
    }

    /// Takes `text` as a value without looking at it, for a decoder that found its ends itself.
    ///
    /// `text` has to be what [`parse`](Self::parse) would accept, without surrounding white space. If it is not, the other
    /// functions return something wrong, but do not panic.
    #[must_use]
    pub fn assume_valid(text: &'a str) -> Self {
        Self(text)
    }

    /// The value as it was written.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The value's type.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self.0.as_bytes().first() {
            Some(b'"') => Kind::Text,
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::List,
            Some(b'n') => Kind::Null,
            Some(b't' | b'f') => Kind::Boolean,
            _ => Kind::Number,
        }
    }

    /// The text of a string, unescaped and cleaned: lone surrogates are U+FFFD, NUL is removed. `None` for other types.
    ///
    /// ```
    /// use turnmill_model::json::Raw;
    /// assert_eq!(Raw::parse(r#""caf\u00e9\u0000 \ud83d""#)?.as_text().unwrap(), "café \u{fffd}");
    /// assert_eq!(Raw::parse("5")?.as_text(), None);
    /// # Ok::<(), turnmill_model::json::ParseError>(())
    /// ```
    #[must_use]
    pub fn as_text(self) -> Option<Cow<'a, str>> {
        self.content().map(string::cleaned)
    }

    /// The number, correctly rounded; one beyond the range of a float is infinite. `None` for other types and for
    /// `NaN`, `Infinity` and `-Infinity`.
    ///
    /// ```
    /// use turnmill_model::json::Raw;
    /// assert_eq!(Raw::parse("1795225518.9071784")?.as_number(), Some(1795225518.9071784));
    /// assert_eq!(Raw::parse("1e999")?.as_number(), Some(f64::INFINITY));
    /// assert_eq!(Raw::parse("-Infinity")?.as_number(), None);
    /// # Ok::<(), turnmill_model::json::ParseError>(())
    /// ```
    #[must_use]
    pub fn as_number(self) -> Option<f64> {
        if self.is_spelled_number() { self.0.parse().ok() } else { None }
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// Whether it is a list.
    #[must_use]
    pub fn is_list(self) -> bool {
        self.kind() == Kind::List
    }

    /// Whether it is an object.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.kind() == Kind::Object
    }

    /// A key unescaped, its NUL characters kept: a key with one is another key. Empty for other types than strings.
    #[must_use]
    pub fn as_key(self) -> Cow<'a, str> {
        self.content().map(string::exact).unwrap_or_default()
    }

    /// What stands between the quotes of a string.
    fn content(self) -> Option<&'a str> {
        self.0.strip_prefix('"')?.strip_suffix('"')
    }

    /// Whether it is a number in digits: those of JSON end with one, the bare words of Python do not.
    fn is_spelled_number(self) -> bool {
        self.kind() == Kind::Number && self.0.as_bytes().last().is_some_and(u8::is_ascii_digit)
    }
}
