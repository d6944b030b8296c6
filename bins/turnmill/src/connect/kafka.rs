//! Converts the service's settings into those of Kafka clients.

use std::collections::BTreeMap;

use turnmill_service::settings::{DatabaseTarget, SecurityProtocol as Protocol, ServiceSettings};
use turnmill_sink::StoreError;
use turnmill_source_kafka::{KafkaSettings, ProducerSettings, SaslMechanism, SecurityProtocol};

/// Minimum read-ahead buffer of a consumer, in bytes.
const LEAST_BUFFER: usize = 1 << 16;

/// Returns the number of consumers of this process: one for SQLite, which allows one writer at a
/// time.
pub(crate) fn consumers(settings: &ServiceSettings) -> usize {
    match settings.database.target {
        DatabaseTarget::Sqlite { .. } => 1,
        _ => settings.kafka.consumers.max(1),
    }
}

/// Returns the Kafka settings of consumer number `index`.
pub(crate) fn kafka(settings: &ServiceSettings, index: usize) -> KafkaSettings {
    let from = &settings.kafka;
    let consumers = consumers(settings);
    let mut kafka = KafkaSettings::new(from.brokers.clone());
    kafka.topics = vec![from.topic.clone()];
    kafka.group_id.clone_from(&from.group_id);
    kafka.take_over_group = from.take_over_group;
    kafka.group_instance_id = from.group_instance_id.as_ref().map(|id| match consumers {
        1 => id.clone(),
        _ => format!("{id}-{index}"),
    });
    kafka.security_protocol = match from.security_protocol {
        Protocol::Plaintext => SecurityProtocol::Plaintext,
        Protocol::Ssl => SecurityProtocol::Ssl,
        Protocol::SaslPlaintext => SecurityProtocol::SaslPlaintext,
        Protocol::SaslSsl => SecurityProtocol::SaslSsl,
    };
    // The settings refuse all other names.
    kafka.sasl_mechanism = match from.sasl_mechanism {
        "SCRAM-SHA-256" => SaslMechanism::ScramSha256,
        "SCRAM-SHA-512" => SaslMechanism::ScramSha512,
        _ => SaslMechanism::Plain,
    };
    kafka.sasl_username.clone_from(&from.sasl_username);
    kafka.sasl_password = from.sasl_password.as_ref().map(|password| password.expose().to_owned());
    kafka.ssl_ca_location.clone_from(&from.ssl_ca);
    kafka.ssl_certfile_location.clone_from(&from.ssl_cert);
    kafka.ssl_keyfile_location.clone_from(&from.ssl_key);
    kafka.keepalive = from.keep_alive;
    kafka.metadata_max_age = from.metadata_max_age;
    kafka.heartbeat = from.heartbeat_interval;
    kafka.session_timeout = from.session_timeout;
    kafka.max_poll_interval = from.max_poll_interval;
    kafka.buffer_bytes = (settings.work.buffer_bytes / consumers).max(LEAST_BUFFER);
    kafka.buffer_records = (settings.work.buffer_records / consumers).max(1);
    kafka.extra = from
        .properties
        .iter()
        .map(|(name, value)| (name.clone(), value.expose().to_owned()))
        .collect::<BTreeMap<_, _>>();
    kafka
}

/// Returns the settings of the dead-letter producer.
pub(crate) fn producer(settings: &ServiceSettings) -> ProducerSettings {
    let from = &settings.kafka;
    ProducerSettings {
        retries: from.producer_retries,
        timeout: from.producer_timeout,
        partitioner: from.producer_partitioner.into(),
        compression: from.compression.unwrap_or("inherit").into(),
        ..ProducerSettings::default()
    }
}

/// Returns the setting to check, for an error that does not name one itself.
pub(crate) fn setting_of(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::Settings { setting, .. } => Some(match *setting {
            "session_id" => "TURNMILL_SESSION_ID",
            "bare_slot_strings" => "TURNMILL_BARE_SLOT_STRINGS",
            "stack_events" => "DISABLE_STACK_EVENT_PROCESSING",
            "lex_session_gap" => "TURNMILL_LEX_SESSION_GAP_SECS",
            "lex_user_attribute" => "TURNMILL_LEX_USER_ATTRIBUTE",
            "lex_handover_attribute" => "TURNMILL_LEX_HANDOVER_ATTRIBUTE",
            "lex_channel" => "TURNMILL_LEX_CHANNEL",
            "lex_blanked_keys" => "TURNMILL_LEX_BLANKED_KEYS",
            _ => return None,
        }),
        StoreError::Unavailable { .. } | StoreError::Unusable { .. } => Some("RASA_ANALYTICS_DB_URL"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use turnmill_service::settings::{Environment, Flags, Loaded, RequiredSettings};

    use super::*;

    /// The other half of the way, from the client's settings to librdkafka, is tested in
    /// `turnmill-source-kafka`.
    #[test]
    fn every_kafka_variable_reaches_the_client() {
        let variables = [
            ("KAFKA_BROKER_ADDRESS", "kafka:9092"),
            ("RASA_ANALYTICS_DB_URL", "postgresql://rasa:pw@db/analytics"),
            ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
            ("KAFKA_SASL_MECHANISM", "scram-sha-512"),
            ("KAFKA_SASL_USERNAME", "user"),
            ("KAFKA_SASL_PASSWORD", "pass word"),
            ("KAFKA_SSL_CA_LOCATION", "/ca.pem"),
            ("KAFKA_SSL_CERTFILE_LOCATION", "/cert.pem"),
            ("KAFKA_SSL_KEYFILE_LOCATION", "/key.pem"),
            ("KAFKA_SOCKET_KEEP_ALIVE_ENABLED", "False"),
            ("KAFKA_METADATA_MAX_AGE_MS", "1000"),
            ("KAFKA_PRODUCER_RETRIES", "3"),
            ("KAFKA_PRODUCER_TIMEOUT_MS", "4000"),
            ("KAFKA_PRODUCER_PARTITIONER", "murmur2_random"),
            ("KAFKA_COMPRESSION_CODEC", "inherit"),
            ("KAFKA_CONSUMER_HEARTBEAT_INTERVAL_MS", "100"),
            ("KAFKA_CONSUMER_SESSION_TIMEOUT_MS", "7000"),
            ("KAFKA_CONSUMER_MAX_POLL_INTERVAL_MS", "9000"),
            ("RASA_ANALYTICS_CONSUMER_ID", "group"),
            ("RASA_ANALYTICS_CONSUMER_COUNT", "3"),
            ("TURNMILL_KAFKA_GROUP_INSTANCE_ID", "pod-7"),
            ("TURNMILL_KAFKA_PROPERTIES", "fetch.wait.max.ms=10, session.timeout.ms=8000,"),
        ];
        let environment: Environment =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let read = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
        let settings =
            Loaded::read(&Flags::default(), &environment, &read, RequiredSettings::Service).unwrap().settings;

        let client = kafka(&settings, 2);
        assert_eq!((client.brokers.as_str(), client.group_id.as_str()), ("kafka:9092", "group"));
        assert_eq!(client.group_instance_id.as_deref(), Some("pod-7-2"), "each consumer has its own");
        assert_eq!(client.security_protocol, SecurityProtocol::SaslSsl);
        assert_eq!(client.sasl_mechanism, SaslMechanism::ScramSha512);
        let login = (client.sasl_username.as_deref(), client.sasl_password.as_deref());
        assert_eq!(login, (Some("user"), Some("pass word")));
        let files = [&client.ssl_ca_location, &client.ssl_certfile_location, &client.ssl_keyfile_location];
        assert_eq!(
            files.map(|file| file.as_deref()),
            ["/ca.pem", "/cert.pem", "/key.pem"].map(|file| Some(Path::new(file)))
        );
        assert!(!client.keepalive);
        let times =
            [client.metadata_max_age, client.heartbeat, client.session_timeout, client.max_poll_interval];
        assert_eq!(times, [1000, 100, 7000, 9000].map(Duration::from_millis));
        let own = [("fetch.wait.max.ms", "10"), ("session.timeout.ms", "8000")];
        assert_eq!(client.extra, own.map(|(name, value)| (name.into(), value.into())).into());

        let producer = producer(&settings);
        assert_eq!((producer.retries, producer.timeout), (3, Duration::from_secs(4)));
        let names = (producer.partitioner.as_str(), producer.compression.as_str());
        assert_eq!(names, ("murmur2_random", "inherit"));
    }
}
