//! Tests what long replays hold in memory and what they find.

use std::fmt::Write as _;

use turnmill_engine::{Engine, Replay, ReplayOutcome};
use turnmill_model::{Changes, Event, Settings};

use crate::conversation::{apply, events, sender};

/// Returns the `count` events of one session, and a twentieth as many late slots spread over it.
fn life(count: usize) -> (Vec<Event<'static>>, Vec<Event<'static>>) {
    let (mut stored, mut late) = ("0 session_started\n".to_owned(), String::new());
    for place in 1..count {
        let event =
            ["user hi", "slot colour", "action utter_hi", "bot hello", "action action_listen"][place % 5];
        writeln!(stored, "{} {event}", place * 2).unwrap();
        if place % 20 == 7 {
            writeln!(late, "{} slot size", place * 2 + 1).unwrap();
        }
    }
    (events(&stored), events(&late))
}

/// Returns the changes of one replay of the whole life, and the most entries that it held.
fn replayed(count: usize, gather: usize) -> (Changes, usize) {
    let (stored, late) = life(count);
    let mut timeline = sender(&stored);
    apply(&mut timeline, &stored);
    let engine = Engine::new(&Settings::default()).gather(gather);
    let mut replay = Replay::new(&engine, &timeline, None).unwrap();
    let mut late = late.iter().peekable();
    let mut most = 0;
    for event in &stored {
        while let Some(late) = late.next_if(|late| late.time < event.time) {
            replay.insert(late);
        }
        replay.stored(event);
        most = most.max(replay.gathered());
    }
    late.for_each(|late| replay.insert(late));
    let mut changes = Changes::default();
    let outcome = replay.finish(&mut changes);
    assert!(matches!(outcome, ReplayOutcome::Done(_)), "{outcome:?}");
    (changes, most)
}

#[test]
fn a_replay_holds_what_differs_and_not_the_life_that_it_goes_through() {
    let gather = 200;
    for count in [1000, 2000, 4000] {
        let (changes, most) = replayed(count, gather);
        let written = changes.len();
        assert!(written >= 2 * count / 20 && written < 4 * count / 20, "{written} of {count}");
        // Rows are looked at again when their number has doubled.
        assert!(most <= 3 * (written + gather), "{count}: {most} held, {written} written");
        let (_, everything) = replayed(count, usize::MAX);
        assert!(everything > 4 * count, "{everything}");
    }
}

#[test]
fn what_a_replay_finds_does_not_depend_on_how_much_it_gathers() {
    let (whole, _) = replayed(600, usize::MAX);
    for gather in [1, 7, 100, 1000] {
        let (changes, _) = replayed(600, gather);
        assert_eq!(shown(&changes), shown(&whole), "{gather}");
    }
}

/// Returns all entries with their texts, sorted.
fn shown(changes: &Changes) -> Vec<String> {
    let mut entries = Vec::new();
    changes.for_each_table(|table| {
        let name = table.table.name;
        for (kind, rows) in [("insert", table.inserts), ("update", table.updates)] {
            for row in 0..rows.len() {
                let values: Vec<String> = (0..table.table.columns.len())
                    .map(|column| format!("{:?}", rows.value(row, column)))
                    .collect();
                entries.push(format!("{name} {kind} {}", values.join(" ")));
            }
        }
        entries.extend(table.ends.iter().map(|end| format!("{name} {end:?}")));
        assert_eq!(table.deletes.len(), 0, "{name}");
    });
    entries.sort();
    entries
}
