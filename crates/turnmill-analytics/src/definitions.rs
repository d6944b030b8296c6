//! What metrics mean by a hand-over, a fallback, an abandoned session: lists that users configure.

use turnmill_model::Micros;
use turnmill_sql::views::IDLE_MINUTES;
pub use turnmill_sql::views::{
    ABANDON_RESPONSES, FALLBACK_INTENTS, FALLBACK_RESPONSES, HANDOVER_COMMAND, HANDOVER_FLOW, HANDOVER_PARTS,
};

/// Intents that alone do not make a session engaged, with commas between them.
pub const GREETINGS: &str = "greet,greeting,hello,session_start,session_end,restart,back,silence_timeout";

/// Lists and limits that metrics are asked with. Nothing in the tables depends on them.
///
/// Names may have `*` for any text. They are looked up among the names of the store, and the names
/// found are bound to the queries.
#[derive(Clone, Debug, PartialEq)]
pub struct Definitions {
    /// Intents with which users ask for a human. `None`: those whose name has one of
    /// [`HANDOVER_PARTS`].
    pub handover_intents: Option<Vec<String>>,
    /// Actions that hand over to a human.
    pub handover_actions: Vec<String>,
    /// Intents that say that the assistant did not understand.
    pub fallback_intents: Vec<String>,
    /// Responses that say that the assistant did not understand.
    pub fallback_responses: Vec<String>,
    /// Responses after which a silent user has abandoned the session.
    pub abandon_responses: Vec<String>,
    /// Responses of the published abandonment query.
    pub published_abandon_responses: Vec<String>,
    /// Intent of the published escalation query.
    pub published_handover_intent: String,
    /// Intents that alone do not make a session engaged.
    pub greetings: Vec<String>,
    /// Responses that report an error.
    pub error_responses: Vec<String>,
    /// Markers whose rows complete a session.
    pub goal_markers: Vec<String>,
    /// Markers whose rows escalate a session.
    pub escalation_markers: Vec<String>,
    /// Silence after which a session is over, in minutes.
    pub idle_minutes: u32,
    /// Confidence of an intent below which a message counts as doubtful, 0 to 1.
    pub low_confidence: f64,
}

impl Default for Definitions {
    fn default() -> Self {
        let list = |names: &str| names.split(',').map(ToOwned::to_owned).collect();
        Self {
            handover_intents: None,
            handover_actions: Vec::new(),
            fallback_intents: list(FALLBACK_INTENTS),
            fallback_responses: list(FALLBACK_RESPONSES),
            abandon_responses: list(ABANDON_RESPONSES),
            published_abandon_responses: vec!["utter_ask_name".to_owned()],
            published_handover_intent: "handoff_to_support".to_owned(),
            greetings: list(GREETINGS),
            error_responses: Vec::new(),
            goal_markers: Vec::new(),
            escalation_markers: Vec::new(),
            idle_minutes: IDLE_MINUTES,
            low_confidence: 0.7,
        }
    }
}

impl Definitions {
    /// Returns the time at or before which the last event of a session makes it over.
    pub(crate) fn idle_since(&self, as_of: Micros) -> Micros {
        Micros(as_of.0 - i64::from(self.idle_minutes) * 60_000_000)
    }

    /// Returns whether users ask for a human with `intent`.
    pub(crate) fn is_handover(&self, intent: &str) -> bool {
        match &self.handover_intents {
            Some(names) => any_fits(names, intent),
            None => {
                let plain: String =
                    intent.chars().filter(|c| !matches!(c, '_' | '-')).collect::<String>().to_lowercase();
                HANDOVER_PARTS.iter().any(|part| plain.contains(part))
            }
        }
    }
}

/// Returns whether one of the patterns fits.
pub(crate) fn any_fits(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| fits(pattern, name))
}

/// Returns whether `name` is `pattern`, in which `*` is any text.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        for (pattern, name, expected) in [
            ("utter_default", "utter_default", true),
            ("utter_default", "utter_default2", false),
            ("utter_ask_*", "utter_ask_size", true),
            ("utter_ask_*", "utter_asked", false),
            ("utter_*rephrase*", "utter_please_rephrase", true),
            ("utter_*rephrase*", "utter_please_rephrase_now", true),
            ("utter_*rephrase*", "rephrase", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*a", "a", false),
            ("a*b*c", "aXbYbc", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn users_ask_for_a_human_in_many_ways() {
        let names = Definitions::default();
        for intent in ["handoff_to_support", "talk_to_human", "HumanAgent", "live-agent", "transfer_to_agent"]
        {
            assert!(names.is_handover(intent), "{intent}");
        }
        assert!(!names.is_handover("greet"));
        let own = Definitions { handover_intents: Some(vec!["help*".into()]), ..names };
        assert!(own.is_handover("help_me") && !own.is_handover("talk_to_human"));
    }
}
