//! Every metric, as data. The dashboard, the alert rules and the documentation are tested against this list.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, as one asks for it; a histogram also has `_bucket`, `_sum` and `_count`.
    pub name: &'static str,
    /// What it is.
    pub kind: Type,
    /// Its labels. None of them has values that users make up.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($id:ident, $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        $(#[doc = $help] pub const $id: Metric =
            Metric { name: $name, kind: Type::$kind, labels: &[$($label),*], help: $help };)*

        /// All of them.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    RECORDS, "turnmill_records_total", Counter, ["source", "outcome"],
        "Records that were read and committed, by what became of them: events, duplicates, dead_letters or skipped";
    DUPLICATES, "turnmill_duplicates_total", Counter, ["source", "kind"],
        "Events that were known: repeated, anonymised copies that took the place of the plain ones, or changed copies of a message";
    DEAD_LETTERS, "turnmill_dead_letters_total", Counter, ["source", "reason"],
        "Records that could not become rows, by reason";
    LATE_EVENTS, "turnmill_late_events_total", Counter, ["source"],
        "Events that came after newer ones of their sender";
    REPLAYS, "turnmill_replays_total", Counter, ["source"],
        "Stretches of history replayed for late events and anonymised copies";
    RECORD_BYTES, "turnmill_record_bytes_total", Counter, ["source"],
        "Bytes of the records that were committed";
    ROWS, "turnmill_rows_total", Counter, ["table", "operation"],
        "Rows that were inserted, updated or deleted";
    BATCHES, "turnmill_batches_total", Counter, ["source"],
        "Batches that were committed";
    BATCH_RECORDS, "turnmill_batch_records", Histogram, [],
        "Records of a batch";
    BATCH_SECONDS, "turnmill_batch_seconds", Histogram, [],
        "Seconds from a batch's begin to its commit, decoding and retries included";
    COMMIT_SECONDS, "turnmill_commit_seconds", Histogram, [],
        "Seconds of a batch's last, successful transaction";
    RETRIES, "turnmill_transaction_retries_total", Counter, ["class"],
        "Transactions that failed and were tried again, by class of error";
    FENCED, "turnmill_fenced_total", Counter, [],
        "Times that another writer turned out to have moved on, so that a source started again at the stored position";
    REBALANCES, "turnmill_rebalances_total", Counter, ["kind"],
        "Changes of the partitions that this process reads: assigned, revoked or lost";
    POSITION_RESETS, "turnmill_position_resets_total", Counter, ["reason"],
        "Stored positions that the log no longer has, so that reading started at its earliest: beyond_end, before_start or replaced";
    SOURCE_ERRORS, "turnmill_source_errors_total", Counter, ["kind"],
        "Errors of the source that may pass, by kind";
    MIRRORED, "turnmill_dead_letters_mirrored_total", Counter, ["result"],
        "Dead letters handed to the topic that mirrors them: sent or failed";
    DEAD_LETTERS_WAITING, "turnmill_dead_letters_waiting", Gauge, [],
        "Dead letters in the store";
    SINK_POSITION, "turnmill_sink_position", Gauge, ["sink"],
        "Number of the last transaction whose changes the sink has";
    SINK_LAG_ENTRIES, "turnmill_sink_lag_entries", Gauge, ["sink"],
        "Transactions in the outbox that the sink does not have yet";
    SINK_LAG_BYTES, "turnmill_sink_lag_bytes", Gauge, ["sink"],
        "Bytes in the outbox that the sink does not have yet";
    SINK_CHANGES, "turnmill_sink_changes_total", Counter, ["sink"],
        "Changes of rows that the sink has taken";
    SINK_ERRORS, "turnmill_sink_errors_total", Counter, ["sink", "kind"],
        "Errors of the sink: retryable, or refused for a change that it can never take and that was skipped";
    LAG_EVENTS, "turnmill_lag_events", Gauge, ["topic", "partition"],
        "Records of a partition that are not committed yet";
    LAG_SECONDS, "turnmill_lag_seconds", Gauge, ["topic", "partition"],
        "Seconds between now and the time of the last committed event, while records are waiting; 0 if none are";
    TIMELINES, "turnmill_open_timelines", Gauge, [],
        "Senders whose state is in memory";
    CACHE_BYTES, "turnmill_cache_bytes", Gauge, [],
        "Bytes of the senders' states in memory";
    BUFFER_RECORDS, "turnmill_buffer_records", Gauge, [],
        "Records read ahead";
    BUFFER_BYTES, "turnmill_buffer_bytes", Gauge, [],
        "Bytes read ahead";
    PAUSED, "turnmill_paused_partitions", Gauge, [],
        "Partitions that are not read for now, because enough is read ahead";
    CONSUMERS, "turnmill_consumers", Gauge, [],
        "Consumers alive";
    HEALTHY, "turnmill_healthy", Gauge, [],
        "1 if /healthcheck says healthy, else 0";
    WAITING, "turnmill_waiting", Gauge, [],
        "1 while the database or the brokers are away, else 0";
    BUILD, "turnmill_build_info", Gauge, ["version"],
        "1, labelled with the version";
    START, "process_start_time_seconds", Gauge, [],
        "When the process started, in Unix seconds";
}
