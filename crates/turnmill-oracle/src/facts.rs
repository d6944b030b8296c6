//! The rows of facts of one sender, after each event has its session.
//!
//! Every column is a search through the events of its session or turn. Only the open forms and
//! flows, and how a session ended, are followed event by event.

use turnmill_model::text::{LONG, SHORT, cut};
use turnmill_model::{Body, Event, FlowStatus, Micros, SenderId, SessionId, UserMessage};

use crate::dialogs::is_own;
use crate::json::Json;
use crate::sessions::Placement;
use crate::value::{OwnedValue, Tables};

/// Writes the rows of `ext_session`, `ext_turn` and `ext_message`.
pub(crate) fn write(
    sender: SenderId,
    events: &[Event<'_>],
    placement: &Placement,
    session_ids: &[SessionId],
    tables: &mut Tables,
) {
    let mut put = |table: &'static str, row: Vec<OwnedValue>| tables.entry(table).or_default().push(row);
    let loops = loops(events);
    for (session, id) in placement.sessions.iter().zip(session_ids) {
        let of_session: Vec<&Event<'_>> = session.events.iter().map(|at| &events[*at]).collect();
        let Some(last) = session.events.last() else { continue };
        let turns = turns(&of_session);
        let is_latest = *last + 1 == events.len();
        let open_loop = loops[*last].as_ref().map(|(_, name)| name.clone());
        put("ext_session", session_row(sender, *id, &of_session, &turns, open_loop, is_latest));
        for turn in &turns {
            // The position of the turn's `user` event among all events of the sender.
            let at = session.events[turn.start];
            let form = if at == 0 { None } else { loops[at - 1].clone() };
            let of_turn = &of_session[turn.clone()];
            put("ext_turn", turn_row(sender, *id, of_turn, form));
            let is_missed = of_turn.iter().any(|event| event.body == Body::Unsupported);
            if let Body::User(message) = &of_turn[0].body {
                let says_something = message.intent_ranking.is_some() || message.entities.is_some();
                if says_something || is_missed {
                    put("ext_message", message_row(of_turn[0], Some(message), is_missed));
                }
            }
        }
    }
    for event in events {
        let generated_by = event.details.as_ref().and_then(|details| details.generated_by.as_ref());
        if matches!(event.body, Body::Bot { .. }) && generated_by.is_some() {
            put("ext_message", message_row(event, None, false));
        }
    }
}

type Row = Vec<OwnedValue>;

/// Returns the turns of a session as ranges of its events: from a `user` event to the next one, the
/// end of the session, or `session_ended`.
fn turns(events: &[&Event<'_>]) -> Vec<std::ops::Range<usize>> {
    let starts = (0..events.len()).filter(|at| matches!(events[*at].body, Body::User(_)));
    let end = |start: usize| {
        let is_last = |at: &usize| {
            let ends = matches!(events[*at].body, Body::SessionEnded);
            ends || events.get(at + 1).is_none_or(|next| matches!(next.body, Body::User(_)))
        };
        (start..events.len()).find(is_last).map_or(events.len(), |at| at + 1)
    };
    starts.map(|start| start..end(start)).collect()
}

/// Returns the active form or flow after each event, and whether it is a form.
fn loops(events: &[Event<'_>]) -> Vec<Option<(bool, String)>> {
    let (mut form, mut flows): (Option<String>, Vec<String>) = (None, Vec::new());
    let mut active = Vec::new();
    for event in events {
        match &event.body {
            Body::Form { name } => form = name.as_deref().map(|name| cut(name, SHORT).to_owned()),
            Body::Flow { status, flow_id: Some(flow), .. } if !is_own(flow) => {
                let flow = cut(flow, SHORT).to_owned();
                if *status != FlowStatus::Interrupted {
                    flows.retain(|open| *open != flow);
                }
                if matches!(status, FlowStatus::Started | FlowStatus::Resumed) {
                    flows.push(flow);
                }
                if flows.len() > 100 {
                    flows.remove(0);
                }
            }
            Body::SessionStarted | Body::Restart | Body::RoutingSessionEnded => {
                (form, flows) = (None, Vec::new());
            }
            Body::Action { name: Some(name), .. } if name == "action_session_start" => {
                (form, flows) = (None, Vec::new());
            }
            _ => {}
        }
        let of_form = form.clone().map(|form| (true, form));
        active.push(of_form.or_else(|| flows.last().map(|flow| (false, flow.clone()))));
    }
    active
}

fn short(text: Option<&str>) -> Option<String> {
    text.map(|text| cut(text, SHORT).to_owned())
}

fn long(text: Option<&str>) -> Option<String> {
    text.map(|text| cut(text, LONG).to_owned())
}

fn messages<'e>(events: &'e [&Event<'_>]) -> impl DoubleEndedIterator<Item = &'e UserMessage<'e>> {
    events.iter().filter_map(|event| match &event.body {
        Body::User(message) => Some(&**message),
        _ => None,
    })
}

/// Returns how the events ended their session, by the last of them that says so.
fn ended(events: &[&Event<'_>]) -> Option<&'static str> {
    let mut state = None;
    for event in events {
        state = match &event.body {
            Body::SessionEnded => Some("explicit"),
            Body::Restart => Some("restart"),
            Body::Pause => Some("handoff"),
            Body::Inactive => state.or(Some("inactive")),
            Body::User(_) => state.filter(|state| *state == "handoff"),
            Body::Resume => state.filter(|state| *state != "handoff"),
            _ => state,
        };
    }
    state
}

fn session_row(
    sender: SenderId,
    id: SessionId,
    events: &[&Event<'_>],
    turns: &[std::ops::Range<usize>],
    open_loop: Option<String>,
    is_latest: bool,
) -> Row {
    let time = |event: &&Event<'_>| Micros(event.time.micros());
    let first = events.first().map(time);
    let last = events.iter().rev().find(|event| event.body != Body::Inactive).map(time).or(first);
    let is_bot = |event: &&&Event<'_>| matches!(event.body, Body::Bot { .. });
    let no_slots = || events.iter().filter(|event| !matches!(event.body, Body::Slot { .. }));
    let environment = no_slots().find_map(|event| event.environment.as_deref());
    let model = no_slots().find_map(|event| event.model_id.as_deref());
    let channel = messages(events).find_map(|message| message.input_channel.as_deref());
    let answered = turns.iter().filter(|turn| events[(*turn).clone()].iter().any(|event| is_bot(&event)));
    let intents: Vec<String> =
        messages(events).filter_map(|message| short(message.intent.as_deref())).collect();
    let mut path = intents.clone();
    path.dedup();
    path.truncate(8);
    let path = Json::List(path.into_iter().map(Json::Text).collect());
    let last_word = events.iter().rev().find(|event| matches!(event.body, Body::Bot { .. } | Body::User(_)));
    let last_template = match last_word.map(|event| &event.body) {
        Some(Body::Bot { template_name, .. }) => short(template_name.as_deref()),
        _ => None,
    };
    let paused = events.iter().find(|event| event.body == Body::Pause).map(time);
    let end = events.iter().rev().find(|event| event.body == Body::SessionEnded);
    let reason = end.and_then(|end| end.details.as_ref()).and_then(|details| details.reason.as_deref());
    let open = if is_latest { "open" } else { "next_session" };
    let count = |number: usize| OwnedValue::Integer(number as i64);
    vec![
        id.into(),
        sender.into(),
        events.first().and_then(|event| event.assistant.as_deref()).map(str::to_owned).into(),
        first.into(),
        last.into(),
        short(channel).into(),
        short(environment).into(),
        short(model).into(),
        OwnedValue::Null,
        "rasa".into(),
        count(messages(events).count()),
        count(events.iter().filter(is_bot).count()),
        count(turns.len()),
        count(answered.count()),
        intents.first().cloned().into(),
        intents.last().cloned().into(),
        last_template.into(),
        open_loop.into(),
        paused.is_some().into(),
        paused.into(),
        OwnedValue::Null,
        false.into(),
        short(reason).into(),
        ended(events).unwrap_or(open).into(),
        path.canonical().into(),
    ]
}

fn turn_row(
    sender: SenderId,
    session: SessionId,
    events: &[&Event<'_>],
    form: Option<(bool, String)>,
) -> Row {
    let (Some(asked), Some(message)) = (events.first(), messages(events).next()) else { return Vec::new() };
    let bots: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::Bot { template_name, .. } => Some((event.time.micros(), template_name.as_deref())),
            _ => None,
        })
        .collect();
    let fell_back = events.iter().any(|event| match &event.body {
        Body::Action { name: Some(name), .. } => {
            name == "action_default_fallback"
                || name == "action_two_stage_fallback"
                || name == "action_default_ask_rephrase"
        }
        Body::Flow { status: FlowStatus::Started, flow_id: Some(flow), .. } => {
            flow == "pattern_cannot_handle"
        }
        _ => false,
    });
    let first_action = events.iter().find_map(|event| match &event.body {
        Body::Action { name, .. } => Some((name.as_deref(), true)).filter(|(name, _)| *name != UNLIKELY),
        Body::Rejected { name } => Some((name.as_deref(), false)).filter(|(name, _)| *name != UNLIKELY),
        _ => None,
    });
    let took = match (&form, first_action) {
        (Some((true, form)), Some((Some(action), took))) if cut(action, SHORT) == form => Some(took),
        _ => None,
    };
    let processing = events.iter().rev().find_map(|event| event.details.as_ref()?.processing.as_ref());
    let confidence = message.confidence.map(|number| if number == 0.0 { 0.0 } else { number });
    vec![
        asked.id.turn().into(),
        session.into(),
        sender.into(),
        Micros(asked.time.micros()).into(),
        short(message.intent.as_deref()).into(),
        confidence.into(),
        short(message.input_channel.as_deref()).into(),
        short(asked.environment.as_deref()).into(),
        short(asked.model_id.as_deref()).into(),
        bots.first().map(|(time, _)| (time - asked.time.micros()).max(0)).into(),
        OwnedValue::Integer(bots.len() as i64),
        short(bots.first().and_then(|(_, template)| *template)).into(),
        fell_back.into(),
        form.map(|(_, name)| name).into(),
        took.into(),
        processing.map(|processing| processing.total_us).into(),
        long(processing.and_then(|processing| processing.parts.as_deref())).into(),
        1.0.into(),
    ]
}

/// The action that decides nothing.
const UNLIKELY: Option<&str> = Some("action_unlikely_intent");

fn message_row(event: &Event<'_>, message: Option<&UserMessage<'_>>, is_missed: bool) -> Row {
    let text = |text: Option<&str>| OwnedValue::from(text.map(str::to_owned));
    let columns = turnmill_model::tables::EXT_MESSAGE.columns;
    let details = event.details.as_deref();
    let value = |name: &str| match name {
        "event_id" => event.id.into(),
        "is_missed" => is_missed.then_some(true).into(),
        "intent_ranking" => text(message.and_then(|message| message.intent_ranking.as_deref())),
        "entities" => text(message.and_then(|message| message.entities.as_deref())),
        "generated_by" => short(details.and_then(|details| details.generated_by.as_deref())).into(),
        "weight" => 1.0.into(),
        "source_system" => "rasa".into(),
        _ => OwnedValue::Null,
    };
    columns.iter().map(|column| value(column.name)).collect()
}
