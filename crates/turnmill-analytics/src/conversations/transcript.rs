//! One conversation: its turns with everything in them, and why it began and ended.

use std::collections::BTreeMap;

use serde::Serialize;
use turnmill_engine::{Beginning, EdgeEvent};

use crate::conversations::{Listed, line, of_session, time};
use crate::names::StoreNames;
use crate::question::Question;
use crate::run::{AskError, ReadQueries};
use crate::scope::Scope;
use crate::value::{Query, Row, Value};

/// A conversation with everything in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conversation {
    /// Facts of the session.
    pub session: Listed,
    /// Number of its events.
    pub events: i64,
    /// Why it began where it did, in words.
    pub began: String,
    /// The event that began it: its first one.
    pub began_event: Option<String>,
    /// Why it ended where it did, in words.
    pub ended: String,
    /// The event that ended it, if one of its own did.
    pub ended_event: Option<String>,
    /// Id of the sender's next session.
    pub next: Value,
    /// Its turns in order. The first may have no message: what came before the first message.
    pub turns: Vec<Turn>,
    /// Slots with a value at its end.
    pub slots: Vec<SlotValue>,
    /// Its markers, those of one name together.
    pub markers: Vec<MarkerRow>,
    /// The sender's other sessions, oldest first.
    pub others: Vec<OtherSession>,
}

/// A turn of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Turn {
    /// Event of its user message, `None` of what came before the first one.
    pub event_id: Option<String>,
    /// Time of its user message, or of its first event.
    pub at: String,
    /// Text of its user message.
    pub text: Option<String>,
    /// Intent.
    pub intent: Option<String>,
    /// Confidence of the intent, 0 to 1.
    pub confidence: Option<f64>,
    /// Whether the assistant did not understand the message.
    pub is_missed: bool,
    /// Whether a form took the message, `None` if it neither took nor refused it.
    pub form_took: Option<bool>,
    /// The form that was active when the message came.
    pub form: Option<String>,
    /// Seconds to its first answer.
    pub response: Option<f64>,
    /// What followed, in order.
    pub events: Vec<TranscriptEvent>,
}

/// Kind of an event in a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A message of the assistant.
    Bot,
    /// A slot that was set.
    Slot,
    /// An action.
    Action,
    /// A marker that applies.
    Marker,
    /// A form that did not take the message.
    FormRejected,
}

/// An event in a transcript.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TranscriptEvent {
    /// Its kind.
    pub kind: EventKind,
    /// Id of the event.
    pub event_id: String,
    /// Its time.
    pub at: String,
    /// Text of a message of the assistant.
    pub text: Option<String>,
    /// Name of a slot, action, marker or form.
    pub name: Option<String>,
    /// Value of a slot, as JSON.
    pub value: Option<String>,
    /// Response of a message of the assistant.
    pub template: Option<String>,
    /// What the response asks for, by its name.
    pub asks: Option<String>,
    /// Policy of an action.
    pub policy: Option<String>,
}

/// A slot with its value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlotValue {
    /// Its name.
    pub name: Value,
    /// Its value, as JSON.
    pub value: Value,
}

/// A marker of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MarkerRow {
    /// Its name.
    pub name: String,
    /// Numbers of the turns in which it applied, from 1.
    pub turns: Vec<i64>,
}

/// Another session of the sender.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OtherSession {
    /// Its id.
    pub session_id: Value,
    /// Time of its first event.
    pub started_at: Value,
    /// How it ended.
    pub ending: Value,
}

/// Queries of the parts of a session, each with the session as its only value. The first column of
/// those that a turn holds is the place in the sender's order.
const PARTS: [(&str, &str); 10] = [
    (
        "turns",
        "SELECT rt.start_sequence_number, rt.end_sequence_number, t.asked_at, t.response_us, t.form, t.form_took, t.turn_id \
         FROM ext_turn t JOIN rasa_turn rt ON rt.id = t.turn_id WHERE t.session_id = {session} ORDER BY 1",
    ),
    (
        "messages",
        "SELECT sequence_number, event_id, text, intent, confidence FROM rasa_user_message \
         WHERE session_id = {session}",
    ),
    (
        "answers",
        "SELECT sequence_number, event_id, text, template_name FROM rasa_bot_message WHERE session_id = {session}",
    ),
    ("slots", "SELECT sequence_number, event_id, name, value FROM rasa_slot WHERE session_id = {session}"),
    (
        "actions",
        "SELECT sequence_number, event_id, name, policy FROM rasa_action WHERE session_id = {session}",
    ),
    (
        "markers",
        "SELECT e.sequence_number, m.event_id, p.name, m.num_preceding_user_turns FROM rasa_markers m \
         JOIN rasa_patterns p ON p.id = m.pattern_id LEFT JOIN rasa_event e ON e.id = m.event_id \
         WHERE m.session_id = {session}",
    ),
    (
        "state",
        "SELECT name, value FROM rasa_session_slot_state WHERE session_id = {session} AND value <> 'null' \
         AND name NOT IN ('session_started_metadata', 'requested_slot') ORDER BY name",
    ),
    (
        "kinds",
        "SELECT sequence_number, event_type, timestamp, id FROM rasa_event WHERE session_id = {session} ORDER BY 1",
    ),
    (
        "before",
        "SELECT p.event_type, p.timestamp FROM rasa_event p JOIN rasa_session s ON s.sender_id = p.sender_id \
         WHERE s.id = {session} AND p.sequence_number < s.start_sequence_number \
         ORDER BY p.sequence_number DESC LIMIT 1",
    ),
    ("end", "SELECT ended_by, ended_reason, handed_over_at FROM ext_session WHERE session_id = {session}"),
];

/// Returns a conversation with everything in it, or `None` if the store has no such session.
///
/// # Errors
///
/// Those of the store, and a store without facts.
pub async fn conversation<S: ReadQueries>(
    store: &mut S,
    session: &str,
) -> Result<Option<Conversation>, AskError<S::Error>> {
    let dialect = store.dialect();
    let names = store.read(&StoreNames::queries(dialect)).await.map_err(AskError::Store)?;
    let names = StoreNames::read(&names);
    if names.lacks_facts {
        return Err(AskError::NoFacts);
    }
    let scope = Scope::new(&Question::default(), &names, dialect);
    let mut queries = vec![sessions_of_sender(&scope, session), missed(&scope, session)];
    queries.extend(PARTS.iter().map(|(name, sql)| of_session(dialect, name, sql, session)));
    let results = store.read(&queries).await.map_err(AskError::Store)?;
    Ok(read(session, &queries, &results))
}

/// Returns the ids of the sessions that `name` means, oldest first: of the session with this id, or
/// else those of the senders with this key.
///
/// # Errors
///
/// Those of the store.
pub async fn sessions_named<S: ReadQueries>(store: &mut S, name: &str) -> Result<Vec<String>, S::Error> {
    let dialect = store.dialect();
    let session = "SELECT id FROM rasa_session WHERE id = {session}";
    let sender = "SELECT s.id FROM rasa_session s JOIN rasa_sender r ON r.id = s.sender_id \
         WHERE r.sender_key = {session} ORDER BY s.timestamp, s.start_sequence_number, s.id";
    let queries =
        [of_session(dialect, "session", session, name), of_session(dialect, "sender", sender, name)];
    let results = store.read(&queries).await?;
    let rows = results.iter().find(|rows| !rows.is_empty()).map(Vec::as_slice).unwrap_or_default();
    Ok(rows.iter().filter_map(|row| text(row, 0)).collect())
}

/// Returns the ids of a conversation's events, in order. They are none if the store has no such
/// session.
///
/// # Errors
///
/// Those of the store.
pub async fn event_ids<S: ReadQueries>(
    store: &mut S,
    session: &str,
) -> Result<Vec<String>, AskError<S::Error>> {
    let sql = "SELECT id FROM rasa_event WHERE session_id = {session} ORDER BY sequence_number";
    let query = of_session(store.dialect(), "events", sql, session);
    let results = store.read(&[query]).await.map_err(AskError::Store)?;
    Ok(results.iter().flatten().filter_map(|row| text(row, 0)).collect())
}

/// Returns the query of all sessions of the session's sender, as a list has them.
fn sessions_of_sender(scope: &Scope, session: &str) -> Query {
    let mut draft = scope.draft();
    let session = draft.bind(session);
    let ending = draft.ending();
    let time = draft.micros_between("s.started_at", "s.last_event_at");
    draft.once(
        "sessions",
        &format!(
            "SELECT s.session_id, r.sender_key, s.started_at, s.channel, s.environment, s.model_id, s.turns, \
             {ending},\n  s.first_intent, {time} AS micros, NULL, s.ended_by\nFROM ext_session s\n\
             JOIN rasa_sender r ON r.id = s.sender_id\n\
             WHERE s.sender_id = (SELECT o.sender_id FROM ext_session o WHERE o.session_id = {session})\n\
             ORDER BY s.started_at, s.session_id"
        ),
    )
}

/// Returns the query of the session's missed turns.
fn missed(scope: &Scope, session: &str) -> Query {
    let mut draft = scope.draft();
    let session = draft.bind(session);
    let missed = draft.missed();
    draft.once(
        "missed",
        &format!("SELECT t.turn_id FROM ext_turn t WHERE t.session_id = {session} AND {missed}"),
    )
}

fn text(row: &Row, column: usize) -> Option<String> {
    row.get(column)?.text().map(ToOwned::to_owned)
}

/// Returns a time as every answer spells it, or nothing.
fn spelled(row: &Row, column: usize) -> String {
    match time(row.get(column)) {
        Value::Time(time) => time.to_string(),
        _ => String::new(),
    }
}

fn integer(row: &Row, column: usize) -> i64 {
    row.get(column).map_or(0, Value::integer)
}

fn read(session: &str, queries: &[Query], results: &[Vec<Row>]) -> Option<Conversation> {
    let rows = |name: &str| -> &[Row] {
        let found = queries.iter().position(|query| query.name == name);
        found.and_then(|found| results.get(found)).map(Vec::as_slice).unwrap_or_default()
    };
    let sessions: Vec<Listed> = rows("sessions").iter().map(line).collect();
    let own = sessions.iter().position(|other| other.session_id.text() == Some(session))?;
    let after = sessions.get(own + 1);

    let mut turns = turns(&rows);
    let times: BTreeMap<i64, String> =
        rows("kinds").iter().map(|row| (integer(row, 0), spelled(row, 2))).collect();
    for (sequence, event) in events(&rows) {
        let event = TranscriptEvent { at: times.get(&sequence).cloned().unwrap_or_default(), ..event };
        // The last turn that starts before the event; what comes before the first has none.
        let at = turns.partition_point(|(start, _)| *start <= sequence).saturating_sub(1);
        if let Some((_, turn)) = turns.get_mut(at) {
            turn.events.push(event);
        }
    }
    // The turn of what came before the first message is left out if there was nothing.
    if turns.first().is_some_and(|(_, turn)| turn.event_id.is_none() && turn.events.is_empty()) {
        turns.remove(0);
    }
    let slot = |row: &Row| {
        let cell = |column: usize| row.get(column).cloned().unwrap_or(Value::Null);
        SlotValue { name: cell(0), value: cell(1) }
    };
    let other = |other: &Listed| OtherSession {
        session_id: other.session_id.clone(),
        started_at: other.started_at.clone(),
        ending: other.ending.clone(),
    };
    let first_text = turns.iter().find_map(|(_, turn)| turn.event_id.as_ref().map(|_| turn.text.as_deref()));
    let (ended, ended_event) = ended(&rows, after);
    Some(Conversation {
        session: Listed { first_text: first_text.flatten().into(), ..sessions.get(own)?.clone() },
        events: i64::try_from(rows("kinds").len()).unwrap_or(i64::MAX),
        began: began(&rows),
        began_event: rows("kinds").first().and_then(|row| text(row, 3)),
        ended,
        ended_event,
        next: after.map_or(Value::Null, |next| next.session_id.clone()),
        turns: turns.into_iter().map(|(_, turn)| turn).collect(),
        slots: rows("state").iter().map(slot).collect(),
        markers: markers(rows("markers")),
        others: sessions
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != own)
            .map(|(_, session)| other(session))
            .collect(),
    })
}

/// Returns the turns with the place of each, after one for what came before the first message.
fn turns<'r>(rows: &impl Fn(&str) -> &'r [Row]) -> Vec<(i64, Turn)> {
    let messages: BTreeMap<i64, &Row> = rows("messages").iter().map(|row| (integer(row, 0), row)).collect();
    let missed: Vec<&str> = rows("missed").iter().filter_map(|row| row.first()?.text()).collect();
    let first = rows("kinds").first().map(|row| spelled(row, 2)).unwrap_or_default();
    let mut turns = vec![(i64::MIN, Turn { at: first, ..Turn::default() })];
    turns.extend(rows("turns").iter().map(|row| {
        let message = messages.get(&integer(row, 0));
        let turn = Turn {
            event_id: message.and_then(|message| text(message, 1)),
            at: spelled(row, 2),
            text: message.and_then(|message| text(message, 2)),
            intent: message.and_then(|message| text(message, 3)),
            confidence: message.and_then(|message| message.get(4)?.float()),
            is_missed: text(row, 6).is_some_and(|turn| missed.contains(&turn.as_str())),
            form_took: row.get(5).filter(|cell| !cell.is_null()).map(Value::is_true),
            form: text(row, 4),
            response: row.get(3).and_then(Value::float).map(|micros| micros / 1e6),
            events: Vec::new(),
        };
        (integer(row, 0), turn)
    }));
    // A form that refused the message says so before everything else of its turn.
    for (_, turn) in &mut turns {
        if turn.form_took == Some(false) {
            let event_id = turn.event_id.clone().unwrap_or_default();
            turn.events.push(TranscriptEvent {
                name: turn.form.clone(),
                at: turn.at.clone(),
                ..event(EventKind::FormRejected, event_id)
            });
        }
    }
    turns
}

fn event(kind: EventKind, event_id: String) -> TranscriptEvent {
    TranscriptEvent {
        kind,
        event_id,
        at: String::new(),
        text: None,
        name: None,
        value: None,
        template: None,
        asks: None,
        policy: None,
    }
}

/// Returns the events of all kinds, in the sender's order.
fn events<'r>(rows: &impl Fn(&str) -> &'r [Row]) -> Vec<(i64, TranscriptEvent)> {
    let id = |row: &Row| text(row, 1).unwrap_or_default();
    let mut events = Vec::new();
    for row in rows("answers") {
        let template = text(row, 3);
        let asks =
            template.as_deref().and_then(|name| name.strip_prefix("utter_ask_")).map(ToOwned::to_owned);
        let bot = event(EventKind::Bot, id(row));
        events.push((integer(row, 0), TranscriptEvent { text: text(row, 2), template, asks, ..bot }));
    }
    for row in rows("slots").iter().filter(|row| text(row, 2).as_deref() != Some("requested_slot")) {
        let slot = event(EventKind::Slot, id(row));
        events.push((integer(row, 0), TranscriptEvent { name: text(row, 2), value: text(row, 3), ..slot }));
    }
    for row in rows("actions") {
        let action = event(EventKind::Action, id(row));
        events
            .push((integer(row, 0), TranscriptEvent { name: text(row, 2), policy: text(row, 3), ..action }));
    }
    for row in rows("markers").iter().filter(|row| row.first().is_some_and(|cell| !cell.is_null())) {
        events.push((
            integer(row, 0),
            TranscriptEvent { name: text(row, 2), ..event(EventKind::Marker, id(row)) },
        ));
    }
    // Stable: of one place, in the order of the kinds above.
    events.sort_by_key(|(sequence, _)| *sequence);
    events
}

fn markers(rows: &[Row]) -> Vec<MarkerRow> {
    let mut markers: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for row in rows {
        markers.entry(text(row, 2).unwrap_or_default()).or_default().push(integer(row, 3));
    }
    let sorted = |(name, mut turns): (String, Vec<i64>)| {
        turns.sort_unstable();
        turns.dedup();
        MarkerRow { name, turns }
    };
    markers.into_iter().map(sorted).collect()
}

/// Returns why the session began: the engine's rule, named from the events around the boundary.
fn began<'r>(rows: &impl Fn(&str) -> &'r [Row]) -> String {
    let events: Vec<&Row> = rows("kinds").iter().take(2).collect();
    let edge = |row: &Row| {
        let is_same = |other: &&Row| integer(other, 0) == integer(row, 0);
        let name = ["actions", "slots"].iter().find_map(|part| rows(part).iter().find(is_same));
        EdgeEvent::new(&text(row, 1).unwrap_or_default(), name.and_then(|row| text(row, 2)).as_deref())
    };
    let before = rows("before").first();
    let before_type = before.and_then(|row| text(row, 0)).unwrap_or_default();
    let Some(first) = events.first() else { return "It has no events.".to_owned() };
    let rule = Beginning::of(
        before.map(|_| EdgeEvent::new(&before_type, None)),
        edge(first),
        events.get(1).map(|row| edge(row)),
    );
    let why = match rule {
        Beginning::FirstEvent => return "The sender has no event before it.".to_owned(),
        Beginning::AfterEnd => "The session before it had ended (session_ended)",
        Beginning::StartAction if before_type == "restart" => {
            "The user restarted the conversation (restart, action_session_start)"
        }
        Beginning::StartAction => "The assistant started a session (action_session_start)",
        Beginning::SessionStarted => "The assistant started a session (session_started)",
        _ => "Its events name another session than those before it",
    };
    let micros = |row: Option<&&Row>, column| match time(row.and_then(|row| row.get(column))) {
        Value::Time(time) => Some(time.0),
        _ => None,
    };
    match micros(events.first(), 2).zip(micros(before.as_ref(), 1)) {
        Some((first, before)) => format!("{why}, {} after the event before it.", span(first - before)),
        None => format!("{why}."),
    }
}

/// Spells a time in microseconds with the two units that say most.
fn span(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    match seconds {
        ..1 => "less than a second".to_owned(),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Returns why the session ended, and the event that ended it: the state of the engine after the
/// session's last event.
fn ended<'r>(rows: &impl Fn(&str) -> &'r [Row], after: Option<&Listed>) -> (String, Option<String>) {
    let end = rows("end").first();
    let rule = end.and_then(|row| text(row, 0)).unwrap_or_default();
    let reason = end.and_then(|row| text(row, 1)).map(|reason| format!(" ({reason})")).unwrap_or_default();
    let by = |kind: &str, words: &str| {
        let found = rows("kinds").iter().rev().find(|row| text(row, 1).as_deref() == Some(kind));
        let at = found.and_then(|row| row.get(2)).and_then(Value::time);
        let at = at.map(|at| format!(", event {kind} at {at} UTC")).unwrap_or_default();
        (format!("{words}{reason}{at}."), found.and_then(|row| text(row, 3)))
    };
    match rule.as_str() {
        "explicit" => by("session_ended", "The source ended it"),
        "restart" => by("restart", "The conversation was restarted"),
        "handoff" => by("pause", "It was handed over to a human"),
        "inactive" => by("inactive", "The user was inactive"),
        "next_session" => match after.map(|session| &session.started_at) {
            Some(Value::Time(time)) => {
                (format!("Nothing ended it; the next session of the sender began at {time} UTC."), None)
            }
            _ => ("Nothing ended it; the next session of the sender began.".to_owned(), None),
        },
        _ => ("Nothing ended it, and the sender has no later event.".to_owned(), None),
    }
}
