//! Every setting, as data: names, type, default, meaning. Reading, printing and documentation are driven by it.

/// How the text of a value is read.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// Any text.
    Text,
    /// Addresses of brokers, separated by commas; a port that is missing is 9092.
    Brokers,
    /// A text that is never printed.
    Secret,
    /// A database URL; its password is never printed.
    DatabaseUrl,
    /// A path, relative to the working directory.
    Path,
    /// `true`, `false`, `yes`, `no`, `on`, `off`, `1` or `0`.
    Switch,
    /// A whole number.
    Integer(u64, u64),
    /// Whole milliseconds, between two bounds.
    Millis(u64, u64),
    /// Whole seconds, between two bounds.
    Seconds(u64, u64),
    /// Bytes, at least so many; `KiB`, `MiB` and `GiB` may follow.
    Bytes(u64),
    /// A share between 0 and 1; `50%` is 0.5.
    Share,
    /// One of these, in any case.
    Choice(&'static [&'static str]),
    /// An IP address and port to listen on.
    Address,
    /// `name=value` pairs, separated by commas.
    Properties,
}

impl Kind {
    /// The name of the type, for the documentation.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Brokers => "host:port,…".into(),
            Self::Secret => "secret".into(),
            Self::DatabaseUrl => "URL".into(),
            Self::Path => "path".into(),
            Self::Switch => "true, false".into(),
            Self::Integer(..) => "number".into(),
            Self::Millis(..) => "milliseconds".into(),
            Self::Seconds(..) => "seconds".into(),
            Self::Bytes(_) => "bytes".into(),
            Self::Share => "share".into(),
            Self::Choice(names) => names.join(", "),
            Self::Address => "address:port".into(),
            Self::Properties => "name=value,…".into(),
        }
    }
}

/// What becomes of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Use {
    /// It does what it says.
    Obeyed,
    /// It is read for the sake of existing deployments, and a start-up message says why it does nothing.
    Ignored(&'static str),
    /// It asks for something that is not there.
    Unsupported(&'static str),
}

/// Where a setting may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// In `turnmill.toml`.
    pub file: bool,
    /// On the command line. (In the environment every setting may stand.)
    pub flag: bool,
}

const EVERYWHERE: Places = Places { file: true, flag: true };
/// Command lines are visible to every user of a machine.
const NO_FLAG: Places = Places { file: true, flag: false };
const NO_FILE: Places = Places { file: false, flag: true };
const VARIABLE: Places = Places { file: false, flag: false };

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Which it is.
    pub id: Id,
    /// Its key in `turnmill.toml`, `section.key`; with dashes it is the flag.
    pub key: &'static str,
    /// Its environment variable.
    pub variable: &'static str,
    /// Where it may stand beside the environment.
    pub places: Places,
    /// How its text is read.
    pub kind: Kind,
    /// Its default, as one would write it; none if there is none.
    pub default: Option<&'static str>,
    /// Whether it is obeyed.
    pub obeyed: Use,
    /// What it means: one line of Markdown.
    pub doc: &'static str,
}

impl Setting {
    /// The flag without its dashes, if it has one.
    ///
    /// ```
    /// use turnmill_service::settings::Id;
    /// assert_eq!(Id::HttpAddress.setting().flag().as_deref(), Some("http-address"));
    /// assert_eq!(Id::ApiToken.setting().flag(), None);
    /// ```
    #[must_use]
    pub fn flag(&self) -> Option<String> {
        // `markers.path` is `--markers`.
        let key = self.key.strip_suffix(".path").unwrap_or(self.key);
        self.places.flag.then(|| key.replace(['.', '_'], "-"))
    }
}

macro_rules! settings {
    ($($id:ident, $key:literal, $variable:literal, $places:expr, $kind:expr, $default:expr, $obeyed:expr, $doc:literal;)*) => {
        /// Names a setting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Id {
            $(#[doc = concat!("`", $variable, "`: ", $doc)] $id,)*
        }

        /// Every setting, in the order of [`Id`].
        pub static SETTINGS: &[Setting] = &[
            $(Setting {
                id: Id::$id,
                key: $key,
                variable: $variable,
                places: $places,
                kind: $kind,
                default: $default,
                obeyed: $obeyed,
                doc: $doc,
            },)*
        ];

        impl Id {
            /// The setting.
            #[must_use]
            pub fn setting(self) -> &'static Setting {
                // The enum and the table are written by the same macro, one entry each.
                &SETTINGS[self as usize]
            }
        }
    };
}

use Kind::{
    Address, Brokers, Bytes, Choice, DatabaseUrl, Integer, Millis, Path, Properties, Seconds, Secret, Share,
    Switch, Text,
};
use Use::{Ignored, Obeyed, Unsupported};

const MINUTE: u64 = 60_000;
const NO_IAM: &str = "logging in by AWS IAM is not supported";

settings! {
    Config, "config", "TURNMILL_CONFIG", NO_FILE, Path, None, Obeyed,
        "The settings file. Without it `turnmill.toml` of the working directory is read, if there is one.";
    Endpoints, "endpoints", "TURNMILL_ENDPOINTS", EVERYWHERE, Path, None, Obeyed,
        "The assistant's `endpoints.yml`: broker, topic and security are taken from its `event_broker`, where nothing else sets them.";

    Brokers, "kafka.brokers", "KAFKA_BROKER_ADDRESS", EVERYWHERE, Brokers, None, Obeyed,
        "Bootstrap servers, `host:port[,host:port]`. Required. Without a port it is 9092; an IPv6 address with one stands in brackets.";
    Topic, "kafka.topic", "KAFKA_TOPIC", EVERYWHERE, Text, Some("rasa_core_events"), Obeyed,
        "Topic to read. It need not exist yet.";
    AnonymisedTopics, "kafka.anonymised_topics", "TURNMILL_KAFKA_ANONYMISED_TOPICS", EVERYWHERE, Text, None, Obeyed,
        "Topics of which all events are anonymised copies, separated by commas, also where an event has no mark of its own. Those of `anonymization_topics` in `endpoints.yml` are so by themselves.";
    SecurityProtocol, "kafka.security_protocol", "KAFKA_SECURITY_PROTOCOL", EVERYWHERE,
        Choice(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Some("PLAINTEXT"), Obeyed,
        "How to talk to the brokers.";
    SaslMechanism, "kafka.sasl_mechanism", "KAFKA_SASL_MECHANISM", EVERYWHERE,
        Choice(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER", "AWS_MSK_IAM"]), Some("PLAIN"), Obeyed,
        "How to log in, with a `SASL_` protocol. `GSSAPI`, `OAUTHBEARER` and `AWS_MSK_IAM` are known but not supported.";
    SaslUsername, "kafka.sasl_username", "KAFKA_SASL_USERNAME", EVERYWHERE, Text, None, Obeyed,
        "User, with a `SASL_` protocol.";
    SaslPassword, "kafka.sasl_password", "KAFKA_SASL_PASSWORD", NO_FLAG, Secret, None, Obeyed,
        "Password, with a `SASL_` protocol.";
    KafkaSslCa, "kafka.ssl_ca_location", "KAFKA_SSL_CA_LOCATION", EVERYWHERE, Path, None, Obeyed,
        "File with the certificates that vouch for the brokers, with `SSL` or `SASL_SSL`.";
    KafkaSslCert, "kafka.ssl_certfile_location", "KAFKA_SSL_CERTFILE_LOCATION", EVERYWHERE, Path, None, Obeyed,
        "The client's certificate, for brokers that ask for one.";
    KafkaSslKey, "kafka.ssl_keyfile_location", "KAFKA_SSL_KEYFILE_LOCATION", EVERYWHERE, Path, None, Obeyed,
        "The key of the client's certificate.";
    KeepAlive, "kafka.socket_keep_alive_enabled", "KAFKA_SOCKET_KEEP_ALIVE_ENABLED", EVERYWHERE, Switch, Some("true"), Obeyed,
        "TCP keep-alive.";
    MetadataMaxAge, "kafka.metadata_max_age_ms", "KAFKA_METADATA_MAX_AGE_MS", EVERYWHERE, Millis(1, 86_400_000), Some("180000"), Obeyed,
        "How long metadata of topics is good for; also how soon a new topic is noticed.";
    Heartbeat, "kafka.consumer_heartbeat_interval_ms", "KAFKA_CONSUMER_HEARTBEAT_INTERVAL_MS", EVERYWHERE,
        Millis(1, 3_600_000), Some("3000"), Obeyed,
        "Time between two heartbeats; less than the session timeout.";
    SessionTimeout, "kafka.consumer_session_timeout_ms", "KAFKA_CONSUMER_SESSION_TIMEOUT_MS", EVERYWHERE,
        Millis(1, 3_600_000), Some("6000"), Obeyed,
        "After so long without a heartbeat the group takes a consumer for dead.";
    MaxPollInterval, "kafka.consumer_max_poll_interval_ms", "KAFKA_CONSUMER_MAX_POLL_INTERVAL_MS", EVERYWHERE,
        Millis(1, 86_400_000), Some("600000"), Obeyed,
        "After so long without a poll a consumer leaves its group. Polling goes on also while the database is away.";
    GroupId, "kafka.group_id", "RASA_ANALYTICS_CONSUMER_ID", EVERYWHERE, Text, Some("turnmill"), Obeyed,
        "The consumer group. It spreads partitions over processes; where to go on is in the store. A group that other programs are members of is refused.";
    TakeOverGroup, "kafka.take_over_group", "TURNMILL_KAFKA_TAKE_OVER_GROUP", EVERYWHERE, Switch, Some("false"), Obeyed,
        "Join the group although other programs are members of it, and overwrite offsets that they have committed. For groups whose former program is stopped for good.";
    Consumers, "kafka.consumers", "RASA_ANALYTICS_CONSUMER_COUNT", EVERYWHERE, Integer(1, 64), Some("1"), Obeyed,
        "Consumers in this process.";
    GroupInstanceId, "kafka.group_instance_id", "TURNMILL_KAFKA_GROUP_INSTANCE_ID", EVERYWHERE, Text, None, Obeyed,
        "Static membership: a restart within the session timeout moves no partition. Different for each process; with several consumers `-0`, `-1`, … is appended. If two have the same one, the one that is fenced twice within ten minutes ends.";
    KafkaProperties, "kafka.properties", "TURNMILL_KAFKA_PROPERTIES", EVERYWHERE, Properties, None, Obeyed,
        "More properties for librdkafka. In the file a table. Those that turnmill has to set itself are refused.";
    ProducerRetries, "kafka.producer_retries", "KAFKA_PRODUCER_RETRIES", EVERYWHERE, Integer(0, 2_147_483_647), Some("2147483647"), Obeyed,
        "How often sending a dead letter is tried again.";
    ProducerTimeout, "kafka.producer_timeout_ms", "KAFKA_PRODUCER_TIMEOUT_MS", EVERYWHERE, Millis(1, 900_000), Some("5000"), Obeyed,
        "How long a broker may take to acknowledge a dead letter.";
    ProducerPartitioner, "kafka.producer_partitioner", "KAFKA_PRODUCER_PARTITIONER", EVERYWHERE,
        Choice(&["random", "consistent", "consistent_random", "murmur2", "murmur2_random", "fnv1a", "fnv1a_random"]),
        Some("consistent_random"), Obeyed, "Which partition a dead letter goes to.";
    Compression, "kafka.compression_codec", "KAFKA_COMPRESSION_CODEC", EVERYWHERE,
        Choice(&["none", "gzip", "snappy", "lz4", "zstd", "inherit"]), Some("gzip"), Obeyed,
        "Compression of dead letters. `inherit` leaves it to librdkafka.";

    DatabaseUrl, "database.url", "RASA_ANALYTICS_DB_URL", EVERYWHERE, DatabaseUrl, None, Obeyed,
        "Where the tables go: `postgresql://user:password@host:port/database` or `sqlite:PATH`. Required, unless host and name are given.";
    DatabaseHost, "database.host", "RASA_ANALYTICS_DB_HOST_NAME", EVERYWHERE, Text, None, Obeyed,
        "PostgreSQL's host, in place of the URL.";
    DatabasePort, "database.port", "RASA_ANALYTICS_DB_PORT", EVERYWHERE, Integer(1, 65_535), Some("5432"), Obeyed,
        "PostgreSQL's port, with the host.";
    DatabaseName, "database.name", "RASA_ANALYTICS_DB_NAME", EVERYWHERE, Text, None, Obeyed,
        "Name of the database, with the host.";
    DatabaseUser, "database.username", "RASA_ANALYTICS_DB_USERNAME", EVERYWHERE, Text, None, Obeyed,
        "User of the database, with the host.";
    DatabasePassword, "database.password", "TURNMILL_DB_PASSWORD", NO_FLAG, Secret, None, Obeyed,
        "Password of the database, with the host, or with a URL that has none.";
    DatabaseSslMode, "database.ssl_mode", "RASA_ANALYTICS_DB_SSL_MODE", EVERYWHERE,
        Choice(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]), None, Obeyed,
        "Encryption of the connection to PostgreSQL, as `sslmode` of the URL, which wins.";
    DatabaseSslCa, "database.ssl_ca_location", "RASA_ANALYTICS_DB_SSL_CA_LOCATION", EVERYWHERE, Path, None, Obeyed,
        "File with the certificates that vouch for the server, as `sslrootcert` of the URL, which wins.";
    Migrate, "database.migrate", "RUN_ANALYTICS_DB_MIGRATIONS", EVERYWHERE, Switch, Some("true"), Obeyed,
        "Whether the schema is made and brought up to date at start. `false`: a schema that is not as expected is an error.";
    Schema, "database.schema", "TURNMILL_DB_SCHEMA", EVERYWHERE, Text, Some("public"), Obeyed,
        "Schema of PostgreSQL for all tables; it is made if it is missing. Tables of another product are never touched.";
    ForeignKeys, "database.foreign_keys", "TURNMILL_DB_FOREIGN_KEYS", EVERYWHERE, Choice(&["auto", "declared", "none"]), Some("auto"), Obeyed,
        "Foreign keys of PostgreSQL's tables, which hold either way. `declared`: checked with every row, which triples the work; `auto`: declared and not enforced from PostgreSQL 18 on, none before. `turnmill foreign-keys` changes them later.";
    StatementTimeout, "database.statement_timeout_secs", "TURNMILL_DB_STATEMENT_TIMEOUT_SECS", EVERYWHERE, Seconds(0, 86_400), Some("60"), Obeyed,
        "After so long PostgreSQL ends a statement, which is then tried again. 0: never.";
    LockTimeout, "database.lock_timeout_secs", "TURNMILL_DB_LOCK_TIMEOUT_SECS", EVERYWHERE, Seconds(0, 86_400), Some("30"), Obeyed,
        "So long a statement waits for a lock. 0: without end.";

    FlushInterval, "batch.flush_interval_ms", "TURNMILL_FLUSH_INTERVAL_MS", EVERYWHERE, Millis(1, MINUTE), Some("500"), Obeyed,
        "So long a record waits for company before its batch is written.";
    BatchRecords, "batch.records", "TURNMILL_BATCH_RECORDS", EVERYWHERE, Integer(1, 1_000_000), Some("10000"), Obeyed,
        "Records of a transaction, at most.";
    BatchBytes, "batch.bytes", "TURNMILL_BATCH_BYTES", EVERYWHERE, Bytes(1024), Some("8MiB"), Obeyed,
        "Bytes of a transaction's records, at most; a single record is never cut.";
    BufferRecords, "buffer.records", "TURNMILL_BUFFER_RECORDS", EVERYWHERE, Integer(1, 100_000_000), Some("100000"), Obeyed,
        "Records read ahead, at most; beyond that reading pauses.";
    BufferBytes, "buffer.bytes", "TURNMILL_BUFFER_BYTES", EVERYWHERE, Bytes(65_536), Some("64MiB"), Obeyed,
        "Bytes read ahead, at most.";
    CacheBytes, "cache.bytes", "TURNMILL_CACHE_BYTES", EVERYWHERE, Bytes(0), Some("256MiB"), Obeyed,
        "Memory for senders' states. More open conversations are loaded from the store when they go on.";

    Assistant, "rows.assistant", "TURNMILL_ASSISTANT", EVERYWHERE, Text, None, Obeyed,
        "Name of the assistant whose conversations are read: part of every sender's identity, so that one store can hold several. Without it senders with the same key become one sender.";
    AssistantFromMetadata, "rows.assistant_from_metadata", "TURNMILL_ASSISTANT_FROM_METADATA", EVERYWHERE, Switch, Some("false"), Obeyed,
        "Take the name of the assistant from each event's `metadata.assistant_id`, for a topic that several assistants write to. An assistant that changes its id becomes another one.";
    TimeUnit, "rows.time_unit", "TURNMILL_TIME_UNIT", EVERYWHERE, Choice(&["s", "ms", "us"]), Some("s"), Obeyed,
        "Unit of the events' timestamps, where a producer was changed to write milliseconds or microseconds.";
    SessionId, "rows.session_id", "TURNMILL_SESSION_ID", EVERYWHERE, Choice(&["uuid", "any", "off"]), Some("uuid"), Obeyed,
        "Which `metadata.session_id` values name a session: canonical UUIDs, any text, or none. A store cannot change it.";
    BareSlotStrings, "rows.bare_slot_strings", "TURNMILL_BARE_SLOT_STRINGS", EVERYWHERE, Switch, Some("false"), Obeyed,
        "Store slot values that are strings without quotes. A store cannot change it.";
    DisableStack, "rows.disable_stack_events", "DISABLE_STACK_EVENT_PROCESSING", EVERYWHERE, Switch, Some("false"), Obeyed,
        "`stack` events get only their row in `rasa_event`. A store cannot change it.";
    Markers, "markers.path", "TURNMILL_MARKERS", EVERYWHERE, Path, None, Obeyed,
        "File or folder with marker definitions.";

    DeadLetterTopic, "dead_letters.topic", "RASA_ANALYTICS_DLQ", EVERYWHERE, Text, None, Obeyed,
        "Topic that gets the dead letters as well; it is never created. Unset or empty: none, the table keeps them.";
    DeadLetterMaxRun, "dead_letters.max_run", "TURNMILL_DEAD_LETTER_MAX_RUN", EVERYWHERE, Integer(0, u64::MAX), Some("1000"), Obeyed,
        "When more records in a row than that are refused, the service stops: the topic is probably not what it should be. 0: no limit.";
    DeadLetterMaxShare, "dead_letters.max_share", "TURNMILL_DEAD_LETTER_MAX_SHARE", EVERYWHERE, Share, Some("0.5"), Obeyed,
        "When more than that share of the last 10,000 records was refused, the service stops. 1: no limit.";

    HttpAddress, "http.address", "TURNMILL_HTTP_ADDRESS", EVERYWHERE, Address, Some("0.0.0.0:8732"), Obeyed,
        "Where HTTP is served. `/`, `/healthcheck` and `/metrics` are for everybody, all else with the token; while none is set, for this machine only.";
    ApiToken, "http.api_token", "TURNMILL_API_TOKEN", NO_FLAG, Secret, None, Obeyed,
        "Bearer token for all but the open pages. Once it is set everybody needs it, callers of this machine as well. While it is not, other machines get 403.";
    TrustLoopback, "http.trust_loopback", "TURNMILL_HTTP_TRUST_LOOPBACK", EVERYWHERE, Switch, Some("false"), Obeyed,
        "Whether callers of this machine need no token although one is set. Not for a machine with a proxy, a sidecar or other users: their callers come from this machine.";
    StallTimeout, "health.stall_secs", "TURNMILL_HEALTH_STALL_SECS", EVERYWHERE, Seconds(0, 86_400), Some("0"), Obeyed,
        "After so long without progress, with records waiting and neither database nor broker away, `/healthcheck` says unhealthy. 0: never.";
    ShutdownTimeout, "shutdown.secs", "TURNMILL_SHUTDOWN_SECS", EVERYWHERE, Seconds(1, 3600), Some("20"), Obeyed,
        "So long stopping may take; then it is cut short, which is safe.";
    LogLevel, "log.level", "LOGGING_LEVEL", EVERYWHERE, Choice(&["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]), Some("INFO"), Obeyed,
        "The least severe messages that are logged. Libraries say no more than `INFO`.";
    JsonLogging, "log.json", "FORCE_JSON_LOGGING", EVERYWHERE, Switch, Some("false"), Obeyed,
        "Log one JSON object per line.";
    LogStatus, "log.status_secs", "TURNMILL_LOG_STATUS_SECS", EVERYWHERE, Seconds(0, 86_400), Some("60"), Obeyed,
        "How often the service logs what it has read since, and how much is waiting. 0: never.";
    LogFilter, "log.filter", "TURNMILL_LOG", EVERYWHERE, Text, None, Obeyed,
        "Levels by module in place of the level, e.g. `info,turnmill_pipeline=debug`.";

    MaxMessages, "", "MAX_MESSAGES_TO_FETCH", VARIABLE, Text, None,
        Ignored("batches grow with what is waiting; TURNMILL_BATCH_RECORDS limits them"),
        "Messages per fetch of the closed service.";
    RetryTransactions, "", "RETRY_DB_TRANSACTION_COUNT", VARIABLE, Text, None,
        Ignored("what may pass by itself is tried again until it does, and reading waits meanwhile; nothing goes to the dead letters for want of a database"),
        "Attempts of a database transaction of the closed service.";
    RetryConnections, "", "RETRY_CONNECTION_COUNT", VARIABLE, Text, None,
        Ignored("connections are tried again until they succeed"),
        "Attempts of a connection of the closed service.";
    IamProvider, "", "IAM_CLOUD_PROVIDER", VARIABLE, Text, None, Unsupported(NO_IAM), "Provider of IAM log-ins.";
    AwsRegion, "", "AWS_DEFAULT_REGION", VARIABLE, Text, None, Unsupported(NO_IAM), "Region of IAM log-ins.";
    RdsIam, "", "RDS_SQL_DB_AWS_IAM_ENABLED", VARIABLE, Switch, Some("false"), Unsupported(NO_IAM),
        "IAM log-in to the database. `true` is an error, unless the database has a password.";
    MskIam, "", "KAFKA_MSK_AWS_IAM_ENABLED", VARIABLE, Switch, Some("false"), Unsupported(NO_IAM),
        "IAM log-in to Kafka. `true` is an error, unless a user and a password are given.";
}
