//! Encodes a dead letter's headers in one column: a JSON list of pairs of name and value. A value
//! is bytes, so it is written in hexadecimal digits; a missing one is null.

use std::fmt::Write as _;

use turnmill_sink::StoreError;

/// Headers in their order. A value may be missing.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// Encodes headers.
///
/// ```
/// use turnmill_sql::headers::{read, write};
/// let headers = vec![("RASA_ENVIRONMENT".to_owned(), Some(b"dev".to_vec())), ("empty".to_owned(), None)];
/// assert_eq!(write(&headers), r#"[["RASA_ENVIRONMENT","646576"],["empty",null]]"#);
/// assert_eq!(read(&write(&headers))?, headers);
/// # Ok::<(), turnmill_sink::StoreError>(())
/// ```
#[must_use]
pub fn write(headers: &[(String, Option<Vec<u8>>)]) -> String {
    let pairs: Vec<(&str, Option<String>)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_deref().map(to_hex))).collect();
    // Serialising texts cannot fail. Reading would refuse an empty text.
    serde_json::to_string(&pairs).unwrap_or_default()
}

/// Decodes headers.
///
/// # Errors
///
/// [`StoreError::Damaged`] if the text is not what [`write()`] writes.
pub fn read(text: &str) -> Result<Headers, StoreError> {
    let damaged =
        || StoreError::Damaged { detail: format!("headers of a dead letter cannot be read: {text}") };
    let pairs: Vec<(String, Option<String>)> = serde_json::from_str(text).map_err(|_| damaged())?;
    let value = |hex: String| from_hex(&hex).ok_or_else(damaged);
    pairs.into_iter().map(|(name, hex)| Ok((name, hex.map(value).transpose()?))).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_round_trip(headers: Headers) {
            prop_assert_eq!(read(&write(&headers)).unwrap(), headers);
        }
    }

    #[test]
    fn other_texts_are_damage() {
        for text in ["", "{}", r#"[["a","0"]]"#, r#"[["a","+1"]]"#, r#"[["a","ää"]]"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
