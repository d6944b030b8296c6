//! Health, lag and counts as JSON, for `/api/v1/status`.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::{PartitionProgress, ServiceMetrics, unix_seconds};

/// Counts of this process since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Committed records: the sum of the next four counts.
    pub records: u64,
    /// New events.
    pub events: u64,
    /// Duplicate events.
    pub duplicates: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Records without events, such as tombstones.
    pub skipped: u64,
    /// Late events, part of `events`.
    pub late: u64,
    /// Committed batches.
    pub batches: u64,
}

/// Progress and lag of a partition.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionStatus {
    /// Name of the topic.
    pub topic: String,
    /// Number of the partition.
    pub partition: i32,
    /// Committed position and end of the log.
    pub progress: PartitionProgress,
    /// Lag in records, if the end of the log is known.
    pub lag_events: Option<u64>,
    /// Lag in seconds: age of the last committed event, or 0 if no record is waiting.
    pub lag_seconds: Option<f64>,
}

/// Returns the lag in records. Without a position, every offset up to the end counts.
pub(super) fn lag(progress: &PartitionProgress) -> Option<u64> {
    Some(progress.end?.saturating_sub(progress.position.unwrap_or(0)))
}

pub(super) fn lag_seconds(progress: &PartitionProgress, now: f64) -> Option<f64> {
    // A producer's clock may be ahead of ours, so the difference may be negative.
    if lag(progress)? == 0 { Some(0.0) } else { Some((now - progress.event_time?).max(0.0)) }
}

impl ServiceMetrics {
    /// Returns the counts since the start of this process.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.state().totals
    }

    /// Returns the partitions that this process reads.
    #[must_use]
    pub fn partitions(&self) -> Vec<PartitionStatus> {
        let now = unix_seconds(SystemTime::now());
        let status = |((topic, partition), progress): (&(String, i32), &PartitionProgress)| PartitionStatus {
            topic: topic.clone(),
            partition: *partition,
            progress: *progress,
            lag_events: lag(progress),
            lag_seconds: lag_seconds(progress, now),
        };
        self.state().partitions.iter().map(status).collect()
    }

    /// Returns health, partitions and totals as JSON.
    #[must_use]
    pub fn status(&self) -> Value {
        let report = self.health().report();
        let totals = self.totals();
        let partition = |status: PartitionStatus| {
            json!({
                "topic": status.topic,
                "partition": status.partition,
                "position": status.progress.position,
                "end": status.progress.end,
                "event_time": status.progress.event_time,
                "lag_events": status.lag_events,
                "lag_seconds": status.lag_seconds,
            })
        };
        let reason = match &report.phase {
            crate::Phase::Failed(reason) => Some(reason.clone()),
            _ => None,
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "started": unix_seconds(self.0.started),
            "phase": report.phase.as_str(),
            "failure": reason,
            "healthy": report.healthy,
            "why": report.why,
            "waiting_for": report.waiting,
            "consumers": report.alive,
            "partitions": self.partitions().into_iter().map(partition).collect::<Vec<_>>(),
            "since_start": {
                "records": totals.records,
                "events": totals.events,
                "duplicates": totals.duplicates,
                "dead_letters": totals.dead_letters,
                "skipped": totals.skipped,
                "late": totals.late,
                "batches": totals.batches,
            },
        })
    }
}
