//! Writes JSON values as YAML, texts of several lines as blocks.

use serde_json::Value;

/// Returns the value as a YAML document.
pub(super) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, 0, false);
    out
}

/// Writes a value at a depth. `inline`: the first line stands after a dash.
fn write(out: &mut String, value: &Value, depth: usize, inline: bool) {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (number, (key, value)) in map.iter().enumerate() {
                if number > 0 || !inline {
                    out.push_str(&pad);
                }
                out.push_str(&scalar(key));
                out.push(':');
                nested(out, value, depth);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (number, value) in list.iter().enumerate() {
                if number > 0 || !inline {
                    out.push_str(&pad);
                }
                out.push_str("- ");
                match value {
                    Value::Object(map) if !map.is_empty() => write(out, value, depth + 1, true),
                    Value::Array(list) if !list.is_empty() => write(out, value, depth + 1, true),
                    Value::String(text) => {
                        out.push_str(&scalar(text));
                        out.push('\n');
                    }
                    other => {
                        out.push_str(&other.to_string());
                        out.push('\n');
                    }
                }
            }
        }
        other => {
            out.push_str(&other.to_string());
            out.push('\n');
        }
    }
}

/// Writes the value of a key.
fn nested(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            write(out, value, depth + 1, false);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            write(out, value, depth, false);
        }
        Value::String(text) if text.contains('\n') => {
            out.push_str(" |-\n");
            let pad = "  ".repeat(depth + 1);
            for line in text.lines() {
                if !line.is_empty() {
                    out.push_str(&pad);
                    out.push_str(line);
                }
                out.push('\n');
            }
        }
        Value::String(text) => {
            out.push(' ');
            out.push_str(&scalar(text));
            out.push('\n');
        }
        other => {
            out.push(' ');
            out.push_str(&other.to_string());
            out.push('\n');
        }
    }
}

/// Returns a text of one line. A word stands as it is, anything else in quotes, which are JSON's.
fn scalar(text: &str) -> String {
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@'))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_lowercase().as_str());
    if word { text.to_owned() } else { Value::from(text).to_string() }
}
