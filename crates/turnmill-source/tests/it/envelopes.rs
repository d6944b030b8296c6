//! Hostile and unusual envelopes, line by line.

use turnmill_source::{Container, FileOptions, RecordBatch, Source, SourceError};

use crate::{Owned, limits, read_all, records, stream, with_container};

#[test]
fn each_line_is_one_record_with_its_outcome() {
    use Container::{Kafka, Kcat, SqlBroker, Tracker, TrackerStore};
    let whole = None;
    for (container, line, outcome, payload) in [
        (Kafka, r#"{"value": "{}"}"#, "body", Some("{}")),
        (Kafka, r#"{"value": null, "key": "u"}"#, "skipped", Some("null")),
        (Kafka, r#"{"value": " \n "}"#, "skipped", Some(" \n ")),
        (Kafka, r#"{"value": {"a": NaN}, "ts_ms": NaN}"#, "body", Some(r#"{"a": NaN}"#)),
        (Kafka, r#"{"value": "1", "value": "2"}"#, "body", Some("2")),
        (Kafka, r#"{"va\u006cue": "\ud83dx\ud83d\uded2"}"#, "body", Some("\u{fffd}x🛒")),
        (Kafka, r#"{"topic": "t"}"#, "no_event_type", whole),
        (Kafka, r#"{"value": "a\qb"}"#, "not_json", whole),
        (Kafka, r#"{"value": "\u0041", "key": "\u00"}"#, "not_json", whole),
        (Kafka, r#"{"value": "\u0041"} x"#, "not_json", whole),
        (Kafka, r#"{"value": "\u0041""#, "not_json", whole),
        (Kafka, "[1]", "not_an_object", whole),
        (Kafka, "null", "not_an_object", whole),
        (Kafka, " \t\r", "skipped", Some(" \t")),
        (Kcat, r#"{"payload": "{}", "headers": ["a"]}"#, "body", Some("{}")),
        (Kcat, r#"{"value": "{}"}"#, "no_event_type", whole),
        (SqlBroker, r#"{"data": "", "sender_id": 5}"#, "skipped", Some("")),
        (SqlBroker, r#"{"data": 5, "sender_id": "u"}"#, "body", Some("5")),
        (
            TrackerStore,
            r#"{"data": {"event": "bot"}, "timestamp": Infinity}"#,
            "body",
            Some(r#"{"event": "bot"}"#),
        ),
        (Tracker, r#"{"events": null, "sender_id": "u"}"#, "skipped", whole),
        (Tracker, r#"{"events": [], "sender_id": "u"}"#, "skipped", whole),
        (Tracker, r#"{"events": 5, "sender_id": "u"}"#, "not_json", whole),
        (Tracker, r#"{"event": "bot", "sender_id": "u"}"#, "body", whole),
        (Tracker, r#"{"events": [null]}"#, "skipped", Some("null")),
        (Tracker, r#"{"events": ["x"]}"#, "body", Some("\"x\"")),
        (Tracker, r#"{"events": [{}"#, "not_json", whole),
        (Tracker, "null", "skipped", whole),
        (Tracker, "NaN", "not_an_object", whole),
        (Tracker, "\"x\"", "not_an_object", whole),
        (Tracker, "}{", "not_json", whole),
    ] {
        let found = records(line, with_container(container));
        assert_eq!(found.len(), 1, "{line}");
        assert_eq!((found[0].outcome, found[0].text()), (outcome, payload.unwrap_or(line)), "{line}");
    }
    let deep = format!(r#"{{"value": {}1{}}}"#, "[".repeat(2000), "]".repeat(2000));
    assert_eq!(records(deep.as_str(), with_container(Kafka))[0].outcome, "too_deep");
    let wrong = b"{\"value\": \"\xff\"}\n{\"value\": \"2\"}".to_vec();
    let found = records(wrong.clone(), with_container(Kafka));
    assert_eq!((found[0].outcome, &*found[0].payload), ("not_utf8", &wrong[..wrong.len() - 15]));
    assert_eq!((found[1].outcome, found[1].offset), ("body", 15));
}

#[test]
fn envelope_fields_are_found_in_any_shape() {
    let line = concat!(
        r#"{"headers": [["RASA_ENVIRONMENT", "old"], ["x", null], ["RASA_ENVIRONMENT", "n\u0065w"]], "#,
        r#""value": "{\"a\": \"\\u00e9\"}", "topic": "a\/b", "partition": 3, "offset": 7, "ts_type": 1, "ts_ms": 1500, "key": "k\n"}"#
    );
    let kafka = records(line, FileOptions::default()).remove(0);
    assert_eq!(kafka.environment.as_deref(), Some("new"));
    assert_eq!(kafka.text(), r#"{"a": "\u00e9"}"#);
    assert_eq!(kafka.origin, Some(("a/b".into(), 3, 7)));
    assert_eq!((kafka.time, kafka.key.as_deref()), (Some(1.5), Some(&b"k\n"[..])));
    assert_eq!(kafka.headers[1], ("x".into(), None));

    let time = |line: &str, container| records(line, with_container(container))[0].time;
    assert_eq!(time(r#"{"value": "{}", "ts_type": 0, "ts_ms": 1500}"#, Container::Kafka), None);
    assert_eq!(time(r#"{"payload": "{}", "tstype": "unknown", "ts": -1}"#, Container::Kcat), None);
    assert_eq!(time(r#"{"payload": "{}", "tstype": "logappend", "ts": 2000}"#, Container::Kcat), Some(2.0));
    assert_eq!(time(r#"{"data": "{}", "timestamp": 1.25}"#, Container::TrackerStore), Some(1.25));

    let object = records(
        r#"{"payload": "{}", "headers": {"RASA_ENVIRONMENT": "dev"}}"#,
        with_container(Container::Kcat),
    );
    assert_eq!(object[0].environment.as_deref(), Some("dev"));
    let lone = records(r#"{"events": [{}], "sender_id": "\ud83d"}"#, with_container(Container::Tracker));
    assert_eq!(lone[0].sender.as_deref(), Some("\u{fffd}"));
}

#[test]
fn a_broken_tracker_costs_only_itself() {
    let good = |name: &str| format!(r#"{{"sender_id": "{name}", "events": [{{"n": 1}}, {{"n": 2}}]}}"#);
    for broken in [
        r#"{"sender_id": "b", "events": [{"n": 1}"#,
        r#"{"sender_id": "b", "events": [{"n": "cut"#,
        r#"{"sender_id": "b"; "events": []}"#,
        "{\n  \"sender_id\": \"b\",\n  \"events\": [}\n}",
        "garbage",
    ] {
        let text = format!("{}\n{broken}\n{}\n{}\n", good("a"), good("c"), good("d"));
        let found = records(text, with_container(Container::Tracker));
        let by =
            |sender: &str| found.iter().filter(|record| record.sender.as_deref() == Some(sender)).count();
        assert_eq!((by("a"), by("c"), by("d")), (2, 2, 2), "{broken}");
        let refused: Vec<_> =
            found.iter().filter(|record| record.outcome != "body").map(Owned::text).collect();
        assert_eq!(refused, [broken]);
    }
}

#[test]
fn marks_carriage_returns_and_a_last_line_without_break() {
    let found = records("\u{feff}{\"a\": 1}\r\n\n  \n{\"b\": 2}", FileOptions::default());
    let found: Vec<_> = found.iter().map(|record| (record.text(), record.outcome, record.offset)).collect();
    assert_eq!(
        found,
        [("{\"a\": 1}", "body", 0), ("", "skipped", 13), ("  ", "skipped", 14), ("{\"b\": 2}", "body", 17)]
    );
    assert_eq!(records("", FileOptions::default()), []);
    assert_eq!(records("\u{feff}", FileOptions::default())[0].outcome, "skipped");
}

#[test]
fn a_record_over_the_limit_is_an_error_after_the_records_before_it() {
    for container in [Container::Rasa, Container::Tracker] {
        let text = format!("{{\"n\": 1}}\n{{\"n\": \"{}\"}}\n", "x".repeat(2 << 20));
        let options = FileOptions { max_record_bytes: 1 << 20, ..with_container(container) };
        let mut source = stream(text, options).unwrap();
        let mut batch = RecordBatch::new();
        source.next_batch(&limits(10), &mut batch).unwrap();
        assert_eq!(batch.len(), 1);
        let error = read_all(&mut source, &limits(10)).unwrap_err();
        let SourceError::RecordTooLarge { offset, limit, .. } = &error else { panic!("{error}") };
        assert!((8..=9).contains(offset) && *limit == 1 << 20);
        assert!(error.to_string().contains("max_record_bytes"));
    }
}
