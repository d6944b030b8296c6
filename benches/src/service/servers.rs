//! Servers of a measurement, and their processor time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfig as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};
use turnmill_sink_postgres::{ForeignKeys, PostgresSettings};
use turnmill_testbed::{kafka, postgres};

use crate::measure::{Failure, Seconds, process_cpu, seconds};
use crate::stream::Shape;

/// PostgreSQL with its defaults (including `fsync`) unless configured otherwise, and a broker; both
/// with private data on one disk.
pub(crate) struct Servers {
    pub(crate) postgres: postgres::Server,
    pub(crate) broker: kafka::Broker,
    pub(crate) runtime: Runtime,
    topics: AtomicU32,
}

/// Selects the partition of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// By its sender, which is its key.
    Sender,
    /// Round robin, without keys.
    None,
}

/// A topic with records.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) bootstrap: String,
    pub(crate) name: String,
    pub(crate) partitions: u32,
    pub(crate) records: u64,
    /// Bytes of the records' payloads.
    pub(crate) bytes: u64,
}

/// What a piece of work cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// Wall clock, and the processor seconds of this process and of PostgreSQL.
    pub(crate) seconds: Seconds,
    /// Processor seconds of all of PostgreSQL's processes.
    pub(crate) server: f64,
    /// Bytes that PostgreSQL wrote to its write-ahead log.
    pub(crate) wal: f64,
}

impl Servers {
    pub(crate) fn start() -> Result<Self, Failure> {
        Self::with(&[])
    }

    /// With further lines for `postgresql.conf`.
    pub(crate) fn with(postgres: &[String]) -> Result<Self, Failure> {
        let settings = postgres.to_vec();
        let options = postgres::Options { durable: true, settings, ..Default::default() };
        let postgres = postgres::Server::start(&options)?;
        // Members that start together get one assignment, as with Kafka's default delay of three
        // seconds.
        let settings = vec![("group.initial.rebalance.delay.ms".to_owned(), "1000".to_owned())];
        let broker = kafka::Broker::start(&kafka::Options { settings, ..Default::default() })?;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self { postgres, broker, runtime, topics: 0.into() })
    }

    /// Executes statements and returns the first column of their rows.
    pub(crate) fn sql(&self, sql: &str) -> Vec<String> {
        self.postgres.psql("postgres", sql).lines().map(str::to_owned).collect()
    }

    /// Returns the schema of our tables.
    pub(crate) fn store(&self, schema: &str, keys: ForeignKeys) -> Result<PostgresSettings, Failure> {
        Ok(self.postgres.url().parse::<PostgresSettings>()?.with_schema(schema).with_foreign_keys(keys))
    }

    /// Opens a new connection.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let (client, traffic) = tokio_postgres::connect(&self.postgres.url(), NoTls).await?;
        tokio::spawn(traffic);
        Ok(client)
    }

    /// Flushes writes of previous measurements.
    pub(crate) fn settle(&self) {
        self.sql("CHECKPOINT");
    }

    pub(crate) fn drop_schema(&self, schema: &str) {
        self.sql(&format!("SET client_min_messages = warning; DROP SCHEMA IF EXISTS {schema} CASCADE"));
    }

    /// Bytes of the tables of a schema with their indexes and out-of-line values.
    pub(crate) fn stored(&self, schema: &str) -> Result<f64, Failure> {
        self.figure(&format!(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class \
             WHERE relkind = 'r' AND relnamespace = '{schema}'::regnamespace"
        ))
    }

    fn figure(&self, sql: &str) -> Result<f64, Failure> {
        Ok(self.sql(sql).first().ok_or("no row")?.parse()?)
    }

    /// Measures `work`, which begins with nothing left to be written for what was measured before.
    pub(crate) fn measure<T>(
        &self,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<(T, Spent), Failure> {
        let pid = self.postgres.pid().ok_or("PostgreSQL has ended")?;
        let log = "SELECT pg_current_wal_insert_lsn() - '0/0'";
        self.settle();
        let (written, before) = (self.figure(log)?, process_cpu(pid)?);
        let (result, own) = seconds(work)?;
        let server = process_cpu(pid)? - before;
        let seconds = Seconds { wall: own.wall, cpu: own.cpu + server };
        Ok((result, Spent { seconds, server, wal: self.figure(log)? - written }))
    }

    /// A new topic without records.
    pub(crate) fn topic(&self, partitions: u32) -> Topic {
        let number = self.topics.fetch_add(1, Ordering::Relaxed);
        let name = format!("rasa_core_events_{number}");
        self.broker.create_topic(&name, partitions, &[]);
        Topic { bootstrap: self.broker.bootstrap(), name, partitions, records: 0, bytes: 0 }
    }

    /// A topic with the stream of `shape`, uncompressed as Rasa sends it.
    pub(crate) fn produce(&self, shape: &Shape, partitions: u32, keys: Keys) -> Result<Topic, Failure> {
        let mut topic = self.topic(partitions);
        let producer = producer(&topic)?;
        let mut failed = Ok(());
        shape.each(|line, _| {
            let sent = send(&producer, &topic, line, keys, topic.records);
            topic.records += 1;
            topic.bytes += line.len() as u64;
            failed = sent;
            failed.is_ok()
        });
        failed?;
        producer.flush(Duration::from_secs(120))?;
        Ok(topic)
    }
}

pub(crate) fn producer(topic: &Topic) -> Result<BaseProducer, Failure> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &topic.bootstrap).set("enable.idempotence", "true");
    Ok(BaseProducer::from_config(&config)?)
}

/// Sends record `number` of a topic, waiting for room in the queue.
pub(crate) fn send(
    producer: &BaseProducer,
    topic: &Topic,
    line: &str,
    keys: Keys,
    number: u64,
) -> Result<(), Failure> {
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&topic.name).payload(line.as_bytes());
    record = match keys {
        Keys::Sender => record.key(sender(line).as_bytes()),
        Keys::None => record.partition(i32::try_from(number % u64::from(topic.partitions))?),
    };
    loop {
        match producer.send(record) {
            Ok(()) => break,
            Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                record = back;
                producer.poll(Duration::from_millis(50));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
    producer.poll(Duration::ZERO);
    Ok(())
}

/// The first field of the generator's lines.
fn sender(line: &str) -> &str {
    line.split('"').nth(3).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn senders_are_found() {
        let lines = super::Shape::new(crate::body::Mix::Lean, 100, 1).lines();
        for line in lines {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let escaped = serde_json::from_str::<String>(&format!("\"{}\"", super::sender(&line))).unwrap();
            assert_eq!(value["sender_id"], escaped.as_str());
        }
    }
}
