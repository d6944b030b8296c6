//! JSON Patch (RFC 6902), one operation after the other on a copy.

use crate::json::{self, Json, MAX_DEPTH};

/// Maximum number of values in a patch or a stack, including lists and objects.
const MAX_VALUES: usize = 100_000;

/// Returns the stack after the patch `update`; `None` if the patch does not apply.
pub(crate) fn apply(stack: &Json, update: Option<&str>) -> Option<Json> {
    let update = update?;
    let patch = json::parse(update).filter(|patch| !patch.too_deep())?;
    let Json::List(operations) = within_limits(patch)? else { return None };
    let mut stack = stack.clone();
    for operation in &operations {
        stack = within_limits(perform(stack, operation)?)?;
    }
    matches!(stack, Json::List(_)).then_some(stack)
}

fn within_limits(value: Json) -> Option<Json> {
    let (depth, values) = value.size();
    (depth <= MAX_DEPTH && values <= MAX_VALUES).then_some(value)
}

fn perform(mut document: Json, operation: &Json) -> Option<Json> {
    let string = |key| match operation.get(key) {
        Some(Json::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let path = pointer(string("path")?)?;
    match string("op")? {
        "add" => add(document, &path, operation.get("value")?.clone()),
        "remove" => {
            take(&mut document, &path)?;
            Some(document)
        }
        "replace" => {
            *find_mut(&mut document, &path)? = operation.get("value")?.clone();
            Some(document)
        }
        "move" => {
            let from = pointer(string("from")?)?;
            if from == path {
                return find_mut(&mut document, &from).is_some().then_some(document);
            }
            if path.starts_with(&from) {
                return None; // into itself
            }
            let value = take(&mut document, &from)?;
            add(document, &path, value)
        }
        "copy" => {
            let from = pointer(string("from")?)?;
            let value = find_mut(&mut document, &from)?.clone();
            add(document, &path, value)
        }
        "test" => {
            let expected = operation.get("value")?;
            equal(find_mut(&mut document, &path)?, expected).then_some(document)
        }
        _ => None,
    }
}

/// Splits a JSON Pointer (RFC 6901) into its reference tokens.
fn pointer(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.strip_prefix('/')?.split('/').map(token).collect()
}

fn token(written: &str) -> Option<String> {
    let mut out = String::new();
    let mut characters = written.chars();
    while let Some(character) = characters.next() {
        out.push(match character {
            '~' => match characters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

/// Parses an array index below `limit`: digits without leading zeros.
fn index(token: &str, limit: usize) -> Option<usize> {
    let digits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (token.len() > 1 && token.starts_with('0')) {
        return None;
    }
    token.parse().ok().filter(|index| *index < limit)
}

fn find_mut<'d>(document: &'d mut Json, path: &[String]) -> Option<&'d mut Json> {
    let Some((first, rest)) = path.split_first() else { return Some(document) };
    let child = match document {
        Json::List(elements) => {
            let index = index(first, elements.len())?;
            &mut elements[index]
        }
        Json::Object(members) => &mut members.iter_mut().find(|(key, _)| key == first)?.1,
        _ => return None,
    };
    find_mut(child, rest)
}

fn add(mut document: Json, path: &[String], value: Json) -> Option<Json> {
    let Some((last, parents)) = path.split_last() else { return Some(value) };
    match find_mut(&mut document, parents)? {
        Json::List(elements) => {
            let position = if last == "-" { elements.len() } else { index(last, elements.len() + 1)? };
            elements.insert(position, value);
        }
        Json::Object(members) => match members.iter_mut().find(|(key, _)| key == last) {
            Some(member) => member.1 = value,
            None => members.push((last.clone(), value)),
        },
        _ => return None,
    }
    Some(document)
}

/// Removes the value at `path` and returns it. The whole document cannot be removed.
fn take(document: &mut Json, path: &[String]) -> Option<Json> {
    let (last, parents) = path.split_last()?;
    match find_mut(document, parents)? {
        Json::List(elements) => {
            let position = index(last, elements.len())?;
            Some(elements.remove(position))
        }
        Json::Object(members) => {
            let position = members.iter().position(|(key, _)| key == last)?;
            Some(members.remove(position).1)
        }
        _ => None,
    }
}

/// Compares values as RFC 6902 section 4.6 does: numbers by value, objects in any order of members.
fn equal(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => decimal(a) == decimal(b),
        (Json::List(a), Json::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Json::Object(a), Json::Object(_)) => {
            let Json::Object(others) = b else { return false };
            a.len() == others.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| equal(value, other)))
        }
        (Json::Null | Json::NotFinite, Json::Null | Json::NotFinite) => true,
        (a, b) => a == b,
    }
}

/// Splits a number into sign, significant digits, and the exponent of ten of the last digit. Zero
/// is (false, "", 0).
fn decimal(token: &str) -> (bool, String, i128) {
    let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let negative = mantissa.starts_with('-');
    let mantissa = mantissa.trim_start_matches('-');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let dropped = digits.len() - significant.len();
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return (false, String::new(), 0);
    }
    // Only attacks have exponents with more digits than i64 holds. They saturate.
    let exponent = exponent.trim_start_matches('+');
    let exponent: i64 =
        exponent.parse().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
    (negative, significant.to_owned(), i128::from(exponent) - fraction.len() as i128 + dropped as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the stack after the patch in canonical form; `-` if it does not apply.
    fn patched(stack: &str, update: &str) -> String {
        let stack = json::parse(stack).unwrap();
        apply(&stack, Some(update)).map_or_else(|| "-".to_owned(), |result| result.canonical())
    }

    #[test]
    fn operations() {
        let table = [
            // add
            ("[]", r#"[{"op":"add","path":"/0","value":{"a":1}}]"#, r#"[{"a": 1}]"#),
            ("[1,2]", r#"[{"op":"add","path":"/-","value":3}]"#, "[1, 2, 3]"),
            ("[1,2]", r#"[{"op":"add","path":"/1","value":3}]"#, "[1, 3, 2]"),
            ("[1,2]", r#"[{"op":"add","path":"/2","value":3}]"#, "[1, 2, 3]"),
            ("[1,2]", r#"[{"op":"add","path":"/3","value":3}]"#, "-"),
            ("[1,2]", r#"[{"op":"add","path":"/01","value":3}]"#, "-"),
            ("[1,2]", r#"[{"op":"add","path":"/a","value":3}]"#, "-"),
            ("[{\"a\":1}]", r#"[{"op":"add","path":"/0/a","value":null}]"#, r#"[{"a": null}]"#),
            ("[{\"a\":1}]", r#"[{"op":"add","path":"/0/a/b","value":2}]"#, "-"),
            ("[{}]", r#"[{"op":"add","path":"/0/a~1b~0","value":2}]"#, r#"[{"a/b~": 2}]"#),
            ("[{}]", r#"[{"op":"add","path":"/0/a~2","value":2}]"#, "-"),
            ("[1]", r#"[{"op":"add","path":"","value":[]}]"#, "[]"),
            ("[1]", r#"[{"op":"add","path":"","value":{}}]"#, "-"),
            ("[1]", r#"[{"op":"add","path":"0","value":2}]"#, "-"),
            ("[1]", r#"[{"op":"add","path":"/0"}]"#, "-"),
            // remove
            ("[1,2]", r#"[{"op":"remove","path":"/0"}]"#, "[2]"),
            ("[1,2]", r#"[{"op":"remove","path":"/-"}]"#, "-"),
            ("[{\"a\":1}]", r#"[{"op":"remove","path":"/0/a"}]"#, "[{}]"),
            ("[{}]", r#"[{"op":"remove","path":"/0/a"}]"#, "-"),
            ("[]", r#"[{"op":"remove","path":""}]"#, "-"),
            // replace
            ("[{\"a\":1}]", r#"[{"op":"replace","path":"/0/a","value":2}]"#, r#"[{"a": 2}]"#),
            ("[{\"a\":1}]", r#"[{"op":"replace","path":"/0/b","value":2}]"#, "-"),
            ("[1]", r#"[{"op":"replace","path":"","value":[7]}]"#, "[7]"),
            // move
            ("[1,2,3]", r#"[{"op":"move","from":"/0","path":"/2"}]"#, "[2, 3, 1]"),
            ("[1,2,3]", r#"[{"op":"move","from":"/0","path":"/3"}]"#, "-"),
            ("[[1]]", r#"[{"op":"move","from":"/0","path":"/0/0"}]"#, "-"),
            ("[1]", r#"[{"op":"move","from":"/0","path":"/0"}]"#, "[1]"),
            ("[1]", r#"[{"op":"move","from":"/1","path":"/1"}]"#, "-"),
            // copy
            ("[1,2]", r#"[{"op":"copy","from":"/0","path":"/-"}]"#, "[1, 2, 1]"),
            ("[1,2]", r#"[{"op":"copy","from":"/2","path":"/-"}]"#, "-"),
            // test
            (
                r#"[{"a":1,"b":[2.0]}]"#,
                r#"[{"op":"test","path":"/0","value":{"b":[2],"a":10e-1}}]"#,
                r#"[{"a": 1, "b": [2.0]}]"#,
            ),
            ("[1]", r#"[{"op":"test","path":"/0","value":"1"}]"#, "-"),
            ("[1]", r#"[{"op":"test","path":"/0"}]"#, "-"),
            // whole patches
            ("[1]", "[]", "[1]"),
            ("[1]", "{}", "-"),
            ("[1]", "", "-"),
            ("[1]", r#"[{"op":"remove","path":"/0"},{"op":"remove","path":"/0"}]"#, "-"),
            ("[1]", r#"[{"op":"add","path":"","value":5},{"op":"add","path":"","value":[]}]"#, "[]"),
            ("[1]", r#"[{"op":"drop","path":"/0"}]"#, "-"),
            ("[1]", r#"[{"op":"remove","path":5}]"#, "-"),
            ("[1]", "[5]", "-"),
        ];
        for (stack, update, expected) in table {
            assert_eq!(patched(stack, update), expected, "{stack} {update}");
        }
        assert_eq!(apply(&Json::List(Vec::new()), None), None);
    }

    #[test]
    fn numbers_are_equal_by_value() {
        for (a, b, same) in [
            ("1", "1.0", true),
            ("100", "1e2", true),
            ("-0", "0.0", true),
            ("0.1", "1E-1", true),
            ("9007199254740993", "9007199254740992", false),
            ("1", "-1", false),
            ("10", "1", false),
        ] {
            assert_eq!(decimal(a) == decimal(b), same, "{a} {b}");
        }
    }

    #[test]
    fn doubling_ends_at_the_limit() {
        let mut operations = vec![r#"{"op":"add","path":"/0","value":[1]}"#.to_owned()];
        let double = r#"{"op":"copy","from":"","path":"/-"}"#.to_owned();
        operations.extend(std::iter::repeat_n(double.clone(), 30));
        assert_eq!(patched("[]", &format!("[{}]", operations.join(","))), "-");
        let deep = |levels: usize| {
            format!(r#"[{{"op":"add","path":"/0","value":{}{}}}]"#, "[".repeat(levels), "]".repeat(levels))
        };
        // The patch itself nests two levels more than its value.
        assert_ne!(patched("[]", &deep(510)), "-");
        assert_eq!(patched("[]", &deep(511)), "-");
        // Each copy of the whole stack into itself adds a level.
        let copied = |times: usize| {
            let add = deep(510);
            format!("{}{}]", &add[..add.len() - 1], format!(",{double}").repeat(times))
        };
        assert_ne!(patched("[]", &copied(1)), "-");
        assert_eq!(patched("[]", &copied(2)), "-");
        let wide = |values: usize| {
            format!(r#"[{{"op":"replace","path":"","value":[{}]}}]"#, vec!["0"; values].join(","))
        };
        // The patch has five values besides those of its list: itself, the operation, op, path and
        // the list.
        assert_ne!(patched("[]", &wide(99_995)), "-");
        assert_eq!(patched("[]", &wide(99_996)), "-");
    }
}
