//! How far behind the partitions are, and how the source is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use turnmill_service::metrics::PartitionAt;
use turnmill_source::GroupStats;

use super::Service;
use super::observer::topic_partition;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// So long after the last error the brokers count as there again.
const QUIET: Duration = Duration::from_secs(30);

/// Tells metrics and health, until the process ends.
pub(super) async fn watch(service: Arc<Service>) {
    let mut before: Vec<GroupStats> = Vec::new();
    let mut failed: Option<Instant> = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let (mut records, mut bytes, mut paused, mut errors) = (0, 0, 0, 0);
        let mut last_error = None;
        for (index, control) in service.shared.controls().iter().enumerate() {
            for partition in &control.lag() {
                if let Some((topic, number)) = topic_partition(&partition.partition) {
                    // Positions are told of when they are committed.
                    let at = PartitionAt { end: partition.end, ..PartitionAt::default() };
                    service.metrics.partition(topic, number, &at);
                }
            }
            let stats = control.stats();
            if before.len() <= index {
                before.push(GroupStats::default());
            }
            let Some(earlier) = before.get_mut(index) else { continue };
            records += usize::try_from(stats.buffered_records).unwrap_or(usize::MAX);
            bytes += usize::try_from(stats.buffered_bytes).unwrap_or(usize::MAX);
            paused += usize::try_from(stats.paused_partitions).unwrap_or(usize::MAX);
            if stats.errors > earlier.errors {
                errors += stats.errors - earlier.errors;
                last_error.clone_from(&stats.last_error);
            }
            *earlier = stats;
        }
        service.metrics.set_buffer(records, bytes, paused);
        for _ in 0..errors {
            service.metrics.source_failed("kafka");
        }
        if let Some(error) = last_error {
            // Once per spell; the metric counts on.
            if failed.is_none() {
                tracing::warn!("Kafka: {error}; trying again");
            }
            failed = Some(Instant::now());
            service.shared.waiting.set("brokers", true);
        } else if failed.is_some_and(|at| at.elapsed() > QUIET) {
            failed = None;
            service.shared.waiting.set("brokers", false);
        }
    }
}
