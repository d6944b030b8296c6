//! The sinks of `examples/sinks`, against what they write to.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::{OwnedRecord, conversation};
use turnmill_ingest::{Accounting, Arrivals, Ingest, MakeDeadLetter, RowRules};
use turnmill_model::{Refused, Settings};
use turnmill_pipeline::{OnRefusal, OutboxRunner, SinkEvent, Stop};
use turnmill_sink::outbox::{Outbox as _, SinkSpec, SinkStart};
use turnmill_sink::{DeadLetter, Sink, Store as _};
use turnmill_sink_sqlite::SqliteStore;

use crate::dead_letters::records;
use crate::support::{Record, Service, Topic, capture, ran, sinks, turnmill, variables, wait_until_read};

#[path = "../../../../examples/sinks/custom_store.rs"]
mod custom_store;
#[path = "../../../../examples/sinks/kafka_rows.rs"]
mod kafka_rows;
#[path = "../../../../examples/sinks/webhook.rs"]
mod webhook;

const START: f64 = 1_656_382_549.5;

/// A store in a file.
struct File(std::path::PathBuf);

impl File {
    fn store(&self) -> SqliteStore {
        SqliteStore::file(&self.0)
    }
}

/// No record is refused here.
struct NoLetters;

impl MakeDeadLetter for NoLetters {
    fn dead_letter(&self, _: usize, refused: &Refused) -> DeadLetter {
        panic!("a record is refused: {refused:?}")
    }
}

/// Writes each of these conversations to the store in a transaction of its own.
fn fill(file: &File, senders: &[&str]) {
    let mut ingest = Ingest::new(&RowRules::new(&Settings::default(), RasaDecoder::new), 1 << 20);
    pollster::block_on(async {
        let mut store = file.store();
        store.open(&Settings::default()).await.unwrap();
        for sender in senders {
            let lines: Vec<OwnedRecord> = conversation(sender, 2, START)
                .iter()
                .map(|line| OwnedRecord::body(line.as_bytes()))
                .collect();
            let mut arrivals = Arrivals::default();
            lines.iter().for_each(|line| arrivals.push(ingest.decoders(), line.as_record()));
            let accounting = Accounting::Source("test");
            ingest.ingest(&mut store, &arrivals, &[], &accounting, &NoLetters).await.unwrap();
        }
    });
}

fn spec(start: SinkStart) -> SinkSpec {
    SinkSpec { start, ..SinkSpec::new("example") }
}

fn drain<K: Sink>(file: &File, start: SinkStart, sink: K, observe: &mut (dyn FnMut(&SinkEvent<'_>) + Send)) {
    let mut runner =
        OutboxRunner::new(file.store(), &Settings::default(), spec(start), sink, Stop::default())
            .with_refusals(OnRefusal::Skip);
    pollster::block_on(runner.drain(observe)).unwrap();
}

/// Makes the sink known before anything is written.
fn known(file: &File) {
    pollster::block_on(async {
        let mut store = file.store();
        store.open(&Settings::default()).await.unwrap();
        store.put_sink(&spec(SinkStart::Now)).await.unwrap();
    });
}

/// Rows of each public table.
fn counts(file: &File) -> BTreeMap<String, u64> {
    let mut store = file.store().read_only();
    store.open_as_it_is().unwrap();
    let counts = store.row_counts().unwrap().into_iter().filter(|(_, rows)| *rows > 0);
    counts.map(|(table, rows)| (table.to_owned(), rows)).collect()
}

/// Key and body of each request, in order.
type Requests = Arc<Mutex<Vec<(String, String)>>>;

/// Starts a server that responds with these codes, then with 200. Returns its address and the
/// requests.
fn receiver(codes: &'static [u16]) -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/changes", listener.local_addr().unwrap());
    let received = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&received);
    std::thread::spawn(move || {
        let mut codes = codes.iter();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut key, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() <= 2 {
                    break;
                }
                let (name, value) = line.split_once(": ").unwrap_or_default();
                match name.to_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().unwrap(),
                    "idempotency-key" => key = value.trim().to_owned(),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            kept.lock().unwrap().push((key, String::from_utf8(body).unwrap()));
            let code = codes.next().unwrap_or(&200);
            write!(stream, "HTTP/1.1 {code} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        }
    });
    (address, received)
}

#[test]
fn a_webhook_gets_every_transaction_in_order_and_again_when_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = File(folder.path().join("rasa.sqlite"));
    known(&file);
    fill(&file, &["a", "b", "c"]);
    // The first try fails, and the receiver will never take the third batch.
    let (address, received) = receiver(&[503, 200, 200, 422]);
    let mut skipped = 0;
    drain(&file, SinkStart::Now, webhook::Webhook::new(&address), &mut |event| {
        skipped += usize::from(matches!(event, SinkEvent::Skipped { .. }));
    });
    let received = received.lock().unwrap();
    let keys: Vec<&str> = received.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!((keys, skipped), (vec!["1", "1", "2", "3"], 1));
    assert_eq!(received[0].1, received[1].1, "the same bytes");
    let body: Value = serde_json::from_str(&received[1].1).unwrap();
    assert_eq!((&body["version"], &body["id"], &body["snapshot"]), (&1.into(), &"1".into(), &false.into()));
    let sender = &body["changes"][0];
    assert_eq!((&sender["op"], &sender["table"]), (&"put".into(), &"rasa_sender".into()));
    assert_eq!(sender["rows"][0]["sender_key"], "a");
}

#[test]
fn a_topic_of_rows_ends_with_a_record_for_each_row() {
    let Some(topic) = Topic::fresh(1) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = File(folder.path().join("rasa.sqlite"));
    fill(&file, &["a", "b"]);
    let sink = || kafka_rows::KafkaRows::new(&topic.brokers, &topic.name).unwrap();
    drain(&file, SinkStart::Snapshot, sink(), &mut |_| {});
    fill(&file, &["c"]);
    drain(&file, SinkStart::Snapshot, sink(), &mut |_| {});
    let mut tables: BTreeMap<String, u64> = BTreeMap::new();
    let mut keys = std::collections::BTreeSet::new();
    for record in records(&topic.brokers, &topic.name) {
        let value: Value = serde_json::from_str(&record.value).unwrap();
        let table = value["table"].as_str().unwrap().to_owned();
        if !table.is_empty() && keys.insert(record.key.unwrap()) {
            *tables.entry(table).or_default() += 1;
        }
    }
    assert_eq!(tables, counts(&file));
}

#[test]
fn a_custom_store_ends_with_the_stores_rows() {
    let folder = tempfile::tempdir().unwrap();
    let file = File(folder.path().join("rasa.sqlite"));
    let copy = folder.path().join("copy.sqlite");
    let open = || custom_store::CustomStore::open(&copy).unwrap();
    fill(&file, &["a", "b"]);
    drain(&file, SinkStart::Snapshot, open(), &mut |_| {});
    fill(&file, &["c", "d"]);
    drain(&file, SinkStart::Snapshot, open(), &mut |_| {});
    let copied = open();
    let mut query = copied.0.prepare("SELECT \"table\", count(*) FROM copy GROUP BY 1").unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(rows.collect::<Result<BTreeMap<String, u64>, _>>().unwrap(), counts(&file));
    // What moves later is moved in the copy as well.
    let ends = |connection: &rusqlite::Connection, sql: &str| -> Vec<i64> {
        let mut query = connection.prepare(sql).unwrap();
        let ends = query.query_map([], |row| row.get(0)).unwrap();
        ends.collect::<Result<_, _>>().unwrap()
    };
    let original = rusqlite::Connection::open(&file.0).unwrap();
    assert_eq!(
        ends(
            &copied.0,
            "SELECT row ->> 'end_sequence_number' FROM copy WHERE \"table\" = 'rasa_session' ORDER BY key"
        ),
        ends(&original, "SELECT end_sequence_number FROM rasa_session ORDER BY id")
    );
}

/// Returns whether the only sink of a store has everything.
fn is_fed(store: &str) -> bool {
    let sinks = sinks(store);
    sinks.len() == 1 && sinks[0].lag() == 0 && sinks[0].position.snapshot.is_none()
}

/// Returns the output of `turnmill sinks`, and checks the exit code.
fn tool(arguments: &[&str], code: i32) -> String {
    let output = ran(turnmill(&[&["sinks"], arguments].concat()), code);
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// Number of rows of each table whose key is in the topic and whose last record is no tombstone.
fn rows_of(topic: &Topic) -> BTreeMap<String, u64> {
    let mut last = BTreeMap::new();
    for record in records(&topic.brokers, &topic.name) {
        last.insert(record.key.unwrap(), record.value);
    }
    let mut counts = BTreeMap::new();
    for (key, _) in last.iter().filter(|(_, value)| !value.is_empty()) {
        let table = key.split_once('/').unwrap().0;
        if !table.is_empty() {
            *counts.entry(table.to_owned()).or_default() += 1;
        }
    }
    counts
}

#[test]
fn the_service_sends_rows_to_a_topic_and_a_tool_lists_resets_and_removes_the_sink() {
    let Some(mut topic) = Topic::fresh(1) else { return };
    let Some(rows) = Topic::fresh(1) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = File(folder.path().join("rasa.sqlite"));
    let store = format!("sqlite:{}", file.0.display());
    topic.produce(&capture("partition-by-sender-true.jsonl.gz")[..300]);
    let mut settings = variables(&topic, &store);
    settings.push(("TURNMILL_ROW_TOPIC".into(), rows.name.clone()));
    let name = format!("row-topic:{}", rows.name);

    let mut service = Service::start(&settings);
    wait_until_read(&store, &topic, &mut service);
    service.wait("the rows are sent", |_| is_fed(&store));
    let list: Value = serde_json::from_str(&tool(&["list", &store, "--json"], 0)).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["scope"]), (&name.as_str().into(), &"all".into()));
    assert!(list[0]["owner"].is_string() && list[0]["error"].is_null(), "{list}");
    assert_eq!((&list[0]["lag_entries"], &list[0]["snapshot"]), (&0.into(), &Value::Null));
    service.wait("metrics say so", |service| service.metric("turnmill_sink_changes_total{") > 300.0);
    service.stop();
    assert_eq!(rows_of(&rows), counts(&file));

    let before = records(&rows.brokers, &rows.name).len();
    assert!(tool(&["reset", &store, &name], 0).contains("starts again with a snapshot"));
    let text = tool(&["list", &store], 0);
    assert!(text.contains(&name) && text.contains("snapshot"), "{text}");
    let mut service = Service::start(&settings);
    service.wait("the snapshot is sent", |_| is_fed(&store));
    service.stop();
    assert!(records(&rows.brokers, &rows.name).len() > before);
    assert_eq!(rows_of(&rows), counts(&file));

    let unknown = tool(&["remove", &store, "nothing"], 1);
    assert!(unknown.contains("no sink `nothing`") && unknown.contains(&name), "{unknown}");
    tool(&["remove", &store, &name], 0);
    assert_eq!(tool(&["list", &store, "--json"], 0).trim(), "[]");
}

/// A row that is too large for the topic stops the sending of rows, not the service; or it is
/// skipped, and all others arrive.
#[test]
fn a_row_that_is_too_large_for_the_topic_stops_it_or_is_skipped() {
    let Some(shared) = turnmill_testbed::kafka::shared() else { return };
    let Some(mut topic) = Topic::fresh(1) else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("rasa.sqlite").display());
    let rows = Topic::new(&topic.brokers, &format!("{}-rows", topic.name));
    shared.create_topic(&rows.name, 1, &[("max.message.bytes", "4000")]);
    let mut random = fastrand::Rng::with_seed(1);
    let noise: String = std::iter::repeat_with(|| random.alphanumeric()).take(20_000).collect();
    let events: Vec<Record> = ["hello", &noise, "bye"]
        .iter()
        .enumerate()
        .map(|(number, text)| Record {
            value: serde_json::json!({
                "sender_id": "u1", "event": "user", "timestamp": START + number as f64, "text": text
            })
            .to_string(),
            ..Record::default()
        })
        .collect();
    topic.produce(&events);
    let mut settings = variables(&topic, &store);
    settings.push(("TURNMILL_ROW_TOPIC".into(), rows.name.clone()));
    let mut service = Service::start(&settings);
    wait_until_read(&store, &topic, &mut service);
    service.wait("it says what was refused", |service| service.said("`put rasa_user_message "));
    assert!(service.said("no more rows are sent until the service is started again"));
    service.wait("it counts", |service| service.metric("turnmill_sink_errors_total{") >= 1.0);
    topic.produce(&events[..1]);
    wait_until_read(&store, &topic, &mut service);
    service.stop();
    assert!(sinks(&store)[0].error.as_ref().unwrap().contains("rasa_user_message"));

    settings.push(("TURNMILL_SINK_ON_REFUSAL".into(), "skip".into()));
    let mut service = Service::start(&settings);
    service.wait("the rest is sent", |_| is_fed(&store));
    service.stop();
    // The row may be in the snapshot and in an entry after it as well.
    let sink = sinks(&store).remove(0);
    assert!(matches!(sink.skipped, 1 | 2) && sink.error.is_none(), "{sink:?}");
    let messages: Vec<Value> = records(&rows.brokers, &rows.name)
        .iter()
        .filter_map(|record| serde_json::from_str(&record.value).ok())
        .filter(|value: &Value| value["table"] == "rasa_user_message")
        .collect();
    let text = |wanted: &str| messages.iter().any(|message| message["row"]["text"] == wanted);
    assert!(text("hello") && text("bye") && !text(&noise), "{messages:?}");
}
