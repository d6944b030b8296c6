//! A topic that a sink fills.

use std::collections::BTreeSet;
use std::time::Duration;

use turnmill_sink::outbox::{ChangeBatch, RowChange};
use turnmill_sink::{Class, SinkError};

use crate::{KafkaError, KafkaProducer, KafkaSettings, ProducerSettings};

/// Time the brokers have to acknowledge a batch.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Interval between checks for a missing topic.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// A topic that a sink fills: a record for each change of a batch, in order. The topic is never
/// created.
pub(crate) struct SinkTopic {
    producer: KafkaProducer,
    topic: String,
    /// What the topic is, for messages.
    kind: &'static str,
    /// What happens while it is missing, for messages.
    meanwhile: &'static str,
    exists: bool,
    /// Origin of the last batch, and its changes that the brokers have acknowledged. The batch is
    /// repeated without a refused change, and these are then not sent again.
    acknowledged: (String, BTreeSet<String>),
}

impl std::fmt::Debug for SinkTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SinkTopic").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl SinkTopic {
    pub(crate) fn new(
        settings: &KafkaSettings,
        producer: &ProducerSettings,
        topic: String,
        kind: &'static str,
        meanwhile: &'static str,
    ) -> Result<Self, KafkaError> {
        let producer = KafkaProducer::new(settings, producer)?;
        Ok(Self { producer, topic, kind, meanwhile, exists: false, acknowledged: Default::default() })
    }

    /// Checks whether the topic exists, until it was found once. Blocks for up to five seconds.
    pub(crate) fn find(&mut self) -> Result<(), SinkError> {
        if self.exists {
            return Ok(());
        }
        let Self { topic, kind, meanwhile, .. } = self;
        let detail = match self.producer.topic_exists(topic, Duration::from_secs(5)) {
            Ok(true) => {
                self.exists = true;
                return Ok(());
            }
            Ok(false) => format!("{kind} `{topic}` does not exist; {meanwhile}"),
            Err(error) => format!("cannot check whether the {kind} `{topic}` exists: {error}"),
        };
        Err(SinkError {
            class: Class::Retryable { after: Some(RETRY_INTERVAL) },
            ..SinkError::retryable(detail)
        })
    }

    /// Sends the changes of a batch for which `is_wanted` returns true, and waits until all are
    /// acknowledged. `send` hands one change to the producer and returns its ticket.
    ///
    /// # Errors
    ///
    /// Returns a retryable error while the topic is missing or the brokers are unavailable. A change
    /// that is too large for the topic is refused; the others of the batch are sent all the same.
    pub(crate) fn send(
        &mut self,
        batch: &ChangeBatch,
        is_wanted: impl Fn(&RowChange<'_>) -> bool,
        mut send: impl FnMut(&mut KafkaProducer, &str, &RowChange<'_>) -> Result<usize, KafkaError>,
    ) -> Result<(), SinkError> {
        self.find()?;
        let name = batch.origin.to_string();
        if self.acknowledged.0 != name {
            self.acknowledged = (name, BTreeSet::new());
        }
        let changes: Vec<_> = batch.rows().enumerate().filter(|(_, change)| is_wanted(change)).collect();
        match self.deliver(&changes, &mut send) {
            // The brokers refuse a whole request. One by one, only the change that is too large is
            // refused.
            Err(error) if error.class == Class::Poison => {
                changes.iter().try_for_each(|change| self.deliver(std::slice::from_ref(change), &mut send))
            }
            outcome => outcome,
        }
    }

    /// Sends changes that are not acknowledged yet, and waits until they are.
    fn deliver<'b>(
        &mut self,
        changes: &[(usize, RowChange<'b>)],
        send: &mut impl FnMut(&mut KafkaProducer, &str, &RowChange<'_>) -> Result<usize, KafkaError>,
    ) -> Result<(), SinkError> {
        let (mut sent, mut unsent): (Vec<(usize, usize, RowChange<'b>)>, _) = (Vec::new(), None);
        for (index, change) in changes {
            if !self.acknowledged.1.is_empty() && self.acknowledged.1.contains(&format!("{change:?}")) {
                continue;
            }
            match send(&mut self.producer, &self.topic, change) {
                Ok(ticket) => sent.push((ticket, *index, *change)),
                Err(error) => {
                    // Those before are waited for, so that they are not sent again.
                    unsent = Some(failure(*index, &error));
                    break;
                }
            }
        }
        let flushed = self.producer.flush(DELIVERY_TIMEOUT);
        let mut delivered = self.producer.delivered();
        delivered.sort_unstable_by_key(|delivery| delivery.ticket);
        let result = |ticket: usize| {
            let at = delivered.binary_search_by_key(&ticket, |delivery| delivery.ticket).ok()?;
            delivered.get(at).map(|delivery| &delivery.result)
        };
        let undelivered = sent.iter().find_map(|(ticket, index, _)| match result(*ticket) {
            Some(Err(error)) => Some(failure(*index, error)),
            // A record without a delivery report makes the flush fail.
            Some(Ok(_)) | None => None,
        });
        let outcome = match (undelivered.or(unsent), flushed) {
            (Some(failure), _) => Err(failure),
            (None, Err(error)) if !matches!(error, KafkaError::Undelivered { .. }) => {
                Err(SinkError::retryable(error.to_string()))
            }
            (None, _) => Ok(()),
        };
        if outcome.is_err() || changes.len() == 1 {
            let acknowledged = sent.iter().filter(|(ticket, ..)| matches!(result(*ticket), Some(Ok(_))));
            self.acknowledged.1.extend(acknowledged.map(|(_, _, change)| format!("{change:?}")));
        }
        outcome
    }
}

fn failure(index: usize, error: &KafkaError) -> SinkError {
    if is_too_large(error) {
        return SinkError::refused(index, error.to_string());
    }
    SinkError::retryable(error.to_string())
}

/// Returns whether the record is too large for the topic. librdkafka reports it only in the text of
/// the error.
fn is_too_large(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Undelivered { problem, .. } if problem.to_lowercase().contains("too large") || problem.contains("MessageSizeTooLarge"))
}
