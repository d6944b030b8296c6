//! Explains why a marker applies in a session, or does not.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use turnmill_engine::{Patterns, marker_event};
use turnmill_ingest::{Ingest, RemadeSender};
use turnmill_markers::explain::{Explanation, explain};
use turnmill_markers::{Compatibility, Node, OwnedMarkerEvent};
use turnmill_model::{Event, EventId, Micros, SessionId};
use turnmill_sink::{StoreError, Upkeep};

use super::{PatternTools, tried};

/// The explanation of a marker over the events of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedSession {
    /// The conversation.
    pub sender_key: String,
    /// The session's events, in order.
    pub events: Vec<ExplainedEvent>,
    /// The result of the marker at each of them.
    pub explanation: Explanation,
}

/// An event of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedEvent {
    /// Its id.
    pub id: EventId,
    /// Its time.
    pub timestamp: Micros,
    /// The type's name, as written.
    pub event_type: String,
}

impl<S: Upkeep> PatternTools<'_, S> {
    /// Explains `config` over the events of `session`. Returns `None` if the store has no such
    /// session. Nothing is written.
    ///
    /// # Errors
    ///
    /// Returns errors of the store that do not pass.
    pub async fn explain(
        &mut self,
        ingest: &Ingest,
        session: SessionId,
        config: &Node,
    ) -> Result<Option<ExplainedSession>, StoreError> {
        let Some(sender) = tried!(self, ingest.session_owner(self.store, session).await) else {
            return Ok(None);
        };
        let none = Arc::new(Patterns::default());
        let (sender_key, own) = tried!(self, {
            let (mut key, mut own) = (String::new(), HashSet::new());
            let mut show = |remade: RemadeSender<'_>| {
                key = remade.sender_key.to_owned();
                let events = remade.rows.events.inserts.iter();
                own.extend(events.filter(|event| event.session_id == session).map(|event| event.id));
            };
            let result = ingest.remake_rows(self.store, &[sender], Arc::clone(&none), &mut show).await;
            result.map(|()| (key, own))
        });
        let (events, kept) = tried!(self, {
            let (mut events, mut kept) = (Vec::new(), Vec::new());
            let mut show = |event: &Event<'_>, _: &[u8]| {
                if own.contains(&event.id) {
                    kept.push(OwnedMarkerEvent::from(marker_event(event)));
                    let (timestamp, event_type) = (Micros(event.time.micros()), event.event_type.to_string());
                    events.push(ExplainedEvent { id: event.id, timestamp, event_type });
                }
                ControlFlow::Continue(())
            };
            ingest.show_events(self.store, sender, &mut show).await.map(|_| (events, kept))
        });
        let explanation =
            explain(config, Compatibility::Documented, kept.iter().map(OwnedMarkerEvent::as_event));
        Ok(Some(ExplainedSession { sender_key, events, explanation }))
    }
}
