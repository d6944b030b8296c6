//! Turns the events of a consumer's pipeline into logs, metrics and health.

use std::sync::Arc;

use turnmill_ingest::{RefusedRecord, Report};
use turnmill_model::{PartitionId, Reason};
use turnmill_pipeline::{Event, Observer, counted, explain, rounded};
use turnmill_service::metrics::{BatchCommitted, Operation, PartitionProgress, PositionReset, Rebalance};
use turnmill_sink::StoreError;
use turnmill_source::{AssignedPartition, Assignment, Opened, Position, RecordBatch};

use super::service::Service;

/// Observes one consumer.
pub(super) struct ServiceObserver {
    service: Arc<Service>,
    consumer: usize,
    /// The partitions assigned to the consumer.
    partitions: Vec<(String, i32)>,
}

impl ServiceObserver {
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
                    &PartitionProgress { position, end: None, event_time },
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
            "batch committed"
        );
        self.log_keys(batch);
    }

    /// Logs the first dead letter of each reason. The metric counts all of them, and the store
    /// keeps them.
    fn log_dead_letters(&self, batch: &RecordBatch, report: &Report, refused: &[RefusedRecord]) {
        let new = report.dead_letters.keys().filter(|reason| self.service.state.is_first_of_reason(**reason));
        for reason in new {
            let first = refused.iter().find(|refused| refused.refused.reason == *reason);
            let position = first
                .and_then(|refused| batch.get(refused.record)?.origin)
                .map(|origin| format!(" at {}/{}@{}", origin.topic, origin.partition, origin.offset));
            tracing::warn!(
                reason = reason.as_str(),
                "first dead letter of this reason since start{}: {reason}; list all with `turnmill dead-letters list \
                 --reason {}`",
                position.unwrap_or_default(),
                Reason::as_str(*reason),
            );
        }
    }

    /// Logs once whether the topic's records have keys, and what follows from it.
    fn log_keys(&self, batch: &RecordBatch) {
        if batch.is_empty() || !self.service.state.is_first_about_keys() {
            return;
        }
        if batch.iter().all(|record| record.key.is_some()) {
            tracing::info!("records have keys, so the events of a conversation arrive in order");
        } else {
            tracing::info!(
                "records have no keys, so the events of a conversation arrive in any order; the tables are \
                 correct either \
                 way, but `partition_by_sender: true` in the assistant's event_broker is faster"
            );
        }
    }

    fn assigned(&mut self, assignment: &Assignment, positions: &[Option<Position>]) {
        self.service.metrics.rebalanced(Rebalance::Assigned);
        // An assignment proves that the brokers are available, and its positions that the database
        // is.
        self.service.state.outages.end("brokers");
        self.service.state.outages.end("database");
        let mut now = Vec::new();
        let mut text = Vec::new();
        for (assigned, position) in assignment.partitions.iter().zip(positions) {
            let Some((topic, number)) = topic_partition(&assigned.partition) else { continue };
            let offset = position.as_ref().map(|position| position.offset);
            text.push(format!(
                "{topic}/{number}@{}",
                offset.map_or("earliest".into(), |offset| offset.to_string())
            ));
            // The position contains the time of the last committed record, so the lag in seconds is
            // known at once.
            let last = position.as_ref().and_then(|position| position.last?.millis);
            let event_time = last.map(|millis| millis as f64 / 1000.0);
            let progress =
                PartitionProgress { position: offset.or(assigned.begin), end: assigned.end, event_time };
            self.service.metrics.partition(topic, number, &progress);
            now.push((topic.to_owned(), number));
            log_reset_group_offset(assigned, offset);
        }
        self.log_foreign_offsets(assignment);
        self.remove_metrics_except(|kept| now.contains(kept));
        self.partitions = now;
        tracing::info!(
            consumer = self.consumer,
            generation = assignment.generation,
            partitions = text.join(", "),
            "partitions assigned"
        );
    }

    /// Logs offsets that another program committed. They are not overwritten.
    fn log_foreign_offsets(&self, assignment: &Assignment) {
        let foreign = assignment.partitions.iter().filter(|assigned| assigned.foreign);
        let offsets: Vec<String> = foreign
            .filter_map(|assigned| Some(format!("{}@{}", assigned.partition.partition, assigned.committed?)))
            .collect();
        if !offsets.is_empty() {
            tracing::warn!(
                group = self.service.settings.kafka.group_id,
                offsets = offsets.join(", "),
                "consumer group has offsets of another program, which are not overwritten, so lag tools do not show \
                 turnmill's progress; name another group in RASA_ANALYTICS_CONSUMER_ID, or set \
                 TURNMILL_KAFKA_TAKE_OVER_GROUP=true if no other program needs them"
            );
        }
    }

    /// Removes the metrics of partitions that are no longer assigned.
    fn remove_metrics_except(&mut self, kept: impl Fn(&(String, i32)) -> bool) {
        for (topic, number) in self.partitions.extract_if(.., |partition| !kept(partition)) {
            self.service.metrics.partition_gone(&topic, number);
        }
    }
}

impl Observer for ServiceObserver {
    fn observe(&mut self, event: &Event<'_>) {
        let Self { consumer, .. } = *self;
        let metrics = self.service.metrics.clone();
        match event {
            Event::Committed { batch, report, refused, took, cached } => {
                self.service.state.outages.end("database");
                self.service.state.outages.end("brokers");
                let cache = self.service.state.update_cache(consumer, *cached);
                metrics.set_cache(cache.timelines, cache.bytes);
                self.committed(batch, report, *took);
                self.log_dead_letters(batch, report, refused);
            }
            Event::Assigned { assignment, positions } => self.assigned(assignment, positions),
            Event::Revoked { lost } => {
                metrics.rebalanced(if *lost { Rebalance::Lost } else { Rebalance::Revoked });
                let partitions: Vec<String> =
                    self.partitions.iter().map(|(topic, number)| format!("{topic}/{number}")).collect();
                self.remove_metrics_except(|_| false);
                tracing::info!(consumer, lost, partitions = partitions.join(", "), "partitions revoked");
            }
            Event::Dropped { records } => {
                let records = counted(*records as u64, "record");
                tracing::info!(
                    consumer,
                    "batch of {records} dropped, because its partitions are no longer assigned"
                );
            }
            Event::Retrying { error, pause } => {
                metrics.retrying("unavailable");
                self.service.state.outages.begin("database");
                let problem = match error {
                    StoreError::Unavailable { .. } => "database unavailable",
                    _ => "transaction failed",
                };
                tracing::warn!(consumer, "{problem}, retrying in {}: {}", rounded(*pause), explain(*error));
            }
            Event::Fenced { error } => {
                metrics.fenced();
                tracing::warn!(
                    consumer,
                    "commit fenced, resuming from the stored positions: {}",
                    explain(*error)
                );
            }
            Event::Opened { partition, opened } => match opened {
                Opened::Gap { missing } => {
                    metrics.position_reset(PositionReset::BeforeStart);
                    tracing::warn!(
                        consumer,
                        %partition,
                        "{} deleted by the topic's retention before turnmill read them; load their events \
                         from the tracker \
                         store with turnmill-replay",
                        counted(*missing, "record"),
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
                        "the log does not contain the last record read before the stored offset; the topic \
                         was probably \
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

/// Logs an offset of the group that is before the stored position, with the command that has the
/// intended effect.
fn log_reset_group_offset(assigned: &AssignedPartition, position: Option<u64>) {
    let (Some(committed), Some(position)) = (assigned.committed, position) else { return };
    if committed < position {
        let PartitionId { source, partition } = &assigned.partition;
        // This also happens after every kill, because offsets are committed to the group after the
        // store.
        tracing::info!(
            partition,
            group_offset = committed,
            position,
            "group offset is before the stored position and has no effect; to read from there again, run turnmill \
             positions set {source} {partition} {committed}"
        );
    }
}

/// Returns topic and number of a Kafka partition.
pub(super) fn topic_partition(partition: &PartitionId) -> Option<(&str, i32)> {
    let (topic, number) = partition.partition.rsplit_once('/')?;
    Some((topic, number.parse().ok()?))
}
