//! A topic of rows as a sink.

use serde::Serialize;
use turnmill_sink::outbox::{ChangeBatch, Operation, RowChange};
use turnmill_sink::{Sink, SinkError};

use crate::sink_topic::SinkTopic;
use crate::{KafkaError, KafkaProducer, KafkaSettings, OutgoingRecord, ProducerSettings};

/// Sends every changed row of a store to a topic, as a record for each change.
///
/// The key is table and primary key, `rasa_event/018…`. The value is JSON: `op`, `table` and `row`
/// as in the JSON of a [`ChangeBatch`]. A deleted row is a tombstone. The header `batch` names the
/// batch. So a compacted topic keeps the latest change of each row.
///
/// Records of one key have the order of the commits. Those of different keys have it inside a
/// partition only.
///
/// The topic is never created. While it is missing, and while the brokers are unavailable,
/// [`write`](Sink::write) returns a retryable error. A row that is too large for the topic is
/// [refused](SinkError::refused).
#[derive(Debug)]
pub struct RowTopic(SinkTopic);

impl RowTopic {
    /// Creates the sink of `topic`. Does not connect yet.
    ///
    /// # Errors
    ///
    /// Returns an error if the settings are invalid.
    pub fn new(
        settings: &KafkaSettings,
        producer: &ProducerSettings,
        topic: impl Into<String>,
    ) -> Result<Self, KafkaError> {
        let meanwhile = "rows are sent once it exists";
        SinkTopic::new(settings, producer, topic.into(), "row topic", meanwhile).map(Self)
    }
}

impl Sink for RowTopic {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<(), SinkError> {
        let name = batch.origin.to_string();
        self.0.send(batch, |_| true, |producer, topic, row| send(producer, topic, &name, row))
    }
}

/// Value of a record.
#[derive(Serialize)]
struct Value<'r, 'b> {
    op: &'static str,
    table: &'b str,
    row: &'r RowChange<'b>,
}

fn send(
    producer: &mut KafkaProducer,
    topic: &str,
    batch: &str,
    row: &RowChange<'_>,
) -> Result<usize, KafkaError> {
    let key = format!("{}/{}", row.table, row.key());
    let value = match row.operation {
        Operation::Delete => None,
        operation => {
            let value = Value { op: operation.as_str(), table: row.table, row };
            let failed = |error: serde_json::Error| KafkaError::Failed {
                doing: "a row could not be written as JSON",
                problem: error.to_string(),
            };
            Some(serde_json::to_vec(&value).map_err(failed)?)
        }
    };
    let record = OutgoingRecord {
        key: Some(key.as_bytes()),
        payload: value.as_deref(),
        headers: &[("batch", Some(batch.as_bytes()))],
        time: None,
    };
    producer.send(topic, &record)
}
