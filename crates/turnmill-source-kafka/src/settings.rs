//! Settings of consumers and producers, and their translation to properties of librdkafka.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rdkafka::ClientConfig;

use crate::KafkaError;

/// The client library may buffer this fraction of the read-ahead limits, in addition to them.
const AHEAD: usize = 16;

/// The group that turnmill joins without `RASA_ANALYTICS_CONSUMER_ID`. No other program uses it.
pub(crate) const DEFAULT_GROUP: &str = "turnmill";
/// Name of the client in the brokers' logs and among the members of the group.
pub(crate) const DEFAULT_CLIENT: &str = "turnmill";

/// Protocol of connections to brokers: `KAFKA_SECURITY_PROTOCOL`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// No encryption, no authentication.
    #[default]
    Plaintext,
    /// Encryption. A client certificate authenticates, if there is one.
    Ssl,
    /// Authentication without encryption.
    SaslPlaintext,
    /// Encryption and authentication.
    SaslSsl,
}

impl SecurityProtocol {
    /// Returns the name in Kafka's settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    fn has_login(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

impl FromStr for SecurityProtocol {
    type Err = KafkaError;

    fn from_str(text: &str) -> Result<Self, KafkaError> {
        [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl]
            .into_iter()
            .find(|protocol| protocol.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                let problem = format!("`{text}` is none of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL");
                setting("KAFKA_SECURITY_PROTOCOL", problem)
            })
    }
}

/// Mechanism of authentication: `KAFKA_SASL_MECHANISM`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SaslMechanism {
    /// The password is sent as it is. For encrypted connections.
    #[default]
    Plain,
    /// Challenge and response with SHA-256.
    ScramSha256,
    /// Challenge and response with SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// Returns the name in Kafka's settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl FromStr for SaslMechanism {
    type Err = KafkaError;

    fn from_str(text: &str) -> Result<Self, KafkaError> {
        let known = [Self::Plain, Self::ScramSha256, Self::ScramSha512];
        if let Some(known) = known.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(text)) {
            return Ok(known);
        }
        let problem = match text.to_ascii_uppercase().as_str() {
            "AWS_MSK_IAM" => "authentication with AWS IAM is unsupported",
            "GSSAPI" => "authentication with Kerberos is unsupported",
            "OAUTHBEARER" => "authentication with OAuth tokens is unsupported",
            _ => "unknown mechanism",
        };
        let supported = "supported are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, and with \
                         KAFKA_SECURITY_PROTOCOL=SSL client certificates";
        Err(setting("KAFKA_SASL_MECHANISM", format!("`{text}`: {problem}; {supported}")))
    }
}

/// A position in every partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Edge {
    /// This offset.
    Offset(u64),
    /// The first record whose Kafka timestamp is this or later, in Unix seconds.
    Time(f64),
    /// This number of offsets before the end.
    Last(u64),
}

/// Reads topics without a group, up to their present ends or earlier. For replays.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KafkaRange {
    /// First offset to read (inclusive). Batches have no positions then, because offsets before it
    /// were not read. `None` reads after the stored positions.
    pub from: Option<Edge>,
    /// First offset not to read. `None` stops where the partitions end when reading begins.
    pub to: Option<Edge>,
}

/// How to reach and read Kafka. [`KafkaSettings::new`] has the documented defaults.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct KafkaSettings {
    /// `KAFKA_BROKER_ADDRESS`: `host:port`, several with commas.
    pub brokers: String,
    /// `KAFKA_TOPIC`.
    pub topics: Vec<String>,
    /// `RASA_ANALYTICS_CONSUMER_ID`.
    pub group_id: String,
    /// `TURNMILL_KAFKA_GROUP_INSTANCE_ID`: a name of this process that outlives restarts, for
    /// static membership.
    pub group_instance_id: Option<String>,
    /// `TURNMILL_KAFKA_TAKE_OVER_GROUP`: whether to join the group although other programs are
    /// members of it, and to overwrite offsets that other programs have committed.
    pub take_over_group: bool,
    /// Name of the client in the brokers' logs and among the group's members.
    pub client_id: String,
    /// `KAFKA_SECURITY_PROTOCOL`.
    pub security_protocol: SecurityProtocol,
    /// `KAFKA_SASL_MECHANISM`.
    pub sasl_mechanism: SaslMechanism,
    /// `KAFKA_SASL_USERNAME`.
    pub sasl_username: Option<String>,
    /// `KAFKA_SASL_PASSWORD`. Never printed.
    pub sasl_password: Option<String>,
    /// `KAFKA_SSL_CA_LOCATION`. The system's certificates if `None`.
    pub ssl_ca_location: Option<PathBuf>,
    /// `KAFKA_SSL_CERTFILE_LOCATION`.
    pub ssl_certfile_location: Option<PathBuf>,
    /// `KAFKA_SSL_KEYFILE_LOCATION`.
    pub ssl_keyfile_location: Option<PathBuf>,
    /// `KAFKA_SOCKET_KEEP_ALIVE_ENABLED`.
    pub keepalive: bool,
    /// `KAFKA_METADATA_MAX_AGE_MS`.
    pub metadata_max_age: Duration,
    /// `KAFKA_CONSUMER_HEARTBEAT_INTERVAL_MS`.
    pub heartbeat: Duration,
    /// `KAFKA_CONSUMER_SESSION_TIMEOUT_MS`.
    pub session_timeout: Duration,
    /// `KAFKA_CONSUMER_MAX_POLL_INTERVAL_MS`.
    pub max_poll_interval: Duration,
    /// Maximum number of bytes of records to read ahead.
    pub buffer_bytes: usize,
    /// Maximum number of records to read ahead.
    pub buffer_records: usize,
    /// Whether to stop, in the group, where the partitions end when they are first assigned.
    pub until_end: bool,
    /// Reads without the group: see [`KafkaRange`].
    pub range: Option<KafkaRange>,
    /// Reads only this partition of each topic of a range.
    pub range_partition: Option<i32>,
    /// More properties of librdkafka, by their names there. They override all others except
    /// `enable.auto.commit` and `auto.offset.reset`.
    pub extra: BTreeMap<String, String>,
}

impl KafkaSettings {
    /// Returns the documented defaults: topic `rasa_core_events`, group `turnmill`, no security, 64
    /// MiB or 100,000 records read ahead.
    #[must_use]
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            topics: vec!["rasa_core_events".into()],
            group_id: DEFAULT_GROUP.into(),
            group_instance_id: None,
            take_over_group: false,
            client_id: DEFAULT_CLIENT.into(),
            security_protocol: SecurityProtocol::default(),
            sasl_mechanism: SaslMechanism::default(),
            sasl_username: None,
            sasl_password: None,
            ssl_ca_location: None,
            ssl_certfile_location: None,
            ssl_keyfile_location: None,
            keepalive: true,
            metadata_max_age: Duration::from_secs(180),
            heartbeat: Duration::from_secs(3),
            session_timeout: Duration::from_secs(6),
            max_poll_interval: Duration::from_secs(600),
            buffer_bytes: 64 << 20,
            buffer_records: 100_000,
            until_end: false,
            range: None,
            range_partition: None,
            extra: BTreeMap::new(),
        }
    }

    /// Checks the settings against each other.
    ///
    /// # Errors
    ///
    /// [`KafkaError::Setting`], which names the environment variable.
    ///
    /// ```
    /// use turnmill_source_kafka::{KafkaSettings, SecurityProtocol};
    /// let mut settings = KafkaSettings::new("localhost:9092");
    /// assert!(settings.validate().is_ok());
    /// settings.security_protocol = SecurityProtocol::SaslSsl;
    /// let error = settings.validate().err().map(|error| error.to_string());
    /// assert_eq!(error.as_deref(), Some("KAFKA_SASL_USERNAME: must be set for SASL_SSL"));
    /// ```
    pub fn validate(&self) -> Result<(), KafkaError> {
        self.validate_brokers()?;
        if self.topics.is_empty() || self.topics.iter().any(|topic| topic.trim().is_empty()) {
            return Err(setting("KAFKA_TOPIC", "is empty"));
        }
        if let Some(topic) = self.topics.iter().find(|topic| topic.starts_with('^')) {
            return Err(setting(
                "KAFKA_TOPIC",
                format!("`{topic}` is a pattern; topics are named one by one"),
            ));
        }
        if self.group_id.is_empty() {
            return Err(setting("RASA_ANALYTICS_CONSUMER_ID", "is empty"));
        }
        self.validate_security()?;
        if self.heartbeat >= self.session_timeout {
            let problem = format!(
                "must be less than KAFKA_CONSUMER_SESSION_TIMEOUT_MS = {}",
                self.session_timeout.as_millis()
            );
            return Err(setting("KAFKA_CONSUMER_HEARTBEAT_INTERVAL_MS", problem));
        }
        if self.max_poll_interval < self.session_timeout {
            let problem = format!(
                "must not be less than KAFKA_CONSUMER_SESSION_TIMEOUT_MS = {}",
                self.session_timeout.as_millis()
            );
            return Err(setting("KAFKA_CONSUMER_MAX_POLL_INTERVAL_MS", problem));
        }
        if self.buffer_bytes < 1 << 16 || self.buffer_records == 0 {
            return Err(setting("TURNMILL_BUFFER_BYTES", "must be at least 65536, and one record"));
        }
        Ok(())
    }

    fn validate_brokers(&self) -> Result<(), KafkaError> {
        // Do not repeat the value: it may contain a password.
        turnmill_text::check_brokers(&self.brokers)
            .map_err(|problem| setting("KAFKA_BROKER_ADDRESS", format!("{problem}; expected host:port")))
    }

    fn validate_security(&self) -> Result<(), KafkaError> {
        let protocol = self.security_protocol;
        if protocol.has_login() {
            let needs = |variable, value: &Option<String>| match value {
                Some(value) if !value.is_empty() => Ok(()),
                _ => Err(setting(variable, format!("must be set for {}", protocol.as_str()))),
            };
            needs("KAFKA_SASL_USERNAME", &self.sasl_username)?;
            needs("KAFKA_SASL_PASSWORD", &self.sasl_password)?;
        }
        if protocol.has_tls() {
            if !cfg!(any(feature = "tls", feature = "tls-system")) {
                let problem =
                    format!("{} needs the feature `tls`, which this build lacks", protocol.as_str());
                return Err(setting("KAFKA_SECURITY_PROTOCOL", problem));
            }
            for (variable, path) in [
                ("KAFKA_SSL_CA_LOCATION", &self.ssl_ca_location),
                ("KAFKA_SSL_CERTFILE_LOCATION", &self.ssl_certfile_location),
                ("KAFKA_SSL_KEYFILE_LOCATION", &self.ssl_keyfile_location),
            ] {
                // The CA location may also be a folder of certificates.
                if let Some(path) = path
                    && let Err(error) = std::fs::metadata(path)
                {
                    return Err(setting(variable, format!("cannot read `{}`: {error}", path.display())));
                }
            }
            match (&self.ssl_certfile_location, &self.ssl_keyfile_location) {
                (Some(_), None) => {
                    return Err(setting(
                        "KAFKA_SSL_KEYFILE_LOCATION",
                        "must be set with KAFKA_SSL_CERTFILE_LOCATION",
                    ));
                }
                (None, Some(_)) => {
                    return Err(setting(
                        "KAFKA_SSL_CERTFILE_LOCATION",
                        "must be set with KAFKA_SSL_KEYFILE_LOCATION",
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the properties that consumers and producers have in common.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            .set("security.protocol", self.security_protocol.as_str())
            .set("socket.keepalive.enable", self.keepalive.to_string())
            .set("metadata.max.age.ms", self.metadata_max_age.as_millis().to_string())
            .set("allow.auto.create.topics", "false")
            // Notice a broker that is back within seconds; the default takes up to ten.
            .set("reconnect.backoff.max.ms", "2000")
            .set("log_level", "5");
        if self.security_protocol.has_login() {
            config.set("sasl.mechanism", self.sasl_mechanism.as_str());
            for (property, value) in
                [("sasl.username", &self.sasl_username), ("sasl.password", &self.sasl_password)]
            {
                if let Some(value) = value {
                    config.set(property, value);
                }
            }
        }
        if self.security_protocol.has_tls() {
            for (property, path) in [
                ("ssl.ca.location", &self.ssl_ca_location),
                ("ssl.certificate.location", &self.ssl_certfile_location),
                ("ssl.key.location", &self.ssl_keyfile_location),
            ] {
                if let Some(path) = path {
                    config.set(property, path.to_string_lossy());
                }
            }
        }
        config
    }

    pub(crate) fn consumer(&self) -> ClientConfig {
        let mut config = self.client();
        // New topics and partitions are noticed within this time.
        let refresh = self.metadata_max_age.min(Duration::from_secs(5));
        config
            .set("group.id", &self.group_id)
            .set("heartbeat.interval.ms", self.heartbeat.as_millis().to_string())
            .set("session.timeout.ms", self.session_timeout.as_millis().to_string())
            .set("max.poll.interval.ms", self.max_poll_interval.as_millis().to_string())
            .set("topic.metadata.refresh.interval.ms", refresh.as_millis().to_string())
            .set("partition.assignment.strategy", "range,roundrobin")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "100")
            // A pause discards what the library has fetched, so its queue must be small compared
            // with what is read between two pauses. Fetching must continue soon after the queue was
            // full; the default is one second.
            .set("queued.min.messages", (self.buffer_records / AHEAD).clamp(1, 100_000).to_string())
            .set("queued.max.messages.kbytes", (self.buffer_bytes / AHEAD / 1024).max(1024).to_string())
            .set("fetch.queue.backoff.ms", "10")
            .set("statistics.interval.ms", "1000");
        if let Some(id) = &self.group_instance_id {
            config.set("group.instance.id", id);
        }
        for (property, value) in &self.extra {
            config.set(property, value);
        }
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error");
        config
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Extra properties may contain secrets.
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("topics", &self.topics)
            .field("group_id", &self.group_id)
            .field("security_protocol", &self.security_protocol)
            .field("sasl_mechanism", &self.sasl_mechanism)
            .field("sasl_username", &self.sasl_username)
            .field("extra", &self.extra.keys())
            .finish_non_exhaustive()
    }
}

pub(crate) fn setting(variable: &'static str, problem: impl Into<String>) -> KafkaError {
    KafkaError::Setting { variable, problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_reaches_librdkafka() {
        let mut settings = KafkaSettings::new("kafka:9092");
        settings.group_id = "group".into();
        settings.group_instance_id = Some("pod-7-2".into());
        settings.security_protocol = SecurityProtocol::SaslSsl;
        settings.sasl_mechanism = SaslMechanism::ScramSha512;
        settings.sasl_username = Some("user".into());
        settings.sasl_password = Some("pass word".into());
        settings.ssl_ca_location = Some("/ca.pem".into());
        settings.ssl_certfile_location = Some("/cert.pem".into());
        settings.ssl_keyfile_location = Some("/key.pem".into());
        settings.keepalive = false;
        settings.metadata_max_age = Duration::from_secs(1);
        settings.heartbeat = Duration::from_millis(100);
        settings.session_timeout = Duration::from_secs(7);
        settings.max_poll_interval = Duration::from_secs(9);
        for (property, value) in
            [("session.timeout.ms", "8000"), ("fetch.wait.max.ms", "10"), ("enable.auto.commit", "true")]
        {
            settings.extra.insert(property.into(), value.into());
        }
        let config = settings.consumer();
        for (property, value) in [
            ("bootstrap.servers", "kafka:9092"),
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "user"),
            ("sasl.password", "pass word"),
            ("ssl.ca.location", "/ca.pem"),
            ("ssl.certificate.location", "/cert.pem"),
            ("ssl.key.location", "/key.pem"),
            ("socket.keepalive.enable", "false"),
            ("metadata.max.age.ms", "1000"),
            ("group.id", "group"),
            ("group.instance.id", "pod-7-2"),
            ("heartbeat.interval.ms", "100"),
            ("max.poll.interval.ms", "9000"),
            // The user's own properties win over ours,
            ("session.timeout.ms", "8000"),
            ("fetch.wait.max.ms", "10"),
            // but for those on which correctness depends.
            ("enable.auto.commit", "false"),
        ] {
            assert_eq!(config.get(property), Some(value), "{property}");
        }
    }
}
