//! Evaluates the patterns at an event.

use turnmill_markers::MarkerEvent;
use turnmill_model::tables::MarkerRow;
use turnmill_model::{Body, Event, EventId, EventTime};

use crate::placement::Placement;
use crate::run::Run;
use crate::state::Session;

/// The part of an event on which patterns depend, with the event's id and time.
pub(crate) struct MarkedEvent<'e> {
    pub(crate) id: EventId,
    pub(crate) time: EventTime,
    pub(crate) event: MarkerEvent<'e>,
}

impl<'e> MarkedEvent<'e> {
    pub(crate) fn of(event: &'e Event<'_>) -> Self {
        Self { id: event.id, time: event.time, event: marker_event(event) }
    }
}

/// Returns the part of an event on which patterns depend.
#[must_use]
pub fn marker_event<'e>(event: &'e Event<'_>) -> MarkerEvent<'e> {
    match &event.body {
        Body::Action { name: Some(name), .. } => MarkerEvent::Action { name },
        Body::User(message) => MarkerEvent::User {
            intent: message.intent.as_deref(),
            full_retrieval_intent: message.retrieval_intent.as_deref(),
        },
        Body::Slot { name: Some(name), is_set, .. } => MarkerEvent::Slot { name, is_set: *is_set },
        _ => MarkerEvent::Other,
    }
}

impl Run<'_> {
    /// Returns the time from which a replay is needed, if rows of earlier events were made with
    /// other patterns. Otherwise notes that the sender's rows are as of the present revision.
    pub(crate) fn catch_up(&mut self) -> Option<EventTime> {
        let patterns = &self.engine.patterns;
        let timeline = &mut *self.timeline;
        if timeline.rows_revision == patterns.revision() || !self.progress.catches_up {
            return None;
        }
        let since = timeline.markers_missing_since(patterns);
        if since.is_none() {
            timeline.rows_revision = patterns.revision();
        }
        since
    }

    /// Returns the time from which a replay is needed, if a pattern that holds for `event` has not
    /// seen all events of its session. It is the start of the session that `placement` leads to.
    pub(crate) fn lacks_state(&self, placement: &Placement, event: &Event<'_>) -> Option<EventTime> {
        let patterns = &self.engine.patterns;
        if patterns.is_empty() {
            return None;
        }
        let session = match placement {
            Placement::Stay { .. } | Placement::Adopt(_) => self.timeline.cursor.session.as_ref()?,
            Placement::Return(session) => session,
            Placement::Begin { .. } | Placement::BeginWithPrevious => return None,
        };
        let rows = self.timeline.rows_revision;
        let (current, time) = (self.progress.program.as_deref(), event.time.micros());
        patterns.lacks(current, session.markers.as_deref(), rows, time).then_some(session.start_time)
    }

    /// Evaluates the current session's patterns at an event, and writes a row for each that
    /// applies.
    pub(crate) fn mark(&mut self, seen: &MarkedEvent<'_>) {
        let (patterns, rows) = (&self.engine.patterns, self.timeline.rows_revision);
        if patterns.is_empty() {
            return;
        }
        let Some(Session { id: session_id, markers, .. }) = &mut self.timeline.cursor.session else { return };
        let (sender_id, time) = (self.timeline.sender, seen.time.micros());
        let markers = markers.get_or_insert_with(|| patterns.start_without(rows, time));
        let selected = patterns.program(&mut self.progress.program, markers, rows, time);
        let out = &mut self.out.markers.inserts;
        let stepped = selected.program.step(&mut markers.state, seen.event, |hit| {
            let pattern = selected.patterns.get(hit.pattern).copied();
            if let Some(pattern_id) = pattern.and_then(|pattern| patterns.holds(pattern, rows, time)) {
                out.push(MarkerRow {
                    id: seen.id.marker(pattern_id),
                    pattern_id,
                    sender_id,
                    session_id: *session_id,
                    event_id: seen.id,
                    num_preceding_user_turns: i64::from(hit.num_preceding_user_turns),
                });
            }
        });
        debug_assert!(stepped.is_ok(), "the state was brought to this program");
    }
}
