//! Blanks secrets in attributes: web front ends hand the tokens of signed-in users to the bot, and
//! nothing masks them in the log.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem::{find, find_iter};
use turnmill_model::SecretFilter;
use turnmill_model::json::{Kind, Limits, Node, Tree};

/// What stands in place of a secret.
const BLANK: &str = "[secret]";
/// The objects whose values may be secret.
const ATTRIBUTES: [&str; 3] = ["sessionAttributes", "requestAttributes", "contextAttributes"];

/// Finds and blanks secrets.
#[derive(Clone, Debug)]
pub(super) struct Secrets {
    /// Patterns of keys in lower case, each as its parts between the stars.
    patterns: Vec<Vec<String>>,
}

impl Secrets {
    pub(super) fn new(patterns: &[String]) -> Self {
        let parts = |pattern: &String| pattern.to_lowercase().split('*').map(str::to_owned).collect();
        Self { patterns: patterns.iter().map(parts).collect() }
    }

    /// Returns whether values of `key` are secret.
    fn is_secret(&self, key: &str) -> bool {
        let key = key.to_lowercase();
        self.patterns.iter().any(|parts| matches(parts, &key))
    }

    /// Returns whether a payload may hold secrets, without parsing it.
    fn may_have(&self, payload: &[u8]) -> bool {
        // An escape may hide any letter.
        if find(payload, b"eyJ").is_some() || find(payload, b"\\u").is_some() {
            return true;
        }
        let lower = payload.to_ascii_lowercase();
        let longest = |parts: &Vec<String>| parts.iter().max_by_key(|part| part.len()).cloned();
        let found = |part: String| !part.is_ascii() || find(&lower, part.as_bytes()).is_some();
        self.patterns.iter().filter_map(longest).any(found)
    }

    /// Finds the secrets in the attributes below `node`. Recurses as deep as the tree.
    fn collect<'a>(&self, node: Node<'_, 'a>, inside: bool, out: &mut Vec<&'a str>) {
        for item in node.items() {
            if inside {
                self.value(item, out);
            } else {
                self.collect(item, false, out);
            }
        }
        for (key, value) in node.entries() {
            let key = key.as_key();
            if inside && self.is_secret(&key) {
                if !is_empty(value) {
                    out.push(value.raw().as_str());
                }
            } else if inside {
                self.value(value, out);
            } else {
                self.collect(value, ATTRIBUTES.contains(&&*key), out);
            }
        }
    }

    /// Finds the secrets in a value of an attribute whose key is none.
    fn value<'a>(&self, value: Node<'_, 'a>, out: &mut Vec<&'a str>) {
        match value.raw().as_text() {
            Some(text) if !tokens(text.as_bytes()).is_empty() => out.push(value.raw().as_str()),
            Some(_) => {}
            None => self.collect(value, true, out),
        }
    }

    /// Blanks what looks like a secret in a text that is no log object.
    fn in_text(&self, payload: &[u8]) -> Vec<Range<usize>> {
        let mut found = tokens(payload);
        for colon in memchr::memchr_iter(b':', payload) {
            let Some(key) = key_before(payload, colon) else { continue };
            if self.is_secret(&String::from_utf8_lossy(key.text)) {
                found.push(value_after(payload, colon + 1, &key));
            }
        }
        found.retain(|range| !range.is_empty() && payload.get(range.clone()) != Some(BLANK.as_bytes()));
        found.sort_by_key(|range| range.start);
        found
    }
}

impl SecretFilter for Secrets {
    fn without_secrets(&self, payload: &[u8]) -> Option<Vec<u8>> {
        if !self.may_have(payload) {
            return None;
        }
        let tree = std::str::from_utf8(payload).ok().map(|text| Tree::parse(text, &Limits::default()));
        let found: Vec<Range<usize>> = match &tree {
            Some(Ok(tree)) if is_log(tree.root()) => {
                let mut values = Vec::new();
                self.collect(tree.root(), false, &mut values);
                let start = payload.as_ptr() as usize;
                let range = |value: &str| {
                    let at = value.as_ptr() as usize - start;
                    at..at + value.len()
                };
                // The quotes belong to the value, which need not be a text.
                let found = values.into_iter().filter(|value| value.trim_matches('"') != BLANK).map(range);
                return blanked(payload, found, "\"[secret]\"");
            }
            _ => self.in_text(payload),
        };
        blanked(payload, found.into_iter(), BLANK)
    }
}

/// Returns `payload` with `blank` in place of the ranges, or `None` if there are none.
fn blanked(payload: &[u8], found: impl Iterator<Item = Range<usize>>, blank: &str) -> Option<Vec<u8>> {
    let (mut out, mut done) = (Vec::with_capacity(payload.len()), 0);
    for range in found {
        if range.start >= done {
            out.extend_from_slice(payload.get(done..range.start)?);
            out.extend_from_slice(blank.as_bytes());
        }
        done = done.max(range.end);
    }
    if done == 0 {
        return None;
    }
    out.extend_from_slice(payload.get(done..)?);
    Some(out)
}

fn is_log(root: Node<'_, '_>) -> bool {
    ["sessionState", "interpretations", "bot"].iter().any(|key| root.get(key).is_some())
        || root.get("botId").is_some() && root.get("sessionId").is_some()
}

/// Returns whether a value is nothing that could be secret.
fn is_empty(value: Node<'_, '_>) -> bool {
    let raw = value.raw();
    match raw.kind() {
        Kind::Null => true,
        Kind::Text => raw.as_text() == Some(Cow::Borrowed("")),
        Kind::List => value.items().next().is_none(),
        Kind::Object => value.entries().next().is_none(),
        Kind::Boolean | Kind::Number => false,
    }
}

/// Returns whether `key` consists of the parts in their order, with anything between them.
fn matches(parts: &[String], key: &str) -> bool {
    let [first, middle @ .., last] = parts else {
        return parts.first().is_some_and(|only| only == key);
    };
    let Some(mut rest) = key.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        match rest.find(part.as_str()) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

/// Returns the signed tokens in `bytes`: `eyJ`, and two more parts of base64 after points.
fn tokens(bytes: &[u8]) -> Vec<Range<usize>> {
    let part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
    let mut found: Vec<Range<usize>> = Vec::new();
    for start in find_iter(bytes, b"eyJ") {
        if found.last().is_some_and(|last| start < last.end) {
            continue;
        }
        let (mut end, mut points) = (start, 0);
        loop {
            end += bytes.get(end..).unwrap_or_default().iter().take_while(part).count();
            if bytes.get(end) != Some(&b'.') {
                break;
            }
            points += 1;
            end += 1;
        }
        if points >= 2 {
            found.push(start..end);
        }
    }
    found
}

/// A key in a text, with the form of its quotes: plain, escaped (`\"`) or doubled (`""`).
struct Key<'a> {
    text: &'a [u8],
    slashes: usize,
    doubled: bool,
}

/// Returns the key in quotes that ends before the colon at `colon`.
fn key_before(bytes: &[u8], colon: usize) -> Option<Key<'_>> {
    let before = bytes.get(..colon)?.trim_ascii_end().strip_suffix(b"\"")?;
    let (doubled, before) = match before.strip_suffix(b"\"") {
        Some(before) => (true, before),
        None => (false, before),
    };
    let slashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
    let key = before.get(..before.len() - slashes)?;
    let start = memchr::memrchr(b'"', key)? + 1;
    Some(Key { text: key.get(start..)?, slashes, doubled })
}

/// Returns where the value of `key` is that begins at or after `at`, without its quotes. A text
/// that is cut off goes to the end.
fn value_after(bytes: &[u8], at: usize, key: &Key<'_>) -> Range<usize> {
    let value = bytes.get(at..).unwrap_or_default().trim_ascii_start();
    let start = bytes.len() - value.len();
    let quote = [vec![b'\\'; key.slashes], vec![b'"'; 1 + usize::from(key.doubled)]].concat();
    let Some(content) = value.strip_prefix(quote.as_slice()) else {
        let whole = value.starts_with(b"\"") || value.starts_with(b"\\");
        let length = value.iter().take_while(|byte| whole || !b",}\n\r ".contains(byte)).count();
        return start..start + length;
    };
    let start = start + quote.len();
    let closes = |end: &usize| {
        let before = content.get(..*end).unwrap_or_default();
        let slashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
        slashes == 0 || key.slashes == 0 && slashes % 2 == 0
    };
    let end = find_iter(content, &quote).find(closes);
    end.map_or(start..bytes.len(), |end| start..start + end)
}

#[cfg(test)]
mod tests {
    use turnmill_model::{LexSettings, SecretFilter as _};

    use super::*;

    fn clean(text: &str) -> String {
        let secrets = Secrets::new(&LexSettings::default().secret_keys);
        let once = secrets.without_secrets(text.as_bytes()).unwrap_or_else(|| text.into());
        assert_eq!(secrets.without_secrets(&once), None, "a second time changes nothing: {text}");
        String::from_utf8(once).unwrap()
    }

    #[test]
    fn keys_match_as_a_whole_and_without_case() {
        let secrets = Secrets::new(&["*jwt".into(), "a*b*c".into(), "authorization".into()]);
        for key in ["idTokenJWT", "jwt", "abc", "aXbYc", "abbcc", "Authorization"] {
            assert!(secrets.is_secret(key), "{key}");
        }
        for key in ["jwtid", "acb", "authorization2", "ab"] {
            assert!(!secrets.is_secret(key), "{key}");
        }
    }

    #[test]
    fn attributes_of_log_objects_are_blanked() {
        for (text, expected) in [
            (
                r#"{"bot":{},"sessionState":{"sessionAttributes":{"idtokenjwt":"x","username":"mira"}}}"#,
                r#"{"bot":{},"sessionState":{"sessionAttributes":{"idtokenjwt":"[secret]","username":"mira"}}}"#,
            ),
            (
                r#"{"bot":{},"requestAttributes":{"other":"Bearer eyJhbGci.eyJz.sig","myPassword":""}}"#,
                r#"{"bot":{},"requestAttributes":{"other":"[secret]","myPassword":""}}"#,
            ),
            (
                r#"{"bot":{},"requestAttributes":{"o":{"in":["eyJa..","b"],"token":{"a":1}}}}"#,
                r#"{"bot":{},"requestAttributes":{"o":{"in":["[secret]","b"],"token":"[secret]"}}}"#,
            ),
            (
                r#"{"bot":{},"requestAttributes":{"\u006awt":"x","o":"\u0065yJa.b.c"}}"#,
                r#"{"bot":{},"requestAttributes":{"\u006awt":"[secret]","o":"[secret]"}}"#,
            ),
            (r#"{"bot":{},"token":"x","text":"eyJa.b.c"}"#, r#"{"bot":{},"token":"x","text":"eyJa.b.c"}"#),
        ] {
            assert_eq!(clean(text), expected);
        }
    }

    #[test]
    fn other_texts_are_blanked_too() {
        for (text, expected) in [
            (
                r#"{"sessionAttributes":{"idtokenjwt":"cut o"#,
                r#"{"sessionAttributes":{"idtokenjwt":"[secret]"#,
            ),
            (r#"{"a":{"accesstoken": "x y", "b":"c""#, r#"{"a":{"accesstoken": "[secret]", "b":"c""#),
            (r#"{\"password\":\"p\\\"q\",\"b\":1} tail"#, r#"{\"password\":\"[secret]\",\"b\":1} tail"#),
            (r#"x,"{""mySecret"":""s"",""b"":1}""#, r#"x,"{""mySecret"":""[secret]"",""b"":1}""#),
            ("eyJhbGciOi.eyJzdWIi.c2ln and eyJ alone", "[secret] and eyJ alone"),
            (r#"{"token": 5}"#, r#"{"token": [secret]}"#),
        ] {
            assert_eq!(clean(text), expected, "{text}");
        }
    }
}
