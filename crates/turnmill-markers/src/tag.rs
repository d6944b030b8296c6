//! The thirteen tags.

use std::fmt;

use crate::suggest::closest;

/// A tag of the marker language: the condition or operator of a marker's node.
///
/// | condition | negated | operator | negated |
/// | --- | --- | --- | --- |
/// | `action` | `not_action` | `and` | `at_least_one_not` |
/// | `intent` | `not_intent` | `or` | |
/// | `slot_was_set` | `slot_was_not_set` | `not` | |
/// | | | `seq` | |
/// | | | `at_least_once` | `never` |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "named as they are written")]
pub enum Tag {
    Action,
    NotAction,
    Intent,
    NotIntent,
    SlotWasSet,
    SlotWasNotSet,
    And,
    AtLeastOneNot,
    Or,
    Not,
    Seq,
    AtLeastOnce,
    Never,
}

impl Tag {
    /// All tags.
    pub const ALL: [Tag; 13] = [
        Tag::Action,
        Tag::NotAction,
        Tag::Intent,
        Tag::NotIntent,
        Tag::SlotWasSet,
        Tag::SlotWasNotSet,
        Tag::And,
        Tag::AtLeastOneNot,
        Tag::Or,
        Tag::Not,
        Tag::Seq,
        Tag::AtLeastOnce,
        Tag::Never,
    ];

    /// Returns the tag as it is written in a marker file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Tag::Action => "action",
            Tag::NotAction => "not_action",
            Tag::Intent => "intent",
            Tag::NotIntent => "not_intent",
            Tag::SlotWasSet => "slot_was_set",
            Tag::SlotWasNotSet => "slot_was_not_set",
            Tag::And => "and",
            Tag::AtLeastOneNot => "at_least_one_not",
            Tag::Or => "or",
            Tag::Not => "not",
            Tag::Seq => "seq",
            Tag::AtLeastOnce => "at_least_once",
            Tag::Never => "never",
        }
    }

    /// Returns the tag with this name. The case matters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Tag> {
        Tag::ALL.into_iter().find(|tag| tag.as_str() == text)
    }

    /// Returns whether the tag takes a text. The others take a list of markers.
    #[must_use]
    pub fn is_condition(self) -> bool {
        matches!(
            self,
            Tag::Action
                | Tag::NotAction
                | Tag::Intent
                | Tag::NotIntent
                | Tag::SlotWasSet
                | Tag::SlotWasNotSet
        )
    }

    /// Returns whether the tag takes exactly one marker.
    #[must_use]
    pub fn takes_one(self) -> bool {
        matches!(self, Tag::Not | Tag::AtLeastOnce | Tag::Never)
    }

    /// Returns the tag that a negated tag negates; otherwise the tag itself.
    #[must_use]
    pub fn positive(self) -> Tag {
        match self {
            Tag::NotAction => Tag::Action,
            Tag::NotIntent => Tag::Intent,
            Tag::SlotWasNotSet => Tag::SlotWasSet,
            Tag::AtLeastOneNot => Tag::And,
            Tag::Never => Tag::AtLeastOnce,
            Tag::Action
            | Tag::Intent
            | Tag::SlotWasSet
            | Tag::And
            | Tag::Or
            | Tag::Not
            | Tag::Seq
            | Tag::AtLeastOnce => self,
        }
    }

    /// Returns the tag that was probably meant.
    pub(crate) fn suggest(text: &str) -> Option<&'static str> {
        /// Names in older or third-party documents.
        const FORMER: [(&str, Tag); 6] = [
            ("slot_is_set", Tag::SlotWasSet),
            ("slot_is_not_set", Tag::SlotWasNotSet),
            ("intent_detected", Tag::Intent),
            ("action_executed", Tag::Action),
            ("at_least_one", Tag::Or),
            ("occur", Tag::AtLeastOnce),
        ];
        let lower = text.trim().to_lowercase().replace([' ', '-'], "_");
        let former = FORMER.into_iter().find(|(former, _)| *former == lower).map(|(_, tag)| tag.as_str());
        former.or_else(|| closest(&lower, Tag::ALL.map(Tag::as_str)))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
