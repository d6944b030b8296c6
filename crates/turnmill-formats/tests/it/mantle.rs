//! Tests the second wire shape, and the details of events of assistants with flows.

use turnmill_model::{
    AgentStatus, Body, Details, Event, EventTime, FlowStatus, Processing, Reason, Record, SessionRule,
    Settings,
};

use crate::{decode_as, event, leak, refusal};

/// Makes a record of the second shape with this payload and further members of the envelope.
fn mantle(payload: &str, envelope: &str) -> String {
    format!(
        r#"{{"conversation_id": "u", "timestamp": 1786900000.01, {payload}, "event_id": "01a0", "sequence": 7{envelope}}}"#
    )
}

fn in_environment(environment: Option<&'static str>, body: &str) -> Event<'static> {
    let record = Record { payload: leak(body).as_bytes(), environment, ..Record::default() };
    decode_as(&Settings::default(), record).unwrap().unwrap()
}

#[test]
fn the_envelope_becomes_that_of_the_first_shape() {
    let session = "863d6e6b-d0bd-4262-904f-415a1bdafc39";
    let envelope = format!(
        r#", "user_id": "ann", "session_id": "{session}", "deployment_environment": "staging",
        "metadata": "{{\"model_id\": \"m\\u0000\", \"rasa_environment\": \"old\"}}""#
    );
    let body = mantle(
        r#""tts_finished": {"event": "user", "sender_id": "x", "timestamp": 5, "metadata": {"model_id": "y"}}"#,
        &envelope,
    );
    let event = event(&body);
    assert_eq!((&*event.event_type, &*event.sender_key), ("tts_finished", "u"));
    assert_eq!(event.time, EventTime::from_seconds(1_786_900_000.01).unwrap());
    assert_eq!((event.tie, event.user_key.as_deref()), (Some(7), Some("ann")));
    assert_eq!(event.model_id.as_deref(), Some("m"));
    assert_eq!(event.environment.as_deref(), Some("staging"));
    assert_eq!(event.session, SessionRule::Rasa { session_id: Some(session.parse().unwrap()) });
    assert_eq!(event.body, Body::Other);
    // A header says more than the record, the record more than its metadata.
    assert_eq!(in_environment(Some("live"), &body).environment.as_deref(), Some("live"));
    let body = body.replace("staging", "RASA_ENVIRONMENT_NOT_SET");
    assert_eq!(in_environment(None, &body).environment.as_deref(), Some("old"));
}

#[test]
fn the_payload_is_the_only_object_beside_the_envelope() {
    for (payload, reason) in [
        (r#""user": 5"#, Reason::NoEventType),
        (r#""user": {}, "bot": {}"#, Reason::NoEventType),
        (r#""user": {}, "user": null"#, Reason::NoEventType),
        (r#""event": null, "user": {}"#, Reason::NoEventType),
        (r#""": {}"#, Reason::NoEventType),
    ] {
        assert_eq!(refusal(&mantle(payload, "")), reason, "{payload}");
    }
    assert_eq!(event(&mantle(r#""user": 5, "new_thing": {}, "bot": null"#, "")).event_type, "new_thing");
    assert_eq!(refusal(r#"{"conversation_id": null, "timestamp": 1, "user": {}}"#), Reason::NoSenderId);
    // With a type of its own it is a record of the first shape.
    let flat = r#"{"event": "restart", "conversation_id": "c", "sender_id": "u", "timestamp": 1786900000.01, "user": {}}"#;
    assert_eq!((event(flat).body, &*event(flat).sender_key), (Body::Restart, "u"));
}

#[test]
fn the_id_of_the_event_alone_is_its_identity() {
    let user = |text: &str, more: &str| {
        mantle(&format!(r#""user": {{"text": "{text}", "message_id": "m"{more}}}"#), "")
    };
    let (hi, bye) = (event(&user("hi", "")), event(&user("bye", "")));
    assert_eq!(hi.id, bye.id);
    assert!(!hi.identified_by_key);
    assert_eq!(hi.id, event(&mantle(r#""bot": {"text": "hello"}"#, "")).id);
    let copy = event(&user("", r#", "anonymized_at": 1786909999.5"#));
    assert!(copy.id.is_anonymised() && copy.id.key() == hi.id.key());
    for changed in [
        user("hi", "").replace("01a0", "01a1"),
        user("hi", "").replace("00.01", "00.02"),
        user("hi", "").replace("\"u\"", "\"v\""),
    ] {
        assert_ne!(event(&changed).id.key(), hi.id.key(), "{changed}");
    }
    // Without an id it is identified as an event of the first shape.
    let nameless = event(&user("hi", "").replace(r#""event_id": "01a0""#, r#""event_id": null"#));
    let flat = event(
        r#"{"sender_id": "u", "event": "user", "timestamp": 1786900000.01, "text": "hi", "message_id": "m"}"#,
    );
    assert_eq!(nameless.id, flat.id);
    assert!(nameless.identified_by_key);
}

#[test]
fn memory_is_a_slot_whose_value_is_json_in_a_text() {
    let slot = |payload: &str| match event(&mantle(payload, "")).body {
        Body::Slot { name, value, is_set } => (name.map(String::from), value.into_owned(), is_set),
        other => panic!("{other:?}"),
    };
    let of = |value: &str, is_set| (Some("k".to_owned()), value.to_owned(), is_set);
    for (members, expected) in [
        (r#""value_json": "{\"a\":[1.50]}""#, of(r#"{"a": [1.50]}"#, true)),
        (r#""value_json": "\"x\"""#, of(r#""x""#, true)),
        (r#""value_json": "null""#, of("null", false)),
        (r#""value_json": "NaN""#, of("null", true)),
        (r#""value_json": "not JSON""#, of(r#""not JSON""#, true)),
        (r#""value_json": null, "value": 5"#, of("5", true)),
        (r#""value": null"#, of("null", false)),
    ] {
        assert_eq!(slot(&format!(r#""memory_set": {{"key": "k", {members}}}"#)), expected, "{members}");
    }
    assert_eq!(slot(r#""memory_cleared": {"key": "k"}"#), of("null", false));
    assert_eq!(slot(r#""memory_set": {"key": 5, "value_json": "1"}"#).0, None);
    let flat =
        r#"{"sender_id": "u", "event": "memory_set", "timestamp": 1786900000.01, "key": "k", "value": [1]}"#;
    assert!(matches!(event(flat).body, Body::Slot { value, .. } if value == "[1]"));
}

/// Makes an event of the first shape.
fn flat(event_type: &str, fields: &str, metadata: &str) -> Event<'static> {
    event(&format!(
        r#"{{"sender_id": "u", "event": "{event_type}", "timestamp": 1700000000.25, "metadata": {{{metadata}}}, {fields}}}"#
    ))
}

#[test]
fn events_of_flows_agents_and_tools_have_details() {
    let none = Details::default();
    let details = |event: Event<'static>| event.details.map(|details| *details);
    let started = flat(
        "flow_started",
        r#""flow_id": "pay""#,
        r#""frame_id": "F1", "frame_type": "link", "reason": 5, "error_type": "e""#,
    );
    let expected = Details {
        frame_id: Some("F1".into()),
        frame_type: Some("link".into()),
        reason: Some("e".into()),
        ..none.clone()
    };
    assert_eq!(details(started), Some(expected));
    for (event_type, status) in [
        ("skill_activated", FlowStatus::Started),
        ("skill_completed", FlowStatus::Completed),
        ("skill_cancelled", FlowStatus::Cancelled),
        ("skill_interrupted", FlowStatus::Interrupted),
        ("skill_resumed", FlowStatus::Resumed),
    ] {
        let event = flat(event_type, r#""skill_id": "pay", "flow_id": "no", "step_id": "1""#, "");
        let body = Body::Flow { status, flow_id: Some("pay".into()), step_id: Some("1".into()) };
        assert_eq!(event.body, body);
        assert_eq!(details(event), Some(Details { is_skill: true, ..none.clone() }));
    }
    let agent = flat("agent_resumed", r#""agent_id": "a", "flow_id": "pay""#, "");
    let called =
        Body::Agent { status: AgentStatus::Called, agent_id: Some("a".into()), flow_id: Some("pay".into()) };
    assert_eq!((agent.body, agent.details), (called, None));
    for (event_type, fields, reason) in [
        ("agent_completed", r#""status": "completed""#, None),
        ("agent_completed", r#""status": "input_required""#, Some("input_required")),
        ("agent_cancelled", r#""reason": "timed out""#, Some("timed out")),
    ] {
        let reason = reason.map(|reason| Details { reason: Some(reason.into()), ..none.clone() });
        assert_eq!(details(flat(event_type, fields, "")), reason);
    }
    let secret = r#""tool_name": "t", "source": "local", "is_error": true, "arguments": {"pin": 1234}, "result": "s", "error_message": "e""#;
    let tool = flat("tool_executed", secret, "");
    assert!(!format!("{tool:?}").contains("1234"), "no argument of a tool is kept");
    let body = |source: &'static str| Body::Tool {
        name: Some("t".into()),
        source: Some(source.into()),
        is_error: Some(true),
    };
    assert_eq!(tool.body, body("local"));
    assert_eq!(flat("mcp_tool_executed", secret, "").body, body("mcp"));
    assert_eq!(flat("unsupported_request_classified", r#""reason": "r""#, "").body, Body::Unsupported);

    let filled = flat("slot", r#""name": "s", "value": 1, "filled_by": "LLM""#, "");
    assert_eq!(details(filled), Some(Details { filled_by: Some("LLM".into()), ..none.clone() }));
    for (metadata, source) in [
        (r#""utter_source": "FlowPolicy", "mantle_response_source": "llm""#, Some("FlowPolicy")),
        (r#""utter_source": null, "mantle_response_source": "llm""#, Some("llm")),
        (r#""utter_source": 5"#, None),
    ] {
        let source = source.map(|source| Details { generated_by: Some(source.into()), ..none.clone() });
        assert_eq!(details(flat("bot", r#""text": "hi""#, metadata)), source);
    }
    let times = r#""execution_success": false, "execution_times": {"rasa_processing_ms": 1200.5, "b": 1}"#;
    let processing = Processing { total_us: 1_200_500, parts: Some(r#"{"b": 1}"#.into()) };
    let timed = Details { processing: Some(processing), ..none.clone() };
    assert_eq!(details(flat("bot_turn_ended", r#""x": 1"#, times)), Some(timed.clone()));
    let failed = Details { has_failed: true, ..timed };
    assert_eq!(details(flat("action", r#""name": "a""#, times)), Some(failed));
    assert_eq!(details(flat("bot", r#""text": "hi""#, times)), None, "its times are running ones");
    let ended = Details { reason: Some("hangup".into()), ..none };
    assert_eq!(details(flat("session_ended", r#""x": 1"#, r#""_reason": "hangup""#)), Some(ended));
}
