//! Tests of the canonical text of configurations, and of parsing it.

use proptest::prelude::*;
use turnmill_markers::{ErrorKind, Node, Tag};

use crate::naive::node;
use crate::{config, set};

/// As Python prints a dictionary.
fn python(node: &Node) -> String {
    let below = match node.text() {
        Some(text) => {
            let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
            let text = text.replace('\\', "\\\\").replace('\n', "\\n").replace('\u{7f}', "\\x7f");
            format!("{quote}{}{quote}", if quote == '\'' { text.replace('\'', "\\'") } else { text })
        }
        None => format!("[{}]", node.sub_markers().iter().map(python).collect::<Vec<_>>().join(", ")),
    };
    format!("{{'{}': {below}}}", node.tag())
}

#[test]
fn the_spelling_is_one() {
    let spelled = r#"{"seq":[{"slot_was_set":"size"},{"not":[{"intent":"42"}]}]}"#;
    let yaml = "{description: d, seq: [{slot_was_set: size, description: inner}, {not: [{intent: '42'}]}]}";
    assert_eq!(config(yaml).to_string(), spelled);
    assert_eq!(Node::parse(spelled).unwrap().to_string(), spelled);
    let published = "{'or': [{'intent': 'mood_unhappy'},{'intent': 'mood_great'}]}";
    let expected = r#"{"or":[{"intent":"mood_unhappy"},{"intent":"mood_great"}]}"#;
    assert_eq!(Node::parse(published).unwrap().to_string(), expected);
    // The same inside of a JSON string, as the documentation prints it.
    assert_eq!(Node::parse(&format!("\"{published}\"")).unwrap().to_string(), expected);
}

#[test]
fn what_is_no_configuration_is_refused() {
    let kind = |text: &str| Node::parse(text).unwrap_err().kind;
    for text in ["", "x", "{'intent': 'a'", "{'intent': 'a'} 1", "{'intent': '\\q'}", "{'intent': '\\ud800'}"]
    {
        assert_eq!(kind(text), ErrorKind::InvalidYaml, "{text}");
    }
    assert_eq!(kind("{'intent': None}"), ErrorKind::ConditionNeedsText);
    assert_eq!(kind("{'intent': True}"), ErrorKind::ConditionNeedsText);
    assert_eq!(kind("{'seq': []}"), ErrorKind::WrongNumberOfSubMarkers);
    assert_eq!(kind("[]"), ErrorKind::MarkerConfigNotAMapping);
    assert_eq!(kind(&"[".repeat(1_000_000)), ErrorKind::TooDeep);
}

#[test]
fn nodes_keep_to_the_language() {
    let leaf = || Node::condition(Tag::Intent, "a").unwrap();
    assert_eq!(Node::condition(Tag::Seq, "a").unwrap_err().kind, ErrorKind::OperatorNeedsList);
    assert_eq!(Node::operator(Tag::Intent, vec![leaf()]).unwrap_err().kind, ErrorKind::ConditionNeedsText);
    let wrong = Node::operator(Tag::Not, vec![leaf(), leaf()]).unwrap_err();
    assert_eq!(wrong.kind, ErrorKind::WrongNumberOfSubMarkers);
    let mut deep = leaf();
    for _ in 1..turnmill_markers::MAX_DEPTH {
        deep = Node::operator(Tag::Not, vec![deep]).unwrap();
    }
    assert_eq!(Node::operator(Tag::Not, vec![deep.clone()]).unwrap_err().kind, ErrorKind::TooDeep);
    assert_eq!(Node::parse(&deep.to_string()).unwrap(), deep);
}

#[test]
fn yaml_is_read_in_its_core_schema() {
    let set = set(
        "m: {or: [{intent: yes}, {intent: no}, {intent: on}, {intent: '1'}, {intent: !!str 2}, {intent: ''}]}
with_text: {description: 'why', intent: a}
without: {description: null, intent: a}
aliased: {and: [&x {intent: a}, *x]}
\"quoted\": {slot_was_set: >-
  folded}
",
    );
    assert_eq!(
        set.markers()[0].config.to_string(),
        r#"{"or":[{"intent":"yes"},{"intent":"no"},{"intent":"on"},{"intent":"1"},{"intent":"2"},{"intent":""}]}"#
    );
    let descriptions: Vec<_> = set.markers().iter().map(|marker| marker.description.as_deref()).collect();
    assert_eq!(descriptions, [None, Some("why"), None, None, None]);
    assert_eq!(set.markers()[3].config.to_string(), r#"{"and":[{"intent":"a"},{"intent":"a"}]}"#);
    assert_eq!(set.markers()[4].name, "quoted");
}

proptest! {
    #[test]
    fn every_configuration_comes_back(node in node()) {
        prop_assert_eq!(&Node::parse(&node.to_string()).unwrap(), &node);
        prop_assert_eq!(&Node::parse(&python(&node)).unwrap(), &node);
        prop_assert_eq!(&config(&node.to_string()), &node);
    }

    #[test]
    fn every_text_comes_back(text in r#"[a-z\\'" \n\u{7f}é😀]{0,8}"#) {
        let node = Node::condition(Tag::Action, text.as_str()).unwrap();
        prop_assert_eq!(&Node::parse(&node.to_string()).unwrap(), &node);
        prop_assert_eq!(&Node::parse(&python(&node)).unwrap(), &node);
    }
}
