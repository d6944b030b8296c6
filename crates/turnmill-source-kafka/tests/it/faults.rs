//! Tests with brokers that stop and topics that are deleted.

use std::time::Duration;

use turnmill_source::{Opened, Position};
use turnmill_testbed::kafka::{Broker, Options};
use turnmill_testbed::or_skip;

use crate::reader::{LIMITS, Reader, Stored, names, settings, write};

fn broker(topic: &str) -> Option<(Broker, turnmill_source_kafka::KafkaSettings)> {
    let broker = or_skip(Broker::start(&Options::default()))?;
    broker.create_topic(topic, 1, &[]);
    let settings = settings(&broker.bootstrap(), topic);
    Some((broker, settings))
}

#[test]
fn changes_of_a_topic_are_reported_and_nothing_is_skipped() {
    let Some((broker, settings)) = broker("events") else { return };
    write(&settings, None, &names("r", 0..100));
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until_count(100);
    let stored = reader.at("events/0", 40);
    drop(reader);

    // Retention deletes records that were never read.
    broker.delete_records("events", 0, 60);
    let mut reader = Reader::new(&settings, stored);
    reader.until_count(40);
    assert_eq!(reader.order, names("r", 60..100));
    assert_eq!(reader.opened, [Opened::Gap { missing: 20 }]);
    assert_eq!(reader.control.stats().gaps, 20);
    let stored = reader.stored.clone();
    drop(reader);

    // Another topic of the same name, which is shorter.
    broker.delete_topic("events");
    std::thread::sleep(Duration::from_secs(1));
    broker.create_topic("events", 1, &[]);
    write(&settings, None, &names("new", 0..5));
    let mut reader = Reader::new(&settings, stored);
    reader.until_count(5);
    assert_eq!(reader.order, names("new", 0..5));
    assert_eq!(reader.opened, [Opened::Replaced]);
    assert_eq!(reader.control.stats().resets, 1);

    // New partitions are picked up.
    broker.set_partitions("events", 3);
    reader.until("three", |reader| reader.assigned.as_ref().is_some_and(|all| all.partitions.len() == 3));
}

#[test]
fn a_recreated_topic_is_read_from_its_start_also_if_it_is_longer() {
    let Some((broker, settings)) = broker("events") else { return };
    write(&settings, None, &names("r", 0..100));
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until_count(100);
    let stored = reader.stored.clone();
    drop(reader);

    // The topic is unchanged: reading resumes.
    let mut reader = Reader::new(&settings, stored.clone());
    write(&settings, None, &names("r", 100..110));
    reader.until_count(10);
    assert_eq!(reader.opened, [Opened::Resumed]);
    drop(reader);

    broker.delete_topic("events");
    std::thread::sleep(Duration::from_secs(1));
    broker.create_topic("events", 1, &[]);
    write(&settings, None, &names("new", 0..300));
    let mut reader = Reader::new(&settings, stored.clone());
    reader.until_count(300);
    assert_eq!(reader.order, names("new", 0..300));
    assert_eq!(reader.opened, [Opened::Rewritten]);
    assert_eq!((reader.control.stats().resets, reader.control.stats().gaps), (1, 0));
    drop(reader);

    // A position of an older version lacks the last record.
    let old = stored.into_iter().map(|(partition, position)| (partition, Position::at(position.offset)));
    let mut reader = Reader::new(&settings, old.collect());
    reader.until_count(200);
    assert_eq!(reader.opened, [Opened::Resumed]);
}

#[test]
fn a_topic_recreated_while_it_is_read_is_read_from_its_start() {
    let Some((broker, settings)) = broker("events") else { return };
    write(&settings, None, &names("r", 0..100));
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until_count(100);
    broker.delete_topic("events");
    broker.create_topic("events", 1, &[]);
    write(&settings, None, &names("new", 0..300));
    reader.until("all of the new topic is read", |reader| reader.order.len() >= 400);
    assert_eq!(reader.order[100..], names("new", 0..300));
    // While the topic is recreated the group may assign no partition, also repeatedly.
    assert!(reader.opened.iter().any(|opened| opened.moved()), "{:?}", reader.opened);
}

#[test]
fn a_broker_may_restart_in_the_middle() {
    let Some((broker, settings)) = broker("events") else { return };
    write(&settings, None, &names("r", 0..500));
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until_count(500);
    broker.stop();
    for _ in 0..20 {
        reader.step(&LIMITS);
    }
    assert!(reader.control.stats().last_error.is_some());
    broker.start_again();
    write(&settings, None, &names("r", 500..1000));
    reader.until_count(1000);
    assert_eq!(reader.order, names("r", 0..1000));
}

#[test]
fn a_reader_may_start_before_its_broker() {
    let Some((broker, settings)) = broker("events") else { return };
    write(&settings, None, &names("r", 0..10));
    broker.stop();
    let mut reader = Reader::new(&settings, Stored::new());
    for _ in 0..10 {
        reader.step(&LIMITS);
    }
    broker.start_again();
    reader.until_count(10);
}
