//! Reads a body in one quick pass over its bytes. This serves nearly every record.
//!
//! It accepts only standard JSON, and not all of that: it stops at a key with an escape sequence
//! and at more than 64 levels, as at an error. Then [`Wire::lenient`] reads the body from its
//! start.
//!
//! The invariant: whatever this reader accepts is standard JSON, and [`Wire::lenient`] finds the
//! same fields in it. So stopping is always correct, and accepting too much never is.

use super::wire::{Fields, Target, Wire};
use turnmill_model::json::Raw;

/// Reads the object `text` into `wire`. Returns `None` if the lenient reader has to read it; then
/// some fields of `wire` may be set.
pub(super) fn scan<'a>(text: &'a str, wire: &mut Wire<'a>) -> Option<()> {
    let mut scan = Scan { text, at: 0 };
    scan.space();
    scan.object(wire)?;
    scan.space();
    (scan.at == text.len()).then_some(())
}

/// Position of the reader in its text. Each function advances it past what it accepts, and returns
/// `None` at anything else.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Goes past `byte`, which must come next, and the space after it.
    fn expect(&mut self, byte: u8) -> Option<()> {
        if self.peek() != Some(byte) {
            return None;
        }
        self.at += 1;
        self.space();
        Some(())
    }

    /// Fills `part` from the object that comes next. Recurses at most twice: `parse_data` holds
    /// `intent`.
    fn object<P: Fields<'a>>(&mut self, part: &mut P) -> Option<()> {
        self.expect(b'{')?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Some(());
        }
        loop {
            let start = self.at + 1;
            let plain = self.string()?;
            let key = self.text.get(start..self.at - 1)?;
            // The key `\u0065vent` is `event`; only the lenient reader unescapes keys.
            if !plain {
                return None;
            }
            self.space();
            self.expect(b':')?;
            match part.target(key) {
                Target::Ignored => self.value()?,
                Target::Field(field) => {
                    let start = self.at;
                    self.value()?;
                    *field = Some(Raw::assume_valid(self.text.get(start..self.at)?));
                }
                Target::Metadata(part) => self.part(part)?,
                Target::ParseData(part) => self.part(part)?,
                Target::Intent(part) => self.part(part)?,
            }
            self.space();
            match self.peek()? {
                b',' => self.expect(b',')?,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// Empties `part` and fills it from the object that comes next. Any other value leaves it
    /// empty.
    fn part<P: Fields<'a> + Default>(&mut self, part: &mut P) -> Option<()> {
        *part = P::default();
        if self.peek() == Some(b'{') { self.object(part) } else { self.value() }
    }

    /// Goes past a value.
    fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'{' | b'[' => self.nested(),
            _ => self.scalar(),
        }
    }

    fn scalar(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b'n' => self.word("null"),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            _ => self.number(),
        }
    }

    /// Goes past a list or an object and all in it.
    fn nested(&mut self) -> Option<()> {
        // One bit a level, the innermost lowest: 1 for an object, 0 for a list. At the head of the
        // outer loop a value must come next; in an object its key and colon are already read.
        //   [ 1, {"a": [      ->  levels 0b010, depth 3
        let mut levels = 0_u64;
        let mut depth = 0_u32;
        loop {
            let opened = self.peek()?;
            match opened {
                b'{' | b'[' => {
                    depth += 1;
                    if depth > u64::BITS {
                        return None;
                    }
                    let object = opened == b'{';
                    levels = levels << 1 | u64::from(object);
                    self.expect(opened)?;
                    let closing = if object { b'}' } else { b']' };
                    if self.peek()? != closing {
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            // A value has ended, or an empty list or object is about to. Close lists and objects
            // until a comma announces the next value, or until the outermost is closed.
            loop {
                self.space();
                let object = levels & 1 == 1;
                match self.peek()? {
                    b',' => {
                        self.expect(b',')?;
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => return None,
                }
                self.at += 1;
                depth -= 1;
                levels >>= 1;
                if depth == 0 {
                    return Some(());
                }
            }
        }
    }

    fn key(&mut self) -> Option<()> {
        self.string()?;
        self.space();
        self.expect(b':')
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let end = self.at + word.len();
        (self.text.as_bytes().get(self.at..end)? == word.as_bytes()).then(|| self.at = end)
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// Goes past one digit or more.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// Goes past a string. Returns whether it has no escape sequences.
    fn string(&mut self) -> Option<bool> {
        if self.peek() != Some(b'"') {
            return None;
        }
        self.at += 1;
        let mut plain = true;
        loop {
            self.run();
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(plain);
                }
                b'\\' => {
                    plain = false;
                    self.at += 1;
                    match self.peek()? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                        b'u' => {
                            let digits = self.text.as_bytes().get(self.at + 1..self.at + 5)?;
                            if !digits.iter().all(u8::is_ascii_hexdigit) {
                                return None;
                            }
                            self.at += 5;
                        }
                        _ => return None,
                    }
                }
                // A control character.
                _ => return None,
            }
        }
    }

    /// Goes past the bytes of a string that stand for themselves, eight at a time.
    fn run(&mut self) {
        const ONES: u64 = u64::from_le_bytes([1; 8]);
        const HIGH: u64 = ONES << 7;
        let bytes = self.text.as_bytes();
        while let Some(chunk) = bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_le_bytes(*chunk);
            // `zero` sets the high bit of the first byte that is zero. Borrows may set it in later
            // bytes that are not zero, but only the first one, the lowest, is used.
            //   `hi you" }`   -> no stop in `hi you`, stop at the quote, byte 6
            let zero = |word: u64| word.wrapping_sub(ONES) & !word;
            let control = word.wrapping_sub(ONES * 0x20) & !word;
            let quote = zero(word ^ (ONES * u64::from(b'"')));
            let backslash = zero(word ^ (ONES * u64::from(b'\\')));
            let stop = (control | quote | backslash) & HIGH;
            if stop != 0 {
                self.at += stop.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while self.peek().is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Checks that a text which the quick reader accepts is standard JSON, and that the lenient
    /// reader finds the same fields. Returns whether the quick reader accepts it.
    fn check(text: &str) -> bool {
        let (mut quick, mut lenient) = (Wire::default(), Wire::default());
        let taken = scan(text, &mut quick).is_some();
        if taken {
            assert!(serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), "{text}");
            lenient.lenient(text).unwrap();
            assert_eq!(quick, lenient, "{text}");
        }
        taken
    }

    #[test]
    fn it_takes_plain_objects() {
        for text in [
            "{}",
            r#" { "event" : "user" , "metadata" : { "model_id" : "m" , "x" : [ ] } , "value" : [ 1 , { "a" : { } } ] } "#,
            r#"{"value": -0.5e+10, "data": {"a": [[], {}, [0, "\u00e9\"\\"]]}, "text": "\ud83d", "name": null}"#,
            r#"{"metadata": 5, "parse_data": {"intent": [], "intent": {"name": "a", "confidence": 1e999}}}"#,
            r#"{"metadata": {"model_id": "a"}, "metadata": {}, "event": "1", "event": "2"}"#,
        ] {
            assert!(check(text), "{text}");
        }
    }

    #[test]
    fn it_leaves_everything_else_to_others() {
        for text in [
            "",
            "{",
            "{}}",
            "[]",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[1}"#,
            r#"{"a":{"b":1]}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":1e}"#,
            r#"{"a":+1}"#,
            r#"{"a":-}"#,
            r#"{"a":NaN}"#,
            r#"{"a":nul}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12g4"}"#,
            r#"{"a":"\u12"}"#,
            "{\"a\":\"\n\"}",
            "{\"a\":\"\u{1f}\"}",
            r#"{"a":"b}"#,
            r#"{"\u0061":1}"#,
            r#"{"a":[{,}]}"#,
            r#"{"a":{"b"}}"#,
            r#"{"a":1 2}"#,
        ] {
            assert!(scan(text, &mut Wire::default()).is_none(), "{text}");
        }
        let deep = |levels: usize| format!(r#"{{"value": {}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(check(&deep(64)));
        assert!(!check(&deep(65)));
    }

    proptest! {
        #[test]
        fn what_it_takes_it_reads_as_the_lenient_reader(text in fragments()) {
            check(&text);
        }
    }

    /// Generates bodies of pieces, which are mostly well-formed.
    fn fragments() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            Just("-0.0".to_owned()),
            Just("1795225518.9071784".to_owned()),
            Just("5e-324".to_owned()),
            Just("00".to_owned()),
            Just("NaN".to_owned()),
            Just("[ ]".to_owned()),
            "\"[ -~ø\u{80}\u{2028}]{0,20}\"",
            Just(r#""\ud83d\u0000""#.to_owned()),
            Just("{ }".to_owned()),
        ];
        let value = scalar.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|items| format!("[{}]", items.join(", "))),
                prop::collection::vec((key(), inner), 0..5).prop_map(|entries| object(&entries)),
            ]
        });
        prop::collection::vec((key(), value), 0..8).prop_map(|entries| object(&entries))
    }

    fn key() -> impl Strategy<Value = String> {
        prop::sample::select(vec![
            "event",
            "timestamp",
            "metadata",
            "parse_data",
            "intent",
            "name",
            "model_id",
            "value",
            "text",
            "commands",
            "confidence",
            "other",
            "sender_id",
            r"\u0065vent",
            "",
        ])
        .prop_map(str::to_owned)
    }

    fn object(entries: &[(String, String)]) -> String {
        let entries: Vec<_> = entries.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        format!("{{{}}}", entries.join(","))
    }
}
