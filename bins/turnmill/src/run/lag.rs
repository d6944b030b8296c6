//! Updates lag, buffer and broker metrics every second, and logs status lines.

use std::sync::Arc;
use std::time::{Duration, Instant};

use turnmill_pipeline::{counted, rounded};
use turnmill_service::metrics::{PartitionProgress, PartitionStatus, Totals};
use turnmill_source::GroupStats;

use super::observer::topic_partition;
use super::service::Service;

/// Interval between updates.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time without an error after which the brokers count as available again.
const RECOVERY: Duration = Duration::from_secs(30);

/// Updates metrics and health, and logs status lines, until the process exits.
pub(super) async fn watch(service: Arc<Service>) {
    let mut before: Vec<GroupStats> = Vec::new();
    let mut last_failure: Option<Instant> = None;
    let mut last_status = (Instant::now(), Totals::default());
    loop {
        tokio::time::sleep(INTERVAL).await;
        let (mut records, mut bytes, mut paused, mut errors) = (0, 0, 0, 0);
        let mut last_error = None;
        for (index, control) in service.state.controls().iter().enumerate() {
            for partition in &control.lag() {
                if let Some((topic, number)) = topic_partition(&partition.partition) {
                    // The position is updated at each commit.
                    let progress = PartitionProgress { end: partition.end, ..PartitionProgress::default() };
                    service.metrics.partition(topic, number, &progress);
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
            // Logs the first error of an outage only; the metric counts all.
            if last_failure.is_none() {
                tracing::warn!("brokers unavailable, retrying: {error}");
            }
            last_failure = Some(Instant::now());
            service.state.outages.begin("brokers");
        } else if last_failure.is_some_and(|at| at.elapsed() > RECOVERY) {
            last_failure = None;
            service.state.outages.end("brokers");
        }
        let passed = last_status.0.elapsed();
        if service.settings.log.status.is_some_and(|interval| passed >= interval) {
            let totals = service.metrics.totals();
            let text = status_line(&totals, &last_status.1, passed, &service.metrics.partitions());
            match service.health.report().waiting {
                Some(waiting) => tracing::info!("{text}; waiting for {waiting}"),
                None => tracing::info!("{text}"),
            }
            last_status = (Instant::now(), totals);
        }
    }
}

/// Formats what was committed since the last status line, and the lag.
fn status_line(now: &Totals, before: &Totals, passed: Duration, partitions: &[PartitionStatus]) -> String {
    let since = |count: fn(&Totals) -> u64, noun| counted(count(now).saturating_sub(count(before)), noun);
    let mut text = format!(
        "{} in the last {}: {}, {}, {}",
        since(|totals| totals.records, "record"),
        rounded(passed),
        since(|totals| totals.events, "event"),
        since(|totals| totals.duplicates, "duplicate"),
        since(|totals| totals.dead_letters, "dead letter"),
    );
    if now.skipped > before.skipped {
        text.push_str(&format!(", {} skipped", now.skipped - before.skipped));
    }
    let known: Vec<u64> = partitions.iter().filter_map(|partition| partition.lag_events).collect();
    if partitions.is_empty() {
        text.push_str("; no partition assigned");
    } else if known.is_empty() {
        text.push_str("; lag unknown");
    } else {
        text.push_str(&format!("; lag {}", counted(known.iter().sum(), "record")));
        let seconds = partitions.iter().filter_map(|partition| partition.lag_seconds).fold(0.0, f64::max);
        if seconds > 0.0 {
            text.push_str(&format!(", {}", rounded(Duration::from_secs_f64(seconds.min(1e9)))));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_has_counts_and_lag() {
        let at = |lag_events, lag_seconds| PartitionStatus {
            topic: "events".into(),
            partition: 0,
            progress: PartitionProgress::default(),
            lag_events,
            lag_seconds,
        };
        let minute = Duration::from_millis(60_004);
        let before = Totals { records: 10, events: 9, duplicates: 1, ..Totals::default() };
        let now = Totals { records: 1_211, events: 1_209, duplicates: 1, dead_letters: 1, ..before };
        assert_eq!(
            status_line(&now, &before, minute, &[at(Some(0), Some(0.0))]),
            "1201 records in the last 60 s: 1200 events, 0 duplicates, 1 dead letter; lag 0 records"
        );
        assert_eq!(
            status_line(&before, &before, minute, &[at(Some(1), Some(12.34)), at(None, None)]),
            "0 records in the last 60 s: 0 events, 0 duplicates, 0 dead letters; lag 1 record, 12 s"
        );
        let skipped = Totals { records: 11, skipped: 1, ..before };
        assert!(
            status_line(&skipped, &before, minute, &[at(None, None)]).ends_with(", 1 skipped; lag unknown")
        );
        assert!(status_line(&now, &before, minute, &[]).ends_with("no partition assigned"));
    }
}
