//! Tests of the errors about settings.

use std::path::PathBuf;
use std::time::Duration;

use turnmill_source_kafka::{KafkaGroup, KafkaSettings, SaslMechanism, SecurityProtocol};

type Change = fn(&mut KafkaSettings);

#[test]
fn an_error_names_the_variable() {
    let cases: [(Change, &str); 10] = [
        (
            |settings| settings.brokers.clear(),
            "KAFKA_BROKER_ADDRESS: an address is empty; expected host:port",
        ),
        (
            |settings| settings.brokers = "a:1,b:x".into(),
            "KAFKA_BROKER_ADDRESS: an address has a port that is no number from 1 to 65535; expected host:port",
        ),
        (|settings| settings.topics.clear(), "KAFKA_TOPIC: is empty"),
        (
            |settings| settings.topics = vec!["^rasa.*".into()],
            "KAFKA_TOPIC: `^rasa.*` is a pattern; topics are named one by one",
        ),
        (|settings| settings.group_id.clear(), "RASA_ANALYTICS_CONSUMER_ID: is empty"),
        (
            |settings| settings.security_protocol = SecurityProtocol::SaslPlaintext,
            "KAFKA_SASL_USERNAME: must be set for SASL_PLAINTEXT",
        ),
        (
            |settings| {
                settings.security_protocol = SecurityProtocol::SaslSsl;
                settings.sasl_username = Some("u".into());
            },
            "KAFKA_SASL_PASSWORD: must be set for SASL_SSL",
        ),
        (
            |settings| {
                settings.security_protocol = SecurityProtocol::Ssl;
                settings.ssl_certfile_location = Some(PathBuf::from("Cargo.toml"));
            },
            "KAFKA_SSL_KEYFILE_LOCATION: must be set with KAFKA_SSL_CERTFILE_LOCATION",
        ),
        (
            |settings| settings.heartbeat = Duration::from_secs(6),
            "KAFKA_CONSUMER_HEARTBEAT_INTERVAL_MS: must be less than KAFKA_CONSUMER_SESSION_TIMEOUT_MS = 6000",
        ),
        (
            |settings| settings.max_poll_interval = Duration::from_secs(1),
            "KAFKA_CONSUMER_MAX_POLL_INTERVAL_MS: must not be less than KAFKA_CONSUMER_SESSION_TIMEOUT_MS = 6000",
        ),
    ];
    for (change, expected) in cases {
        let mut settings = KafkaSettings::new("localhost:9092");
        assert!(settings.validate().is_ok());
        change(&mut settings);
        assert_eq!(settings.validate().unwrap_err().to_string(), expected);
        assert_eq!(KafkaGroup::start(&settings).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_broker_needs_no_port_and_commas_may_be_followed_by_blanks() {
    for brokers in ["kafka", "b1:9096, b2", "SASL_SSL://b1:9096,b2:9092 ", "[::1], [::1]:9093", "10.0.0.1"] {
        assert!(KafkaSettings::new(brokers).validate().is_ok(), "{brokers}");
    }
    for brokers in ["", ",", "kafka:", "kafka:0", "kafka:70000", "no port", ":9092"] {
        assert!(KafkaSettings::new(brokers).validate().is_err(), "{brokers}");
    }
}

#[test]
fn mechanisms_that_are_not_supported_are_refused_by_name() {
    let refused = |text: &str| text.parse::<SaslMechanism>().unwrap_err().to_string();
    for (name, why) in [
        ("OAUTHBEARER", "OAuth tokens is unsupported"),
        ("gssapi", "Kerberos is unsupported"),
        ("AWS_MSK_IAM", "AWS IAM is unsupported"),
        ("NTLM", "`NTLM`: unknown mechanism"),
    ] {
        let text = refused(name);
        assert!(text.starts_with("KAFKA_SASL_MECHANISM: ") && text.contains(why), "{text}");
        assert!(text.contains("supported are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"), "{text}");
    }
    assert_eq!("scram-sha-256".parse::<SaslMechanism>().ok(), Some(SaslMechanism::ScramSha256));
    assert!(
        "TLS".parse::<SecurityProtocol>().unwrap_err().to_string().starts_with("KAFKA_SECURITY_PROTOCOL")
    );
}

#[test]
fn an_unknown_property_is_refused_and_a_password_is_never_printed() {
    let mut settings = KafkaSettings::new("localhost:9092");
    settings.sasl_password = Some("secret-1".into());
    settings.extra.insert("ssl.key.password".into(), "secret-2".into());
    assert!(!format!("{settings:?}").contains("secret"));
    settings.extra.insert("no.such.property".into(), "1".into());
    let error = KafkaGroup::start(&settings).unwrap_err().to_string();
    assert!(error.contains("no.such.property"), "{error}");
}
