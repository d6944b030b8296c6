//! Kafka flags, and the settings derived from them and the environment.

use std::time::Duration;

use turnmill_source_kafka::{
    Edge, KafkaError, KafkaRange, KafkaSettings, ProducerSettings, check_connectivity,
};

use crate::Failure;
use crate::time::unix_seconds;

/// Time the brokers have to respond to the first request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Flags about topics. Security settings come from the environment variables of the service, such
/// as `KAFKA_SECURITY_PROTOCOL`.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Kafka")]
pub(crate) struct KafkaArgs {
    /// Brokers, `host:port[,host:port]` [default: `KAFKA_BROKER_ADDRESS`]. Security settings come
    /// from the `KAFKA_` variables of the service.
    #[arg(long, value_name = "BROKERS")]
    brokers: Option<String>,

    /// Read topics from the first record at or after this Kafka time: `2026-11-21T14:00Z`,
    /// `2026-11-21`, Unix seconds.
    #[arg(long, value_name = "TIME", value_parser = unix_seconds, conflicts_with = "from_offset", allow_negative_numbers = true)]
    since: Option<f64>,

    /// Read topics up to, but not including, the first record at or after this Kafka time.
    #[arg(long, value_name = "TIME", value_parser = unix_seconds, conflicts_with = "to_offset", allow_negative_numbers = true)]
    until: Option<f64>,

    /// Read each partition from this offset.
    #[arg(long, value_name = "OFFSET")]
    from_offset: Option<u64>,

    /// Read each partition up to, but not including, this offset.
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<u64>,

    /// Publish with the sender's id as key, as Rasa does with `partition_by_sender: true`. By
    /// default, records from Kafka or from dumps of it keep their keys, and others have none.
    #[arg(long, conflicts_with = "unkeyed")]
    pub(crate) keyed: bool,

    /// Publish without keys.
    #[arg(long)]
    pub(crate) unkeyed: bool,

    /// Publish with this `RASA_ENVIRONMENT` header. Records from Kafka or from dumps of it keep
    /// their own headers.
    #[arg(long, value_name = "NAME", default_value = "RASA_ENVIRONMENT_NOT_SET")]
    pub(crate) environment: String,

    /// Maximum number of records to publish per second.
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
}

impl KafkaArgs {
    /// Returns the range to read.
    fn range(&self) -> KafkaRange {
        let edge = |time: Option<f64>, offset: Option<u64>| time.map(Edge::Time).or(offset.map(Edge::Offset));
        KafkaRange { from: edge(self.since, self.from_offset), to: edge(self.until, self.to_offset) }
    }

    /// Returns whether a flag requires a topic as input.
    pub(crate) fn has_range(&self) -> bool {
        self.range() != KafkaRange::default()
    }

    /// Returns the settings for reading `TOPIC` or `TOPIC/PARTITION`, after checking that it
    /// exists.
    pub(crate) fn input(&self, topic: &str) -> Result<KafkaSettings, Failure> {
        let (name, partition) = match topic.split_once('/') {
            Some((name, number)) => {
                let input = || turnmill_text::redact(&format!("kafka:{topic}"));
                let wrong =
                    || Failure::Usage(format!("`{}`: expected the number of a partition after `/`", input()));
                (name, Some(number.parse::<u32>().map_err(|_| wrong())?))
            }
            None => (topic, None),
        };
        let mut settings = self.settings()?;
        settings.topics = vec![name.to_owned()];
        settings.range = Some(self.range());
        settings.range_partition = partition.and_then(|partition| i32::try_from(partition).ok());
        let partitions = partitions(&settings)?;
        if partition.is_some_and(|partition| partition as usize >= partitions) {
            let why = format!(
                "partition `kafka:{topic}` does not exist: topic `{name}` has {partitions} partitions, counted from 0"
            );
            return Err(Failure::Usage(why));
        }
        Ok(settings)
    }

    /// Returns the settings for publishing to `topic`, after checking that it exists.
    pub(crate) fn output(&self, topic: &str) -> Result<(KafkaSettings, ProducerSettings), Failure> {
        let mut settings = self.settings()?;
        settings.topics = vec![topic.to_owned()];
        partitions(&settings)?;
        let mut producer = ProducerSettings { buffer_bytes: 64 << 20, ..ProducerSettings::default() };
        if let Some(retries) = variable("KAFKA_PRODUCER_RETRIES") {
            producer.retries = number("KAFKA_PRODUCER_RETRIES", &retries)?;
        }
        if let Some(timeout) = variable("KAFKA_PRODUCER_TIMEOUT_MS") {
            producer.timeout = Duration::from_millis(number("KAFKA_PRODUCER_TIMEOUT_MS", &timeout)?);
        }
        if let Some(partitioner) = variable("KAFKA_PRODUCER_PARTITIONER") {
            producer.partitioner = partitioner;
        }
        if let Some(compression) = variable("KAFKA_COMPRESSION_CODEC") {
            producer.compression = compression;
        }
        Ok((settings, producer))
    }

    /// Returns the settings for connecting to the brokers, from the variables of the service.
    fn settings(&self) -> Result<KafkaSettings, Failure> {
        let brokers = self.brokers.clone().or_else(|| variable("KAFKA_BROKER_ADDRESS"));
        let brokers = brokers.ok_or_else(|| {
            Failure::Usage(
                "no brokers given for the topic: use --brokers HOST:PORT, or set KAFKA_BROKER_ADDRESS".into(),
            )
        })?;
        let mut settings = KafkaSettings::new(brokers);
        settings.client_id = "turnmill-replay".into();
        settings.group_id = "turnmill-replay".into();
        if let Some(protocol) = variable("KAFKA_SECURITY_PROTOCOL") {
            settings.security_protocol = protocol.parse()?;
        }
        if let Some(mechanism) = variable("KAFKA_SASL_MECHANISM") {
            settings.sasl_mechanism = mechanism.parse()?;
        }
        settings.sasl_username = variable("KAFKA_SASL_USERNAME");
        settings.sasl_password = variable("KAFKA_SASL_PASSWORD");
        settings.ssl_ca_location = variable("KAFKA_SSL_CA_LOCATION").map(Into::into);
        settings.ssl_certfile_location = variable("KAFKA_SSL_CERTFILE_LOCATION").map(Into::into);
        settings.ssl_keyfile_location = variable("KAFKA_SSL_KEYFILE_LOCATION").map(Into::into);
        Ok(settings)
    }
}

/// Returns the number of partitions of the topic in the settings.
fn partitions(settings: &KafkaSettings) -> Result<usize, Failure> {
    let found = check_connectivity(settings, &[], CONNECT_TIMEOUT)?;
    let topic = settings.topics.first().cloned().unwrap_or_default();
    let partitions =
        found.topics.iter().find(|found| found.topic == topic).and_then(|found| found.partitions);
    partitions.ok_or(Failure::Kafka(KafkaError::NoTopic { topic }))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number<N: std::str::FromStr>(variable: &'static str, text: &str) -> Result<N, Failure> {
    let problem = || KafkaError::Setting { variable, problem: format!("`{text}` is not a number in range") };
    text.parse().map_err(|_| Failure::Kafka(problem()))
}
