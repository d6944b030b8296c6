//! Lists patterns as JSON and as text.

use serde_json::{Value, json};
use turnmill_model::Micros;
use turnmill_sink::{PatternSet, StoredPattern};
use turnmill_text::escaped;

/// Returns the patterns as the HTTP API lists them, in the order of their upload.
pub(crate) fn as_json(set: &PatternSet, active: bool) -> Value {
    let listed = set.patterns.iter().filter(|pattern| pattern.is_active || !active);
    Value::Array(listed.map(pattern).collect())
}

fn pattern(pattern: &StoredPattern) -> Value {
    let config = serde_json::from_str(&pattern.config).unwrap_or_else(|_| json!(pattern.config));
    json!({
        "id": pattern.id,
        "name": pattern.name,
        "description": pattern.description,
        "config": config,
        "is_active": pattern.is_active,
        "created_at": time(pattern.created_at),
        "updated_at": time(pattern.updated_at),
        "effective_from": pattern.effective_from().map(time),
        "effective_until": pattern.effective_until().map(time),
    })
}

/// Formats a time as in RFC 3339, in UTC.
pub(crate) fn time(time: Micros) -> String {
    format!("{}Z", time.to_string().replacen(' ', "T", 1))
}

/// Formats the list that [`as_json`] returns, one line per pattern.
pub(crate) fn as_text(patterns: &Value) -> String {
    let mut text = format!("{:<28} {:<8} {:<27} {:<27} condition\n", "name", "state", "from", "until");
    for pattern in patterns.as_array().into_iter().flatten() {
        let of = |key: &str, none: &str| pattern.get(key).and_then(Value::as_str).unwrap_or(none).to_owned();
        let active = pattern.get("is_active").and_then(Value::as_bool).unwrap_or_default();
        let state = if active { "active" } else { "ended" };
        let config = pattern.get("config").map(Value::to_string).unwrap_or_default();
        text += &format!(
            "{:<28} {state:<8} {:<27} {:<27} {}\n",
            escaped(&of("name", "")),
            of("effective_from", "all history"),
            of("effective_until", ""),
            escaped(&config),
        );
    }
    text
}
