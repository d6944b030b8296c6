//! A tolerant JSON scanner that finds spans and builds no tree.
//!
//! It checks structure and string escapes. A bare token may consist of letters, digits and `+-.`,
//! so Python's `NaN` and `Infinity` pass. Nesting uses no stack.

use memchr::{memchr, memchr3};

/// Maximum nesting. Event bodies end at 512 levels, and Python's own parser fails near 1000.
pub(crate) const DEEPEST: usize = 1024;

/// A range of a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start..self.end).unwrap_or_default()
    }
}

/// The kind of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    /// The span excludes the quotes.
    Text {
        escaped: bool,
    },
    /// A number, `true`, `NaN` and the like.
    Token,
    Object,
    Array,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

impl Value {
    pub(crate) fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes end inside the value.
    Incomplete,
    Invalid {
        at: usize,
        what: &'static str,
    },
    TooDeep,
}

pub(crate) struct Scanner<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    fn invalid<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault::Invalid { at: self.at, what })
    }

    /// Skips white space and returns the next byte.
    pub(crate) fn peek(&mut self) -> Result<u8, Fault> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(&byte) => return Ok(byte),
                None => return Err(Fault::Incomplete),
            }
        }
    }

    fn string(&mut self) -> Result<Value, Fault> {
        let start = self.at + 1;
        let mut escaped = false;
        self.at = start;
        loop {
            let Some(found) = memchr3(b'"', b'\\', b'\n', self.bytes.get(self.at..).unwrap_or_default())
            else {
                self.at = self.bytes.len();
                return Err(Fault::Incomplete);
            };
            self.at += found;
            match self.bytes[self.at] {
                b'"' => {
                    let span = Span::new(start, self.at);
                    self.at += 1;
                    return Ok(Value { span, kind: Kind::Text { escaped } });
                }
                b'\\' => {
                    escaped = true;
                    match self.bytes.get(self.at + 1) {
                        None => return Err(Fault::Incomplete),
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
                        Some(b'u') => match hex4(self.bytes, self.at + 2) {
                            Some(_) => self.at += 6,
                            None if self.at + 6 > self.bytes.len() => return Err(Fault::Incomplete),
                            None => return self.invalid("`\\u` without four hex digits"),
                        },
                        Some(_) => return self.invalid("unknown escape in a string"),
                    }
                }
                _ => return self.invalid("line break inside a string"),
            }
        }
    }

    fn token(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        while self
            .bytes
            .get(self.at)
            .is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.'))
        {
            self.at += 1;
        }
        if self.at == start {
            return self.invalid("expected a value");
        }
        let span = Span::new(start, self.at);
        let kind = if span.of(self.bytes) == b"null" { Kind::Null } else { Kind::Token };
        Ok(Value { span, kind })
    }

    fn key(&mut self) -> Result<Value, Fault> {
        if self.peek()? != b'"' {
            return self.invalid("expected a key");
        }
        let key = self.string()?;
        if self.peek()? != b':' {
            return self.invalid("expected `:`");
        }
        self.at += 1;
        Ok(key)
    }

    /// Passes over one value of any kind.
    ///
    /// The loop keeps one bit for each open bracket, so hostile nesting costs 128 bytes and no
    /// recursion. Invariant: `depth` brackets are open, and bit `i` of `levels` is set if the one
    /// at level `i` is `{`. For `{"a": [1, {` the bits are 1, 0, 1. A value ends when `depth`
    /// returns to 0.
    pub(crate) fn value(&mut self) -> Result<Value, Fault> {
        match self.peek()? {
            b'"' => return self.string(),
            b'{' | b'[' => {}
            _ => return self.token(),
        }
        let start = self.at;
        // One bit per level, set for objects. Bits from `depth` on are stale.
        let mut levels = [0_u64; DEEPEST / 64];
        let mut depth = 0;
        loop {
            // The scanner is at a value, or just after an opening bracket.
            let byte = self.peek()?;
            match byte {
                b'{' | b'[' => {
                    if depth == DEEPEST {
                        return Err(Fault::TooDeep);
                    }
                    let bit = 1 << (depth % 64);
                    if byte == b'{' {
                        levels[depth / 64] |= bit;
                    } else {
                        levels[depth / 64] &= !bit;
                    }
                    depth += 1;
                    self.at += 1;
                    match (byte, self.peek()?) {
                        (b'{', b'}') | (b'[', b']') => {}
                        (b'{', _) => {
                            self.key()?;
                            continue;
                        }
                        _ => continue,
                    }
                }
                b'"' => {
                    self.string()?;
                }
                _ => {
                    self.token()?;
                }
            }
            // A value has ended, or an empty object or array is about to. Close brackets until a
            // comma.
            loop {
                let Some(top) = depth.checked_sub(1) else {
                    let kind = if self.bytes[start] == b'{' { Kind::Object } else { Kind::Array };
                    return Ok(Value { span: Span::new(start, self.at), kind });
                };
                let in_object = levels[top / 64] & 1 << (top % 64) != 0;
                match (self.peek()?, in_object) {
                    (b',', _) => {
                        self.at += 1;
                        if in_object {
                            self.key()?;
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        depth -= 1;
                        self.at += 1;
                    }
                    _ => return self.invalid("expected `,` or a closing bracket"),
                }
            }
        }
    }

    /// Walks the object whose `{` is next. `member` gets each key and must pass over its value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Value) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.sequence(b'}', |scanner| {
            let key = scanner.key()?;
            member(scanner, key)
        })
    }

    /// Walks the array whose `[` is next. `element` must pass over each element.
    pub(crate) fn array(&mut self, element: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        self.sequence(b']', element)
    }

    fn sequence(
        &mut self,
        close: u8,
        mut part: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.at += 1;
        if self.peek()? == close {
            self.at += 1;
            return Ok(());
        }
        loop {
            part(self)?;
            match self.peek()? {
                b',' => self.at += 1,
                byte if byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.invalid("expected `,` or a closing bracket"),
            }
        }
    }
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let mut code = 0;
    for &digit in bytes.get(at..at.checked_add(4)?)? {
        code = code << 4 | char::from(digit).to_digit(16)?;
    }
    Some(code)
}

/// Resolves the escapes of a scanned string in place and returns its new span. The result is never
/// longer. A surrogate without its partner becomes U+FFFD.
pub(crate) fn unescape(bytes: &mut [u8], span: Span) -> Span {
    let (mut read, mut write) = (span.start, span.start);
    while read < span.end {
        let plain = memchr(b'\\', &bytes[read..span.end]).unwrap_or(span.end - read);
        if read != write {
            bytes.copy_within(read..read + plain, write);
        }
        read += plain;
        write += plain;
        if read == span.end {
            break;
        }
        let (length, character) = escape(&bytes[read..span.end]);
        read += length;
        write += character.encode_utf8(&mut bytes[write..]).len();
    }
    Span::new(span.start, write)
}

/// Returns the length and the meaning of the escape at the start of `bytes`.
fn escape(bytes: &[u8]) -> (usize, char) {
    let character = match bytes.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(bytes),
        Some(&other) => char::from(other),
        None => return (1, '\\'),
    };
    (2, character)
}

fn unicode_escape(bytes: &[u8]) -> (usize, char) {
    let Some(first) = hex4(bytes, 2) else { return (2, 'u') };
    if (0xD800..0xDC00).contains(&first)
        && bytes.get(6..8) == Some(b"\\u")
        && let Some(second @ 0xDC00..0xE000) = hex4(bytes, 8)
    {
        let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (12, char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    (6, char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(text: &str) -> Result<&str, Fault> {
        Scanner::new(text.as_bytes(), 0).value().map(|value| &text[value.span.start..value.span.end])
    }

    #[test]
    fn values_end_where_they_end() {
        for (text, span) in [
            ("{} x", "{}"),
            (" [1, {\"a\": [NaN, -Infinity]}, \"]\\\"\"]]", "[1, {\"a\": [NaN, -Infinity]}, \"]\\\"\"]"),
            ("\"a\\u00e9\" ", "a\\u00e9"),
            ("-1.5e3,", "-1.5e3"),
            ("{\"a\":{},\"b\":[],\"c\":[[]]}", "{\"a\":{},\"b\":[],\"c\":[[]]}"),
        ] {
            assert_eq!(scan(text), Ok(span));
        }
    }

    #[test]
    fn kinds_of_faults_differ() {
        for text in ["", "{", "[1,", "{\"a\"", "{\"a\": ", "\"ab", "\"\\", "\"\\u00"] {
            assert_eq!(scan(text), Err(Fault::Incomplete), "{text}");
        }
        for text in [
            "]",
            "{1: 2}",
            "[1 2]",
            "[1}",
            "{\"a\": 1]",
            "[,]",
            "{\"a\" 1}",
            "\"\\x\"",
            "\"\\uzzzz\"",
            "\"\n\"",
            "[1,]",
        ] {
            assert!(matches!(scan(text), Err(Fault::Invalid { .. })), "{text}");
        }
        assert!(scan(&("[".repeat(DEEPEST) + &"]".repeat(DEEPEST))).is_ok());
        assert_eq!(scan(&"[".repeat(DEEPEST + 1)), Err(Fault::TooDeep));
    }

    #[test]
    fn lone_surrogates_become_replacement_characters() {
        for (escaped, plain) in [
            (r"\ud83d\uded2", "🛒"),
            (r"\ud83d", "\u{fffd}"),
            (r"\uded2\ud83d x", "\u{fffd}\u{fffd} x"),
            (r"\ud83d\ud83d\uded2", "\u{fffd}🛒"),
            (r#"a\"\\\/\b\f\n\r\t\u0000z"#, "a\"\\/\u{8}\u{c}\n\r\t\0z"),
        ] {
            let mut bytes = escaped.as_bytes().to_vec();
            let whole = Span::new(0, bytes.len());
            assert_eq!(std::str::from_utf8(unescape(&mut bytes, whole).of(&bytes)), Ok(plain));
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_json_text_is_passed_over_whole(value in json(), pretty: bool, tail in "[ ,\\]}]{0,3}") {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let with_tail = format!("{text}{tail}");
            let mut scanner = Scanner::new(with_tail.as_bytes(), 0);
            prop_assert!(scanner.value().is_ok());
            prop_assert_eq!(scanner.at, text.len());
            // Every proper prefix of a bracketed value or a string is incomplete, never invalid.
            if value.is_object() || value.is_array() || value.is_string() {
                for cut in 0..text.len() {
                    prop_assert_eq!(Scanner::new(&text.as_bytes()[..cut], 0).value(), Err(Fault::Incomplete));
                }
            }
        }

        #[test]
        fn unescaping_agrees_with_serde_json(text: String) {
            let mut quoted = serde_json::to_vec(&text).unwrap();
            let span = Scanner::new(&quoted, 0).value().unwrap().span;
            let plain = unescape(&mut quoted, span);
            prop_assert_eq!(plain.of(&quoted), text.as_bytes());
        }

        #[test]
        fn any_bytes_are_borne(bytes: Vec<u8>) {
            let mut scanner = Scanner::new(&bytes, 0);
            let _ = scanner.value();
            prop_assert!(scanner.at <= bytes.len());
        }
    }
}
