//! Finds the end of a JSON value in bytes that go on.

/// How far a JSON value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// It ends before this offset.
    Ends(usize),
    /// The bytes end inside of it.
    Open,
    /// It is no JSON.
    Broken,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    /// A value, or the end of a list.
    FirstItem,
    /// A key, or the end of an object.
    FirstKey,
    Key,
    Colon,
    /// A comma, or the end of the list or object.
    Comma,
}

/// Returns the extent of the list or object at the start of `bytes`.
///
/// It checks the structure, so a line that was cut off does not swallow the ones after it: a second
/// object is no key.
///
/// ```text
/// {"a": {"b": 1}} {"c": 2}      Ends(15)
/// {"a": {"b":                   Open
/// {"a": 1,⏎{"a": 2}             Broken
/// ```
pub(super) fn extent(bytes: &[u8]) -> Extent {
    let (mut at, mut open, mut expect) = (0, Vec::new(), Expect::Value);
    loop {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        let Some(&byte) = bytes.get(at) else { return Extent::Open };
        let begins = matches!(expect, Expect::Value | Expect::FirstItem);
        match (byte, expect) {
            (b'{', _) if begins => {
                open.push(b'}');
                expect = Expect::FirstKey;
                at += 1;
                continue;
            }
            (b'[', _) if begins => {
                open.push(b']');
                expect = Expect::FirstItem;
                at += 1;
                continue;
            }
            (b'}' | b']', Expect::Comma | Expect::FirstItem | Expect::FirstKey) => {
                if open.pop() != Some(byte) {
                    return Extent::Broken;
                }
                at += 1;
            }
            (b',', Expect::Comma) => {
                expect = if open.last() == Some(&b'}') { Expect::Key } else { Expect::Value };
                at += 1;
                continue;
            }
            (b':', Expect::Colon) => {
                expect = Expect::Value;
                at += 1;
                continue;
            }
            (b'"', _) => {
                let Some(end) = string_end(bytes, at + 1) else { return Extent::Open };
                let Ok(end) = end else { return Extent::Broken };
                at = end;
                if matches!(expect, Expect::Key | Expect::FirstKey) {
                    expect = Expect::Colon;
                    continue;
                }
                if !begins {
                    return Extent::Broken;
                }
            }
            (b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z', _) if begins => {
                let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
                at += bytes.get(at..).unwrap_or_default().iter().take_while(|byte| word(byte)).count();
                if at == bytes.len() {
                    return Extent::Open;
                }
            }
            _ => return Extent::Broken,
        }
        // A value has ended.
        if open.is_empty() {
            return Extent::Ends(at);
        }
        expect = Expect::Comma;
    }
}

/// Returns the offset after the string whose content begins at `at`: `None` if it does not end,
/// `Err` if it holds a control character.
fn string_end(bytes: &[u8], mut at: usize) -> Option<Result<usize, ()>> {
    loop {
        match bytes.get(at)? {
            b'"' => return Some(Ok(at + 1)),
            b'\\' => at += 2,
            0..=0x1f => return Some(Err(())),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Extent, extent};

    #[test]
    fn extents() {
        for (text, expected) in [
            (r#"{"a": {"b": 1}} {"c": 2}"#, Extent::Ends(15)),
            (r#"[]x"#, Extent::Ends(2)),
            (r#"[1, -2.5e+3, true, null, NaN, "x\"y"]"#, Extent::Ends(37)),
            (r#"{"a": {"b":"#, Extent::Open),
            (r#"{"a": tru"#, Extent::Open),
            (r#"{"a": "x\"#, Extent::Open),
            ("{\"a\": 1,\n{\"a\": 2}", Extent::Broken),
            ("{\"a\": \"cut\n{\"a\": 2}", Extent::Broken),
            (r#"{"a" 1}"#, Extent::Broken),
            (r#"{"a": 1]"#, Extent::Broken),
            (r#"{"a": 1 2}"#, Extent::Broken),
            (r#"[1,]"#, Extent::Broken),
        ] {
            assert_eq!(extent(text.as_bytes()), expected, "{text}");
        }
    }
}
