//! Tests with consumer groups of other programs.

use std::error::Error as _;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use turnmill_source::{GroupSource, RecordBatch};
use turnmill_source_kafka::{KafkaGroup, KafkaSettings};
use turnmill_testbed::kafka;

use crate::reader::{LIMITS, Reader, Stored, names, settings, write};

const WAIT: Duration = Duration::from_secs(20);

/// Returns a consumer like those of other programs.
fn other(settings: &KafkaSettings) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", &settings.brokers)
        .set("group.id", &settings.group_id)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("client.id", "closed-service")
        .create()
        .unwrap()
}

/// Returns the group's offset of partition `number`.
fn committed(settings: &KafkaSettings, number: i32) -> Offset {
    let mut list = TopicPartitionList::new();
    list.add_partition(&settings.topics[0], number);
    other(settings).committed_offsets(list, WAIT).unwrap().elements()[0].offset()
}

fn commit(settings: &KafkaSettings, number: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&settings.topics[0], number, Offset::Offset(offset)).unwrap();
    other(settings).commit(&list, CommitMode::Sync).unwrap();
}

#[test]
fn a_group_with_members_of_another_program_is_refused_until_it_is_taken_over() {
    let Some((bootstrap, topic)) = kafka::topic(1) else { return };
    let mut settings = settings(&bootstrap, &topic);
    write(&settings, None, &names("r", 0..10));
    let other = other(&settings);
    other.subscribe(&[&topic]).unwrap();
    let end = Instant::now() + WAIT;
    while other.assignment().unwrap().count() == 0 {
        assert!(Instant::now() < end);
        other.poll(Duration::from_millis(100));
    }

    let mut group = KafkaGroup::start(&settings).unwrap();
    let error = loop {
        assert!(Instant::now() < end + WAIT);
        match group.next(&LIMITS, &mut RecordBatch::new()) {
            Ok(_) => {}
            Err(error) => break error.source().unwrap().to_string(),
        }
    };
    for part in [
        "RASA_ANALYTICS_CONSUMER_ID",
        &settings.group_id,
        "`closed-service` at ",
        "TURNMILL_KAFKA_TAKE_OVER_GROUP",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    other.poll(Duration::ZERO);
    assert_eq!(other.assignment().unwrap().count(), 1, "it has kept its partition");

    settings.take_over_group = true;
    let mut reader = Reader::new(&settings, Stored::new());
    drop(other);
    reader.until_count(10);
}

#[test]
fn a_group_that_another_program_joins_later_is_left() {
    let Some((bootstrap, topic)) = kafka::topic(2) else { return };
    let settings = settings(&bootstrap, &topic);
    write(&settings, None, &names("r", 0..10));
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until_count(10);
    let other = other(&settings);
    other.subscribe(&[&topic]).unwrap();
    let end = Instant::now() + WAIT;
    let error = loop {
        assert!(Instant::now() < end, "still a member");
        other.poll(Duration::from_millis(20));
        match reader.group.next(&LIMITS, &mut RecordBatch::new()) {
            Ok(turnmill_source::GroupProgress::Revoked { generation, .. }) => {
                reader.control.released(generation);
            }
            Ok(_) => {}
            Err(error) => break error.source().unwrap().to_string(),
        }
    };
    assert!(error.contains("closed-service"), "{error}");
    drop(reader);
    while other.assignment().unwrap().count() < 2 {
        assert!(Instant::now() < end + WAIT, "it has the whole topic");
        other.poll(Duration::from_millis(100));
    }
}

#[test]
fn offsets_that_another_program_committed_are_left_alone_until_they_are_taken_over() {
    let Some((bootstrap, topic)) = kafka::topic(2) else { return };
    let mut settings = settings(&bootstrap, &topic);
    for key in ["a", "b", "c", "d", "e"] {
        write(&settings, Some(key), &names(key, 0..20));
    }
    commit(&settings, 0, 3);
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until_count(100);
    let foreign: Vec<bool> =
        reader.assigned.as_ref().unwrap().partitions.iter().map(|assigned| assigned.foreign).collect();
    assert_eq!(foreign, [true, false]);
    reader.control.close();
    reader.read_to_end();
    let stored = reader.stored.clone();
    drop(reader);
    assert_eq!(committed(&settings, 0), Offset::Offset(3));
    assert_eq!(
        committed(&settings, 1),
        Offset::Invalid,
        "the other program would begin past records that it has not read"
    );

    settings.take_over_group = true;
    for round in 0..2 {
        let mut reader = Reader::new(&settings, stored.clone());
        write(&settings, Some("a"), &names("more", 0..1));
        write(&settings, Some("b"), &names("more", 0..1));
        write(&settings, Some("d"), &names("more", 0..1));
        reader.until_count(3 * (round + 1));
        assert!(reader.assigned.as_ref().unwrap().partitions.iter().all(|assigned| !assigned.foreign));
        reader.control.close();
        reader.read_to_end();
        drop(reader);
        // The offsets are turnmill's now, so taking over is no longer needed.
        settings.take_over_group = false;
    }
    assert_ne!(committed(&settings, 0), Offset::Offset(3));
}
