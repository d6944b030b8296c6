//! The content of rows: fields, texts, numbers, stacks, copies. Also events without rows.

use turnmill_model::{Reason, Record, Settings};
use turnmill_oracle::{OwnedValue, decode, diff, generate::OwnedRecord};

use crate::script::{START, by, conversation, event_ids, of, of_with, record, shown};

/// Returns one event of sender `u1` with these members, `{time}` seconds after the start.
fn body(event: &str, time: f64, members: &str) -> OwnedRecord {
    record(&format!(r#"{{"sender_id": "u1", "event": "{event}", "timestamp": {:?}{members}}}"#, START + time))
}

#[test]
fn numbers_increase_where_microseconds_tie() {
    // Floats of this size are 2.4e-7 apart: three of them in one microsecond.
    let mut times = vec![START];
    for _ in 0..3 {
        times.push(times[times.len() - 1].next_up());
    }
    let records: Vec<_> = times.iter().map(|time| body("bot", time - START, "")).collect();
    let numbers = shown(&of(&records).tables, "rasa_event", "sequence_number", &["sequence_number"]);
    let base = 1_700_000_000_500_000_i64;
    assert_eq!(numbers, [0, 1, 2, 3].map(|bump| (base + bump).to_string()));
    // A rest of a microsecond is rounded by itself, half to even.
    let oracle = of(&[record(r#"{"sender_id": "u1", "event": "bot", "timestamp": 1795225518.9071784}"#)]);
    assert_eq!(shown(&oracle.tables, "rasa_event", "id", &["timestamp"]), ["2026-11-21 01:45:18.907178"]);
}

#[test]
fn user_messages_and_commands() {
    let records = [body(
        "user",
        0.0,
        r#", "text": "hi\u0000 \ud83d", "message_id": 5, "input_channel": "rest", "metadata": {"model_id": "m"}, "parse_data": {"intent": {"name": "greet",
        "confidence": 1, "full_retrieval_intent_name": "faq/x"}, "message_id": "m1", "commands": [{"command": "start flow", "flow": "f", "name": "n"}, 7,
        {"command": "set slot", "flow": "f", "name": "n"}, {"command": "clarify", "options": ["a","b"]}, {"command": "clarify", "options": "a"}, {"flow": "f"}]}"#,
    )];
    let oracle = of(&records);
    let columns = ["intent", "retrieval_intent", "confidence", "text", "model_id", "message_id"];
    assert_eq!(
        shown(&oracle.tables, "rasa_user_message", "id", &columns),
        [r#""greet" "faq/x" 1.0 "hi �" "m" "m1""#]
    );
    let columns = ["command", "user_message_id", "flow_identifier", "set_slot_name", "clarification_options"];
    let mut commands = shown(&oracle.tables, "rasa_llm_command", "id", &columns);
    commands.sort();
    assert_eq!(
        commands,
        [
            r#""clarify" "m1" NULL NULL "[\"a\", \"b\"]""#,
            r#""clarify" "m1" NULL NULL NULL"#,
            r#""set slot" "m1" NULL "n" NULL"#,
            r#""start flow" "m1" "f" NULL NULL"#,
        ]
    );
    let mut expected: Vec<_> = [0, 2, 3, 4].map(|index| event_ids(&oracle.tables)[0].command(index)).to_vec();
    expected.sort();
    let found: Vec<_> =
        by(&oracle.tables, "rasa_llm_command", "id").iter().map(|row| crate::script::uuid(&row[0])).collect();
    assert_eq!(found, expected);
}

#[test]
fn wrong_types_are_as_absent() {
    let oracle = of(&[
        body("user", 0.0, r#", "text": 5, "input_channel": 5, "parse_data": [], "metadata": "none""#),
        body(
            "user",
            1.0,
            r#", "input_channel": "web", "parse_data": {"intent": {"name": {}, "confidence": NaN}}"#,
        ),
        body("user", 2.0, r#", "input_channel": "rest""#),
        body("bot", 3.0, r#", "metadata": {"utter_action": 5, "template_name": "utter_old", "model_id": 7}"#),
        body("action", 4.0, r#", "name": null, "confidence": 1e999, "policy": []"#),
        body("slot", 5.0, r#", "name": 5, "value": 1"#),
        body("flow_started", 6.0, r#", "flow_id": null"#),
        body("flow_cancelled", 7.0, r#", "flow_id": "f", "step_id": 5"#),
        body("my_event", 8.0, ""),
        body("action", 9.0, r#", "name": "x", "confidence": -0.0"#),
    ]);
    assert_eq!(shown(&oracle.tables, "rasa_sender", "id", &["channel"]), ["\"web\""]);
    assert_eq!(
        shown(&oracle.tables, "rasa_user_message", "timestamp", &["intent", "confidence", "text"]),
        ["NULL NULL NULL"; 3]
    );
    assert_eq!(
        shown(&oracle.tables, "rasa_bot_message", "id", &["template_name", "model_id"]),
        ["\"utter_old\" NULL"]
    );
    assert_eq!(
        shown(&oracle.tables, "rasa_action", "timestamp", &["name", "confidence", "policy"]),
        ["NULL NULL NULL", "\"x\" 0.0 NULL"]
    );
    let statuses =
        shown(&oracle.tables, "rasa_flow_status", "id", &["flow_identifier", "flow_status", "step_id"]);
    assert_eq!(statuses, [r#""f" "cancelled" NULL"#]);
    assert!(oracle.tables["rasa_slot"].is_empty());
    assert_eq!(oracle.tables["rasa_event"].len(), 10);
}

#[test]
fn slots() {
    let long = "n".repeat(200);
    let records = [
        body("slot", 0.0, r#", "name": "s", "value": {"a":[1.0,NaN],"a":"\u0000x"}"#),
        body("slot", 1.0, r#", "name": "s", "value": "text""#),
        body("slot", 2.0, &format!(r#", "name": "{long}""#)),
        body("slot", 3.0, &format!(r#", "name": "v", "value": "{}""#, "ü".repeat(70_000))),
    ];
    let oracle = of(&records);
    let values = shown(&oracle.tables, "rasa_slot", "timestamp", &["name", "value"]);
    assert_eq!(values[..2], [r#""s" "{\"a\": \"x\"}""#, r#""s" "\"text\"""#]);
    assert!(
        values[2].ends_with("(200 chars) \"null\"") && values[3].ends_with("(65535 chars)"),
        "{values:?}"
    );
    let states = shown(&oracle.tables, "rasa_session_slot_state", "timestamp", &["timestamp"]);
    assert_eq!(states.len(), 3);
    for row in &oracle.tables["rasa_session_slot_state"] {
        let OwnedValue::Text(path) = &row[0] else { panic!("{path}", path = row[0]) };
        let name = path.split('/').nth(2).unwrap();
        assert!(path.starts_with(&format!("{}/{}/", row[1], row[2])) && path.chars().count() <= 255);
        assert!(
            ["s", "v"].contains(&name)
                || (name.starts_with(&format!("{}~", "n".repeat(164))) && name.len() == 181)
        );
    }
    let bare = of_with(&Settings { bare_slot_strings: true, ..Settings::default() }, &records);
    assert_eq!(shown(&bare.tables, "rasa_slot", "timestamp", &["value"])[1], "\"text\"");
}

#[test]
fn stack_frames() {
    let stack = |time: f64, patch: &str| body("stack", time, &format!(r#", "update": {patch:?}"#));
    let records = [
        body("user", 0.0, ""),
        stack(1.0, r#"[{"op": "add", "path": "/0", "value": {"flow_id": "f", "step_id": "START"}}]"#),
        body("bot", 2.0, ""),
        stack(3.0, r#"[{"op": "remove", "path": "/7"}]"#),
        stack(4.0, r#"[{"op": "replace", "path": "/0/step_id", "value": "1_ask"}]"#),
        body("stack", 5.0, r#", "update": [{"op": "remove", "path": "/0"}]"#),
        body("restart", 6.0, ""),
        stack(7.0, r#"[{"op": "remove", "path": "/0"}]"#),
        stack(8.0, "[]"),
        body("session_ended", 9.0, ""),
        stack(10.0, r#"[{"op": "add", "path": "/-", "value": 5}]"#),
        body("bot", 11.0, ""),
        body("session_started", 12.0, ""),
        stack(13.0, r#"[{"op": "add", "path": "/0", "value": {"step_id": "only"}}]"#),
    ];
    let oracle = of(&records);
    let base = 1_700_000_000_i64;
    let seconds: Vec<String> = by(&oracle.tables, "rasa_dialogue_stack_frame", "start_sequence_number")
        .iter()
        .map(|row| {
            let at = |value: &OwnedValue| value.to_string().parse::<i64>().unwrap() / 1_000_000 - base;
            format!("{} {} {}..{}", row[3], row[4], at(&row[6]), at(&row[7]))
        })
        .collect();
    assert_eq!(
        seconds,
        [
            r#""f" "START" 1..3"#,
            r#""f" "1_ask" 4..7"#, // through a failing patch, a restart, and another that fails because of it
            "NULL NULL 8..9",      // a new session ends it
            "NULL NULL 10..12", // session_started goes on in the session that is open, but empties the stack
            r#"NULL "only" 13..13"#,
        ]
    );
    let events = event_ids(&oracle.tables);
    assert_eq!(oracle.event_errors, [events[3], events[5], events[7]].into());

    let without = of_with(&Settings { stack_events: false, ..Settings::default() }, &records);
    assert!(without.tables["rasa_dialogue_stack_frame"].is_empty() && without.event_errors.is_empty());
    assert_eq!(without.tables["rasa_event"], oracle.tables["rasa_event"]);

    // The stack is one per sender, and does not start again with a session id. Frames are one per
    // session.
    let oracle = of(&conversation(
        r#"bot#1 stack:[{"op":"add","path":"/0","value":1}]#1 stack:[{"op":"test","path":"/0","value":1}]#2 bot#1"#,
    ));
    assert!(oracle.event_errors.is_empty());
    assert_eq!(oracle.tables["rasa_dialogue_stack_frame"].len(), 2);
}

#[test]
fn senders_and_end_users() {
    let at = |sender: &str, time: f64, members: &str| {
        record(&format!(
            r#"{{"sender_id": {sender}, "event": "bot", "timestamp": {:?}{members}}}"#,
            START + time
        ))
    };
    let long = "k".repeat(300);
    let oracle = of(&[
        at("\"a\"", 5.0, r#", "user_id": "p1""#),
        at("\"a\"", 1.0, r#", "user_id": "p2""#),
        at("\"a\"", 9.0, r#", "user_id": """#),
        at("\"b\\u0000\"", -3.0, r#", "user_id": "p1\u0000""#),
        at(&format!("\"{long}\""), 0.0, ""),
    ]);
    let keys = shown(&oracle.tables, "rasa_sender", "sender_key", &["sender_key", "first_seen", "last_seen"]);
    assert_eq!(keys[0], "\"a\" 2023-11-14 22:13:21.500000 2023-11-14 22:13:29.500000");
    assert!(keys[1].starts_with("\"b\" "));
    assert!(keys[2].contains("(255 chars)"));
    let users = shown(&oracle.tables, "rasa_user", "user_key", &["user_key", "first_seen", "last_seen"]);
    assert_eq!(
        users,
        [
            "\"p1\" 2023-11-14 22:13:17.500000 2023-11-14 22:13:25.500000",
            "\"p2\" 2023-11-14 22:13:21.500000 2023-11-14 22:13:21.500000"
        ]
    );
    let linked = by(&oracle.tables, "rasa_sender", "sender_key")[0][5].clone();
    assert_eq!(linked, OwnedValue::from(turnmill_model::UserId::new("p1")));
}

#[test]
fn copies() {
    let plain = |environment: Option<&str>| OwnedRecord {
        environment: environment.map(str::to_owned),
        ..body(
            "user",
            0.0,
            r#", "text": "my name is Ann", "message_id": "m", "parse_data": {"commands": [{"command": "x"}]}"#,
        )
    };
    let anonymised = |at: &str, text: &str| {
        body("user", 0.0, &format!(r#", "text": "{text}", "message_id": "m", "anonymized_at": {at}"#))
    };
    let texts = |records: &[OwnedRecord]| {
        let oracle = of(records);
        let duplicates = oracle.ledger.duplicates;
        let mut shown = shown(&oracle.tables, "rasa_user_message", "id", &["text"]);
        shown.push(oracle.tables["rasa_llm_command"].len().to_string());
        (shown.join(" "), duplicates.reexported, duplicates.anonymised)
    };
    let expect = |text: &str, reexported, anonymised| (text.to_owned(), reexported, anonymised);
    let (live, export) = (plain(Some("production")), plain(None));
    assert_eq!(texts(&[live.clone(), export.clone()]), expect("\"my name is Ann\" 1", 1, 0));
    let environment =
        |records: &[OwnedRecord]| shown(&of(records).tables, "rasa_event", "id", &["environment"]);
    assert_eq!(environment(&[live.clone(), export.clone()]), ["\"production\""]);
    assert_eq!(environment(&[export, live.clone()]), ["NULL"]);

    let (early, late) = (anonymised("\"2024\"", "A"), anonymised("\"2025\"", "B"));
    // The copy has no command, and takes that of the plain one in either order.
    assert_eq!(texts(&[live.clone(), early.clone()]), expect("\"A\" 1", 0, 1));
    assert_eq!(texts(&[early.clone(), live.clone()]), expect("\"A\" 1", 1, 0));
    assert_eq!(texts(&[early.clone(), live.clone(), late.clone()]), expect("\"B\" 1", 1, 1));
    assert_eq!(texts(&[late.clone(), early.clone(), live.clone()]), expect("\"B\" 1", 2, 0));
    assert_eq!(texts(&[late.clone(), early.clone()]), expect("\"B\" 0", 1, 0));
    // A number is a mark too, and less than any text.
    assert_eq!(texts(&[live.clone(), anonymised("5", "C")]), expect("\"C\" 1", 0, 1));
    assert_eq!(texts(&[anonymised("5", "C"), anonymised("40.5", "D")]), expect("\"D\" 0", 0, 1));
    assert_eq!(texts(&[early, live.clone(), anonymised("5e9", "C")]), expect("\"A\" 1", 2, 0));
    // Without a mark, another text is a changed copy of the message with that id.
    let unmarked = [live.clone(), anonymised("null", "C"), live];
    assert_eq!(texts(&unmarked), expect("\"my name is Ann\" 1", 1, 0));
    assert_eq!(of(&unmarked).ledger.duplicates.changed, 1);
    assert_eq!(environment(&[late, unmarked[0].clone()]), ["\"production\""]);

    // If an event has no id, its text is part of the identity, at a whole second or not.
    let whole = |text: &str, written: &str| {
        record(&format!(r#"{{"sender_id": "u1", "event": "bot", "timestamp": {written}, "text": "{text}"}}"#))
    };
    assert_eq!(
        of(&[whole("a", "1700000000"), whole("b", "1700000000.0"), whole("a", "17e8")]).ledger.events,
        2
    );
    // An event that is ordered by its record's time keeps the index of its first copy.
    let unplaced =
        |time: f64| OwnedRecord { time: Some(time), ..body("bot", -1_700_000_006.0, r#", "text": "a""#) };
    let replacement = record(
        r#"{"sender_id": "u1", "event": "bot", "timestamp": -5.5, "text": "a", "anonymized_at": "2024", "metadata": {"model_id": "m"}}"#,
    );
    let replacement = OwnedRecord { time: Some(START + 9.0), ..replacement };
    let oracle = of(&[unplaced(START + 7.0), unplaced(START), replacement]);
    assert_eq!(shown(&oracle.tables, "rasa_event", "id", &["model_id"]), ["\"m\""]);
    assert_eq!(shown(&oracle.tables, "rasa_event", "id", &["timestamp"]), ["2023-11-14 22:13:27.500000"]);
}

#[test]
fn what_becomes_no_event() {
    let of = |payload: &[u8], sender: Option<&str>, time: Option<f64>| {
        let record = Record { payload, sender, time, ..Record::default() };
        decode(&Settings::default(), &record).map(|event| event.is_some())
    };
    let too_large = vec![0xff; turnmill_oracle::MAX_RECORD_BYTES + 1];
    assert_eq!(of(&too_large, None, None), Err(Reason::TooLarge));
    assert_eq!(of(&too_large[1..], None, None), Err(Reason::NotUtf8));
    for skipped in ["", " \t\r\n", "null", " null\n"] {
        assert_eq!(of(skipped.as_bytes(), None, None), Ok(false), "{skipped:?}");
    }
    let deep = |levels: usize| {
        let lists = levels - 1;
        format!(
            r#"{{"sender_id": "s", "event": "e", "timestamp": 17e8, "x": {}{}}}"#,
            "[".repeat(lists),
            "]".repeat(lists)
        )
    };
    assert_eq!(of(deep(513).as_bytes(), None, None), Err(Reason::TooDeep));
    assert_eq!(of("[".repeat(513).as_bytes(), None, None), Err(Reason::NotJson));
    assert_eq!(of(deep(512).as_bytes(), None, None), Ok(true));
    for (payload, reason) in [
        ("{\"event\": \"e\"", Reason::NotJson),
        ("nul", Reason::NotJson),
        ("[]", Reason::NotAnObject),
        ("NaN", Reason::NotAnObject),
        ("{}", Reason::NoEventType),
        (r#"{"event": null}"#, Reason::NoEventType),
        (r#"{"event": "\u0000"}"#, Reason::NoEventType),
        (r#"{"event": "e"}"#, Reason::NoSenderId),
        (r#"{"event": "e", "sender_id": "\u0000"}"#, Reason::NoSenderId),
        (r#"{"event": "e", "sender_id": "s"}"#, Reason::NoUsableTimestamp),
        (r#"{"event": "e", "sender_id": "s", "timestamp": 4102444801}"#, Reason::NoUsableTimestamp),
        (r#"{"event": "e", "sender_id": "s", "timestamp": "1700000000.5 s"}"#, Reason::NoUsableTimestamp),
    ] {
        assert_eq!(of(payload.as_bytes(), None, None), Err(reason), "{payload}");
    }
    assert_eq!(of(br#"{"event": "e", "sender_id": 5}"#, Some("s"), Some(START)), Ok(true));
    assert_eq!(of(br#"{"event": "e"}"#, Some("\0"), Some(START)), Err(Reason::NoSenderId));
    assert_eq!(of(br#"{"event": "e"}"#, Some("s"), Some(5.0)), Err(Reason::NoUsableTimestamp));
}

#[test]
fn differences_are_shown() {
    let (a, b) = (of(&conversation("user bot")), of(&conversation("user bot bot")));
    let shown = diff(&a.tables, &b.tables).unwrap();
    for part in [
        "rasa_event: 2 rows expected, 3 found, 1 differences",
        "  unexpected id=",
        "end_sequence_number: expected 1700000001500000, found 1700000002500000",
        "event_type=\"bot\"",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    assert_eq!(diff(&a.tables, &a.tables), None);
    let many = of(&conversation(&"bot ".repeat(30)));
    assert!(diff(&many.tables, &a.tables).unwrap().contains("... and "));
}
