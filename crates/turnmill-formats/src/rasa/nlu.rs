//! Writes the lists that a message's recogniser gave, as rows keep them.

use std::borrow::Cow;

use turnmill_model::json::{Limits, Node, Raw, Tree, canonical};
use turnmill_model::text::LONG;

/// Number of intents that are kept of a ranking.
const RANKED: usize = 5;

/// The keys of an entity that are kept, in the order in which they are written.
const ENTITY: [&str; 8] =
    ["entity", "value", "start", "end", "role", "group", "extractor", "confidence_entity"];

/// Returns the first five intents of a ranking, each with its name and confidence, `null` where the
/// ranking has none.
///
/// ```text
/// [{"name": "greet", "confidence": 0.9, "id": 5}, 7, {}]
/// -> [{"name": "greet", "confidence": 0.9}, {"name": null, "confidence": null}]
/// ```
pub(super) fn intent_ranking(list: Option<Raw<'_>>) -> Option<String> {
    elements(list, RANKED, |intent, out| {
        let name = intent.get("name").map(Node::raw).filter(|name| name.as_text().is_some());
        let confidence =
            intent.get("confidence").map(Node::raw).filter(|number| number.as_number().is_some());
        out.push_str("{\"name\": ");
        out.push_str(&name.map_or(Cow::Borrowed("null"), canonical));
        out.push_str(", \"confidence\": ");
        out.push_str(&confidence.map_or(Cow::Borrowed("null"), canonical));
        out.push('}');
    })
}

/// Returns the entities of a list, each with those of the kept keys that it has.
pub(super) fn entities(list: Option<Raw<'_>>) -> Option<String> {
    elements(list, usize::MAX, |entity, out| {
        out.push('{');
        let start = out.len();
        for key in ENTITY {
            if let Some(value) = entity.get(key) {
                if out.len() > start {
                    out.push_str(", ");
                }
                out.push('"');
                out.push_str(key);
                out.push_str("\": ");
                out.push_str(&canonical(value.raw()));
            }
        }
        out.push('}');
    })
}

/// Writes the first `limit` objects of a list as a JSON list: whole elements, as many as the column
/// holds. Returns `None` if there are none.
fn elements(
    list: Option<Raw<'_>>,
    limit: usize,
    write: impl Fn(Node<'_, '_>, &mut String),
) -> Option<String> {
    let list = list.filter(|list| list.is_list() && list.as_str() != "[]")?;
    // The text of a `Raw` is well-formed, so this does not fail.
    let tree = Tree::parse(list.as_str(), &Limits::default()).ok()?;
    let mut out = String::from("[");
    let mut characters = 2;
    for element in tree.root().items().filter(|element| element.raw().is_object()).take(limit) {
        let before = out.len();
        if before > 1 {
            out.push_str(", ");
        }
        write(element, &mut out);
        characters += out.get(before..).map_or(0, |added| added.chars().count());
        if characters > LONG {
            out.truncate(before);
            break;
        }
    }
    out.push(']');
    (out.len() > 2).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Option<Raw<'_>> {
        Some(Raw::parse(text).unwrap())
    }

    #[test]
    fn a_ranking_has_five_objects_at_most() {
        let six = format!("[{}]", [r#"5, {"confidence": 1e999,"name":"a\u0000","id":3}"#; 6].join(","));
        let one = r#"{"name": "a", "confidence": 1e999}"#;
        assert_eq!(intent_ranking(raw(&six)).unwrap(), format!("[{}]", [one; 5].join(", ")));
        let odd = r#"[{"name": 5, "confidence": "1"}, {}]"#;
        let none = r#"{"name": null, "confidence": null}"#;
        assert_eq!(intent_ranking(raw(odd)).unwrap(), format!("[{none}, {none}]"));
        for empty in ["[]", "[ ]", "[7, null]", "{}", "5"] {
            assert_eq!(intent_ranking(raw(empty)), None, "{empty}");
        }
        assert_eq!(intent_ranking(None), None);
    }

    #[test]
    fn entities_have_the_kept_keys_in_one_order() {
        let list =
            r#"[{"value": {"b": [NaN]}, "entity": "city", "processors": [], "end": 4, "role": null}, {}]"#;
        let kept = r#"[{"entity": "city", "value": {"b": [null]}, "end": 4, "role": null}, {}]"#;
        assert_eq!(entities(raw(list)).unwrap(), kept);
    }

    #[test]
    fn only_whole_elements_are_kept() {
        let long = |characters: usize| format!(r#"{{"value": "{}"}}"#, "ø".repeat(characters));
        // `[{"value": ""}, {"value": ""}]` has 30 characters.
        let fits = format!("[{}, {}]", long(LONG - 30), long(0));
        assert_eq!(fits.chars().count(), LONG);
        assert_eq!(entities(raw(&fits)).unwrap(), fits);
        let too_long = format!("[{}, {}, {{}}]", long(LONG - 30), long(1));
        assert_eq!(entities(raw(&too_long)).unwrap(), format!("[{}]", long(LONG - 30)));
        assert_eq!(entities(raw(&format!("[{}]", long(LONG)))), None);
    }
}
