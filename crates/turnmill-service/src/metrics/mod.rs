//! What `/metrics` tells. All names are in [`names`].

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

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is new.
    Insert,
    /// It changed.
    Update,
    /// It is gone.
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

/// A batch that was committed.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchCommitted<'b> {
    /// Name of the source.
    pub source: &'b str,
    /// New events.
    pub events: u64,
    /// Events that were known and changed nothing.
    pub repeated: u64,
    /// Anonymised copies that took the place of the plain ones.
    pub anonymised: u64,
    /// Copies with another content than the one that stands, of messages that are told by their id.
    pub changed: u64,
    /// Records that were refused.
    pub dead_letters: &'b [(Reason, u64)],
    /// Records without events: tombstones, blank lines.
    pub skipped: u64,
    /// Events that came late.
    pub late: u64,
    /// Stretches of history replayed.
    pub replays: u64,
    /// Bytes of the records.
    pub bytes: u64,
    /// Rows by table and operation.
    pub rows: &'b [(&'static str, Operation, u64)],
    /// From the batch's begin to its commit.
    pub took: Duration,
    /// Of these, the last transaction.
    pub commit: Duration,
}

/// How the partitions of this process changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebalance {
    /// Some were added.
    Assigned,
    /// Some were taken, in good order.
    Revoked,
    /// Some are another's already.
    Lost,
}

/// Why reading started at the earliest record in spite of a stored position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionReset {
    /// The position is behind the end: the topic was made anew.
    BeyondEnd,
    /// The position is before the first record: retention has passed it.
    BeforeStart,
    /// The source is another one.
    Replaced,
}

/// Where one partition stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PartitionAt {
    /// Offset behind the last committed record; none if none is.
    pub position: Option<u64>,
    /// Offset behind the last record of the log, if known.
    pub end: Option<u64>,
    /// Time of the last committed event, Unix seconds.
    pub event_time: Option<f64>,
}

type Labels<const N: usize> = [(&'static str, String); N];
type Float = Gauge<f64, AtomicU64>;

/// The service's metrics: a handle, to be cloned. Nothing here waits or fails.
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
    lag_seconds: Family<Labels<2>, Float>,
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
    partitions: BTreeMap<(String, i32), PartitionAt>,
    totals: Totals,
}

/// A registry in the making: each metric is registered as it is described.
struct Describe(Registry);

impl Describe {
    fn add<M: Encoded + Clone>(&mut self, metric: Metric, encoded: M) -> M {
        // The registry adds a counter's suffix, and a full stop to the help.
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
    /// Metrics of a service with this health. The process is taken to start now.
    #[must_use]
    pub fn new(health: Health) -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 17));
        let mut all = Describe(Registry::default());
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
        let start: Float = all.add(names::START, Float::default());
        start.set(unix_seconds(inner.started));
        inner.registry = all.0;
        Self(Arc::new(inner))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The health that is told beside the metrics.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// A batch was committed.
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

    /// A transaction failed and is tried again; `class` is one of a few names, such as `unavailable`.
    pub fn retrying(&self, class: &'static str) {
        self.0.retries.get_or_create(&[("class", class.to_owned())]).inc();
    }

    /// Another writer has moved on.
    pub fn fenced(&self) {
        self.0.fenced.inc();
    }

    /// The partitions of this process changed.
    pub fn rebalanced(&self, kind: Rebalance) {
        let kind = match kind {
            Rebalance::Assigned => "assigned",
            Rebalance::Revoked => "revoked",
            Rebalance::Lost => "lost",
        };
        self.0.rebalances.get_or_create(&[("kind", kind.to_owned())]).inc();
    }

    /// Reading started at the earliest record in spite of a stored position.
    pub fn position_reset(&self, reason: PositionReset) {
        let reason = match reason {
            PositionReset::BeyondEnd => "beyond_end",
            PositionReset::BeforeStart => "before_start",
            PositionReset::Replaced => "replaced",
        };
        self.0.resets.get_or_create(&[("reason", reason.to_owned())]).inc();
    }

    /// The source failed in a way that may pass; `kind` is one of a few names.
    pub fn source_failed(&self, kind: &'static str) {
        self.0.source_errors.get_or_create(&[("kind", kind.to_owned())]).inc();
    }

    /// Dead letters were handed to the topic that mirrors them, or could not be.
    pub fn mirrored(&self, sent: u64, failed: u64) {
        for (result, count) in [("sent", sent), ("failed", failed)] {
            self.0.mirrored.get_or_create(&[("result", result.to_owned())]).inc_by(count);
        }
    }

    /// So many dead letters are in the store.
    pub fn set_dead_letters_waiting(&self, count: u64) {
        self.0.dead_letters_waiting.set(signed(count));
    }

    /// Sets how far a sink has come: number of its last transaction, and the transactions and bytes that it lacks.
    pub fn set_sink(&self, sink: &str, position: u64, lag_entries: u64, lag_bytes: u64) {
        let labels = [("sink", sink.to_owned())];
        self.0.sink_position.get_or_create(&labels).set(signed(position));
        self.0.sink_lag_entries.get_or_create(&labels).set(signed(lag_entries));
        self.0.sink_lag_bytes.get_or_create(&labels).set(signed(lag_bytes));
    }

    /// Counts changes that a sink has taken.
    pub fn sink_delivered(&self, sink: &str, changes: u64) {
        self.0.sink_changes.get_or_create(&[("sink", sink.to_owned())]).inc_by(changes);
    }

    /// Counts an error of a sink; `kind` is `retryable` or `refused`.
    pub fn sink_failed(&self, sink: &str, kind: &'static str) {
        self.0.sink_errors.get_or_create(&[("sink", sink.to_owned()), ("kind", kind.to_owned())]).inc();
    }

    /// So many senders' states are in memory, of so many bytes.
    pub fn set_cache(&self, timelines: usize, bytes: usize) {
        self.0.timelines.set(signed(timelines as u64));
        self.0.cache_bytes.set(signed(bytes as u64));
    }

    /// So much is read ahead; so many partitions pause because of it.
    pub fn set_buffer(&self, records: usize, bytes: usize, paused_partitions: usize) {
        self.0.buffer_records.set(signed(records as u64));
        self.0.buffer_bytes.set(signed(bytes as u64));
        self.0.paused.set(signed(paused_partitions as u64));
    }

    /// A partition stands there now. What is none keeps its last value.
    pub fn partition(&self, topic: &str, partition: i32, at: &PartitionAt) {
        let mut state = self.state();
        let known = state.partitions.entry((topic.to_owned(), partition)).or_default();
        known.position = at.position.or(known.position);
        known.end = at.end.or(known.end);
        known.event_time = at.event_time.or(known.event_time);
        let lag = state.partitions.values().filter_map(status::lag).sum();
        drop(state);
        self.0.health.set_lag(lag);
    }

    /// A partition is no longer read here; another process tells of it now.
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

    /// Brings up to date what changes by itself.
    fn refresh(&self, now: f64) {
        let inner = &self.0;
        let report = inner.health.report();
        inner.consumers.set(signed(report.alive as u64));
        inner.healthy.set(report.healthy.into());
        inner.waiting.set(report.waiting.is_some().into());
        for ((topic, partition), at) in &self.state().partitions {
            let labels = labels(topic, *partition);
            if let Some(lag) = status::lag(at) {
                inner.lag_events.get_or_create(&labels).set(signed(lag));
            }
            if let Some(seconds) = status::lag_seconds(at, now) {
                inner.lag_seconds.get_or_create(&labels).set(seconds);
            }
        }
    }

    /// The metrics in Prometheus's text format, version 0.0.4.
    #[must_use]
    pub fn encode(&self) -> String {
        text::classic(&self.encode_open())
    }

    /// The metrics in OpenMetrics's text format, version 1.0.0.
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
