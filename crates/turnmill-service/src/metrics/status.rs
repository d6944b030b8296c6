//! The same numbers as JSON, for `/api/v1/status`.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::{PartitionAt, ServiceMetrics, unix_seconds};

/// What this process committed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records.
    pub records: u64,
    /// Of these, new events.
    pub events: u64,
    /// Of these, events that were known.
    pub duplicates: u64,
    /// Of these, refused.
    pub dead_letters: u64,
    /// Of these, without events.
    pub skipped: u64,
    /// Of the events, late ones.
    pub late: u64,
    /// Batches.
    pub batches: u64,
}

/// Where a partition stands, with its lag.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionStatus {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Where it stands.
    pub at: PartitionAt,
    /// Records that are not committed, if known.
    pub lag_events: Option<u64>,
    /// Seconds since the time of the last committed event, 0 if nothing is waiting.
    pub lag_seconds: Option<f64>,
}

/// Records that are not committed. Without a position it is all up to the end, at most.
pub(super) fn lag(at: &PartitionAt) -> Option<u64> {
    Some(at.end?.saturating_sub(at.position.unwrap_or(0)))
}

pub(super) fn lag_seconds(at: &PartitionAt, now: f64) -> Option<f64> {
    // A producer's clock may be ahead of ours.
    if lag(at)? == 0 { Some(0.0) } else { Some((now - at.event_time?).max(0.0)) }
}

impl ServiceMetrics {
    /// What this process committed so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.state().totals
    }

    /// The partitions that this process reads.
    #[must_use]
    pub fn partitions(&self) -> Vec<PartitionStatus> {
        let now = unix_seconds(SystemTime::now());
        let status = |((topic, partition), at): (&(String, i32), &PartitionAt)| PartitionStatus {
            topic: topic.clone(),
            partition: *partition,
            at: *at,
            lag_events: lag(at),
            lag_seconds: lag_seconds(at, now),
        };
        self.state().partitions.iter().map(status).collect()
    }

    /// Health, partitions and totals as JSON.
    #[must_use]
    pub fn status(&self) -> Value {
        let report = self.health().report();
        let totals = self.totals();
        let partition = |status: PartitionStatus| {
            json!({
                "topic": status.topic,
                "partition": status.partition,
                "position": status.at.position,
                "end": status.at.end,
                "event_time": status.at.event_time,
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
