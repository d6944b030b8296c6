//! What markers would find in the stored history.

use std::sync::Arc;

use turnmill_engine::{Pattern, Patterns, Scope};
use turnmill_ingest::{Ingest, RemadeSender};
use turnmill_markers::MarkerSet;
use turnmill_model::{EventId, Micros, SessionId};
use turnmill_sink::{StoreError, Upkeep};
use uuid::Uuid;

use super::{PatternEvent, PatternTools, tried};

/// Senders that are locked at a time.
const STEP: usize = 20;

/// What markers would find, if they had been there from the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preview {
    /// Senders that were looked at.
    pub senders: u64,
    /// Their sessions.
    pub sessions: u64,
    /// Their events.
    pub events: u64,
    /// By marker, in order of definition.
    pub markers: Vec<MarkerPreview>,
    /// Whether all senders were looked at; false if stopping was asked for before.
    pub complete: bool,
}

/// What one marker would find.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MarkerPreview {
    /// Its name.
    pub name: String,
    /// How often it applies.
    pub results: u64,
    /// Sessions in which it applies.
    pub sessions: u64,
    /// Senders of those.
    pub senders: u64,
    /// Some of the results, at most one of a session.
    pub samples: Vec<Sample>,
}

/// One result.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The conversation.
    pub sender_key: String,
    /// The session.
    pub session_id: SessionId,
    /// The event at which the marker applies.
    pub event_id: EventId,
    /// The event's time.
    pub timestamp: Micros,
    /// `user` events before it in its session.
    pub num_preceding_user_turns: i64,
}

impl<S: Upkeep> PatternTools<'_, S> {
    /// Looks what `markers` would find in all history, with up to `samples` examples each. Nothing is written. A few senders
    /// are locked at a time.
    ///
    /// # Errors
    ///
    /// The store's, those that do not pass.
    pub async fn preview(
        &mut self,
        ingest: &Ingest,
        markers: &MarkerSet,
        samples: usize,
    ) -> Result<Preview, StoreError> {
        let all_history = Scope { revision: 1, from: None, until: None };
        let patterns = markers.markers().iter().zip(1..).map(|(marker, number)| Pattern {
            id: Uuid::from_u128(number),
            config: marker.config.clone(),
            scopes: vec![all_history],
        });
        let patterns = Arc::new(Patterns::new(1, patterns.collect()));
        let named = |marker: &turnmill_markers::Marker| MarkerPreview {
            name: marker.name.clone(),
            ..MarkerPreview::default()
        };
        let mut preview =
            Preview { markers: markers.markers().iter().map(named).collect(), ..Preview::default() };
        let mut after = None;
        while !self.stop.is_set() {
            let senders = tried!(self, self.store.senders(after, STEP).await);
            let Some(last) = senders.last() else {
                preview.complete = true;
                break;
            };
            let next = tried!(self, {
                // What a failed attempt has counted does not count.
                let mut next = preview.clone();
                let mut show = |look: RemadeSender<'_>| next.add(&look, samples);
                let looked = ingest.remake_rows(self.store, &senders, Arc::clone(&patterns), &mut show).await;
                looked.map(|()| next)
            });
            preview = next;
            (self.tell)(PatternEvent::Reached { sender: *last, senders: preview.senders });
            after = Some(*last);
        }
        Ok(preview)
    }
}

impl Preview {
    fn add(&mut self, look: &RemadeSender<'_>, samples: usize) {
        self.senders += 1;
        self.sessions += look.rows.sessions.inserts.len() as u64;
        self.events += look.events;
        for (number, marker) in (1..).zip(&mut self.markers) {
            let pattern = Uuid::from_u128(number);
            let mut sessions: Vec<SessionId> = Vec::new();
            for row in look.rows.markers.inserts.iter().filter(|row| row.pattern_id == pattern) {
                marker.results += 1;
                if sessions.contains(&row.session_id) {
                    continue;
                }
                sessions.push(row.session_id);
                if marker.samples.len() < samples
                    && let Some(event) =
                        look.rows.events.inserts.iter().find(|event| event.id == row.event_id)
                {
                    marker.samples.push(Sample {
                        sender_key: look.sender_key.to_owned(),
                        session_id: row.session_id,
                        event_id: row.event_id,
                        timestamp: event.timestamp,
                        num_preceding_user_turns: row.num_preceding_user_turns,
                    });
                }
            }
            marker.sessions += sessions.len() as u64;
            marker.senders += u64::from(!sessions.is_empty());
        }
    }
}
