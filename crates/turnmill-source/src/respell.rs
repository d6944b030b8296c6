//! Other spellings of JSON, rewritten in place as plain JSON.
//!
//! Every spelling here is at least as long as plain JSON. So a value is rewritten in place and
//! padded with spaces, and offsets after it do not change: `{"$numberInt": "1"}` becomes `1` and 18
//! spaces.

use memchr::{memchr, memmem};

use crate::scan::{Kind, Scanner, Span, Value};

/// Maximum nesting of a typed value that is rewritten. A deeper one stays as it is.
const DEEPEST: usize = 512;

/// Returns whether the value has numbers of MongoDB's canonical Extended JSON, such as
/// `{"$numberDouble": "1.5"}`.
///
/// Such a key follows a brace. Inside of a string its quote would be escaped, so text never
/// matches.
pub(crate) fn has_extended_numbers(bytes: &[u8]) -> bool {
    memmem::find_iter(bytes, b"\"$number").any(|at| {
        let before = bytes[..at].trim_ascii_end();
        before.last() == Some(&b'{')
    })
}

/// Writes plain JSON over typed JSON.
struct Rewriter<'a> {
    bytes: &'a mut [u8],
    /// Next byte to write. It never passes the byte that is read.
    at: usize,
}

impl Rewriter<'_> {
    fn copy(&mut self, span: Span) {
        self.bytes.copy_within(span.start..span.end, self.at);
        self.at += span.end - span.start;
    }

    fn byte(&mut self, byte: u8) {
        self.bytes[self.at] = byte;
        self.at += 1;
    }

    fn token(&mut self, token: &[u8]) {
        self.bytes[self.at..self.at + token.len()].copy_from_slice(token);
        self.at += token.len();
    }

    /// Fills the rest of a value that ended at `end` with spaces.
    fn pad(&mut self, end: usize) {
        self.bytes[self.at..end].fill(b' ');
    }
}

/// Returns the value's span, including the quotes of a text.
fn whole(value: Value) -> Span {
    match value.kind {
        Kind::Text { .. } => Span::new(value.span.start - 1, value.span.end + 1),
        Kind::Null | Kind::Token | Kind::Object | Kind::Array => value.span,
    }
}

/// Returns the only member of the object at `span`.
fn only_member(bytes: &[u8], span: Span) -> Option<(Span, Value)> {
    let mut scanner = Scanner::new(bytes, span.start);
    let mut found = None;
    let mut members = 0;
    let outcome = scanner.object(|scanner, key| {
        members += 1;
        found = Some((key.span, scanner.value()?));
        Ok(())
    });
    if outcome.is_err() || members != 1 { None } else { found }
}

/// Returns the members of an object, or the elements of an array with empty keys, with whole spans.
fn parts(bytes: &[u8], value: Value) -> Vec<(Option<Span>, Value)> {
    let mut scanner = Scanner::new(bytes, value.span.start);
    let mut parts = Vec::new();
    // The value was scanned before, so neither call can fail.
    let _ = if value.kind == Kind::Object {
        scanner.object(|scanner, key| {
            parts.push((Some(whole(key)), scanner.value()?));
            Ok(())
        })
    } else {
        scanner.array(|scanner| {
            parts.push((None, scanner.value()?));
            Ok(())
        })
    };
    parts
}

/// Returns whether `text` is a number of JSON, or one of the three that Python adds.
fn is_number(text: &[u8]) -> bool {
    if matches!(text, b"NaN" | b"Infinity" | b"-Infinity") {
        return true;
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let mut scanner = Scanner::new(text, 0);
    digits.first().is_some_and(u8::is_ascii_digit)
        && scanner.value().is_ok_and(|value| value.kind == Kind::Token && value.span.end == text.len())
        && std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok())
}

/// Replaces the typed numbers of canonical Extended JSON in the value at `span`. Digits are kept.
pub(crate) fn plain_numbers(bytes: &mut [u8], span: Span) {
    let Ok(value) = Scanner::new(bytes, span.start).value() else { return };
    let mut rewriter = Rewriter { bytes, at: span.start };
    extended(&mut rewriter, value, 0);
    rewriter.pad(span.end);
}

fn extended(out: &mut Rewriter<'_>, value: Value, depth: usize) {
    let number = |bytes: &[u8]| -> Option<Span> {
        let (key, member) = only_member(bytes, value.span)?;
        let known =
            matches!(key.of(bytes), b"$numberDouble" | b"$numberInt" | b"$numberLong" | b"$numberDecimal");
        (known && matches!(member.kind, Kind::Text { escaped: false }) && is_number(member.span.of(bytes)))
            .then_some(member.span)
    };
    match value.kind {
        Kind::Object | Kind::Array if depth < DEEPEST => {
            if value.kind == Kind::Object
                && let Some(span) = number(out.bytes)
            {
                return out.copy(span);
            }
            container(out, value, depth, &mut extended);
        }
        _ => out.copy(whole(value)),
    }
}

/// Writes an object or an array. `part` writes each of its values.
fn container(
    out: &mut Rewriter<'_>,
    value: Value,
    depth: usize,
    part: &mut dyn FnMut(&mut Rewriter<'_>, Value, usize),
) {
    let (open, close) = if value.kind == Kind::Object { (b'{', b'}') } else { (b'[', b']') };
    let parts = parts(out.bytes, value);
    out.byte(open);
    for (index, (key, value)) in parts.iter().enumerate() {
        // The input had at least a comma between two values, so the output is never longer.
        if index > 0 {
            out.byte(b',');
        }
        if let Some(key) = key {
            out.copy(*key);
            out.byte(b':');
        }
        part(out, *value, depth + 1);
    }
    out.byte(close);
}

/// Returns the type of a DynamoDB value such as `{"S": "text"}`, and its content.
fn typed(bytes: &[u8], value: Value) -> Option<(&[u8], Value)> {
    if value.kind != Kind::Object {
        return None;
    }
    let (key, member) = only_member(bytes, value.span)?;
    let name = key.of(bytes);
    let text = matches!(member.kind, Kind::Text { .. });
    let fits = match name {
        b"S" | b"B" => text,
        b"N" => matches!(member.kind, Kind::Text { escaped: false }) && is_number(member.span.of(bytes)),
        b"BOOL" => matches!(member.span.of(bytes), b"true" | b"false"),
        b"NULL" => member.kind == Kind::Token,
        b"M" => member.kind == Kind::Object,
        b"L" | b"SS" | b"NS" | b"BS" => member.kind == Kind::Array,
        _ => false,
    };
    fits.then_some((name, member))
}

/// Returns whether the value is a list in DynamoDB's JSON, `{"L": [...]}`.
pub(crate) fn is_typed_list(bytes: &[u8], value: Value) -> bool {
    typed(bytes, value).is_some_and(|(name, _)| name == b"L")
}

/// Replaces DynamoDB's types in the item at `span`, an object of typed values. Digits are kept.
pub(crate) fn plain_item(bytes: &mut [u8], span: Span) {
    let Ok(value) = Scanner::new(bytes, span.start).value() else { return };
    if value.kind != Kind::Object {
        return;
    }
    let mut rewriter = Rewriter { bytes, at: span.start };
    container(&mut rewriter, value, 0, &mut dynamo);
    rewriter.pad(span.end);
}

fn dynamo(out: &mut Rewriter<'_>, value: Value, depth: usize) {
    let Some((name, member)) = typed(out.bytes, value) else { return out.copy(whole(value)) };
    match name {
        b"N" => out.copy(member.span),
        b"NULL" => out.token(b"null"),
        b"M" | b"L" if depth < DEEPEST => container(out, member, depth, &mut dynamo),
        b"NS" => container(out, member, depth, &mut |out, number, _| {
            let span = number.span;
            if is_number(span.of(out.bytes)) { out.copy(span) } else { out.copy(whole(number)) }
        }),
        _ => out.copy(whole(member)),
    }
}

/// Returns whether there are backslashes and every run of them has an even length.
///
/// PostgreSQL's COPY text looks like that.
pub(crate) fn all_doubled(text: &[u8]) -> bool {
    let mut rest = text;
    let mut any = false;
    while let Some(found) = memchr(b'\\', rest) {
        let run = rest[found..].iter().take_while(|byte| **byte == b'\\').count();
        if !run.is_multiple_of(2) {
            return false;
        }
        any = true;
        rest = &rest[found + run..];
    }
    any
}

/// Resolves the escapes of PostgreSQL's COPY text in place and returns the text's new span. The
/// escapes of `mysql --batch` are the same.
pub(crate) fn copy_text(bytes: &mut [u8], span: Span) -> Span {
    let (mut read, mut write) = (span.start, span.start);
    while read < span.end {
        let plain = memchr(b'\\', &bytes[read..span.end]).unwrap_or(span.end - read);
        bytes.copy_within(read..read + plain, write);
        read += plain;
        write += plain;
        if read == span.end {
            break;
        }
        let (length, byte) = copy_escape(&bytes[read..span.end]);
        bytes[write] = byte;
        read += length;
        write += 1;
    }
    Span::new(span.start, write)
}

/// Returns the length and the meaning of the escape at the start of `bytes`.
fn copy_escape(bytes: &[u8]) -> (usize, u8) {
    let byte = match bytes.get(1) {
        None => return (1, b'\\'),
        Some(b'b') => 8,
        Some(b'f') => 12,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'v') => 11,
        Some(b'x') => {
            let digits = bytes[2..].iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).count();
            let text = std::str::from_utf8(&bytes[2..2 + digits]).unwrap_or_default();
            return u8::from_str_radix(text, 16).map_or((2, b'x'), |byte| (2 + digits, byte));
        }
        Some(b'0'..=b'7') => {
            let digits = bytes[1..].iter().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
            let text = std::str::from_utf8(&bytes[1..=digits]).unwrap_or_default();
            // PostgreSQL drops the high bits of a code above one byte.
            let code = u16::from_str_radix(text, 8).unwrap_or_default();
            return (1 + digits, u8::try_from(code & 0xff).unwrap_or_default());
        }
        Some(&other) => other,
    };
    (2, byte)
}

/// Halves doubled quotes of a quoted CSV field in place and returns the text's new span.
pub(crate) fn csv_text(bytes: &mut [u8], span: Span, quote: u8) -> Span {
    let (mut read, mut write) = (span.start, span.start);
    while read < span.end {
        let plain = memchr(quote, &bytes[read..span.end]).map_or(span.end - read, |found| found + 1);
        bytes.copy_within(read..read + plain, write);
        read += plain;
        write += plain;
        if read < span.end && bytes[read] == quote {
            read += 1;
        }
    }
    Span::new(span.start, write)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn respelled(text: &str, respell: fn(&mut [u8], Span)) -> String {
        let mut bytes = text.as_bytes().to_vec();
        let span = Span::new(0, bytes.len());
        respell(&mut bytes, span);
        assert_eq!(bytes.len(), text.len(), "nothing moves");
        String::from_utf8(bytes).unwrap().trim_end().to_owned()
    }

    #[test]
    fn numbers_keep_their_spelling() {
        for (canonical, plain) in [
            (r#"{"a": {"$numberDouble": "1679306228.4810467"}}"#, r#"{"a":1679306228.4810467}"#),
            (r#"{"a": { "$numberInt" : "1" }, "b": {"$numberLong": "-5"}}"#, r#"{"a":1,"b":-5}"#),
            (r#"[{"$numberDouble": "NaN"}, {"$numberDouble": "1E5"}]"#, "[NaN,1E5]"),
            (
                r#"{"_id": {"$oid": "64"}, "t": {"$date": {"$numberLong": "7"}}}"#,
                r#"{"_id":{"$oid":"64"},"t":{"$date":7}}"#,
            ),
            // A slot may have any value.
            (r#"{"v": {"$numberInt": "one"}}"#, r#"{"v":{"$numberInt":"one"}}"#),
            (r#"{"v": {"$numberInt": "1", "x": 1}}"#, r#"{"v":{"$numberInt":"1","x":1}}"#),
        ] {
            assert_eq!(respelled(canonical, plain_numbers), plain);
        }
        assert!(has_extended_numbers(br#"{"a": {  "$numberInt": "1"}}"#));
        assert!(!has_extended_numbers(br#"{"text": "{\"$numberInt\": 1}"}"#));
    }

    #[test]
    fn items_lose_their_types() {
        let item = concat!(
            r#"{"s": {"S": "a\"b"}, "n": {"N": "1679306228.481046677"}, "m": {"M": {"x": {"NULL": true}}}, "#,
            r#""l": {"L": [{"BOOL": false}, {"SS": ["a"]}, {"NS": ["1", "2"]}, {"B": "YQ=="}, {"L": []}, {"M": {}}]}, "u": 5}"#
        );
        assert_eq!(
            respelled(item, plain_item),
            r#"{"s":"a\"b","n":1679306228.481046677,"m":{"x":null},"l":[false,["a"],[1,2],"YQ==",[],{}],"u":5}"#
        );
    }

    #[test]
    fn copy_text_is_read_as_postgresql_writes_it() {
        for (written, text) in [
            (r#"{\\"a\\": \\"\\u00e9\\"}"#, r#"{\"a\": \"\u00e9\"}"#),
            (r"a\tb\nc\\d\x41\101\q\", "a\tb\nc\\dAAq\\"),
        ] {
            let mut bytes = written.as_bytes().to_vec();
            let whole = Span::new(0, bytes.len());
            assert_eq!(String::from_utf8_lossy(copy_text(&mut bytes, whole).of(&bytes)), text);
        }
        assert!(all_doubled(br"a\\b\\\\") && !all_doubled(b"ab") && !all_doubled(br"a\\b\n"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne(bytes: Vec<u8>) {
            for respell in [plain_numbers, plain_item] {
                let mut bytes = bytes.clone();
                let whole = Span::new(0, bytes.len());
                respell(&mut bytes, whole);
            }
            let mut copy = bytes.clone();
            let whole = Span::new(0, copy.len());
            prop_assert!(copy_text(&mut copy, whole).end <= bytes.len());
            let mut copy = bytes.clone();
            prop_assert!(csv_text(&mut copy, whole, b'"').end <= bytes.len());
        }
    }
}
