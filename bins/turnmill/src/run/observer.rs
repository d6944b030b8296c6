//! What happens to a consumer, for logs, metrics and health.

use std::sync::Arc;

use turnmill_ingest::Report;
use turnmill_model::{PartitionId, Reason, Refused};
use turnmill_pipeline::{Event, Observer, counted, explain, rounded};
use turnmill_service::metrics::{BatchCommitted, Operation, PartitionAt, PositionReset, Rebalance};
use turnmill_sink::StoreError;
use turnmill_source::{AssignedPartition, Assignment, Opened, Position, RecordBatch};

use super::Service;

/// Tells what happens to one consumer.
pub(super) struct Watch {
    service: Arc<Service>,
    consumer: usize,
    /// The partitions that it reads.
    partitions: Vec<(String, i32)>,
}

impl Watch {
    pub(super) fn new(service: Arc<Service>, consumer: usize) -> Self {
        Self { service, consumer, partitions: Vec::new() }
    }

    fn committed(&mut self, batch: &RecordBatch, report: &Report, took: std::time::Duration) {
        let counts = &report.counts;
        let dead_letters: Vec<_> =
            report.dead_letters.iter().map(|(reason, count)| (*reason, *count)).collect();
        let rows: Vec<_> = report
            .rows
            .iter()
            .flat_map(|rows| {
                [
                    (Operation::Insert, rows.inserts),
                    (Operation::Update, rows.updates),
                    (Operation::Delete, rows.deletes),
                ]
                .map(|(operation, count)| (rows.table, operation, count))
            })
            .collect();
        let number = |count: i64| u64::try_from(count).unwrap_or_default();
        self.service.metrics.committed(&BatchCommitted {
            source: &batch.partition().source,
            events: number(counts.events),
            repeated: number(counts.duplicates - counts.anonymised - counts.changed),
            anonymised: number(counts.anonymised),
            changed: number(counts.changed),
            dead_letters: &dead_letters,
            skipped: number(counts.skipped),
            late: report.late,
            replays: report.replays,
            bytes: batch.bytes() as u64,
            rows: &rows,
            took,
            commit: report.commit,
        });
        let mut times = vec![None; batch.parts().len()];
        for record in batch.iter().rev() {
            if let Some(time @ None) = times.get_mut(record.part) {
                *time = record.time;
            }
            if times.iter().all(Option::is_some) {
                break;
            }
        }
        for (part, event_time) in batch.parts().iter().zip(times) {
            if let Some((topic, number)) = topic_partition(&part.partition) {
                let position = part.to.as_ref().map(|to| to.offset);
                self.service.metrics.partition(
                    topic,
                    number,
                    &PartitionAt { position, end: None, event_time },
                );
            }
        }
        tracing::debug!(
            consumer = self.consumer,
            records = counts.records,
            events = counts.events,
            duplicates = counts.duplicates,
            dead_letters = counts.dead_letters,
            late = report.late,
            took = rounded(took),
            "committed"
        );
        self.tell_of_keys(batch);
    }

    /// Says what the first dead letter of each reason is. The metric counts all, and the store keeps them.
    fn tell_of_dead_letters(&self, batch: &RecordBatch, report: &Report, refused: &[(usize, Refused)]) {
        let new = report.dead_letters.keys().filter(|reason| self.service.shared.tell_of_reason(**reason));
        for reason in new {
            let first = refused.iter().find(|(_, refused)| refused.reason == *reason);
            let place = first
                .and_then(|(record, _)| batch.get(*record)?.origin)
                .map(|origin| format!(" at {}/{}@{}", origin.topic, origin.partition, origin.offset));
            tracing::warn!(
                reason = reason.as_str(),
                "first dead letter of its kind since the start{}: {reason}; `turnmill dead-letters list --reason {}` shows \
                 all of them",
                place.unwrap_or_default(),
                Reason::as_str(*reason),
            );
        }
    }

    /// Says once what the topic's keys mean.
    fn tell_of_keys(&self, batch: &RecordBatch) {
        if batch.is_empty() || !self.service.shared.tell_of_keys() {
            return;
        }
        if batch.iter().all(|record| record.key.is_some()) {
            tracing::info!(
                "the topic's records have keys: a conversation's events come in order, which is the fastest way"
            );
        } else {
            tracing::info!(
                "the topic's records have no keys, so events of a conversation come in any order; the tables are the same. \
                 `partition_by_sender: true` in the assistant's event_broker is faster"
            );
        }
    }

    fn assigned(&mut self, assignment: &Assignment, positions: &[Option<Position>]) {
        self.service.metrics.rebalanced(Rebalance::Assigned);
        // Joining a group takes brokers, and knowing the positions takes the store.
        self.service.shared.waiting.end("brokers");
        self.service.shared.waiting.end("database");
        let mut now = Vec::new();
        let mut text = Vec::new();
        for (assigned, position) in assignment.partitions.iter().zip(positions) {
            let Some((topic, number)) = topic_partition(&assigned.partition) else { continue };
            let begins = position.as_ref().map(|position| position.offset);
            text.push(format!(
                "{topic}/{number}@{}",
                begins.map_or("earliest".into(), |offset| offset.to_string())
            ));
            // Known before the first new record comes: what was read last is kept beside the position.
            let last = position.as_ref().and_then(|position| position.last?.millis);
            let event_time = last.map(|millis| millis as f64 / 1000.0);
            let at = PartitionAt { position: begins.or(assigned.begin), end: assigned.end, event_time };
            self.service.metrics.partition(topic, number, &at);
            now.push((topic.to_owned(), number));
            tell_of_group(assigned, begins);
        }
        self.tell_of_foreign_offsets(assignment);
        self.leave(|kept| now.contains(kept));
        self.partitions = now;
        tracing::info!(
            consumer = self.consumer,
            generation = assignment.generation,
            partitions = text.join(", "),
            "partitions assigned"
        );
    }

    /// Names the offsets of another program, which are left alone.
    fn tell_of_foreign_offsets(&self, assignment: &Assignment) {
        let foreign = assignment.partitions.iter().filter(|assigned| assigned.foreign);
        let offsets: Vec<String> = foreign
            .filter_map(|assigned| Some(format!("{}@{}", assigned.partition.partition, assigned.committed?)))
            .collect();
        if !offsets.is_empty() {
            tracing::warn!(
                group = self.service.settings.kafka.group_id,
                offsets = offsets.join(", "),
                "the consumer group has offsets that turnmill did not commit: they are left alone, so lag tools that watch \
                 this group do not follow turnmill. Name another group in RASA_ANALYTICS_CONSUMER_ID, or set \
                 TURNMILL_KAFKA_TAKE_OVER_GROUP=true if no other program needs them"
            );
        }
    }

    /// Tells no more of the partitions that are not kept.
    fn leave(&mut self, kept: impl Fn(&(String, i32)) -> bool) {
        for (topic, number) in self.partitions.extract_if(.., |partition| !kept(partition)) {
            self.service.metrics.partition_gone(&topic, number);
        }
    }
}

impl Observer for Watch {
    fn observe(&mut self, event: &Event<'_>) {
        let Self { consumer, .. } = *self;
        let metrics = self.service.metrics.clone();
        match event {
            Event::Committed { batch, report, refused, took, cached } => {
                self.service.shared.waiting.end("database");
                self.service.shared.waiting.end("brokers");
                let cache = self.service.shared.cached(consumer, *cached);
                metrics.set_cache(cache.timelines, cache.bytes);
                self.committed(batch, report, *took);
                self.tell_of_dead_letters(batch, report, refused);
            }
            Event::Assigned { assignment, positions } => self.assigned(assignment, positions),
            Event::Revoked { lost } => {
                metrics.rebalanced(if *lost { Rebalance::Lost } else { Rebalance::Revoked });
                let partitions: Vec<String> =
                    self.partitions.iter().map(|(topic, number)| format!("{topic}/{number}")).collect();
                self.leave(|_| false);
                tracing::info!(consumer, lost, partitions = partitions.join(", "), "partitions revoked");
            }
            Event::Dropped { records } => {
                let records = counted(*records as u64, "record");
                tracing::info!(
                    consumer,
                    "dropped a batch of {records} of partitions that are no longer ours"
                );
            }
            Event::Retrying { error, pause } => {
                metrics.retrying("unavailable");
                self.service.shared.waiting.begin("database");
                let what = match error {
                    StoreError::Unavailable { .. } => "database unavailable",
                    _ => "transaction failed",
                };
                tracing::warn!(consumer, "{what}, retrying in {}: {}", rounded(*pause), explain(*error));
            }
            Event::Fenced { error } => {
                metrics.fenced();
                tracing::warn!(consumer, "starting again at the stored positions: {}", explain(*error));
            }
            Event::Opened { partition, opened } => match opened {
                Opened::Gap { missing } => {
                    metrics.position_reset(PositionReset::BeforeStart);
                    tracing::warn!(
                        consumer,
                        %partition,
                        "{} deleted before they were read: the topic's retention is shorter than the pause was",
                        match missing {
                            1 => "1 record was".to_owned(),
                            _ => format!("{} were", counted(*missing, "record")),
                        },
                    );
                }
                Opened::Replaced => {
                    metrics.position_reset(PositionReset::BeyondEnd);
                    tracing::warn!(
                        consumer,
                        %partition,
                        "stored offset is past the end of the log; the topic was probably recreated. Reading from the \
                         earliest record; known events will count as duplicates"
                    );
                }
                Opened::Rewritten => {
                    metrics.position_reset(PositionReset::Replaced);
                    tracing::warn!(
                        consumer,
                        %partition,
                        "the log lacks the record that was read last before the stored offset; the topic was probably \
                         recreated, or its log truncated. Reading from the earliest record; known events will count as \
                         duplicates"
                    );
                }
                Opened::Fresh | Opened::Resumed => {}
            },
            _ => {}
        }
    }
}

/// Reports a group's offset that was set back: by itself it changes nothing.
fn tell_of_group(assigned: &AssignedPartition, position: Option<u64>) {
    let (Some(committed), Some(position)) = (assigned.committed, position) else { return };
    if committed < position {
        let PartitionId { source, partition } = &assigned.partition;
        // Also after every kill, since the group is told at leisure.
        tracing::info!(
            partition,
            group_offset = committed,
            position,
            "the group's offset is before the store's position, which is what counts. To read from there again: \
             turnmill positions set {source} {partition} {committed}"
        );
    }
}

/// Topic and number of a partition of Kafka's.
pub(super) fn topic_partition(partition: &PartitionId) -> Option<(&str, i32)> {
    let (topic, number) = partition.partition.rsplit_once('/')?;
    Some((topic, number.parse().ok()?))
}
