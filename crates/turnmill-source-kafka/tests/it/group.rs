//! Tests of assignments, reading and revocations in a group.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use turnmill_source::{GroupLimits, GroupProgress, GroupSource, Opened, RecordBatch, RecordOutcome};
use turnmill_source_kafka::OutgoingRecord;
use turnmill_testbed::kafka;

use crate::reader::{LIMITS, Reader, Stored, names, producer, settings, write};

#[test]
fn records_arrive_once_and_in_the_order_of_their_partition() {
    let Some((bootstrap, topic)) = kafka::topic(3) else { return };
    let settings = settings(&bootstrap, &topic);
    let mut expected = BTreeMap::new();
    for key in ["anna", "bert", "carl", "dora"] {
        write(&settings, Some(key), &names(key, 0..1000));
        expected.insert(key, names(key, 0..1000));
    }
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until_count(4000);
    for (key, names) in expected {
        let lanes = reader.seen.values();
        let of_key = |lane: &Vec<String>| lane.iter().filter(|name| name.starts_with(key)).cloned().collect();
        let found: Vec<Vec<String>> =
            lanes.map(of_key).filter(|found: &Vec<String>| !found.is_empty()).collect();
        assert_eq!(found, [names]);
    }
    assert!(reader.opened.iter().all(|opened| *opened == Opened::Fresh));
    let stored: u64 = reader.stored.values().map(|position| position.offset).sum();
    assert_eq!(stored, 4000);
    reader.control.close();
    reader.read_to_end();
}

#[test]
fn a_record_keeps_key_headers_time_and_a_null_value_is_skipped() {
    let Some((bootstrap, topic)) = kafka::topic(1) else { return };
    let settings = settings(&bootstrap, &topic);
    let headers: &[(&str, Option<&[u8]>)] = &[("RASA_ENVIRONMENT", Some(b"production")), ("empty", None)];
    let mut producer = producer(&settings);
    let record =
        OutgoingRecord { key: Some(b"u1"), payload: Some(b"{}"), headers, time: Some(1_656_382_549.326) };
    producer.send(&topic, &record).unwrap();
    producer.send(&topic, &OutgoingRecord { key: Some(b"u1"), ..Default::default() }).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until("assignment", |reader| reader.assigned.is_some());
    let mut batch = RecordBatch::new();
    while reader.group.next(&LIMITS, &mut batch).unwrap() != GroupProgress::Batch {}
    let first = batch.get(0).unwrap();
    assert_eq!((first.key, first.environment), (Some(&b"u1"[..]), Some("production")));
    assert_eq!(first.headers.collect::<Vec<_>>(), headers);
    assert_eq!((first.time, first.sender), (Some(1_656_382_549.326), None));
    assert_eq!(first.origin.map(|origin| (origin.topic, origin.offset)), Some((topic.as_str(), 0)));
    assert_eq!(batch.get(1).unwrap().outcome, RecordOutcome::Skipped);
    assert_eq!(batch.to().map(|position| position.offset), Some(2));
}

#[test]
fn a_second_member_takes_over_half_and_goes_on_where_the_first_stood() {
    let Some((bootstrap, topic)) = kafka::topic(4) else { return };
    let settings = settings(&bootstrap, &topic);
    for key in 0..20 {
        write(&settings, Some(&format!("k{key}")), &names(&format!("{key}-"), 0..50));
    }
    let mut first = Reader::new(&settings, Stored::new());
    first.until_count(1000);
    let mut second = Reader::new(&settings, first.stored.clone());
    let end = Instant::now() + Duration::from_secs(120);
    let count =
        |reader: &Reader| reader.assigned.as_ref().map_or(0, |assignment| assignment.partitions.len());
    while (count(&first), count(&second)) != (2, 2) {
        assert!(Instant::now() < end, "{:?} {:?}", first.control.stats(), second.control.stats());
        first.step(&LIMITS);
        second.step(&LIMITS);
    }
    for key in 0..20 {
        write(&settings, Some(&format!("k{key}")), &names(&format!("{key}-"), 50..100));
    }
    while first.order.len() + second.order.len() < 2000 {
        assert!(Instant::now() < end, "{} {}", first.order.len(), second.order.len());
        first.step(&LIMITS);
        second.step(&LIMITS);
    }
    assert!(!second.order.is_empty() && first.order.len() > 1000);
    let mut all: Vec<_> = first.order.iter().chain(&second.order).cloned().collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 2000);
    // The second member leaves, and the first one gets all partitions back.
    drop(second);
    first.until("all back", |reader| count(reader) == 4);
}

#[test]
fn the_positions_given_win_over_the_offsets_of_the_group() {
    let Some((bootstrap, topic)) = kafka::topic(1) else { return };
    let settings = settings(&bootstrap, &topic);
    write(&settings, None, &names("r", 0..100));
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until_count(100);
    let at = reader.at(&format!("{topic}/0"), 30);
    drop(reader);
    let mut reader = Reader::new(&settings, at);
    reader.until_count(70);
    assert_eq!(reader.order, names("r", 30..100));
    assert_eq!(reader.opened, [Opened::Resumed]);
    let assigned = &reader.assigned.as_ref().unwrap().partitions[0];
    assert_eq!((assigned.committed, assigned.begin, assigned.end), (Some(100), Some(0), Some(100)));
}

#[test]
fn reading_pauses_at_the_cap_and_goes_on_without_losing_the_membership() {
    let Some((bootstrap, topic)) = kafka::topic(2) else { return };
    let mut settings = settings(&bootstrap, &topic);
    (settings.buffer_records, settings.max_poll_interval) = (200, Duration::from_secs(6));
    for key in 0..10 {
        write(&settings, Some(&format!("k{key}")), &names(&format!("{key}-"), 0..300));
    }
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until("assignment", |reader| reader.assigned.is_some());
    // Longer than the longest pause between polls that the group allows.
    std::thread::sleep(Duration::from_secs(8));
    let stats = reader.control.stats();
    assert!((200..400).contains(&stats.buffered_records), "{stats:?}");
    assert!(stats.pauses > 0 && stats.paused_partitions == 2 && stats.rebalances == 1, "{stats:?}");
    reader.until_count(3000);
    assert_eq!(reader.control.stats().rebalances, 1);
    assert_eq!(reader.control.stats().buffered_bytes, 0);
}

#[test]
fn a_backlog_is_read_by_time_and_not_one_partition_after_the_other() {
    let Some((bootstrap, topic)) = kafka::topic(4) else { return };
    let settings = settings(&bootstrap, &topic);
    let mut producer = producer(&settings);
    for number in 0..4000 {
        let (key, value) = (format!("k{}", number * 7 % 40), format!("{number:05}"));
        let time = Some(1_700_000_000.0 + f64::from(number));
        let record = OutgoingRecord {
            key: Some(key.as_bytes()),
            payload: Some(value.as_bytes()),
            time,
            ..Default::default()
        };
        producer.send(&topic, &record).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    let mut reader = Reader::new(&settings, Stored::new());
    // Time enough for all partitions to answer, also on a busy machine.
    let limits = GroupLimits { linger: Duration::from_secs(3), ..LIMITS };
    let end = Instant::now() + Duration::from_secs(120);
    while reader.order.len() < 4000 {
        reader.step(&limits);
        assert!(Instant::now() < end, "{}", reader.order.len());
    }
    assert!(reader.order.is_sorted());
}

#[test]
fn a_topic_may_come_after_the_start_and_grow() {
    let Some(shared) = kafka::shared() else { return };
    let topic = format!("turnmill-later-{}", std::process::id());
    let settings = settings(shared.bootstrap(), &topic);
    let mut reader = Reader::new(&settings, Stored::new());
    for _ in 0..10 {
        assert_eq!(reader.step(&LIMITS), GroupProgress::Idle);
    }
    shared.create_topic(&topic, 1, &[]);
    write(&settings, None, &names("r", 0..10));
    reader.until_count(10);
}

#[test]
fn control_records_and_aborted_ones_do_not_hold_the_position_back() {
    let Some((bootstrap, topic)) = kafka::topic(1) else { return };
    let settings = settings(&bootstrap, &topic);
    let transactional: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .set("transactional.id", format!("transactions-{topic}"))
        .create()
        .unwrap();
    let wait = Duration::from_secs(20);
    transactional.init_transactions(wait).unwrap();
    for (value, commit) in [("one", true), ("aborted", false), ("two", true), ("aborted", false)] {
        transactional.begin_transaction().unwrap();
        transactional
            .send(BaseRecord::<(), str>::to(&topic).payload(value))
            .map_err(|(error, _)| error)
            .unwrap();
        transactional.flush(wait).unwrap();
        let ended = if commit {
            transactional.commit_transaction(wait)
        } else {
            transactional.abort_transaction(wait)
        };
        ended.unwrap();
    }
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until("the end", |reader| {
        reader.control.lag().first().is_some_and(|lag| lag.next == Some(8) && lag.offsets() == Some(0))
    });
    assert_eq!(reader.order, ["one", "two"]);
    reader.until("stored", |reader| reader.stored.values().all(|position| position.offset == 8));
    write(&settings, None, &names("r", 0..1));
    reader.until_count(3);
    assert_eq!(reader.control.stats().passed, 6);
}

#[test]
fn records_of_an_open_transaction_are_no_lag() {
    let Some((bootstrap, topic)) = kafka::topic(1) else { return };
    let settings = settings(&bootstrap, &topic);
    let transactional: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .set("transactional.id", format!("open-{topic}"))
        .create()
        .unwrap();
    let wait = Duration::from_secs(20);
    transactional.init_transactions(wait).unwrap();
    let send = |values: &[String]| {
        transactional.begin_transaction().unwrap();
        for value in values {
            let record = BaseRecord::<(), str>::to(&topic).payload(value);
            transactional.send(record).map_err(|(error, _)| error).unwrap();
        }
        transactional.flush(wait).unwrap();
    };
    send(&names("r", 0..100));
    transactional.commit_transaction(wait).unwrap();
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until_count(100);
    send(&names("r", 100..200));
    // Statistics arrive every second, and with them the end of the transaction.
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        reader.step(&LIMITS);
        let lag = reader.control.lag();
        assert!(lag.iter().all(|lag| lag.offsets().unwrap_or_default() <= 1), "{lag:?}");
    }
    // The same for a reader that starts now.
    let restarted = Reader::new(&settings, reader.stored.clone());
    drop(reader);
    let mut reader = restarted;
    reader.until("assignment", |reader| reader.assigned.is_some());
    let ends = reader.assigned.as_ref().unwrap().partitions.iter().map(|assigned| assigned.end);
    assert_eq!(ends.collect::<Vec<_>>(), [Some(101)], "100 records and the end of their transaction");
    transactional.commit_transaction(wait).unwrap();
    reader.until_count(100);
    assert_eq!(reader.order, names("r", 100..200));
}

#[test]
fn a_restart_reports_the_assignment_again_and_reads_after_the_stored_positions() {
    let Some((bootstrap, topic)) = kafka::topic(1) else { return };
    let settings = settings(&bootstrap, &topic);
    write(&settings, None, &names("r", 0..100));
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until_count(100);
    let before = reader.control.generation();
    // Another writer has changed the stored position.
    reader.stored = reader.at(&format!("{topic}/0"), 90);
    reader.control.restart();
    reader.until_count(110);
    assert_eq!(reader.order[100..], names("r", 90..100));
    assert!(reader.control.generation() > before);
    assert_eq!(reader.control.stats().rebalances, 1);
}

/// Returns a reader that has read `records` of two partitions and paused both, because no batch was
/// requested.
fn paused(records: usize) -> Option<(turnmill_source_kafka::KafkaSettings, Reader)> {
    let (bootstrap, topic) = kafka::topic(2)?;
    let mut settings = settings(&bootstrap, &topic);
    settings.buffer_records = 200;
    for key in 0..10 {
        write(&settings, Some(&format!("k{key}")), &names(&format!("{key}-"), 0..records / 10));
    }
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until("assignment", |reader| reader.assigned.is_some());
    reader.wait("both are paused", |reader| reader.control.stats().pauses >= 2);
    Some((settings, reader))
}

#[test]
fn what_comes_while_reading_is_paused_counts_as_lag() {
    let Some((settings, reader)) = paused(3000) else { return };
    for key in 0..10 {
        write(&settings, Some(&format!("k{key}")), &names(&format!("{key}-"), 300..310));
    }
    let ends = |reader: &Reader| reader.control.lag().iter().filter_map(|lag| lag.end).sum::<u64>();
    reader.wait("the ends are known", |reader| ends(reader) == 3100);
    assert!(reader.order.is_empty());
}

#[test]
fn what_was_paused_is_read_on_after_a_restart() {
    let Some((_, mut reader)) = paused(3000) else { return };
    reader.control.restart();
    reader.until_count(3000);
    let stats = reader.control.stats();
    assert!(stats.pauses > 2 && stats.paused_partitions == 0, "{stats:?}");
}

#[test]
fn what_was_paused_is_read_on_after_a_rebalance() {
    let Some((settings, mut first)) = paused(3000) else { return };
    // A second member takes one of the two partitions, and gives it back.
    let second = Reader::new(&settings, Stored::new());
    first.wait("both are asked back", |reader| reader.control.stats().buffered_records == 0);
    first.until("one partition", |reader| {
        reader.assigned.as_ref().is_some_and(|own| own.partitions.len() == 1)
    });
    drop(second);
    first.until_count(3000);
}

#[test]
fn a_single_record_is_handed_over_within_the_linger() {
    let Some((bootstrap, topic)) = kafka::topic(3) else { return };
    let settings = settings(&bootstrap, &topic);
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until("assignment", |reader| reader.assigned.is_some());
    let mut producer = producer(&settings);
    let limits = GroupLimits { linger: Duration::from_millis(200), ..LIMITS };
    // The first record includes the time for connections.
    let mut took = Vec::new();
    for number in 0..20 {
        producer.send(&topic, &OutgoingRecord { payload: Some(b"{}"), ..Default::default() }).unwrap();
        producer.flush(Duration::from_secs(60)).unwrap();
        let sent = Instant::now();
        while reader.order.len() <= number {
            reader.step(&limits);
        }
        if number > 2 {
            took.push(sent.elapsed());
        }
    }
    took.sort();
    println!("{took:?}");
    // The median, because a busy machine delays a few of them.
    assert!(took[took.len() / 2] < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_of_two_with_its_name_one_ends() {
    let Some((bootstrap, topic)) = kafka::topic(2) else { return };
    let settings = settings(&bootstrap, &topic);
    let named = |id: &str| {
        let mut settings = settings.clone();
        settings.group_instance_id = Some(id.to_owned());
        Reader::new(&settings, Stored::new())
    };
    let one = |reader: &Reader| reader.assigned.as_ref().is_some_and(|all| all.partitions.len() == 1);
    let (mut first, mut second) = (named("a"), named("b"));
    let end = Instant::now() + Duration::from_secs(120);
    while !(one(&first) && one(&second)) {
        assert!(Instant::now() < end);
        first.step(&LIMITS);
        second.step(&LIMITS);
    }
    let before = first.control.stats().rebalances;
    drop(second);
    let mut second = named("b");
    second.until("back", one);
    assert_eq!((first.control.stats().rebalances, one(&first)), (before, true));

    let mut double = named("a");
    double.until("in its place", one);
    // The fenced member takes its name back once. When it is fenced again, it ends, and the other
    // one stays.
    let end = Instant::now() + Duration::from_secs(120);
    let error = loop {
        assert!(Instant::now() < end);
        double.step(&LIMITS);
        match first.group.next(&LIMITS, &mut RecordBatch::new()) {
            Ok(_) => {}
            Err(error) => break std::error::Error::source(&error).unwrap().to_string(),
        }
    };
    assert!(error.contains("TURNMILL_KAFKA_GROUP_INSTANCE_ID"), "{error}");
    assert_eq!((first.control.stats().lost, double.control.stats().lost), (1, 1));
    drop(first);
    double.until("in its place again", one);
}
