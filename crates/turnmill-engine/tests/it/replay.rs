//! Tests what long replays hold in memory and what they find.

use std::fmt::Write as _;

use turnmill_engine::{Engine, Replay, ReplayOutcome};
use turnmill_model::{Changes, Event, Key, Settings};

use crate::conversation::{apply, events, sender};

/// Stored events and late ones.
type Life = (Vec<Event<'static>>, Vec<Event<'static>>);

/// Returns the `count` events of one session, and a twentieth as many late slots spread over it.
fn life(count: usize) -> Life {
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

/// Returns `count` events in two sessions, and one late message.
///
/// The first session has its id from its first message. The late message is earlier, so it gives
/// all of that session another id.
fn renamed_life(count: usize) -> Life {
    let mut stored = String::new();
    for place in 1..count {
        let event = match place % 5 {
            _ if place == count * 3 / 4 => "session_started",
            1 => "user hi",
            2 => "slot colour",
            3 => "action utter_hi",
            4 => "bot hello",
            _ => "action action_listen",
        };
        writeln!(stored, "{} {event}", place * 2).unwrap();
    }
    (events(&stored), events("1 user early\n"))
}

/// Returns the changes of one replay of the whole life, and the most entries that it held.
fn replayed((stored, late): Life, gather: usize) -> (Changes, usize) {
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
        let (changes, most) = replayed(life(count), gather);
        let written = changes.len();
        assert!(written >= 2 * count / 20 && written < 4 * count / 20, "{written} of {count}");
        // Rows are looked at again when their number has doubled.
        assert!(most <= 3 * (written + gather), "{count}: {most} held, {written} written");
        let (_, everything) = replayed(life(count), usize::MAX);
        assert!(everything > 4 * count, "{everything}");
    }
}

#[test]
fn a_replay_holds_one_update_of_a_row_that_differs_and_not_both_of_its_states() {
    let gather = 200;
    for count in [1000, 2000, 4000] {
        let (changes, most) = replayed(renamed_life(count), gather);
        let written = changes.len();
        assert!(written > count, "{written} of {count}");
        assert!(most <= written + 2 * gather, "{count}: {most} held, {written} written");
        let (_, everything) = replayed(renamed_life(count), usize::MAX);
        assert!(everything > written * 2, "{everything} held, {written} written");
    }
}

#[test]
fn what_a_replay_finds_does_not_depend_on_how_much_it_gathers() {
    for life in [life, renamed_life] {
        let (whole, _) = replayed(life(600), usize::MAX);
        for gather in [1, 7, 100, 1000] {
            let (changes, _) = replayed(life(600), gather);
            assert_eq!(shown(&changes), shown(&whole), "{gather}");
        }
    }
}

/// Returns what a replay of `life` changes, taken in pieces while it goes on, with the most entries
/// that it held.
fn replayed_in_pieces((stored, late): Life, gather: usize) -> (Vec<Changes>, usize) {
    let mut timeline = sender(&stored);
    apply(&mut timeline, &stored);
    let engine = Engine::new(&Settings::default()).gather(gather);
    let mut replay = Replay::new(&engine, &timeline, None).unwrap();
    let mut late = late.iter().peekable();
    let (mut pieces, mut most) = (Vec::new(), 0);
    for event in &stored {
        while let Some(late) = late.next_if(|late| late.time < event.time) {
            replay.insert(late);
        }
        replay.stored(event);
        most = most.max(replay.gathered());
        pieces.extend(replay.take_final());
    }
    let mut rest = Changes::default();
    assert!(matches!(replay.finish(&mut rest), ReplayOutcome::Done(_)));
    pieces.push(rest);
    (pieces, most)
}

#[test]
fn a_replay_whose_rows_are_taken_in_pieces_holds_a_bounded_number() {
    let gather = 200;
    for count in [1000, 2000, 4000] {
        let (pieces, most) = replayed_in_pieces(renamed_life(count), gather);
        assert!(pieces.len() > count / gather, "{} pieces of {count}", pieces.len());
        assert!(most <= 4 * gather, "{count}: {most} held");
        let (whole, _) = replayed(renamed_life(count), usize::MAX);
        // A new session comes with the first piece, and gets its end with the last.
        let [mut taken, mut ended] = [Vec::new(), Vec::new()];
        let entries = pieces.iter().flat_map(shown);
        for entry in entries {
            match entry.strip_prefix("rasa_session ") {
                Some(session) => ended.push(session.replace("update", "insert")),
                None => taken.push(entry),
            }
        }
        taken.sort();
        let (sessions, others): (Vec<_>, Vec<_>) =
            shown(&whole).into_iter().partition(|entry| entry.starts_with("rasa_session "));
        assert_eq!(taken, others, "{count}");
        for session in sessions {
            assert!(ended.contains(&session["rasa_session ".len()..].to_owned()), "{session}: {ended:#?}");
        }
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
        entries.extend(table.deletes.iter().map(|key| match key {
            Key::Id(id) => format!("{name} delete {id}"),
            Key::Path(path) => format!("{name} delete {}", changes.texts.get(*path)),
        }));
    });
    entries.sort();
    entries
}
