//! The session rule: it assigns each event of one sender to a session.

use std::collections::HashMap;

use turnmill_model::{Body, Event, EventId, SenderId, SessionId, SessionRule};
use uuid::Uuid;

/// A session of one sender.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Indexes of its events in the sender's order.
    pub(crate) events: Vec<usize>,
    /// The id that events gave to it; the last one if it was replaced.
    pub(crate) given: Option<Uuid>,
    /// The `session_ended` event after which it was opened.
    after: Option<EventId>,
    /// It was opened by an event of the gap rule.
    by_gap: bool,
    /// It contains an event that begins a session.
    begun: bool,
    /// It contains an `action_session_start`.
    has_start_action: bool,
    has_user: bool,
    /// It is after a session start and before any `action_listen` or `user` event.
    starting: bool,
}

/// The sessions of a sender's events.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    pub(crate) sessions: Vec<Session>,
    /// Index of the session of each event.
    pub(crate) session_of: Vec<usize>,
    /// The session id that decided about each event, if one did.
    pub(crate) by_id: Vec<Option<Uuid>>,
}

/// Assigns a sender's events, which are in order, to sessions.
///
/// Example, with `#3` for a session id in the metadata: `start user | end | start#3 user#3 | user`.
/// After the end, `start#3` opens a session with id 3. The last `user` has no id and stays in it.
pub(crate) fn assign(events: &[Event<'_>]) -> Placement {
    let mut placement = Placement::default();
    // Session ids that events gave, including replaced ones.
    let mut known: HashMap<Uuid, usize> = HashMap::new();
    for (position, event) in events.iter().enumerate() {
        let (session, id) = next(&mut placement, &mut known, &events[..position], event);
        placement.session_of.push(session);
        placement.by_id.push(id);

        let session = &mut placement.sessions[session];
        let is_user = matches!(event.body, Body::User(_));
        let is_start = is_action(event, "action_session_start") || matches!(event.body, Body::SessionStarted);
        session.begun |= is_start || is_user;
        session.has_start_action |= is_action(event, "action_session_start");
        session.has_user |= is_user;
        if is_start {
            session.starting = true;
        } else if is_user || is_action(event, "action_listen") {
            session.starting = false;
        }
    }
    for (position, session) in placement.session_of.iter().enumerate() {
        placement.sessions[*session].events.push(position);
    }
    placement
}

/// Returns the session of `event`, which follows `before`, and the session id that decided it, if
/// one did.
///
/// Opens the session if it is new. May move the event before it to the new session, as rule 4
/// requires.
fn next(
    placement: &mut Placement,
    known: &mut HashMap<Uuid, usize>,
    before: &[Event<'_>],
    event: &Event<'_>,
) -> (usize, Option<Uuid>) {
    let current = placement.session_of.last().copied();
    let previous = before.last();
    let after_end = previous.filter(|previous| matches!(previous.body, Body::SessionEnded));

    let metadata_id = match event.session {
        SessionRule::Key(key) => {
            let session = by_id(placement, known, key);
            return (session, Some(key));
        }
        // The reference of Lex finds the sessions of its conversations before it gets here.
        SessionRule::Conversation { conversation, key, .. } => {
            let key = key.unwrap_or(conversation);
            return (by_id(placement, known, key), Some(key));
        }
        SessionRule::Gap { seconds } => {
            let silent =
                previous.is_none_or(|previous| event.time.seconds() - previous.time.seconds() > seconds);
            return match current {
                Some(current) if !silent => (current, None),
                _ => (open(placement, Session { by_gap: true, ..Session::default() }), None),
            };
        }
        SessionRule::Rasa { session_id } => session_id,
    };

    // Rule 1: the metadata's session id.
    if let Some(id) = metadata_id {
        let previous_by_id = placement.by_id.last().is_none_or(Option::is_some);
        if !matches!(event.body, Body::User(_)) || previous_by_id {
            if let Some(current) = current {
                let leads_here = known.get(&id) == Some(&current);
                let is_new = !known.contains_key(&id);
                let is_slot = matches!(event.body, Body::Slot { .. });
                let session = &mut placement.sessions[current];
                if is_slot && session.starting && !leads_here && !(is_metadata_slot(event) && is_new) {
                    return (current, None); // carried over, with the metadata it had
                }
                let may_lead = is_action(event, "action_session_start") || is_metadata_slot(event);
                if may_lead && is_new && !session.begun && after_end.is_none() {
                    session.given = Some(id);
                    known.insert(id, current);
                    return (current, Some(id));
                }
            }
            return (by_id(placement, known, id), Some(id));
        }
    }

    // Rule 2: the sender's first event.
    let (Some(current), Some(previous)) = (current, previous) else {
        return (open(placement, Session::default()), None);
    };
    // Rule 3: after the end.
    if after_end.is_some() {
        return (open(placement, Session { after: Some(previous.id), ..Session::default() }), None);
    }
    // Rule 4: a session start.
    if is_action(event, "action_session_start") {
        let session = &placement.sessions[current];
        if !session.has_start_action && !session.has_user {
            return (current, None);
        }
        let session = open(placement, Session::default());
        if is_metadata_slot(previous) && placement.by_id.last() == Some(&None) {
            // The metadata slot before it is the new session's first event.
            if let Some(of_previous) = placement.session_of.last_mut() {
                *of_previous = session;
            }
        }
        return (session, None);
    }
    // Rule 5: a session start that left out its action.
    if matches!(event.body, Body::SessionStarted)
        && !is_action(previous, "action_session_start")
        && placement.sessions[current].has_user
    {
        return (open(placement, Session::default()), None);
    }
    // Rule 6: the event stays in the current session.
    (current, None)
}

fn open(placement: &mut Placement, session: Session) -> usize {
    placement.sessions.push(session);
    placement.sessions.len() - 1
}

/// Returns the sender's session with this id. Opens it if it does not exist.
fn by_id(placement: &mut Placement, known: &mut HashMap<Uuid, usize>, id: Uuid) -> usize {
    *known.entry(id).or_insert_with(|| open(placement, Session { given: Some(id), ..Session::default() }))
}

fn is_action(event: &Event<'_>, wanted: &str) -> bool {
    matches!(&event.body, Body::Action { name: Some(name), .. } if name == wanted)
}

fn is_metadata_slot(event: &Event<'_>) -> bool {
    matches!(&event.body, Body::Slot { name: Some(name), .. } if name == "session_started_metadata")
}

impl Session {
    /// Returns the id of this session of `sender`, whose events in order are `events`. `owner`
    /// returns the sender that owns a given id.
    pub(crate) fn id(
        &self,
        sender: SenderId,
        events: &[Event<'_>],
        owner: impl Fn(Uuid) -> Option<SenderId>,
    ) -> SessionId {
        if let Some(id) = self.given {
            return if owner(id) == Some(sender) { SessionId(id) } else { SessionId::of_sender(sender, id) };
        }
        let begins = |event: &&Event<'_>| {
            self.by_gap
                || is_action(event, "action_session_start")
                || matches!(event.body, Body::SessionStarted | Body::User(_))
        };
        match self.events.iter().map(|position| &events[*position]).find(begins) {
            Some(event) => event.id.session(),
            None => SessionId::leading(sender, self.after),
        }
    }
}
