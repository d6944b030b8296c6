//! The dead-letter topic, fed from the table.
//!
//! How far it has come is a position of the store, moved once the brokers have confirmed the records: so every letter is sent
//! at least once, in the order of their numbers, and of several processes the one that moves the position goes on, while the
//! others are fenced.

use std::sync::Arc;
use std::time::{Duration, Instant};

use turnmill_model::PartitionId;
use turnmill_pipeline::explain;
use turnmill_service::Component;
use turnmill_sink::{Advance, Claim, Class, DeadLetter, Inspect, Store, StoreError, Transaction};
use turnmill_source_kafka::{KafkaError, KafkaProducer, OutgoingRecord};
use turnmill_stores::AnyStore;

use super::{Service, complaint};
use crate::connect;

/// Name under which the store keeps how far the topic has come; the topic is the partition.
const SOURCE: &str = "dead-letter-topic";
/// Time between two looks at the table.
const EVERY: Duration = Duration::from_secs(1);
/// Time between two looks for a topic that is not there, and before another try after a failure.
const PAUSE: Duration = Duration::from_secs(10);
/// Letters sent before the position moves.
const PAGE: usize = 200;
/// How long brokers may take for a page.
const DELIVERY: Duration = Duration::from_secs(30);
/// A number that is missing may be of a transaction that has not ended yet. So long it is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Mirrors until stopped.
pub(super) fn run(service: &Arc<Service>, component: Component) {
    let Some(topic) = service.settings.dead_letters.topic.clone() else { return component.finish() };
    let result = Mirror::new(service, &topic).and_then(|mut mirror| {
        if mirror.find_topic() {
            tracing::info!(topic, "dead letters are mirrored");
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
    /// A number that is missing, and since when.
    gap: Option<(u64, Instant)>,
}

impl<'s> Mirror<'s> {
    fn new(service: &'s Service, topic: &str) -> Result<Self, String> {
        let settings = &service.settings;
        let producer = KafkaProducer::new(&connect::kafka(settings, 0), &connect::producer(settings));
        let producer = producer.map_err(|error| explain(&error))?;
        let store = service.target.store().map_err(|error| complaint(&error))?;
        Ok(Self { service, topic: topic.to_owned(), producer, store, gap: None })
    }

    /// Waits until the topic is there; false if stopping was asked for before.
    fn find_topic(&self) -> bool {
        let mut told = false;
        while !self.service.stop.is_set() {
            match self.producer.topic_exists(&self.topic, Duration::from_secs(5)) {
                Ok(true) => return true,
                Ok(false) if !told => {
                    tracing::warn!(
                        topic = self.topic,
                        setting = "RASA_ANALYTICS_DLQ",
                        "the dead-letter topic does not exist; the table keeps all, and the topic gets them once it is there"
                    );
                    told = true;
                }
                Err(error) if !told => {
                    tracing::warn!(
                        topic = self.topic,
                        "cannot look for the dead-letter topic: {}",
                        explain(&error)
                    );
                    told = true;
                }
                Ok(false) | Err(_) => {}
            }
            self.service.stop.wait(PAUSE);
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
                Ok(Sent::Page) => continue,
                Ok(Sent::Nothing) => EVERY,
                Ok(Sent::Stuck(error)) => {
                    tracing::warn!(
                        topic = self.topic,
                        "cannot mirror dead letters for now: {}",
                        explain(&error)
                    );
                    PAUSE
                }
                Err(error) => match error.class() {
                    // The consumers tell of a database that is away.
                    Class::Retryable { .. } => PAUSE,
                    Class::Fenced => {
                        tracing::debug!("another process mirrors the dead letters");
                        PAUSE
                    }
                    Class::Poison | Class::Fatal => return Err(complaint(&error)),
                },
            };
            self.service.stop.wait(pause);
        }
        Ok(())
    }

    /// Sends the next letters, and notes that.
    async fn page(&mut self) -> Result<Sent, StoreError> {
        let ledger = self.store.ledger().await?;
        let waiting = ledger.iter().map(|(_, counts)| counts.dead_letters).sum::<i64>();
        self.service.metrics.set_dead_letters_waiting(u64::try_from(waiting).unwrap_or_default());

        let key = PartitionId { source: SOURCE.into(), partition: self.topic.clone() };
        let positions = self.store.positions().await?;
        let from = positions.into_iter().find(|(stored, _)| *stored == key).map(|(_, position)| position);
        let after = match &from {
            None => 0,
            Some(text) => text.parse().map_err(|_| StoreError::Damaged {
                detail: format!("the position of {key} is `{text}` and no number"),
            })?,
        };
        let mut letters = self.store.dead_letters(after, PAGE).await?;
        let settled = self.settled(after, &letters);
        letters.truncate(settled);
        let Some(last) = letters.last().map(|letter| letter.id) else { return Ok(Sent::Nothing) };
        if let Err(error) = self.send(&letters) {
            return Ok(Sent::Stuck(error));
        }
        let advances = vec![Advance { key, from, to: last.to_string() }];
        let claim = Claim { advances, ..Claim::default() };
        self.store.begin(&claim).await?.commit().await?;
        Ok(Sent::Page)
    }

    /// How many of the letters, from the first on, no other will come before.
    fn settled(&mut self, after: u64, letters: &[DeadLetter]) -> usize {
        // Only one transaction at a time numbers letters in a SQLite file.
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
                if since.elapsed() < PATIENCE {
                    return number;
                }
            }
            expected = letter.id + 1;
        }
        letters.len()
    }

    /// Sends letters and waits until all have arrived. Those that a topic can never take stay in the table alone.
    fn send(&mut self, letters: &[DeadLetter]) -> Result<(), KafkaError> {
        let (mut sent, mut failed) = (0, 0);
        let mut on_their_way = Vec::with_capacity(letters.len());
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
                Ok(ticket) => on_their_way.push((ticket, letter.id)),
                Err(error) => self.given_up(letter.id, error, &mut failed)?,
            }
        }
        let flushed = self.producer.flush(DELIVERY);
        let delivered = self.producer.delivered();
        let mut first = None;
        for (ticket, letter) in on_their_way {
            // What has not even failed by now fails the flush.
            let Some(found) = delivered.iter().position(|delivery| delivery.ticket == ticket) else {
                continue;
            };
            match delivered.get(found).map(|delivery| &delivery.result) {
                Some(Err(error)) if !is_too_large(error) => {
                    first.get_or_insert_with(|| explain(error));
                }
                Some(Err(error)) => {
                    failed += 1;
                    tracing::error!(letter, "a dead letter stays in the table alone: {}", explain(error));
                }
                _ => sent += 1,
            }
        }
        self.service.metrics.mirrored(sent, failed);
        match (first, flushed) {
            (Some(problem), _) => Err(KafkaError::Undelivered { topic: self.topic.clone(), problem }),
            // A failure of a record that was given up on.
            (None, Err(KafkaError::Undelivered { .. }) | Ok(())) => Ok(()),
            (None, Err(error)) => Err(error),
        }
    }

    fn given_up(&self, letter: u64, error: KafkaError, failed: &mut u64) -> Result<(), KafkaError> {
        if !is_too_large(&error) {
            return Err(error);
        }
        *failed += 1;
        tracing::error!(letter, "a dead letter stays in the table alone: {}", explain(&error));
        Ok(())
    }
}

enum Sent {
    /// A page, and there may be more.
    Page,
    Nothing,
    /// The brokers did not take them.
    Stuck(KafkaError),
}

/// Whether a topic can never take the record. The client library says so in words only.
fn is_too_large(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Undelivered { problem, .. } if problem.to_lowercase().contains("too large") || problem.contains("MessageSizeTooLarge"))
}

/// What a mirrored letter says about itself, behind its original headers.
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
