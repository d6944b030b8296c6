//! Copies dead letters from the table to the dead-letter topic.
//!
//! Progress is a position in the store. It moves after the brokers have acknowledged the records.
//! So every dead letter is sent at least once, in the order of their numbers. Of several processes,
//! one moves the position and the others are fenced.

use std::sync::Arc;
use std::time::{Duration, Instant};

use turnmill_model::PartitionId;
use turnmill_pipeline::explain;
use turnmill_service::Component;
use turnmill_sink::{Advance, Claim, Class, DeadLetter, Inspect, Store, StoreError, Transaction};
use turnmill_source_kafka::{KafkaError, KafkaProducer, OutgoingRecord};
use turnmill_stores::AnyStore;

use super::service::{Service, error_with_setting};
use crate::connect;

/// Source of the position in the store; its partition is the name of the topic.
const SOURCE: &str = "dead-letter-topic";
/// Interval between polls of the table.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Interval between checks for a missing topic, and between attempts after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Number of dead letters sent before the position moves.
const PAGE: usize = 200;
/// Time the brokers have to acknowledge a page.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Time to wait for a missing number, which may belong to a transaction that is still open.
const GAP_TIMEOUT: Duration = Duration::from_secs(60);

/// Copies dead letters until a stop is requested.
pub(super) fn run(service: &Arc<Service>, component: Component) {
    let Some(topic) = service.settings.dead_letters.topic.clone() else { return component.finish() };
    let result = Mirror::new(service, &topic).and_then(|mut mirror| {
        if mirror.find_topic() {
            tracing::info!(topic, "copying dead letters to the topic");
            mirror.run()?;
        }
        Ok(())
    });
    match result {
        Ok(()) => component.finish(),
        Err(reason) => component.fail(reason),
    }
}

struct Mirror<'s> {
    service: &'s Service,
    topic: String,
    producer: KafkaProducer,
    store: AnyStore,
    /// First missing number, and the time at which it was noticed.
    gap: Option<(u64, Instant)>,
}

impl<'s> Mirror<'s> {
    fn new(service: &'s Service, topic: &str) -> Result<Self, String> {
        let settings = &service.settings;
        let producer = KafkaProducer::new(&connect::kafka(settings, 0), &connect::producer(settings));
        let producer = producer.map_err(|error| explain(&error))?;
        let store = service.target.store().map_err(|error| error_with_setting(&error))?;
        Ok(Self { service, topic: topic.to_owned(), producer, store, gap: None })
    }

    /// Waits until the topic exists. Returns `false` if a stop was requested before. Logs the first
    /// failure only.
    fn find_topic(&self) -> bool {
        let mut was_logged = false;
        while !self.service.stop.is_set() {
            match self.producer.topic_exists(&self.topic, Duration::from_secs(5)) {
                Ok(true) => return true,
                Ok(false) if !was_logged => {
                    tracing::warn!(
                        topic = self.topic,
                        "dead-letter topic (RASA_ANALYTICS_DLQ) does not exist; the table keeps all dead letters, and they are \
                         sent once the topic exists"
                    );
                    was_logged = true;
                }
                Err(error) if !was_logged => {
                    tracing::warn!(
                        topic = self.topic,
                        "cannot check whether the dead-letter topic exists, retrying: {}",
                        explain(&error)
                    );
                    was_logged = true;
                }
                Ok(false) | Err(_) => {}
            }
            self.service.stop.wait(RETRY_INTERVAL);
        }
        false
    }

    fn run(&mut self) -> Result<(), String> {
        let runtime = self.service.runtime.clone();
        let mut opened = false;
        while !self.service.stop.is_set() {
            let result = runtime.block_on(async {
                if !opened {
                    self.store.open(&self.service.settings.rows).await?;
                    opened = true;
                }
                self.page().await
            });
            let pause = match result {
                Ok(PageOutcome::Sent) => continue,
                Ok(PageOutcome::Empty) => POLL_INTERVAL,
                Ok(PageOutcome::Failed(error)) => {
                    tracing::warn!(
                        topic = self.topic,
                        "dead letters not sent, retrying: {}",
                        explain(&error)
                    );
                    RETRY_INTERVAL
                }
                Err(error) => match error.class() {
                    // The consumers log that the database is unavailable.
                    Class::Retryable { .. } => RETRY_INTERVAL,
                    Class::Fenced => {
                        tracing::debug!("another process sends the dead letters");
                        RETRY_INTERVAL
                    }
                    Class::Poison | Class::Fatal => return Err(error_with_setting(&error)),
                },
            };
            self.service.stop.wait(pause);
        }
        Ok(())
    }

    /// Sends the next dead letters, and moves the position.
    async fn page(&mut self) -> Result<PageOutcome, StoreError> {
        let ledger = self.store.ledger().await?;
        let waiting = ledger.iter().map(|(_, counts)| counts.dead_letters).sum::<i64>();
        self.service.metrics.set_dead_letters_waiting(u64::try_from(waiting).unwrap_or_default());

        let key = PartitionId { source: SOURCE.into(), partition: self.topic.clone() };
        let positions = self.store.positions().await?;
        let from = positions.into_iter().find(|(stored, _)| *stored == key).map(|(_, position)| position);
        let after = match &from {
            None => 0,
            Some(text) => text.parse().map_err(|_| StoreError::Damaged {
                detail: format!("the position of {key} is `{text}`, expected a number"),
            })?,
        };
        let mut letters = self.store.dead_letters(after, PAGE).await?;
        let settled = self.settled(after, &letters);
        letters.truncate(settled);
        let Some(last) = letters.last().map(|letter| letter.id) else { return Ok(PageOutcome::Empty) };
        if let Err(error) = self.send(&letters) {
            return Ok(PageOutcome::Failed(error));
        }
        let advances = vec![Advance { key, from, to: last.to_string() }];
        let claim = Claim { advances, ..Claim::default() };
        self.store.begin(&claim).await?.commit().await?;
        Ok(PageOutcome::Sent)
    }

    /// Returns how many of the dead letters can be sent without skipping one that commits later.
    ///
    /// PostgreSQL assigns numbers before the commit. Example: 7 and 9 are visible, because the
    /// transaction with 8 is still open. Sending 9 would move the position past 8. So this stops at
    /// a gap, until the number appears or `GAP_TIMEOUT` has passed since the gap was noticed: then
    /// its transaction was rolled back.
    fn settled(&mut self, after: u64, letters: &[DeadLetter]) -> usize {
        // SQLite has one writer at a time, so numbers become visible in order.
        if matches!(self.store, AnyStore::Sqlite(_)) {
            return letters.len();
        }
        let mut expected = after + 1;
        for (number, letter) in letters.iter().enumerate() {
            if letter.id > expected {
                let (gap, since) = *self.gap.get_or_insert((expected, Instant::now()));
                if gap != expected {
                    self.gap = Some((expected, Instant::now()));
                    return number;
                }
                if since.elapsed() < GAP_TIMEOUT {
                    return number;
                }
            }
            expected = letter.id + 1;
        }
        letters.len()
    }

    /// Sends dead letters and waits until all are acknowledged. Those that are too large for the
    /// topic are skipped; the table keeps them.
    fn send(&mut self, letters: &[DeadLetter]) -> Result<(), KafkaError> {
        let (mut sent, mut failed) = (0, 0);
        let mut in_flight = Vec::with_capacity(letters.len());
        for letter in letters {
            let own = own_headers(letter);
            let original = letter.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
            let headers: Vec<(&str, Option<&[u8]>)> =
                original.chain(own.iter().map(|(name, value)| (*name, Some(value.as_bytes())))).collect();
            let record = OutgoingRecord {
                key: letter.record_key.as_deref(),
                payload: Some(&letter.payload),
                headers: &headers,
                time: None,
            };
            match self.producer.send(&self.topic, &record) {
                Ok(ticket) => in_flight.push((ticket, letter.id)),
                Err(error) => skip_if_too_large(letter.id, error, &mut failed)?,
            }
        }
        let flushed = self.producer.flush(DELIVERY_TIMEOUT);
        let delivered = self.producer.delivered();
        let mut first = None;
        for (ticket, letter) in in_flight {
            // A record without a delivery report makes the flush fail.
            let Some(found) = delivered.iter().position(|delivery| delivery.ticket == ticket) else {
                continue;
            };
            match delivered.get(found).map(|delivery| &delivery.result) {
                Some(Err(error)) if !is_too_large(error) => {
                    first.get_or_insert_with(|| explain(error));
                }
                Some(Err(error)) => {
                    failed += 1;
                    log_too_large(letter, error);
                }
                _ => sent += 1,
            }
        }
        self.service.metrics.mirrored(sent, failed);
        match (first, flushed) {
            (Some(problem), _) => Err(KafkaError::Undelivered { topic: self.topic.clone(), problem }),
            // The failed record was skipped.
            (None, Err(KafkaError::Undelivered { .. }) | Ok(())) => Ok(()),
            (None, Err(error)) => Err(error),
        }
    }
}

fn skip_if_too_large(letter: u64, error: KafkaError, failed: &mut u64) -> Result<(), KafkaError> {
    if !is_too_large(&error) {
        return Err(error);
    }
    *failed += 1;
    log_too_large(letter, &error);
    Ok(())
}

fn log_too_large(letter: u64, error: &KafkaError) {
    tracing::error!(
        letter,
        "dead letter too large for the topic, kept in the table only: {}",
        explain(error)
    );
}

/// What became of a page of dead letters.
enum PageOutcome {
    /// The page was sent, and there may be more.
    Sent,
    /// There was nothing to send.
    Empty,
    /// The brokers did not acknowledge the records.
    Failed(KafkaError),
}

/// Returns whether the record is too large for the topic. librdkafka reports it only in the text of
/// the error.
fn is_too_large(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Undelivered { problem, .. } if problem.to_lowercase().contains("too large") || problem.contains("MessageSizeTooLarge"))
}

/// Returns the headers that are appended to the original ones.
fn own_headers(letter: &DeadLetter) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    if let Some((topic, partition, offset)) = origin(&letter.place) {
        headers.push(("original_offset", offset.to_owned()));
        headers.push(("original_topic", topic.to_owned()));
        headers.push(("original_partition", partition.to_owned()));
    }
    headers.push(("error", format!("{}: {}", letter.reason.as_str(), letter.detail)));
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
