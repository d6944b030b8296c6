//! Gives a log object the one spelling that identifies it: keys sorted, of duplicate keys the
//! last, no white space, numbers as written, texts unescaped.

use turnmill_model::json::{Kind, Node};

/// Appends the spelling of `node`. Recurses as deep as the tree.
pub(super) fn write(node: Node<'_, '_>, out: &mut Vec<u8>) {
    let raw = node.raw();
    match raw.kind() {
        Kind::Text => write_text(&raw.as_text().unwrap_or_default(), out),
        Kind::List => {
            out.push(b'[');
            for item in node.items() {
                write(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Kind::Object => {
            let mut entries: Vec<_> =
                node.entries().map(|(key, value)| (key.as_text().unwrap_or_default(), value)).collect();
            // Stable, so the last of equal keys stays the last.
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            out.push(b'{');
            for same in entries.chunk_by(|(one, _), (other, _)| one == other) {
                if let Some((key, value)) = same.last() {
                    write_text(key, out);
                    write(*value, out);
                }
            }
            out.push(b'}');
        }
        Kind::Null | Kind::Boolean | Kind::Number => {
            out.extend_from_slice(raw.as_str().as_bytes());
            out.push(b' ');
        }
    }
}

/// Appends a text with its length, so that no content can look like another structure.
fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}
