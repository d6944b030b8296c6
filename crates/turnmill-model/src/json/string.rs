//! Reads the text between the quotes of a JSON string.

use std::borrow::Cow;

use memchr::memchr;

/// Returns `text` without NUL characters, which PostgreSQL's text columns refuse.
///
/// ```
/// assert_eq!(turnmill_model::json::clean("a\0b"), "ab");
/// ```
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    match memchr(0, text.as_bytes()) {
        None => Cow::Borrowed(text),
        Some(_) => Cow::Owned(text.replace('\0', "")),
    }
}

/// Returns the text that a string's `content` stands for, cleaned.
pub(super) fn cleaned(content: &str) -> Cow<'_, str> {
    unescaped(content, |character| character != '\0')
}

/// Returns the text that a string's `content` stands for, NUL characters included. Lone surrogates
/// become U+FFFD.
pub(super) fn exact(content: &str) -> Cow<'_, str> {
    unescaped(content, |_| true)
}

fn unescaped(content: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    if memchr(b'\\', content.as_bytes()).is_none() {
        return Cow::Borrowed(content);
    }
    let mut text = String::with_capacity(content.len());
    for piece in Pieces(content) {
        match piece {
            Piece::Run(run) => text.push_str(run),
            Piece::Escape(character) if keep(character) => text.push(character),
            Piece::Escape(_) => {}
        }
    }
    Cow::Owned(text)
}

/// A part of a string's content.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text that stands for itself. Holds no quote, backslash or control character.
    Run(&'a str),
    /// The character that an escape sequence stands for.
    Escape(char),
}

/// Cuts a well-formed string content into its pieces.
pub(super) struct Pieces<'a>(pub(super) &'a str);

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let run = memchr(b'\\', self.0.as_bytes()).unwrap_or(self.0.len());
        if run > 0 {
            let (run, rest) = self.0.split_at(run);
            self.0 = rest;
            return Some(Piece::Run(run));
        }
        let code = *self.0.as_bytes().get(1)?;
        let (character, length) = match code {
            b'b' => ('\u{8}', 2),
            b'f' => ('\u{c}', 2),
            b'n' => ('\n', 2),
            b'r' => ('\r', 2),
            b't' => ('\t', 2),
            b'u' => self.unicode(),
            other => (char::from(other), 2),
        };
        self.0 = self.0.get(length..).unwrap_or_default();
        Some(Piece::Escape(character))
    }
}

impl Pieces<'_> {
    /// Returns the character of the `\u` escape at the start, and its length: 12 for a surrogate
    /// pair, else 6.
    fn unicode(&self) -> (char, usize) {
        let first = self.unit(0).unwrap_or(0xfffd);
        if let Some(character) = char::from_u32(first) {
            return (character, 6);
        }
        // An escape after a high surrogate is part of it only if both make a pair.
        match self.unit(6) {
            Some(second @ 0xdc00..=0xdfff) if first < 0xdc00 => {
                let joined = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                (char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
            }
            _ => (char::REPLACEMENT_CHARACTER, 6),
        }
    }

    /// Returns the code unit of the `\u` escape at byte `at`.
    fn unit(&self, at: usize) -> Option<u32> {
        let digits = self.0.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_surrogates() {
        for (content, text) in [
            (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r"\u00e9\u00E9\u20ac", "éé€"),
            (r"\ud83d\ude00", "😀"),
            (r"\uD83D\uDE00x", "😀x"),
            (r"\ud83d", "\u{fffd}"),
            (r"\ude00", "\u{fffd}"),
            (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
            (r"\ude00\ude00", "\u{fffd}\u{fffd}"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
            (r"\ud83d\n", "\u{fffd}\n"),
            (r"\ud83dé", "\u{fffd}é"),
            (r"\ud83d\u0041", "\u{fffd}A"),
            (r"\ud83d\u0000\ude00", "\u{fffd}\u{fffd}"),
            (r"a\u0000b", "ab"),
            (r"\u0000", ""),
            ("", ""),
            ("größe", "größe"),
        ] {
            assert_eq!(cleaned(content), text, "{content}");
        }
        assert_eq!(exact(r"a\u0000b"), "a\0b");
        assert!(matches!(cleaned("größe"), Cow::Borrowed(_)));
    }

    #[test]
    fn content_that_is_not_well_formed_ends_and_does_not_panic() {
        for content in ["\\", "\\u", "\\u12", "\\uzzzzé", "\\é", "\\ud83d\\u", "\\u00é"] {
            let _ = cleaned(content);
        }
    }
}
