//! The settings as the service uses them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use turnmill_model::{Settings, SourceFactsBuf};
use turnmill_pipeline::{DeadLetterLimits, Share};
use turnmill_text::Secret;

use super::database::DatabaseTarget;
use super::table::Id;

/// How to talk to Kafka brokers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Plain TCP.
    #[default]
    Plaintext,
    /// TLS.
    Ssl,
    /// Plain TCP and a log-in.
    SaslPlaintext,
    /// TLS and a log-in.
    SaslSsl,
}

impl SecurityProtocol {
    pub(crate) const NAMES: [(&'static str, Self); 4] = [
        ("PLAINTEXT", Self::Plaintext),
        ("SSL", Self::Ssl),
        ("SASL_PLAINTEXT", Self::SaslPlaintext),
        ("SASL_SSL", Self::SaslSsl),
    ];

    /// As librdkafka spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// Whether there is a log-in.
    #[must_use]
    pub fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Whether there is TLS.
    #[must_use]
    pub fn has_ssl(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

/// What concerns Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSettings {
    /// Bootstrap servers, `host:port[,host:port]`; empty if none are given, which only [`Needs::Database`](super::Needs) allows.
    pub brokers: String,
    /// Topic to read.
    pub topic: String,
    /// Consumer group.
    pub group_id: String,
    /// Whether the group is joined although it has members of other programs, and their offsets are overwritten.
    pub take_over_group: bool,
    /// Consumers in this process, at least one.
    pub consumers: usize,
    /// Static membership.
    pub group_instance_id: Option<String>,
    /// How to talk to the brokers.
    pub security_protocol: SecurityProtocol,
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub sasl_mechanism: &'static str,
    /// User, with a log-in.
    pub sasl_username: Option<String>,
    /// Password, with a log-in.
    pub sasl_password: Option<Secret>,
    /// Certificates that vouch for the brokers.
    pub ssl_ca: Option<PathBuf>,
    /// The client's certificate.
    pub ssl_cert: Option<PathBuf>,
    /// Its key.
    pub ssl_key: Option<PathBuf>,
    /// TCP keep-alive.
    pub keep_alive: bool,
    /// How long metadata of topics is good for.
    pub metadata_max_age: Duration,
    /// Time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// A consumer is dead after so long without a heartbeat.
    pub session_timeout: Duration,
    /// A consumer leaves after so long without a poll.
    pub max_poll_interval: Duration,
    /// Retries of a dead letter's producer.
    pub producer_retries: u32,
    /// Acknowledgement of a dead letter.
    pub producer_timeout: Duration,
    /// The producer's partitioner, as librdkafka names it.
    pub producer_partitioner: &'static str,
    /// The producer's compression; none leaves it to librdkafka.
    pub compression: Option<&'static str>,
    /// More properties for librdkafka; they win.
    pub properties: Vec<(String, Secret)>,
}

/// What concerns the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Which database.
    pub target: DatabaseTarget,
    /// Whether the schema is made and brought up to date at start.
    pub migrate: bool,
    /// Schema of PostgreSQL.
    pub schema: String,
    /// How references between the tables are kept: `auto`, `declared` or `none`.
    pub foreign_keys: &'static str,
    /// Longest statement; none without a limit.
    pub statement_timeout: Option<Duration>,
    /// Longest wait for a lock; none without a limit.
    pub lock_timeout: Option<Duration>,
}

/// What concerns dead letters.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterSettings {
    /// The topic that mirrors them, if one does. That it does not exist is worth a warning.
    pub topic: Option<String>,
    /// The service stops after more than so many in a row; none without a limit.
    pub max_run: Option<u64>,
    /// The service stops when more than this share of the last [`SHARE_WINDOW`](Self::SHARE_WINDOW) records was refused;
    /// none without a limit.
    pub max_share: Option<f64>,
}

impl DeadLetterSettings {
    /// Over how many records the share is taken.
    pub const SHARE_WINDOW: u64 = 10_000;

    /// The limits, as a pipeline takes them.
    #[must_use]
    pub fn limits(&self) -> DeadLetterLimits {
        limits(self.max_run, self.max_share)
    }

    /// The limits of a service that is told none.
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

/// The least severe messages that are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything worth knowing to a developer.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// What may need attention.
    Warning,
    /// What went wrong. `CRITICAL` is the same here.
    Error,
}

/// What concerns logging.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severe messages.
    pub level: LogLevel,
    /// JSON lines.
    pub json: bool,
    /// Levels by module in place of the level.
    pub filter: Option<String>,
    /// Time between two lines that say what was read; none without such lines.
    pub status: Option<Duration>,
}

/// How much is worked on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkSettings {
    /// How long a record waits for company.
    pub flush_interval: Duration,
    /// Records of a transaction at most.
    pub batch_records: usize,
    /// Bytes of a transaction's records at most.
    pub batch_bytes: usize,
    /// Records read ahead at most.
    pub buffer_records: usize,
    /// Bytes read ahead at most.
    pub buffer_bytes: usize,
    /// Memory for senders' states, bytes.
    pub cache_bytes: usize,
}

/// What concerns HTTP and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where to listen.
    pub address: SocketAddr,
    /// Token that everybody needs once it is set.
    pub api_token: Option<Secret>,
    /// Whether callers of this machine need none all the same.
    pub trust_loopback: bool,
    /// Unhealthy after so long without progress; none never.
    pub stall_timeout: Option<Duration>,
}

/// All settings of the service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSettings {
    /// Kafka.
    pub kafka: KafkaSettings,
    /// The database.
    pub database: DatabaseSettings,
    /// What changes rows or ids.
    pub rows: Settings,
    /// What is known of all records of the topic: assistant, unit of time, whether they are anonymised copies.
    pub source: SourceFactsBuf,
    /// Sizes.
    pub work: WorkSettings,
    /// File or folder with marker definitions.
    pub markers: Option<PathBuf>,
    /// Dead letters.
    pub dead_letters: DeadLetterSettings,
    /// HTTP.
    pub http: HttpSettings,
    /// How long stopping may take.
    pub shutdown_timeout: Duration,
    /// Logging.
    pub log: LogSettings,
}
