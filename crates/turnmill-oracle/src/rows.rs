//! The rows of one sender's events, after each event has its session.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use turnmill_model::text::{LONG, SHORT, cut, slot_path_name};
use turnmill_model::{Body, Event, EventId, Micros, SenderId, SessionId, Settings, UserId, UserMessage};
use uuid::Uuid;

use crate::json::Json;
use crate::value::{OwnedValue, Tables};
use crate::{patch, sessions::Placement};

macro_rules! row {
    ($($value:expr),* $(,)?) => { vec![$(OwnedValue::from($value)),*] };
}

/// A turn or a stack frame, with the numbers of its first and last event.
struct Range<T> {
    what: T,
    start: i64,
    end: i64,
}

struct Frame {
    id: EventId,
    flow: Option<String>,
    step: Option<String>,
    time: Micros,
}

/// An event with its session, for writing its rows.
struct At<'a> {
    event: &'a Event<'a>,
    session: SessionId,
    time: Micros,
    number: i64,
    model: Option<String>,
}

fn short(text: Option<&Cow<'_, str>>) -> Option<String> {
    text.map(|text| cut(text, SHORT).to_owned())
}

/// Replaces minus zero by zero: some stores do not distinguish them.
fn unsigned_zero(float: Option<f64>) -> Option<f64> {
    float.map(|float| if float == 0.0 { 0.0 } else { float })
}

fn long(text: Option<&Cow<'_, str>>) -> Option<String> {
    text.map(|text| cut(text, LONG).to_owned())
}

/// Writes all rows of `sender` except `rasa_user`. Returns the `stack` events whose patch did not
/// apply.
pub(crate) fn write(
    settings: &Settings,
    sender: SenderId,
    events: &[Event<'_>],
    placement: &Placement,
    session_ids: &[SessionId],
    tables: &mut Tables,
) -> BTreeSet<EventId> {
    let mut put = |table: &'static str, row: Vec<OwnedValue>| tables.entry(table).or_default().push(row);
    let mut errors = BTreeSet::new();

    let mut number = 0;
    let mut numbers = Vec::new();
    let mut channel = None;
    let mut user_id = None;
    let mut stack = Json::List(Vec::new());
    let mut slot_states: BTreeMap<String, Vec<OwnedValue>> = BTreeMap::new();
    // Turns and frames of each session. The last one may be open.
    let mut turns: BTreeMap<usize, Vec<Range<Uuid>>> = BTreeMap::new();
    let mut turn_is_open: BTreeMap<usize, bool> = BTreeMap::new();
    let mut frames: BTreeMap<usize, Vec<Range<Frame>>> = BTreeMap::new();

    for (position, event) in events.iter().enumerate() {
        let session_index = placement.session_of[position];
        let session = session_ids[session_index];
        number = event.time.micros().max(number + 1);
        numbers.push(number);
        let time = Micros(event.time.micros());
        let model = short(event.model_id.as_ref());
        let at = At { event, session, time, number, model };

        put(
            "rasa_event",
            row![
                event.id,
                sender,
                session,
                time,
                cut(&event.event_type, SHORT),
                at.model.clone(),
                short(event.environment.as_ref()),
                number,
            ],
        );
        if let Some(key) = &event.user_key {
            user_id = Some(UserId::new(key));
        }

        // Turns.
        let turns = turns.entry(session_index).or_default();
        let is_open = turn_is_open.entry(session_index).or_insert(false);
        if let Body::User(message) = &event.body {
            turns.push(Range { what: event.id.turn(), start: number, end: number });
            *is_open = true;
            channel = channel.or_else(|| short(message.input_channel.as_ref()));
        }
        if let Some(turn) = turns.last_mut().filter(|_| *is_open) {
            turn.end = number;
        }
        if matches!(event.body, Body::SessionEnded) {
            *is_open = false;
        }

        // Stack and frames.
        let frames = frames.entry(session_index).or_default();
        let starts_again = matches!(
            &event.body,
            Body::SessionStarted | Body::Restart | Body::RoutingSessionEnded
        ) || matches!(&event.body, Body::Action { name: Some(name), .. } if name == "action_session_start");
        if starts_again {
            stack = Json::List(Vec::new());
        }
        if let Body::Stack { update } = &event.body
            && settings.stack_events
        {
            match patch::apply(&stack, update.as_deref()) {
                Some(patched) => {
                    stack = patched;
                    let top = match &stack {
                        Json::List(elements) => elements.last().unwrap_or(&Json::Null),
                        _ => &Json::Null,
                    };
                    let flow = top.text("flow_id").or_else(|| top.text("skill_id"));
                    let step = match (top.text("block_id"), top.text("step_id")) {
                        (Some(block), Some(step)) => Some(block + "/" + &step),
                        (_, step) => step,
                    };
                    let frame = Frame { id: event.id, flow, step, time };
                    frames.push(Range { what: frame, start: number, end: number });
                }
                None => {
                    errors.insert(event.id);
                }
            }
        }
        if let Some(frame) = frames.last_mut() {
            frame.end = number;
        }

        for (table, row) in dependent_rows(sender, &at) {
            put(table, row);
        }
        if let Body::Slot { name: Some(name), value, .. } = &event.body {
            let path = slot_path(sender, session, name);
            let state = row![path.clone(), sender, session, cut(name, SHORT), cut(value, LONG), time];
            slot_states.insert(path, state);
        }
    }

    for (index, session) in placement.sessions.iter().enumerate() {
        let (Some(first), Some(last)) = (session.events.first(), session.events.last()) else { continue };
        let started = Micros(events[*first].time.micros());
        put("rasa_session", row![session_ids[index], sender, started, numbers[*first], numbers[*last]]);
    }
    for (index, turns) in turns {
        for Range { what, start, end } in turns {
            put("rasa_turn", row![what, sender, session_ids[index], start, end]);
        }
    }
    for (index, frames) in frames {
        for Range { what: Frame { id, flow, step, time }, start, end } in frames {
            let (flow, step) = (short(flow.map(Cow::Owned).as_ref()), short(step.map(Cow::Owned).as_ref()));
            put(
                "rasa_dialogue_stack_frame",
                row![id, sender, session_ids[index], flow, step, time, start, end],
            );
        }
    }
    for state in slot_states.into_values() {
        put("rasa_session_slot_state", state);
    }
    if let (Some(first), Some(last)) = (events.first(), events.last()) {
        // The events are in order of time, so these are the earliest and the latest.
        let (first_seen, last_seen) = (Micros(first.time.micros()), Micros(last.time.micros()));
        put(
            "rasa_sender",
            row![
                sender,
                first.sender_key.as_ref(),
                channel,
                first_seen,
                last_seen,
                user_id,
                first.assistant.as_deref().map(str::to_owned),
            ],
        );
    }
    errors
}

fn slot_path(sender: SenderId, session: SessionId, name: &str) -> String {
    format!("{sender}/{session}/{}", slot_path_name(name))
}

/// Returns the rows of a single event, besides its `rasa_event` row and slot state.
fn dependent_rows(sender: SenderId, at: &At<'_>) -> Vec<(&'static str, Vec<OwnedValue>)> {
    let At { event, session, time, number, model } = at;
    let (id, session, time, number, model) = (event.id, *session, *time, *number, model.clone());
    match &event.body {
        Body::User(message) => {
            let mut rows = command_rows(sender, at, message);
            let row = row![
                id,
                id,
                sender,
                session,
                short(message.intent.as_ref()),
                short(message.retrieval_intent.as_ref()),
                unsigned_zero(message.confidence),
                long(message.text.as_ref()),
                time,
                model,
                number,
                short(message.message_id.as_ref()),
            ];
            rows.push(("rasa_user_message", row));
            rows
        }
        Body::Bot { text, template_name } => {
            let template_name = short(template_name.as_ref());
            let text = long(text.as_ref());
            vec![(
                "rasa_bot_message",
                row![id, id, sender, session, time, template_name, text, model, number],
            )]
        }
        Body::Action { name, policy, confidence } => {
            let (name, policy) = (short(name.as_ref()), short(policy.as_ref()));
            vec![(
                "rasa_action",
                row![id, id, sender, session, name, unsigned_zero(*confidence), policy, time, model, number],
            )]
        }
        Body::Slot { name: Some(name), value, .. } => {
            let path = slot_path(sender, session, name);
            let (name, value) = (cut(name, SHORT), cut(value, LONG));
            vec![("rasa_slot", row![id, id, sender, session, path, name, value, time, number])]
        }
        Body::Flow { status, flow_id: Some(flow), step_id } => {
            let step = short(step_id.as_ref());
            vec![(
                "rasa_flow_status",
                row![id, sender, session, cut(flow, SHORT), status.as_str(), step, time],
            )]
        }
        Body::Slot { name: None, .. }
        | Body::Flow { flow_id: None, .. }
        | Body::Stack { .. }
        | Body::Agent { .. }
        | Body::Tool { .. }
        | Body::Unsupported
        | Body::SessionStarted
        | Body::SessionEnded
        | Body::Restart
        | Body::RoutingSessionEnded
        | Body::Form { .. }
        | Body::Rejected { .. }
        | Body::Pause
        | Body::Resume
        | Body::Inactive
        | Body::Exchange(_)
        | Body::Other => Vec::new(),
    }
}

fn command_rows(
    sender: SenderId,
    at: &At<'_>,
    message: &UserMessage<'_>,
) -> Vec<(&'static str, Vec<OwnedValue>)> {
    let row = |command: &turnmill_model::Command<'_>| {
        row![
            at.event.id.command(command.index),
            sender,
            at.session,
            short(message.message_id.as_ref()),
            cut(&command.command, SHORT),
            at.time,
            short(command.flow.as_ref()),
            short(command.slot.as_ref()),
            long(command.options.as_ref()),
        ]
    };
    message.commands.iter().map(|command| ("rasa_llm_command", row(command))).collect()
}
