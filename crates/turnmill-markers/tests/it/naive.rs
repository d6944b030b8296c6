//! A second, naive evaluation of markers: it keeps no state and goes back over all events.

use proptest::prelude::*;
use turnmill_markers::{MarkerEvent, Node, Tag};

/// Returns whether the node is true at event `at`, from the events alone.
pub(crate) fn value(node: &Node, events: &[MarkerEvent<'_>], at: usize) -> bool {
    let text = node.text().unwrap_or("?");
    let subs = node.sub_markers();
    match node.tag() {
        Tag::Action => events[at] == MarkerEvent::Action { name: text },
        Tag::NotAction => events[at] != MarkerEvent::Action { name: text },
        Tag::Intent => is_intent(events[at], text),
        Tag::NotIntent => !is_intent(events[at], text),
        Tag::SlotWasSet => is_set(text, &events[..=at]),
        Tag::SlotWasNotSet => !is_set(text, &events[..=at]),
        Tag::And => subs.iter().all(|sub| value(sub, events, at)),
        Tag::AtLeastOneNot => subs.iter().any(|sub| !value(sub, events, at)),
        Tag::Or => subs.iter().any(|sub| value(sub, events, at)),
        Tag::Not => !value(&subs[0], events, at),
        Tag::Seq => {
            // Every last step of a round completes the sequence.
            let (mut step, mut completes) = (0, false);
            for event in 0..=at {
                let advances = value(&subs[step % subs.len()], events, event);
                step += usize::from(advances);
                completes = advances && step.is_multiple_of(subs.len());
            }
            completes
        }
        Tag::AtLeastOnce => (0..=at).any(|event| value(&subs[0], events, event)),
        Tag::Never => (0..=at).all(|event| !value(&subs[0], events, event)),
    }
}

fn is_intent(event: MarkerEvent<'_>, text: &str) -> bool {
    match event {
        MarkerEvent::User { intent, full_retrieval_intent } => {
            intent == Some(text) || full_retrieval_intent == Some(text)
        }
        _ => false,
    }
}

fn is_set(text: &str, events: &[MarkerEvent<'_>]) -> bool {
    let last = events.iter().rev().find_map(|event| match event {
        MarkerEvent::Slot { name, is_set } if *name == text => Some(*is_set),
        _ => None,
    });
    last.unwrap_or(false)
}

/// Returns a marker's results in a session, with the user turns before each.
pub(crate) fn results(node: &Node, events: &[MarkerEvent<'_>]) -> Vec<(usize, u32)> {
    let mut found: Vec<usize> = (0..events.len()).filter(|at| value(node, events, *at)).collect();
    if matches!(node.tag(), Tag::AtLeastOnce | Tag::Never) {
        found.truncate(1);
    }
    let turns = |at: usize| events[..at].iter().filter(|e| matches!(e, MarkerEvent::User { .. })).count();
    found.into_iter().map(|at| (at, u32::try_from(turns(at)).unwrap())).collect()
}

/// Returns the configuration with negated tags as Rasa 3.6 evaluates them.
pub(crate) fn without_negation(node: &Node) -> Node {
    let tag = match node.tag() {
        Tag::NotAction => Tag::Action,
        Tag::NotIntent => Tag::Intent,
        Tag::SlotWasNotSet => Tag::SlotWasSet,
        Tag::AtLeastOneNot => Tag::And,
        Tag::Never => Tag::AtLeastOnce,
        tag => tag,
    };
    match node.text() {
        Some(text) => Node::condition(tag, text).unwrap(),
        None => Node::operator(tag, node.sub_markers().iter().map(without_negation).collect()).unwrap(),
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", ""];

/// Generates any marker with few names, so that events match it.
pub(crate) fn node() -> impl Strategy<Value = Node> {
    let conditions: Vec<Tag> = Tag::ALL.into_iter().filter(|tag| tag.is_condition()).collect();
    let leaf = (prop::sample::select(conditions), prop::sample::select(&NAMES[..]))
        .prop_map(|(tag, name)| Node::condition(tag, name).unwrap());
    leaf.prop_recursive(3, 12, 4, |inner| {
        let operators: Vec<Tag> = Tag::ALL.into_iter().filter(|tag| !tag.is_condition()).collect();
        (prop::sample::select(operators), prop::collection::vec(inner, 1..5)).prop_map(|(tag, mut subs)| {
            if tag.takes_one() {
                subs.truncate(1);
            }
            Node::operator(tag, subs).unwrap()
        })
    })
}

pub(crate) fn event() -> impl Strategy<Value = MarkerEvent<'static>> {
    let name = || prop::sample::select(&NAMES[..]);
    prop_oneof![
        2 => name().prop_map(|name| MarkerEvent::Action { name }),
        2 => (prop::option::of(name()), prop::option::weighted(0.2, name())).prop_map(
            |(intent, full_retrieval_intent)| MarkerEvent::User { intent, full_retrieval_intent }
        ),
        2 => (name(), any::<bool>()).prop_map(|(name, is_set)| MarkerEvent::Slot { name, is_set }),
        1 => Just(MarkerEvent::Other),
        1 => Just(MarkerEvent::Action { name: "action_listen" }),
    ]
}
