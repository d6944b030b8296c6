//! Tests each hazard of real and hostile event bodies with a table of cases.

use turnmill_formats::rasa::RasaDecoder;
use turnmill_model::{
    AnonymisedAt, AssistantName, Body, Command, Decoder, EventTime, FlowStatus, Reason, Record, SenderId,
    SessionId, SessionIdMode, SessionRule, Settings, SourceFacts, TimeUnit, UserMessage,
};
use uuid::Uuid;

use crate::{decode, decode_as, event, leak, refusal};

/// Makes a body of sender `u`, with the given type and further fields.
fn body(event_type: &str, fields: &str) -> String {
    format!(r#"{{"sender_id": "u", "event": "{event_type}", "timestamp": 1700000000.25, {fields}}}"#)
}

fn user(fields: &str) -> UserMessage<'static> {
    match event(&body("user", fields)).body {
        Body::User(message) => *message,
        other => panic!("{other:?}"),
    }
}

fn parsed(fields: &str) -> UserMessage<'static> {
    user(&format!(r#""parse_data": {{{fields}}}"#))
}

fn with_settings(settings: &Settings, body: &str) -> turnmill_model::Event<'static> {
    let record = Record { payload: leak(body).as_bytes(), ..Record::default() };
    decode_as(settings, record).unwrap().unwrap()
}

#[test]
fn what_is_no_event_is_skipped() {
    for payload in ["", " ", "\n", "\r\n\t ", "null", " null\n"] {
        assert_eq!(decode(payload), Ok(None), "{payload:?}");
    }
}

#[test]
fn refusals_have_their_reason() {
    for (payload, reason) in [
        ("[]", Reason::NotAnObject),
        ("5", Reason::NotAnObject),
        ("NaN", Reason::NotAnObject),
        ("\"null\"", Reason::NotAnObject),
        ("true", Reason::NotAnObject),
        ("nul", Reason::NotJson),
        ("null null", Reason::NotJson),
        ("{", Reason::NotJson),
        ("{}x", Reason::NotJson),
        ("{} {}", Reason::NotJson),
        (r#"{"event": "restart",}"#, Reason::NotJson),
        (r#"{event: "restart"}"#, Reason::NotJson),
        ("{\"event\": \"a\nb\"}", Reason::NotJson),
        (r#"{"event": "\x"}"#, Reason::NotJson),
        (r#"{"a": 01}"#, Reason::NotJson),
        (r#"{"a": +1}"#, Reason::NotJson),
        (r#"{"a": 1.}"#, Reason::NotJson),
        (r#"{"a": nan}"#, Reason::NotJson),
        (r#"{"a": -NaN}"#, Reason::NotJson),
        (r#"{"a": Inf}"#, Reason::NotJson),
        ("\u{feff}{}", Reason::NotJson),
        ("{}", Reason::NoEventType),
        (r#"{"event": null, "sender_id": "u"}"#, Reason::NoEventType),
        (r#"{"event": "", "sender_id": "u"}"#, Reason::NoEventType),
        (r#"{"event": "\u0000", "sender_id": "u"}"#, Reason::NoEventType),
        (r#"{"event": 5, "sender_id": "u"}"#, Reason::NoEventType),
        (r#"{"event\u0000": "restart", "sender_id": "u"}"#, Reason::NoEventType),
        (r#"{"event": "restart"}"#, Reason::NoSenderId),
        (r#"{"event": "restart", "sender_id": null}"#, Reason::NoSenderId),
        (r#"{"event": "restart", "sender_id": NaN}"#, Reason::NoSenderId),
        (r#"{"event": "restart", "sender_id": true}"#, Reason::NoSenderId),
        (r#"{"event": "restart", "sender_id": 5}"#, Reason::NoUsableTimestamp),
        (r#"{"event": "restart", "sender_id": ""}"#, Reason::NoSenderId),
        (r#"{"event": "restart", "sender_id": "\u0000\u0000"}"#, Reason::NoSenderId),
        (r#"{"event": "restart", "sender_id": "u"}"#, Reason::NoUsableTimestamp),
        (r#"{"event": "restart", "sender_id": "u", "timestamp": null}"#, Reason::NoUsableTimestamp),
        (r#"{"event": "restart", "sender_id": "u", "timestamp": " 1700000000"}"#, Reason::NoUsableTimestamp),
        (r#"{"event": "restart", "sender_id": "u", "timestamp": NaN}"#, Reason::NoUsableTimestamp),
        (r#"{"event": "restart", "sender_id": "u", "timestamp": Infinity}"#, Reason::NoUsableTimestamp),
        (r#"{"event": "restart", "sender_id": "u", "timestamp": 1e999}"#, Reason::NoUsableTimestamp),
        (r#"{"event": "restart", "sender_id": "u", "timestamp": 1700000000000}"#, Reason::NoUsableTimestamp),
        (r#"{"event": "restart", "sender_id": "u", "timestamp": -5.5}"#, Reason::NoUsableTimestamp),
    ] {
        assert_eq!(refusal(payload), reason, "{payload}");
    }
}

#[test]
fn what_a_timestamp_looks_like_is_said() {
    for (written, words) in [
        ("1679306228481", "milliseconds: read the source with `--time-unit ms`"),
        ("\"1679306228481047\"", "microseconds: read the source with `--time-unit us`"),
        ("1679306228481047000", "nanoseconds"),
        ("\"2023-03-20T09:57:08.481Z\"", "a text that is no number"),
    ] {
        let body = format!(r#"{{"event": "restart", "sender_id": "u", "timestamp": {written}}}"#);
        let refused = crate::decode(&body).unwrap_err();
        assert_eq!(refused.reason, Reason::NoUsableTimestamp);
        assert!(refused.to_string().contains(words), "{refused}");
    }
    let refused = crate::decode(r#"{"event": "restart", "sender_id": "u", "timestamp": 5.5}"#).unwrap_err();
    assert!(!refused.to_string().contains("looks like"), "{refused}");
}

#[test]
fn earlier_reasons_win() {
    let decoder = RasaDecoder::new(&Settings::default()).with_max_bytes(3000);
    let reason = |payload: &[u8]| {
        let mut events = Vec::new();
        decoder
            .decode(&Record { payload, ..Record::default() }, &mut events)
            .map_err(|refused| refused.reason)
    };
    assert_eq!(reason(&[b' '; 3001]), Err(Reason::TooLarge), "before it is known to be blank");
    assert_eq!(reason(&[0xff; 3001]), Err(Reason::TooLarge));
    assert_eq!(reason(&[b' '; 3000]), Ok(()));
    let mut deep = vec![b'['; 513];
    assert_eq!(reason(&deep), Err(Reason::NotJson), "before its depth");
    deep.extend([b']'; 513]);
    assert_eq!(reason(&deep), Err(Reason::TooDeep), "before its type");
    deep.push(0xff);
    assert_eq!(reason(&deep), Err(Reason::NotUtf8));
    assert_eq!(reason(b"{\"event\": 5}"), Err(Reason::NoEventType), "before the sender");
}

#[test]
fn depth_is_512_levels_at_most() {
    let nested = |levels: usize, inner: &str| {
        // The body is level 1.
        body(
            "slot",
            &format!(r#""name": "s", "value": {}{inner}{}"#, "[".repeat(levels - 1), "]".repeat(levels - 1)),
        )
    };
    for inner in ["", "1", "NaN", r#""\ud83d""#, r#""[[[""#] {
        let Body::Slot { value, .. } = event(&nested(512, inner)).body else { panic!() };
        assert!(value.starts_with(&"[".repeat(511)), "{inner}");
        assert_eq!(refusal(&nested(513, inner)), Reason::TooDeep, "{inner}");
    }
    // Wide is not deep, and brackets in strings are text.
    assert!(decode(&body("slot", &format!(r#""value": [{}[]]"#, "[],".repeat(5000)))).is_ok());
    assert!(decode(&body("bot", &format!(r#""text": "\"{}""#, "[{".repeat(5000)))).is_ok());
    // Two deep values, one after the other.
    let both = format!("{0}{1}, {0}{1}", "[".repeat(300), "]".repeat(300));
    assert!(decode(&body("slot", &format!(r#""value": [{both}]"#))).is_ok());
    // Deep where nothing is read.
    let tail = format!(r#""parse_data": {{"x": {}{}}}"#, "{\"a\": [".repeat(255), "]}".repeat(255));
    assert!(decode(&body("user", &tail)).is_ok());
}

#[test]
fn senders() {
    let sender = |sender_id: &str, envelope: Option<&'static str>| {
        let body = format!(r#"{{"event": "restart", "timestamp": 1700000000.25, "sender_id": {sender_id}}}"#);
        let record = Record { payload: leak(&body).as_bytes(), sender: envelope, ..Record::default() };
        decode_as(&Settings::default(), record).map(|event| event.unwrap().sender_key).map_err(|it| it.reason)
    };
    assert_eq!(sender(r#""a""#, Some("b")).unwrap(), "a", "the body wins");
    assert_eq!(sender("true", Some("b")).unwrap(), "b");
    for (number, key) in [("700100200", "700100200"), ("-1002", "-1002"), ("1e3", "1e3"), ("5.0", "5.0")] {
        assert_eq!(sender(number, Some("b")).unwrap(), key, "a number as it was written");
    }
    assert_eq!(sender(r#""""#, Some("b")).unwrap(), "b");
    assert_eq!(sender(r#""\u0000""#, Some("b\0c")).unwrap(), "bc");
    assert_eq!(sender("null", Some("\0")), Err(Reason::NoSenderId));
    assert_eq!(sender("null", Some("")), Err(Reason::NoSenderId));
    assert_eq!(sender(r#""   ""#, None).unwrap(), "   ", "blanks are a sender");
    assert_eq!(sender(r#""h\u0000\ud83dx\n""#, None).unwrap(), "h\u{fffd}x\n");
    let long = sender(&format!("{:?}", "s".repeat(300)), None).unwrap();
    assert_eq!(long.len(), 255);
    assert!(long.starts_with(&format!("{}~", "s".repeat(238))));
}

#[test]
fn times_fall_back_to_the_record() {
    let time = |timestamp: &str, record: Option<f64>| {
        let body = format!(r#"{{"event": "restart", "sender_id": "u", "timestamp": {timestamp}}}"#);
        let record = Record { payload: leak(&body).as_bytes(), time: record, ..Record::default() };
        decode_as(&Settings::default(), record).map(|event| event.unwrap().time).map_err(|it| it.reason)
    };
    let at = |seconds| Ok(EventTime::from_seconds(seconds).unwrap());
    assert_eq!(time("1700000000", Some(1.6e9)), at(1.7e9), "the body wins");
    assert_eq!(time("17e8", None), at(1.7e9));
    assert_eq!(time("\"1679306228.4810467\"", None), at(1_679_306_228.481_046_7), "a text that is a number");
    assert_eq!(time("1795225518.9071784", None), at(1_795_225_518.907_178_4));
    assert_eq!(time("946684800", None), at(946_684_800.0));
    assert_eq!(time("4102444800.0", None), at(4_102_444_800.0));
    assert_eq!(time("946684799.9", None), Err(Reason::NoUsableTimestamp));
    for unusable in [
        "null",
        "\"1700000000 \"",
        "\"0x5\"",
        "\"+1700000000\"",
        "-5.5",
        "1e18",
        "1e999",
        "NaN",
        "-Infinity",
        "[1700000000]",
        "{}",
    ] {
        assert_eq!(time(unusable, Some(1.6e9)), at(1.6e9), "{unusable}");
        assert_eq!(time(unusable, Some(1.6e12)), Err(Reason::NoUsableTimestamp), "{unusable}");
        assert_eq!(time(unusable, Some(f64::NAN)), Err(Reason::NoUsableTimestamp), "{unusable}");
    }
}

#[test]
fn the_last_of_duplicate_keys_counts() {
    let event = event(
        r#"{"event": "slot", "event": "action", "sender_id": "a", "sender_id": "u", "timestamp": NaN,
            "timestamp": 1700000000.25, "metadata": {"model_id": "m1", "utter_action": "gone"},
            "metadata": {"model_id": "m2", "model_id": "m3"}, "name": "n1", "name": "n2", "policy": "p", "policy": 5}"#,
    );
    assert_eq!(event.sender_key, "u");
    assert_eq!(event.model_id.as_deref(), Some("m3"));
    assert_eq!(event.body, Body::Action { name: Some("n2".into()), policy: None, confidence: None });
    let message =
        user(r#""parse_data": {"intent": {"name": "a"}, "intent": {"confidence": 1}, "message_id": "x"}"#);
    assert_eq!((message.intent, message.confidence), (None, Some(1.0)));
    assert_eq!(user(r#""parse_data": {"intent": {"name": "a"}}, "parse_data": []"#).intent, None);
    assert_eq!(user(r#""parse_data": {"intent": {"name": "a"}, "intent": 1e999}"#).intent, None);
}

#[test]
fn keys_may_be_escaped() {
    let event = event(r#"{"\u0065vent": "restart", "sender\u005fid": "u", "t\u0069mestamp": 1700000000.25}"#);
    assert_eq!(event.body, Body::Restart);
}

#[test]
fn a_field_of_another_type_is_absent() {
    for odd in
        ["5", "1e999", "-0.0", "true", "null", "[]", r#"[{"model_id": "m"}]"#, "\"m\"", "NaN", "[1, NaN]"]
    {
        let odd_event = event(&body("user", &format!(r#""metadata": {odd}, "parse_data": {odd}"#)));
        assert_eq!(odd_event.model_id, None, "{odd}");
        assert_eq!(odd_event.body, Body::User(Box::default()), "{odd}");
        assert_eq!(parsed(&format!(r#""intent": {odd}, "commands": {odd}"#)).intent, None, "{odd}");
    }
    for odd in ["5", "true", "null", "[]", "{}", "{\"name\": \"x\"}", "Infinity"] {
        let fields =
            ["text", "input_channel", "message_id"].map(|key| format!(r#""{key}": {odd}"#)).join(", ");
        let intent = format!(r#"{{"name": {odd}, "full_retrieval_intent_name": {odd}, "confidence": {{}}}}"#);
        let message =
            user(&format!(r#"{fields}, "parse_data": {{"intent": {intent}, "message_id": {odd}}}"#));
        assert_eq!(message, UserMessage::default(), "{odd}");
        let other = event(&body(
            "x",
            &format!(r#""user_id": {odd}, "anonymized_at": {odd}, "metadata": {{"model_id": {odd}}}"#),
        ));
        assert_eq!((other.user_key, other.model_id), (None, None), "{odd}");
        let stack = event(&body("stack", &format!(r#""update": {odd}"#)));
        assert_eq!(stack.body, Body::Stack { update: None }, "{odd}");
    }
}

#[test]
fn fall_backs_take_the_place_of_wrong_types() {
    let bot = |metadata: &str| match event(&body("bot", &format!(r#""metadata": {metadata}, "text": "hi""#)))
        .body
    {
        Body::Bot { template_name, .. } => template_name,
        other => panic!("{other:?}"),
    };
    assert_eq!(bot(r#"{"utter_action": "utter_a", "template_name": "b"}"#).as_deref(), Some("utter_a"));
    assert_eq!(bot(r#"{"utter_action": 5, "template_name": "b"}"#).as_deref(), Some("b"));
    assert_eq!(bot(r#"{"template_name": "b"}"#).as_deref(), Some("b"));
    assert_eq!(bot("{}"), None);
    let id = |fields: &str| user(fields).message_id;
    assert_eq!(id(r#""message_id": "a", "parse_data": {"message_id": "b"}"#).as_deref(), Some("a"));
    assert_eq!(id(r#""message_id": null, "parse_data": {"message_id": "b"}"#).as_deref(), Some("b"));
    assert_eq!(id(r#""message_id": 7, "parse_data": {"message_id": 8}"#), None);
}

#[test]
fn confidences_are_finite() {
    for (written, read) in [
        ("1", Some(1.0)),
        ("0.8798527419567108", Some(0.879_852_741_956_710_8)),
        ("5.3e-13", Some(5.3e-13)),
        ("5e-324", Some(5e-324)),
        ("-0.0", Some(-0.0)),
        ("123456789012345678901234567890", Some(1.234_567_890_123_456_8e29)),
        ("1e999", None),
        ("NaN", None),
        ("-Infinity", None),
        ("\"1\"", None),
        ("null", None),
    ] {
        assert_eq!(
            parsed(&format!(r#""intent": {{"confidence": {written}}}"#)).confidence,
            read,
            "{written}"
        );
        let action = event(&body("action", &format!(r#""confidence": {written}"#)));
        assert_eq!(action.body, Body::Action { name: None, policy: None, confidence: read }, "{written}");
    }
}

#[test]
fn slot_values_are_spelled_canonically() {
    let slot = |value: &str, bare: bool| {
        let settings = Settings { bare_slot_strings: bare, ..Settings::default() };
        match with_settings(&settings, &body("slot", &format!(r#""name": "s", "value": {value}"#))).body {
            Body::Slot { value, is_set, .. } => (value.into_owned(), is_set),
            other => panic!("{other:?}"),
        }
    };
    for (written, stored, bare, is_set) in [
        ("null", "null", "null", false),
        ("NaN", "null", "null", true),
        ("false", "false", "false", true),
        (r#""john@example.com""#, r#""john@example.com""#, "john@example.com", true),
        (r#""a \"b\" \u0000\n\ud83d""#, "\"a \\\"b\\\" \\n\u{fffd}\"", "a \"b\" \n\u{fffd}", true),
        (r#""""#, r#""""#, "", true),
        ("1e999", "1e999", "1e999", true),
        ("-0.0", "-0.0", "-0.0", true),
        (r#"["a",{"b":Infinity}]"#, r#"["a", {"b": null}]"#, r#"["a", {"b": null}]"#, true),
    ] {
        assert_eq!(slot(written, false), (stored.to_owned(), is_set), "{written}");
        assert_eq!(slot(written, true), (bare.to_owned(), is_set), "{written}");
    }
    let missing = event(&body("slot", r#""name": 5"#));
    assert_eq!(missing.body, Body::Slot { name: None, value: "null".into(), is_set: false });
}

#[test]
fn commands_keep_only_their_own_columns() {
    let commands = parsed(
        r#""commands": [{"command": "start flow", "flow": "transfer", "name": "n", "options": []}, 5,
            {"command": "set slot", "flow": "f", "name": "amount", "value": [1, NaN]}, {"command": null},
            {"command": "clarify", "options": ["a","b"], "name": "n"}, {"command": "clarify", "options": "a"},
            {"command": "Start flow", "flow": "f"}, {"command": "human handoff"}, {"command": "start flow", "flow": 5}]"#,
    )
    .commands;
    let command = |index, command: &'static str| Command {
        index,
        command: command.into(),
        flow: None,
        slot: None,
        options: None,
    };
    let expected = [
        Command { flow: Some("transfer".into()), ..command(0, "start flow") },
        Command { slot: Some("amount".into()), ..command(2, "set slot") },
        Command { options: Some(r#"["a", "b"]"#.into()), ..command(4, "clarify") },
        command(5, "clarify"),
        command(6, "Start flow"),
        command(7, "human handoff"),
        command(8, "start flow"),
    ];
    assert_eq!(commands, expected);
}

#[test]
fn every_body() {
    let flow = |status| Body::Flow { status, flow_id: Some("f".into()), step_id: Some("s".into()) };
    for (event_type, expected) in [
        ("flow_started", flow(FlowStatus::Started)),
        ("flow_completed", flow(FlowStatus::Completed)),
        ("flow_interrupted", flow(FlowStatus::Interrupted)),
        ("flow_resumed", flow(FlowStatus::Resumed)),
        ("flow_cancelled", flow(FlowStatus::Cancelled)),
        ("session_started", Body::SessionStarted),
        ("session_ended", Body::SessionEnded),
        ("restart", Body::Restart),
        ("stack", Body::Stack { update: Some("[{\"op\"}]".into()) }),
        ("active_loop", Body::Form { name: Some("n".into()) }),
        ("form", Body::Form { name: Some("n".into()) }),
        ("action_execution_rejected", Body::Rejected { name: Some("n".into()) }),
        ("pause", Body::Pause),
        ("resume", Body::Resume),
        ("inactive", Body::Inactive),
        ("agent", Body::Other),
        ("User", Body::Other),
        ("anything at all", Body::Other),
    ] {
        let event = event(&body(
            event_type,
            r#""name": "n", "flow_id": "f", "step_id": "s", "update": "[{\"op\"}]""#,
        ));
        assert_eq!(event.body, expected);
        assert_eq!(event.event_type, event_type);
    }
}

#[test]
fn session_ids_by_mode() {
    let canonical = "0b4e5c9e-0000-1000-8000-00805f9b34fb";
    let uuid = Uuid::try_parse(canonical).unwrap();
    let session = |mode, id: &str| {
        let settings = Settings { session_id: mode, ..Settings::default() };
        match with_settings(&settings, &body("x", &format!(r#""metadata": {{"session_id": {id}}}"#))).session
        {
            SessionRule::Rasa { session_id } => session_id,
            other => panic!("{other:?}"),
        }
    };
    for (text, accepted) in [
        (canonical.to_owned(), true),
        (canonical.to_uppercase(), false),
        (canonical.replace('-', ""), false),
        (format!("{{{canonical}}}"), false),
        (format!("urn:uuid:{canonical}"), false),
        ("s1".to_owned(), false),
    ] {
        let quoted = format!("{text:?}");
        assert_eq!(session(SessionIdMode::Uuid, &quoted), accepted.then_some(uuid), "{text}");
        let any = if accepted { uuid } else { SessionId::from_text(&text).0 };
        assert_eq!(session(SessionIdMode::Any, &quoted), Some(any), "{text}");
        assert_eq!(session(SessionIdMode::Off, &quoted), None);
    }
    for nothing in ["\"\"", "\"\\u0000\"", "5", "null"] {
        assert_eq!(session(SessionIdMode::Any, nothing), None, "{nothing}");
    }
}

#[test]
fn envelope_and_user() {
    let payload = leak(&body("x", r#""user_id": "p\u00e9\u0000", "anonymized_at": "2026-01-01""#)).as_bytes();
    let record = Record { payload, environment: Some("pro\0duction"), ..Record::default() };
    let event = decode_as(&Settings::default(), record).unwrap().unwrap();
    assert_eq!(event.environment.as_deref(), Some("production"));
    assert_eq!(event.user_key.as_deref(), Some("pé"));
    assert_eq!(event.anonymised, Some(AnonymisedAt::Text("2026-01-01".into())));
    assert_eq!(event.ordinal, 0);
    let user_key = |user: &str| crate::event(&body("x", &format!(r#""user_id": "{user}""#))).user_key;
    assert_eq!(user_key(r"\u0000"), None);
    assert_eq!(user_key(&"u".repeat(256)).unwrap().len(), 255);
}

#[test]
fn marks_of_anonymised_copies() {
    let mark = |written: &str, declared: bool| {
        let payload = leak(&body("bot", &format!(r#""anonymized_at": {written}"#))).as_bytes();
        let facts = SourceFacts { anonymised: declared, ..SourceFacts::default() };
        decode_as(&Settings::default(), Record { payload, facts, ..Record::default() })
            .unwrap()
            .unwrap()
            .anonymised
    };
    for unmarked in ["null", "NaN", "1e999", "true", "[]", "{}"] {
        assert_eq!(mark(unmarked, false), None, "{unmarked}");
        assert_eq!(mark(unmarked, true), Some(AnonymisedAt::Unmarked), "{unmarked}");
    }
    assert_eq!(mark("1717589977.902456", true), Some(AnonymisedAt::Seconds(1_717_589_977.902_456)));
    let marks = ["5", "40", "1e3", "\"\"", "\"2024\"", "\"2025\""].map(|written| mark(written, false));
    assert!(marks.is_sorted(), "numbers by value, before texts: {marks:?}");
}

#[test]
fn the_environment_is_that_of_the_header_then_of_the_metadata() {
    let environment = |header: Option<&'static str>, metadata: &str| {
        let payload =
            leak(&body("x", &format!(r#""metadata": {{"rasa_environment": {metadata}}}"#))).as_bytes();
        let record = Record { payload, environment: header, ..Record::default() };
        decode_as(&Settings::default(), record).unwrap().unwrap().environment
    };
    assert_eq!(environment(Some("a"), "\"b\"").as_deref(), Some("a"));
    assert_eq!(environment(None, "\"b\"").as_deref(), Some("b"));
    assert_eq!(environment(Some("RASA_ENVIRONMENT_NOT_SET"), "\"b\"").as_deref(), Some("b"));
    for unset in ["null", "5", "\"RASA_ENVIRONMENT_NOT_SET\""] {
        assert_eq!(environment(Some("RASA_ENVIRONMENT_NOT_SET"), unset), None, "{unset}");
    }
}

#[test]
fn an_assistant_is_part_of_the_sender() {
    let of = |assistant: AssistantName<'static>, metadata: &str| {
        let payload = leak(&body("x", &format!(r#""metadata": {{"assistant_id": {metadata}}}"#))).as_bytes();
        let facts = SourceFacts { assistant, ..SourceFacts::default() };
        let event = decode_as(&Settings::default(), Record { payload, facts, ..Record::default() });
        let event = event.unwrap().unwrap();
        assert_eq!(event.sender, SenderId::new(event.assistant.as_deref(), &event.sender_key));
        event.assistant
    };
    assert_eq!(of(AssistantName::None, "\"a\""), None, "only if it is asked for");
    assert_eq!(of(AssistantName::Given("bank\0"), "\"a\"").as_deref(), Some("bank"));
    assert_eq!(of(AssistantName::Given(""), "\"a\""), None);
    assert_eq!(of(AssistantName::FromMetadata, "\"a\"").as_deref(), Some("a"));
    assert_eq!(of(AssistantName::FromMetadata, "5"), None);
}

#[test]
fn units_of_time_are_set_not_guessed() {
    let decode = |written: &str, time_unit| {
        let payload = format!(r#"{{"event": "restart", "sender_id": "u", "timestamp": {written}}}"#);
        let facts = SourceFacts { time_unit, ..SourceFacts::default() };
        decode_as(
            &Settings::default(),
            Record { payload: leak(&payload).as_bytes(), facts, ..Record::default() },
        )
        .map(|event| event.unwrap())
    };
    let seconds = decode("1679306228.481", TimeUnit::Seconds).unwrap();
    for (written, unit, name) in [
        ("1679306228481", TimeUnit::Milliseconds, "milliseconds"),
        ("\"1679306228481\"", TimeUnit::Milliseconds, "milliseconds"),
        ("1679306228481000", TimeUnit::Microseconds, "microseconds"),
    ] {
        assert_eq!(decode(written, unit).unwrap(), seconds, "the same event, id and all");
        let refused = decode(written, TimeUnit::Seconds).unwrap_err();
        assert_eq!(refused.reason, Reason::NoUsableTimestamp);
        assert!(refused.detail.contains(name), "{refused}");
        assert!(refused.detail.contains(&format!("--time-unit {unit}")), "{refused}");
    }
    assert!(!decode("5427.383", TimeUnit::Seconds).unwrap_err().detail.contains("looks like"));
}

fn decoded(fields: &str) -> turnmill_model::EventId {
    event(&body("bot", fields)).id
}

#[test]
fn the_key_takes_what_anonymisation_keeps() {
    let key = |fields: &str| decoded(fields).key();
    let plain = key(r#""text": "call +47 1", "metadata": {"utter_action": "utter_a"}"#);
    for same in [
        r#""text": "call ***", "metadata": {"utter_action": "utter_a"}, "anonymized_at": 1717589977.9"#,
        r#""metadata": {"utter_action": "utter_a"}, "parse_data": {"intent": {"name": "n"}}"#,
        r#""metadata": {"utter_action": "utter_a"}, "value": 5, "data": {}, "confidence": 1"#,
        r#""metadata": {"utter_action": "utter_a"}, "agent_id": null"#,
    ] {
        assert_eq!(plain, key(same), "{same}");
    }
    let mut keys = vec![plain];
    for other in [
        r#""metadata": {"utter_action": "utter_b"}"#,
        r#""metadata": {"utter_action": "utter_a"}, "name": "n""#,
        r#""metadata": {"utter_action": "utter_a"}, "message_id": "n""#,
        r#""metadata": {"utter_action": "utter_a"}, "flow_id": "n""#,
        r#""metadata": {"utter_action": "utter_a"}, "step_id": "n""#,
        r#""metadata": {"utter_action": "utter_a"}, "action_text": "n""#,
        r#""metadata": {"utter_action": "utter_a"}, "policy": """#,
        r#""metadata": {"utter_action": "utter_a"}, "update": "n""#,
        r#""metadata": {"utter_action": "utter_a"}, "agent_id": "n""#,
        r#""metadata": {"utter_action": "utter_a"}, "tool_name": "n""#,
        r#""metadata": {"utter_action": "utter_a"}, "is_error": true"#,
        r#""metadata": {"utter_action": "utter_a"}, "is_error": false"#,
        r#""metadata": {"utter_action": "utter_a"}, "error_code": 10"#,
        r#""metadata": {"utter_action": "utter_a"}, "skill_id": "n""#,
        r#""metadata": {"utter_action": "utter_a"}, "block_id": "n""#,
        r#""metadata": {"utter_action": "utter_a"}, "key": "n""#,
    ] {
        keys.push(key(other));
    }
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
    // A template name that only stands in is no part of it; the message id of parse_data is.
    assert_eq!(key(r#""metadata": {"template_name": "utter_a"}"#), key("\"metadata\": {}"));
    let in_parse_data = key(r#""parse_data": {"message_id": "x"}"#);
    assert_eq!(in_parse_data, key(r#""message_id": "x""#));
    assert_ne!(in_parse_data, key("\"metadata\": {}"));
}

#[test]
fn the_content_is_what_is_said() {
    let id = |timestamp: &str, fields: &str| {
        let body = format!(
            r#"{{"event": "slot", "sender_id": "u", "timestamp": {timestamp}, "name": "s"{fields}}}"#
        );
        let record = Record { payload: leak(&body).as_bytes(), time: Some(1.6e9), ..Record::default() };
        decode_as(&Settings::default(), record).unwrap().unwrap().id
    };
    for at in ["1700000000.5", "1700000000", "17e8", "null", "\"x\"", "NaN", "1e999", "-5", "1e18"] {
        let plain = id(at, r#", "value": 1"#);
        assert_ne!(plain, id(at, r#", "value": 2"#), "{at}");
        assert_ne!(plain, id(at, r#", "value": 1.0"#), "{at}");
        assert_eq!(plain.key(), id(at, r#", "value": 2"#).key(), "{at}");
        assert_eq!(id(at, r#", "value": null"#), id(at, ""), "{at}: a missing value is null");
        assert_ne!(id(at, r#", "text": "1""#), id(at, r#", "data": "1""#), "{at}");
        assert_ne!(id(at, ""), id(at, r#", "parse_data": {"intent": {"name": "n"}}"#), "{at}");
        assert_eq!(id(at, r#", "value": [1,"\u00e9"]"#), id(at, r#", "value": [ 1, "é" ]"#), "{at}");
        let marked = id(at, r#", "value": 1, "anonymized_at": 5"#);
        assert_eq!(
            marked,
            id(at, r#", "value": 2, "anonymized_at": 5.0"#),
            "{at}: the key and the mark decide"
        );
        assert_ne!(marked, id(at, r#", "value": 1, "anonymized_at": 6"#), "{at}");
        assert!(marked.is_anonymised() && !plain.is_anonymised(), "{at}");
    }
    let same = |a: &str, b: &str| assert_eq!(id(a, r#", "value": 1"#), id(b, r#", "value": 1"#), "{a} {b}");
    same("1700000000", "1700000000.0");
    same("1700000000", "17e8");
    same("1700000000", "\"1700000000\"");
    same("-0.0", "0");
    same("NaN", "null");
    same("\"\\u0041\"", "\"A\"");
    let missing = event(r#"{"event": "slot", "sender_id": "u", "timestamp": 1700000000.5, "name": "s"}"#);
    assert_ne!(missing.id, id("1700000000", ""));
    assert_ne!(id("-5.5", ""), id("-6.5", ""), "an unusable number is written down too");
    assert_ne!(id("1e999", ""), id("null", ""));
}

#[test]
fn what_is_kept_of_a_plain_copy_fills_the_anonymised_one() {
    let decoder = RasaDecoder::new(&Settings::default());
    let plain = body(
        "user",
        r#""text": "I am Ann", "message_id": "m", "user_id": "7", "metadata": {"rasa_environment": "production"},
            "parse_data": {"intent": {"name": "greet", "confidence": 0.5, "full_retrieval_intent_name": "greet/a"},
            "intent_ranking": [{"name": "greet", "confidence": 0.5, "text": "I am Ann"}], "entities": [{"value": "Ann"}],
            "commands": [5, {"command": "start flow", "flow": "f", "x": "Ann"}, {"command": "set slot", "name": "n", "value": "Ann"},
            {"command": "clarify", "options": ["a", "b"]}]}"#,
    );
    let kept = decoder.kept(&Record { payload: plain.as_bytes(), ..Record::default() }, 0).unwrap();
    let text = String::from_utf8(kept.clone()).unwrap();
    assert!(!text.contains("Ann") && text.contains("intent_ranking"), "no personal data: {text}");
    let copy = body(
        "user",
        r#""text": "I am [NAME]", "message_id": "m", "anonymized_at": 5, "parse_data": {"text": "I am [NAME]"}"#,
    );
    let decode = |payload: &'static str, kept: Option<&'static [u8]>| {
        let record = Record { payload: payload.as_bytes(), kept, ..Record::default() };
        decode_as(&Settings::default(), record).unwrap().unwrap()
    };
    let plain = decode(leak(&plain), None);
    let lacking = decode(leak(&copy), None);
    let filled = decode(leak(&copy), Some(kept.leak()));
    let mut expected = lacking.clone();
    expected.keep_facts_of(&plain);
    assert_eq!(filled, expected, "decoding fills in what filling in by hand does");
    assert_eq!(filled.id, lacking.id);
    assert_eq!((filled.user_key.as_deref(), filled.environment.as_deref()), (Some("7"), Some("production")));
    let (Body::User(filled), Body::User(plain)) = (filled.body, plain.body) else { panic!() };
    assert_eq!(filled.text.as_deref(), Some("I am [NAME]"));
    assert_eq!(filled.commands, plain.commands, "names, flows, options and places");
    assert_eq!((filled.intent, filled.confidence), (plain.intent, plain.confidence));
    assert_eq!(decoder.kept(&Record { payload: br#"{"event": "bot"}"#, ..Record::default() }, 0), None);
}
