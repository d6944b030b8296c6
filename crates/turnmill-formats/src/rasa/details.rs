//! Reads what assistants with flows, skills and agents say of an event beside its type's own
//! fields.

use std::borrow::Cow;
use std::collections::BTreeMap;

use turnmill_model::json::{Kind, Limits, Raw, Tree, canonical};
use turnmill_model::text::LONG;
use turnmill_model::{Details, Processing};

use super::build::text;
use super::wire::Wire;

/// The member of the times that says how long the turn took in all.
const TOTAL: &str = "rasa_processing_ms";

/// Most milliseconds that a turn may take, 11 days. A greater number is none.
const MOST_MS: f64 = 1e9;

/// Returns the details of an event of this type, or `None` if it has none.
pub(super) fn details<'a>(event_type: &str, wire: &Wire<'a>) -> Option<Box<Details<'a>>> {
    let (metadata, none) = (&wire.metadata, Details::default());
    let details = match event_type {
        "slot" => Details { filled_by: text(wire.filled_by), ..none },
        "bot" => {
            let source = text(metadata.utter_source).or_else(|| text(metadata.mantle_response_source));
            Details { generated_by: source, ..none }
        }
        "action" => Details {
            has_failed: metadata.execution_success.is_some_and(|success| success.as_str() == "false"),
            processing: processing(metadata.execution_times),
            ..none
        },
        "bot_turn_ended" => Details { processing: processing(metadata.execution_times), ..none },
        "flow_started" | "skill_activated" => Details {
            is_skill: event_type == "skill_activated",
            frame_id: text(metadata.frame_id),
            frame_type: text(metadata.frame_type),
            reason: text(metadata.reason).or_else(|| text(metadata.error_type)),
            ..none
        },
        "skill_completed" | "skill_cancelled" | "skill_interrupted" | "skill_resumed" => {
            Details { is_skill: true, ..none }
        }
        "agent_completed" => {
            Details { reason: text(wire.status).filter(|status| status != "completed"), ..none }
        }
        "agent_cancelled" => Details { reason: text(wire.reason), ..none },
        "session_ended" => Details { reason: text(metadata.end_reason), ..none },
        _ => return None,
    };
    (!details.is_empty()).then(|| Box::new(details))
}

/// Reads the times of a turn. Without a usable total there are none.
///
/// ```text
/// {"rasa_processing_ms": 900.5, "b": 2, "a": 1.50, "c": "3"}   ->   900500 us, {"a": 1.50, "b": 2}
/// ```
fn processing<'a>(times: Option<Raw<'a>>) -> Option<Processing<'a>> {
    // The text of a `Raw` is well-formed, so this does not fail.
    let tree = Tree::parse(times.filter(|times| times.is_object())?.as_str(), &Limits::default()).ok()?;
    let total = tree.root().get(TOTAL)?.raw().as_number().filter(|ms| (0.0..=MOST_MS).contains(ms))?;
    // Of equal names the last counts, as everywhere.
    let mut members: BTreeMap<Cow<'_, str>, Raw<'_>> = BTreeMap::new();
    for (name, value) in tree.root().entries() {
        members.insert(name.as_text().unwrap_or_default(), value.raw());
    }
    let mut parts = String::from("{");
    let mut characters = 2;
    for (name, number) in members {
        if name == TOTAL || number.kind() != Kind::Number || number.as_number().is_none() {
            continue;
        }
        let before = parts.len();
        if before > 1 {
            parts.push_str(", ");
        }
        parts.push_str(&serde_json::Value::from(&*name).to_string());
        parts.push_str(": ");
        parts.push_str(&canonical(number));
        characters += parts.get(before..).map_or(0, |added| added.chars().count());
        if characters > LONG {
            parts.truncate(before);
            break;
        }
    }
    parts.push('}');
    let parts = (parts.len() > 2).then_some(Cow::Owned(parts));
    // The product is at most 10^12, which an integer holds.
    Some(Processing { total_us: (total * 1_000.0).round_ties_even() as i64, parts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &str) -> Option<(i64, Option<String>)> {
        let processing = processing(Some(Raw::parse(times).unwrap()))?;
        Some((processing.total_us, processing.parts.map(Cow::into_owned)))
    }

    #[test]
    fn parts_are_sorted_numbers_as_spelled() {
        let times = r#"{"prediction_loop": 92.70, "rasa_processing_ms": 904.0625, "x": "1", "command_processor": 8e2,
            "n": NaN, "b": 1, "b": true, "\u00fc": -0, "huge": 1e999}"#;
        let parts =
            r#"{"command_processor": 8e2, "huge": 1e999, "prediction_loop": 92.70, "ü": -0}"#.to_owned();
        assert_eq!(of(times), Some((904_062, Some(parts))));
        assert_eq!(of(r#"{"rasa_processing_ms": 0}"#), Some((0, None)));
        assert_eq!(of(r#"{"rasa_processing_ms": 0.0015}"#), Some((2, None)));
    }

    #[test]
    fn without_a_usable_total_there_are_none() {
        for times in [
            "5",
            "{}",
            r#"{"rasa_processing_ms": "9"}"#,
            r#"{"rasa_processing_ms": -0.001}"#,
            r#"{"rasa_processing_ms": 1000000001, "a": 1}"#,
            r#"{"rasa_processing_ms": NaN}"#,
            r#"{"rasa_processing_ms": 5, "rasa_processing_ms": null}"#,
        ] {
            assert_eq!(of(times), None, "{times}");
        }
    }

    #[test]
    fn only_whole_parts_are_kept() {
        let long = |characters: usize| "9".repeat(characters);
        // `{"a": , "b": }` has 14 characters.
        let fits = format!(r#"{{"a": {}, "b": 1}}"#, long(LONG - 15));
        let times = format!(r#"{{"rasa_processing_ms": 1, {}"#, &fits[1..]);
        assert_eq!(of(&times).unwrap().1.unwrap(), fits);
        let times = format!(r#"{{"rasa_processing_ms": 1, "a": {}, "b": 12}}"#, long(LONG - 15));
        assert_eq!(of(&times).unwrap().1.unwrap(), format!(r#"{{"a": {}}}"#, long(LONG - 15)));
    }
}
