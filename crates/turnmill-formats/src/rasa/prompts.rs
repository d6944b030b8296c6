//! Blanks the prompts of language models, which an assistant may record.
//!
//! They hold personal data of the whole conversation, and nothing is made of them. So they are
//! stored nowhere, in no history and in no dead letter.
//!
//! ```text
//! {"event": "user", "parse_data": {"prompts": [...], "commands": []}}
//! {"event": "user", "parse_data": {"prompts": null,  "commands": []}}
//! ```

use std::sync::LazyLock;

use memchr::memmem::Finder;
use turnmill_model::json::{Limits, Node, Tree};

/// Keys of `parse_data` with prompts, or with what a model answered.
const KEYS: [&str; 3] = ["prompts", "predicted_commands", "llm_commands"];

/// Only messages have this key, so most records cost one search.
static PARSED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"parse_data\""));
static QUOTED: LazyLock<[Finder<'static>; 3]> = LazyLock::new(|| {
    [Finder::new(b"\"prompts\""), Finder::new(b"\"predicted_commands\""), Finder::new(b"\"llm_commands\"")]
});

/// Returns the body with `null` in place of prompts, or `None` if it has none.
pub(super) fn without_prompts(payload: &[u8]) -> Option<Vec<u8>> {
    PARSED.find(payload)?;
    if QUOTED.iter().all(|key| key.find(payload).is_none()) {
        return None;
    }
    let text = std::str::from_utf8(payload).ok()?;
    let tree = Tree::parse(text, &Limits::default()).ok()?;
    let mut prompts = Vec::new();
    for (key, value) in tree.root().entries() {
        // In the second wire shape it is inside of the payload.
        match &*key.as_key() {
            "parse_data" => collect(value, &mut prompts),
            _ => {
                let inner = value.entries().filter(|(key, _)| key.as_key() == "parse_data");
                inner.for_each(|(_, value)| collect(value, &mut prompts));
            }
        }
    }
    if prompts.is_empty() {
        return None;
    }
    let (mut out, mut at) = (Vec::with_capacity(payload.len()), 0);
    for written in prompts {
        // A value is a part of the text, so the difference of the addresses is its position.
        let start = written.as_ptr() as usize - text.as_ptr() as usize;
        out.extend_from_slice(payload.get(at..start)?);
        out.extend_from_slice(b"null");
        at = start + written.len();
    }
    out.extend_from_slice(payload.get(at..)?);
    Some(out)
}

/// Adds the prompts of a `parse_data`, in the order in which they are written.
fn collect<'a>(parsed: Node<'_, 'a>, out: &mut Vec<&'a str>) {
    for (key, value) in parsed.entries() {
        if KEYS.contains(&&*key.as_key()) && !value.raw().is_null() {
            out.push(value.raw().as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Option<String> {
        without_prompts(body.as_bytes()).map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn prompts_are_blanked_in_both_shapes_and_nothing_else_changes() {
        let parsed = |prompts: &str, more: &str| {
            format!(
                r#"{{"text": "prompts", "prompts": {prompts}, "commands": [{{"prompts": 1}}], "llm_commands": {more} }}"#
            )
        };
        let (with, without) = (parsed(r#"[{"p": "my name is Ann"}]"#, "{}"), parsed("null", "null"));
        for shape in [
            r#"{"event": "user", "parse_data": PARSED, "text": "\ud83d" }"#,
            r#" {"conversation_id": "u", "user": {"parse_data": PARSED}, "prompts": "kept"}"#,
        ] {
            let blank = shape.replace("PARSED", &without);
            assert_eq!(of(&shape.replace("PARSED", &with)), Some(blank.clone()));
            assert_eq!(of(&blank), None, "a second time changes nothing");
        }
        for body in [
            r#"{"event": "user", "prompts": "p"}"#,
            r#"{"event": "user", "parse_data": {"text": "\"prompts\""}}"#,
            r#"{"event": "user", "parse_data": "\"prompts\""}"#,
            r#"{"parse_data": {"prompts": [1]}"#,
            "",
        ] {
            assert_eq!(of(body), None, "{body}");
        }
    }
}
