//! A producer that reports the delivery of each record.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use crate::check::LastError;
use crate::context::lock;
use crate::error::{explain, refusal};
use crate::{KafkaError, KafkaSettings};

/// How records are sent. [`ProducerSettings::default`] has the documented defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerSettings {
    /// `KAFKA_PRODUCER_RETRIES`.
    pub retries: u32,
    /// `KAFKA_PRODUCER_TIMEOUT_MS`: time a broker may take to answer a request.
    pub timeout: Duration,
    /// `KAFKA_PRODUCER_PARTITIONER`.
    pub partitioner: String,
    /// `KAFKA_COMPRESSION_CODEC`.
    pub compression: String,
    /// Time until a record counts as undelivered, including all retries.
    pub delivery_timeout: Duration,
    /// Maximum number of bytes of records in flight.
    pub buffer_bytes: usize,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            retries: 2_147_483_647,
            timeout: Duration::from_secs(5),
            partitioner: "consistent_random".into(),
            compression: "gzip".into(),
            delivery_timeout: Duration::from_secs(120),
            buffer_bytes: 32 << 20,
        }
    }
}

impl ProducerSettings {
    /// Checks the names of partitioner and codec.
    ///
    /// # Errors
    ///
    /// [`KafkaError::Setting`], which names the environment variable.
    pub fn validate(&self) -> Result<(), KafkaError> {
        const PARTITIONERS: [&str; 7] = [
            "random",
            "consistent",
            "consistent_random",
            "murmur2",
            "murmur2_random",
            "fnv1a",
            "fnv1a_random",
        ];
        const CODECS: [&str; 6] = ["none", "gzip", "snappy", "lz4", "zstd", "inherit"];
        for (variable, value, known) in [
            ("KAFKA_PRODUCER_PARTITIONER", &self.partitioner, &PARTITIONERS[..]),
            ("KAFKA_COMPRESSION_CODEC", &self.compression, &CODECS[..]),
        ] {
            if !known.contains(&value.as_str()) {
                let problem = format!("`{value}` is none of {}", known.join(", "));
                return Err(KafkaError::Setting { variable, problem });
            }
        }
        if self.timeout.is_zero() {
            return Err(KafkaError::Setting {
                variable: "KAFKA_PRODUCER_TIMEOUT_MS",
                problem: "is 0".into(),
            });
        }
        Ok(())
    }

    /// The properties of a producer that reaches the brokers as `settings` say.
    fn config(&self, settings: &KafkaSettings) -> ClientConfig {
        let mut config = settings.client();
        config
            .set("enable.idempotence", "true")
            .set("retries", self.retries.to_string())
            .set("request.timeout.ms", self.timeout.as_millis().to_string())
            .set("message.timeout.ms", self.delivery_timeout.as_millis().to_string())
            .set("partitioner", &self.partitioner)
            .set("queue.buffering.max.kbytes", (self.buffer_bytes >> 10).max(1024).to_string());
        if self.compression != "inherit" {
            config.set("compression.codec", &self.compression);
        }
        for (property, value) in &settings.extra {
            config.set(property, value);
        }
        config
    }
}

/// A record to send.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutgoingRecord<'a> {
    /// The key, which decides the partition.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub payload: Option<&'a [u8]>,
    /// The headers, in their order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// The record's time in Unix seconds; the present time if `None`.
    pub time: Option<f64>,
}

/// Outcome of sending a record.
#[derive(Debug)]
pub struct Delivery {
    /// The number that [`KafkaProducer::send`] returned.
    pub ticket: usize,
    /// Partition and offset of the record, or why it was not delivered.
    pub result: Result<(i32, i64), KafkaError>,
}

#[derive(Debug, Default)]
struct Context {
    deliveries: Mutex<VecDeque<Delivery>>,
    last_error: LastError,
}

impl ClientContext for Context {
    fn error(&self, error: ClientError, reason: &str) {
        self.last_error.note(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let result = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, message)) => {
                let problem = explain(error);
                Err(KafkaError::Undelivered { topic: message.topic().to_owned(), problem })
            }
        };
        lock(&self.deliveries).push_back(Delivery { ticket, result });
    }
}

/// Sends records, each exactly once, and those of a partition in their order, during the producer's
/// lifetime.
///
/// It creates no topics.
///
/// ```no_run
/// use std::time::Duration;
/// use turnmill_source_kafka::{KafkaProducer, KafkaSettings, OutgoingRecord, ProducerSettings};
///
/// let settings = KafkaSettings::new("localhost:9092");
/// let mut producer = KafkaProducer::new(&settings, &ProducerSettings::default())?;
/// if producer.topic_exists("rasa-analytics-dlq", Duration::from_secs(5))? {
///     let record = OutgoingRecord { payload: Some(b"{"), ..OutgoingRecord::default() };
///     let ticket = producer.send("rasa-analytics-dlq", &record)?;
///     producer.flush(Duration::from_secs(30))?;
///     let mut deliveries = producer.delivered().into_iter();
///     assert!(deliveries.any(|delivery| delivery.ticket == ticket && delivery.result.is_ok()));
/// }
/// # Ok::<(), turnmill_source_kafka::KafkaError>(())
/// ```
pub struct KafkaProducer {
    producer: BaseProducer<Context>,
    tickets: usize,
    delivery_timeout: Duration,
}

impl std::fmt::Debug for KafkaProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaProducer").field("tickets", &self.tickets).finish_non_exhaustive()
    }
}

impl KafkaProducer {
    /// Returns a producer. It connects on first use.
    ///
    /// # Errors
    ///
    /// Invalid settings.
    pub fn new(settings: &KafkaSettings, producer: &ProducerSettings) -> Result<Self, KafkaError> {
        settings.validate()?;
        producer.validate()?;
        let config = producer.config(settings);
        let delivery_timeout = producer.delivery_timeout;
        let producer = config
            .create_with_context(Context::default())
            .map_err(|error| KafkaError::failed("cannot set up the producer", &error))?;
        Ok(Self { producer, tickets: 0, delivery_timeout })
    }

    /// Sends a record and returns its ticket. Tickets count from 0. Blocks while the buffer is
    /// full.
    ///
    /// # Errors
    ///
    /// [`KafkaError::Undelivered`] if the record is too large, or if no other record was delivered
    /// within the delivery timeout.
    pub fn send(&mut self, topic: &str, record: &OutgoingRecord<'_>) -> Result<usize, KafkaError> {
        let ticket = self.tickets;
        let mut out: BaseRecord<'_, [u8], [u8], usize> = BaseRecord::with_opaque_to(topic, ticket);
        out.key = record.key;
        out.payload = record.payload;
        #[allow(clippy::cast_possible_truncation, reason = "saturates")]
        let millis = record.time.map(|seconds| (seconds * 1000.0).round() as i64);
        out.timestamp = millis;
        if !record.headers.is_empty() {
            let empty = OwnedHeaders::new_with_capacity(record.headers.len());
            let headers = record
                .headers
                .iter()
                .fold(empty, |headers, (key, value)| headers.insert(Header { key, value: *value }));
            out.headers = Some(headers);
        }
        let end = Instant::now() + self.delivery_timeout;
        loop {
            match self.producer.send(out) {
                Ok(()) => break,
                Err((ClientError::MessageProduction(Code::QueueFull), back)) if Instant::now() < end => {
                    out = back;
                    self.producer.poll(Duration::from_millis(50));
                }
                Err((error, _)) => {
                    return Err(KafkaError::Undelivered {
                        topic: topic.to_owned(),
                        problem: explain(&error),
                    });
                }
            }
        }
        self.tickets += 1;
        self.producer.poll(Duration::ZERO);
        Ok(ticket)
    }

    /// Returns the outcomes since the last call. Those of a partition are in their order.
    pub fn delivered(&mut self) -> Vec<Delivery> {
        self.producer.poll(Duration::ZERO);
        lock(&self.producer.context().deliveries).drain(..).collect()
    }

    /// Waits until no record is in flight.
    ///
    /// # Errors
    ///
    /// The first failure that [`delivered`](Self::delivered) has not returned yet; it still will.
    /// Also if `timeout` passes.
    pub fn flush(&mut self, timeout: Duration) -> Result<(), KafkaError> {
        let flushed = self.producer.flush(timeout);
        let deliveries = lock(&self.producer.context().deliveries);
        let failed = deliveries.iter().find_map(|delivery| match &delivery.result {
            Err(KafkaError::Undelivered { topic, problem }) => Some((topic.clone(), problem.clone())),
            _ => None,
        });
        match (failed, flushed) {
            (Some((topic, problem)), _) => Err(KafkaError::Undelivered { topic, problem }),
            (None, Ok(())) => Ok(()),
            (None, Err(error)) => {
                let last = self.producer.context().last_error.last();
                let problem = last.unwrap_or_else(|| explain(&error));
                Err(KafkaError::Failed { doing: "records were not delivered in time", problem })
            }
        }
    }

    /// Returns the number of records in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.producer.in_flight_count()).unwrap_or(0)
    }

    /// Returns whether a topic exists.
    ///
    /// # Errors
    ///
    /// [`KafkaError::Unreachable`], [`KafkaError::Refused`].
    pub fn topic_exists(&self, topic: &str, timeout: Duration) -> Result<bool, KafkaError> {
        match self.producer.client().fetch_metadata(Some(topic), timeout) {
            Ok(metadata) => {
                let found = metadata.topics().iter().find(|found| found.name() == topic);
                Ok(found.is_some_and(|found| !found.partitions().is_empty()))
            }
            Err(error) => {
                self.producer.poll(Duration::ZERO);
                let last_error = &self.producer.context().last_error;
                let refused = error.rdkafka_error_code().and_then(|code| refusal(code, ""));
                Err(refused.or_else(|| last_error.refusal()).unwrap_or_else(|| KafkaError::Failed {
                    doing: "cannot look up a topic",
                    problem: last_error.last().unwrap_or_else(|| explain(&error)),
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_reaches_librdkafka() {
        let mut settings = KafkaSettings::new("kafka:9092");
        settings.sasl_username = Some("user".into());
        settings.security_protocol = crate::SecurityProtocol::SaslPlaintext;
        settings.extra.insert("linger.ms".into(), "7".into());
        let mut producer = ProducerSettings {
            retries: 3,
            timeout: Duration::from_secs(4),
            partitioner: "murmur2_random".into(),
            compression: "lz4".into(),
            ..ProducerSettings::default()
        };
        let config = producer.config(&settings);
        for (property, value) in [
            ("bootstrap.servers", "kafka:9092"),
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.username", "user"),
            ("retries", "3"),
            ("request.timeout.ms", "4000"),
            ("partitioner", "murmur2_random"),
            ("compression.codec", "lz4"),
            ("linger.ms", "7"),
        ] {
            assert_eq!(config.get(property), Some(value), "{property}");
        }
        producer.compression = "inherit".into();
        assert_eq!(producer.config(&settings).get("compression.codec"), None, "librdkafka's own");
    }
}
