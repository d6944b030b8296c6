//! Tests of reading up to an end.

use std::time::Duration;

use turnmill_source_kafka::{Edge, KafkaRange, KafkaSettings, OutgoingRecord};
use turnmill_testbed::kafka;

use crate::reader::{Reader, Stored, names, producer, settings, write};

#[test]
fn a_bounded_group_ends_where_the_partitions_ended() {
    let Some((bootstrap, topic)) = kafka::topic(3) else { return };
    let mut settings = settings(&bootstrap, &topic);
    settings.until_end = true;
    for key in 0..10 {
        write(&settings, Some(&format!("k{key}")), &names("r", 0..30));
    }
    let mut reader = Reader::new(&settings, Stored::new());
    reader.until("assignment", |reader| reader.assigned.is_some());
    reader.read_to_end();
    assert_eq!(reader.order.len(), 300);
    let stored = reader.stored.clone();
    drop(reader);
    let mut reader = Reader::new(&settings, stored);
    reader.read_to_end();
    assert_eq!(reader.order.len(), 0);
}

fn read(settings: &KafkaSettings, from: Option<Edge>, to: Option<Edge>) -> Reader {
    let mut settings = settings.clone();
    settings.range = Some(KafkaRange { from, to });
    let mut reader = Reader::new(&settings, Stored::new());
    reader.read_to_end();
    // Records of partitions that answer late arrive late.
    reader.order.sort();
    reader
}

#[test]
fn a_range_is_read_by_offset_and_by_time_without_a_group() {
    let Some((bootstrap, topic)) = kafka::topic(2) else { return };
    let settings = settings(&bootstrap, &topic);
    let mut producer = producer(&settings);
    for number in 0..100_u32 {
        let (key, value) = (format!("k{number}"), format!("{number:03}"));
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
    let all: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();

    let whole = read(&settings, None, None);
    assert_eq!(whole.order, all);
    assert_eq!(whole.stored.values().map(|position| position.offset).sum::<u64>(), 100);

    let (from, to) = (1_700_000_020.0, 1_700_000_050.0);
    let part = read(&settings, Some(Edge::Time(from)), Some(Edge::Time(to)));
    assert_eq!(part.order, all[20..50]);
    assert_eq!(part.stored, Stored::new(), "a range has no positions");
    assert_eq!(read(&settings, Some(Edge::Time(from)), None).order, all[20..]);
    assert_eq!(read(&settings, Some(Edge::Time(2e9)), None).order.len(), 0);
    assert_eq!(read(&settings, Some(Edge::Offset(0)), Some(Edge::Offset(5))).order.len(), 10);
}
