//! Gives a JSON value its one spelling.

use std::borrow::Cow;
use std::fmt::Write as _;

use memchr::memchr;

use super::string::{Piece, Pieces};
use super::{Kind, Limits, Node, Raw, Tree};

/// Returns the canonical spelling of `value`, which slot values and identities have.
///
/// - Items are separated by `, ` and `: `.
/// - Numbers stay as written; `NaN` and the infinities become `null`.
/// - Strings hold every character as itself, except `"`, `\` and control characters
///   (`\b \f \n \r \t`, else `\u00xx`). Lone surrogates become U+FFFD, NUL is removed.
/// - Keys keep their order. Of equal keys, compared after cleaning, the first position and the last
///   value stay.
///
/// The result is borrowed if `value` already has this spelling.
///
/// ```
/// use turnmill_model::json::{Raw, canonical};
/// let spelled = |text| Ok::<_, turnmill_model::json::ParseError>(canonical(Raw::parse(text)?));
/// assert_eq!(spelled(r#"[1.50,-0.0,"\u20ac\/\u001F"]"#)?, r#"[1.50, -0.0, "€/\u001f"]"#);
/// assert_eq!(spelled(r#"{"a":1,"b":2,"a":3}"#)?, r#"{"a": 3, "b": 2}"#);
/// assert_eq!(spelled("Infinity")?, "null");
/// # Ok::<(), turnmill_model::json::ParseError>(())
/// ```
#[must_use]
pub fn canonical(value: Raw<'_>) -> Cow<'_, str> {
    let text = value.as_str();
    match value.kind() {
        Kind::Null | Kind::Boolean => Cow::Borrowed(text),
        Kind::Number if value.is_spelled_number() => Cow::Borrowed(text),
        Kind::Number => Cow::Borrowed("null"),
        Kind::Text if memchr(b'\\', text.as_bytes()).is_none() => Cow::Borrowed(text),
        Kind::Text => {
            let mut out = String::with_capacity(text.len());
            write_text(value, &mut out);
            unless_equal(text, out)
        }
        Kind::List | Kind::Object => match Tree::parse(text, &Limits::default()) {
            Ok(tree) => {
                let mut out = String::with_capacity(text.len() + text.len() / 8);
                write_node(tree.root(), &mut out);
                unless_equal(text, out)
            }
            // This is not reached: the text of a `Raw` is well-formed.
            Err(_) => Cow::Borrowed("null"),
        },
    }
}

fn unless_equal(text: &str, out: String) -> Cow<'_, str> {
    if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

/// Appends the spelling of a value. Recurses as deep as the tree: at most [`super::MAX_DEPTH`]
/// levels.
fn write_node(node: Node<'_, '_>, out: &mut String) {
    let raw = node.raw();
    match raw.kind() {
        Kind::Null | Kind::Boolean => out.push_str(raw.as_str()),
        Kind::Number => out.push_str(if raw.is_spelled_number() { raw.as_str() } else { "null" }),
        Kind::Text => write_text(raw, out),
        Kind::List => {
            out.push('[');
            for (index, item) in node.items().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_node(item, out);
            }
            out.push(']');
        }
        Kind::Object => {
            out.push('{');
            for (index, (key, value)) in distinct(node).into_iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_text(key, out);
                out.push_str(": ");
                write_node(value, out);
            }
            out.push('}');
        }
    }
}

/// Returns the entries of an object. Of those with equal keys the first position and the last value
/// stay.
fn distinct<'t, 'a>(object: Node<'t, 'a>) -> Vec<(Raw<'a>, Node<'t, 'a>)> {
    let mut entries: Vec<_> = object.entries().collect();
    let mut order: Vec<_> = entries
        .iter()
        .enumerate()
        .map(|(place, (key, _))| (key.as_text().unwrap_or_default(), place))
        .collect();
    order.sort_unstable();
    if order.windows(2).all(|pair| pair[0].0 != pair[1].0) {
        return entries;
    }
    let mut superseded = vec![false; entries.len()];
    for same in order.chunk_by(|a, b| a.0 == b.0) {
        if let [(_, first), .., (_, last)] = same {
            entries[*first].1 = entries[*last].1;
            for (_, place) in &same[1..] {
                superseded[*place] = true;
            }
        }
    }
    let mut superseded = superseded.into_iter();
    entries.retain(|_| superseded.next() != Some(true));
    entries
}

fn write_text(text: Raw<'_>, out: &mut String) {
    out.push('"');
    for piece in Pieces(text.content().unwrap_or_default()) {
        match piece {
            Piece::Run(run) => out.push_str(run),
            Piece::Escape('\0') => {}
            Piece::Escape('"') => out.push_str("\\\""),
            Piece::Escape('\\') => out.push_str("\\\\"),
            Piece::Escape('\u{8}') => out.push_str("\\b"),
            Piece::Escape('\u{c}') => out.push_str("\\f"),
            Piece::Escape('\n') => out.push_str("\\n"),
            Piece::Escape('\r') => out.push_str("\\r"),
            Piece::Escape('\t') => out.push_str("\\t"),
            Piece::Escape(control @ '\0'..' ') => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            Piece::Escape(character) => out.push(character),
        }
    }
    out.push('"');
}
