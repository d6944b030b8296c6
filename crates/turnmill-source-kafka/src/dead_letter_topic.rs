//! A topic of dead letters, as a sink.

use std::collections::BTreeSet;
use std::time::Duration;

use turnmill_sink::outbox::{ChangeBatch, ChangeValue, DEAD_LETTERS, Operation, RowChange, read_headers};
use turnmill_sink::{Class, Sink, SinkError};

use crate::{KafkaError, KafkaProducer, KafkaSettings, OutgoingRecord, ProducerSettings};

/// Time within which brokers have to confirm the letters of a batch.
const DELIVERY: Duration = Duration::from_secs(30);
/// Time between two looks for a topic that is not there.
const MISSING: Duration = Duration::from_secs(10);

/// A topic that gets the dead letters of a store: each as the record that it was, with its key, value and headers, and after
/// them the headers `original_offset`, `original_topic`, `original_partition` (decimal text) and `error`.
///
/// The topic is not created. While it does not exist, and while the brokers are away, [`write`](Sink::write) fails in a way that
/// may pass. A letter that is larger than the topic takes is [refused](SinkError::refused).
pub struct DeadLetterTopic {
    producer: KafkaProducer,
    topic: String,
    exists: bool,
    /// Letters that brokers have confirmed, of the batch with this name, which may come again without one that was refused.
    confirmed: (String, BTreeSet<String>),
}

impl std::fmt::Debug for DeadLetterTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetterTopic").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl DeadLetterTopic {
    /// The topic `topic`. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// Settings that cannot be.
    pub fn new(
        settings: &KafkaSettings,
        producer: &ProducerSettings,
        topic: impl Into<String>,
    ) -> Result<Self, KafkaError> {
        let producer = KafkaProducer::new(settings, producer)?;
        Ok(Self { producer, topic: topic.into(), exists: false, confirmed: Default::default() })
    }

    /// Looks for the topic, until it was found once. Blocks for up to five seconds.
    ///
    /// # Errors
    ///
    /// Retryable if the topic does not exist, or the brokers cannot be asked.
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
                "the dead-letter topic does not exist: `{}`. The table keeps all dead letters, and the topic gets them once it exists",
                self.topic
            ),
            Err(error) => format!("cannot look for the dead-letter topic `{}`: {error}", self.topic),
        };
        Err(SinkError { class: Class::Retryable { after: Some(MISSING) }, ..SinkError::retryable(detail) })
    }

    /// Sends the letters of a batch and waits until brokers have confirmed all of them.
    fn send(&mut self, batch: &ChangeBatch) -> Result<(), SinkError> {
        self.find()?;
        let name = batch.origin.to_string();
        if self.confirmed.0 != name {
            self.confirmed = (name, BTreeSet::new());
        }
        let letters = batch.rows().enumerate().filter(|(_, row)| is_letter(row));
        let mut sent = Vec::new();
        for (index, letter) in letters {
            if self.confirmed.1.contains(&letter.key()) {
                continue;
            }
            match self.send_one(&letter) {
                Ok(ticket) => sent.push((ticket, index, letter.key())),
                // Those before it are waited for below, in the next attempt.
                Err(error) => return Err(self.failure(index, &error)),
            }
        }
        let flushed = self.producer.flush(DELIVERY);
        let mut first = None;
        let delivered = self.producer.delivered();
        for (ticket, index, key) in sent {
            match delivered.iter().find(|delivery| delivery.ticket == ticket).map(|delivery| &delivery.result)
            {
                Some(Ok(_)) => {
                    self.confirmed.1.insert(key);
                }
                Some(Err(error)) => {
                    first.get_or_insert_with(|| self.failure(index, error));
                }
                // What has not even failed by now fails the flush.
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

/// Whether a topic can never take the record. The client library says so in words only.
fn is_too_large(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Undelivered { problem, .. } if problem.to_lowercase().contains("too large") || problem.contains("MessageSizeTooLarge"))
}

/// Where a letter came from and why, to be written after its original headers.
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

/// Topic, partition and offset of a letter that came from Kafka: `topic/3@17`.
fn origin(place: &str) -> Option<(&str, &str, &str)> {
    let (partition, offset) = place.rsplit_once('@')?;
    let (topic, partition) = partition.rsplit_once('/')?;
    (partition.parse::<u32>().is_ok() && offset.parse::<u64>().is_ok()).then_some((topic, partition, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_kafka_are_taken_apart_and_others_left() {
        assert_eq!(origin("rasa/core@events/3@17"), Some(("rasa/core@events", "3", "17")));
        for place in ["17", "rasa@17", "rasa/x@17", "rasa/3@", "", "rasa/-1@2"] {
            assert_eq!(origin(place), None, "{place}");
        }
    }
}
