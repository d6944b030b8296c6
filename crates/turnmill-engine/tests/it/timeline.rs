//! Tests that the state of a sender is small, and the same after being stored.

use turnmill_engine::{Engine, Recency, Step, Timeline};
use turnmill_model::{Changes, Settings};

use crate::conversation::{apply, events, sender};

const OPEN_SESSION: &str = "
    10 action action_session_start
    11 session_started
    12 action action_listen
    13 user hi
    14 slot email
    15 bot";

#[test]
fn an_open_session_costs_at_most_850_bytes_beyond_its_key() {
    let events = events(OPEN_SESSION);
    let mut timeline = sender(&events);
    apply(&mut timeline, &events);
    let beyond_key = timeline.memory() - timeline.sender_key().len();
    assert!(beyond_key <= 850, "{beyond_key} bytes");
}

#[test]
fn a_stored_state_goes_on_as_one_in_memory() {
    let events = events(OPEN_SESSION);
    for split in 0..=events.len() {
        let (first, second) = events.split_at(split);
        let mut kept = sender(&events);
        apply(&mut kept, first);
        let mut stored = Timeline::from_bytes(&kept.to_bytes()).unwrap();
        let (rows, _) = apply(&mut kept, second);
        let (again, _) = apply(&mut stored, second);
        assert_eq!(rows.events.inserts, again.events.inserts);
        assert_eq!(kept, stored);
    }
}

#[test]
fn state_that_cannot_be_read_is_an_error() {
    let events = events(OPEN_SESSION);
    let mut timeline = sender(&events);
    apply(&mut timeline, &events);
    let bytes = timeline.to_bytes();
    assert!(Timeline::from_bytes(&bytes[..bytes.len() / 2]).is_err());
    assert!(Timeline::from_bytes(&[]).is_err());
}

#[test]
fn an_event_that_is_not_newer_needs_a_replay_and_changes_nothing() {
    let events = events(OPEN_SESSION);
    let mut timeline = sender(&events);
    apply(&mut timeline, &events);
    let before = timeline.clone();
    assert_eq!(timeline.recency(&events[5]), Recency::Known);
    assert_eq!(timeline.recency(&events[2]), Recency::Older);
    let engine = Engine::new(&Settings::default());
    let mut changes = Changes::default();
    let mut run = engine.run(&mut timeline, &mut changes);
    for event in &events {
        assert_eq!(run.apply(event), Step::NeedsReplay { since: event.time });
    }
    run.finish();
    assert!(changes.is_empty());
    assert_eq!(timeline, before);
}
