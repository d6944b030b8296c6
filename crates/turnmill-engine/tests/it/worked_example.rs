//! The worked example of `docs/sessions.md`: three sessions of one sender.

use turnmill_engine::{Engine, Replay, ReplayOutcome, Step};
use turnmill_model::{Changes, Settings};

use crate::conversation::{apply, events, offset, outline, sender};

const EXAMPLE: &str = "
    78 slot session_started_metadata
    79 action action_session_start
    80 session_started
    82 action action_listen
    83 user hi
    84 action utter_greet
    85 bot
    87 action action_listen
    90 user my mail is ...
    91 slot email
    92 action action_listen
    140 slot session_started_metadata
    141 action action_session_start
    142 session_started
    143 slot session_started_metadata
    144 slot email
    145 action action_listen
    146 user /restart
    147 action action_restart
    148 restart
    149 action action_session_start
    150 session_started
    151 action action_listen";

const SESSIONS: &str = "\
A 78..92 turn 83..87 turn 90..92 session_started_metadata email
B 140..148 turn 146..148 session_started_metadata email
C 149..151
";

#[test]
fn in_one_batch() {
    let events = events(EXAMPLE);
    let (changes, steps) = apply(&mut sender(&events), &events);
    assert!(steps.iter().all(|step| *step == Step::Applied));
    assert_eq!(outline(&changes), SESSIONS);
}

#[test]
fn the_metadata_slot_moves_when_its_session_starts_in_the_next_batch() {
    let events = events(EXAMPLE);
    let (first, second) = events.split_at(12);
    let mut timeline = sender(&events);
    let (provisional, _) = apply(&mut timeline, first);
    insta::assert_snapshot!(outline(&provisional), @"A 78..140 turn 83..87 turn 90..140 email session_started_metadata");

    // The slot's rows are written, so the event that moves them is behind: it asks for a replay from the slot on.
    let engine = Engine::new(&Settings::default());
    let mut changes = Changes::default();
    let mut run = engine.run(&mut timeline, &mut changes);
    assert_eq!(run.apply(&second[0]), Step::NeedsReplay { since: first[11].time });
    drop(run);
    assert!(changes.is_empty(), "nothing was changed");

    let mut replay = Replay::new(&engine, &timeline, None).unwrap();
    first.iter().for_each(|event| replay.stored(event));
    second.iter().for_each(|event| replay.insert(event));
    let ReplayOutcome::Done(replayed) = replay.finish(&mut changes) else { panic!("not from the start") };

    // Of session A only the ends and the slot change; the rest of it is not touched.
    let moved = &changes.slots.updates;
    assert_eq!(moved.len(), 1);
    assert_eq!(offset(moved[0].sequence_number), 140);
    let ends: Vec<u64> = changes
        .sessions
        .ends
        .iter()
        .chain(&changes.turns.ends)
        .map(|end| offset(end.end_sequence_number))
        .collect();
    assert_eq!(ends, Vec::<u64>::new(), "A began in the replay, so its row is written whole");
    let updated: Vec<u64> =
        changes.sessions.updates.iter().map(|row| offset(row.end_sequence_number)).collect();
    assert_eq!(updated, [92]);
    let updated: Vec<u64> = changes.turns.updates.iter().map(|row| offset(row.end_sequence_number)).collect();
    assert_eq!(updated, [92]);
    assert_eq!(outline(&changes), "A 140..148 turn 146..148 session_started_metadata email\nB 149..151\n");

    let mut whole = sender(&events);
    apply(&mut whole, &events);
    assert_eq!(replayed.timeline.to_bytes().len(), whole.to_bytes().len());
    assert_eq!(replayed.timeline.newest(), whole.newest());
}

#[test]
fn a_late_leading_event_does_not_rename_the_session() {
    let mut events = events("10 slot a\n11 action action_session_start\n12 user hi");
    let (whole, _) = apply(&mut sender(&events), &events);
    let late = events.remove(0);
    let mut timeline = sender(&events);
    let (before, _) = apply(&mut timeline, &events);
    assert_eq!(before.sessions.inserts[0].id, whole.sessions.inserts[0].id);

    let engine = Engine::new(&Settings::default());
    let (mut replay, mut changes) = (Replay::new(&engine, &timeline, None).unwrap(), Changes::default());
    replay.insert(&late);
    events.iter().for_each(|event| replay.stored(event));
    assert!(matches!(replay.finish(&mut changes), ReplayOutcome::Done(_)));
    assert_eq!(changes.sessions.updates, whole.sessions.inserts, "it starts earlier, under the same id");
    assert!(changes.events.updates.is_empty() && changes.turns.updates.is_empty());
    assert_eq!(changes.slots.inserts.len(), 1);
}

#[test]
fn events_of_the_same_microsecond_get_numbers_of_their_own() {
    let mut events = events("10 action a\n10 action b\n10 action c");
    // One event's time lies a quarter of a microsecond after the others'.
    events[2].time = turnmill_model::EventTime::from_seconds(events[2].time.seconds() + 2.4e-7).unwrap();
    let (changes, _) = apply(&mut sender(&events), &events);
    let numbers: Vec<i64> =
        changes.events.inserts.iter().map(|row| row.sequence_number % 1_000_000).collect();
    assert_eq!(numbers, [500_000, 500_001, 500_002]);
    let times: Vec<i64> = changes.events.inserts.iter().map(|row| row.timestamp.0 % 1_000_000).collect();
    assert_eq!(times, [500_000; 3], "times are as written, whatever the numbers");
}
