//! The service's path: Kafka to PostgreSQL, with real servers started for each measurement.

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

/// What can be measured of it.
#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    /// Kafka to engine without a store, against librdkafka's own consumer.
    Kafka {
        /// Events.
        #[arg(long, default_value_t = 500_000)]
        events: u64,
        /// Runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Kafka to PostgreSQL, against binary COPY of the same rows.
    Postgres {
        /// Sizes of the events; all unless given.
        #[arg(long)]
        mix: Option<Mix>,
        /// Events.
        #[arg(long, default_value_t = 300_000)]
        events: u64,
        /// Runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// Consumers, each with a partition of its own.
        #[arg(long, default_values_t = [1])]
        consumers: Vec<u32>,
        /// Events of a batch at most; what the service takes unless told otherwise.
        #[arg(long, default_value_t = fill::BATCH)]
        batch: usize,
        /// Only with references kept so: auto, declared, none; both of the first unless given.
        #[arg(long)]
        foreign_keys: Option<ForeignKeys>,
    },
    /// One worker keyed, one unkeyed, three unkeyed.
    Workers {
        /// Sizes of the events.
        #[arg(long, default_value = "capture")]
        mix: Mix,
        /// Events.
        #[arg(long, default_value_t = 200_000)]
        events: u64,
        /// Events of a batch at most; 10,000 is what the service does unless told otherwise.
        #[arg(long, default_values_t = [5_000, 10_000])]
        batch: Vec<usize>,
        /// Runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// From producing a record to seeing its row.
    Latency {
        /// Flush intervals in milliseconds.
        #[arg(long, default_values_t = [500, 100])]
        flush: Vec<u64>,
        /// Records of each.
        #[arg(long, default_value_t = 500)]
        records: usize,
    },
    /// The rate into a large store, against that into one of a million events.
    Growth {
        /// Sizes of the events.
        #[arg(long, default_value = "lean")]
        mix: Mix,
        /// Sizes of the store in millions of events, ascending.
        #[arg(long, default_values_t = [10])]
        millions: Vec<u64>,
        /// Events whose rate is measured.
        #[arg(long, default_value_t = 200_000)]
        events: u64,
        /// Runs.
        #[arg(long, default_value_t = 3)]
        runs: usize,
        /// A line for postgresql.conf, such as `shared_buffers = 4GB`; may be given several times.
        #[arg(long)]
        setting: Vec<String>,
    },
    /// Others that bring the same topic into PostgreSQL as JSON: a plain Python consumer, Kafka Connect.
    Connect {
        /// A Python that has confluent-kafka and psycopg.
        #[arg(long)]
        python: PathBuf,
        /// The script that is the plain consumer.
        #[arg(long)]
        script: PathBuf,
        /// Folder with the jars of Kafka Connect and Debezium's JDBC sink.
        #[arg(long)]
        jars: PathBuf,
        /// Sizes of the events.
        #[arg(long, default_value = "capture")]
        mix: Mix,
        /// Events.
        #[arg(long, default_value_t = 200_000)]
        events: u64,
        /// Runs.
        #[arg(long, default_value_t = 3)]
        runs: usize,
    },
}

/// Starts what is needed, measures, and prints.
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
