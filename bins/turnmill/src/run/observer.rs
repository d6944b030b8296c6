//! What happens to a consumer, for logs, metrics and health.

use std::sync::Arc;

use turnmill_pipeline::{Event, Observer, explain};
use turnmill_service::metrics::{BatchCommitted, Operation, PartitionAt, PositionReset, Rebalance};
use turnmill_sink::ingest::Report;
use turnmill_source::{AssignedPartition, Assignment, Opened, Partition, Position, RecordBatch};

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
            repeated: number(counts.duplicates - counts.anonymised),
            anonymised: number(counts.anonymised),
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
            took = ?took,
            "committed"
        );
        self.tell_of_keys(batch);
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
        self.service.shared.waiting.set("brokers", false);
        self.service.shared.waiting.set("database", false);
        let mut now = Vec::new();
        let mut text = Vec::new();
        for (assigned, position) in assignment.partitions.iter().zip(positions) {
            let Some((topic, number)) = topic_partition(&assigned.partition) else { continue };
            let begins = position.as_ref().map(|position| position.offset);
            text.push(format!(
                "{topic}/{number}@{}",
                begins.map_or("earliest".into(), |offset| offset.to_string())
            ));
            let at = PartitionAt { position: begins.or(assigned.begin), end: assigned.end, event_time: None };
            self.service.metrics.partition(topic, number, &at);
            now.push((topic.to_owned(), number));
            tell_of_group(assigned, begins);
        }
        self.leave(|kept| now.contains(kept));
        self.partitions = now;
        tracing::info!(
            consumer = self.consumer,
            generation = assignment.generation,
            partitions = text.join(", "),
            "partitions assigned"
        );
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
            Event::Committed { batch, report, took, cached } => {
                self.service.shared.waiting.set("database", false);
                self.service.shared.waiting.set("brokers", false);
                let (timelines, bytes) = self.service.shared.cached(consumer, *cached);
                metrics.set_cache(timelines, bytes);
                self.committed(batch, report, *took);
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
                tracing::info!(consumer, records, "dropped a batch of partitions that are no longer ours");
            }
            Event::Retrying { error, pause } => {
                metrics.retrying("unavailable");
                self.service.shared.waiting.set("database", true);
                tracing::warn!(consumer, pause = ?pause, "trying again: {}", explain(*error));
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
                        missing,
                        "records were deleted before they were read: the topic's retention is shorter than the pause was"
                    );
                }
                Opened::Replaced => {
                    metrics.position_reset(PositionReset::BeyondEnd);
                    tracing::warn!(
                        consumer,
                        %partition,
                        "the stored position is behind the log's end, as after the topic was made anew: reading from its \
                         earliest record; what is known counts as duplicates"
                    );
                }
                Opened::Fresh | Opened::Resumed => {}
            },
            _ => {}
        }
    }
}

/// The group's own offset counts for nothing, which whoever has set it back should hear.
fn tell_of_group(assigned: &AssignedPartition, position: Option<u64>) {
    let (Some(committed), Some(position)) = (assigned.committed, position) else { return };
    if committed < position {
        let Partition { source, partition } = &assigned.partition;
        // Also after every kill, since the group is told at leisure.
        tracing::info!(
            partition,
            group_offset = committed,
            position,
            "the group's offset is behind the store's position, which is what counts. To read from there again: \
             turnmill positions set \"$RASA_ANALYTICS_DB_URL\" {source} {partition} {committed}"
        );
    }
}

/// Topic and number of a partition of Kafka's.
pub(super) fn topic_partition(partition: &Partition) -> Option<(&str, i32)> {
    let (topic, number) = partition.partition.rsplit_once('/')?;
    Some((topic, number.parse().ok()?))
}
