//! Builds the typed settings from single values and checks them against each other.

use std::time::Duration;

use turnmill_model::{AssistantNameBuf, LexSettings, Settings, SourceFactsBuf};
use turnmill_postgres::{PostgresAddress, RootCert};
use turnmill_text::{check_brokers, check_host, escaped, redact};

use super::database::{self, DatabaseTarget};
use super::load::{RequiredSettings, Values};
use super::origin::Origin;
use super::problem::{Note, Problem, Severity};
use super::table::SettingId;
use super::typed::{
    DatabaseSettings, DeadLetterSettings, HttpSettings, KafkaSettings, LogLevel, LogSettings,
    RowTopicSettings, SecurityProtocol, ServiceSettings, WorkSettings,
};
use super::value::Value;

/// Builds the settings. Returns `None` only if it added at least one problem.
pub(crate) fn settings(
    values: &mut Values,
    required: RequiredSettings,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<Note>,
) -> Option<ServiceSettings> {
    let mut assembly = Assembly { values, problems, notes };
    let kafka = assembly.kafka();
    if required == RequiredSettings::Service {
        assembly.check_kafka(&kafka);
    }
    let database = assembly.database();
    let http = assembly.http();
    let (values, problems) = (assembly.values, assembly.problems);
    let size = |id| values.integer(id).and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
    let work = WorkSettings {
        flush_interval: values.duration(SettingId::FlushInterval).unwrap_or_default(),
        batch_records: size(SettingId::BatchRecords),
        batch_bytes: size(SettingId::BatchBytes),
        buffer_records: size(SettingId::BufferRecords),
        buffer_bytes: size(SettingId::BufferBytes),
        cache_bytes: size(SettingId::CacheBytes),
    };
    if work.buffer_records < work.batch_records {
        problems.push(Problem::new(format!(
            "TURNMILL_BUFFER_RECORDS ({}) must not be less than TURNMILL_BATCH_RECORDS ({}), or no batch could be full",
            work.buffer_records, work.batch_records
        )));
    }
    let share = match values.get(SettingId::DeadLetterMaxShare) {
        Some((Value::Share(share), _)) if *share < 1.0 => Some(*share),
        _ => None,
    };
    Some(ServiceSettings {
        rows: Settings {
            session_id: values
                .choice(SettingId::SessionId)
                .and_then(|mode| mode.parse().ok())
                .unwrap_or_default(),
            bare_slot_strings: values.switch(SettingId::BareSlotStrings).unwrap_or_default(),
            stack_events: !values.switch(SettingId::DisableStack).unwrap_or_default(),
            lex: lex(values),
        },
        source: source_facts(values, &kafka.topic, problems),
        markers: values.path(SettingId::Markers),
        dead_letters: DeadLetterSettings {
            topic: values.text(SettingId::DeadLetterTopic).filter(|topic| !topic.is_empty()),
            max_run: values.integer(SettingId::DeadLetterMaxRun).filter(|run| *run > 0),
            max_share: share,
        },
        row_topic: RowTopicSettings {
            topic: values.text(SettingId::RowTopic),
            max_bytes: values.integer(SettingId::SinkMaxBytes).unwrap_or(u64::MAX),
            skip_refused: values.choice(SettingId::SinkRefusal) == Some("skip"),
        },
        shutdown_timeout: values.duration(SettingId::ShutdownTimeout).unwrap_or_default(),
        log: LogSettings {
            level: match values.choice(SettingId::LogLevel) {
                Some("DEBUG") => LogLevel::Debug,
                Some("WARNING") => LogLevel::Warning,
                Some("ERROR" | "CRITICAL") => LogLevel::Error,
                _ => LogLevel::Info,
            },
            json: values.switch(SettingId::JsonLogging).unwrap_or_default(),
            filter: values.text(SettingId::LogFilter),
            status: values.duration(SettingId::LogStatus).filter(|every| !every.is_zero()),
        },
        http: http?,
        work,
        database: database?,
        kafka,
    })
}

/// Returns the facts about every record of the topic.
fn source_facts(values: &Values, topic: &str, problems: &mut Vec<Problem>) -> SourceFactsBuf {
    let name = values.text(SettingId::Assistant).filter(|name| !name.is_empty());
    let from_metadata = values.switch(SettingId::AssistantFromMetadata).unwrap_or_default();
    if name.is_some() && from_metadata {
        problems.push(Problem::new(
            "TURNMILL_ASSISTANT and TURNMILL_ASSISTANT_FROM_METADATA exclude each other: set one of them",
        ));
    }
    let topics = values.text(SettingId::AnonymisedTopics).unwrap_or_default();
    SourceFactsBuf {
        assistant: match name {
            Some(name) => AssistantNameBuf::Given(name),
            None if from_metadata => AssistantNameBuf::FromMetadata,
            None => AssistantNameBuf::None,
        },
        time_unit: values.choice(SettingId::TimeUnit).and_then(|unit| unit.parse().ok()).unwrap_or_default(),
        anonymised: topics.split(',').any(|anonymised| anonymised.trim() == topic),
        decoder: values.choice(SettingId::Decoder).map(str::to_owned),
    }
}

/// Returns the settings of Amazon Lex.
fn lex(values: &Values) -> LexSettings {
    let default = LexSettings::default();
    let text = |id| values.text(id).filter(|text| !text.is_empty());
    let patterns = |text: String| text.split(',').map(|pattern| pattern.trim().to_owned()).collect();
    let gap = values.duration(SettingId::LexSessionGap).and_then(|gap| u32::try_from(gap.as_secs()).ok());
    LexSettings {
        session_gap: gap.unwrap_or(default.session_gap),
        user_attribute: text(SettingId::LexUserAttribute),
        handover_attribute: text(SettingId::LexHandoverAttribute),
        channel: text(SettingId::LexChannel),
        secret_keys: text(SettingId::LexBlankedKeys).map_or(default.secret_keys, patterns),
    }
}

struct Assembly<'a> {
    values: &'a Values,
    problems: &'a mut Vec<Problem>,
    notes: &'a mut Vec<Note>,
}

impl Assembly<'_> {
    fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(Problem::new(text));
    }

    /// Adds a problem with the value of one setting, at the origin of that value.
    fn problem_of(&mut self, id: SettingId, detail: &str) {
        let problem = match self.values.origin(id) {
            // The origin is the name of the setting, so it need not be repeated.
            origin @ Origin::Variable(_) => Problem::at(&origin, detail),
            origin => Problem::at(&origin, format_args!("{}: {detail}", id.setting().variable)),
        };
        self.problems.push(problem);
    }

    fn note(&mut self, severity: Severity, id: SettingId, text: impl Into<String>) {
        self.notes.push(Note { severity, setting: id.setting().variable, text: text.into() });
    }

    fn kafka(&self) -> KafkaSettings {
        let values = self.values;
        let duration = |id| values.duration(id).unwrap_or_default();
        let protocol = values.choice(SettingId::SecurityProtocol).unwrap_or_default();
        let properties = match values.get(SettingId::KafkaProperties) {
            Some((Value::Properties(properties), _)) => properties.clone(),
            _ => Vec::new(),
        };
        let protocol = SecurityProtocol::NAMES.into_iter().find(|(name, _)| *name == protocol);
        KafkaSettings {
            brokers: values.text(SettingId::Brokers).unwrap_or_default(),
            topic: values.text(SettingId::Topic).unwrap_or_default(),
            group_id: values.text(SettingId::GroupId).unwrap_or_default(),
            take_over_group: values.switch(SettingId::TakeOverGroup).unwrap_or_default(),
            consumers: values
                .integer(SettingId::Consumers)
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(1),
            group_instance_id: values.text(SettingId::GroupInstanceId),
            security_protocol: protocol.map(|(_, protocol)| protocol).unwrap_or_default(),
            sasl_mechanism: values.choice(SettingId::SaslMechanism).unwrap_or_default(),
            sasl_username: values.text(SettingId::SaslUsername),
            sasl_password: values.secret(SettingId::SaslPassword),
            ssl_ca: values.path(SettingId::KafkaSslCa),
            ssl_cert: values.path(SettingId::KafkaSslCert),
            ssl_key: values.path(SettingId::KafkaSslKey),
            keep_alive: values.switch(SettingId::KeepAlive).unwrap_or(true),
            metadata_max_age: duration(SettingId::MetadataMaxAge),
            heartbeat_interval: duration(SettingId::Heartbeat),
            session_timeout: duration(SettingId::SessionTimeout),
            max_poll_interval: duration(SettingId::MaxPollInterval),
            producer_retries: values
                .integer(SettingId::ProducerRetries)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(u32::MAX >> 1),
            producer_timeout: duration(SettingId::ProducerTimeout),
            producer_partitioner: values.choice(SettingId::ProducerPartitioner).unwrap_or_default(),
            compression: values.choice(SettingId::Compression).filter(|codec| *codec != "inherit"),
            properties,
        }
    }

    fn check_kafka(&mut self, kafka: &KafkaSettings) {
        if kafka.brokers.is_empty() {
            self.problem(
                "KAFKA_BROKER_ADDRESS is required: set it to the bootstrap servers, host:port[,host:port] (or use \
                 --kafka-brokers, kafka.brokers in turnmill.toml, or --endpoints endpoints.yml)",
            );
        } else if let Err(problem) = check_brokers(&kafka.brokers) {
            let expected = "expected host:port[,host:port]; set credentials with KAFKA_SASL_USERNAME and \
                            KAFKA_SASL_PASSWORD";
            self.problem_of(SettingId::Brokers, &format!("{problem}; {expected}"));
        }
        let topic = kafka.topic.as_str();
        let [dead_letters, rows] = [SettingId::DeadLetterTopic, SettingId::RowTopic]
            .map(|id| (id, self.values.text(id).unwrap_or_default()));
        for (id, topic) in [(SettingId::Topic, topic), (dead_letters.0, &dead_letters.1), (rows.0, &rows.1)] {
            let is_none = topic.is_empty() && id != SettingId::Topic;
            if !is_none && !is_topic(topic) {
                self.problem(format!(
                    "{}: `{}` is not a valid topic name: use at most 249 letters, digits, `.`, `_` and `-`",
                    id.setting().variable,
                    escaped(&redact(topic))
                ));
            }
        }
        for (id, sent) in [&dead_letters, &rows] {
            if topic == sent {
                // Each record would be read again and produce another one, endlessly.
                let (variable, topic) = (id.setting().variable, escaped(&redact(topic)).to_string());
                self.problem(format!(
                    "{variable}: `{topic}` is the topic that is read (KAFKA_TOPIC); choose another topic"
                ));
            }
        }
        if !rows.1.is_empty() && rows.1 == dead_letters.1 {
            self.problem("TURNMILL_ROW_TOPIC and RASA_ANALYTICS_DLQ name the same topic; choose another one");
        }
        let has_login = kafka.sasl_username.is_some() && kafka.sasl_password.is_some();
        if self.values.switch(SettingId::MskIam) == Some(true)
            && !(kafka.security_protocol.has_sasl() && has_login)
        {
            self.problem(
                "KAFKA_MSK_AWS_IAM_ENABLED: AWS IAM authentication is not supported; create a SCRAM user for the \
                 cluster, and set KAFKA_SECURITY_PROTOCOL=SASL_SSL, KAFKA_SASL_MECHANISM=SCRAM-SHA-512, \
                 KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD",
            );
        } else if kafka.security_protocol.has_sasl() {
            self.check_login(kafka, has_login);
        } else {
            for id in [SettingId::SaslMechanism, SettingId::SaslUsername, SettingId::SaslPassword] {
                if self.values.is_given(id) {
                    let protocol = kafka.security_protocol.as_str();
                    self.note(
                        Severity::Warning,
                        id,
                        format!("ignored, because KAFKA_SECURITY_PROTOCOL is {protocol}"),
                    );
                }
            }
        }
        self.check_tls(kafka);
        if kafka.heartbeat_interval >= kafka.session_timeout {
            self.problem(format!(
                "KAFKA_CONSUMER_HEARTBEAT_INTERVAL_MS ({}) must be less than KAFKA_CONSUMER_SESSION_TIMEOUT_MS ({}), \
                 ideally a third of it",
                kafka.heartbeat_interval.as_millis(),
                kafka.session_timeout.as_millis()
            ));
        }
        if kafka.max_poll_interval < kafka.session_timeout {
            self.problem(format!(
                "KAFKA_CONSUMER_MAX_POLL_INTERVAL_MS ({}) must not be less than KAFKA_CONSUMER_SESSION_TIMEOUT_MS ({})",
                kafka.max_poll_interval.as_millis(),
                kafka.session_timeout.as_millis()
            ));
        }
    }

    fn check_login(&mut self, kafka: &KafkaSettings, has_login: bool) {
        let mechanism = kafka.sasl_mechanism;
        if let Some(why) = unsupported(mechanism) {
            let origin = match self.values.origin(SettingId::SaslMechanism) {
                Origin::Variable(_) => String::new(),
                origin => format!(" ({origin})"),
            };
            self.problem(format!(
                "KAFKA_SASL_MECHANISM {mechanism}{origin}: {why}; use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 with \
                 KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD, or client certificates with KAFKA_SECURITY_PROTOCOL=SSL"
            ));
        } else if !has_login {
            let protocol = kafka.security_protocol.as_str();
            self.problem(format!(
                "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD are required with KAFKA_SECURITY_PROTOCOL {protocol} ({})",
                self.values.origin(SettingId::SecurityProtocol)
            ));
        }
    }

    fn check_tls(&mut self, kafka: &KafkaSettings) {
        if kafka.ssl_cert.is_some() != kafka.ssl_key.is_some() {
            self.problem("KAFKA_SSL_CERTFILE_LOCATION and KAFKA_SSL_KEYFILE_LOCATION must be set together");
        }
        if kafka.security_protocol.has_ssl() {
            return;
        }
        for id in [SettingId::KafkaSslCa, SettingId::KafkaSslCert, SettingId::KafkaSslKey] {
            if self.values.is_given(id) {
                let protocol = kafka.security_protocol.as_str();
                let text = format!("ignored, because KAFKA_SECURITY_PROTOCOL is {protocol}");
                self.note(Severity::Warning, id, text);
            }
        }
    }

    fn database(&mut self) -> Option<DatabaseSettings> {
        let target = self.target()?;
        let values = self.values;
        let limit = |id| values.duration(id).filter(|limit| !limit.is_zero());
        if matches!(target, DatabaseTarget::Sqlite { .. }) {
            for id in [
                SettingId::Schema,
                SettingId::ForeignKeys,
                SettingId::StatementTimeout,
                SettingId::LockTimeout,
                SettingId::DatabaseSslMode,
            ] {
                if values.is_given(id) {
                    self.note(Severity::Warning, id, "ignored, because the database is SQLite");
                }
            }
        }
        Some(DatabaseSettings {
            target,
            migrate: values.switch(SettingId::Migrate).unwrap_or(true),
            schema: values.text(SettingId::Schema).unwrap_or_default(),
            foreign_keys: values.choice(SettingId::ForeignKeys).unwrap_or("auto"),
            statement_timeout: limit(SettingId::StatementTimeout),
            lock_timeout: limit(SettingId::LockTimeout),
        })
    }

    fn target(&mut self) -> Option<DatabaseTarget> {
        let Some(url) = self.values.secret(SettingId::DatabaseUrl) else { return self.target_from_parts() };
        for id in [
            SettingId::DatabaseHost,
            SettingId::DatabasePort,
            SettingId::DatabaseName,
            SettingId::DatabaseUser,
        ] {
            if self.values.is_given(id) {
                self.note(Severity::Warning, id, "ignored, because RASA_ANALYTICS_DB_URL is set");
            }
        }
        match database::parse(url.expose()) {
            Ok(DatabaseTarget::Postgres(address)) => self.complete(address),
            Ok(sqlite @ DatabaseTarget::Sqlite { .. }) => Some(sqlite),
            Err(detail) => {
                self.problem_of(SettingId::DatabaseUrl, &detail);
                None
            }
        }
    }

    fn target_from_parts(&mut self) -> Option<DatabaseTarget> {
        let values = self.values;
        let (Some(host), Some(database)) =
            (values.text(SettingId::DatabaseHost), values.text(SettingId::DatabaseName))
        else {
            let half = values.is_given(SettingId::DatabaseHost) || values.is_given(SettingId::DatabaseName);
            self.problem(if half {
                "RASA_ANALYTICS_DB_HOST_NAME and RASA_ANALYTICS_DB_NAME must be set together, or \
                 RASA_ANALYTICS_DB_URL instead"
            } else {
                "RASA_ANALYTICS_DB_URL is required: set it to postgresql://user:password@host:port/database or \
                 sqlite:PATH (or use --database-url, or database.url in turnmill.toml)"
            });
            return None;
        };
        if let Err(problem) = check_host(&host) {
            let expected = "expected a host name; set the port, user and password with RASA_ANALYTICS_DB_PORT, \
                            RASA_ANALYTICS_DB_USERNAME and TURNMILL_DB_PASSWORD";
            self.problem_of(SettingId::DatabaseHost, &format!("{problem}; {expected}"));
            return None;
        }
        let port =
            values.integer(SettingId::DatabasePort).and_then(|port| u16::try_from(port).ok()).unwrap_or(5432);
        let address = PostgresAddress::default().with_host(host, port).with_database(database);
        let address = match values.text(SettingId::DatabaseUser) {
            Some(user) => address.with_user(user),
            None => address,
        };
        self.complete(address)
    }

    /// Adds settings that may be given outside of the URL. The URL takes precedence.
    fn complete(&mut self, mut address: PostgresAddress) -> Option<DatabaseTarget> {
        let values = self.values;
        let taken = |taken: bool| if taken { "ignored, because the database URL contains it" } else { "" };
        let beside = [
            (SettingId::DatabaseSslMode, taken(address.has_ssl_mode())),
            (SettingId::DatabaseSslCa, taken(address.ssl_root_cert().is_some())),
            (SettingId::DatabasePassword, taken(address.password().is_some())),
        ];
        for (id, text) in beside.into_iter().filter(|(id, text)| !text.is_empty() && values.is_given(*id)) {
            self.note(Severity::Warning, id, text);
        }
        if let Some(mode) = values.choice(SettingId::DatabaseSslMode).and_then(|mode| mode.parse().ok()) {
            address = address.or_ssl_mode(mode);
        }
        if let Some(file) = values.path(SettingId::DatabaseSslCa) {
            address = address.or_ssl_root_cert(RootCert::File(file));
        }
        if let Some(password) = values.secret(SettingId::DatabasePassword) {
            address = address.or_password(password.expose());
        }
        if values.switch(SettingId::RdsIam) == Some(true) && address.password().is_none() {
            self.problem(
                "RDS_SQL_DB_AWS_IAM_ENABLED: AWS IAM authentication is not supported; give the database user a \
                 password, and set it in RASA_ANALYTICS_DB_URL or TURNMILL_DB_PASSWORD",
            );
            return None;
        }
        Some(DatabaseTarget::Postgres(address))
    }

    fn http(&mut self) -> Option<HttpSettings> {
        let Some((Value::Address(address), _)) = self.values.get(SettingId::HttpAddress) else { return None };
        let api_token = self.values.secret(SettingId::ApiToken);
        if api_token.as_ref().is_some_and(|token| token.expose().trim().len() < MIN_TOKEN) {
            self.problem(format!("TURNMILL_API_TOKEN is too short: use at least {MIN_TOKEN} characters"));
        }
        if api_token.is_none() && !address.ip().is_loopback() {
            self.note(
                Severity::Info,
                SettingId::ApiToken,
                "not set, so other machines can access /, /healthcheck and /metrics only",
            );
        }
        Some(HttpSettings {
            address: *address,
            api_token,
            trust_loopback: self.values.switch(SettingId::TrustLoopback).unwrap_or_default(),
            stall_timeout: self
                .values
                .duration(SettingId::StallTimeout)
                .filter(|limit| *limit > Duration::ZERO),
        })
    }
}

/// Returns why a SASL mechanism is not supported, or `None` if it is.
fn unsupported(mechanism: &str) -> Option<&'static str> {
    Some(match mechanism {
        "AWS_MSK_IAM" => {
            "AWS IAM authentication is unsupported (Amazon MSK also offers SCRAM-SHA-512, on port 9096)"
        }
        "GSSAPI" => "Kerberos authentication is unsupported",
        "OAUTHBEARER" => "OAuth authentication is unsupported",
        _ => return None,
    })
}

/// Returns whether `name` is a valid name of a Kafka topic.
fn is_topic(name: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=249).contains(&name.len()) && name.chars().all(is_legal) && name != "." && name != ".."
}

/// Minimum number of characters of a token; shorter ones can be guessed.
pub const MIN_TOKEN: usize = 16;
