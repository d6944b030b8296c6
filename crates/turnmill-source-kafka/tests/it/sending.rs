//! The producer.

use std::time::Duration;

use turnmill_source_kafka::{KafkaError, KafkaProducer, OutgoingRecord, ProducerSettings};
use turnmill_testbed::kafka;

use crate::reader::{producer, settings};

#[test]
fn each_record_has_a_ticket_and_a_delivery_in_order() {
    let Some((bootstrap, topic)) = kafka::topic(1) else { return };
    let mut producer = producer(&settings(&bootstrap, &topic));
    let mut deliveries = Vec::new();
    for number in 0..500 {
        let record = OutgoingRecord { payload: Some(b"{}"), ..Default::default() };
        assert_eq!(producer.send(&topic, &record).unwrap(), number);
        deliveries.extend(producer.delivered());
    }
    producer.flush(Duration::from_secs(20)).unwrap();
    deliveries.extend(producer.delivered());
    let found: Vec<_> =
        deliveries.into_iter().map(|delivery| (delivery.ticket, delivery.result.unwrap().1)).collect();
    assert_eq!(found, (0..500).map(|number| (number, i64::try_from(number).unwrap())).collect::<Vec<_>>());
    assert_eq!(producer.in_flight(), 0);
}

#[test]
fn a_topic_is_not_created_and_failed_deliveries_are_reported() {
    let Some((bootstrap, topic)) = kafka::topic(1) else { return };
    let settings = settings(&bootstrap, &topic);
    let hasty = ProducerSettings {
        delivery_timeout: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        ..Default::default()
    };
    let mut producer = KafkaProducer::new(&settings, &hasty).unwrap();
    let absent = format!("{topic}-absent");
    assert!(producer.topic_exists(&topic, Duration::from_secs(10)).unwrap());
    assert!(!producer.topic_exists(&absent, Duration::from_secs(10)).unwrap());
    let record = OutgoingRecord { payload: Some(b"{}"), ..Default::default() };
    let sent = producer.send(&absent, &record);
    let error = match sent {
        Err(error) => error,
        Ok(ticket) => {
            let error = producer.flush(Duration::from_secs(20)).unwrap_err();
            assert!(producer.delivered().iter().any(|it| it.ticket == ticket && it.result.is_err()));
            error
        }
    };
    assert!(matches!(error, KafkaError::Undelivered { .. }), "{error}");
    assert!(!producer.topic_exists(&absent, Duration::from_secs(10)).unwrap());
}
