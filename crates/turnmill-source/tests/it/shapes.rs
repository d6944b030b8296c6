//! One short conversation in every shape in which people have it, and what is refused.

use std::io::Write;

use serde_json::{Value, json};
use turnmill_source::{
    BatchLimits, Container, FileOptions, FileSource, Foreign, Layout, RecordBatch, Source, SourceError,
};

use crate::{Owned, limits, read_all, records, stream, with_container};

const SENDER: &str = "ferry-4";

/// Returns events without a sender, as in trackers. Their texts need escapes.
fn events() -> Vec<Value> {
    let at = |micros: u32| 1_679_306_228.481_046_7 + f64::from(micros) / 1e6;
    vec![
        json!({"event": "action", "timestamp": at(0), "name": "action_session_start", "confidence": 1.0, "policy": null}),
        json!({"event": "user", "timestamp": at(50), "text": "say \"Åland\",\n\tor \\ 🛳", "parse_data": {"entities": [{"start": 4}]}}),
        json!({"event": "slot", "timestamp": at(90), "name": "ports", "value": ["Åland; ", {"n": 5}, true]}),
    ]
}

/// Returns JSON as Python writes it.
fn ascii(value: &Value) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text
}

fn tracker() -> Value {
    json!({"sender_id": SENDER, "slots": {}, "events": events()})
}

fn bodies() -> Vec<Value> {
    let mut bodies = events();
    bodies.iter_mut().for_each(|body| body["sender_id"] = SENDER.into());
    bodies
}

/// Returns rows of a tracker store.
fn rows() -> Vec<Value> {
    let row = |(index, event): (usize, &Value)| {
        json!({"id": index + 7, "sender_id": SENDER, "type_name": event["event"], "timestamp": event["timestamp"],
               "intent_name": null, "data": ascii(event)})
    };
    events().iter().enumerate().map(row).collect()
}

fn lines<'v>(values: impl IntoIterator<Item = &'v Value>) -> String {
    values.into_iter().map(|value| format!("{value}\n")).collect()
}

/// Checks that the records are the events of the conversation.
fn assert_conversation(name: &str, found: &[Owned]) {
    let kept: Vec<&Owned> = found.iter().filter(|record| record.outcome == "body").collect();
    let seen: Vec<Value> =
        kept.iter().map(|record| serde_json::from_slice(&record.payload).unwrap()).collect();
    let with_sender = seen.first().is_some_and(|body| body.get("sender_id").is_some());
    assert_eq!(seen, if with_sender { bodies() } else { events() }, "{name}");
    if !with_sender {
        assert!(kept.iter().all(|record| record.sender.as_deref() == Some(SENDER)), "{name}");
    }
    assert!(found.iter().all(|record| !record.outcome.starts_with("no")), "{name}");
}

/// Reads `content` from a file at once, one record at a time, and reopened for every record.
fn read(content: &[u8]) -> Vec<Owned> {
    let whole = records(content, FileOptions::default());
    assert_eq!(read_all(&mut stream(content, FileOptions::default()).unwrap(), &limits(1)).unwrap(), whole);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    let (mut found, mut at, mut batch) = (Vec::new(), None, RecordBatch::new());
    loop {
        let mut source = FileSource::open(file.path(), FileOptions::default(), at.as_ref()).unwrap();
        source.next_batch(&BatchLimits { records: 1, bytes: usize::MAX }, &mut batch).unwrap();
        found.extend(batch.iter().map(|record| Owned::of(&record)));
        let to = batch.to().cloned();
        if batch.is_empty() || to == at {
            break;
        }
        at = to;
    }
    assert_eq!(found, whole, "resuming");
    whole
}

/// Returns the shapes of files with JSON, with their names.
fn json_shapes() -> Vec<(&'static str, String)> {
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
    let wrapped = json!({"next_action": "a", "sender_id": SENDER, "tracker": tracker(),
                         "domain": {"slots": {"event": {"type": "text"}}, "intents": ["greet"]}});
    let redis = json!({"name": SENDER, "events": events(), "latest_message": {}});
    let kafka: Vec<Value> = bodies()
        .iter()
        .enumerate()
        .map(|(offset, body)| {
            json!({"topic": "t", "partition": 0, "offset": offset, "key": SENDER, "timestamp": 1_679_306_228_481_u64,
                   "headers": [{"key": "RASA_ENVIRONMENT", "value": "production"}], "value": ascii(body)})
        })
        .collect();
    let text_columns: Vec<Value> = rows()
        .into_iter()
        .map(|mut row| {
            row["id"] = row["id"].to_string().into();
            row["timestamp"] = row["timestamp"].to_string().into();
            row
        })
        .collect();
    vec![
        ("bodies", lines(&bodies())),
        ("array of bodies", Value::from(bodies()).to_string()),
        ("pretty array of bodies", pretty(&bodies().into())),
        ("pretty bodies in a row", bodies().iter().map(pretty).collect()),
        ("bodies without line breaks", bodies().iter().map(Value::to_string).collect()),
        ("tracker", tracker().to_string()),
        ("pretty list of trackers", pretty(&json!([tracker()]))),
        ("wrapped", wrapped.to_string()),
        ("pretty wrapped", pretty(&json!([{"_id": SENDER, "tracker": tracker()}]))),
        ("trackers by their senders", json!({SENDER: tracker()}).to_string()),
        ("redis", format!("{redis}\n")),
        ("redis in quotes", format!("{}\n", Value::from(redis.to_string()))),
        (
            "events as text",
            json!({"sender_id": SENDER, "events": Value::from(events()).to_string()}).to_string(),
        ),
        ("rows", lines(&rows())),
        ("array of rows", pretty(&rows().into())),
        ("rows under their table", pretty(&json!({"events": rows()}))),
        ("rows under a query", json!({"select * from events": rows()}).to_string()),
        (
            "rows of phpMyAdmin",
            json!([{"type": "header", "version": "5"}, {"type": "database", "name": "rasa"},
                   {"type": "table", "name": "events", "data": text_columns}])
            .to_string(),
        ),
        (
            "documents of a search index",
            lines(&bodies().iter().map(|body| json!({"_source": body})).collect::<Vec<_>>()),
        ),
        ("records", lines(&kafka)),
        ("pretty records", kafka.iter().map(pretty).collect()),
        ("doubled backslashes", lines(&rows()).replace('\\', "\\\\")),
    ]
}

#[test]
fn json_is_read_in_every_shape() {
    for (name, text) in json_shapes() {
        for mark in ["", "\u{feff}"] {
            assert_conversation(name, &read(format!("{mark}{text}").as_bytes()));
        }
        assert_conversation(name, &records(text.replace('\n', "\r\n"), FileOptions::default()));
        for big in [false, true] {
            let unit = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
            let utf16: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(unit).collect();
            assert_conversation(name, &read(&utf16));
        }
    }
}

#[test]
fn rows_hand_their_numbers_on() {
    let found = records(lines(&rows()), FileOptions::default());
    let numbers: Vec<_> = found.iter().map(|record| record.row).collect();
    assert_eq!(numbers, [Some(7), Some(8), Some(9)]);
    assert_eq!(found[0].time, events()[0]["timestamp"].as_f64());
}

/// Returns MongoDB's canonical Extended JSON.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => json!({"$numberDouble": number.to_string()}),
        Value::Number(number) => json!({"$numberInt": number.to_string()}),
        Value::Array(values) => values.iter().map(canonical).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(key, value)| (key.clone(), canonical(value))).collect())
        }
        other => other.clone(),
    }
}

/// Returns DynamoDB's typed JSON.
fn typed(value: &Value) -> Value {
    match value {
        Value::Null => json!({"NULL": true}),
        Value::Bool(yes) => json!({"BOOL": yes}),
        Value::Number(number) => json!({"N": number.to_string()}),
        Value::String(text) => json!({"S": text}),
        Value::Array(values) => json!({"L": values.iter().map(typed).collect::<Vec<_>>()}),
        Value::Object(_) => json!({"M": attributes(value)}),
    }
}

fn attributes(value: &Value) -> Value {
    let members = value.as_object().unwrap();
    Value::Object(members.iter().map(|(key, value)| (key.clone(), typed(value))).collect())
}

#[test]
fn typed_json_is_read_with_its_numbers_as_they_are_spelled() {
    let document = canonical(&json!({"_id": {"$oid": "64"}, "sender_id": SENDER, "events": events()}));
    let item = attributes(&tracker());
    for (name, text) in [
        ("mongoexport", format!("{document}\n")),
        ("mongoexport --jsonArray --pretty", serde_json::to_string_pretty(&json!([document])).unwrap()),
        ("bodies", lines(&bodies().iter().map(canonical).collect::<Vec<_>>())),
        ("export to S3", format!("{}\n", json!({"Item": item}))),
        ("stream", json!({"Keys": {}, "NewImage": item}).to_string()),
        ("scan", serde_json::to_string_pretty(&json!({"Items": [item], "Count": 1})).unwrap()),
        ("items", format!("{item}\n")),
    ] {
        assert_conversation(name, &read(text.as_bytes()));
    }
    let text = r#"{"sender_id": "u", "events": [{"event": "x", "timestamp": {"$numberDouble": "1679306228.48104670"}, "v": {"$numberDouble": "-Infinity"}}]}"#;
    let found = records(text, FileOptions::default());
    assert_eq!(found[0].text(), r#"{"event":"x","timestamp":1679306228.48104670,"v":-Infinity}"#);
}

#[test]
fn a_body_inside_of_a_text_keeps_every_byte() {
    let body = r#"{"event": "slot", "value": {"$numberInt": "1"}}"#;
    let line = json!({"topic": "t", "value": body}).to_string();
    assert_eq!(records(line, FileOptions::default())[0].text(), body);
}

/// Returns a field as COPY and `mysql --batch` write it.
fn copied(value: &Value, null: &str) -> String {
    let text = match value {
        Value::Null => return null.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n")
}

const COLUMNS: [&str; 6] = ["id", "sender_id", "type_name", "timestamp", "intent_name", "data"];

/// Returns the table with `between` as the delimiter.
fn table(columns: &[&str], between: &str, line_break: &str, field: impl Fn(&Value) -> String) -> String {
    let row = |row: &Value| columns.iter().map(|name| field(&row[*name])).collect::<Vec<_>>().join(between);
    let rows: Vec<String> = std::iter::once(columns.join(between)).chain(rows().iter().map(row)).collect();
    rows.join(line_break) + line_break
}

#[test]
fn tables_are_read_whatever_stands_between_their_columns() {
    let quoted = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => format!("\"{}\"", text.replace('"', "\"\"")),
        other => other.to_string(),
    };
    let order = ["data", "extra", "timestamp", "sender_id"];
    for (name, text) in [
        ("CSV", table(&COLUMNS, ",", "\n", quoted)),
        ("CSV of Windows", format!("\u{feff}{}", table(&COLUMNS, ";", "\r\n", quoted))),
        ("columns in another order", table(&order, ",", "\n", quoted)),
        (
            "names in capitals",
            table(&COLUMNS, ",", "\n", quoted)
                .replace("sender_id,", "SENDER_ID,")
                .replace("data\n", "DATA\n"),
        ),
        (
            "quoted names with their table",
            table(&COLUMNS, "|", "\n", quoted).replacen("sender_id|", "\"events\".\"sender_id\"|", 1),
        ),
        ("CSV with tabs", table(&COLUMNS, "\t", "\n", quoted)),
        ("mysql --batch", table(&COLUMNS, "\t", "\n", |value| copied(value, "NULL"))),
        (
            "tabs and nothing else",
            table(&COLUMNS, "\t", "\n", |value| {
                value.as_str().map_or_else(|| value.to_string(), str::to_owned)
            }),
        ),
    ] {
        let found = read(text.as_bytes());
        assert_conversation(name, &found);
        assert_eq!(found[1].time, events()[1]["timestamp"].as_f64(), "{name}");
        let row = (!text.contains("extra")).then_some(8);
        assert_eq!(found[1].row, row, "{name}");
    }
    // Without a head, as `psql -At` and COPY write it.
    let order = ["id", "sender_id", "type_name", "timestamp", "intent_name", "intent_name", "data"];
    let with_head = table(&order, "\t", "\n", |value| copied(value, "\\N"));
    assert_conversation("no head", &read(with_head.split_once('\n').unwrap().1.as_bytes()));
}

#[test]
fn odd_rows_are_records_as_well() {
    let text =
        "id,sender_id,data\n1,u,\"{\"\"a\"\":\n1}\"\n2,u,\n3,u,\"  \"\n\n4\n5,\"u \"\"x\"\"\",{}\r\n6,u,\"{";
    let found = records(text, FileOptions::default());
    let seen: Vec<_> = found.iter().map(|record| (record.text(), record.outcome, record.row)).collect();
    assert_eq!(
        seen,
        [
            ("{\"a\":\n1}", "body", Some(1)),
            ("", "skipped", Some(2)),
            ("  ", "skipped", Some(3)),
            ("", "skipped", None),
            ("4", "no_event_type", None),
            ("{}", "body", Some(5)),
            ("{", "body", Some(6)),
        ]
    );
    assert_eq!(found[5].sender.as_deref(), Some("u \"x\""));
}

fn dump() -> String {
    let rows: String =
        rows().iter().map(|row| COLUMNS.map(|name| copied(&row[name], "\\N")).join("\t") + "\n").collect();
    format!(
        "--\n-- PostgreSQL database dump\n--\n\nSET statement_timeout = 0;\nCREATE TABLE public.events (id integer);\n\
         COPY public.domain (data, sender_id) FROM stdin;\n{{}}\tnobody\n\\.\n\n\
         COPY public.events (id, sender_id, type_name, \"timestamp\", intent_name, data) FROM stdin;\n{rows}\\.\n\n\
         SELECT pg_catalog.setval('public.events_id_seq', 3, true);\n"
    )
}

#[test]
fn the_copy_block_of_a_dump_is_read() {
    for text in [
        dump(),
        dump().replace('\n', "\r\n"),
        dump().replace("public.events (id, s", "\"public\".\"events\" (id, s"),
    ] {
        let found = read(text.as_bytes());
        assert_conversation("dump", &found);
        assert_eq!(found.len(), 3);
    }
    // The block of a large dump is far after its start, and a position in it can be resumed.
    let other = format!("COPY public.domain (data) FROM stdin;\n{}\\.\n", "x\n".repeat(2 << 20));
    let text = dump().replace("COPY public.events", &format!("{other}\nCOPY public.events"));
    assert_conversation("large dump", &read(text.as_bytes()));
}

#[test]
fn the_console_consumer_is_read_with_what_it_was_asked_to_print() {
    let print =
        |front: &str| bodies().iter().map(|body| format!("{front}{}\n", ascii(body))).collect::<String>();
    let time = Some(1_679_306_228.481);
    for (front, time, key, environment) in [
        ("u1\t", None, Some("u1"), None),
        ("CreateTime:1679306228481\tnull\t", time, None, None),
        (
            "CreateTime:1679306228481\tPartition:2\tOffset:78\tRASA_ENVIRONMENT:production,x:y\tu1\t",
            time,
            Some("u1"),
            Some("production"),
        ),
        ("LogAppendTime:1679306228481\tRASA_ENVIRONMENT:staging\t", time, None, Some("staging")),
        ("NO_TIMESTAMP\tNO_HEADERS\tu1\t", None, Some("u1"), None),
        ("u1:", None, None, None),
        ("2023-03-20T10:00:00.123Z stdout F ", None, None, None),
    ] {
        let found = read((print(front) + "\tnull\nProcessed a total of 3 messages\n").as_bytes());
        assert_conversation(front, &found);
        assert_eq!((found[0].time, found[0].environment.as_deref()), (time, environment), "{front}");
        assert_eq!(found[0].key.as_deref(), key.map(str::as_bytes), "{front}");
        assert_eq!([found[3].outcome, found[4].outcome], ["skipped"; 2]);
    }
}

#[test]
fn rabbitmq_messages_have_their_environment() {
    let messages: Vec<Value> = bodies()
        .iter()
        .map(|body| {
            json!({"payload_bytes": 5, "exchange": "rasa-exchange", "routing_key": "", "payload": ascii(body), "payload_encoding": "string",
                   "properties": {"app_id": "production", "headers": {"rasa-export-process-id": "ab"}}})
        })
        .collect();
    for text in [lines(&messages), serde_json::to_string_pretty(&messages).unwrap()] {
        let found = read(text.as_bytes());
        assert_conversation("rabbitmq", &found);
        assert!(found.iter().all(|record| record.environment.as_deref() == Some("production")));
        assert_eq!(found[0].headers[0].0, "rasa-export-process-id");
    }
}

#[test]
fn headers_are_read_in_any_shape() {
    for headers in [
        r#"[{"key": "RASA_ENVIRONMENT", "value": "live"}]"#,
        r#"[{"name": "x", "value": null}, {"name": "RASA_ENVIRONMENT", "value": "live"}]"#,
        r#"[{"RASA_ENVIRONMENT": "live"}]"#,
        r#"{"RASA_ENVIRONMENT": "live"}"#,
        r#"[["RASA_ENVIRONMENT", "live"]]"#,
        r#"["RASA_ENVIRONMENT", "live"]"#,
    ] {
        let line = format!(r#"{{"topic": "t", "value": "{{}}", "headers": {headers}}}"#);
        let found = records(line, FileOptions::default());
        assert_eq!(found[0].environment.as_deref(), Some("live"), "{headers}");
    }
}

#[test]
fn senders_that_are_numbers_are_their_text() {
    for text in [
        r#"{"sender_id": 700100200, "events": [{"event": "x"}]}"#,
        r#"{"id": 1, "sender_id": 700100200, "type_name": "x", "data": "{}"}"#,
        "id,sender_id,data\n1,700100200,{}",
    ] {
        assert_eq!(records(text, FileOptions::default())[0].sender.as_deref(), Some("700100200"), "{text}");
    }
    let no_name = records(r#"{"sender_id": true, "events": [{"event": "x"}]}"#, FileOptions::default());
    assert_eq!(no_name[0].sender, None);
}

#[test]
fn a_broken_value_of_a_pretty_list_costs_only_itself() {
    let text = serde_json::to_string_pretty(&bodies()).unwrap();
    let broken =
        text.replacen("\"confidence\": 1.0", "\"confidence\": 1.0.", 1).replacen("null,", "null;", 1);
    assert_ne!(text, broken);
    let found = read(broken.as_bytes());
    let outcomes: Vec<_> = found.iter().map(|record| record.outcome).collect();
    assert_eq!(outcomes, ["not_json", "body", "body"]);
}

#[test]
fn a_huge_list_streams() {
    let body = ascii(&bodies()[1]);
    let text = format!("[{}]", vec![body.as_str(); 100_000].join(",\n"));
    let mut source = stream(text, FileOptions::default()).unwrap();
    let mut batch = RecordBatch::new();
    let (mut count, mut most) = (0, 0);
    while source.next_batch(&limits(1000), &mut batch).unwrap() == turnmill_source::Progress::More {
        count += batch.len();
        most = most.max(batch.capacity());
    }
    assert_eq!((count + batch.len(), source.layout()), (100_000, Some(Layout::Values)));
    assert!(most < 4 << 20, "{most} bytes");
}

#[test]
fn a_chosen_format_takes_any_layout() {
    let text = format!("[{}]", Value::from(rows()[0]["data"].as_str().unwrap()));
    let found = records(
        text.replace("[\"", "[{\"data\": \"").replace("\"]", "\"}]"),
        with_container(Container::SqlBroker),
    );
    assert_eq!(found[0].text(), rows()[0]["data"].as_str().unwrap());
}

#[test]
fn what_is_no_text_is_refused_when_reading_begins() {
    let tar = {
        let mut bytes = vec![b'x'; 600];
        bytes[257..262].copy_from_slice(b"ustar");
        bytes
    };
    for (content, what) in [
        (&b"PK\x03\x04\x14\0"[..], "zip archive"),
        (b"PK\x03\x04\x14\0\0\0[Content_Types].xml", "workbook"),
        (b"PGDMP\x01\x0e\0", "pg_restore"),
        (b"\x26\0\0\0\x07_id\0aaaaaaaaaaaa\x02sender_id\0\x02\0\0\0u\0\0", "bsondump"),
        (b"Obj\x01\x04\x14avro.codec", "Avro"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"BZh91AY&SY", "bunzip2"),
        (b"\xfd7zXZ\0\0", "unxz"),
        (b"REDIS0011\xfa", "Redis"),
        (b"\xff\xfe\0\0{\0\0\0", "UTF-32"),
        (&tar, "tar archive"),
    ] {
        for compressed in [false, true] {
            let mut bytes = content.to_vec();
            if compressed {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(content).unwrap();
                bytes = encoder.finish().unwrap();
            }
            let mut source = stream(bytes, FileOptions::default()).unwrap();
            let error = source.next_batch(&limits(1), &mut RecordBatch::new()).unwrap_err();
            assert!(matches!(error, SourceError::Foreign { .. }), "{error}");
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}

#[test]
fn words_of_a_tool_in_front_hide_nothing() {
    let words = "Warning: using a password on the command line can be insecure.\n";
    for (name, text) in json_shapes() {
        let plain = records(text.clone(), FileOptions::default());
        if text.starts_with('"') {
            continue;
        }
        let found = records(format!("{words}{text}"), FileOptions::default());
        assert!(found[0].text().starts_with("Warning"), "{name}");
        let is_event = |record: &&Owned| record.outcome == "body" && record.text().starts_with('{');
        let bodies: Vec<_> = found.iter().filter(is_event).collect();
        let expected: Vec<_> = plain.iter().filter(|record| record.outcome == "body").collect();
        assert_eq!(bodies.len(), expected.len(), "{name}");
        for (a, b) in bodies.iter().zip(expected) {
            assert_eq!((a.text(), &a.sender), (b.text(), &b.sender), "{name}");
        }
    }
    let dumped = records(format!("pg_dump: warning: circular\n{}", dump()), FileOptions::default());
    assert_eq!(dumped.len(), records(dump(), FileOptions::default()).len());
    // The head of a table is never a row.
    let table = "id,sender_id,data\n1,u,{}\nid,sender_id,data\n2,u,{}\n";
    let found = records(format!("{words}{table}"), FileOptions::default());
    let outcomes: Vec<_> = found.iter().map(|record| record.outcome).collect();
    assert_eq!(outcomes, ["no_event_type", "body", "body"]);
}

#[test]
fn quotes_of_a_table_may_be_escaped_by_backslashes() {
    let data = "{\"text\": \"say \\\"hi\\\", C:\\\\x\\n, ü\", \"a\": {}}";
    let escaped = data.replace('\\', "\\\\").replace('"', "\\\"");
    let table =
        format!("\"id\",\"sender_id\",\"data\"\n\"1\",\"u\",\"{escaped}\"\n\"2\",\"v\",\"{escaped}\"\n");
    let found = records(table, FileOptions::default());
    assert_eq!(found.iter().map(super::Owned::text).collect::<Vec<_>>(), [data, data]);
    assert_eq!(found[1].sender.as_deref(), Some("v"));
}

#[test]
fn text_of_something_else_is_named() {
    let python = "{'sender_id': 'u', 'events': [{'event': 'action', 'confidence': None}]}";
    for (content, what) in [
        ("{\"_id\": ObjectId(\"64\"), \"events\": [{\"n\": NumberInt(1)}]}", "mongo shell"),
        ("{\n  _id: new ObjectId('64'),\n  events: []\n}", "mongo shell"),
        ("{ sender_id: 'u', events: [] }", "JavaScript"),
        (python, "Python"),
        ("{\"sender_id\": \"u\", \"policy\": None}", "Python"),
        ("-- MySQL dump 10.13\nINSERT INTO `events` VALUES (1)", "mysql --batch"),
        ("--\n-- PostgreSQL database dump\n--\nINSERT INTO public.events VALUES (1);", "SQL dump"),
        ("PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nINSERT INTO events VALUES(1);", "sqlite3"),
        ("<!DOCTYPE html>\n<html>", "HTML"),
        ("<?xml version=\"1.0\"?><a/>", "XML"),
        ("version: \"3.1\"\nstories:\n- story: a", "YAML"),
        ("+----+------+\n| id | data |", "drawn with lines"),
        ("{\"log\": \"x\\n\", \"stream\": \"stdout\", \"time\": \"2023\"}", "Docker"),
        ("2023-03-20 10:00:00 INFO root - started", "log of another program"),
        ("[2023-03-20T10:00:00Z] {\"sender_id\": \"u\"}", "text before each event"),
        ("127.0.0.1 - - [20/Mar/2023:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5", "web server"),
        ("name,age\nAnn,5", "CSV"),
        ("name;age\nAnn;5", "semicolons"),
        ("{\"messageVersion\": \"2.0\", \"sessionId\": \"s\", \"inputTranscript\": \"hi\"}", "Amazon Lex"),
        ("@timestamp,sessionId,inputTranscript\n2026-05-04,a,b", "Amazon Lex"),
        (
            "[{\"itemType\": \"customEvent\", \"name\": \"BotMessageReceived\", \"customDimensions\": {}}]",
            "Bot Framework",
        ),
        ("{\"type\": \"message\", \"channelId\": \"msteams\", \"from\": {\"id\": \"1\"}}", "Bot Framework"),
        ("{\"status\": \"failure\", \"reason\": \"NotAuthenticated\", \"message\": \"x\"}", "error"),
        ("{\"Item\": {\"id\": {\"S\": \"x\"}, \"n\": {\"N\": \"1\"}}}", "DynamoDB"),
        ("1) \"{\\\"name\\\": 1}\"", "redis-cli --raw"),
        ("{\"intents\": [], \"responses\": {}}", "domain"),
        ("- event: user\n  sender_id: u", "YAML"),
        ("// a tracker\n{\"sender_id\": \"u\"}", "comments"),
        (" id | data \n----+------\n  1 | {}\n(1 row)", "drawn with lines"),
        ("  json_agg \n----------\n [{\"id\":1}]\n(1 row)", "drawn with lines"),
        ("-[ RECORD 1 ]--\nid | 1", "drawn with lines"),
        ("*************************** 1. row ***\n  id: 1", "drawn with lines"),
        ("1,u,action,1679306228.48,,x,\"{\"\"event\"\": 1}\"", "without the names"),
        ("1|u|action|1679306228.48||x|{\"event\": 1}", "without the names"),
        ("\"{\"\"id\"\": 1}\"", "quotes of CSV"),
        ("{\"id\":{\"0\":1},\"sender_id\":{\"0\":\"u\"},\"data\":{\"0\":\"{}\"}}", "pandas"),
        ("[{\"tracker:u\": \"{\\\"events\\\": []}\"}]", "jq -r"),
        (
            "{\"db\":0,\"key\":\"tracker:u\",\"value\":\"{\\\"name\\\": \\\"u\\\", \\\"events\\\": []}\"}",
            "jq -r",
        ),
    ] {
        let foreign = Foreign::of(content.as_bytes()).map(|foreign| foreign.to_string()).unwrap_or_default();
        assert!(foreign.contains(what), "{content}: {foreign}");
    }
    for text in json_shapes()
        .iter()
        .map(|(_, text)| text.as_str())
        .chain([dump().as_str()])
        .filter(|text| !text.starts_with("--"))
    {
        assert_eq!(Foreign::of(text.as_bytes()), None, "{text}");
    }
}
