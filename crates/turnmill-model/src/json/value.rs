//! Converts lenient JSON to [`serde_json::Value`], for the crates that work on it.

use serde_json::{Map, Number, Value};

use super::{Kind, Limits, Node, Tree};

/// Returns `text` as a [`serde_json::Value`], or `None` if it is no JSON or exceeds `limits`.
///
/// Accepts what [`Tree::parse`] accepts. Integers are 64-bit if they fit, all other numbers are
/// floats. A number that is no finite float becomes null. Strings are cleaned, and of duplicate
/// keys the last value stays. More than [`MAX_DEPTH`](super::MAX_DEPTH) levels are refused even if
/// `limits` allows them.
///
/// ```
/// use turnmill_model::json::{Limits, to_value};
/// let value = to_value(r#"[1, 2.5, NaN, 1e999, "\ud83d"]"#, &Limits::STACK);
/// assert_eq!(value, Some(serde_json::json!([1, 2.5, null, null, "\u{fffd}"])));
/// assert_eq!(to_value("[[1]]", &Limits { max_depth: 1, ..Limits::STACK }), None);
/// ```
#[must_use]
pub fn to_value(text: &str, limits: &Limits) -> Option<Value> {
    let limits = Limits { max_depth: limits.max_depth.min(super::MAX_DEPTH), ..*limits };
    Tree::parse(text, &limits).ok().map(|tree| value(tree.root()))
}

/// Converts a value. Recurses as deep as the tree: at most [`super::MAX_DEPTH`] levels.
fn value(node: Node<'_, '_>) -> Value {
    let raw = node.raw();
    match raw.kind() {
        Kind::Null => Value::Null,
        Kind::Boolean => Value::Bool(raw.as_str() == "true"),
        Kind::Number => number(raw.as_str(), raw.as_number()),
        Kind::Text => Value::String(raw.as_text().unwrap_or_default().into_owned()),
        Kind::List => Value::Array(node.items().map(value).collect()),
        Kind::Object => {
            let mut map = Map::new();
            for (key, entry) in node.entries() {
                map.insert(key.as_text().unwrap_or_default().into_owned(), value(entry));
            }
            Value::Object(map)
        }
    }
}

fn number(text: &str, float: Option<f64>) -> Value {
    if let Ok(integer) = text.parse::<i64>() {
        return Value::from(integer);
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Value::from(integer);
    }
    float.and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}
