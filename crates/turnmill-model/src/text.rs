//! Cuts texts to the width of their column.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Width of ordinary text columns, in Unicode code points.
pub const SHORT: usize = 255;
/// Width of message texts and slot values, in Unicode code points.
pub const LONG: usize = 65_535;

/// Returns the first `limit` code points of `text`.
///
/// ```
/// assert_eq!(turnmill_model::text::cut("größe", 3), "grö");
/// ```
#[must_use]
pub fn cut(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    match text.char_indices().nth(limit) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Cuts a sender key or user key to at most 255 code points. The cut text *is* the key.
///
/// A longer key keeps its first 238 code points, then `~` and 16 hex digits of the SHA-256 of the
/// whole.
///
/// ```
/// use turnmill_model::text::sender_key;
/// assert_eq!(sender_key("u1".into()), "u1");
/// assert_eq!(sender_key("s".repeat(300).into()).chars().count(), 255);
/// ```
#[must_use]
pub fn sender_key(key: Cow<'_, str>) -> Cow<'_, str> {
    shortened(key, SHORT)
}

/// Cuts a slot name for the last part of a slot path, so that `sender/session/name` fits 255 code
/// points.
///
/// A name over 181 code points keeps its first 164, then `~` and 16 hex digits of the SHA-256 of
/// the whole name.
#[must_use]
pub fn slot_path_name(name: &str) -> Cow<'_, str> {
    shortened(Cow::Borrowed(name), 181)
}

fn shortened(text: Cow<'_, str>, limit: usize) -> Cow<'_, str> {
    let kept = cut(&text, limit);
    if kept.len() == text.len() {
        return text;
    }
    let digest = Sha256::digest(text.as_bytes());
    let mut short = String::from(cut(&text, limit - 17));
    short.push('~');
    for byte in &digest[..8] {
        // Writing to a string cannot fail.
        let _ = write!(short, "{byte:02x}");
    }
    Cow::Owned(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_counts_code_points() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("🦀🦀🦀", 2), "🦀🦀");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn long_keys_differ_by_their_tail() {
        let (a, b) = (format!("{}a", "x".repeat(300)), format!("{}b", "x".repeat(300)));
        assert_ne!(sender_key(a.as_str().into()), sender_key(b.as_str().into()));
        let once = sender_key(a.as_str().into()).into_owned();
        assert_eq!(sender_key(once.as_str().into()), once, "shortening is idempotent");
        assert_eq!(sender_key("ü".repeat(255).into()), "ü".repeat(255));
        assert_eq!(slot_path_name(&"n".repeat(182)).chars().count(), 181);
    }
}
