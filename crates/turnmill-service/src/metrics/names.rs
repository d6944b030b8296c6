//! Every metric as data. Tests compare the dashboard, the alert rules and the documentation with
//! this list.

/// Prometheus type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// A value that only increases.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Observations counted in buckets.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name used in queries. The samples of a histogram add `_bucket`, `_sum` and `_count`.
    pub name: &'static str,
    /// Type.
    pub kind: MetricType,
    /// Names of the labels. No label has values that end users choose.
    pub labels: &'static [&'static str],
    /// Description, one sentence without its final stop.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($id:ident, $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        $(#[doc = $help] pub const $id: Metric =
            Metric { name: $name, kind: MetricType::$kind, labels: &[$($label),*], help: $help };)*

        /// All metrics.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    RECORDS, "turnmill_records_total", Counter, ["source", "outcome"],
        "Records committed, by outcome: events, duplicates, dead_letters or skipped";
    DUPLICATES, "turnmill_duplicates_total", Counter, ["source", "kind"],
        "Duplicate events, by kind: repeated, anonymised (a copy that replaced plain events) or \
         changed (a copy of a message with other content)";
    DEAD_LETTERS, "turnmill_dead_letters_total", Counter, ["source", "reason"],
        "Records that became dead letters, by reason";
    LATE_EVENTS, "turnmill_late_events_total", Counter, ["source"],
        "Events that arrived after newer events of their sender";
    REPLAYS, "turnmill_replays_total", Counter, ["source"],
        "Replays of a sender's history, caused by late events or anonymised copies";
    RECORD_BYTES, "turnmill_record_bytes_total", Counter, ["source"],
        "Bytes of committed records";
    ROWS, "turnmill_rows_total", Counter, ["table", "operation"],
        "Rows written, by table and operation: insert, update or delete";
    BATCHES, "turnmill_batches_total", Counter, ["source"],
        "Batches committed";
    BATCH_RECORDS, "turnmill_batch_records", Histogram, [],
        "Records per batch";
    BATCH_SECONDS, "turnmill_batch_seconds", Histogram, [],
        "Seconds from the start of a batch to its commit, including decoding and retries";
    COMMIT_SECONDS, "turnmill_commit_seconds", Histogram, [],
        "Seconds that the committed transaction of a batch took";
    RETRIES, "turnmill_transaction_retries_total", Counter, ["class"],
        "Transactions that failed and were retried, by class of error";
    FENCED, "turnmill_fenced_total", Counter, [],
        "Commits refused because another writer had moved the stored position; the source resumes from it";
    REBALANCES, "turnmill_rebalances_total", Counter, ["kind"],
        "Changes of this process's partition assignment, by kind: assigned, revoked or lost";
    POSITION_RESETS, "turnmill_position_resets_total", Counter, ["reason"],
        "Stored positions that were unusable, so that reading started at the earliest record, by reason: \
         beyond_end, before_start or replaced";
    SOURCE_ERRORS, "turnmill_source_errors_total", Counter, ["kind"],
        "Transient errors of the source, by kind";
    MIRRORED, "turnmill_dead_letters_mirrored_total", Counter, ["result"],
        "Dead letters produced to the dead letter topic, by result: sent or failed";
    DEAD_LETTERS_WAITING, "turnmill_dead_letters_waiting", Gauge, [],
        "Dead letters in the store";
    SINK_POSITION, "turnmill_sink_position", Gauge, ["sink"],
        "Number of the last transaction whose changes the sink has";
    SINK_LAG_ENTRIES, "turnmill_sink_lag_entries", Gauge, ["sink"],
        "Transactions in the outbox that the sink does not have yet";
    SINK_LAG_BYTES, "turnmill_sink_lag_bytes", Gauge, ["sink"],
        "Bytes in the outbox that the sink does not have yet";
    SINK_CHANGES, "turnmill_sink_changes_total", Counter, ["sink"],
        "Row changes written to the sink";
    SINK_ERRORS, "turnmill_sink_errors_total", Counter, ["sink", "kind"],
        "Errors of the sink; refused: the sink cannot accept a change";
    LAG_EVENTS, "turnmill_lag_events", Gauge, ["topic", "partition"],
        "Lag in records: records of the partition that are not committed yet";
    LAG_SECONDS, "turnmill_lag_seconds", Gauge, ["topic", "partition"],
        "Lag in seconds: age of the last committed event while records are waiting, otherwise 0";
    TIMELINES, "turnmill_open_timelines", Gauge, [],
        "Senders whose state (timeline) is cached";
    CACHE_BYTES, "turnmill_cache_bytes", Gauge, [],
        "Bytes of cached sender states";
    BUFFER_RECORDS, "turnmill_buffer_records", Gauge, [],
        "Records read ahead and not yet written";
    BUFFER_BYTES, "turnmill_buffer_bytes", Gauge, [],
        "Bytes read ahead and not yet written";
    PAUSED, "turnmill_paused_partitions", Gauge, [],
        "Partitions paused because the read-ahead buffer is full";
    CONSUMERS, "turnmill_consumers", Gauge, [],
        "Consumers that are running";
    HEALTHY, "turnmill_healthy", Gauge, [],
        "1 if /healthcheck reports healthy, otherwise 0";
    WAITING, "turnmill_waiting", Gauge, [],
        "1 while the database or the brokers are unavailable, otherwise 0";
    BUILD, "turnmill_build_info", Gauge, ["version"],
        "Always 1, with the version as label";
    START, "process_start_time_seconds", Gauge, [],
        "Start time of the process, in Unix seconds";
}
