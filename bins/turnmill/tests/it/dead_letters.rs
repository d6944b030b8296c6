//! Tests of the dead-letter topic.

use turnmill_source::{GroupLimits, GroupProgress, GroupSource, PartitionStart, RecordBatch};
use turnmill_source_kafka::{KafkaGroup, KafkaRange, KafkaSettings};
use turnmill_testbed::{kafka, postgres};

use crate::support::{Record, Service, Topic, capture, ledger, sinks, variables, wait_until_read};

/// Returns whether the sink of a topic has everything.
fn all_delivered(store: &str, topic: &str) -> bool {
    let name = format!("dead-letter-topic:{topic}");
    let sinks = sinks(store);
    let sink = sinks.iter().find(|sink| sink.name == name);
    sink.is_some_and(|sink| sink.lag() == 0 && sink.position.snapshot.is_none())
}

/// Returns all records of a topic: keys, values and headers, in the order of their offsets.
pub(crate) fn records(brokers: &str, topic: &str) -> Vec<Record> {
    let mut settings = KafkaSettings::new(brokers);
    settings.topics = vec![topic.into()];
    settings.range = Some(KafkaRange::default());
    let mut group = KafkaGroup::start(&settings).unwrap();
    let (control, mut batch, mut found) = (group.control(), RecordBatch::new(), Vec::new());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    loop {
        match group.next(&GroupLimits::default(), &mut batch).unwrap() {
            GroupProgress::Assigned(assignment) => {
                let partitions = assignment.partitions.into_iter().map(|assigned| assigned.partition);
                control.start(assignment.generation, partitions.map(PartitionStart::earliest).collect());
            }
            GroupProgress::Batch => found.extend(batch.iter().map(|record| {
                Record {
                    key: record.key.map(text),
                    value: text(record.payload),
                    headers: record
                        .headers
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value.map(text)))
                        .collect(),
                    millis: 0,
                }
            })),
            GroupProgress::End => return found,
            _ => {}
        }
    }
}

fn header(name: &str, value: &str) -> (String, Option<String>) {
    (name.into(), Some(value.into()))
}

#[test]
fn dead_letters_are_mirrored_once_each_with_where_they_came_from() {
    let Some(store) = postgres::database() else { return };
    let Some(mut topic) = Topic::fresh(1) else { return };
    let Some(mirror) = Topic::fresh(1) else { return };
    let good = capture("partition-by-sender-true.jsonl.gz");
    let bad = |number: usize| Record {
        key: Some(format!("key {number}")),
        value: format!("{{\"broken\": {number}"),
        headers: vec![header("RASA_ENVIRONMENT", "test"), ("empty".into(), None)],
        millis: good[0].millis,
    };
    topic.produce(&good[..50]);
    topic.produce(&[bad(1), bad(2)]);
    let mut settings = variables(&topic, &store);
    settings.push(("RASA_ANALYTICS_DLQ".into(), mirror.name.clone()));

    let mut service = Service::start(&settings);
    wait_until_read(&store, &topic, &mut service);
    let mirrored = r#"turnmill_dead_letters_mirrored_total{result="sent"}"#;
    service.wait("two are mirrored", |service| service.metric(mirrored) == 2.0);
    service.wait("that is noted", |_| all_delivered(&store, &mirror.name));
    service.wait("they are counted", |service| service.metric("turnmill_dead_letters_waiting") == 2.0);
    service.stop();

    topic.produce(&[bad(3)]);
    let mut service = Service::start(&settings);
    service.wait("the third is mirrored", |service| service.metric(mirrored) == 1.0);
    service.wait("that is noted", |_| all_delivered(&store, &mirror.name));
    service.stop();

    let found = records(&mirror.brokers, &mirror.name);
    assert_eq!(found.len(), 3, "{found:?}");
    for (number, record) in (1..).zip(&found) {
        let original = bad(number);
        assert_eq!((&record.key, &record.value), (&original.key, &original.value));
        let (kept, own) = record.headers.split_at(2);
        assert_eq!(kept, original.headers);
        let offset = (49 + number).to_string();
        let places = [
            ("original_offset", offset.as_str()),
            ("original_topic", &topic.name),
            ("original_partition", "0"),
        ];
        assert_eq!(own[..3], places.map(|(name, value)| header(name, value)));
        let (name, why) = &own[3];
        assert_eq!((name.as_str(), own.len()), ("error", 4));
        assert!(why.as_deref().unwrap().starts_with("not_json: "), "{why:?}");
    }
    assert_eq!(ledger(&store, "dead_letters"), 3);
}

#[test]
fn a_wanted_topic_that_is_not_there_gets_them_once_it_is() {
    let Some(shared) = kafka::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("rasa.sqlite").display());
    let Some(mut topic) = Topic::fresh(1) else { return };
    let mirror = format!("{}-dlq", topic.name);
    topic.produce(&[Record { value: "{".into(), ..Record::default() }]);
    let mut settings = variables(&topic, &store);
    settings.push(("RASA_ANALYTICS_DLQ".into(), mirror.clone()));
    let mut service = Service::start(&settings);
    wait_until_read(&store, &topic, &mut service);
    service.wait("it warns", |service| service.said("does not exist; the table keeps all dead letters"));
    shared.create_topic(&mirror, 1, &[]);
    service.wait("it is mirrored", |_| all_delivered(&store, &mirror));
    service.stop();
    let found = records(&topic.brokers, &mirror);
    assert_eq!(found.iter().map(|record| record.value.as_str()).collect::<Vec<_>>(), ["{"]);
}

#[test]
fn too_many_dead_letters_end_the_service_and_name_the_setting() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("rasa.sqlite").display());
    let Some(mut topic) = Topic::fresh(1) else { return };
    let garbage = Record { value: "garbage".into(), ..Record::default() };
    topic.produce(&vec![garbage; 20]);
    let mut settings = variables(&topic, &store);
    settings.push(("TURNMILL_DEAD_LETTER_MAX_RUN".into(), "10".into()));
    settings.push(("RASA_ANALYTICS_DLQ".into(), String::new()));
    let mut service = Service::start(&settings);
    assert_eq!(service.ended().code(), Some(1));
    assert!(service.said("TURNMILL_DEAD_LETTER_MAX_RUN"), "{}", service.log());
    assert_eq!(ledger(&store, "records"), 0, "nothing was drained");
}

/// Kills a service in the middle: every dead letter arrives, in order, and repeated ones are the
/// same.
#[test]
fn letters_survive_kills_and_a_topic_that_is_no_longer_configured_holds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("rasa.sqlite").display());
    let Some(mut topic) = Topic::fresh(1) else { return };
    let Some(mirror) = Topic::fresh(1) else { return };
    let mut settings = variables(&topic, &store);
    settings.push(("RASA_ANALYTICS_DLQ".into(), mirror.name.clone()));
    let mut sent = 0;
    for round in 0..3 {
        let bad: Vec<Record> = (0..40)
            .map(|number| Record { value: format!("no event {round} {number}"), ..Record::default() })
            .collect();
        topic.produce(&bad);
        sent += bad.len();
        let mut service = Service::start(&settings);
        service.wait("some letters are there", |_| {
            !sinks(&store).is_empty() && ledger(&store, "dead_letters") > 0
        });
        service.kill();
    }
    let mut service = Service::start(&settings);
    wait_until_read(&store, &topic, &mut service);
    service.wait("all are delivered", |_| all_delivered(&store, &mirror.name));
    service.stop();
    assert_eq!(ledger(&store, "dead_letters"), sent as i64);
    let found = records(&mirror.brokers, &mirror.name);
    let offset = |record: &Record| {
        let header = record.headers.iter().find(|(name, _)| name == "original_offset");
        header.unwrap().1.as_ref().unwrap().parse::<usize>().unwrap()
    };
    let mut first: std::collections::BTreeMap<usize, &Record> = Default::default();
    for record in &found {
        let number = offset(record);
        assert!(number <= first.len(), "{number} came before {}", first.len());
        let before = *first.entry(number).or_insert(record);
        assert_eq!((&before.value, &before.headers), (&record.value, &record.headers), "repeated as it was");
    }
    assert_eq!(first.len(), sent, "all have arrived");

    settings.retain(|(name, _)| name != "RASA_ANALYTICS_DLQ");
    settings.push(("RASA_ANALYTICS_DLQ".into(), String::new()));
    let mut service = Service::start(&settings);
    service.wait("the sink is removed", |_| sinks(&store).is_empty());
    service.stop();
}
