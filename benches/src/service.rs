//! Measures the service's path from Kafka to PostgreSQL, with real servers started for each
//! measurement.

mod copy;
mod discard;
mod fill;
mod growth;
mod latency;
mod peers;
mod servers;
mod workers;

use std::path::PathBuf;

use clap::Subcommand;
use turnmill_sink_postgres::ForeignKeys;

use crate::body::Mix;
use crate::measure::Failure;

/// Measurements of the service.
#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    /// Compares Kafka to engine, without a store, with librdkafka's own consumer.
    Kafka {
        /// Number of events.
        #[arg(long, default_value_t = 500_000)]
        events: u64,
        /// Number of runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Compares Kafka to PostgreSQL with a binary COPY of the same rows.
    Postgres {
        /// Size classes of the events [default: all].
        #[arg(long)]
        mix: Option<Mix>,
        /// Number of events.
        #[arg(long, default_value_t = 300_000)]
        events: u64,
        /// Number of runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// Number of consumers, each with its own partition.
        #[arg(long, default_values_t = [1])]
        consumers: Vec<u32>,
        /// Maximum number of events in a batch; the service's default.
        #[arg(long, default_value_t = fill::BATCH)]
        batch: usize,
        /// Measures only this way to keep references: auto, declared, none. Without it, the first
        /// two.
        #[arg(long)]
        foreign_keys: Option<ForeignKeys>,
    },
    /// Measures one worker on a keyed topic, and one and three workers on an unkeyed topic.
    Workers {
        /// Size class of the events.
        #[arg(long, default_value = "capture")]
        mix: Mix,
        /// Number of events.
        #[arg(long, default_value_t = 200_000)]
        events: u64,
        /// Maximum number of events per batch; the service's default is 10,000.
        #[arg(long, default_values_t = [5_000, 10_000])]
        batch: Vec<usize>,
        /// Number of runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Measures the time from producing a record to seeing its row.
    Latency {
        /// Flush intervals in milliseconds.
        #[arg(long, default_values_t = [500, 100])]
        flush: Vec<u64>,
        /// Number of records per interval.
        #[arg(long, default_value_t = 500)]
        records: usize,
    },
    /// Compares the rate into a large store with that into one of a million events.
    Growth {
        /// Size class of the events.
        #[arg(long, default_value = "lean")]
        mix: Mix,
        /// Sizes of the store in millions of events, ascending.
        #[arg(long, default_values_t = [10])]
        millions: Vec<u64>,
        /// Number of events whose rate is measured.
        #[arg(long, default_value_t = 200_000)]
        events: u64,
        /// Number of runs.
        #[arg(long, default_value_t = 3)]
        runs: usize,
        /// A line for postgresql.conf, such as `shared_buffers = 4GB`; may be given several times.
        #[arg(long)]
        setting: Vec<String>,
    },
    /// Compares with other programs that write the same topic to PostgreSQL as JSON: a plain Python
    /// consumer, Kafka Connect.
    Connect {
        /// Python interpreter with confluent-kafka and psycopg.
        #[arg(long)]
        python: PathBuf,
        /// Script of the plain consumer.
        #[arg(long)]
        script: PathBuf,
        /// Directory with the jars of Kafka Connect and Debezium's JDBC sink.
        #[arg(long)]
        jars: PathBuf,
        /// Size class of the events.
        #[arg(long, default_value = "capture")]
        mix: Mix,
        /// Number of events.
        #[arg(long, default_value_t = 200_000)]
        events: u64,
        /// Number of runs.
        #[arg(long, default_value_t = 3)]
        runs: usize,
    },
}

/// Starts the servers, measures, and prints the results.
pub(crate) fn measure(what: Service) -> Result<(), Failure> {
    match what {
        Service::Kafka { events, runs } => discard::measure(events, runs),
        Service::Postgres { mix, events, runs, consumers, batch, foreign_keys } => {
            let mixes = mix.map_or_else(|| vec![Mix::Lean, Mix::Capture], |mix| vec![mix]);
            copy::measure(&mixes, &consumers, events, batch, runs, foreign_keys)
        }
        Service::Workers { mix, events, batch, runs } => {
            batch.into_iter().try_for_each(|batch| workers::measure(mix, events, batch, runs))
        }
        Service::Latency { flush, records } => latency::measure(&flush, records),
        Service::Growth { mix, millions, events, runs, setting } => {
            growth::measure(mix, &millions, events, runs, &setting)
        }
        Service::Connect { python, script, jars, mix, events, runs } => {
            peers::measure(&peers::Peers { python, script, jars }, mix, events, runs)
        }
    }
}
