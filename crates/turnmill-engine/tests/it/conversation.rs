//! Small conversations and how their rows print.

use std::fmt::Write as _;

use turnmill_engine::{Engine, Step, Timeline};
use turnmill_formats::rasa::RasaDecoder;
use turnmill_model::{Changes, Decoder, Event, Record, Settings};

/// Second number `offset` of the conversations.
const START: u64 = 1_700_000_000;

/// The events of lines `OFFSET EVENT [NAME or TEXT]`, of the sender `u1`; an offset is half a second past that second.
pub(crate) fn events(script: &str) -> Vec<Event<'static>> {
    let decoder = RasaDecoder::new(&Settings::default());
    let mut events = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.splitn(3, ' ');
        let (offset, event) = (words.next().unwrap().parse::<u64>().unwrap(), words.next().unwrap());
        let name = words.next().unwrap_or_default();
        let body = format!(
            r#"{{"sender_id": "u1", "event": "{event}", "timestamp": {}.5, "name": "{name}", "text": "{name}", "value": 1}}"#,
            START + offset
        );
        let body: &'static str = body.leak();
        decoder.decode(&Record { payload: body.as_bytes(), ..Record::default() }, &mut events).unwrap();
    }
    events
}

/// Applies the events in one run.
pub(crate) fn apply(timeline: &mut Timeline, events: &[Event<'_>]) -> (Changes, Vec<Step>) {
    let engine = Engine::new(&Settings::default());
    let mut changes = Changes::default();
    let mut run = engine.run(timeline, &mut changes);
    let steps = events.iter().map(|event| run.apply(event)).collect();
    run.finish();
    (changes, steps)
}

pub(crate) fn sender(events: &[Event<'_>]) -> Timeline {
    Timeline::new(events[0].sender, &events[0].sender_key, None)
}

/// A sequence number as the offset of its event.
pub(crate) fn offset(sequence_number: i64) -> u64 {
    u64::try_from(sequence_number).unwrap() / 1_000_000 - START
}

/// Sessions, turns and slot states, sessions named A, B, C in the order of their start.
pub(crate) fn outline(changes: &Changes) -> String {
    let mut sessions = changes.sessions.inserts.clone();
    sessions.sort_by_key(|row| row.start_sequence_number);
    let mut text = String::new();
    for (row, name) in sessions.iter().zip('A'..) {
        let range = |start, end| format!("{}..{}", offset(start), offset(end));
        let _ = write!(text, "{name} {}", range(row.start_sequence_number, row.end_sequence_number));
        for turn in changes.turns.inserts.iter().filter(|turn| turn.session_id == row.id) {
            let _ = write!(text, " turn {}", range(turn.start_sequence_number, turn.end_sequence_number));
        }
        for state in changes.slot_states.inserts.iter().filter(|state| state.session_id == row.id) {
            let _ = write!(text, " {}", changes.texts.get(state.name));
        }
        text.push('\n');
    }
    text
}
