//! JSON as Python writes it, as a plain tree.

use std::collections::HashMap;

/// One JSON value. Numbers keep their text; strings keep their NULs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    /// `NaN`, `Infinity` or `-Infinity`.
    NotFinite,
    Text(String),
    List(Vec<Json>),
    /// Members with unique keys. Of equal keys, the first position and the last value count.
    Object(Vec<(String, Json)>),
    /// A list or an object that is one level too deep, whatever it contains.
    Deep,
}

/// Maximum nesting of lists and objects.
pub(crate) const MAX_DEPTH: usize = 512;

impl Json {
    /// Returns the member `key`; `None` also if this is not an object.
    pub(crate) fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Returns the text of the member `key`, without NULs. A member of another type counts as
    /// absent.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        match self.get(key)? {
            Json::Text(text) => Some(clean(text)),
            _ => None,
        }
    }

    /// Returns the finite number of the member `key`.
    pub(crate) fn finite(&self, key: &str) -> Option<f64> {
        self.get(key)?.as_finite()
    }

    /// Returns this value as a finite number.
    pub(crate) fn as_finite(&self) -> Option<f64> {
        match self {
            Json::Number(token) => token.parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }

    /// Returns the canonical spelling.
    pub(crate) fn canonical(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// Returns whether more than [`MAX_DEPTH`] lists and objects are nested.
    pub(crate) fn too_deep(&self) -> bool {
        match self {
            Json::Deep => true,
            Json::List(elements) => elements.iter().any(Json::too_deep),
            Json::Object(members) => members.iter().any(|(_, value)| value.too_deep()),
            _ => false,
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Json::Null | Json::NotFinite | Json::Deep => out.push_str("null"),
            Json::Bool(true) => out.push_str("true"),
            Json::Bool(false) => out.push_str("false"),
            Json::Number(token) => out.push_str(token),
            Json::Text(text) => write_text(text, out),
            Json::List(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    element.write(out);
                }
                out.push(']');
            }
            Json::Object(members) => {
                // Keys may become equal when NULs are removed.
                let cleaned = unique(members.iter().map(|(key, value)| (clean(key), value)).collect());
                out.push('{');
                for (index, (key, value)) in cleaned.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    write_text(key, out);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// Returns the nesting, and the number of values including this one.
    pub(crate) fn size(&self) -> (usize, usize) {
        let children: Vec<&Json> = match self {
            Json::List(elements) => elements.iter().collect(),
            Json::Object(members) => members.iter().map(|(_, value)| value).collect(),
            _ => return (0, 1),
        };
        let (mut depth, mut values) = (0, 1);
        for child in children {
            let (child_depth, child_values) = child.size();
            depth = depth.max(child_depth);
            values += child_values;
        }
        (depth + 1, values)
    }
}

/// Returns a text without NULs.
pub(crate) fn clean(text: &str) -> String {
    text.replace('\0', "")
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '\0' => {}
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Removes equal keys: the first position and the last value count.
fn unique<V>(members: Vec<(String, V)>) -> Vec<(String, V)> {
    let mut positions: HashMap<String, usize> = HashMap::new();
    let mut out: Vec<(String, V)> = Vec::new();
    for (key, value) in members {
        match positions.get(&key) {
            Some(&position) => out[position].1 = value,
            None => {
                positions.insert(key.clone(), out.len());
                out.push((key, value));
            }
        }
    }
    out
}

/// Parses one JSON document. Returns `None` if it is invalid, even for Python.
pub(crate) fn parse(text: &str) -> Option<Json> {
    let mut parser = Parser { text, at: 0, level: 0 };
    parser.space();
    let value = parser.value()?;
    parser.space();
    (parser.at == text.len()).then_some(value)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    /// Number of enclosing lists and objects.
    level: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Skips `token` if it is next.
    fn eat(&mut self, token: &str) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(token.as_bytes());
        if found {
            self.at += token.len();
        }
        found
    }

    fn value(&mut self) -> Option<Json> {
        match self.peek()? {
            b'{' | b'[' if self.level == MAX_DEPTH => self.flat().map(|()| Json::Deep),
            b'{' => self.inside(Self::object),
            b'[' => self.inside(Self::list),
            b'"' => self.string().map(Json::Text),
            b'-' | b'0'..=b'9' if !self.text[self.at..].starts_with("-I") => self.number().map(Json::Number),
            _ if self.eat("null") => Some(Json::Null),
            _ if self.eat("true") => Some(Json::Bool(true)),
            _ if self.eat("false") => Some(Json::Bool(false)),
            _ if self.eat("NaN") || self.eat("Infinity") || self.eat("-Infinity") => Some(Json::NotFinite),
            _ => None,
        }
    }

    fn inside(&mut self, read: fn(&mut Self) -> Option<Json>) -> Option<Json> {
        self.level += 1;
        let value = read(self);
        self.level -= 1;
        value
    }

    /// Skips a list or an object of any depth, without recursion.
    fn flat(&mut self) -> Option<()> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.space();
            // A value starts here.
            let first = self.peek()?;
            if matches!(first, b'{' | b'[') {
                self.at += 1;
                open.push(first);
                self.space();
                let empty = if first == b'{' { "}" } else { "]" };
                if !self.text[self.at..].starts_with(empty) {
                    self.member(first)?;
                    continue;
                }
            } else {
                self.value()?;
            }
            // A value has ended: close containers until a comma.
            loop {
                self.space();
                let Some(&last) = open.last() else { return Some(()) };
                if self.eat(if last == b'{' { "}" } else { "]" }) {
                    open.pop();
                } else if self.eat(",") {
                    self.space();
                    self.member(last)?;
                    break;
                } else {
                    return None;
                }
            }
        }
    }

    /// Skips the key before a value in an object. A list has no keys.
    fn member(&mut self, container: u8) -> Option<()> {
        if container == b'{' {
            if self.peek()? != b'"' {
                return None;
            }
            self.string()?;
            self.space();
            return self.eat(":").then_some(());
        }
        Some(())
    }

    fn list(&mut self) -> Option<Json> {
        let mut elements = Vec::new();
        self.eat("[");
        self.space();
        if self.eat("]") {
            return Some(Json::List(elements));
        }
        loop {
            self.space();
            elements.push(self.value()?);
            self.space();
            if self.eat("]") {
                return Some(Json::List(elements));
            }
            if !self.eat(",") {
                return None;
            }
        }
    }

    fn object(&mut self) -> Option<Json> {
        let mut members = Vec::new();
        self.eat("{");
        self.space();
        if self.eat("}") {
            return Some(Json::Object(members));
        }
        loop {
            self.space();
            if self.peek()? != b'"' {
                return None;
            }
            let key = self.string()?;
            self.space();
            if !self.eat(":") {
                return None;
            }
            self.space();
            members.push((key, self.value()?));
            self.space();
            if self.eat("}") {
                return Some(Json::Object(unique(members)));
            }
            if !self.eat(",") {
                return None;
            }
        }
    }

    /// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
    fn number(&mut self) -> Option<String> {
        let start = self.at;
        self.eat("-");
        if !self.eat("0") {
            self.digits()?;
        }
        if self.eat(".") {
            self.digits()?;
        }
        if self.eat("e") || self.eat("E") {
            let _ = self.eat("+") || self.eat("-");
            self.digits()?;
        }
        Some(self.text[start..self.at].to_owned())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn string(&mut self) -> Option<String> {
        self.eat("\"");
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < b' ')?;
            out.push_str(&rest[..plain]);
            self.at += plain;
            if self.eat("\"") {
                return Some(out);
            }
            if !self.eat("\\") {
                return None; // a bare control character
            }
            let escape = self.peek()?;
            self.at += 1;
            out.push(match escape {
                b'"' => '"',
                b'\\' => '\\',
                b'/' => '/',
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => self.unicode()?,
                _ => return None,
            });
        }
    }

    /// Decodes `\u`. A surrogate without its partner is U+FFFD.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Some(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let after_first = self.at;
        if self.eat("\\u") {
            let second = self.hex4()?;
            if (0xdc00..0xe000).contains(&second) {
                return char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            }
            self.at = after_first;
        }
        Some(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_spelling() {
        let table = [
            (r#"{"b":1,"a":[ ]}"#, r#"{"b": 1, "a": []}"#),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a": 3, "b": 2}"#),
            (r#"{"a":1,"b":2,"a\u0000":3}"#, r#"{"a": 3, "b": 2}"#),
            ("[NaN,Infinity,-Infinity,-0.0,1e999,1E+05]", "[null, null, null, -0.0, 1e999, 1E+05]"),
            (r#""\ud83d\ud83d\ude00\udc00\u0000 \/""#, "\"\u{fffd}😀\u{fffd} /\""),
            (r#""\u0041\u0001\b\f\n\r\t\"\\\u007f""#, "\"A\\u0001\\b\\f\\n\\r\\t\\\"\\\\\u{7f}\""),
            ("123456789012345678901234567890.00", "123456789012345678901234567890.00"),
        ];
        for (written, canonical) in table {
            assert_eq!(parse(written).unwrap().canonical(), canonical, "{written}");
        }
    }

    #[test]
    fn what_is_no_json() {
        for text in [
            "",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "nan",
            "-NaN",
            "[1,]",
            "{,}",
            "{a:1}",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "1 2",
            "\"",
            "[",
            "tru",
            "\u{feff}1",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn depth_is_that_of_what_is_left() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let too_deep = |text: &str| parse(text).unwrap().too_deep();
        assert!(!too_deep(&nested(512)));
        assert!(too_deep(&nested(513)));
        assert!(too_deep(&nested(1_000_000)));
        assert_eq!(parse(&nested(600)[1..]), None);
        assert!(!too_deep(&format!("\"{}\"", "[".repeat(600))));
        assert!(!too_deep(&format!(r#"{{"a": {}, "a": 1}}"#, nested(600))), "the first value is dropped");
        assert!(too_deep(&format!(r#"{{"a": 1, "a": {}}}"#, nested(600))));
        assert_eq!(parse(&nested(512)).unwrap().size(), (512, 512));
        assert_eq!(parse(r#"{"a": [1, {}], "b": null}"#).unwrap().size(), (3, 5));
    }
}
