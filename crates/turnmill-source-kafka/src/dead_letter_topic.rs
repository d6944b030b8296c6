//! The dead-letter topic as a sink.

use std::collections::BTreeSet;
use std::time::Duration;

use turnmill_sink::outbox::{ChangeBatch, ChangeValue, DEAD_LETTERS, Operation, RowChange, read_headers};
use turnmill_sink::{Class, Sink, SinkError};

use crate::{KafkaError, KafkaProducer, KafkaSettings, OutgoingRecord, ProducerSettings};

/// Time the brokers have to acknowledge a batch.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Interval between checks for a missing topic.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Sends the dead letters of a store to a topic. A sent record has the original key, value and
/// headers. The headers `original_offset`, `original_topic`, `original_partition` (decimal text)
/// and `error` are appended.
///
/// The topic is never created. While it is missing, and while the brokers are unavailable,
/// [`write`](Sink::write) returns a retryable error. A dead letter that is too large for the topic
/// is [refused](SinkError::refused).
pub struct DeadLetterTopic {
    producer: KafkaProducer,
    topic: String,
    exists: bool,
    /// Origin of the last batch, and the keys of its dead letters that the brokers have
    /// acknowledged. The batch is repeated without a refused dead letter, and these are then not
    /// sent again.
    acknowledged: (String, BTreeSet<String>),
}

impl std::fmt::Debug for DeadLetterTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetterTopic").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl DeadLetterTopic {
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
        let producer = KafkaProducer::new(settings, producer)?;
        Ok(Self { producer, topic: topic.into(), exists: false, acknowledged: Default::default() })
    }

    /// Checks whether the topic exists, until it was found once. Blocks for up to five seconds.
    ///
    /// # Errors
    ///
    /// Returns a retryable error if the topic does not exist or the brokers do not answer.
    pub fn find(&mut self) -> Result<(), SinkError> {
        if self.exists {
            return Ok(());
        }
        let detail = match self.producer.topic_exists(&self.topic, Duration::from_secs(5)) {
            Ok(true) => {
                self.exists = true;
                return Ok(());
            }
            Ok(false) => format!(
                "dead-letter topic `{}` does not exist; the table keeps all dead letters, and they are sent \
                 once the topic exists",
                self.topic
            ),
            Err(error) => {
                format!("cannot check whether the dead-letter topic `{}` exists: {error}", self.topic)
            }
        };
        Err(SinkError {
            class: Class::Retryable { after: Some(RETRY_INTERVAL) },
            ..SinkError::retryable(detail)
        })
    }

    /// Sends the dead letters of a batch and waits until all are acknowledged.
    fn send(&mut self, batch: &ChangeBatch) -> Result<(), SinkError> {
        self.find()?;
        let name = batch.origin.to_string();
        if self.acknowledged.0 != name {
            self.acknowledged = (name, BTreeSet::new());
        }
        let letters = batch.rows().enumerate().filter(|(_, row)| is_letter(row));
        let mut sent = Vec::new();
        for (index, letter) in letters {
            if self.acknowledged.1.contains(&letter.key()) {
                continue;
            }
            match self.send_one(&letter) {
                Ok(ticket) => sent.push((ticket, index, letter.key())),
                // The next attempt waits for the records before it.
                Err(error) => return Err(self.failure(index, &error)),
            }
        }
        let flushed = self.producer.flush(DELIVERY_TIMEOUT);
        let mut first = None;
        let delivered = self.producer.delivered();
        for (ticket, index, key) in sent {
            match delivered.iter().find(|delivery| delivery.ticket == ticket).map(|delivery| &delivery.result)
            {
                Some(Ok(_)) => {
                    self.acknowledged.1.insert(key);
                }
                Some(Err(error)) => {
                    first.get_or_insert_with(|| self.failure(index, error));
                }
                // A record without a delivery report makes the flush fail.
                None => {}
            }
        }
        match (first, flushed) {
            (Some(failure), _) => Err(failure),
            (None, Err(error)) if !matches!(error, KafkaError::Undelivered { .. }) => {
                Err(SinkError::retryable(error.to_string()))
            }
            (None, _) => Ok(()),
        }
    }

    fn send_one(&mut self, letter: &RowChange<'_>) -> Result<usize, KafkaError> {
        let text = |name| letter.get(name).and_then(ChangeValue::as_text);
        let bytes = |name| letter.get(name).and_then(ChangeValue::as_bytes);
        let own = own_headers(text("place"), text("reason"), text("detail"));
        let original = text("headers").and_then(read_headers).unwrap_or_default();
        let original = original.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        let own = own.iter().map(|(name, value)| (*name, Some(value.as_bytes())));
        let headers: Vec<(&str, Option<&[u8]>)> = original.chain(own).collect();
        let record = OutgoingRecord {
            key: bytes("record_key"),
            payload: Some(bytes("payload").unwrap_or_default()),
            headers: &headers,
            time: None,
        };
        self.producer.send(&self.topic, &record)
    }

    fn failure(&self, index: usize, error: &KafkaError) -> SinkError {
        if is_too_large(error) {
            return SinkError::refused(index, error.to_string());
        }
        SinkError::retryable(error.to_string())
    }
}

impl Sink for DeadLetterTopic {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<(), SinkError> {
        self.send(batch)
    }
}

fn is_letter(row: &RowChange<'_>) -> bool {
    row.operation == Operation::Put && row.table == DEAD_LETTERS
}

/// Returns whether the record is too large for the topic. librdkafka reports it only in the text of
/// the error.
fn is_too_large(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Undelivered { problem, .. } if problem.to_lowercase().contains("too large") || problem.contains("MessageSizeTooLarge"))
}

/// Returns the headers that are appended to the original ones.
fn own_headers(
    place: Option<&str>,
    reason: Option<&str>,
    detail: Option<&str>,
) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    if let Some((topic, partition, offset)) = place.and_then(origin) {
        headers.push(("original_offset", offset.to_owned()));
        headers.push(("original_topic", topic.to_owned()));
        headers.push(("original_partition", partition.to_owned()));
    }
    headers.push(("error", format!("{}: {}", reason.unwrap_or_default(), detail.unwrap_or_default())));
    headers
}

/// Parses topic, partition and offset of a record from Kafka: `topic/3@17`.
fn origin(position: &str) -> Option<(&str, &str, &str)> {
    let (partition, offset) = position.rsplit_once('@')?;
    let (topic, partition) = partition.rsplit_once('/')?;
    (partition.parse::<u32>().is_ok() && offset.parse::<u64>().is_ok()).then_some((topic, partition, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_in_kafka_are_parsed_and_others_are_not() {
        assert_eq!(origin("rasa/core@events/3@17"), Some(("rasa/core@events", "3", "17")));
        for position in ["17", "rasa@17", "rasa/x@17", "rasa/3@", "", "rasa/-1@2"] {
            assert_eq!(origin(position), None, "{position}");
        }
    }
}
