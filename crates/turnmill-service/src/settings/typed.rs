//! The settings as typed values.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use turnmill_model::{Settings, SourceFactsBuf};
use turnmill_pipeline::{DeadLetterLimits, Share};
use turnmill_text::Secret;

use super::database::DatabaseTarget;
use super::table::Id;

/// Protocol for connections to Kafka brokers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Plain TCP.
    #[default]
    Plaintext,
    /// TLS.
    Ssl,
    /// Plain TCP with SASL authentication.
    SaslPlaintext,
    /// TLS with SASL authentication.
    SaslSsl,
}

impl SecurityProtocol {
    pub(crate) const NAMES: [(&'static str, Self); 4] = [
        ("PLAINTEXT", Self::Plaintext),
        ("SSL", Self::Ssl),
        ("SASL_PLAINTEXT", Self::SaslPlaintext),
        ("SASL_SSL", Self::SaslSsl),
    ];

    /// Returns the name that librdkafka and `KAFKA_SECURITY_PROTOCOL` use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// Returns whether the protocol includes SASL authentication.
    #[must_use]
    pub fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Returns whether the protocol includes TLS.
    #[must_use]
    pub(crate) fn has_ssl(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

/// Settings of the Kafka consumers and of the dead-letter producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSettings {
    /// Bootstrap servers, `host:port[,host:port]`. Empty if none are set, which only
    /// [`Needs::Database`](super::Needs) allows.
    pub brokers: String,
    /// Topic to read.
    pub topic: String,
    /// Consumer group.
    pub group_id: String,
    /// Joins the group even if it has members of other programs, and overwrites their offsets.
    pub take_over_group: bool,
    /// Number of consumers in this process, at least one.
    pub consumers: usize,
    /// Instance id for static membership.
    pub group_instance_id: Option<String>,
    /// Protocol for connections to the brokers.
    pub security_protocol: SecurityProtocol,
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub sasl_mechanism: &'static str,
    /// SASL user name.
    pub sasl_username: Option<String>,
    /// SASL password.
    pub sasl_password: Option<Secret>,
    /// File with the CA certificates that verify the brokers.
    pub ssl_ca: Option<PathBuf>,
    /// File with the client certificate.
    pub ssl_cert: Option<PathBuf>,
    /// File with the private key of the client certificate.
    pub ssl_key: Option<PathBuf>,
    /// Enables TCP keep-alive.
    pub keep_alive: bool,
    /// Maximum age of cached topic metadata.
    pub metadata_max_age: Duration,
    /// Interval between heartbeats.
    pub heartbeat_interval: Duration,
    /// Time without a heartbeat after which the coordinator removes a consumer.
    pub session_timeout: Duration,
    /// Time without a poll after which a consumer leaves its group.
    pub max_poll_interval: Duration,
    /// Retries of the dead-letter producer.
    pub producer_retries: u32,
    /// Time a broker may take to acknowledge a dead letter.
    pub producer_timeout: Duration,
    /// Partitioner of the producer, in librdkafka's notation.
    pub producer_partitioner: &'static str,
    /// Compression of the producer. `None` keeps librdkafka's default.
    pub compression: Option<&'static str>,
    /// Further librdkafka properties. They override those derived from other settings.
    pub properties: Vec<(String, Secret)>,
}

/// Settings of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// The database that holds the tables.
    pub target: DatabaseTarget,
    /// Creates and migrates the schema at start.
    pub migrate: bool,
    /// PostgreSQL schema.
    pub schema: String,
    /// Foreign keys in PostgreSQL: `auto`, `declared` or `none`.
    pub foreign_keys: &'static str,
    /// PostgreSQL `statement_timeout`. `None`: no limit.
    pub statement_timeout: Option<Duration>,
    /// PostgreSQL `lock_timeout`. `None`: no limit.
    pub lock_timeout: Option<Duration>,
}

/// Settings of dead letters.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterSettings {
    /// Topic that dead letters are copied to, if any. A missing topic causes a warning.
    pub topic: Option<String>,
    /// Maximum number of consecutive dead letters; the service stops beyond it. `None`: no limit.
    pub max_run: Option<u64>,
    /// Maximum share of dead letters among the last [`SHARE_WINDOW`](Self::SHARE_WINDOW) records;
    /// the service stops beyond it. `None`: no limit.
    pub max_share: Option<f64>,
}

impl DeadLetterSettings {
    /// Number of records over which the share is computed.
    pub const SHARE_WINDOW: u64 = 10_000;

    /// Returns the limits in the form the pipeline takes.
    #[must_use]
    pub fn limits(&self) -> DeadLetterLimits {
        limits(self.max_run, self.max_share)
    }

    /// Returns the default limits.
    ///
    /// ```
    /// use turnmill_service::settings::DeadLetterSettings;
    /// let limits = DeadLetterSettings::default_limits();
    /// assert_eq!((limits.run, limits.share.map(|share| share.most)), (Some(1000), Some(0.5)));
    /// ```
    #[must_use]
    pub fn default_limits() -> DeadLetterLimits {
        let text = |id: Id| id.setting().default.unwrap_or_default();
        limits(text(Id::DeadLetterMaxRun).parse().ok(), text(Id::DeadLetterMaxShare).parse().ok())
    }
}

fn limits(run: Option<u64>, share: Option<f64>) -> DeadLetterLimits {
    let share = share.map(|most| Share { most, of: DeadLetterSettings::SHARE_WINDOW });
    DeadLetterLimits { run, share }
}

/// Settings of the row topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowTopicSettings {
    /// Topic that changed rows are copied to, if any.
    pub topic: Option<String>,
    /// Maximum lag in bytes of the outbox. Beyond it the topic gets a snapshot.
    pub max_bytes: u64,
    /// Skips a row that the topic refuses, instead of sending no more rows.
    pub skip_refused: bool,
}

/// Minimum level of log messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// All messages, including those for developers.
    Debug,
    /// Normal operation.
    #[default]
    Info,
    /// Conditions that may need attention.
    Warning,
    /// Failures. `CRITICAL` means the same.
    Error,
}

/// Settings of logging.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Minimum level of messages.
    pub level: LogLevel,
    /// Logs one JSON object per line.
    pub json: bool,
    /// Levels by module; takes precedence over `level`.
    pub filter: Option<String>,
    /// Interval between status lines. `None`: no status lines.
    pub status: Option<Duration>,
}

/// Sizes of batches, buffers and caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkSettings {
    /// Maximum time a record waits before its batch is written.
    pub flush_interval: Duration,
    /// Maximum number of records in one transaction.
    pub batch_records: usize,
    /// Maximum size of the records in one transaction, in bytes.
    pub batch_bytes: usize,
    /// Maximum number of records read ahead.
    pub buffer_records: usize,
    /// Maximum size of the records read ahead, in bytes.
    pub buffer_bytes: usize,
    /// Memory for cached timelines, in bytes.
    pub cache_bytes: usize,
}

/// Settings of HTTP and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Address to listen on.
    pub address: SocketAddr,
    /// Token for all paths that are not public.
    pub api_token: Option<Secret>,
    /// Accepts requests from this machine without the token.
    pub trust_loopback: bool,
    /// Time without progress after which the service is unhealthy. `None`: never.
    pub stall_timeout: Option<Duration>,
}

/// All settings of the service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSettings {
    /// Kafka consumers and the dead-letter producer.
    pub kafka: KafkaSettings,
    /// The database.
    pub database: DatabaseSettings,
    /// Settings that change rows or ids.
    pub rows: Settings,
    /// Facts about every record of the topic: assistant, time unit, whether all are anonymised
    /// copies.
    pub source: SourceFactsBuf,
    /// Sizes of batches, buffers and caches.
    pub work: WorkSettings,
    /// File or directory with marker definitions.
    pub markers: Option<PathBuf>,
    /// Dead letters.
    pub dead_letters: DeadLetterSettings,
    /// The row topic.
    pub row_topic: RowTopicSettings,
    /// HTTP and health.
    pub http: HttpSettings,
    /// Time allowed for a clean shutdown.
    pub shutdown_timeout: Duration,
    /// Logging.
    pub log: LogSettings,
}
