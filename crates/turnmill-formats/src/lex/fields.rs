//! Reads fields leniently: documents show numbers and booleans as texts, and some logs have them
//! so.

use std::borrow::Cow;

use turnmill_model::json::{Kind, Node};

/// Returns the value at a path of keys.
pub(super) fn at<'t, 'a>(node: Node<'t, 'a>, path: &[&str]) -> Option<Node<'t, 'a>> {
    path.iter().try_fold(node, |node, key| node.get(key))
}

/// Returns a text, or a number or boolean as its JSON text. The empty text counts as missing.
pub(super) fn text<'a>(node: Option<Node<'_, 'a>>) -> Option<Cow<'a, str>> {
    value_text(node?).filter(|text| !text.is_empty())
}

/// Returns a text as [`text`] does, the empty one too. For values of slots and attributes.
pub(super) fn value_text<'a>(node: Node<'_, 'a>) -> Option<Cow<'a, str>> {
    let raw = node.raw();
    match raw.kind() {
        Kind::Text => raw.as_text(),
        Kind::Number | Kind::Boolean => Some(Cow::Borrowed(raw.as_str())),
        Kind::Null | Kind::List | Kind::Object => None,
    }
}

/// Returns a finite number, also one in a text.
pub(super) fn number(node: Option<Node<'_, '_>>) -> Option<f64> {
    let raw = node?.raw();
    let number = match raw.as_number() {
        Some(number) => number,
        None => raw.as_text()?.trim_ascii().parse().ok()?,
    };
    // Adding zero turns -0.0 into 0.0.
    number.is_finite().then_some(number + 0.0)
}

/// Returns a boolean, also one in a text, or 0 or 1.
pub(super) fn boolean(node: Option<Node<'_, '_>>) -> Option<bool> {
    let raw = node?.raw();
    let text = raw.as_text();
    match text.as_deref().map_or(raw.as_str(), str::trim_ascii).to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}
