//! Cells as people read them.

use turnmill_analytics::Value;
use turnmill_text::escaped;

/// Widest cell of a list; longer texts are cut.
const WIDEST: usize = 60;

/// Returns a cell of a list. Control characters are escaped.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Text(text) => escaped(text).to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:.3}"),
        Value::Boolean(truth) => if *truth { "yes" } else { "no" }.to_owned(),
        Value::Time(time) => time.to_string(),
    }
}

/// Returns a cell that is not too wide for a column.
pub(crate) fn short(value: &Value) -> String {
    let text = cell(value);
    if text.chars().count() <= WIDEST {
        return text;
    }
    text.chars().take(WIDEST - 1).chain(['…']).collect()
}
