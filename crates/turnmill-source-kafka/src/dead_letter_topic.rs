//! The dead-letter topic as a sink.

use turnmill_sink::outbox::{ChangeBatch, ChangeValue, DEAD_LETTERS, Operation, RowChange, read_headers};
use turnmill_sink::{Sink, SinkError};

use crate::sink_topic::SinkTopic;
use crate::{KafkaError, KafkaProducer, KafkaSettings, OutgoingRecord, ProducerSettings};

/// Sends the dead letters of a store to a topic. A sent record has the original key, value and
/// headers. The headers `original_offset`, `original_topic`, `original_partition` (decimal text)
/// and `error` are appended.
///
/// The topic is never created. While it is missing, and while the brokers are unavailable,
/// [`write`](Sink::write) returns a retryable error. A dead letter that is too large for the topic
/// is [refused](SinkError::refused).
#[derive(Debug)]
pub struct DeadLetterTopic(SinkTopic);

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
        let meanwhile = "the table keeps all dead letters, and they are sent once the topic exists";
        SinkTopic::new(settings, producer, topic.into(), "dead-letter topic", meanwhile).map(Self)
    }

    /// Checks whether the topic exists, until it was found once. Blocks for up to five seconds.
    ///
    /// # Errors
    ///
    /// Returns a retryable error if the topic does not exist or the brokers do not answer.
    pub fn find(&mut self) -> Result<(), SinkError> {
        self.0.find()
    }
}

impl Sink for DeadLetterTopic {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<(), SinkError> {
        self.0.send(batch, is_letter, send)
    }
}

fn send(producer: &mut KafkaProducer, topic: &str, letter: &RowChange<'_>) -> Result<usize, KafkaError> {
    let value = |name| letter.get(name).unwrap_or(ChangeValue::Null);
    let (place, reason, detail) = (value("place"), value("reason"), value("detail"));
    let (headers, key, payload) = (value("headers"), value("record_key"), value("payload"));
    let own = own_headers(place.as_text(), reason.as_text(), detail.as_text());
    let original = headers.as_text().and_then(read_headers).unwrap_or_default();
    let original = original.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
    let own = own.iter().map(|(name, value)| (*name, Some(value.as_bytes())));
    let headers: Vec<(&str, Option<&[u8]>)> = original.chain(own).collect();
    let record = OutgoingRecord {
        key: key.as_bytes(),
        payload: Some(payload.as_bytes().unwrap_or_default()),
        headers: &headers,
        time: None,
    };
    producer.send(topic, &record)
}

fn is_letter(row: &RowChange<'_>) -> bool {
    row.operation == Operation::Put && row.table == DEAD_LETTERS
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
