//! Sends every changed row to a Kafka topic. The key is table and primary key, the value is JSON,
//! and a deleted row is a tombstone. A compacted topic keeps the latest change of each row.
//!
//! ```text
//! cargo run -p turnmill --example sink_kafka_rows -- sqlite:rasa.sqlite localhost:9092 rasa-rows
//! ```

#![allow(clippy::print_stderr, reason = "it is a program that prints")]

use std::error::Error;
use std::time::Duration;

use turnmill_pipeline::{OutboxRunner, Stop};
use turnmill_sink::outbox::{ChangeBatch, Operation, SinkSpec};
use turnmill_sink::{Sink, SinkError};
use turnmill_source_kafka::{KafkaError, KafkaProducer, KafkaSettings, OutgoingRecord, ProducerSettings};
use turnmill_stores::AnyStore;

/// A topic of rows.
pub(crate) struct KafkaRows {
    producer: KafkaProducer,
    topic: String,
}

impl KafkaRows {
    pub(crate) fn new(brokers: &str, topic: &str) -> Result<Self, KafkaError> {
        let producer = KafkaProducer::new(&KafkaSettings::new(brokers), &ProducerSettings::default())?;
        Ok(Self { producer, topic: topic.to_owned() })
    }

    fn send(&mut self, batch: &ChangeBatch) -> Result<(), KafkaError> {
        let name = batch.origin.to_string();
        for row in batch.rows() {
            let key = format!("{}/{}", row.table, row.key());
            let value = serde_json::json!({ "op": row.operation.as_str(), "table": row.table, "row": row });
            let value = value.to_string();
            let record = OutgoingRecord {
                key: Some(key.as_bytes()),
                payload: (row.operation != Operation::Delete).then_some(value.as_bytes()),
                headers: &[("batch", Some(name.as_bytes()))],
                time: None,
            };
            self.producer.send(&self.topic, &record)?;
        }
        Ok(())
    }
}

impl Sink for KafkaRows {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<(), SinkError> {
        let sent = self.send(batch);
        let flushed = self.producer.flush(Duration::from_secs(30));
        // Every record has to be confirmed before the next batch is asked for.
        let unconfirmed = self.producer.delivered().into_iter().find_map(|delivery| delivery.result.err());
        let failed = sent.err().or(unconfirmed).or(flushed.err());
        failed.map_or(Ok(()), |error| Err(SinkError::retryable(error.to_string())))
    }
}

#[allow(dead_code, reason = "the tests have a main of their own")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, brokers, topic] = arguments.as_slice() else {
        return Err("usage: sink_kafka_rows STORE BROKERS TOPIC".into());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let store = AnyStore::from_url(url)?.with_password_of_process();
        let settings = store.stored_settings().await?;
        let sink = KafkaRows::new(brokers, topic)?;
        let mut runner =
            OutboxRunner::new(store, &settings, SinkSpec::new("kafka-rows"), sink, Stop::default());
        Ok(runner.run(&mut |event| eprintln!("{event:?}")).await?)
    })
}
