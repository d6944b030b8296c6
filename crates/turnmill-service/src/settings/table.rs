//! Every setting as data: names, type, default and description.
//!
//! Parsing, `--help`, the effective configuration and the documentation are derived from this
//! table.

use turnmill_analytics::{ABANDON_RESPONSES, FALLBACK_INTENTS, FALLBACK_RESPONSES, GREETINGS};

/// Type of a setting: how the text of its value is parsed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// Any text.
    Text,
    /// Comma-separated broker addresses; the default port is 9092.
    Brokers,
    /// Text that is never printed.
    Secret,
    /// A database URL; its password is never printed.
    DatabaseUrl,
    /// A path, relative to the working directory.
    Path,
    /// `true`, `false`, `yes`, `no`, `on`, `off`, `1` or `0`.
    Switch,
    /// A whole number between two bounds, both included.
    Integer(u64, u64),
    /// Whole milliseconds between two bounds, both included.
    Millis(u64, u64),
    /// Whole seconds between two bounds, both included.
    Seconds(u64, u64),
    /// A number of bytes, at least this many; `KiB`, `MiB` or `GiB` may follow it.
    Bytes(u64),
    /// A share between 0 and 1; `50%` is 0.5.
    Share,
    /// One of these names, in upper or lower case.
    Choice(&'static [&'static str]),
    /// An IP address and port to listen on.
    Address,
    /// `name=value` pairs, separated by commas.
    Properties,
    /// Names separated by commas; `*` in them is any text. A list in the file, which may be empty.
    Names,
    /// A time zone of the IANA database.
    TimeZone,
}

impl Kind {
    /// Returns the name of the type for the documentation.
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
            Self::Names => "name,…".into(),
            Self::TimeZone => "time zone".into(),
        }
    }
}

/// Whether turnmill implements a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Support {
    /// The setting has its documented effect.
    Supported,
    /// The setting is accepted because existing deployments set it, and has no effect. The text
    /// says why; it is logged at start.
    Ignored(&'static str),
    /// The setting requests a feature that turnmill does not have. The text says which.
    Unsupported(&'static str),
}

/// The layers that may contain a setting, besides the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedIn {
    /// `turnmill.toml`.
    pub file: bool,
    /// The command line.
    pub flag: bool,
}

const EVERYWHERE: AllowedIn = AllowedIn { file: true, flag: true };
/// For secrets: command lines are visible to every user of a machine.
const NO_FLAG: AllowedIn = AllowedIn { file: true, flag: false };
const NO_FILE: AllowedIn = AllowedIn { file: false, flag: true };
const VARIABLE: AllowedIn = AllowedIn { file: false, flag: false };

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Identifies the setting in code.
    pub id: SettingId,
    /// Key in `turnmill.toml`, as `section.key`. The flag has the same name with dashes.
    pub key: &'static str,
    /// Environment variable.
    pub variable: &'static str,
    /// Layers that may contain it, besides the environment.
    pub allowed_in: AllowedIn,
    /// Type of the value.
    pub kind: Kind,
    /// Default in the notation of the environment variable, or `None`.
    pub default: Option<&'static str>,
    /// Whether the setting is implemented.
    pub support: Support,
    /// Description: one line of Markdown.
    pub doc: &'static str,
}

impl Setting {
    /// Returns the name of the flag without its dashes, or `None` if the setting has no flag.
    ///
    /// ```
    /// use turnmill_service::settings::SettingId;
    /// assert_eq!(SettingId::HttpAddress.setting().flag().as_deref(), Some("http-address"));
    /// assert_eq!(SettingId::ApiToken.setting().flag(), None);
    /// ```
    #[must_use]
    pub fn flag(&self) -> Option<String> {
        // `markers.path` is `--markers`.
        let key = self.key.strip_suffix(".path").unwrap_or(self.key);
        self.allowed_in.flag.then(|| key.replace(['.', '_'], "-"))
    }
}

macro_rules! settings {
    ($(
        $id:ident, $key:literal, $variable:literal, $allowed_in:expr, $kind:expr, $default:expr,
        $support:expr, $doc:literal;
    )*) => {
        /// Identifies a setting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum SettingId {
            $(#[doc = concat!("`", $variable, "`: ", $doc)] $id,)*
        }

        /// Every setting, in the order of [`SettingId`].
        pub static SETTINGS: &[Setting] = &[
            $(Setting {
                id: SettingId::$id,
                key: $key,
                variable: $variable,
                allowed_in: $allowed_in,
                kind: $kind,
                default: $default,
                support: $support,
                doc: $doc,
            },)*
        ];

        impl SettingId {
            /// Returns the setting's entry in [`SETTINGS`].
            #[must_use]
            pub fn setting(self) -> &'static Setting {
                // The macro writes one enum variant and one table entry per setting, in the same
                // order.
                &SETTINGS[self as usize]
            }
        }
    };
}

use Kind::{
    Address, Brokers, Bytes, Choice, DatabaseUrl, Integer, Millis, Names, Path, Properties, Seconds, Secret,
    Share, Switch, Text, TimeZone,
};
use Support::{Ignored, Supported, Unsupported};

const MINUTE: u64 = 60_000;
const NO_IAM: &str = "AWS IAM authentication is not supported";

settings! {
    Config, "config", "TURNMILL_CONFIG", NO_FILE, Path, None, Supported,
        "Path of the settings file. Default: `turnmill.toml` in the working directory, if it \
         exists.";
    Endpoints, "endpoints", "TURNMILL_ENDPOINTS", EVERYWHERE, Path, None, Supported,
        "Path of the assistant's `endpoints.yml`. Broker, topic and security settings are taken \
         from its `event_broker`, unless another layer sets them.";

    Brokers, "kafka.brokers", "KAFKA_BROKER_ADDRESS", EVERYWHERE, Brokers, None, Supported,
        "Bootstrap servers, `host:port[,host:port]`. Required. The default port is 9092; write an \
         IPv6 address with a port in brackets.";
    Topic, "kafka.topic", "KAFKA_TOPIC", EVERYWHERE, Text, Some("rasa_core_events"), Supported,
        "Topic to read. It may be created later.";
    AnonymisedTopics, "kafka.anonymised_topics", "TURNMILL_KAFKA_ANONYMISED_TOPICS", EVERYWHERE,
        Text, None, Supported,
        "Comma-separated topics whose events are all anonymised copies, even without \
         `anonymized_at`. Topics in `anonymization_topics` of `endpoints.yml` are included \
         automatically.";
    SecurityProtocol, "kafka.security_protocol", "KAFKA_SECURITY_PROTOCOL", EVERYWHERE,
        Choice(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Some("PLAINTEXT"), Supported,
        "Protocol for connections to the brokers.";
    SaslMechanism, "kafka.sasl_mechanism", "KAFKA_SASL_MECHANISM", EVERYWHERE,
        Choice(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER", "AWS_MSK_IAM"]),
        Some("PLAIN"), Supported,
        "SASL mechanism, for a `SASL_` protocol. `GSSAPI`, `OAUTHBEARER` and `AWS_MSK_IAM` are \
         recognised but not supported.";
    SaslUsername, "kafka.sasl_username", "KAFKA_SASL_USERNAME", EVERYWHERE, Text, None, Supported,
        "SASL user name, for a `SASL_` protocol.";
    SaslPassword, "kafka.sasl_password", "KAFKA_SASL_PASSWORD", NO_FLAG, Secret, None, Supported,
        "SASL password, for a `SASL_` protocol.";
    KafkaSslCa, "kafka.ssl_ca_location", "KAFKA_SSL_CA_LOCATION", EVERYWHERE, Path, None, Supported,
        "File with the CA certificates that verify the brokers, for `SSL` or `SASL_SSL`.";
    KafkaSslCert, "kafka.ssl_certfile_location", "KAFKA_SSL_CERTFILE_LOCATION", EVERYWHERE, Path,
        None, Supported,
        "Client certificate, for brokers that require one.";
    KafkaSslKey, "kafka.ssl_keyfile_location", "KAFKA_SSL_KEYFILE_LOCATION", EVERYWHERE, Path, None,
        Supported,
        "Private key of the client certificate.";
    KeepAlive, "kafka.socket_keep_alive_enabled", "KAFKA_SOCKET_KEEP_ALIVE_ENABLED", EVERYWHERE,
        Switch, Some("true"), Supported,
        "Enables TCP keep-alive on connections to the brokers.";
    MetadataMaxAge, "kafka.metadata_max_age_ms", "KAFKA_METADATA_MAX_AGE_MS", EVERYWHERE,
        Millis(1, 86_400_000), Some("180000"), Supported,
        "Maximum age of cached topic metadata. A new topic or partition is noticed within this \
         time.";
    Heartbeat, "kafka.consumer_heartbeat_interval_ms", "KAFKA_CONSUMER_HEARTBEAT_INTERVAL_MS",
        EVERYWHERE, Millis(1, 3_600_000), Some("3000"), Supported,
        "Interval between heartbeats to the group coordinator. Must be less than the session \
         timeout, ideally a third of it.";
    SessionTimeout, "kafka.consumer_session_timeout_ms", "KAFKA_CONSUMER_SESSION_TIMEOUT_MS",
        EVERYWHERE, Millis(1, 3_600_000), Some("6000"), Supported,
        "Time without a heartbeat after which the coordinator removes a consumer from the group.";
    MaxPollInterval, "kafka.consumer_max_poll_interval_ms", "KAFKA_CONSUMER_MAX_POLL_INTERVAL_MS",
        EVERYWHERE, Millis(1, 86_400_000), Some("600000"), Supported,
        "Time without a poll after which a consumer leaves its group. Polling continues while the \
         database is unavailable.";
    GroupId, "kafka.group_id", "RASA_ANALYTICS_CONSUMER_ID", EVERYWHERE, Text, Some("turnmill"),
        Supported,
        "Consumer group that distributes partitions among processes. The offsets to resume from \
         are in the store. A group with members of other programs is refused.";
    TakeOverGroup, "kafka.take_over_group", "TURNMILL_KAFKA_TAKE_OVER_GROUP", EVERYWHERE, Switch,
        Some("false"), Supported,
        "Joins the group even if it has members of other programs, and overwrites the offsets \
         they committed. Use it only after the previous program has been shut down for good.";
    Consumers, "kafka.consumers", "RASA_ANALYTICS_CONSUMER_COUNT", EVERYWHERE, Integer(1, 64),
        Some("1"), Supported,
        "Number of consumers in this process.";
    GroupInstanceId, "kafka.group_instance_id", "TURNMILL_KAFKA_GROUP_INSTANCE_ID", EVERYWHERE,
        Text, None, Supported,
        "Instance id for static membership: a restart within the session timeout causes no \
         rebalance. Must be unique per process; several consumers get `-0`, `-1`, … appended. A \
         process that is fenced twice within ten minutes, because another one uses its id, exits; \
         fences within two minutes of trouble with a broker do not count.";
    KafkaProperties, "kafka.properties", "TURNMILL_KAFKA_PROPERTIES", EVERYWHERE, Properties, None,
        Supported,
        "Further librdkafka properties; a table in the file. Properties that turnmill sets itself \
         are refused.";
    ProducerRetries, "kafka.producer_retries", "KAFKA_PRODUCER_RETRIES", EVERYWHERE,
        Integer(0, 2_147_483_647), Some("2147483647"), Supported,
        "Retries when a dead letter cannot be produced.";
    ProducerTimeout, "kafka.producer_timeout_ms", "KAFKA_PRODUCER_TIMEOUT_MS", EVERYWHERE,
        Millis(1, 900_000), Some("5000"), Supported,
        "Time a broker may take to acknowledge a dead letter.";
    ProducerPartitioner, "kafka.producer_partitioner", "KAFKA_PRODUCER_PARTITIONER", EVERYWHERE,
        Choice(&["random", "consistent", "consistent_random", "murmur2", "murmur2_random", "fnv1a", "fnv1a_random"]),
        Some("consistent_random"), Supported,
        "Partitioner that selects the partition of a dead letter.";
    Compression, "kafka.compression_codec", "KAFKA_COMPRESSION_CODEC", EVERYWHERE,
        Choice(&["none", "gzip", "snappy", "lz4", "zstd", "inherit"]), Some("gzip"), Supported,
        "Compression of dead letters. `inherit` keeps librdkafka's default.";

    DatabaseUrl, "database.url", "RASA_ANALYTICS_DB_URL", EVERYWHERE, DatabaseUrl, None, Supported,
        "Database for the tables: `postgresql://user:password@host:port/database` or \
         `sqlite:PATH`. Required, unless host and name are set.";
    DatabaseHost, "database.host", "RASA_ANALYTICS_DB_HOST_NAME", EVERYWHERE, Text, None, Supported,
        "PostgreSQL host, instead of a URL.";
    DatabasePort, "database.port", "RASA_ANALYTICS_DB_PORT", EVERYWHERE, Integer(1, 65_535),
        Some("5432"), Supported,
        "PostgreSQL port, if a host is set instead of a URL.";
    DatabaseName, "database.name", "RASA_ANALYTICS_DB_NAME", EVERYWHERE, Text, None, Supported,
        "Name of the database, if a host is set instead of a URL.";
    DatabaseUser, "database.username", "RASA_ANALYTICS_DB_USERNAME", EVERYWHERE, Text, None, Supported,
        "Database user, if a host is set instead of a URL.";
    DatabasePassword, "database.password", "TURNMILL_DB_PASSWORD", NO_FLAG, Secret, None, Supported,
        "Database password, if a host is set, or if the URL has no password.";
    DatabaseSslMode, "database.ssl_mode", "RASA_ANALYTICS_DB_SSL_MODE", EVERYWHERE,
        Choice(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]), None,
        Supported,
        "Encryption of connections to PostgreSQL, as in libpq's `sslmode`. `sslmode` in the URL \
         takes precedence.";
    DatabaseSslCa, "database.ssl_ca_location", "RASA_ANALYTICS_DB_SSL_CA_LOCATION", EVERYWHERE,
        Path, None, Supported,
        "File with the CA certificates that verify the server, as in libpq's `sslrootcert`. \
         `sslrootcert` in the URL takes precedence.";
    Migrate, "database.migrate", "RUN_ANALYTICS_DB_MIGRATIONS", EVERYWHERE, Switch, Some("true"),
        Supported,
        "Creates the schema and migrates it at start. With `false`, a missing or outdated schema \
         is an error.";
    Schema, "database.schema", "TURNMILL_DB_SCHEMA", EVERYWHERE, Text, Some("public"), Supported,
        "PostgreSQL schema for all tables, created if missing. Tables of other products are never \
         modified.";
    ForeignKeys, "database.foreign_keys", "TURNMILL_DB_FOREIGN_KEYS", EVERYWHERE,
        Choice(&["auto", "declared", "none"]), Some("auto"), Supported,
        "Foreign keys in PostgreSQL. `declared`: PostgreSQL checks every row, which triples its \
         work. `auto`: declared as `NOT ENFORCED` on PostgreSQL 18 and newer, none on older \
         versions. `none`: not declared. The rows satisfy the references in every case. `turnmill \
         foreign-keys` changes this later.";
    StatementTimeout, "database.statement_timeout_secs", "TURNMILL_DB_STATEMENT_TIMEOUT_SECS",
        EVERYWHERE, Seconds(0, 86_400), Some("60"), Supported,
        "PostgreSQL `statement_timeout`. A batch that exceeds it is retried in smaller parts. 0: no \
         limit.";
    LockTimeout, "database.lock_timeout_secs", "TURNMILL_DB_LOCK_TIMEOUT_SECS", EVERYWHERE,
        Seconds(0, 86_400), Some("30"), Supported,
        "PostgreSQL `lock_timeout`. 0: no limit.";

    FlushInterval, "batch.flush_interval_ms", "TURNMILL_FLUSH_INTERVAL_MS", EVERYWHERE,
        Millis(1, MINUTE), Some("500"), Supported,
        "Maximum time a record waits before its batch is written.";
    BatchRecords, "batch.records", "TURNMILL_BATCH_RECORDS", EVERYWHERE, Integer(1, 1_000_000),
        Some("10000"), Supported,
        "Maximum number of records in one transaction.";
    BatchBytes, "batch.bytes", "TURNMILL_BATCH_BYTES", EVERYWHERE, Bytes(1024), Some("8MiB"),
        Supported,
        "Maximum size of the records in one transaction. A larger single record is written alone.";
    BufferRecords, "buffer.records", "TURNMILL_BUFFER_RECORDS", EVERYWHERE, Integer(1, 100_000_000),
        Some("100000"), Supported,
        "Maximum number of records read ahead. Reading pauses when it is reached.";
    BufferBytes, "buffer.bytes", "TURNMILL_BUFFER_BYTES", EVERYWHERE, Bytes(65_536), Some("64MiB"),
        Supported,
        "Maximum size of the records read ahead. Reading pauses when it is reached.";
    CacheBytes, "cache.bytes", "TURNMILL_CACHE_BYTES", EVERYWHERE, Bytes(0), Some("256MiB"), Supported,
        "Memory for cached sender states (timelines). A sender that is not cached is loaded from \
         the store at its next event.";

    Assistant, "rows.assistant", "TURNMILL_ASSISTANT", EVERYWHERE, Text, None, Supported,
        "Name of the assistant whose conversations are read. It becomes part of each sender's \
         identity, so one store can hold several assistants. Without it, senders of two \
         assistants with the same key are merged.";
    AssistantFromMetadata, "rows.assistant_from_metadata", "TURNMILL_ASSISTANT_FROM_METADATA",
        EVERYWHERE, Switch, Some("false"), Supported,
        "Takes the assistant's name from `metadata.assistant_id` of each event, for a topic that \
         several assistants write to. An assistant whose id changes becomes a new assistant.";
    TimeUnit, "rows.time_unit", "TURNMILL_TIME_UNIT", EVERYWHERE, Choice(&["s", "ms", "us"]),
        Some("s"), Supported,
        "Unit of event timestamps. Rasa writes seconds; a modified producer may write \
         milliseconds or microseconds.";
    Decoder, "rows.decoder", "TURNMILL_DECODER", EVERYWHERE, Choice(&["rasa", "lex"]), None, Supported,
        "Format of the records: `rasa`, or `lex` for conversation logs of Amazon Lex V2. Unset: each \
         record that is certainly of Lex is read so, all others are Rasa's.";
    LexSessionGap, "lex.session_gap_secs", "TURNMILL_LEX_SESSION_GAP_SECS", EVERYWHERE,
        Seconds(1, 31_536_000), Some("300"), Supported,
        "Longest silence inside a session of Lex whose records name no first request. Changing it \
         for an existing store requires `turnmill rebuild`, as for all settings of Lex.";
    LexUserAttribute, "lex.user_attribute", "TURNMILL_LEX_USER_ATTRIBUTE", EVERYWHERE, Text, None,
        Supported,
        "Session or request attribute of Lex that names the end user.";
    LexHandoverAttribute, "lex.handover_attribute", "TURNMILL_LEX_HANDOVER_ATTRIBUTE", EVERYWHERE, Text,
        None, Supported,
        "Session attribute of Lex that hands the conversation over to a person: `name`, or \
         `name=value`.";
    LexChannel, "lex.channel", "TURNMILL_LEX_CHANNEL", EVERYWHERE, Text, None, Supported,
        "Channel of records of Lex that name none.";
    LexBlankedKeys, "lex.blanked_keys", "TURNMILL_LEX_BLANKED_KEYS", EVERYWHERE, Text,
        None, Supported,
        "Keys of attributes of Lex whose values are never stored, separated by commas; `*` stands \
         for any text, and case does not count. Unset: those of tokens, and others that \
         docs/lex.md lists.";
    SessionId, "rows.session_id", "TURNMILL_SESSION_ID", EVERYWHERE,
        Choice(&["uuid", "any", "off"]), Some("uuid"), Supported,
        "Accepted `metadata.session_id` values: canonical UUIDs, any text, or none. Changing it \
         for an existing store requires `turnmill rebuild`.";
    BareSlotStrings, "rows.bare_slot_strings", "TURNMILL_BARE_SLOT_STRINGS", EVERYWHERE, Switch,
        Some("false"), Supported,
        "Stores string slot values without quotes. Changing it for an existing store requires \
         `turnmill rebuild`.";
    DisableStack, "rows.disable_stack_events", "DISABLE_STACK_EVENT_PROCESSING", EVERYWHERE, Switch,
        Some("false"), Supported,
        "Writes `stack` events to `rasa_event` only. Changing it for an existing store requires \
         `turnmill rebuild`.";
    Markers, "markers.path", "TURNMILL_MARKERS", EVERYWHERE, Path, None, Supported,
        "File or directory with marker definitions.";

    DeadLetterTopic, "dead_letters.topic", "RASA_ANALYTICS_DLQ", EVERYWHERE, Text, None, Supported,
        "Topic that dead letters are also sent to; it is never created. Unset or empty: no topic. \
         The dead letter table always keeps them.";
    DeadLetterMaxRun, "dead_letters.max_run", "TURNMILL_DEAD_LETTER_MAX_RUN", EVERYWHERE,
        Integer(0, u64::MAX), Some("1000"), Supported,
        "Maximum number of consecutive dead letters. The service stops when it is exceeded, \
         because the topic probably holds something other than Rasa events. 0: no limit.";
    DeadLetterMaxShare, "dead_letters.max_share", "TURNMILL_DEAD_LETTER_MAX_SHARE", EVERYWHERE,
        Share, Some("0.5"), Supported,
        "Maximum share of dead letters among the last 10,000 records. The service stops when it \
         is exceeded. 1: no limit.";

    RowTopic, "sinks.row_topic", "TURNMILL_ROW_TOPIC", EVERYWHERE, Text, None, Supported,
        "Topic that every changed row is also sent to, as JSON; it is never created. Unset: no topic.";
    SinkMaxBytes, "sinks.max_bytes", "TURNMILL_SINK_MAX_BYTES", EVERYWHERE, Bytes(1_048_576),
        Some("1GiB"), Supported,
        "Maximum lag of the row topic, in bytes of the outbox. Beyond it the topic gets a snapshot \
         of all rows.";
    SinkRefusal, "sinks.on_refusal", "TURNMILL_SINK_ON_REFUSAL", EVERYWHERE,
        Choice(&["stop", "skip"]), Some("stop"), Supported,
        "What happens if a row is too large for the row topic: `stop` sends no more rows until the \
         service is started again, `skip` leaves the row out.";

    HttpAddress, "http.address", "TURNMILL_HTTP_ADDRESS", EVERYWHERE, Address, Some("0.0.0.0:8732"),
        Supported,
        "Address of the HTTP server. `/`, `/healthcheck` and `/metrics` are public. Other paths \
         require the token or, if no token is set, a request from this machine.";
    ApiToken, "http.api_token", "TURNMILL_API_TOKEN", NO_FLAG, Secret, None, Supported,
        "Bearer token for all paths that are not public. Once set, requests from this machine \
         need it too. If unset, other machines get 403.";
    TrustLoopback, "http.trust_loopback", "TURNMILL_HTTP_TRUST_LOOPBACK", EVERYWHERE, Switch,
        Some("false"), Supported,
        "Accepts requests from this machine without the token. Do not use it on a machine with a \
         proxy, a sidecar or other users: their requests come from loopback as well.";
    StallTimeout, "health.stall_secs", "TURNMILL_HEALTH_STALL_SECS", EVERYWHERE, Seconds(0, 86_400),
        Some("0"), Supported,
        "`/healthcheck` reports unhealthy after this time without progress while records are \
         waiting and both database and broker are available. 0: never.";
    ShutdownTimeout, "shutdown.secs", "TURNMILL_SHUTDOWN_SECS", EVERYWHERE, Seconds(1, 3600),
        Some("20"), Supported,
        "Time allowed for a clean shutdown. After that the process exits, which is safe.";
    LogLevel, "log.level", "LOGGING_LEVEL", EVERYWHERE,
        Choice(&["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]), Some("INFO"), Supported,
        "Minimum level of log messages. Messages of libraries are limited to `INFO`.";
    JsonLogging, "log.json", "FORCE_JSON_LOGGING", EVERYWHERE, Switch, Some("false"), Supported,
        "Logs one JSON object per line.";
    LogStatus, "log.status_secs", "TURNMILL_LOG_STATUS_SECS", EVERYWHERE, Seconds(0, 86_400),
        Some("60"), Supported,
        "Interval between status lines in the log, with records read and lag. 0: no status lines.";
    LogFilter, "log.filter", "TURNMILL_LOG", EVERYWHERE, Text, None, Supported,
        "Log levels by module, e.g. `info,turnmill_pipeline=debug`. Takes precedence over the log \
         level.";

    AnalyticsTimeZone, "analytics.time_zone", "TURNMILL_ANALYTICS_TIME_ZONE", NO_FLAG, TimeZone,
        Some("UTC"), Supported,
        "Time zone of days, hours and weekdays in the questions of `report`, `conversations` and \
         `sql`.";
    HandoverIntents, "analytics.handover_intents", "TURNMILL_ANALYTICS_HANDOVER_INTENTS", NO_FLAG,
        Names, None, Supported,
        "Intents with which users ask for a human. Unset: those whose name contains `handoff`, \
         `handover`, `tohuman`, `humanagent`, `liveagent` or `toagent`, without regard to case, \
         `_` and `-`. An empty list: none.";
    HandoverActions, "analytics.handover_actions", "TURNMILL_ANALYTICS_HANDOVER_ACTIONS", NO_FLAG,
        Names, None, Supported, "Actions that hand over to a human.";
    FallbackIntents, "analytics.fallback_intents", "TURNMILL_ANALYTICS_FALLBACK_INTENTS", NO_FLAG,
        Names, Some(FALLBACK_INTENTS), Supported,
        "Intents that say that the assistant did not understand. The empty name is the intent \
         without a name.";
    FallbackResponses, "analytics.fallback_responses", "TURNMILL_ANALYTICS_FALLBACK_RESPONSES",
        NO_FLAG, Names, Some(FALLBACK_RESPONSES), Supported,
        "Responses that say that the assistant did not understand.";
    AbandonResponses, "analytics.abandon_responses", "TURNMILL_ANALYTICS_ABANDON_RESPONSES",
        NO_FLAG, Names, Some(ABANDON_RESPONSES), Supported,
        "Responses after which a silent user has abandoned the session.";
    Greetings, "analytics.greetings", "TURNMILL_ANALYTICS_GREETINGS", NO_FLAG, Names,
        Some(GREETINGS), Supported, "Intents that alone do not make a session engaged.";
    ErrorResponses, "analytics.error_responses", "TURNMILL_ANALYTICS_ERROR_RESPONSES", NO_FLAG,
        Names, None, Supported, "Responses that report an error.";
    GoalMarkers, "analytics.goal_markers", "TURNMILL_ANALYTICS_GOAL_MARKERS", NO_FLAG, Names, None,
        Supported, "Markers whose rows complete a session.";
    EscalationMarkers, "analytics.escalation_markers", "TURNMILL_ANALYTICS_ESCALATION_MARKERS",
        NO_FLAG, Names, None, Supported, "Markers whose rows escalate a session.";
    IdleTimeout, "analytics.idle_timeout_mins", "TURNMILL_ANALYTICS_IDLE_TIMEOUT_MINS", NO_FLAG,
        Integer(1, 525_600), Some("60"), Supported,
        "Minutes of silence after which a session is over.";

    MaxMessages, "", "MAX_MESSAGES_TO_FETCH", VARIABLE, Text, None,
        Ignored("batches grow with the backlog, up to TURNMILL_BATCH_RECORDS"),
        "Messages per fetch in Rasa's pipeline.";
    RetryTransactions, "", "RETRY_DB_TRANSACTION_COUNT", VARIABLE, Text, None,
        Ignored("transient errors are retried until they pass, and reading pauses meanwhile; an \
                 unavailable database causes no dead letters"),
        "Attempts per database transaction in Rasa's pipeline.";
    RetryConnections, "", "RETRY_CONNECTION_COUNT", VARIABLE, Text, None,
        Ignored("connections are retried until they succeed"),
        "Attempts per connection in Rasa's pipeline.";
    IamProvider, "", "IAM_CLOUD_PROVIDER", VARIABLE, Text, None, Unsupported(NO_IAM),
        "Provider of IAM authentication.";
    AwsRegion, "", "AWS_DEFAULT_REGION", VARIABLE, Text, None, Unsupported(NO_IAM),
        "Region of IAM authentication.";
    RdsIam, "", "RDS_SQL_DB_AWS_IAM_ENABLED", VARIABLE, Switch, Some("false"), Unsupported(NO_IAM),
        "IAM authentication to the database. `true` is an error, unless a database password is \
         set.";
    MskIam, "", "KAFKA_MSK_AWS_IAM_ENABLED", VARIABLE, Switch, Some("false"), Unsupported(NO_IAM),
        "IAM authentication to Kafka. `true` is an error, unless a SASL user name and password \
         are set.";
}
