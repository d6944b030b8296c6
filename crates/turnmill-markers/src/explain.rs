//! Explanation of a marker: the value of every node at every event.
//!
//! This is a second, direct evaluation, without the sets of patterns of the compiled program. Tests
//! compare the two.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::compile::Compatibility;
use crate::event::MarkerEvent;
use crate::node::Node;
use crate::tag::Tag;

/// A marker over the events of one session.
///
/// Serialise it for a program. Its [`Display`](fmt::Display) form is for a terminal:
///
/// ```
/// use turnmill_markers::{Compatibility, MarkerEvent, Node, explain::explain};
///
/// let node = Node::parse(r#"{"seq": [{"intent": "order"}, {"slot_was_set": "size"}]}"#)?;
/// let events = [
///     MarkerEvent::User { intent: Some("order"), full_retrieval_intent: None },
///     MarkerEvent::Slot { name: "size", is_set: true },
/// ];
/// let explanation = explain(&node, Compatibility::Documented, events);
/// assert_eq!(explanation.to_string(), "\
/// 0 user order: false (after 0 user turns)
///   . seq: step 1 of 2 done
///     T intent: order
///     . slot_was_set: size
/// 1 slot size set: applies (after 1 user turns)
///   T seq: step 2 of 2 done, complete
///     . intent: order
///     T slot_was_set: size (since 1)
/// ");
/// # Ok::<(), turnmill_markers::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// One explanation per event.
    pub events: Vec<EventExplanation>,
}

/// A marker at one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventExplanation {
    /// The event's index among the given events, from 0.
    pub index: usize,
    /// The event in words.
    pub event: String,
    /// The marker's result.
    pub outcome: Outcome,
    /// Number of `user` events before it.
    pub num_preceding_user_turns: u32,
    /// The marker's nodes after the event.
    pub node: NodeExplanation,
}

/// The result of a marker at an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The marker applies.
    Applies,
    /// The marker is true, but a top-level `at_least_once` or `never` has only one result, and had
    /// it before.
    AlreadyApplied,
    /// The top-level node is false.
    False,
}

/// A node after an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeExplanation {
    /// The tag.
    pub tag: &'static str,
    /// The text of a condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The value at the event.
    pub value: bool,
    /// Steps of a `seq` that are done after the event. Equal to `steps` where the sequence
    /// completes, before it starts again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<usize>,
    /// Number of steps of a `seq`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// The event at which the sub-marker of `at_least_once` or `never` was first true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_true_at: Option<usize>,
    /// The event at which the slot of `slot_was_set` or `slot_was_not_set` last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<usize>,
    /// The sub-markers, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sub_markers: Vec<NodeExplanation>,
}

/// Explains a marker over a session's events, from the first one on.
///
/// Sessions count as independent: with [`Compatibility::Rasa36`] only the meaning of tags differs.
pub fn explain<'e>(
    config: &Node,
    compatibility: Compatibility,
    events: impl IntoIterator<Item = MarkerEvent<'e>>,
) -> Explanation {
    let mut root = Traced::new(config, compatibility);
    let first_only = matches!(root.tag, Tag::AtLeastOnce);
    let (mut applied, mut turns) = (false, 0);
    let mut explained = Vec::new();
    for (index, event) in events.into_iter().enumerate() {
        let node = root.step(index, event);
        let outcome = match node.value {
            false => Outcome::False,
            true if first_only && applied => Outcome::AlreadyApplied,
            true => Outcome::Applies,
        };
        applied |= node.value;
        explained.push(EventExplanation {
            index,
            event: words(event),
            outcome,
            num_preceding_user_turns: turns,
            node,
        });
        turns += u32::from(matches!(event, MarkerEvent::User { .. }));
    }
    Explanation { events: explained }
}

fn words(event: MarkerEvent<'_>) -> String {
    match event {
        MarkerEvent::Action { name } => format!("action {name}"),
        MarkerEvent::User { intent: Some(intent), full_retrieval_intent: Some(full) } => {
            format!("user {intent} ({full})")
        }
        MarkerEvent::User { intent: Some(intent), .. } => format!("user {intent}"),
        MarkerEvent::User { full_retrieval_intent: Some(full), .. } => format!("user ({full})"),
        MarkerEvent::User { .. } => "user without intent".to_owned(),
        MarkerEvent::Slot { name, is_set } => format!("slot {name} {}", if is_set { "set" } else { "unset" }),
        MarkerEvent::Other => "other event".to_owned(),
    }
}

/// A node with its state.
struct Traced<'n> {
    node: &'n Node,
    tag: Tag,
    negated: bool,
    subs: Vec<Traced<'n>>,
    progress: usize,
    first_true_at: Option<usize>,
    set: bool,
    changed_at: Option<usize>,
}

impl<'n> Traced<'n> {
    fn new(node: &'n Node, compatibility: Compatibility) -> Self {
        let (tag, negated) = compatibility.meaning(node.tag());
        Traced {
            node,
            tag,
            negated,
            subs: node.sub_markers().iter().map(|sub| Traced::new(sub, compatibility)).collect(),
            progress: 0,
            first_true_at: None,
            set: false,
            changed_at: None,
        }
    }

    fn step(&mut self, index: usize, event: MarkerEvent<'_>) -> NodeExplanation {
        let subs: Vec<_> = self.subs.iter_mut().map(|sub| sub.step(index, event)).collect();
        let text = self.node.text();
        let (mut progress, mut steps) = (None, None);
        let value = match self.tag {
            Tag::Action => matches!(event, MarkerEvent::Action { name } if Some(name) == text),
            Tag::Intent => match event {
                MarkerEvent::User { intent, full_retrieval_intent } => {
                    [intent, full_retrieval_intent].into_iter().flatten().any(|intent| Some(intent) == text)
                }
                MarkerEvent::Action { .. } | MarkerEvent::Slot { .. } | MarkerEvent::Other => false,
            },
            Tag::SlotWasSet => {
                if let MarkerEvent::Slot { name, is_set } = event
                    && Some(name) == text
                    && is_set != self.set
                {
                    (self.set, self.changed_at) = (is_set, Some(index));
                }
                self.set
            }
            Tag::And => subs.iter().all(|sub| sub.value),
            Tag::Or => subs.iter().any(|sub| sub.value),
            Tag::Not => !subs.iter().any(|sub| sub.value),
            Tag::Seq => {
                self.progress += usize::from(subs.get(self.progress).is_some_and(|sub| sub.value));
                (progress, steps) = (Some(self.progress), Some(subs.len()));
                let complete = self.progress == subs.len();
                if complete {
                    self.progress = 0;
                }
                complete
            }
            _ => {
                if self.first_true_at.is_none() && subs.iter().any(|sub| sub.value) {
                    self.first_true_at = Some(index);
                }
                self.first_true_at.is_some()
            }
        };
        NodeExplanation {
            tag: self.node.tag().as_str(),
            text: text.map(str::to_owned),
            value: value != self.negated,
            progress,
            steps,
            first_true_at: self.first_true_at,
            changed_at: self.changed_at,
            sub_markers: subs,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events.iter().try_for_each(|event| event.fmt(f))
    }
}

impl fmt::Display for EventExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Applies => "applies",
            Outcome::AlreadyApplied => "true, has applied before",
            Outcome::False => "false",
        };
        let (index, event) = (self.index, &self.event);
        writeln!(f, "{index} {event}: {outcome} (after {} user turns)", self.num_preceding_user_turns)?;
        self.node.print(f, 1)
    }
}

impl NodeExplanation {
    fn print(&self, f: &mut fmt::Formatter<'_>, level: usize) -> fmt::Result {
        write!(f, "{:level$}{} {}", "", if self.value { 'T' } else { '.' }, self.tag, level = 2 * level)?;
        if let Some(text) = &self.text {
            write!(f, ": {text}")?;
        }
        if let (Some(progress), Some(steps)) = (self.progress, self.steps) {
            write!(f, ": step {progress} of {steps} done")?;
            if progress == steps {
                f.write_str(", complete")?;
            }
        }
        if let Some(at) = self.first_true_at {
            write!(f, ": true at {at}")?;
        }
        if let Some(at) = self.changed_at {
            write!(f, " (since {at})")?;
        }
        f.write_char('\n')?;
        self.sub_markers.iter().try_for_each(|sub| sub.print(f, level + 1))
    }
}
