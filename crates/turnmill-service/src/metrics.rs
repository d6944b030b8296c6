//! The metrics served at `/metrics` and `/api/v1/status`. All metric names are in [`names`].

pub mod names;
mod status;
mod text;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric as Encoded, Registry};
use turnmill_model::Reason;

use self::names::Metric;
pub use self::status::{PartitionStatus, Totals};
use crate::health::Health;

/// How a batch changed a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The row was inserted.
    Insert,
    /// The row was updated.
    Update,
    /// The row was deleted.
    Delete,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Counts of a committed batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchCommitted<'b> {
    /// Name of the source.
    pub source: &'b str,
    /// New events.
    pub events: u64,
    /// Duplicate events that changed nothing.
    pub repeated: u64,
    /// Anonymised copies that replaced plain events.
    pub anonymised: u64,
    /// Copies of a message (identified by its `message_id`) whose content differs from the first
    /// copy.
    pub changed: u64,
    /// Dead letters by reason.
    pub dead_letters: &'b [(Reason, u64)],
    /// Records without events: tombstones, blank lines.
    pub skipped: u64,
    /// Late events, part of `events`.
    pub late: u64,
    /// Replays of a sender's history.
    pub replays: u64,
    /// Bytes of the records.
    pub bytes: u64,
    /// Rows by table and operation.
    pub rows: &'b [(&'static str, Operation, u64)],
    /// Time from the start of the batch to its commit.
    pub took: Duration,
    /// Time that the committed transaction took, part of `took`.
    pub commit: Duration,
}

/// How the partition assignment of this process changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebalance {
    /// Partitions were assigned.
    Assigned,
    /// Partitions were revoked; their offsets could still be committed.
    Revoked,
    /// Partitions were lost; another consumer may own them already.
    Lost,
}

/// Why reading started at the earliest record although a position was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionReset {
    /// The position is past the end of the log: the topic was recreated.
    BeyondEnd,
    /// The position is before the first record: retention deleted the records in between.
    BeforeStart,
    /// The topic or file was replaced by another one of the same name.
    Replaced,
}

/// Committed position and end of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PartitionProgress {
    /// Offset after the last committed record, or `None` before the first commit.
    pub position: Option<u64>,
    /// Offset after the last record of the log, if known.
    pub end: Option<u64>,
    /// Time of the last committed event, in Unix seconds.
    pub event_time: Option<f64>,
}

type Labels<const N: usize> = [(&'static str, String); N];
type FloatGauge = Gauge<f64, AtomicU64>;

/// A handle to the metrics of the service. Clones share the metrics. Methods neither block nor
/// fail.
///
/// ```
/// use turnmill_service::Health;
/// use turnmill_service::metrics::{BatchCommitted, ServiceMetrics};
/// let metrics = ServiceMetrics::new(Health::default());
/// metrics.committed(&BatchCommitted { source: "kafka", events: 3, ..BatchCommitted::default() });
/// assert!(metrics.encode().contains(r#"turnmill_records_total{source="kafka",outcome="events"} 3"#));
/// ```
#[derive(Clone, Debug)]
pub struct ServiceMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    health: Health,
    registry: Registry,
    started: SystemTime,
    state: Mutex<State>,
    records: Family<Labels<2>, Counter>,
    duplicates: Family<Labels<2>, Counter>,
    dead_letters: Family<Labels<2>, Counter>,
    late: Family<Labels<1>, Counter>,
    replays: Family<Labels<1>, Counter>,
    bytes: Family<Labels<1>, Counter>,
    rows: Family<Labels<2>, Counter>,
    batches: Family<Labels<1>, Counter>,
    batch_records: Histogram,
    batch_seconds: Histogram,
    commit_seconds: Histogram,
    retries: Family<Labels<1>, Counter>,
    fenced: Counter,
    rebalances: Family<Labels<1>, Counter>,
    resets: Family<Labels<1>, Counter>,
    source_errors: Family<Labels<1>, Counter>,
    mirrored: Family<Labels<1>, Counter>,
    dead_letters_waiting: Gauge,
    sink_position: Family<Labels<1>, Gauge>,
    sink_lag_entries: Family<Labels<1>, Gauge>,
    sink_lag_bytes: Family<Labels<1>, Gauge>,
    sink_changes: Family<Labels<1>, Counter>,
    sink_errors: Family<Labels<2>, Counter>,
    lag_events: Family<Labels<2>, Gauge>,
    lag_seconds: Family<Labels<2>, FloatGauge>,
    timelines: Gauge,
    cache_bytes: Gauge,
    buffer_records: Gauge,
    buffer_bytes: Gauge,
    paused: Gauge,
    consumers: Gauge,
    healthy: Gauge,
    waiting: Gauge,
}

#[derive(Debug, Default)]
struct State {
    partitions: BTreeMap<(String, i32), PartitionProgress>,
    totals: Totals,
}

/// Registers metrics with their names and descriptions.
struct RegistryBuilder(Registry);

impl RegistryBuilder {
    fn add<M: Encoded + Clone>(&mut self, metric: Metric, encoded: M) -> M {
        // The registry adds the suffix `_total` to counters, and a full stop to the description.
        let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
        self.0.register(name, metric.help, encoded.clone());
        encoded
    }

    fn family<S, M>(&mut self, metric: Metric) -> Family<S, M>
    where
        S: Clone + std::hash::Hash + Eq + EncodeLabelSet + std::fmt::Debug + Send + Sync + 'static,
        M: Default + std::fmt::Debug + Send + Sync + 'static,
        Family<S, M>: Encoded + Clone,
    {
        self.add(metric, Family::default())
    }
}

impl ServiceMetrics {
    /// Creates the metrics of a service that starts now.
    #[must_use]
    pub fn new(health: Health) -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 17));
        let mut all = RegistryBuilder(Registry::default());
        let mut inner = Inner {
            health,
            started: SystemTime::now(),
            state: Mutex::default(),
            records: all.family(names::RECORDS),
            duplicates: all.family(names::DUPLICATES),
            dead_letters: all.family(names::DEAD_LETTERS),
            late: all.family(names::LATE_EVENTS),
            replays: all.family(names::REPLAYS),
            bytes: all.family(names::RECORD_BYTES),
            rows: all.family(names::ROWS),
            batches: all.family(names::BATCHES),
            batch_records: all.add(names::BATCH_RECORDS, Histogram::new(exponential_buckets(1.0, 4.0, 9))),
            batch_seconds: all.add(names::BATCH_SECONDS, seconds()),
            commit_seconds: all.add(names::COMMIT_SECONDS, seconds()),
            retries: all.family(names::RETRIES),
            fenced: all.add(names::FENCED, Counter::default()),
            rebalances: all.family(names::REBALANCES),
            resets: all.family(names::POSITION_RESETS),
            source_errors: all.family(names::SOURCE_ERRORS),
            mirrored: all.family(names::MIRRORED),
            dead_letters_waiting: all.add(names::DEAD_LETTERS_WAITING, Gauge::default()),
            sink_position: all.family(names::SINK_POSITION),
            sink_lag_entries: all.family(names::SINK_LAG_ENTRIES),
            sink_lag_bytes: all.family(names::SINK_LAG_BYTES),
            sink_changes: all.family(names::SINK_CHANGES),
            sink_errors: all.family(names::SINK_ERRORS),
            lag_events: all.family(names::LAG_EVENTS),
            lag_seconds: all.family(names::LAG_SECONDS),
            timelines: all.add(names::TIMELINES, Gauge::default()),
            cache_bytes: all.add(names::CACHE_BYTES, Gauge::default()),
            buffer_records: all.add(names::BUFFER_RECORDS, Gauge::default()),
            buffer_bytes: all.add(names::BUFFER_BYTES, Gauge::default()),
            paused: all.add(names::PAUSED, Gauge::default()),
            consumers: all.add(names::CONSUMERS, Gauge::default()),
            healthy: all.add(names::HEALTHY, Gauge::default()),
            waiting: all.add(names::WAITING, Gauge::default()),
            registry: Registry::default(),
        };
        let build: Family<Labels<1>, Gauge> = all.family(names::BUILD);
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
        let start: FloatGauge = all.add(names::START, FloatGauge::default());
        start.set(unix_seconds(inner.started));
        inner.registry = all.0;
        Self(Arc::new(inner))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the health that is exported with the metrics.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// Counts a committed batch.
    pub fn committed(&self, batch: &BatchCommitted<'_>) {
        let inner = &self.0;
        let source = || ("source", batch.source.to_owned());
        let refused = batch.dead_letters.iter().map(|(_, count)| count).sum::<u64>();
        let duplicates = batch.repeated + batch.anonymised + batch.changed;
        let outcomes = [
            ("events", batch.events),
            ("duplicates", duplicates),
            ("dead_letters", refused),
            ("skipped", batch.skipped),
        ];
        for (outcome, count) in outcomes {
            inner.records.get_or_create(&[source(), ("outcome", outcome.to_owned())]).inc_by(count);
        }
        let kinds =
            [("repeated", batch.repeated), ("anonymised", batch.anonymised), ("changed", batch.changed)];
        for (kind, count) in kinds {
            inner.duplicates.get_or_create(&[source(), ("kind", kind.to_owned())]).inc_by(count);
        }
        for (reason, count) in batch.dead_letters {
            let labels = [source(), ("reason", reason.as_str().to_owned())];
            inner.dead_letters.get_or_create(&labels).inc_by(*count);
        }
        inner.late.get_or_create(&[source()]).inc_by(batch.late);
        inner.replays.get_or_create(&[source()]).inc_by(batch.replays);
        inner.bytes.get_or_create(&[source()]).inc_by(batch.bytes);
        inner.batches.get_or_create(&[source()]).inc();
        for (table, operation, count) in batch.rows.iter().filter(|(_, _, count)| *count > 0) {
            let labels = [("table", (*table).to_owned()), ("operation", operation.as_str().to_owned())];
            inner.rows.get_or_create(&labels).inc_by(*count);
        }
        let records = batch.events + duplicates + refused + batch.skipped;
        inner.batch_records.observe(records as f64);
        inner.batch_seconds.observe(batch.took.as_secs_f64());
        inner.commit_seconds.observe(batch.commit.as_secs_f64());
        let totals = &mut self.state().totals;
        totals.records += records;
        totals.events += batch.events;
        totals.duplicates += duplicates;
        totals.dead_letters += refused;
        totals.skipped += batch.skipped;
        totals.late += batch.late;
        totals.batches += 1;
        inner.health.progressed();
    }

    /// Counts a retried transaction. `class` has few values, such as `unavailable`.
    pub fn retrying(&self, class: &'static str) {
        self.0.retries.get_or_create(&[("class", class.to_owned())]).inc();
    }

    /// Counts a commit that was refused because another writer had moved the stored position.
    pub fn fenced(&self) {
        self.0.fenced.inc();
    }

    /// Counts a change of this process's partition assignment.
    pub fn rebalanced(&self, kind: Rebalance) {
        let kind = match kind {
            Rebalance::Assigned => "assigned",
            Rebalance::Revoked => "revoked",
            Rebalance::Lost => "lost",
        };
        self.0.rebalances.get_or_create(&[("kind", kind.to_owned())]).inc();
    }

    /// Counts a start at the earliest record although a position was stored.
    pub fn position_reset(&self, reason: PositionReset) {
        let reason = match reason {
            PositionReset::BeyondEnd => "beyond_end",
            PositionReset::BeforeStart => "before_start",
            PositionReset::Replaced => "replaced",
        };
        self.0.resets.get_or_create(&[("reason", reason.to_owned())]).inc();
    }

    /// Counts a transient error of the source. `kind` has few values.
    pub fn source_failed(&self, kind: &'static str) {
        self.0.source_errors.get_or_create(&[("kind", kind.to_owned())]).inc();
    }

    /// Counts dead letters that were produced to the dead letter topic, or could not be.
    pub fn mirrored(&self, sent: u64, failed: u64) {
        for (result, count) in [("sent", sent), ("failed", failed)] {
            self.0.mirrored.get_or_create(&[("result", result.to_owned())]).inc_by(count);
        }
    }

    /// Sets the number of dead letters in the store.
    pub fn set_dead_letters_waiting(&self, count: u64) {
        self.0.dead_letters_waiting.set(signed(count));
    }

    /// Sets the progress of a sink: the number of the last transaction it has, and how many
    /// transactions and bytes of the outbox it does not have yet.
    pub fn set_sink(&self, sink: &str, position: u64, lag_entries: u64, lag_bytes: u64) {
        let labels = [("sink", sink.to_owned())];
        self.0.sink_position.get_or_create(&labels).set(signed(position));
        self.0.sink_lag_entries.get_or_create(&labels).set(signed(lag_entries));
        self.0.sink_lag_bytes.get_or_create(&labels).set(signed(lag_bytes));
    }

    /// Counts row changes that were written to a sink.
    pub fn sink_delivered(&self, sink: &str, changes: u64) {
        self.0.sink_changes.get_or_create(&[("sink", sink.to_owned())]).inc_by(changes);
    }

    /// Counts an error of a sink; `kind` is `retryable` or `refused`.
    pub fn sink_failed(&self, sink: &str, kind: &'static str) {
        self.0.sink_errors.get_or_create(&[("sink", sink.to_owned()), ("kind", kind.to_owned())]).inc();
    }

    /// Sets the number of cached timelines and their size in bytes.
    pub fn set_cache(&self, timelines: usize, bytes: usize) {
        self.0.timelines.set(signed(timelines as u64));
        self.0.cache_bytes.set(signed(bytes as u64));
    }

    /// Sets the size of the read-ahead buffer, and the number of partitions paused because it is
    /// full.
    pub fn set_buffer(&self, records: usize, bytes: usize, paused_partitions: usize) {
        self.0.buffer_records.set(signed(records as u64));
        self.0.buffer_bytes.set(signed(bytes as u64));
        self.0.paused.set(signed(paused_partitions as u64));
    }

    /// Updates the progress of a partition. Fields that are `None` keep their last value.
    pub fn partition(&self, topic: &str, partition: i32, progress: &PartitionProgress) {
        let mut state = self.state();
        let known = state.partitions.entry((topic.to_owned(), partition)).or_default();
        known.position = progress.position.or(known.position);
        known.end = progress.end.or(known.end);
        known.event_time = progress.event_time.or(known.event_time);
        let lag = state.partitions.values().filter_map(status::lag).sum();
        drop(state);
        self.0.health.set_lag(lag);
    }

    /// Removes a partition that this process no longer reads. Another process exports its lag from
    /// now on.
    pub fn partition_gone(&self, topic: &str, partition: i32) {
        let mut state = self.state();
        state.partitions.remove(&(topic.to_owned(), partition));
        let lag = state.partitions.values().filter_map(status::lag).sum();
        drop(state);
        let labels = labels(topic, partition);
        self.0.lag_events.remove(&labels);
        self.0.lag_seconds.remove(&labels);
        self.0.health.set_lag(lag);
    }

    /// Updates gauges that are derived from other state: health, and lag relative to `now`.
    fn refresh(&self, now: f64) {
        let inner = &self.0;
        let report = inner.health.report();
        inner.consumers.set(signed(report.alive as u64));
        inner.healthy.set(report.healthy.into());
        inner.waiting.set(report.waiting.is_some().into());
        for ((topic, partition), progress) in &self.state().partitions {
            let labels = labels(topic, *partition);
            if let Some(lag) = status::lag(progress) {
                inner.lag_events.get_or_create(&labels).set(signed(lag));
            }
            if let Some(seconds) = status::lag_seconds(progress, now) {
                inner.lag_seconds.get_or_create(&labels).set(seconds);
            }
        }
    }

    /// Returns the metrics in Prometheus's text format, version 0.0.4.
    #[must_use]
    pub fn encode(&self) -> String {
        text::classic(&self.encode_open())
    }

    /// Returns the metrics in OpenMetrics's text format, version 1.0.0.
    #[must_use]
    pub fn encode_open(&self) -> String {
        self.refresh(unix_seconds(SystemTime::now()));
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.0.registry);
        text
    }
}

fn labels(topic: &str, partition: i32) -> Labels<2> {
    [("topic", topic.to_owned()), ("partition", partition.to_string())]
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
