//! Integration tests: the language, the laws, captures of Rasa, arbitrary bytes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod config;
mod corpus;
mod errors;
mod examples;
mod laws;
mod naive;
mod parcel;
mod paths;

use turnmill_markers::{Compatibility, MarkerEvent, MarkerSet, Program, SourceFile};

/// Parses a valid set.
pub(crate) fn set(yaml: &str) -> MarkerSet {
    let (set, warnings) = MarkerSet::parse(&[SourceFile::new("markers.yml", yaml.as_bytes())])
        .unwrap_or_else(|errors| panic!("{errors:#?}"));
    assert_eq!(warnings, []);
    set
}

/// Parses a marker's configuration.
pub(crate) fn config(yaml: &str) -> turnmill_markers::Node {
    set(&format!("m: {yaml}")).markers()[0].config.clone()
}

/// Returns event and preceding user turns of each result in one session, by pattern.
pub(crate) fn results(program: &Program, events: &[MarkerEvent<'_>]) -> Vec<Vec<(usize, u32)>> {
    let mut state = program.start();
    let mut results = vec![Vec::new(); program.len()];
    for (index, event) in events.iter().enumerate() {
        let hit =
            |hit: turnmill_markers::Hit| results[hit.pattern].push((index, hit.num_preceding_user_turns));
        program.step(&mut state, *event, hit).unwrap();
    }
    results
}

pub(crate) fn documented(yaml: &str) -> Program {
    Program::of_set(&set(yaml), Compatibility::Documented)
}

pub(crate) fn action(name: &str) -> MarkerEvent<'_> {
    MarkerEvent::Action { name }
}

pub(crate) fn user(intent: &str) -> MarkerEvent<'_> {
    MarkerEvent::User { intent: Some(intent), full_retrieval_intent: None }
}

pub(crate) fn slot(name: &str, is_set: bool) -> MarkerEvent<'_> {
    MarkerEvent::Slot { name, is_set }
}
