//! The rules of sessions and turns, each with a small conversation.
//!
//! Every expectation is written out, and holds for the oracle as well as for the engine.

use turnmill_model::{SenderId, SessionId, SessionIdMode, Settings};
use turnmill_oracle::Tables;
use turnmill_oracle::generate::OwnedRecord;

use crate::script::{
    START, by, conversation, conversation_of, event_ids, id, layout, of_each, record, session_ids, uuid,
};

/// Checks the layout of each conversation.
fn check(table: &[(&str, &str)]) {
    for (words, expected) in table {
        each(words, |by_whom, tables| assert_eq!(layout(tables), *expected, "{by_whom}: {words}"));
    }
}

/// Calls `check` with the tables of one conversation, from the oracle and from the engine.
fn each(words: &str, check: impl Fn(&str, &Tables)) {
    each_of(&[&conversation(words)], check);
}

/// Calls `check` with the tables of several conversations, which arrive one after the other.
fn each_of(conversations: &[&[OwnedRecord]], check: impl Fn(&str, &Tables)) {
    for (by_whom, tables) in of_each(&Settings::default(), conversations) {
        check(by_whom, &tables);
    }
}

#[test]
fn rules_2_and_6_anything_begins_and_goes_on() {
    check(&[
        ("bot", "A-"),
        ("slot user act bot user bot", "A- A1 A1 A1 A2 A2"),
        ("user restart user rewind undo pause resume", "A1 A1 A2 A2 A2 A2 A2"),
    ]);
}

#[test]
fn rule_3_what_follows_the_end() {
    check(&[
        ("start started user end user bot", "A- A- A1 A1 B1 B1"),
        ("user end end bot", "A1 A1 B- C-"),
        ("user end ssm start started", "A1 A1 B- B- B-"),
    ]);
}

#[test]
fn rule_4_session_starts() {
    check(&[
        // a: not begun yet
        ("slot bot start started listen user", "A- A- A- A- A- A1"),
        ("slot ssm start", "A- A- A-"),
        // b: with the metadata slot
        ("user bot ssm start started", "A1 A1 B- B- B-"),
        ("user ssm slot start", "A1 A1 A1 B-"),
        // b: but not an event that was assigned by its session id
        ("start#1 user#1 ssm#1 start", "A- A1 A1 B-"),
        // b: a carried event was not assigned by its session id
        ("start started ssm start started", "A- A- B- B- B-"),
        // c
        ("start start", "A- B-"),
        ("user restart start started listen", "A1 A1 B- B- B-"),
        ("user start", "A1 B-"),
    ]);
}

#[test]
fn rule_5_session_started_alone() {
    check(&[
        ("started listen user started listen user", "A- A- A1 B- B- B1"),
        ("started listen started", "A- A- A-"),
        ("user start started", "A1 B- B-"),
        ("start user bot started", "A- A1 A1 B-"),
        ("user#1 start#1 started", "A1 A1 A1"),
    ]);
}

#[test]
fn rule_1_ids_place() {
    check(&[
        ("start#1 started#1 listen#1 user#1 bot#1", "A- A- A- A1 A1"),
        // An id seen before makes its session current again, with its own turn.
        ("start#1 user#1 bot#2 bot#1 bot", "A- A1 B- A1 A1"),
        // No boundary event begins a session against its id, and an end does not end it. Turns do
        // end.
        ("user#1 start#1 started#1 user#1 end#1 bot#1 user#1", "A1 A1 A1 A2 A2 A- A3"),
        // Events without an id stay in their session.
        ("user#1 bot start", "A1 A1 B-"),
    ]);
}

#[test]
fn rule_1_an_upgrade_in_mid_session() {
    check(&[
        ("start started user bot user#1 bot#1 user#1", "A- A- A1 A1 A2 B- B1"),
        // A web client's id does not count without Rasa's.
        ("start started user#9 bot user#9 bot", "A- A- A1 A1 A2 A2"),
        // It does for the very first event.
        ("user#9 bot", "A1 A1"),
        ("user#9 user#8", "A1 B1"),
        // After an event without an id it does not.
        ("user#9 bot user#8", "A1 A1 A2"),
    ]);
}

#[test]
fn rule_1_carried_slots() {
    check(&[
        ("user#1 start#2 started#2 slot#1 slot:y#1 listen#2 user#2", "A1 B- B- B- B- B- B1"),
        // Also if the session has no id, and whether or not the old id is known.
        ("start started slot#1 listen", "A- A- A- A-"),
        ("start#2 slot#7 user#2", "A- A- A1"),
        // A carried event is not assigned by its id. An event with the id of the session, or a
        // former one, is. That decides whether the id of a later message counts.
        ("start#1 slot#2 user#3", "A- A- A1"),
        ("start#1 slot#1 user#3", "A- A- B1"),
        ("ssm#1 start#2 slot#1 user#3", "A- A- A- B1"),
        // Only up to `action_listen` or `user`.
        ("start#2 started#2 listen#2 slot#1", "A- A- A- B-"),
        ("start#2 started#2 user#2 slot#1", "A- A- A1 B-"),
        ("slot#2 slot#1", "A- B-"),
        // The metadata slot is carried if its id is known; otherwise it begins a session.
        ("user#1 start#2 started#2 ssm#1 listen#2", "A1 B- B- B- B-"),
        ("start#2 started#2 ssm#3 start#3 listen#3", "A- A- B- B- B-"),
        // Other events with another id are not carried.
        ("start#2 started#2 bot#1", "A- A- B-"),
    ]);
}

#[test]
fn rule_1_a_session_takes_another_id() {
    check(&[
        ("ssm#1 start#2 started#2 bot#1 bot#2", "A- A- A- A- A-"),
        ("ssm#1 ssm#2 start#3 bot#1 bot#2 bot#3", "A- A- A- A- A- A-"),
        // One without an id as well.
        ("slot bot start#2 bot#2", "A- A- A- A-"),
        // Not if it has begun, after an end, with an id that is known, or for other events.
        ("start#1 start#2", "A- B-"),
        ("bot#1 end#1 start#2", "A- A- B-"),
        ("user#1 bot#2 start#1", "A1 B- A1"),
        ("ssm#1 bot#2", "A- B-"),
    ]);
    each("ssm#1 start#2 started#2 bot#1", |by_whom, tables| {
        assert_eq!(session_ids(tables), [id(2)], "{by_whom}");
    });
}

#[test]
fn rule_1_modes() {
    let records = |written: &str| {
        let body = |event: &str, second: f64| {
            record(&format!(
                r#"{{"sender_id": "u1", "event": "{event}", "timestamp": {second:?}, "metadata": {{"session_id": {written}}}}}"#
            ))
        };
        [body("bot", START), body("session_started", START + 1.0)]
    };
    // The session, and the one that is derived from the event with which it began.
    let check = |mode, written: &str, session: &dyn Fn(SessionId) -> SessionId| {
        let settings = Settings { session_id: mode, ..Settings::default() };
        for (by_whom, tables) in of_each(&settings, &[&records(written)]) {
            let derived = event_ids(&tables)[1].session();
            assert_eq!(session_ids(&tables), [session(derived).0], "{by_whom}: {mode:?} {written}");
        }
    };
    use SessionIdMode::{Any, Off, Uuid};
    let canonical = "\"7cdb5700-ac9c-493a-a469-87b77d91c363\"";
    let parsed = SessionId("7cdb5700-ac9c-493a-a469-87b77d91c363".parse().unwrap());
    for mode in [Uuid, Any] {
        check(mode, canonical, &|_| parsed);
    }
    let not_canonical =
        ["\"7CDB5700-AC9C-493A-A469-87B77D91C363\"", "\"7cdb5700ac9c493aa46987b77d91c363\"", "\"s1\""];
    for written in not_canonical {
        check(Any, written, &|_| SessionId::from_text(written.trim_matches('"')));
        check(Uuid, written, &|derived| derived);
    }
    for (mode, written) in [(Off, canonical), (Any, "\"\""), (Any, "5"), (Uuid, "null"), (Any, "\"\\u0000\"")]
    {
        check(mode, written, &|derived| derived);
    }
}

#[test]
fn ids_that_two_senders_use() {
    let (u1, u2) = (SenderId::new(None, "u1"), SenderId::new(None, "u2"));
    let first = conversation_of("u1", START + 50.0, "start#1 user#1");
    let second = conversation_of("u2", START, "start#1 user#1");
    each_of(&[&first, &second], |by_whom, tables| {
        assert_eq!(session_ids(tables), [SessionId::of_sender(u2, id(1)).0, id(1)], "{by_whom}");
    });
    each_of(&[&second, &first], |by_whom, tables| {
        assert_eq!(session_ids(tables), [id(1), SessionId::of_sender(u1, id(1)).0], "{by_whom}");
    });
    // No sender owns a former id.
    let former = conversation_of("u1", START, "ssm#1 start#2");
    let other = conversation_of("u2", START + 9.0, "start#1");
    each_of(&[&former, &other], |by_whom, tables| {
        assert_eq!(session_ids(tables), [id(2), id(1)], "{by_whom}");
    });
}

#[test]
fn derived_session_ids() {
    let sender = SenderId::new(None, "u1");
    // From the event with which it began: start, session_started or user.
    for (words, began) in [("bot slot user bot", 2), ("slot started user", 1), ("start started", 0)] {
        each(words, |by_whom, tables| {
            assert_eq!(session_ids(tables), [event_ids(tables)[began].session().0], "{by_whom}: {words}");
        });
    }
    // With the metadata slot that moves to the new session.
    each("user ssm start", |by_whom, tables| {
        assert_eq!(session_ids(tables)[1], event_ids(tables)[2].session().0, "{by_whom}");
    });
    // Before it has begun.
    each("bot slot", |by_whom, tables| {
        assert_eq!(session_ids(tables), [SessionId::leading(sender, None).0], "{by_whom}");
    });
    each("user end bot", |by_whom, tables| {
        let end = event_ids(tables)[1];
        assert_eq!(session_ids(tables)[1], SessionId::leading(sender, Some(end)).0, "{by_whom}");
    });
    // So a late event at its start changes no id.
    let conversation = conversation("start user bot");
    let late = conversation_of("u1", START - 60.0, "bot");
    each_of(&[&conversation, &late], |by_whom, tables| {
        assert_eq!(layout(tables), "A- A- A1 A1", "{by_whom}");
        assert_eq!(session_ids(tables), [event_ids(tables)[1].session().0], "{by_whom}");
    });
}

#[test]
fn turn_ids_are_those_of_their_user_events() {
    each("start user bot user", |by_whom, tables| {
        let events = event_ids(tables);
        let turns = by(tables, "rasa_turn", "start_sequence_number");
        let turns: Vec<_> = turns.into_iter().map(|turn| uuid(&turn[0])).collect();
        assert_eq!(turns, [events[1].turn(), events[3].turn()], "{by_whom}");
    });
}
