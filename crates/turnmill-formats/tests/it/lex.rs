//! Conversation logs of Amazon Lex V2: what is read, what is refused, and in which envelopes.

use std::io::Write as _;

use serde_json::{Value, json};
use turnmill_formats::lex::LexDecoder;
use turnmill_model::{
    Body, Decoder, Event, Exchange, LexSettings, NextStep, Reason, Record, Refused, Settings, Unwrapped,
    UnwrappedOutcome,
};

fn decoder() -> LexDecoder {
    LexDecoder::new(&Settings::default())
}

fn decode_with(decoder: &LexDecoder, payload: &str) -> Result<Option<Event<'static>>, Refused> {
    let record = Record { payload: crate::leak(payload).as_bytes(), ..Record::default() };
    let mut events = Vec::new();
    decoder.decode(&record, &mut events)?;
    assert!(events.len() <= 1, "a log object is one event");
    Ok(events.pop())
}

fn event(payload: &Value) -> Event<'static> {
    decode_with(&decoder(), &payload.to_string()).unwrap().unwrap()
}

fn exchange(payload: &Value) -> Exchange<'static> {
    match event(payload).body {
        Body::Exchange(exchange) => *exchange,
        other => panic!("{other:?}"),
    }
}

fn refusal(payload: &str) -> Reason {
    decode_with(&decoder(), payload).unwrap_err().reason
}

/// Returns a log object with these fields besides those that every one has.
#[expect(clippy::needless_pass_by_value, reason = "a literal at every call")]
fn object(fields: Value) -> Value {
    let mut object = json!({
        "timestamp": "2024-03-04T13:49:26.014Z",
        "sessionId": "s1",
        "requestId": "r1",
        "bot": {"id": "QX7PLM2R9A", "name": "bank", "aliasName": "live", "version": "7", "localeId": "en_GB"},
    });
    object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    object
}

#[test]
fn contradiction_1_a_missed_utterance_may_have_an_intent_or_none() {
    let with = exchange(&object(json!({
        "missedUtterance": true,
        "inputTranscript": "good day",
        "sessionState": {"intent": {"name": "FallbackIntent", "state": "ReadyForFulfillment", "slots": {}},
            "dialogAction": {"type": "Close"}},
        "interpretations": [{"intent": {"name": "FallbackIntent"}},
            {"intent": {"name": "Other"}, "nluConfidence": "0.63"}],
    })));
    assert_eq!(with.facts.is_missed, Some(true));
    assert_eq!((with.intent.as_deref(), with.next_step), (Some("FallbackIntent"), NextStep::Close));
    let message = with.message.unwrap();
    assert_eq!((message.intent.as_deref(), message.confidence), (Some("FallbackIntent"), None));
    let ranking =
        r#"[{"name": "FallbackIntent", "confidence": null}, {"name": "Other", "confidence": 0.63}]"#;
    assert_eq!(with.facts.intent_ranking.as_deref(), Some(ranking));

    let without = exchange(&object(json!({"missedUtterance": true, "sessionState": {}})));
    assert_eq!((without.intent, without.slots, without.slot_asked), (None, None, None));
    assert_eq!(without.message.unwrap().text, None, "speech that was not heard is a message without text");
}

#[test]
fn contradiction_2_names_of_v1_have_no_meaning() {
    let found = exchange(&object(json!({
        "inputDialogMode": "Text", "s3PathForAudio": "s3://x", "responseCard": {"title": "t"},
        "inputMode": "Speech", "inputTranscript": "hi",
        "messages": [{"contentType": "ImageResponseCard", "content": "c",
            "imageResponseCard": {"title": "Pick", "subtitle": "one", "buttonsList": []}}],
    })));
    assert_eq!(found.facts.input_mode.as_deref(), Some("Speech"));
    assert_eq!(found.messages, [Some("Pick\none".into())]);
}

#[test]
fn contradiction_3_numbers_and_booleans_may_be_texts() {
    for missed in [json!(true), json!("true"), json!(1), json!("1")] {
        let found = exchange(&object(json!({"missedUtterance": missed, "sessionState": {}})));
        assert_eq!(found.facts.is_missed, Some(true));
    }
    for confidence in [json!("0.63"), json!(0.63), json!({"score": 0.63})] {
        let found = exchange(&object(json!({
            "inputTranscript": "hi",
            "sessionState": {"intent": {"name": "A"}},
            "interpretations": [{"intent": {"name": "B"}, "nluConfidence": 1},
                {"intent": {"name": "A"}, "nluConfidence": confidence}],
        })));
        assert_eq!(found.message.unwrap().confidence, Some(0.63));
    }
    let found = exchange(&object(json!({"inputTranscript": 5, "messages": "none", "sessionState": {}})));
    assert_eq!(found.message.unwrap().text.as_deref(), Some("5"));
    let empty = exchange(&object(json!({"inputTranscript": "", "sessionState": {}})));
    assert_eq!(empty.message, None, "the empty text is none");
}

#[test]
fn contradiction_4_responses_of_one_request_may_share_its_time() {
    let response = |reason: &str, text: &str| {
        event(&object(json!({
            "inputTranscript": "pay", "responseReason": reason, "messages": [{"content": text}], "sessionState": {},
        })))
    };
    let order = [
        response("UtteranceResponse", "one"),
        response("FulfillmentInitiated", "two"),
        response("FulfillmentStartedResponse", "three"),
        response("FulfillmentUpdateResponse", "four"),
        response("FulfillmentCompletedResponse", "five"),
    ];
    assert!(order.is_sorted_by_key(Event::order));
    let other = response("FulfillmentUpdateResponse", "4");
    assert_ne!(other.id, order[3].id, "other content is another record");
    assert_ne!(other.order(), order[3].order(), "and never in the order of arrival");
    let said =
        |event: &Event<'_>| matches!(&event.body, Body::Exchange(exchange) if exchange.message.is_some());
    assert_eq!(order.iter().filter(|event| said(event)).count(), 1, "only the utterance is the user's");
}

#[test]
fn contradiction_5_a_slot_name_may_be_in_two_intents() {
    let of = |intent: &str| {
        exchange(&object(json!({"sessionState": {"intent": {"name": intent,
            "slots": {"accountType": {"value": {"originalValue": "my savings", "interpretedValue": "Savings"}}}}}})))
    };
    for intent in ["Transfer", "Balance"] {
        let found = of(intent);
        let slots = found.slots.unwrap();
        assert_eq!(found.intent.as_deref(), Some(intent));
        let [slot] = slots.as_slice() else { panic!("{slots:?}") };
        assert_eq!((&*slot.name, &*slot.value), ("accountType", "\"Savings\""));
        assert_eq!(slot.original.as_deref(), Some("my savings"));
    }
}

#[test]
fn slots_of_all_shapes() {
    let found = exchange(&object(json!({"sessionState": {"intent": {"name": "A", "slots": {
        "b": null,
        "a": {"value": {"originalValue": "x"}},
        "list": {"shape": "List", "value": {"originalValue": "a, b"},
            "values": [{"value": {"originalValue": "a", "interpretedValue": "A"}}, {"value": null}]},
        "c": {"shape": "Composite", "value": null, "subSlots": {"d": {"value": {"interpretedValue": ""}}}},
    }}, "dialogAction": {"type": "ElicitSlot", "slotToElicit": "c", "subSlotToElicit": {"name": "d"}}}})));
    let slots = found.slots.unwrap();
    let slots: Vec<_> =
        slots.iter().map(|slot| (&*slot.name, &*slot.value, slot.original.as_deref())).collect();
    assert_eq!(
        slots,
        [
            ("a", "\"x\"", Some("x")),
            ("b", "null", None),
            ("c", "null", None),
            ("c.d", "\"\"", None),
            ("list", "[\"A\", null]", Some("a, b")),
        ]
    );
    assert_eq!(found.slot_asked.as_deref(), Some("c.d"));
    assert_eq!(found.response, "lex_elicit_slot/A/c.d");
}

#[test]
fn settings_name_users_and_hand_overs() {
    let lex = LexSettings {
        user_attribute: Some("username".into()),
        handover_attribute: Some("agent=yes".into()),
        channel: Some("web".into()),
        ..LexSettings::default()
    };
    let decoder = LexDecoder::new(&Settings { lex, ..Settings::default() });
    let found = |attributes: Value| {
        let fields = json!({"inputTranscript": "hi", "sessionState": {"sessionAttributes": attributes}});
        decode_with(&decoder, &object(fields).to_string()).unwrap().unwrap()
    };
    let event = found(json!({"username": "mira", "agent": "yes", "x-amz-lex:q": "1"}));
    assert_eq!(event.user_key.as_deref(), Some("mira"));
    let Body::Exchange(exchange) = &event.body else { panic!() };
    let attributes = exchange.attributes.as_ref().unwrap();
    let named: Vec<_> = attributes.iter().map(|value| (&*value.name, value.hands_over)).collect();
    assert_eq!(named, [("session_attribute.agent", true), ("session_attribute.username", false)]);
    assert_eq!(exchange.message.as_ref().unwrap().input_channel.as_deref(), Some("web"));
    assert_eq!(found(json!({"username": "[secret]"})).user_key, None);
    let Body::Exchange(exchange) = found(json!({"agent": "no"})).body else { panic!() };
    assert!(!exchange.attributes.unwrap()[0].hands_over);
}

#[test]
fn what_is_no_log_object_is_refused_by_name() {
    for (payload, reason) in [
        (r#"{"sessionState": "#, Reason::NotJson),
        ("START RequestId: 1", Reason::NotJson),
        ("[]", Reason::NotLex),
        (r#"{"sessionId": "s", "text": "hi"}"#, Reason::NotLex),
        (r#"{"bot": {}, "timestamp": "2024-03-04T13:49:26Z"}"#, Reason::NoSessionId),
        (r#"{"bot": {}, "sessionId": "", "timestamp": "2024-03-04T13:49:26Z"}"#, Reason::NoSessionId),
        (r#"{"bot": {}, "sessionId": "s", "timestamp": "soon"}"#, Reason::NoUsableTimestamp),
        (
            r#"{"invocationSource": "DialogCodeHook", "sessionState": {}, "messageVersion": "1.0"}"#,
            Reason::LambdaEvent,
        ),
        (r#"{"messageVersion": "1.0", "botName": "b", "botAlias": "a", "userId": "u"}"#, Reason::LexV1),
    ] {
        assert_eq!(refusal(payload), reason, "{payload}");
    }
    for skipped in ["", "  \n", "aws-logs-write-test", "Permission Check Successful"] {
        assert_eq!(decode_with(&decoder(), skipped), Ok(None), "{skipped}");
    }
}

#[test]
fn content_identifies_a_record_not_its_spelling() {
    let one = r#"{"sessionId":"s","bot":{"id":"B"},"timestamp":"2024-03-04T13:49:26.014Z","x":[1,"é"]}"#;
    let same = r#"{ "x": [1, "\u00e9"], "timestamp": "2024-03-04T13:49:26.014Z", "bot": {"id": "A", "id": "B"},
        "sessionId": "s" }"#;
    let id = |payload: &str| decode_with(&decoder(), payload).unwrap().unwrap().id;
    assert_eq!(id(one), id(same));
    assert_ne!(id(one), id(&one.replace("[1,", "[1.0,")), "numbers count as they are written");
    assert_ne!(id(one), id(&one.replace("014Z", "015Z")));
}

// --- envelopes ---

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { digit as char } else { '=' });
        }
    }
    out
}

fn message(records: &[String]) -> Value {
    let events: Vec<Value> = (0..)
        .zip(records)
        .map(|(id, record)| json!({"id": format!("{id}"), "timestamp": 1_709_560_166_000_u64 + id, "message": record}))
        .collect();
    json!({"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "g", "logStream": "s",
        "subscriptionFilters": ["f"], "logEvents": events})
}

fn csv(cell: &str) -> String {
    format!("\"{}\"", cell.replace('"', "\"\""))
}

/// Takes the records out of `file`, in pieces of all sizes.
fn unwrapped(file: &[u8]) -> Vec<Unwrapped> {
    let decoder = decoder();
    let unwrapper = decoder.unwrapper().unwrap();
    let mut whole = Vec::new();
    unwrapper.unwrap(file, &mut whole);
    for step in [1, 7, 64, 4096] {
        let (mut pieces, mut out, mut at, mut end) = (unwrapper.begin(), Vec::new(), 0, 0);
        loop {
            let all = end == file.len();
            match pieces.next(&file[at..end], all, &mut out) {
                Some(taken) if taken > 0 => at += taken,
                _ if all => break,
                _ => {}
            }
            if at == end && all {
                break;
            }
            end = (end + step).min(file.len());
        }
        assert!(out == whole, "{} records, {step} bytes at a time {}", whole.len(), out.len());
    }
    whole
}

fn bodies(file: &[u8]) -> Vec<String> {
    unwrapped(file)
        .into_iter()
        .filter(|record| record.outcome == UnwrappedOutcome::Body)
        .map(|record| String::from_utf8(record.payload).unwrap())
        .collect()
}

fn reasons(file: &[u8]) -> Vec<Reason> {
    unwrapped(file)
        .into_iter()
        .filter_map(|record| match record.outcome {
            UnwrappedOutcome::Refused(refused) => Some(refused.reason),
            _ => None,
        })
        .collect()
}

#[test]
fn every_envelope_gives_the_same_records() {
    let record = |text: &str| object(json!({"inputTranscript": text, "sessionState": {}})).to_string();
    let records = [record("one, \"two\""), record("zwei\nzeilen {"), record("é")];
    let [first, second, third] = &records;
    let pretty = |record: &String| {
        serde_json::to_string_pretty(&serde_json::from_str::<Value>(record).unwrap()).unwrap()
    };
    let data = message(&records);
    let packed = base64(&gzip(data.to_string().as_bytes()));
    let time = "2024-03-04T13:49:26.000Z";
    let row = |record: &String| json!([{"field": "@timestamp", "value": "2024-03-04 13:49:26.000"}, {"field": "@message", "value": record}]);
    let events = |more: &str| -> Vec<Value> {
        records.iter().map(|record| json!({"timestamp": 1, "message": record, more: "x"})).collect()
    };
    let value: Value = serde_json::from_str(third).unwrap();
    let mut members: Vec<Vec<u8>> = records
        .iter()
        .map(|one| message(std::slice::from_ref(one)))
        .map(|m| gzip(m.to_string().as_bytes()))
        .collect();
    let concatenated = members.concat();
    members.push(gzip(&concatenated));
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("E1 lines", format!("{first}\n{second}\r\n{third}").into_bytes()),
        ("E1 list", format!("[{}]", records.join(", ")).into_bytes()),
        ("E1 one after the other", format!("{first}{second} {third}\n").into_bytes()),
        ("E1 over several lines", records.iter().map(&pretty).collect::<Vec<_>>().join("\n").into_bytes()),
        ("E2", json!({"awslogs": {"data": packed}}).to_string().into_bytes()),
        ("E3", data.to_string().into_bytes()),
        ("E5", json!({"Records": [{"kinesis": {"data": packed, "partitionKey": "p"}}]}).to_string().into_bytes()),
        ("E6", concatenated.clone()),
        ("E6, packed again", gzip(&concatenated)),
        ("E7", records.iter().map(|record| format!("{time} {record}\n")).collect::<String>().into_bytes()),
        ("E7 over several lines", records.iter().map(|r| format!("{time} {}\n", pretty(r))).collect::<String>().into_bytes()),
        ("E8", json!({"events": events("eventId"), "searchedLogStreams": []}).to_string().into_bytes()),
        ("E8 events alone", json!(events("ingestionTime")).to_string().into_bytes()),
        ("E9", json!({"events": events("ingestionTime"), "nextForwardToken": "f"}).to_string().into_bytes()),
        ("E10", json!({"results": records.iter().map(row).collect::<Vec<_>>(), "status": "Complete"}).to_string().into_bytes()),
        ("E10b", json!([{"@timestamp": "2024-03-04 13:49:26.000", "@message": first}, {"@message": second, "@ptr": "p"}, {"@message": value}]).to_string().into_bytes()),
        ("E11", format!("\u{feff}@log,@timestamp,@message\r\n{}", records.iter().map(|r| format!("g,2024-03-04 13:49:26.000,{}\r\n", csv(r))).collect::<String>()).into_bytes()),
        ("E11 without a time", format!("message\n{}", records.iter().map(|r| format!("{}\n", csv(r))).collect::<String>()).into_bytes()),
        ("E12", records.iter().map(|record| format!("{time} stream/a[b] {record}\n")).collect::<String>().into_bytes()),
        ("E12 short", records.iter().map(|record| format!("2024-03-04T13:49:26 {record}\n")).collect::<String>().into_bytes()),
        ("E12 json", records.iter().map(|record| format!("{time} stream\n{}\n", pretty(record))).collect::<String>().into_bytes()),
        ("E12 awslogs", records.iter().map(|record| format!("group stream {record}\n")).collect::<String>().into_bytes()),
        ("E12 awslogs with times", records.iter().map(|record| format!("group stream {time} {record}\n")).collect::<String>().into_bytes()),
    ];
    let parse = |record: &String| serde_json::from_str::<Value>(record).unwrap();
    let expected: Vec<Value> = records.iter().map(parse).collect();
    for (name, file) in files {
        let found: Vec<Value> = bodies(&file).iter().map(parse).collect();
        assert_eq!(found, expected, "{name}");
        let claims = decoder().unwrapper().unwrap().claims(&file);
        assert!(claims || name == "E11 without a time", "{name} is not recognised");
    }
}

#[test]
fn the_time_of_an_envelope_serves_a_record_without_one() {
    let record = r#"{"sessionId": "s", "bot": {}}"#;
    for file in [
        message(&[record.into()]).to_string(),
        format!("2024-03-04T13:49:26.000Z {record}"),
        format!("@timestamp,@message\n2024-03-04 13:49:26.000,{}", csv(record)),
        format!("group stream 2024-03-04T13:49:26 {record}"),
    ] {
        let found = unwrapped(file.as_bytes());
        assert_eq!(found[0].time, Some(1_709_560_166.0), "{file}");
        let record = Record { payload: record.as_bytes(), time: found[0].time, ..Record::default() };
        let mut events = Vec::new();
        decoder().decode(&record, &mut events).unwrap();
        assert_eq!(events[0].time.seconds(), 1_709_560_166.0);
    }
}

#[test]
fn control_messages_and_blank_lines_are_skipped() {
    let control = r#"{"messageType":"CONTROL_MESSAGE","logEvents":[{"message":"CWL CONTROL MESSAGE"}]}"#;
    let packed = json!({"awslogs": {"data": base64(&gzip(control.as_bytes()))}}).to_string();
    let file = format!("{control}\n\n{packed}\nPermission Check Successful\n");
    let outcomes: Vec<_> = unwrapped(file.as_bytes()).into_iter().map(|record| record.outcome).collect();
    assert_eq!(outcomes, vec![UnwrappedOutcome::Skipped; 4]);
}

#[test]
fn damage_is_one_letter_and_the_next_record_goes_on() {
    let good = object(json!({"sessionState": {}})).to_string();
    let cut = &good[..good.len() - 5];
    let lines = format!("{good}\n{cut}\n{good}\nnothing of the kind\n{good}\n{cut}");
    assert_eq!(bodies(lines.as_bytes()).len(), 3);
    assert_eq!(reasons(lines.as_bytes()), [Reason::NotJson; 3]);

    let data = gzip(message(&[good.clone(), good.clone()]).to_string().as_bytes());
    let two = [data.as_slice(), &data[..data.len() / 2]].concat();
    assert_eq!((bodies(&two).len(), reasons(&two)), (2, vec![Reason::TruncatedGzip]));
    let broken = json!({"awslogs": {"data": base64(&two)}}).to_string();
    assert_eq!(
        (bodies(broken.as_bytes()).len(), reasons(broken.as_bytes())),
        (2, vec![Reason::TruncatedGzip])
    );
    let secret = json!({"awslogs": {"data": "eyJh.not base64*"}}).to_string();
    let found = unwrapped(secret.as_bytes());
    assert_eq!(reasons(secret.as_bytes()), [Reason::NotBase64]);
    assert_eq!(found[0].payload, b"16 bytes", "only the length is kept");
}

#[test]
fn a_table_without_messages_is_one_letter() {
    let table = "@timestamp,sessionId,sessionState.intent.name\n2024-03-04,s1,A\n2024-03-04,s2,B\n";
    let found = unwrapped(table.as_bytes());
    let [only] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(only.payload, table.as_bytes());
    let UnwrappedOutcome::Refused(refused) = &only.outcome else { panic!("{only:?}") };
    assert_eq!(refused.reason, Reason::NoMessage);
    assert!(refused.detail.contains("fields @timestamp, @message"), "{refused}");
    assert_eq!(reasons(br#"{"results": [[{"field": "sessionId", "value": "s"}]]}"#), [Reason::NoMessage]);
    assert_eq!(reasons(br#"[{"@timestamp": "2024-03-04 10:00:00"}]"#), [Reason::NoMessage]);
    assert_eq!(reasons(b"a,b\n1,2\n"), [Reason::NotJson; 2], "another table is no log at all");
}

#[test]
fn other_formats_are_not_claimed() {
    let decoder = decoder();
    let unwrapper = decoder.unwrapper().unwrap();
    for other in [
        r#"{"event": "user", "text": "sessionState", "metadata": {"bot": {}}}"#,
        r#"{"timestamp": 1.5, "event": "slot", "bot": {}, "sessionId": "s"}"#,
        r#"{"sender_id": "u1", "events": [{"event": "user", "message": "x"}]}"#,
        r#"{"events": [{"event": "bot", "timestamp": 1, "message": "x"}]}"#,
        "CreateTime:5\tu1\t{\"event\": \"user\", \"sender_id\": \"u1\"}",
        "id,sender_id,timestamp,data\n1,u1,1.5,{}",
        "2024-03-04T10:00:00 INFO something happened",
        r#"{"error": {"message": "no"}, "timestamp": 5}"#,
        "",
    ] {
        assert!(!unwrapper.claims(other.as_bytes()), "{other}");
    }
}

#[test]
fn compressed_bytes_are_claimed_for_what_is_in_them() {
    let decoder = decoder();
    let claims = |bytes: &[u8]| decoder.unwrapper().unwrap().claims(bytes);
    let log = object(json!({"inputTranscript": "hello", "sessionState": {}})).to_string();
    let packed = gzip(log.as_bytes());
    assert!(claims(&packed) && claims(&gzip(&packed)));
    assert!(claims(&packed[..packed.len() - 12]), "cut off");
    let rasa = gzip(br#"{"event": "user", "sender_id": "u1", "timestamp": 1.5}"#);
    for other in [&b"\x1f\x8b\x08\x00"[..], b"\x1f\x8b", &rasa] {
        assert!(!claims(other), "{other:?}");
    }
}

#[test]
fn secrets_are_blanked_before_anything_else() {
    let decoder = decoder();
    let filter = decoder.secret_filter().unwrap();
    let fields = json!({"sessionState": {"sessionAttributes": {"idtokenjwt": "x", "other": "eyJa.b.c"}}});
    let payload = object(fields).to_string();
    let blank = filter.without_secrets(payload.as_bytes()).unwrap();
    let event = decode_with(&decoder, std::str::from_utf8(&blank).unwrap()).unwrap().unwrap();
    let Body::Exchange(exchange) = event.body else { panic!() };
    let values = exchange.attributes.unwrap();
    assert!(values.iter().all(|value| value.value == "\"[secret]\""), "{values:?}");
    let fresh = payload.replace("eyJa.b.c", "eyJz.y.x");
    assert_eq!(filter.without_secrets(fresh.as_bytes()), Some(blank), "a fresh token is no change");
}
